-- How many locks the calls hold, and of which kind, as pg_locks shows them.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE SCHEMA locks;
SET search_path = locks, public;
CREATE TABLE sales (day date, shop text, n int);
CREATE TABLE arriving (LIKE sales);
INSERT INTO sales VALUES ('2020-01-01', 'a', 1), ('2020-01-01', 'b', 2);
CREATE VIEW first_day AS SELECT '2020-01-01'::date AS day, 7 AS n;

-- One for a slice, however often it is replaced; savepoints make no difference.
BEGIN;
SELECT * FROM idempotent_overwrite('sales', 'first_day', '{"day": "2020-01-01"}');
SAVEPOINT s;
DELETE FROM sales WHERE day = '2020-01-01';
SELECT * FROM idempotent_overwrite('sales', 'first_day', '{"day": "2020-01-01"}');
ROLLBACK TO s;
SELECT * FROM idempotent_overwrite('sales', 'first_day', '{"day": "2020-01-01"}');
SELECT mode, objsubid, count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid = 33 GROUP BY 1, 2;
ROLLBACK;
TRUNCATE sales;

-- Slices that are ranges.
CREATE FUNCTION locks(slice jsonb) RETURNS TABLE (mode text, kind int, locks bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM idempotent_overwrite('sales', 'arriving', slice);
    RETURN QUERY SELECT l.mode, l.objsubid::int, count(*) FROM pg_locks l WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND l.objsubid > 32 GROUP BY 1, 2 ORDER BY 2, 1;
END $$;
SELECT * FROM locks('{"day": "2026-01-01"}');
SELECT * FROM locks('{"day": null}');
SELECT * FROM locks('{"day": {"from": "2026-01-01", "to": "2026-02-01"}}');
SELECT * FROM locks('{"day": {"to": "-infinity"}}');
SELECT * FROM locks('{"shop": {"from": "a"}}');
SELECT * FROM locks('{"day": {"from": "2026-01-01"}, "n": {"from": 1}}');
SELECT * FROM locks('{}');
-- Likewise where days are timestamps. What the calls of a statement hold adds up.
CREATE TABLE moments (at timestamptz, v int);
CREATE TABLE arriving_moments (LIKE moments);
CREATE FUNCTION moment_locks(slice jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM idempotent_overwrite('moments', 'arriving_moments', slice);
    RETURN (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objsubid = 36);
END $$;
SET timezone = 'UTC';
SELECT at, moment_locks(jsonb_build_object('at', at))
  FROM unnest('{2026-01-01, 2026-01-01 10:00, 2026-01-01 10:10, 2026-01-01 10:10:10, 2026-01-01 10:10:10.1, -infinity, infinity, 4714-11-24 BC}'::timestamptz[]) AS at;
SELECT moment_locks('{"at": {"from": "2026-01-01", "to": "2026-02-01"}}'), moment_locks('{"at": {"from": "2026-01-01 00:00:00.1", "to": "2026-02-01 00:00:00.1"}}'),
       moment_locks('{"at": {"from": "-infinity"}}'), moment_locks('{"at": {"to": "infinity"}}'), moment_locks('{"at": {"from": "infinity"}}');

-- Runs: one for a partition, also after a rollback to a savepoint.
SELECT run_id AS first FROM idempotent_run_begin('one', 'p', 'v1') \gset
SELECT idempotent_run_publish(:first);
BEGIN;
SELECT run_id AS second, decision FROM idempotent_run_begin('one', 'p', 'v2') \gset
SAVEPOINT s;
SELECT idempotent_run_publish(:second);
ROLLBACK TO s;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 31;
COMMIT;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';

DROP SCHEMA locks CASCADE;
DELETE FROM idempotent.pipeline_run_records;
