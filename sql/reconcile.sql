-- Compares what a table holds with what it should hold. See docs/reconcile.md.

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
    'returns the rows, by key, in which a table deviates from another table or view';
