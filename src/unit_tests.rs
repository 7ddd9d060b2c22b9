//! Units that need no second session. Everything that the contract promises is
//! tested from outside, under `tests/`.
use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::error::SqlState;
    use crate::target::closest;
    use pgrx::prelude::*;

    #[pg_test]
    fn sqlstates_are_packed_as_core_packs_them() {
        let not_null = PgSqlErrorCode::ERRCODE_NOT_NULL_VIOLATION as i32;
        assert_eq!(SqlState::NotNullViolation.packed(), not_null);
        let feature = PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED as i32;
        assert_eq!(SqlState::FeatureNotSupported.packed(), feature);
    }

    #[pg_test]
    fn a_hint_names_only_a_column_that_is_close() {
        let columns = ["order_id", "amount", "status"];
        assert_eq!(closest("amuont", columns.into_iter()), Some("amount"));
        assert_eq!(closest("customer", columns.into_iter()), None);
        assert_eq!(closest("", columns.into_iter()), None);
    }
}
