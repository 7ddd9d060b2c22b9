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
