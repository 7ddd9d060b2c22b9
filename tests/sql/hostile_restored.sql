-- State that the extension never wrote, and casts that are gone: neither is taken for what it was made as.
\set VERBOSITY default
\set SHOW_CONTEXT errors
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA vault;
SET search_path = vault, public;

-- 1. The owner of a database can restore records, and put there what the extension never records.
CREATE TABLE lists (id int PRIMARY KEY, notes json[]);
INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest, arrived_by)
VALUES ('vault.lists', '[1]', '5', '"x"', '[1, "notes"]', '\x05', 'mallory') RETURNING id \gset
SELECT idempotent_resolve(:id, 'apply payload');
:state
SELECT idempotent_resolve(:id, 'keep stored');
INSERT INTO idempotent.pipeline_runs (role, dataset, partition, attempt, status, reason, lease, started_at, heartbeat_at, completed_at)
VALUES (idempotent.own_role(), 'vault', '', 2147483647, 'failed', 'restored', '1 h', now(), now(), now());
SELECT idempotent_run_begin('vault');
:state

-- 2. A cast that is gone is not called any more.
CREATE TYPE mood AS ENUM ('calm', 'angry');
CREATE FUNCTION to_mood(jsonb) RETURNS mood LANGUAGE sql AS $$ SELECT 'angry'::mood $$;
CREATE FUNCTION to_mood_json(mood) RETURNS json LANGUAGE sql AS $$ SELECT '{}'::json $$;
CREATE CAST (jsonb AS mood) WITH FUNCTION to_mood(jsonb);
CREATE CAST (mood AS json) WITH FUNCTION to_mood_json(mood);
CREATE TABLE moods (id int PRIMARY KEY, mood mood);
SELECT outcome FROM idempotent_insert('moods', '{"id": 1, "mood": {"a": 1}}');
DROP FUNCTION to_mood(jsonb) CASCADE;
SELECT outcome FROM idempotent_insert('moods', '{"id": 2, "mood": {"a": 1}}');
:state
TABLE moods;

DELETE FROM idempotent.pipeline_runs WHERE dataset = 'vault';
DELETE FROM idempotent.conflict_records WHERE target::regclass = 'lists'::regclass;
RESET search_path;
DROP SCHEMA vault CASCADE;
