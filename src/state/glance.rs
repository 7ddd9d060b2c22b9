//! What the relation cache already holds of a table of state, so that no query is needed for it.
//!
//! Columns are read here. Of other things it is only seen whether there are any: to plan and to run
//! a query that finds nothing would cost a session's first call more than its work. What there is,
//! the query shows ([`super::definition`]). The table is locked, so the cache is up to date.
use super::part::TablePart;
use crate::pg::ffi;
use crate::pg::value::text;
use crate::target::OpenRelation;
use pgrx::pg_sys;

/// `Anum_pg_index_indclass`, the classes of an index's columns, and `pg_catalog`.
const CLASSES: pg_sys::AttrNumber = pg_sys::Anum_pg_index_indclass as pg_sys::AttrNumber;
const PG_CATALOG: u32 = pg_sys::PG_CATALOG_NAMESPACE;

/// Which kinds of things a table has, at least. All true is never wrong.
#[derive(Default)]
pub struct Glance {
    /// Defaults or generated columns.
    pub defaults: bool,
    /// Triggers, of its own or of foreign keys that refer to it. A key that is NOT ENFORCED has
    /// none, and does nothing to the table.
    pub triggers: bool,
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
    pub fn at(relation: &OpenRelation) -> Self {
        // SAFETY: an open relation; its parts are read, not kept, before anything is looked up.
        let mut glance = unsafe {
            let rel = &*relation.raw();
            let class = &*rel.rd_rel;
            Self {
                defaults: (*rel.rd_att)
                    .constr
                    .as_ref()
                    .is_some_and(|made| made.num_defval > 0),
                triggers: !rel.trigdesc.is_null(),
                rules: !rel.rd_rules.is_null(),
                children: class.relhassubclass,
                otherwise: class.relrowsecurity
                    || class.relkind as u8 != pg_sys::RELKIND_RELATION
                    || class.relam != pg_sys::HEAP_TABLE_AM_OID
                    || class.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
                    || class.reloftype != pg_sys::InvalidOid,
                ..Self::default()
            }
        };
        // SAFETY: look-ups for an open relation; the guard holds nothing.
        unsafe {
            glance.statistics = !pg_sys::RelationGetStatExtList(relation.raw()).is_null();
            glance.parents = ffi::guard(|| ffi::unguarded::has_superclass(relation.oid()));
            let indexes = pg_sys::RelationGetIndexList(relation.raw());
            let extension = pg_sys::get_extension_oid(c"pg_idempotent".as_ptr(), true);
            for index in ffi::oids(indexes) {
                glance.look_at_index(index, extension);
            }
        }
        glance
    }

    /// # Safety
    /// An index of a table that is locked.
    unsafe fn look_at_index(&mut self, index: pg_sys::Oid, extension: pg_sys::Oid) {
        // SAFETY: the caller's promise; what is read of the row is copied before it is released.
        unsafe {
            let id = pg_sys::SysCacheIdentifier::INDEXRELID as i32;
            let row = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(index));
            if row.is_null() {
                // The query will tell.
                (self.own_indexes, self.foreign_classes) = (true, true);
                return;
            }
            let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_index>();
            let has =
                |number: u32| !pg_sys::heap_attisnull(row, number as i32, std::ptr::null_mut());
            let more = form.indisunique
                || form.indisexclusion
                || has(pg_sys::Anum_pg_index_indexprs)
                || has(pg_sys::Anum_pg_index_indpred);
            let mut null = false;
            let classes = pg_sys::SysCacheGetAttr(id, row, CLASSES, &raw mut null);
            let classes = classes.cast_mut_ptr::<pg_sys::oidvector>();
            let classes = (*classes)
                .values
                .as_slice((*classes).dim1 as usize)
                .to_vec();
            pg_sys::ReleaseSysCache(row);
            self.own_indexes |= more && pg_sys::get_index_constraint(index) == pg_sys::InvalidOid;
            self.foreign_classes |= classes.iter().any(|class| !is_known(*class, extension));
        }
    }
}

/// Whether an operator class is the server's or the extension's.
///
/// # Safety
/// None is asked for: a class that is gone is not known.
unsafe fn is_known(class: pg_sys::Oid, extension: pg_sys::Oid) -> bool {
    // SAFETY: look-ups; the row is read before it is released.
    unsafe {
        let id = pg_sys::SysCacheIdentifier::CLAOID as i32;
        let row = pg_sys::SearchSysCache1(id, pg_sys::Datum::from(class));
        if row.is_null() {
            return false;
        }
        let form = &*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_opclass>();
        let schema = form.opcnamespace;
        pg_sys::ReleaseSysCache(row);
        let classes = pg_sys::OperatorClassRelationId;
        schema == pg_sys::Oid::from(PG_CATALOG)
            || extension != pg_sys::InvalidOid
                && pg_sys::getExtensionOfObject(classes, class) == extension
    }
}

/// What there is to say of the columns. Types are shown under the settings of the moment.
pub fn columns(relation: &OpenRelation) -> Vec<TablePart> {
    let mut parts = Vec::new();
    // SAFETY: an open relation; attributes are read from a copy of its descriptor, since
    // look-ups come between them.
    unsafe {
        let desc = pg_sys::CreateTupleDescCopyConstr(relation.desc());
        for i in 0..(*desc).natts {
            let attribute = ffi::attribute(desc, i);
            if attribute.attisdropped {
                continue;
            }
            let name = text::from_name(&attribute.attname);
            let typ = pg_sys::format_type_with_typemod(attribute.atttypid, attribute.atttypmod);
            let mut how = text::from_server(typ);
            let collation = attribute.attcollation;
            if collation != pg_sys::get_typcollation(attribute.atttypid) {
                let name = pg_sys::generate_collation_name(collation);
                how = format!("{how} COLLATE {}", text::from_server(name));
            }
            parts.push(TablePart::new("column", &name, &how));
            if attribute.attnotnull {
                parts.push(TablePart::new("not null", &name, ""));
            }
            if attribute.attidentity != 0 {
                let identity = char::from(attribute.attidentity as u8);
                parts.push(TablePart::new(
                    "identity",
                    &name,
                    identity.encode_utf8(&mut [0; 4]),
                ));
            }
        }
    }
    parts
}
