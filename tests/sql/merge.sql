-- idempotent_merge: counts, which row is the later, what is compared, arguments. Rows are written only where needed.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA merge;
SET search_path = merge, public;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';

-- A row of each kind: 1 is new, 2 is later, 3 is equal, 4 is stale, 5 comes three times, of which the second is later.
CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, amount numeric, note text DEFAULT 'default');
INSERT INTO orders VALUES (2, '2024-01-01', 20, 'old'), (3, '2024-01-01', 30.0, 'same'), (4, '2024-06-01', 40, 'newer'), (9, '2024-01-01', 90, 'not in the source');
CREATE TABLE arrived (note text, amount numeric, id int, at timestamptz);
INSERT INTO arrived VALUES
    ('new', 10, 1, '2024-02-01'), ('later', 21, 2, '2024-02-01'), ('same', 30.00, 3, '2024-01-01 01:00:00+01'),
    ('stale', 41, 4, '2024-02-01'), ('a', 50, 5, '2024-02-01'), ('c', 52, 5, '2024-04-01'), ('b', 51, 5, '2024-03-01');
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{at}');
SELECT * FROM orders ORDER BY id;
-- Again: nothing to do, and no row is written.
CREATE TABLE places AS SELECT ctid AS place, xmin::text::bigint AS writer, id FROM orders;
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{at}');
SELECT count(*) AS untouched FROM orders o JOIN places p ON o.ctid = p.place AND o.xmin::text::bigint = p.writer AND o.id = p.id AND o.xmax::text = '0';
-- An empty source.
CREATE VIEW nothing AS SELECT * FROM arrived WHERE false;
SELECT * FROM idempotent_merge('orders', 'nothing', latest_by => '{at}');
-- In a READ ONLY transaction, what needs no writing succeeds.
BEGIN READ ONLY;
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{at}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
CREATE VIEW one_new AS SELECT 100 AS id, '2024-01-01'::timestamptz AS at;
CREATE VIEW one_later AS SELECT 1 AS id, '2025-01-01'::timestamptz AS at;
BEGIN READ ONLY;
SELECT * FROM idempotent_merge('orders', 'one_new', latest_by => '{at}');
:state
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM idempotent_merge('orders', 'one_later', latest_by => '{at}');
:state
ROLLBACK;

-- Columns that the source does not have keep their values, and take their defaults in new rows.
SELECT * FROM idempotent_merge('orders', 'one_new', latest_by => '{at}');
SELECT * FROM idempotent_merge('orders', 'one_later', latest_by => '{at}');
SELECT * FROM orders WHERE id IN (1, 100) ORDER BY id;
-- A source of nothing but the key inserts what is missing.
CREATE VIEW keys AS SELECT generate_series(8, 10) AS id;
SELECT * FROM idempotent_merge('orders', 'keys');
SELECT * FROM orders WHERE id IN (8, 10) ORDER BY id;

-- latest_by: several columns, the first that differs decides, NULL is earlier than every value.
CREATE TABLE versions (id text PRIMARY KEY, major int, minor int, body text);
CREATE TABLE versions_in (id text, major int, minor int, body text);
INSERT INTO versions VALUES ('a', 1, 9, 'stored'), ('b', 2, NULL, 'stored'), ('c', NULL, 5, 'stored'), ('d', 1, 1, 'stored'), ('e', NULL, NULL, 'stored'), ('f', 1, 1, NULL), ('g', 1, 1, 'stored');
INSERT INTO versions_in VALUES ('a', 2, 0, 'major'), ('b', 2, 0, 'not null'), ('c', 0, NULL, 'not null'), ('d', 1, NULL, 'null is earlier'), ('e', NULL, NULL, 'tie: greater'), ('f', 1, 1, 'tie: not null'), ('g', 1, 1, NULL);
SELECT * FROM idempotent_merge('versions', 'versions_in', latest_by => '{major, minor}');
SELECT * FROM versions ORDER BY id;
-- The order of latest_by matters: by minor first, a row with a greater major can be stale.
TRUNCATE versions, versions_in;
INSERT INTO versions VALUES ('a', 1, 9, 'stored');
INSERT INTO versions_in VALUES ('a', 2, 0, 'greater major, lesser minor');
SELECT * FROM idempotent_merge('versions', 'versions_in', latest_by => '{minor, major}');
SELECT * FROM idempotent_merge('versions', 'versions_in', latest_by => '{major, minor}');
-- Ties are broken by the other columns, whichever row comes first, in one call or in two.
CREATE TABLE ties (id int PRIMARY KEY, at int, body text, note text);
CREATE VIEW tie_1 AS VALUES (1, 7, 'x', 'n'), (1, 7, 'y', 'm'), (1, 7, 'y', NULL);
CREATE VIEW tie_forth AS SELECT column1 AS id, column2 AS at, column3 AS body, column4 AS note FROM tie_1 ORDER BY body, note;
CREATE VIEW tie_back AS SELECT * FROM tie_forth ORDER BY body DESC, note DESC;
SELECT * FROM idempotent_merge('ties', 'tie_forth', latest_by => '{at}');
SELECT * FROM idempotent_merge('ties', 'tie_back', latest_by => '{at}');
SELECT * FROM ties;
TRUNCATE ties;
SELECT * FROM idempotent_merge('ties', 'tie_back', latest_by => '{at}');
SELECT * FROM ties;
-- Three rows that are equal: one counts, two are superseded.
CREATE VIEW thrice AS SELECT 5 AS id, 1 AS at FROM generate_series(1, 3);
SELECT * FROM idempotent_merge('ties', 'thrice', latest_by => '{at}');
SELECT * FROM idempotent_merge('ties', 'thrice');

-- Without latest_by the source wins, older values too; rows of the source under one key must agree.
SELECT * FROM idempotent_merge('orders', 'arrived');
:state
DELETE FROM arrived WHERE id = 5;
SELECT * FROM idempotent_merge('orders', 'arrived');
SELECT * FROM orders WHERE id IN (1, 2, 3, 4) ORDER BY id;
DO $$
DECLARE
    t text; c text; n text;
BEGIN
    CREATE TEMP TABLE differ AS SELECT 1 AS id, g AS amount FROM generate_series(1, 2) g;
    PERFORM idempotent_merge('orders', 'pg_temp.differ');
EXCEPTION WHEN SQLSTATE '21000' THEN
    GET STACKED DIAGNOSTICS t = TABLE_NAME, c = CONSTRAINT_NAME, n = SCHEMA_NAME;
    RAISE NOTICE '21000 in %.%, found by %', n, t, c;
END $$;
-- Without values.
CREATE VIEW hidden AS SELECT * FROM (VALUES (30, 1, 'a'), (30, 2, 'b')) v (id, amount, note);
SET pg_idempotent.show_values = off;
SELECT * FROM idempotent_merge('orders', 'hidden');
RESET pg_idempotent.show_values;
-- Where only ignored columns differ, they agree; the greatest is the one that counts.
CREATE VIEW ignored AS SELECT * FROM (VALUES (20, 1, 'a'), (20, 1, 'c'), (20, 1, 'b')) v (id, amount, note);
SELECT * FROM idempotent_merge('orders', 'ignored', ignore => '{note}');
SELECT id, amount, note FROM orders WHERE id = 20;

-- compare and ignore say when a row is rewritten, not what is written.
CREATE TABLE stock (id int PRIMARY KEY, pieces int, seen int);
INSERT INTO stock VALUES (1, 5, 1), (2, 5, 1);
CREATE VIEW counted AS VALUES (1, 5, 2), (2, 6, 2);
CREATE VIEW counted_in AS SELECT column1 AS id, column2 AS pieces, column3 AS seen FROM counted;
SELECT * FROM idempotent_merge('stock', 'counted_in', ignore => '{seen}');
SELECT * FROM stock ORDER BY id;
CREATE VIEW counted_again AS SELECT id, pieces + 1 AS pieces, seen AS seen FROM counted_in;
SELECT * FROM idempotent_merge('stock', 'counted_again', compare => '{seen}');
SELECT * FROM stock ORDER BY id;
-- latest_by is always looked at: a row that is later in nothing else is written.
CREATE VIEW counted_later AS SELECT id, pieces, 9 AS seen FROM counted_again;
SELECT * FROM idempotent_merge('stock', 'counted_later', latest_by => '{seen}', compare => '{pieces}');
SELECT * FROM idempotent_merge('stock', 'counted_later', latest_by => '{seen}', ignore => '{seen}');
SELECT * FROM stock ORDER BY id;

-- Arguments.
SELECT * FROM idempotent_merge(NULL, 'arrived');
:state
SELECT * FROM idempotent_merge('orders', NULL);
:state
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{at, NULL}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{at, at}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{amonut}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{id}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{ctid}');
:state
SELECT * FROM idempotent_merge('orders', 'keys', latest_by => '{at}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', latest_by => '{{at},{note}}');
SELECT * FROM idempotent_merge('orders', 'arrived', compare => '{note}', ignore => '{at}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', compare => '{id}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', ignore => '{nonsense}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', key => '{at}');
:state
SELECT * FROM idempotent_merge('orders', 'arrived', key => '{id, at}');
:state
SELECT * FROM idempotent_merge(0, 'arrived');
:state
SELECT * FROM idempotent_merge('orders', 4294967295);
:state
SELECT * FROM idempotent_merge('keys', 'arrived');
:state
SELECT * FROM idempotent_merge('orders', 'orders_pkey');
:state
CREATE VIEW stranger AS SELECT 1 AS id, 2 AS amuont;
SELECT * FROM idempotent_merge('orders', 'stranger');
:state
CREATE VIEW no_key AS SELECT 2 AS amount;
SELECT * FROM idempotent_merge('orders', 'no_key');
:state
CREATE VIEW null_key AS SELECT NULL::int AS id, 2 AS amount;
SELECT * FROM idempotent_merge('orders', 'null_key');
:state
CREATE VIEW wrong_type AS SELECT 1 AS id, point(1, 2) AS amount;
SELECT * FROM idempotent_merge('orders', 'wrong_type');
:state
CREATE VIEW fails AS SELECT g AS id, 10 / (g - 2) AS amount FROM generate_series(1, 3) g;
SELECT * FROM idempotent_merge('orders', 'fails');
:state

-- PostgreSQL's own errors, of the INSERT and of the UPDATE; nothing of the call stays.
CREATE TABLE strict (id int PRIMARY KEY, code text UNIQUE, pieces int NOT NULL CHECK (pieces >= 0), parent int REFERENCES strict);
INSERT INTO strict VALUES (1, 'a', 1), (2, 'b', 1);
CREATE VIEW check_new AS SELECT * FROM (VALUES (1, 'a', 5), (3, 'c', -1)) v (id, code, pieces);
CREATE VIEW check_old AS SELECT * FROM (VALUES (3, 'c', 1), (1, 'a', -1)) v (id, code, pieces);
CREATE VIEW code_new AS SELECT * FROM (VALUES (1, 'a', 5), (3, 'b', 1)) v (id, code, pieces);
CREATE VIEW code_old AS SELECT * FROM (VALUES (3, 'c', 1), (1, 'b', 1)) v (id, code, pieces);
CREATE VIEW null_old AS SELECT * FROM (VALUES (3, 'c', 1), (1, 'a', NULL)) v (id, code, pieces);
CREATE VIEW parent_old AS SELECT * FROM (VALUES (3, 'c', 1, 3), (1, 'a', 1, 77)) v (id, code, pieces, parent);
CREATE VIEW parent_good AS SELECT * FROM (VALUES (3, 'c', 1, 3), (1, 'a', 1, 3), (4, 'd', 1, 4)) v (id, code, pieces, parent);
SELECT * FROM idempotent_merge('strict', 'check_new', key => '{id}');
:state
SELECT * FROM idempotent_merge('strict', 'check_old', key => '{id}');
:state
SELECT * FROM idempotent_merge('strict', 'code_new', key => '{id}');
:state
SELECT * FROM idempotent_merge('strict', 'code_old', key => '{id}');
:state
SELECT * FROM idempotent_merge('strict', 'null_old', key => '{id}');
:state
SELECT * FROM idempotent_merge('strict', 'parent_old', key => '{id}');
:state
SELECT * FROM strict ORDER BY id;
SELECT * FROM idempotent_merge('strict', 'parent_good', key => '{id}');
SELECT * FROM strict ORDER BY id;
-- By the other key, the primary key is a column like any other, and is updated.
CREATE VIEW renumbered AS SELECT 20 AS id, 'b' AS code, 1 AS pieces;
SELECT * FROM idempotent_merge('strict', 'renumbered', key => '{code}');
SELECT * FROM strict WHERE code = 'b';

-- In a transaction with savepoints, several merges.
CREATE TABLE steps (id int PRIMARY KEY, v int);
CREATE TABLE steps_in (id int, v int);
BEGIN;
INSERT INTO steps_in VALUES (1, 1), (2, 1);
SELECT * FROM idempotent_merge('steps', 'steps_in');
SAVEPOINT a;
UPDATE steps_in SET v = 2 WHERE id = 1;
SELECT * FROM idempotent_merge('steps', 'steps_in');
SELECT * FROM idempotent_merge('steps', 'steps_in');
ROLLBACK TO a;
SELECT * FROM steps ORDER BY id;
UPDATE steps_in SET v = 3;
SELECT * FROM idempotent_merge('steps', 'steps_in', latest_by => '{v}');
COMMIT;
SELECT * FROM steps ORDER BY id;
-- From PL/pgSQL, also where the error is caught.
DO $$
DECLARE
    r record;
BEGIN
    UPDATE steps_in SET v = 4;
    FOR n IN 1 .. 2 LOOP
        SELECT * INTO r FROM idempotent_merge('steps', 'steps_in');
        RAISE NOTICE 'updated %, unchanged %', r.updated, r.unchanged;
    END LOOP;
    BEGIN
        PERFORM idempotent_merge('steps', 'steps_in', latest_by => '{w}');
    EXCEPTION WHEN undefined_column THEN
        RAISE NOTICE '%', SQLERRM;
    END;
END $$;
SELECT * FROM steps ORDER BY id;
-- A table is its own source.
SELECT * FROM idempotent_merge('steps', 'steps');
CREATE VIEW doubled AS SELECT id, v * 2 AS v FROM steps UNION ALL SELECT id + 2, v FROM steps;
SELECT * FROM idempotent_merge('steps', 'doubled');
SELECT * FROM steps ORDER BY id;

SET client_min_messages = warning;
DROP SCHEMA merge CASCADE;
