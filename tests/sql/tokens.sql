-- A token: a batch that has committed under it is answered from its record.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA tokens;
SET search_path = tokens, public;
CREATE TABLE orders (id int PRIMARY KEY, amount int, seen int);
CREATE TABLE staged (id int, amount int);
INSERT INTO staged VALUES (1, 10), (2, 20);

-- 1. The first call does the work, the next ones repeat its answer, whatever has become of source and target.
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-1');
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-1');
TRUNCATE staged;
DELETE FROM orders WHERE id = 2;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-1');
SELECT id FROM orders;
INSERT INTO staged VALUES (1, 10), (2, 20);
-- Another token, and no token.
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-2');
SELECT * FROM idempotent_insert_from('orders', 'staged');
SELECT target, token, function, options, digest, counts FROM idempotent.batches ORDER BY token;
-- Another source is no other batch: staging tables come and go.
CREATE TEMP TABLE staged_again AS SELECT * FROM staged;
SELECT * FROM idempotent_insert_from('orders', 'staged_again', token => 'file-1');
-- Nothing is written by a replay.
BEGIN READ ONLY;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-1');
SELECT pg_current_xact_id_if_assigned();
COMMIT;
BEGIN READ ONLY;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-3');
:state
ROLLBACK;
-- It is part of the transaction.
BEGIN;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-4');
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-4');
SAVEPOINT s;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-5');
ROLLBACK TO s;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-5');
ROLLBACK;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-4');
-- What fails is not recorded.
UPDATE staged SET amount = 21 WHERE id = 2;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-6');
:state
UPDATE staged SET amount = 20 WHERE id = 2;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-6');
-- Conflicts that were reported are in the answer; they are recorded once.
UPDATE staged SET amount = 22 WHERE id = 2;
SELECT * FROM idempotent_insert_from('orders', 'staged', on_conflict => 'quarantine', token => 'file-7');
SELECT idempotent_resolve(id, 'keep_stored') FROM idempotent.conflicts;
SELECT * FROM idempotent_insert_from('orders', 'staged', on_conflict => 'quarantine', token => 'file-7');
SELECT count(*) FROM idempotent.conflicts WHERE resolution IS NULL;
UPDATE staged SET amount = 20 WHERE id = 2;
-- A table that is empty is a batch of none.
CREATE TABLE nothing (LIKE staged);
SELECT * FROM idempotent_insert_from('orders', 'nothing', token => 'none');
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'none');

-- 2. Another batch under the token is refused: another function, other options, another digest if one is given.
SELECT * FROM idempotent_insert_from('orders', 'staged', key => '{id}', compare => '{amount}', on_conflict => 'report', token => 'file-1');
:state
SELECT * FROM idempotent_merge('orders', 'staged', token => 'file-1');
:state
CALL idempotent_load('orders', 'staged', token => 'file-1');
:state
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-1', digest => 'd');
:state
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-8', digest => (SELECT idempotent_digest(s) FROM staged AS s));
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-8', digest => (SELECT idempotent_digest(s) FROM staged AS s));
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-8');
UPDATE staged SET amount = 23 WHERE id = 2;
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-8', digest => (SELECT idempotent_digest(s) FROM staged AS s));
:state
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'file-8');
UPDATE staged SET amount = 20 WHERE id = 2;
-- What is given as the default is what it is without it; a key is told by how it was given.
SELECT * FROM idempotent_insert_from('orders', 'staged', on_conflict => 'error', token => 'file-1');
SELECT * FROM idempotent_insert_from('orders', 'staged', key => '{id}', token => 'keyed');
SELECT * FROM idempotent_insert_from('orders', 'staged', token => 'keyed');
:state

-- 3. Arguments.
SELECT * FROM idempotent_insert_from('orders', 'staged', token => '');
:state
SELECT * FROM idempotent_insert_from('orders', 'staged', token => repeat('x', 256));
:state
SELECT * FROM idempotent_insert_from('orders', 'staged', token => repeat('ü', 255));
SELECT replayed FROM idempotent_insert_from('orders', 'staged', token => repeat('ü', 255));
SELECT * FROM idempotent_insert_from('orders', 'staged', digest => 'd');
:state
SELECT * FROM idempotent_merge('orders', 'staged', digest => 'd');
:state
CALL idempotent_load('orders', 'staged', digest => 'd');
:state

-- 4. Merge.
UPDATE staged SET amount = 11 WHERE id = 1;
INSERT INTO staged VALUES (3, 30);
SELECT * FROM idempotent_merge('orders', 'staged', latest_by => '{amount}', token => 'merge-1');
UPDATE orders SET amount = 0;
SELECT * FROM idempotent_merge('orders', 'staged', latest_by => '{amount}', token => 'merge-1');
SELECT * FROM idempotent_merge('orders', 'staged', insert_only => '{seen}', ignore => '{amount}', token => 'merge-1');
:state
SELECT * FROM orders ORDER BY id;

-- 5. Load: the token is recorded with the last batch.
DELETE FROM orders;
INSERT INTO staged SELECT id, 5 FROM generate_series(4, 25) AS id;
\set VERBOSITY terse
SET client_min_messages = error;
CALL idempotent_load('orders', 'staged', batch_size => 10, token => 'load-1', digest => 'd');
DELETE FROM orders WHERE id > 20;
CALL idempotent_load('orders', 'staged', batch_size => 7, token => 'load-1', digest => 'd');
SELECT count(*) FROM orders;
SELECT status, rows_total, rows_done, inserted, duplicates, conflicts, batches, token, replayed FROM idempotent.loads ORDER BY load_id;
CALL idempotent_load('orders', 'staged', batch_size => 10, token => 'load-1', digest => 'other');
:state
CALL idempotent_load('orders', 'staged', compare => '{amount}', token => 'load-1');
:state
-- One that fails on the way is not recorded, and goes on when it is called again.
UPDATE staged SET amount = 6 WHERE id = 20;
CALL idempotent_load('orders', 'staged', batch_size => 10, token => 'load-2');
:state
UPDATE staged SET amount = 5 WHERE id = 20;
CALL idempotent_load('orders', 'staged', batch_size => 10, token => 'load-2');
SELECT status, inserted, duplicates, token, replayed FROM idempotent.loads WHERE token = 'load-2' ORDER BY load_id;
SELECT counts FROM idempotent.batches WHERE token LIKE 'load%' ORDER BY token;
-- A temporary source, which the first commit may empty.
CREATE TEMP TABLE temporary (id int, amount int) ON COMMIT DELETE ROWS;
CREATE PROCEDURE load_temporary() LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO temporary VALUES (1, 11);
    CALL idempotent_load('orders', 'temporary', token => 'temporary');
END $$;
CALL load_temporary();
CALL load_temporary();
SELECT status, replayed FROM idempotent.loads WHERE token = 'temporary' ORDER BY load_id;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
\set VERBOSITY default
RESET client_min_messages;

-- 6. A token is its role's, for one table, and goes with both through renames.
CREATE ROLE regress_pgi_one;
CREATE ROLE regress_pgi_two;
GRANT USAGE ON SCHEMA tokens TO regress_pgi_one, regress_pgi_two;
GRANT SELECT, INSERT ON orders TO regress_pgi_one, regress_pgi_two;
GRANT SELECT ON staged TO regress_pgi_one, regress_pgi_two;
CREATE TABLE others (LIKE orders INCLUDING ALL);
SELECT replayed FROM idempotent_insert_from('others', 'staged', token => 'file-1');
SET ROLE regress_pgi_one;
SELECT * FROM idempotent.batches;
SELECT replayed FROM idempotent_insert_from('orders', 'staged', token => 'file-1');
SELECT replayed FROM idempotent_insert_from('orders', 'staged', token => 'file-1');
SET ROLE regress_pgi_two;
SELECT replayed FROM idempotent_insert_from('orders', 'staged', token => 'file-1');
SELECT count(*) FROM idempotent.batches;
RESET ROLE;
ALTER TABLE orders RENAME TO sales;
ALTER ROLE regress_pgi_one RENAME TO regress_pgi_uno;
SET ROLE regress_pgi_uno;
SELECT replayed FROM idempotent_insert_from('sales', 'staged', token => 'file-1');
SELECT target, token FROM idempotent.batches;
RESET ROLE;
-- The rights are asked for all the same.
REVOKE INSERT ON sales FROM regress_pgi_uno;
SET ROLE regress_pgi_uno;
SELECT replayed FROM idempotent_insert_from('sales', 'staged', token => 'file-1');
:state
RESET ROLE;
-- Made anew, it is another table.
DROP TABLE others;
CREATE TABLE others (LIKE sales INCLUDING ALL);
SELECT replayed FROM idempotent_insert_from('others', 'staged', token => 'file-1');

-- 7. A count that is none is an error of the server's.
SELECT replayed FROM idempotent_insert_from('sales', 'staged', token => 'watched');
UPDATE idempotent.batch_records SET counts = '{"received": 7, "conflicts": "8"}' WHERE token = 'watched';
SELECT * FROM idempotent_insert_from('sales', 'staged', token => 'watched');
UPDATE idempotent.batch_records SET counts = '{"received": "many"}' WHERE token = 'watched';
SELECT * FROM idempotent_insert_from('sales', 'staged', token => 'watched');
:state

SET client_min_messages = warning;
DELETE FROM idempotent.batch_records;
DROP SCHEMA tokens CASCADE;
DROP TABLE temporary, staged_again;
DROP ROLE regress_pgi_uno, regress_pgi_two;
