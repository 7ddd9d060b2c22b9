-- A nondeterministic collation decides equality of keys and of compared columns. Needs a server built with ICU.
SELECT count(*) = 0 AS no_icu FROM pg_collation WHERE collname = 'und-x-icu' \gset
\if :no_icu
\echo SKIPPED: this server was built without ICU
\quit
\endif
\set SHOW_CONTEXT never
CREATE SCHEMA comparison_icu;
SET search_path = comparison_icu, public;
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t (code text COLLATE ci PRIMARY KEY, v text COLLATE ci, strict text COLLATE "C", name varchar(10) COLLATE ci);
SELECT outcome FROM idempotent_insert('t', '{"code": "Straße", "v": "Blue", "strict": "x", "name": "É"}');
-- Another spelling is the same key and the same value; the stored spelling stays.
SELECT outcome, stored, differences FROM idempotent_insert('t', '{"code": "straße", "v": "blue", "strict": "x", "name": "e\u0301"}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('t', '{"code": "STRAßE", "v": "bleu", "strict": "X"}', on_conflict => 'report');
-- In a batch the spellings of one key are one key.
SELECT ordinal, outcome, stored, differences FROM idempotent_insert_each('t',
    '[{"code": "b", "v": "x"}, {"code": "A", "v": "x"}, {"code": "B", "v": "X"}, {"code": "a", "v": "y"}, {"code": "C"}]', on_conflict => 'report');
SELECT * FROM t ORDER BY code COLLATE "C";
-- Composite key with such a column, and an array of it.
CREATE TABLE pairs (a int, b text COLLATE ci, tags text[] COLLATE ci, PRIMARY KEY (a, b));
SELECT ordinal, outcome FROM idempotent_insert_each('pairs', '[{"a": 1, "b": "x", "tags": ["P"]}, {"b": "X", "a": 1, "tags": ["p"]}, {"a": 2, "b": "X"}]', on_conflict => 'report');
-- Keys of one spelling each, as the collation has it, in a table that is large enough for sketches.
CREATE TABLE large (k text COLLATE ci PRIMARY KEY, v int, n text);
INSERT INTO large SELECT 'k' || i, i, repeat('x', 400) FROM generate_series(1, 2000) AS i;
CREATE TABLE large_in AS TABLE large;
INSERT INTO large_in SELECT upper(k), v + (v - 7), n FROM large WHERE v IN (7, 8);
SELECT status, key, differences FROM idempotent_reconcile('large', 'large_in');
DROP TABLE large, large_in;
-- The same in the SQL for distributed tables, which finds the collation whatever the search_path.
SET pg_idempotent.use_distributed_form = on;
CREATE TABLE caseless (a text COLLATE ci, v int);
CREATE UNIQUE INDEX caseless_key ON caseless (trim(a), v);
SELECT outcome FROM idempotent_insert_each('caseless', '[{"a": " x", "v": 1}, {"a": "X", "v": 1}, {"a": "y", "v": 1}]', ignore => '{a}');
SELECT outcome FROM idempotent_insert_each('caseless', '[{"a": "X ", "v": 1}, {"a": "Z", "v": 1}, {"a": "Y", "v": 1}]', ignore => '{a}');
RESET pg_idempotent.use_distributed_form;
SET client_min_messages = warning;
DROP SCHEMA comparison_icu CASCADE;
