//! The arguments of a function that takes values of any type: they have the types of the expression
//! that calls it, not those of a declaration.
use super::entry::SqlCall;
use pgrx::pg_sys;
use std::ptr;
use std::slice;

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
