-- What others read from pg_locks, and the locks that they try to take.
-- Mallory may log in, look at pg_locks, create tables and run jobs of her own.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE ROLE regress_pgi_mallory;
CREATE ROLE regress_pgi_auditor IN ROLE pg_read_all_data;
GRANT CREATE ON SCHEMA public TO regress_pgi_mallory;

CREATE TABLE payments (id int PRIMARY KEY, amount int);
SELECT arbiter FROM idempotent_guard('payments');

-- THE ATTACK: the tag of a key is a known function of table and key, so that who reads
-- pg_locks tries key after key until it fits. That is what it was:
CREATE FUNCTION sum_of(VARIADIC parts bigint[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT (CASE WHEN low >= 2::numeric ^ 63 THEN low - 2::numeric ^ 64 ELSE low END)::bigint
      FROM (SELECT mod(mod(sum(part), 2::numeric ^ 64) + 2::numeric ^ 64, 2::numeric ^ 64) AS low FROM unnest(parts) AS part) AS s $$;
CREATE FUNCTION well_known_tag(target regclass, key int) RETURNS bigint LANGUAGE sql AS $$
    SELECT hash # sum_of(hashint4extended(key, 0), x'49a0f4dd15e5a8e3'::bigint, hash << 54, hash >> 7)
      FROM (SELECT target::oid::bigint AS hash) AS h $$;
CREATE FUNCTION tags(kind int) RETURNS SETOF bigint LANGUAGE sql VOLATILE AS $$
    SELECT classid::bigint << 32 | objid::bigint FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = kind AND pid = pg_backend_pid() $$;
-- THE ANSWER: it does not fit. (The row is in, and its key still locked.)
INSERT INTO payments VALUES (42, 1)
    RETURNING (SELECT count(*) FROM tags(29)) AS locked, well_known_tag('payments', 42) IN (SELECT tags(29)) AS guessed;

-- What it depends on is a secret, which nobody but the extension's owner may read:
SET ROLE regress_pgi_mallory;
SELECT secret FROM idempotent.lock_secret;
INSERT INTO idempotent.lock_secret VALUES ('\x00');
UPDATE idempotent.lock_secret SET secret = '\x00';
TRUNCATE idempotent.lock_secret;
BEGIN;
LOCK idempotent.lock_secret IN ACCESS EXCLUSIVE MODE;
ROLLBACK;
RESET ROLE;
-- not even who may read all data.
SET ROLE regress_pgi_auditor;
SELECT count(*) FROM idempotent.lock_secret;
RESET ROLE;
SELECT relacl IS NULL OR relacl::text !~ '[{,]=' AS nothing_for_public, relrowsecurity, relforcerowsecurity
  FROM pg_class WHERE oid = 'idempotent.lock_secret'::regclass;
SELECT count(*), min(length(secret)) AS bytes, count(DISTINCT secret) FROM idempotent.lock_secret;

-- THE ATTACK: a table of Mallory's own, and in it the key that somebody waits for.
SET ROLE regress_pgi_mallory;
CREATE TABLE mine (id int PRIMARY KEY, amount int);
SELECT arbiter FROM idempotent_guard('mine');
RESET ROLE;
-- THE ANSWER: the same key of another table is another lock; of the same table it is the same.
INSERT INTO payments VALUES (43, 1) RETURNING (SELECT tags(29)) AS tag \gset one_
SET ROLE regress_pgi_mallory;
INSERT INTO mine VALUES (43, 1) RETURNING (SELECT tags(29)) AS tag \gset two_
RESET ROLE;
DELETE FROM payments WHERE id = 43;
INSERT INTO payments VALUES (43, 1) RETURNING (SELECT tags(29)) AS tag \gset again_
SELECT :one_tag <> :two_tag AS another_table, :one_tag = :again_tag AS same_key;

-- THE ATTACK: the dataset and partition that another role is working on.
BEGIN;
SELECT decision FROM idempotent_run_begin('orders', '2013-01-31');
SELECT tags(31) AS tag \gset one_
SET LOCAL ROLE regress_pgi_mallory;
-- THE ANSWER: it is not in progress for her, and a lock of its own.
SELECT decision FROM idempotent_run_begin('orders', '2013-01-31');
RESET ROLE;
SELECT count(*), count(DISTINCT tag) FROM tags(31) AS tag;
-- Where one name ends and the other begins is told apart.
SELECT decision FROM idempotent_run_begin('orders2013', '-01-31');
SELECT count(DISTINCT tag) FROM tags(31) AS tag;
ROLLBACK;

-- THE ATTACK: slices of a table of one's own that name the same columns and values.
CREATE TABLE daily (day date, n int);
CREATE TABLE arriving (day date, n int);
SET ROLE regress_pgi_mallory;
CREATE TABLE daily_of_hers (day date, n int);
CREATE TABLE arriving_of_hers (day date, n int);
RESET ROLE;
BEGIN;
SELECT * FROM idempotent_overwrite('daily', 'arriving', '{"day": "2013-01-31"}');
CREATE TEMPORARY TABLE taken AS SELECT tag FROM tags(32) AS tag UNION ALL SELECT tag FROM tags(33) AS tag;
SET LOCAL ROLE regress_pgi_mallory;
SELECT * FROM idempotent_overwrite('daily_of_hers', 'arriving_of_hers', '{"day": "2013-01-31"}');
RESET ROLE;
-- THE ANSWER: none of these locks is one of those.
SELECT count(*) AS locks, count(DISTINCT tag) AS different FROM (SELECT tags(32) AS tag UNION ALL SELECT tags(33)) AS all_of_them;
SELECT count(*) AS of_the_first FROM taken;
ROLLBACK;

-- The secret goes with the extension, and another comes with the next one, in the same
-- transaction, too.
BEGIN;
SELECT decision FROM idempotent_run_begin('orders', 'today');
CREATE TEMPORARY TABLE taken AS SELECT tag FROM tags(31) AS tag;
DROP TABLE mine;
SELECT idempotent_unguard('payments');
DROP EXTENSION pg_idempotent;
CREATE EXTENSION pg_idempotent;
SELECT decision FROM idempotent_run_begin('orders', 'today');
SELECT count(DISTINCT tag) FROM tags(31) AS tag;
-- A table that lost it is refused: no lock is tagged without a secret.
SELECT problem FROM idempotent_guard('payments');
DELETE FROM idempotent.lock_secret;
SELECT problem FROM idempotent.guards WHERE target = 'payments'::regclass;
SELECT rule, message, hint FROM idempotent_lint('payments');
CREATE TEMPORARY TABLE noticed ();
SAVEPOINT lost;
SELECT decision FROM idempotent_run_begin('orders', 'yesterday');
ROLLBACK TO lost;
-- As the hint says:
TRUNCATE idempotent.lock_secret;
INSERT INTO idempotent.lock_secret VALUES (substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16));
SELECT problem FROM idempotent.guards WHERE target = 'payments'::regclass;
SELECT decision FROM idempotent_run_begin('orders', 'yesterday');
ROLLBACK;

DROP TABLE payments, mine, daily, arriving, daily_of_hers, arriving_of_hers;
DROP FUNCTION well_known_tag, sum_of, tags;
REVOKE CREATE ON SCHEMA public FROM regress_pgi_mallory;
DROP ROLE regress_pgi_mallory, regress_pgi_auditor;
