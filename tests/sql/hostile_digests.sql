-- A digest of values that are equal and stored in several ways: a type that has a hash has one digest for them. One that has none,
-- a bytea column does not remember, at whatever depth it is.
SELECT (SELECT count(*) FROM pg_available_extensions WHERE name IN ('cube', 'seg', 'citext', 'hstore', 'ltree', 'isn')) < 6 AS lacks \gset
\if :lacks
\echo SKIPPED: this server lacks an extension of contrib
\quit
\endif
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA digests;
SET search_path = digests, public;
SET client_min_messages = warning;
CREATE EXTENSION cube;
CREATE EXTENSION seg;
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE EXTENSION ltree;
CREATE EXTENSION isn;
RESET client_min_messages;
SELECT '(1,2),(3,4)'::cube = '(3,4),(1,2)'::cube AS equal;

CREATE TABLE t (id int PRIMARY KEY, v cube, seen bytea, doc jsonb);
SELECT key FROM idempotent_guard('t', remember => 'seen', ignore => '{doc}');
SELECT remember FROM idempotent_guard('t', remember => 'doc', ignore => '{seen}');
INSERT INTO t VALUES (1, '(1,2),(3,4)');
INSERT INTO t VALUES (1, '(3,4),(1,2)');
INSERT INTO t VALUES (1, '(3,4),(1,3)');
-- The column that is not compared is not remembered, either.
SELECT remember FROM idempotent_guard('t', remember => 'seen', ignore => '{v,doc}');

\set VERBOSITY terse
CREATE DOMAIN segs AS seg[];
CREATE TYPE nested AS (a int, s segs);
CREATE TYPE cubes AS RANGE (subtype = cube);
CREATE TABLE d (id int PRIMARY KEY, v nested, seen bytea);
CREATE TABLE r (id int PRIMARY KEY, v cubes[], seen bytea);
-- Without an equality values are compared as they are shown.
CREATE TYPE shown AS (c cube, p point);
CREATE TABLE s (id int PRIMARY KEY, v shown, seen bytea);
SELECT key FROM idempotent_guard('d', remember => 'seen');
SELECT key FROM idempotent_guard('r', remember => 'seen');
SELECT key FROM idempotent_guard('s', remember => 'seen');

-- Slices of equal values have the same locks, however they are written; those of other columns tell slices apart.
CREATE TABLE boxes (c cube, n int, v int);
CREATE VIEW no_boxes AS SELECT * FROM boxes WHERE false;
CREATE FUNCTION locks_of(slice jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM idempotent_overwrite('boxes', 'no_boxes', slice);
    RETURN (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid());
END $$;
BEGIN;
SELECT locks_of('{"c": "(1,2),(3,4)"}') = locks_of('{"c": "(3,4),(1,2)"}') AS same;
ROLLBACK;
BEGIN;
SELECT locks_of('{"c": "(1,2),(3,4)", "n": 1}') = locks_of('{"c": "(3,4),(1,2)", "n": 1}') AS same;
SELECT locks_of('{"c": "(3,4),(1,2)", "n": 1}') < locks_of('{"c": "(3,4),(1,2)", "n": 2}') AS others;
ROLLBACK;
BEGIN;
SELECT locks_of('{"c": "(1,2),(3,4)", "n": {"from": 1, "to": 2}}') = locks_of('{"c": "(3,4),(1,2)", "n": {"from": 1, "to": 2}}') AS same;
ROLLBACK;

-- A conflict is recorded once, however its key is written. What differs in such a type is recorded in each way of writing it.
CREATE TABLE places (c cube PRIMARY KEY, v int, other cube);
INSERT INTO places VALUES ('(1,2),(3,4)', 1, '(0,0)');
CREATE FUNCTION recorded(payload jsonb) RETURNS TABLE (outcome text, records bigint) LANGUAGE plpgsql AS $$
BEGIN
    SELECT i.outcome INTO recorded.outcome FROM idempotent_insert('places', payload, on_conflict => 'quarantine') AS i;
    RETURN QUERY SELECT recorded.outcome, count(*) FROM idempotent.conflicts WHERE target = 'places'::regclass;
END $$;
SELECT * FROM recorded('{"c": "(1,2),(3,4)", "v": 2}');
SELECT * FROM recorded('{"c": "(3,4),(1,2)", "v": 2}');
SELECT * FROM recorded('{"c": "(3,4),(1,2)", "v": 3}');
SELECT * FROM recorded('{"c": "(1,2),(3,4)", "v": 3}');
SELECT * FROM recorded('{"c": "(1,2),(3,4)", "other": "(1,2),(3,4)"}');
SELECT * FROM recorded('{"c": "(1,2),(3,4)", "other": "(3,4),(1,2)"}');
SELECT * FROM recorded('{"c": "(3,4),(1,2)", "other": "(1,2),(3,4)"}');
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts WHERE target = 'places'::regclass ORDER BY id DESC LIMIT 1;
SELECT * FROM places;
DELETE FROM idempotent.conflict_records;

SET client_min_messages = warning;
DROP SCHEMA digests CASCADE;
