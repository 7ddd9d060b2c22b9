//! One column of a target, with the functions of its type.
use super::default_kind::DefaultKind;
use super::dependencies::{depend_on_functions_of, depend_on_type};
use super::{OpenRelation, attribute_name};
use crate::pg::catalog::types;
use crate::pg::memory::Memory;
use crate::pg::relation::index::IndexExpression;
use crate::pg::statement::expression::Expressions;
use crate::pg::value::reading::ResultDetail;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::pg::value::value_type::ValueType;
use pgrx::pg_sys;
use std::ffi::CString;

/// One column.
pub struct Column {
    pub name: String,
    /// Its name in the server's encoding.
    pub c_name: CString,
    /// Its number in the table, from 1.
    pub attnum: pg_sys::AttrNumber,
    pub typid: pg_sys::Oid,
    /// The type modifier, or -1.
    pub typmod: i32,
    /// Its collation, or `InvalidOid`.
    pub collation: pg_sys::Oid,
    /// How many dimensions it is declared with, if it is an array; or 0.
    dimensions: i64,
    /// Whether it is declared NOT NULL.
    pub not_null: bool,
    /// Whether an INSERT that does not name it fills it without fail and without
    /// effect: it is NULL and may be, or its default is a constant or the time;
    /// and its type is no domain.
    pub may_be_omitted: bool,
    /// Whether an INSERT may name it.
    pub may_be_named: bool,
    /// Whether it is an identity column.
    pub is_identity: bool,
    /// Whether it has a default (its own, its identity's, or its domain's).
    pub has_default: bool,
    /// Whether an INSERT that does not name it fills it with a value that is
    /// another every time: an identity, a sequence, anything volatile (the clock that
    /// goes on within a statement among it).
    pub has_volatile_default: bool,
    /// The kind of a default that is the same throughout a statement, but not for
    /// ever: the time of the statement, or what the session is.
    pub stable_default: Option<DefaultKind>,
    /// Whether its type (or a domain's base type) is an array or a composite,
    /// which JSON fills member by member.
    pub nested: bool,
    /// Whether and how it is computed from other columns: `s`tored, `v`irtual,
    /// or 0.
    pub generated: u8,
    /// How its values are read, shown and compared.
    pub values: ValueType,
}

impl Column {
    /// The columns of an open relation, without dropped ones.
    pub fn of_relation(relation: &OpenRelation, memory: &Memory) -> Vec<Self> {
        let expressions = Expressions::new();
        relation
            .attribute_rows()
            .iter()
            .map(|attribute| Self::of_attribute(relation, attribute, &expressions, memory))
            .collect()
    }

    fn of_attribute(
        relation: &OpenRelation,
        attribute: &pg_sys::FormData_pg_attribute,
        expressions: &Expressions,
        memory: &Memory,
    ) -> Self {
        depend_on_type(attribute.atttypid);
        let values = ValueType::of(attribute, memory);
        let name = attribute_name(attribute);
        let default = Defaults::of(relation, attribute, expressions);
        // As it is written: nothing is simplified or called.
        let own_default = || relation.own_default(expressions, attribute.attnum);
        let may_be_omitted = values.base == attribute.atttypid
            && attribute.attidentity == 0
            && if attribute.atthasdef {
                own_default().is_some_and(|default| default.is_plain())
            } else {
                !attribute.attnotnull
            };
        Self {
            name: text::from_server_bytes(name.as_bytes()),
            c_name: name,
            attnum: attribute.attnum,
            typid: attribute.atttypid,
            typmod: attribute.atttypmod,
            collation: attribute.attcollation,
            dimensions: attribute.attndims.into(),
            not_null: attribute.attnotnull,
            may_be_omitted,
            may_be_named: attribute.attidentity as u8 != pg_sys::ATTRIBUTE_IDENTITY_ALWAYS,
            is_identity: attribute.attidentity != 0,
            has_default: default.exists,
            has_volatile_default: default.is_volatile,
            stable_default: default.stable,
            nested: values.nested,
            generated: attribute.attgenerated as u8,
            values,
        }
    }

    /// An expression of an index, as if it were a column of the table: one that no INSERT names.
    pub fn of_expression(expression: &IndexExpression, memory: &Memory) -> Self {
        let typid = expression.typid;
        depend_on_type(typid);
        let storage = types::storage(typid);
        let attribute = pg_sys::FormData_pg_attribute {
            atttypid: typid,
            atttypmod: expression.typmod,
            attcollation: expression.collation,
            attbyval: storage.by_value,
            attlen: storage.length,
            ..Default::default()
        };
        let values = ValueType::of(&attribute, memory);
        Self {
            name: expression.name.clone(),
            c_name: text::to_server(&expression.name),
            attnum: 0,
            typid,
            typmod: expression.typmod,
            collation: expression.collation,
            dimensions: 0,
            not_null: false,
            may_be_omitted: false,
            may_be_named: false,
            is_identity: false,
            has_default: false,
            has_volatile_default: false,
            stable_default: None,
            nested: values.nested,
            generated: 0,
            values,
        }
    }

    /// What a reader of this column's values is asked for.
    pub fn wanted(&self) -> ResultDetail<'_> {
        ResultDetail {
            name: &self.c_name,
            typid: self.typid,
            typmod: self.typmod,
            dimensions: self.dimensions,
        }
    }

    /// Whether every INSERT that leaves it out fills it with another value: as part of
    /// a key, it makes each attempt another event.
    pub fn has_changing_default(&self) -> bool {
        self.has_volatile_default
            || self
                .stable_default
                .is_some_and(DefaultKind::differs_in_retry)
    }

    /// Whether an INSERT that leaves it out fills it with a value that is the same in the
    /// next attempt: that of an immutable default, or what the session is.
    pub fn has_repeatable_default(&self) -> bool {
        self.has_default && !self.has_changing_default()
    }

    /// Whether it may be NULL.
    pub fn may_be_null(&self) -> bool {
        !self.not_null && !self.domain_is_not_null()
    }

    /// Whether rows do not hold it: it is computed when read (from 18 on).
    pub fn virtual_generated(&self) -> bool {
        self.generated == b'v'
    }

    /// What an INSERT that does not name it gives it, if that is the same every
    /// time; None if only an INSERT knows.
    ///
    /// Evaluates IMMUTABLE functions in the default as the current user: for a caller
    /// who inserts, and for whom the INSERT does so.
    pub fn constant_default(&self, relation: &OpenRelation) -> Option<SqlValue<'static>> {
        let expressions = Expressions::new();
        match relation.column_expression(&expressions, self.attnum) {
            None => Some(SqlValue::null(self.typid)),
            Some(default) => default.constant(),
        }
    }

    /// The type that a domain is over, else the type itself.
    pub fn base_type(&self) -> pg_sys::Oid {
        self.values.base
    }

    /// The operator of its type's default equality, or `InvalidOid`.
    pub fn equality_operator(&self) -> pg_sys::Oid {
        types::equality_operator(self.typid)
    }

    /// Whether a unique index can be on it: its type has an order.
    pub fn can_be_indexed(&self) -> bool {
        types::has_order(self.base_type())
    }

    /// Whether its type is a domain that refuses NULL.
    pub fn domain_is_not_null(&self) -> bool {
        types::refuses_null(self.typid)
    }
}

/// What is known of a column's default: its own, its identity's, or its domain's.
#[derive(Default)]
struct Defaults {
    exists: bool,
    is_volatile: bool,
    /// The kind of one that is not volatile, if it is not immutable.
    stable: Option<DefaultKind>,
}

impl Defaults {
    /// The default is read as it is written: to call one of its functions is not needed to know how
    /// volatile they say they are.
    fn of(
        relation: &OpenRelation,
        attribute: &pg_sys::FormData_pg_attribute,
        expressions: &Expressions,
    ) -> Self {
        if attribute.attgenerated != 0 {
            return Self::default();
        }
        let Some(default) = relation.column_expression(expressions, attribute.attnum) else {
            return Self::default();
        };
        depend_on_functions_of(default);
        let is_volatile = default.is_volatile();
        let is_stable = !is_volatile && default.is_mutable();
        Self {
            exists: true,
            is_volatile,
            stable: is_stable.then(|| DefaultKind::of(&default.called_functions())),
        }
    }
}
