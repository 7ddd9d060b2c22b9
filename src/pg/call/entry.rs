//! The entry of an SQL function of ours: the running call, as pgrx hands it over.
use super::declaration::Declaration;
use super::result::{ResultSet, SqlResult};
use crate::error::{Report, SqlState};
use crate::pg::catalog::name::schema_of_function;
use crate::pg::ffi;
use crate::pg::memory::{kept_in, scope_of};
use crate::pg::statement::spi::Connection;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::{ptr, slice};

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
        let declared = Declaration::of(self.function()).result();
        let Some(value) = connection.first_of(column, declared) else {
            return SqlResult::null();
        };
        // SAFETY: a value of the type that the function is declared to return, which is copied
        // into the memory of the call while the connection holds it.
        unsafe {
            let (mut length, mut by_value) = (0, false);
            pg_sys::get_typlenbyval(declared, &raw mut length, &raw mut by_value);
            SqlResult::datum(self.in_memory(|| {
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

    /// Whether it may commit: it is a CALL, and neither it nor what calls it is part of a
    /// transaction block, a function or a savepoint.
    pub fn may_commit(&self) -> bool {
        // SAFETY: the running call's; CALL hands a CallContext over, and its tag says so.
        unsafe {
            let context = (*self.fcinfo).context;
            !context.is_null()
                && (*context).type_ == pg_sys::NodeTag::T_CallContext
                && !(*context.cast::<pg_sys::CallContext>()).atomic
                && !ffi::plain::IsSubTransaction()
        }
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

/// The states of aggregates.
impl<'fcx> SqlCall<'fcx> {
    /// The state that argument `i` is; None if it is NULL.
    ///
    /// # Safety
    /// The argument is declared as `internal`, and every function that may return such a state to
    /// the server makes a `T`. No other reference to the state is alive.
    pub unsafe fn state<T>(&self, i: usize) -> Option<&'fcx mut T> {
        let state = self.arguments().datum(i)?;
        // SAFETY: the caller's promise; the aggregate's memory outlives the call.
        unsafe { state.cast_mut_ptr::<T>().as_mut() }
    }

    /// Puts a new state into the memory of the aggregate.
    ///
    /// # Errors
    /// 0A000 outside an aggregate.
    pub fn new_state<T>(&self, state: T) -> &'fcx mut T {
        let mut memory = std::ptr::null_mut();
        // SAFETY: the running call's; core gives the aggregate's memory if it is one's.
        if unsafe { pg_sys::AggCheckCallContext(self.raw(), &raw mut memory) } == 0 {
            Report::new(
                SqlState::FeatureNotSupported,
                "support function of an aggregate called outside an aggregate",
            )
            .raise()
        }
        // SAFETY: a context of core's, which outlives the call.
        unsafe { &mut *kept_in(memory, state).as_ptr() }
    }
}

/// The arguments of a function that takes values of the types that it is declared with.
impl<'fcx> SqlCall<'fcx> {
    /// The type that argument `i` is declared with; None without such an argument.
    pub fn argument_type(&self, i: usize) -> Option<pg_sys::Oid> {
        Declaration::of(self.function()).argument(i)
    }

    /// Argument `i` as it comes; None if it is NULL.
    ///
    /// # Panics
    /// If the call has no such argument.
    pub(super) fn argument(&self, i: usize) -> Option<pg_sys::Datum> {
        // SAFETY: the running call's; the number is compared with that of its arguments.
        unsafe { pgrx::fcinfo::pg_getarg_datum(self.fcinfo, i) }
    }

    /// Argument `i`, with the type that it is declared with.
    ///
    /// # Panics
    /// If there is none, or the declaration is another function's.
    pub(super) fn declared_argument(&self, i: usize, declared: &Declaration) -> SqlValue<'fcx> {
        assert_eq!(declared.function(), self.function(), "another function");
        let typid = declared.argument(i).expect("a declared argument");
        // SAFETY: a value of the type that the function is declared with; arguments outlive the
        // call.
        unsafe { SqlValue::of_datum(typid, self.argument(i)) }
    }

    /// The first argument, likewise.
    ///
    /// # Panics
    /// If there is none.
    pub fn first_argument(&self) -> SqlValue<'fcx> {
        self.declared_argument(0, &Declaration::of(self.function()))
    }

    /// The jsonb that an argument is; None for NULL and values of other types.
    pub(super) fn document(&self, argument: SqlValue<'fcx>) -> Option<JsonbDatum> {
        if argument.typid() != pg_sys::JSONBOID {
            return None;
        }
        // SAFETY: a jsonb, by its type, which lives as long as the call.
        let document = |value| unsafe { JsonbDatum::new(value) };
        argument.to_datum().map(document)
    }

    /// Runs `work` with the memory of the call as the current context.
    pub(super) fn in_memory<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: the context outlives the call.
        unsafe { scope_of(self.memory, work) }
    }

    /// The rest of the message that is the argument of a type's receive function, as text in the
    /// server's encoding.
    ///
    /// # Errors
    /// What the encoding does not have.
    ///
    /// # Panics
    /// If the running function receives no type, or the argument is NULL.
    pub fn received_text(&self) -> CString {
        let declared = Declaration::of(self.function());
        assert_eq!(declared.argument(0), Some(pg_sys::INTERNALOID));
        let receive = ffi::plain::receive_function(declared.result());
        assert_eq!(receive, self.function());
        let buffer = self.argument(0).expect("an argument");
        // SAFETY: only the server can make an `internal`, and what it calls the receive function
        // of a type with is a message. Core checks the length, and gives a C string of palloc's.
        unsafe {
            let buffer = buffer.cast_mut_ptr::<pg_sys::StringInfoData>();
            let (length, mut read) = ((*buffer).len - (*buffer).cursor, 0);
            CStr::from_ptr(pg_sys::pq_getmsgtext(buffer, length, &raw mut read)).to_owned()
        }
    }
}

/// The arguments of a function that takes values of any type: they have the types of the expression
/// that calls it, not those of a declaration.
impl<'fcx> SqlCall<'fcx> {
    /// All arguments as they come.
    pub fn values(&self) -> &'fcx [pg_sys::NullableDatum] {
        // SAFETY: the running call's, which has as many as it says.
        unsafe {
            let call = self.raw();
            slice::from_raw_parts((*call).args.as_ptr(), (*call).nargs as usize)
        }
    }

    /// The type of the value that argument `i` has.
    ///
    /// # Panics
    /// If the calling expression is not known, as it is not when a function of ours calls another.
    pub fn value_type(&self, i: usize) -> pg_sys::Oid {
        // SAFETY: the running call's.
        let typid = unsafe { pg_sys::get_fn_expr_argtype((*self.raw()).flinfo, i as i32) };
        assert_ne!(typid, pg_sys::InvalidOid, "an unknown expression calls");
        typid
    }

    /// Whether the last argument is an array after the keyword VARIADIC.
    pub fn has_variadic_array(&self) -> bool {
        // SAFETY: the running call's.
        unsafe { pg_sys::get_fn_expr_variadic((*self.raw()).flinfo) }
    }

    /// All arguments as they come, and the members of the array in place of the last one, which
    /// comes after VARIADIC; None if that is NULL.
    ///
    /// # Errors
    /// What core raises for what is no array.
    pub fn values_and_members(&self) -> Option<Vec<pg_sys::NullableDatum>> {
        let (_array, others) = self.values().split_last()?;
        let (mut members, mut types, mut nulls) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: the running call's; core gives as many values as it says, in the current memory.
        unsafe {
            let (to_members, to_types, to_nulls) =
                (&raw mut members, &raw mut types, &raw mut nulls);
            let first = others.len() as i32;
            let count = pg_sys::extract_variadic_args(
                self.raw(),
                first,
                false,
                to_members,
                to_types,
                to_nulls,
            );
            let count = usize::try_from(count).ok()?;
            let members = (0..count).map(|i| pg_sys::NullableDatum {
                value: *members.add(i),
                isnull: *nulls.add(i),
            });
            Some(others.iter().copied().chain(members).collect())
        }
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
