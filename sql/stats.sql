-- Statistics: what became of rows, requests and runs, since the server has started.

-- What each counter is depends on the form: the views below name them.
CREATE FUNCTION idempotent.counted(
    OUT target oid, OUT form text,
    OUT n1 bigint, OUT n2 bigint, OUT n3 bigint, OUT n4 bigint,
    OUT n5 bigint, OUT n6 bigint, OUT n7 bigint, OUT n8 bigint,
    OUT since timestamptz
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'counted_wrapper';
COMMENT ON FUNCTION idempotent.counted() IS
    'the counters of this database, for the views idempotent.stats and idempotent.stats_database';

CREATE FUNCTION idempotent.counting(OUT collected boolean, OUT reason text, OUT uncounted bigint) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'counting_wrapper';
COMMENT ON FUNCTION idempotent.counting() IS
    'whether what the session does is counted, for the view idempotent.stats_database';

-- Counts tell no value of a row: everybody sees them, as in pg_stat_user_tables.
CREATE VIEW idempotent.stats AS
SELECT class.oid::regclass AS target,
       counted.form,
       counted.n1 AS inserted,
       counted.n2 AS updated,
       counted.n3 AS deleted,
       counted.n4 AS duplicates,
       counted.n5 AS superseded,
       counted.n6 AS conflicts,
       counted.n7 AS rejected,
       counted.n8 AS waits,
       counted.since
  FROM idempotent.counted() AS counted
  JOIN pg_catalog.pg_class AS class ON class.oid OPERATOR(pg_catalog.=) counted.target;
COMMENT ON VIEW idempotent.stats IS 'what became of the rows of each table, by the form in which they came';
COMMENT ON COLUMN idempotent.stats.target IS 'the table';
COMMENT ON COLUMN idempotent.stats.form IS
    'guard, observe, view, or the function without idempotent_: insert, insert_many, insert_each, insert_from, load, merge, merge_many, overwrite, overwrite_each, repair';
COMMENT ON COLUMN idempotent.stats.inserted IS 'rows that were inserted';
COMMENT ON COLUMN idempotent.stats.updated IS 'stored rows that were updated';
COMMENT ON COLUMN idempotent.stats.deleted IS 'stored rows that were deleted';
COMMENT ON COLUMN idempotent.stats.duplicates IS 'payloads that were stored already';
COMMENT ON COLUMN idempotent.stats.superseded IS 'payloads of merges that gave way to a later one';
COMMENT ON COLUMN idempotent.stats.conflicts IS 'payloads that differ from the stored row, also of transactions that were rolled back';
COMMENT ON COLUMN idempotent.stats.rejected IS 'payloads that the server refused while the others went in, likewise';
COMMENT ON COLUMN idempotent.stats.waits IS 'how often a session found a key in the hands of another one, likewise';
COMMENT ON COLUMN idempotent.stats.since IS 'since when this is counted: the first row, or the last reset';

CREATE VIEW idempotent.stats_database AS
WITH counted AS MATERIALIZED (SELECT * FROM idempotent.counted())
SELECT counting.collected,
       counting.reason,
       COALESCE(requests.n1, 0) AS requests_started,
       COALESCE(requests.n2, 0) AS requests_resumed,
       COALESCE(requests.n3, 0) AS requests_replayed,
       COALESCE(requests.n4, 0) AS requests_finished,
       COALESCE(requests.n5, 0) AS requests_abandoned,
       COALESCE(requests.n6, 0) AS requests_in_progress,
       COALESCE(requests.n7, 0) AS requests_mismatched,
       COALESCE(requests.n8, 0) AS requests_waits,
       COALESCE(runs.n1, 0) AS runs_started,
       COALESCE(runs.n2, 0) AS runs_taken_over,
       COALESCE(runs.n3, 0) AS runs_skipped,
       COALESCE(runs.n4, 0) AS runs_published,
       COALESCE(runs.n5, 0) AS runs_failed,
       COALESCE(runs.n6, 0) AS runs_in_progress,
       COALESCE(runs.n8, 0) AS runs_waits,
       LEAST(requests.since, runs.since) AS since,
       counting.uncounted
  FROM idempotent.counting() AS counting
  LEFT JOIN counted AS requests ON requests.form OPERATOR(pg_catalog.=) 'requests'
  LEFT JOIN counted AS runs ON runs.form OPERATOR(pg_catalog.=) 'runs';
COMMENT ON VIEW idempotent.stats_database IS 'what became of the requests and runs of this database, and whether statistics are collected';
COMMENT ON COLUMN idempotent.stats_database.collected IS 'whether what this session does is counted';
COMMENT ON COLUMN idempotent.stats_database.reason IS 'why it is not';
COMMENT ON COLUMN idempotent.stats_database.requests_started IS 'attempts that began';
COMMENT ON COLUMN idempotent.stats_database.requests_resumed IS 'attempts that took a request over whose lease ran out';
COMMENT ON COLUMN idempotent.stats_database.requests_replayed IS 'calls that got the answer of an earlier one';
COMMENT ON COLUMN idempotent.stats_database.requests_finished IS 'attempts that stored their answer';
COMMENT ON COLUMN idempotent.stats_database.requests_abandoned IS 'attempts that were given up';
COMMENT ON COLUMN idempotent.stats_database.requests_in_progress IS 'calls that failed with 55I01';
COMMENT ON COLUMN idempotent.stats_database.requests_mismatched IS 'calls that failed with 23I02';
COMMENT ON COLUMN idempotent.stats_database.requests_waits IS 'how often a call waited for another one with its key';
COMMENT ON COLUMN idempotent.stats_database.runs_started IS 'runs that began';
COMMENT ON COLUMN idempotent.stats_database.runs_taken_over IS 'those of them that took over a run whose lease ran out';
COMMENT ON COLUMN idempotent.stats_database.runs_skipped IS 'runs that were not needed';
COMMENT ON COLUMN idempotent.stats_database.runs_published IS 'runs that were published';
COMMENT ON COLUMN idempotent.stats_database.runs_failed IS 'runs that were ended by idempotent_run_fail';
COMMENT ON COLUMN idempotent.stats_database.runs_in_progress IS 'calls that failed with 55I01';
COMMENT ON COLUMN idempotent.stats_database.runs_waits IS 'how often a call waited for another one''s work on the partition';
COMMENT ON COLUMN idempotent.stats_database.since IS 'since when requests and runs are counted';
COMMENT ON COLUMN idempotent.stats_database.uncounted IS
    'what was not counted in any database, because there was no room for more tables';

CREATE FUNCTION idempotent_stats_reset(target regclass DEFAULT NULL) RETURNS timestamptz
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_stats_reset_wrapper';
COMMENT ON FUNCTION idempotent_stats_reset(regclass) IS
    'sets the statistics of a table, or of all tables, requests and runs of the database, to 0';
REVOKE ALL ON FUNCTION idempotent_stats_reset(regclass) FROM PUBLIC;
