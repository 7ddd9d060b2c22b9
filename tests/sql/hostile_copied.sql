-- The owner of a database may SELECT and INSERT state, to dump and restore it. A value that they copy makes no row of
-- another's: not a role, not a table, not the name of a sender.
\set VERBOSITY default
\set SHOW_CONTEXT errors
CREATE ROLE regress_pgi_dbo LOGIN;
CREATE ROLE regress_pgi_victim;
SELECT datdba::regrole AS owner FROM pg_database WHERE datname = current_database() \gset
SET client_min_messages = warning;
ALTER DATABASE :DBNAME OWNER TO regress_pgi_dbo;
RESET client_min_messages;
CREATE SCHEMA copied;
GRANT USAGE, CREATE ON SCHEMA copied TO regress_pgi_dbo, regress_pgi_victim;
SET search_path = copied, public;

-- One row of each kind is the victim's, and one the superuser's.
CREATE TABLE payroll (id int PRIMARY KEY, salary int);
INSERT INTO payroll VALUES (1, 100), (2, 100);
SELECT outcome FROM idempotent_insert('payroll', '{"id": 1, "salary": 101}', on_conflict => 'quarantine');
CREATE TABLE source (id int PRIMARY KEY, salary int);
SELECT response FROM idempotent_execute('copied', 'select 1 AS one');
SELECT decision FROM idempotent_run_begin('copied', 'p', 'v1');
SET client_min_messages = warning;
CALL idempotent_load('payroll', 'source');
RESET client_min_messages;
SELECT replayed FROM idempotent_insert_from('payroll', 'source', token => 'copied');
SET ROLE regress_pgi_victim;
SELECT response FROM idempotent_execute('copied', 'select 2 AS two');
RESET ROLE;

-- What the owner of the database copies, by INSERT … SELECT, and through a variable.
CREATE FUNCTION copied.attempts() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one idempotent.request_records;
BEGIN
    INSERT INTO idempotent.request_records
    SELECT role, scope, 'forged', 'finished', attempt, fingerprint, request, recovery_point, '"forged"', ttl, lease, lease_until, started_at, completed_at,
           expires_at, purge_after
      FROM idempotent.request_records WHERE key = 'copied';
    FOR one IN SELECT * FROM idempotent.request_records WHERE key = 'copied' LOOP
        one.key := 'forged by a variable';
        INSERT INTO idempotent.request_records VALUES (one.*);
    END LOOP;
    INSERT INTO idempotent.pipeline_run_records
        (role, dataset, partition, attempt, status, reason, input_version, lease, started_at, heartbeat_at, completed_at)
    SELECT role, 'forged', 'p', 1, 'published', 'first_run', 'v1', lease, now(), now(), now() FROM idempotent.pipeline_run_records WHERE dataset = 'copied';
    INSERT INTO idempotent.load_records (role, target, source, on_conflict, batch_size, pid)
    SELECT role, 'forged', source, on_conflict, batch_size, pid FROM idempotent.load_records WHERE target LIKE '%payroll';
    INSERT INTO idempotent.batch_records (role, target, token, function, options, counts)
    SELECT role, target, 'forged', function, options, '{"received": 7}' FROM idempotent.batch_records WHERE token = 'copied';
    INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest, arrived_by)
    SELECT target, '{"id": 2}', '{"id": 2, "salary": 999999}', '{"id": 2, "salary": 100}', '{"salary": {"stored": 100, "payload": 999999}}', '\x00',
           'regress_pgi_victim'
      FROM idempotent.conflict_records WHERE payload = '{"id": 1, "salary": 101}';
END
$$;
SET SESSION AUTHORIZATION regress_pgi_dbo;
SELECT copied.attempts();
RESET SESSION AUTHORIZATION;
SELECT role, key FROM idempotent.request_records WHERE key LIKE 'forged%' ORDER BY key, role::text;
SELECT role FROM idempotent.pipeline_run_records WHERE dataset = 'forged';
SELECT role FROM idempotent.load_records WHERE target = 'forged';
SELECT role, target FROM idempotent.batch_records WHERE token = 'forged';
SELECT target, arrived_by FROM idempotent.conflict_records WHERE digest = '\x00';
-- So nobody gets what was forged, and nobody waits for it.
SELECT * FROM idempotent_execute('forged', 'select 1 AS one');
SELECT decision, reason FROM idempotent_run_begin('forged', 'p', 'v1');
SELECT replayed FROM idempotent_insert_from('payroll', 'source', token => 'forged');
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflict_records WHERE digest = '\x00';
SELECT salary FROM payroll WHERE id = 2;
SET ROLE regress_pgi_victim;
SELECT replayed FROM idempotent_execute('forged', 'select 2 AS two');
RESET ROLE;

-- Nor with a setting that keeps triggers from firing.
GRANT SET ON PARAMETER session_replication_role TO regress_pgi_dbo;
SET SESSION AUTHORIZATION regress_pgi_dbo;
SET session_replication_role = replica;
INSERT INTO idempotent.request_records
SELECT role, scope, 'forged as a replica', status, attempt, fingerprint, request, recovery_point, response, ttl, lease, lease_until, started_at, completed_at,
       expires_at, purge_after
  FROM idempotent.request_records WHERE key = 'copied';
RESET session_replication_role;
RESET SESSION AUTHORIZATION;
SELECT role FROM idempotent.request_records WHERE key = 'forged as a replica' ORDER BY role::text;

-- Their own rows, and conflicts of what they may change, keep what they have; unless policies hide rows of it.
CREATE TABLE theirs (id int PRIMARY KEY, v int);
GRANT SELECT, UPDATE ON theirs TO regress_pgi_dbo;
SELECT count(*) FROM (VALUES (idempotent_insert('theirs', '{"id": 1, "v": 1}')), (idempotent_insert('theirs', '{"id": 1, "v": 2}', on_conflict => 'quarantine'))) AS t;
CREATE FUNCTION copied.again(digest bytea) RETURNS void LANGUAGE sql BEGIN ATOMIC
    INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest, arrived_by)
    SELECT target, key, payload, stored, differences, again.digest, 'regress_pgi_dbo' FROM idempotent.conflict_records WHERE payload = '{"v": 2, "id": 1}'
    ORDER BY id LIMIT 1;
END;
SET SESSION AUTHORIZATION regress_pgi_dbo;
SELECT count(*) FROM idempotent_execute('mine', 'select 3 AS three');
INSERT INTO idempotent.request_records
SELECT role, scope, 'mine again', status, attempt, fingerprint, request, recovery_point, response, ttl, lease, lease_until, started_at, completed_at,
       expires_at, purge_after
  FROM idempotent.request_records WHERE key = 'mine';
SELECT replayed FROM idempotent_execute('mine again', 'select 3 AS three');
SELECT copied.again('\x01');
RESET SESSION AUTHORIZATION;
ALTER TABLE theirs ENABLE ROW LEVEL SECURITY;
SET SESSION AUTHORIZATION regress_pgi_dbo;
SELECT copied.again('\x02');
RESET SESSION AUTHORIZATION;
SELECT digest, target, arrived_by FROM idempotent.conflict_records WHERE digest IN ('\x01', '\x02') ORDER BY digest;

-- What was dropped is nobody's for good, and a long name is cut.
CREATE ROLE regress_pgi_sixty_three_letters_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;
INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest, arrived_by)
SELECT target, key, payload, stored, differences, '\x03', 'regress_pgi_sixty_three_letters_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'
  FROM idempotent.conflict_records WHERE digest = '\x01';
DROP TABLE theirs;
SET SESSION AUTHORIZATION regress_pgi_dbo;
INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest, arrived_by)
SELECT target, key, payload, stored, differences, '\x04', arrived_by FROM idempotent.conflict_records WHERE digest = '\x03';
RESET SESSION AUTHORIZATION;
SELECT regexp_replace(target::text, '\d+', 'N', 'g') AS target, arrived_by FROM idempotent.conflict_records WHERE digest = '\x04';

-- The trigger is the extension's own, and no other is taken for it. Each hint heals.
ALTER TABLE idempotent.request_records DISABLE TRIGGER kept;
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
ALTER TABLE idempotent.request_records ENABLE ALWAYS TRIGGER kept;
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
ALTER TABLE idempotent.request_records ENABLE REPLICA TRIGGER kept;
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
DROP TRIGGER kept ON idempotent.request_records; CREATE TRIGGER kept BEFORE INSERT ON idempotent.request_records FOR EACH ROW EXECUTE FUNCTION idempotent.kept_trigger(); ALTER TABLE idempotent.request_records ENABLE ALWAYS TRIGGER kept;
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
DROP TRIGGER kept ON idempotent.request_records;
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
CREATE TRIGGER kept BEFORE INSERT ON idempotent.request_records FOR EACH ROW EXECUTE FUNCTION idempotent.kept_trigger(); ALTER TABLE idempotent.request_records ENABLE ALWAYS TRIGGER kept;
-- Another trigger of its name, and its own that does not always fire.
CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE OR REPLACE TRIGGER kept BEFORE INSERT ON idempotent.request_records FOR EACH ROW EXECUTE FUNCTION other();
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
CREATE OR REPLACE TRIGGER kept BEFORE INSERT ON idempotent.request_records FOR EACH ROW WHEN (false) EXECUTE FUNCTION idempotent.kept_trigger();
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
CREATE OR REPLACE TRIGGER kept BEFORE INSERT OR UPDATE ON idempotent.request_records FOR EACH ROW EXECUTE FUNCTION idempotent.kept_trigger();
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
CREATE OR REPLACE TRIGGER kept BEFORE INSERT ON idempotent.request_records FOR EACH ROW EXECUTE FUNCTION idempotent.kept_trigger();
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
DROP FUNCTION other;
-- As pg_restore --disable-triggers leaves it.
ALTER TABLE idempotent.request_records DISABLE TRIGGER ALL;
ALTER TABLE idempotent.request_records ENABLE TRIGGER ALL;
SELECT count(*) FROM idempotent_execute('k', 'select 1 AS one');
ALTER TABLE idempotent.request_records ENABLE ALWAYS TRIGGER kept;
CREATE TABLE elsewhere (role idempotent.kept_role);
CREATE TRIGGER kept BEFORE UPDATE ON elsewhere FOR EACH ROW EXECUTE FUNCTION idempotent.kept_trigger();
INSERT INTO elsewhere VALUES ('regress_pgi_dbo');
UPDATE elsewhere SET role = role;

SET client_min_messages = warning;
REVOKE SET ON PARAMETER session_replication_role FROM regress_pgi_dbo;
ALTER DATABASE :DBNAME OWNER TO :owner;
DELETE FROM idempotent.request_records WHERE key LIKE 'forged%' OR key LIKE 'mine%' OR key IN ('copied', 'k');
DELETE FROM idempotent.pipeline_run_records WHERE dataset IN ('copied', 'forged');
DELETE FROM idempotent.load_records WHERE target = 'forged' OR target LIKE '%payroll';
DELETE FROM idempotent.batch_records;
DELETE FROM idempotent.conflict_records WHERE digest IN ('\x00', '\x01', '\x02', '\x03', '\x04') OR target::regclass IN (0::regclass, 'payroll'::regclass);
RESET search_path;
DROP SCHEMA copied CASCADE;
DROP ROLE regress_pgi_dbo, regress_pgi_victim, regress_pgi_sixty_three_letters_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;
