-- The mark: in which version what CREATE EXTENSION makes has changed last. The library compares it with the one that it was
-- made for (src/version.rs). A step of an upgrade that changes objects sets it first of all; one that changes none leaves
-- it alone, and needs no update to go on.
CREATE FUNCTION idempotent.objects_version() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$SELECT '0.1.0'$$;
COMMENT ON FUNCTION idempotent.objects_version() IS
    'the version of the extension in which its objects changed last';
