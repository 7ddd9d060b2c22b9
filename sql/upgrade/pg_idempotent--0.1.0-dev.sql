-- The schema of everything that is not a function.
CREATE SCHEMA idempotent;
COMMENT ON SCHEMA idempotent IS
    'pg_idempotent: state and views';

-- What the tags of locks are keyed with (src/secret.rs): nobody reads from pg_locks which
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

-- Roles and tables as rows of state have them: by oid here, by name in dumps; what is not
-- there is nobody's. Why, is in src/kept.rs, what it means in docs/state.md.
CREATE TYPE idempotent.kept_role;
CREATE TYPE idempotent.kept_table;

CREATE FUNCTION idempotent.kept_role_in(value cstring) RETURNS idempotent.kept_role
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_role_in_wrapper';
COMMENT ON FUNCTION idempotent.kept_role_in(cstring) IS 'input of kept_role';

CREATE FUNCTION idempotent.kept_role_out(value idempotent.kept_role) RETURNS cstring
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_role_out_wrapper';
COMMENT ON FUNCTION idempotent.kept_role_out(idempotent.kept_role) IS 'output of kept_role';

CREATE FUNCTION idempotent.kept_role_recv(value internal) RETURNS idempotent.kept_role
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_role_recv_wrapper';
COMMENT ON FUNCTION idempotent.kept_role_recv(internal) IS 'binary input of kept_role: its text';

CREATE FUNCTION idempotent.kept_role_send(value idempotent.kept_role) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_role_send_wrapper';
COMMENT ON FUNCTION idempotent.kept_role_send(idempotent.kept_role) IS 'binary output of kept_role: its text';

CREATE FUNCTION idempotent.kept_table_in(value cstring) RETURNS idempotent.kept_table
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_table_in_wrapper';
COMMENT ON FUNCTION idempotent.kept_table_in(cstring) IS 'input of kept_table';

CREATE FUNCTION idempotent.kept_table_out(value idempotent.kept_table) RETURNS cstring
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_table_out_wrapper';
COMMENT ON FUNCTION idempotent.kept_table_out(idempotent.kept_table) IS 'output of kept_table';

CREATE FUNCTION idempotent.kept_table_recv(value internal) RETURNS idempotent.kept_table
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_table_recv_wrapper';
COMMENT ON FUNCTION idempotent.kept_table_recv(internal) IS 'binary input of kept_table: its text';

CREATE FUNCTION idempotent.kept_table_send(value idempotent.kept_table) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_table_send_wrapper';
COMMENT ON FUNCTION idempotent.kept_table_send(idempotent.kept_table) IS 'binary output of kept_table: its text';

CREATE TYPE idempotent.kept_role (
    INPUT = idempotent.kept_role_in, OUTPUT = idempotent.kept_role_out,
    RECEIVE = idempotent.kept_role_recv, SEND = idempotent.kept_role_send, LIKE = bytea);
COMMENT ON TYPE idempotent.kept_role IS
    'a role, by its name in dumps; (name) if it is not there';

CREATE TYPE idempotent.kept_table (
    INPUT = idempotent.kept_table_in, OUTPUT = idempotent.kept_table_out,
    RECEIVE = idempotent.kept_table_recv, SEND = idempotent.kept_table_send, LIKE = bytea);
COMMENT ON TYPE idempotent.kept_table IS
    'a table, by its name in dumps; (name) if it is not there';

-- Compared as the bytes that they are, by operators of their own: with those of bytea, by an
-- implicit cast, a name in quotes would be taken for bytes, and never be equal to anything.
DO $operators$
DECLARE
    kept text;
    operator record;
BEGIN
    FOREACH kept IN ARRAY ARRAY['idempotent.kept_role', 'idempotent.kept_table'] LOOP
        FOR operator IN VALUES ('<', 'lt', '>'), ('<=', 'le', '>='), ('=', 'eq', '='), ('>=', 'ge', '<='), ('>', 'gt', '<')
        LOOP
            EXECUTE pg_catalog.format(
                'CREATE FUNCTION %1$s_%3$s(%1$s, %1$s) RETURNS boolean
                 LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS ''bytea%3$s'';
                 COMMENT ON FUNCTION %1$s_%3$s(%1$s, %1$s) IS ''order of the bytes'';
                 CREATE OPERATOR idempotent.%2$s (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = %1$s_%3$s, COMMUTATOR = OPERATOR(idempotent.%4$s))',
                kept, operator.column1, operator.column2, operator.column3);
        END LOOP;
        EXECUTE pg_catalog.format(
            'CREATE OPERATOR CLASS %1$s_ops DEFAULT FOR TYPE %1$s USING btree AS
                 OPERATOR 1 idempotent.<, OPERATOR 2 idempotent.<=, OPERATOR 3 idempotent.=,
                 OPERATOR 4 idempotent.>=, OPERATOR 5 idempotent.>, FUNCTION 1 (%1$s, %1$s) pg_catalog.byteacmp(bytea, bytea)',
            kept);
    END LOOP;
END
$operators$;

CREATE FUNCTION idempotent.kept_oid(value idempotent.kept_role) RETURNS oid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_oid_wrapper';
COMMENT ON FUNCTION idempotent.kept_oid(idempotent.kept_role) IS
    'the oid of a role; 0 if it is nobody''s';
CREATE CAST (idempotent.kept_role AS oid)
    WITH FUNCTION idempotent.kept_oid(idempotent.kept_role);

CREATE FUNCTION idempotent.kept_regrole(value idempotent.kept_role) RETURNS regrole
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_oid_wrapper';
COMMENT ON FUNCTION idempotent.kept_regrole(idempotent.kept_role) IS
    'the role; 0 if it is nobody''s';
CREATE CAST (idempotent.kept_role AS regrole)
    WITH FUNCTION idempotent.kept_regrole(idempotent.kept_role);

CREATE FUNCTION idempotent.kept_oid(value idempotent.kept_table) RETURNS oid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_oid_wrapper';
COMMENT ON FUNCTION idempotent.kept_oid(idempotent.kept_table) IS
    'the oid of a table; 0 if it is nobody''s';
CREATE CAST (idempotent.kept_table AS oid)
    WITH FUNCTION idempotent.kept_oid(idempotent.kept_table);

CREATE FUNCTION idempotent.kept_regclass(value idempotent.kept_table) RETURNS regclass
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_oid_wrapper';
COMMENT ON FUNCTION idempotent.kept_regclass(idempotent.kept_table) IS
    'the table; 0 if it is nobody''s';
CREATE CAST (idempotent.kept_table AS regclass)
    WITH FUNCTION idempotent.kept_regclass(idempotent.kept_table);

CREATE FUNCTION idempotent.own_role() RETURNS idempotent.kept_role
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'own_role_wrapper';
COMMENT ON FUNCTION idempotent.own_role() IS 'the current user; for the views of state';

-- Its owner restores the database, and has no right to a comment on the extension: the one
-- of the control file would be in every dump.
COMMENT ON EXTENSION pg_idempotent IS NULL;

-- Insert or verify. What each function promises is in docs/insert.md.

CREATE FUNCTION idempotent_insert(
    target      regclass,
    payload     jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    OUT outcome     text,
    OUT stored      jsonb,
    OUT differences jsonb
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_insert_wrapper';

COMMENT ON FUNCTION idempotent_insert(regclass, jsonb, text[], text[], text[], text) IS
    'inserts a JSON object as a row, or verifies it against the row stored under its key';

CREATE FUNCTION idempotent_insert_many(
    target      regclass,
    payloads    jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    OUT received   bigint,
    OUT inserted   bigint,
    OUT duplicates bigint,
    OUT conflicts  bigint
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_insert_many_wrapper';

COMMENT ON FUNCTION idempotent_insert_many(regclass, jsonb, text[], text[], text[], text) IS
    'inserts or verifies an array of JSON objects, and counts the outcomes';

CREATE FUNCTION idempotent_insert_each(
    target      regclass,
    payloads    jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    OUT ordinal     bigint,
    OUT outcome     text,
    OUT stored      jsonb,
    OUT differences jsonb
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'idempotent_insert_each_wrapper';

COMMENT ON FUNCTION idempotent_insert_each(regclass, jsonb, text[], text[], text[], text) IS
    'inserts or verifies an array of JSON objects, and tells the outcome of each';

CREATE FUNCTION idempotent_insert_from(
    target      regclass,
    source      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    OUT received   bigint,
    OUT inserted   bigint,
    OUT duplicates bigint,
    OUT conflicts  bigint
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_insert_from_wrapper';

COMMENT ON FUNCTION idempotent_insert_from(regclass, regclass, text[], text[], text[], text) IS
    'inserts or verifies the rows of a table or view, and counts the outcomes';

-- Conflicts that were set aside.

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
    resolution  text CHECK (resolution IN ('keep stored', 'apply payload')),
    resolved_at timestamptz,
    CHECK ((resolution IS NULL) = (resolved_at IS NULL))
);
COMMENT ON TABLE idempotent.conflict_records IS
    'what idempotent.conflicts shows; written by the extension only';

COMMENT ON COLUMN idempotent.conflict_records.digest IS
    'SHA-256 by which a conflict that arrives again is recognised';

CREATE UNIQUE INDEX conflict_records_unresolved ON idempotent.conflict_records
    (target, digest)
    WHERE resolution IS NULL;
COMMENT ON INDEX idempotent.conflict_records_unresolved IS
    'a conflict that arrives again is not recorded twice while it is unresolved';

SELECT pg_catalog.pg_extension_config_dump('idempotent.conflict_records', '');

-- Whoever may SELECT the target sees its conflicts; with row-level security in
-- force for the reader, without values. A record whose table is gone is for
-- superusers.
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
       record.resolved_at
  FROM idempotent.conflict_records AS record
 CROSS JOIN LATERAL (
       SELECT NOT pg_catalog.row_security_active(record.target::oid) AS see_values,
              COALESCE(
                  pg_catalog.has_table_privilege(record.target::oid, 'SELECT'),
                  (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r
                    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)
              ) AS see_record) AS may
 WHERE may.see_record;
COMMENT ON VIEW idempotent.conflicts IS
    'quarantined conflicts of the tables that you may SELECT from';
COMMENT ON COLUMN idempotent.conflicts.id IS 'what idempotent_resolve takes';
COMMENT ON COLUMN idempotent.conflicts.target IS 'the table that the payload was for';
COMMENT ON COLUMN idempotent.conflicts.key IS 'the key columns of the payload';
COMMENT ON COLUMN idempotent.conflicts.payload IS 'the columns that the payload named';
COMMENT ON COLUMN idempotent.conflicts.stored IS 'the row that was stored under the key';
COMMENT ON COLUMN idempotent.conflicts.differences IS
    'the columns that differ, each with its stored and its payload value';
COMMENT ON COLUMN idempotent.conflicts.arrived_at IS 'when it was recorded';
COMMENT ON COLUMN idempotent.conflicts.arrived_by IS 'the role that sent the payload';
COMMENT ON COLUMN idempotent.conflicts.resolution IS
    'keep stored or apply payload; NULL while it is open';
COMMENT ON COLUMN idempotent.conflicts.resolved_at IS 'when it was resolved';

CREATE FUNCTION idempotent_resolve(id bigint, resolution text) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_resolve_wrapper';
COMMENT ON FUNCTION idempotent_resolve(bigint, text) IS
    'ends a conflict of idempotent.conflicts: keep stored, or apply payload';

-- The guard: plain INSERT and COPY become insert-or-verify. See docs/guard.md.

CREATE FUNCTION idempotent_guard_trigger() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_guard_trigger_wrapper';
COMMENT ON FUNCTION idempotent_guard_trigger() IS
    'what a guard''s trigger calls for every row; idempotent_guard makes the trigger';

CREATE FUNCTION idempotent.guard_options(
    target  regclass,
    trigger oid,
    OUT key         text[],
    OUT arbiter     name,
    OUT compared    text[],
    OUT compare     text[],
    OUT ignore      text[],
    OUT on_conflict text,
    OUT remember    name,
    OUT problem     text
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'guard_options_wrapper';
COMMENT ON FUNCTION idempotent.guard_options(regclass, oid) IS
    'what the options of a guard come to; for the view idempotent.guards';

-- Everything is read from the triggers: there is nothing else that would know.
-- A partition's clone is part of the guard of its partitioned table. Temporary
-- tables of other sessions cannot be opened.
CREATE VIEW idempotent.guards AS
SELECT guard.tgrelid::regclass AS target,
       guard.tgname AS trigger,
       CASE guard.tgenabled
           WHEN 'O' THEN 'origin'
           WHEN 'A' THEN 'always'
           WHEN 'R' THEN 'replica'
           ELSE 'disabled'
       END AS enabled,
       options.key,
       options.arbiter,
       options.compared,
       options.compare,
       options.ignore,
       options.on_conflict,
       options.remember,
       options.problem
  FROM pg_catalog.pg_trigger AS guard
  JOIN pg_catalog.pg_class AS class
    ON class.oid OPERATOR(pg_catalog.=) guard.tgrelid
   AND (class.relpersistence OPERATOR(pg_catalog.<>) 't'
        OR class.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())
   AND class.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p']::"char"[])
 CROSS JOIN LATERAL idempotent.guard_options(guard.tgrelid, guard.oid) AS options
 WHERE guard.tgfoid OPERATOR(pg_catalog.=) 'idempotent_guard_trigger()'::regprocedure
   AND guard.tgparentid OPERATOR(pg_catalog.=) 0::oid;
COMMENT ON VIEW idempotent.guards IS 'every guarded table, with the options of its guard';
COMMENT ON COLUMN idempotent.guards.target IS 'the guarded table';
COMMENT ON COLUMN idempotent.guards.trigger IS 'its trigger, in whose arguments the options are';
COMMENT ON COLUMN idempotent.guards.enabled IS
    'when it fires: origin, replica, always (see ALTER TABLE ... ENABLE TRIGGER), or disabled';
COMMENT ON COLUMN idempotent.guards.key IS 'the key columns';
COMMENT ON COLUMN idempotent.guards.arbiter IS 'the unique index that decides';
COMMENT ON COLUMN idempotent.guards.compared IS 'the columns whose values must agree';
COMMENT ON COLUMN idempotent.guards.compare IS 'the option compare, if it was given';
COMMENT ON COLUMN idempotent.guards.ignore IS 'the option ignore, if it was given';
COMMENT ON COLUMN idempotent.guards.on_conflict IS 'error or quarantine';
COMMENT ON COLUMN idempotent.guards.remember IS 'the column that keeps what first arrived';
COMMENT ON COLUMN idempotent.guards.problem IS
    'why the options do not fit the table any more; NULL if they do';

CREATE FUNCTION idempotent_guard(
    target      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    remember    text   DEFAULT NULL
) RETURNS idempotent.guards
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_guard_wrapper';
COMMENT ON FUNCTION idempotent_guard(regclass, text[], text[], text[], text, text) IS
    'makes every INSERT and COPY on a table insert or verify, or replaces the guard''s options';

CREATE FUNCTION idempotent_unguard(target regclass) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_unguard_wrapper';
COMMENT ON FUNCTION idempotent_unguard(regclass) IS
    'removes the guard of a table; false if there was none';

-- Upsert in which the latest row wins. See docs/merge.md.

CREATE FUNCTION idempotent_merge(
    target    regclass,
    source    regclass,
    key       text[] DEFAULT NULL,
    latest_by text[] DEFAULT NULL,
    compare   text[] DEFAULT NULL,
    ignore    text[] DEFAULT NULL,
    insert_only text[] DEFAULT NULL,
    OUT received   bigint,
    OUT inserted   bigint,
    OUT updated    bigint,
    OUT unchanged  bigint,
    OUT stale      bigint,
    OUT superseded bigint
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_merge_wrapper';

COMMENT ON FUNCTION idempotent_merge(regclass, regclass, text[], text[], text[], text[], text[]) IS
    'inserts or updates the rows of a table or view by key; the latest row wins, equal rows are not rewritten';

-- One slice replaced atomically. See docs/overwrite.md.

CREATE FUNCTION idempotent_overwrite(
    target    regclass,
    source    regclass,
    partition jsonb,
    OUT deleted   bigint,
    OUT inserted  bigint,
    OUT unchanged boolean
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_overwrite_wrapper';

COMMENT ON FUNCTION idempotent_overwrite(regclass, regclass, jsonb) IS
    'replaces the rows of a table that have these values by those of another table or view; equal rows are left alone';

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
-- read the view idempotent.my_requests: a policy on the table would fail dumps.
CREATE TABLE idempotent.requests (
    role           idempotent.kept_role NOT NULL,
    scope          text        NOT NULL,
    key            text        NOT NULL,
    state          text        NOT NULL,
    attempt        bigint      NOT NULL,
    fingerprint    bytea       NOT NULL,
    request        jsonb       NOT NULL,
    recovery_point text,
    response       jsonb,
    ttl            interval    NOT NULL,
    lease          interval,
    lease_until    timestamptz,
    started_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    expires_at     timestamptz NOT NULL,
    purge_after    timestamptz NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (key, scope, role)
) WITH (fillfactor = 75);
COMMENT ON TABLE idempotent.requests IS 'request keys with their answers; written by the extension only';
COMMENT ON COLUMN idempotent.requests.role IS 'the role that sent the request';
COMMENT ON COLUMN idempotent.requests.scope IS 'what the key is unique in, beside the role';
COMMENT ON COLUMN idempotent.requests.key IS 'the key that the client gave the request';
COMMENT ON COLUMN idempotent.requests.state IS 'started, finished or abandoned';
COMMENT ON COLUMN idempotent.requests.attempt IS 'the attempt that holds the request, or finished it';
COMMENT ON COLUMN idempotent.requests.fingerprint IS 'SHA-256 of the request';
COMMENT ON COLUMN idempotent.requests.request IS 'what was asked for';
COMMENT ON COLUMN idempotent.requests.recovery_point IS 'how far the work has come';
COMMENT ON COLUMN idempotent.requests.response IS 'the answer, once it is finished';
COMMENT ON COLUMN idempotent.requests.ttl IS 'how long the answer is kept after it was given';
COMMENT ON COLUMN idempotent.requests.lease IS 'how long an attempt holds the request without a sign of life';
COMMENT ON COLUMN idempotent.requests.lease_until IS 'when another attempt may resume it';
COMMENT ON COLUMN idempotent.requests.started_at IS 'when the attempt began';
COMMENT ON COLUMN idempotent.requests.finished_at IS 'when the answer was given';
COMMENT ON COLUMN idempotent.requests.expires_at IS 'from then on the key is free again';
COMMENT ON COLUMN idempotent.requests.purge_after IS 'a purge need not look at the row before; never later than expires_at';

CREATE INDEX requests_purge_after ON idempotent.requests (purge_after);
COMMENT ON INDEX idempotent.requests_purge_after IS 'for idempotent_purge';

SELECT pg_catalog.pg_extension_config_dump('idempotent.requests', '');

CREATE VIEW idempotent.my_requests WITH (security_barrier = true) AS
SELECT request.scope, request.key, request.state, request.attempt, request.fingerprint,
       request.request, request.recovery_point, request.response, request.ttl, request.lease,
       request.lease_until, request.started_at, request.finished_at, request.expires_at,
       request.purge_after
  FROM idempotent.requests AS request
 WHERE request.role OPERATOR(idempotent.=) idempotent.own_role();
COMMENT ON VIEW idempotent.my_requests IS 'your own request keys with their answers';
COMMENT ON COLUMN idempotent.my_requests.scope IS 'what the key is unique in, beside the role';
COMMENT ON COLUMN idempotent.my_requests.key IS 'the key that the client gave the request';
COMMENT ON COLUMN idempotent.my_requests.state IS 'started, finished or abandoned';
COMMENT ON COLUMN idempotent.my_requests.attempt IS 'the attempt that holds the request, or finished it';
COMMENT ON COLUMN idempotent.my_requests.fingerprint IS 'SHA-256 of the request';
COMMENT ON COLUMN idempotent.my_requests.request IS 'what was asked for';
COMMENT ON COLUMN idempotent.my_requests.recovery_point IS 'how far the work has come';
COMMENT ON COLUMN idempotent.my_requests.response IS 'the answer, once it is finished';
COMMENT ON COLUMN idempotent.my_requests.ttl IS 'how long the answer is kept after it was given';
COMMENT ON COLUMN idempotent.my_requests.lease IS 'how long an attempt holds the request without a sign of life';
COMMENT ON COLUMN idempotent.my_requests.lease_until IS 'when another attempt may resume it';
COMMENT ON COLUMN idempotent.my_requests.started_at IS 'when the attempt began';
COMMENT ON COLUMN idempotent.my_requests.finished_at IS 'when the answer was given';
COMMENT ON COLUMN idempotent.my_requests.expires_at IS 'from then on the key is free again';
COMMENT ON COLUMN idempotent.my_requests.purge_after IS 'a purge need not look at the row before; never later than expires_at';

CREATE FUNCTION idempotent_execute(
    key       text,
    command   text,
    arguments jsonb    DEFAULT '[]',
    scope     text     DEFAULT '',
    ttl       interval DEFAULT '24 hours',
    OUT response jsonb,
    OUT replayed boolean
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_execute_wrapper';
COMMENT ON FUNCTION idempotent_execute(text, text, jsonb, text, interval) IS
    'runs a statement once for a request key; a retry gets the first answer';

CREATE FUNCTION idempotent_request_begin(
    key     text,
    request jsonb,
    scope   text     DEFAULT '',
    ttl     interval DEFAULT '24 hours',
    lease   interval DEFAULT '1 minute',
    OUT state          text,
    OUT attempt        bigint,
    OUT recovery_point text,
    OUT response       jsonb
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_request_begin_wrapper';
COMMENT ON FUNCTION idempotent_request_begin(text, jsonb, text, interval, interval) IS
    'starts a request, resumes one whose lease ran out, or gives its answer';

CREATE FUNCTION idempotent_request_advance(
    key text, attempt bigint, recovery_point text, scope text DEFAULT ''
) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_request_advance_wrapper';
COMMENT ON FUNCTION idempotent_request_advance(text, bigint, text, text) IS
    'notes how far the work on a request has come, and renews the lease';

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
    'gives a request up without an answer: its key is free again';

CREATE FUNCTION idempotent_purge(batch_size int DEFAULT 1000) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_purge_wrapper';
COMMENT ON FUNCTION idempotent_purge(int) IS
    'removes expired requests, at most so many; gives how many';

-- Loads in committed batches. What the procedure promises is in docs/load.md.

-- Written by the procedure only, as the extension's owner. People read the view
-- idempotent.loads.
CREATE TABLE idempotent.load_records (
    load_id     bigint      GENERATED ALWAYS AS IDENTITY,
    role        idempotent.kept_role NOT NULL,
    target      text        NOT NULL,
    source      text        NOT NULL,
    on_conflict text        NOT NULL,
    batch_size  int         NOT NULL,
    state       text        NOT NULL DEFAULT 'running',
    rows_total  bigint,
    rows_done   bigint      NOT NULL DEFAULT 0,
    inserted    bigint      NOT NULL DEFAULT 0,
    duplicates  bigint      NOT NULL DEFAULT 0,
    conflicts   bigint      NOT NULL DEFAULT 0,
    batches     bigint      NOT NULL DEFAULT 0,
    pid         int         NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    error       text,
    CONSTRAINT load_records_pkey PRIMARY KEY (load_id),
    CONSTRAINT load_records_state CHECK (state IN ('running', 'finished', 'failed'))
) WITH (fillfactor = 50);
COMMENT ON TABLE idempotent.load_records IS 'what idempotent.loads shows; written by the extension only';

SELECT pg_catalog.pg_extension_config_dump('idempotent.load_records', '');

-- VOLATILE, so that it looks with a snapshot of its own: a load that ended between the
-- query's snapshot and its look at the locks has not died. DEFINER, since who reads the
-- view has no right on the table; that a load is running, pg_locks tells everybody.
CREATE FUNCTION idempotent.load_is_running(load_id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT FROM idempotent.load_records AS record
         WHERE record.load_id OPERATOR(pg_catalog.=) load_is_running.load_id
           AND record.state OPERATOR(pg_catalog.=) 'running');
END;
COMMENT ON FUNCTION idempotent.load_is_running(bigint) IS
    'whether the record of a load says, as of now, that it is running';

-- While it runs, a load holds a lock that nobody waits for. On a standby it cannot be
-- seen.
CREATE VIEW idempotent.loads WITH (security_barrier = true) AS
SELECT record.load_id, record.role::regrole AS role, record.target, record.source, record.on_conflict, record.batch_size,
       CASE
           WHEN record.state OPERATOR(pg_catalog.<>) 'running' OR pg_catalog.pg_is_in_recovery() THEN record.state
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
       END AS state,
       record.rows_total, record.rows_done, record.inserted, record.duplicates, record.conflicts, record.batches,
       record.pid, record.started_at, record.updated_at, record.finished_at, record.error
  FROM idempotent.load_records AS record
 WHERE record.role OPERATOR(idempotent.=) idempotent.own_role()
    OR (SELECT pg_catalog.pg_has_role(class.relowner, 'USAGE') OR reader.rolbypassrls
          FROM pg_catalog.pg_class AS class CROSS JOIN pg_catalog.pg_roles AS reader
         WHERE class.oid OPERATOR(pg_catalog.=) 'idempotent.load_records'::regclass::oid
           AND reader.rolname OPERATOR(pg_catalog.=) CURRENT_USER);
COMMENT ON VIEW idempotent.loads IS 'the loads of now and before, with their progress; your own, unless you own the extension';
COMMENT ON COLUMN idempotent.loads.load_id IS 'the number of the load';
COMMENT ON COLUMN idempotent.loads.role IS 'the role that loads';
COMMENT ON COLUMN idempotent.loads.target IS 'the table that the rows go into, by the name it had';
COMMENT ON COLUMN idempotent.loads.source IS 'the table or view that they come from, by the name it had';
COMMENT ON COLUMN idempotent.loads.on_conflict IS 'what is done about a conflict';
COMMENT ON COLUMN idempotent.loads.batch_size IS 'how many rows are committed at a time';
COMMENT ON COLUMN idempotent.loads.state IS 'running, finished, failed, or died: its server process is gone';
COMMENT ON COLUMN idempotent.loads.rows_total IS 'the rows of the source; NULL while it is being read';
COMMENT ON COLUMN idempotent.loads.rows_done IS 'those that have their outcome, committed';
COMMENT ON COLUMN idempotent.loads.inserted IS 'how many of them went in';
COMMENT ON COLUMN idempotent.loads.duplicates IS 'how many were stored already';
COMMENT ON COLUMN idempotent.loads.conflicts IS 'how many differ from what is stored';
COMMENT ON COLUMN idempotent.loads.batches IS 'how many batches are committed';
COMMENT ON COLUMN idempotent.loads.pid IS 'the server process, for pg_cancel_backend';
COMMENT ON COLUMN idempotent.loads.started_at IS 'when it was called';
COMMENT ON COLUMN idempotent.loads.updated_at IS 'when the last batch was committed';
COMMENT ON COLUMN idempotent.loads.finished_at IS 'when it finished or failed';
COMMENT ON COLUMN idempotent.loads.error IS 'why it failed';

CREATE PROCEDURE idempotent_load(
    target      regclass,
    source      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    batch_size  int    DEFAULT 10000
)
LANGUAGE c
AS 'MODULE_PATHNAME', 'idempotent_load_wrapper';
COMMENT ON PROCEDURE idempotent_load(regclass, regclass, text[], text[], text[], text, int) IS
    'inserts or verifies the rows of a table or view in batches, each of which is committed';

-- Runs: a job that was done for its input is not done again. See docs/runs.md.

-- Written by the extension's functions only, as its owner. People read the view
-- idempotent.my_runs.
CREATE TABLE idempotent.pipeline_runs (
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
    CONSTRAINT pipeline_runs_pkey PRIMARY KEY (run_id),
    CONSTRAINT pipeline_runs_attempt UNIQUE (role, dataset, partition, attempt),
    CONSTRAINT pipeline_runs_status CHECK (status IN ('running', 'published', 'failed', 'taken over')),
    CONSTRAINT pipeline_runs_completed CHECK ((status = 'running') = (completed_at IS NULL))
);
COMMENT ON TABLE idempotent.pipeline_runs IS 'the runs of pipelines, of now and before; written by the extension only';
COMMENT ON COLUMN idempotent.pipeline_runs.run_id IS 'what idempotent_run_heartbeat, _publish and _fail take';
COMMENT ON COLUMN idempotent.pipeline_runs.role IS 'the role that began the run';
COMMENT ON COLUMN idempotent.pipeline_runs.dataset IS 'what is made';
COMMENT ON COLUMN idempotent.pipeline_runs.partition IS 'which part of it: a day, a tenant; empty if it has none';
COMMENT ON COLUMN idempotent.pipeline_runs.attempt IS 'its number among the runs of the partition';
COMMENT ON COLUMN idempotent.pipeline_runs.status IS 'running, published, failed or taken over';
COMMENT ON COLUMN idempotent.pipeline_runs.reason IS 'why it was begun';
COMMENT ON COLUMN idempotent.pipeline_runs.input_version IS 'what it reads, as the caller names it';
COMMENT ON COLUMN idempotent.pipeline_runs.output_version IS 'what it made, as the caller names it';
COMMENT ON COLUMN idempotent.pipeline_runs.row_count IS 'how many rows it made, as the caller says';
COMMENT ON COLUMN idempotent.pipeline_runs.error IS 'why it failed, as the caller says';
COMMENT ON COLUMN idempotent.pipeline_runs.lease IS 'how long it holds the partition without a sign of life';
COMMENT ON COLUMN idempotent.pipeline_runs.lease_until IS 'from then on another run may take over, or could have';
COMMENT ON COLUMN idempotent.pipeline_runs.started_at IS 'when it was begun';
COMMENT ON COLUMN idempotent.pipeline_runs.heartbeat_at IS 'its last sign of life';
COMMENT ON COLUMN idempotent.pipeline_runs.completed_at IS 'when it was published, failed or taken over';

CREATE UNIQUE INDEX pipeline_runs_running ON idempotent.pipeline_runs (role, dataset, partition)
    WHERE status = 'running';
COMMENT ON INDEX idempotent.pipeline_runs_running IS 'one run of a partition at a time';

SELECT pg_catalog.pg_extension_config_dump('idempotent.pipeline_runs', '');

CREATE VIEW idempotent.my_runs WITH (security_barrier = true) AS
SELECT run.run_id, run.dataset, run.partition, run.attempt, run.status, run.reason,
       run.input_version, run.output_version, run.row_count, run.error, run.lease,
       run.lease_until, run.started_at, run.heartbeat_at, run.completed_at
  FROM idempotent.pipeline_runs AS run
 WHERE run.role OPERATOR(idempotent.=) idempotent.own_role();
COMMENT ON VIEW idempotent.my_runs IS 'your own runs of pipelines, of now and before';
COMMENT ON COLUMN idempotent.my_runs.run_id IS 'what idempotent_run_heartbeat, _publish and _fail take';
COMMENT ON COLUMN idempotent.my_runs.dataset IS 'what is made';
COMMENT ON COLUMN idempotent.my_runs.partition IS 'which part of it: a day, a tenant; empty if it has none';
COMMENT ON COLUMN idempotent.my_runs.attempt IS 'its number among the runs of the partition';
COMMENT ON COLUMN idempotent.my_runs.status IS 'running, published, failed or taken over';
COMMENT ON COLUMN idempotent.my_runs.reason IS 'why it was begun';
COMMENT ON COLUMN idempotent.my_runs.input_version IS 'what it reads, as the caller names it';
COMMENT ON COLUMN idempotent.my_runs.output_version IS 'what it made, as the caller names it';
COMMENT ON COLUMN idempotent.my_runs.row_count IS 'how many rows it made, as the caller says';
COMMENT ON COLUMN idempotent.my_runs.error IS 'why it failed, as the caller says';
COMMENT ON COLUMN idempotent.my_runs.lease IS 'how long it holds the partition without a sign of life';
COMMENT ON COLUMN idempotent.my_runs.lease_until IS 'from then on another run may take over, or could have';
COMMENT ON COLUMN idempotent.my_runs.started_at IS 'when it was begun';
COMMENT ON COLUMN idempotent.my_runs.heartbeat_at IS 'its last sign of life';
COMMENT ON COLUMN idempotent.my_runs.completed_at IS 'when it was published, failed or taken over';

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
    'ends a run: its input is done';

CREATE FUNCTION idempotent_run_fail(run_id bigint, error text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_run_fail_wrapper';
COMMENT ON FUNCTION idempotent_run_fail(bigint, text) IS
    'ends a run that failed: the next one is to do it again';

-- What a table holds against what it should hold. See docs/reconcile.md.

CREATE FUNCTION idempotent_reconcile(
    target  regclass,
    source  regclass,
    key     text[] DEFAULT NULL,
    compare text[] DEFAULT NULL,
    ignore  text[] DEFAULT NULL,
    OUT status      text,
    OUT key         jsonb,
    OUT stored      jsonb,
    OUT expected    jsonb,
    OUT differences jsonb
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'idempotent_reconcile_wrapper';

COMMENT ON FUNCTION idempotent_reconcile(regclass, regclass, text[], text[], text[]) IS
    'tells in which rows a table deviates from a table or view, by key';

-- A checksum of a set of rows. See docs/digest.md.

CREATE FUNCTION idempotent.digest_add(state internal, line record) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_add_wrapper';
COMMENT ON FUNCTION idempotent.digest_add(internal, record) IS 'part of idempotent_digest: adds a row';

CREATE FUNCTION idempotent.digest_remove(state internal, line record) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_remove_wrapper';
COMMENT ON FUNCTION idempotent.digest_remove(internal, record) IS
    'part of idempotent_digest: takes a row out that leaves a window frame';

CREATE FUNCTION idempotent.digest_combine(state internal, other internal) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_combine_wrapper';
COMMENT ON FUNCTION idempotent.digest_combine(internal, internal) IS
    'part of idempotent_digest: adds the rows of another process';

CREATE FUNCTION idempotent.digest_serialize(state internal) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_serialize_wrapper';
COMMENT ON FUNCTION idempotent.digest_serialize(internal) IS
    'part of idempotent_digest: its state, for another process';

CREATE FUNCTION idempotent.digest_deserialize(bytes bytea, unused internal) RETURNS internal
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_deserialize_wrapper';
COMMENT ON FUNCTION idempotent.digest_deserialize(bytea, internal) IS
    'part of idempotent_digest: its state, from another process';

CREATE FUNCTION idempotent.digest_text(state internal) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_text_wrapper';
COMMENT ON FUNCTION idempotent.digest_text(internal) IS 'part of idempotent_digest: the digest';

CREATE AGGREGATE idempotent_digest(record) (
    SFUNC        = idempotent.digest_add,
    STYPE        = internal,
    SSPACE       = 2064,
    FINALFUNC    = idempotent.digest_text,
    COMBINEFUNC  = idempotent.digest_combine,
    SERIALFUNC   = idempotent.digest_serialize,
    DESERIALFUNC = idempotent.digest_deserialize,
    MSFUNC       = idempotent.digest_add,
    MINVFUNC     = idempotent.digest_remove,
    MSTYPE       = internal,
    MSSPACE      = 2064,
    MFINALFUNC   = idempotent.digest_text,
    PARALLEL     = SAFE
);
COMMENT ON AGGREGATE idempotent_digest(record) IS
    'a checksum of a set of rows that does not depend on their order';

-- What of a table makes retries unsafe. See docs/lint.md.

CREATE FUNCTION idempotent_lint(target regclass)
RETURNS TABLE (target regclass, rule text, severity text, message text, hint text)
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'idempotent_lint_wrapper';
COMMENT ON FUNCTION idempotent_lint(regclass) IS
    'what of a table makes retries unsafe, and what to do about it; nothing of a good one';

-- Rights on state. ALTER DEFAULT PRIVILEGES may have given anything to anybody as it was made; all of that is
-- taken back first. What is granted is all here.
DO $revoke$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT DISTINCT pg_catalog.format(
                   'REVOKE ALL ON %s %I.%I FROM %s',
                   CASE class.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                   schema.nspname, class.relname,
                   CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee)) END) AS command
          FROM pg_catalog.pg_class AS class
          JOIN pg_catalog.pg_namespace AS schema ON schema.oid OPERATOR(pg_catalog.=) class.relnamespace
         CROSS JOIN LATERAL pg_catalog.aclexplode(class.relacl) AS entry
         WHERE schema.nspname OPERATOR(pg_catalog.=) 'idempotent'
           AND class.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'v', 'S']::"char"[])
           AND entry.grantee OPERATOR(pg_catalog.<>) class.relowner
        UNION
        SELECT pg_catalog.format(
                   'REVOKE ALL ON SCHEMA %I FROM %s', schema.nspname,
                   CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(entry.grantee)) END)
          FROM pg_catalog.pg_namespace AS schema
         CROSS JOIN LATERAL pg_catalog.aclexplode(schema.nspacl) AS entry
         WHERE schema.nspname OPERATOR(pg_catalog.=) 'idempotent'
           AND entry.grantee OPERATOR(pg_catalog.<>) schema.nspowner
    LOOP
        EXECUTE granted.command;
    END LOOP;
END
$revoke$;

-- The views show each reader what is theirs.
GRANT USAGE ON SCHEMA idempotent TO PUBLIC;
GRANT SELECT ON idempotent.conflicts, idempotent.guards, idempotent.loads, idempotent.my_requests, idempotent.my_runs
    TO PUBLIC;

-- Who owns the database dumps and restores it: what an INSERT cannot do is said in src/kept.rs.
GRANT SELECT, INSERT
    ON idempotent.requests, idempotent.pipeline_runs, idempotent.load_records, idempotent.conflict_records
    TO pg_database_owner;
