-- Overwrite: one slice of a table is replaced by the rows of a source. What each function promises is in docs/overwrite.md.
--
-- A call takes its turn first (turns.sql), and reads the source and the slice then: so the second of two overwrites of one slice
-- finds what the first has left, and replaces all of it. The two are compared as multisets of rows, by the images of their
-- values; if they are equal, nothing is written. Else the slice is deleted, and the rows are inserted.
--
-- Plain writers do not take turns. A row that one inserts into the slice meanwhile stays, as after any DELETE. At REPEATABLE READ and
-- above, the snapshot may be older than the turn, and what it cannot see would stay beside the new rows: there a slice is not
-- replaced.

CREATE TYPE idempotent.overwrite_plan AS (
    target   regclass,
    columns  idempotent.column_info[],
    source   regclass,
    own      idempotent.source_column[],
    -- The columns that the source has; of these those that are compared.
    named    smallint[],
    compared smallint[],
    -- The columns of which the slice names the value, and those of which it names a lower or an upper bound.
    valued   smallint[],
    lower    smallint[],
    upper    smallint[]
);
COMMENT ON TYPE idempotent.overwrite_plan IS 'what is overwritten';

CREATE TYPE idempotent.overwritten AS (deleted bigint, inserted bigint, unchanged boolean);
COMMENT ON TYPE idempotent.overwritten IS 'what became of a slice';

CREATE FUNCTION idempotent.check_overwrite(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.check_target(target);
    IF EXISTS (SELECT FROM pg_rewrite WHERE ev_class = target AND ev_type = '4' AND ev_enabled <> 'D') THEN
        PERFORM idempotent.fail('0A000', format('cannot overwrite rows of table "%s"', idempotent.name_of(target)),
            'The table has a rule on DELETE.', 'Replace the rule with a trigger.', target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_overwrite(regclass) IS 'refuses a table that cannot be overwritten';

-- Generated columns follow from others, unless these are none of the source's; and what source and target both draw by
-- themselves differs in equal rows. Neither is compared, but for what names the slice.
CREATE FUNCTION idempotent.plan_overwrite(target regclass, source regclass, own idempotent.source_column[], slice smallint[]) RETURNS idempotent.overwrite_plan
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan idempotent.overwrite_plan;
    drawn_by_both smallint[] := idempotent.surrogates(target, own, '{}');
BEGIN
    plan.target := target;
    plan.columns := ARRAY(SELECT c FROM idempotent.columns_of(target) AS c);
    plan.source := source;
    plan.own := own;
    plan.named := ARRAY(SELECT o.number FROM unnest(own) AS o);
    PERFORM idempotent.check_rights(target, plan.named, plan.named);
    IF NOT has_table_privilege(target, 'DELETE') THEN
        PERFORM idempotent.fail('42501', format('permission denied for table %s', idempotent.name_of(target)));
    END IF;
    PERFORM idempotent.check_generated(target, plan.named);
    plan.compared := ARRAY(
        SELECT c.number FROM unnest(plan.columns) AS c
         WHERE c.number = ANY (plan.named) AND (c.number <> ALL (drawn_by_both) OR c.number = ANY (slice))
           AND (c.generated = '' OR EXISTS (SELECT FROM idempotent.computed_from(target, ARRAY[c.number]) AS used WHERE used <> ALL (plan.named)))
         ORDER BY c.number);
    RETURN plan;
END
$$;
COMMENT ON FUNCTION idempotent.plan_overwrite(regclass, regclass, idempotent.source_column[], smallint[]) IS 'what is overwritten';

-- The slice -----------------------------------------------------------------------------------------------------------

-- Whether an object is a value of a column, and no range.
CREATE FUNCTION idempotent.takes_objects(c idempotent.column_info) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN c.base IN ('json'::regtype, 'jsonb'::regtype) OR (SELECT typtype = 'c' FROM pg_type WHERE oid = c.base)
        OR EXISTS (SELECT FROM pg_cast WHERE castsource = c.base AND casttarget = 'json'::regtype AND castmethod = 'f');
END
$$;
COMMENT ON FUNCTION idempotent.takes_objects(idempotent.column_info) IS 'whether the values of a column may be JSON objects';

CREATE FUNCTION idempotent.refuse_in_slice(target regclass, name text, state text, message text, hint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail(state, message, hint => hint, target => target, "column" => name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_in_slice(regclass, text, text, text, text) IS 'refuses what is said of a column in a slice';

-- What is replaced is never another slice than the one that is named: an integer column has no row at 1.5, though an INSERT of
-- that would be rounded.
CREATE FUNCTION idempotent.refuse_rounded(target regclass, c idempotent.column_info, value jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF c.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype) AND jsonb_typeof(value) = 'number'
       AND value::numeric <> trunc(value::numeric) THEN
        PERFORM idempotent.refuse_in_slice(target, c.name, '22P02', format('invalid input syntax for type %s: "%s"', format_type(c.base, NULL), value::text));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.refuse_rounded(regclass, idempotent.column_info, jsonb) IS 'refuses a number that would be rounded';

CREATE FUNCTION idempotent.check_range(target regclass, c idempotent.column_info, bounds jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known CONSTANT text := 'A range has the bounds "from" and "to", or one of them.';
    bound record;
BEGIN
    IF idempotent.operator_of(c.typid, 1) IS NULL THEN
        PERFORM idempotent.refuse_in_slice(target, c.name, '22023', format('column "%s" cannot have a range in "slice": its type has no order', c.name));
    ELSIF bounds = '{}' THEN
        PERFORM idempotent.refuse_in_slice(target, c.name, '22023', format('range of column "%s" in "slice" has no bound', c.name), known);
    END IF;
    FOR bound IN SELECT key, value FROM jsonb_each(bounds) LOOP
        IF bound.key NOT IN ('from', 'to') THEN
            PERFORM idempotent.refuse_in_slice(target, c.name, '22023',
                format('unrecognized bound "%s" of column "%s" in "slice"', idempotent.cut(bound.key), c.name), known);
        ELSIF bound.value = 'null' THEN
            PERFORM idempotent.refuse_in_slice(target, c.name, '22004', format('bound "%s" of column "%s" in "slice" must not be null', bound.key, c.name),
                'Leave a bound out where the range has none.');
        END IF;
        PERFORM idempotent.refuse_rounded(target, c, bound.value);
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.check_range(regclass, idempotent.column_info, jsonb) IS 'refuses a range that is none';

-- The values and lower bounds of a slice as one document, and the upper bounds as another.
CREATE FUNCTION idempotent.parse_slice(target regclass, own idempotent.source_column[], slice jsonb, OUT vals jsonb, OUT ends jsonb, OUT valued smallint[], OUT lower smallint[], OUT upper smallint[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    field record;
    c idempotent.column_info;
BEGIN
    PERFORM idempotent.require('slice', slice IS NOT NULL);
    IF jsonb_typeof(slice) <> 'object' THEN
        PERFORM idempotent.fail('22023', 'argument "slice" must be a JSON object', hint => 'For example: {"day": "2013-01-31"}.');
    END IF;
    PERFORM idempotent.numbers_of(target, 'slice', ARRAY(SELECT jsonb_object_keys(slice)));
    SELECT '{}', '{}', '{}', '{}', '{}' INTO vals, ends, valued, lower, upper;
    FOR field IN SELECT key, value FROM jsonb_each(slice) LOOP
        SELECT * INTO c FROM idempotent.columns_of(target) AS of WHERE of.name = field.key;
        IF c.number NOT IN (SELECT number FROM unnest(own)) THEN
            PERFORM idempotent.not_in_source(target, c.name, 'slice');
        ELSIF jsonb_typeof(field.value) = 'object' AND NOT idempotent.takes_objects(c) THEN
            PERFORM idempotent.check_range(target, c, field.value);
            vals := vals || coalesce(jsonb_build_object(field.key, field.value -> 'from') - CASE WHEN field.value ? 'from' THEN '' ELSE field.key END, '{}');
            ends := ends || coalesce(jsonb_build_object(field.key, field.value -> 'to') - CASE WHEN field.value ? 'to' THEN '' ELSE field.key END, '{}');
            lower := lower || CASE WHEN field.value ? 'from' THEN ARRAY[c.number] ELSE '{}' END;
            upper := upper || CASE WHEN field.value ? 'to' THEN ARRAY[c.number] ELSE '{}' END;
        ELSE
            IF c.base = 'json'::regtype OR idempotent.equality(c.typid) IS NULL THEN
                PERFORM idempotent.refuse_in_slice(target, c.name, '22023', format('column "%s" cannot be in "slice": its type has no equality', c.name));
            END IF;
            PERFORM idempotent.refuse_rounded(target, c, field.value);
            vals := vals || jsonb_build_object(field.key, field.value);
            valued := valued || c.number;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.parse_slice(regclass, idempotent.source_column[], jsonb) IS 'what a slice names';

-- SQL for a working row of a document.
CREATE FUNCTION idempotent.slice_row(target regclass, numbers smallint[], document text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('(SELECT %s FROM (%s) AS read)',
        idempotent.working_row(target, numbers, ARRAY(SELECT format('read.%I', idempotent.column_name(target, n)) FROM unnest(numbers) WITH ORDINALITY AS u (n, place) ORDER BY place)),
        idempotent.reading_of(target, numbers, document));
END
$$;
COMMENT ON FUNCTION idempotent.slice_row(regclass, smallint[], text) IS 'SQL for the values of a slice';

-- SQL for a value of the slice; $1 are its values and lower bounds, and its upper bounds, as working rows.
CREATE FUNCTION idempotent.sliced(c idempotent.column_info, which int DEFAULT 1) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('($1[%s]).%I', which, c.name);
END
$$;
COMMENT ON FUNCTION idempotent.sliced(idempotent.column_info, int) IS 'SQL for a value of a slice';

-- SQL that a stored row of the slice meets. `nulls` are the columns of which it names the value NULL.
CREATE FUNCTION idempotent.slice_condition(plan idempotent.overwrite_plan, nulls smallint[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((
        SELECT string_agg(concat_ws(' AND ',
                   CASE WHEN c.number = ANY (nulls) THEN format('%I IS NOT DISTINCT FROM NULL', c.name)
                        WHEN c.number = ANY (plan.valued) THEN format('%I %s %s', c.name, idempotent.equality(c.typid), idempotent.sliced(c)) END,
                   CASE WHEN c.number = ANY (plan.lower) THEN format('%I %s %s', c.name, idempotent.operator_of(c.typid, 4), idempotent.sliced(c)) END,
                   CASE WHEN c.number = ANY (plan.upper) THEN format('%I %s %s', c.name, idempotent.operator_of(c.typid, 1), idempotent.sliced(c, 2)) END), ' AND ' ORDER BY c.number)
          FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued || plan.lower || plan.upper)), 'true');
END
$$;
COMMENT ON FUNCTION idempotent.slice_condition(idempotent.overwrite_plan, smallint[]) IS 'SQL that the rows of a slice meet';

-- SQL for the name of the first column of the slice in which an arrived row, `arrived`, is outside of it.
CREATE FUNCTION idempotent.outside_of(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((
        SELECT 'CASE ' || string_agg(format('WHEN (%s) IS NOT TRUE THEN %L', concat_ws(' AND ',
                   CASE WHEN c.number = ANY (plan.valued) THEN idempotent.agreement(c, v.value, idempotent.sliced(c)) END,
                   CASE WHEN c.number = ANY (plan.lower) THEN format('%s %s %s', v.value, idempotent.operator_of(c.typid, 4), idempotent.sliced(c)) END,
                   CASE WHEN c.number = ANY (plan.upper) THEN format('%s %s %s', v.value, idempotent.operator_of(c.typid, 1), idempotent.sliced(c, 2)) END), c.name), ' ' ORDER BY c.number) || ' END'
          FROM unnest(plan.columns) AS c CROSS JOIN LATERAL (SELECT format('(arrived."row").%I', c.name) AS value) AS v
         WHERE c.number = ANY (plan.valued || plan.lower || plan.upper) HAVING count(*) > 0), 'NULL::pg_catalog.text');
END
$$;
COMMENT ON FUNCTION idempotent.outside_of(idempotent.overwrite_plan) IS 'SQL for the column in which a row is outside of a slice';

-- The turn ------------------------------------------------------------------------------------------------------------

-- SQL for the hash of the values of a slice, without those of one column; and of columns whose types have no hash, so that slices
-- which differ in these alone take turns, too.
CREATE FUNCTION idempotent.hash_of_slice(plan idempotent.overwrite_plan, but smallint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT format('pg_catalog.hash_record_extended(ROW(%s), 0)', string_agg(idempotent.sliced(c), ', ' ORDER BY c.number))
                       FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued) AND c.number IS DISTINCT FROM but AND idempotent.is_hashable(c.base)
                     HAVING count(*) > 0), '0::pg_catalog.int8');
END
$$;
COMMENT ON FUNCTION idempotent.hash_of_slice(idempotent.overwrite_plan, smallint) IS 'SQL for the hash of the values of a slice';

-- Its locks are taken by idempotent.take_turn, which needs to know the values.
CREATE FUNCTION idempotent.turn_of(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    treed text := (
        SELECT string_agg(format('ROW(%s, %s, %s, %s)::idempotent.tree', c.number, idempotent.hash_of_slice(plan, c.number),
                   CASE WHEN c.number = ANY (plan.valued || plan.lower) THEN idempotent.leaf_of(c.base, idempotent.sliced(c)) ELSE 'NULL' END,
                   CASE WHEN c.number = ANY (plan.upper) THEN idempotent.leaf_of(c.base, idempotent.sliced(c, 2)) ELSE 'NULL' END), ', ' ORDER BY c.number)
          FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued || plan.lower || plan.upper) AND idempotent.operator_of(c.typid, 1) IS NOT NULL);
BEGIN
    RETURN format('SELECT idempotent.take_turn($2, ARRAY[%s]::idempotent.tree[], %s)', treed, idempotent.hash_of_slice(plan, NULL));
END
$$;
COMMENT ON FUNCTION idempotent.turn_of(idempotent.overwrite_plan) IS 'the statement that waits for the turn of a slice';

CREATE FUNCTION idempotent.take_turn(plan idempotent.overwrite_plan, trees idempotent.tree[], all_values bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    root regclass := coalesce(pg_partition_root(plan.target), plan.target);
    ranges smallint[] := ARRAY(SELECT DISTINCT n FROM unnest(plan.lower || plan.upper) AS n ORDER BY n);
    family text := format('slice of %s: %s', plan.target::oid, ARRAY(SELECT c.name FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued || ranges) ORDER BY c.number));
    t idempotent.tree;
BEGIN
    PERFORM idempotent.join_family(format('slices of %s', root::oid), family);
    IF cardinality(ranges) > 1 THEN
        PERFORM pg_advisory_xact_lock(idempotent.number_of('form of ' || family));
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(idempotent.number_of('form of ' || family));
    IF cardinality(ranges) = 1 THEN
        PERFORM idempotent.join_family('ranges of ' || family, ranges[1]::text);
    END IF;
    FOREACH t IN ARRAY trees LOOP
        IF t.number = ANY (ranges) OR cardinality(ranges) = 0 AND t.first IS NOT NULL THEN
            PERFORM idempotent.lock_nodes(format('%s %s %s', family, t.number, t.others), idempotent.nodes_of(plan.columns, t, t.number = ANY (ranges)));
        END IF;
    END LOOP;
    IF cardinality(ranges) = 0 THEN
        PERFORM pg_advisory_xact_lock(idempotent.number_of(format('%s %s', family, all_values)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.take_turn(idempotent.overwrite_plan, idempotent.tree[], bigint) IS 'waits for the turn of a slice';

-- The nodes of a range, or of a value.
CREATE FUNCTION idempotent.nodes_of(columns idempotent.column_info[], t idempotent.tree, is_range boolean) RETURNS idempotent.node[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tree record;
BEGIN
    SELECT f.children, f.starts INTO tree FROM unnest(columns) AS c CROSS JOIN LATERAL idempotent.tree_of(c.base) AS f WHERE c.number = t.number;
    IF NOT is_range THEN
        RETURN idempotent.path_of(tree.children, tree.starts, t.first);
    ELSIF cardinality(tree.children) = 0 THEN
        RETURN ARRAY[ROW(0, 0, true)::idempotent.node];
    END IF;
    RETURN idempotent.cover_of(tree.children, tree.starts, coalesce(t.first, 0), coalesce(t.past, idempotent.unit_of(tree.children, cardinality(tree.children))));
END
$$;
COMMENT ON FUNCTION idempotent.nodes_of(idempotent.column_info[], idempotent.tree, boolean) IS 'the nodes of a slice in the tree of a column';

-- Statements ----------------------------------------------------------------------------------------------------------
-- In them $1 is the slice, and $2 the arrived rows.

-- SQL for a row, with what the server computes in the generated columns that are compared.
CREATE FUNCTION idempotent.computed_row(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    numbers smallint[] := ARRAY(SELECT c.number FROM unnest(plan.columns) AS c ORDER BY c.number);
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(plan.columns) AS c WHERE c.generated <> '' AND c.number = ANY (plan.compared)) THEN
        RETURN 'read."row"';
    END IF;
    RETURN idempotent.working_row(plan.target, numbers, ARRAY(
        SELECT CASE WHEN c.generated <> '' AND c.number = ANY (plan.compared) THEN format('CAST(%s AS %s)', c.filled_by, split_part(c.type, ' COLLATE ', 1))
                    ELSE format('%I.%I', idempotent.name_of(plan.target), c.name) END FROM unnest(plan.columns) AS c ORDER BY c.number));
END
$$;
COMMENT ON FUNCTION idempotent.computed_row(idempotent.overwrite_plan) IS 'SQL for a row with its generated columns';

-- The statement that reads the source and hands its rows to the function of this name.
CREATE FUNCTION idempotent.arrival_of(plan idempotent.overwrite_plan, function text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    numbers smallint[] := plan.named;
    vals text[] := idempotent.source_values(plan.target, plan.own);
    defaults record;
BEGIN
    SELECT * INTO defaults FROM idempotent.completed(plan.target, '{}', numbers);
    RETURN format(
        'SELECT idempotent.%I($2, $1, pg_catalog.array_agg(checked."row" ORDER BY read.ordinal),'
        '   pg_catalog.array_agg(ROW(read.ordinal, NULL, false, NULL, NULL, NULL, checked.wrong, NULL, NULL, NULL)::idempotent.mark ORDER BY read.ordinal)) AS done'
        '  FROM (%s) AS read CROSS JOIN LATERAL (SELECT %s AS wrong, %s AS "row" FROM (SELECT (read."row").*) AS %I) AS checked',
        function, idempotent.numbered_source(plan.source, format('"idempotent ordinal" AS ordinal, %s AS "row"', idempotent.working_row(plan.target, numbers || defaults.numbers, vals || defaults.vals))),
        idempotent.wrong_column(plan.target, numbers), idempotent.computed_row(plan), idempotent.name_of(plan.target));
END
$$;
COMMENT ON FUNCTION idempotent.arrival_of(idempotent.overwrite_plan, text) IS 'the statement that reads a source to overwrite';

-- How many rows are stored, and whether they are those that arrived: both are sorted by their images, and compared in pairs.
CREATE FUNCTION idempotent.comparison_of(plan idempotent.overwrite_plan, condition text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    arrived text := (SELECT string_agg(format('("row").%I', c.name), ', ' ORDER BY c.number) FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.compared));
    stored text := (SELECT string_agg(quote_ident(c.name), ', ' ORDER BY c.number) FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.compared));
BEGIN
    RETURN format(
        'WITH arrived AS (SELECT image, pg_catalog.row_number() OVER (ORDER BY image USING OPERATOR(pg_catalog.*<)) AS n'
        '   FROM (SELECT ROW(%s)::pg_catalog.record AS image FROM (SELECT pg_catalog.unnest($2) AS "row") AS rows) AS given),'
        ' stored AS (SELECT image, pg_catalog.row_number() OVER (ORDER BY image USING OPERATOR(pg_catalog.*<)) AS n'
        '   FROM (SELECT ROW(%s)::pg_catalog.record AS image FROM %s WHERE %s) AS kept)'
        ' SELECT pg_catalog.count(stored.n), COALESCE(pg_catalog.bool_and((arrived.image OPERATOR(pg_catalog.*=) stored.image) IS TRUE), true)'
        '   FROM arrived FULL JOIN stored ON arrived.n OPERATOR(pg_catalog.=) stored.n',
        arrived, stored, idempotent.qualified(plan.target), condition);
END
$$;
COMMENT ON FUNCTION idempotent.comparison_of(idempotent.overwrite_plan, text) IS 'the statement that compares a slice with what arrived';

CREATE FUNCTION idempotent.filling_of(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    listed text;
    given text;
BEGIN
    SELECT string_agg(quote_ident(c.name), ', ' ORDER BY c.number), string_agg(format('("row").%I', c.name), ', ' ORDER BY c.number)
      INTO listed, given FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.named) AND c.generated = '';
    RETURN format('INSERT INTO %s %sSELECT %s FROM (SELECT pg_catalog.unnest($2) AS "row") AS arrived', idempotent.qualified(plan.target), '(' || listed || ') ', coalesce(given, ''));
END
$$;
COMMENT ON FUNCTION idempotent.filling_of(idempotent.overwrite_plan) IS 'the statement that inserts what arrived';

-- Replacing -----------------------------------------------------------------------------------------------------------

-- One slice, whose turn it is, by rows that are known to be of it.
CREATE FUNCTION idempotent.replace_slice(plan idempotent.overwrite_plan, slice anyarray, given anyarray, nulls smallint[]) RETURNS idempotent.overwritten
LANGUAGE plpgsql
AS $$
DECLARE
    condition text := idempotent.slice_condition(plan, nulls);
    stored bigint;
    equal boolean;
    kept bigint;
    deleted bigint := 0;
    inserted bigint := 0;
BEGIN
    EXECUTE idempotent.comparison_of(plan, condition) INTO stored, equal USING slice, given;
    IF equal THEN
        RETURN ROW(0, 0, true)::idempotent.overwritten;
    END IF;
    PERFORM idempotent.refuse_old_snapshot(plan.target);
    IF stored OPERATOR(pg_catalog.>) 0 THEN
        EXECUTE pg_catalog.format('DELETE FROM %s WHERE %s', idempotent.qualified(plan.target), condition) USING slice;
        GET DIAGNOSTICS deleted = ROW_COUNT;
        IF deleted OPERATOR(pg_catalog.<) stored THEN
            EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %s WHERE %s', idempotent.qualified(plan.target), condition) INTO kept USING slice;
            PERFORM idempotent.refuse_kept(plan.target, kept);
        END IF;
    END IF;
    IF given IS NOT NULL THEN
        PERFORM idempotent.refuse_numbers(plan);
        EXECUTE idempotent.filling_of(plan) USING slice, given;
        GET DIAGNOSTICS inserted = ROW_COUNT;
    END IF;
    RETURN ROW(deleted, inserted, false)::idempotent.overwritten;
END
$$;
COMMENT ON FUNCTION idempotent.replace_slice(idempotent.overwrite_plan, anyarray, anyarray, smallint[]) IS 'replaces a slice';

CREATE FUNCTION idempotent.refuse_old_snapshot(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        PERFORM idempotent.fail('0A000', 'the portable edition replaces a slice at READ COMMITTED only',
            'At other isolation levels, rows that the snapshot of the transaction does not show would stay beside the new ones.', target => target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.refuse_old_snapshot(regclass) IS 'refuses to replace what the snapshot may not show';

-- Rows that a policy or a trigger has kept would stay beside the new ones.
CREATE FUNCTION idempotent.refuse_kept(target regclass, kept bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    by_policy boolean := row_security_active(target);
    by_trigger boolean := EXISTS (
        SELECT FROM pg_trigger AS t WHERE t.tgrelid IN (SELECT target UNION SELECT relid FROM pg_partition_tree(target) UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = target)
           AND t.tgtype & 11 = 11 AND NOT t.tgisinternal AND t.tgenabled <> 'D');
BEGIN
    IF kept > 0 AND (by_policy OR by_trigger) THEN
        PERFORM idempotent.fail(CASE WHEN by_policy THEN '42501' ELSE '27000' END,
            format('cannot overwrite the slice of table "%s": %s of its rows could not be deleted', idempotent.name_of(target), kept),
            CASE WHEN by_policy THEN 'A row-level security policy keeps them.' ELSE 'A trigger keeps them.' END, target => target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.refuse_kept(regclass, bigint) IS 'refuses a slice of which rows were kept';

CREATE FUNCTION idempotent.refuse_numbers(plan idempotent.overwrite_plan) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    refused text;
BEGIN
    SELECT c.name INTO refused FROM unnest(plan.columns) AS c WHERE c.identity = 'a' AND c.number = ANY (plan.named) LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.refuse_number(plan.target, refused);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.refuse_numbers(idempotent.overwrite_plan) IS 'refuses numbers for an identity column';

-- Refuses the first row that is outside of the slice, or whose generated columns are wrong.
CREATE FUNCTION idempotent.check_arrived(plan idempotent.overwrite_plan, slice anyarray, given anyarray, marks idempotent.mark[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    outside record;
BEGIN
    EXECUTE pg_catalog.format(
        'SELECT ordinal, "column" FROM (SELECT arrived.ordinal, %s AS "column"'
        '  FROM (SELECT pg_catalog.unnest($2) AS "row", (pg_catalog.unnest($3)).ordinal AS ordinal) AS arrived) AS o WHERE "column" IS NOT NULL ORDER BY ordinal LIMIT 1',
        idempotent.outside_of(plan)) INTO outside USING slice, given, marks;
    PERFORM idempotent.check_marks(plan.target, NULL, 'source', idempotent.before(marks, outside.ordinal));
    IF outside.ordinal IS NOT NULL THEN
        PERFORM idempotent.refuse_outside(plan, slice, given[outside.ordinal : outside.ordinal], outside.ordinal, outside."column");
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_arrived(idempotent.overwrite_plan, anyarray, anyarray, idempotent.mark[]) IS 'refuses rows that are not of the slice';

CREATE FUNCTION idempotent.before(marks idempotent.mark[], ordinal bigint) RETURNS idempotent.mark[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN ordinal IS NULL THEN marks ELSE marks[1:ordinal - 1] END $$;
COMMENT ON FUNCTION idempotent.before(idempotent.mark[], bigint) IS 'the marks before a row';

-- 23514 for a row outside of the slice. The values are asked for with the rows at hand.
CREATE FUNCTION idempotent.refuse_outside(plan idempotent.overwrite_plan, slice anyarray, given anyarray, ordinal bigint, "column" text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    row_values text[];
    first_values text[];
    past_values text[];
BEGIN
    EXECUTE idempotent.slice_values(plan) INTO row_values, first_values, past_values USING slice, given;
    PERFORM idempotent.refuse_outside_values(plan, row_values, first_values, past_values, ordinal, "column");
END
$$;
COMMENT ON FUNCTION idempotent.refuse_outside(idempotent.overwrite_plan, anyarray, anyarray, bigint, text) IS 'refuses a row outside of the slice';

CREATE FUNCTION idempotent.slice_values(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT format('SELECT ARRAY[%s]::pg_catalog.text[], ARRAY[%s]::pg_catalog.text[], ARRAY[%s]::pg_catalog.text[]',
                      string_agg(idempotent.shown(format('($2[1]).%I', c.name)), ', ' ORDER BY c.number), string_agg(idempotent.shown(idempotent.sliced(c)), ', ' ORDER BY c.number),
                      string_agg(idempotent.shown(idempotent.sliced(c, 2)), ', ' ORDER BY c.number))
          FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued || plan.lower || plan.upper));
END
$$;
COMMENT ON FUNCTION idempotent.slice_values(idempotent.overwrite_plan) IS 'the statement that shows a row and a slice';

CREATE FUNCTION idempotent.refuse_outside_values(plan idempotent.overwrite_plan, row_values text[], first_values text[], past_values text[], ordinal bigint, "column" text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text;
    of_row text;
    of_slice text;
BEGIN
    SELECT string_agg(quote_ident(name), ', ' ORDER BY place),
           string_agg(format('%I=%s', name, coalesce(idempotent.cut(row_values[place]), 'null')), ', ' ORDER BY place),
           string_agg(CASE WHEN number = ANY (plan.valued) THEN format('%I=%s', name, coalesce(idempotent.cut(first_values[place]), 'null'))
                           ELSE concat(quote_ident(name), ' from ' || idempotent.cut(first_values[place]), ' to ' || idempotent.cut(past_values[place])) END, ', ' ORDER BY place)
      INTO names, of_row, of_slice
      FROM (SELECT c.name, c.number, row_number() OVER (ORDER BY c.number) AS place FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued || plan.lower || plan.upper)) AS n;
    PERFORM idempotent.fail('23514', format('row %s of the source is outside the slice of table "%s"', ordinal, idempotent.name_of(plan.target)),
        CASE WHEN current_setting('pg_idempotent.show_values', true) IN ('off', 'false', 'no', '0') THEN format('The slice is defined by %s.', names)
             ELSE format('The row has %s; the slice is %s.', of_row, of_slice) END,
        'Restrict the source to the slice, or overwrite another slice.', plan.target, "column");
END
$$;
COMMENT ON FUNCTION idempotent.refuse_outside_values(idempotent.overwrite_plan, text[], text[], text[], bigint, text) IS 'raises 23514 for a row outside of the slice';

-- One slice by the rows that arrived for it.
CREATE FUNCTION idempotent.overwrite_one(plan idempotent.overwrite_plan, slice anyarray, given anyarray, marks idempotent.mark[]) RETURNS idempotent.overwritten
LANGUAGE plpgsql
AS $$
DECLARE
    nulls smallint[];
BEGIN
    PERFORM idempotent.check_arrived(plan, slice, given, marks);
    EXECUTE idempotent.nulls_of(plan) INTO nulls USING slice;
    RETURN idempotent.replace_slice(plan, slice, given, nulls);
END
$$;
COMMENT ON FUNCTION idempotent.overwrite_one(idempotent.overwrite_plan, anyarray, anyarray, idempotent.mark[]) IS 'overwrites a slice by rows that arrived';

-- The statement that tells of which columns a slice names the value NULL.
CREATE FUNCTION idempotent.nulls_of(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT format('SELECT pg_catalog.array_remove(ARRAY[%s]::pg_catalog.int2[], NULL)',
                          string_agg(format('CASE WHEN %s IS NOT DISTINCT FROM NULL THEN %s END', idempotent.sliced(c), c.number), ', ' ORDER BY c.number))
              FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.valued));
END
$$;
COMMENT ON FUNCTION idempotent.nulls_of(idempotent.overwrite_plan) IS 'the statement that tells the NULLs of a slice';

-- The slice as working rows is handed on, so that its statements can name its values.
CREATE FUNCTION idempotent.overwrite_slice(plan idempotent.overwrite_plan, slice anyarray) RETURNS idempotent.overwritten
LANGUAGE plpgsql
AS $$
DECLARE
    done record;
BEGIN
    EXECUTE idempotent.bounds_of(plan) INTO done USING slice;
    PERFORM idempotent.refuse_empty_range(plan.target, done."column");
    EXECUTE idempotent.turn_of(plan) USING slice, plan;
    EXECUTE idempotent.arrival_of(plan, 'overwrite_one') INTO done USING slice, plan;
    RETURN done.done;
END
$$;
COMMENT ON FUNCTION idempotent.overwrite_slice(idempotent.overwrite_plan, anyarray) IS 'waits for the turn of a slice, and overwrites it';

-- The statement that finds a range whose lower bound is not less than the upper one.
CREATE FUNCTION idempotent.bounds_of(plan idempotent.overwrite_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((
        SELECT format('SELECT CASE %s END AS "column"', string_agg(format('WHEN NOT %s %s %s THEN %L', idempotent.sliced(c), idempotent.operator_of(c.typid, 1), idempotent.sliced(c, 2), c.name), ' ' ORDER BY c.number))
          FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.lower) AND c.number = ANY (plan.upper) HAVING count(*) > 0), 'SELECT NULL AS "column"');
END
$$;
COMMENT ON FUNCTION idempotent.bounds_of(idempotent.overwrite_plan) IS 'the statement that finds an empty range';

CREATE FUNCTION idempotent.refuse_empty_range(target regclass, name text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF name IS NOT NULL THEN
        PERFORM idempotent.refuse_in_slice(target, name, '22023', format('bound "from" of column "%s" in "slice" must be less than bound "to"', name));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.refuse_empty_range(regclass, text) IS 'refuses a range that holds nothing';

CREATE FUNCTION idempotent_overwrite(
    target    regclass,
    source    regclass,
    slice     jsonb,
    OUT deleted   bigint,
    OUT inserted  bigint,
    OUT unchanged boolean
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    own idempotent.source_column[];
    parsed record;
    plan idempotent.overwrite_plan;
    result record;
BEGIN
    PERFORM idempotent.check_overwrite(target);
    PERFORM idempotent.check_source(source);
    own := ARRAY(SELECT c FROM idempotent.columns_of_source(target, source) AS c);
    SELECT * INTO parsed FROM idempotent.parse_slice(target, own, slice);
    plan := idempotent.plan_overwrite(target, source, own, parsed.valued);
    plan.valued := parsed.valued;
    plan.lower := parsed.lower;
    plan.upper := parsed.upper;
    EXECUTE pg_catalog.format('SELECT idempotent.overwrite_slice($3, ARRAY[%s, %s]) AS done',
        idempotent.slice_row(target, pg_catalog.array_cat(plan.valued, plan.lower), '$1'), idempotent.slice_row(target, plan.upper, '$2'))
       INTO result USING parsed.vals, parsed.ends, plan;
    SELECT d.* INTO deleted, inserted, unchanged FROM (SELECT (result.done).*) AS d;
END
$$;
COMMENT ON FUNCTION idempotent_overwrite(regclass, regclass, jsonb) IS
    'replaces one slice of a table, the rows that have these values or lie in these ranges, by the rows of a table or view; an equal slice is not rewritten';
