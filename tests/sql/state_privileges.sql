-- Nobody but their owner reads or writes the tables of state by hand: what they hold is seen in the views, and changed by the functions.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
SET client_min_messages = warning;
CREATE ROLE regress_pgi_state;
CREATE SCHEMA state_privileges AUTHORIZATION regress_pgi_state;
SET search_path = state_privileges, public;
SET ROLE regress_pgi_state;
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t VALUES (1, 1);
CREATE VIEW s AS SELECT 1 AS id, 2 AS v;

-- Runs.
SELECT decision FROM idempotent_run_begin('flights', '2013-01-01', 'v1');
SELECT count(*) FROM idempotent.pipeline_runs;
INSERT INTO idempotent.pipeline_run_records (dataset) VALUES ('x');
UPDATE idempotent.pipeline_run_records SET status = 'published';
DELETE FROM idempotent.pipeline_run_records;
SELECT count(*) FROM idempotent.pipeline_run_records;
:state
-- Loads.
CALL idempotent_load('t', 't');
SELECT count(*) FROM idempotent.loads;
SELECT count(*) FROM idempotent.load_records;
UPDATE idempotent.load_records SET status = 'finished';
:state
-- Conflicts.
SELECT outcome FROM idempotent_insert('t', '{"id": 1, "v": 2}', on_conflict => 'quarantine');
SELECT count(*) FROM idempotent.conflicts;
SELECT count(*) FROM idempotent.conflict_records;
UPDATE idempotent.conflict_records SET resolution = 'keep_stored';
:state
-- Requests, and batches.
SELECT status FROM idempotent_request_begin('k', '1');
SELECT count(*) FROM idempotent.requests;
SELECT count(*) FROM idempotent.request_records;
:state
SELECT replayed FROM idempotent_insert_from('t', 't', token => 'b');
SELECT count(*) FROM idempotent.batch_records;
:state

RESET ROLE;
DELETE FROM idempotent.pipeline_run_records;
DELETE FROM idempotent.load_records;
DELETE FROM idempotent.conflict_records;
DELETE FROM idempotent.request_records;
DELETE FROM idempotent.batch_records;
DROP SCHEMA state_privileges CASCADE;
DROP OWNED BY regress_pgi_state;
DROP ROLE regress_pgi_state;
