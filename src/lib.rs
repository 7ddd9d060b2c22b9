//! pg_idempotent: the server itself inserts or verifies.
use pgrx::prelude::*;

::pgrx::pg_module_magic!(name, version);

/// Placeholder of the skeleton.
#[pg_extern]
fn idempotent_skeleton() -> i32 {
    1
}

#[cfg(any(test, feature = "pg_test"))]
#[pg_schema]
mod tests {
    use pgrx::prelude::*;

    #[pg_test]
    fn skeleton_answers() {
        assert_eq!(crate::idempotent_skeleton(), 1);
    }
}

/// What `cargo pgrx test` needs at the root of the crate.
#[cfg(test)]
pub mod pg_test {
    /// Nothing to set up.
    pub fn setup(_options: Vec<&str>) {}

    /// No settings of our own.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
