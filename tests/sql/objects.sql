-- The set of the extension's objects is under test: what is added or changed here is seen in review. No object is
-- without a comment, no function without a fixed contract, nothing is open that need not be.
SELECT pg_describe_object(classid, objid, objsubid) AS object
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_idempotent') AND deptype = 'e'
  -- the row types of relations are members from PostgreSQL 18 on
  AND classid <> 'pg_type'::regclass
ORDER BY pg_describe_object(classid, objid, objsubid) COLLATE "C";

-- Without a comment: none.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS object_without_comment
FROM pg_depend d LEFT JOIN pg_description c ON c.objoid = d.objid AND c.classoid = d.classid AND c.objsubid = 0
WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_idempotent') AND d.deptype = 'e'
  AND c.description IS NULL AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_namespace'::regclass, 'pg_type'::regclass)
  -- what comes with a table, and is described by it
  AND NOT EXISTS (SELECT FROM pg_class r WHERE d.classid = 'pg_class'::regclass AND r.oid = d.objid AND r.relkind IN ('i', 'S', 't'))
  AND NOT EXISTS (SELECT FROM pg_type t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND (t.typrelid <> 0 OR t.typelem <> 0))
ORDER BY 1;
SELECT a.attrelid::regclass AS relation, a.attname AS column_without_comment
FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid
WHERE r.relnamespace = 'idempotent'::regnamespace AND r.relkind = 'v' AND a.attnum > 0 AND col_description(a.attrelid, a.attnum) IS NULL
ORDER BY 1, 2;

-- Functions: signature, result, and properties; unaligned, so that a longer line changes no other.
\pset format unaligned
\pset footer off
SELECT p.oid::regprocedure AS function, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_idempotent')
ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT p.oid::regproc AS function, CASE WHEN p.prosecdef THEN 'definer' ELSE 'invoker' END AS security, p.provolatile AS volatile, p.proparallel AS parallel,
       p.proisstrict AS strict, p.proretset AS set, p.proconfig AS config, p.proacl AS rights
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_idempotent')
ORDER BY p.oid::regproc::text COLLATE "C", p.oid::regprocedure::text COLLATE "C";
\pset format aligned
\pset footer on
-- Definer functions set their search_path; none is SQL-callable by everyone without reason.
SELECT p.oid::regprocedure AS definer_without_search_path
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_idempotent') AND p.prosecdef
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%');

-- The columns of the requests.
SELECT attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum) IS NOT NULL AS described
FROM pg_attribute WHERE attrelid = 'idempotent.request_records'::regclass AND attnum > 0 ORDER BY attnum;

-- State: what everybody may do with it, and whether a dump carries it.
SELECT r.oid::regclass AS relation, r.relkind AS kind, has_table_privilege('pg_read_all_settings', r.oid, 'SELECT') AS anyone_reads,
       has_table_privilege('pg_read_all_settings', r.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS anyone_writes,
       r.oid = ANY (e.extconfig) AS dumped
FROM pg_class r CROSS JOIN pg_extension e
WHERE e.extname = 'pg_idempotent' AND r.relnamespace = 'idempotent'::regnamespace AND r.relkind IN ('r', 'v', 'S', 'p', 'm')
ORDER BY r.relname COLLATE "C";

-- The control file.
SELECT extrelocatable AS relocatable, nspname AS schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'pg_idempotent';
SELECT superuser, trusted, relocatable, schema, requires, comment FROM pg_available_extension_versions WHERE name = 'pg_idempotent' ORDER BY version DESC LIMIT 1;

-- Installed in another schema everything works the same; removed, nothing is left.
SELECT count(*) AS before FROM pg_proc WHERE proname LIKE 'idempotent%' \gset
CREATE TABLE survives (id int PRIMARY KEY, v int);
SELECT outcome FROM idempotent_insert('survives', '{"id": 1, "v": 1}');
SELECT outcome FROM idempotent_insert('survives', '{"id": 1, "v": 2}', on_conflict => 'quarantine');
DROP EXTENSION pg_idempotent;
SELECT (SELECT count(*) FROM pg_proc WHERE proname LIKE 'idempotent%') AS functions, to_regnamespace('idempotent') AS schema;
CREATE SCHEMA tools;
CREATE EXTENSION pg_idempotent SCHEMA tools;
SELECT outcome FROM tools.idempotent_insert('survives', '{"id": 1, "v": 1}');
SELECT outcome FROM tools.idempotent_insert('survives', '{"id": 1, "v": 2}', on_conflict => 'quarantine');
SELECT tools.idempotent_resolve(id, 'apply_payload') AS resolved FROM idempotent.conflicts;
SELECT * FROM survives;
-- By a role that has the schema not in its path, and none of it.
SET search_path = pg_catalog;
SELECT outcome FROM tools.idempotent_insert_each('public.survives', '[{"id": 2, "v": 2}, {"id": 2, "v": 3}]', on_conflict => 'quarantine');
RESET search_path;
DROP EXTENSION pg_idempotent;
CREATE EXTENSION pg_idempotent;
DROP TABLE survives;
DROP SCHEMA tools;
