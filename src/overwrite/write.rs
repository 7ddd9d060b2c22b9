//! The statements that write: plain DELETE and INSERT, with the caller's rights. With
//! these runs what the table's owner wrote, as with a DELETE and INSERT of theirs.
use super::rows::{Hashing, RowSetHash};
use super::send;
use super::slice::Slice;
use crate::error::{Report, RowOrigin, RowPosition, SqlState};
use crate::payload::row::RowLayout;
use crate::payload::shape::{IdentityValues, refuse_identity};
use crate::payload::source::Source;
use crate::pg::backend::transaction_is_read_only;
use crate::pg::rows::TupleStore;
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::transaction::snapshot::FreshSnapshot;
use crate::target::{OpenRelation, Target, row_security_is_active};
use crate::write::inserted_columns;
use std::ffi::CStr;

/// The name under which INSERT sees the rows.
const ROWS: &CStr = c"pg_idempotent_rows";

/// Locks the tables that rows of the slice may be in as the DELETE does, before the SELECTs
/// that come first lock any of their indexes: partitions, and tables that inherit from the
/// target. Of these the server plans the DELETE for those only that the slice leaves over.
///
/// A REINDEX of one of them waits for a lock on its index, and has the table locked against
/// writing meanwhile. If the index were locked here first, each would wait for the other.
pub fn lock_tables(slice: &Slice<'_>, relation: &OpenRelation) {
    // In a READ ONLY transaction nothing is deleted.
    if !relation.may_have_children() || transaction_is_read_only() {
        return;
    }
    let (sql, parameters) = delete_statement(slice);
    let types: Vec<_> = parameters.iter().map(Parameter::typid).collect();
    let connection = Connection::open();
    let plan = SpiPlan::prepare_with(&connection, &sql, &types);
    plan.lock_tables(&connection, &parameters);
    slice.target.check_still_named(&plan);
}

fn delete_statement<'s>(slice: &'s Slice<'_>) -> (String, Vec<Parameter<'s>>) {
    let (condition, parameters) = slice.condition();
    let sql = format!("DELETE FROM {} WHERE {condition}", slice.target.qualified());
    (sql, parameters)
}

/// Deletes the slice's rows; gives how many. `stored` is what the slice was seen to hold,
/// by `stored_rows`.
///
/// # Errors
/// 42501 for rows that a policy, 27000 for rows that a trigger keeps: they would stay
/// beside the new ones.
pub fn delete(
    slice: &Slice<'_>,
    relation: &OpenRelation,
    hashing: &Hashing,
    stored_rows: &Source<'_>,
    stored: RowSetHash,
) -> i64 {
    let target = slice.target;
    let (sql, parameters) = delete_statement(slice);
    let types: Vec<_> = parameters.iter().map(Parameter::typid).collect();
    let connection = Connection::open();
    let plan = SpiPlan::prepare_with(&connection, &sql, &types);
    let deleted = connection.execute_plan(&plan, &parameters);
    target.check_still_named(&plan);
    drop(connection);
    let by_policy = row_security_is_active(target);
    if deleted < stored.count && (by_policy || triggers_may_suppress_deletes(target, relation)) {
        let _snapshot = FreshSnapshot::push();
        let kept = RowSetHash::of(hashing, stored_rows).count;
        if kept > 0 {
            refuse_undeleted(target, kept, by_policy)
        }
    }
    deleted as i64
}

/// Whether a trigger might keep rows from being deleted. Partitions may have their own, and the table on another
/// server.
fn triggers_may_suppress_deletes(target: &Target, relation: &OpenRelation) -> bool {
    target.partitioned || target.foreign || relation.trigger_events().before_delete_row
}

fn refuse_undeleted(target: &Target, kept: u64, by_policy: bool) -> ! {
    let (state, who) = if by_policy {
        (
            SqlState::InsufficientPrivilege,
            "A row-level security policy",
        )
    } else {
        let who = match target.foreign {
            true => "A trigger or policy on the other server",
            false => "A trigger",
        };
        (SqlState::TriggeredDataChangeViolation, who)
    };
    Report::new(
        state,
        format!(
            "cannot overwrite the slice of table \"{}\": {kept} of its rows could not be deleted",
            target.name
        ),
    )
    .detail(format!("{who} keeps them."))
    .table(&target.schema, &target.name)
    .raise()
}

/// Inserts the rows; gives how many went in.
pub fn insert(target: &Target, source: &Source<'_>, rows: &mut TupleStore) -> i64 {
    if rows.len() == 0 {
        return 0;
    }
    refuse_identity(target, source.columns(), IdentityValues::Refused);
    let named: Vec<usize> = inserted_columns(target, source.columns()).collect();
    if target.is_distributed() && !target.columns.is_empty() {
        return send::insert(target, &named, rows);
    }
    let columns = match target.column_list(named.iter().copied()) {
        none if none.is_empty() => none,
        some => format!("({some}) "),
    };
    let values = named
        .iter()
        .map(|c| format!("a{c}"))
        .collect::<Vec<_>>()
        .join(", ");
    // Each row has one. To look at it lets an error name the row, see `RowPosition`.
    let ordinal = RowLayout::of(target).ordinal_column();
    let sql = format!(
        "INSERT INTO {} {columns}SELECT {values} FROM {} WHERE a{ordinal} IS NOT NULL",
        target.qualified(),
        ROWS.to_str().expect("ASCII"),
    );
    let connection = Connection::open();
    rows.as_table(ROWS, || {
        let plan = SpiPlan::prepare(&connection, &sql);
        let position = RowPosition::watch(RowOrigin::Source, rows.raw(), ordinal, None);
        let count = connection.insert(&plan, None);
        drop(position);
        target.check_still_named(&plan);
        count as i64
    })
}

/// Refuses a table on which a rule says what DELETE does.
///
/// # Errors
/// 0A000
pub fn refuse_delete_rules(target: &Target, relation: &OpenRelation) {
    if relation.has_delete_rule() {
        Report::new(
            SqlState::FeatureNotSupported,
            format!("cannot overwrite rows of table \"{}\"", target.name),
        )
        .detail("The table has a rule on DELETE.")
        .hint("Replace the rule with a trigger.")
        .table(&target.schema, &target.name)
        .raise()
    }
}
