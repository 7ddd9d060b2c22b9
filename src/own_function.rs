//! How a HINT names a function of the extension: so that the session at hand can call it.
use crate::pg::catalog::function::callable_name;
use crate::pg::value::text;

/// The name of a function, with the schema of the extension if the `search_path` does not find the
/// function, as a `regprocedure` is shown.
pub fn own_function(name: &str) -> String {
    // That of the wrapper which pgrx makes.
    let symbol = text::to_server(&format!("{name}_wrapper"));
    // The function may have been dropped while it runs.
    callable_name(name, &symbol).unwrap_or_else(|| name.to_owned())
}
