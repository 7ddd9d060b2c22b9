-- Runs: a job is done once for its input. See docs/runs.md.

-- Written by the extension's functions only, as its owner. People read the view
-- idempotent.pipeline_runs.
CREATE TABLE idempotent.pipeline_run_records (
    run_id         bigint      GENERATED ALWAYS AS IDENTITY,
    role           idempotent.kept_role NOT NULL,
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
COMMENT ON TABLE idempotent.pipeline_run_records IS 'what idempotent.pipeline_runs shows; written by the extension only';
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

SELECT pg_catalog.pg_extension_config_dump('idempotent.pipeline_run_records', '');

CREATE VIEW idempotent.pipeline_runs WITH (security_barrier = true) AS
SELECT run.run_id, run.dataset, run.partition, run.attempt, run.status, run.reason,
       run.input_version, run.output_version, run.row_count, run.error, run.lease,
       run.lease_until, run.started_at, run.heartbeat_at, run.completed_at
  FROM idempotent.pipeline_run_records AS run
 WHERE run.role OPERATOR(idempotent.=) idempotent.own_role();
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
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_run_begin_wrapper';
COMMENT ON FUNCTION idempotent_run_begin(text, text, text, boolean, interval) IS
    'begins a run of a partition, unless its input was published already';

CREATE FUNCTION idempotent_run_heartbeat(run_id bigint) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_run_heartbeat_wrapper';
COMMENT ON FUNCTION idempotent_run_heartbeat(bigint) IS
    'renews the lease of a run';

CREATE FUNCTION idempotent_run_publish(
    run_id bigint, row_count bigint DEFAULT NULL, output_version text DEFAULT NULL
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_run_publish_wrapper';
COMMENT ON FUNCTION idempotent_run_publish(bigint, bigint, text) IS
    'ends a run that succeeded';

CREATE FUNCTION idempotent_run_fail(run_id bigint, error text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_run_fail_wrapper';
COMMENT ON FUNCTION idempotent_run_fail(bigint, text) IS
    'ends a run that failed; the next idempotent_run_begin of its partition begins another run';
