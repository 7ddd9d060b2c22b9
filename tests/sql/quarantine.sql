-- Quarantine: the conflict is recorded once, seen by those who may read the target, and ended by idempotent_resolve.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_owner;
CREATE ROLE regress_pgi_writer;
CREATE ROLE regress_pgi_reader;
CREATE ROLE regress_pgi_editor;
CREATE SCHEMA quarantine;
GRANT USAGE, CREATE ON SCHEMA quarantine TO regress_pgi_owner;
GRANT USAGE ON SCHEMA quarantine TO PUBLIC;
SET search_path = quarantine, public;
SET ROLE regress_pgi_owner;
CREATE TABLE orders (region text, order_id int, amount numeric(9,2), status text DEFAULT 'new', placed timestamptz DEFAULT '2013-11-03Z', PRIMARY KEY (region, order_id));
INSERT INTO orders VALUES ('eu', 1, 10, 'paid'), ('eu', 2, 20, 'paid');
GRANT INSERT ON orders TO regress_pgi_writer;
GRANT SELECT (region, order_id) ON orders TO regress_pgi_writer;
GRANT SELECT ON orders TO regress_pgi_reader;
GRANT SELECT, INSERT, UPDATE ON orders TO regress_pgi_editor;
RESET ROLE;

-- Whoever may write to the target may cause a record, and is told of the conflict.
SET ROLE regress_pgi_writer;
SELECT * FROM idempotent_insert('orders', '{"region": "eu", "order_id": 1, "amount": 12, "status": "pending"}', on_conflict => 'quarantine');
-- But does not see it.
SELECT target, key, stored FROM idempotent.conflicts;
SELECT count(*) FROM idempotent.conflict_records;
:state
INSERT INTO idempotent.conflicts (id) VALUES (1);
:state
DELETE FROM idempotent.conflicts;
:state
RESET ROLE;
-- A superuser sees all of it: the row stored as it was, the payload as it was coerced.
SELECT target, key, payload, stored, differences, arrived_by, resolution, resolved_at, arrived_at <= clock_timestamp() AS arrived FROM idempotent.conflicts;
-- Those who may SELECT the target see it.
SET ROLE regress_pgi_reader;
SELECT key, payload, stored, differences FROM idempotent.conflicts;
RESET ROLE;
SET ROLE regress_pgi_owner;
SELECT key, payload, stored, differences FROM idempotent.conflicts;
-- Sent again while unresolved it is not recorded again, from whichever function and in whichever form.
RESET ROLE;
SET ROLE regress_pgi_editor;
SELECT outcome FROM idempotent_insert('orders', '{"status": "pending", "order_id": "1", "amount": 12.0, "region": "eu"}', on_conflict => 'quarantine');
SELECT * FROM idempotent_insert_many('orders', '[{"region": "eu", "order_id": 1, "amount": 12, "status": "pending"}, {"region": "eu", "order_id": 3, "amount": 30}, {"region": "eu", "order_id": 2, "amount": 21}, {"region": "eu", "order_id": 2, "amount": 21}]', on_conflict => 'quarantine');
SELECT ordinal, outcome, differences FROM idempotent_insert_each('orders', '[{"region": "eu", "order_id": 4, "amount": 40}, {"region": "eu", "order_id": 4, "amount": 41}]', on_conflict => 'quarantine');
CREATE TEMP TABLE source AS SELECT 'eu' AS region, n AS order_id, 99 AS amount FROM generate_series(1, 2) n;
SELECT * FROM idempotent_insert_from('orders', 'source', on_conflict => 'quarantine');
DROP TABLE source;
SELECT key ->> 'order_id' AS order_id, payload, differences, arrived_by FROM idempotent.conflicts ORDER BY id;
RESET ROLE;

-- The record is part of the transaction.
BEGIN;
SELECT outcome FROM idempotent_insert('orders', '{"region": "eu", "order_id": 1, "amount": 777}', on_conflict => 'quarantine');
ROLLBACK;
SELECT count(*) FROM idempotent.conflicts WHERE payload ->> 'amount' = '777.00';
-- In a READ ONLY transaction it cannot be kept, and that is said.
BEGIN READ ONLY;
SELECT outcome FROM idempotent_insert('orders', '{"region": "eu", "order_id": 1, "amount": 777}', on_conflict => 'quarantine');
:state
ROLLBACK;

-- Who may resolve: 'keep_stored' and 'apply_payload' take UPDATE on what they touch.
SELECT id FROM idempotent.conflicts WHERE key ->> 'order_id' = '1' AND differences ? 'status' \gset c1_
SELECT id FROM idempotent.conflicts WHERE key ->> 'order_id' = '2' AND payload ->> 'amount' = '21.00' \gset c2_
SELECT id FROM idempotent.conflicts WHERE key ->> 'order_id' = '4' \gset c4_
SELECT id FROM idempotent.conflicts WHERE key ->> 'order_id' = '1' AND NOT differences ? 'status' \gset c5_
SET ROLE regress_pgi_writer;
\set VERBOSITY terse
SELECT idempotent_resolve(:c1_id, 'keep_stored') AS resolved;
:state
SELECT idempotent_resolve(:c1_id, 'apply_payload') AS resolved;
:state
RESET ROLE;
SET ROLE regress_pgi_reader;
SELECT idempotent_resolve(:c1_id, 'keep_stored') AS resolved;
:state
SELECT idempotent_resolve(:c1_id, 'apply_payload') AS resolved;
:state
RESET ROLE;
SELECT count(*) AS open FROM idempotent.conflicts WHERE resolution IS NULL;

-- 'apply_payload' updates the differing columns and nothing else.
SET ROLE regress_pgi_editor;
SELECT idempotent_resolve(:c1_id, 'apply_payload') AS resolved;
SELECT * FROM orders WHERE order_id = 1;
-- 'keep_stored' changes nothing.
SELECT idempotent_resolve(:c2_id, 'keep_stored') AS resolved;
SELECT * FROM orders WHERE order_id = 2;
-- The other conflict of order 1 was recorded against a row that has changed since.
SELECT idempotent_resolve(:c5_id, 'apply_payload') AS resolved;
:state
SELECT idempotent_resolve(:c5_id, 'keep_stored') AS resolved;
-- Resolved is resolved.
SELECT idempotent_resolve(:c1_id, 'keep_stored') AS resolved;
:state
SELECT idempotent_resolve(:c1_id, 'apply_payload') AS resolved;
:state
RESET ROLE;
SELECT key ->> 'order_id' AS order_id, payload ->> 'amount' AS amount, resolution, resolved_at >= arrived_at AS later FROM idempotent.conflicts ORDER BY id;
-- The payload that was applied is now a duplicate; the one that was not is a conflict again, and recorded anew.
SELECT outcome FROM idempotent_insert('orders', '{"region": "eu", "order_id": 1, "amount": 12, "status": "pending"}', on_conflict => 'quarantine');
SELECT outcome FROM idempotent_insert('orders', '{"region": "eu", "order_id": 2, "amount": 21}', on_conflict => 'quarantine');
SELECT resolution, count(*) FROM idempotent.conflicts WHERE key ->> 'order_id' = '2' AND payload ->> 'amount' = '21.00' GROUP BY 1 ORDER BY 1;

-- Wrong arguments.
SELECT idempotent_resolve(NULL, 'keep_stored');
:state
SELECT idempotent_resolve(:c4_id, NULL);
:state
SELECT idempotent_resolve(:c4_id, 'burn it');
:state
SELECT idempotent_resolve(-5, 'keep_stored');
:state
SELECT idempotent_resolve(9223372036854775807, 'apply_payload');
:state
\set VERBOSITY default

-- The row that was stored is gone: nothing to apply the payload to; keeping is possible.
DELETE FROM orders WHERE order_id = 4;
\set VERBOSITY terse
SELECT idempotent_resolve(:c4_id, 'apply_payload') AS resolved;
:state
\set VERBOSITY default
SELECT idempotent_resolve(:c4_id, 'keep_stored') AS resolved;
-- Applying a payload that the table refuses is the table's own error, and leaves the conflict open.
ALTER TABLE orders ADD CONSTRAINT amount_is_small CHECK (amount < 1000);
SELECT outcome FROM idempotent_insert('orders', '{"region": "eu", "order_id": 3, "amount": 5000, "status": null}', on_conflict => 'quarantine');
SELECT max(id) AS id FROM idempotent.conflicts \gset big_
SELECT idempotent_resolve(:big_id, 'apply_payload') AS resolved;
:state
SELECT resolution IS NULL AS open FROM idempotent.conflicts WHERE id = :big_id;
ALTER TABLE orders DROP CONSTRAINT amount_is_small;
-- A column that has been renamed, or dropped, since.
ALTER TABLE orders RENAME status TO state;
\set VERBOSITY terse
SELECT idempotent_resolve(:big_id, 'apply_payload') AS resolved;
:state
\set VERBOSITY default
ALTER TABLE orders RENAME state TO status;
SELECT idempotent_resolve(:big_id, 'apply_payload') AS resolved;
SELECT * FROM orders WHERE order_id = 3;

-- Row-level security on the target hides the values.
SET ROLE regress_pgi_owner;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY eu ON orders USING (region = 'eu');
RESET ROLE;
SET ROLE regress_pgi_reader;
SELECT target, key, payload, stored, differences, arrived_by, resolution FROM idempotent.conflicts WHERE resolution IS NULL ORDER BY id;
RESET ROLE;
SET ROLE regress_pgi_owner;
SELECT count(*) AS all, count(stored) AS shown FROM idempotent.conflicts;
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
SELECT count(*) AS all, count(stored) AS shown FROM idempotent.conflicts;
RESET ROLE;
SELECT count(*) AS all, count(stored) AS shown FROM idempotent.conflicts;
-- A writer under row-level security quarantines all the same, and learns nothing of the stored row.
SET ROLE regress_pgi_editor;
SELECT * FROM idempotent_insert('orders', '{"region": "eu", "order_id": 3, "amount": 1}', on_conflict => 'quarantine');
RESET ROLE;
SELECT payload, stored -> 'amount' AS stored FROM idempotent.conflicts WHERE arrived_by = 'regress_pgi_editor' AND payload ->> 'amount' = '1.00';

-- Values of types whose text depends on settings are kept as they are, and survive being applied.
CREATE TABLE typed (id int PRIMARY KEY, at timestamptz, f float8, b bytea, i interval, j jsonb, a int[], c char(5), n numeric);
SET timezone = 'Asia/Kathmandu';
SET extra_float_digits = -5;
SET intervalstyle = 'sql_standard';
SELECT outcome FROM idempotent_insert('typed', '{"id": 1}');
SELECT outcome FROM idempotent_insert('typed', '{"id": 1, "at": "2013-11-03 05:30:00.123456Z", "f": 0.30000000000000004, "b": "\\x00ff", "i": "1 mon -2 days 03:00", "j": {"a": null}, "a": [1, null], "c": "x", "n": "1.500"}', on_conflict => 'quarantine');
SET timezone = 'America/New_York';
RESET extra_float_digits;
SET intervalstyle = 'iso_8601';
SET datestyle = 'German';
SELECT max(id) AS id FROM idempotent.conflicts \gset typed_
SELECT idempotent_resolve(:typed_id, 'apply_payload') AS resolved;
SELECT at AT TIME ZONE 'UTC' = '2013-11-03 05:30:00.123456', f = 0.30000000000000004, b = '\x00ff', i = '1 mon -2 days 03:00', j, a, c, n FROM typed;
-- The same conflict under other settings is the same conflict, and the stored row has not changed by being read so.
SELECT outcome FROM idempotent_insert('typed', '{"id": 1, "f": 5}', on_conflict => 'quarantine');
SET extra_float_digits = -10; SET timezone = 'Asia/Kathmandu'; SET intervalstyle = 'postgres_verbose'; SET bytea_output = 'escape';
SELECT outcome FROM idempotent_insert('typed', '{"id": 1, "f": 5}', on_conflict => 'quarantine');
SELECT count(*) FROM idempotent.conflicts WHERE target = 'typed'::regclass AND resolution IS NULL;
SELECT max(id) AS id FROM idempotent.conflicts \gset typed_
RESET extra_float_digits; RESET datestyle; RESET timezone; RESET intervalstyle; RESET bytea_output;
SELECT idempotent_resolve(:typed_id, 'apply_payload') AS resolved;
-- Numbers that are not JSON numbers.
SELECT outcome FROM idempotent_insert('typed', '{"id": 2, "f": "NaN", "n": "NaN"}');
SELECT outcome, differences FROM idempotent_insert('typed', '{"id": 2, "f": "Infinity", "n": "-Infinity"}', on_conflict => 'quarantine');
SELECT max(id) AS id FROM idempotent.conflicts \gset typed_
SELECT idempotent_resolve(:typed_id, 'apply_payload') AS resolved;
SELECT f, n FROM typed WHERE id = 2;

-- A table that is renamed keeps its conflicts; one that is dropped leaves records for superusers only.
CREATE TABLE gone (id int PRIMARY KEY, v int);
GRANT SELECT ON gone TO regress_pgi_reader;
INSERT INTO gone VALUES (1, 1);
SELECT outcome FROM idempotent_insert('gone', '{"id": 1, "v": 2}', on_conflict => 'quarantine');
ALTER TABLE gone RENAME TO going;
SELECT target, differences FROM idempotent.conflicts WHERE target = 'going'::regclass;
SELECT max(id) AS id FROM idempotent.conflicts \gset gone_
DROP TABLE going;
SET ROLE regress_pgi_reader;
SELECT count(*) FROM idempotent.conflicts WHERE id = :gone_id;
RESET ROLE;
SELECT count(*), count(stored) FROM idempotent.conflicts WHERE id = :gone_id;
\set VERBOSITY sqlstate
SELECT idempotent_resolve(:gone_id, 'apply_payload') AS resolved;
SELECT idempotent_resolve(:gone_id, 'keep_stored') AS resolved;
\set VERBOSITY default

-- A key that is not the primary key: what the payload says of that is a column like others, unless it is left out.
CREATE TABLE customers (id bigserial PRIMARY KEY, ref text UNIQUE, name text);
INSERT INTO customers (ref, name) VALUES ('a', 'A'), ('b', 'B');
SELECT outcome FROM idempotent_insert('customers', '{"id": 9, "ref": "a", "name": "C"}', key => '{ref}', on_conflict => 'quarantine');
SELECT outcome FROM idempotent_insert('customers', '{"id": 8, "ref": "b", "name": "C"}', key => '{ref}', ignore => '{id}', on_conflict => 'quarantine');
SELECT differences, idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts WHERE target = 'customers'::regclass ORDER BY id;
SELECT * FROM customers ORDER BY ref;

SET client_min_messages = warning;
DROP SCHEMA quarantine CASCADE;
DELETE FROM idempotent.conflict_records;
DROP ROLE regress_pgi_owner, regress_pgi_writer, regress_pgi_reader, regress_pgi_editor;
