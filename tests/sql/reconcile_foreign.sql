-- A foreign table as the target of idempotent_reconcile: what its key is, what is said of rows, what is refused. Needs two contrib modules.
SELECT count(*) < 2 AS no_fdw FROM pg_available_extensions WHERE name IN ('postgres_fdw', 'file_fdw') \gset
\if :no_fdw
\echo SKIPPED: this server has no postgres_fdw or no file_fdw
\quit
\endif
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :SQLSTATE'
CREATE EXTENSION postgres_fdw;
SELECT format('host %L, port %L, dbname %L', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()) AS there \gset
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (:there, extensions 'pg_idempotent');
CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE SCHEMA there;
CREATE TABLE there.ledger (order_id int, amount numeric(9,2), status text, note text DEFAULT 'none');
CREATE FOREIGN TABLE ledger (order_id int NOT NULL, amount numeric(9,2), status text, note text) SERVER far OPTIONS (schema_name 'there');
CREATE TABLE orders (order_id int PRIMARY KEY, amount numeric, status text);
INSERT INTO there.ledger VALUES (1, 10, 'paid'), (2, 20, 'paid'), (3, NULL, 'open'), (5, 50, 'void');
INSERT INTO orders VALUES (1, 10.000, 'paid'), (2, 25, 'paid'), (3, NULL, 'open'), (4, 40, 'open');

-- The key is that of the source's index, or named. Values are converted to the types of the target.
SELECT * FROM idempotent_reconcile('ledger', 'orders');
SELECT * FROM idempotent_reconcile('ledger', 'orders', key => '{order_id}', compare => '{status}');
SELECT status, key, differences FROM idempotent_reconcile('ledger', 'orders', key => '{status,order_id}', "limit" => 2);
SELECT status, outcome FROM idempotent_repair('ledger', 'orders');
-- The other way round it says the opposite.
CREATE VIEW seen AS SELECT order_id, amount, status FROM ledger;
SELECT status, key FROM idempotent_reconcile('orders', 'seen');
CREATE VIEW typed AS SELECT order_id::bigint, amount, status FROM there.ledger;
SELECT status, key FROM idempotent_reconcile('ledger', 'typed', key => '{order_id}');
-- Both are foreign tables.
CREATE FOREIGN TABLE far_orders (order_id int, amount numeric, status text) SERVER far OPTIONS (schema_name 'public', table_name 'orders');
SELECT status, key, differences FROM idempotent_reconcile('ledger', 'far_orders', key => '{order_id}');
-- It reads only.
BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM idempotent_reconcile('ledger', 'orders');
SELECT count(*) FROM idempotent_repair('ledger', 'orders');
COMMIT;

-- A view, a table without an index, and a foreign table say nothing of a key.
SELECT * FROM idempotent_reconcile('ledger', 'typed');
:state
SELECT * FROM idempotent_reconcile('ledger', 'far_orders');
:state
-- The indexes of the source: on columns that the target has, not partial, and on no expression.
CREATE TABLE indexed (order_id int, amount numeric, status text);
CREATE UNIQUE INDEX ON indexed (order_id) WHERE amount > 0;
CREATE UNIQUE INDEX ON indexed ((order_id + 1));
ALTER TABLE indexed ADD UNIQUE (order_id) DEFERRABLE;
SELECT * FROM idempotent_reconcile('ledger', 'indexed');
:state
CREATE UNIQUE INDEX indexed_a ON indexed (order_id);
CREATE UNIQUE INDEX indexed_b ON indexed (status, order_id);
SELECT * FROM idempotent_reconcile('ledger', 'indexed');
:state
SELECT status, key FROM idempotent_reconcile('ledger', 'indexed', key => '{order_id,status}', "limit" => 1);
DROP TABLE indexed;
-- What the source numbers by itself is a key if it is named.
CREATE TABLE numbered (order_id serial PRIMARY KEY, status text);
INSERT INTO numbered (status) SELECT status FROM orders ORDER BY order_id;
SELECT * FROM idempotent_reconcile('ledger', 'numbered');
:state
SELECT status, key, differences FROM idempotent_reconcile('ledger', 'numbered', key => '{order_id}');
CREATE MATERIALIZED VIEW material AS TABLE orders;
CREATE UNIQUE INDEX ON material (order_id);
SELECT status, key FROM idempotent_reconcile('ledger', 'material');
CREATE TABLE partitioned (LIKE orders INCLUDING ALL) PARTITION BY HASH (order_id);
CREATE TABLE part PARTITION OF partitioned FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO partitioned TABLE orders;
SELECT status, key FROM idempotent_reconcile('ledger', 'partitioned');

-- What cannot be a key.
SELECT * FROM idempotent_reconcile('ledger', 'orders', key => '{lower(status)}');
:state
SELECT * FROM idempotent_reconcile('ledger', 'orders', key => '{ordr_id}');
:state
SELECT * FROM idempotent_reconcile('ledger', 'orders', key => '{order_id,order_id}');
:state
SELECT * FROM idempotent_reconcile('ledger', 'orders', key => '{}');
:state
SELECT * FROM idempotent_reconcile('ledger', 'orders', key => '{note}');
:state
SELECT * FROM idempotent_reconcile('ledger', 'orders', compare => '{order_id}');
:state
SELECT * FROM idempotent_reconcile('ledger', NULL);
:state
CREATE FOREIGN TABLE documents (document json, place point) SERVER far OPTIONS (schema_name 'there');
CREATE VIEW documents_in AS SELECT NULL::json AS document;
SELECT * FROM idempotent_reconcile('documents', 'documents_in', key => '{document}');
:state
CREATE VIEW more AS SELECT 1 AS order_id, 2 AS surplus;
SELECT * FROM idempotent_reconcile('ledger', 'more', key => '{order_id}');
:state
-- A default of the foreign table completes the key, as one of a local table does.
CREATE FOREIGN TABLE ledger_default (order_id int, amount numeric(9,2), status text DEFAULT 'paid') SERVER far OPTIONS (schema_name 'there', table_name 'ledger');
CREATE VIEW unnamed AS SELECT order_id, amount FROM orders;
SELECT status, key FROM idempotent_reconcile('ledger_default', 'unnamed', key => '{order_id,status}');
-- The insert functions take it with a key, see insert_foreign; for the others it is no target.
SELECT idempotent_insert('ledger', '{"order_id": 1}', key => '{order_id}');
:state
SELECT idempotent_insert_from('ledger', 'orders');
:state
SELECT idempotent_merge('ledger', 'orders');
:state
SELECT idempotent_guard('ledger');
:state

-- Nothing makes the key unique there. One row is compared, and the others are unexpected.
CREATE TABLE there.twice (id int, v int);
CREATE FOREIGN TABLE twice (id int, v int) SERVER far OPTIONS (schema_name 'there');
CREATE TABLE once (id int PRIMARY KEY, v int);
INSERT INTO there.twice VALUES (1, 1), (1, 1), (2, 2), (2, 3), (3, 3);
INSERT INTO once VALUES (1, 1), (2, 4), (3, 3);
SELECT * FROM idempotent_reconcile('twice', 'once');
CREATE VIEW once_twice(id, v) AS VALUES (1, 1), (1, 2), (4, 4), (4, 4), (4, 5);
SELECT * FROM idempotent_reconcile('twice', 'once_twice', key => '{id}');
-- NULL equals no other in a key, unless the source's index says so.
CREATE TABLE there.nullable (a int, b text, v int);
CREATE FOREIGN TABLE nullable (a int, b text, v int) SERVER far OPTIONS (schema_name 'there');
CREATE TABLE nulls_differ (a int, b text, v int, UNIQUE (a, b));
CREATE TABLE nulls_equal (a int, b text, v int, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO there.nullable VALUES (1, NULL, 1), (NULL, NULL, 2), (2, 'x', 3);
INSERT INTO nulls_differ TABLE there.nullable;
INSERT INTO nulls_equal TABLE there.nullable;
SELECT status, key FROM idempotent_reconcile('nullable', 'nulls_differ');
SELECT status, key FROM idempotent_reconcile('nullable', 'nulls_equal');
SELECT status, key FROM idempotent_reconcile('nullable', 'nulls_equal', key => '{b,a}');
-- Types: equality is that of the target's column, and the order is that of its key.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE TABLE there."Typed" ("select" code, "Key" mood, n numeric, f float8, j jsonb, js json, a int[], r numrange, x point, c char(5));
CREATE FOREIGN TABLE "Typed" ("select" code, "Key" mood, n numeric, f float8, j jsonb, js json, a int[], r numrange, x point, c char(5))
    SERVER far OPTIONS (schema_name 'there');
INSERT INTO there."Typed" VALUES
    ('a', 'sad', 1.0, 'NaN', '{"a": 1, "b": 2}', '{"a": 1}', '{1,2}', '[1,2]', '(1,2)', 'c'),
    ('a', 'happy', 1.0, 0, '{"a": 1}', '{"a": 1}', '{1,2}', '[1,2]', '(1,2)', 'c'),
    ('b', 'happy', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE VIEW typed_in("select", "Key", n, f, j, js, a, r, x, c) AS VALUES
    ('a'::text, 'happy'::mood, 1.00, '-0'::float8, '{"a": 1.0}'::jsonb, '{"a":1}'::json, '{1,2}'::int[], '[1,2]'::numrange, '(1,2)'::point, 'c   '::text),
    ('a', 'sad', 1.1, 'NaN', '{"b": 2, "a": 1}', '{"a": 2}', '{1,3}', '(1,2]', '(1,3)', 'd'),
    ('b', 'happy', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'x');
SELECT status, key, differences FROM idempotent_reconcile('"Typed"', 'typed_in', key => '{Key,select}');

-- Tables that are large enough for sketches: only what differs is read, and duplicates and NULLs are found as well.
CREATE TABLE there.large (id int, v text);
CREATE FOREIGN TABLE large (id int, v text) SERVER far OPTIONS (schema_name 'there');
CREATE TABLE large_in (id int UNIQUE, v text);
INSERT INTO large_in SELECT i, repeat('x', 60) FROM generate_series(1, 12000) AS i;
INSERT INTO there.large TABLE large_in;
ANALYZE large_in;
SELECT * FROM idempotent_reconcile('large', 'large_in');
INSERT INTO there.large VALUES (7, repeat('x', 60)), (70, 'y'), (NULL, 'z'), (12001, 'new');
INSERT INTO large_in VALUES (NULL, 'z'), (0, 'old');
UPDATE large_in SET v = 'other' WHERE id IN (700, 7000);
SELECT status, key FROM idempotent_reconcile('large', 'large_in');
SELECT status, key FROM idempotent_reconcile('large', 'large_in', "limit" => 3);
CREATE FOREIGN TABLE large_far (id int, v text) SERVER far OPTIONS (table_name 'large_in');
SELECT status, key FROM idempotent_reconcile('large', 'large_far', key => '{id}');
CREATE VIEW large_view AS SELECT * FROM large_in WHERE id > 0;
SELECT status, key FROM idempotent_reconcile('large', 'large_view', key => '{id}');
-- A view that is computed here is read once.
CREATE SEQUENCE reads;
CREATE VIEW large_counted AS SELECT * FROM large_in WHERE nextval('reads') > 0;
SELECT status, key FROM idempotent_reconcile('large', 'large_counted', key => '{id}', "limit" => 1);
SELECT last_value - (SELECT count(*) FROM large_in) AS surplus FROM reads;
-- Who fetches all rows of which table says so.
ALTER SERVER far OPTIONS (DROP extensions);
SELECT status, key FROM idempotent_reconcile('large', 'large_in', "limit" => 1);
CREATE SERVER far_too FOREIGN DATA WRAPPER postgres_fdw OPTIONS (:there, extensions 'pg_idempotent');
CREATE USER MAPPING FOR CURRENT_USER SERVER far_too;
CREATE FOREIGN TABLE large_far_too (id int, v text) SERVER far_too OPTIONS (table_name 'large_in');
SELECT status, key FROM idempotent_reconcile('large', 'large_far_too', key => '{id}', "limit" => 1);
SELECT status, key FROM idempotent_reconcile('large_far_too', 'large', key => '{id}', "limit" => 1);

-- Another foreign data wrapper: it compares nothing itself, and does not write.
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE file (id int, v int) SERVER files OPTIONS (program 'printf "1,1\n2,3\n4,4\n"', format 'csv');
SELECT status, key, differences FROM idempotent_reconcile('file', 'once');
SELECT status, key, outcome FROM idempotent_repair('file', 'once');
SELECT status, key, outcome FROM idempotent_repair('file', 'once', dry_run => false);
:state
CREATE FOREIGN TABLE file_large (id int, v text) SERVER files OPTIONS (program 'printf "1,1\n2,3\n4,4\n"', format 'csv');
SELECT status, key FROM idempotent_reconcile('file_large', 'large_in', "limit" => 2);
