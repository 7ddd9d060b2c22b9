//! Running the command of `idempotent_execute`, as the caller, whose command it is.
use crate::error::{Report, SqlState, StatementPosition};
use crate::pg::ffi;
use crate::pg::interrupt;
use crate::pg::memory::Memory;
use crate::pg::rows::ReceivedRows;
use crate::pg::statement::spi::{Connection, Parameter, SpiPlan};
use crate::pg::value::document::JsonbDatum;
use crate::pg::value::jsonb::{
    ARRAY_HOLDS, ArrayBuilder, Container, Kind, ObjectBuilder, Value, to_jsonb_of,
};
use crate::pg::value::reading::{Reader, ResultDetail};
use crate::pg::value::text;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::mem::ManuallyDrop;
use std::ptr;
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

/// `{"command": …, "arguments": …}`: what a retry has to repeat.
pub fn request(command: &str, arguments: JsonbDatum) -> JsonbDatum {
    let command = text::to_server(command);
    interrupt::check();
    // SAFETY: names and values live until the object is finished; the arguments are a jsonb. The
    // object is one, in the memory of the call.
    let request = unsafe {
        let arguments = pg_sys::pg_detoast_datum(arguments.datum().cast_mut_ptr());
        JsonbDatum::new(ffi::guard(|| {
            let mut object = ObjectBuilder::new();
            object.key(c"command");
            object.value(Value::String(command.to_bytes()));
            object.key(c"arguments");
            object.document(pg_sys::Datum::from(arguments));
            object.finish()
        }))
    };
    interrupt::check();
    request
}

/// Runs the command with these arguments, a JSON array, and gives its rows as a JSON
/// array of objects.
///
/// # Errors
/// 22023 if the arguments are no array, or not as many as there are parameters; as
/// [`parameters_of`] and [`response`]; and what the command raises.
pub fn run(command: &str, arguments: Container<'_>) -> JsonbDatum {
    if arguments.kind() != Kind::Array {
        Report::new(
            SqlState::InvalidParameterValue,
            "arguments is not a JSON array",
        )
        .detail(format!("It is a JSON {}.", arguments.kind_name()))
        .raise()
    }
    // SAFETY: the memory of the call, which outlives the connection's.
    let memory = unsafe { pg_sys::CurrentMemoryContext };
    let connection = Connection::open();
    // A command of megabytes takes core's parser a while, which looks for no interrupt: it is asked
    // between the steps.
    interrupt::check();
    let types = parameters_of(command);
    interrupt::check();
    let values = coerce(&types, arguments);
    // SAFETY: read as values of these types, in the memory of the connection.
    let parameter = |(typid, value)| unsafe { Parameter::of_datum(typid, value) };
    let parameters: Vec<_> = types.iter().copied().zip(values).map(parameter).collect();
    let plan = plan(&connection, command, types);
    interrupt::check();
    let mut received = ReceivedRows::new();
    // SAFETY: the receiver is in a box of its own; the parameters are the plan's.
    let code = unsafe { connection.try_stream(&plan, &parameters, false, received.raw()) };
    if code < 0 {
        refused(code).raise()
    }
    response(&mut received, memory)
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
    // SAFETY: core's parser and analysis, in the connection's memory; the types are an
    // array of as many as it says.
    unsafe {
        let statements =
            pg_sys::raw_parser(source.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
        if statements.is_null() || (*statements).length != 1 {
            Report::new(
                SqlState::SyntaxError,
                "the command is not a single statement",
            )
            .raise()
        }
        let statement = (*(*statements).elements)
            .ptr_value
            .cast::<pg_sys::RawStmt>();
        match (*(*statement).stmt).type_ {
            pg_sys::NodeTag::T_TransactionStmt => refused(pg_sys::SPI_ERROR_TRANSACTION).raise(),
            pg_sys::NodeTag::T_CopyStmt => {
                let copy = (*statement).stmt.cast::<pg_sys::CopyStmt>();
                if (*copy).filename.is_null() {
                    refused(pg_sys::SPI_ERROR_COPY).raise()
                }
            }
            _ => {}
        }
        let (mut types, mut count) = (ptr::null_mut(), 0 as c_int);
        pg_sys::parse_analyze_varparams(
            statement,
            source.as_ptr(),
            &raw mut types,
            &raw mut count,
            ptr::null_mut(),
        );
        (0..count as usize)
            .map(|i| match *types.add(i) {
                pg_sys::InvalidOid | pg_sys::UNKNOWNOID => Report::new(
                    SqlState::IndeterminateDatatype,
                    format!("could not determine data type of parameter ${}", i + 1),
                )
                .hint("Cast it in the command, as in $1::text.")
                .raise(),
                typid => typid,
            })
            .collect()
    }
}

/// The arguments as values of these types, read as fields of payloads are.
fn coerce(types: &[pg_sys::Oid], arguments: Container<'_>) -> Vec<Option<pg_sys::Datum>> {
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
    if types.is_empty() {
        return Vec::new();
    }
    let names: Vec<CString> = (1..=types.len())
        .map(|i| CString::new(format!("${i}")).expect("no NUL"))
        .collect();
    let memory = Memory::in_current(c"pg_idempotent arguments");
    let readers: Vec<Reader> = names
        .iter()
        .zip(types)
        .map(|(name, typid)| {
            let wanted = ResultDetail {
                name,
                typid: *typid,
                typmod: -1,
                dimensions: 0,
            };
            Reader::of(wanted, &memory)
        })
        .collect();
    let mut values = vec![None; types.len()];
    let places = values.iter_mut().zip(&readers);
    // SAFETY: the guard holds nothing; the arguments live as long as the call.
    unsafe {
        ffi::guard(|| {
            for ((tid, reader), argument) in places.zip(arguments.members()) {
                *tid = reader.read(argument);
            }
        });
    }
    values
}

/// The rows that the statement returned, as a JSON array in `memory`.
///
/// # Errors
/// 54000 if it is more than a jsonb holds.
fn response(received: &mut ReceivedRows, memory: pg_sys::MemoryContext) -> JsonbDatum {
    let mut array = ArrayBuilder::default();
    if let Some((rows, mut row)) = received.rows() {
        let scratch = Memory::in_current(c"pg_idempotent response");
        let each = Memory::in_current(c"pg_idempotent row");
        // SAFETY: the function lives in `scratch`.
        let to_jsonb =
            unsafe { to_jsonb_of(scratch.context(), pg_sys::RECORDOID, -1, pg_sys::InvalidOid) };
        // SAFETY: the slot was given for these rows.
        while unsafe { rows.next(&mut row) } {
            pgrx::check_for_interrupts!();
            // SAFETY: the slot holds a row of a registered type; the function gives an
            // object, which is fresh.
            let fits = each.scope(|| unsafe {
                let row = pg_sys::ExecFetchSlotHeapTupleDatum(row.raw());
                array.document(pg_sys::FunctionCall1Coll(to_jsonb, pg_sys::InvalidOid, row))
            });
            if !fits {
                too_large().raise()
            }
            each.reset();
        }
    }
    // SAFETY: the memory of the call, in which the array is made; switched back at once.
    unsafe {
        let caller = pg_sys::MemoryContextSwitchTo(memory);
        let array = array.finish();
        pg_sys::MemoryContextSwitchTo(caller);
        JsonbDatum::new(array)
    }
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
