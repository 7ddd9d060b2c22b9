//! From the columns of a source to those of the target, by core's own expressions: what an
//! assignment in an INSERT does to a value.
use crate::error::{Report, SqlState};
use crate::pg::value::text;
use crate::pg::{ffi, unwinding};
use crate::target::{Column, OpenRelation, Target};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;

/// How each selected column becomes one of the target.
pub struct Coercions {
    /// By column of the SELECT; null where the types agree.
    pub states: Vec<*mut pg_sys::ExprState>,
    /// What they are evaluated in; the code that reads the rows resets its per-row memory.
    pub context: *mut pg_sys::ExprContext,
    estate: *mut pg_sys::EState,
}

impl Coercions {
    /// For the columns of a relation with these numbers, and the columns of the target, by
    /// position, that they are to become.
    ///
    /// The casts (and CHECKs of a target's domains) are prepared and evaluated as the
    /// current user: for a caller who reads the source into the target, as INSERT … SELECT
    /// evaluates them.
    ///
    /// # Errors
    /// 42804 where no assignment cast leads from one to the other.
    pub fn new(
        target: &Target,
        relation: &OpenRelation,
        numbers: &[pg_sys::AttrNumber],
        columns: &[usize],
    ) -> Self {
        // SAFETY: nodes and states live in the executor state's memory, or in
        // the caller's, which outlives it. The variables refer to the columns
        // of the SELECT, by number.
        unsafe {
            let estate = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(estate);
            let desc = relation.desc();
            let states = numbers
                .iter()
                .zip(columns)
                .enumerate()
                .map(|(i, (number, c))| {
                    let attribute = ffi::attribute(desc, c_int::from(*number) - 1);
                    let column = &target.columns[*c];
                    let variable = pg_sys::makeVar(
                        1,
                        (i + 1) as pg_sys::AttrNumber,
                        attribute.atttypid,
                        attribute.atttypmod,
                        attribute.attcollation,
                        0,
                    );
                    let coerced = pg_sys::coerce_to_target_type(
                        ptr::null_mut(),
                        variable.cast(),
                        attribute.atttypid,
                        column.typid,
                        column.typmod,
                        pg_sys::CoercionContext::COERCION_ASSIGNMENT,
                        pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
                        -1,
                    );
                    if coerced.is_null() {
                        refuse_type(target, column, attribute.atttypid)
                    }
                    if ptr::eq(coerced.cast::<pg_sys::Var>(), variable) {
                        ptr::null_mut()
                    } else {
                        pg_sys::ExecPrepareExpr(coerced.cast(), estate)
                    }
                })
                .collect();
            Self {
                states,
                context,
                estate,
            }
        }
    }
}

impl Drop for Coercions {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: made with this, and freed with it alone, once; the context and the
            // expressions in it are not used any more.
            unsafe { pg_sys::FreeExecutorState(self.estate) };
        }
    }
}

fn refuse_type(target: &Target, column: &Column, from: pg_sys::Oid) -> ! {
    // SAFETY: types exist while columns have them; their names are C strings.
    let (to, from) = unsafe {
        (
            text::from_server(pg_sys::format_type_be(column.typid)),
            text::from_server(pg_sys::format_type_be(from)),
        )
    };
    Report::new(
        SqlState::DatatypeMismatch,
        format!(
            "column \"{}\" is of type {to} but expression is of type {from}",
            column.name
        ),
    )
    .hint("Cast the column in the source, or use a view that casts it.")
    .table(&target.schema, &target.name)
    .column(column.name.clone())
    .raise()
}
