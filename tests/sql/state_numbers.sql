-- Numbers of rows of state where rows came from elsewhere: what docs/state.md says, with rows as a restore leaves them. Whole dumps and
-- replication are in tests/cluster/test_state_elsewhere.py.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE FUNCTION restore_run(run_id bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO idempotent.pipeline_run_records (run_id, role, dataset, partition, attempt, status, reason, lease, started_at, heartbeat_at, completed_at)
    OVERRIDING SYSTEM VALUE
    VALUES (run_id, idempotent.own_role(), 'restored', run_id::text, 1, 'failed', 'first_run', '1 h', now(), now(), now())
$$;
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t VALUES (1, 1);

-- The first number is behind the greatest one, though lesser ones are free: they may have been given before.
SELECT restore_run(1000);
SELECT run_id FROM idempotent_run_begin('first');
SELECT run_id FROM idempotent_run_begin('second');
-- So is the next one, if a number is met.
SELECT restore_run(1003), restore_run(2000);
SELECT run_id FROM idempotent_run_begin('third');
-- Numbers that are so great that hardly any are left are not followed.
SELECT restore_run(2002), restore_run((2 ^ 62)::bigint + 5);
SELECT run_id FROM idempotent_run_begin('fourth');
-- The same for conflicts, which are recorded several at a time.
INSERT INTO idempotent.conflict_records (id, target, key, payload, stored, differences, digest, arrived_by)
OVERRIDING SYSTEM VALUE
VALUES (70, 't', '{}', '{}', '{}', '{}', '\x01', 'elsewhere');
SELECT * FROM idempotent_insert_many('t', '[{"id": 1, "v": 2}, {"id": 1, "v": 3}]', on_conflict => 'quarantine');
INSERT INTO idempotent.conflict_records (id, target, key, payload, stored, differences, digest, arrived_by)
OVERRIDING SYSTEM VALUE
VALUES (73, 't', '{}', '{}', '{}', '{}', '\x02', 'elsewhere'), (90, 't', '{}', '{}', '{}', '{}', '\x03', 'elsewhere');
SELECT * FROM idempotent_insert_many('t', '[{"id": 1, "v": 4}, {"id": 1, "v": 5}]', on_conflict => 'quarantine');
SELECT id, payload FROM idempotent.conflicts WHERE target = 't'::regclass ORDER BY id;

DELETE FROM idempotent.conflict_records WHERE target::regclass = 't'::regclass;
DELETE FROM idempotent.pipeline_run_records;
DROP FUNCTION restore_run;
DROP TABLE t;
