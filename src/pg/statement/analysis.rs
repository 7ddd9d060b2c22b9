//! What the server's parser makes of a command of the user's.
use pgrx::pg_sys;
use std::ffi::{CStr, c_int};
use std::ptr;

/// Why the parameters of a command are not asked for.
pub enum Unsuitable {
    /// It is none, or several.
    NotSingle,
    /// It begins or ends a transaction.
    TransactionControl,
    /// It copies from or to the client.
    CopyWithClient,
}

/// The types of a command's parameters, as PREPARE finds them out; one that cannot be told is
/// invalid, or `unknown`. The trees are left to the current context.
///
/// # Errors
/// What the parser and the analysis raise.
pub fn parameter_types(command: &CStr) -> Result<Vec<pg_sys::Oid>, Unsuitable> {
    let mode = pg_sys::RawParseMode::RAW_PARSE_DEFAULT;
    // SAFETY: core's parser and analysis, of a C string that outlives them. Each node is of the
    // type that its tag says; the types are an array of as many as it says.
    unsafe {
        let statements = pg_sys::raw_parser(command.as_ptr(), mode);
        if statements.is_null() || (*statements).length != 1 {
            return Err(Unsuitable::NotSingle);
        }
        let statement = (*(*statements).elements).ptr_value;
        let statement = statement.cast::<pg_sys::RawStmt>();
        match (*(*statement).stmt).type_ {
            pg_sys::NodeTag::T_TransactionStmt => return Err(Unsuitable::TransactionControl),
            pg_sys::NodeTag::T_CopyStmt => {
                let copy = (*statement).stmt.cast::<pg_sys::CopyStmt>();
                if (*copy).filename.is_null() {
                    return Err(Unsuitable::CopyWithClient);
                }
            }
            _ => {}
        }
        let (mut types, mut count) = (ptr::null_mut(), 0 as c_int);
        pg_sys::parse_analyze_varparams(
            statement,
            command.as_ptr(),
            &raw mut types,
            &raw mut count,
            ptr::null_mut(),
        );
        Ok((0..count as usize).map(|i| *types.add(i)).collect())
    }
}
