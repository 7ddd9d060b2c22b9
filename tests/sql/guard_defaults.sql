-- Columns with a stable default are compared unless they were left out: the value that arrives is not what the default
-- gives in this statement. (docs/guard.md, The compared columns)
\set VERBOSITY terse
\set SHOW_CONTEXT never
-- Command tags say how many rows went in.
\set QUIET off
SET client_min_messages = warning;
CREATE SCHEMA guard_defaults;
SET search_path = guard_defaults, public;
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'

CREATE FUNCTION here() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'here() is called'; RETURN coalesce(current_setting('app.here', true), 'nowhere'); END $$;
CREATE TABLE events (
    id int PRIMARY KEY, v int,
    occurred_at timestamptz DEFAULT now(),
    day date DEFAULT CURRENT_DATE,
    stamped timestamptz DEFAULT statement_timestamp(),
    ticked timestamptz DEFAULT clock_timestamp(),
    who text DEFAULT current_user,
    site text DEFAULT current_setting('app.site'),
    place text DEFAULT here(),
    random float8 DEFAULT random());
SELECT compared FROM idempotent_guard('events');
SET app.site = 'a';

-- Left out by both: duplicates, whatever time it is. The default is asked only where it may decide.
SET client_min_messages = notice;
INSERT INTO events (id, v) VALUES (1, 1);
SELECT pg_sleep(0.01);
INSERT INTO events (id, v) VALUES (1, 1), (1, 1), (1, 1);
SET client_min_messages = warning;
INSERT INTO events (id, v, occurred_at, ticked, random) SELECT 1, 1, occurred_at, now(), 2 FROM events WHERE id = 1;
INSERT INTO events (id, v, occurred_at) VALUES (1, 1, DEFAULT), (1, 1, now()), (1, 1, CURRENT_TIMESTAMP);

-- Another value under the same key was sent by somebody, and is not dropped in silence.
INSERT INTO events (id, v, occurred_at) VALUES (1, 1, '2020-01-01Z');
:state
INSERT INTO events (id, v, occurred_at) VALUES (1, 1, NULL);
:state
INSERT INTO events (id, v, day) VALUES (1, 1, '2020-01-01');
:state
INSERT INTO events (id, v, stamped) VALUES (1, 1, '2020-01-01Z');
:state
INSERT INTO events (id, v, who) VALUES (1, 1, 'mallory');
:state
INSERT INTO events (id, v, site) VALUES (1, 1, 'b');
:state
INSERT INTO events (id, v, place) VALUES (1, 1, 'b');
:state
COPY events (id, v, occurred_at) FROM stdin;
1	1	2020-01-01
\.
:state
COPY events (id, v) FROM stdin;
1	1
1	1
\.

-- Another user, another setting: those who leave the columns out send duplicates; who names what is stored does, too.
CREATE ROLE regress_defaults;
GRANT USAGE ON SCHEMA guard_defaults TO regress_defaults;
GRANT SELECT, INSERT ON events TO regress_defaults;
SET ROLE regress_defaults;
SET app.site = 'b';
INSERT INTO events (id, v) VALUES (1, 1);
INSERT INTO events (id, v, site) VALUES (1, 1, 'a');
INSERT INTO events (id, v, site) VALUES (1, 1, 'c');
:state
-- A default that this caller cannot have was not what filled the column.
SET app.site = 'c';
RESET app.site;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION here() FROM PUBLIC;
SET ROLE regress_defaults;
SET app.site = 'a';
INSERT INTO events (id, v, place) VALUES (1, 1, 'nowhere');
INSERT INTO events (id, v, place) VALUES (1, 1, 'b');
:state
INSERT INTO events (id, v) VALUES (1, 1);
:state
RESET ROLE;

-- A setting that is not set: the INSERT that names the column does not ask for it.
CREATE TABLE sites (id int PRIMARY KEY, site text DEFAULT current_setting('app.never_set'));
SELECT compared FROM idempotent_guard('sites');
INSERT INTO sites VALUES (1, 'a');
INSERT INTO sites VALUES (1, 'a');
INSERT INTO sites VALUES (1, 'b');
:state
BEGIN;
SAVEPOINT s;
INSERT INTO sites VALUES (2, 'a'), (1, 'a'), (2, 'a');
INSERT INTO sites VALUES (1, 'c');
:state
ROLLBACK TO s;
INSERT INTO sites VALUES (2, 'b'), (2, 'b');
COMMIT;
TABLE sites;

-- compare: named columns are always compared. ignore: never.
SELECT compared FROM idempotent_guard('events', compare => '{occurred_at}');
INSERT INTO events (id, v) VALUES (1, 9);
:state
SELECT compared FROM idempotent_guard('events', ignore => '{occurred_at, day, stamped, who, site}');
INSERT INTO events (id, v, occurred_at) VALUES (1, 1, '2020-01-01Z');
INSERT INTO events (id, v, occurred_at) VALUES (1, 2, '2020-01-01Z');
:state

-- The functions know what a payload names.
SELECT compared FROM idempotent_guard('events');
SELECT outcome FROM idempotent_insert('events', '{"id": 1, "v": 1}');
SELECT outcome, differences -> 'occurred_at' -> 'payload' AS payload FROM idempotent_insert('events', '{"id": 1, "v": 1, "occurred_at": "2020-01-01Z"}', on_conflict => 'report');

-- A BEFORE trigger fills the column with what the default would.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.occurred_at := now(); RETURN NEW; END $$;
CREATE TRIGGER a_touch BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO events (id, v, occurred_at) VALUES (1, 1, '2020-01-01Z');
DROP TRIGGER a_touch ON events;

-- remember, as a document and as a digest.
CREATE TABLE remembering (id int PRIMARY KEY, v int, occurred_at timestamptz DEFAULT now(), who text DEFAULT current_user, place text DEFAULT coalesce(current_setting('app.here', true), 'nowhere'), doc jsonb, digest bytea);
\set remember doc
SELECT compared FROM idempotent_guard('remembering', ignore => '{digest}', remember => :'remember');
INSERT INTO remembering (id, v) VALUES (1, 1);
INSERT INTO remembering (id, v, occurred_at, who) VALUES (2, 1, '2020-01-01Z', 'ann');
SELECT id, doc ? 'occurred_at' AS at, doc -> 'v' AS v FROM remembering ORDER BY 1;
UPDATE remembering SET v = 9, occurred_at = '2030-01-01Z', who = 'x', place = 'y';
SELECT pg_sleep(0.01);
INSERT INTO remembering (id, v) VALUES (1, 1), (2, 1);
INSERT INTO remembering (id, v, occurred_at, who) VALUES (2, 1, '2020-01-01 01:00+01', 'ann');
INSERT INTO remembering (id, v, occurred_at, who) VALUES (2, 1, '2020-01-01Z', 'bob');
:state
INSERT INTO remembering (id, v) VALUES (1, 2);
:state
INSERT INTO remembering (id, v, who) VALUES (1, 1, 'bob');
:state
SELECT outcome FROM idempotent_insert_each('remembering', '[{"id": 1, "v": 1}, {"id": 2, "v": 1}, {"id": 2, "v": 1, "who": "ann"}, {"id": 2, "v": 1, "who": "bob"}]', on_conflict => 'report');
DELETE FROM remembering;
\set remember digest
SELECT compared FROM idempotent_guard('remembering', ignore => '{doc}', remember => :'remember');
INSERT INTO remembering (id, v) VALUES (1, 1);
INSERT INTO remembering (id, v, occurred_at, who) VALUES (2, 1, '2020-01-01Z', 'ann');
SELECT id, length(digest) FROM remembering ORDER BY 1;
SELECT pg_sleep(0.01);
-- As sent, with more of it, and with less.
INSERT INTO remembering (id, v) VALUES (1, 1);
INSERT INTO remembering (id, v, who) SELECT 1, 1, who FROM remembering WHERE id = 1;
INSERT INTO remembering (id, v, occurred_at, who) SELECT id, v, occurred_at, who FROM remembering;
INSERT INTO remembering (id, v, who) VALUES (2, 1, 'ann');
INSERT INTO remembering (id, v) VALUES (2, 1);
INSERT INTO remembering (id, v, who) VALUES (2, 1, 'bob');
:state
INSERT INTO remembering (id, v, occurred_at) VALUES (1, 1, '2020-01-01Z');
:state
INSERT INTO remembering (id, v, occurred_at) VALUES (1, 1, NULL);
:state
UPDATE remembering SET v = 9, place = 'y' WHERE id = 1;
UPDATE remembering SET v = 9 WHERE id = 2;
INSERT INTO remembering (id, v) VALUES (1, 1), (2, 1);
INSERT INTO remembering (id, v) VALUES (1, 9);
:state
SELECT outcome FROM idempotent_insert_each('remembering', '[{"id": 1, "v": 1}, {"id": 2, "v": 1}, {"id": 2, "v": 1, "who": "ann"}, {"id": 2, "v": 1, "who": "bob"}, {"id": 1, "v": 9}]', on_conflict => 'report');

-- Partitions: the default of the table that the row was sent to counts.
CREATE TABLE parted (id int, v int, site text DEFAULT 'root ' || current_setting('app.site'), PRIMARY KEY (id)) PARTITION BY LIST (id);
CREATE TABLE parted_1 (v int, site text DEFAULT 'leaf ' || current_setting('app.site'), id int PRIMARY KEY);
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1, 2);
SELECT compared FROM idempotent_guard('parted');
INSERT INTO parted (id, v) VALUES (1, 1);
INSERT INTO parted_1 (id, v) VALUES (2, 1);
SET app.site = 'later';
INSERT INTO parted (id, v) VALUES (1, 1), (1, 1);
INSERT INTO parted_1 (id, v) VALUES (2, 1), (2, 1);
INSERT INTO parted (id, v, site) VALUES (1, 1, 'root a');
INSERT INTO parted (id, v, site) VALUES (1, 1, 'other');
:state
INSERT INTO parted_1 (id, v, site) VALUES (2, 1, 'other');
:state

-- A default that takes part in nothing: the rules hold where a type has several texts for a value.
CREATE DOMAIN stamp AS timestamptz(0) DEFAULT now();
CREATE TABLE typed (id int PRIMARY KEY, at stamp, name varchar(4) DEFAULT current_user);
SELECT compared FROM idempotent_guard('typed');
INSERT INTO typed (id, name) VALUES (1, 'me');
INSERT INTO typed (id, name) VALUES (1, 'me');
INSERT INTO typed (id, name, at) VALUES (1, 'me', '2020-01-01Z');
:state

RESET search_path;
SET client_min_messages = error;
DROP SCHEMA guard_defaults CASCADE;
DROP ROLE regress_defaults;
