//! How an SQL function of ours gets its call.
//!
//! `pgrx` hands the running call over where a function declares one of these types. So no function
//! has to make them of a pointer, and none can make them of another one.
use super::arguments::Arguments;
use crate::pg::transaction::transactions::is_nonatomic_call;
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::interval::Interval;
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

/// Whether the running call may commit, see [`is_nonatomic_call`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MayCommit(pub bool);

// SAFETY: takes no argument of the SQL function for itself; the call is the running one, as pgrx
// hands it over, and lasts as long as the function runs.
unsafe impl<'fcx> ArgAbi<'fcx> for Arguments<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the running call's.
        unsafe { Self::new(pg_sys::FunctionCallInfo::unbox_arg_unchecked(arg)) }
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

// SAFETY: as for `Arguments`; it keeps nothing of the call.
unsafe impl<'fcx> ArgAbi<'fcx> for MayCommit {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: the running call's.
        Self(unsafe { is_nonatomic_call(pg_sys::FunctionCallInfo::unbox_arg_unchecked(arg)) })
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

impl Arguments<'_> {
    /// A jsonb, as it came.
    ///
    /// # Errors
    /// 22004 for a NULL.
    pub fn jsonb_datum(&self, i: usize, name: &str) -> JsonbDatum {
        // SAFETY: the SQL signature says jsonb; arguments live as long as the call.
        unsafe { JsonbDatum::new(self.required(i, name)) }
    }

    /// An interval that is positive.
    ///
    /// # Errors
    /// 22004 for a NULL, 22023 for one that is not positive.
    pub fn interval(&self, i: usize, name: &str) -> Interval {
        // SAFETY: the SQL signature says interval; arguments live as long as the call.
        unsafe { Interval::new(self.positive_interval(i, name)) }
    }
}

/// What the (unused) generated declaration of a function would say of a type.
macro_rules! not_in_declarations {
    ($($name:ty),*) => {
        $(
            // SAFETY: says only that the declaration has no such argument.
            unsafe impl SqlTranslatable for $name {
                const TYPE_IDENT: &'static str = stringify!($name);
                const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
                const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::Skip);
                const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                    Ok(ReturnsRef::One(SqlMappingRef::Skip));
            }
        )*
    };
}

not_in_declarations!(Arguments<'_>, MayCommit);
