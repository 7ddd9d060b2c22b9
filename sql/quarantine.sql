-- Quarantined conflicts, and rejected payloads.

-- The extension's functions write it as its owner, and people read the view below.
CREATE TABLE idempotent.conflict_records (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target      idempotent.kept_table NOT NULL,
    key         jsonb       NOT NULL,
    payload     jsonb       NOT NULL,
    stored      jsonb       NOT NULL,
    differences jsonb       NOT NULL,
    digest      bytea       NOT NULL,
    arrived_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    arrived_by  name        NOT NULL,
    resolution  text CHECK (resolution IN ('keep_stored', 'apply_payload')),
    resolved_at timestamptz,
    xid         xid8        DEFAULT pg_catalog.pg_current_xact_id(),
    lsn         pg_lsn      DEFAULT pg_catalog.pg_current_wal_insert_lsn(),
    application_name text   DEFAULT pg_catalog.current_setting('application_name'),
    CHECK ((resolution IS NULL) = (resolved_at IS NULL))
);
COMMENT ON TABLE idempotent.conflict_records IS
    'what idempotent.conflicts shows; written by the extension only';

COMMENT ON COLUMN idempotent.conflict_records.digest IS
    'SHA-256 that identifies a repeated conflict';

CREATE UNIQUE INDEX conflict_records_unresolved ON idempotent.conflict_records
    (target, digest)
    WHERE resolution IS NULL;
COMMENT ON INDEX idempotent.conflict_records_unresolved IS
    'an unresolved conflict is recorded once, however often it arrives';

SELECT pg_catalog.pg_extension_config_dump('idempotent.conflict_records', '');

-- A role that may name the target (USAGE on its schema) and SELECT from it sees its
-- conflicts; without values if row-level security is in force for it. Only superusers see
-- a record whose table no longer exists.
CREATE VIEW idempotent.conflicts WITH (security_barrier = true) AS
SELECT record.id,
       record.target::regclass AS target,
       CASE WHEN may.see_values THEN record.key END AS key,
       CASE WHEN may.see_values THEN record.payload END AS payload,
       CASE WHEN may.see_values THEN record.stored END AS stored,
       CASE WHEN may.see_values THEN record.differences END AS differences,
       record.arrived_at,
       record.arrived_by,
       record.resolution,
       record.resolved_at,
       record.xid,
       record.lsn,
       record.application_name
  FROM idempotent.conflict_records AS record
 CROSS JOIN LATERAL (
       SELECT NOT pg_catalog.row_security_active(record.target::oid) AS see_values,
              COALESCE(
                  (SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
                          AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
                     FROM pg_catalog.pg_class AS c
                    WHERE c.oid OPERATOR(pg_catalog.=) record.target::oid),
                  (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r
                    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)
              ) AS see_record) AS may
 WHERE may.see_record;
COMMENT ON VIEW idempotent.conflicts IS
    'quarantined conflicts of the tables that you have the privileges to name and SELECT from';
COMMENT ON COLUMN idempotent.conflicts.id IS 'the number of the conflict, for idempotent_resolve';
COMMENT ON COLUMN idempotent.conflicts.target IS 'the table that the payload was for';
COMMENT ON COLUMN idempotent.conflicts.key IS 'the key columns of the payload';
COMMENT ON COLUMN idempotent.conflicts.payload IS 'the columns that the payload named';
COMMENT ON COLUMN idempotent.conflicts.stored IS 'the row that was stored under the key';
COMMENT ON COLUMN idempotent.conflicts.differences IS
    'the columns that differ, each with its stored and its payload value';
COMMENT ON COLUMN idempotent.conflicts.arrived_at IS 'when it was recorded';
COMMENT ON COLUMN idempotent.conflicts.arrived_by IS 'the role that sent the payload';
COMMENT ON COLUMN idempotent.conflicts.resolution IS
    'keep_stored or apply_payload; NULL while it is open';
COMMENT ON COLUMN idempotent.conflicts.resolved_at IS 'when it was resolved';
COMMENT ON COLUMN idempotent.conflicts.xid IS 'the transaction that recorded it';
COMMENT ON COLUMN idempotent.conflicts.lsn IS 'where the write-ahead log ended then';
COMMENT ON COLUMN idempotent.conflicts.application_name IS 'application_name of the session that sent the payload';

CREATE FUNCTION idempotent_resolve(id bigint, resolution text) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_resolve_wrapper';
COMMENT ON FUNCTION idempotent_resolve(bigint, text) IS
    'ends a conflict of idempotent.conflicts: keep_stored, or apply_payload';

-- Payloads that the server refused, with its errors. Written and read as the conflicts are.
CREATE TABLE idempotent.rejection_records (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target      idempotent.kept_table NOT NULL,
    payload     jsonb       NOT NULL,
    error       jsonb       NOT NULL,
    digest      bytea       NOT NULL,
    arrived_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    arrived_by  name        NOT NULL,
    xid         xid8        DEFAULT pg_catalog.pg_current_xact_id(),
    lsn         pg_lsn      DEFAULT pg_catalog.pg_current_wal_insert_lsn(),
    application_name text   DEFAULT pg_catalog.current_setting('application_name')
);
COMMENT ON TABLE idempotent.rejection_records IS
    'what idempotent.rejections shows; written by the extension only';

COMMENT ON COLUMN idempotent.rejection_records.digest IS
    'SHA-256 that identifies a repeated rejection';

CREATE UNIQUE INDEX rejection_records_once ON idempotent.rejection_records (target, digest);
COMMENT ON INDEX idempotent.rejection_records_once IS
    'a rejection is recorded once, however often it arrives';

SELECT pg_catalog.pg_extension_config_dump('idempotent.rejection_records', '');

-- Who sees what is as in idempotent.conflicts. An error quotes values of the payload.
CREATE VIEW idempotent.rejections WITH (security_barrier = true) AS
SELECT record.id,
       record.target::regclass AS target,
       CASE WHEN may.see_values THEN record.payload END AS payload,
       CASE WHEN may.see_values THEN record.error END AS error,
       record.arrived_at,
       record.arrived_by,
       record.xid,
       record.lsn,
       record.application_name
  FROM idempotent.rejection_records AS record
 CROSS JOIN LATERAL (
       SELECT NOT pg_catalog.row_security_active(record.target::oid) AS see_values,
              COALESCE(
                  (SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
                          AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
                     FROM pg_catalog.pg_class AS c
                    WHERE c.oid OPERATOR(pg_catalog.=) record.target::oid),
                  (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r
                    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)
              ) AS see_record) AS may
 WHERE may.see_record;
COMMENT ON VIEW idempotent.rejections IS
    'rejected payloads of the tables that you have the privileges to name and SELECT from';
COMMENT ON COLUMN idempotent.rejections.id IS 'the number of the rejection';
COMMENT ON COLUMN idempotent.rejections.target IS 'the table that the payload was for';
COMMENT ON COLUMN idempotent.rejections.payload IS 'the columns that the payload named';
COMMENT ON COLUMN idempotent.rejections.error IS
    'the server''s error: sqlstate, message, and detail, column and constraint if it has them';
COMMENT ON COLUMN idempotent.rejections.arrived_at IS 'when it was recorded';
COMMENT ON COLUMN idempotent.rejections.arrived_by IS 'the role that sent the payload';
COMMENT ON COLUMN idempotent.rejections.xid IS 'the transaction that recorded it';
COMMENT ON COLUMN idempotent.rejections.lsn IS 'where the write-ahead log ended then';
COMMENT ON COLUMN idempotent.rejections.application_name IS 'application_name of the session that sent the payload';
