//! Units that need a server but no second session. Those that need no server are under
//! `tests/pure`. Everything that the contract promises is tested from outside, under `tests/`.
use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::error::SqlState;
    use pgrx::prelude::*;

    #[pg_test]
    fn sqlstates_are_packed_as_core_packs_them() {
        let not_null = PgSqlErrorCode::ERRCODE_NOT_NULL_VIOLATION as i32;
        assert_eq!(SqlState::NotNullViolation.packed(), not_null);
        let feature = PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED as i32;
        assert_eq!(SqlState::FeatureNotSupported.packed(), feature);
    }
}
