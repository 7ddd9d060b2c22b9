-- 0.1.0-dev to 0.1.0. How a step is written, and tested, is in CONTRIBUTING.md.

-- The mark comes first: from here on, sessions with another library are told.
CREATE OR REPLACE FUNCTION idempotent.objects_version() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$SELECT '0.1.0'$$;

-- The two make the same objects otherwise. The first change of what an installation makes stands here.
