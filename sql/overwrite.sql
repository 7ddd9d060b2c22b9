-- One slice replaced atomically. See docs/overwrite.md.

CREATE FUNCTION idempotent_overwrite(
    target    regclass,
    source    regclass,
    slice     jsonb,
    OUT deleted   bigint,
    OUT inserted  bigint,
    OUT unchanged boolean
) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idempotent_overwrite_wrapper';

COMMENT ON FUNCTION idempotent_overwrite(regclass, regclass, jsonb) IS
    'replaces one slice of a table, the rows that have these values or lie in these ranges, by the rows of a table or view; an equal slice is not rewritten';
