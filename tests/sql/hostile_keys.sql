-- Expressions and conditions of keys are evaluated with the rights of the caller, who gets none of the owner's: neither by
-- arguments of functions that the caller may not call, nor by names that lead elsewhere. A caller who has the owner's rights
-- anyway gives away none of their own.
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE ROLE regress_owner;
CREATE ROLE regress_caller;
CREATE SCHEMA owners AUTHORIZATION regress_owner;
CREATE SCHEMA callers AUTHORIZATION regress_caller;
GRANT USAGE ON SCHEMA owners TO regress_caller;

SET ROLE regress_owner;
CREATE TABLE owners.secrets (s text);
CREATE FUNCTION owners.evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RAISE WARNING 'the owner''s function runs as a superuser';
    END IF;
    RAISE NOTICE 'runs as %, with search_path %', current_user, current_setting('search_path');
    RETURN $1;
END $$;
CREATE TABLE owners.expression (v int, w int);
CREATE UNIQUE INDEX expression_key ON owners.expression (owners.evil(v)) WHERE owners.evil(v) > 0;
CREATE TABLE owners.inlined (v int, w int);
CREATE FUNCTION owners.inlined(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT owners.evil($1 + 0)';
SET client_min_messages = warning;
CREATE UNIQUE INDEX inlined_key ON owners.inlined ((owners.inlined(1) + v));
INSERT INTO owners.expression VALUES (1, 1);
INSERT INTO owners.inlined VALUES (1, 1);
RESET client_min_messages;
GRANT ALL ON ALL TABLES IN SCHEMA owners TO regress_caller;
REVOKE ALL ON owners.secrets FROM regress_caller;
RESET ROLE;

-- A superuser verifies duplicates.
SELECT outcome FROM idempotent_insert('owners.expression', '{"v": 1, "w": 1}', key => '{owners.evil(v)}');
SELECT outcome FROM idempotent_insert('owners.inlined', '{"v": 1, "w": 1}');
SELECT key, problem FROM idempotent_guard('owners.expression', key => '{owners.evil(v)}');
SELECT key, problem FROM idempotent.guards;
SELECT rule FROM idempotent_lint('owners.expression');
-- The guard of a row that is skipped. (Of one that goes in, the server itself runs what the owner wrote, as whoever inserts.)
INSERT INTO owners.expression VALUES (1, 1);
SELECT idempotent_unguard('owners.expression');
CREATE VIEW callers.stored AS SELECT * FROM owners.expression;
CREATE VIEW callers.none AS SELECT * FROM owners.expression WHERE false;
SELECT * FROM idempotent_insert_from('owners.expression', 'callers.stored', key => '{owners.evil(v)}');
SELECT * FROM idempotent_merge('owners.expression', 'callers.stored', key => '{owners.evil(v)}');
SELECT * FROM idempotent_reconcile('owners.expression', 'callers.stored', key => '{owners.evil(v)}');
SELECT * FROM idempotent_insert_from('owners.expression', 'callers.none', key => '{owners.evil(v)}');

-- What runs with the owner's rights does not get back to those of whoever verifies.
SET ROLE regress_owner;
CREATE FUNCTION owners.escapes(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM set_config('role', 'none', false); RETURN $1; END $$;
CREATE TABLE owners.escapes (v int, w int);
CREATE UNIQUE INDEX escapes_key ON owners.escapes (owners.escapes(v));
RESET ROLE;
SELECT outcome FROM idempotent_insert('owners.escapes', '{"v": 1, "w": 1}', key => '{owners.escapes(v)}');

-- A caller's function of a name that the owner's does not qualify.
SET ROLE regress_owner;
CREATE FUNCTION owners.helper(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
SET search_path = owners;
CREATE FUNCTION owners.careless(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN helper($1); END $$;
CREATE TABLE owners.careless (v int, w int);
CREATE UNIQUE INDEX careless_key ON owners.careless (careless(v));
INSERT INTO owners.careless VALUES (1, 1);
GRANT ALL ON owners.careless TO regress_caller;
RESET search_path;
SET ROLE regress_caller;
CREATE FUNCTION callers.helper(int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    RAISE WARNING 'the caller''s function runs as %', current_user;
    INSERT INTO owners.secrets VALUES ('taken');
    RETURN $1;
END $$;
SET search_path = callers, public;
SELECT outcome FROM idempotent_insert('owners.careless', '{"v": 1, "w": 1}', key => '{owners.careless(v)}');
CREATE FUNCTION pg_temp.helper(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'taken by %', current_user; RETURN $1; END $$;
SELECT outcome FROM idempotent_insert('owners.careless', '{"v": 1, "w": 1}', key => '{owners.careless(v)}');
DROP FUNCTION pg_temp.helper;
RESET search_path;

-- An expression changes no setting of the caller's, and may do what the owner may, no more.
SET ROLE regress_owner;
CREATE FUNCTION owners.sets(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM set_config('work_mem', '77MB', false); RETURN $1; END $$;
CREATE TABLE owners.sets (v int, w int);
CREATE UNIQUE INDEX sets_key ON owners.sets (owners.sets(v));
GRANT ALL ON owners.sets TO regress_caller;
CREATE FUNCTION owners.private(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1; END $$;
REVOKE ALL ON FUNCTION owners.private FROM PUBLIC;
CREATE TABLE owners.private (v int, w int, gone boolean);
CREATE UNIQUE INDEX private_key ON owners.private (owners.private(v)) WHERE NOT gone;
INSERT INTO owners.private VALUES (1, 1, false);
GRANT INSERT, SELECT (v, w) ON owners.private TO regress_caller;
SET ROLE regress_caller;
SHOW work_mem;
SELECT outcome FROM idempotent_insert('owners.sets', '{"v": null, "w": 1}', key => '{owners.sets(v)}');
SHOW work_mem;
-- Columns that decide are read, as in ON CONFLICT.
SELECT outcome FROM idempotent_insert('owners.private', '{"v": 1, "w": 1, "gone": false}', key => '{owners.private(v)}');
RESET ROLE;
GRANT SELECT (gone) ON owners.private TO regress_caller;
SET ROLE regress_caller;
SELECT outcome FROM idempotent_insert('owners.private', '{"v": 1, "w": 1, "gone": false}', key => '{owners.private(v)}');
SELECT outcome FROM idempotent_insert('owners.private', '{"v": 1, "w": 2, "gone": false}', key => '{owners.private(v)}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('owners.private', '{"v": 2, "w": 1, "gone": false}', key => '{owners.private(v)}');
RESET ROLE;
TABLE owners.secrets;

-- The owner's function takes an argument that the caller chose, and reads a table that the caller may not read: EXECUTE is checked.
SET ROLE regress_owner;
CREATE TABLE owners.persons (login text, number text);
INSERT INTO owners.persons VALUES ('ann', '123-45-6789');
CREATE FUNCTION owners.person(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN (SELECT number FROM owners.persons WHERE login = $1); END $$;
CREATE TABLE owners.logins (login text, w int);
CREATE UNIQUE INDEX logins_key ON owners.logins (owners.person(login));
GRANT SELECT, INSERT ON owners.logins TO regress_caller;
SET ROLE regress_caller;
CREATE TABLE callers.guesses AS SELECT 'ann' AS login, 1 AS w;
SELECT status, key FROM idempotent_reconcile('owners.logins', 'callers.guesses', key => '{owners.person(login)}');
RESET ROLE;
REVOKE ALL ON FUNCTION owners.person FROM PUBLIC;
SET ROLE regress_caller;
SELECT status, key FROM idempotent_reconcile('owners.logins', 'callers.guesses', key => '{owners.person(login)}');
SELECT outcome FROM idempotent_insert('owners.logins', '{"login": "ann", "w": 1}', key => '{owners.person(login)}');
SELECT * FROM idempotent_merge('owners.logins', 'callers.guesses', key => '{owners.person(login)}');
-- It reads a table of whatever schema is first: the caller's runs as the caller.
SET ROLE regress_owner;
CREATE TABLE owners.names (from_x text, to_x text);
CREATE FUNCTION owners.renamed(text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = owners AS $$ BEGIN RETURN coalesce((SELECT to_x FROM names WHERE from_x = $1), $1); END $$;
CREATE TABLE owners.renames (x text, w int);
CREATE UNIQUE INDEX renames_key ON owners.renames (owners.renamed(x));
GRANT SELECT, INSERT ON owners.renames TO regress_caller;
RESET ROLE;
SELECT FROM idempotent_guard('owners.renames', key => '{owners.renamed(x)}');
SET ROLE regress_caller;
CREATE FUNCTION pg_temp.taken() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'runs as %', current_user; RETURN 'a'; END $$;
CREATE TEMP VIEW names AS SELECT 'a'::text AS from_x, pg_temp.taken() AS to_x;
GRANT SELECT ON names TO PUBLIC;
INSERT INTO owners.renames VALUES ('a', 1);
SELECT outcome FROM idempotent_insert('owners.renames', '{"x": "a", "w": 1}');
DROP VIEW names;
DROP FUNCTION pg_temp.taken;
RESET ROLE;

-- Row-level security: a stored row that is hidden is told of no one.
SET ROLE regress_owner;
CREATE TABLE owners.hidden (email text, who text, gone boolean, w int);
CREATE UNIQUE INDEX hidden_key ON owners.hidden (lower(email)) WHERE NOT gone;
INSERT INTO owners.hidden VALUES ('A@x', 'regress_owner', false, 1), ('b@x', 'regress_caller', false, 1), ('b@x', 'regress_caller', true, 1), ('a@x', 'regress_caller', true, 1);
ALTER TABLE owners.hidden ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON owners.hidden USING (who = current_user);
GRANT SELECT (email, who, gone, w), INSERT ON owners.hidden TO regress_caller;
SET ROLE regress_caller;
SELECT outcome FROM idempotent_insert('owners.hidden', '{"email": "a@x", "who": "regress_caller", "gone": false, "w": 1}', key => '{lower(email)}');
SELECT outcome FROM idempotent_insert('owners.hidden', '{"email": "b@x", "who": "regress_caller", "gone": false, "w": 1}', key => '{lower(email)}');
RESET ROLE;
GRANT SELECT ON owners.hidden TO regress_caller;
SET ROLE regress_caller;
SELECT outcome FROM idempotent_insert('owners.hidden', '{"email": "a@x", "who": "regress_caller", "gone": false, "w": 1}', key => '{lower(email)}');
SELECT outcome FROM idempotent_insert('owners.hidden', '{"email": "b@x", "who": "regress_caller", "gone": false, "w": 1}', key => '{lower(email)}');
SELECT outcome FROM idempotent_insert('owners.hidden', '{"email": "a@x", "who": "regress_caller", "gone": true, "w": 1}', key => '{lower(email)}');
RESET ROLE;
-- A conflict is resolved by whoever sees the row under its key.
GRANT UPDATE ON owners.hidden TO regress_caller;
SELECT conflicts FROM idempotent_insert_many('owners.hidden', '[{"email": "a@x", "who": "regress_owner", "gone": false, "w": 5},
    {"email": "B@x", "who": "regress_caller", "gone": false, "w": 6}]', key => '{lower(email)}', compare => '{w}', on_conflict => 'quarantine');
SET ROLE regress_caller;
SELECT idempotent_resolve((SELECT min(id) FROM idempotent.conflicts WHERE target = 'owners.hidden'::regclass), 'apply_payload');
SELECT idempotent_resolve((SELECT max(id) FROM idempotent.conflicts WHERE target = 'owners.hidden'::regclass), 'apply_payload');
RESET ROLE;
SELECT email, w FROM owners.hidden WHERE NOT gone ORDER BY 1;

-- Whether the owner of a view sees the stored row is asked by an expression of the key: no function that is nearer on the client's
-- search_path is given values that only the owner may read.
CREATE ROLE regress_box;
GRANT USAGE ON SCHEMA owners TO regress_box;
SET ROLE regress_owner;
CREATE TABLE owners.tagged (tags text[], who text, w int);
CREATE UNIQUE INDEX tagged_key ON owners.tagged (array_length(tags, 1));
INSERT INTO owners.tagged VALUES ('{secret, word}', 'x', 1), ('{other}', 'x', 1);
ALTER TABLE owners.tagged ENABLE ROW LEVEL SECURITY;
CREATE POLICY box ON owners.tagged TO regress_box USING (true);
GRANT SELECT (tags), INSERT ON owners.tagged TO regress_box;
RESET ROLE;
SELECT FROM idempotent_guard('owners.tagged', key => '{"array_length(tags, 1)"}');
CREATE VIEW owners.box AS SELECT tags, who, w FROM owners.tagged;
ALTER VIEW owners.box OWNER TO regress_box;
GRANT INSERT ON owners.box TO regress_caller;
SET ROLE regress_caller;
CREATE FUNCTION callers.array_length(text[], int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'taken: %', $1; RETURN 2; END $$;
SET search_path = callers, pg_catalog;
INSERT INTO owners.box VALUES ('{a, b}', 'x', 1);
RESET search_path;
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA owners, callers CASCADE;
DROP ROLE regress_owner, regress_caller, regress_box;
