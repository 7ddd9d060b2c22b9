//! Results of SQL functions: one composite row, or a set of them.
use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use std::ptr;

/// What one of our functions hands back, ready made. Its SQL type is in the
/// function's declaration under `sql/`.
pub struct SqlResult(Option<pg_sys::Datum>);

impl SqlResult {
    /// NULL; also what a function that returns a set hands back.
    pub fn null() -> Self {
        Self(None)
    }

    /// One row of the function's declared result.
    pub fn row(fcinfo: pg_sys::FunctionCallInfo, values: &[Option<pg_sys::Datum>]) -> Self {
        // SAFETY: the descriptor has as many columns as the callers pass.
        unsafe {
            let desc = result_desc(fcinfo);
            let (mut datums, mut nulls) = split(values);
            let tuple = pg_sys::heap_form_tuple(desc, datums.as_mut_ptr(), nulls.as_mut_ptr());
            Self(Some(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)))
        }
    }
}

unsafe impl BoxRet for SqlResult {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.0 {
            // SAFETY: made for this call by `SqlResult::row`.
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

fn split(values: &[Option<pg_sys::Datum>]) -> (Vec<pg_sys::Datum>, Vec<bool>) {
    (
        values
            .iter()
            .map(|v| v.unwrap_or(pg_sys::Datum::null()))
            .collect(),
        values.iter().map(Option::is_none).collect(),
    )
}

/// The blessed descriptor of the function's result, made once per query.
///
/// # Safety
/// `fcinfo` is that of the running call of a function with OUT columns that
/// keeps nothing else in `fn_extra`.
unsafe fn result_desc(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::TupleDesc {
    // SAFETY: the caller's promise; the copy lives as long as `flinfo`.
    unsafe {
        let flinfo = (*fcinfo).flinfo;
        if (*flinfo).fn_extra.is_null() {
            let caller = pg_sys::MemoryContextSwitchTo((*flinfo).fn_mcxt);
            let mut desc: pg_sys::TupleDesc = ptr::null_mut();
            pg_sys::get_call_result_type(fcinfo, ptr::null_mut(), &raw mut desc);
            (*flinfo).fn_extra = pg_sys::BlessTupleDesc(desc).cast();
            pg_sys::MemoryContextSwitchTo(caller);
        }
        (*flinfo).fn_extra.cast()
    }
}

/// The rows of a function that returns a set, handed over at the end.
pub struct ResultSet {
    store: *mut pg_sys::Tuplestorestate,
    desc: pg_sys::TupleDesc,
}

impl ResultSet {
    /// Starts the set of the running call. A caller that cannot take a set is
    /// error 0A000, as with core's functions.
    pub fn start(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        // SAFETY: core's own helper checks the call and makes descriptor and
        // store in the per-query context.
        unsafe {
            pg_sys::InitMaterializedSRF(fcinfo, 0);
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            Self {
                store: (*info).setResult,
                desc: (*info).setDesc,
            }
        }
    }

    /// Adds a row.
    pub fn row(&mut self, values: &[Option<pg_sys::Datum>]) {
        let (mut datums, mut nulls) = split(values);
        // SAFETY: as many values as the descriptor has columns.
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
