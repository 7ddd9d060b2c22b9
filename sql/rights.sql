-- Rights on state. ALTER DEFAULT PRIVILEGES may have granted any privilege on new objects to any role; all of that is
-- revoked first. This file has every grant.
DO $revoke$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT DISTINCT pg_catalog.format(
                   'REVOKE ALL ON %s %I.%I FROM %s',
                   CASE class.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                   schema.nspname, class.relname,
                   CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee)) END) AS command
          FROM pg_catalog.pg_class AS class
          JOIN pg_catalog.pg_namespace AS schema ON schema.oid OPERATOR(pg_catalog.=) class.relnamespace
         CROSS JOIN LATERAL pg_catalog.aclexplode(class.relacl) AS entry
         WHERE schema.nspname OPERATOR(pg_catalog.=) 'idempotent'
           AND class.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'v', 'S']::"char"[])
           AND entry.grantee OPERATOR(pg_catalog.<>) class.relowner
        UNION
        SELECT pg_catalog.format(
                   'REVOKE ALL ON SCHEMA %I FROM %s', schema.nspname,
                   CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee)) END)
          FROM pg_catalog.pg_namespace AS schema
         CROSS JOIN LATERAL pg_catalog.aclexplode(schema.nspacl) AS entry
         WHERE schema.nspname OPERATOR(pg_catalog.=) 'idempotent'
           AND entry.grantee OPERATOR(pg_catalog.<>) schema.nspowner
    LOOP
        EXECUTE granted.command;
    END LOOP;
END
$revoke$;

-- The views show each reader what is theirs.
GRANT USAGE ON SCHEMA idempotent TO PUBLIC;
GRANT SELECT ON idempotent.conflicts, idempotent.rejections, idempotent.guards, idempotent.loads, idempotent.requests, idempotent.pipeline_runs,
    idempotent.batches, idempotent.stats, idempotent.stats_database
    TO PUBLIC;

-- They call these functions with the rights of their reader. ALTER DEFAULT PRIVILEGES may have revoked EXECUTE.
GRANT EXECUTE ON FUNCTION idempotent.own_role(), idempotent.load_is_running(bigint),
    idempotent.guard_options(regclass, oid), idempotent.kept_regrole(idempotent.kept_role),
    idempotent.kept_role_eq(idempotent.kept_role, idempotent.kept_role),
    idempotent.kept_regclass(idempotent.kept_table), idempotent.kept_oid(idempotent.kept_table),
    idempotent.counted(), idempotent.counting()
    TO PUBLIC;

-- So does idempotent_reconcile, here and through foreign tables.
GRANT EXECUTE ON FUNCTION idempotent.sketch(bytea, VARIADIC "any"), idempotent.in_sketch(bytea, VARIADIC "any") TO PUBLIC;

-- The owner of the database dumps and restores it. src/kept.rs says what an INSERT cannot do.
GRANT SELECT, INSERT
    ON idempotent.request_records, idempotent.pipeline_run_records, idempotent.load_records, idempotent.conflict_records,
       idempotent.rejection_records, idempotent.batch_records
    TO pg_database_owner;

-- A value that is copied is judged as a text is (src/kept/inserter.rs), whatever session_replication_role says.
DO $trigger$
DECLARE
    state regclass;
BEGIN
    FOREACH state IN ARRAY ARRAY['idempotent.request_records', 'idempotent.pipeline_run_records', 'idempotent.load_records',
                                 'idempotent.conflict_records', 'idempotent.rejection_records',
                                 'idempotent.batch_records']::regclass[] LOOP
        EXECUTE pg_catalog.format(
            'CREATE TRIGGER kept BEFORE INSERT ON %1$s FOR EACH ROW EXECUTE FUNCTION idempotent.kept_trigger();
             ALTER TABLE %1$s ENABLE ALWAYS TRIGGER kept;
             COMMENT ON TRIGGER kept ON %1$s IS %2$L', state, 'takes roles and tables that the inserter may not name out of the row');
    END LOOP;
END
$trigger$;
