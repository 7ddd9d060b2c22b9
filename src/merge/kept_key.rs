//! Whether an update leaves a stored row under its key.
//!
//! An expression of the key, its condition, or a generated column of it is computed from columns of
//! the row. An update that sets all of these gives it the value by which the row was found, and one
//! that sets none leaves that value. One that sets some makes a value that is neither: the row would
//! be under another key, or under none, where the next merge does not find it.
use crate::error::{Report, SqlState};
use crate::payload::generated::sources;
use crate::payload::shape::Shape;
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
        // In the columns of the key, rows agree anyway.
        let others = || computed_from.iter().filter(|c| !arbiter.has_column(**c));
        for shape in shapes {
            pgrx::check_for_interrupts!();
            let is_set = |c: &&usize| updated.contains(c) && shape.named.contains(c);
            let set = others().find(is_set);
            let kept = others().find(|c| !is_set(c));
            if let (Some(set), Some(kept)) = (set, kept) {
                let is_named = shape.named.contains(kept);
                moves(target, arbiter, *set, *kept, is_named).raise()
            }
        }
    }
}

/// Whether a value of the key is computed from a column of the key, of which an update leaves the
/// spelling that is stored, and another that it sets: the value may be another one then.
pub fn mixes_columns(
    target: &Target,
    relation: &OpenRelation,
    arbiter: &UniqueIndex,
    updated: &[usize],
) -> bool {
    let computed_from = computed_from(target, relation, arbiter);
    computed_from.iter().any(|columns| {
        let mut columns = columns.iter();
        columns.clone().any(|c| arbiter.has_column(*c)) && columns.any(|c| updated.contains(c))
    })
}

/// The columns that each computed value of the key is computed from, none of them generated.
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
    let computed = arbiter.computed_from().map(resolve);
    computed.chain(generated).collect()
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
    let report = Report::new(
        SqlState::InvalidColumnReference,
        format!(
            "an update could move a row of table \"{}\" out of its key",
            target.name
        ),
    )
    .detail(format!(
        "The key{} is computed from columns \"{set}\" and \"{kept}\", of which an update would set \
         only \"{set}\".",
        match arbiter.name.as_str() {
            "" => String::new(),
            index => format!(" of index \"{index}\""),
        }
    ))
    .hint(hint)
    .table(&target.schema, &target.name);
    arbiter.name_in(report)
}
