-- 0.1.0-dev to 0.1.0. How a step is written, and tested, is in CONTRIBUTING.md.

-- Guards have the option null_key. Its column is in the middle of the view, and the view's row is
-- what idempotent_guard returns: the three are made anew. The triggers of guards do not depend on them.
DROP FUNCTION idempotent_guard(regclass, text[], text[], text[], text, text);
DROP VIEW idempotent.guards;
DROP FUNCTION idempotent.guard_options(regclass, oid);

CREATE FUNCTION idempotent.guard_options(
    target  regclass,
    trigger oid,
    OUT key         text[],
    OUT arbiter     name,
    OUT compared    text[],
    OUT compare     text[],
    OUT ignore      text[],
    OUT on_conflict text,
    OUT remember    name,
    OUT null_key    text,
    OUT problem     text
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'guard_options_wrapper';
COMMENT ON FUNCTION idempotent.guard_options(regclass, oid) IS
    'what the options of a guard come to; for the view idempotent.guards';

CREATE VIEW idempotent.guards AS
SELECT guard.tgrelid::regclass AS target,
       guard.tgname AS trigger,
       CASE guard.tgenabled
           WHEN 'O' THEN 'origin'
           WHEN 'A' THEN 'always'
           WHEN 'R' THEN 'replica'
           ELSE 'disabled'
       END AS enabled,
       options.key,
       options.arbiter,
       options.compared,
       options.compare,
       options.ignore,
       options.on_conflict,
       options.remember,
       options.null_key,
       options.problem
  FROM pg_catalog.pg_trigger AS guard
  JOIN pg_catalog.pg_class AS class
    ON class.oid OPERATOR(pg_catalog.=) guard.tgrelid
   AND (class.relpersistence OPERATOR(pg_catalog.<>) 't'
        OR class.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())
   AND class.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::"char"[])
 CROSS JOIN LATERAL idempotent.guard_options(guard.tgrelid, guard.oid) AS options
 WHERE guard.tgfoid OPERATOR(pg_catalog.=) 'idempotent_guard_trigger()'::regprocedure
   AND guard.tgparentid OPERATOR(pg_catalog.=) 0::oid;
COMMENT ON VIEW idempotent.guards IS 'every guarded table, with the options of its guard';
COMMENT ON COLUMN idempotent.guards.target IS 'the guarded table';
COMMENT ON COLUMN idempotent.guards.trigger IS 'its trigger, in whose arguments the options are';
COMMENT ON COLUMN idempotent.guards.enabled IS
    'when it fires: origin, replica, always (see ALTER TABLE ... ENABLE TRIGGER), or disabled';
COMMENT ON COLUMN idempotent.guards.key IS 'the key columns';
COMMENT ON COLUMN idempotent.guards.arbiter IS 'the unique index that decides';
COMMENT ON COLUMN idempotent.guards.compared IS
    'the columns whose values must agree; one with a stable default, such as now(), unless it was left out';
COMMENT ON COLUMN idempotent.guards.compare IS 'the option compare, if it was given';
COMMENT ON COLUMN idempotent.guards.ignore IS 'the option ignore, if it was given';
COMMENT ON COLUMN idempotent.guards.on_conflict IS 'error or quarantine';
COMMENT ON COLUMN idempotent.guards.remember IS 'the column that keeps what first arrived';
COMMENT ON COLUMN idempotent.guards.null_key IS
    'rows with a NULL in the key: error, or pass as without a guard';
COMMENT ON COLUMN idempotent.guards.problem IS
    'why the options do not fit the table any more, or that you may not know; NULL if they do';

CREATE FUNCTION idempotent_guard(
    target      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    remember    text   DEFAULT NULL,
    null_key    text   DEFAULT 'error'
) RETURNS idempotent.guards
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_guard_wrapper';
COMMENT ON FUNCTION idempotent_guard(regclass, text[], text[], text[], text, text, text) IS
    'makes every INSERT and COPY on a table insert or verify, or replaces the guard''s options';

-- The rights on the new view are the extension's, whatever ALTER DEFAULT PRIVILEGES gave. Rights on
-- what was there before stay as an administrator has set them.
DO $revoke$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT DISTINCT CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE entry.grantee::regrole::text END
          FROM pg_catalog.pg_class AS class
         CROSS JOIN LATERAL pg_catalog.aclexplode(class.relacl) AS entry
         WHERE class.oid OPERATOR(pg_catalog.=) 'idempotent.guards'::regclass
           AND entry.grantee OPERATOR(pg_catalog.<>) class.relowner
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON idempotent.guards FROM %s', grantee);
    END LOOP;
END
$revoke$;
GRANT SELECT ON idempotent.guards TO PUBLIC;

-- The views call these functions with the rights of their reader. ALTER DEFAULT PRIVILEGES may have revoked EXECUTE.
GRANT EXECUTE ON FUNCTION idempotent.own_role(), idempotent.load_is_running(bigint),
    idempotent.guard_options(regclass, oid), idempotent.kept_regrole(idempotent.kept_role),
    idempotent.kept_role_eq(idempotent.kept_role, idempotent.kept_role),
    idempotent.kept_regclass(idempotent.kept_table), idempotent.kept_oid(idempotent.kept_table)
    TO PUBLIC;

-- Conflicts are shown to roles that may name the table, too (USAGE on its schema).
CREATE OR REPLACE VIEW idempotent.conflicts WITH (security_barrier = true) AS
SELECT record.id,
       record.target::regclass AS target,
       CASE WHEN may.see_values THEN record.key END AS key,
       CASE WHEN may.see_values THEN record.payload END AS payload,
       CASE WHEN may.see_values THEN record.stored END AS stored,
       CASE WHEN may.see_values THEN record.differences END AS differences,
       record.arrived_at,
       record.arrived_by,
       record.resolution,
       record.resolved_at
  FROM idempotent.conflict_records AS record
 CROSS JOIN LATERAL (
       SELECT NOT pg_catalog.row_security_active(record.target::oid) AS see_values,
              COALESCE(
                  (SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
                          AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
                     FROM pg_catalog.pg_class AS c
                    WHERE c.oid OPERATOR(pg_catalog.=) record.target::oid),
                  (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r
                    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)
              ) AS see_record) AS may
 WHERE may.see_record;
COMMENT ON VIEW idempotent.conflicts IS
    'quarantined conflicts of the tables that you may name and SELECT from';
