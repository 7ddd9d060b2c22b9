//! Making the view and its trigger.
use crate::error::{OrRaise, Report, SqlState};
use crate::guard::{GuardConfig, GuardOptions, parse_view_on_conflict};
use crate::own_function::own_function;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::catalog::name::split_qualified;
use crate::pg::statement::spi::Connection;
use crate::pg::transaction::hash_lock::HashLock;
use crate::pg::transaction::locks::{self, LockSubject};
use crate::pg::value::sql_value::SqlValue;
use crate::pg::value::text;
use crate::target::{Column, Target};
use pgrx::pg_sys;

/// The name of the trigger. A view has no other one of this kind: the server would fire both.
const TRIGGER: &str = "idempotent_view";

/// See [`super::idempotent_view`].
pub fn create(call: SqlCall<'_>) -> pg_sys::Oid {
    let arguments = call.arguments();
    let (target, relation) = Target::open(arguments.oid(0, "target"));
    take_turns(&target);
    target.refuse_rules();
    let name = qualified(&target, &arguments.text(1, "name"));
    let options = options(&arguments, &target);
    drop(relation);
    let connection = Connection::open();
    let columns = target.column_list(0..target.columns.len());
    refuse_others(&connection, &name, &call.function_schema());
    connection.execute(
        &format!(
            "CREATE OR REPLACE VIEW {name} WITH (security_invoker = true) AS SELECT {columns} FROM {}",
            target.qualified()
        ),
        &[],
    );
    for column in &target.columns {
        set_default(&connection, &target, column, &name);
    }
    let quoted: Vec<String> = options
        .to_trigger()
        .iter()
        .map(|argument| text::quote_literal(argument))
        .collect();
    connection.execute(
        &format!(
            "CREATE OR REPLACE TRIGGER {TRIGGER} INSTEAD OF INSERT ON {name} FOR EACH ROW \
             EXECUTE FUNCTION {}.idempotent_view_trigger({})",
            call.function_schema(),
            quoted.join(", ")
        ),
        &[],
    );
    connection.execute(
        "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid",
        &[SqlValue::text(&name)],
    );
    connection.first_oid(1).expect("the view is there")
}

/// Has those who make a view of one table take turns until they commit: CREATE OR REPLACE VIEW fails beside
/// another one that makes the same view for the first time. The lock stops nobody else: a lock on the
/// table itself, whoever may read the table could not take.
fn take_turns(target: &Target) {
    let tag = locks::tag(LockSubject::ViewTarget, u64::from(target.oid.to_u32()));
    HashLock::acquire(tag).keep();
}

/// Refuses a view of that name that is not this function's own work: its definition would be lost.
/// Refuses one whose rows something else takes, too, or instead: the server runs all triggers, and
/// no trigger where there is a rule.
///
/// # Errors
/// 42P07, 55000
fn refuse_others(connection: &Connection, view: &str, function_schema: &str) {
    let function = format!("{function_schema}.idempotent_view_trigger()");
    let strangers = connection.execute(
        "SELECT FROM pg_catalog.pg_class AS c \
         WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid AND relkind OPERATOR(pg_catalog.=) 'v' \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid OPERATOR(pg_catalog.=) c.oid \
                           AND tgname OPERATOR(pg_catalog.=) $2::pg_catalog.name \
                           AND tgfoid OPERATOR(pg_catalog.=) $3::pg_catalog.regprocedure::pg_catalog.oid)",
        &[SqlValue::text(view), SqlValue::text(TRIGGER), SqlValue::text(&function)],
    );
    if strangers > 0 {
        Report::new(
            SqlState::DuplicateTable,
            format!("view {view} already exists"),
        )
        .detail(format!(
            "It has no trigger \"{TRIGGER}\" of this extension, and {} would replace its definition.",
            own_function("idempotent_view")
        ))
        .hint(format!(
            "Choose another name for the view; or, if this one is not needed: DROP VIEW {view};"
        ))
        .raise()
    }
    let others = connection.execute(
        "SELECT 'trigger', tgname::pg_catalog.text FROM pg_catalog.pg_trigger \
         WHERE tgrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid \
           AND (tgtype::integer OPERATOR(pg_catalog.&) 68) OPERATOR(pg_catalog.=) 68 \
           AND tgname OPERATOR(pg_catalog.<>) $2::pg_catalog.name \
         UNION ALL SELECT 'rule', rulename::pg_catalog.text FROM pg_catalog.pg_rewrite \
         WHERE ev_class OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid \
           AND ev_type OPERATOR(pg_catalog.=) '3' AND is_instead",
        &[SqlValue::text(view), SqlValue::text(TRIGGER)],
    );
    if others > 0 {
        let kind = connection.first_text(1).unwrap_or_default();
        let name = connection.first_text(2).unwrap_or_default();
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("view {view} has another trigger or rule for INSERT"),
        )
        .detail(format!("It is the {kind} \"{name}\"."))
        .hint(format!(
            "Choose another name for the view; or, if the {kind} is not needed: DROP {} {} ON {view};",
            kind.to_uppercase(),
            text::quote_identifier(&name)
        ))
        .raise()
    }
}

/// The name of the view, with its schema, as SQL has it; one without a schema is in the target's.
///
/// # Errors
/// 42602
fn qualified(target: &Target, name: &str) -> String {
    let parts = split_qualified(&text::to_server(name)).unwrap_or_default();
    let parts: Vec<String> = parts
        .iter()
        .map(|part| text::from_server_bytes(part.to_bytes()))
        .collect();
    let (schema, view) = match parts.as_slice() {
        [view] => (&target.schema, view),
        [schema, view] => (schema, view),
        _ => Report::new(
            SqlState::InvalidName,
            format!("invalid name of a view: \"{}\"", text::abbreviated(name)),
        )
        .hint("Pass a name, or a schema and a name with a dot between them, as in SQL.")
        .raise(),
    };
    format!(
        "{}.{}",
        text::quote_identifier(schema),
        text::quote_identifier(view)
    )
}

/// The options of the call, with the key as a guard would find it now: an index that is made later must not
/// change which rows are the same event.
///
/// # Errors
/// As those of `idempotent_guard`.
fn options(arguments: &Arguments, target: &Target) -> GuardOptions {
    let mut options = GuardOptions {
        key: arguments
            .columns(2, "key")
            .map(|key| target.canonical_key(&key)),
        compare: arguments.columns(3, "compare"),
        ignore: arguments.columns(4, "ignore"),
        on_conflict: Some(parse_view_on_conflict(&arguments.text(5, "on_conflict")).or_raise()),
        ..GuardOptions::default()
    };
    let config = GuardConfig::resolve(target, &options).or_raise();
    options.key = Some(target.key_names(config.arbiter(target)));
    options
}

/// Gives a column of the view the default of the table's, where a NULL in it is one; see the head
/// of [`super`].
fn set_default(connection: &Connection, target: &Target, column: &Column, view: &str) {
    let own_default = || {
        let found = connection.execute(
            "SELECT pg_catalog.pg_get_expr(adbin, adrelid) FROM pg_catalog.pg_attrdef \
             WHERE adrelid OPERATOR(pg_catalog.=) $1 AND adnum::integer OPERATOR(pg_catalog.=) $2",
            &[
                SqlValue::oid(target.oid),
                SqlValue::int(column.attnum.into()),
            ],
        );
        (found > 0).then(|| connection.first_text(1)).flatten()
    };
    let shown = null_is_a_value(column).then(own_default).flatten();
    let action = match shown {
        Some(expression) => format!("SET DEFAULT {expression}"),
        None if has_default(connection, view, column) => "DROP DEFAULT".to_owned(),
        None => return,
    };
    let name = text::quote_identifier(&column.name);
    let sql = format!("ALTER VIEW {view} ALTER COLUMN {name} {action}");
    connection.execute(&sql, &[]);
}

/// Whether a column of the view has a default, from an earlier call.
fn has_default(connection: &Connection, view: &str, column: &Column) -> bool {
    let found = connection.execute(
        "SELECT FROM pg_catalog.pg_attribute \
         WHERE attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid \
           AND attname OPERATOR(pg_catalog.=) $2 AND atthasdef",
        &[SqlValue::text(view), SqlValue::name(&column.name)],
    );
    found > 0
}

/// Whether a NULL in this column of the view is a NULL, and not one that was left out.
pub fn null_is_a_value(column: &Column) -> bool {
    let immutable = !column.has_volatile_default && column.stable_default.is_none();
    column.generated == 0 && (!column.has_default || (immutable && !column.not_null))
}
