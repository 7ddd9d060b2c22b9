//! Results of SQL functions: one composite row, or a set of them.
use crate::pg::ffi;
use crate::pg::memory::kept_in;
use crate::pg::value::by_reference::{to_cstring, to_message};
use crate::pg::value::sql_value::SqlValue;
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;

/// The row types of our functions, as their declarations under `sql/` have them.
#[derive(Clone, Copy)]
pub enum RowType {
    /// `outcome text, stored jsonb, differences jsonb`
    Outcome,
    /// `received, inserted, duplicates, conflicts, rejected bigint`
    Counts,
    /// `received, inserted, duplicates, conflicts, rejected bigint, replayed boolean`
    BatchCounts,
    /// `key text[], arbiter name, compared text[], compare text[], ignore text[],
    /// on_conflict text, remember name, problem text`
    GuardOptions,
    /// `response jsonb, replayed boolean`
    Answer,
    /// `status text, attempt bigint, recovery_point text, response jsonb`
    Attempt,
    /// `run_id bigint, decision text, reason text`
    Run,
    /// `received, inserted, updated, deleted, unchanged, stale, superseded bigint`
    Merged,
    /// The same, and `replayed boolean`
    BatchMerged,
    /// `deleted bigint, inserted bigint, unchanged boolean`
    Overwritten,
}

impl RowType {
    /// One table, to be read like one; so it is longer than other functions.
    fn columns(self) -> &'static [(&'static CStr, pg_sys::Oid)] {
        match self {
            Self::Outcome => &[
                (c"outcome", pg_sys::TEXTOID),
                (c"stored", pg_sys::JSONBOID),
                (c"differences", pg_sys::JSONBOID),
            ],
            Self::Counts => &[
                (c"received", pg_sys::INT8OID),
                (c"inserted", pg_sys::INT8OID),
                (c"duplicates", pg_sys::INT8OID),
                (c"conflicts", pg_sys::INT8OID),
                (c"rejected", pg_sys::INT8OID),
            ],
            Self::BatchCounts => &[
                (c"received", pg_sys::INT8OID),
                (c"inserted", pg_sys::INT8OID),
                (c"duplicates", pg_sys::INT8OID),
                (c"conflicts", pg_sys::INT8OID),
                (c"rejected", pg_sys::INT8OID),
                (c"replayed", pg_sys::BOOLOID),
            ],
            Self::GuardOptions => &[
                (c"key", pg_sys::TEXTARRAYOID),
                (c"arbiter", pg_sys::NAMEOID),
                (c"compared", pg_sys::TEXTARRAYOID),
                (c"compare", pg_sys::TEXTARRAYOID),
                (c"ignore", pg_sys::TEXTARRAYOID),
                (c"on_conflict", pg_sys::TEXTOID),
                (c"remember", pg_sys::NAMEOID),
                (c"null_key", pg_sys::TEXTOID),
                (c"problem", pg_sys::TEXTOID),
            ],
            Self::Answer => &[
                (c"response", pg_sys::JSONBOID),
                (c"replayed", pg_sys::BOOLOID),
            ],
            Self::Attempt => &[
                (c"status", pg_sys::TEXTOID),
                (c"attempt", pg_sys::INT8OID),
                (c"recovery_point", pg_sys::TEXTOID),
                (c"response", pg_sys::JSONBOID),
            ],
            Self::Run => &[
                (c"run_id", pg_sys::INT8OID),
                (c"decision", pg_sys::TEXTOID),
                (c"reason", pg_sys::TEXTOID),
            ],
            Self::Merged => &[
                (c"received", pg_sys::INT8OID),
                (c"inserted", pg_sys::INT8OID),
                (c"updated", pg_sys::INT8OID),
                (c"deleted", pg_sys::INT8OID),
                (c"unchanged", pg_sys::INT8OID),
                (c"stale", pg_sys::INT8OID),
                (c"superseded", pg_sys::INT8OID),
            ],
            Self::BatchMerged => &[
                (c"received", pg_sys::INT8OID),
                (c"inserted", pg_sys::INT8OID),
                (c"updated", pg_sys::INT8OID),
                (c"deleted", pg_sys::INT8OID),
                (c"unchanged", pg_sys::INT8OID),
                (c"stale", pg_sys::INT8OID),
                (c"superseded", pg_sys::INT8OID),
                (c"replayed", pg_sys::BOOLOID),
            ],
            Self::Overwritten => &[
                (c"deleted", pg_sys::INT8OID),
                (c"inserted", pg_sys::INT8OID),
                (c"unchanged", pg_sys::BOOLOID),
            ],
        }
    }

    /// Name and type of each column, as the declaration has them.
    #[cfg(any(test, feature = "pg_test"))]
    pub fn column_list(self) -> Vec<String> {
        let type_name = |oid| match oid {
            pg_sys::BOOLOID => "boolean",
            pg_sys::INT8OID => "bigint",
            pg_sys::JSONBOID => "jsonb",
            pg_sys::NAMEOID => "name",
            pg_sys::TEXTOID => "text",
            pg_sys::TEXTARRAYOID => "text[]",
            other => panic!("a column of type {}", other.to_u32()),
        };
        let column = |(name, oid): &(&CStr, pg_sys::Oid)| {
            format!("{} {}", name.to_string_lossy(), type_name(*oid))
        };
        self.columns().iter().map(column).collect()
    }

    /// Its descriptor, made once in a backend: core's look-up of a function's
    /// result type, done for each call, costs as much as finding the row.
    fn desc(self) -> pg_sys::TupleDesc {
        thread_local! {
            static DESCS: [Cell<pg_sys::TupleDesc>; RowType::Overwritten as usize + 1] =
                const { [const { Cell::new(ptr::null_mut()) }; RowType::Overwritten as usize + 1] };
        }
        let known = DESCS.with(|descs| descs[self as usize].get());
        if !known.is_null() {
            return known;
        }
        // SAFETY: in memory that lives as long as the backend; attribute
        // numbers within the template.
        unsafe {
            let caller = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let columns = self.columns();
            let desc = pg_sys::CreateTemplateTupleDesc(columns.len() as i32);
            for (i, (name, typid)) in columns.iter().enumerate() {
                let number = (i + 1) as pg_sys::AttrNumber;
                pg_sys::TupleDescInitEntry(desc, number, name.as_ptr(), *typid, -1, 0);
            }
            let desc = pg_sys::BlessTupleDesc(desc);
            pg_sys::MemoryContextSwitchTo(caller);
            DESCS.with(|descs| descs[self as usize].set(desc));
            desc
        }
    }
}

/// What one of our functions hands back, ready made. Its SQL type is in the
/// function's declaration under `sql/`.
pub struct SqlResult(Option<pg_sys::Datum>);

impl SqlResult {
    /// NULL; also what a function that returns a set hands back.
    pub fn null() -> Self {
        Self(None)
    }

    /// A text.
    pub fn text(value: &str) -> Self {
        Self(SqlValue::text(value).to_datum())
    }

    /// A boolean.
    pub fn boolean(value: bool) -> Self {
        Self(SqlValue::boolean(value).to_datum())
    }

    /// An oid.
    pub fn oid(value: pg_sys::Oid) -> Self {
        Self(SqlValue::oid(value).to_datum())
    }

    /// A timestamptz, in the server's microseconds.
    pub fn timestamptz(value: pg_sys::TimestampTz) -> Self {
        Self(SqlValue::timestamptz(value).to_datum())
    }

    /// Of a function that gives a type of variable length: its content.
    pub fn content(bytes: &[u8]) -> Self {
        Self(SqlValue::bytea(bytes).to_datum())
    }

    /// Of a type's output function: text in the server's encoding.
    pub fn output_text(text: &CStr) -> Self {
        Self(Some(to_cstring(text)))
    }

    /// Of a type's send function: text in the server's encoding, which the client gets in its own.
    pub fn sent_text(text: &CStr) -> Self {
        Self(Some(to_message(text)))
    }

    /// A datum, as it is.
    ///
    /// # Safety
    /// It is a value of the type that the function is declared to return, and what it
    /// points to outlives the call.
    pub unsafe fn datum(datum: pg_sys::Datum) -> Self {
        Self(Some(datum))
    }

    /// One row.
    ///
    /// # Panics
    /// If the values are not as many as the row has columns, or of other types.
    pub fn row<const N: usize>(row_type: RowType, values: &[SqlValue<'_>; N]) -> Self {
        let wanted = row_type.columns().iter().map(|(_, typid)| *typid);
        assert!(
            wanted.eq(values.iter().map(SqlValue::typid)),
            "the values of a result are not those of its row type"
        );
        let (mut datums, mut nulls) = split(values);
        // SAFETY: their number and types were checked.
        unsafe { Self::form(row_type, &mut datums, &mut nulls) }
    }

    /// A row of NULLs.
    pub fn row_of_nulls(row_type: RowType) -> Self {
        let count = row_type.columns().len();
        let mut datums = vec![pg_sys::Datum::null(); count];
        // SAFETY: as many NULLs as there are columns.
        unsafe { Self::form(row_type, &mut datums, &mut vec![true; count]) }
    }

    /// # Safety
    /// There are as many datums and flags as columns, each datum of its column's type or NULL.
    unsafe fn form(row_type: RowType, datums: &mut [pg_sys::Datum], nulls: &mut [bool]) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let tuple =
                pg_sys::heap_form_tuple(row_type.desc(), datums.as_mut_ptr(), nulls.as_mut_ptr());
            Self(Some(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)))
        }
    }

    /// A state that was made by `SqlCall::new_state`.
    pub fn state<T>(state: &mut T) -> Self {
        // SAFETY: a pointer is what a function that returns `internal` gives; the server only
        // hands it back to the aggregate's own functions, see `SqlCall::state`.
        unsafe { Self::datum(pg_sys::Datum::from(&raw mut *state)) }
    }

    /// A new state, in the current memory, as a deserialization function gives it.
    pub fn new_state<T>(state: T) -> Self {
        // SAFETY: the current context is always valid.
        let state = unsafe { kept_in(pg_sys::CurrentMemoryContext, state) };
        // SAFETY: as in [`SqlResult::state`].
        unsafe { Self::datum(pg_sys::Datum::from(state.as_ptr())) }
    }
}

// SAFETY: hands over the datum of the function's declared type, or NULL, for this call.
unsafe impl BoxRet for SqlResult {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.0 {
            // SAFETY: made here, or by the promise to `SqlResult::datum`, a value of the
            // function's type that outlives the call.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

// SAFETY: only says what the (unused) generated declaration would read.
unsafe impl SqlTranslatable for SqlResult {
    const TYPE_IDENT: &'static str = "record";
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal("record"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("record")));
}

/// The datums of values, and which of them are NULL, as core's functions take them.
fn split<const N: usize>(values: &[SqlValue<'_>; N]) -> ([pg_sys::Datum; N], [bool; N]) {
    let datums = values.map(SqlValue::to_datum);
    let values = datums.map(|datum| datum.unwrap_or(pg_sys::Datum::null()));
    (values, datums.map(|datum| datum.is_none()))
}

/// The rows of a function that returns a set, handed over at the end.
pub struct ResultSet<'c> {
    store: *mut pg_sys::Tuplestorestate,
    desc: pg_sys::TupleDesc,
    /// The types of its columns.
    types: Vec<pg_sys::Oid>,
    lifetime: PhantomData<&'c pg_sys::FunctionCallInfoBaseData>,
}

impl ResultSet<'_> {
    /// Starts the set of the running call. A caller that cannot take a set is
    /// error 0A000, as with core's functions.
    ///
    /// # Safety
    /// `fcinfo` is that of the running call, which outlives the set's lifetime.
    pub(super) unsafe fn start(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        // SAFETY: the caller's promise; core's own helper checks the call and makes
        // descriptor and store in the per-query context.
        unsafe {
            pg_sys::InitMaterializedSRF(fcinfo, 0);
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let desc = (*info).setDesc;
            Self {
                store: (*info).setResult,
                desc,
                types: (0..(*desc).natts)
                    .map(|i| ffi::attribute(desc, i).atttypid)
                    .collect(),
                lifetime: PhantomData,
            }
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If the values are not as many as the set has columns, or of other types.
    pub fn row<const N: usize>(&mut self, values: &[SqlValue<'_>; N]) {
        assert!(
            self.types
                .iter()
                .copied()
                .eq(values.iter().map(SqlValue::typid)),
            "the values of a result are not those of its set"
        );
        let (mut datums, mut nulls) = split(values);
        // SAFETY: as many values as the descriptor has columns, each of its column's type;
        // descriptor and store outlive the set by the promise to `start`.
        unsafe {
            pg_sys::tuplestore_putvalues(
                self.store,
                self.desc,
                datums.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }
}
