-- A checksum of a set of rows. See docs/digest.md.

CREATE FUNCTION idempotent_digest_add(state internal, line record) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_add_wrapper';
COMMENT ON FUNCTION idempotent_digest_add(internal, record) IS 'part of idempotent_digest: adds a row';

CREATE FUNCTION idempotent_digest_remove(state internal, line record) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_remove_wrapper';
COMMENT ON FUNCTION idempotent_digest_remove(internal, record) IS
    'part of idempotent_digest: takes a row out that leaves a window frame';

CREATE FUNCTION idempotent_digest_combine(state internal, other internal) RETURNS internal
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_combine_wrapper';
COMMENT ON FUNCTION idempotent_digest_combine(internal, internal) IS
    'part of idempotent_digest: adds the rows of another process';

CREATE FUNCTION idempotent_digest_serialize(state internal) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_serialize_wrapper';
COMMENT ON FUNCTION idempotent_digest_serialize(internal) IS
    'part of idempotent_digest: its state, for another process';

CREATE FUNCTION idempotent_digest_deserialize(bytes bytea, unused internal) RETURNS internal
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_deserialize_wrapper';
COMMENT ON FUNCTION idempotent_digest_deserialize(bytea, internal) IS
    'part of idempotent_digest: its state, from another process';

CREATE FUNCTION idempotent_digest_text(state internal) RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idempotent_digest_text_wrapper';
COMMENT ON FUNCTION idempotent_digest_text(internal) IS 'part of idempotent_digest: the digest';

CREATE AGGREGATE idempotent_digest(record) (
    SFUNC        = idempotent_digest_add,
    STYPE        = internal,
    SSPACE       = 64,
    FINALFUNC    = idempotent_digest_text,
    COMBINEFUNC  = idempotent_digest_combine,
    SERIALFUNC   = idempotent_digest_serialize,
    DESERIALFUNC = idempotent_digest_deserialize,
    MSFUNC       = idempotent_digest_add,
    MINVFUNC     = idempotent_digest_remove,
    MSTYPE       = internal,
    MSSPACE      = 64,
    MFINALFUNC   = idempotent_digest_text,
    PARALLEL     = SAFE
);
COMMENT ON AGGREGATE idempotent_digest(record) IS
    'a checksum of a set of rows that does not depend on their order';
