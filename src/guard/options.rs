//! A guard's options, as they are passed and as its trigger keeps them.
//!
//! The trigger's arguments are the only place where they live: each is
//! `name=value`, and lists of columns are lists of SQL identifiers, as in
//! `'key=order_id, line'`.
use crate::enum_text;
use crate::error::{OrRaise, Report, SqlState};
use crate::outcome::OnConflict;
use crate::pg::call::arguments::{Arguments, column_names};
use crate::pg::value::text;
use serde::{Deserialize, Serialize};

/// The options of one guard.
#[derive(Clone, Debug, Default)]
pub struct GuardOptions {
    /// The key columns, or None for the default key.
    pub key: Option<Vec<String>>,
    /// The compared columns, or None.
    pub compare: Option<Vec<String>>,
    /// Those taken away from the default set, or None.
    pub ignore: Option<Vec<String>>,
    /// `error` if None.
    pub on_conflict: Option<ConflictAction>,
    /// The column that keeps the original payload, or None.
    pub remember: Option<String>,
    /// `error` if None.
    pub null_key: Option<NullKey>,
}

/// What a guard does about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictAction {
    /// The statement fails with 23I01.
    Error,
    /// The conflict is recorded in `idempotent.conflicts`, and the row is skipped.
    Quarantine,
    /// Nothing, nor about a duplicate: what the guard would do is logged, and the row goes on.
    Observe,
}

/// What becomes of a row with a NULL in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullKey {
    /// It is refused with 23502.
    Error,
    /// It goes in as without a guard.
    Pass,
}

impl NullKey {
    /// As it is passed and shown.
    pub fn name(self) -> &'static str {
        enum_text::name(self)
    }

    fn parse(value: &str) -> Result<Self, Box<Report>> {
        enum_text::try_argument("null_key", value)
    }
}

impl GuardOptions {
    /// Arguments 2 to 7 of `idempotent_guard`.
    ///
    /// # Errors
    /// 22004, 22023, 42701 as in the insert functions.
    pub fn of_call(arguments: &Arguments) -> Self {
        Self {
            key: arguments.columns(1, "key"),
            compare: arguments.columns(2, "compare"),
            ignore: arguments.columns(3, "ignore"),
            on_conflict: Some(parse_on_conflict(&arguments.text(4, "on_conflict")).or_raise()),
            remember: arguments.optional_text(5),
            null_key: Some(NullKey::parse(&arguments.text(6, "null_key")).or_raise()),
        }
    }

    /// Those in a trigger's arguments.
    ///
    /// # Errors
    /// 22023 for an argument that is none of ours, or twice there.
    pub fn of_trigger(arguments: &[String]) -> Result<Self, Box<Report>> {
        let mut options = Self::default();
        for argument in arguments {
            let Some((name, value)) = argument.split_once('=') else {
                return Err(unknown_option(argument));
            };
            let (name, value) = (name.trim(), value.trim());
            let columns = || parse_columns(name, value);
            let twice = match name {
                "key" => options.key.replace(columns()?).is_some(),
                "compare" => options.compare.replace(columns()?).is_some(),
                "ignore" => options.ignore.replace(columns()?).is_some(),
                "on_conflict" => {
                    let action = parse_on_conflict(value)?;
                    options.on_conflict.replace(action).is_some()
                }
                "null_key" => options.null_key.replace(NullKey::parse(value)?).is_some(),
                "remember" => {
                    let column = parse_single_column(name, value)?;
                    options.remember.replace(column).is_some()
                }
                _ => return Err(unknown_option(argument)),
            };
            if twice {
                let message = format!("option \"{name}\" of the guard is given more than once");
                let report = Report::new(SqlState::InvalidParameterValue, message);
                return Err(Box::new(report));
            }
        }
        Ok(options)
    }

    /// Whether those in a trigger's arguments make a guard that only observes. Asked for every
    /// statement, and so without reading the others.
    pub fn observes(arguments: &[String]) -> bool {
        let observe = enum_text::name(ConflictAction::Observe);
        arguments.iter().any(|argument| {
            argument.split_once('=').is_some_and(|(name, value)| {
                name.trim() == "on_conflict" && value.trim() == observe
            })
        })
    }

    /// What a trigger keeps of them.
    pub fn to_trigger(&self) -> Vec<String> {
        let list = |names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|n| text::quote_identifier(n)).collect();
            quoted.join(", ")
        };
        let lists = [
            ("key", &self.key),
            ("compare", &self.compare),
            ("ignore", &self.ignore),
        ];
        let mut arguments: Vec<String> = lists
            .iter()
            .filter_map(|(name, names)| Some(format!("{name}={}", list(names.as_ref()?))))
            .collect();
        if self.on_conflict() != ConflictAction::Error {
            let action = enum_text::name(self.on_conflict());
            arguments.push(format!("on_conflict={action}"));
        }
        if let Some(column) = &self.remember {
            arguments.push(format!("remember={}", text::quote_identifier(column)));
        }
        if self.null_key() == NullKey::Pass {
            arguments.push(format!("null_key={}", NullKey::Pass.name()));
        }
        arguments
    }

    /// What is done about a conflict.
    pub fn on_conflict(&self) -> ConflictAction {
        self.on_conflict.unwrap_or(ConflictAction::Error)
    }

    /// What becomes of a row with a NULL in its key.
    pub fn null_key(&self) -> NullKey {
        self.null_key.unwrap_or(NullKey::Error)
    }

    /// The call of `idempotent_guard` that gives a table these options.
    pub fn to_call(&self, table: &str) -> String {
        let mut call = format!("SELECT idempotent_guard({}", text::quote_literal(table));
        let lists = [
            ("key", &self.key),
            ("compare", &self.compare),
            ("ignore", &self.ignore),
        ];
        for (name, names) in lists {
            if let Some(names) = names {
                call.push_str(&format!(", {name} => {}", text::quote_array(names)));
            }
        }
        if self.on_conflict() != ConflictAction::Error {
            let action = enum_text::name(self.on_conflict());
            call.push_str(&format!(", on_conflict => '{action}'"));
        }
        if let Some(column) = &self.remember {
            call.push_str(&format!(", remember => {}", text::quote_literal(column)));
        }
        if self.null_key() == NullKey::Pass {
            call.push_str(&format!(", null_key => '{}'", NullKey::Pass.name()));
        }
        call.push_str(");");
        call
    }
}

/// The call of `idempotent_guard` that lets rows without a whole key pass, and keeps all
/// other options.
pub fn call_passing_null_keys(table: &str, arguments: &[String]) -> String {
    let options = GuardOptions {
        null_key: Some(NullKey::Pass),
        ..options_in_force(arguments)
    };
    options.to_call(table)
}

/// Those in the arguments of a trigger that does its work.
///
/// # Errors
/// As [`GuardOptions::of_trigger`].
fn options_in_force(arguments: &[String]) -> GuardOptions {
    GuardOptions::of_trigger(arguments).or_raise()
}

/// The call of `idempotent_guard` that makes a guard verify, and keeps all other options; None if
/// it does not only observe.
pub fn call_verifying(table: &str, arguments: &[String]) -> Option<String> {
    GuardOptions::observes(arguments).then(|| {
        let options = GuardOptions {
            on_conflict: Some(ConflictAction::Error),
            ..options_in_force(arguments)
        };
        options.to_call(table)
    })
}

/// The call of `idempotent_guard` that leaves a column out of the comparison, and keeps all
/// other options; None if nothing would be left to compare by `compare`.
pub fn call_ignoring(table: &str, arguments: &[String], column: &str) -> Option<String> {
    let mut options = options_in_force(arguments);
    match &mut options.compare {
        Some(compare) => {
            compare.retain(|name| name != column);
            if compare.is_empty() {
                return None;
            }
        }
        None => {
            let ignore = options.ignore.get_or_insert_default();
            ignore.push(column.to_owned());
        }
    }
    Some(options.to_call(table))
}

fn parse_on_conflict(value: &str) -> Result<ConflictAction, Box<Report>> {
    if enum_text::parse(value) == Some(OnConflict::Report) {
        let report = Report::new(
            SqlState::InvalidParameterValue,
            "a guard cannot report conflicts: a plain INSERT has nowhere to return them",
        )
        .hint("Available values: error, quarantine, observe.");
        return Err(Box::new(report));
    }
    enum_text::try_argument("on_conflict", value)
}

fn parse_columns(option: &str, list: &str) -> Result<Vec<String>, Box<Report>> {
    // Names are as long as names are, and in lower case if they are not quoted; expressions are not.
    let members = match list.contains('(') {
        true => text::split_quoted(list),
        false => text::split_identifiers(list),
    };
    let Some(names) = members else {
        let report = Report::new(
            SqlState::InvalidParameterValue,
            format!(
                "invalid list of columns in option \"{option}\" of the guard: \"{}\"",
                text::abbreviated(list)
            ),
        )
        .hint("Separate names by commas, and put double quotes around those that need them.");
        return Err(Box::new(report));
    };
    column_names(names.into_iter().map(Some).collect(), option)
}

fn parse_single_column(option: &str, list: &str) -> Result<String, Box<Report>> {
    let columns = parse_columns(option, list)?;
    match <[String; 1]>::try_from(columns) {
        Ok([name]) => Ok(name),
        Err(_) => {
            let message = format!("option \"{option}\" of the guard names more than one column");
            let report = Report::new(SqlState::InvalidParameterValue, message);
            Err(Box::new(report))
        }
    }
}

fn unknown_option(argument: &str) -> Box<Report> {
    let report = Report::new(
        SqlState::InvalidParameterValue,
        format!(
            "unrecognized option of the guard: \"{}\"",
            text::abbreviated(argument)
        ),
    )
    .hint("Available options: key=…, compare=…, ignore=…, on_conflict=…, remember=…, null_key=….");
    Box::new(report)
}
