-- Runs: a partition is made once for its input; one run at a time; the history stays.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA runs;
SET search_path = runs, public;
ALTER SEQUENCE idempotent.pipeline_run_records_run_id_seq RESTART;
-- The history, without what changes from run to run.
CREATE VIEW history AS
SELECT run_id, dataset, partition AS part, attempt, status, reason, input_version AS input, output_version AS output,
       row_count AS rows, error, lease_until IS NOT NULL AS leased, completed_at IS NOT NULL AS completed
FROM idempotent.pipeline_run_records ORDER BY run_id;
-- A lease that has run out, without waiting for the clock.
CREATE FUNCTION lapse(run bigint) RETURNS void LANGUAGE sql AS
$$ UPDATE idempotent.pipeline_run_records SET lease_until = clock_timestamp() - interval '1 s' WHERE run_id = run $$;
-- What an error says, without the time.
CREATE FUNCTION refused(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE det text; hin text;
BEGIN
    EXECUTE call;
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS det = PG_EXCEPTION_DETAIL, hin = PG_EXCEPTION_HINT;
    RETURN sqlstate || ' ' || sqlerrm || E'\n' || regexp_replace(det, 'until .*,', 'until T,') || E'\n' || hin;
END $$;

-- First run, published, skipped.
SELECT * FROM idempotent_run_begin('flights', '2013-01-01', 'v1');
SELECT refused($$SELECT idempotent_run_begin('flights', '2013-01-01', 'v1')$$);
SELECT refused($$SELECT idempotent_run_begin('flights', '2013-01-01', 'v2', force => true)$$);
SELECT idempotent_run_publish(1, 842, 'o1');
SELECT * FROM idempotent_run_begin('flights', '2013-01-01', 'v1');
SELECT * FROM history;
-- Again, with the same values: nothing happens; others are refused.
SELECT xmin AS before FROM idempotent.pipeline_run_records WHERE run_id = 1 \gset
SELECT idempotent_run_publish(1, 842, 'o1');
SELECT xmin::text = :'before' AS untouched FROM idempotent.pipeline_run_records WHERE run_id = 1;
SELECT refused('SELECT idempotent_run_publish(1, 843, ''o1'')');
SELECT refused('SELECT idempotent_run_publish(1, 842)');
SELECT refused('SELECT idempotent_run_publish(1)');
SELECT refused('SELECT idempotent_run_heartbeat(1)');
SELECT refused('SELECT idempotent_run_fail(1, ''no'')');

-- Forced, changed, failed.
SELECT * FROM idempotent_run_begin('flights', '2013-01-01', 'v1', force => true);
SELECT idempotent_run_publish(2);
SELECT idempotent_run_publish(2, NULL, NULL);
SELECT * FROM idempotent_run_begin('flights', '2013-01-01', 'v2');
SELECT idempotent_run_fail(3, 'disk full');
SELECT idempotent_run_fail(3, 'disk full');
SELECT refused('SELECT idempotent_run_fail(3, ''another'')');
SELECT refused('SELECT idempotent_run_publish(3)');
-- After a failed run of v2 the partition may hold half of v2: v1 is done again, though it was published once.
SELECT * FROM idempotent_run_begin('flights', '2013-01-01', 'v1');
SELECT idempotent_run_publish(4, 0, '');
SELECT * FROM idempotent_run_begin('flights', '2013-01-01', 'v1');
-- Forced after a failure: the failure is the reason.
SELECT * FROM idempotent_run_begin('flights', '2013-01-01', 'v3');
SELECT idempotent_run_fail(5, '');
SELECT * FROM idempotent_run_begin('flights', '2013-01-01', 'v3', true);
SELECT idempotent_run_publish(6);

-- Taken over: the lease ran out. The old run is fenced off.
SELECT * FROM idempotent_run_begin('flights', '2013-01-02', 'v1', lease => '1 minute');
SELECT lease_until - heartbeat_at AS lease, heartbeat_at = started_at AS fresh FROM idempotent.pipeline_run_records WHERE run_id = 7;
SELECT idempotent_run_heartbeat(7);
SELECT lease_until - heartbeat_at AS lease, heartbeat_at > started_at AS later FROM idempotent.pipeline_run_records WHERE run_id = 7;
SELECT refused($$SELECT idempotent_run_begin('flights', '2013-01-02', 'v1')$$);
SELECT lapse(7);
SELECT * FROM idempotent_run_begin('flights', '2013-01-02', 'v1');
SELECT refused('SELECT idempotent_run_publish(7)');
SELECT refused('SELECT idempotent_run_heartbeat(7)');
SELECT refused('SELECT idempotent_run_fail(7, ''x'')');
-- A lease that ran out and that nobody took over is as good as ever.
SELECT lapse(8);
SELECT idempotent_run_heartbeat(8);
SELECT refused($$SELECT idempotent_run_begin('flights', '2013-01-02', 'v1')$$);
SELECT lapse(8);
SELECT idempotent_run_publish(8, 1);
SELECT * FROM idempotent_run_begin('flights', '2013-01-02', 'v1');
SELECT * FROM history;

-- Without a partition, without a version: NULL is the same as NULL, and another than ''.
SELECT * FROM idempotent_run_begin('weather');
SELECT refused($$SELECT idempotent_run_begin('weather')$$);
SELECT idempotent_run_publish(9);
SELECT * FROM idempotent_run_begin('weather');
SELECT * FROM idempotent_run_begin('weather', input_version => '');
SELECT idempotent_run_publish(10);
SELECT * FROM idempotent_run_begin('weather', '', '');
SELECT * FROM idempotent_run_begin('weather', '', NULL);
SELECT idempotent_run_fail(11, 'x');

-- In one transaction: a run sees what the ones before did. What is rolled back never was.
BEGIN;
SELECT * FROM idempotent_run_begin('one', 'p', 'v1');
SELECT idempotent_run_publish(12);
SELECT * FROM idempotent_run_begin('one', 'p', 'v1');
SELECT * FROM idempotent_run_begin('one', 'p', 'v2');
SAVEPOINT s;
SELECT idempotent_run_publish(13);
ROLLBACK TO s;
SELECT refused($$SELECT idempotent_run_begin('one', 'p', 'v2')$$);
COMMIT;
SELECT status FROM idempotent.pipeline_run_records WHERE dataset = 'one' ORDER BY run_id;
BEGIN;
SELECT * FROM idempotent_run_begin('two');
ROLLBACK;
SELECT count(*) FROM idempotent.pipeline_run_records WHERE dataset = 'two';
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT decision, reason FROM idempotent_run_begin('level');
SELECT idempotent_run_publish(max(run_id)) FROM idempotent.pipeline_run_records;
SELECT decision FROM idempotent_run_begin('level');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT decision FROM idempotent_run_begin('level');
SELECT decision, reason FROM idempotent_run_begin('level', input_version => 'v2');
COMMIT;
-- A run that is prepared keeps others out.
BEGIN;
SELECT decision FROM idempotent_run_begin('prepared');
PREPARE TRANSACTION 'pgi_run';
SELECT refused($$SELECT idempotent_run_begin('prepared')$$);
COMMIT PREPARED 'pgi_run';
SELECT refused($$SELECT idempotent_run_begin('prepared')$$);

-- Reading only: a skip needs no writing.
BEGIN READ ONLY;
SELECT decision FROM idempotent_run_begin('flights', '2013-01-02', 'v1');
SELECT decision FROM idempotent_run_begin('flights', '2013-01-02', 'v2');
:state
ROLLBACK;

-- Every field of the errors.
CREATE FUNCTION fields(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE sch text; tab text; col text; con text;
BEGIN
    EXECUTE call;
    RETURN 'not refused';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME;
    RETURN format('%s: schema %s, table %s, column "%s", constraint "%s"', sqlerrm, sch, tab, col, con);
END $$;
SELECT fields($$SELECT idempotent_run_begin('prepared')$$);
SELECT fields('SELECT idempotent_run_publish(3)');
DO $$
DECLARE det text; at timestamptz;
BEGIN
    PERFORM idempotent_run_begin('level');
EXCEPTION WHEN SQLSTATE '55I01' THEN
    GET STACKED DIAGNOSTICS det = PG_EXCEPTION_DETAIL;
    SELECT lease_until INTO at FROM idempotent.pipeline_run_records WHERE dataset = 'level' AND status = 'running';
    RAISE INFO 'the time is right: %', substring(det FROM 'until (.*), unless')::timestamptz - at BETWEEN '-1 ms' AND '1 ms';
END $$;

-- Arguments that do not fit.
SELECT idempotent_run_begin(NULL);
:state
SELECT idempotent_run_begin('');
:state
SELECT idempotent_run_begin(repeat('ä', 256));
:state
SELECT idempotent_run_begin('d', NULL);
:state
SELECT idempotent_run_begin('d', repeat('p', 300));
:state
SELECT idempotent_run_begin('d', force => NULL);
:state
SELECT idempotent_run_begin('d', lease => NULL);
:state
SELECT idempotent_run_begin('d', lease => '0 s');
:state
SELECT idempotent_run_begin('d', lease => '-1 day');
:state
SELECT idempotent_run_begin('d', lease => '300000 years');
:state
SELECT decision FROM idempotent_run_begin(repeat('ä', 255), repeat('"', 255), E'a\nb''', lease => '1 microsecond');
SELECT idempotent_run_heartbeat(NULL);
:state
SELECT idempotent_run_publish(NULL);
:state
SELECT idempotent_run_publish(11, -1);
:state
SELECT idempotent_run_fail(NULL, 'x');
:state
SELECT idempotent_run_fail(11, NULL);
:state
SELECT idempotent_run_heartbeat(0);
:state
SELECT idempotent_run_publish(-1);
:state
SELECT idempotent_run_fail(9223372036854775807, 'x');
:state

-- Each role has its own runs, and sees no others.
CREATE ROLE regress_pgi_runs_a;
CREATE ROLE "regress_pgi runs ""b""";
GRANT USAGE ON SCHEMA runs TO PUBLIC;
GRANT SELECT ON history TO PUBLIC;
SET ROLE regress_pgi_runs_a;
SELECT decision, reason FROM idempotent_run_begin('flights', '2013-01-01', 'v1');
SELECT run_id AS a FROM idempotent.pipeline_runs \gset
SELECT count(*) FROM idempotent.pipeline_runs;
RESET ROLE;
SET ROLE "regress_pgi runs ""b""";
SELECT count(*) FROM idempotent.pipeline_runs;
SELECT decision, reason FROM idempotent_run_begin('flights', '2013-01-01', 'v1');
SELECT count(*) FROM idempotent.pipeline_runs;
-- Not even that it exists is told.
SELECT replace(refused(format('SELECT idempotent_run_publish(%s)', :a)), :'a', 'N');
SELECT replace(refused(format('SELECT idempotent_run_heartbeat(%s)', :a)), :'a', 'N');
SELECT replace(refused(format('SELECT idempotent_run_fail(%s, %L)', :a, 'x')), :'a', 'N');
-- Nothing of the caller's is met with the owner's rights.
RESET ROLE;
CREATE SCHEMA trap;
GRANT ALL ON SCHEMA trap TO "regress_pgi runs ""b""";
SET ROLE "regress_pgi runs ""b""";
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$;
CREATE FUNCTION trap.never(oid, oid) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.never);
SET search_path = trap, pg_catalog, public, runs;
SELECT decision FROM idempotent_run_begin('trap');
SELECT idempotent_run_publish(max(run_id)) FROM idempotent.pipeline_runs;
SELECT decision FROM idempotent_run_begin('trap');
SELECT count(*) FROM idempotent.pipeline_runs WHERE started_at < now() - interval '1 day';
RESET ROLE;
SET search_path = runs, public;
-- A role that is gone leaves its history.
DROP OWNED BY "regress_pgi runs ""b""";
DROP ROLE regress_pgi_runs_a, "regress_pgi runs ""b""";
SELECT count(*) FROM idempotent.pipeline_run_records AS r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE quote_ident(rolname) = r.role::text);

-- The table refuses what is wrong by itself.
\set VERBOSITY terse
INSERT INTO idempotent.pipeline_run_records (role, dataset, partition, attempt, status, reason, lease, started_at, heartbeat_at)
SELECT role, dataset, partition, attempt + 1, 'running', '', lease, now(), now() FROM idempotent.pipeline_run_records WHERE dataset = 'prepared';
INSERT INTO idempotent.pipeline_run_records (role, dataset, partition, attempt, status, reason, lease, started_at, heartbeat_at, completed_at)
SELECT role, dataset, partition, attempt, 'failed', '', lease, now(), now(), now() FROM idempotent.pipeline_run_records WHERE dataset = 'prepared';
INSERT INTO idempotent.pipeline_run_records (role, dataset, partition, attempt, status, reason, lease, started_at, heartbeat_at)
SELECT role, dataset, partition, attempt + 1, 'published', '', lease, now(), now() FROM idempotent.pipeline_run_records WHERE dataset = 'prepared';

SET client_min_messages = warning;
DROP SCHEMA runs, trap CASCADE;
DELETE FROM idempotent.pipeline_run_records;
