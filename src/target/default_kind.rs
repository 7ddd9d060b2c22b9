//! The kinds of expressions that are not immutable, by the functions that they call.
use super::clock_text::reads_the_clock;
use crate::pg::ffi;
use pgrx::{pg_guard, pg_sys};
use std::ffi::c_void;

/// The kind of a default that is not immutable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultKind {
    /// The time.
    Clock,
    /// What the transaction or the connection is: its number, its process. The next attempt has
    /// another one.
    Transaction,
    /// A sequence, or an identity.
    Sequence,
    /// Anything else that is volatile: a random value, a function of the user's.
    Volatile,
    /// What the session is: its user, a setting. A retry from a session like the first
    /// one gets the same.
    Session,
}

impl DefaultKind {
    /// Whether a retry gets another value.
    pub fn differs_in_retry(self) -> bool {
        self != Self::Session
    }
}

/// What was met in an expression.
#[derive(Default)]
pub struct CalledFunctions {
    pub clock: bool,
    pub transaction: bool,
    pub sequence: bool,
    pub volatile: bool,
}

impl CalledFunctions {
    /// The kind of a default that calls them.
    pub fn kind(&self) -> DefaultKind {
        if self.clock {
            DefaultKind::Clock
        } else if self.sequence {
            DefaultKind::Sequence
        } else if self.volatile {
            DefaultKind::Volatile
        } else if self.transaction {
            DefaultKind::Transaction
        } else {
            DefaultKind::Session
        }
    }
}

/// Notes what is in an expression. Never stops early.
///
/// # Safety
/// `node` is an expression or null, `context` a [`CalledFunctions`]. Runs inside `ffi::guard`.
unsafe extern "C-unwind" fn walk(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the caller's promise; a node says what it is.
    unsafe {
        let met = &mut *context.cast::<CalledFunctions>();
        match (*node).type_ {
            pg_sys::NodeTag::T_NextValueExpr => met.sequence = true,
            // The first of these are times, the others names.
            pg_sys::NodeTag::T_SQLValueFunction
                if (*node.cast::<pg_sys::SQLValueFunction>()).op
                    < pg_sys::SQLValueFunctionOp::SVFOP_CURRENT_ROLE =>
            {
                met.clock = true;
            }
            _ => met.clock |= reads_the_clock(node),
        }
        ffi::unguarded::check_functions_in_node(node, Some(note_function), context);
        ffi::unguarded::expression_tree_walker(node, walk, context)
    }
}

/// # Safety
/// As [`walk`].
#[pg_guard]
unsafe extern "C-unwind" fn note_function(function: pg_sys::Oid, context: *mut c_void) -> bool {
    // SAFETY: the caller's promise; the function is part of an expression, so it exists.
    unsafe {
        let met = &mut *context.cast::<CalledFunctions>();
        match function.to_u32() {
            pg_sys::F_NOW
            | pg_sys::F_TRANSACTION_TIMESTAMP
            | pg_sys::F_STATEMENT_TIMESTAMP
            | pg_sys::F_CLOCK_TIMESTAMP
            | pg_sys::F_TIMEOFDAY
            // The age as of today.
            | pg_sys::F_AGE_TIMESTAMP
            | pg_sys::F_AGE_TIMESTAMPTZ => met.clock = true,
            pg_sys::F_TXID_CURRENT
            | pg_sys::F_TXID_CURRENT_IF_ASSIGNED
            | pg_sys::F_TXID_CURRENT_SNAPSHOT
            | pg_sys::F_PG_CURRENT_XACT_ID
            | pg_sys::F_PG_CURRENT_XACT_ID_IF_ASSIGNED
            | pg_sys::F_PG_CURRENT_SNAPSHOT
            | pg_sys::F_AGE_XID
            | pg_sys::F_PG_BACKEND_PID
            | pg_sys::F_PG_MY_TEMP_SCHEMA
            | pg_sys::F_INET_CLIENT_PORT => met.transaction = true,
            pg_sys::F_NEXTVAL => met.sequence = true,
            _ => {
                met.volatile |=
                    pg_sys::func_volatile(function) as u8 == pg_sys::PROVOLATILE_VOLATILE
            }
        }
    }
    false
}

/// The kind of an expression that is not immutable.
///
/// # Safety
/// A whole tree.
pub unsafe fn default_kind_of(expression: *mut pg_sys::Node) -> DefaultKind {
    // SAFETY: the caller's promise.
    unsafe { functions_in(expression) }.kind()
}

/// What is called in an expression.
///
/// # Safety
/// A whole tree.
pub unsafe fn functions_in(expression: *mut pg_sys::Node) -> CalledFunctions {
    let mut met = CalledFunctions::default();
    let context = (&raw mut met).cast::<c_void>();
    // SAFETY: the caller's promise; nothing is owned inside the guard.
    unsafe { ffi::guard(|| walk(expression, context)) };
    met
}
