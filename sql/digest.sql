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

CREATE FUNCTION idempotent.digest_add_columns(state internal, "first" "any", VARIADIC others "any") RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_add_columns_wrapper';
COMMENT ON FUNCTION idempotent.digest_add_columns(internal, "any", VARIADIC "any") IS
    'part of idempotent_digest: adds a row, column by column';

CREATE FUNCTION idempotent.digest_remove_columns(state internal, "first" "any", VARIADIC others "any") RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_remove_columns_wrapper';
COMMENT ON FUNCTION idempotent.digest_remove_columns(internal, "any", VARIADIC "any") IS
    'part of idempotent_digest: takes a row out that leaves a window frame, column by column';

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

-- Whole rows are not pushed down to foreign servers, columns are. With one argument the server could not tell which of the two
-- is meant.
CREATE AGGREGATE idempotent_digest("any", VARIADIC "any") (
    SFUNC        = idempotent.digest_add_columns,
    STYPE        = internal,
    SSPACE       = 2064,
    FINALFUNC    = idempotent.digest_text,
    COMBINEFUNC  = idempotent.digest_combine,
    SERIALFUNC   = idempotent.digest_serialize,
    DESERIALFUNC = idempotent.digest_deserialize,
    MSFUNC       = idempotent.digest_add_columns,
    MINVFUNC     = idempotent.digest_remove_columns,
    MSTYPE       = internal,
    MSSPACE      = 2064,
    MFINALFUNC   = idempotent.digest_text,
    PARALLEL     = SAFE
);
COMMENT ON AGGREGATE idempotent_digest("any", VARIADIC "any") IS
    'a checksum of a set of rows, given column by column, that does not depend on their order';
