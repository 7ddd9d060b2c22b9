-- The schema of everything that is not a function.
--
-- A table of state is called something_records, and only the extension writes it. The view
-- with the plain name (requests, pipeline_runs, loads, conflicts, rejections, batches) shows each role what it may
-- see of that table. Besides these, the view guards shows the guarded tables.
CREATE SCHEMA idempotent;
COMMENT ON SCHEMA idempotent IS
    'pg_idempotent: state and views';

-- What the tags of locks are keyed with (src/secret.rs), so that pg_locks does not show which
-- key is worked on. The extension reads it without any right. With row-level security and
-- no policy it is hidden from members of pg_read_all_data, too. It is not in dumps: a
-- database that is restored has its own.
CREATE TABLE idempotent.lock_secret (secret bytea NOT NULL);
COMMENT ON TABLE idempotent.lock_secret IS 'a random key by which the tags of locks are hashed; for the extension only';
COMMENT ON COLUMN idempotent.lock_secret.secret IS '16 random bytes; never to be changed';
INSERT INTO idempotent.lock_secret (secret)
SELECT pg_catalog.substr(
           pg_catalog.sha256(
               pg_catalog.uuid_send(pg_catalog.gen_random_uuid())
               OPERATOR(pg_catalog.||) pg_catalog.uuid_send(pg_catalog.gen_random_uuid())),
           1, 16);
ALTER TABLE idempotent.lock_secret ENABLE ROW LEVEL SECURITY;
