//! The options that all insert functions share.
use crate::guard;
use crate::outcome::OnConflict;
use crate::payload::shape::Comparison;
use crate::pg::arguments::Arguments;
use crate::target::{Target, UniqueIndex};
use std::rc::Rc;

/// Arguments 3 to 6 of every insert function, as the caller gave them.
#[derive(Clone)]
pub struct Wishes {
    key: Option<Vec<String>>,
    compare: Option<Vec<String>>,
    ignore: Option<Vec<String>>,
    on_conflict: OnConflict,
}

impl Wishes {
    /// Reads them.
    pub fn read(arguments: &Arguments) -> Self {
        Self {
            key: arguments.columns(2, "key"),
            compare: arguments.columns(3, "compare"),
            ignore: arguments.columns(4, "ignore"),
            on_conflict: OnConflict::parse(&arguments.text(5, "on_conflict")),
        }
    }

    /// The same, with this key.
    pub fn with_key(&self, key: &[String]) -> Self {
        Self {
            key: Some(key.to_vec()),
            ..self.clone()
        }
    }
}

/// What they come to for a target.
pub struct Options {
    key: Option<Vec<String>>,
    /// Which columns are compared.
    pub comparison: Comparison,
    /// What is done about a conflict.
    pub on_conflict: OnConflict,
    /// The guard of the target, if one is in force.
    pub guard: Option<Rc<guard::Plan>>,
}

impl Options {
    /// Reads and checks them.
    pub fn read(arguments: &Arguments, target: &Target) -> Self {
        Self::new(&Wishes::read(arguments), target)
    }

    /// Checks them.
    pub fn new(wishes: &Wishes, target: &Target) -> Self {
        let (compare, ignore) = (wishes.compare.as_deref(), wishes.ignore.as_deref());
        let mut comparison = Comparison::new(target, compare, ignore);
        let guard = guard::Plan::in_force(target);
        if let Some(guard) = guard
            .as_ref()
            .filter(|_| compare.is_none() && ignore.is_none())
        {
            comparison.limit(&guard.compared);
        }
        Self {
            key: wishes.key.clone(),
            comparison,
            on_conflict: wishes.on_conflict,
            guard,
        }
    }

    /// Checks of the key and the comparison what can be checked without a
    /// payload: an explicit key has its arbiter.
    pub fn check(&self, target: &Target) {
        if let Some(key) = &self.key {
            self.comparison
                .apply(target, target.arbiter_for_key(key), &mut []);
        }
    }

    /// The arbiter: by the explicit key, else that of the target's guard if every
    /// payload names its columns, else by the columns that every payload names.
    pub fn arbiter<'t>(
        &self,
        target: &'t Target,
        named: impl Fn(usize) -> bool,
    ) -> &'t UniqueIndex {
        match &self.key {
            Some(key) => target.arbiter_for_key(key),
            None => match self.guard.as_ref().map(|guard| guard.arbiter(target)) {
                Some(arbiter) if arbiter.columns().all(&named) => arbiter,
                _ => target.default_arbiter(named),
            },
        }
    }
}
