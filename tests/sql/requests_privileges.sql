-- Each role sees and touches its own requests only, a command runs with its caller's rights, and nothing that a user
-- makes runs with the owner's.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_alice;
CREATE ROLE regress_pgi_bob;
CREATE ROLE "regress_PGI ""quoted"" 'role'";
CREATE ROLE regress_pgi_admin;
CREATE ROLE regress_pgi_owner;
CREATE SCHEMA requests;
GRANT ALL ON SCHEMA requests TO PUBLIC;
DO $$ BEGIN EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END $$;
SET search_path = requests, public;
CREATE TABLE secrets (a text);
INSERT INTO secrets VALUES ('of the owner');
CREATE TABLE alices (a int);
ALTER TABLE alices OWNER TO regress_pgi_alice;
CREATE FUNCTION refused(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE det text;
BEGIN
    EXECUTE call;
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS det = PG_EXCEPTION_DETAIL;
    RETURN regexp_replace(concat_ws(E'\n', sqlstate || ' ' || sqlerrm, nullif(det, '')), '(A|a)ttempt \d+', '\1ttempt N', 'g');
END $$;

-- One key, three roles: three requests.
SET ROLE regress_pgi_alice;
SELECT attempt AS alices FROM idempotent_request_begin('k', '{"of": "alice"}') \gset
SELECT * FROM idempotent_execute('x', 'INSERT INTO alices VALUES (1) RETURNING a');
SET ROLE regress_pgi_bob;
SELECT status FROM idempotent_request_begin('k', '{"of": "bob"}');
SELECT * FROM idempotent_execute('x', 'SELECT current_user::text AS who');
SET ROLE "regress_PGI ""quoted"" 'role'";
SELECT status FROM idempotent_request_begin('k', '{"of": "quoted"}');
RESET ROLE;
SELECT status FROM idempotent_request_begin('k', '{"of": "the owner"}');
-- Own rows only, whoever asks.
SET ROLE regress_pgi_alice;
SELECT key, status, request, response FROM idempotent.requests ORDER BY key;
SET ROLE "regress_PGI ""quoted"" 'role'";
SELECT key, status, request, response FROM idempotent.requests ORDER BY key;
SET quote_all_identifiers = on;
SELECT count(*) FROM idempotent.requests;
RESET quote_all_identifiers;
SET ROLE regress_pgi_bob;
SELECT key, status, request, response FROM idempotent.requests ORDER BY key;
-- Nor by a condition that looks at rows before the view does, nor in the table.
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE INFO 'seen: %', $1; RETURN true; END $$;
SELECT count(*) FROM idempotent.requests WHERE pg_temp.leak(request::text);
SELECT count(*) FROM idempotent.request_records;
:state

-- Another role's attempt cannot be advanced, finished, abandoned or purged; not even that it exists is told.
SELECT refused(format('SELECT idempotent_request_advance(%L, %s, %L)', 'k', :alices, 'x'));
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'k', :alices, '1'));
SELECT refused(format('SELECT idempotent_request_abandon(%L, %s)', 'k', :alices));
SET ROLE regress_pgi_alice;
SELECT status FROM idempotent_request_begin('only alice', '1');
SET ROLE regress_pgi_bob;
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'only alice', :alices + 1, '1'));
SELECT refused(format('SELECT idempotent_request_finish(%L, %s, %L)', 'nobody at all', :alices + 1, '1'));
RESET ROLE;
UPDATE idempotent.request_records SET expires_at = clock_timestamp(), purge_after = started_at, lease_until = clock_timestamp();
SET ROLE regress_pgi_bob;
SELECT idempotent_purge();
SELECT idempotent_purge();
SET ROLE regress_pgi_alice;
SELECT count(*) FROM idempotent.requests;
-- All roles' for a member of the owner's role.
RESET ROLE;
SELECT count(*) FROM idempotent.request_records;
SELECT idempotent_purge();

-- Nobody writes the table, whatever the row.
SET ROLE regress_pgi_alice;
SELECT status FROM idempotent_request_begin('k', '{"of": "alice"}');
INSERT INTO idempotent.request_records (role, scope, key, status, attempt, fingerprint, request, ttl, started_at, expires_at, purge_after) VALUES ('regress_pgi_alice', '', 'forged', 'finished', 1, '', '1', '1 day', now(), now(), now());
:state
UPDATE idempotent.request_records SET response = '1';
:state
DELETE FROM idempotent.request_records;
:state
TRUNCATE idempotent.request_records;
SELECT * FROM idempotent.request_records FOR UPDATE;
:state
CREATE TRIGGER t BEFORE UPDATE ON idempotent.request_records FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TABLE refers (role idempotent.kept_role, scope text, key text, FOREIGN KEY (role, scope, key) REFERENCES idempotent.request_records (role, scope, key));
CREATE INDEX ON idempotent.request_records ((request::text));
ALTER TABLE idempotent.request_records DISABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON idempotent.request_records USING (true);
:state
SELECT nextval('idempotent.request_attempts');
:state
SELECT setval('idempotent.request_attempts', 1);
BEGIN;
LOCK TABLE idempotent.request_records IN ACCESS EXCLUSIVE MODE;
ROLLBACK;
-- Nor by way of a command.
SELECT refused($$SELECT * FROM idempotent_execute('w', 'UPDATE idempotent.request_records SET response = ''1''')$$);

-- A command runs with the rights of its caller.
SELECT refused($$SELECT * FROM idempotent_execute('c', 'SELECT * FROM requests.secrets')$$);
SELECT refused($$SELECT * FROM idempotent_execute('c', 'DROP TABLE requests.secrets')$$);
SELECT refused($$SELECT * FROM idempotent_execute('c', 'ALTER ROLE regress_pgi_alice SUPERUSER')$$) LIKE '42501%' AS refused;
SELECT refused($$SELECT * FROM idempotent_execute('c', 'CREATE ROLE regress_pgi_other')$$) LIKE '42501%' AS refused;
SELECT * FROM idempotent_execute('c', 'SELECT current_user::text AS c, session_user = current_user AS same');
-- Those of the owner of a SECURITY DEFINER function, if that calls; and the request is the owner's.
RESET ROLE;
CREATE FUNCTION by_owner(request_key text) RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = requests, public AS
$$ SELECT * FROM idempotent_execute(request_key, 'SELECT a, current_user = (SELECT tableowner FROM pg_tables WHERE tablename = ''secrets'') AS owner FROM secrets') $$;
SET ROLE regress_pgi_alice;
SELECT * FROM by_owner('definer') AS (response jsonb, replayed boolean);
SET ROLE regress_pgi_bob;
SELECT * FROM by_owner('definer') AS (response jsonb, replayed boolean);
SELECT count(*) FROM idempotent.requests WHERE key = 'definer';
SELECT refused($$SELECT * FROM idempotent_execute('definer', 'SELECT a, current_user = (SELECT tableowner FROM pg_tables WHERE tablename = ''secrets'') AS owner FROM secrets')$$);
-- A command that changes the role: the answer goes to the request that was begun.
RESET ROLE;
SELECT * FROM idempotent_execute('role', 'SET LOCAL ROLE regress_pgi_bob');
SELECT role::regrole = current_user::regrole AS own, status FROM idempotent.request_records WHERE key = 'role';
BEGIN;
SELECT response FROM idempotent_execute('role 2', 'SET LOCAL ROLE regress_pgi_bob');
SELECT current_user;
COMMIT;
SELECT role::regrole <> 'regress_pgi_bob'::regrole AS own, status FROM idempotent.request_records WHERE key = 'role 2';
-- A plan that one role has made is not another's way in.
SELECT * FROM idempotent_execute('plan', 'SELECT count(*) FROM requests.secrets');
SET ROLE regress_pgi_bob;
SELECT refused($$SELECT * FROM idempotent_execute('plan', 'SELECT count(*) FROM requests.secrets')$$);
-- Row-level security holds for the role that calls.
RESET ROLE;
CREATE TABLE shared (who text, a int);
INSERT INTO shared VALUES ('regress_pgi_alice', 1), ('regress_pgi_bob', 2);
ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON shared USING (who = current_user);
GRANT SELECT ON shared TO PUBLIC;
SELECT response FROM idempotent_execute('shared', 'SELECT a FROM shared ORDER BY a');
SET ROLE regress_pgi_alice;
SELECT response FROM idempotent_execute('shared', 'SELECT a FROM shared ORDER BY a');
SET ROLE regress_pgi_bob;
SELECT response FROM idempotent_execute('shared', 'SELECT a FROM shared ORDER BY a');

-- Nothing that a user made is met with the owner's rights: types, operators, functions and tables before pg_catalog
-- and in pg_temp.
SET ROLE regress_pgi_alice;
CREATE SCHEMA regress_pgi_traps;
SET search_path = regress_pgi_traps, pg_temp, pg_catalog, requests, public;
CREATE FUNCTION sprung(what text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RAISE INFO 'sprung as %: %', CASE current_user WHEN 'regress_pgi_alice' THEN 'alice' ELSE 'the owner' END, what;
    RETURN what;
END $$;
CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('clock_timestamp'); RETURN pg_catalog.clock_timestamp(); END $$;
CREATE FUNCTION nextval(text) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('nextval'); RETURN 1; END $$;
CREATE FUNCTION char_length(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('char_length'); RETURN 1; END $$;
CREATE FUNCTION quote_ident(name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('quote_ident'); RETURN 'postgres'; END $$;
CREATE FUNCTION equal(a oid, b oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('oid ='); RETURN true; END $$;
CREATE FUNCTION equal(a text, b text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('text ='); RETURN true; END $$;
CREATE FUNCTION less(a timestamptz, b timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('timestamptz <='); RETURN true; END $$;
CREATE FUNCTION plus(a timestamptz, b interval) RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('timestamptz +'); RETURN a; END $$;
CREATE FUNCTION same_place(a tid, b tid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM regress_pgi_traps.sprung('tid ='); RETURN true; END $$;
CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = oid, FUNCTION = equal);
CREATE OPERATOR = (LEFTARG = text, RIGHTARG = text, FUNCTION = equal);
CREATE OPERATOR <> (LEFTARG = text, RIGHTARG = text, FUNCTION = equal);
CREATE OPERATOR <= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = less);
CREATE OPERATOR + (LEFTARG = timestamptz, RIGHTARG = interval, FUNCTION = plus);
CREATE OPERATOR = (LEFTARG = tid, RIGHTARG = tid, FUNCTION = same_place);
-- In a session whose first call is this one, so that all is looked up with these names in the way.
\c -
SET search_path = pg_catalog;
SET ROLE regress_pgi_alice;
CREATE DOMAIN pg_temp.oid AS pg_catalog.oid CHECK (regress_pgi_traps.sprung('type oid') IS NOT NULL);
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (regress_pgi_traps.sprung('type text') IS NOT NULL);
CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (regress_pgi_traps.sprung('type jsonb') IS NOT NULL);
CREATE DOMAIN pg_temp.regrole AS pg_catalog.regrole CHECK (regress_pgi_traps.sprung('type regrole') IS NOT NULL);
CREATE DOMAIN pg_temp.bytea AS pg_catalog.bytea CHECK (regress_pgi_traps.sprung('type bytea') IS NOT NULL);
CREATE TEMPORARY TABLE requests (LIKE idempotent.requests);
CREATE TEMPORARY SEQUENCE request_attempts;
SET search_path = pg_temp, regress_pgi_traps, pg_catalog, public;
SELECT status FROM public.idempotent_request_begin('trap', '{"a": 1}');
SELECT public.idempotent_request_advance('trap', (SELECT attempt FROM idempotent.requests WHERE key OPERATOR(pg_catalog.=) 'trap'), 'x');
SELECT public.idempotent_request_finish('trap', (SELECT attempt FROM idempotent.requests WHERE key OPERATOR(pg_catalog.=) 'trap'), '{"b": 2}');
SELECT status, recovery_point, response FROM public.idempotent_request_begin('trap', '{"a": 1.0}');
SELECT status FROM public.idempotent_request_begin('trap 2', '{"a": 1}', lease => '1 microsecond');
SELECT status FROM public.idempotent_request_begin('trap 2', '{"a": 1}', ttl => '1 microsecond', lease => '1 microsecond');
SELECT public.idempotent_purge();
SELECT status, public.idempotent_request_abandon('trap 3', attempt) FROM public.idempotent_request_begin('trap 3', '{"a": 1}');
SELECT * FROM public.idempotent_execute('trap 4', 'SELECT 1 AS x');
SELECT * FROM public.idempotent_execute('trap 4', 'SELECT 1 AS x');
-- In a command they are the caller's own affair.
SELECT * FROM public.idempotent_execute('trap 5', 'SELECT ''a''::pg_catalog.text = ''b''::pg_catalog.text AS x');
SELECT pg_catalog.count(*) FROM pg_temp.requests;
SELECT key, status FROM idempotent.requests ORDER BY key;
\c -
SET search_path = requests, public;

-- A trigger of the user's, fired by the command, has the user's rights.
SET ROLE regress_pgi_bob;
CREATE TABLE bobs (a int);
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE INFO 'trigger as %', current_user; RETURN NEW; END $$;
CREATE TRIGGER fires BEFORE INSERT ON bobs FOR EACH ROW EXECUTE FUNCTION fires();
SELECT * FROM idempotent_execute('trigger', 'INSERT INTO bobs VALUES ($1) RETURNING a', '[1]');
-- So has one that is deferred to the commit.
CREATE CONSTRAINT TRIGGER fires_late AFTER INSERT ON bobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fires();
SELECT * FROM idempotent_execute('late trigger', 'INSERT INTO bobs VALUES ($1) RETURNING a', '[2]');
RESET ROLE;

-- EXECUTE can be taken away.
REVOKE EXECUTE ON FUNCTION idempotent_execute(text, text, jsonb, text, interval, interval, text) FROM PUBLIC;
SET ROLE regress_pgi_bob;
SELECT * FROM idempotent_execute('x', 'SELECT 1');
:state
RESET ROLE;
GRANT EXECUTE ON FUNCTION idempotent_execute(text, text, jsonb, text, interval, interval, text) TO PUBLIC;

-- A member of the owner's role sees and purges all; pg_read_all_data sees all.
SELECT count(*) AS everything, count(DISTINCT role) > 1 AS of_several FROM idempotent.request_records \gset
\echo :of_several
DO $$ BEGIN EXECUTE format('GRANT %s TO regress_pgi_admin', (SELECT relowner::regrole FROM pg_class WHERE oid = 'idempotent.request_records'::regclass)); END $$;
GRANT pg_read_all_data TO regress_pgi_owner;
SET ROLE regress_pgi_owner;
SELECT count(*) = :everything AS all_of_them FROM idempotent.request_records;
DELETE FROM idempotent.request_records;
SELECT idempotent_purge();
RESET ROLE;
UPDATE idempotent.request_records SET expires_at = clock_timestamp(), purge_after = started_at, lease_until = NULL, status = 'finished' WHERE role::regrole = 'regress_pgi_alice'::regrole;
SELECT count(*) AS alices FROM idempotent.request_records WHERE role::regrole = 'regress_pgi_alice'::regrole \gset
SET ROLE regress_pgi_admin;
SELECT idempotent_purge() = :alices AS purged_all;
RESET ROLE;

-- A role that has requests can be dropped; its requests are purged by the owner.
SET client_min_messages = warning;
DROP SCHEMA requests, regress_pgi_traps CASCADE;
DO $$ BEGIN EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END $$;
SET search_path = public;
DELETE FROM idempotent.request_records WHERE role::regrole <> 'regress_pgi_bob'::regrole;
SELECT count(*) > 0 AS some FROM idempotent.request_records WHERE role::regrole = 'regress_pgi_bob'::regrole;
DROP ROLE regress_pgi_bob;
SELECT count(*) > 0 AS some, bool_and(role::text ~ '^\(dropped \d+ of \d+\)$') AS nameless FROM idempotent.request_records;
UPDATE idempotent.request_records SET expires_at = clock_timestamp(), purge_after = started_at, lease_until = NULL, status = 'finished';
SELECT idempotent_purge() > 0 AS purged;
SELECT count(*) FROM idempotent.request_records;
DROP ROLE regress_pgi_alice, "regress_PGI ""quoted"" 'role'", regress_pgi_admin, regress_pgi_owner;
