-- Statistics in one session. Counts need shared memory: on PostgreSQL 15 and 16 there is none for a library that is not
-- preloaded, so the views have nothing to show there, and say why.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE TABLE orders (id int PRIMARY KEY, amount numeric(10,2));
SELECT idempotent_guard('orders') \g /dev/null
INSERT INTO orders VALUES (1, 10), (2, 20);
INSERT INTO orders VALUES (1, 10), (3, 30);
INSERT INTO orders VALUES (1, 11);
:state
BEGIN;
INSERT INTO orders VALUES (4, 40);
ROLLBACK;
SELECT outcome FROM idempotent_insert('orders', '{"id": 1, "amount": 10}');
SELECT response, replayed FROM idempotent_execute('r', 'SELECT 1 AS one');
SELECT target, form, inserted, updated, deleted, duplicates, superseded, conflicts, rejected, waits, since <= now() AS since
  FROM idempotent.stats ORDER BY form;
SELECT collected, reason, requests_started, requests_finished, requests_replayed, runs_started FROM idempotent.stats_database;

-- Everybody sees them. Who may begin to count anew is who was granted the function.
CREATE ROLE regress_pgi_reader;
SET ROLE regress_pgi_reader;
SELECT form, inserted FROM idempotent.stats ORDER BY form;
SELECT idempotent_stats_reset();
:state
SET pg_idempotent.track = off;
:state
RESET ROLE;
SELECT idempotent_stats_reset() IS NOT NULL AS reset;
SET pg_idempotent.track = off;
INSERT INTO orders VALUES (5, 50);
SELECT form, inserted, duplicates FROM idempotent.stats ORDER BY form;
SELECT collected, reason FROM idempotent.stats_database;
RESET pg_idempotent.track;

DROP ROLE regress_pgi_reader;
DROP TABLE orders;
