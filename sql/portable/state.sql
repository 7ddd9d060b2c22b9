-- The portable edition of pg_idempotent: the contract in SQL and PL/pgSQL alone. docs/managed.md says how to install
-- this file, and what is different here.
--
-- The functions that people call go to the schema that comes first in the search_path; everything else is in schema
-- idempotent. All of it belongs to the role that installs it, which need not be a superuser, and every function runs
-- with the rights of its caller.
--
-- Two rules keep the code of others out:
-- - A function that only thinks has a search_path of its own, so that its names and operators are the server's.
-- - A function that runs statements on a user's table keeps the search_path of its caller, because triggers, defaults and
--   commands of the user's run in it. It qualifies every name and operator. The statements are texts, made by functions
--   of the first kind.

CREATE SCHEMA idempotent;
COMMENT ON SCHEMA idempotent IS 'pg_idempotent, portable edition: state, views, and the functions behind those that people call';

-- Where idempotent_insert and the others are.
DO $schema$
BEGIN
    EXECUTE pg_catalog.format(
        'CREATE FUNCTION idempotent.home() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN %L', pg_catalog.current_schema());
END
$schema$;
COMMENT ON FUNCTION idempotent.home() IS 'the schema of the functions that people call';

-- How a HINT names one of them. In public nearly every session finds it without the schema.
CREATE FUNCTION idempotent.own_function(name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE idempotent.home() WHEN 'public' THEN name ELSE format('%I.%I', idempotent.home(), name) END
$$;
COMMENT ON FUNCTION idempotent.own_function(text) IS 'the name of a function that people call, for hints';

CREATE FUNCTION idempotent.own_role() RETURNS regrole
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT oid FROM pg_roles WHERE rolname = current_user);
END
$$;
COMMENT ON FUNCTION idempotent.own_role() IS 'the current user; for the rows of state';
