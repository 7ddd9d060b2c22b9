//! Making the view and its trigger.
use crate::enum_text;
use crate::error::{OrRaise, Report, SqlState};
use crate::guard::{ConflictAction, GuardConfig, GuardOptions};
use crate::outcome::OnConflict;
use crate::pg::call::arguments::Arguments;
use crate::pg::call::entry::SqlCall;
use crate::pg::catalog::name::split_qualified;
use crate::pg::statement::spi::Connection;
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

/// Refuses a view of that name that is not this function's own work: its definition would be lost.
/// Refuses one whose rows something else takes, too, or instead: the server runs all triggers, and
/// no trigger where there is a rule.
///
/// # Errors
/// 42P07, 55000
fn refuse_others(connection: &Connection, view: &str, function_schema: &str) {
    let function = format!("{function_schema}.idempotent_view_trigger()");
    let arguments = [
        SqlValue::text(view),
        SqlValue::text(TRIGGER),
        SqlValue::text(&function),
    ];
    let others = connection.execute(
        "SELECT tgname::pg_catalog.text FROM pg_catalog.pg_trigger \
         WHERE tgrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid \
           AND (tgtype::integer OPERATOR(pg_catalog.&) 68) OPERATOR(pg_catalog.=) 68 \
           AND (tgname OPERATOR(pg_catalog.<>) $2::pg_catalog.name \
                OR tgfoid OPERATOR(pg_catalog.<>) $3::pg_catalog.regprocedure::pg_catalog.oid) \
         UNION ALL SELECT rulename::pg_catalog.text FROM pg_catalog.pg_rewrite \
         WHERE ev_class OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid \
           AND ev_type OPERATOR(pg_catalog.=) '3' AND is_instead",
        &arguments,
    );
    if others > 0 {
        let other = connection.first_text(1).unwrap_or_default();
        Report::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("view {view} has another trigger or rule for INSERT"),
        )
        .detail(format!("It is \"{other}\"."))
        .hint("Drop it, or choose another name for the view.")
        .raise()
    }
    let strangers = connection.execute(
        "SELECT FROM pg_catalog.pg_class AS c \
         WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid AND relkind OPERATOR(pg_catalog.=) 'v' \
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid OPERATOR(pg_catalog.=) c.oid \
                           AND tgname OPERATOR(pg_catalog.=) $2::pg_catalog.name \
                           AND tgfoid OPERATOR(pg_catalog.=) $3::pg_catalog.regprocedure::pg_catalog.oid)",
        &arguments,
    );
    if strangers > 0 {
        Report::new(
            SqlState::DuplicateTable,
            format!("view {view} already exists"),
        )
        .detail("It was not made by idempotent_view, which would replace its definition.")
        .hint("Drop it, or choose another name for the view.")
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
        on_conflict: Some(on_conflict(&arguments.text(5, "on_conflict"))),
        ..GuardOptions::default()
    };
    let config = GuardConfig::resolve(target, &options).or_raise();
    options.key = Some(target.key_names(config.arbiter(target)));
    options
}

fn on_conflict(value: &str) -> ConflictAction {
    let refuse = |reason: &str| -> ! {
        Report::new(
            SqlState::InvalidParameterValue,
            format!("a view cannot {reason}"),
        )
        .hint("Available values: error, quarantine.")
        .raise()
    };
    if enum_text::parse(value) == Some(OnConflict::Report) {
        refuse("report conflicts: an INSERT has nowhere to return them");
    }
    match enum_text::argument("on_conflict", value) {
        ConflictAction::Observe => refuse("observe: it is there to insert or verify"),
        action => action,
    }
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
        None => "DROP DEFAULT".to_owned(),
    };
    let name = text::quote_identifier(&column.name);
    let sql = format!("ALTER VIEW {view} ALTER COLUMN {name} {action}");
    connection.execute(&sql, &[]);
}

/// Whether a NULL in this column of the view is a NULL, and not one that was left out.
pub fn null_is_a_value(column: &Column) -> bool {
    let immutable = !column.has_volatile_default && column.stable_default.is_none();
    column.generated == 0 && (!column.has_default || (immutable && !column.not_null))
}
