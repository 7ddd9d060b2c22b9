-- Every function that takes a target, given what is no table: a view, a materialized view, a foreign table, a sequence, an index, a
-- composite type, a system catalog, or nothing. All say the same, but for those that work on a foreign table, and want to know its key.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA wrong_kinds;
SET search_path = wrong_kinds, public;
CREATE TABLE orders (id int PRIMARY KEY, v int);
CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE VIEW a_view AS TABLE orders;
CREATE MATERIALIZED VIEW a_matview AS TABLE orders;
CREATE UNIQUE INDEX ON a_matview (id);
CREATE FOREIGN DATA WRAPPER wrong_kinds;
CREATE SERVER wrong_kinds FOREIGN DATA WRAPPER wrong_kinds;
CREATE FOREIGN TABLE a_foreign_table (id int, v int) SERVER wrong_kinds;
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (id int, v int);
CREATE TABLE arriving (id int, v int);
INSERT INTO arriving VALUES (1, 1);

-- The functions. The table shows that the calls are right.
CREATE TABLE calls (function text PRIMARY KEY, command text);
INSERT INTO calls VALUES
    ('idempotent_insert', 'SELECT idempotent_insert(%L, ''{"id": 1, "v": 1}'')'),
    ('idempotent_insert_many', 'SELECT idempotent_insert_many(%L, ''[{"id": 1, "v": 1}]'')'),
    ('idempotent_insert_each', 'SELECT idempotent_insert_each(%L, ''[{"id": 1, "v": 1}]'')'),
    ('idempotent_insert_from', 'SELECT idempotent_insert_from(%L, ''arriving'')'),
    ('idempotent_merge', 'SELECT idempotent_merge(%L, ''arriving'')'),
    ('idempotent_merge_many', 'SELECT idempotent_merge_many(%L, ''[{"id": 1, "v": 1}]'')'),
    ('idempotent_overwrite', 'SELECT idempotent_overwrite(%L, ''arriving'', ''{"id": 1}'')'),
    ('idempotent_overwrite_each', 'SELECT idempotent_overwrite_each(%L, ''arriving'', ''{id}'')'),
    ('idempotent_reconcile', 'SELECT idempotent_reconcile(%L, ''arriving'')'),
    ('idempotent_repair', 'SELECT idempotent_repair(%L, ''arriving'')'),
    ('idempotent_lint', 'SELECT idempotent_lint(%L)'),
    ('idempotent_guard', 'SELECT idempotent_guard(%L)'),
    ('idempotent_unguard', 'SELECT idempotent_unguard(%L)'),
    ('idempotent_view', 'SELECT idempotent_view(%L, ''wrong_kinds.view_of_it'')'),
    ('idempotent_merge_many, no payloads', 'SELECT idempotent_merge_many(%L, ''[]'')'),
    ('idempotent_insert_many, no payloads', 'SELECT idempotent_insert_many(%L, ''[]'')'),
    ('idempotent_repair, for real', 'SELECT idempotent_repair(%L, ''arriving'', dry_run => false)'),
    ('idempotent_overwrite, all', 'SELECT idempotent_overwrite(%L, ''arriving'', ''{}'')');
-- Loads commit, and are called below. Statistics have no kind that is wrong.
SELECT proname AS not_called FROM pg_proc WHERE proargnames[1] = 'target' AND proname LIKE 'idempotent\_%' AND proname NOT IN (SELECT function FROM calls);
CREATE FUNCTION answer(command text, target regclass, OUT code text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(command, target);
    code := '00000';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;
CREATE FUNCTION answers(target regclass) RETURNS TABLE (functions text, code text, message text, detail text, hint text) LANGUAGE sql AS $$
    SELECT CASE count(*) WHEN (SELECT count(*) FROM calls) THEN 'all' ELSE string_agg(function, '; ' ORDER BY function COLLATE "C") END, a.code, a.message, a.detail, a.hint
    FROM calls, answer(command, target) AS a GROUP BY 2, 3, 4, 5 ORDER BY 1
$$;
\x
SELECT functions, code FROM answers('orders');
SELECT functions, code FROM answers('parted');
SELECT kind, a.* FROM unnest('{a_view, a_matview, a_foreign_table, a_sequence, a_type, orders_pkey, parted_pkey, pg_class, pg_stat_activity, idempotent.conflicts}'::regclass[]) WITH ORDINALITY AS k(kind, n), answers(kind) AS a ORDER BY n, functions;
SELECT idempotent_insert('a_foreign_table', '{"id": 1}');
SELECT idempotent_insert_from('a_foreign_table', 'orders');
SELECT * FROM answers(0);
CALL idempotent_load('a_view', 'arriving');
CALL idempotent_load('a_matview', 'arriving');
CALL idempotent_load('a_foreign_table', 'arriving');
CALL idempotent_load('a_sequence', 'arriving');
CALL idempotent_load('a_type', 'arriving');
CALL idempotent_load('orders_pkey', 'arriving');
CALL idempotent_load('parted_pkey', 'arriving');
CALL idempotent_load('pg_class', 'arriving');
CALL idempotent_load(0, 'arriving');

-- Rows are read from tables, views, materialized views and foreign tables.
UPDATE calls SET function = function || ' from it', command = replace(replace(command, '%L', quote_literal('wrong_kinds.orders')), quote_literal('arriving'), '%L')
WHERE command LIKE '%''arriving''%';
DELETE FROM calls WHERE function NOT LIKE '% from it';
SELECT kind, a.* FROM unnest('{arriving, a_view, a_matview, a_foreign_table, a_sequence, a_type, orders_pkey, parted_pkey}'::regclass[]) WITH ORDINALITY AS k(kind, n), answers(kind) AS a ORDER BY n, functions;
SELECT * FROM answers(0);
CALL idempotent_load('orders', 'a_sequence');
CALL idempotent_load('orders', 0);

SET client_min_messages = warning;
DROP SCHEMA wrong_kinds CASCADE;
DROP FOREIGN DATA WRAPPER wrong_kinds CASCADE;
