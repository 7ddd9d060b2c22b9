//! The entry of an SQL function of ours: the running call, as pgrx hands it over.
use super::arguments::Arguments;
use super::result::ResultSet;
use crate::error::{Report, SqlState};
use crate::pg::transaction::transactions::is_nonatomic_call;
use crate::pg::value::text;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use std::marker::PhantomData;

/// The call that is running. Only pgrx's wrapper of a function makes one, from what the server
/// handed to it, and it does not outlive the function.
#[derive(Clone, Copy)]
pub struct SqlCall<'fcx> {
    fcinfo: pg_sys::FunctionCallInfo,
    lifetime: PhantomData<&'fcx ()>,
}

impl<'fcx> SqlCall<'fcx> {
    /// Its arguments.
    pub fn arguments(&self) -> Arguments<'fcx> {
        // SAFETY: the running call's.
        unsafe { Arguments::new(self.fcinfo) }
    }

    /// Starts the set of rows that it returns.
    ///
    /// # Errors
    /// As [`ResultSet::start`].
    pub fn result_set(&self) -> ResultSet<'fcx> {
        // SAFETY: the running call's, which lasts as long as the set does.
        unsafe { ResultSet::start(self.fcinfo) }
    }

    /// Whether it may commit, see [`is_nonatomic_call`].
    pub fn may_commit(&self) -> bool {
        // SAFETY: the running call's.
        unsafe { is_nonatomic_call(self.fcinfo) }
    }

    /// The quoted name of the schema of the running function, which may have been dropped meanwhile:
    /// the server locks no function that runs.
    ///
    /// # Errors
    /// 42883
    pub fn function_schema(&self) -> String {
        // SAFETY: the running call's; look-ups in catalogs; null if the function is gone, or its
        // schema, which is asked before the name is read.
        unsafe {
            let function = (*(*self.fcinfo).flinfo).fn_oid;
            let schema = pg_sys::get_namespace_name(pg_sys::get_func_namespace(function));
            if schema.is_null() {
                Report::new(SqlState::UndefinedFunction, "the function does not exist")
                    .detail("The function was dropped while it ran.")
                    .hint("Install the extension with CREATE EXTENSION pg_idempotent.")
                    .raise()
            }
            text::quote_identifier(&text::from_server(schema))
        }
    }

    /// For core's functions.
    pub fn raw(&self) -> pg_sys::FunctionCallInfo {
        self.fcinfo
    }
}

// SAFETY: takes the pointer that the server gave, which is valid for `'fcx`, the time of the call;
// no argument of the SQL function is used up.
unsafe impl<'fcx> ArgAbi<'fcx> for SqlCall<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        Self {
            // SAFETY: as pgrx does it for the pointer itself.
            fcinfo: unsafe { pg_sys::FunctionCallInfo::unbox_arg_unchecked(arg) },
            lifetime: PhantomData,
        }
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

// SAFETY: only says what the (unused) generated declaration would read.
unsafe impl SqlTranslatable for SqlCall<'_> {
    const TYPE_IDENT: &'static str = "internal";
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        Ok(SqlMappingRef::literal("internal"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::literal("internal")));
}
