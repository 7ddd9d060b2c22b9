-- What an overwrite reads, and when: a source that has other rows each time, and the isolation levels.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA overwrite_reads;
SET search_path = overwrite_reads, public;
CREATE TABLE sales (day date, shop text, n int, price numeric, note text DEFAULT 'new');
CREATE TABLE arriving (shop text, n int, price numeric, day date);
INSERT INTO arriving VALUES ('a', 1, 1.5, '2020-01-01'), ('b', 2, 2.5, '2020-01-01'), (NULL, NULL, NULL, '2020-01-01'), ('b', 2, 2.5, '2020-01-01');
CREATE VIEW first_day AS SELECT '2020-01-01'::date AS day, 7 AS n;
-- The source is read once to compare, and once more to insert.
INSERT INTO sales VALUES ('2020-01-01', 'a', 0, 0);
CREATE SEQUENCE odd;
CREATE VIEW changing AS SELECT '2020-01-01'::date AS day, nextval('odd')::int AS n;
SELECT * FROM idempotent_overwrite('sales', 'changing', '{"day": "2020-01-01"}');
SELECT n FROM sales WHERE day = '2020-01-01';
-- At the higher levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
:state
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
SELECT * FROM idempotent_overwrite('sales', 'first_day', '{"day": "2020-01-01"}');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
:state
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
COMMIT;
SELECT * FROM sales ORDER BY n, shop;
-- An equal slice is left alone at every level.
SELECT deleted > 0 AS replaced FROM idempotent_overwrite('sales', 'first_day', '{"day": "2020-01-01"}');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM idempotent_overwrite('sales', 'first_day', '{"day": "2020-01-01"}');
COMMIT;
SET client_min_messages = warning;
DROP SCHEMA overwrite_reads CASCADE;
