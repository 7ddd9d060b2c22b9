-- Errors of our own, with the fields that a driver can show. docs/errors.md lists them.

CREATE TYPE idempotent.error_fields AS (
    state text, message text, detail text, hint text, in_schema text, in_table text, in_column text, in_constraint text, datatype text
);
COMMENT ON TYPE idempotent.error_fields IS 'the fields of an error';

-- RAISE has no way to leave an option out.
CREATE FUNCTION idempotent.raise_error(e idempotent.error_fields) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    e := ROW(e.state, e.message, nullif(e.detail, ''), nullif(e.hint, ''), coalesce(e.in_schema, ''), coalesce(e.in_table, ''), coalesce(e.in_column, ''),
             coalesce(e.in_constraint, ''), coalesce(e.datatype, ''));
    IF e.detail IS NULL AND e.hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = e.state, MESSAGE = e.message,
            SCHEMA = e.in_schema, TABLE = e.in_table, COLUMN = e.in_column, CONSTRAINT = e.in_constraint, DATATYPE = e.datatype;
    ELSIF e.detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = e.state, MESSAGE = e.message, HINT = e.hint,
            SCHEMA = e.in_schema, TABLE = e.in_table, COLUMN = e.in_column, CONSTRAINT = e.in_constraint, DATATYPE = e.datatype;
    ELSIF e.hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = e.state, MESSAGE = e.message, DETAIL = e.detail,
            SCHEMA = e.in_schema, TABLE = e.in_table, COLUMN = e.in_column, CONSTRAINT = e.in_constraint, DATATYPE = e.datatype;
    ELSE
        RAISE EXCEPTION USING ERRCODE = e.state, MESSAGE = e.message, DETAIL = e.detail, HINT = e.hint,
            SCHEMA = e.in_schema, TABLE = e.in_table, COLUMN = e.in_column, CONSTRAINT = e.in_constraint, DATATYPE = e.datatype;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.raise_error(idempotent.error_fields) IS 'raises an error with all its fields';

CREATE FUNCTION idempotent.fail(
    sqlstate text, message text, detail text DEFAULT NULL, hint text DEFAULT NULL,
    target regclass DEFAULT NULL, "column" text DEFAULT '', "constraint" text DEFAULT ''
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    in_schema text;
    in_table text;
BEGIN
    SELECT nspname, relname INTO in_schema, in_table
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = target;
    PERFORM idempotent.raise_error(ROW(sqlstate, message, detail, hint, in_schema, in_table, "column", "constraint", NULL));
END
$$;
COMMENT ON FUNCTION idempotent.fail(text, text, text, text, regclass, text, text) IS 'raises an error of our own';

-- The longest beginning of a text that has at most so many bytes, with dots if there is more of it.
CREATE FUNCTION idempotent.cut(value text, bytes int DEFAULT 64) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT CASE WHEN octet_length(value) <= bytes THEN value
                ELSE (SELECT left(value, n) FROM generate_series(bytes, 0, -1) AS n WHERE octet_length(left(value, n)) <= bytes LIMIT 1)
                     || CASE getdatabaseencoding() WHEN 'UTF8' THEN '…' ELSE '...' END
           END);
END
$$;
COMMENT ON FUNCTION idempotent.cut(text, int) IS 'a text for an error, cut where it is long';

-- The words of an option: NULL is 22004, and any other value than those allowed 22023.
CREATE FUNCTION idempotent.check_option(name text, value text, allowed text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.require(name, value IS NOT NULL);
    IF value <> ALL (allowed) THEN
        PERFORM idempotent.fail('22023', format('unrecognized value for argument "%s": "%s"', name, idempotent.cut(value)),
            hint => format('Available values: %s.', array_to_string(allowed, ', ')));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_option(text, text, text[]) IS 'refuses a value that an option does not have';

CREATE FUNCTION idempotent.require(name text, given boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT given THEN
        PERFORM idempotent.fail('22004', format('argument "%s" must not be null', name));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.require(text, boolean) IS 'refuses an argument that is NULL';

-- A list of columns: no NULL, no column twice, not empty.
CREATE FUNCTION idempotent.check_list(name text, list text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    IF list IS NULL THEN
        RETURN;
    END IF;
    -- The first member that is wrong.
    SELECT member INTO bad
      FROM (SELECT member, n, row_number() OVER (PARTITION BY member ORDER BY n) AS times FROM unnest(list) WITH ORDINALITY AS l (member, n)) AS numbered
     WHERE member IS NULL OR times > 1 ORDER BY n LIMIT 1;
    IF FOUND AND bad.member IS NULL THEN
        PERFORM idempotent.fail('22004', format('argument "%s" must not contain nulls', name));
    ELSIF FOUND THEN
        PERFORM idempotent.fail('42701', format('column "%s" appears more than once in "%s"', idempotent.cut(bad.member), name));
    END IF;
    IF cardinality(list) = 0 THEN
        PERFORM idempotent.fail('22023', format('argument "%s" must name at least one column', name),
            hint => 'Pass NULL, or leave the argument out, for the default.');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_list(text, text[]) IS 'refuses a list of columns that is none';

-- The literal of an array of names, for SQL in hints: `{a,"b c"}`.
CREATE FUNCTION idempotent.array_text(names text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
    SELECT '{' || string_agg(CASE WHEN name ~ '^\w+$' AND lower(name) <> 'null' THEN name
                                  ELSE '"' || replace(replace(name, '\', '\\'), '"', '\"') || '"' END, ',' ORDER BY n) || '}'
      FROM unnest(names) WITH ORDINALITY AS l (name, n));
END
$$;
COMMENT ON FUNCTION idempotent.array_text(text[]) IS 'names as the literal of an array';
