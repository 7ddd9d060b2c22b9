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

CREATE FUNCTION idempotent_overwrite_each(
    target    regclass,
    source    regclass,
    by        text[],
    OUT slice     jsonb,
    OUT deleted   bigint,
    OUT inserted  bigint,
    OUT unchanged boolean
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'idempotent_overwrite_each_wrapper';

COMMENT ON FUNCTION idempotent_overwrite_each(regclass, regclass, text[]) IS
    'replaces each slice that the source holds, by the values of these columns; equal slices are not rewritten';
