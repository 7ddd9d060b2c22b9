//! Units that need a server but no second session. Those that need no server are under
//! `tests/pure`. Everything that the contract promises is tested from outside, under `tests/`.
use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::error::SqlState;
    use crate::pg::call::signature;
    use pgrx::prelude::*;

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
