-- idempotent_load into a foreign table whose key is named. Needs postgres_fdw.
SELECT count(*) = 0 AS no_fdw FROM pg_available_extensions WHERE name = 'postgres_fdw' \gset
\if :no_fdw
\echo SKIPPED: this server has no postgres_fdw
\quit
\endif
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :SQLSTATE'
SET client_min_messages = warning;
CREATE EXTENSION postgres_fdw;
SELECT format('host %L, port %L, dbname %L', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()) AS there \gset
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (:there);
CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE SCHEMA there;
CREATE TABLE there."Ledger" ("Id" int PRIMARY KEY, amount numeric(9,2) CHECK (amount < 10000), note text);
CREATE FOREIGN TABLE ledger (order_id int OPTIONS (column_name 'Id'), gone text, amount numeric(9,2), note text) SERVER far OPTIONS (schema_name 'there', table_name 'Ledger');
ALTER FOREIGN TABLE ledger DROP COLUMN gone;
CREATE TABLE orders AS SELECT i AS order_id, i * 10.00 AS amount, NULL::text AS note FROM generate_series(1, 700) AS i;
CREATE VIEW loads AS SELECT status, rows_total, rows_done, inserted, duplicates, conflicts, rejected, batches, error FROM idempotent.loads ORDER BY load_id DESC LIMIT 1;

CALL idempotent_load('ledger', 'orders', key => '{order_id}', batch_size => 300, token => 'first');
TABLE loads;
SELECT count(*), sum(amount) FROM there."Ledger";
CALL idempotent_load('ledger', 'orders', key => '{order_id}', batch_size => 300);
TABLE loads;
-- A token answers without a look.
DELETE FROM there."Ledger" WHERE "Id" < 100;
CALL idempotent_load('ledger', 'orders', key => '{order_id}', token => 'first');
TABLE loads;
CALL idempotent_load('ledger', 'orders', key => '{order_id}', batch_size => 50, token => 'second');
TABLE loads;
-- A conflict, and rows that the other server refuses.
UPDATE orders SET amount = 1 WHERE order_id = 350;
INSERT INTO orders VALUES (701, 10000, 'refused'), (702, 10, 'taken');
CALL idempotent_load('ledger', 'orders', key => '{order_id}', batch_size => 300);
:state
TABLE loads;
CALL idempotent_load('ledger', 'orders', key => '{order_id}', on_conflict => 'quarantine', on_error => 'quarantine');
TABLE loads;
SELECT target, key, differences FROM idempotent.conflicts;
SELECT target, payload, error ->> 'sqlstate' AS sqlstate FROM idempotent.rejections;
-- A load that fails in the middle is called again.
DELETE FROM orders WHERE order_id IN (350, 701);
TRUNCATE there."Ledger";
CREATE FUNCTION there.fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '57P05'; END $$;
CREATE TRIGGER fails BEFORE INSERT ON there."Ledger" FOR EACH ROW WHEN (NEW."Id" = 333) EXECUTE FUNCTION there.fails();
\set VERBOSITY terse
CALL idempotent_load('ledger', 'orders', key => '{order_id}', batch_size => 100);
\set VERBOSITY default
TABLE loads;
SELECT count(*) FROM there."Ledger";
DROP TRIGGER fails ON there."Ledger";
CALL idempotent_load('ledger', 'orders', key => '{order_id}', batch_size => 100);
TABLE loads;
SELECT status, count(*) FROM idempotent_reconcile('ledger', 'orders', key => '{order_id}') GROUP BY status;
-- The other server goes away in the middle.
TRUNCATE there."Ledger";
CREATE FUNCTION there.goes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NEW; END $$;
CREATE TRIGGER goes BEFORE INSERT ON there."Ledger" FOR EACH ROW WHEN (NEW."Id" = 222) EXECUTE FUNCTION there.goes();
\set VERBOSITY sqlstate
SET client_min_messages = error;
CALL idempotent_load('ledger', 'orders', key => '{order_id}', batch_size => 100, token => 'third');
SET client_min_messages = warning;
\set VERBOSITY default
SELECT status, rows_done, inserted, error IS NOT NULL AS told FROM loads;
DROP TRIGGER goes ON there."Ledger";
CALL idempotent_load('ledger', 'orders', key => '{order_id}', batch_size => 100, token => 'third');
TABLE loads;

-- From one foreign table to another, in a procedure.
CREATE TABLE there.copy (LIKE there."Ledger", PRIMARY KEY ("Id"));
CREATE FOREIGN TABLE copy (order_id int OPTIONS (column_name 'Id'), amount numeric(9,2), note text) SERVER far OPTIONS (schema_name 'there');
DO $$ BEGIN FOR i IN 1..2 LOOP CALL idempotent_load('copy', 'ledger', key => '{order_id}', batch_size => 256); END LOOP; END $$;
TABLE loads;
-- What is refused.
CALL idempotent_load('ledger', 'orders');
:state
CALL idempotent_load('ledger', 'orders', key => '{number}');
:state
BEGIN;
CALL idempotent_load('ledger', 'orders', key => '{order_id}');
:state
ROLLBACK;
CREATE FOREIGN TABLE nowhere (order_id int, amount numeric) SERVER far OPTIONS (schema_name 'there');
CALL idempotent_load('nowhere', 'orders', key => '{order_id}', ignore => '{note}');
:state
ALTER FOREIGN TABLE nowhere ADD note text;
\set VERBOSITY sqlstate
CALL idempotent_load('nowhere', 'orders', key => '{order_id}');
\set VERBOSITY default
-- With the rights of the caller, and the user mapping of the caller.
SELECT format('user %L, password_required %L', current_user, 'false') AS mine \gset
CREATE ROLE regress_pgi_load;
GRANT SELECT ON orders TO regress_pgi_load;
SET ROLE regress_pgi_load;
CALL idempotent_load('ledger', 'orders', key => '{order_id}');
:state
RESET ROLE;
GRANT SELECT (order_id), INSERT ON ledger TO regress_pgi_load;
CREATE USER MAPPING FOR regress_pgi_load SERVER far OPTIONS (:mine);
SET ROLE regress_pgi_load;
CALL idempotent_load('ledger', 'orders', key => '{order_id}');
:state
RESET ROLE;
GRANT SELECT ON ledger TO regress_pgi_load;
SET ROLE regress_pgi_load;
CALL idempotent_load('ledger', 'orders', key => '{order_id}');
RESET ROLE;
TABLE loads;
DROP OWNED BY regress_pgi_load;
DROP ROLE regress_pgi_load;
