//! Commands that are taken through the server's stages one by one, without SPI: the parser and the
//! analysis to know a command's parameters, and all of them for a query that is judged by the rights
//! of another role.
use crate::pg::ffi::inline::members;
use crate::pg::memory::Memory;
use crate::pg::statement::spi::{Parameter, parameter_list};
use crate::pg::transaction::local_settings::LocalSettings;
use crate::pg::value::text;
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

/// Whether a SELECT finds a row, under the active snapshot, with the table permissions and the
/// policies of row-level security of a role: as the server reads the tables of a view with
/// those of the view's owner. `current_user` stays who it is.
///
/// Names in it must be qualified, or those that [`LocalSettings::fixed_names`] gives: whose functions are called
/// with values that the role may read is not up to the caller's `search_path`.
pub fn row_exists_as(role: pg_sys::Oid, sql: &str, parameters: &[Parameter<'_>]) -> bool {
    let sql = text::to_server(sql);
    let types: Vec<pg_sys::Oid> = parameters.iter().map(Parameter::typid).collect();
    let memory = Memory::in_current(c"pg_idempotent query");
    // SAFETY: one statement, as is checked, which is taken through the server's own stages in
    // memory of its own, with parameters of the types that it is analyzed with; the executor is shut down before that goes, or by the abort after an error.
    memory.scope(|| unsafe {
        let none = ptr::null_mut();
        let names = LocalSettings::read_fixed_names();
        let parsed = only(pg_sys::pg_parse_query(sql.as_ptr())).cast::<pg_sys::RawStmt>();
        let query = pg_sys::parse_analyze_fixedparams(
            parsed,
            sql.as_ptr(),
            types.as_ptr(),
            types.len() as c_int,
            none,
        );
        drop(names);
        set_check_as_user(query, role);
        let query = only(pg_sys::pg_rewrite_query(query)).cast::<pg_sys::Query>();
        let parameters = parameter_list(parameters);
        let plan = pg_sys::pg_plan_query(query, sql.as_ptr(), 0, parameters);
        let description = pg_sys::CreateQueryDesc(
            plan,
            sql.as_ptr(),
            pg_sys::GetActiveSnapshot(),
            ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            parameters,
            ptr::null_mut(),
            0,
        );
        pg_sys::ExecutorStart(description, 0);
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        #[cfg(feature = "pg18")]
        pg_sys::ExecutorRun(description, forward, 1);
        #[cfg(not(feature = "pg18"))]
        pg_sys::ExecutorRun(description, forward, 1, true);
        let found = (*(*description).estate).es_processed > 0;
        pg_sys::ExecutorFinish(description);
        pg_sys::ExecutorEnd(description);
        pg_sys::FreeQueryDesc(description);
        found
    })
}

/// # Safety
/// A query as it was analyzed.
unsafe fn set_check_as_user(query: *mut pg_sys::Query, role: pg_sys::Oid) {
    // SAFETY: lists of nodes of these kinds.
    unsafe {
        #[cfg(feature = "pg15")]
        for entry in members::<pg_sys::RangeTblEntry>((*query).rtable) {
            (*entry).checkAsUser = role;
        }
        #[cfg(not(feature = "pg15"))]
        for permissions in members::<pg_sys::RTEPermissionInfo>((*query).rteperminfos) {
            (*permissions).checkAsUser = role;
        }
    }
}

/// # Safety
/// Null, or a list of pointers.
unsafe fn only(list: *mut pg_sys::List) -> *mut std::ffi::c_void {
    // SAFETY: the caller's promise.
    let mut members = unsafe { members::<std::ffi::c_void>(list) };
    match (members.next(), members.next()) {
        (Some(statement), None) => statement,
        _ => panic!("the query is not one statement"),
    }
}
