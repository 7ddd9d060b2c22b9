-- What a conflict says, what it leaves out, and the settings.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA messages;
SET search_path = messages, public;
CREATE TABLE orders (order_id uuid PRIMARY KEY, amount numeric(12,2), status text, note text, doc jsonb, tags text[]);
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "amount": 10, "status": "paid", "note": "x"}');

-- One column, several, nulls; the order is the table's.
SELECT * FROM idempotent_insert('orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "status": "pending", "amount": 12}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "note": null, "doc": {"a": [1, "b"]}, "tags": ["p", "q"]}');
SELECT * FROM idempotent_insert('orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "status": ""}');

-- Values are cut at 64 bytes, on a character boundary.
SELECT * FROM idempotent_insert('orders', jsonb_build_object('order_id', '7f3e0000-0000-0000-0000-000000000001', 'note', repeat('1234567890', 6) || 'abcd'));
SELECT * FROM idempotent_insert('orders', jsonb_build_object('order_id', '7f3e0000-0000-0000-0000-000000000001', 'note', repeat('1234567890', 6) || 'abcde'));
SELECT * FROM idempotent_insert('orders', jsonb_build_object('order_id', '7f3e0000-0000-0000-0000-000000000001', 'note', repeat('é', 40)));
SELECT * FROM idempotent_insert('orders', jsonb_build_object('order_id', '7f3e0000-0000-0000-0000-000000000001', 'note', 'x' || repeat('é', 40)));
SELECT * FROM idempotent_insert('orders', jsonb_build_object('order_id', '7f3e0000-0000-0000-0000-000000000001', 'note', 'xy' || repeat('😀', 40)));
CREATE TABLE long_keys (id text PRIMARY KEY, v int);
INSERT INTO long_keys VALUES (repeat('ß', 500), 1);
SELECT * FROM idempotent_insert('long_keys', jsonb_build_object('id', repeat('ß', 500), 'v', 2));
-- The report has them whole.
SELECT outcome, length(differences -> 'note' ->> 'payload') FROM idempotent_insert('orders', jsonb_build_object('order_id', '7f3e0000-0000-0000-0000-000000000001', 'note', repeat('é', 40)), on_conflict => 'report');
-- Percent signs and line breaks are only characters.
SELECT * FROM idempotent_insert('orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "note": "%s %n %d\n100%"}');

-- pg_idempotent.show_values.
SHOW pg_idempotent.show_values;
SELECT name, setting, context, vartype, category IS NOT NULL AS category, short_desc <> '' AS described FROM pg_settings WHERE name LIKE 'pg\_idempotent.%' ORDER BY 1;
SET pg_idempotent.show_values = off;
SELECT * FROM idempotent_insert('orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "status": "pending", "amount": 12}');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": "7f3e0000-0000-0000-0000-000000000001", "status": "pending"}, {"order_id": "7f3e0000-0000-0000-0000-000000000001", "status": "open"}]');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": "7f3e0000-0000-0000-0000-000000000002", "status": "pending"}, {"order_id": "7f3e0000-0000-0000-0000-000000000002", "status": "open"}]');
SELECT outcome, stored, differences FROM idempotent_insert('orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "status": "pending"}', on_conflict => 'report');
SET pg_idempotent.show_values = 'maybe';
:state
RESET pg_idempotent.show_values;
-- The prefix is reserved: a misspelt setting is an error, not a silent nothing.
SET pg_idempotent.show_value = off;
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "status": "pending"}');

-- pg_idempotent.guard.
SHOW pg_idempotent.guard;
SET pg_idempotent.guard = 'perhaps';

-- Every field of the error, as a handler in the database sees them.
DO $$
DECLARE sch text; tab text; col text; con text; typ text; det text; hin text;
BEGIN
    PERFORM idempotent_insert('messages.orders', '{"order_id": "7f3e0000-0000-0000-0000-000000000001", "status": "pending"}');
EXCEPTION WHEN SQLSTATE '23I01' THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME, typ = PG_DATATYPE_NAME, det = PG_EXCEPTION_DETAIL, hin = PG_EXCEPTION_HINT;
    RAISE INFO 'schema %, table %, column %, constraint %, type "%"', sch, tab, col, con, typ;
    RAISE INFO '%', det;
    RAISE INFO '%', hin;
END $$;
-- 23502 of a key names table and column.
DO $$
DECLARE sch text; tab text; col text; con text;
BEGIN
    PERFORM idempotent_insert('messages.orders', '{"order_id": null}');
EXCEPTION WHEN not_null_violation THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME;
    RAISE INFO '%, %, %, "%": %', sch, tab, col, con, sqlerrm;
END $$;

SET client_min_messages = warning;
DROP SCHEMA messages CASCADE;
