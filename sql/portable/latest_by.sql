-- What decides which of two rows is the later: the elements of `latest_by`. docs/merge.md

-- A column of the target, which the source has by the same name or as `field`; or a column that only the source has, then
-- without a number.
CREATE TYPE idempotent.decider AS (number smallint, field text);
COMMENT ON TYPE idempotent.decider IS 'an element of latest_by';

-- `fields` are the columns of the source. Payloads have whatever they need to, then it is NULL.
CREATE FUNCTION idempotent.deciders_of(target regclass, latest_by text[], fields text[]) RETURNS idempotent.decider[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deciders idempotent.decider[] := ARRAY(SELECT idempotent.decider_of(target, e, fields) FROM unnest(latest_by) WITH ORDINALITY AS l (e, n) ORDER BY n);
    twice smallint;
BEGIN
    SELECT number INTO twice FROM unnest(deciders) WITH ORDINALITY AS d WHERE number IS NOT NULL GROUP BY number HAVING count(*) > 1 ORDER BY min(ordinality) LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('42701', format('column "%s" appears more than once in "latest_by"', idempotent.column_name(target, twice)));
    END IF;
    RETURN deciders;
END
$$;
COMMENT ON FUNCTION idempotent.deciders_of(regclass, text[], text[]) IS 'the elements of latest_by';

CREATE FUNCTION idempotent.decider_of(target regclass, element text, fields text[]) RETURNS idempotent.decider
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    between int := position(' stored as ' IN lower(element));
    field text := trim(left(element, between - 1));
    name text := trim(substr(element, between + 11));
BEGIN
    IF idempotent.column_number(target, element) IS NOT NULL THEN
        RETURN ROW(idempotent.column_number(target, element), NULL)::idempotent.decider;
    ELSIF (CASE WHEN fields IS NULL THEN between = 0 ELSE element = ANY (fields) END) THEN
        RETURN ROW(NULL, element)::idempotent.decider;
    ELSIF between = 0 THEN
        PERFORM idempotent.no_such_column(target, element, E'It is named in "latest_by".\nThe source has no column of that name, either.');
    ELSIF idempotent.column_number(target, name) IS NULL THEN
        PERFORM idempotent.no_such_column(target, name, 'It is named in "latest_by".');
    ELSIF field <> ALL (fields) THEN
        PERFORM idempotent.not_in_source(target, field, 'latest_by');
    END IF;
    RETURN ROW(idempotent.column_number(target, name), field)::idempotent.decider;
END
$$;
COMMENT ON FUNCTION idempotent.decider_of(regclass, text, text[]) IS 'an element of latest_by';

-- 42703 for a column of an option that the source lacks.
CREATE FUNCTION idempotent.not_in_source(target regclass, name text, option text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('42703', format('column "%s" of "%s" is not in the source', name, option), target => target, "column" => name);
END
$$;
COMMENT ON FUNCTION idempotent.not_in_source(regclass, text, text) IS 'refuses a column that the source lacks';
