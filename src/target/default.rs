//! What fills a column that an INSERT does not name, and whether that is another
//! value with every attempt.
use super::default_kind::{DefaultKind, functions_in};
use super::{Column, OpenRelation};
use crate::pg::ffi;
use crate::pg::statement::expression::evaluate;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use pgrx::pg_sys;

/// A default that is not immutable.
pub struct ColumnDefault {
    pub kind: DefaultKind,
    /// Whether it is another value every time, whoever the session is and whatever the
    /// time: a sequence, or anything volatile, be the time in it as well.
    pub is_volatile: bool,
    /// As SQL shows it, such as `now()`; None for an identity.
    pub expression: Option<String>,
}

impl ColumnDefault {
    /// That of a column; None if there is none, or it is immutable. The expression is
    /// walked and shown as it is written; none of its functions is called.
    pub fn of(relation: &OpenRelation, column: &Column) -> Option<Self> {
        if !column.has_volatile_default && column.stable_default.is_none() {
            return None;
        }
        Self::of_number(relation, column.attnum)
    }

    /// The default of the column with this number, which is not generated, of any relation; None if
    /// there is none, or it is immutable.
    pub fn of_number(relation: &OpenRelation, number: pg_sys::AttrNumber) -> Option<Self> {
        // SAFETY: a column of the open relation, and its default, if it has one, as a fresh
        // tree; nothing is owned inside the guard.
        unsafe {
            let default = pg_sys::build_column_default(relation.raw(), number.into());
            if default.is_null() || !pg_sys::contain_mutable_functions(default) {
                return None;
            }
            let met = functions_in(default);
            let identity = (*default).type_ == pg_sys::NodeTag::T_NextValueExpr;
            let show = || {
                let shown = pg_sys::deparse_expression(default, std::ptr::null_mut(), false, false);
                text::from_server(shown)
            };
            Some(Self {
                kind: met.kind(),
                is_volatile: met.sequence || met.volatile,
                expression: (!identity).then(show),
            })
        }
    }
}

/// The value that a column's default has now, in the current memory: what an INSERT of this
/// moment that leaves the column out would get. `number` is that of the column in this
/// relation.
///
/// It is evaluated as the executor evaluates it for the INSERT: with the rights of the
/// current user, under the active snapshot. So it is asked for only on behalf of somebody who
/// inserts into the table, or has its rows compared with others, and for whom the SELECT of
/// them runs what the owner wrote into indexes and policies; never for one who looks at what
/// the table is like.
///
/// # Errors
/// Whatever the default raises.
pub fn evaluate_default(
    relation: &OpenRelation,
    column: &Column,
    number: pg_sys::AttrNumber,
) -> SqlValue<'static> {
    // SAFETY: a column of the open relation. The executor state is freed here, or with the
    // current memory, whose child it is; the value is copied out of it before.
    unsafe {
        let default = pg_sys::build_column_default(relation.raw(), number.into());
        if default.is_null() {
            return SqlValue::null(column.typid);
        }
        let estate = pg_sys::CreateExecutorState();
        let context = pg_sys::MakePerTupleExprContext(estate);
        let state = pg_sys::ExecPrepareExpr(default.cast(), estate);
        let (by_value, length) = column.storage();
        let value = ffi::guard(|| {
            let mut null = false;
            let value = evaluate(&mut *state, &mut *context, &mut null);
            (!null).then(|| ffi::unguarded::datumCopy(value, by_value, length.into()))
        });
        pg_sys::FreeExecutorState(estate);
        SqlValue::of_datum(column.typid, value)
    }
}
