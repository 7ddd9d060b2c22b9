-- Keys that are expressions, or that only some rows have: expression and partial unique indexes.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA keys_partial;
SET search_path = keys_partial, public;

-- An expression is named as the index has it, with its outer parentheses or without, or in any other way that is read as the same.
CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY, email varchar(80), name text);
CREATE UNIQUE INDEX people_email ON people (lower(email));
SELECT * FROM idempotent_insert('people', '{"email": "Ann@x.org", "name": "Ann"}', key => '{lower(email::text)}');
SELECT * FROM idempotent_insert('people', '{"email": "Ann@x.org", "name": "Ann"}', key => '{lower((email)::text)}');
SELECT outcome FROM idempotent_insert('people', '{"email": "Ann@x.org", "name": "Ann"}', key => '{LOWER( Email )}');
-- It is found without being named where there is no key on columns alone.
SELECT * FROM idempotent_insert('people', '{"email": "Ann@x.org", "name": "Ann"}');
-- The columns of an expression are compared.
SELECT * FROM idempotent_insert('people', '{"email": "ANN@x.org", "name": "Ann"}');
:state
SELECT outcome FROM idempotent_insert('people', '{"email": "ANN@x.org", "name": "Ann"}', ignore => '{email}');
SELECT differences FROM idempotent_insert('people', '{"email": "ANN@x.org", "name": "Anne"}', on_conflict => 'report');
-- NULL in an expression of the key.
SELECT * FROM idempotent_insert('people', '{"email": null, "name": "Ann"}');
:state
SELECT * FROM idempotent_insert('people', '{"name": "Ann"}');
:state
SELECT * FROM idempotent_insert('people', '{"name": "Ann"}', key => '{lower(email::text)}');
:state
-- Batches are in the order of the expression's values.
SELECT * FROM idempotent_insert_many('people', '[{"email": "C@x"}, {"email": "a@x"}, {"email": "B@x"}, {"email": "c@x"}]', on_conflict => 'report');
SELECT * FROM idempotent_insert_each('people', '[{"email": "C@x"}, {"email": "b@x"}, {"email": "d@x"}, {"email": "D@x"}]', on_conflict => 'report');
SELECT * FROM idempotent_insert_each('people', '[{"email": "e@x"}, {"email": "E@x"}]');
:state
SELECT lower(email) FROM people ORDER BY id;
-- What is no expression of an index.
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{upper(email)}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{email}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{lower(email), lower(email::text)}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{emial}');
:state
-- Several parts, one of them an operator; and a name that has to be quoted.
CREATE TABLE parts (a int, "B b" text, c jsonb, d int);
CREATE UNIQUE INDEX parts_key ON parts ((c ->> 'id'), a, ("B b" || '!') DESC);
SELECT outcome FROM idempotent_insert('parts', '{"a": 1, "B b": "x", "c": {"id": "k", "n": 1}, "d": 1}', key => '{a, c ->> ''id'', "(\"B b\" || ''!''::text)"}');
SELECT outcome, differences FROM idempotent_insert('parts', '{"a": 1, "B b": "x", "c": {"id": "k", "n": 2}, "d": 1}', key => '{a, (c ->> ''id''::text), "\"B b\" || ''!''::text"}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('parts', '{"a": 1, "B b": "x", "c": {"id": "k", "n": 2}, "d": 1}', on_conflict => 'report');
-- Columns without a default may be left out of an expression: they are NULL there.
CREATE TABLE tenants (tenant int, code text, v int);
CREATE UNIQUE INDEX tenants_key ON tenants (coalesce(tenant, 0), code);
SELECT outcome, stored FROM idempotent_insert('tenants', '{"code": "a", "v": 1}', key => '{COALESCE(tenant\, 0), code}');
SELECT outcome, stored FROM idempotent_insert('tenants', '{"code": "a", "v": 1}', key => '{"COALESCE(tenant, 0)", code}');
SELECT outcome, stored FROM idempotent_insert('tenants', '{"tenant": 0, "code": "a", "v": 1}', key => '{"COALESCE(tenant, 0)", code}', compare => '{v}');

-- Soft delete: rows outside of the condition have no key. They go in, and are never judged.
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, order_id text, amount numeric, deleted_at timestamptz);
CREATE UNIQUE INDEX orders_live ON orders (order_id) WHERE deleted_at IS NULL;
SELECT outcome, stored FROM idempotent_insert('orders', '{"order_id": "a", "amount": 1}', key => '{order_id}');
SELECT outcome, stored FROM idempotent_insert('orders', '{"order_id": "a", "amount": 1.0}', key => '{order_id}');
SELECT outcome, stored FROM idempotent_insert('orders', '{"order_id": "a", "amount": 2}', key => '{order_id}');
:state
SELECT outcome, stored FROM idempotent_insert('orders', '{"order_id": "a", "amount": 2, "deleted_at": "2026-01-01Z"}', key => '{order_id}');
SELECT outcome, stored FROM idempotent_insert('orders', '{"order_id": "a", "amount": 2, "deleted_at": "2026-01-01Z"}', key => '{order_id}');
UPDATE orders SET deleted_at = '2026-01-02Z' WHERE deleted_at IS NULL;
SELECT outcome, stored FROM idempotent_insert('orders', '{"order_id": "a", "amount": 2}', key => '{order_id}');
-- Without being named it is not found.
SELECT outcome, stored FROM idempotent_insert('orders', '{"order_id": "a", "amount": 2}');
:state
-- Two payloads of a call outside of the condition both go in; NULL in the key does no harm there.
SELECT * FROM idempotent_insert_each('orders', '[
  {"order_id": "b", "amount": 1, "deleted_at": "2026-01-01Z"}, {"order_id": "b", "amount": 1, "deleted_at": null},
  {"order_id": "b", "amount": 2, "deleted_at": "2026-01-01Z"}, {"order_id": "b", "amount": 1, "deleted_at": null},
  {"order_id": null, "amount": 1, "deleted_at": "2026-01-01Z"}, {"order_id": "b", "amount": 3, "deleted_at": null}]', key => '{order_id}', on_conflict => 'report');
SELECT * FROM idempotent_insert_many('orders', '[
  {"order_id": "b", "amount": 1}, {"order_id": "c", "amount": 2, "deleted_at": "2026-01-01Z"}, {"order_id": "c", "amount": 2},
  {"order_id": "c", "amount": 2, "deleted_at": "2026-01-01Z"}, {"order_id": "c", "amount": 2}]', key => '{order_id}');
SELECT * FROM idempotent_insert('orders', '{"order_id": null, "amount": 1}', key => '{order_id}');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"amount": 1, "deleted_at": "2026-01-01Z"}, {"amount": 1}]', key => '{order_id}');
:state
CREATE TABLE orders_in AS SELECT order_id, amount, deleted_at FROM orders;
SELECT * FROM idempotent_insert_from('orders', 'orders_in', key => '{order_id}');
SELECT order_id, amount, count(*) FILTER (WHERE deleted_at IS NULL) AS live, count(*) FROM orders GROUP BY 1, 2 ORDER BY 1, 2;
-- Optional keys: found without being named, since the condition says no more than that the key is there.
CREATE TABLE optional (key text, v int);
CREATE UNIQUE INDEX optional_key ON optional (key) WHERE key IS NOT NULL;
SELECT outcome FROM idempotent_insert('optional', '{"key": "a", "v": 1}');
SELECT outcome FROM idempotent_insert('optional', '{"key": "a", "v": 1}');
SELECT outcome, stored FROM idempotent_insert('optional', '{"key": null, "v": 1}');
SELECT outcome, stored FROM idempotent_insert('optional', '{"key": null, "v": 1}');
SELECT outcome, stored FROM idempotent_insert('optional', '{"v": 1}');
:state
SELECT outcome, stored FROM idempotent_insert('optional', '{"v": 1}', key => '{key}');
-- Of several with other conditions none is taken; one without a condition goes first.
CREATE TABLE several (a int, b int, c int);
CREATE UNIQUE INDEX several_b ON several (a) WHERE b > 0;
CREATE UNIQUE INDEX several_c ON several (a) WHERE c > 0;
SELECT outcome FROM idempotent_insert('several', '{"a": 1, "b": 1}', key => '{a}');
:state
CREATE UNIQUE INDEX several_all ON several (a);
SELECT outcome FROM idempotent_insert('several', '{"a": 1, "b": 1}', key => '{a}');
SELECT outcome FROM idempotent_insert('several', '{"a": 1, "b": 1}');
-- What decides, and is another value in the next attempt, has to be sent.
CREATE TABLE clocked (a int, at timestamptz DEFAULT now(), b int DEFAULT 1);
CREATE UNIQUE INDEX clocked_key ON clocked (a) WHERE at > '2020-01-01Z' AND b = 1;
SELECT outcome FROM idempotent_insert('clocked', '{"a": 1}', key => '{a}');
:state
SELECT outcome FROM idempotent_insert('clocked', '{"a": 1, "at": "2026-01-01Z"}', key => '{a}');
SELECT outcome FROM idempotent_insert('clocked', '{"a": 1, "at": "2026-01-01Z"}', key => '{a}');
SELECT outcome FROM idempotent_insert('clocked', '{"a": 1, "at": "2019-01-01Z"}', key => '{a}');
SELECT outcome FROM idempotent_insert('clocked', '{"a": 1, "at": "2019-01-01Z"}', key => '{a}');
-- NULLS NOT DISTINCT, INCLUDE, collations and partitions, as with other keys.
CREATE TABLE together (a text COLLATE "C", b text, v int);
CREATE UNIQUE INDEX together_key ON together (a, lower(b) COLLATE "POSIX") INCLUDE (v) NULLS NOT DISTINCT WHERE v > 0;
SELECT outcome FROM idempotent_insert('together', '{"a": "x", "b": null, "v": 1}', key => '{a, lower(b)}');
SELECT outcome FROM idempotent_insert('together', '{"a": "x", "b": null, "v": 1}', key => '{a, lower(b)}');
SELECT outcome FROM idempotent_insert('together', '{"a": "x", "b": null, "v": 0}', key => '{a, lower(b)}');
CREATE TABLE parted (day date, code text, gone boolean, v int) PARTITION BY RANGE (day);
CREATE TABLE parted_1 (v int, dropped int, gone boolean, code text, day date);
ALTER TABLE parted_1 DROP COLUMN dropped;
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE UNIQUE INDEX parted_key ON parted (upper(code), day) WHERE NOT gone;
SELECT * FROM idempotent_insert_each('parted', '[
  {"day": "2026-01-05", "code": "a", "gone": false, "v": 1}, {"day": "2026-02-05", "code": "a", "gone": false, "v": 1},
  {"day": "2026-02-05", "code": "A", "gone": false, "v": 1}, {"day": "2026-02-05", "code": "a", "gone": true, "v": 1},
  {"day": "2026-01-05", "code": "a", "gone": false, "v": 1}, {"day": "2026-01-05", "code": "A", "gone": null, "v": 1}]',
  key => '{day, upper(code)}', compare => '{v}');
SELECT tableoid::regclass, * FROM parted ORDER BY 1, code, gone;
-- What an expression raises names the payload, and the row of a source.
CREATE TABLE divided (a int, b int);
CREATE UNIQUE INDEX divided_key ON divided ((10 / a)) WHERE b > 0;
\set SHOW_CONTEXT errors
SELECT * FROM idempotent_insert_many('divided', '[{"a": 1, "b": 1}, {"a": 0, "b": 0}, {"a": 0, "b": 1}]', key => '{10 / a}');
CREATE VIEW divided_in AS SELECT 1::bigint AS a, 1 AS b UNION ALL SELECT 0, 1;
SELECT * FROM idempotent_insert_from('divided', 'divided_in', key => '{10 / a}');
\set SHOW_CONTEXT never
-- The whole row.
CREATE TABLE whole (dropped int, a int, b int);
ALTER TABLE whole DROP COLUMN dropped;
CREATE FUNCTION total(whole) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.a + coalesce($1.b, 0)';
CREATE UNIQUE INDEX whole_key ON whole (total(whole)) WHERE total(whole) > 0;
SELECT outcome FROM idempotent_insert('whole', '{"a": 1}', key => '{total(whole)}');
SELECT outcome FROM idempotent_insert('whole', '{"a": 1}', key => '{total(whole)}');
SELECT outcome FROM idempotent_insert('whole', '{"a": 0, "b": 1}', key => '{total(whole)}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('whole', '{"a": -1}', key => '{total(whole)}');
SELECT key FROM idempotent_guard('whole', key => '{keys_partial.total(whole)}');
INSERT INTO whole VALUES (1, NULL), (2, NULL), (-1, NULL), (2, NULL) RETURNING a;

-- An expression however it is written: without blanks, and in many parentheses, which take one pass.
CREATE TABLE written (a int, j jsonb);
CREATE UNIQUE INDEX written_a ON written ((a + 1));
CREATE UNIQUE INDEX written_j ON written ((j->>'id'));
SELECT outcome FROM idempotent_insert('written', '{"a": 1, "j": {"id": "x"}}', key => '{a+1}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1, "j": {"id": "x"}}', key => '{j->>''id''}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1, "j": {"id": "x"}}', key => ARRAY[repeat('(', 1000) || 'a+1' || repeat(')', 1000)]);
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{a-b}');
DROP TABLE written;
