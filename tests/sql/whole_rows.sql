-- A row of the table is a payload: what to_jsonb(row) shows, and a copy of the table as the source, generated columns
-- included. What they say has to be what the server computes.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA rows;
SET search_path = rows, public;
CREATE TABLE orders (
    code  text PRIMARY KEY,
    gone  int,
    qty   int,
    price numeric(8,2) DEFAULT 2,
    total numeric GENERATED ALWAYS AS (qty * price) STORED,
    upper text GENERATED ALWAYS AS (upper(code)) STORED,
    "In"  oid GENERATED ALWAYS AS (tableoid) STORED
);
ALTER TABLE orders DROP gone;
INSERT INTO orders (code, qty, price) VALUES ('a', 2, 1.5), ('b', NULL, 2);
-- Stored rows are duplicates of themselves; moved to another key, they go in.
SELECT r.code, i.outcome FROM orders r, idempotent_insert('orders', to_jsonb(r)) i;
SELECT ordinal, outcome, stored - 'In' AS stored FROM idempotent_insert_each('orders', (SELECT jsonb_agg(to_jsonb(r)) FROM orders r));
SELECT * FROM idempotent_insert_many('orders', (SELECT jsonb_agg(to_jsonb(r) || '{"code": "c", "upper": "C"}') FROM orders r WHERE code = 'a'));
SELECT code, qty, price, total, upper, "In"::regclass FROM orders ORDER BY code;
-- The value in another notation is the same; another value is refused, whether the key is stored or not.
SELECT outcome FROM idempotent_insert('orders', '{"code": "a", "qty": 2, "price": "1.50", "total": 3.000}');
SELECT outcome FROM idempotent_insert('orders', '{"code": "a", "qty": 2, "price": 1.5, "total": 4}');
:state
SELECT outcome FROM idempotent_insert('orders', '{"code": "n", "qty": 2, "price": 1.5, "total": null}');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"code": "n", "qty": 1}, {"code": "o", "qty": 2, "price": 1.5, "total": 3, "upper": "O"}, {"code": "p", "qty": 2, "upper": "p"}]');
:state
SELECT count(*) FROM orders;
-- A column that the payload leaves out has its default for that, if it is the same every time.
SELECT outcome, stored->'total' AS total FROM idempotent_insert('orders', '{"code": "d", "qty": 2, "total": 4}');
SELECT outcome FROM idempotent_insert('orders', '{"code": "e", "total": null}');
SELECT outcome FROM idempotent_insert('orders', '{"code": "e", "total": 0}');
:state
-- They are compared by what they are computed from. One that is stored can be compared by name.
SELECT outcome, differences FROM idempotent_insert('orders', '{"code": "a", "qty": 3, "price": 1.5, "total": 4.5}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('orders', '{"code": "a", "qty": 1, "price": 3, "total": 3}', compare => '{total}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('orders', '{"code": "a", "qty": 1, "price": 2, "total": 2}', compare => '{total}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('orders', '{"code": "a", "qty": 3, "price": 1.5, "total": 4.5}', on_conflict => 'quarantine');
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts WHERE target = 'orders'::regclass;
SELECT qty, total FROM orders WHERE code = 'a';
-- Sources.
CREATE TABLE copy AS SELECT * FROM orders;
SELECT * FROM idempotent_insert_from('orders', 'copy', ignore => '{In}');
UPDATE copy SET code = code || code, upper = upper(code || code);
SELECT * FROM idempotent_insert_from('orders', 'copy');
SET client_min_messages = warning;
CALL idempotent_load('orders', 'copy', batch_size => 2);
RESET client_min_messages;
SELECT inserted, duplicates, conflicts FROM idempotent.loads ORDER BY load_id DESC LIMIT 1;
UPDATE copy SET qty = 7, total = 7 * price;
SELECT * FROM idempotent_merge('orders', 'copy');
SELECT * FROM idempotent_merge('orders', 'copy');
SELECT code, qty, total FROM orders WHERE qty = 7 ORDER BY code;
UPDATE copy SET total = 1 WHERE code = 'bb';
SELECT * FROM idempotent_insert_from('orders', 'copy');
:state
CALL idempotent_load('orders', 'copy');
:state
SELECT * FROM idempotent_merge('orders', 'copy');
:state
SELECT * FROM idempotent_merge('orders', 'copy', compare => '{total}');
:state
-- A staging table LIKE the target computes them itself.
CREATE TABLE staged (LIKE orders INCLUDING ALL EXCLUDING INDEXES);
ALTER TABLE staged DROP "In";
INSERT INTO staged (code, qty) VALUES ('s', 3), ('t', 4);
SELECT * FROM idempotent_insert_from('orders', 'staged');
SELECT * FROM idempotent_merge('orders', 'staged');
-- What is computed from a default that only an INSERT knows cannot be checked without that.
CREATE TABLE timed (id int PRIMARY KEY, at timestamptz DEFAULT now(), day date GENERATED ALWAYS AS ((at AT TIME ZONE 'UTC')::date) STORED);
SELECT outcome FROM idempotent_insert('timed', '{"id": 1, "day": "2024-01-01"}');
:state
SELECT outcome FROM idempotent_insert('timed', '{"id": 1, "day": "2024-01-01", "at": "2024-01-01 12:00Z"}');
-- A generated key. Nothing else need be named.
CREATE TABLE hashed (body text DEFAULT 'x', hash text GENERATED ALWAYS AS (md5(body)) STORED UNIQUE);
SELECT outcome FROM idempotent_insert('hashed', jsonb_build_object('body', 'b', 'hash', md5('b')));
SELECT outcome FROM idempotent_insert('hashed', jsonb_build_object('body', 'b', 'hash', md5('b')));
SELECT outcome FROM idempotent_insert('hashed', jsonb_build_object('hash', md5('x')));
SELECT outcome FROM idempotent_insert('hashed', jsonb_build_object('hash', md5('x')));
SELECT outcome FROM idempotent_insert('hashed', jsonb_build_object('hash', md5('y')));
:state
SELECT body FROM hashed ORDER BY body;
-- Expressions that fail, in their own words.
CREATE TABLE failing (id int PRIMARY KEY, v int, inverse int GENERATED ALWAYS AS (100 / v) STORED);
\set SHOW_CONTEXT errors
SELECT * FROM idempotent_insert_many('failing', '[{"id": 1, "v": 5, "inverse": 20}, {"id": 2, "v": 0, "inverse": 1}]');
\set SHOW_CONTEXT never
-- Rights: those on the columns that are inserted.
CREATE ROLE rows_clerk;
GRANT USAGE ON SCHEMA rows TO rows_clerk;
GRANT SELECT, INSERT (code, qty, price) ON orders TO rows_clerk;
SET ROLE rows_clerk;
SELECT outcome FROM idempotent_insert('orders', '{"code": "r", "qty": 2, "price": 1.5, "total": 3}');
RESET ROLE;
-- A guarded table.
SELECT key, compared FROM idempotent_guard('orders');
SELECT outcome FROM idempotent_insert('orders', '{"code": "r", "qty": 2, "price": 1.5, "total": 3}');
SELECT outcome FROM idempotent_insert('orders', '{"code": "r", "qty": 2, "price": 1.5, "total": 3.5}');
:state

-- A type that JSON shows as an object, with a cast back and without one.
SET client_min_messages = warning;
CREATE TYPE span;
CREATE FUNCTION span_in(cstring) RETURNS span LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION span_out(span) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE span (INPUT = span_in, OUTPUT = span_out, LIKE = int4);
RESET client_min_messages;
CREATE CAST (span AS int4) WITHOUT FUNCTION;
CREATE CAST (int4 AS span) WITHOUT FUNCTION;
CREATE FUNCTION to_json(span) RETURNS json LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT json_build_object('days', $1::int4) $$;
CREATE CAST (span AS json) WITH FUNCTION to_json(span);
CREATE TABLE spans (id int PRIMARY KEY, s span);
INSERT INTO spans VALUES (1, '30');
SELECT to_jsonb(r) FROM spans r;
SELECT outcome FROM spans r, idempotent_insert('spans', to_jsonb(r));
:state
CREATE FUNCTION from_json(jsonb) RETURNS span LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT ($1->>'days')::int4::span $$;
CREATE CAST (jsonb AS span) WITH FUNCTION from_json(jsonb);
ALTER TABLE spans ADD other int;
SELECT outcome, stored FROM spans r, idempotent_insert('spans', to_jsonb(r));
SELECT outcome, differences FROM idempotent_insert('spans', '{"id": 1, "s": {"days": 31}}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('spans', '{"id": 1, "s": "30"}');

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA rows CASCADE;
DROP ROLE rows_clerk;
