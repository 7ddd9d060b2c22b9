-- The tables of state are worked on with their owner's rights. Nobody makes the extension run code with these.
\set SHOW_CONTEXT never
DROP EXTENSION pg_idempotent;
CREATE ROLE hostile_app;
CREATE SCHEMA hostile AUTHORIZATION hostile_app;

-- 1. Default privileges that were set before the extension came: everything to the app, and EXECUTE revoked from
--    PUBLIC. The app gets no more than any other role, and every role reads the views.
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO hostile_app;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO hostile_app;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO hostile_app;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;
CREATE EXTENSION pg_idempotent;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM hostile_app;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM hostile_app;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM hostile_app;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
SELECT class.relname, entry.grantee::regrole, string_agg(entry.privilege_type, ', ' ORDER BY entry.privilege_type) AS rights
  FROM pg_class AS class CROSS JOIN LATERAL aclexplode(class.relacl) AS entry
 WHERE class.relnamespace = 'idempotent'::regnamespace AND class.relkind IN ('r', 'v', 'S') AND entry.grantee <> class.relowner
 GROUP BY class.relname, entry.grantee ORDER BY class.relname COLLATE "C";
SELECT entry.grantee::regrole, entry.privilege_type
  FROM pg_namespace AS schema CROSS JOIN LATERAL aclexplode(schema.nspacl) AS entry
 WHERE schema.nspname = 'idempotent' AND entry.grantee <> schema.nspowner;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO PUBLIC;

SET ROLE hostile_app;
SELECT count(*) FROM idempotent.requests;
SELECT count(*) FROM idempotent.pipeline_runs;
SELECT count(*) FROM idempotent.loads;
SELECT count(*) FROM idempotent.batches;
SELECT count(*) FROM idempotent.conflicts;
SELECT count(*) FROM idempotent.rejections;
SELECT count(*) FROM idempotent.guards;
CREATE FUNCTION hostile.take() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'hostile code runs as %', CASE WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN 'superuser' ELSE current_user END;
    RETURN NEW;
END $$;
CREATE TRIGGER hostile BEFORE INSERT ON idempotent.pipeline_run_records FOR EACH ROW EXECUTE FUNCTION hostile.take();
SELECT setval('idempotent.request_attempts', 1);
SELECT secret FROM idempotent.lock_secret;
RESET ROLE;

-- 2. A right that should never have been granted: no trigger of a stranger's ever fires. Each hint heals.
CREATE PROCEDURE heal(work text) LANGUAGE plpgsql AS $$
DECLARE
    what text;
    hint text;
BEGIN
    EXECUTE work;
    RAISE NOTICE 'in order';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    GET STACKED DIAGNOSTICS what = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RAISE NOTICE '%', what;
    RAISE NOTICE '%', hint;
    EXECUTE substr(hint, length('Repair it with: ') + 1);
END $$;
CREATE TABLE orders (id int PRIMARY KEY, amount int);
INSERT INTO orders VALUES (1, 10);
CREATE TABLE sent AS SELECT * FROM orders;
CREATE PROCEDURE run_all() LANGUAGE plpgsql AS $$
BEGIN
    CALL heal($work$SELECT idempotent_run_begin('d', clock_timestamp()::text)$work$);
    CALL heal($work$SELECT idempotent_request_begin(clock_timestamp()::text, '{}')$work$);
    CALL heal($work$SELECT idempotent_insert('orders', '{"id": 1, "amount": 11}', on_conflict => 'quarantine')$work$);
    CALL heal($work$SELECT idempotent_insert_many('orders', '[{"id": 2, "amount": "x"}]', on_error => 'quarantine')$work$);
    CALL heal($work$SELECT idempotent_purge()$work$);
END $$;
CALL run_all();

GRANT TRIGGER ON idempotent.pipeline_run_records, idempotent.conflict_records, idempotent.rejection_records, idempotent.request_records, idempotent.load_records TO hostile_app;
SET ROLE hostile_app;
CREATE TRIGGER hostile BEFORE INSERT ON idempotent.pipeline_run_records FOR EACH ROW EXECUTE FUNCTION hostile.take();
CREATE TRIGGER hostile BEFORE INSERT OR UPDATE ON idempotent.conflict_records FOR EACH ROW EXECUTE FUNCTION hostile.take();
CREATE TRIGGER hostile BEFORE INSERT ON idempotent.rejection_records FOR EACH ROW EXECUTE FUNCTION hostile.take();
CREATE TRIGGER hostile BEFORE DELETE ON idempotent.request_records FOR EACH ROW EXECUTE FUNCTION hostile.take();
CREATE TRIGGER hostile AFTER INSERT ON idempotent.load_records FOR EACH STATEMENT EXECUTE FUNCTION hostile.take();
SELECT idempotent_run_begin('d');
CALL idempotent_load('orders', 'sent');
RESET ROLE;
CALL idempotent_load('orders', 'sent');
CALL run_all();
CALL run_all();
DROP TRIGGER hostile ON idempotent.load_records;
-- Without its NOTICE, which says how long it took.
SET client_min_messages = warning;
CALL idempotent_load('orders', 'sent');

-- 3. What an owner for a while may have left behind: each is refused before anything is done, and healed by its hint.
CREATE FUNCTION hostile.value() RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'hostile code runs'; RETURN 'x'; END $$;
CREATE FUNCTION hostile.value(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'hostile code runs'; RETURN true; END $$;
CREATE PROCEDURE refused(change text, work text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE change;
    SET LOCAL client_min_messages = notice;
    CALL heal(work);
    CALL heal(work);
    SET LOCAL client_min_messages = warning;
END $$;
\set run '$w$SELECT idempotent_run_begin(''d'', clock_timestamp()::text)$w$'
\set request '$w$SELECT idempotent_request_begin(clock_timestamp()::text, ''{}'')$w$'
\set conflict '$w$SELECT idempotent_insert(''orders'', ''{"id": 1, "amount": 12}'', on_conflict => ''quarantine'')$w$'
\set rejection '$w$SELECT idempotent_insert_many(''orders'', ''[{"id": 2, "amount": "y"}]'', on_error => ''quarantine'')$w$'
CALL refused('ALTER TABLE idempotent.pipeline_run_records ALTER error SET DEFAULT hostile.value()', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records ADD extra text', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records ADD computed boolean GENERATED ALWAYS AS (hostile.value(dataset)) STORED', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records ADD CONSTRAINT hostile CHECK (hostile.value(dataset))', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records DROP CONSTRAINT pipeline_run_records_status', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records DROP CONSTRAINT pipeline_run_records_status, ADD CONSTRAINT pipeline_run_records_status CHECK (hostile.value(status))', :run);
CALL refused('DROP INDEX idempotent.pipeline_run_records_running; CREATE UNIQUE INDEX pipeline_run_records_running ON idempotent.pipeline_run_records (run_id) WHERE hostile.value(dataset)', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records ALTER lease DROP NOT NULL', :run);
CALL refused('CREATE INDEX hostile ON idempotent.pipeline_run_records (hostile.value(dataset))', :run);
CALL refused('CREATE INDEX hostile ON idempotent.pipeline_run_records (dataset) WHERE hostile.value(dataset)', :run);
CALL refused('CREATE UNIQUE INDEX hostile ON idempotent.pipeline_run_records (run_id, dataset)', :run);
CREATE FUNCTION hostile.cmp(text, text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'hostile code runs'; RETURN bttextcmp($1, $2); END $$;
CREATE OPERATOR CLASS hostile.class FOR TYPE text USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 hostile.cmp(text, text);
CALL refused('CREATE INDEX hostile ON idempotent.pipeline_run_records (run_id, dataset hostile.class)', :run);
CALL refused('ALTER FUNCTION idempotent.own_role() OWNER TO hostile_app; COMMENT ON TABLE idempotent.conflict_records IS $$changed$$; ALTER TABLE idempotent.conflict_records SET (fillfactor = 90)', :conflict);
CALL refused('CREATE STATISTICS hostile ON hostile.value(dataset) FROM idempotent.pipeline_run_records', :run);
CALL refused('CREATE RULE hostile AS ON INSERT TO idempotent.pipeline_run_records DO ALSO SELECT hostile.value()', :run);
CALL refused('CREATE POLICY hostile ON idempotent.pipeline_run_records USING (hostile.value(dataset))', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records FORCE ROW LEVEL SECURITY, ENABLE ROW LEVEL SECURITY', :run);
CALL refused('CREATE TABLE hostile.child () INHERITS (idempotent.pipeline_run_records)', :run);
CREATE TABLE hostile.parent (LIKE idempotent.pipeline_run_records);
CALL refused('ALTER TABLE idempotent.pipeline_run_records INHERIT hostile.parent', :run);
CREATE ACCESS METHOD hostile_storage TYPE TABLE HANDLER heap_tableam_handler;
CALL refused('ALTER TABLE idempotent.pipeline_run_records SET ACCESS METHOD hostile_storage', :run);
SELECT format('CREATE TYPE hostile.run AS (%s)', string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum))
  FROM pg_attribute WHERE attrelid = 'idempotent.pipeline_run_records'::regclass AND attnum > 0 AND NOT attisdropped \gexec
CALL refused('ALTER TABLE idempotent.pipeline_run_records OF hostile.run', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records OF hostile.run, SET ACCESS METHOD hostile_storage', :run);
DROP ACCESS METHOD hostile_storage;
CALL refused('CREATE TABLE hostile.referring (run_id bigint REFERENCES idempotent.pipeline_run_records)', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records OWNER TO hostile_app', :run);
CALL refused('ALTER SEQUENCE idempotent.request_attempts OWNER TO hostile_app', :request);
CALL refused('ALTER SCHEMA idempotent OWNER TO hostile_app', :run);
CALL refused('ALTER EXTENSION pg_idempotent DROP TABLE idempotent.pipeline_run_records', :run);
CALL refused('TRUNCATE idempotent.request_records; ALTER TABLE idempotent.request_records ALTER recovery_point SET NOT NULL', :request);
CALL refused('ALTER TABLE idempotent.request_records ADD note text', :request);
CALL refused('ALTER TABLE idempotent.request_records ADD note text DEFAULT hostile.value()', :request);
CALL refused('CREATE INDEX hostile ON idempotent.request_records (hostile.value(key))', :request);
CALL refused('ALTER TABLE idempotent.conflict_records ALTER resolution SET DEFAULT hostile.value()', :conflict);
CALL refused('ALTER TABLE idempotent.conflict_records ALTER arrived_at SET DEFAULT now()', :conflict);
CALL refused('ALTER TABLE idempotent.conflict_records ALTER arrived_at DROP DEFAULT', :conflict);
CALL refused('ALTER TABLE idempotent.rejection_records ADD CHECK (hostile.value(arrived_by))', :rejection);
CALL refused('ALTER TABLE idempotent.rejection_records ALTER error SET DEFAULT hostile.value()::jsonb', :rejection);
CALL refused('DROP INDEX idempotent.rejection_records_once', :rejection);
CALL refused('ALTER TABLE idempotent.pipeline_run_records ALTER attempt ADD GENERATED ALWAYS AS IDENTITY', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records ALTER run_id SET GENERATED BY DEFAULT', :run);
CALL refused('DROP INDEX idempotent.pipeline_run_records_running', :run);
-- What takes more than the table: its view, or its sequence, was taken out of the extension first.
BEGIN;
ALTER EXTENSION pg_idempotent DROP VIEW idempotent.pipeline_runs;
DROP VIEW idempotent.pipeline_runs;
CALL refused('ALTER TABLE idempotent.pipeline_run_records ALTER error TYPE text COLLATE "C"', :run);
CALL refused('ALTER TABLE idempotent.pipeline_run_records DROP COLUMN error', :run);
-- A column of another type is not the lost one under another name.
CALL refused('ALTER TABLE idempotent.pipeline_run_records DROP COLUMN error, ADD extra int', :run);
CALL refused('ALTER EXTENSION pg_idempotent DROP SEQUENCE idempotent.pipeline_run_records_run_id_seq; ALTER TABLE idempotent.pipeline_run_records ALTER run_id DROP IDENTITY', :run);
ROLLBACK;
-- A column that was renamed gets its name back; where it may be one of several, nothing is dropped.
CALL refused('ALTER TABLE idempotent.pipeline_run_records RENAME error TO fault', :run);
BEGIN;
ALTER TABLE idempotent.pipeline_run_records RENAME error TO fault;
ALTER TABLE idempotent.pipeline_run_records RENAME output_version TO made;
SELECT idempotent_run_begin('d');
ROLLBACK;
BEGIN;
ALTER TABLE idempotent.pipeline_run_records RENAME error TO fault;
ALTER TABLE idempotent.pipeline_run_records ADD extra text;
SELECT idempotent_run_begin('d');
ROLLBACK;
-- A name in two lines is a name.
BEGIN;
SELECT format('CREATE TRIGGER %I BEFORE INSERT ON idempotent.pipeline_run_records FOR EACH ROW EXECUTE FUNCTION hostile.take()', E'two\nlines\tand a tab') \gexec
SELECT idempotent_run_begin('d');
ROLLBACK;

-- A setting of the session's changes how definitions are shown, and nothing else.
SET quote_all_identifiers = on;
ALTER TABLE idempotent.pipeline_run_records SET (fillfactor = 90);
SELECT decision FROM idempotent_run_begin('quoted');
RESET quote_all_identifiers;

-- 4. What an administrator may add: plain indexes. And columns that came and went are none.
CREATE INDEX ON idempotent.request_records (started_at);
CREATE INDEX ON idempotent.request_records USING brin (started_at);
CREATE STATISTICS idempotent.plain ON key, status FROM idempotent.request_records;
-- What REINDEX CONCURRENTLY leaves behind when it fails: a copy that is not valid. Valid, it is one index too many.
CREATE UNIQUE INDEX pipeline_run_records_running_ccnew ON idempotent.pipeline_run_records (role, dataset, partition) WHERE status = 'running';
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idempotent.pipeline_run_records_running_ccnew'::regclass;
SELECT decision FROM idempotent_run_begin('reindexed');
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'idempotent.pipeline_run_records_running_ccnew'::regclass;
BEGIN;
COMMENT ON INDEX idempotent.pipeline_run_records_running_ccnew IS 'changed';
ALTER TABLE idempotent.pipeline_run_records SET (fillfactor = 80);
SELECT decision FROM idempotent_run_begin('indexed');
ROLLBACK;
DROP INDEX idempotent.pipeline_run_records_running_ccnew;
SELECT attempt > 0 AS attempted FROM idempotent_request_begin('k', '{}');
SELECT idempotent_request_finish('k', (SELECT attempt FROM idempotent.request_records WHERE key = 'k'), '{"a": 1}');
SELECT status, response FROM idempotent_request_begin('k', '{}');
SELECT response, replayed FROM idempotent_execute('k2', 'SELECT 1');
SELECT response, replayed FROM idempotent_execute('k2', 'SELECT 1');
SELECT key, status, response FROM idempotent.requests WHERE key IN ('k', 'k2') ORDER BY key;

-- 5. Looking at state in a transaction that is READ ONLY takes no lock that a reader would not take.
BEGIN READ ONLY;
SELECT response, replayed FROM idempotent_execute('k2', 'SELECT 1');
SELECT mode FROM pg_locks WHERE relation = 'idempotent.request_records'::regclass;
COMMIT;

RESET client_min_messages;
DROP TABLE hostile.child, hostile.parent, hostile.referring, orders, sent;
DROP PROCEDURE refused, run_all, heal;
REVOKE ALL ON ALL TABLES IN SCHEMA idempotent FROM hostile_app;
DROP SCHEMA hostile CASCADE;
DROP OWNED BY hostile_app;
DROP ROLE hostile_app;
