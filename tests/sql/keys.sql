-- Key: which unique index decides, and what is said when none or several could.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA keys;
SET search_path = keys, public;

-- The primary key, if the payload names all its columns.
CREATE TABLE pk (a int, b int, v text, PRIMARY KEY (a, b));
SELECT * FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}');
SELECT * FROM idempotent_insert('pk', '{"b": 1, "v": "x", "a": 1}');
SELECT * FROM idempotent_insert('pk', '{"a": 1, "v": "x"}');
:state
SELECT * FROM idempotent_insert('pk', '{"v": "x"}');
:state

-- Else the one usable unique index whose columns the payload names.
CREATE TABLE one_unique (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text UNIQUE, v int);
SELECT outcome, stored FROM idempotent_insert('one_unique', '{"code": "a", "v": 1}');
SELECT outcome, stored FROM idempotent_insert('one_unique', '{"code": "a", "v": 1}');
SELECT outcome, differences FROM idempotent_insert('one_unique', '{"code": "a", "v": 2}', on_conflict => 'report');

-- The primary key goes first, even when another index would fit.
CREATE TABLE pk_first (id int PRIMARY KEY, code text UNIQUE, v int);
SELECT outcome FROM idempotent_insert('pk_first', '{"id": 1, "code": "a", "v": 1}');
SELECT outcome FROM idempotent_insert('pk_first', '{"id": 1, "code": "a", "v": 1}');
-- The second unique index raises its own 23505: only the arbiter decides.
SELECT outcome FROM idempotent_insert('pk_first', '{"id": 2, "code": "a", "v": 1}');
:state
SELECT outcome FROM idempotent_insert('pk_first', '{"id": 2, "code": "a", "v": 1}', key => '{id}');
:state
SELECT outcome FROM idempotent_insert('pk_first', '{"id": 1, "code": "a", "v": 1}', key => '{code}');
SELECT outcome, differences FROM idempotent_insert('pk_first', '{"id": 2, "code": "a", "v": 1}', key => '{code}', on_conflict => 'report');

-- The default is decided over all payloads of a call: a column that one of them leaves out is no key.
SELECT * FROM idempotent_insert_many('pk_first', '[{"id": 5, "code": "e"}, {"code": "f"}]');
:state
SELECT * FROM idempotent_insert_many('pk_first', '[{"id": 1, "code": "a"}, {"code": "a"}]');
SELECT * FROM idempotent_insert_many('pk_first', '[{"id": 1, "code": "a"}, {"id": 1}]');
SELECT * FROM idempotent_insert_many('pk_first', '[{"id": 1}, {"code": "a"}]');
:state

-- Several candidates: they are listed.
CREATE TABLE several (a int, b int, v int);
CREATE UNIQUE INDEX several_a ON several (a);
CREATE UNIQUE INDEX several_b_v ON several (b, v);
SELECT * FROM idempotent_insert('several', '{"a": 1, "b": 1, "v": 1}');
:state
SELECT outcome FROM idempotent_insert('several', '{"a": 1, "b": 1, "v": 1}', key => '{v, b}');
SELECT outcome FROM idempotent_insert('several', '{"a": 1, "b": 1}');
-- Two indexes over the same columns are no choice: either will do.
CREATE UNIQUE INDEX several_a_again ON several (a);
SELECT outcome FROM idempotent_insert('several', '{"a": 1, "b": 1, "v": 1}', key => '{a}');
SELECT outcome FROM idempotent_insert('several', '{"a": 1, "b": 1}');

-- None: what to create is said.
CREATE TABLE none (a int, b int);
SELECT * FROM idempotent_insert('none', '{"a": 1}');
:state
SELECT * FROM idempotent_insert('none', '{"a": 1}', key => '{a}');
:state
CREATE INDEX none_plain ON none (a);
SELECT * FROM idempotent_insert('none', '{"a": 1}', key => '{a}');
:state

-- Explicit keys must be exactly the columns of a usable index, in any order.
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{b, a}');
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{a}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{a, b, v}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{a, a, b}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{a, NULL}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{a, nope}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{A, b}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{a, ctid}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": 1, "v": "x"}', key => '{{a, b}}');

-- Why an index does not qualify.
CREATE TABLE deferred (a int UNIQUE DEFERRABLE, v int);
SELECT outcome FROM idempotent_insert('deferred', '{"a": 1}', key => '{a}');
:state
SELECT outcome FROM idempotent_insert('deferred', '{"a": 1}');
:state
CREATE TABLE deferred_initially (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v int);
SELECT outcome FROM idempotent_insert('deferred_initially', '{"a": 1}');
:state
CREATE TABLE partial (a int, v int);
CREATE UNIQUE INDEX partial_a ON partial (a) WHERE v > 0;
SELECT outcome FROM idempotent_insert('partial', '{"a": 1}', key => '{a}');
:state
SELECT outcome FROM idempotent_insert('partial', '{"a": 1}');
:state
CREATE TABLE expression (a int, v text);
CREATE UNIQUE INDEX expression_v ON expression (a, lower(v));
SELECT outcome FROM idempotent_insert('expression', '{"a": 1, "v": "x"}', key => '{a, v}');
:state
SELECT outcome FROM idempotent_insert('expression', '{"a": 1, "v": "x"}');
:state
CREATE TABLE invalid (a int, v int);
INSERT INTO invalid VALUES (1, 1), (1, 2);
CREATE UNIQUE INDEX CONCURRENTLY invalid_a ON invalid (a);
SELECT outcome FROM idempotent_insert('invalid', '{"a": 2}', key => '{a}');
:state
-- An index on all rows beside a partial one on the same columns.
CREATE UNIQUE INDEX partial_all ON partial (a);
SELECT outcome FROM idempotent_insert('partial', '{"a": 2, "v": 1}', key => '{a}');
SELECT outcome FROM idempotent_insert('partial', '{"a": 2, "v": 1}');
-- INCLUDE columns are no part of the key.
CREATE TABLE including (a int, b int, UNIQUE (a) INCLUDE (b));
SELECT outcome FROM idempotent_insert('including', '{"a": 1, "b": 1}');
SELECT outcome, differences FROM idempotent_insert('including', '{"a": 1, "b": 2}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('including', '{"a": 1, "b": 1}', key => '{a, b}');
:state
-- An exclusion constraint is no unique index.
CREATE TABLE excluding (a int, EXCLUDE (a WITH =));
SELECT outcome FROM idempotent_insert('excluding', '{"a": 1}', key => '{a}');
:state

-- A key column that is missing or NULL: 23502, column named.
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "v": "x"}', key => '{a, b}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": null, "v": "x"}');
:state
SELECT outcome FROM idempotent_insert('pk', '{"a": 1, "b": null, "v": "x"}', key => '{a, b}');
:state
SELECT outcome FROM idempotent_insert('one_unique', '{"code": null, "v": 1}');
:state
SELECT * FROM idempotent_insert_many('pk', '[{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": null}]');
:state
SELECT * FROM idempotent_insert_many('pk', '[{"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1}]', key => '{a, b}');
:state
CREATE VIEW pk_source AS SELECT 1 AS a, NULL::int AS b;
SELECT * FROM idempotent_insert_from('pk', 'pk_source');
:state
CREATE VIEW pk_short AS SELECT 1 AS a, 'x' AS v;
SELECT * FROM idempotent_insert_from('pk', 'pk_short', key => '{a, b}');
:state
-- A key column whose default is the same in every attempt counts as named.
CREATE TABLE pk_default (a int DEFAULT 7 PRIMARY KEY, v int);
SELECT outcome FROM idempotent_insert('pk_default', '{"v": 1}', key => '{a}');
SELECT outcome FROM idempotent_insert('pk_default', '{"v": 1}');

-- NULLS NOT DISTINCT: NULL is a key like any other; it must still be named.
CREATE TABLE nulls_equal (a int, b int, v int, UNIQUE NULLS NOT DISTINCT (a, b));
SELECT outcome FROM idempotent_insert('nulls_equal', '{"a": 1, "b": null, "v": 1}');
SELECT outcome FROM idempotent_insert('nulls_equal', '{"a": 1, "b": null, "v": 1}');
SELECT outcome, differences FROM idempotent_insert('nulls_equal', '{"a": 1, "b": null, "v": 2}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('nulls_equal', '{"a": null, "b": null, "v": 2}');
SELECT ordinal, outcome FROM idempotent_insert_each('nulls_equal',
    '[{"a": null, "b": null, "v": 2}, {"a": null, "b": 1, "v": 2}, {"a": null, "b": 1, "v": 2}, {"a": 1, "b": null, "v": 1}]');
SELECT outcome FROM idempotent_insert('nulls_equal', '{"a": 1, "v": 1}', key => '{a, b}');
:state

-- Only the key matters to the arbiter's name in the error.
SELECT outcome FROM idempotent_insert('pk_first', '{"id": 9, "code": "a", "v": 1}', key => '{code}');
:state

SET client_min_messages = warning;
DROP SCHEMA keys CASCADE;
