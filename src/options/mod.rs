//! The options that the functions over sets of rows share: which key decides, what is compared,
//! and what is done about a conflict; and what these come to for a source.
use crate::batch::BatchOptions;
use crate::enum_text;
use crate::error::{OrRaise, Report, RowOrigin, SqlState};
use crate::guard;
use crate::outcome::{OnConflict, OnError};
use crate::payload::generated::exclude_from_comparison;
use crate::payload::shape::{Comparison, IdentityValues, KeyPlace, Shape, check_key_named};
use crate::payload::source::Source;
use crate::pg::call::arguments::Arguments;
use crate::target::{Target, UniqueIndex, check_insert_privileges};
use serde::Deserialize;
use std::rc::Rc;

/// Arguments 3 to 8 of every insert function: key, compare, ignore, on_conflict, overriding,
/// on_error. The function for a single payload has no `on_error`.
pub struct InsertOptions {
    /// How payloads find their stored rows.
    pub match_rule: MatchRule,
    /// What is done about a conflict.
    pub on_conflict: OnConflict,
    /// What is done about a row that the server refuses.
    pub on_error: OnError,
}

impl InsertOptions {
    /// Reads and checks them.
    pub fn read(arguments: &Arguments, target: &Target, batch: bool) -> Self {
        let key_options = KeyOptions::read(arguments, [2, 3, 4]);
        let on_conflict = OnConflict::parse(&arguments.text(5, "on_conflict"));
        let identity = read_overriding(arguments, 6);
        let on_error = if batch {
            OnError::parse(&arguments.text(7, "on_error"))
        } else {
            OnError::Error
        };
        Self {
            match_rule: MatchRule::new(&key_options, target).with_identity(identity, target),
            on_conflict,
            on_error,
        }
    }
}

/// The values of the argument `overriding`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Overriding {
    System,
    User,
}

/// What the argument `overriding` at this position says of identity columns.
pub fn read_overriding(arguments: &Arguments, position: usize) -> IdentityValues {
    let value = arguments.optional_text(position);
    match value.map(|value| enum_text::argument("overriding", &value)) {
        None => IdentityValues::NotOverriding,
        Some(Overriding::System) => IdentityValues::Written,
        Some(Overriding::User) => IdentityValues::Ignored,
    }
}

/// What a batch under a token is known by, with the options that all insert functions have.
pub fn insert_options_of_batch(
    options: BatchOptions,
    on_conflict: OnConflict,
    on_error: OnError,
    identity: IdentityValues,
) -> BatchOptions {
    let conflict = enum_text::name(on_conflict);
    let error = enum_text::name(on_error);
    options
        .with_text(c"on_conflict", conflict, enum_text::name(OnConflict::Error))
        .with_text(c"on_error", error, enum_text::name(OnError::Error))
        .with_text(c"overriding", identity.option(), "")
}

/// The arguments key, compare and ignore, as the caller gave them.
#[derive(Clone)]
pub struct KeyOptions {
    key: Option<Vec<String>>,
    compare: Option<Vec<String>>,
    ignore: Option<Vec<String>>,
    /// Whether the key is as the caller has written it.
    of_caller: bool,
}

impl KeyOptions {
    /// These options, which somebody else has written.
    pub fn new(
        key: Option<Vec<String>>,
        compare: Option<Vec<String>>,
        ignore: Option<Vec<String>>,
    ) -> Self {
        Self {
            key,
            compare,
            ignore,
            of_caller: false,
        }
    }

    /// The arguments at these positions: key, compare, ignore.
    pub fn read(arguments: &Arguments, positions: [usize; 3]) -> Self {
        let [key, compare, ignore] = positions;
        Self {
            key: arguments.columns(key, "key"),
            compare: arguments.columns(compare, "compare"),
            ignore: arguments.columns(ignore, "ignore"),
            of_caller: true,
        }
    }

    /// These options, as far as a batch under a token is known by them.
    pub fn of_batch(&self) -> BatchOptions {
        BatchOptions::default()
            .with_names(c"key", self.key.as_deref())
            .with_names(c"compare", self.compare.as_deref())
            .with_names(c"ignore", self.ignore.as_deref())
    }

    /// The key, if it is named.
    pub fn key(&self) -> Option<Vec<String>> {
        self.key.clone()
    }

    /// A copy of these options, with this key.
    pub fn with_key(&self, key: &[String]) -> Self {
        Self {
            key: Some(key.to_vec()),
            ..self.clone()
        }
    }
}

/// How payloads find their stored rows, and what of the two is compared.
pub struct MatchRule {
    key: Option<Vec<String>>,
    /// Which columns are compared.
    pub comparison: Comparison,
    /// What becomes of the values of identity columns.
    pub identity: IdentityValues,
    /// The guard of the target, if one is in force.
    pub guard: Option<Rc<guard::GuardConfig>>,
}

impl MatchRule {
    /// Checks what the caller wishes for a target. By default, columns that the target's
    /// guard does not compare are not compared either.
    pub fn new(key_options: &KeyOptions, target: &Target) -> Self {
        Self::try_new(key_options, target).or_raise()
    }

    /// As [`MatchRule::new`], with the error for the caller to decide about.
    pub fn try_new(key_options: &KeyOptions, target: &Target) -> Result<Self, Box<Report>> {
        let mut match_rule = Self::try_of_all_columns(key_options, target)?;
        let KeyOptions {
            compare, ignore, ..
        } = key_options;
        if let Some(guard) = &match_rule.guard
            && compare.is_none()
            && ignore.is_none()
        {
            match_rule.comparison.limit(&guard.compared);
        }
        Ok(match_rule)
    }

    /// Checks what the caller wishes for a target. By default all columns are compared, whatever a
    /// guard compares.
    pub fn of_all_columns(key_options: &KeyOptions, target: &Target) -> Self {
        Self::try_of_all_columns(key_options, target).or_raise()
    }

    fn try_of_all_columns(key_options: &KeyOptions, target: &Target) -> Result<Self, Box<Report>> {
        let (compare, ignore) = (
            key_options.compare.as_deref(),
            key_options.ignore.as_deref(),
        );
        let key = key_options.key.as_deref();
        let key = key.map(|key| match key_options.of_caller {
            true => target.canonical_key(key),
            false => key.to_vec(),
        });
        Ok(Self {
            key,
            comparison: Comparison::new(target, compare, ignore)?,
            identity: IdentityValues::default(),
            guard: guard::GuardConfig::in_force(target),
        })
    }

    /// With these values of identity columns. Those that are ignored tell no stored row, and are
    /// not compared.
    ///
    /// # Errors
    /// 22023 if `key` or `compare` names one that is ignored.
    pub fn with_identity(mut self, identity: IdentityValues, target: &Target) -> Self {
        self.identity = identity;
        if identity != IdentityValues::Ignored {
            return self;
        }
        let ignored = |c: &usize| identity.ignores(&target.columns[*c]);
        let arbiter = self.key.as_deref().map(|key| target.arbiter_for_key(key));
        let key = arbiter.map_or(&[][..], UniqueIndex::deciding_columns);
        for (columns, option) in [(key, "key"), (self.comparison.named(), "compare")] {
            if let Some(column) = columns.iter().copied().find(|c| ignored(c)) {
                target
                    .cannot_be_in(
                        column,
                        "is an identity column, whose values are ignored,",
                        option,
                    )
                    .raise()
            }
        }
        let all: Vec<usize> = (0..target.columns.len()).filter(ignored).collect();
        self.comparison.exclude(&all);
        self
    }

    /// Checks of the key and the comparison what can be checked without a
    /// payload: an explicit key has its arbiter.
    pub fn check(&self, target: &Target) {
        if let Some(key) = &self.key {
            self.comparison
                .apply(target, target.arbiter_for_key(key), &mut []);
        }
    }

    /// The arbiter if it does not depend on what payloads name: by the explicit key, else the only
    /// index that can be.
    ///
    /// # Errors
    /// 42P10 if there is none.
    pub fn certain_arbiter<'t>(&self, target: &'t Target) -> Option<&'t UniqueIndex> {
        if let Some(key) = &self.key {
            return Some(target.arbiter_for_key(key));
        }
        let guards = self.guard.as_ref().map(|guard| guard.arbiter(target));
        let usable = target.indexes.iter().filter(|i| i.can_be_default());
        let others = usable.filter(|i| guards.is_none_or(|guards| guards.oid != i.oid));
        let mut all = guards.into_iter().chain(others);
        match (all.next(), all.next()) {
            (None, _) => Some(
                target
                    .find_default_arbiter(RowOrigin::Payloads, |_| true)
                    .or_raise(),
            ),
            (only, None) => only,
            _ => None,
        }
    }

    /// The arbiter: by the explicit key, else that of the target's guard if every
    /// payload names its columns, else by the columns that every payload names.
    ///
    /// A column whose default is the same in every attempt counts as named. Where it is
    /// part of no primary key, an index whose columns are all named indeed goes before.
    pub fn arbiter<'t>(
        &self,
        target: &'t Target,
        named: impl Fn(usize) -> bool,
    ) -> &'t UniqueIndex {
        self.find_arbiter(target, named).or_raise()
    }

    /// As [`MatchRule::arbiter`], with the error for the caller to decide about.
    pub fn find_arbiter<'t>(
        &self,
        target: &'t Target,
        named: impl Fn(usize) -> bool,
    ) -> Result<&'t UniqueIndex, Box<Report>> {
        self.find_arbiter_of(target, RowOrigin::Payloads, named)
    }

    fn find_arbiter_of<'t>(
        &self,
        target: &'t Target,
        origin: RowOrigin,
        named: impl Fn(usize) -> bool,
    ) -> Result<&'t UniqueIndex, Box<Report>> {
        let named = |c: usize| named(c) && !self.identity.ignores(&target.columns[c]);
        match &self.key {
            Some(key) => target.find_arbiter_for_key(key),
            None => {
                let counts = |c: usize| named(c) || target.columns[c].has_repeatable_default();
                let guards = self.guard.as_ref().map(|guard| guard.arbiter(target));
                let all = |index: &UniqueIndex, names: &dyn Fn(usize) -> bool| {
                    index.deciding_columns().iter().all(|c| names(*c))
                };
                // What a condition refers to is NULL where it is left out, and has no default.
                let counts_for_guard = |index: &UniqueIndex, c: usize| {
                    let column = &target.columns[c];
                    let is_null = !column.has_default && column.generated == 0;
                    counts(c) || (is_null && !index.is_in_key(c))
                };
                if let Some(arbiter) = guards
                    && all(arbiter, &|c| counts_for_guard(arbiter, c))
                {
                    return Ok(arbiter);
                }
                let usable = || target.indexes.iter().filter(|i| i.can_be_default());
                let by_primary = usable().any(|i| i.primary && all(i, &counts));
                if !by_primary && usable().any(|i| all(i, &named)) {
                    target.find_default_arbiter(origin, named)
                } else {
                    target.find_default_arbiter(origin, counts)
                }
            }
        }
    }

    /// The arbiter for the rows of a source. What it fills by itself counts as named only
    /// if it is named as the key: a staging table that is made like the target draws new
    /// numbers for the same rows when they come again.
    ///
    /// # Errors
    /// 42P10 if there is none, which says why.
    pub fn arbiter_for_source<'t>(
        &self,
        target: &'t Target,
        source: &Source<'_>,
    ) -> &'t UniqueIndex {
        match self.find_arbiter_of(target, RowOrigin::Source, |column| source.names(column)) {
            Ok(arbiter) => arbiter,
            Err(report)
                if report.sqlstate() == SqlState::InvalidColumnReference && self.key.is_none() =>
            {
                source.explain_no_key(*report).raise()
            }
            Err(report) => report.raise(),
        }
    }
}

/// What decides on the rows of a source, and their shape; the caller may do it.
pub fn plan_source<'t>(
    target: &'t Target,
    source: &Source<'_>,
    match_rule: &MatchRule,
) -> (&'t UniqueIndex, [Shape; 1]) {
    let mut shapes = [source.shape()];
    let arbiter = match_rule.arbiter_for_source(target, source);
    match_rule.comparison.apply(target, arbiter, &mut shapes);
    check_key_named(target, arbiter, &shapes, |_| KeyPlace::Source);
    exclude_from_comparison(target, &match_rule.comparison, &mut shapes);
    check_rights(target, arbiter, shapes[0].named.iter().copied());
    (arbiter, shapes)
}

/// Whether the caller may insert rows that name these columns, and read the key.
///
/// # Errors
/// 42501
pub fn check_rights(target: &Target, arbiter: &UniqueIndex, named: impl Iterator<Item = usize>) {
    check_insert_privileges(target, named, arbiter.deciding_columns().iter().copied());
}
