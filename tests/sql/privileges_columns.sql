-- INSERT on the columns of the payload and SELECT on the key are enough. A compared column that the caller may not read is verified, and
-- its stored value is never shown.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_clerk;
CREATE ROLE regress_pgi_writer;
CREATE SCHEMA privileges_columns;
GRANT USAGE ON SCHEMA privileges_columns TO regress_pgi_clerk, regress_pgi_writer;
SET search_path = privileges_columns, public;
CREATE TABLE orders (order_id int PRIMARY KEY, amount numeric(9,2), secret text DEFAULT 'none', status text);
INSERT INTO orders VALUES (1, 10, 'very secret', 'paid');

GRANT INSERT (order_id, amount), SELECT (order_id) ON orders TO regress_pgi_writer;
SET ROLE regress_pgi_writer;
SELECT * FROM idempotent_insert('orders', '{"order_id": 2, "amount": 20}');
SELECT * FROM idempotent_insert('orders', '{"order_id": 2, "amount": 20.00}');
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 12}', on_conflict => 'report');
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 12}');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": 1, "amount": 12}, {"order_id": 2, "amount": 21}]');
:state
RESET ROLE;
-- Part of the columns: readable ones are shown.
GRANT INSERT ON orders TO regress_pgi_clerk;
GRANT SELECT (order_id, amount, status) ON orders TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 12, "secret": "guess"}', on_conflict => 'report');
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 12, "secret": "guess"}');
:state
SELECT * FROM idempotent_insert_each('orders', '[{"order_id": 1, "amount": 10}, {"order_id": 1, "amount": 10, "secret": "guess"}]', on_conflict => 'report');
RESET ROLE;
TABLE orders;
SET client_min_messages = warning;
DROP SCHEMA privileges_columns CASCADE;
DROP ROLE regress_pgi_clerk, regress_pgi_writer;
