//! Running the command of `idempotent_execute`, as the caller, whose command it is.
use crate::error::{Report, SqlState, StatementPosition};
use crate::pg::interrupt;
use crate::pg::memory::Memory;
use crate::pg::statement::json_rows::NoArray;
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::statement::stages::{Unsuitable, parameter_types};
use crate::pg::value::document::{self, Field, JsonbDatum};
use crate::pg::value::jsonb::{ARRAY_HOLDS, Container, Kind};
use crate::pg::value::reading::{ResultDetail, read_members};
use crate::pg::value::text;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// Beyond this many commands the cache starts anew: ever new texts keep flat memory.
const MAX_PLANS: usize = 64;

/// A command with so many bytes is not kept.
const LONG: usize = 64 * 1024;

/// A command's text, and the types of its parameters.
type Prepared = (String, Vec<pg_sys::Oid>);

thread_local! {
    /// Plans follow changes of what they use; which types a parameter has does not come
    /// from the plan, and is found out every time. Without a destructor: when the process
    /// ends, there is nothing to free into.
    static PLANS: ManuallyDrop<RefCell<HashMap<Prepared, Rc<SpiPlan>>>> = ManuallyDrop::default();
}

/// `{"command": …, "arguments": …}`, or with `operation` in the command's place: what a retry has
/// to repeat.
pub fn request((name, text): (&CStr, &str), arguments: JsonbDatum) -> JsonbDatum {
    let text = text::to_server(text);
    interrupt::check();
    let request = document::object(&[
        (name, Field::String(&text)),
        (c"arguments", Field::Document(arguments)),
    ]);
    interrupt::check();
    request
}

/// Runs the command with these arguments, a JSON array, and gives its rows as a JSON
/// array of objects, in the current context.
///
/// # Errors
/// 22023 if the arguments are no array, or not as many as there are parameters; as
/// [`parameters_of`]; 54000 if the rows are more than a jsonb holds; and what the command raises.
pub fn run(command: &str, arguments: Container<'_>) -> JsonbDatum {
    if arguments.kind() != Kind::Array {
        Report::new(
            SqlState::InvalidParameterValue,
            "argument \"arguments\" must be a JSON array",
        )
        .detail(format!("It is a JSON {}.", arguments.kind_name()))
        .raise()
    }
    let connection = Connection::open();
    // A command of megabytes takes core's parser a while, which looks for no interrupt: it is asked
    // between the steps.
    interrupt::check();
    let types = parameters_of(command);
    interrupt::check();
    let memory = Memory::in_current(c"pg_idempotent arguments");
    let parameters = coerce(&types, arguments, &memory);
    let plan = plan(&connection, command, types);
    interrupt::check();
    let rows = match connection.json_rows(&plan, &parameters) {
        Ok(rows) => rows,
        Err(NoArray::NotRun(code)) => refused(code).raise(),
        Err(NoArray::TooLarge) => too_large().raise(),
    };
    drop(parameters);
    drop(memory);
    // The array goes where the caller is, not into the connection's memory.
    drop(connection);
    JsonbDatum::of_array(rows)
}

fn plan(connection: &Connection, command: &str, types: Vec<pg_sys::Oid>) -> Rc<SpiPlan> {
    let key = (command.to_owned(), types);
    if let Some(known) = PLANS.with(|plans| plans.borrow().get(&key).cloned()) {
        return known;
    }
    let plan = Rc::new(SpiPlan::prepare_with(connection, command, &key.1));
    if command.len() >= LONG {
        return plan;
    }
    PLANS.with(|plans| {
        let mut plans = plans.borrow_mut();
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        plans.insert(key, Rc::clone(&plan));
    });
    plan
}

/// The types of a command's parameters, as PREPARE finds them out.
///
/// # Errors
/// 42601 for what is not one statement, 0A000 for transaction control and COPY with the
/// client, 42P18 for a parameter whose type cannot be told.
fn parameters_of(command: &str) -> Vec<pg_sys::Oid> {
    let source = text::to_server(command);
    let _position = StatementPosition::watch(&source);
    let types = parameter_types(&source).unwrap_or_else(|unsuitable| match unsuitable {
        Unsuitable::NotSingle => Report::new(
            SqlState::SyntaxError,
            "the command is not a single statement",
        )
        .raise(),
        Unsuitable::TransactionControl => refused(pg_sys::SPI_ERROR_TRANSACTION).raise(),
        Unsuitable::CopyWithClient => refused(pg_sys::SPI_ERROR_COPY).raise(),
    });
    if let Some(i) = types
        .iter()
        .position(|typid| matches!(*typid, pg_sys::InvalidOid | pg_sys::UNKNOWNOID))
    {
        Report::new(
            SqlState::IndeterminateDatatype,
            format!("could not determine data type of parameter ${}", i + 1),
        )
        .hint("Cast it in the command, as in $1::text.")
        .raise()
    }
    types
}

/// The arguments as values of these types, read as fields of payloads are.
fn coerce<'m>(
    types: &[pg_sys::Oid],
    arguments: Container<'m>,
    memory: &'m Memory,
) -> Vec<Parameter<'m>> {
    if arguments.len() != types.len() {
        let parameters = match types.len() {
            1 => "1 parameter".to_owned(),
            many => format!("{many} parameters"),
        };
        let given = match arguments.len() {
            1 => "1 argument was given".to_owned(),
            many => format!("{many} arguments were given"),
        };
        Report::new(
            SqlState::InvalidParameterValue,
            format!("the command has {parameters}, and {given}"),
        )
        .raise()
    }
    let names: Vec<CString> = (1..=types.len())
        .map(|i| CString::new(format!("${i}")).expect("no NUL"))
        .collect();
    let wanted = |(name, typid): (_, &pg_sys::Oid)| ResultDetail {
        name,
        typid: *typid,
        typmod: -1,
        dimensions: 0,
    };
    let names = names.iter().map(CString::as_c_str);
    let wanted: Vec<_> = names.zip(types).map(wanted).collect();
    read_members(&wanted, arguments, memory)
}

/// 54000
fn too_large() -> Report {
    Report::new(
        SqlState::ProgramLimitExceeded,
        "the response of the command is too large",
    )
    .detail(format!("A response has at most {ARRAY_HOLDS} bytes."))
    .hint("Make the command store its rows and return only their keys.")
}

/// 0A000: what SPI does not run.
fn refused(code: c_int) -> Report {
    let what = match code {
        pg_sys::SPI_ERROR_TRANSACTION => "The caller begins and ends transactions.",
        pg_sys::SPI_ERROR_COPY => "COPY needs a client.",
        _ => "It cannot be run inside a function.",
    };
    Report::new(
        SqlState::FeatureNotSupported,
        "the command cannot be run for a request",
    )
    .detail(what)
}
