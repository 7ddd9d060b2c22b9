-- What a merge or a resolution changes stays under its key: expressions, conditions and generated columns in keys, and triggers.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA merge_keys;
SET search_path = merge_keys, public;

-- An expression of two columns, of which the source has one.
CREATE TABLE sums (a int, b int DEFAULT 0, v int);
CREATE UNIQUE INDEX sums_key ON sums ((a + b));
INSERT INTO sums VALUES (1, 2, 7), (5, 0, 1);
CREATE TABLE sums_in AS SELECT 3 AS a, 8 AS v;
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}');
:state
SELECT inserted, updated FROM idempotent_merge_many('sums', '[{"a": 3, "b": 0, "v": 9}, {"a": 3, "v": 9}]', key => '{a + b}');
:state
-- None of them is set.
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}', insert_only => '{a}');
SELECT inserted, updated FROM idempotent_merge_many('sums', '[{"a": 3, "v": 9}]', key => '{a + b}', insert_only => '{a}');
SELECT * FROM sums ORDER BY a;
-- All of them are set, or one is kept.
ALTER TABLE sums_in ADD b int DEFAULT 0;
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}', insert_only => '{b}');
:state
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}', insert_only => '{a, b}');
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}');
SELECT inserted, updated, unchanged FROM idempotent_merge('sums', 'sums_in', key => '{a + b}');
SELECT inserted, updated FROM idempotent_merge_many('sums', '[{"a": 0, "b": 3, "v": 10}]', key => '{a + b}');
SELECT * FROM sums ORDER BY a;

-- A condition over two columns.
CREATE TABLE parts (k int, x int, y int DEFAULT 0, v int);
CREATE UNIQUE INDEX parts_key ON parts (k) WHERE x > y;
INSERT INTO parts VALUES (1, 10, 5, 1);
SELECT updated FROM idempotent_merge_many('parts', '[{"k": 1, "x": 3}]', key => '{k}');
:state
SELECT updated, inserted FROM idempotent_merge_many('parts', '[{"k": 1, "x": 3}]', key => '{k}', insert_only => '{x}');
SELECT updated, inserted FROM idempotent_merge_many('parts', '[{"k": 1, "x": 3, "y": 2}]', key => '{k}');
SELECT * FROM parts;

-- The expression's columns are set, those of the condition are not.
CREATE TABLE people (email text, gone boolean DEFAULT false, v int);
CREATE UNIQUE INDEX people_key ON people (lower(email)) WHERE NOT gone;
INSERT INTO people VALUES ('Ann', false, 1);
SELECT updated, inserted FROM idempotent_merge_many('people', '[{"email": "ANN", "v": 2}]', key => '{lower(email)}');
SELECT * FROM people;

-- A generated column is the key, and one is in an expression.
CREATE TABLE generated (a int, b int DEFAULT 0, kk int GENERATED ALWAYS AS (a + b) STORED PRIMARY KEY, v int);
INSERT INTO generated VALUES (1, 2, DEFAULT, 1);
CREATE TABLE generated_in AS SELECT 3 AS a, 3 AS kk, 2 AS v;
SELECT updated FROM idempotent_merge('generated', 'generated_in');
:state
ALTER TABLE generated_in ADD b int DEFAULT 0;
SELECT updated FROM idempotent_merge('generated', 'generated_in');
SELECT * FROM generated;
CREATE UNIQUE INDEX generated_abs ON generated (abs(kk));
SELECT updated FROM idempotent_merge('generated', 'generated_in', key => '{abs(kk)}', insert_only => '{a}');
:state

-- A conflict's payload would move the row.
SELECT conflicts FROM idempotent_insert_many('sums', '[{"a": 3, "b": 0, "v": 11}, {"a": 5, "v": 2}]', key => '{a + b}', on_conflict => 'quarantine');
SELECT conflicts FROM idempotent_insert_many('parts', '[{"k": 1, "x": 2, "y": 1, "v": 5}]', key => '{k}', on_conflict => 'quarantine');
UPDATE sums SET a = 4, b = 1 WHERE a = 5;
SELECT conflicts FROM idempotent_insert_many('sums', '[{"a": 5, "v": 3}]', key => '{a + b}', compare => '{a}', on_conflict => 'quarantine');
SELECT resolved FROM (SELECT id, idempotent_resolve(id, 'apply_payload') AS resolved FROM (SELECT id FROM idempotent.conflicts WHERE payload->>'v' IN ('5', '11') ORDER BY id) c) r;
SELECT idempotent_resolve((SELECT id FROM idempotent.conflicts WHERE payload->>'v' = '3' AND resolution IS NULL), 'apply_payload');
:state
SELECT * FROM sums ORDER BY a;

SET client_min_messages = warning;
DROP SCHEMA merge_keys CASCADE;
