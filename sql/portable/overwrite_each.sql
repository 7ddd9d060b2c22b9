-- Every slice that a source holds is replaced. docs/overwrite.md
--
-- Which slices these are is not known before the source is read; and if it were read first, a call that then waits for another one
-- would put older rows in the place of newer ones. So the call takes the turn of the whole table.

-- The columns of the slices, in the order of the table.
CREATE FUNCTION idempotent.check_by(target regclass, own idempotent.source_column[], by text[]) RETURNS smallint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n smallint;
    c idempotent.column_info;
BEGIN
    PERFORM idempotent.require('by', by IS NOT NULL);
    IF cardinality(by) = 0 THEN
        PERFORM idempotent.fail('22023', 'argument "by" must name at least one column',
            hint => format('To replace the whole table, use %s with the slice {}.', idempotent.own_function('idempotent_overwrite')));
    END IF;
    PERFORM idempotent.check_list('by', by);
    FOREACH n IN ARRAY idempotent.numbers_of(target, 'by', by) LOOP
        SELECT * INTO c FROM idempotent.columns_of(target) AS of WHERE of.number = n;
        IF n NOT IN (SELECT o.number FROM unnest(own) AS o) THEN
            PERFORM idempotent.not_in_source(target, c.name, 'by');
        ELSIF c.base = 'json'::regtype OR idempotent.operator_of(c.typid, 1) IS NULL THEN
            PERFORM idempotent.refuse_in_slice(target, c.name, '22023', format('column "%s" cannot be in "by": its type has no order', c.name));
        END IF;
    END LOOP;
    RETURN ARRAY(SELECT of FROM unnest(idempotent.numbers_of(target, 'by', by)) AS of ORDER BY of);
END
$$;
COMMENT ON FUNCTION idempotent.check_by(regclass, idempotent.source_column[], text[]) IS 'refuses columns that make no slices';

-- The statement that divides arrived rows ($2) into slices. Of each it gives one row, all of its rows, and which of its values are
-- NULL.
CREATE FUNCTION idempotent.slices_of(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT format(
            'SELECT ARRAY[(pg_catalog.array_agg("row" ORDER BY n))[1]] AS slice, pg_catalog.array_agg("row" ORDER BY n) AS rows,'
            '       pg_catalog.array_remove(ARRAY[%s]::pg_catalog.int2[], NULL) AS nulls'
            '  FROM (SELECT "row", n, pg_catalog.dense_rank() OVER (ORDER BY %s) AS place'
            '          FROM (SELECT "row", pg_catalog.row_number() OVER () AS n FROM (SELECT pg_catalog.unnest($2) AS "row") AS given) AS numbered) AS divided'
            ' GROUP BY place ORDER BY place',
            string_agg(format('CASE WHEN ((pg_catalog.array_agg("row" ORDER BY n))[1]).%I IS NOT DISTINCT FROM NULL THEN %s END', c.name, c.number), ', ' ORDER BY c.number),
            string_agg(format('("row").%I USING %s', c.name, idempotent.operator_of(c.typid, 1)), ', ' ORDER BY c.number))
          FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued));
END
$$;
COMMENT ON FUNCTION idempotent.slices_of(idempotent.overwrite_plan) IS 'the statement that divides rows into slices';

-- All slices by the rows that arrived. The slice that the call has its turn for is the whole table.
CREATE FUNCTION idempotent.overwrite_all(plan idempotent.overwrite_plan, whole anyarray, given anyarray, marks idempotent.mark[]) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    of_slice record;
    done idempotent.overwritten;
    results jsonb := '[]';
BEGIN
    PERFORM idempotent.check_marks(plan.target, NULL, 'source', marks);
    FOR of_slice IN EXECUTE idempotent.slices_of(plan) USING whole, given LOOP
        results := idempotent.with_slice(results, idempotent.name_slice(plan, of_slice.slice),
                                         idempotent.replace_slice(plan, of_slice.slice, of_slice.rows, of_slice.nulls));
    END LOOP;
    RETURN results;
END
$$;
COMMENT ON FUNCTION idempotent.overwrite_all(idempotent.overwrite_plan, anyarray, anyarray, idempotent.mark[]) IS 'overwrites every slice of a source';

CREATE FUNCTION idempotent.with_slice(results jsonb, slice jsonb, done idempotent.overwritten) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN results || jsonb_build_array(jsonb_build_object('slice', slice, 'deleted', done.deleted, 'inserted', done.inserted, 'unchanged', done.unchanged));
END
$$;
COMMENT ON FUNCTION idempotent.with_slice(jsonb, jsonb, idempotent.overwritten) IS 'results, and one more slice';

-- The object of a slice, which idempotent_overwrite reads as the same slice. Where it would take what JSON has for a value as
-- another one, the field is the value's text.
CREATE FUNCTION idempotent.name_slice(plan idempotent.overwrite_plan, slice anyarray) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    named jsonb;
    texts jsonb;
    others text[];
BEGIN
    EXECUTE idempotent.fields_of(plan) INTO named, texts USING slice;
    IF idempotent.may_be_read_otherwise(plan) THEN
        EXECUTE idempotent.reading_back(plan) INTO others USING slice, named;
        named := idempotent.with_texts(named, texts, others);
        EXECUTE idempotent.reading_back(plan) INTO others USING slice, named;
        PERFORM idempotent.refuse_nameless(plan.target, texts, others);
    END IF;
    RETURN named;
END
$$;
COMMENT ON FUNCTION idempotent.name_slice(idempotent.overwrite_plan, anyarray) IS 'the object of a slice';

CREATE FUNCTION idempotent.fields_of(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT format('SELECT pg_catalog.jsonb_build_object(%s), pg_catalog.jsonb_build_object(%s)',
                      string_agg(format('%L, %s', c.name, idempotent.sliced(c)), ', ' ORDER BY c.number),
                      string_agg(format('%L, %s', c.name, idempotent.shown(idempotent.sliced(c))), ', ' ORDER BY c.number))
          FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued));
END
$$;
COMMENT ON FUNCTION idempotent.fields_of(idempotent.overwrite_plan) IS 'the statement that gives the values of a slice, and their texts';

-- Values of these types are told from each other by JSON, whatever the session's settings are.
CREATE FUNCTION idempotent.may_be_read_otherwise(plan idempotent.overwrite_plan) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued)
                      AND c.base <> ALL ('{bool,int2,int4,int8,numeric,date,timestamp,timestamptz,uuid,text,varchar,bpchar}'::regtype[]::oid[]));
END
$$;
COMMENT ON FUNCTION idempotent.may_be_read_otherwise(idempotent.overwrite_plan) IS 'whether the values of slices have to be read to see that JSON has them';

-- The statement that reads an object ($2) as a slice, and gives the columns in which that is another one.
CREATE FUNCTION idempotent.reading_back(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT format('SELECT pg_catalog.array_remove(ARRAY[%s]::pg_catalog.text[], NULL) FROM (%s) AS read',
                      string_agg(format('CASE WHEN NOT %s THEN %L END', idempotent.agreement(c, format('read.%I', c.name), idempotent.sliced(c)), c.name), ', ' ORDER BY c.number),
                      idempotent.reading_of(plan.target, plan.valued, '$2'))
          FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued));
END
$$;
COMMENT ON FUNCTION idempotent.reading_back(idempotent.overwrite_plan) IS 'the statement that tells what JSON does not have';

CREATE FUNCTION idempotent.with_texts(named jsonb, texts jsonb, others text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN named || coalesce((SELECT jsonb_object_agg(name, texts -> name) FROM unnest(others) AS name), '{}');
END
$$;
COMMENT ON FUNCTION idempotent.with_texts(jsonb, jsonb, text[]) IS 'an object with texts in the place of some values';

-- 0A000 for a value that is read from neither.
CREATE FUNCTION idempotent.refuse_nameless(target regclass, texts jsonb, others text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shown text := CASE WHEN current_setting('pg_idempotent.show_values', true) IN ('off', 'false', 'no', '0') THEN ''
                       ELSE ' ' || coalesce(idempotent.cut(texts ->> others[1]), 'null') END;
BEGIN
    IF others[1] IS NOT NULL THEN
        PERFORM idempotent.fail('0A000', format('column "%s" has a value that "slice" cannot name', others[1]),
            format('In JSON, the value%s would be read as another one.', coalesce(shown, '')),
            'Leave the column out of "by", or write another value in the source.', target, others[1]);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.refuse_nameless(regclass, jsonb, text[]) IS 'refuses a value that no slice names';

-- Takes the turn of the whole table, and reads the source then.
CREATE FUNCTION idempotent.overwrite_slices(plan idempotent.overwrite_plan, whole anyarray, by smallint[]) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    result record;
BEGIN
    EXECUTE idempotent.turn_of(plan) USING whole, plan;
    plan.valued := by;
    EXECUTE idempotent.arrival_of(plan, 'overwrite_all') INTO result USING whole, plan;
    RETURN result.done;
END
$$;
COMMENT ON FUNCTION idempotent.overwrite_slices(idempotent.overwrite_plan, anyarray, smallint[]) IS 'waits for the turn of a table, and overwrites its slices';

CREATE FUNCTION idempotent_overwrite_each(
    target    regclass,
    source    regclass,
    by        text[],
    OUT slice     jsonb,
    OUT deleted   bigint,
    OUT inserted  bigint,
    OUT unchanged boolean
) RETURNS SETOF record
LANGUAGE plpgsql ROWS 100
AS $$
DECLARE
    own idempotent.source_column[];
    numbers smallint[];
    plan idempotent.overwrite_plan;
    results jsonb;
BEGIN
    PERFORM idempotent.check_overwrite(target);
    PERFORM idempotent.check_source(source);
    own := ARRAY(SELECT c FROM idempotent.columns_of_source(target, source) AS c);
    numbers := idempotent.check_by(target, own, by);
    plan := idempotent.plan_overwrite(target, source, own, numbers);
    plan.valued := '{}';
    plan.lower := '{}';
    plan.upper := '{}';
    EXECUTE pg_catalog.format('SELECT idempotent.overwrite_slices($1, ARRAY[NULL::%s], $2)', idempotent.qualified(target)) INTO results USING plan, numbers;
    RETURN QUERY SELECT r.slice, r.deleted, r.inserted, r.unchanged
                   FROM pg_catalog.jsonb_to_recordset(results) AS r (slice jsonb, deleted bigint, inserted bigint, unchanged boolean);
END
$$;
COMMENT ON FUNCTION idempotent_overwrite_each(regclass, regclass, text[]) IS
    'replaces each slice that the source holds, by the values of these columns; equal slices are not rewritten';
