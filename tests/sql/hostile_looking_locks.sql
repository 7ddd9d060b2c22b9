-- An attack: a role without any right on a table looks at it and stays in its transaction, so
-- that nobody can change the table any more. Whoever has no right on a table cannot have it
-- locked by looking, and those who have one keep no lock.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_owner;
CREATE ROLE regress_stranger;
CREATE ROLE regress_reader;
CREATE SCHEMA hostile_locks AUTHORIZATION regress_owner;
GRANT USAGE ON SCHEMA hostile_locks TO PUBLIC;
SET search_path = hostile_locks, public;
SET ROLE regress_owner;
CREATE TABLE orders (order_id int PRIMARY KEY, "Net Amount" numeric, status text, seen jsonb, UNIQUE (order_id, status));
SELECT key FROM idempotent_guard('orders', key => '{order_id}', ignore => '{status}', on_conflict => 'quarantine', remember => 'seen');
CREATE TABLE parts (id int, day date, v int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts DEFAULT;
SELECT key FROM idempotent_guard('parts');
-- Made by hand, without a key, and wrong.
CREATE TABLE by_hand (id int PRIMARY KEY, v int);
CREATE TRIGGER guard BEFORE INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION public.idempotent_guard_trigger('on_conflict=never');
CREATE TABLE no_key (v int);
CREATE TRIGGER guard BEFORE INSERT ON no_key FOR EACH ROW EXECUTE FUNCTION public.idempotent_guard_trigger();
CREATE TABLE plain (id int PRIMARY KEY, at timestamptz);
-- A column of the one, a right other than SELECT on the other.
GRANT SELECT (id) ON parts TO regress_reader;
GRANT TRIGGER ON orders TO regress_reader;
RESET ROLE;
-- The locks on tables and indexes of the schema that the transaction holds.
CREATE VIEW held AS
SELECT l.relation::regclass, l.mode
  FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
 WHERE l.pid = pg_backend_pid() AND c.relnamespace = 'hostile_locks'::regnamespace AND c.relname <> 'held'
 ORDER BY c.relname;
GRANT SELECT ON held TO PUBLIC;

-- A stranger sees what the catalogs show to everybody; what a guard comes to takes a look at
-- its table.
SET ROLE regress_stranger;
BEGIN;
SELECT target, enabled, key, arbiter, compared, compare, ignore, on_conflict, remember, problem FROM idempotent.guards ORDER BY target::text;
SELECT o.* FROM pg_trigger AS t, idempotent.guard_options(t.tgrelid, t.oid) AS o WHERE t.tgrelid = 'orders'::regclass AND NOT t.tgisinternal;
SELECT * FROM held;
COMMIT;
-- What there is none of, or is no guard.
SELECT * FROM idempotent.guard_options('orders', 0);
SELECT * FROM idempotent.guard_options(0, 0);
-- Lint looks at the table itself.
BEGIN;
SAVEPOINT s;
SELECT * FROM idempotent_lint('orders');
:state
ROLLBACK TO s;
SELECT * FROM idempotent_lint('parts_1');
:state
ROLLBACK TO s;
SELECT * FROM idempotent_lint('orders_pkey');
:state
ROLLBACK TO s;
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}');
:state
ROLLBACK TO s;
-- Calls that would have nothing to do.
SELECT * FROM idempotent_insert_many('orders', '[]');
:state
ROLLBACK TO s;
SELECT * FROM idempotent_insert_each('orders', '[]');
:state
ROLLBACK TO s;
SELECT idempotent_unguard('plain');
:state
ROLLBACK TO s;
SELECT * FROM held;
COMMIT;
SELECT * FROM idempotent_lint(0);
:state
RESET ROLE;

-- Any right will do, on a column too. No lock is kept.
SET ROLE regress_reader;
BEGIN;
SELECT target, key, arbiter, compared, problem FROM idempotent.guards ORDER BY target::text;
SELECT rule FROM idempotent_lint('orders');
SELECT rule FROM idempotent_lint('parts');
SELECT * FROM held;
COMMIT;
RESET ROLE;
-- The owner, and a superuser; in a backend that knows the tables, and in one that does not.
SET ROLE regress_owner;
BEGIN;
SELECT target, problem FROM idempotent.guards ORDER BY target::text;
SELECT rule FROM idempotent_lint('parts_1');
SELECT * FROM held;
COMMIT;
RESET ROLE;
\c -
SET search_path = hostile_locks, public;
BEGIN;
SELECT target, problem FROM idempotent.guards ORDER BY target::text;
SELECT rule FROM idempotent_lint('plain');
SELECT rule FROM idempotent_lint('no_key');
SELECT rule FROM idempotent_lint('parts_1');
SELECT * FROM held;
COMMIT;
-- Who works on a table keeps its lock, as with an INSERT.
BEGIN;
SELECT outcome FROM idempotent_insert('plain', '{"id": 1}');
SELECT * FROM held;
SELECT problem FROM idempotent.guards WHERE target = 'orders'::regclass;
SELECT rule FROM idempotent_lint('plain');
SELECT * FROM held;
COMMIT;
SET client_min_messages = warning;
DROP SCHEMA hostile_locks CASCADE;
DROP ROLE regress_owner, regress_stranger, regress_reader;
