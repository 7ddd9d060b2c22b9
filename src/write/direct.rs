//! Rows go in without a statement, where nothing but the table itself has a say: by the executor's
//! own functions, see [`insertion`](crate::pg::statement::insertion), which also argues why the
//! arbiter cannot raise 23505 then.
//!
//! # Which way a target goes
//! | what there is | direct | why |
//! | --- | --- | --- |
//! | defaults, identities, generated columns, NOT NULL, CHECKs | yes | the executor's functions see to them |
//! | BEFORE and AFTER ROW triggers, foreign keys, guards | yes | they fire as for a statement |
//! | other unique indexes, exclusion constraints, deferrable ones | yes | |
//! | a partition that is named itself | yes | its constraint is checked |
//! | statement triggers, transition tables, rules | no | there is no statement for them |
//! | a partitioned table | no | rows are not led to partitions |
//! | a foreign table, rows in shards | no | the rows are not here |
//! | row-level security in force for the caller | no | the planner puts the policies in |
//! | an arbiter with a condition or expressions, or a twin | no | a statement names it so that the server finds the one that is meant |
//! | a domain without a default that is left out | no | the planner checks it for NULL |
//! | payloads that name columns in very many ways | no | see [`MAX_KINDS`] |
//! | another kind of storage than a heap | no | it need not know ON CONFLICT |
//! | a hook into the check of permissions | no | an auditor is to see a statement |
//!
//! What a target is like is looked at when it is locked for writing: from then on nobody can add
//! what would send it the other way. (A trigger can be created while a table is only being read.)
//!
//! Many rows that are known to be new go in in bundles, without ON CONFLICT, in a subtransaction that
//! their first 23505 undoes: [`insert_plainly`]. Where a guard fires, or a volatile default is
//! evaluated, such rows go in one by one, by a plain INSERT, since a function might look at the
//! rows before.
//!
//! Rights were checked when the call began, with those columns: the statement would be checked
//! alike.
use super::context::WriteContext;
use super::outcome_collector::OutcomeCollector;
use super::terms::{Keys, Returning, inserted_columns};
use crate::error::RowPosition;
use crate::guard::OwnInsert;
use crate::payload::row::{Mark, RowLayout};
use crate::payload::shape::{Shape, refuse_identity};
use crate::pg::ffi::plain;
use crate::pg::relation::permission_check::hooks_see_checks;
use crate::pg::rows::{RowBuilder, RowDesc, Slot, TupleStore};
use crate::pg::statement::insertion::{InsertColumns, InsertedRow, Insertion};
use crate::pg::transaction::relation_lock::lock_relation;
use crate::settings;
use crate::target::{StoredRow, insert_access};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};

/// Payloads that name columns in more ways go in by statements, which are prepared one after the other:
/// what is made ready here is made ready for all of them.
const MAX_KINDS: usize = 64;

/// Inserts the plain rows in their order, and gives the number of those that went in; None, with
/// nothing done, if they cannot go this way. `returned` gets what of them is asked for.
pub fn insert(
    context: &WriteContext<'_>,
    rows: &mut TupleStore,
    returning: Returning,
    returned: Option<&mut TupleStore>,
    keys: Keys,
) -> Option<u64> {
    let kinds = kinds_of_direct(context)?;
    let mut kept = returned.map(|store| Kept::new(context, returning, store));
    let layout = RowLayout::of(context.target);
    rows.rewind();
    let mut row = Slot::for_stored(rows.desc());
    let desc = rows.desc().clone();
    let at_hand = Cell::new(None);
    let _position = context
        .origin
        .is_batch()
        .then(|| RowPosition::watch_number(context.origin, &at_hand, &context.failing));
    run(context, &desc, &kinds, keys == Keys::Absent, |insertion| {
        let mut count = 0;
        while rows.next(&mut row) {
            if !matches!(layout.mark(&row), Mark::Pending | Mark::Outside) {
                continue;
            }
            at_hand.set(Some(layout.ordinal(&row)));
            if insertion.insert(&row, layout.shape(&row)) {
                count += 1;
                if let Some(kept) = &mut kept {
                    kept.put(insertion.row());
                }
            }
        }
        // What the end of the statement brings is about no row.
        at_hand.set(None);
        count
    })
}

/// Inserts rows that are new without ON CONFLICT, many at once, as COPY does. None, with nothing done,
/// if they cannot go this way.
///
/// # Errors
/// 23505 for a row whose key is stored by now.
pub fn insert_plainly(context: &WriteContext<'_>, rows: &mut TupleStore) -> Option<u64> {
    let kinds = kinds_of_direct(context)?;
    let target = context.target;
    let is_volatile = |number: &pg_sys::AttrNumber| {
        let mut columns = target.columns.iter();
        columns.any(|column| column.attnum == *number && column.has_volatile_default)
    };
    // A function might look at the rows before.
    let mut defaults = kinds.iter().flat_map(|kind| &kind.defaults);
    if defaults.any(is_volatile) || context.relation.has_volatile_check() {
        return None;
    }
    let layout = RowLayout::of(target);
    rows.rewind();
    let mut row = Slot::for_stored(rows.desc());
    let desc = rows.desc().clone();
    let at_hand = Cell::new(None);
    let _position = context
        .origin
        .is_batch()
        .then(|| RowPosition::watch_number(context.origin, &at_hand, &context.failing));
    let ordinals = RefCell::new(Vec::new());
    run(context, &desc, &kinds, true, |insertion| {
        if !insertion.can_bundle() {
            return None;
        }
        let at = |i: usize| at_hand.set(ordinals.borrow().get(i).copied());
        let mut count = 0;
        while rows.next(&mut row) {
            if !matches!(layout.mark(&row), Mark::Pending | Mark::Outside) {
                continue;
            }
            let ordinal = layout.ordinal(&row);
            at_hand.set(Some(ordinal));
            ordinals.borrow_mut().push(ordinal);
            if insertion.add(&row, layout.shape(&row)) {
                count += insertion.enter_bundle(at) as u64;
                ordinals.borrow_mut().clear();
            }
        }
        count += insertion.enter_bundle(at) as u64;
        at_hand.set(None);
        Some(count)
    })?
}

/// Whether the one row of a call goes this way, as far as is known before the table is locked for
/// writing. Where BEFORE triggers may change its key, it goes the way of many rows, on which keys
/// are compared.
pub fn takes_single(context: &WriteContext<'_>) -> bool {
    !context.target.before_insert_triggers && may_go_directly(context)
}

/// Puts one row in; whether it went in, of which the collector is told then. None, with nothing
/// done, if it cannot go this way.
pub fn insert_single(
    context: &WriteContext<'_>,
    row: &Slot,
    looked: bool,
    collector: &mut OutcomeCollector,
) -> Option<bool> {
    let kinds = kinds_of_direct(context)?;
    let layout = RowLayout::of(context.target);
    let ordinal = layout.ordinal(row);
    let at_hand = Cell::new(Some(ordinal));
    let _position = context
        .origin
        .is_batch()
        .then(|| RowPosition::watch_number(context.origin, &at_hand, &context.failing));
    let is_final = !context.target.after_insert_triggers;
    let inserted = run(context, row.desc(), &kinds, looked, |insertion| {
        let inserted = insertion.insert(row, layout.shape(row));
        at_hand.set(None);
        if inserted && is_final {
            let numbers = context.target.attnums_in(context.target.oid);
            let stored = StoredRow::inserted(insertion.row(), &numbers);
            collector.inserted(context, ordinal, Some(&stored));
        }
        inserted
    })?;
    if inserted && !is_final {
        context.collect_single(row, collector);
    }
    Some(inserted)
}

/// What goes directly, by shape; None if rows must go in by a statement. The table is
/// locked for writing then.
///
/// # Errors
/// 428C9 for an identity column that may not be named; 25006 in a READ ONLY transaction.
fn kinds_of_direct(context: &WriteContext<'_>) -> Option<Vec<InsertColumns>> {
    if !may_go_directly(context) || context.shapes.len() > MAX_KINDS {
        return None;
    }
    let kind = |shape| {
        pgrx::check_for_interrupts!();
        columns_of(context, shape)
    };
    let kinds = context.shapes.iter().map(kind).collect::<Option<_>>()?;
    for shape in context.shapes {
        refuse_identity(context.target, &shape.named, context.identity);
    }
    // As an INSERT does, which may also come into a temporary table in a READ ONLY transaction.
    lock_relation(context.target.oid, pg_sys::RowExclusiveLock);
    let relation = context.relation;
    if relation.has_insert_statement_triggers()
        || relation.has_rule_on(&[pg_sys::CmdType::CMD_INSERT])
    {
        return None;
    }
    if !relation.is_temporary() {
        plain::PreventCommandIfReadOnly(c"INSERT");
    }
    plain::PreventCommandIfParallelMode(c"INSERT");
    Some(kinds)
}

/// Whether rows may go this way, as far as is known before the table is locked for writing.
pub fn may_go_directly(context: &WriteContext<'_>) -> bool {
    settings::direct_insertion()
        && !context.distributed
        && !context.by_policy
        && context.relation.is_heap_table()
        && context.arbiter.inference_clause.is_none()
        && !hooks_see_checks()
}

/// The columns that payloads of a shape name, and those that are left to their defaults. None if
/// one of these is a domain's, and has no default: the planner checks what NULL is to the domain.
fn columns_of(context: &WriteContext<'_>, shape: &Shape) -> Option<InsertColumns> {
    let target = context.target;
    let named = || inserted_columns(target, &shape.named);
    let is_given = |c: &usize| !context.identity.ignores(&target.columns[*c]);
    let given: Vec<usize> = named().filter(is_given).collect();
    let mut defaults = Vec::new();
    for (c, column) in target.columns.iter().enumerate() {
        if column.generated != 0 || given.contains(&c) {
            continue;
        }
        if column.has_default {
            defaults.push(column.attnum);
        } else if column.base_type() != column.typid {
            return None;
        }
    }
    let number = |c: usize| (c, target.columns[c].attnum);
    Some(InsertColumns {
        named: named().map(|c| target.columns[c].attnum).collect(),
        given: given.into_iter().map(number).collect(),
        defaults,
    })
}

/// Runs the insertion as the command of ours that guards know.
fn run<R>(
    context: &WriteContext<'_>,
    desc: &RowDesc,
    kinds: &[InsertColumns],
    looked: bool,
    work: impl FnOnce(&mut Insertion<'_>) -> R,
) -> Option<R> {
    let arbiter = context.arbiter.oid;
    let access = insert_access(context.target);
    let _own_insert = OwnInsert::for_next_statement(arbiter);
    Insertion::run(
        context.relation,
        arbiter,
        desc,
        &access,
        kinds,
        looked,
        work,
    )
}

/// What is kept of rows that went in.
struct Kept<'k> {
    store: &'k mut TupleStore,
    row: RowBuilder,
    /// The numbers of the columns that are kept, in the order of the store; None for one that is not
    /// stored.
    columns: Vec<Option<pg_sys::AttrNumber>>,
}

impl<'k> Kept<'k> {
    fn new(context: &WriteContext<'_>, returning: Returning, store: &'k mut TupleStore) -> Self {
        let columns = &context.target.columns;
        let number = |c: usize| (!columns[c].virtual_generated()).then_some(columns[c].attnum);
        let columns = match returning {
            Returning::Count => Vec::new(),
            Returning::Keys => {
                let key = context.arbiter.deciding_columns();
                key.iter().copied().map(number).collect()
            }
            Returning::Rows => (0..columns.len()).map(number).collect(),
        };
        Self {
            row: RowBuilder::new(store.desc()),
            store,
            columns,
        }
    }

    fn put(&mut self, inserted: InsertedRow<'_>) {
        let mut row = self.row.start();
        for (i, number) in self.columns.iter().enumerate() {
            if let Some(number) = number {
                row.set(i, inserted.value(*number));
            }
        }
        self.store.put(row.finish());
    }
}
