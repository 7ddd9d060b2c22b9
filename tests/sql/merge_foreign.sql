-- idempotent_merge into a foreign table whose key is named. Needs postgres_fdw.
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
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (:there);
CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE SCHEMA there;
CREATE TABLE there.ledger (order_id int PRIMARY KEY, at int, amount numeric(9,2), status text UNIQUE);
CREATE FOREIGN TABLE ledger (order_id int NOT NULL, at int, amount numeric(9,2), status text) SERVER far OPTIONS (schema_name 'there');
-- Inserted, updated, deleted, unchanged, stale, superseded.
INSERT INTO there.ledger VALUES (1, 5, 10, 'a'), (2, 5, 20, 'b'), (3, 5, 30, 'c'), (4, 5, 40, 'd'), (5, 5, 50, 'e');
CREATE TABLE arrived (order_id int, at int, amount numeric, status text, gone boolean);
INSERT INTO arrived VALUES (1, 5, 10.0, 'a', false), (2, 4, 21, 'bb', false), (3, 6, 33, 'c', false), (4, 6, NULL, NULL, true), (6, 1, 60, 'f', false), (6, 2, 66, 'ff', false), (7, 1, 1, NULL, true);
SELECT * FROM idempotent_merge('ledger', 'arrived', key => '{order_id}', latest_by => '{at}', delete_when => 'gone', token => 'one');
SELECT * FROM there.ledger ORDER BY 1;
SELECT * FROM idempotent_merge('ledger', 'arrived', key => '{order_id}', latest_by => '{at}', delete_when => 'gone', token => 'one');
SELECT * FROM idempotent_merge('ledger', 'arrived', key => '{order_id}', latest_by => '{at}', delete_when => 'gone');
-- A pure retry writes nothing.
BEGIN READ ONLY;
SELECT * FROM idempotent_merge('ledger', 'arrived', key => '{order_id}', latest_by => '{at}', delete_when => 'gone');
COMMIT;
-- Payloads that leave columns out, and several under one key.
SELECT * FROM idempotent_merge_many('ledger', '[{"order_id": 1, "at": 6}, {"order_id": 1, "at": 7, "amount": 11}, {"order_id": 8, "at": 1, "status": "h"}, {"order_id": 2, "at": 9, "gone": true}]', key => '{order_id}', latest_by => '{at}', delete_when => 'gone');
SELECT * FROM there.ledger ORDER BY 1;
-- In one transaction with its own writes, and a rollback.
BEGIN;
SELECT inserted, updated FROM idempotent_merge_many('ledger', '[{"order_id": 9, "at": 1}]', key => '{order_id}', latest_by => '{at}');
SELECT inserted, updated FROM idempotent_merge_many('ledger', '[{"order_id": 9, "at": 2}]', key => '{order_id}', latest_by => '{at}');
ROLLBACK;
SELECT count(*) FROM there.ledger WHERE order_id = 9;
-- Many rows, of which several statements send a part each.
CREATE VIEW many AS SELECT i AS order_id, 10 AS at, i * 2 AS amount, CASE WHEN i % 3 = 0 THEN 's' || i END AS status, i % 7 = 0 AS gone FROM generate_series(10, 1500) AS i;
SELECT inserted, updated, deleted, unchanged FROM idempotent_merge('ledger', 'many', key => '{order_id}', latest_by => '{at}', delete_when => 'gone');
UPDATE there.ledger SET amount = 0, at = 9 WHERE order_id % 2 = 0;
INSERT INTO there.ledger SELECT i, 9 FROM generate_series(14, 1500, 7) AS i;
SELECT inserted, updated, deleted, unchanged FROM idempotent_merge('ledger', 'many', key => '{order_id}', latest_by => '{at}', delete_when => 'gone');
SELECT count(*), sum(amount), count(status) FROM there.ledger WHERE order_id >= 10;
-- What the other server refuses is an error.
SELECT idempotent_merge_many('ledger', '[{"order_id": 1, "at": 20, "status": "h"}]', key => '{order_id}', latest_by => '{at}');
:state
-- Another unique index of the other server keeps a row out.
SELECT idempotent_merge_many('ledger', '[{"order_id": 2000, "at": 20, "status": "h"}]', key => '{order_id}', latest_by => '{at}');
:state
-- The key has to be named.
SELECT idempotent_merge('ledger', 'arrived', latest_by => '{at}', delete_when => 'gone');
:state
SELECT idempotent_merge_many('ledger', '[]', latest_by => '{at}');
:state
SELECT * FROM idempotent_merge_many('ledger', '[]', key => '{order_id}', latest_by => '{at}');
-- A key that several rows have.
CREATE TABLE there.loose (id int, v int);
CREATE FOREIGN TABLE loose (id int, v int) SERVER far OPTIONS (schema_name 'there');
INSERT INTO there.loose VALUES (1, 1), (2, 1), (2, 2);
SELECT updated, inserted FROM idempotent_merge_many('loose', '[{"id": 1, "v": 2}, {"id": 3, "v": 1}]', key => '{id}');
SELECT idempotent_merge_many('loose', '[{"id": 1, "v": 3}, {"id": 2, "v": 3}]', key => '{id}');
:state
SELECT * FROM there.loose ORDER BY 1, 2;
-- A trigger there moves the row to another key, keeps it from being updated, changes it.
CREATE FUNCTION there.change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.v = 10 THEN NEW.id = 10; ELSIF NEW.v = 11 THEN RETURN NULL; ELSIF NEW.v = 12 THEN NEW.v = 13; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER change BEFORE UPDATE ON there.loose FOR EACH ROW EXECUTE FUNCTION there.change();
SELECT idempotent_merge_many('loose', '[{"id": 1, "v": 10}]', key => '{id}');
:state
SELECT idempotent_merge_many('loose', '[{"id": 1, "v": 11}]', key => '{id}');
:state
SELECT updated FROM idempotent_merge_many('loose', '[{"id": 1, "v": 12}]', key => '{id}');
SELECT * FROM there.loose ORDER BY 1, 2;
-- A generated column as the key: an update sets all that it is computed from, or nothing.
CREATE TABLE there.sums (a int, b int, c int GENERATED ALWAYS AS (a + b) STORED PRIMARY KEY, v int);
CREATE FOREIGN TABLE sums (a int, b int, c int GENERATED ALWAYS AS (a + b) STORED, v int) SERVER far OPTIONS (schema_name 'there');
SELECT idempotent_merge_many('sums', '[{"a": 1, "c": 1, "v": 1}]', key => '{c}');
:state
-- A table that cannot be written.
ALTER FOREIGN TABLE loose OPTIONS (updatable 'false');
SELECT idempotent_merge_many('loose', '[{"id": 3, "v": 9}]', key => '{id}');
:state
-- With the rights of the caller.
CREATE ROLE regress_pgi_far_merge;
GRANT SELECT, INSERT ON ledger TO regress_pgi_far_merge;
SET ROLE regress_pgi_far_merge;
SELECT idempotent_merge_many('ledger', '[{"order_id": 1, "at": 6}]', key => '{order_id}', latest_by => '{at}');
:state
RESET ROLE;
DROP OWNED BY regress_pgi_far_merge;
DROP ROLE regress_pgi_far_merge;
