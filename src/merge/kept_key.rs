//! Whether an update leaves a stored row under its key.
//!
//! An expression of the key, its condition, or a generated column of it is computed from columns of
//! the row. An update that sets all of these gives it the value by which the row was found, and one
//! that sets none leaves that value. One that sets some makes a value that is neither: the row would
//! be under another key, or under none, where the next merge does not find it.
use crate::error::{Report, SqlState};
use crate::payload::shape::Shape;
use crate::pg::statement::expression::Expressions;
use crate::target::{OpenRelation, Target, UniqueIndex};

/// Demands that the payloads of each shape set all or none of the columns that a value of the key is
/// computed from. `updated` has the columns that an update may set.
///
/// # Errors
/// 42P10
pub fn check_key_kept(
    target: &Target,
    relation: &OpenRelation,
    arbiter: &UniqueIndex,
    updated: &[usize],
    shapes: &[Shape],
) {
    for computed_from in computed_from(target, relation, arbiter) {
        for shape in shapes {
            pgrx::check_for_interrupts!();
            let is_set = |c: &&usize| updated.contains(c) && shape.named.contains(c);
            let set = computed_from.iter().find(is_set);
            let kept = computed_from.iter().find(|c| !is_set(c));
            if let (Some(set), Some(kept)) = (set, kept) {
                let is_named = shape.named.contains(kept);
                moves(target, arbiter, *set, *kept, is_named).raise()
            }
        }
    }
}

/// The columns that each computed value of the key is computed from, but for those that the key
/// has: in these, rows agree anyway.
fn computed_from(
    target: &Target,
    relation: &OpenRelation,
    arbiter: &UniqueIndex,
) -> Vec<Vec<usize>> {
    let is_generated = |c: usize| target.columns[c].generated != 0;
    let generated = arbiter.columns().filter(|c| is_generated(*c));
    let generated = generated.map(|c| sources(target, relation, c));
    let resolve = |columns: &[usize]| {
        let resolve = |c: &usize| match is_generated(*c) {
            true => sources(target, relation, *c),
            false => vec![*c],
        };
        columns.iter().flat_map(resolve).collect()
    };
    let mut all: Vec<Vec<usize>> = arbiter
        .computed_from()
        .map(resolve)
        .chain(generated)
        .collect();
    all.iter_mut()
        .for_each(|columns| columns.retain(|c| is_generated(*c) || !arbiter.has_column(*c)));
    all
}

/// The columns that a generated column is computed from.
fn sources(target: &Target, relation: &OpenRelation, column: usize) -> Vec<usize> {
    let expressions = Expressions::new();
    let expression = relation
        .column_expression(&expressions, target.columns[column].attnum)
        .expect("a generated column has its expression");
    let used = expression.columns();
    (0..target.columns.len())
        .filter(|c| used.contains(&target.columns[*c].attnum))
        .collect()
}

/// 42P10: an update that sets one of these columns, and not the other.
fn moves(
    target: &Target,
    arbiter: &UniqueIndex,
    set: usize,
    kept: usize,
    is_named: bool,
) -> Report {
    let [set, kept] = [set, kept].map(|c| &target.columns[c].name);
    let hint = if is_named {
        format!("Name column \"{set}\" in insert_only, too.")
    } else {
        format!("Add column \"{kept}\" to what is merged, or name \"{set}\" in insert_only.")
    };
    Report::new(
        SqlState::InvalidColumnReference,
        format!(
            "an update could move a row of table \"{}\" out of its key",
            target.name
        ),
    )
    .detail(format!(
        "The key of index \"{}\" is computed from columns \"{set}\" and \"{kept}\", of which an \
         update would set only \"{set}\".",
        arbiter.name
    ))
    .hint(hint)
    .table(&target.schema, &target.name)
    .constraint(arbiter.name.clone())
}
