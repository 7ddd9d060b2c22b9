-- Attacks on what a guard remembers: a value of what first arrived is shown to those only who may read the column that
-- remembers and the column itself.
\set VERBOSITY default
\set SHOW_CONTEXT errors
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_both;
CREATE ROLE regress_pgi_column;
CREATE ROLE regress_pgi_memory;
CREATE SCHEMA remembered;
GRANT USAGE ON SCHEMA remembered TO PUBLIC;
SET search_path = remembered, public;
CREATE TABLE patients (id int PRIMARY KEY, diagnosis text, first jsonb);
GRANT INSERT ON patients TO regress_pgi_both, regress_pgi_column, regress_pgi_memory;
GRANT SELECT (id, diagnosis, first) ON patients TO regress_pgi_both;
GRANT SELECT (id, diagnosis) ON patients TO regress_pgi_column;
GRANT SELECT (id, first) ON patients TO regress_pgi_memory;
SELECT FROM idempotent_guard('patients', remember => 'first');
INSERT INTO patients VALUES (1, 'secret first diagnosis');
-- The row is corrected since; what it was first is for those who may read the memory.
UPDATE patients SET diagnosis = 'healthy';

-- By the guard.
SET ROLE regress_pgi_both;
INSERT INTO patients VALUES (1, 'guess');
:state
SET ROLE regress_pgi_column;
INSERT INTO patients VALUES (1, 'guess');
:state
SET ROLE regress_pgi_memory;
INSERT INTO patients VALUES (1, 'guess');
:state
RESET ROLE;
-- By the functions, in errors and in results.
SET ROLE regress_pgi_both;
SELECT * FROM idempotent_insert('patients', '{"id": 1, "diagnosis": "guess"}', on_conflict => 'report');
SET ROLE regress_pgi_column;
SELECT * FROM idempotent_insert('patients', '{"id": 1, "diagnosis": "guess"}');
:state
SELECT * FROM idempotent_insert('patients', '{"id": 1, "diagnosis": "guess"}', on_conflict => 'report');
SELECT * FROM idempotent_insert_many('patients', '[{"id": 1, "diagnosis": "guess"}]');
:state
SELECT * FROM idempotent_insert_each('patients', '[{"id": 1, "diagnosis": "guess"}]', on_conflict => 'report');
CREATE TEMP TABLE source AS SELECT 1 AS id, 'guess' AS diagnosis;
SELECT * FROM idempotent_insert_from('patients', 'source');
:state
CALL idempotent_load('patients', 'source');
:state
SELECT stored, expected, differences FROM idempotent_reconcile('patients', 'source');
DROP TABLE source;
SET ROLE regress_pgi_memory;
SELECT * FROM idempotent_insert('patients', '{"id": 1, "diagnosis": "guess"}', on_conflict => 'report');
-- In the quarantine, by the guard and by the functions: the record is for those who may SELECT the whole table.
RESET ROLE;
SELECT FROM idempotent_guard('patients', remember => 'first', on_conflict => 'quarantine');
SET ROLE regress_pgi_column;
INSERT INTO patients VALUES (1, 'guess');
SELECT outcome, stored, differences FROM idempotent_insert('patients', '{"id": 1, "diagnosis": "other guess"}', on_conflict => 'quarantine');
SELECT count(*) FROM idempotent.conflicts;
RESET ROLE;
SELECT differences FROM idempotent.conflicts ORDER BY id;
SELECT FROM idempotent_guard('patients', remember => 'first');

-- The type of a column is another now, and what is remembered is no value of it: the error does not quote it to those
-- who may not read it.
ALTER TABLE patients ALTER diagnosis TYPE int USING 0;
SET ROLE regress_pgi_both;
INSERT INTO patients VALUES (1, 5);
:state
SELECT * FROM idempotent_insert('patients', '{"id": 1, "diagnosis": 5}');
:state
SET ROLE regress_pgi_column;
INSERT INTO patients VALUES (1, 5);
:state
SELECT * FROM idempotent_insert('patients', '{"id": 1, "diagnosis": 5}', on_conflict => 'report');
:state
SET ROLE regress_pgi_memory;
INSERT INTO patients VALUES (1, 5);
:state
RESET ROLE;
-- A composite is read in another way, to the same effect.
CREATE TYPE pair AS (a int, b text);
CREATE TABLE pairs (id int PRIMARY KEY, p pair, first jsonb);
GRANT INSERT, SELECT (id, p) ON pairs TO regress_pgi_column;
SELECT FROM idempotent_guard('pairs', remember => 'first');
INSERT INTO pairs VALUES (1, (1, 'secret'));
UPDATE pairs SET p = NULL;
ALTER TABLE pairs ALTER p TYPE int[] USING NULL;
SET ROLE regress_pgi_column;
INSERT INTO pairs (id, p) VALUES (1, '{1}');
:state
RESET ROLE;
-- Row-level security hides all of it.
CREATE TABLE mine (id int PRIMARY KEY, v int, first jsonb);
GRANT INSERT, SELECT ON mine TO regress_pgi_both;
ALTER TABLE mine ENABLE ROW LEVEL SECURITY;
CREATE POLICY every ON mine USING (true);
SELECT FROM idempotent_guard('mine', remember => 'first');
INSERT INTO mine VALUES (1, 42);
SET ROLE regress_pgi_both;
INSERT INTO mine VALUES (1, 2);
:state
SELECT * FROM idempotent_insert('mine', '{"id": 1, "v": 2}', on_conflict => 'report');
RESET ROLE;

-- A digest shows nothing of what first arrived; what is stored now takes the column's own right.
CREATE TABLE digests (id int PRIMARY KEY, v text, first bytea);
GRANT INSERT, SELECT (id, v) ON digests TO regress_pgi_column;
GRANT INSERT, SELECT (id, first) ON digests TO regress_pgi_memory;
SELECT FROM idempotent_guard('digests', remember => 'first');
INSERT INTO digests VALUES (1, 'secret first');
UPDATE digests SET v = 'now';
SET ROLE regress_pgi_column;
INSERT INTO digests VALUES (1, 'guess');
:state
SET ROLE regress_pgi_memory;
INSERT INTO digests VALUES (1, 'guess');
:state
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA remembered CASCADE;
DELETE FROM idempotent.conflict_records;
DROP ROLE regress_pgi_both, regress_pgi_column, regress_pgi_memory;
