-- Compares what a table holds with what it should hold, and makes it so. See docs/reconcile.md.

CREATE FUNCTION idempotent_reconcile(
    target  regclass,
    source  regclass,
    key     text[] DEFAULT NULL,
    compare text[] DEFAULT NULL,
    ignore  text[] DEFAULT NULL,
    "limit" bigint DEFAULT NULL,
    OUT status      text,
    OUT key         jsonb,
    OUT stored      jsonb,
    OUT expected    jsonb,
    OUT differences jsonb
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'idempotent_reconcile_wrapper';

COMMENT ON FUNCTION idempotent_reconcile(regclass, regclass, text[], text[], text[], bigint) IS
    'returns the rows, by key, in which a table or foreign table deviates from another one or a view';

CREATE FUNCTION idempotent_repair(
    target  regclass,
    source  regclass,
    key     text[] DEFAULT NULL,
    compare text[] DEFAULT NULL,
    ignore  text[] DEFAULT NULL,
    "limit" bigint DEFAULT NULL,
    dry_run boolean DEFAULT true,
    OUT status      text,
    OUT key         jsonb,
    OUT stored      jsonb,
    OUT expected    jsonb,
    OUT differences jsonb,
    OUT outcome     text
) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'idempotent_repair_wrapper';

COMMENT ON FUNCTION idempotent_repair(regclass, regclass, text[], text[], text[], bigint, boolean) IS
    'makes a table or foreign table equal to another one or a view, row by row, or says what that would change';

-- Two tables are compared by sketches of them, so that only rows that may deviate are read and sent. See src/digest/sketch.rs.
CREATE FUNCTION idempotent.sketch_add(state internal, plan bytea, VARIADIC columns "any") RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_sketch_add_wrapper';
COMMENT ON FUNCTION idempotent.sketch_add(internal, bytea, VARIADIC "any") IS 'part of idempotent.sketch: adds a row';

CREATE FUNCTION idempotent.sketch_combine(state internal, other internal) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_sketch_combine_wrapper';
COMMENT ON FUNCTION idempotent.sketch_combine(internal, internal) IS
    'part of idempotent.sketch: adds the rows of another process';

CREATE FUNCTION idempotent.sketch_bytes(state internal) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_sketch_bytes_wrapper';
COMMENT ON FUNCTION idempotent.sketch_bytes(internal) IS
    'part of idempotent.sketch: the sketch, and its state for another process';

CREATE FUNCTION idempotent.sketch_deserialize(bytes bytea, unused internal) RETURNS internal
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_sketch_deserialize_wrapper';
COMMENT ON FUNCTION idempotent.sketch_deserialize(bytea, internal) IS
    'part of idempotent.sketch: its state, from another process';

CREATE AGGREGATE idempotent.sketch(plan bytea, VARIADIC columns "any") (
    SFUNC        = idempotent.sketch_add,
    STYPE        = internal,
    SSPACE       = 139272,
    FINALFUNC    = idempotent.sketch_bytes,
    COMBINEFUNC  = idempotent.sketch_combine,
    SERIALFUNC   = idempotent.sketch_bytes,
    DESERIALFUNC = idempotent.sketch_deserialize,
    PARALLEL     = SAFE
);
COMMENT ON AGGREGATE idempotent.sketch(bytea, VARIADIC "any") IS
    'part of idempotent_reconcile: what it compares of a table, under a plan that is the same for every row';

CREATE FUNCTION idempotent.in_sketch(suspects bytea, VARIADIC key "any") RETURNS boolean
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_in_sketch_wrapper';
COMMENT ON FUNCTION idempotent.in_sketch(bytea, VARIADIC "any") IS
    'part of idempotent_reconcile: whether a row may deviate, by suspects that are the same for every row';
