//! Texts that are read as the time: `('now'::text)::timestamptz`, the notation of CURRENT_TIMESTAMP
//! in old dumps.
//!
//! What makes a date or time of a text when the statement runs is a clock if the text has one of the
//! words that mean the time of reading. A text that comes from somewhere else, such as a setting, is
//! not known, and what a function is told by a name is no time.
use crate::pg::ffi;
use crate::pg::value::by_reference::content_of;
use pgrx::pg_sys;
use std::ffi::{CStr, c_void};

/// The words that the input functions of dates and times read as the moment, or its day.
const WORDS: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];

/// Types whose texts may have these words.
const TIMES: [pg_sys::Oid; 16] = [
    pg_sys::DATEOID,
    pg_sys::TIMEOID,
    pg_sys::TIMETZOID,
    pg_sys::TIMESTAMPOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::DATEARRAYOID,
    pg_sys::TIMEARRAYOID,
    pg_sys::TIMETZARRAYOID,
    pg_sys::TIMESTAMPARRAYOID,
    pg_sys::TIMESTAMPTZARRAYOID,
    pg_sys::DATERANGEOID,
    pg_sys::TSRANGEOID,
    pg_sys::TSTZRANGEOID,
    pg_sys::DATEMULTIRANGEOID,
    pg_sys::TSMULTIRANGEOID,
    pg_sys::TSTZMULTIRANGEOID,
];

/// Whether a node makes a time of a text that says the moment.
///
/// # Safety
/// `node` is an expression. Runs inside `ffi::guard`.
pub unsafe fn reads_the_clock(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller's promise; a node says what it is.
    unsafe {
        let arguments = match (*node).type_ {
            pg_sys::NodeTag::T_CoerceViaIO => {
                let coercion = &*node.cast::<pg_sys::CoerceViaIO>();
                if !TIMES.contains(&coercion.resulttype) {
                    return false;
                }
                coercion.arg.cast::<pg_sys::Node>()
            }
            pg_sys::NodeTag::T_FuncExpr => {
                let call = &*node.cast::<pg_sys::FuncExpr>();
                if !is_input_function(call.funcid) {
                    return false;
                }
                call.args.cast()
            }
            _ => return false,
        };
        has_word(arguments, std::ptr::null_mut())
    }
}

/// Whether it is the input function of a date or time.
fn is_input_function(function: pg_sys::Oid) -> bool {
    matches!(
        function.to_u32(),
        pg_sys::F_DATE_IN
            | pg_sys::F_TIME_IN
            | pg_sys::F_TIMETZ_IN
            | pg_sys::F_TIMESTAMP_IN
            | pg_sys::F_TIMESTAMPTZ_IN
    )
}

/// Whether there is a constant text with one of the words.
///
/// # Safety
/// `node` is an expression, a list of them, or null. Runs inside `ffi::guard`.
unsafe extern "C-unwind" fn has_word(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the caller's promise; a node says what it is, and a constant its type, of which the
    // value in a tree is neither compressed nor elsewhere.
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_Const => {
                let constant = &*node.cast::<pg_sys::Const>();
                if constant.constisnull {
                    return false;
                }
                return match constant.consttype {
                    pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID => {
                        says_the_moment(content_of(constant.constvalue))
                    }
                    pg_sys::CSTRINGOID | pg_sys::UNKNOWNOID => says_the_moment(
                        CStr::from_ptr(constant.constvalue.cast_mut_ptr()).to_bytes(),
                    ),
                    _ => false,
                };
            }
            // Its argument is a name.
            pg_sys::NodeTag::T_FuncExpr
                if matches!(
                    (*node.cast::<pg_sys::FuncExpr>()).funcid.to_u32(),
                    pg_sys::F_CURRENT_SETTING_TEXT | pg_sys::F_CURRENT_SETTING_TEXT_BOOL
                ) =>
            {
                return false;
            }
            _ => {}
        }
        ffi::unguarded::expression_tree_walker(node, has_word, context)
    }
}

/// Whether one of the words is in a text, in whatever case.
fn says_the_moment(text: &[u8]) -> bool {
    text.split(|byte| !byte.is_ascii_alphabetic())
        .any(|word| WORDS.iter().any(|one| word.eq_ignore_ascii_case(one)))
}
