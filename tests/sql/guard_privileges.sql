-- Who may make a guard and turn it off, and what a guarded INSERT shows to whom.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
-- Command tags say how many rows went in.
\set QUIET off
CREATE ROLE regress_pgi_owner;
CREATE ROLE regress_pgi_client;
CREATE ROLE regress_pgi_keeper;
CREATE ROLE regress_pgi_stranger;
CREATE SCHEMA guard_privileges AUTHORIZATION regress_pgi_owner;
GRANT USAGE ON SCHEMA guard_privileges TO PUBLIC;
SET search_path = guard_privileges, public;
SET ROLE regress_pgi_owner;
CREATE TABLE orders (order_id int PRIMARY KEY, amount numeric(9,2), secret text DEFAULT 'none', status text);
-- The owner guards his table; what he needs is TRIGGER.
SELECT key, compared FROM idempotent_guard('orders');
INSERT INTO orders VALUES (1, 10, 'very secret', 'paid');
GRANT INSERT ON orders TO regress_pgi_client;
RESET ROLE;
SET ROLE regress_pgi_client;
SELECT idempotent_guard('orders');
:state
SELECT idempotent_unguard('orders');
:state
RESET ROLE;
GRANT TRIGGER ON orders TO regress_pgi_keeper;
SET ROLE regress_pgi_keeper;
SELECT key, compared FROM idempotent_guard('orders', ignore => '{status}');
-- To drop a trigger is for the owner.
SELECT idempotent_unguard('orders');
:state
-- Everybody may see which tables are guarded.
SELECT target, key, ignore FROM idempotent.guards;
RESET ROLE;
SET ROLE regress_pgi_stranger;
SELECT target, key, ignore FROM idempotent.guards;
INSERT INTO orders VALUES (1, 10, 'very secret');
:state
RESET ROLE;

-- INSERT is all that a client needs; what it may not read is not shown to it.
SET ROLE regress_pgi_client;
INSERT INTO orders VALUES (1, 10, 'very secret', 'paid'), (2, 20, 'x', 'new');
INSERT INTO orders VALUES (1, 11, 'guess', 'paid');
:state
COPY orders FROM stdin;
1	12	guess	paid
\.
RESET ROLE;
GRANT SELECT (order_id, amount) ON orders TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO orders VALUES (1, 11, 'guess', 'paid');
RESET ROLE;
GRANT SELECT ON orders TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO orders VALUES (1, 11, 'guess', 'paid');
RESET ROLE;
-- Column privileges on INSERT.
REVOKE ALL ON orders FROM regress_pgi_client;
GRANT INSERT (order_id, amount) ON orders TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO orders (order_id, amount) VALUES (3, 30), (3, 30);
INSERT INTO orders (order_id, secret) VALUES (1, 'x');
:state
RESET ROLE;

-- Row-level security in force: nothing that is stored comes out.
GRANT SELECT, INSERT ON orders TO regress_pgi_client;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY clients ON orders USING (status = 'mine') WITH CHECK (status = 'mine');
SET ROLE regress_pgi_client;
INSERT INTO orders VALUES (4, 40, 'x', 'mine'), (4, 40, 'x', 'mine');
INSERT INTO orders VALUES (4, 41, 'x', 'mine');
:state
INSERT INTO orders VALUES (1, 10, 'guess', 'mine');
:state
-- Not even whether it is equal; and a row that the policy for INSERT refuses.
INSERT INTO orders VALUES (1, 10, 'very secret', 'mine');
INSERT INTO orders VALUES (1, 10, 'very secret', 'paid');
INSERT INTO orders VALUES (5, 10, 'very secret', 'paid');
:state
RESET ROLE;
-- To see whether a policy hides a row takes SELECT.
REVOKE SELECT ON orders FROM regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO orders VALUES (9, 90, 'x', 'mine');
INSERT INTO orders VALUES (9, 90, 'x', 'mine');
:state
RESET ROLE;
GRANT SELECT ON orders TO regress_pgi_client;
SET ROLE regress_pgi_owner;
INSERT INTO orders VALUES (1, 10, 'guess', 'paid');
RESET ROLE;
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
SET ROLE regress_pgi_owner;
INSERT INTO orders VALUES (1, 10, 'guess', 'mine');
RESET ROLE;
INSERT INTO orders VALUES (1, 10, 'guess', 'paid');
ALTER TABLE orders NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;

-- A view and a SECURITY DEFINER function lend their owner's rights.
SET ROLE regress_pgi_owner;
CREATE VIEW writes AS SELECT order_id, amount, secret FROM orders;
GRANT INSERT ON writes TO regress_pgi_stranger;
CREATE FUNCTION lend(i int, n numeric) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = guard_privileges AS 'INSERT INTO orders (order_id, amount) VALUES (i, n)';
RESET ROLE;
SET ROLE regress_pgi_stranger;
INSERT INTO writes VALUES (1, 10, 'very secret'), (6, 60, 'x');
INSERT INTO writes VALUES (1, 11, 'guess');
SELECT lend(7, 70);
SELECT lend(7, 70);
SELECT lend(7, 71);
INSERT INTO orders (order_id, amount) VALUES (7, 70);
:state
RESET ROLE;

-- On partitions the rights on the guarded root decide.
SET ROLE regress_pgi_owner;
CREATE TABLE parts (id int PRIMARY KEY, v int, secret text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
SELECT key FROM idempotent_guard('parts');
INSERT INTO parts VALUES (1, 1, 'very secret');
GRANT INSERT, SELECT (id, v) ON parts TO regress_pgi_client;
GRANT INSERT ON parts_1 TO regress_pgi_stranger;
RESET ROLE;
SET ROLE regress_pgi_client;
INSERT INTO parts VALUES (1, 2, 'guess');
RESET ROLE;
SET ROLE regress_pgi_stranger;
INSERT INTO parts_1 VALUES (1, 2, 'guess');
INSERT INTO parts_1 VALUES (1, 1, 'very secret'), (2, 2, 'x');
RESET ROLE;

-- remember: what first arrived is shown to those who may read the columns and the column that remembers.
SET ROLE regress_pgi_owner;
CREATE TABLE seen (id int PRIMARY KEY, v int, secret text, first_seen jsonb);
SELECT key FROM idempotent_guard('seen', remember => 'first_seen');
GRANT INSERT (id, v, secret), SELECT (id, v) ON seen TO regress_pgi_client;
RESET ROLE;
SET ROLE regress_pgi_client;
INSERT INTO seen VALUES (1, 1, 'x'), (1, 1, 'x');
INSERT INTO seen VALUES (1, 2, 'y');
INSERT INTO seen (id, v, first_seen) VALUES (2, 1, '{}');
:state
UPDATE seen SET v = 2;
:state
RESET ROLE;
SELECT * FROM seen;
GRANT SELECT ON seen TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO seen VALUES (1, 2, 'y');
RESET ROLE;

-- Quarantine: whoever may INSERT causes a record; who may SELECT the table sees it.
SET ROLE regress_pgi_owner;
SELECT on_conflict FROM idempotent_guard('orders', on_conflict => 'quarantine');
REVOKE ALL ON orders FROM regress_pgi_client;
GRANT INSERT ON orders TO regress_pgi_client;
RESET ROLE;
SET ROLE regress_pgi_client;
INSERT INTO orders VALUES (1, 12, 'guess', 'paid'), (1, 12, 'guess', 'paid');
SELECT count(*) FROM idempotent.conflicts;
SELECT idempotent_resolve(id, 'keep_stored') FROM idempotent.conflicts;
RESET ROLE;
SET ROLE regress_pgi_owner;
SELECT target, key, differences, arrived_by FROM idempotent.conflicts ORDER BY id;
RESET ROLE;

-- pg_idempotent.guard is for superusers, and for those who were granted it.
SET ROLE regress_pgi_owner;
SHOW pg_idempotent.guard;
SET pg_idempotent.guard = off;
:state
SELECT set_config('pg_idempotent.guard', 'off', false);
:state
ALTER ROLE regress_pgi_owner SET pg_idempotent.guard = off;
:state
CREATE FUNCTION sneaks() RETURNS void LANGUAGE sql SET pg_idempotent.guard = off AS 'INSERT INTO orders VALUES (1, 13)';
:state
RESET ROLE;
GRANT SET ON PARAMETER pg_idempotent.guard TO regress_pgi_owner;
SET ROLE regress_pgi_owner;
SET pg_idempotent.guard = off;
INSERT INTO orders VALUES (1, 12);
:state
INSERT INTO orders VALUES (8, 12);
RESET pg_idempotent.guard;
RESET ROLE;
SET ROLE regress_pgi_client;
SET pg_idempotent.guard = off;
:state
-- What everybody may set.
SET pg_idempotent.show_values = off;
RESET pg_idempotent.show_values;
RESET ROLE;
REVOKE SET ON PARAMETER pg_idempotent.guard FROM regress_pgi_owner;
SET ROLE regress_pgi_owner;
SET pg_idempotent.guard = off;
:state
RESET ROLE;
-- The trigger function is nobody's tool: to call it does nothing, to put it on a table takes the right to make triggers there.
SET ROLE regress_pgi_stranger;
SELECT idempotent_guard_trigger();
:state
CREATE TRIGGER mine BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
:state
CREATE TEMP TABLE own (id int PRIMARY KEY, v int);
SELECT key FROM idempotent_guard('own');
INSERT INTO own VALUES (1, 1), (1, 1);
RESET ROLE;
-- Temporary tables of others are not in the view, and no trouble to it.
SELECT count(*) FROM idempotent.guards;

SET client_min_messages = warning;
DROP TABLE own;
DROP SCHEMA guard_privileges CASCADE;
DELETE FROM idempotent.conflict_records;
DROP ROLE regress_pgi_owner, regress_pgi_client, regress_pgi_keeper, regress_pgi_stranger;
