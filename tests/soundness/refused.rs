//! What code without `unsafe` cannot do: each marked line is refused by the compiler for the
//! reason in its mark, an error's code or `lifetime`, and no other line is.
#![forbid(unsafe_code)]
use pg_idempotent::soundness::*;
use pgrx::pg_sys::{self, Datum};
use std::cell::RefCell;
use std::ffi::CString;
use std::ptr::null_mut;
use std::rc::Rc;

pub fn document_outlives_its_call<'c>(arguments: &Arguments<'c>) -> Container<'static> {
    arguments.jsonb(0, "document") //~ lifetime
}

pub fn text_outlives_its_call<'c>(arguments: &Arguments<'c>) -> &'static [u8] {
    arguments.whole_text(0, "word").1 //~ lifetime
}

pub fn a_row_outlives_its_trigger<'c>(trigger: FiredTrigger<'c>) -> Option<TriggerRow<'static>> {
    trigger.row() //~ lifetime
}

pub fn what_is_kept_outlives_the_call<'c>(trigger: &FiredTrigger<'c>) -> &'static RefCell<u32> {
    trigger.keep(|_: Rc<()>| 0) //~ lifetime
}

pub fn any_pointer_is_a_call(call: &mut SqlCall<'_>) {
    call.fcinfo = null_mut(); //~ E0616
}

pub fn any_datum_is_a_parameter(connection: &Connection) {
    let text = SqlValue::of_datum(pg_sys::TEXTOID, Some(Datum::from(1))); //~ E0133
    connection.query("SELECT $1", &[text]);
}

pub fn a_parameter_outlives_its_text() -> SqlValue<'static> {
    let word = String::from("word");
    SqlValue::text(&word) //~ E0515
}

pub fn a_parameter_outlives_its_tuple_id() -> SqlValue<'static> {
    let place = pg_sys::ItemPointerData::default();
    SqlValue::tid(&place) //~ E0515
}

pub fn a_row_of_a_catalog_outlives_the_look() -> Option<&'static pg_sys::FormData_pg_type> {
    syscache::find(pg_sys::TEXTOID, |row| row.form()) //~ lifetime
}

pub fn any_datum_is_a_result() -> SqlResult {
    SqlResult::datum(Datum::from(1)) //~ E0133
}

pub fn any_pointer_takes_a_set() {
    ResultSet::start(null_mut()).row(&[]); //~ E0624
}

pub fn any_pointer_is_a_descriptor() -> RowDesc {
    RowDesc::of_server(null_mut()) //~ E0133
}

pub fn any_datum_is_a_column(row: &mut NewRow<'_>) {
    row.set_unguarded(0, Some(Datum::from(1))); //~ E0133
}

pub fn a_row_outlives_what_it_points_to(builder: &mut RowBuilder, row: Slot) -> &Slot {
    let mut copy = builder.start();
    copy.copy_all(&row);
    copy.finish() //~ E0515
}

pub fn a_row_outlives_the_text_in_it(builder: &mut RowBuilder) -> &Slot {
    let word = String::from("word");
    let mut row = builder.start();
    row.set(0, SqlValue::text(&word));
    row.finish() //~ E0515
}

pub fn a_row_stays_when_the_next_one_is_made(builder: &mut RowBuilder, rows: &mut TupleStore) {
    let row = builder.start().finish();
    builder.start(); //~ E0499
    rows.put(row);
}

pub fn values_outlive_the_reset_of_their_memory(array: Container<'_>, memory: &mut Memory) {
    let values = read_members(&[], array, memory);
    memory.reset(); //~ E0502
    drop(values);
}

pub fn a_table_outlives_its_rows(rows: TupleStore) {
    rows.as_table(c"rows", || drop(rows)); //~ E0505
}

pub fn any_slot_holds_a_row() -> HeapRow {
    HeapRow::of_slot(null_mut(), true) //~ E0133
}

pub fn a_value_outlives_its_row(table: &HeapTable, place: Tid) -> Option<SqlValue<'static>> {
    table.row_at(place).map(|row| row.value(1)) //~ E0515
}

pub fn an_error_names_what_is_gone() {
    let position = PayloadPosition::watch(RowOrigin::Payload);
    let name = CString::default();
    position.column(&name); //~ E0597
}

fn main() {}
