//! What a guard's options come to on its table.
use super::key_lock::KeyHasher;
use super::options::{ConflictAction, GuardOptions, NullKey};
use crate::error::{OrRaise, Report, SqlState};
use crate::own_function::own_function;
use crate::payload::shape::{Comparison, Shape};
use crate::pg::schedule::expects_new;
use crate::remember::Remember;
use crate::target::{PerTarget, Target, TriggerInfo, UniqueIndex, most_plain};
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// A guard's options, resolved for its table.
pub struct GuardConfig {
    /// Which of the target's indexes decides.
    arbiter: usize,
    /// The positions of the columns whose values must agree.
    pub compared: Vec<usize>,
    /// Those of them that are compared whatever their values are,
    pub always: Vec<usize>,
    /// and those that are compared only where the row supplies them: their default is the same
    /// throughout a statement, but not for ever. With `compare` there are none.
    pub compared_if_supplied: Vec<usize>,
    /// What becomes of a row with a NULL in its key.
    pub null_key: NullKey,
    /// What is done about a conflict.
    pub on_conflict: ConflictAction,
    /// What keeps the original payload.
    pub remember: Option<Remember>,
    /// How keys are locked.
    pub key_hasher: KeyHasher,
    /// How many of the last look-ups found no row.
    pub miss_rate: MissRate,
    /// The state of the catalogs (`target::changes`) in which all partitions were
    /// seen to have the guard enabled alike.
    pub partitions_checked_at: Cell<Option<u64>>,
}

/// How often the last look-ups found no row: a moving average, by which the next step is chosen.
#[derive(Default)]
pub struct MissRate(Cell<u32>);

impl MissRate {
    const ONE: u32 = 1 << 16;
    /// A row moves the average by this part of the distance.
    const WEIGHT: u32 = 8;
    /// From one new row in four on it pays to expect one: a lock that was taken in
    /// vain costs a third of a second look.
    const THRESHOLD: u32 = Self::ONE / 4;

    /// Whether the next look-up is expected to find no row.
    pub fn predicts_miss(&self) -> bool {
        expects_new().unwrap_or(self.0.get() > Self::THRESHOLD)
    }

    /// A row was new.
    pub fn record_miss(&self) {
        self.0
            .set(self.0.get() + (Self::ONE - self.0.get()) / Self::WEIGHT);
    }

    /// A row was stored already.
    pub fn record_hit(&self) {
        self.0.set(self.0.get() - self.0.get() / Self::WEIGHT);
    }
}

/// The configurations of a target's guards, by trigger.
type Configs = HashMap<pg_sys::Oid, Rc<GuardConfig>>;

thread_local! {
    static CONFIGS: ManuallyDrop<PerTarget<RefCell<Configs>>> = PerTarget::new();
}

impl GuardConfig {
    /// The configuration of a guard of this target.
    ///
    /// # Errors
    /// 22023 for options that are none; 42703 for columns that are gone, 42P10 for
    /// a key that does not qualify any more.
    pub fn of(target: &Target, trigger: &TriggerInfo) -> Result<Rc<Self>, Box<Report>> {
        let configs = CONFIGS.with(|configs| configs.of(target.id));
        if let Some(config) = configs.borrow().get(&trigger.oid) {
            return Ok(Rc::clone(config));
        }
        let options = GuardOptions::of_trigger(&trigger.arguments)?;
        let config = Self::resolve(target, &options).map_err(|report| {
            if report.sqlstate() != SqlState::UndefinedColumn {
                return report;
            }
            let guard = own_function("idempotent_guard");
            let hint = format!("Call {guard} again, with columns that the table has.");
            Box::new(report.hint(hint))
        })?;
        let config = Rc::new(config);
        configs.borrow_mut().insert(trigger.oid, Rc::clone(&config));
        Ok(config)
    }

    /// The configuration of the guard that is in force on the target, if one is. One that only
    /// observes is not.
    pub fn in_force(target: &Target) -> Option<Rc<Self>> {
        let enabled = |trigger: &&TriggerInfo| trigger.enabled != pg_sys::TRIGGER_DISABLED;
        let trigger = target.guards.iter().find(enabled)?;
        let judges = !GuardOptions::observes(&trigger.arguments);
        judges.then(|| Self::of(target, trigger).or_raise())
    }

    /// Resolves options for a target.
    ///
    /// # Errors
    /// As [`GuardConfig::of`].
    pub fn resolve(target: &Target, options: &GuardOptions) -> Result<Self, Box<Report>> {
        let arbiter = match &options.key {
            Some(key) => target.find_arbiter_for_key(key)?,
            None => default_arbiter(target)?,
        };
        check_not_generated(target, arbiter)?;
        if options.remember.is_some() && options.on_conflict() == ConflictAction::Observe {
            let message = "a guard that only observes cannot remember the original payload";
            let report = Report::new(SqlState::InvalidParameterValue, message)
                .hint("Leave out the argument remember until the guard verifies.")
                .table(&target.schema, &target.name);
            return Err(Box::new(report));
        }
        let remembers = options
            .remember
            .as_deref()
            .map(|name| target.column_in(name, "remember"))
            .transpose()?;
        let compared = compared(target, arbiter, options, remembers)?;
        let (compared_if_supplied, always): (Vec<usize>, Vec<usize>) =
            compared.iter().partition(|c| {
                options.compare.is_none() && target.columns[**c].stable_default.is_some()
            });
        let remember = options
            .remember
            .as_deref()
            .map(|name| Remember::new(target, name, &compared, &compared_if_supplied))
            .transpose()?;
        let at = target.indexes.iter().position(|i| i.oid == arbiter.oid);
        Ok(Self {
            arbiter: at.expect("the arbiter is one of the indexes"),
            compared,
            always,
            compared_if_supplied,
            null_key: options.null_key(),
            on_conflict: options.on_conflict(),
            remember,
            key_hasher: KeyHasher::new(target, arbiter),
            miss_rate: MissRate::default(),
            partitions_checked_at: Cell::new(None),
        })
    }

    /// The index that decides.
    pub fn arbiter<'t>(&self, target: &'t Target) -> &'t UniqueIndex {
        &target.indexes[self.arbiter]
    }
}

/// The position of a column that decides on the key and is generated, if one is.
fn generated_column(target: &Target, index: &UniqueIndex) -> Option<usize> {
    let mut deciding = index.deciding_columns().iter().copied();
    deciding.find(|c| target.columns[*c].generated != 0)
}

/// Refuses a key that the server computes after the guard has verified the row.
///
/// # Errors
/// 42P10
fn check_not_generated(target: &Target, arbiter: &UniqueIndex) -> Result<(), Box<Report>> {
    let Some(column) = generated_column(target, arbiter) else {
        return Ok(());
    };
    let can_be_named = |index: &&UniqueIndex| {
        index.unusable_reason.is_none() && generated_column(target, index).is_none()
    };
    let report = Report::new(
        SqlState::InvalidColumnReference,
        format!(
            "index \"{}\" of table \"{}\" cannot be the key of a guard",
            arbiter.name, target.name
        ),
    )
    .detail(format!(
        "Its column \"{}\" is generated, and the server computes it after the guard \
         has verified the row.",
        target.columns[column].name
    ))
    .hint(match target.indexes.iter().find(can_be_named) {
        Some(other) => format!(
            "Name other key columns, as in key => {}.",
            target.key_argument(other)
        ),
        None => target.hint_to_create_index(),
    })
    .table(&target.schema, &target.name)
    .constraint(arbiter.name.clone());
    Err(Box::new(report))
}

/// The columns whose values must agree: the compared ones as named, or every
/// column less the key, generated ones, the one that remembers, and those that
/// are machine-made, less the ignored ones.
///
/// # Errors
/// 22023 for a compared column that is generated, or remembers.
fn compared(
    target: &Target,
    arbiter: &UniqueIndex,
    options: &GuardOptions,
    remembers: Option<usize>,
) -> Result<Vec<usize>, Box<Report>> {
    let (compare, ignore) = (options.compare.as_deref(), options.ignore.as_deref());
    let comparison = Comparison::new(target, compare, ignore)?;
    let refuse = |column: usize, option: &str, what: &str| {
        Err(Box::new(target.cannot_be_in(column, what, option)))
    };
    for column in comparison.named().iter().copied() {
        if target.columns[column].generated != 0 {
            let what = "is generated after the guard has verified the row";
            return refuse(column, "compare", what);
        }
        if remembers == Some(column) {
            return refuse(column, "compare", "remembers the original payload");
        }
    }
    if let Some(column) = remembers.filter(|column| arbiter.has_column(*column)) {
        return refuse(column, "remember", "is part of the key");
    }
    let eligible = |c: &usize| {
        let column = &target.columns[*c];
        column.generated == 0
            && remembers != Some(*c)
            && (compare.is_some() || !column.has_volatile_default)
    };
    let mut shapes = [Shape {
        named: (0..target.columns.len()).filter(eligible).collect(),
        compared: Vec::new(),
        first: 1,
    }];
    comparison.try_apply(target, arbiter, &mut shapes)?;
    let [shape] = shapes;
    Ok(shape.compared)
}

/// The arbiter when no key is named: the primary key unless a column of it is
/// machine-made or has a clock default, else the one remaining usable unique index.
///
/// # Errors
/// 42P10 if there is none, or more than one.
fn default_arbiter(target: &Target) -> Result<&UniqueIndex, Box<Report>> {
    let made_anew = |index: &UniqueIndex| {
        let mut deciding = index.deciding_columns().iter().copied();
        deciding.any(|c| target.columns[c].has_changing_default())
    };
    let usable: Vec<&UniqueIndex> = target
        .indexes
        .iter()
        .filter(|index| index.can_be_default() && generated_column(target, index).is_none())
        .collect();
    let of_clients = usable.iter().copied().filter(|index| !made_anew(index));
    let of_clients: Vec<&UniqueIndex> = of_clients.collect();
    if let Some(primary) = of_clients.iter().find(|index| index.primary) {
        return Ok(primary);
    }
    let candidates = most_plain(of_clients);
    let report = match candidates.as_slice() {
        [index] => return Ok(index),
        [] => {
            let made = usable.into_iter().filter(|index| made_anew(index));
            no_arbiter(target, &made.collect::<Vec<_>>())
        }
        many => Report::new(
            SqlState::InvalidColumnReference,
            format!(
                "the key is ambiguous: several unique indexes of table \"{}\" qualify",
                target.name
            ),
        )
        .table(&target.schema, &target.name)
        .detail(format!("Candidates: {}.", list(target, many)))
        .hint("Name the key columns with the argument key."),
    };
    Err(Box::new(report))
}

/// 42P10: no index is the arbiter of a guard that names no key. Those that were `made` for
/// server-generated keys are named, and those on generated columns.
fn no_arbiter(target: &Target, made: &[&UniqueIndex]) -> Report {
    let mut details: Vec<String> = match made {
        [] => Vec::new(),
        [one] => vec![format!(
            "{} is a server-generated key.",
            target.describe(one)
        )],
        many => vec![format!("{} are server-generated keys.", list(target, many))],
    };
    for index in target.default_indexes() {
        if let Some(column) = generated_column(target, index) {
            let (name, column) = (&index.name, &target.columns[column].name);
            details.push(format!(
                "Column \"{column}\" of index \"{name}\" is generated, and the server computes it after \
                 the guard has verified the row."
            ));
        }
    }
    if details.is_empty() {
        details.push(target.list_indexes());
    }
    let report = Report::new(
        SqlState::InvalidColumnReference,
        format!(
            "table \"{}\" has no unique index that identifies a repeated payload",
            target.name
        ),
    )
    .table(&target.schema, &target.name)
    .detail(details.join(" "));
    let may_be_sent = |index: &&UniqueIndex| {
        let mut deciding = index.deciding_columns().iter();
        deciding.all(|c| target.columns[*c].may_be_named)
    };
    report.hint(if target.default_indexes().is_empty() {
        target.hint_to_name_key()
    } else if made.iter().any(may_be_sent) {
        target.sentence_on_index(
            "Create",
            ", or name the key columns with the argument key if clients provide them.",
        )
    } else {
        target.hint_to_create_index()
    })
}

fn list(target: &Target, indexes: &[&UniqueIndex]) -> String {
    let described: Vec<String> = indexes.iter().map(|i| target.describe(i)).collect();
    described.join(", ")
}
