//! What the relation cache says of a relation while it is open, in terms that need no pointer.
use super::{OpenRelation, attribute_name};
use crate::pg::catalog::name::schema_name;
use crate::pg::catalog::row_type::{self, Attribute};
use crate::pg::ffi::plain;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::ffi::CStr;

impl OpenRelation {
    /// Whether it is a catalog of the server that statements of users may not change.
    pub fn is_protected_catalog(&self) -> bool {
        self.is_catalog() && !plain::allowSystemTableMods()
    }

    /// Whether it is a catalog of the server.
    pub fn is_catalog(&self) -> bool {
        plain::IsCatalogRelationOid(self.oid())
    }

    /// The relation's oid.
    pub fn oid(&self) -> pg_sys::Oid {
        self.entry().rd_id
    }

    /// The relation's name.
    pub fn name(&self) -> String {
        let name = self.form().relname;
        text::from_name(&name)
    }

    /// The oid of the relation's schema.
    pub fn schema_oid(&self) -> pg_sys::Oid {
        self.form().relnamespace
    }

    /// The name of the relation's schema.
    pub fn schema(&self) -> String {
        schema_name(self.schema_oid()).expect("a schema exists while it has relations")
    }

    /// What it is (`pg_class.relkind`).
    pub fn kind(&self) -> u8 {
        self.form().relkind as u8
    }

    /// How many pages it had when it was analyzed last; 0 if it never was.
    pub fn pages_analyzed(&self) -> i32 {
        self.form().relpages
    }

    /// The role that owns it.
    pub fn owner(&self) -> pg_sys::Oid {
        self.form().relowner
    }

    /// The number of the column of this name.
    pub fn column_number(&self, name: &CStr) -> Option<pg_sys::AttrNumber> {
        self.attribute_rows()
            .iter()
            .find(|attribute| attribute_name(attribute).as_c_str() == name)
            .map(|attribute| attribute.attnum)
    }

    /// Whether it is a partition.
    pub fn is_partition(&self) -> bool {
        self.form().relispartition
    }

    /// Whether it is a temporary table of another session's.
    pub fn is_other_temp(&self) -> bool {
        self.is_temporary() && !self.entry().rd_islocaltemp
    }

    /// Whether tables inherit from it, or did so once.
    pub fn may_have_children(&self) -> bool {
        self.form().relhassubclass
    }

    /// Whether row-level security is enabled on it.
    pub fn has_row_security(&self) -> bool {
        self.form().relrowsecurity
    }

    /// Whether it is a plain table with the server's own storage.
    pub fn is_heap_table(&self) -> bool {
        let form = self.form();
        form.relkind as u8 == pg_sys::RELKIND_RELATION && form.relam == pg_sys::HEAP_TABLE_AM_OID
    }

    /// Whether a crash and a standby keep its rows.
    pub fn is_permanent(&self) -> bool {
        self.form().relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT
    }

    /// Whether it is a temporary table.
    pub fn is_temporary(&self) -> bool {
        self.form().relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP
    }

    /// Whether it is a typed table (`CREATE TABLE … OF`).
    pub fn is_typed(&self) -> bool {
        self.form().reloftype != pg_sys::InvalidOid
    }

    /// How often this session has it open, this time included.
    pub fn reference_count(&self) -> i32 {
        self.entry().rd_refcnt
    }

    /// Whether columns have defaults or are generated.
    pub fn has_defaults(&self) -> bool {
        self.constraints().is_some_and(|all| all.num_defval > 0)
    }

    /// Whether a row that goes in is checked, or completed by what is computed of it: CHECKs and
    /// stored generated columns.
    pub fn has_checks_or_stored_columns(&self) -> bool {
        self.constraints()
            .is_some_and(|all| all.num_check != 0 || all.has_generated_stored)
    }

    /// Whether it has rules.
    pub fn has_rules(&self) -> bool {
        !self.entry().rd_rules.is_null()
    }

    /// Whether it has a rule on DELETE.
    pub fn has_delete_rule(&self) -> bool {
        self.has_rule_on(&[pg_sys::CmdType::CMD_DELETE])
    }

    /// Its columns in order, without dropped ones.
    pub fn attributes(&self) -> Vec<Attribute> {
        row_type::attributes_of(&self.row_desc())
    }
}
