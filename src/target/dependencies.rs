//! What a target depends on besides its table, see [`cache`](super::cache).
use super::cache::{Dependency, depend_on};
use crate::pg::catalog::types;
use crate::pg::relation::invalidation::{hash_of_function, hash_of_type};
use crate::pg::statement::expression::Expression;
use pgrx::pg_sys;

/// Notes a type and all that it is made of.
pub fn depend_on_type(typid: pg_sys::Oid) {
    types::visit(typid, |part| {
        depend_on(Dependency::ValueType(hash_of_type(part)));
        if let Some(relation) = types::row_type_relation(part) {
            depend_on(Dependency::RowType(relation));
        }
    });
}

/// Notes the functions that an expression calls.
pub fn depend_on_functions_of(expression: Expression<'_>) {
    expression
        .functions()
        .into_iter()
        .for_each(depend_on_function);
}

/// Notes a function.
pub fn depend_on_function(function: pg_sys::Oid) {
    depend_on(Dependency::Function(hash_of_function(function)));
}
