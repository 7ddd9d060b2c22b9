//! The unique indexes of a target, and the columns of their keys.
//!
//! A key column of an index is a column of the table, or an expression over some. Working rows have
//! the values of the expressions behind the table's own columns, so that keys are sorted, looked
//! for and compared alike, whatever they are made of; see [`Target::key_expressions`].
//!
//! [`Target::key_expressions`]: super::Target::key_expressions
use super::key_column::{ExpressionText, collate};
use super::{Column, KeyColumn, OpenRelation};
use crate::pg::catalog::name::schema_name;
use crate::pg::catalog::operator::{Operator, class_name};
use crate::pg::catalog::{index, types};
use crate::pg::memory::Memory;
use crate::pg::relation::index::{
    IndexCondition, IndexDefinition, IndexExpression, KeyOperators, column_definition,
    place_of_expression,
};
use crate::pg::rows::{RowColumn, RowDesc, SortColumn, TypeOrder};
use crate::pg::statement::expression::Expression;
use crate::pg::value::text;
use pgrx::pg_sys;
use std::rc::Rc;

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

/// SQL that says whether a value is NULL. IS NULL says it of a composite all of whose members are
/// NULL, too, which is a value like others. Of this form the server makes the test of the value
/// itself, which finds it by an index as IS NULL does.
pub fn is_null(value: &str) -> String {
    format!("{value} IS NOT DISTINCT FROM NULL")
}

/// A unique index of a target.
pub struct UniqueIndex {
    /// The index's oid.
    pub oid: pg_sys::Oid,
    /// Its name, which is the constraint's too where there is one.
    pub name: String,
    /// How ON CONFLICT names it alone, where another unique index has the same
    /// columns, or it is on more than columns; None where the columns name it.
    pub inference_clause: Option<String>,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether NULL equals NULL in it.
    pub nulls_equal: bool,
    /// Whether its order is that of [`UniqueIndex::sort_columns`]: ascending,
    /// NULLs last.
    pub ascending: bool,
    /// Its key columns in index order.
    pub keys: Vec<KeyColumn>,
    /// The columns that its expressions refer to, by position.
    expression_columns: Vec<usize>,
    /// The same, for each of them.
    computed_from: Vec<Vec<usize>>,
    /// See [`UniqueIndex::deciding_columns`].
    deciding: Vec<usize>,
    /// Its condition, if it is partial.
    pub condition: Option<KeyCondition>,
    /// The descriptor of a row of what decides alone, see [`UniqueIndex::deciding_columns`].
    pub key_desc: RowDesc,
    /// Whether the server uses it; one that is being built it passes over.
    pub valid: bool,
    /// Whether it is checked at the end of a statement or transaction.
    pub deferrable: bool,
    /// Why it cannot decide, as the end of a sentence; None if it can.
    pub unusable_reason: Option<&'static str>,
}

/// The condition of a partial index: which rows have a key in it.
pub struct KeyCondition {
    /// As SQL, for whatever `search_path`.
    sql: String,
    /// The columns that it refers to, by position.
    columns: Vec<usize>,
    /// Whether it says no more than that columns of the key are not NULL.
    pub is_about_null_keys: bool,
}

/// What a key that is named explicitly is made of.
pub enum KeyElement<'k> {
    /// A column, by position.
    Column(usize),
    /// Anything else.
    Text(&'k str),
}

impl UniqueIndex {
    /// The unique indexes of an open table. The expressions of their keys are added to
    /// `expressions`.
    pub fn of_relation(
        relation: &OpenRelation,
        table_columns: &[Column],
        expressions: &mut Vec<Column>,
        memory: &Memory,
    ) -> Vec<Self> {
        // The lock on an index goes when it is read: none is held by whoever finds the
        // target in the cache, either. The table's own keeps its indexes.
        let read = |oid| {
            // One that is gone meanwhile (DROP INDEX CONCURRENTLY) decides nothing.
            let index = OpenRelation::try_open_briefly(oid)?;
            let definition = IndexDefinition::of(&index)?;
            (definition.unique && definition.live)
                .then(|| Self::of_index(&definition, table_columns, expressions, memory))
        };
        let mut indexes: Vec<Self> = relation.index_oids().into_iter().filter_map(read).collect();
        for i in 0..indexes.len() {
            let twin = indexes
                .iter()
                .enumerate()
                .any(|(j, other)| i != j && other.valid && other.is_twin(&indexes[i]));
            if (twin || indexes[i].is_computed()) && indexes[i].unusable_reason.is_none() {
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
            let twin = indexes.iter().skip(i + 1).position(|other| {
                other.nulls_equal && other.unusable_reason.is_none() && other.is_twin(&indexes[i])
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

    fn of_index(
        index: &IndexDefinition,
        columns: &[Column],
        expressions: &mut Vec<Column>,
        memory: &Memory,
    ) -> Self {
        let overlaps = index.exclusion || !index.is_btree();
        let unusable_reason = if overlaps {
            Some("excludes rows that overlap, not only equal keys")
        } else if !index.usable {
            Some("is not valid; rebuild it with REINDEX")
        } else if !index.immediate {
            Some("is deferrable, so the server does not check it while a row is inserted")
        } else {
            None
        };
        let (own, condition) = if overlaps || !(index.on_expressions || index.partial) {
            (Vec::new(), None)
        } else {
            (index.expressions(), index.condition())
        };
        let first = columns.len() + expressions.len();
        expressions.extend(own.iter().map(|e| Column::of_expression(e, memory)));
        let all = || columns.iter().chain(expressions.iter());
        let keys = if overlaps {
            Vec::new()
        } else {
            Self::keys_of(index, &own, columns, first)
        };
        let computed_from: Vec<Vec<usize>> = own
            .iter()
            .map(|expression| positions(&expression.numbers, columns))
            .collect();
        let mut expression_columns = computed_from.concat();
        expression_columns.sort_unstable();
        expression_columns.dedup();
        let mut this = Self {
            oid: index.oid,
            name: index.name.clone(),
            inference_clause: None,
            primary: index.primary,
            nulls_equal: index.nulls_equal,
            key_desc: RowDesc::of(&[]),
            ascending: index.is_ascending(),
            keys,
            expression_columns,
            computed_from,
            deciding: Vec::new(),
            condition: None,
            valid: index.usable,
            deferrable: !index.immediate,
            unusable_reason,
        };
        this.condition = condition.map(|condition| this.condition_of(condition, columns));
        let all: Vec<&Column> = all().collect();
        this.deciding = this.find_deciding_columns();
        this.key_desc = desc_of(&this.deciding, &all);
        this
    }

    /// What takes the place of an index where there is none: these columns of a table, which has no
    /// index, under the default order of their types. Only what reads the whole table can use it. None
    /// if a type has no order.
    pub(super) fn declared(
        name: &str,
        (primary, nulls_equal): (bool, bool),
        key: &[usize],
        columns: &[Column],
    ) -> Option<Self> {
        let part = |c: &usize| {
            let (typid, collation) = (columns[*c].typid, columns[*c].collation);
            Some(key_column(*c, KeyOperators::of_type(typid, collation)?))
        };
        Some(Self {
            oid: pg_sys::InvalidOid,
            name: name.to_owned(),
            inference_clause: None,
            primary,
            nulls_equal,
            key_desc: desc_of(key, &columns.iter().collect::<Vec<_>>()),
            ascending: true,
            keys: key.iter().map(part).collect::<Option<_>>()?,
            expression_columns: Vec::new(),
            computed_from: Vec::new(),
            deciding: key.to_vec(),
            condition: None,
            valid: true,
            deferrable: false,
            unusable_reason: None,
        })
    }

    /// The key columns of a btree; `first` is the position of its first expression.
    fn keys_of(
        index: &IndexDefinition,
        own: &[IndexExpression],
        columns: &[Column],
        first: usize,
    ) -> Vec<KeyColumn> {
        let mut expressions = own.iter().enumerate();
        let mut key = |(number, operators): (_, KeyOperators)| {
            let (column, expression) = if number == 0 {
                let (i, IndexExpression { name, sql, .. }) = expressions.next()?;
                let (name, sql) = (name.clone(), sql.clone());
                (first + i, Some(Rc::new(ExpressionText { name, sql })))
            } else {
                (position(number, columns)?, None)
            };
            Some(KeyColumn {
                expression,
                ..key_column(column, operators)
            })
        };
        let parts = KeyOperators::of_btree(index, own).into_iter();
        parts.filter_map(&mut key).collect()
    }

    fn condition_of(&self, condition: IndexCondition, columns: &[Column]) -> KeyCondition {
        let of_key = |number: &pg_sys::AttrNumber| {
            position(*number, columns).is_some_and(|c| self.is_in_key(c))
        };
        let not_null = condition.not_null_numbers;
        KeyCondition {
            sql: condition.sql,
            columns: positions(&condition.numbers, columns),
            is_about_null_keys: not_null.is_some_and(|numbers| numbers.iter().all(of_key)),
        }
    }

    /// `ON CONSTRAINT name`, or the columns with collation and operator class,
    /// which tell it from an index on the same columns.
    fn inference(&self, columns: &[Column]) -> String {
        if index::has_constraint(self.oid) {
            return format!("ON CONSTRAINT {}", text::quote_identifier(&self.name));
        }
        let parts = self.keys.iter().map(|key| {
            let name = match &key.expression {
                Some(expression) => format!("({})", expression.sql),
                None => text::quote_identifier(&columns[key.column].name),
            };
            let class = class_name(key.operators.operator_class);
            let class = class.expect("an index keeps its classes");
            format!("{name}{} {class}", collate(key.operators.collation))
        });
        let parts = parts.collect::<Vec<_>>().join(", ");
        match &self.condition {
            Some(condition) => format!("({parts}) WHERE {}", condition.sql),
            None => format!("({parts})"),
        }
    }

    /// Its key columns that are columns of the table, by position, in index order.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        let plain = self.keys.iter().filter(|key| key.expression.is_none());
        plain.map(|key| key.column)
    }

    /// The columns of the table that decide under which key a row is, by position: those of the
    /// key, in index order, and those that its expressions and its condition refer to.
    pub fn deciding_columns(&self) -> &[usize] {
        &self.deciding
    }

    fn find_deciding_columns(&self) -> Vec<usize> {
        let mut deciding: Vec<usize> = self.columns().collect();
        for column in self
            .expression_columns
            .iter()
            .chain(self.condition_columns())
        {
            if !deciding.contains(column) {
                deciding.push(*column);
            }
        }
        deciding
    }

    /// The columns that each of its expressions and its condition refer to, by position.
    pub fn computed_from(&self) -> impl Iterator<Item = &[usize]> {
        let expressions = self.computed_from.iter();
        let expressions = expressions.map(Vec::as_slice);
        expressions.chain([self.condition_columns()])
    }

    /// The columns that its condition refers to, by position.
    pub fn condition_columns(&self) -> &[usize] {
        let condition = self.condition.as_ref();
        condition.map_or(&[], |condition| &condition.columns)
    }

    /// Whether more than columns of its own make the key of a row: expressions, or a condition.
    pub fn is_computed(&self) -> bool {
        self.condition.is_some() || self.is_on_expressions()
    }

    /// Its condition as SQL, for whatever `search_path`, if it is partial.
    pub fn condition_sql(&self) -> Option<&str> {
        self.condition
            .as_ref()
            .map(|condition| condition.sql.as_str())
    }

    /// Whether a column of its key is an expression.
    pub fn is_on_expressions(&self) -> bool {
        self.keys.iter().any(|key| key.expression.is_some())
    }

    /// Whether it can be the key without being named: it has a key for every row, but for those
    /// with a NULL in it.
    pub fn can_be_default(&self) -> bool {
        let condition = self.condition.as_ref();
        self.unusable_reason.is_none() && condition.is_none_or(|by| by.is_about_null_keys)
    }

    /// Whether this column is part of the key.
    pub fn has_column(&self, column: usize) -> bool {
        self.columns().any(|c| c == column)
    }

    /// Whether this column is part of the key, be it within an expression.
    pub fn is_in_key(&self, column: usize) -> bool {
        self.has_column(column) || self.expression_columns.contains(&column)
    }

    /// Whether these columns are the key, in any order, of all rows.
    pub fn same_columns(&self, columns: &[usize]) -> bool {
        !self.is_computed()
            && self.keys.len() == columns.len()
            && columns.iter().all(|c| self.has_column(*c))
    }

    /// Whether the other index has the same key, in any order, for the same rows: it does not
    /// matter which of them decides.
    pub fn is_twin(&self, other: &Self) -> bool {
        let sql = |index: &Self| index.condition.as_ref().map(|by| by.sql.clone());
        let has = |key: &KeyColumn| {
            let same = |own: &KeyColumn| match (&own.expression, &key.expression) {
                (None, None) => own.column == key.column,
                (Some(own), Some(key)) => own.sql == key.sql,
                _ => false,
            };
            self.keys.iter().any(same)
        };
        self.keys.len() == other.keys.len() && other.keys.iter().all(has) && sql(self) == sql(other)
    }

    /// Whether its key is made of exactly these, in any order.
    pub(super) fn has_key(&self, elements: &[KeyElement<'_>]) -> bool {
        let is_named = |place: usize| elements.iter().any(|element| self.is_at(place, element));
        self.keys.len() == elements.len() && (0..self.keys.len()).all(is_named)
    }

    /// Whether one of its expressions is written so.
    pub(super) fn has_expression(&self, text: &str) -> bool {
        (0..self.keys.len()).any(|place| self.is_at(place, &KeyElement::Text(text)))
    }

    /// Whether this is what is at a place in the key: an expression is written as the index has it,
    /// or as `pg_get_indexdef` shows it to a client.
    fn is_at(&self, place: usize, element: &KeyElement<'_>) -> bool {
        let key = &self.keys[place];
        let (expression, text) = match (&key.expression, element) {
            (None, KeyElement::Column(column)) => return key.column == *column,
            (Some(expression), KeyElement::Text(text)) => (expression, without_parentheses(text)),
            _ => return false,
        };
        let is = |written: &str| without_parentheses(written) == text;
        let as_shown = |pretty| is(&column_definition(self.oid, place as i32 + 1, pretty));
        is(&expression.name) || is(&expression.sql) || as_shown(true) || as_shown(false)
    }

    /// The name of one of its expressions that is the same as this one, however it is written.
    pub(super) fn name_of_expression(&self, expression: Expression<'_>) -> Option<String> {
        let place = place_of_expression(self.oid, expression)?;
        let mut expressions = self.keys.iter().filter_map(|key| key.expression.as_ref());
        expressions.nth(place).map(|own| own.name.clone())
    }

    /// Whether these columns and no others are in the key, be it within an expression.
    pub(super) fn is_about(&self, columns: &[usize]) -> bool {
        let within = self.expression_columns.iter().copied();
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

/// A key column that is a column of the table.
fn key_column(column: usize, operators: KeyOperators) -> KeyColumn {
    let (less_than, collation) = (operators.less_than, operators.collation);
    let typid = operators.typid();
    let storage = types::storage(typid);
    KeyColumn {
        column,
        storage: (storage.by_value, storage.length),
        sort_order: TypeOrder::new(typid, less_than, collation),
        operators,
        expression: None,
    }
}

fn position(number: pg_sys::AttrNumber, columns: &[Column]) -> Option<usize> {
    columns.iter().position(|column| column.attnum == number)
}

/// The positions of columns that an expression refers to; 0 is the whole row.
fn positions(numbers: &[pg_sys::AttrNumber], columns: &[Column]) -> Vec<usize> {
    if numbers.contains(&0) {
        return (0..columns.len()).collect();
    }
    let places = numbers.iter().map(|number| position(*number, columns));
    places.flatten().collect()
}

/// An expression without the parentheses around it, which it has in a definition of an index
/// unless it is a call of a function. Parentheses in quotes count, too: an expression with such ones
/// is compared with its outer ones.
///
/// It takes one pass, however many there are: the text may be a caller's.
fn without_parentheses(text: &str) -> &str {
    let mut text = text.trim();
    let run = |c: char, outer: char| c == outer || c.is_whitespace();
    let inner = text.trim_start_matches(|c| run(c, '('));
    let opened = text[..text.len() - inner.len()].matches('(').count();
    let inner = inner.trim_end_matches(|c| run(c, ')'));
    let closed = text.matches(')').count() - inner.matches(')').count();
    // As many go as are open everywhere in between, and are all closed by those at the end.
    let (mut depth, mut least) = (opened as i64, opened as i64);
    for byte in inner.bytes() {
        depth += i64::from(byte == b'(') - i64::from(byte == b')');
        least = least.min(depth);
    }
    let outer = match depth >= closed as i64 {
        true => least.min(closed as i64),
        false => 0,
    };
    for _ in 0..outer {
        text = text[1..text.len() - 1].trim();
    }
    text
}

fn desc_of(columns: &[usize], all: &[&Column]) -> RowDesc {
    let column = |c: &usize| {
        let column = all[*c];
        RowColumn {
            typmod: column.typmod,
            ..RowColumn::of_type(&column.c_name, column.typid)
        }
    };
    RowDesc::of(&columns.iter().map(column).collect::<Vec<_>>())
}
