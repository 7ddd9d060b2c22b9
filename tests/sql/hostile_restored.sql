-- State that the extension never wrote: the owner of a database can restore rows, and put there what they like.
\set VERBOSITY default
\set SHOW_CONTEXT errors
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA vault;
SET search_path = vault, public;

CREATE TABLE lists (id int PRIMARY KEY, notes json[]);
INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest, arrived_by)
VALUES ('vault.lists', '[1]', '5', '"x"', '[1, "notes"]', '\x05', 'mallory') RETURNING id \gset
SELECT idempotent_resolve(:id, 'apply_payload');
:state
SELECT idempotent_resolve(:id, 'keep_stored');
INSERT INTO idempotent.pipeline_run_records (role, dataset, partition, attempt, status, reason, lease, started_at, heartbeat_at, completed_at)
VALUES (idempotent.own_role(), 'vault', '', 2147483647, 'failed', 'restored', '1 h', now(), now(), now());
SELECT idempotent_run_begin('vault');
:state

-- Nor is the greatest number there is the last one for all.
CREATE TABLE notes (id int PRIMARY KEY, note text);
INSERT INTO notes VALUES (1, 'a');
SELECT last_value + is_called::int AS next FROM idempotent.conflict_records_id_seq \gset
INSERT INTO idempotent.conflict_records (id, target, key, payload, stored, differences, digest, arrived_by)
OVERRIDING SYSTEM VALUE
SELECT id, 'vault.lists', '{}', '{}', '{}', '{}', int8send(id), 'mallory' FROM unnest(ARRAY[:next, 9223372036854775807]) AS id;
SELECT outcome FROM idempotent_insert('notes', '{"id": 1, "note": "b"}', on_conflict => 'quarantine');
SELECT outcome FROM idempotent_insert('notes', '{"id": 1, "note": "c"}', on_conflict => 'quarantine');
SELECT id - :next AS behind, payload FROM idempotent.conflicts WHERE target = 'notes'::regclass ORDER BY id;

DELETE FROM idempotent.pipeline_run_records WHERE dataset = 'vault';
DELETE FROM idempotent.conflict_records WHERE target::regclass IN ('lists', 'notes');
RESET search_path;
DROP SCHEMA vault CASCADE;
