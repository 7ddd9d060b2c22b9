-- Hints that heal: what they say is run here, and nothing of it loses data.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA heal;
SET search_path = heal, public;
-- A column of state that was renamed is not dropped: its values are the keys of requests.
SELECT idempotent_execute('heal', 'SELECT 1');
ALTER TABLE idempotent.request_records RENAME key TO request_key;
SELECT idempotent_execute('heal', 'SELECT 1');
ALTER TABLE idempotent.request_records RENAME COLUMN request_key TO key;
SELECT idempotent_execute('heal', 'SELECT 1');
-- Where several could be meant, nobody guesses.
ALTER TABLE idempotent.request_records RENAME key TO request_key;
ALTER TABLE idempotent.request_records RENAME scope TO request_scope;
SELECT idempotent_execute('heal', 'SELECT 1');
ALTER TABLE idempotent.request_records RENAME request_scope TO scope;
ALTER TABLE idempotent.request_records ADD another text;
SELECT idempotent_execute('heal', 'SELECT 1');
ALTER TABLE idempotent.request_records DROP another;
ALTER TABLE idempotent.request_records RENAME request_key TO key;
-- One that was added is.
ALTER TABLE idempotent.request_records ADD another text;
SELECT idempotent_execute('heal', 'SELECT 1');
ALTER TABLE idempotent.request_records DROP COLUMN another;
SELECT idempotent_execute('heal', 'SELECT 1');
-- lint tells how NULL becomes a key like others. The index that it proposes decides then, though the constraint is there.
CREATE TABLE refs (ref text UNIQUE, v int);
SELECT null_key, arbiter FROM idempotent_guard('refs');
SELECT rule, hint FROM idempotent_lint('refs');
CREATE UNIQUE INDEX ON heal.refs (ref) NULLS NOT DISTINCT;
SELECT rule FROM idempotent_lint('refs');
SELECT key, arbiter FROM idempotent.guards WHERE target = 'refs'::regclass;
INSERT INTO refs VALUES (NULL, 1), ('a', 1);
INSERT INTO refs VALUES (NULL, 1), ('a', 1);
INSERT INTO refs VALUES (NULL, 2);
INSERT INTO refs VALUES ('a', 2);
SELECT outcome FROM idempotent_insert('refs', '{"ref": null, "v": 1}');
SELECT outcome FROM idempotent_insert('refs', '{"ref": "b", "v": 1}');
SELECT outcome FROM idempotent_insert('refs', '{"ref": "b", "v": 1}');
CREATE TABLE refs_in AS SELECT ref, 5 AS v FROM refs;
SELECT received, inserted, updated FROM idempotent_merge('refs', 'refs_in');
SELECT * FROM refs ORDER BY ref;
-- A partition with a default of its own, a constant: what fills the column is told as it is.
CREATE TABLE days (id int, day date, at timestamptz DEFAULT now(), PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE days_2024 PARTITION OF days (at DEFAULT '2024-01-01') FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
SELECT key FROM idempotent_guard('days');
SELECT target, message FROM idempotent_lint('days') UNION ALL SELECT target, message FROM idempotent_lint('days_2024');
-- A partitioned table without an index: what an index on it has to contain, or that it can have none.
CREATE TABLE by_column (a int, "B" int, c int) PARTITION BY RANGE ("B", c);
SELECT hint FROM idempotent_lint('by_column');
CREATE TABLE by_expression (a int, b int) PARTITION BY RANGE ((a + b));
SELECT hint FROM idempotent_lint('by_expression');
-- A generated column is a key for the functions, and none for a guard.
CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (a + 1) STORED UNIQUE);
SELECT outcome FROM idempotent_insert('computed', '{"a": 1, "b": 2}');
SELECT outcome FROM idempotent_insert('computed', '{"a": 1, "b": 2}');
SELECT rule, message FROM idempotent_lint('computed');
SELECT idempotent_guard('computed', key => '{b}');
SET client_min_messages = warning;
DROP SCHEMA heal CASCADE;
