//! Units that need a server but no second session. Those that need no server are under
//! `tests/pure`. Everything that the contract promises is tested from outside, under `tests/`.
use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::error::{Report, SqlState, with_error_capture};
    use crate::pg::call::signature;
    use crate::pg::statement::spi::Connection;
    use crate::pg::value::document::Document;
    use pgrx::prelude::*;
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    use serde::de::value::{BytesDeserializer, Error};
    use std::panic::{AssertUnwindSafe, catch_unwind};

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
            catch_unwind(AssertUnwindSafe(read)).map_err(|caught| {
                let report = caught.downcast::<Report>().expect("a report of ours");
                report.to_text()
            })
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

    /// Every function of the extension in C, in the form of [`signature::lines`].
    const DECLARED: &str = "
        SELECT format('%s(%s) returns %s, %s%s parallel %s: %s', p.proname, pg_get_function_arguments(p.oid),
                      coalesce(pg_get_function_result(p.oid), 'nothing'),
                      CASE p.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END,
                      CASE WHEN p.proisstrict THEN ' strict' END,
                      CASE p.proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END,
                      obj_description(p.oid, 'pg_proc'))
          FROM pg_proc AS p
          JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
          JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
         WHERE e.extname = 'pg_idempotent'
           AND p.prolang = (SELECT l.oid FROM pg_language AS l WHERE l.lanname = 'c')
           AND p.pronamespace <> 'tests'::regnamespace";

    #[pg_test]
    fn signatures_are_those_that_are_declared() {
        let mut declared: Vec<String> = Spi::connect(|client| {
            let rows = client
                .select(DECLARED, None, &[])
                .expect("the query is valid");
            rows.map(|row| row.get(1).expect("a text").expect("not null"))
                .collect()
        });
        let mut written = signature::lines();
        declared.sort();
        written.sort();
        let without = |all: &[String], others: &[String]| -> Vec<String> {
            all.iter()
                .filter(|line| !others.contains(line))
                .cloned()
                .collect()
        };
        let only_declared = without(&declared, &written);
        let only_written = without(&written, &declared);
        assert!(
            only_declared.is_empty() && only_written.is_empty(),
            "only in pg_proc: {only_declared:#?}, only in the table: {only_written:#?}"
        );
        assert_eq!(declared.len(), written.len());
    }
}
