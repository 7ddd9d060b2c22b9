//! Units that need no second session. Everything that the contract promises is
//! tested from outside, under `tests/`.
use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::error::SqlState;
    use crate::pg::hash::siphash::SipHash;
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

    /// The vectors that the algorithm's authors publish.
    #[pg_test]
    fn siphash_is_that_of_its_authors() {
        let bytes: Vec<u8> = (0..16).collect();
        let hash = SipHash::new([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        assert_eq!(hash.finish(), 0x726f_db47_dd0e_0e31);
        assert_eq!(hash.fixed(&bytes[..8]).finish(), 0x93f5_f579_9a93_2462);
        assert_eq!(hash.fixed(&bytes).finish(), 0x3f2a_cc7f_57c2_9bdb);
        assert_ne!(
            hash.bytes(b"ab").bytes(b"c").finish(),
            hash.bytes(b"a").bytes(b"bc").finish()
        );
    }
}
