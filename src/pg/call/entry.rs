//! The entry of an SQL function of ours: the running call, as pgrx hands it over.
use super::arguments::Arguments;
use super::declaration::Declaration;
use super::result::{ResultSet, SqlResult};
use crate::error::{Report, SqlState};
use crate::pg::catalog::name::schema_of_function;
use crate::pg::ffi;
use crate::pg::memory::scope_of;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::transactions::is_nonatomic_call;
use crate::pg::value::text;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use std::ffi::c_int;
use std::marker::PhantomData;

/// The call that is running. Only pgrx's wrapper of a function makes one, from what the server
/// handed to it, and it does not outlive the function.
#[derive(Clone, Copy)]
pub struct SqlCall<'fcx> {
    fcinfo: pg_sys::FunctionCallInfo,
    /// The context that was current when the function was entered.
    memory: pg_sys::MemoryContext,
    lifetime: PhantomData<&'fcx ()>,
}

impl<'fcx> SqlCall<'fcx> {
    /// Its arguments.
    pub fn arguments(&self) -> Arguments<'fcx> {
        // SAFETY: the running call's; its caller's context outlives it.
        unsafe { Arguments::new(self.fcinfo, self.memory) }
    }

    /// The running function.
    pub fn function(&self) -> pg_sys::Oid {
        // SAFETY: the server has looked the function up for the call that is running.
        unsafe { (*(*self.fcinfo).flinfo).fn_oid }
    }

    /// The result that is a column (from 1) of the first row that the connection's last statement
    /// returned.
    ///
    /// # Panics
    /// If the column's type is not the one that the function is declared to return, and as
    /// [`Connection::first`].
    pub fn first_result(&self, connection: &Connection, column: c_int) -> SqlResult {
        let declared = Declaration::of(self.function()).result;
        let Some(value) = connection.first_of(column, declared) else {
            return SqlResult::null();
        };
        // SAFETY: a value of the type that the function is declared to return, which is copied
        // into the memory of the call while the connection holds it.
        unsafe {
            let (mut length, mut by_value) = (0, false);
            pg_sys::get_typlenbyval(declared, &raw mut length, &raw mut by_value);
            SqlResult::datum(scope_of(self.memory, || {
                ffi::guard(|| ffi::unguarded::datumCopy(value, by_value, length.into()))
            }))
        }
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

    /// The context that was current when the function was entered.
    pub(super) fn memory(&self) -> pg_sys::MemoryContext {
        self.memory
    }

    /// The quoted name of the schema of the running function, which may have been dropped meanwhile:
    /// the server locks no function that runs.
    ///
    /// # Errors
    /// 42883
    pub fn function_schema(&self) -> String {
        let Some(schema) = schema_of_function(self.function()) else {
            Report::new(SqlState::UndefinedFunction, "the function does not exist")
                .detail("The function was dropped while it ran.")
                .hint("Install the extension with CREATE EXTENSION pg_idempotent.")
                .raise()
        };
        text::quote_identifier(&schema)
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
            // SAFETY: reads a backend-local variable.
            memory: unsafe { pg_sys::CurrentMemoryContext },
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
