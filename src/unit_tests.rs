//! Units that need no second session. Everything that the contract promises is
//! tested from outside, under `tests/`.
use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::error::{SqlState, catch_report, with_error_capture};
    use crate::pg::hash::siphash::SipHash;
    use crate::pg::statement::spi::Connection;
    use crate::pg::value::document::Document;
    use crate::target::closest;
    use pgrx::prelude::*;
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    use serde::de::value::{BytesDeserializer, Error};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Record {
        number: i64,
        name: Option<String>,
        owner: pg_sys::Oid,
    }

    /// The record that a statement returns, or the detail of the error.
    fn record_of(sql: &str) -> Result<Record, String> {
        with_error_capture(|| {
            let connection = Connection::open();
            let read = || connection.query_record(sql, &[]).expect("a row");
            catch_report(read).map_err(|report| report.to_text())
        })
    }

    #[pg_test]
    fn a_record_is_read_by_the_names_of_its_columns() {
        let expected = Record {
            number: 7,
            name: Some("seven".to_owned()),
            owner: pg_sys::Oid::from(10),
        };
        let sql = "SELECT 'seven'::text AS name, 10::oid AS owner, 7::bigint AS number, 1 AS more";
        assert_eq!(record_of(sql), Ok(expected));
        let nothing = record_of("SELECT NULL::text AS name, 10::oid AS owner, 7::int AS number");
        assert_eq!(nothing.map(|record| record.name), Ok(None));
    }

    #[pg_test]
    fn a_column_that_is_no_value_of_its_field_is_refused() {
        let detail = |sql| record_of(sql).expect_err("it does not fit");
        let text = detail("SELECT 'x'::text AS name, 10::oid AS owner, '7'::text AS number");
        assert!(
            text.contains("column \"number\": invalid type: string"),
            "{text}"
        );
        let number = detail("SELECT 7::bigint AS name, 10::oid AS owner, 7 AS number");
        assert!(
            number.contains("column \"name\": invalid type: integer"),
            "{number}"
        );
        let null = detail("SELECT 'x'::text AS name, NULL::oid AS owner, 7 AS number");
        assert!(null.contains("column \"owner\": is null"), "{null}");
        let missing = detail("SELECT 'x'::text AS name, 7 AS number");
        assert!(missing.contains("it has no column \"owner\""), "{missing}");
        let unknown = detail("SELECT 'x'::text AS name, 10::oid AS owner, 7.0 AS number");
        assert!(
            unknown.contains("type 1700 is none that is read here"),
            "{unknown}"
        );
    }

    #[pg_test]
    fn a_document_is_made_of_a_column_only() {
        #[derive(Deserialize)]
        struct Documents {
            document: Document,
        }
        let connection = Connection::open();
        let sql = "SELECT '{\"a\": [1, \"b\"]}'::jsonb AS document";
        let Documents { document } = connection.query_record(sql, &[]).expect("a row");
        drop(connection);
        assert_eq!(document.container().to_text(), c"{\"a\": [1, \"b\"]}");
        let bytes: BytesDeserializer<'_, Error> = [0_u8; 16].as_slice().into_deserializer();
        assert!(Document::deserialize(bytes).is_err());
    }

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
