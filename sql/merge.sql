-- Upsert in which the latest row wins. See docs/merge.md.

CREATE FUNCTION idempotent_merge(
    target    regclass,
    source    regclass,
    key       text[] DEFAULT NULL,
    latest_by text[] DEFAULT NULL,
    compare   text[] DEFAULT NULL,
    ignore    text[] DEFAULT NULL,
    insert_only text[] DEFAULT NULL,
    token     text   DEFAULT NULL,
    digest    text   DEFAULT NULL,
    OUT received   bigint,
    OUT inserted   bigint,
    OUT updated    bigint,
    OUT unchanged  bigint,
    OUT stale      bigint,
    OUT superseded bigint,
    OUT replayed   boolean
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_merge_wrapper';

COMMENT ON FUNCTION idempotent_merge(regclass, regclass, text[], text[], text[], text[], text[], text, text) IS
    'inserts or updates the rows of a table or view by key; the latest row wins, equal rows are not rewritten';
