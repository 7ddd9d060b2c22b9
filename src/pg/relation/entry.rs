//! The entry of an open relation in the relation cache: opening and closing it, and what it points
//! to: columns, triggers, rules, lists, the query of a view, the rows of a small table.
use crate::pg::call::trigger::FiredTrigger;
use crate::pg::ffi::{
    self,
    inline::{members, oids},
};
use crate::pg::rows::RowDesc;
use crate::pg::value::by_reference::bytes_of_datum;
use crate::pg::value::text;
use pgrx::pg_sys;

/// A relation that is open.
pub struct OpenRelation {
    relation: pg_sys::Relation,
    /// What is unlocked when it is closed; `NoLock` keeps the lock until the
    /// transaction ends.
    unlock: pg_sys::LOCKMODE,
}

const KEEP: pg_sys::LOCKMODE = pg_sys::NoLock as pg_sys::LOCKMODE;
const SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

impl OpenRelation {
    /// Opens and locks the relation with this oid; None if there is none.
    pub fn try_open(oid: pg_sys::Oid) -> Option<Self> {
        Self::locked(oid, KEEP)
    }

    /// Opens the relation with a lock that is released when it is closed, as functions of the
    /// server that look at a table's definition do it.
    pub fn try_open_briefly(oid: pg_sys::Oid) -> Option<Self> {
        Self::locked(oid, SHARE)
    }

    /// Opens a relation that somebody else keeps from going, or whose going does no harm, without
    /// a lock; None if there is none.
    pub fn try_open_unlocked(oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: a look-up; null if there is no such relation.
        let relation = unsafe { pg_sys::RelationIdGetRelation(oid) };
        (!relation.is_null()).then(|| Self {
            relation,
            unlock: KEEP,
        })
    }

    /// Opens what this transaction has locked by its oid; None if it was gone before.
    pub fn try_open_locked(oid: pg_sys::Oid) -> Option<Self> {
        Self::opened(oid, KEEP, KEEP)
    }

    fn locked(oid: pg_sys::Oid, unlock: pg_sys::LOCKMODE) -> Option<Self> {
        Self::opened(oid, SHARE, unlock)
    }

    fn opened(oid: pg_sys::Oid, lock: pg_sys::LOCKMODE, unlock: pg_sys::LOCKMODE) -> Option<Self> {
        // SAFETY: locks before it looks, if it is to; null if there is no such relation.
        let relation = unsafe { pg_sys::try_relation_open(oid, lock) };
        (!relation.is_null()).then(|| Self { relation, unlock })
    }

    /// The table that a trigger has fired on, open once more; whoever writes to it has locked it.
    pub fn of_fired(trigger: &FiredTrigger<'_>) -> Self {
        let relation = trigger.relation();
        // SAFETY: the server has the table open while the trigger's function runs, so its entry may be
        // counted once more.
        unsafe { pg_sys::RelationIncrementReferenceCount(relation) };
        Self {
            relation,
            unlock: KEEP,
        }
    }

    /// The same relation, open once more; the lock is the first one's.
    pub fn reopen(&self) -> Self {
        // SAFETY: the relation is open as long as this is, so its entry may be counted once more.
        unsafe { pg_sys::RelationIncrementReferenceCount(self.relation) };
        Self {
            relation: self.relation,
            unlock: KEEP,
        }
    }

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::Relation {
        self.relation
    }

    pub(super) fn entry(&self) -> &pg_sys::RelationData {
        // SAFETY: the server keeps the entry of a relation at its place, and rebuilds it there,
        // until it is closed; that takes this for itself. What is read of it is copied before
        // the next call of the server's, or is behind a pointer of its own.
        unsafe { &*self.relation }
    }

    /// Its row of `pg_class`, for as long as nothing is looked up.
    pub(super) fn form(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: an open relation has its row, which is rebuilt in its place, likewise.
        unsafe { &*self.entry().rd_rel }
    }

    /// The relation's row descriptor.
    pub fn desc(&self) -> pg_sys::TupleDesc {
        self.entry().rd_att
    }

    /// A copy of its row descriptor.
    pub fn row_desc(&self) -> RowDesc {
        // SAFETY: an open relation has a descriptor.
        unsafe { RowDesc::copy(self.desc()) }
    }

    /// The rows in `pg_attribute` of its columns in order, without dropped ones.
    pub fn attribute_rows(&self) -> Vec<pg_sys::FormData_pg_attribute> {
        // SAFETY: an open relation has a descriptor with as many attributes as it says. They are
        // copied, before anything is looked up.
        unsafe {
            let desc = self.desc();
            (0..(*desc).natts)
                .map(|i| *ffi::attribute(desc, i))
                .filter(|attribute| !attribute.attisdropped)
                .collect()
        }
    }

    /// The column with this number.
    ///
    /// # Panics
    /// If there is none.
    pub fn attribute(&self, number: pg_sys::AttrNumber) -> &pg_sys::FormData_pg_attribute {
        let number = i32::from(number);
        // SAFETY: an open, locked relation keeps its descriptor, which has such a column, as is
        // checked; it is borrowed no longer than this.
        unsafe {
            let desc = self.desc();
            assert!(
                (1..=(*desc).natts).contains(&number),
                "there is no such column"
            );
            ffi::attribute(desc, number - 1)
        }
    }
}

/// What its entry points to.
impl OpenRelation {
    /// The constraints in its descriptor: defaults and CHECKs, generated columns among them.
    pub(super) fn constraints(&self) -> Option<&pg_sys::TupleConstr> {
        // SAFETY: an open relation has a descriptor; without constraints there is a null pointer.
        // Nothing is looked up while they are in hand.
        unsafe { (*self.desc()).constr.as_ref() }
    }

    /// Its triggers, in the order in which they fire.
    pub fn triggers(&self) -> Vec<TriggerInfo> {
        // SAFETY: the relation's own triggers stay until the next look-up, and are copied before
        // any; none are copied as none. The copy has as many as it says, and is freed when they
        // were read. After an error it goes with the current memory.
        unsafe {
            let copy = pg_sys::CopyTriggerDesc(self.entry().trigdesc);
            let Some(all) = copy.as_ref() else {
                return Vec::new();
            };
            let count = usize::try_from(all.numtriggers).unwrap_or(0);
            let triggers = (0..count).map(|i| TriggerInfo::of(&*all.triggers.add(i)));
            let triggers = triggers.collect();
            pg_sys::FreeTriggerDesc(copy);
            triggers
        }
    }

    /// What its triggers look at.
    pub fn trigger_events(&self) -> TriggerEvents {
        // SAFETY: without triggers there is a null pointer. Nothing is looked up while they are in
        // hand.
        let Some(triggers) = (unsafe { self.entry().trigdesc.as_ref() }) else {
            return TriggerEvents::default();
        };
        TriggerEvents {
            after_insert_row: triggers.trig_insert_after_row,
            before_update_row: triggers.trig_update_before_row,
            before_delete_row: triggers.trig_delete_before_row,
            delete_or_truncate: triggers.trig_delete_before_row
                || triggers.trig_delete_after_row
                || triggers.trig_delete_before_statement
                || triggers.trig_delete_after_statement
                || triggers.trig_delete_old_table
                || triggers.trig_truncate_before_statement
                || triggers.trig_truncate_after_statement,
        }
    }

    /// Whether triggers fire once for an INSERT statement.
    pub fn has_insert_statement_triggers(&self) -> bool {
        // SAFETY: as in `trigger_events`.
        let triggers = unsafe { self.entry().trigdesc.as_ref() };
        triggers.is_some_and(|triggers| {
            triggers.trig_insert_before_statement
                || triggers.trig_insert_after_statement
                || triggers.trig_insert_new_table
        })
    }

    /// Whether a rule rewrites one of these kinds of statements on it.
    pub fn has_rule_on(&self, events: &[pg_sys::CmdType::Type]) -> bool {
        // SAFETY: without rules there is a null pointer; else they are as many as they say.
        // Nothing is looked up while they are in hand.
        unsafe {
            self.entry().rd_rules.as_ref().is_some_and(|rules| {
                let count = usize::try_from(rules.numLocks).unwrap_or(0);
                (0..count).any(|i| events.contains(&(**rules.rules.add(i)).event))
            })
        }
    }

    /// Whether it has extended statistics.
    pub fn has_extended_statistics(&self) -> bool {
        // SAFETY: open; core gives a list of its own memory, null if it is empty.
        unsafe { !pg_sys::RelationGetStatExtList(self.raw()).is_null() }
    }

    /// The oids of its indexes, valid or not.
    pub fn index_oids(&self) -> Vec<pg_sys::Oid> {
        // SAFETY: open; core gives a copy of its list of oids.
        unsafe { oids(pg_sys::RelationGetIndexList(self.raw())) }
    }

    /// The first column of the first row of a plain table, as it is committed now or written by
    /// this transaction; None if there is no row, or the value is NULL, or the table is no plain
    /// one whose first column is a bytea.
    pub fn first_bytea(&self) -> Option<Vec<u8>> {
        // SAFETY: an open relation has a descriptor with as many columns as it says.
        let is_bytea = unsafe {
            (*self.desc()).natts > 0 && {
                let column = ffi::attribute(self.desc(), 0);
                !column.attisdropped && column.atttypid == pg_sys::BYTEAOID
            }
        };
        if !self.is_heap_table() || !is_bytea {
            return None;
        }
        // SAFETY: a plain table, scanned in its order as a catalog is, under a snapshot of the
        // moment. The value is a bytea, and is copied while the row is in hand; the scan is ended
        // here, or by the abort.
        unsafe {
            let none = std::ptr::null_mut();
            let scan = pg_sys::systable_beginscan(
                self.raw(),
                pg_sys::InvalidOid,
                false,
                none,
                0,
                none.cast(),
            );
            let tuple = pg_sys::systable_getnext(scan);
            let mut bytes = None;
            if !tuple.is_null() {
                let count = (*self.desc()).natts as usize;
                let (mut values, mut nulls) =
                    (vec![pg_sys::Datum::null(); count], vec![true; count]);
                let (columns, null) = (values.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::heap_deform_tuple(tuple, self.desc(), columns, null);
                if !nulls[0] {
                    bytes = Some(bytes_of_datum(values[0]));
                }
            }
            pg_sys::systable_endscan(scan);
            bytes
        }
    }
}

impl Drop for OpenRelation {
    fn drop(&mut self) {
        if !crate::pg::unwinding() {
            // SAFETY: this was opened once, or counted once more, and is closed once, with the
            // lock that was taken for it. After an error the abort closes and unlocks it.
            unsafe { pg_sys::relation_close(self.relation, self.unlock) };
        }
    }
}

/// Which events on its rows a table's triggers look at, its partitions' not included.
#[derive(Clone, Copy, Debug, Default)]
pub struct TriggerEvents {
    /// A row was inserted.
    pub after_insert_row: bool,
    /// A row is about to be updated, and may be changed once more.
    pub before_update_row: bool,
    /// A row is about to be deleted, and may be kept.
    pub before_delete_row: bool,
    /// Rows are deleted, or the table is truncated, in whatever way a trigger gets to know it.
    pub delete_or_truncate: bool,
}

/// A trigger of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerInfo {
    /// The trigger's oid.
    pub oid: pg_sys::Oid,
    pub name: String,
    /// Its function,
    pub function: pg_sys::Oid,
    /// and the arguments of that.
    pub arguments: Vec<String>,
    /// When it fires (`pg_trigger.tgtype`).
    pub kind: i16,
    /// `O`rigin, `A`lways, `R`eplica or `D`isabled (`pg_trigger.tgenabled`).
    pub enabled: u8,
    /// Whether it fires for all updates of all columns, if it fires on UPDATE.
    pub unconditional: bool,
    /// Whether it came with the trigger of the table that this is a partition of.
    pub is_clone: bool,
    /// Whether it is part of a constraint, such as a foreign key.
    pub is_internal: bool,
}

impl TriggerInfo {
    /// A copy of the one that has fired.
    pub fn fired(trigger: &FiredTrigger<'_>) -> Self {
        // SAFETY: one that is firing.
        unsafe { Self::of(trigger.definition()) }
    }

    /// A copy.
    ///
    /// # Safety
    /// `trigger` is one that is firing, or one of a copied description: look-ups (the conversion
    /// of a name to another encoding among them) leave it as it is.
    pub unsafe fn of(trigger: &pg_sys::Trigger) -> Self {
        // SAFETY: the server's own trigger, by the caller's promise, has as many arguments as it
        // says, which are C strings.
        let arguments = (0..usize::try_from(trigger.tgnargs).unwrap_or(0))
            .map(|i| unsafe { text::from_server(*trigger.tgargs.add(i)) });
        Self {
            oid: trigger.tgoid,
            // SAFETY: its name is a C string, likewise.
            name: unsafe { text::from_server(trigger.tgname) },
            function: trigger.tgfoid,
            arguments: arguments.collect(),
            kind: trigger.tgtype,
            enabled: trigger.tgenabled as u8,
            unconditional: trigger.tgnattr == 0 && trigger.tgqual.is_null(),
            is_clone: trigger.tgisclone,
            is_internal: trigger.tgisinternal,
        }
    }
}

/// A view that shows columns of one table and nothing else.
pub struct SimpleView {
    /// Its table.
    pub table: pg_sys::Oid,
    /// The number, in the table, of each of its columns.
    pub columns: Vec<pg_sys::AttrNumber>,
}

impl SimpleView {
    /// What the view shows that a trigger has fired on; None if it is on something else.
    pub fn fired(trigger: &FiredTrigger<'_>) -> Option<Self> {
        // SAFETY: the server has the trigger's relation open while the function runs.
        unsafe { Self::of(trigger.relation()) }
    }

    /// What an open view shows; None if it is another kind of view: one over several relations, with
    /// a condition, with expressions.
    ///
    /// # Safety
    /// An open relation.
    unsafe fn of(relation: pg_sys::Relation) -> Option<Self> {
        // SAFETY: the caller's promise. The query is part of the relation's entry; it is read, and
        // nothing is looked up meanwhile. Each node is of the type that its tag says.
        unsafe {
            if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_VIEW {
                return None;
            }
            let query = &*pg_sys::get_view_query(relation);
            let from = query.jointree.as_ref()?;
            let mut relations = members::<pg_sys::Node>(from.fromlist);
            let (only, more) = (relations.next()?, relations.next());
            let simple = query.commandType == pg_sys::CmdType::CMD_SELECT
                && more.is_none()
                && (*only).type_ == pg_sys::NodeTag::T_RangeTblRef
                && from.quals.is_null()
                && query.setOperations.is_null()
                && query.groupClause.is_null()
                && query.havingQual.is_null()
                && query.distinctClause.is_null()
                && query.limitCount.is_null()
                && query.limitOffset.is_null()
                && query.cteList.is_null();
            if !simple {
                return None;
            }
            let index = (*only.cast::<pg_sys::RangeTblRef>()).rtindex;
            let entry = members::<pg_sys::RangeTblEntry>(query.rtable).nth(index as usize - 1)?;
            let plain = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION;
            if !plain || !(*entry).tablesample.is_null() {
                return None;
            }
            let shown = members::<pg_sys::TargetEntry>(query.targetList);
            let columns = shown
                .filter(|entry| !(**entry).resjunk)
                .map(|entry| {
                    let expression = (*entry).expr.cast::<pg_sys::Node>();
                    let variable = expression.cast::<pg_sys::Var>();
                    let plain = (*expression).type_ == pg_sys::NodeTag::T_Var
                        && (*variable).varno == index
                        && (*variable).varattno > 0;
                    plain.then(|| (*variable).varattno)
                })
                .collect::<Option<Vec<_>>>()?;
            // A column that is shown twice could be given two values.
            let twice = (1..columns.len()).any(|i| columns[..i].contains(&columns[i]));
            (!twice).then(|| Self {
                table: (*entry).relid,
                columns,
            })
        }
    }
}
