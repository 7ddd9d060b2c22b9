-- Working rows: rows on their way to a target, each as a value of the target's row type. Merge and overwrite hold all
-- rows of a call so, in an array, and hand it to each of their statements; no value goes through JSON. With each row goes
-- a mark, which says what is known of it.
--
-- An array of a table's row type is a value of no type that can be named here. The functions that take one are
-- polymorphic (anyarray), and are called by statements that have made it.

CREATE TYPE idempotent.mark AS (
    -- The number of the row among those that arrived.
    ordinal   bigint,
    -- Its place in the order of keys.
    place     bigint,
    -- Whether it deletes the stored row.
    deletes   boolean,
    -- The columns that it names, a bit each, in the order of the table.
    named     bit varying,
    -- Whether it is inside of the condition of the key; the first part of the key that is NULL and must not be.
    has_key   boolean,
    null_part int,
    -- A generated column in which it has another value than the server computes.
    wrong     text,
    -- Of what decides between rows and is not stored: the place of its value among those of the other rows.
    unstored  bigint[],
    -- In which pass it is merged.
    pass      bigint,
    -- Where the stored row was seen that it is to replace.
    seen      text
);
COMMENT ON TYPE idempotent.mark IS 'what is known of a working row';

-- SQL that assigns a value to a column as INSERT … SELECT does: a text that is too long is an error, where a cast would
-- cut it. The types with such a cast have a function for their length that is told which of the two it is.
CREATE FUNCTION idempotent.assigned(target regclass, number smallint, value text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    a pg_attribute;
    base oid;
    member oid;
    modifier int;
    length_function text;
BEGIN
    SELECT * INTO a FROM pg_attribute WHERE attrelid = target AND attnum = number;
    WITH RECURSIVE chain AS (
        SELECT t.oid, t.typtype, t.typbasetype, a.atttypmod AS modifier, t.typtypmod, 1 AS step FROM pg_type AS t WHERE t.oid = a.atttypid
        UNION ALL
        SELECT t.oid, t.typtype, t.typbasetype, greatest(chain.modifier, chain.typtypmod), t.typtypmod, step + 1
          FROM chain JOIN pg_type AS t ON t.oid = chain.typbasetype WHERE chain.typtype = 'd')
    SELECT chain.oid, chain.modifier INTO base, modifier FROM chain ORDER BY step DESC LIMIT 1;
    member := (SELECT typelem FROM pg_type WHERE oid = base AND typcategory = 'A');
    SELECT format('%I.%I', n.nspname, f.proname) INTO length_function
      FROM pg_cast AS c JOIN pg_proc AS f ON f.oid = c.castfunc JOIN pg_namespace AS n ON n.oid = f.pronamespace
     WHERE c.castsource = coalesce(member, base) AND c.casttarget = c.castsource AND f.pronargs = 3 AND modifier >= 0;
    IF FOUND AND member IS NULL THEN
        value := format('%s(CAST(%s AS %s), %s, false)', length_function, value, format_type(base, -1), modifier);
    ELSIF FOUND THEN
        -- The members go through the input function of their type.
        value := format('(SELECT one.value FROM pg_catalog.jsonb_to_record(pg_catalog.jsonb_build_object(''value'', CAST(%s AS %s))) AS one (value %s))',
            value, format_type(base, -1), format_type(base, modifier));
    END IF;
    RETURN format('CAST(%s AS %s)', value, format_type(a.atttypid, a.atttypmod));
END
$$;
COMMENT ON FUNCTION idempotent.assigned(regclass, smallint, text) IS 'SQL that assigns a value to a column';

-- SQL for a row of the target, of values for some of its columns. The others are NULL, and not even a domain objects.
CREATE FUNCTION idempotent.working_row(target regclass, numbers smallint[], vals text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT format('ROW(%s)::%s', string_agg(coalesce(vals[array_position(numbers, c.attnum)], idempotent.null_of(target, c.attname)), ', ' ORDER BY c.attnum),
                      idempotent.qualified(target))
          FROM pg_attribute AS c WHERE c.attrelid = target AND c.attnum > 0 AND NOT c.attisdropped);
END
$$;
COMMENT ON FUNCTION idempotent.working_row(regclass, smallint[], text[]) IS 'SQL that makes a working row';

CREATE FUNCTION idempotent.null_of(target regclass, name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('(NULL::%s).%I', idempotent.qualified(target), name);
END
$$;
COMMENT ON FUNCTION idempotent.null_of(regclass, text) IS 'SQL for a NULL of the type of a column';

-- The columns that generated ones among these are computed from.
CREATE FUNCTION idempotent.computed_from(target regclass, named smallint[]) RETURNS SETOF smallint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT used
      FROM pg_attribute AS g JOIN pg_attrdef AS d ON d.adrelid = g.attrelid AND d.adnum = g.attnum
     CROSS JOIN LATERAL idempotent.columns_in(target, d.adbin) AS used
     WHERE g.attrelid = target AND g.attgenerated <> '' AND g.attnum = ANY (named) AND used <> g.attnum
$$;
COMMENT ON FUNCTION idempotent.computed_from(regclass, smallint[]) IS 'the columns that generated columns are computed from';

-- The columns that rows leave out, and that their key, or a generated column that they name, is computed from, as far as a
-- default tells them alike in every attempt.
CREATE FUNCTION idempotent.completed(target regclass, deciding smallint[], named smallint[], OUT numbers smallint[], OUT vals text[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(c.number ORDER BY c.number), '{}'),
           coalesce(array_agg(format('CAST(%s AS %s)', c.filled_by, split_part(c.type, ' COLLATE ', 1)) ORDER BY c.number), '{}')
      FROM idempotent.columns_of(target) AS c
     WHERE c.number <> ALL (named) AND idempotent.repeats(c)
       AND (c.number = ANY (deciding) OR c.number IN (SELECT idempotent.computed_from(target, named)))
$$;
COMMENT ON FUNCTION idempotent.completed(regclass, smallint[], smallint[]) IS 'the defaults that complete a row';

-- SQL for the name of a generated column in which a row has another value than the server computes, with the columns of
-- the row in scope under the name of the table.
CREATE FUNCTION idempotent.wrong_column(target regclass, named smallint[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((
        SELECT 'CASE ' || string_agg(format('WHEN NOT %s THEN %L', idempotent.agreement(c, format('%I.%I', idempotent.name_of(target), c.name),
                   format('CAST(%s AS %s)', c.filled_by, split_part(c.type, ' COLLATE ', 1))), c.name), ' ' ORDER BY c.number) || ' END'
          FROM idempotent.columns_of(target) AS c WHERE c.generated <> '' AND c.number = ANY (named)
        HAVING count(*) > 0), 'NULL');
END
$$;
COMMENT ON FUNCTION idempotent.wrong_column(regclass, smallint[]) IS 'SQL for a generated column whose value is wrong';

-- SQL for the rows of a source, with their ordinals. `vals` are SQL for the columns `numbers`, of a row of the source that is
-- named «idempotent source»; `others` are more columns of the result.
CREATE FUNCTION idempotent.numbered_source(source regclass, others text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('SELECT %s FROM (SELECT pg_catalog.row_number() OVER () AS "idempotent ordinal", own.* FROM %s AS own) AS "idempotent source"',
        others, idempotent.qualified(source));
END
$$;
COMMENT ON FUNCTION idempotent.numbered_source(regclass, text) IS 'SQL for the rows of a source, in their order';

-- The columns of a source as SQL for the columns of the target.
CREATE FUNCTION idempotent.source_values(target regclass, own idempotent.source_column[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT idempotent.assigned(target, o.number, format('"idempotent source".%I', o.name)) FROM unnest(own) WITH ORDINALITY AS o ORDER BY o.ordinality);
END
$$;
COMMENT ON FUNCTION idempotent.source_values(regclass, idempotent.source_column[]) IS 'SQL for the columns of a target, from a source';

-- Columns as bits, in the order of the table.
CREATE FUNCTION idempotent.bits_of(columns idempotent.column_info[], numbers smallint[]) RETURNS bit varying
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT string_agg(CASE WHEN c.number = ANY (numbers) THEN '1' ELSE '0' END, '' ORDER BY c.number) FROM unnest(columns) AS c)::bit varying;
END
$$;
COMMENT ON FUNCTION idempotent.bits_of(idempotent.column_info[], smallint[]) IS 'columns as bits';

CREATE FUNCTION idempotent.numbers_in(columns idempotent.column_info[], bits bit varying) RETURNS smallint[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT c.number FROM unnest(columns) WITH ORDINALITY AS c WHERE get_bit(bits, (c.ordinality - 1)::int) = 1 ORDER BY c.number);
END
$$;
COMMENT ON FUNCTION idempotent.numbers_in(idempotent.column_info[], bit varying) IS 'the columns of which the bits are set';

-- The server's words where a statement must not write. A statement that gives back what it has inserted would be called a
-- SELECT.
CREATE FUNCTION idempotent.refuse_read_only(target regclass, command text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_read_only')::boolean AND (SELECT relpersistence <> 't' FROM pg_class WHERE oid = target) THEN
        PERFORM idempotent.fail('25006', format('cannot execute %s in a read-only transaction', command));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.refuse_read_only(regclass, text) IS 'refuses to write in a READ ONLY transaction';
