//! The unique indexes of a target, and the columns of their keys.
use super::key_column::collate;
use super::{Column, KeyColumn, OpenRelation};
use crate::pg::catalog::name::schema_name;
use crate::pg::catalog::operator::{Operator, class_name};
use crate::pg::catalog::{index, types};
use crate::pg::relation::index::{IndexDefinition, KeyOperators};
use crate::pg::rows::{RowColumn, RowDesc, SortColumn, TypeOrder};
use crate::pg::value::text;
use crate::pg::value::value_type::ValueType;
use pgrx::pg_sys;

/// SQL that compares two values of a column by this operator, under a collation if one is
/// named: no operator of the caller's may answer instead.
///
/// Where the operator's schema may be anybody's, the values are cast to its types: for a
/// domain over one of these there may be a nearer operator of the same name.
pub fn equal(operator: pg_sys::Oid, left: &str, collate: &str, right: &str) -> String {
    let found = Operator::find(operator).expect("an index keeps the operators of its columns");
    let cast = |typid| {
        let pseudo = types::kind(typid) == pg_sys::TYPTYPE_PSEUDO;
        if found.schema == pg_sys::PG_CATALOG_NAMESPACE.into() || pseudo {
            return String::new();
        }
        format!("::{}", types::qualified_name(typid))
    };
    let [cast_left, cast_right] = found.operands.map(cast);
    let (schema, name) = (schema_name(found.schema).unwrap_or_default(), found.name);
    let schema = text::quote_identifier(&schema);
    format!("{left}{cast_left}{collate} OPERATOR({schema}.{name}) {right}{cast_right}")
}

/// A unique index of a target.
pub struct UniqueIndex {
    /// The index's oid.
    pub oid: pg_sys::Oid,
    /// Its name, which is the constraint's too where there is one.
    pub name: String,
    /// How ON CONFLICT names it alone, where another unique index has the same
    /// columns; None where the columns name it.
    pub inference_clause: Option<String>,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether NULL equals NULL in it.
    pub nulls_equal: bool,
    /// Whether its order is that of [`UniqueIndex::sort_columns`]: ascending,
    /// NULLs last.
    pub ascending: bool,
    /// Its key columns in index order; of an index with expressions, those that
    /// are plain columns.
    pub keys: Vec<KeyColumn>,
    /// The columns that its expressions refer to, by position, if it has some.
    pub expressions: Option<Vec<usize>>,
    /// Whether it is partial.
    pub partial: bool,
    /// The column of which its condition says that it is NULL, and nothing else.
    pub null_predicate_column: Option<usize>,
    /// The descriptor of a row of its key columns alone.
    pub key_desc: RowDesc,
    /// Whether the server uses it; one that is being built it passes over.
    pub valid: bool,
    /// Whether it is checked at the end of a statement or transaction.
    pub deferrable: bool,
    /// Why it cannot decide, as the end of a sentence; None if it can.
    pub unusable_reason: Option<&'static str>,
}

impl UniqueIndex {
    /// The unique indexes of an open table.
    pub fn of_relation(relation: &OpenRelation, table_columns: &[Column]) -> Vec<Self> {
        // The lock on an index goes when it is read: none is held by whoever finds the
        // target in the cache, either. The table's own keeps its indexes.
        let read = |oid| {
            // One that is gone meanwhile (DROP INDEX CONCURRENTLY) decides nothing.
            let index = OpenRelation::try_open_briefly(oid)?;
            let definition = IndexDefinition::of(&index)?;
            (definition.unique && definition.live)
                .then(|| Self::of_index(&definition, table_columns))
        };
        let mut indexes: Vec<Self> = relation.index_oids().into_iter().filter_map(read).collect();
        for i in 0..indexes.len() {
            let columns: Vec<usize> = indexes[i].columns().collect();
            let twin = indexes
                .iter()
                .enumerate()
                .any(|(j, other)| i != j && other.valid && other.same_columns(&columns));
            if twin && indexes[i].unusable_reason.is_none() {
                indexes[i].inference_clause = Some(indexes[i].inference(table_columns));
            }
        }
        // The primary key first, then by age, so that messages are stable.
        indexes.sort_by_key(|index| (!index.primary, index.oid.to_u32()));
        Self::put_nulls_equal_first(&mut indexes);
        indexes
    }

    /// Of two indexes on the same columns that one decides which comes first. Where NULL
    /// equals NULL in the other one, it knows keys that the first does not tell apart.
    fn put_nulls_equal_first(indexes: &mut Vec<Self>) {
        for i in 0..indexes.len() {
            let columns: Vec<usize> = indexes[i].columns().collect();
            let twin = indexes.iter().skip(i + 1).position(|other| {
                other.nulls_equal && other.unusable_reason.is_none() && other.same_columns(&columns)
            });
            if let Some(twin) = twin.filter(|_| {
                let first = &indexes[i];
                first.unusable_reason.is_none() && !first.nulls_equal && !first.primary
            }) {
                let index = indexes.remove(i + 1 + twin);
                indexes.insert(i, index);
            }
        }
    }

    fn of_index(index: &IndexDefinition, columns: &[Column]) -> Self {
        let overlaps = index.exclusion || !index.is_btree();
        let place = |number| columns.iter().position(|c| c.attnum == number);
        let unusable_reason = if overlaps {
            Some("excludes rows that overlap, not only equal keys")
        } else if !index.usable {
            Some("is not valid; rebuild it with REINDEX")
        } else if !index.immediate {
            Some("is deferrable, so the server does not check it while a row is inserted")
        } else if index.partial {
            Some("is partial, so it does not cover every row")
        } else if index.on_expressions {
            Some("is on expressions, not on the columns themselves")
        } else {
            None
        };
        let parts = if overlaps {
            Vec::new()
        } else {
            KeyOperators::of_btree(index)
        };
        let key = |(number, operators): (_, KeyOperators)| {
            let column = place(number)?;
            let ValueType { typid, storage, .. } = columns[column].values;
            let (less_than, collation) = (operators.less_than, operators.collation);
            Some(KeyColumn {
                column,
                storage,
                sort_order: TypeOrder::new(typid, less_than, collation),
                operators,
            })
        };
        let keys: Vec<KeyColumn> = parts.into_iter().filter_map(key).collect();
        let expressions = index.on_expressions.then(|| {
            let numbers = index.numbers_in_expressions().into_iter();
            numbers.filter_map(place).collect()
        });
        Self {
            oid: index.oid,
            name: index.name.clone(),
            inference_clause: None,
            primary: index.primary,
            nulls_equal: index.nulls_equal,
            key_desc: key_desc(&keys, columns),
            ascending: index.is_ascending(),
            keys,
            expressions,
            partial: index.partial,
            null_predicate_column: index.number_where_null().and_then(place),
            valid: index.usable,
            deferrable: !index.immediate,
            unusable_reason,
        }
    }

    /// `ON CONSTRAINT name`, or the columns with collation and operator class,
    /// which tell it from an index on the same columns.
    fn inference(&self, columns: &[Column]) -> String {
        if index::has_constraint(self.oid) {
            return format!("ON CONSTRAINT {}", text::quote_identifier(&self.name));
        }
        let parts = self.keys.iter().map(|key| {
            let name = text::quote_identifier(&columns[key.column].name);
            let class = class_name(key.operators.operator_class);
            format!("{name}{} {class}", collate(key.operators.collation))
        });
        format!("({})", parts.collect::<Vec<_>>().join(", "))
    }

    /// The positions of its key columns, in index order.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.keys.iter().map(|key| key.column)
    }

    /// Whether this column is part of the key.
    pub fn has_column(&self, column: usize) -> bool {
        self.columns().any(|c| c == column)
    }

    /// Whether these columns are the key, in any order.
    pub fn same_columns(&self, columns: &[usize]) -> bool {
        self.expressions.is_none()
            && self.keys.len() == columns.len()
            && columns.iter().all(|c| self.has_column(*c))
    }

    /// Whether these columns and no others are in the key, be it within an expression.
    pub(super) fn is_about(&self, columns: &[usize]) -> bool {
        let within = self.expressions.iter().flatten().copied();
        let mut own: Vec<usize> = self.columns().chain(within).collect();
        own.sort_unstable();
        own.dedup();
        own.len() == columns.len() && columns.iter().all(|c| own.contains(c))
    }

    /// The order of its keys.
    pub fn sort_columns(&self) -> Vec<SortColumn> {
        self.keys
            .iter()
            .map(|key| SortColumn {
                column: key.column,
                order: key.sort_order,
            })
            .collect()
    }
}

fn key_desc(keys: &[KeyColumn], columns: &[Column]) -> RowDesc {
    let column = |key: &KeyColumn| {
        let column = &columns[key.column];
        RowColumn {
            typmod: column.typmod,
            ..RowColumn::of_type(&column.c_name, column.typid)
        }
    };
    RowDesc::of(&keys.iter().map(column).collect::<Vec<_>>())
}
