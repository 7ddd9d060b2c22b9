//! Installing, removing and describing guards.
use super::catalog;
use super::clock_key;
use super::config::GuardConfig;
use super::options::{ConflictAction, GuardOptions, NullKey};
use super::partitions::{
    check_enabled_on_partitions, check_inherited_from_root, own_guard_of_partition,
};
use super::trigger_check;
use crate::enum_text;
use crate::error::{OrRaise, Report, SqlState, problem_of, warn};
use crate::own_function::own_function;
use crate::pg::call::entry::SqlCall;
use crate::pg::call::result::{RowType, SqlResult};
use crate::pg::catalog::name::schema_of_function;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::relation_lock::lock_relation;
use crate::pg::transaction::transactions::in_subtransaction;
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::secret;
use crate::target::{OpenRelation, Target, TriggerInfo, check_ownership, has_any_privilege};
use pgrx::pg_sys;
use std::rc::Rc;

/// The name of the trigger: row triggers fire in the order of their names, and
/// this one is to see a row as the others left it.
const TRIGGER: &str = "zz_idempotent_guard";

/// See [`super::idempotent_guard`].
pub fn guard(call: SqlCall<'_>) -> SqlResult {
    let arguments = call.arguments();
    let oid = arguments.oid(0, "target");
    let mut options = GuardOptions::of_call(&arguments);
    let (target, relation) = Target::open(oid);
    check_not_partition(&target, &relation);
    target.refuse_triggers_on_shards();
    if options.on_conflict == Some(ConflictAction::Quarantine) {
        target.refuse_rows_elsewhere(
            "quarantine conflicts of",
            "Choose on_conflict => 'error'; the functions can quarantine conflicts of this table.",
        );
    }
    options.key = options.key.map(|key| target.canonical_key(&key));
    let config = GuardConfig::resolve(&target, &options).or_raise();
    refuse_defaults_of_shards(&target, &config);
    let previous = previous_guard(&target);
    let triggers = triggers(&relation);
    if previous.is_none() {
        check_name_is_free(&target, &triggers);
    }
    // The key is kept as it is now: an index that is made later, or a default
    // that changes, must not change which rows are the same event.
    options.key = Some(target.key_names(config.arbiter(&target)));
    let later = later_insert_trigger(&triggers);
    let clocks = clock_key::columns(&target, &relation, config.arbiter(&target));
    drop(relation);
    let incomplete = nullable_key_warning(&target, &config, &options);

    let connection = Connection::open();
    let create = create_trigger(&target, &config, &options, call.function());
    connection.execute(&create, &[]);
    // To be replaced makes a trigger fire as a new one would.
    if let Some(mode) = previous.and_then(|trigger| enable_keyword(trigger.enabled)) {
        connection.execute(
            &format!(
                "ALTER TABLE {} ENABLE {mode} TRIGGER {TRIGGER}",
                target.qualified()
            ),
            &[],
        );
    }
    clock_key::warn_about(&target, &clocks);
    if let Some(name) = later {
        warn(later_trigger_warning(&target, &name));
    }
    if let Some(incomplete) = incomplete {
        warn(incomplete);
    }
    connection.execute(
        "SELECT guards FROM idempotent.guards AS guards
          WHERE guards.target OPERATOR(pg_catalog.=) $1",
        &[SqlValue::oid(oid)],
    );
    call.first_result(&connection, 1)
}

/// Refuses to compare a column of a distributed table that an INSERT fills with the time, or with what the session
/// is: Citus does that before it sends the row to its shard, where it counts as supplied.
///
/// # Errors
/// 0A000
fn refuse_defaults_of_shards(target: &Target, config: &GuardConfig) {
    let Some(column) = config.compared_if_supplied.first() else {
        return;
    };
    let name = &target.columns[*column].name;
    target.refuse_rows_elsewhere(
        &format!("compare column \"{name}\" of"),
        &format!(
            "Its default has another value in each attempt, and Citus fills it before the guard sees the row. \
             Leave it out of the comparison with ignore => {}.",
            text::quote_array(std::slice::from_ref(name))
        ),
    );
}

/// Refuses a table on which a trigger that is no guard has the guard's name.
///
/// # Errors
/// 42710
fn check_name_is_free(target: &Target, triggers: &[(String, u32)]) {
    if !triggers.iter().any(|(name, _)| name == TRIGGER) {
        return;
    }
    Report::new(
        SqlState::DuplicateObject,
        format!(
            "table \"{}\" has a trigger \"{TRIGGER}\" that is not a guard",
            target.name
        ),
    )
    .hint("Rename it so that its name sorts before the guard's.")
    .table(&target.schema, &target.name)
    .raise()
}

/// The CREATE TRIGGER of a guard; `function` is in the schema of the trigger function.
fn create_trigger(
    target: &Target,
    config: &GuardConfig,
    options: &GuardOptions,
    function: pg_sys::Oid,
) -> String {
    let events = if config.remember.is_some() || target.partitioned {
        "INSERT OR UPDATE"
    } else {
        "INSERT"
    };
    let quoted: Vec<String> = options
        .to_trigger()
        .iter()
        .map(|argument| text::quote_literal(argument))
        .collect();
    format!(
        "CREATE OR REPLACE TRIGGER {TRIGGER} BEFORE {events} ON {} FOR EACH ROW \
         EXECUTE FUNCTION {}.idempotent_guard_trigger({})",
        target.qualified(),
        schema_of(function),
        quoted.join(", "),
    )
}

/// The WARNING about a trigger that fires after the guard.
fn later_trigger_warning(target: &Target, name: &str) -> Report {
    Report::new(
        SqlState::Warning,
        format!(
            "trigger \"{name}\" fires after the guard of table \"{}\"",
            target.name
        ),
    )
    .detail("The guard does not see the changes that this trigger makes to a row.")
    .hint(format!(
        "Rename it so that its name sorts before \"{TRIGGER}\"."
    ))
    .table(&target.schema, &target.name)
}

/// See [`super::idempotent_unguard`].
pub fn unguard(oid: pg_sys::Oid) -> bool {
    // Also where there is no guard, and so nothing that DROP TRIGGER would refuse.
    check_ownership(oid);
    // As DROP TRIGGER does, but before the guard is looked for: a call of idempotent_guard that has not
    // committed yet replaces it.
    lock_relation(oid, pg_sys::AccessExclusiveLock);
    let (target, relation) = Target::open(oid);
    drop(relation);
    let mut own = target
        .guards
        .iter()
        .filter(|guard| !guard.is_clone)
        .peekable();
    if own.peek().is_none() && !target.guards.is_empty() {
        guarded_through_root(&target).raise()
    }
    let connection = Connection::open();
    let mut removed = false;
    for trigger in own {
        connection.execute(
            &format!(
                "DROP TRIGGER {} ON {}",
                text::quote_identifier(&trigger.name),
                target.qualified()
            ),
            &[],
        );
        removed = true;
    }
    removed
}

/// 42809: a partition has no guard of its own.
fn guarded_through_root(target: &Target) -> Report {
    Report::new(
        SqlState::WrongObjectType,
        format!("\"{}\" is a partition", target.name),
    )
    .detail("The guard of its partitioned table covers it.")
    .hint(format!(
        "Remove the guard of all partitions: SELECT {}({});",
        own_function("idempotent_unguard"),
        text::quote_literal(&target.qualified_root())
    ))
    .table(&target.schema, &target.name)
}

/// See [`super::guard_options`].
///
/// A role without any right on the table sees what the catalogs show to every role, and
/// cannot have the table locked; for others no lock is kept.
pub fn describe(oid: pg_sys::Oid, trigger: pg_sys::Oid) -> SqlResult {
    if has_any_privilege(oid) {
        // One table that cannot be looked at hides no others from whoever looks at all of them.
        let described = in_subtransaction(|| {
            let (target, relation) = Target::open_briefly(oid)?;
            Some(describe_on(&target, &relation, trigger))
        });
        match problem_of(described) {
            Ok(Some(row)) => return row,
            Ok(None) => {}
            Err(problem) => return row_with_problem(&problem),
        }
    }
    if catalog::is_dropped(oid) {
        return row_with_problem("the table no longer exists");
    }
    match catalog::arguments(oid, trigger) {
        None => SqlResult::row_of_nulls(RowType::GuardOptions),
        Some(arguments) => {
            let unknown = || ResolvedOptions {
                problem: Some("not checked: you have no privilege on the table".to_owned()),
                ..ResolvedOptions::default()
            };
            options_row(GuardOptions::of_trigger(&arguments), |_| unknown())
        }
    }
}

fn describe_on(target: &Target, relation: &OpenRelation, trigger: pg_sys::Oid) -> SqlResult {
    let Some(trigger) = target.guards.iter().find(|guard| guard.oid == trigger) else {
        return SqlResult::row_of_nulls(RowType::GuardOptions);
    };
    let options = GuardOptions::of_trigger(&trigger.arguments);
    options_row(options, |options| {
        let config = match GuardConfig::resolve(target, options) {
            Ok(config) => config,
            Err(report) => {
                return ResolvedOptions {
                    problem: problem(&report),
                    ..ResolvedOptions::default()
                };
            }
        };
        let names = |columns: &mut dyn Iterator<Item = usize>| {
            let names: Vec<String> = columns.map(|c| target.columns[c].name.clone()).collect();
            Some(names)
        };
        let arbiter = config.arbiter(target);
        let works = works_well(target, relation, trigger);
        ResolvedOptions {
            key: Some(target.key_names(arbiter)),
            arbiter: Some(arbiter.name.clone()),
            compared: names(&mut config.compared.iter().copied()),
            problem: works.err().and_then(|report| problem(&report)),
        }
    })
}

/// What a guard's options come to on its table, as far as that is known.
#[derive(Default)]
struct ResolvedOptions {
    key: Option<Vec<String>>,
    arbiter: Option<String>,
    compared: Option<Vec<String>>,
    problem: Option<String>,
}

/// The row of some options; what they come to is asked for if they are some.
fn options_row(
    options: Result<GuardOptions, Box<Report>>,
    fit: impl FnOnce(&GuardOptions) -> ResolvedOptions,
) -> SqlResult {
    let options = match options {
        Ok(options) => options,
        Err(report) => return row_with_problem(&report.to_text()),
    };
    fn texts(names: Option<&Vec<String>>) -> SqlValue<'_> {
        names.map_or(SqlValue::null(pg_sys::TEXTARRAYOID), |names| {
            SqlValue::texts(names)
        })
    }
    fn name(name: Option<&String>) -> SqlValue<'_> {
        name.map_or(SqlValue::null(pg_sys::NAMEOID), |name| SqlValue::name(name))
    }
    let fit = fit(&options);
    let values = [
        texts(fit.key.as_ref().or(options.key.as_ref())),
        name(fit.arbiter.as_ref()),
        texts(fit.compared.as_ref()),
        texts(options.compare.as_ref()),
        texts(options.ignore.as_ref()),
        SqlValue::text(enum_text::name(options.on_conflict())),
        name(options.remember.as_ref()),
        SqlValue::text(options.null_key().name()),
        SqlValue::optional_text(fit.problem.as_deref()),
    ];
    SqlResult::row(RowType::GuardOptions, &values)
}

/// A row with nothing but a problem.
fn row_with_problem(problem: &str) -> SqlResult {
    let (texts, name) = (
        SqlValue::null(pg_sys::TEXTARRAYOID),
        SqlValue::null(pg_sys::NAMEOID),
    );
    let text = SqlValue::null(pg_sys::TEXTOID);
    let problem = SqlValue::text(problem);
    let values = [texts, name, texts, texts, texts, text, name, text, problem];
    SqlResult::row(RowType::GuardOptions, &values)
}

/// What a guard comes to on its table; or why it does not fit it, which is the problem
/// in `idempotent.guards`.
pub fn resolve_guard(
    target: &Target,
    relation: &OpenRelation,
    trigger: &TriggerInfo,
) -> Result<Rc<GuardConfig>, Box<Report>> {
    let config = GuardConfig::of(target, trigger)?;
    check_trigger(target, relation, trigger).map(|()| config)
}

/// Whether a guard's trigger is made as it has to be, and where it may be.
fn check_trigger(
    target: &Target,
    relation: &OpenRelation,
    trigger: &TriggerInfo,
) -> Result<(), Box<Report>> {
    check_inherited_from_root(relation, trigger)?;
    let in_partitions = target.partitioned || relation.is_partition();
    trigger_check::check_definition(relation.oid(), trigger, in_partitions)?;
    trigger_check::check_single_guard(target)
}

/// Likewise, and whether keys can be locked, and it is enabled alike on every partition, none of which
/// has another one.
fn works_well(
    target: &Target,
    relation: &OpenRelation,
    trigger: &TriggerInfo,
) -> Result<(), Box<Report>> {
    check_trigger(target, relation, trigger)?;
    // One that only observes takes no locks.
    if !GuardOptions::observes(&trigger.arguments)
        && let Some(report) = secret::problem()
    {
        return Err(report);
    }
    if !target.partitioned {
        return Ok(());
    }
    if let Some((_, report)) = own_guard_of_partition(target) {
        return Err(Box::new(report));
    }
    check_enabled_on_partitions(target, trigger)
}

/// The warning for a key that may be NULL, of rows that the guard will refuse.
fn nullable_key_warning(
    target: &Target,
    config: &GuardConfig,
    options: &GuardOptions,
) -> Option<Report> {
    let arbiter = config.arbiter(target);
    let observes = options.on_conflict() == ConflictAction::Observe;
    // Rows that are outside of such a condition pass, too.
    let condition = arbiter.condition.as_ref();
    let passes = condition.is_some_and(|condition| condition.is_about_null_keys)
        || options.null_key() == NullKey::Pass;
    if arbiter.nulls_equal || observes || passes {
        return None;
    }
    let nullable: Vec<usize> = arbiter
        .columns()
        .filter(|c| target.columns[*c].may_be_null())
        .collect();
    let first = &target.columns[*nullable.first()?].name;
    let set: Vec<String> = nullable
        .iter()
        .map(|c| format!("ALTER COLUMN {} SET NOT NULL", target.column_list([*c])))
        .collect();
    let table = target.qualified();
    let passing = GuardOptions {
        null_key: Some(NullKey::Pass),
        ..options.clone()
    };
    let report = Report::new(
        SqlState::Warning,
        format!(
            "key column \"{first}\" of table \"{}\" may be null",
            target.name
        ),
    )
    .detail(
        "The guard cannot identify a row with a null in its key, and refuses it with SQLSTATE \
         23502.",
    )
    .hint(format!(
        "If every row has a key: ALTER TABLE {table} {}; If not, let such rows pass without \
         verification: {}",
        set.join(", "),
        passing.to_call(&table)
    ));
    Some(
        report
            .table(&target.schema, &target.name)
            .column(first.clone()),
    )
}

fn problem(report: &Report) -> Option<String> {
    Some(report.to_text())
}

/// # Errors
/// 42809: see the protocol, an UPDATE that moves a row between partitions.
fn check_not_partition(target: &Target, relation: &OpenRelation) {
    if relation.is_partition() {
        Report::new(
            SqlState::WrongObjectType,
            format!("\"{}\" is a partition", target.name),
        )
        .detail(
            "A guard on a partition alone cannot distinguish a payload from a row that an \
             UPDATE moves there.",
        )
        .hint("Guard the partitioned table, which guards all its partitions.")
        .table(&target.schema, &target.name)
        .raise()
    }
}

/// The guard that is to be replaced.
///
/// # Errors
/// 42710 if there is one of another name, made by hand.
fn previous_guard(target: &Target) -> Option<TriggerInfo> {
    if let Some(other) = target.guards.iter().find(|guard| guard.name != TRIGGER) {
        Report::new(
            SqlState::DuplicateObject,
            format!("table \"{}\" is already guarded", target.name),
        )
        .detail(format!("Trigger \"{}\" is a guard.", other.name))
        .hint(format!(
            "Remove it first: SELECT {}({});",
            own_function("idempotent_unguard"),
            text::quote_literal(&target.qualified())
        ))
        .table(&target.schema, &target.name)
        .raise()
    }
    target.guards.first().cloned()
}

/// `ALWAYS` or `REPLICA`, where a trigger was enabled so.
fn enable_keyword(enabled: u8) -> Option<&'static str> {
    match enabled {
        pg_sys::TRIGGER_FIRES_ALWAYS => Some("ALWAYS"),
        pg_sys::TRIGGER_FIRES_ON_REPLICA => Some("REPLICA"),
        _ => None,
    }
}

/// The names of the triggers, in the order in which they fire, each with when.
fn triggers(relation: &OpenRelation) -> Vec<(String, u32)> {
    relation
        .triggers()
        .into_iter()
        .map(|trigger| (trigger.name, trigger.kind as u32))
        .collect()
}

/// The first BEFORE INSERT row trigger that fires after the guard.
fn later_insert_trigger(triggers: &[(String, u32)]) -> Option<String> {
    let wanted =
        pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_BEFORE | pg_sys::TRIGGER_TYPE_INSERT;
    let mut behind = triggers
        .iter()
        .filter(|(name, kind)| kind & wanted == wanted && name.as_str() > TRIGGER);
    behind.next().map(|(name, _)| name.clone())
}

/// The quoted name of the schema of a running function, which may have been dropped meanwhile:
/// the server locks no function that runs.
///
/// # Errors
/// 42883
fn schema_of(function: pg_sys::Oid) -> String {
    let Some(schema) = schema_of_function(function) else {
        Report::new(
            SqlState::UndefinedFunction,
            "function idempotent_guard does not exist",
        )
        .detail("The function was dropped while it ran.")
        .hint("Install the extension with CREATE EXTENSION pg_idempotent.")
        .raise()
    };
    text::quote_identifier(&schema)
}
