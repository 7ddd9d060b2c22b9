-- idempotent_reconcile: a row for each deviation of a table from a table or view, in the order of the key.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :SQLSTATE'
CREATE TABLE orders (order_id int PRIMARY KEY, amount numeric(9,2), status text, note text DEFAULT 'none');
CREATE TABLE arrived (status text, order_id text, amount text);
CREATE VIEW typed AS SELECT status, order_id::bigint AS order_id, amount::numeric AS amount FROM arrived;
INSERT INTO orders VALUES (1, 10, 'paid'), (2, 20, 'paid'), (3, NULL, 'open'), (5, 50, 'void');
SELECT * FROM idempotent_reconcile('orders', 'orders');
INSERT INTO arrived VALUES ('paid', '2', '20.0'), ('paid', '4', '40'), ('open', '3', '30.005'), ('paid', '1', '10');
SELECT * FROM idempotent_reconcile('orders', 'typed');
-- Nothing of both, all of one side.
CREATE TABLE empty (LIKE orders INCLUDING ALL);
SELECT * FROM idempotent_reconcile('empty', 'empty');
SELECT status, key FROM idempotent_reconcile('orders', 'empty');
SELECT status, key FROM idempotent_reconcile('empty', 'orders');
-- Which columns are compared.
SELECT status, key, differences FROM idempotent_reconcile('orders', 'typed', compare => '{status}');
SELECT status, key, differences FROM idempotent_reconcile('orders', 'typed', ignore => '{amount}');
CREATE VIEW keys AS SELECT order_id FROM orders;
SELECT * FROM idempotent_reconcile('orders', 'keys');
-- It needs no more than reading, and changes nothing.
BEGIN READ ONLY;
SELECT count(*) FROM idempotent_reconcile('orders', 'typed');
SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND mode <> 'AccessShareLock';
COMMIT;
-- After a load, what was missing is there.
SELECT * FROM idempotent_insert_from('orders', 'typed', on_conflict => 'report');
SELECT status, key, differences FROM idempotent_reconcile('orders', 'typed');

-- Rows of the source under one key: each is judged; of what is missing, the first, and what differs from it.
CREATE TABLE twice (order_id int, amount numeric, status text);
INSERT INTO twice VALUES (1, 10, 'paid'), (1, 11, 'paid'), (1, 12, 'void'), (7, 70, 'paid'), (7, 70.00, 'paid'), (7, 71, 'paid'), (7, 70, 'paid');
SELECT status, key, expected, differences FROM idempotent_reconcile('orders', 'twice') WHERE status <> 'unexpected';

-- NULL in the key: equal to no other, unless the index says otherwise.
CREATE TABLE nullable (a int, b text, v int, UNIQUE (a, b));
CREATE TABLE nullable_source (LIKE nullable);
INSERT INTO nullable VALUES (1, NULL, 1), (1, 'x', 1), (NULL, NULL, 2), (NULL, NULL, 3);
INSERT INTO nullable_source VALUES (1, NULL, 1), (1, 'x', 1), (NULL, NULL, 2), (NULL, NULL, 2);
SELECT status, key, stored, expected FROM idempotent_reconcile('nullable', 'nullable_source');
CREATE TABLE nulls_equal (a int, b text, v int, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO nulls_equal VALUES (1, NULL, 1), (NULL, NULL, 2);
SELECT status, key, differences FROM idempotent_reconcile('nulls_equal', 'nullable_source');
INSERT INTO nullable_source VALUES (1, NULL, 9), (2, NULL, 1), (2, NULL, 1);
SELECT status, key, differences FROM idempotent_reconcile('nulls_equal', 'nullable_source');

-- Types: equality is that of the column, keys have the order of the index.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b numeric);
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE TABLE "Typed" (
    "select" code, "Key" mood, n numeric, f float8, j jsonb, js json, p pair, a int[], r numrange, x point, t timestamptz, c char(5), s varchar(3),
    PRIMARY KEY ("Key", "select")
);
INSERT INTO "Typed" VALUES
    ('a', 'sad', 1.0, 'NaN', '{"a": 1, "b": 2}', '{"a": 1}', (1, 1.0), '{1,2}', '[1,2]', '(1,2)', '2013-11-03 01:00-04', 'c', 'abc'),
    ('a', 'happy', 1.0, 0, '{"a": 1}', '{"a": 1}', (1, 1.0), '{1,2}', '[1,2]', '(1,2)', '2013-11-03 01:00-04', 'c', 'abc'),
    ('b', 'happy', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE typed_source (
    "Key" mood, "select" varchar, n numeric, f float4, j jsonb, js json, p pair, a bigint[], r numrange, x point, t timestamptz, c text, s text
);
INSERT INTO typed_source VALUES
    ('sad', 'a', 1.00, 'NaN', '{"b": 2, "a": 1.0}', '{"a"  : 1.0}', (1, 1.00), '{1,2}', '[1.0,2]', '(1,2)', '2013-11-03 05:00+00', 'c    ', 'abc  '),
    ('happy', 'a', 2, 1, '{"a": null}', '{"a": 2}', (1, 2), '{2,1}', '(1,2]', '(1,3)', '2013-11-03 01:00-05', 'd', 'abd'),
    ('sad', 'b', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SET timezone = 'UTC';
SELECT status, key, jsonb_pretty(differences) FROM idempotent_reconcile('"Typed"', 'typed_source');
SELECT stored FROM idempotent_reconcile('"Typed"', 'typed_source') WHERE status = 'different';
-- A value that does not fit, as in an INSERT; the row of the source is in CONTEXT.
\set SHOW_CONTEXT always
INSERT INTO typed_source ("Key", "select", s) VALUES ('happy', 'd', 'too long');
SELECT * FROM idempotent_reconcile('"Typed"', 'typed_source');
:state
TRUNCATE typed_source;
INSERT INTO typed_source ("Key", "select") VALUES ('happy', '');
SELECT * FROM idempotent_reconcile('"Typed"', 'typed_source');
:state
\set SHOW_CONTEXT never

-- Partitions, other places of columns in them, dropped and generated columns; tables that inherit are others.
CREATE TABLE parted (gone int, id int, region text, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
ALTER TABLE parted DROP COLUMN gone;
CREATE TABLE parted_n PARTITION OF parted FOR VALUES IN ('n');
CREATE TABLE parted_s (v int, region text NOT NULL, gone int, id int NOT NULL, twice int GENERATED ALWAYS AS (v * 2) STORED);
ALTER TABLE parted_s DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_s FOR VALUES IN ('s');
INSERT INTO parted VALUES (1, 'n', 1), (2, 'n', 2), (1, 's', 3), (2, 's', 4);
CREATE VIEW parts AS VALUES ('n', 1, 1, 2), ('s', 2, 5, 10), ('n', 3, 6, 13), ('s', 1, 3, 7);
CREATE VIEW parts_named(region, id, v, twice) AS TABLE parts;
SELECT status, key, differences FROM idempotent_reconcile('parted', 'parts_named');
SELECT status, key FROM idempotent_reconcile('parted_s', 'parted');
CREATE TABLE parent (id int PRIMARY KEY, v int);
CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1, 1);
INSERT INTO child VALUES (1, 2), (3, 3);
SELECT * FROM idempotent_reconcile('parent', 'parent');
SELECT * FROM idempotent_reconcile('child', 'parent');
:state
CREATE TEMP TABLE orders_here AS TABLE orders;
CREATE MATERIALIZED VIEW orders_kept AS TABLE orders;
SELECT (SELECT count(*) FROM idempotent_reconcile('orders', 'orders_here')), (SELECT count(*) FROM idempotent_reconcile('orders', 'orders_kept'));

-- A guard in force says what is compared, as it does for idempotent_insert_from.
CREATE TABLE guarded (id int PRIMARY KEY, v int, at timestamptz DEFAULT clock_timestamp());
SELECT FROM idempotent_guard('guarded');
INSERT INTO guarded VALUES (1, 1, 'epoch'), (2, 2, 'epoch');
CREATE VIEW guarded_source AS SELECT id, v + id / 2 AS v, now() AS at FROM guarded;
SELECT status, key, differences FROM idempotent_reconcile('guarded', 'guarded_source');
SELECT count(*) FROM idempotent_reconcile('guarded', 'guarded_source', compare => '{v,at}') WHERE differences ? 'at';

-- Another key than the primary key.
CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, country text, name text, UNIQUE (country, email));
INSERT INTO people (email, country, name) VALUES ('a@x', 'de', 'A'), ('b@x', 'de', 'B');
CREATE VIEW people_source AS VALUES ('b@x', 'de', 'C'), ('a@x', 'fr', 'A');
CREATE VIEW people_named(email, country, name) AS TABLE people_source;
SELECT * FROM idempotent_reconcile('people', 'people_named');
SELECT status, key FROM idempotent_reconcile('people', 'people_named', key => '{email,country}');

-- Wrong arguments.
SELECT * FROM idempotent_reconcile(NULL, 'typed');
:state
SELECT * FROM idempotent_reconcile('orders', NULL);
:state
SELECT * FROM idempotent_reconcile(0, 'typed');
:state
SELECT * FROM idempotent_reconcile('orders', 4294967295::oid);
:state
SELECT * FROM idempotent_reconcile('typed', 'orders');
:state
SELECT * FROM idempotent_reconcile('orders', 'orders_pkey');
:state
SELECT * FROM idempotent_reconcile('orders', 'arrived');
:state
SELECT * FROM idempotent_reconcile('arrived', 'arrived');
:state
SELECT * FROM idempotent_reconcile('orders', 'typed', key => '{status}');
:state
SELECT * FROM idempotent_reconcile('orders', 'typed', key => '{}');
:state
SELECT * FROM idempotent_reconcile('orders', 'typed', key => '{nope}');
:state
SELECT * FROM idempotent_reconcile('orders', 'people_named', key => '{order_id}');
:state
SELECT * FROM idempotent_reconcile('people', 'people_named', key => '{id}');
:state
SELECT * FROM idempotent_reconcile('orders', 'typed', compare => '{amuont}');
:state
SELECT * FROM idempotent_reconcile('orders', 'typed', compare => '{order_id}');
:state
SELECT * FROM idempotent_reconcile('orders', 'typed', compare => '{amount}', ignore => '{status}');
:state
SELECT * FROM idempotent_reconcile('orders', 'typed', ignore => ARRAY[NULL]);
:state
ALTER TABLE twice ADD COLUMN more int;
SELECT * FROM idempotent_reconcile('orders', 'twice');
:state
CREATE VIEW broken AS SELECT 1 / (order_id - 2) AS amount, order_id FROM orders;
SELECT * FROM idempotent_reconcile('orders', 'broken');
:state
SELECT idempotent_reconcile('orders', 'typed') IS NULL LIMIT 1;

-- Privileges: SELECT on what is read, on both sides; what is hidden is not there.
CREATE ROLE regress_pgi_auditor;
GRANT SELECT ON typed TO regress_pgi_auditor;
GRANT SELECT (order_id, status) ON orders TO regress_pgi_auditor;
CREATE VIEW statuses AS SELECT order_id, CASE order_id WHEN 2 THEN 'void' ELSE status END AS status FROM orders WHERE order_id < 3;
GRANT SELECT ON statuses TO regress_pgi_auditor;
SET ROLE regress_pgi_auditor;
SELECT * FROM idempotent_reconcile('orders', 'statuses');
SELECT * FROM idempotent_reconcile('orders', 'typed');
:state
SELECT * FROM idempotent_reconcile('orders', 'typed', compare => '{status}');
:state
SELECT * FROM idempotent_reconcile('orders', 'twice');
:state
RESET ROLE;
GRANT SELECT ON orders TO regress_pgi_auditor;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON orders FOR SELECT TO regress_pgi_auditor USING (order_id <> 2 AND status <> 'void');
SET ROLE regress_pgi_auditor;
SELECT status, key, stored, differences FROM idempotent_reconcile('orders', 'statuses');
SET row_security = off;
SELECT * FROM idempotent_reconcile('orders', 'statuses');
:state
RESET row_security;
RESET ROLE;
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
SET ROLE regress_pgi_auditor;
SELECT count(*) FROM public.idempotent_reconcile('public.orders', 'public.statuses');
:state
RESET ROLE;
GRANT USAGE ON SCHEMA public TO PUBLIC;
-- No operator of the caller's answers in place of the server's.
CREATE SCHEMA trap;
CREATE FUNCTION trap.never(int, int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE ''trapped''; END';
CREATE OPERATOR trap.= (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.never);
CREATE OPERATOR trap.< (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.never);
SET search_path = trap, pg_catalog, public;
SELECT count(*) FROM idempotent_reconcile('orders', 'orders');
RESET search_path;
DROP SCHEMA trap CASCADE;
DROP OWNED BY regress_pgi_auditor;
DROP ROLE regress_pgi_auditor;
DROP MATERIALIZED VIEW orders_kept;
DROP TABLE orders, arrived, empty, twice, nullable, nullable_source, nulls_equal, "Typed", typed_source, parted, parent, child, guarded, people CASCADE;
