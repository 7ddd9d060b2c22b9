-- Loads in committed batches. What the procedure promises is in docs/load.md.

-- Written by the procedure only, as the extension's owner. People read the view
-- idempotent.loads.
CREATE TABLE idempotent.load_records (
    load_id      bigint      GENERATED ALWAYS AS IDENTITY,
    role         idempotent.kept_role NOT NULL,
    target       text        NOT NULL,
    source       text        NOT NULL,
    on_conflict  text        NOT NULL,
    batch_size   int         NOT NULL,
    status       text        NOT NULL DEFAULT 'running',
    rows_total   bigint,
    rows_done    bigint      NOT NULL DEFAULT 0,
    inserted     bigint      NOT NULL DEFAULT 0,
    duplicates   bigint      NOT NULL DEFAULT 0,
    conflicts    bigint      NOT NULL DEFAULT 0,
    batches      bigint      NOT NULL DEFAULT 0,
    pid          int         NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    completed_at timestamptz,
    error        text,
    on_error     text        NOT NULL DEFAULT 'error',
    rejected     bigint      NOT NULL DEFAULT 0,
    token        text,
    replayed     boolean     NOT NULL DEFAULT false,
    CONSTRAINT load_records_pkey PRIMARY KEY (load_id),
    CONSTRAINT load_records_status CHECK (status IN ('running', 'finished', 'failed'))
) WITH (fillfactor = 50);
COMMENT ON TABLE idempotent.load_records IS 'what idempotent.loads shows; written by the extension only';

SELECT pg_catalog.pg_extension_config_dump('idempotent.load_records', '');

-- VOLATILE, so that it looks with a snapshot of its own: a load that ended between the
-- query's snapshot and its look at the locks has not died. DEFINER, since a reader of
-- the view has no right on the table; pg_locks shows every role that a load is running.
CREATE FUNCTION idempotent.load_is_running(load_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT FROM idempotent.load_records AS record
         WHERE record.load_id OPERATOR(pg_catalog.=) load_is_running.load_id
           AND record.status OPERATOR(pg_catalog.=) 'running');
END;
COMMENT ON FUNCTION idempotent.load_is_running(bigint) IS
    'whether a load is recorded as running at this moment';

-- A running load holds a lock that no session waits for. A standby does not show it.
CREATE VIEW idempotent.loads WITH (security_barrier = true) AS
SELECT record.load_id, record.role::regrole AS role, record.target, record.source, record.on_conflict, record.on_error,
       record.batch_size,
       CASE
           WHEN record.status OPERATOR(pg_catalog.<>) 'running' OR pg_catalog.pg_is_in_recovery() THEN record.status
           WHEN EXISTS (
               SELECT FROM pg_catalog.pg_locks AS held
                WHERE held.locktype OPERATOR(pg_catalog.=) 'advisory'
                  AND held.objsubid OPERATOR(pg_catalog.=) 34
                  AND held.database OPERATOR(pg_catalog.=) (
                      SELECT here.oid FROM pg_catalog.pg_database AS here
                       WHERE here.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
                  AND ((held.classid::bigint OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) held.objid::bigint)
                      OPERATOR(pg_catalog.=) record.load_id)
               THEN 'running'
           WHEN idempotent.load_is_running(record.load_id) THEN 'died'
           ELSE 'running'
       END AS status,
       record.rows_total, record.rows_done, record.inserted, record.duplicates, record.conflicts, record.rejected,
       record.batches,
       record.pid, record.started_at, record.updated_at, record.completed_at, record.error,
       record.token, record.replayed
  FROM idempotent.load_records AS record
 WHERE record.role OPERATOR(idempotent.=) idempotent.own_role()
    OR (SELECT pg_catalog.pg_has_role(class.relowner, 'USAGE') OR reader.rolbypassrls
          FROM pg_catalog.pg_class AS class CROSS JOIN pg_catalog.pg_roles AS reader
         WHERE class.oid OPERATOR(pg_catalog.=) 'idempotent.load_records'::regclass::oid
           AND reader.rolname OPERATOR(pg_catalog.=) CURRENT_USER);
COMMENT ON VIEW idempotent.loads IS 'your own loads, present and past, with their progress; all loads for the owner of the extension';
COMMENT ON COLUMN idempotent.loads.load_id IS 'the number of the load';
COMMENT ON COLUMN idempotent.loads.role IS 'the role that loads';
COMMENT ON COLUMN idempotent.loads.target IS 'the table that receives the rows, by its name at the start';
COMMENT ON COLUMN idempotent.loads.source IS 'the table or view that the rows come from, by its name at the start';
COMMENT ON COLUMN idempotent.loads.on_conflict IS 'what the load does about a conflict';
COMMENT ON COLUMN idempotent.loads.on_error IS 'what the load does about a row that the server refuses';
COMMENT ON COLUMN idempotent.loads.batch_size IS 'how many rows are committed at a time';
COMMENT ON COLUMN idempotent.loads.status IS 'running, finished, failed, or died: its server process no longer exists';
COMMENT ON COLUMN idempotent.loads.rows_total IS 'the rows of the source; NULL while it is being read';
COMMENT ON COLUMN idempotent.loads.rows_done IS 'the rows that have an outcome, committed';
COMMENT ON COLUMN idempotent.loads.inserted IS 'how many rows were inserted';
COMMENT ON COLUMN idempotent.loads.duplicates IS 'how many rows were already stored';
COMMENT ON COLUMN idempotent.loads.conflicts IS 'how many rows differ from the stored row';
COMMENT ON COLUMN idempotent.loads.rejected IS 'how many rows the server refused';
COMMENT ON COLUMN idempotent.loads.batches IS 'how many batches were committed';
COMMENT ON COLUMN idempotent.loads.pid IS 'the server process, for pg_cancel_backend';
COMMENT ON COLUMN idempotent.loads.started_at IS 'when it was called';
COMMENT ON COLUMN idempotent.loads.updated_at IS 'when the last batch was committed';
COMMENT ON COLUMN idempotent.loads.completed_at IS 'when it finished or failed';
COMMENT ON COLUMN idempotent.loads.error IS 'why it failed';
COMMENT ON COLUMN idempotent.loads.token IS 'the token that the caller gave the load';
COMMENT ON COLUMN idempotent.loads.replayed IS 'whether the counts are those of an earlier load with this token, and nothing was loaded';

CREATE PROCEDURE idempotent_load(
    target      regclass,
    source      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    batch_size  int    DEFAULT 10000,
    overriding  text   DEFAULT NULL,
    on_error    text   DEFAULT 'error',
    token       text   DEFAULT NULL,
    digest      text   DEFAULT NULL
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'idempotent_load_wrapper';
COMMENT ON PROCEDURE idempotent_load(regclass, regclass, text[], text[], text[], text, int, text, text, text, text) IS
    'inserts or verifies the rows of a table or view in batches, each of which is committed';
