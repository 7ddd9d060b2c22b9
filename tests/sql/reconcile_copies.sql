-- Tables that are copies of each other are compared by the bytes in which their rows are stored. That is a short way to the
-- answer «equal», never another answer: each of these tables would look like a copy if something about it were overlooked.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET max_parallel_workers_per_gather = 0;
CREATE TABLE orders (id int PRIMARY KEY, a int NOT NULL, b int, c text);
INSERT INTO orders SELECT i, i, nullif(i % 3, 0), repeat('x', i % 50) FROM generate_series(1, 20000) AS i;
CREATE TABLE copied AS SELECT * FROM orders ORDER BY md5(id::text);
ANALYZE orders, copied;
-- How often the rows of a table were read so far, in this transaction.
CREATE FUNCTION readings(relation regclass) RETURNS numeric LANGUAGE sql AS $$
    SELECT round(seq_tup_read / 20000.0, 2) FROM pg_stat_xact_user_tables WHERE relid = relation
$$;
SELECT pg_stat_force_next_flush();
-- The rows of a copy are read once, and nothing else is. Where a row differs, more than once.
BEGIN;
SELECT count(*), readings('orders'), readings('copied') FROM idempotent_reconcile('orders', 'copied') AS d;
ROLLBACK;
BEGIN;
UPDATE copied SET b = 7 WHERE id = 5000;
SELECT status, key, differences FROM idempotent_reconcile('orders', 'copied') AS d;
SELECT readings('orders') > 1.5 AS again;
ROLLBACK;
-- A row too few, too many, twice; values that changed places.
BEGIN; DELETE FROM copied WHERE id = 3; SELECT status, key FROM idempotent_reconcile('orders', 'copied'); ROLLBACK;
BEGIN; DELETE FROM orders WHERE id = 3; SELECT status, key FROM idempotent_reconcile('orders', 'copied'); ROLLBACK;
BEGIN; INSERT INTO copied SELECT * FROM copied WHERE id = 3; DELETE FROM copied WHERE id = 4; SELECT status, key FROM idempotent_reconcile('orders', 'copied'); ROLLBACK;
BEGIN; UPDATE copied SET a = 12 - a WHERE id IN (5, 7); SELECT status, key, differences FROM idempotent_reconcile('orders', 'copied'); ROLLBACK;
-- The same bytes with another map of NULLs.
BEGIN; UPDATE orders SET b = 1 WHERE id = 6; UPDATE copied SET b = 1 WHERE id = 6; UPDATE copied SET b = NULL WHERE id = 7; SELECT status, key, differences FROM idempotent_reconcile('orders', 'copied'); ROLLBACK;
-- What the statement's snapshot does not show does not count.
BEGIN;
WITH changed AS (UPDATE copied SET a = a + 1 WHERE id < 10 RETURNING id) SELECT count(*), (SELECT count(*) FROM idempotent_reconcile('orders', 'copied')) AS deviations FROM changed;
SELECT count(*) FROM idempotent_reconcile('orders', 'copied');
ROLLBACK;
-- Other names, the same types.
CREATE TABLE renamed (id int, b int, a int, c text);
INSERT INTO renamed SELECT id, a, b, c FROM orders WHERE b IS NOT NULL;
CREATE TABLE some_orders (LIKE orders INCLUDING ALL);
INSERT INTO some_orders SELECT * FROM orders WHERE b IS NOT NULL;
SELECT status, count(*) FROM idempotent_reconcile('some_orders', 'renamed') GROUP BY 1;
-- Another type: the same bytes mean another value.
CREATE TABLE measured (id int PRIMARY KEY, a float4, b int, c text);
CREATE TABLE counted (id int, a int, b int, c text);
INSERT INTO measured SELECT id, 1, b, c FROM orders;
INSERT INTO counted SELECT id, 1065353216, b, c FROM orders;
SELECT differences, count(*) FROM idempotent_reconcile('measured', 'counted') GROUP BY 1;
-- A column whose value older rows do not contain.
CREATE TABLE grown (LIKE orders INCLUDING ALL);
CREATE TABLE grown_otherwise (LIKE orders INCLUDING ALL);
INSERT INTO grown SELECT * FROM orders;
INSERT INTO grown_otherwise SELECT * FROM orders;
ALTER TABLE grown ADD d int DEFAULT 1;
ALTER TABLE grown_otherwise ADD d int DEFAULT 2;
SELECT differences, count(*) FROM idempotent_reconcile('grown', 'grown_otherwise') GROUP BY 1;
-- Two rows with the same bytes: of one with eight columns, the second half of the map of NULLs is the first column of the other.
CREATE TABLE eight (c1 int8 PRIMARY KEY, c2 int8, c3 int8, c4 int8, c5 int8, c6 int8, c7 int8, c8 text);
CREATE TABLE nine (LIKE eight);
INSERT INTO eight (c1, c8) SELECT id, repeat('y', 50) FROM orders;
INSERT INTO nine (c1, c8) SELECT id, repeat('y', 50) FROM orders;
INSERT INTO eight (c1, c8) VALUES (0, 'aaaaaaaA' || repeat('x', 31));
ALTER TABLE eight ADD c9 int;
ALTER TABLE nine ADD c9 int;
INSERT INTO nine (c1, c8) VALUES (x'6161616161616151'::int8, repeat('x', 31));
SELECT status, key FROM idempotent_reconcile('eight', 'nine');
-- A column that was dropped.
CREATE TABLE shrunk (id int PRIMARY KEY, x int, a int, b int, c text);
CREATE TABLE shrunk_otherwise (id int, a int, x int, b int, c text);
INSERT INTO shrunk SELECT id, 5, a, b, c FROM orders;
INSERT INTO shrunk_otherwise SELECT id, 5, a, b, c FROM orders;
ALTER TABLE shrunk DROP x;
ALTER TABLE shrunk_otherwise DROP x;
SELECT status, count(*) FROM idempotent_reconcile('shrunk', 'shrunk_otherwise') GROUP BY 1;
-- A key with a NULL in it equals no other.
CREATE TABLE loose (id int UNIQUE, a int, b int, c text);
CREATE TABLE loose_copy (LIKE loose);
INSERT INTO loose SELECT nullif(id, 5), a, b, c FROM orders;
INSERT INTO loose_copy SELECT * FROM loose;
SELECT status, key FROM idempotent_reconcile('loose', 'loose_copy');
-- Values outside of their rows.
CREATE TABLE documents (id int PRIMARY KEY, body text);
ALTER TABLE documents ALTER body SET STORAGE EXTERNAL;
INSERT INTO documents SELECT i, repeat(md5(i::text), 100) FROM generate_series(1, 200) AS i;
INSERT INTO documents SELECT i, 'short' || i FROM generate_series(201, 20000) AS i;
CREATE TABLE documents_copy (LIKE documents INCLUDING STORAGE);
INSERT INTO documents_copy SELECT * FROM documents;
SELECT count(*) FROM idempotent_reconcile('documents', 'documents_copy');
UPDATE documents_copy SET body = overlay(body placing '!' from 3000) WHERE id = 17;
SELECT status, key FROM idempotent_reconcile('documents', 'documents_copy');
-- Columns that are left out of the comparison.
UPDATE copied SET c = 'other' WHERE id = 9;
SELECT count(*) FROM idempotent_reconcile('orders', 'copied', ignore => '{c}');
SELECT status, key FROM idempotent_reconcile('orders', 'copied', compare => '{c}');
UPDATE copied SET c = (SELECT c FROM orders WHERE id = 9) WHERE id = 9;
-- The rights are those of a SELECT: nobody learns that tables are equal that they may not read, and policies hide rows.
CREATE ROLE reader;
GRANT SELECT (id, a, b) ON orders, copied TO reader;
SET ROLE reader;
SELECT count(*) FROM idempotent_reconcile('orders', 'copied');
RESET ROLE;
GRANT SELECT ON orders, copied TO reader;
SET ROLE reader;
SELECT count(*) FROM idempotent_reconcile('orders', 'copied');
RESET ROLE;
ALTER TABLE copied ENABLE ROW LEVEL SECURITY;
CREATE POLICY small ON copied TO reader USING (id > 2);
SET ROLE reader;
SELECT status, key FROM idempotent_reconcile('orders', 'copied');
RESET ROLE;
REVOKE ALL ON orders, copied FROM reader;
DROP POLICY small ON copied;
DROP ROLE reader;
-- Tables that inherit from the source belong to it; those that inherit from the target do not.
CREATE TABLE more () INHERITS (copied);
INSERT INTO more VALUES (20001, 1, 1, 'x');
SELECT status, key FROM idempotent_reconcile('orders', 'copied');
DROP TABLE more;
CREATE TABLE more () INHERITS (orders);
INSERT INTO more VALUES (20001, 1, 1, 'x');
SELECT count(*) FROM idempotent_reconcile('orders', 'copied');
DROP TABLE more;
