//! What code without `unsafe` can do with the server's memory, rows and values. It compiles.
#![forbid(unsafe_code)]
use pg_idempotent::soundness::*;
use pgrx::pg_sys::{FormData_pg_type, Oid};
use std::ffi::CStr;
use std::rc::Rc;

/// Reads arguments, and keeps a document as long as the call.
pub fn read<'c>(arguments: &Arguments<'c>) -> (Container<'c>, String, i64) {
    let document = arguments.jsonb(0, "document");
    (
        document,
        arguments.text(1, "word"),
        arguments.bigint(2, "number"),
    )
}

/// Runs a statement, and reads what it returned.
pub fn query(word: &str, table: Oid) -> Option<String> {
    let connection = Connection::open();
    let parameters = [SqlValue::text(word), SqlValue::oid(table)];
    let found = connection.query("SELECT $1 OPERATOR(pg_catalog.||) $2::text", &parameters);
    let document = connection.first_oid(2);
    (found > 0 && document.is_some()).then(|| connection.first_text(1))?
}

/// Copies what a row of a catalog says.
pub fn look(typid: Oid) -> Option<i16> {
    syscache::find(typid, |row| {
        let form: &FormData_pg_type = row.form();
        form.typlen
    })
}

/// Counts the rows of a statement for which a trigger fires, and replaces a column of each.
pub fn fire(trigger: FiredTrigger<'_>) -> SqlResult {
    let rows = trigger.kept::<i64>();
    let rows = rows.unwrap_or_else(|| trigger.keep(|_: Rc<()>| 0));
    *rows.borrow_mut() += 1;
    match trigger.row() {
        Some(_) => trigger.with_column(1, SqlValue::bigint(*rows.borrow())),
        None => trigger.skipped(),
    }
}

/// Gives rows back.
pub fn answer(set: &mut ResultSet<'_>) -> SqlResult {
    set.row(&[SqlValue::bigint(1), SqlValue::text("one")]);
    SqlResult::row(
        RowType::Answer,
        &[SqlValue::text("refused when run"), SqlValue::boolean(true)],
    )
}

/// Makes rows of values of its own and of another row, keeps them, and reads them.
pub fn keep(row: &Slot, word: &str) -> Option<Slot> {
    let mut rows = TupleStore::new(row.desc());
    rows.put(row);
    let mut builder = RowBuilder::new(row.desc());
    let mut new = builder.start();
    new.copy_all(row);
    new.set(0, SqlValue::text(word));
    rows.put(new.finish());
    let mut copy = Slot::for_stored(rows.desc());
    rows.next(&mut copy).then(|| copy.to_stored())
}

/// Sorts rows, which SQL reads as a table then.
pub fn sort(connection: &Connection, row: &Slot) -> u64 {
    let desc = RowDesc::of(&[RowColumn::of_type(c"number", row.desc().types()[0])]);
    let order = TypeOrder::of_bigint();
    let mut sort = TupleSort::new(&desc, &[SortColumn { column: 0, order }]);
    sort.put(row);
    sort.sort();
    let mut rows = TupleStore::new(&desc);
    sort.drain(&mut rows);
    rows.as_table(c"rows", || connection.query("SELECT number FROM rows", &[]))
}

/// Replaces a row, and finds it again where it is now.
pub fn replace(table: &HeapTable, row: &HeapRow) -> Option<HeapRow> {
    let changed = table.update(row, &[(1, SqlValue::text("checked when run"))]);
    changed.ok().flatten().and_then(|place| table.row_at(place))
}

/// Tells errors which column is at hand.
pub fn watch<'n>(position: &PayloadPosition<'n>, name: &'n CStr) {
    position.column(name);
}

fn main() {}
