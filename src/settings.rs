//! Every configuration parameter of the extension.
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_sys};

static SHOW_VALUES: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Defines the parameters and reserves their prefix, so that a misspelt one is
/// an error and not a placeholder.
pub fn define() {
    GucRegistry::define_bool_guc(
        c"pg_idempotent.show_values",
        c"Shows column values in the DETAIL of conflicts.",
        c"When off, conflicts name the columns that differ and none of their values, so that \
          error messages and server logs hold no data.",
        &SHOW_VALUES,
        GucContext::Userset,
        GucFlags::default(),
    );
    // SAFETY: a constant C string, called while the library is being loaded.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"pg_idempotent".as_ptr()) };
}

/// Whether error texts may show column values (`pg_idempotent.show_values`).
pub fn show_values() -> bool {
    SHOW_VALUES.get()
}
