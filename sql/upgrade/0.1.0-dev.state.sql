-- What a database may hold in version 0.1.0-dev: a guarded table, and a row in every table of state.
CREATE TABLE public.orders (id int PRIMARY KEY, amount numeric(10,2));
INSERT INTO public.orders VALUES (1, 10);
CREATE TRIGGER zz_idempotent_guard BEFORE INSERT ON public.orders
    FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=id');

INSERT INTO idempotent.conflict_records (target, key, payload, stored, differences, digest, arrived_by)
VALUES ('public.orders', '{"id": 1}', '{"id": 1, "amount": 2.00}', '{"id": 1, "amount": 10.00}',
        '{"amount": {"stored": 10.00, "payload": 2.00}}', '\x8cbab8388f9019e4c32275e3adbf5a13af9b6fc240336d62949a2c21d494b9ba', 'postgres');

INSERT INTO idempotent.rejection_records (target, payload, error, digest, arrived_by)
VALUES ('public.orders', '{"id": 2, "amount": "x"}', '{"sqlstate": "22P02", "message": "invalid input syntax for type numeric: \"x\"", "column": "amount"}',
        '\x3e7fa62f283c85cfb1d0c6b170618923e82ea3c305549ea140bfb0ab893aa2f1', 'postgres');

INSERT INTO idempotent.load_records
    (role, target, source, on_conflict, batch_size, status, rows_total, rows_done, inserted, duplicates, conflicts, batches, pid,
     started_at, updated_at, completed_at)
VALUES ('postgres', 'public.orders', 'public.orders', 'error', 10000, 'finished', 1, 1, 0, 1, 0, 1, 1,
        '2026-01-01 00:00Z', '2026-01-01 00:01Z', '2026-01-01 00:01Z');

INSERT INTO idempotent.pipeline_run_records
    (role, dataset, partition, attempt, status, reason, input_version, lease, started_at, heartbeat_at, completed_at)
VALUES ('postgres', 'd', 'p', 1, 'published', 'first_run', 'v1', '01:00:00', '2026-01-01 00:00Z', '2026-01-01 00:01Z', '2026-01-01 00:01Z');

INSERT INTO idempotent.request_records
    (role, scope, key, status, attempt, fingerprint, request, response, ttl, started_at, completed_at, expires_at, purge_after)
VALUES ('postgres', '', 'r-1', 'finished', 1795989668223741, '\x8685a13b5703ea8e49ac389952c7a1a2375ac97bd9bb85673faa412601c74868',
        '{"command": "SELECT 1 AS one", "arguments": []}', '[{"one": 1}]', '24:00:00',
        '2026-01-01 00:00Z', '2026-01-01 00:00Z', 'infinity', 'infinity');

INSERT INTO idempotent.batch_records (role, target, token, function, options, digest, counts, completed_at)
VALUES ('postgres', 'public.orders', 'file-1', 'insert_from', '{"key": "{id}"}', 'v2:0', '{"received": 1, "inserted": 0, "duplicates": 1, "conflicts": 0}',
        '2026-01-01 00:00Z');
