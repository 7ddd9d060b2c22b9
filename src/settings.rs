//! Every configuration parameter of the extension.
use crate::pg::backend::reserve_settings;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};

static SHOW_VALUES: GucSetting<bool> = GucSetting::<bool>::new(true);

static GUARD: GucSetting<bool> = GucSetting::<bool>::new(true);

static TRACK: GucSetting<bool> = GucSetting::<bool>::new(true);

static DIRECT_INSERTION: GucSetting<bool> = GucSetting::<bool>::new(true);

static USE_DISTRIBUTED_FORM: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Defines the parameters and reserves their prefix, so that a misspelt one is
/// an error and not a placeholder.
pub fn define() {
    GucRegistry::define_bool_guc(
        c"pg_idempotent.show_values",
        c"Shows column values in the DETAIL of conflicts.",
        c"When off, conflicts name the columns that differ but not their values. Other errors, \
          and statements that the server logs, may still show data.",
        &SHOW_VALUES,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_idempotent.guard",
        c"Lets guards verify the rows that are inserted.",
        c"When off, guards let every row pass without verification, for maintenance.",
        &GUARD,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_idempotent.track",
        c"Collects the statistics of idempotent.stats.",
        c"When off, what the session does is not counted.",
        &TRACK,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"pg_idempotent.direct_insertion",
        c"Inserts rows without a statement, where that makes no difference.",
        c"When off, functions insert every row by a statement of SQL. It has the same outcomes, and \
          takes longer.",
        &DIRECT_INSERTION,
        GucContext::Userset,
        GucFlags::default(),
    );
    // Not for everybody: the SQL runs the expressions of a key with the caller's rights, be the caller a superuser.
    GucRegistry::define_bool_guc(
        c"pg_idempotent.use_distributed_form",
        c"Finds and writes the rows of every table as those of a distributed one, for tests.",
        c"When on, functions use the SQL on every table that they use on distributed tables of Citus. \
          It has the same outcomes, and takes longer.",
        &USE_DISTRIBUTED_FORM,
        GucContext::Suset,
        GucFlags::default(),
    );
    #[cfg(feature = "schedules")]
    crate::pg::schedule::define_settings();
    reserve_settings(c"pg_idempotent");
}

/// Whether error texts may show column values (`pg_idempotent.show_values`).
pub fn show_values() -> bool {
    SHOW_VALUES.get()
}

/// Whether guards judge rows (`pg_idempotent.guard`).
pub fn guard() -> bool {
    GUARD.get()
}

/// Whether outcomes are counted (`pg_idempotent.track`).
#[inline]
pub fn track() -> bool {
    TRACK.get()
}

/// Whether rows go in without a statement where they can (`pg_idempotent.direct_insertion`).
pub fn direct_insertion() -> bool {
    DIRECT_INSERTION.get()
}

/// Whether tables are treated as distributed ones (`pg_idempotent.use_distributed_form`).
pub fn use_distributed_form() -> bool {
    USE_DISTRIBUTED_FORM.get()
}
