-- idempotent_repair of a foreign table: which statements it sends, what it skips, whose rights it takes. Needs postgres_fdw.
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
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (:there, extensions 'pg_idempotent');
CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE SCHEMA there;
CREATE TABLE there.ledger (order_id int PRIMARY KEY, amount numeric(9,2), status text UNIQUE, note text);
CREATE FOREIGN TABLE ledger (order_id int NOT NULL, amount numeric(9,2), status text, note text DEFAULT 'local')
    SERVER far OPTIONS (schema_name 'there');
CREATE TABLE orders (order_id int PRIMARY KEY, amount numeric, status text);
INSERT INTO there.ledger VALUES (1, 10, 'a', 'kept'), (2, 20, 'b', 'x'), (3, NULL, 'c', 'y'), (5, 50, 'e', 'kept');
INSERT INTO orders VALUES (1, 10.000, 'a'), (2, 25, 'b'), (4, NULL, 'c'), (5, 55, NULL);
-- By default nothing is written.
SELECT * FROM idempotent_repair('ledger', 'orders');
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', compare => '{amount}', "limit" => 1, dry_run => false);
-- Deletions, updates, insertions: a value of another unique index is free before it is needed.
SELECT * FROM idempotent_repair('ledger', 'orders', dry_run => false);
TABLE there.ledger ORDER BY order_id;
SELECT * FROM idempotent_reconcile('ledger', 'orders');
-- There is nothing to do, which also a READ ONLY transaction can.
BEGIN READ ONLY;
SELECT * FROM idempotent_repair('ledger', 'orders', dry_run => false);
COMMIT;
UPDATE orders SET amount = 11 WHERE order_id = 1;
BEGIN READ ONLY;
SELECT * FROM idempotent_repair('ledger', 'orders', dry_run => false);
:state
ROLLBACK;
-- What is written is part of the transaction, on the other server as well.
BEGIN;
SELECT status, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false);
ROLLBACK;
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false);
-- A trigger there that suppresses, and errors there.
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER suppress BEFORE INSERT OR UPDATE OR DELETE ON there.ledger FOR EACH ROW EXECUTE FUNCTION suppress();
DELETE FROM orders WHERE order_id = 5;
UPDATE orders SET amount = 26 WHERE order_id = 2;
INSERT INTO orders VALUES (9, 9, 'nine');
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false);
DROP TRIGGER suppress ON there.ledger;
ALTER TABLE there.ledger ADD CHECK (amount < 100);
UPDATE orders SET amount = 100 WHERE order_id = 2;
SELECT * FROM idempotent_repair('ledger', 'orders', dry_run => false);
:state
UPDATE orders SET amount = 26 WHERE order_id = 2;
-- The foreign table, or its server, may refuse to be written.
ALTER FOREIGN TABLE ledger OPTIONS (ADD updatable 'false');
SELECT * FROM idempotent_repair('ledger', 'orders', dry_run => false);
:state
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders');
ALTER FOREIGN TABLE ledger OPTIONS (DROP updatable);
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false);

-- One statement a row goes to the other server, which does it by itself: a trigger of a statement counts them.
CREATE TABLE told (what text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.told VALUES (current_query()); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON there.ledger EXECUTE FUNCTION tell();
UPDATE orders SET amount = NULL WHERE order_id = 1;
UPDATE orders SET amount = 4, status = 'd' WHERE order_id = 4;
DELETE FROM orders WHERE order_id = 9;
INSERT INTO orders VALUES (6, NULL, 'six');
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false);
TABLE told;
DROP TRIGGER tell ON there.ledger;
-- A trigger here: then rows are fetched, and written one by one.
CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% % %', TG_OP, OLD.status, NEW.status; RETURN NULL; END $$;
CREATE TRIGGER say AFTER INSERT OR UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION say();
UPDATE orders SET status = 'sixth' WHERE order_id = 6;
DELETE FROM orders WHERE order_id = 4;
INSERT INTO orders VALUES (7, 7, 'seven');
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false);
DROP TRIGGER say ON ledger;
-- A row that is changed meanwhile, be it by a trigger there, is left alone.
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE there.ledger SET amount = -amount WHERE order_id <> OLD.order_id; RETURN NULL; END $$;
CREATE TRIGGER meddle AFTER DELETE ON there.ledger FOR EACH ROW EXECUTE FUNCTION meddle();
DELETE FROM orders WHERE order_id IN (5, 7);
UPDATE orders SET status = status || ' changed' WHERE order_id IN (2, 6);
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false);
DROP TRIGGER meddle ON there.ledger;
SELECT status, key, differences, outcome FROM idempotent_repair('ledger', 'orders', dry_run => false);

-- Keys that are stored twice: one row is compared, others are deleted. What is alike cannot be told apart.
CREATE TABLE there.twice (id int, v int, w int);
CREATE FOREIGN TABLE twice (id int, v int) SERVER far OPTIONS (schema_name 'there');
CREATE TABLE once (id int PRIMARY KEY, v int);
INSERT INTO there.twice VALUES (1, 1, 1), (2, 2, 1), (2, 3, 1), (3, 3, 1);
INSERT INTO once VALUES (1, 1), (2, 4), (3, 3);
SELECT * FROM idempotent_repair('twice', 'once', dry_run => false);
TABLE there.twice ORDER BY id, v;
INSERT INTO there.twice VALUES (1, 1, 2);
SELECT * FROM idempotent_repair('twice', 'once', dry_run => false);
:state
TABLE there.twice ORDER BY id, v;
UPDATE once SET v = 7 WHERE id = 1;
SELECT * FROM idempotent_repair('twice', 'once', dry_run => false);
:state
-- Keys that the source has twice: the first is taken.
TRUNCATE there.twice;
INSERT INTO there.twice VALUES (1, 1);
CREATE VIEW once_twice(id, v) AS VALUES (1, 1), (1, 2), (1, 3), (4, 4), (4, 5), (NULL, 6);
SELECT status, key, expected, outcome FROM idempotent_repair('twice', 'once_twice', key => '{id}', dry_run => false);
TABLE there.twice ORDER BY id;
INSERT INTO there.twice VALUES (NULL, 1);
SELECT status, key, outcome FROM idempotent_repair('twice', 'once', dry_run => false);

-- A default of the foreign table completes the key of a row that is inserted.
CREATE FOREIGN TABLE completed (id int, v int DEFAULT 3) SERVER far OPTIONS (schema_name 'there', table_name 'twice');
CREATE VIEW ids(id) AS VALUES (1), (2), (9);
SELECT status, key, outcome FROM idempotent_repair('completed', 'ids', key => '{id,v}', dry_run => false);

-- An update that would give a row another key, by what the foreign table declares as generated.
CREATE TABLE there.made (id int, part int, k int GENERATED ALWAYS AS (id + part) STORED);
CREATE FOREIGN TABLE made (id int, part int, k int GENERATED ALWAYS AS (id + part) STORED) SERVER far OPTIONS (schema_name 'there');
INSERT INTO there.made VALUES (1, 2);
CREATE VIEW made_in(k, id) AS VALUES (3, 2);
SELECT * FROM idempotent_repair('made', 'made_in', key => '{k}');
:state
SELECT * FROM idempotent_repair('made', 'made_in', key => '{k}', dry_run => false);
:state

-- Where NULL equals NULL in the source's index, it is a key there as well.
CREATE TABLE there.nullable (a int, b int, v int);
CREATE FOREIGN TABLE nullable (a int, b int, v int) SERVER far OPTIONS (schema_name 'there');
CREATE TABLE nulls_equal (a int, b int, v int, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO there.nullable VALUES (1, NULL, 1), (2, NULL, 2);
INSERT INTO nulls_equal VALUES (1, NULL, 2), (NULL, NULL, 3);
SELECT status, key, outcome FROM idempotent_repair('nullable', 'nulls_equal', dry_run => false);
TABLE there.nullable ORDER BY a;

-- Types: also those without an equality, and those that the other server does not compare.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE TYPE pair AS (a int, b numeric);
CREATE TABLE there."Typed" ("select" code, "Key" mood, n numeric, f float8, j jsonb, js json, a int[], r numrange, x point, c char(5), p pair, g int GENERATED ALWAYS AS (1) STORED);
CREATE FOREIGN TABLE "Typed" ("select" code, "Key" mood, n numeric, f float8, j jsonb, js json, a int[], r numrange, x point, c char(5), p pair,
    g int GENERATED ALWAYS AS (1) STORED) SERVER far OPTIONS (schema_name 'there');
CREATE TABLE typed_in ("select" code, "Key" mood, n numeric, f float8, j jsonb, js json, a int[], r numrange, x point, c char(5), p pair, g int);
INSERT INTO there."Typed" VALUES
    ('a', 'sad', 1.0, 'NaN', '{"a": 1, "b": 2}', '{"a": 1}', '{1,2}', '[1,2]', '(1,2)', 'c', (1, 2)),
    ('b', 'happy', 0.1, 1e-300, '{}', '{}', '{}', 'empty', '(0.1,2)', '', (NULL, NULL)),
    ('c', 'sad', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO typed_in TABLE there."Typed";
UPDATE typed_in SET "select" = 'd' WHERE "select" = 'b';
UPDATE typed_in SET (n, f, j, js, a, r, x, c, p) = (2, 2, '2', '2', '{2}', '[2,2]', '(2,2)', '2', (2, 2)) WHERE "Key" = 'sad';
SELECT status, key, outcome FROM idempotent_repair('"Typed"', 'typed_in', key => '{Key,select}', dry_run => false);
SELECT count(*) FROM there."Typed" AS s JOIN typed_in AS t ON s::text = t::text;
SELECT status, key, outcome FROM idempotent_repair('"Typed"', 'typed_in', key => '{Key,select}', dry_run => false);

-- Rights: those on the foreign table, and of the user that the mapping names there.
CREATE ROLE regress_repairer;
GRANT SELECT ON orders TO regress_repairer;
INSERT INTO orders VALUES (8, 8, 'eight');
SET ROLE regress_repairer;
SELECT * FROM idempotent_reconcile('ledger', 'orders');
:state
RESET ROLE;
GRANT SELECT (order_id, amount, status) ON ledger TO regress_repairer;
SET ROLE regress_repairer;
\set VERBOSITY sqlstate
SELECT * FROM idempotent_reconcile('ledger', 'orders');
\set VERBOSITY default
SELECT * FROM idempotent_repair('ledger', 'orders', dry_run => false);
:state
RESET ROLE;
CREATE ROLE regress_there LOGIN;
CREATE USER MAPPING FOR regress_repairer SERVER far OPTIONS (user 'regress_there', password_required 'false');
SET ROLE regress_repairer;
SELECT * FROM idempotent_reconcile('ledger', 'orders');
:state
RESET ROLE;
GRANT USAGE ON SCHEMA there TO regress_there;
GRANT SELECT ON there.ledger TO regress_there;
GRANT INSERT (order_id, amount, status), UPDATE (amount), DELETE ON ledger TO regress_repairer;
SET ROLE regress_repairer;
SELECT status, key FROM idempotent_reconcile('ledger', 'orders');
SELECT status, key FROM idempotent_repair('ledger', 'orders', dry_run => false);
:state
SELECT status, key FROM idempotent_repair('ledger', 'orders', compare => '{amount}', dry_run => false);
:state
RESET ROLE;
GRANT INSERT, UPDATE (amount), DELETE ON there.ledger TO regress_there;
SET ROLE regress_repairer;
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', compare => '{amount}', dry_run => false);
RESET ROLE;
-- Each right is asked for, and column by column.
REVOKE DELETE ON ledger FROM regress_repairer;
SET ROLE regress_repairer;
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', compare => '{amount}', dry_run => false);
:state
RESET ROLE;
GRANT DELETE ON ledger TO regress_repairer;
REVOKE INSERT (status) ON ledger FROM regress_repairer;
SET ROLE regress_repairer;
SELECT status, key, outcome FROM idempotent_repair('ledger', 'orders', compare => '{amount}', dry_run => false);
:state
RESET ROLE;
SET client_min_messages = warning;
DROP OWNED BY regress_repairer, regress_there;
DROP ROLE regress_repairer, regress_there;
