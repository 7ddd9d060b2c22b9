-- Records of conflicts and rejections say which transaction and application they come from, and where they are in the
-- write-ahead log.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE TABLE orders (id int PRIMARY KEY, amount numeric(10,2) CHECK (amount > 0));
INSERT INTO orders VALUES (1, 10);
SELECT idempotent_guard('orders', on_conflict => 'quarantine') \g /dev/null
SELECT pg_current_wal_insert_lsn() AS before \gset

-- The id is that of the whole transaction, also for what a subtransaction records.
BEGIN;
SET LOCAL application_name = 'till 7';
SAVEPOINT one;
INSERT INTO orders VALUES (1, 11);
RELEASE SAVEPOINT one;
SELECT outcome FROM idempotent_insert('orders', '{"id": 1, "amount": 12}', on_conflict => 'quarantine');
SELECT rejected FROM idempotent_insert_many('orders', '[{"id": 2, "amount": -1}]', on_error => 'quarantine');
SELECT payload ->> 'amount' AS amount, xid = pg_current_xact_id() AS own, lsn BETWEEN :'before' AND pg_current_wal_insert_lsn() AS lsn, application_name
  FROM idempotent.conflicts ORDER BY id;
SELECT payload ->> 'id' AS id, xid = pg_current_xact_id() AS own, lsn BETWEEN :'before' AND pg_current_wal_insert_lsn() AS lsn, application_name
  FROM idempotent.rejections ORDER BY id;
COMMIT;

-- A retry changes nothing of the record.
SET application_name = 'till 8';
INSERT INTO orders VALUES (1, 11);
INSERT INTO orders VALUES (1, 13);
SELECT payload ->> 'amount' AS amount, application_name, xid > min(xid) OVER () AS later FROM idempotent.conflicts ORDER BY id;
-- The transaction can be asked for.
SELECT DISTINCT pg_xact_status(xid) FROM idempotent.conflicts;

DELETE FROM idempotent.conflict_records;
DELETE FROM idempotent.rejection_records;
DROP TABLE orders;
