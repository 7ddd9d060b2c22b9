-- Runs: a job that was done for its input is not done again. docs/runs.md
--
-- Why no interleaving goes wrong:
-- - Two begin at once. Who is to write takes the lock on the partition, which lasts until the transaction ends, and decides
--   once more by what is committed then. So one begins, and the other finds the lock taken: 55I01.
-- - A lease runs out while the run is being published. Both take the lock, and the second sees what the first has committed.
-- - A holder dies. Its transaction is rolled back, and its lock is gone. The row of a run that was committed stays, and the
--   lease runs out.
-- - REPEATABLE READ, SERIALIZABLE. What the snapshot cannot see is met when the row is written: 40001, or 23505.

CREATE TABLE idempotent.pipeline_run_records (
    run_id         bigint      GENERATED ALWAYS AS IDENTITY,
    role           regrole     NOT NULL DEFAULT idempotent.own_role(),
    dataset        text        NOT NULL,
    partition      text        NOT NULL,
    attempt        int         NOT NULL,
    status         text        NOT NULL,
    reason         text        NOT NULL,
    input_version  text,
    output_version text,
    row_count      bigint,
    error          text,
    lease          interval    NOT NULL,
    lease_until    timestamptz,
    started_at     timestamptz NOT NULL,
    heartbeat_at   timestamptz NOT NULL,
    completed_at   timestamptz,
    CONSTRAINT pipeline_run_records_pkey PRIMARY KEY (run_id),
    CONSTRAINT pipeline_run_records_attempt UNIQUE (role, dataset, partition, attempt),
    CONSTRAINT pipeline_run_records_status CHECK (status IN ('running', 'published', 'failed', 'taken_over')),
    CONSTRAINT pipeline_run_records_completed CHECK ((status = 'running') = (completed_at IS NULL))
);
COMMENT ON TABLE idempotent.pipeline_run_records IS 'what idempotent.pipeline_runs shows; written by the functions, with the rights of their callers';
COMMENT ON COLUMN idempotent.pipeline_run_records.run_id IS 'the number of the run, for idempotent_run_heartbeat, _publish and _fail';
COMMENT ON COLUMN idempotent.pipeline_run_records.role IS 'the role that began the run';
COMMENT ON COLUMN idempotent.pipeline_run_records.dataset IS 'the table, or other data, that the run writes';
COMMENT ON COLUMN idempotent.pipeline_run_records.partition IS 'which part of the dataset: a day, a tenant; empty if it has no parts';
COMMENT ON COLUMN idempotent.pipeline_run_records.attempt IS 'the number of the run among those of its partition';
COMMENT ON COLUMN idempotent.pipeline_run_records.status IS 'running, published, failed or taken_over';
COMMENT ON COLUMN idempotent.pipeline_run_records.reason IS
    'why the run began: first_run, previous_failed, lease_expired, input_changed or forced';
COMMENT ON COLUMN idempotent.pipeline_run_records.input_version IS 'what the run reads, as the caller names it';
COMMENT ON COLUMN idempotent.pipeline_run_records.output_version IS 'what the run made, as the caller names it';
COMMENT ON COLUMN idempotent.pipeline_run_records.row_count IS 'how many rows the run made, according to the caller';
COMMENT ON COLUMN idempotent.pipeline_run_records.error IS 'why the run failed, according to the caller';
COMMENT ON COLUMN idempotent.pipeline_run_records.lease IS 'how long the run holds the partition without a heartbeat';
COMMENT ON COLUMN idempotent.pipeline_run_records.lease_until IS 'when the lease ends: from then on another run may take over';
COMMENT ON COLUMN idempotent.pipeline_run_records.started_at IS 'when the run began';
COMMENT ON COLUMN idempotent.pipeline_run_records.heartbeat_at IS 'the last heartbeat';
COMMENT ON COLUMN idempotent.pipeline_run_records.completed_at IS 'when the run was published, failed or taken over';
CREATE UNIQUE INDEX pipeline_run_records_running ON idempotent.pipeline_run_records (role, dataset, partition)
    WHERE status = 'running';
COMMENT ON INDEX idempotent.pipeline_run_records_running IS 'at most one run of a partition is running';
ALTER TABLE idempotent.pipeline_run_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON idempotent.pipeline_run_records USING (role = idempotent.own_role()) WITH CHECK (role = idempotent.own_role());

CREATE VIEW idempotent.pipeline_runs WITH (security_barrier = true) AS
SELECT run.run_id, run.dataset, run.partition, run.attempt, run.status, run.reason,
       run.input_version, run.output_version, run.row_count, run.error, run.lease,
       run.lease_until, run.started_at, run.heartbeat_at, run.completed_at
  FROM idempotent.pipeline_run_records AS run
 WHERE run.role OPERATOR(pg_catalog.=) idempotent.own_role();
COMMENT ON VIEW idempotent.pipeline_runs IS 'your own runs of pipelines, present and past';
COMMENT ON COLUMN idempotent.pipeline_runs.run_id IS 'the number of the run, for idempotent_run_heartbeat, _publish and _fail';
COMMENT ON COLUMN idempotent.pipeline_runs.dataset IS 'the table, or other data, that the run writes';
COMMENT ON COLUMN idempotent.pipeline_runs.partition IS 'which part of the dataset: a day, a tenant; empty if it has no parts';
COMMENT ON COLUMN idempotent.pipeline_runs.attempt IS 'the number of the run among those of its partition';
COMMENT ON COLUMN idempotent.pipeline_runs.status IS 'running, published, failed or taken_over';
COMMENT ON COLUMN idempotent.pipeline_runs.reason IS
    'why the run began: first_run, previous_failed, lease_expired, input_changed or forced';
COMMENT ON COLUMN idempotent.pipeline_runs.input_version IS 'what the run reads, as the caller names it';
COMMENT ON COLUMN idempotent.pipeline_runs.output_version IS 'what the run made, as the caller names it';
COMMENT ON COLUMN idempotent.pipeline_runs.row_count IS 'how many rows the run made, according to the caller';
COMMENT ON COLUMN idempotent.pipeline_runs.error IS 'why the run failed, according to the caller';
COMMENT ON COLUMN idempotent.pipeline_runs.lease IS 'how long the run holds the partition without a heartbeat';
COMMENT ON COLUMN idempotent.pipeline_runs.lease_until IS 'when the lease ends: from then on another run may take over';
COMMENT ON COLUMN idempotent.pipeline_runs.started_at IS 'when the run began';
COMMENT ON COLUMN idempotent.pipeline_runs.heartbeat_at IS 'the last heartbeat';
COMMENT ON COLUMN idempotent.pipeline_runs.completed_at IS 'when the run was published, failed or taken over';

CREATE FUNCTION idempotent.check_partition(dataset text, partition text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.require('dataset', dataset IS NOT NULL);
    PERFORM idempotent.require('partition', partition IS NOT NULL);
    IF dataset = '' THEN
        PERFORM idempotent.fail('22023', 'argument "dataset" must not be empty');
    ELSIF char_length(dataset) > 255 THEN
        PERFORM idempotent.fail('22023', 'argument "dataset" must have at most 255 characters', format('This one has %s.', char_length(dataset)));
    ELSIF char_length(partition) > 255 THEN
        PERFORM idempotent.fail('22023', 'argument "partition" must have at most 255 characters', format('This one has %s.', char_length(partition)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_partition(text, text) IS 'refuses a partition that is none';

-- 55I01. A run that holds the partition by a lease says for how long.
CREATE FUNCTION idempotent.refuse_partition(dataset text, partition text, run_id bigint, lease_until timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('55I01',
        CASE partition WHEN '' THEN format('dataset "%s" is in progress', dataset) ELSE format('partition "%s" of dataset "%s" is in progress', partition, dataset) END,
        CASE WHEN lease_until IS NULL THEN 'Another transaction is working on it.'
             ELSE format('Run %s holds it until %s, unless it sends a heartbeat.', run_id, lease_until) END,
        'Begin the run again later.', 'idempotent.pipeline_run_records', "constraint" => 'pipeline_run_records_running');
END
$$;
COMMENT ON FUNCTION idempotent.refuse_partition(text, text, bigint, timestamptz) IS 'raises 55I01';

-- The lock on a partition. Who begins a run does not wait, unless lock_timeout says for how long.
CREATE FUNCTION idempotent.lock_partition(dataset text, partition text, begins boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number bigint := hashtextextended(format('idempotent run %s %s %s', idempotent.own_role()::oid, dataset, partition), octet_length(dataset));
BEGIN
    IF pg_try_advisory_xact_lock(number) THEN
        RETURN;
    ELSIF begins AND current_setting('lock_timeout') = '0' THEN
        PERFORM idempotent.refuse_partition(dataset, partition, NULL, NULL);
    END IF;
    BEGIN
        PERFORM pg_advisory_xact_lock(number);
    EXCEPTION WHEN lock_not_available THEN
        PERFORM idempotent.refuse_partition(dataset, partition, NULL, NULL);
    END;
END
$$;
COMMENT ON FUNCTION idempotent.lock_partition(text, text, boolean) IS 'takes the lock on a partition';

-- The latest run of a partition, and what it says about the next one.
CREATE FUNCTION idempotent.decide_run(
    dataset text, partition text, input_version text, force boolean, OUT latest idempotent.pipeline_run_records, OUT decision text, OUT reason text
) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT * INTO latest FROM idempotent.pipeline_run_records AS r
     WHERE r.role = idempotent.own_role() AND r.dataset = decide_run.dataset AND r.partition = decide_run.partition ORDER BY r.attempt DESC LIMIT 1;
    decision := 'run';
    IF latest.run_id IS NULL THEN
        reason := 'first_run';
    ELSIF latest.status = 'running' AND latest.lease_until > clock_timestamp() THEN
        decision := 'wait';
    ELSIF latest.status IN ('running', 'taken_over') THEN
        reason := 'lease_expired';
    ELSIF latest.status = 'failed' THEN
        reason := 'previous_failed';
    ELSIF latest.input_version IS DISTINCT FROM decide_run.input_version THEN
        reason := 'input_changed';
    ELSIF force THEN
        reason := 'forced';
    ELSE
        decision := 'skip';
        reason := 'already_published';
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.decide_run(text, text, text, boolean) IS 'whether a partition is to be made';

CREATE FUNCTION idempotent_run_begin(
    dataset       text,
    partition     text     DEFAULT '',
    input_version text     DEFAULT NULL,
    force         boolean  DEFAULT false,
    lease         interval DEFAULT '1 hour',
    OUT run_id   bigint,
    OUT decision text,
    OUT reason   text
) RETURNS record
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    decided record;
    moment timestamptz;
BEGIN
    PERFORM idempotent.check_partition(dataset, partition);
    PERFORM idempotent.require('force', force IS NOT NULL);
    PERFORM idempotent.check_duration('lease', lease);
    SELECT * INTO decided FROM idempotent.decide_run(dataset, partition, input_version, force);
    IF decided.decision = 'run' THEN
        PERFORM idempotent.lock_partition(dataset, partition, begins => true);
        SELECT * INTO decided FROM idempotent.decide_run(dataset, partition, input_version, force);
    END IF;
    decision := decided.decision;
    reason := decided.reason;
    run_id := (decided.latest).run_id;
    IF decision = 'wait' THEN
        PERFORM idempotent.refuse_partition(dataset, partition, run_id, (decided.latest).lease_until);
    ELSIF decision = 'skip' THEN
        RETURN;
    ELSIF (decided.latest).attempt = 2147483647 THEN
        PERFORM idempotent.fail('54000', 'the partition has no number left for another run', 'The latest one has number 2147483647.', target => 'idempotent.pipeline_run_records');
    END IF;
    moment := clock_timestamp();
    IF (decided.latest).status = 'running' THEN
        UPDATE idempotent.pipeline_run_records AS r SET status = 'taken_over', completed_at = moment WHERE r.run_id = (decided.latest).run_id;
    END IF;
    INSERT INTO idempotent.pipeline_run_records AS r (dataset, partition, attempt, status, reason, input_version, lease, lease_until, started_at, heartbeat_at)
    VALUES (dataset, partition, coalesce((decided.latest).attempt, 0) + 1, 'running', reason, input_version, lease, moment + lease, moment, moment)
    RETURNING r.run_id INTO run_id;
END
$$;
COMMENT ON FUNCTION idempotent_run_begin(text, text, text, boolean, interval) IS
    'begins a run of a partition, unless its input was published already';

-- A run, with its partition locked.
CREATE FUNCTION idempotent.lock_run(run_id bigint) RETURNS idempotent.pipeline_run_records
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    run idempotent.pipeline_run_records;
BEGIN
    PERFORM idempotent.require('run_id', run_id IS NOT NULL);
    FOR attempt IN 1 .. 2 LOOP
        SELECT * INTO run FROM idempotent.pipeline_run_records AS r WHERE r.run_id = lock_run.run_id AND r.role = idempotent.own_role();
        IF NOT FOUND THEN
            PERFORM idempotent.fail('42704', format('run %s does not exist', run_id));
        END IF;
        PERFORM idempotent.lock_partition(run.dataset, run.partition, begins => false);
    END LOOP;
    RETURN run;
END
$$;
COMMENT ON FUNCTION idempotent.lock_run(bigint) IS 'a run, with its partition locked';

CREATE FUNCTION idempotent.refuse_run(run idempotent.pipeline_run_records) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    successor bigint := (SELECT r.run_id FROM idempotent.pipeline_run_records AS r
                          WHERE r.role = run.role AND r.dataset = run.dataset AND r.partition = run.partition AND r.attempt = run.attempt + 1);
BEGIN
    PERFORM idempotent.fail('55000', format('run %s is not running', run.run_id),
        CASE run.status WHEN 'published' THEN 'It was published.' WHEN 'failed' THEN 'It failed.'
             ELSE 'It was taken over' || coalesce(' by run ' || successor, '') || '.' END,
        'Begin a run of the partition to learn what to do.', 'idempotent.pipeline_run_records');
END
$$;
COMMENT ON FUNCTION idempotent.refuse_run(idempotent.pipeline_run_records) IS 'refuses a run that has ended';

CREATE FUNCTION idempotent_run_heartbeat(run_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    run idempotent.pipeline_run_records := idempotent.lock_run(run_id);
BEGIN
    IF run.status <> 'running' THEN
        PERFORM idempotent.refuse_run(run);
    END IF;
    UPDATE idempotent.pipeline_run_records AS r SET heartbeat_at = moment, lease_until = moment + r.lease
      FROM clock_timestamp() AS moment WHERE r.run_id = run.run_id;
END
$$;
COMMENT ON FUNCTION idempotent_run_heartbeat(bigint) IS
    'renews the lease of a run';

CREATE FUNCTION idempotent_run_publish(
    run_id bigint, row_count bigint DEFAULT NULL, output_version text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    run idempotent.pipeline_run_records;
BEGIN
    PERFORM idempotent.require('run_id', run_id IS NOT NULL);
    IF row_count < 0 THEN
        PERFORM idempotent.fail('22023', 'argument "row_count" must not be negative');
    END IF;
    run := idempotent.lock_run(run_id);
    IF run.status = 'published' AND run.row_count IS NOT DISTINCT FROM row_count AND run.output_version IS NOT DISTINCT FROM output_version THEN
        RETURN;
    ELSIF run.status <> 'running' THEN
        PERFORM idempotent.refuse_run(run);
    END IF;
    UPDATE idempotent.pipeline_run_records AS r
       SET status = 'published', row_count = idempotent_run_publish.row_count, output_version = idempotent_run_publish.output_version,
           lease_until = NULL, heartbeat_at = clock_timestamp(), completed_at = clock_timestamp()
     WHERE r.run_id = run.run_id;
END
$$;
COMMENT ON FUNCTION idempotent_run_publish(bigint, bigint, text) IS
    'ends a run that succeeded';

CREATE FUNCTION idempotent_run_fail(run_id bigint, error text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    run idempotent.pipeline_run_records;
BEGIN
    PERFORM idempotent.require('run_id', run_id IS NOT NULL);
    PERFORM idempotent.require('error', error IS NOT NULL);
    run := idempotent.lock_run(run_id);
    IF run.status = 'failed' AND run.error = error THEN
        RETURN;
    ELSIF run.status <> 'running' THEN
        PERFORM idempotent.refuse_run(run);
    END IF;
    UPDATE idempotent.pipeline_run_records AS r
       SET status = 'failed', error = idempotent_run_fail.error, lease_until = NULL, heartbeat_at = clock_timestamp(), completed_at = clock_timestamp()
     WHERE r.run_id = run.run_id;
END
$$;
COMMENT ON FUNCTION idempotent_run_fail(bigint, text) IS
    'ends a run that failed; the next idempotent_run_begin of its partition begins another run';
