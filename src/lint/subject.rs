//! What the rules look at: the target, its guard, its keys, and what fills its columns.
use super::body::{Assignment, TriggerBody, ValueSource};
use crate::error::Report;
use crate::guard::{GuardConfig, NullKey, resolve_guard};
use crate::pg::catalog::function::FunctionSource;
use crate::pg::catalog::name::language_oid;
use crate::pg::catalog::relation::partition_root;
use crate::pg::value::text;
use crate::target::{
    Column, ColumnDefault, DefaultKind, OpenRelation, PartitionKeyColumns, Target, TriggerInfo,
    UniqueIndex, ancestor_partition_columns, check_any_privilege, is_guard_function, most_plain,
    no_relation, partition_key_columns,
};
use pgrx::pg_sys;
use std::rc::Rc;

/// A table that is looked at.
pub struct LintedTable {
    /// What is known of it anyway.
    pub target: Rc<Target>,
    /// The table, open: what is known of it holds until this goes.
    relation: OpenRelation,
    pub guard: Option<GuardInfo>,
    /// Its enabled row triggers that are no guards, in the order in which they fire.
    pub triggers: Vec<RowTrigger>,
    /// By column: what fills it with another value, if anything does.
    pub server_filled: Vec<Option<ServerFilled>>,
}

/// The guard of a table.
pub struct GuardInfo {
    pub trigger: TriggerInfo,
    /// What its options come to; or why they do not fit the table.
    pub config: Result<ResolvedGuard, Box<Report>>,
}

/// What a guard's options come to, on this table.
pub struct ResolvedGuard {
    /// Which of the target's indexes decides.
    pub arbiter: usize,
    /// The positions of the columns whose values must agree.
    pub compared: Vec<usize>,
    /// Those of them that are compared only where the row supplies them.
    pub compared_if_supplied: Vec<usize>,
    /// What becomes of a row with a NULL in its key.
    pub null_key: NullKey,
    /// Whether a column keeps the original payload.
    pub remembers: bool,
}

/// A row trigger that is no guard.
pub struct RowTrigger {
    /// Its name, arguments and events.
    pub trigger: TriggerInfo,
    /// What it does to a row.
    pub body: TriggerBody,
}

/// Why a column that an INSERT leaves out has another value with every attempt.
pub struct ServerFilled {
    /// The time, or something else.
    pub value_source: ValueSource,
    /// What makes it, to follow «is made by».
    pub by: String,
    /// Whether that is a sequence.
    pub by_sequence: bool,
    /// The SQL that ends it, without its semicolon.
    pub undo: String,
    /// Whether a client can send the column.
    pub may_be_sent: bool,
    /// Whether what a client sends is overwritten.
    pub overwritten: bool,
}

impl LintedTable {
    /// Opens a table, and gathers what the rules ask for.
    ///
    /// A caller without any right on the table must not lock it. No lock is kept, because
    /// the findings describe the present only.
    ///
    /// # Errors
    /// 42501 without any right on the table; 42P01 if there is none, 42809 if it is none
    /// that rows can be verified in, 0A000 for another session's temporary one.
    pub fn open(oid: pg_sys::Oid) -> Self {
        check_any_privilege(oid);
        let (target, relation) =
            Target::open_briefly(oid).unwrap_or_else(|| no_relation(oid).raise());
        let triggers = row_triggers(&relation);
        let guard = GuardInfo::of(&target, &relation);
        let server_filled = target
            .columns
            .iter()
            .map(|column| ServerFilled::of(&target, &relation, &triggers, column))
            .collect();
        Self {
            target,
            relation,
            guard,
            triggers,
            server_filled,
        }
    }

    /// What a guard that fits the table comes to.
    pub fn resolved_guard(&self) -> Option<&ResolvedGuard> {
        self.guard.as_ref()?.config.as_ref().ok()
    }

    /// Whether an index decides by columns that only clients know.
    fn is_business_key(&self, index: &UniqueIndex) -> bool {
        let mut deciding = index.deciding_columns().iter().copied();
        self.is_usable(index)
            && index.can_be_default()
            && !deciding.any(|c| self.server_filled[c].is_some())
    }

    /// Whether an index can decide for functions and guards.
    pub fn is_usable(&self, index: &UniqueIndex) -> bool {
        index.unusable_reason.is_none() && self.generated_key(index).is_none()
    }

    /// A column that decides on the key and is computed from others: an INSERT cannot name it.
    pub fn generated_key(&self, index: &UniqueIndex) -> Option<&Column> {
        index
            .deciding_columns()
            .iter()
            .copied()
            .map(|c| &self.target.columns[c])
            .find(|column| column.generated != 0)
    }

    /// The key: the guard's; else the primary key, unless the server makes it; else all
    /// other unique indexes that the server does not make, of which each could be it.
    pub fn keys(&self) -> Vec<&UniqueIndex> {
        let indexes = &self.target.indexes;
        if let Some(resolved_guard) = self.resolved_guard() {
            return vec![&indexes[resolved_guard.arbiter]];
        }
        let keys = indexes.iter().filter(|index| self.is_business_key(index));
        let keys: Vec<&UniqueIndex> = keys.collect();
        match keys.iter().find(|index| index.primary) {
            Some(primary) => vec![*primary],
            None => most_plain(keys),
        }
    }

    /// The positions of the columns by which the table is partitioned, and the partitioned
    /// tables under it.
    pub fn partition_columns(&self) -> Vec<usize> {
        match partition_key_columns(&self.target) {
            PartitionKeyColumns::By(columns) => columns,
            PartitionKeyColumns::None | PartitionKeyColumns::Unindexable(_) => Vec::new(),
        }
    }

    /// Whether some table of its tree is partitioned by this column, whose type cannot be
    /// changed then.
    pub fn has_fixed_type(&self, column: usize) -> bool {
        self.partition_columns().contains(&column)
            || ancestor_partition_columns(&self.target).contains(&column)
    }

    /// Whether it is a partition, of which most is to be changed on the partitioned table.
    pub fn is_partition(&self) -> bool {
        self.relation.is_partition()
    }

    /// The qualified name of the table that has the guard: the target, or its partitioned
    /// table.
    pub fn guarded_table(&self) -> String {
        if self
            .guard
            .as_ref()
            .is_some_and(|guard| guard.trigger.is_clone)
        {
            self.target.qualified_root()
        } else {
            self.target.qualified()
        }
    }

    /// Triggers that fire before a row is inserted.
    pub fn before_insert(&self) -> impl Iterator<Item = &RowTrigger> {
        self.triggers
            .iter()
            .filter(|trigger| trigger.fires_before(pg_sys::TRIGGER_TYPE_INSERT))
    }

    /// Triggers that fire before a row is updated.
    pub fn before_update(&self) -> impl Iterator<Item = &RowTrigger> {
        self.triggers
            .iter()
            .filter(|trigger| trigger.fires_before(pg_sys::TRIGGER_TYPE_UPDATE))
    }
}

impl GuardInfo {
    fn of(target: &Target, relation: &OpenRelation) -> Option<Self> {
        // A partition's own guard, which every row fails at, before that of its root.
        let own = target.guards.iter().find(|guard| !guard.is_clone);
        let trigger = own.or(target.guards.first())?.clone();
        let config = if trigger.is_clone {
            ResolvedGuard::of_partition(target, relation, &trigger)?
        } else {
            resolve_guard(target, relation, &trigger)
                .map(|config| ResolvedGuard::of_plan(target, &config))
        };
        Some(Self { trigger, config })
    }
}

impl ResolvedGuard {
    fn of_plan(target: &Target, config: &GuardConfig) -> Self {
        let arbiter = config.arbiter(target).oid;
        let place = target.indexes.iter().position(|i| i.oid == arbiter);
        Self {
            arbiter: place.expect("the arbiter is one of the indexes"),
            compared: config.compared.clone(),
            compared_if_supplied: config.compared_if_supplied.clone(),
            null_key: config.null_key,
            remembers: config.remember.is_some(),
        }
    }

    /// What the guard of a partitioned table comes to on a partition; None if the two
    /// are coming apart just now.
    fn of_partition(
        target: &Target,
        relation: &OpenRelation,
        trigger: &TriggerInfo,
    ) -> Option<Result<Self, Box<Report>>> {
        let root = partition_root(target.oid);
        let (root, root_relation) = Target::open_briefly(root)?;
        let original = root
            .guards
            .iter()
            .find(|guard| !guard.is_clone && guard.name == trigger.name)?;
        let config = match resolve_guard(&root, &root_relation, original) {
            Ok(config) => config,
            Err(report) => return Some(Err(report)),
        };
        let index = relation.index_of_ancestors(config.arbiter(&root).oid)?;
        let here = |columns: &[usize]| {
            let columns = columns.iter();
            columns
                .filter_map(|c| target.column_by_bytes(root.columns[*c].c_name.to_bytes()))
                .collect()
        };
        Some(Ok(Self {
            arbiter: target.indexes.iter().position(|i| i.oid == index)?,
            compared: here(&config.compared),
            compared_if_supplied: here(&config.compared_if_supplied),
            null_key: config.null_key,
            remembers: config.remember.is_some(),
        }))
    }
}

impl RowTrigger {
    /// The qualified name of the table that it was made on.
    pub fn table(&self, target: &Target) -> String {
        if self.trigger.is_clone {
            target.qualified_root()
        } else {
            target.qualified()
        }
    }

    /// Whether it fires before a row undergoes this event.
    fn fires_before(&self, event: u32) -> bool {
        let wanted = pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE | event;
        self.trigger.kind as u32 & wanted == wanted
    }
}

/// The enabled row triggers of an open table that are no guards.
fn row_triggers(relation: &OpenRelation) -> Vec<RowTrigger> {
    let fires = |trigger: &TriggerInfo| {
        trigger.kind as u32 & pg_sys::TRIGGER_TYPE_ROW != 0
            && trigger.enabled != pg_sys::TRIGGER_DISABLED
            && trigger.enabled != pg_sys::TRIGGER_FIRES_ON_REPLICA
    };
    let triggers = relation.triggers().into_iter();
    triggers
        .filter(fires)
        .filter(|trigger| !is_guard_function(trigger.function))
        .map(|trigger| RowTrigger {
            body: body_of(trigger.function, &trigger.arguments),
            trigger,
        })
        .collect()
}

/// What a trigger function does to rows. Known are PL/pgSQL, and compiled functions of
/// the server and of its `spi` modules.
fn body_of(function: pg_sys::Oid, arguments: &[String]) -> TriggerBody {
    let unclear = TriggerBody {
        unclear: true,
        ..TriggerBody::default()
    };
    let Some(function) = FunctionSource::find(function) else {
        return unclear;
    };
    if language_oid(c"plpgsql") == Some(function.language) {
        return TriggerBody::read(&text::from_server_bytes(function.source.to_bytes()));
    }
    if !function.is_compiled() {
        return unclear;
    }
    let first = |value_source, depends_on_itself| TriggerBody {
        assignments: arguments
            .iter()
            .take(1)
            .map(|column| Assignment::compiled(column, value_source, depends_on_itself))
            .collect(),
        unclear: false,
    };
    match function.source.to_bytes() {
        b"moddatetime" => first(ValueSource::Clock, false),
        b"insert_username"
        | b"tsvector_update_trigger_byid"
        | b"tsvector_update_trigger_bycolumn" => first(ValueSource::Payload, false),
        // Arguments are pairs of a column and a sequence; what is there is kept.
        b"autoinc" => TriggerBody {
            assignments: arguments
                .iter()
                .step_by(2)
                .map(|column| Assignment::compiled(column, ValueSource::Volatile, true))
                .collect(),
            unclear: false,
        },
        b"suppress_redundant_updates_trigger" => TriggerBody::default(),
        _ => unclear,
    }
}

impl ServerFilled {
    fn of(
        target: &Target,
        relation: &OpenRelation,
        triggers: &[RowTrigger],
        column: &Column,
    ) -> Option<Self> {
        let name = text::quote_identifier(&column.name);
        let table = target.qualified_root();
        let by_default = ColumnDefault::of(relation, column)
            .filter(|default| default.kind.differs_in_retry())
            .map(|default| Self {
                value_source: match default.kind {
                    DefaultKind::Clock if column.has_volatile_default => ValueSource::WallClock,
                    DefaultKind::Clock => ValueSource::Clock,
                    _ => ValueSource::Volatile,
                },
                undo: match &default.expression {
                    None => format!("ALTER TABLE {table} ALTER COLUMN {name} DROP IDENTITY"),
                    // A domain's own default shows through otherwise.
                    Some(_) if column.base_type() != column.typid => {
                        format!("ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT NULL")
                    }
                    Some(_) => format!("ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT"),
                },
                by_sequence: default.kind == DefaultKind::Sequence,
                by: match default.expression {
                    None => "its identity".to_owned(),
                    Some(expression) => format!("its default {expression}"),
                },
                may_be_sent: column.may_be_named,
                overwritten: !column.may_be_named,
            });
        let by_trigger = || {
            let fires = |trigger: &&RowTrigger| trigger.fires_before(pg_sys::TRIGGER_TYPE_INSERT);
            triggers.iter().filter(fires).find_map(|row_trigger| {
                let assignment = row_trigger.body.assignments.iter().find(|assignment| {
                    assignment.column == column.name
                        && assignment.on_insert()
                        && assignment.value_source != ValueSource::Payload
                })?;
                let trigger = &row_trigger.trigger.name;
                let quoted = text::quote_identifier(trigger);
                let table = row_trigger.table(target);
                Some(Self {
                    value_source: assignment.value_source,
                    by: format!("trigger \"{trigger}\""),
                    by_sequence: false,
                    undo: format!("DROP TRIGGER {quoted} ON {table}"),
                    may_be_sent: assignment.depends_on_itself,
                    overwritten: !assignment.depends_on_itself,
                })
            })
        };
        // A trigger that overwrites what is there counts before a default.
        match (by_default, by_trigger()) {
            (Some(default), Some(trigger)) if !trigger.overwritten => Some(default),
            (default, None) => default,
            (_, trigger) => trigger,
        }
    }
}
