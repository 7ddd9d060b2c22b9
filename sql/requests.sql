-- Requests: an operation runs once, and its retries get the first answer. See
-- docs/requests.md.

-- A number that no two attempts share, so that the holder of a lease that was taken
-- over is known, whatever became of the row meanwhile, and whatever database the row is
-- restored or replicated to. It is not in dumps, but goes with the clock (src/id_sequence.rs).
CREATE SEQUENCE idempotent.request_attempts;
COMMENT ON SEQUENCE idempotent.request_attempts IS 'the attempts at requests';
SELECT pg_catalog.setval('idempotent.request_attempts',
    (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::bigint);

-- Written by the extension's functions only, as its owner. What is written is checked by
-- them: a CHECK would be compiled anew for every row, which costs a sixth of a call. People
-- read the view idempotent.requests: a policy on the table would fail dumps.
CREATE TABLE idempotent.request_records (
    role           idempotent.kept_role NOT NULL,
    scope          text        NOT NULL,
    key            text        NOT NULL,
    status         text        NOT NULL,
    attempt        bigint      NOT NULL,
    fingerprint    bytea       NOT NULL,
    request        jsonb       NOT NULL,
    recovery_point text,
    response       jsonb,
    ttl            interval    NOT NULL,
    lease          interval,
    lease_until    timestamptz,
    started_at     timestamptz NOT NULL,
    completed_at   timestamptz,
    expires_at     timestamptz NOT NULL,
    purge_after    timestamptz NOT NULL,
    CONSTRAINT request_records_pkey PRIMARY KEY (key, scope, role)
) WITH (fillfactor = 75);
COMMENT ON TABLE idempotent.request_records IS 'what idempotent.requests shows; written by the extension only';
COMMENT ON COLUMN idempotent.request_records.role IS 'the role that sent the request';
COMMENT ON COLUMN idempotent.request_records.scope IS 'the key is unique within role and scope';
COMMENT ON COLUMN idempotent.request_records.key IS 'the key that the client gave the request';
COMMENT ON COLUMN idempotent.request_records.status IS 'started, finished or abandoned';
COMMENT ON COLUMN idempotent.request_records.attempt IS 'the attempt that holds the request, or finished it';
COMMENT ON COLUMN idempotent.request_records.fingerprint IS 'SHA-256 of the request';
COMMENT ON COLUMN idempotent.request_records.request IS 'the request itself';
COMMENT ON COLUMN idempotent.request_records.recovery_point IS 'how far the work has got';
COMMENT ON COLUMN idempotent.request_records.response IS 'the answer, once it is finished';
COMMENT ON COLUMN idempotent.request_records.ttl IS 'how long the answer is kept';
COMMENT ON COLUMN idempotent.request_records.lease IS 'how long an attempt holds the request without renewing its lease';
COMMENT ON COLUMN idempotent.request_records.lease_until IS 'when another attempt may resume the request';
COMMENT ON COLUMN idempotent.request_records.started_at IS 'when the attempt began';
COMMENT ON COLUMN idempotent.request_records.completed_at IS 'when the request was finished';
COMMENT ON COLUMN idempotent.request_records.expires_at IS 'when the key becomes free again';
COMMENT ON COLUMN idempotent.request_records.purge_after IS 'a purge skips the row until then; never later than expires_at';

CREATE INDEX request_records_purge_after ON idempotent.request_records (purge_after);
COMMENT ON INDEX idempotent.request_records_purge_after IS 'for idempotent_purge';

SELECT pg_catalog.pg_extension_config_dump('idempotent.request_records', '');

CREATE VIEW idempotent.requests WITH (security_barrier = true) AS
SELECT request.scope, request.key, request.status, request.attempt, request.fingerprint,
       request.request, request.recovery_point, request.response, request.ttl, request.lease,
       request.lease_until, request.started_at, request.completed_at, request.expires_at,
       request.purge_after
  FROM idempotent.request_records AS request
 WHERE request.role OPERATOR(idempotent.=) idempotent.own_role();
COMMENT ON VIEW idempotent.requests IS 'your own request keys with their answers';
COMMENT ON COLUMN idempotent.requests.scope IS 'the key is unique within role and scope';
COMMENT ON COLUMN idempotent.requests.key IS 'the key that the client gave the request';
COMMENT ON COLUMN idempotent.requests.status IS 'started, finished or abandoned';
COMMENT ON COLUMN idempotent.requests.attempt IS 'the attempt that holds the request, or finished it';
COMMENT ON COLUMN idempotent.requests.fingerprint IS 'SHA-256 of the request';
COMMENT ON COLUMN idempotent.requests.request IS 'the request itself';
COMMENT ON COLUMN idempotent.requests.recovery_point IS 'how far the work has got';
COMMENT ON COLUMN idempotent.requests.response IS 'the answer, once it is finished';
COMMENT ON COLUMN idempotent.requests.ttl IS 'how long the answer is kept';
COMMENT ON COLUMN idempotent.requests.lease IS 'how long an attempt holds the request without renewing its lease';
COMMENT ON COLUMN idempotent.requests.lease_until IS 'when another attempt may resume the request';
COMMENT ON COLUMN idempotent.requests.started_at IS 'when the attempt began';
COMMENT ON COLUMN idempotent.requests.completed_at IS 'when the request was finished';
COMMENT ON COLUMN idempotent.requests.expires_at IS 'when the key becomes free again';
COMMENT ON COLUMN idempotent.requests.purge_after IS 'a purge skips the row until then; never later than expires_at';

CREATE FUNCTION idempotent_execute(
    key       text,
    command   text,
    arguments jsonb    DEFAULT '[]',
    scope     text     DEFAULT '',
    ttl       interval DEFAULT '24 hours',
    wait      interval DEFAULT NULL,
    operation text     DEFAULT NULL,
    OUT response jsonb,
    OUT replayed boolean
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_execute_wrapper';
COMMENT ON FUNCTION idempotent_execute(text, text, jsonb, text, interval, interval, text) IS
    'runs a statement once for a request key; a retry gets the first answer';

CREATE FUNCTION idempotent_request_begin(
    key     text,
    request jsonb,
    scope   text     DEFAULT '',
    ttl     interval DEFAULT '24 hours',
    lease   interval DEFAULT '1 minute',
    wait    interval DEFAULT NULL,
    ignore  text[]   DEFAULT NULL,
    OUT status         text,
    OUT attempt        bigint,
    OUT recovery_point text,
    OUT response       jsonb
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_request_begin_wrapper';
COMMENT ON FUNCTION idempotent_request_begin(text, jsonb, text, interval, interval, interval, text[]) IS
    'starts a request, resumes one whose lease ran out, or gives its answer';

CREATE FUNCTION idempotent_request_advance(
    key text, attempt bigint, recovery_point text, scope text DEFAULT ''
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_request_advance_wrapper';
COMMENT ON FUNCTION idempotent_request_advance(text, bigint, text, text) IS
    'records how far the work on a request has got, and renews the lease';

CREATE FUNCTION idempotent_request_finish(
    key text, attempt bigint, response jsonb, scope text DEFAULT ''
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_request_finish_wrapper';
COMMENT ON FUNCTION idempotent_request_finish(text, bigint, jsonb, text) IS
    'stores the answer of a request, which its retries get';

CREATE FUNCTION idempotent_request_abandon(
    key text, attempt bigint, scope text DEFAULT ''
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_request_abandon_wrapper';
COMMENT ON FUNCTION idempotent_request_abandon(text, bigint, text) IS
    'abandons a request without an answer: its key is free again';

CREATE FUNCTION idempotent_purge(batch_size int DEFAULT 1000) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_purge_wrapper';
COMMENT ON FUNCTION idempotent_purge(int) IS
    'removes at most batch_size expired requests; returns how many';
