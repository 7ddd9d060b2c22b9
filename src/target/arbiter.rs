//! Which unique index of a target decides.
use super::{KeyColumn, KeyElement, OpenRelation, Target, UniqueIndex};
use crate::error::{OrRaise, Report, RowOrigin, SqlState, StatementPosition};
use crate::pg::statement::expression::Expressions;
use crate::text;

impl Target {
    /// The arbiter for an explicit key: the usable unique index on exactly
    /// these columns and expressions, in any order. One without a condition goes first.
    ///
    /// # Errors
    /// 42703 for a name that is no column, and no expression of an index; 42P10 if no usable
    /// unique index has these, with the reason, or if only conditions tell several apart.
    pub fn arbiter_for_key(&self, key: &[String]) -> &UniqueIndex {
        self.find_arbiter_for_key(key).or_raise()
    }

    /// As [`Target::arbiter_for_key`], with the error for the caller to decide about.
    pub fn find_arbiter_for_key(&self, key: &[String]) -> Result<&UniqueIndex, Box<Report>> {
        let elements = key
            .iter()
            .map(|name| self.key_element(name))
            .collect::<Result<Vec<_>, _>>()?;
        let indexes = self.indexes.iter();
        let mut usable = indexes.filter(|i| i.unusable_reason.is_none() && i.has_key(&elements));
        let first = usable.next();
        let others: Vec<&UniqueIndex> = usable.collect();
        match first {
            Some(first) if others.iter().all(|other| other.is_twin(first)) => Ok(first),
            Some(first) => {
                let all = || std::iter::once(first).chain(others.iter().copied());
                match all().find(|index| index.condition.is_none()) {
                    Some(whole) => Ok(whole),
                    None => Err(Box::new(
                        self.ambiguous_condition(&all().collect::<Vec<_>>()),
                    )),
                }
            }
            None => Err(Box::new(self.no_index_on(key, &elements))),
        }
    }

    /// A key as a caller has written it, with expressions as the indexes have them. Only for
    /// whoever calls: to read what others have written is to run their code, if they want it to
    /// (see [`Expressions::parse`]).
    ///
    /// # Errors
    /// What CREATE INDEX raises for an expression that is none.
    pub fn canonical_key(&self, key: &[String]) -> Vec<String> {
        let canonical = |name: &String| {
            let is_column = self.columns.iter().any(|column| column.name == *name);
            let has = |index: &UniqueIndex| index.has_expression(name);
            if is_column || !looks_like_expression(name) || self.indexes.iter().any(has) {
                return None;
            }
            let expressions = Expressions::new();
            let relation = OpenRelation::open(self.oid);
            let sql = text::to_server(name);
            // An error points into the expression, not into the caller's statement.
            let position = StatementPosition::watch(&sql);
            let parsed = expressions.parse(&relation, &sql)?;
            drop(position);
            let mut indexes = self.indexes.iter();
            indexes.find_map(|index| index.name_of_expression(parsed))
        };
        let names = key.iter();
        names
            .map(|name| canonical(name).unwrap_or_else(|| name.clone()))
            .collect()
    }

    /// What a part of an explicit key stands for.
    ///
    /// # Errors
    /// 42703 for what is neither a column, nor an expression of an index, nor looks like one.
    fn key_element<'k>(&self, name: &'k str) -> Result<KeyElement<'k>, Box<Report>> {
        if let Some(column) = self.column_by_bytes(text::to_server(name).to_bytes()) {
            return Ok(KeyElement::Column(column));
        }
        if looks_like_expression(name)
            || self.indexes.iter().any(|index| index.has_expression(name))
        {
            return Ok(KeyElement::Text(name));
        }
        Err(Box::new(self.no_such_column_in(name, "key")))
    }

    /// 42P10: no usable index is on exactly these columns and expressions.
    fn no_index_on(&self, key: &[String], elements: &[KeyElement<'_>]) -> Report {
        let name = |(element, name): (&KeyElement<'_>, &String)| match element {
            KeyElement::Column(_) => text::quote_identifier(name),
            KeyElement::Text(text) => (*text).to_owned(),
        };
        let names: Vec<String> = elements.iter().zip(key).map(name).collect();
        let report = Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "table \"{}\" has no usable unique index on ({})",
                self.name,
                names.join(", ")
            ),
        )
        .table(&self.schema, &self.name);
        let refused = self
            .indexes
            .iter()
            .find(|index| index.unusable_reason.is_some() && index.has_key(elements));
        let column = |element: &KeyElement<'_>| match element {
            KeyElement::Column(column) => Some(*column),
            KeyElement::Text(_) => None,
        };
        let columns: Option<Vec<usize>> = elements.iter().map(column).collect();
        let report = match refused {
            Some(index) => report
                .detail(format!(
                    "Index \"{}\" {}.",
                    index.name,
                    index.unusable_reason.unwrap_or_default()
                ))
                .constraint(index.name.clone()),
            None => report.detail(self.list_indexes()),
        };
        match columns {
            Some(columns) => report.hint(self.index_hint(&columns, refused)),
            None => report.hint(
                "Name columns and expressions as a unique index has them, or create one on these.",
            ),
        }
    }

    /// 42P10: several partial indexes have the key.
    fn ambiguous_condition(&self, candidates: &[&UniqueIndex]) -> Report {
        let described: Vec<String> = candidates.iter().map(|i| self.describe(i)).collect();
        Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "the key is ambiguous: several partial unique indexes of table \"{}\" have it",
                self.name
            ),
        )
        .detail(format!("Candidates: {}.", described.join(", ")))
        .hint(
            "Keep one of them, or create the others with a further column or expression, by \
             which a key can tell them apart.",
        )
        .table(&self.schema, &self.name)
    }

    /// The arbiter when the caller names no key: the primary key if every
    /// payload, or the source, names all its columns (`named` says so for a column), else the
    /// one usable unique index whose columns they all name. One on expressions, or with a
    /// condition (which says no more than that its key is not NULL), is taken only where there is
    /// no other.
    ///
    /// # Errors
    /// 42P10 if there is none, or more than one.
    pub fn find_default_arbiter(
        &self,
        origin: RowOrigin,
        named: impl Fn(usize) -> bool,
    ) -> Result<&UniqueIndex, Box<Report>> {
        let fits = |index: &&UniqueIndex| {
            index.can_be_default() && index.deciding_columns().iter().all(|c| named(*c))
        };
        let primary = || self.indexes.iter().filter(|index| index.primary);
        if let Some(primary) = primary().find(fits) {
            return Ok(primary);
        }
        let candidates = most_plain(self.indexes.iter().filter(fits).collect());
        match candidates.as_slice() {
            [index] => Ok(index),
            [] => Err(Box::new(self.no_named_key(origin, named))),
            many => Err(Box::new(self.ambiguous_key(many))),
        }
    }

    /// 42P10: no usable index has only columns that are `named`. If there is one usable index,
    /// the columns of it that payloads do not name are told; those of a source are told by who knows
    /// the source.
    fn no_named_key(&self, origin: RowOrigin, named: impl Fn(usize) -> bool) -> Report {
        if self.foreign {
            return self.no_declared_key();
        }
        let (who, remedy) = match origin {
            RowOrigin::Source => ("the source", "Add the key columns to the source"),
            _ => ("every payload", "Name the key columns in every payload"),
        };
        let report = Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "table \"{}\" has no usable unique index whose columns {who} names",
                self.name
            ),
        )
        .detail(self.list_indexes())
        .table(&self.schema, &self.name);
        let usable = self.default_indexes();
        let report = match usable.as_slice() {
            [] => return report.hint(self.hint_to_name_key()),
            [index] if origin != RowOrigin::Source => {
                let deciding = index.deciding_columns().iter().copied();
                let lacking: Vec<usize> = deciding.filter(|c| !named(*c)).collect();
                let lacking = match lacking.as_slice() {
                    [column] => format!("column \"{}\"", self.columns[*column].name),
                    several => format!(
                        "each of the columns {}",
                        self.column_list(several.iter().copied())
                    ),
                };
                report.more_detail(&format!("Not every payload names {lacking}."))
            }
            _ => report,
        };
        // An identity that is GENERATED ALWAYS is no client's to send.
        let may_be_named = |index: &&UniqueIndex| {
            let mut lacking = index.deciding_columns().iter().filter(|c| !named(**c));
            lacking.all(|c| self.columns[*c].may_be_named)
        };
        report.hint(if usable.iter().any(may_be_named) {
            self.sentence_on_index(&format!("{remedy}, or create"), ".")
        } else {
            self.hint_to_create_index()
        })
    }

    /// 42P10: several indexes could decide.
    fn ambiguous_key(&self, candidates: &[&UniqueIndex]) -> Report {
        let described: Vec<String> = candidates.iter().map(|i| self.describe(i)).collect();
        Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "the key is ambiguous: several unique indexes of {} \"{}\" qualify",
                match self.foreign {
                    true => "the source of foreign table",
                    false => "table",
                },
                self.name
            ),
        )
        .detail(format!("Candidates: {}.", described.join(", ")))
        .hint("Name the key columns with the argument key.")
        .table(&self.schema, &self.name)
    }

    /// The unique indexes that can decide without being named.
    pub fn default_indexes(&self) -> Vec<&UniqueIndex> {
        let indexes = self.indexes.iter();
        indexes.filter(|i| i.can_be_default()).collect()
    }

    /// What to do where no index decides without being named.
    pub fn hint_to_name_key(&self) -> String {
        let mut indexes = self.indexes.iter();
        match indexes.find(|index| index.unusable_reason.is_none()) {
            Some(index) => format!(
                "Name the key of a partial index, as in key => {}; rows outside its condition \
                 have no key.",
                self.key_argument(index)
            ),
            None => self.hint_to_create_index(),
        }
    }

    /// `"name" (columns)`, for error texts.
    pub fn describe(&self, index: &UniqueIndex) -> String {
        let described = format!("\"{}\" ({})", index.name, self.key_list(index));
        match index.condition_sql() {
            Some(condition) => format!("{described} WHERE {condition}"),
            None => described,
        }
    }

    /// The columns and expressions of a key, quoted where they have to be, and separated by commas.
    pub fn key_list(&self, index: &UniqueIndex) -> String {
        let element = |key: &KeyColumn| {
            let name = &self.column(key.column).name;
            match key.expression {
                Some(_) => name.clone(),
                None => text::quote_identifier(name),
            }
        };
        let elements: Vec<String> = index.keys.iter().map(element).collect();
        elements.join(", ")
    }

    /// The columns and expressions of a key, as the argument `key` names them.
    pub fn key_names(&self, index: &UniqueIndex) -> Vec<String> {
        let keys = index.keys.iter();
        keys.map(|key| self.column(key.column).name.clone())
            .collect()
    }

    /// The argument `key` for an index, as SQL.
    pub fn key_argument(&self, index: &UniqueIndex) -> String {
        text::quote_array(&self.key_names(index))
    }

    /// A sentence that lists the unique indexes, and why some do not qualify.
    pub fn list_indexes(&self) -> String {
        if self.indexes.is_empty() {
            return "The table has no unique index.".to_owned();
        }
        let mut list = String::from("Unique indexes: ");
        for (i, index) in self.indexes.iter().enumerate() {
            if i > 0 {
                list.push_str("; ");
            }
            list.push_str(&match index.unusable_reason {
                None => self.describe(index),
                Some(reason) => format!("\"{}\", which {reason}", index.name),
            });
        }
        list.push('.');
        list
    }
}

/// Whether a part of a key that is no column is meant to be an expression. A minus sign and words
/// are in many names, too, and say so only between blanks.
pub(super) fn looks_like_expression(name: &str) -> bool {
    let has_words = || name.contains('-') || name.to_ascii_lowercase().contains(" is ");
    name.contains(|c| "([+*/<>=~!@#%^&|?'".contains(c)) || (name.contains(' ') && has_words())
}

/// Of several indexes those that could be the key: the ones on columns alone and on all rows, if
/// there are some. Of those that decide the same, the first.
pub fn most_plain(fit: Vec<&UniqueIndex>) -> Vec<&UniqueIndex> {
    let plain_only = fit.iter().any(|index| !index.is_computed());
    let mut candidates: Vec<&UniqueIndex> = Vec::new();
    for index in fit {
        let passed_over = plain_only && index.is_computed();
        if !passed_over && !candidates.iter().any(|other| other.is_twin(index)) {
            candidates.push(index);
        }
    }
    candidates
}
