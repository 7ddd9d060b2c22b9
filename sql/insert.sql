-- Insert or verify. What each function promises is in docs/insert.md.

CREATE FUNCTION idempotent_insert(
    target      regclass,
    payload     jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    overriding  text   DEFAULT NULL,
    OUT outcome     text,
    OUT stored      jsonb,
    OUT differences jsonb
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_insert_wrapper';

COMMENT ON FUNCTION idempotent_insert(regclass, jsonb, text[], text[], text[], text, text) IS
    'inserts a JSON object as a row, or verifies it against the row stored under its key';

CREATE FUNCTION idempotent_insert_many(
    target      regclass,
    payloads    jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    overriding  text   DEFAULT NULL,
    on_error    text   DEFAULT 'error',
    OUT received   bigint,
    OUT inserted   bigint,
    OUT duplicates bigint,
    OUT conflicts  bigint,
    OUT rejected   bigint
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_insert_many_wrapper';

COMMENT ON FUNCTION idempotent_insert_many(regclass, jsonb, text[], text[], text[], text, text, text) IS
    'inserts or verifies an array of JSON objects, and counts the outcomes';

CREATE FUNCTION idempotent_insert_each(
    target      regclass,
    payloads    jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    overriding  text   DEFAULT NULL,
    on_error    text   DEFAULT 'error',
    OUT ordinal     bigint,
    OUT outcome     text,
    OUT stored      jsonb,
    OUT differences jsonb,
    OUT error       jsonb
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'idempotent_insert_each_wrapper';

COMMENT ON FUNCTION idempotent_insert_each(regclass, jsonb, text[], text[], text[], text, text, text) IS
    'inserts or verifies an array of JSON objects, and returns the outcome of each';

CREATE FUNCTION idempotent_insert_from(
    target      regclass,
    source      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    overriding  text   DEFAULT NULL,
    on_error    text   DEFAULT 'error',
    token       text   DEFAULT NULL,
    digest      text   DEFAULT NULL,
    OUT received   bigint,
    OUT inserted   bigint,
    OUT duplicates bigint,
    OUT conflicts  bigint,
    OUT rejected   bigint,
    OUT replayed   boolean
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_insert_from_wrapper';

COMMENT ON FUNCTION idempotent_insert_from(regclass, regclass, text[], text[], text[], text, text, text, text, text) IS
    'inserts or verifies the rows of a table or view, and counts the outcomes';
