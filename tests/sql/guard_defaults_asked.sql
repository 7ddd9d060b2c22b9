-- How often a guard asks for a stable default: once a statement, and only where it may decide. (docs/guard.md, The compared columns)
\set VERBOSITY terse
\set SHOW_CONTEXT never
\set QUIET off
SET client_min_messages = warning;
CREATE SCHEMA guard_defaults_asked;
SET search_path = guard_defaults_asked, public;
CREATE FUNCTION here() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'here() is called'; RETURN coalesce(current_setting('app.here', true), 'nowhere'); END $$;
CREATE TABLE events (id int PRIMARY KEY, v int, place text DEFAULT here());
SELECT compared FROM idempotent_guard('events');
INSERT INTO events (id, v, place) VALUES (1, 1, 'nowhere'), (2, 1, 'nowhere');
SET client_min_messages = notice;
-- Three rows have it from the INSERT; then it is asked once.
SET app.here = 'elsewhere';
INSERT INTO events (id, v) VALUES (1, 1), (1, 1), (1, 1);
RESET app.here;
-- The values agree: it need not be asked.
INSERT INTO events (id, v, place) VALUES (1, 1, 'nowhere'), (2, 1, 'nowhere');
-- Another value: it is asked once for both rows.
SET app.here = 'elsewhere';
INSERT INTO events (id, v, place) VALUES (1, 1, 'elsewhere'), (2, 1, 'elsewhere');
RESET app.here;
SELECT * FROM events ORDER BY id;
SET client_min_messages = warning;
DROP SCHEMA guard_defaults_asked CASCADE;
