-- The functions that insert or verify, on a foreign table whose key is named. Needs postgres_fdw.
SELECT count(*) = 0 AS no_fdw FROM pg_available_extensions WHERE name = 'postgres_fdw' \gset
\if :no_fdw
\echo SKIPPED: this server has no postgres_fdw
\quit
\endif
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :SQLSTATE'
CREATE EXTENSION postgres_fdw;
SELECT format('host %L, port %L, dbname %L', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()) AS there \gset
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (:there);
CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE SCHEMA there;
CREATE TABLE there.ledger (order_id int PRIMARY KEY, amount numeric(9,2), status text UNIQUE);
CREATE FOREIGN TABLE ledger (order_id int NOT NULL, amount numeric(9,2), status text) SERVER far OPTIONS (schema_name 'there');
-- Inserted, verified, differing.
SELECT * FROM idempotent_insert_many('ledger', '[{"order_id": 2, "amount": 20}, {"order_id": 1, "amount": 10, "status": "paid"}, {"order_id": 2, "amount": 20.0}]', key => '{order_id}');
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1, "amount": 10.00, "status": "paid"}', key => '{order_id}');
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1, "amount": 11}', key => '{order_id}');
:state
SELECT * FROM idempotent_insert_each('ledger', '[{"order_id": 3, "amount": 30}, {"order_id": 1, "amount": 11}, {"order_id": 3, "amount": 31}]', key => '{order_id}', on_conflict => 'report');
CREATE TABLE orders AS SELECT i AS order_id, i * 10 AS amount, NULL::text AS status FROM generate_series(2, 700) AS i;
SELECT * FROM idempotent_insert_from('ledger', 'orders', key => '{order_id}', token => 'orders');
SELECT * FROM idempotent_insert_from('ledger', 'orders', key => '{order_id}');
SELECT * FROM idempotent_insert_from('ledger', 'orders', key => '{order_id}', token => 'orders');
SELECT count(*), sum(amount) FROM there.ledger;
-- A pure retry writes nothing.
BEGIN READ ONLY;
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1, "amount": 10, "status": "paid"}', key => '{order_id}');
COMMIT;
BEGIN;
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1000}', key => '{order_id}');
ROLLBACK;
SELECT count(*) FROM there.ledger WHERE order_id = 1000;
-- Another unique index of the other server keeps a row out.
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1001, "status": "paid"}', key => '{order_id}');
:state
-- Rows that the other server refuses are set aside.
ALTER TABLE there.ledger ADD CHECK (amount < 10000);
SELECT * FROM idempotent_insert_each('ledger', '[{"order_id": 1002, "amount": 1}, {"order_id": 1003, "amount": 10000}, {"order_id": 1004, "amount": 2}]', key => '{order_id}', on_error => 'report');
-- The key has to be named, of columns that can be looked for; a NULL in it is none.
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1}', key => '{nothing}');
:state
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1}', key => '{lower(status)}');
:state
SELECT * FROM idempotent_insert('ledger', '{"order_id": null}', key => '{order_id}');
:state
CREATE FOREIGN TABLE lists (ids int[], v int) SERVER far OPTIONS (schema_name 'there');
SELECT * FROM idempotent_insert('lists', '{"ids": [1], "v": 1}', key => '{ids}');
:state
-- A conflict is recorded here. Its payload cannot be applied from here.
SELECT outcome FROM idempotent_insert('ledger', '{"order_id": 1, "amount": 11}', key => '{order_id}', on_conflict => 'quarantine');
SELECT target, key, payload, stored FROM idempotent.conflicts;
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts;
:state
SELECT idempotent_resolve(id, 'keep_stored') FROM idempotent.conflicts;
-- With the rights of the caller, and the user mapping of the caller.
CREATE ROLE regress_pgi_far;
SELECT idempotent_insert('ledger', '{"order_id": 1}', key => '{order_id}') IS NOT NULL AS done;
SET ROLE regress_pgi_far;
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1}', key => '{order_id}');
:state
RESET ROLE;
GRANT SELECT, INSERT ON ledger TO regress_pgi_far;
SET ROLE regress_pgi_far;
-- The server's own words differ between versions.
\set VERBOSITY sqlstate
SELECT * FROM idempotent_insert('ledger', '{"order_id": 1}', key => '{order_id}');
\set VERBOSITY default
RESET ROLE;
DROP OWNED BY regress_pgi_far;
DROP ROLE regress_pgi_far;
-- What the other server lets in twice, sees in another way, or hides.
CREATE TABLE there.loose (id int, v int);
CREATE FOREIGN TABLE loose (id int, v int) SERVER far OPTIONS (schema_name 'there');
INSERT INTO there.loose VALUES (1, 1), (2, 1), (2, 2), (3, 1);
SELECT outcome FROM idempotent_insert_each('loose', '[{"id": 1, "v": 1}, {"id": 3, "v": 1}, {"id": 4, "v": 1}]', key => '{id}');
SELECT outcome FROM idempotent_insert_each('loose', '[{"id": 3, "v": 1}, {"id": 2, "v": 1}]', key => '{id}', on_conflict => 'report');
:state
CREATE TABLE there.short (id numeric(9,2) PRIMARY KEY, v int);
CREATE FOREIGN TABLE short (id numeric, v int) SERVER far OPTIONS (schema_name 'there');
SELECT outcome FROM idempotent_insert('short', '{"id": 1.00}', key => '{id}');
SELECT outcome FROM idempotent_insert('short', '{"id": 1.0}', key => '{id}');
SELECT outcome FROM idempotent_insert('short', '{"id": 1.234}', key => '{id}');
:state
CREATE VIEW there.seen AS SELECT * FROM there.loose WHERE v > 1;
CREATE UNIQUE INDEX ON there.loose (id) WHERE id <> 2;
CREATE FOREIGN TABLE seen (id int, v int) SERVER far OPTIONS (schema_name 'there');
SELECT outcome FROM idempotent_insert('seen', '{"id": 3, "v": 3}', key => '{id}');
:state
-- The others want a table of this server, and say where to go.
SELECT idempotent_guard('ledger', key => '{order_id}');
:state
SELECT idempotent_view('ledger', 'ledger_view');
:state
-- Only the other server can say whether the key is unique.
ALTER FOREIGN TABLE ledger OPTIONS (table_name 'ledger');
CREATE FOREIGN TABLE "Quoted" (id int) SERVER far OPTIONS (schema_name 'the "schema"', table_name 'it''s');
SELECT * FROM idempotent_lint('ledger');
SELECT hint FROM idempotent_lint('"Quoted"');
SELECT idempotent_guard('"Quoted"');
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nothing FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE nothing (id int) SERVER nothing;
SELECT hint FROM idempotent_lint('nothing');
SELECT idempotent_guard('nothing');
