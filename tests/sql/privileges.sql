-- The functions run with the caller's rights, demand what core's ON CONFLICT (key) demands, and never show a stored
-- value to one who may not read it.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_clerk;
CREATE ROLE regress_pgi_writer;
CREATE ROLE regress_pgi_stranger;
CREATE SCHEMA privileges;
GRANT USAGE ON SCHEMA privileges TO regress_pgi_clerk, regress_pgi_writer, regress_pgi_stranger;
SET search_path = privileges, public;
CREATE TABLE orders (order_id int PRIMARY KEY, amount numeric(9,2), secret text DEFAULT 'none', status text);
INSERT INTO orders VALUES (1, 10, 'very secret', 'paid');

-- No privilege at all: 42501, for a duplicate as for a new row.
SET ROLE regress_pgi_stranger;
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 10}');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": 2, "amount": 10}]');
:state
RESET ROLE;

-- INSERT on the named columns and SELECT on the key columns are what it takes. What they allow is in privileges_columns.sql.
GRANT INSERT (order_id, amount), SELECT (order_id) ON orders TO regress_pgi_writer;
SET ROLE regress_pgi_writer;
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 10, "status": "paid"}');
:state
SELECT * FROM idempotent_insert_each('orders', '[{"order_id": 1, "amount": 10}, {"order_id": 3, "secret": "x"}]');
:state
INSERT INTO orders (order_id, status) VALUES (5, 'x') ON CONFLICT (order_id) DO NOTHING;
:state
RESET ROLE;
-- Without SELECT on the key: 42501, as in core.
CREATE TABLE blind (id int PRIMARY KEY, v int);
GRANT INSERT ON blind TO regress_pgi_writer;
SET ROLE regress_pgi_writer;
INSERT INTO blind VALUES (1, 1) ON CONFLICT (id) DO NOTHING;
:state
SELECT * FROM idempotent_insert('blind', '{"id": 1, "v": 1}');
:state
RESET ROLE;
-- For a duplicate too: nobody can probe for keys that they may not read.
INSERT INTO blind VALUES (1, 1);
SET ROLE regress_pgi_writer;
SELECT * FROM idempotent_insert('blind', '{"id": 1, "v": 1}');
:state
SELECT * FROM idempotent_insert_many('blind', '[{"id": 1, "v": 2}]', on_conflict => 'report');
:state
RESET ROLE;
-- SELECT without INSERT verifies nothing either.
GRANT SELECT ON orders TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 10}');
:state
RESET ROLE;
GRANT INSERT ON orders TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 12, "secret": "guess"}', on_conflict => 'report');
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 12, "secret": "guess"}');
RESET ROLE;
-- A source needs SELECT.
CREATE TABLE source AS SELECT 1 AS order_id, 10::numeric AS amount;
SET ROLE regress_pgi_clerk;
SELECT * FROM idempotent_insert_from('orders', 'source');
:state
RESET ROLE;
GRANT SELECT ON source TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
SELECT * FROM idempotent_insert_from('orders', 'source');
RESET ROLE;

-- Row-level security in force: of what the caller may not see nothing is said.
CREATE TABLE tenants (id int PRIMARY KEY, tenant text, v int);
INSERT INTO tenants VALUES (1, 'regress_pgi_clerk', 1), (2, 'other', 2);
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON tenants USING (tenant = current_user) WITH CHECK (tenant = current_user);
GRANT SELECT, INSERT ON tenants TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
SELECT * FROM idempotent_insert('tenants', '{"id": 1, "tenant": "regress_pgi_clerk", "v": 1}');
SELECT * FROM idempotent_insert('tenants', '{"id": 1, "tenant": "regress_pgi_clerk", "v": 9}', on_conflict => 'report');
SELECT * FROM idempotent_insert('tenants', '{"id": 1, "tenant": "regress_pgi_clerk", "v": 9}');
:state
-- A row of another tenant under the key: nothing of it comes out.
SELECT * FROM idempotent_insert('tenants', '{"id": 2, "tenant": "regress_pgi_clerk", "v": 2}', on_conflict => 'report');
SELECT * FROM idempotent_insert('tenants', '{"id": 2, "tenant": "regress_pgi_clerk", "v": 2}');
:state
SELECT * FROM idempotent_insert_each('tenants', '[{"id": 2, "tenant": "regress_pgi_clerk", "v": 5}, {"id": 3, "tenant": "regress_pgi_clerk", "v": 3}]', on_conflict => 'report');
-- A new row that the policy refuses is refused by PostgreSQL.
SELECT * FROM idempotent_insert('tenants', '{"id": 4, "tenant": "other", "v": 2}');
:state
SELECT * FROM idempotent_insert_many('tenants', '[{"id": 3, "tenant": "regress_pgi_clerk", "v": 3}, {"id": 5, "tenant": "regress_pgi_clerk", "v": 3}]');
SELECT * FROM tenants ORDER BY id;
RESET ROLE;
SELECT * FROM tenants ORDER BY id;
-- The owner is not subject to it, unless it is forced; a superuser never is.
SELECT * FROM idempotent_insert('tenants', '{"id": 2, "tenant": "x", "v": 9}', on_conflict => 'report');
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
SELECT * FROM idempotent_insert('tenants', '{"id": 2, "tenant": "x", "v": 9}', on_conflict => 'report');
ALTER TABLE tenants OWNER TO regress_pgi_writer;
SET ROLE regress_pgi_writer;
SELECT * FROM idempotent_insert('tenants', '{"id": 2, "tenant": "x", "v": 9}', on_conflict => 'report');
RESET ROLE;
-- A row whose key is NULL is hidden, and one whose key is a composite of NULLs is shown: these are two keys.
CREATE TYPE pair AS (a int, b text);
CREATE TABLE paired (k pair, tenant text, v int);
CREATE UNIQUE INDEX ON paired (k) NULLS NOT DISTINCT;
INSERT INTO paired VALUES (NULL, 'other', 1), ((NULL, NULL), 'regress_pgi_clerk', 2);
ALTER TABLE paired ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON paired USING (tenant = current_user);
CREATE POLICY any_new ON paired FOR INSERT WITH CHECK (true);
GRANT SELECT (k, v), INSERT ON paired TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
SELECT outcome FROM idempotent_insert('paired', '{"k": {"a": null, "b": null}, "v": 2}');
SELECT outcome FROM idempotent_insert('paired', '{"k": null, "v": 1}');
:state
RESET ROLE;
-- row_security = off: an error rather than a silent filter.
SET ROLE regress_pgi_clerk;
SET row_security = off;
SELECT * FROM idempotent_insert('tenants', '{"id": 1, "tenant": "regress_pgi_clerk", "v": 1}');
:state
SELECT * FROM idempotent_insert('tenants', '{"id": 9, "tenant": "regress_pgi_clerk", "v": 1}');
:state
RESET row_security;
RESET ROLE;

-- A security definer function lends its rights, a plain one does not.
CREATE FUNCTION lend(payload jsonb) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = privileges, public AS $$ SELECT outcome FROM idempotent_insert('privileges.orders', payload) $$;
SET ROLE regress_pgi_stranger;
SELECT lend('{"order_id": 1, "amount": 10}');
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 10}');
:state
RESET ROLE;

-- No usage on the schema: the name is not even resolved; by oid the privileges decide.
REVOKE USAGE ON SCHEMA privileges FROM regress_pgi_stranger;
SET ROLE regress_pgi_stranger;
SELECT * FROM idempotent_insert('privileges.orders', '{"order_id": 1, "amount": 10}');
:state
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA privileges CASCADE;
DROP ROLE regress_pgi_clerk, regress_pgi_writer, regress_pgi_stranger;
