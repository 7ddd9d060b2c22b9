//! What the relation cache already holds of a table of state, so that no query is needed for it.
//!
//! Columns are read here. Of other things it is only seen whether there are any: to plan and to run
//! a query that finds nothing would cost a session's first call more than its work. What there is,
//! the query shows ([`super::definition`]). The table is locked, so the cache is up to date.
use super::expected::{DISABLED, FOR_REPLICATION, KEPT_TRIGGER};
use super::part::TablePart;
use crate::pg::catalog::function::FunctionSource;
use crate::pg::catalog::index::IndexShape;
use crate::pg::catalog::name::extension_oid;
use crate::pg::catalog::{operator, relation, types};
use crate::pg::relation::{OpenRelation, TriggerInfo};
use pgrx::pg_sys;

/// The schema of the server's own objects.
const PG_CATALOG: pg_sys::Oid = pg_sys::Oid::from_u32(pg_sys::PG_CATALOG_NAMESPACE);

/// Which kinds of things a table has, at least. All true is never wrong.
#[derive(Default)]
pub struct Glance {
    /// Defaults or generated columns.
    pub defaults: bool,
    /// Foreign keys that refer to it. One that is NOT ENFORCED has no triggers, and does nothing to
    /// the table.
    pub references: bool,
    /// Rules.
    pub rules: bool,
    /// Extended statistics.
    pub statistics: bool,
    /// A table that it inherits from.
    pub parents: bool,
    /// Tables that inherit from it.
    pub children: bool,
    /// Another kind of storage, or row-level security.
    pub otherwise: bool,
    /// Indexes that are more than plain, and no constraint's.
    pub own_indexes: bool,
    /// Indexes by an operator class that is neither the server's nor the extension's.
    pub foreign_classes: bool,
}

impl Glance {
    /// That of an open table.
    pub fn at(table: &OpenRelation) -> Self {
        let mut glance = Self {
            defaults: table.has_defaults(),
            references: table.triggers().iter().any(|one| one.is_internal),
            rules: table.has_rules(),
            statistics: table.has_extended_statistics(),
            parents: relation::has_parent(table.oid()),
            children: table.may_have_children(),
            otherwise: table.has_row_security()
                || !table.is_heap_table()
                || table.is_temporary()
                || table.is_typed(),
            ..Self::default()
        };
        let extension = extension_oid(c"pg_idempotent");
        for index in table.index_oids() {
            glance.look_at_index(index, extension);
        }
        glance
    }

    fn look_at_index(&mut self, index: pg_sys::Oid, extension: Option<pg_sys::Oid>) {
        let Some(shape) = IndexShape::find(index) else {
            // The query will tell.
            (self.own_indexes, self.foreign_classes) = (true, true);
            return;
        };
        self.own_indexes |= shape.more_than_plain && !shape.of_constraint;
        self.foreign_classes |= !shape
            .classes
            .iter()
            .all(|class| is_known(*class, extension));
    }
}

/// Whether an operator class is the server's or the extension's; one that is gone is not.
fn is_known(class: pg_sys::Oid, extension: Option<pg_sys::Oid>) -> bool {
    operator::class_schema(class).is_some_and(|schema| {
        schema == PG_CATALOG || extension.is_some() && operator::class_extension(class) == extension
    })
}

/// What there is to say of the columns. Types are shown under the settings of the moment.
pub fn columns(table: &OpenRelation) -> Vec<TablePart> {
    let mut parts = Vec::new();
    for attribute in table.attributes() {
        let name = &attribute.name;
        let mut how = types::name_with_modifier(attribute.typid, attribute.typmod);
        if attribute.collation != types::collation(attribute.typid) {
            let collation = types::collation_name(attribute.collation);
            how = format!("{how} COLLATE {collation}");
        }
        parts.push(TablePart::new("column", name, &how));
        if attribute.not_null {
            parts.push(TablePart::new("not null", name, ""));
        }
        if let Some(identity) = attribute.identity {
            let identity = identity.encode_utf8(&mut [0; 4]).to_owned();
            parts.push(TablePart::new("identity", name, &identity));
        }
    }
    parts
}

/// What there is to say of the triggers, without those of foreign keys.
pub fn triggers(table: &OpenRelation) -> Vec<TablePart> {
    let triggers = table.triggers().into_iter();
    let made = triggers.filter(|one| !one.is_internal);
    let parts = made.map(|one| {
        let how = match one.enabled {
            _ if !is_kept_trigger(&one) => "",
            pg_sys::TRIGGER_DISABLED => DISABLED,
            pg_sys::TRIGGER_FIRES_ON_REPLICA => FOR_REPLICATION,
            _ => KEPT_TRIGGER,
        };
        TablePart::new("trigger", &one.name, how)
    });
    parts.collect()
}

/// Whether a trigger does what that of a table of state has to do, where it fires. Its function is known by the
/// symbol: only superusers make functions of compiled code.
fn is_kept_trigger(trigger: &TriggerInfo) -> bool {
    const KIND: u32 =
        pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE | pg_sys::TRIGGER_TYPE_INSERT;
    trigger.kind == KIND as i16
        && trigger.unconditional
        && FunctionSource::find(trigger.function).is_some_and(|function| {
            function.is_compiled() && function.source.as_c_str() == c"kept_trigger_wrapper"
        })
}
