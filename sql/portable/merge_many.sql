-- Merge of JSON payloads. A field that a payload leaves out leaves the stored value alone. docs/merge.md

CREATE TYPE idempotent.merge_shape AS (
    -- The ordinal of the first payload that names these columns, and whether they delete.
    first   bigint,
    named   smallint[],
    deletes boolean
);
COMMENT ON TYPE idempotent.merge_shape IS 'what payloads name';

CREATE FUNCTION idempotent.merge_members(payloads jsonb) RETURNS jsonb[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_typeof(payloads) <> 'array' THEN
        PERFORM idempotent.fail('22023', 'argument "payloads" must be a JSON array', format('It is a JSON %s.', jsonb_typeof(payloads)), 'Pass an array of objects.');
    END IF;
    RETURN idempotent.members_of(payloads);
END
$$;
COMMENT ON FUNCTION idempotent.merge_members(jsonb) IS 'the payloads of a merge';

-- Payloads as rows of the target: without fields that are not stored, and with those that are stored under another name.
CREATE FUNCTION idempotent.plain_payloads(target regclass, members jsonb[], deciders idempotent.decider[], delete_when text) RETURNS jsonb[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    besides text[] := ARRAY(SELECT f FROM unnest(ARRAY(SELECT d.field FROM unnest(deciders) AS d) || delete_when) AS f
                             WHERE f IS NOT NULL AND idempotent.column_number(target, f) IS NULL);
    plain jsonb[];
BEGIN
    -- What is no object is refused in its turn.
    plain := ARRAY(SELECT CASE jsonb_typeof(m) WHEN 'object' THEN m - besides ELSE m END FROM unnest(members) WITH ORDINALITY AS u (m, n) ORDER BY n);
    PERFORM idempotent.check_payloads(target, plain, 'payloads');
    PERFORM idempotent.check_fields(target, members, deciders);
    RETURN ARRAY(
        SELECT plain[n] || coalesce((SELECT jsonb_object_agg(idempotent.column_name(target, d.number), m -> d.field)
                                       FROM unnest(deciders) AS d WHERE d.number IS NOT NULL AND d.field IS NOT NULL), '{}')
          FROM unnest(members) WITH ORDINALITY AS u (m, n) ORDER BY n);
END
$$;
COMMENT ON FUNCTION idempotent.plain_payloads(regclass, jsonb[], idempotent.decider[], text) IS 'payloads as rows of the target';

-- Refuses the first payload that lacks what decides, or has two fields for one column.
CREATE FUNCTION idempotent.check_fields(target regclass, members jsonb[], deciders idempotent.decider[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT n, lacks, d.field, name INTO bad
      FROM unnest(members) WITH ORDINALITY AS u (m, n)
     CROSS JOIN unnest(deciders) WITH ORDINALITY AS d (number, field, place)
     CROSS JOIN LATERAL (SELECT idempotent.column_name(target, d.number) AS name) AS c
     CROSS JOIN LATERAL (SELECT NOT m ? coalesce(d.field, name) AS lacks) AS l
     WHERE lacks OR d.field IS NOT NULL AND m ? name ORDER BY n, place LIMIT 1;
    IF bad.lacks THEN
        PERFORM idempotent.fail('23502', format('column "%s" of "latest_by" is missing from payload %s', coalesce(bad.field, bad.name), bad.n),
            'Without it, nothing says which of two payloads is the later.', target => target, "column" => coalesce(bad.field, bad.name));
    ELSIF FOUND THEN
        PERFORM idempotent.fail('42701', format('payload %s has two fields for "%s"', bad.n, bad.name),
            format('It has a field of that name, and "%s", which "latest_by" stores as "%s".', bad.field, bad.name), target => target, "column" => bad.name);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_fields(regclass, jsonb[], idempotent.decider[]) IS 'refuses payloads without what decides';

-- Which payloads delete.
CREATE FUNCTION idempotent.flags_of(members jsonb[], delete_when text) RETURNS boolean[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT coalesce((m ->> delete_when)::boolean, false) FROM unnest(members) WITH ORDINALITY AS u (m, n) ORDER BY n);
END
$$;
COMMENT ON FUNCTION idempotent.flags_of(jsonb[], text) IS 'which payloads delete';

-- The shapes of payloads, and which of them each payload has.
CREATE FUNCTION idempotent.merge_shapes(target regclass, plain jsonb[], flags boolean[], OUT shapes idempotent.merge_shape[], OUT shape_of int[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH documents AS MATERIALIZED (SELECT n, flag, ARRAY(SELECT jsonb_object_keys(p)) AS fields FROM unnest(plain, flags) WITH ORDINALITY AS u (p, flag, n)),
         known AS MATERIALIZED (SELECT fields, flag, min(n) AS first, row_number() OVER (ORDER BY min(n)) AS shape FROM documents GROUP BY fields, flag)
    SELECT (SELECT array_agg(ROW(first, ARRAY(SELECT idempotent.column_number(target, f) FROM unnest(fields) AS f), flag)::idempotent.merge_shape ORDER BY shape) FROM known),
           (SELECT array_agg(shape ORDER BY n) FROM documents JOIN known USING (fields, flag))
$$;
COMMENT ON FUNCTION idempotent.merge_shapes(regclass, jsonb[], boolean[]) IS 'the shapes of payloads';

-- A payload that leaves out a column leaves what is stored there alone: a generated column of it could not be checked.
CREATE FUNCTION idempotent.check_generated_alone(target regclass, named smallint[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    generated smallint;
BEGIN
    PERFORM idempotent.check_generated(target, named);
    SELECT g.attnum INTO generated FROM pg_attribute AS g
     WHERE g.attrelid = target AND g.attgenerated <> '' AND g.attnum = ANY (named)
       AND EXISTS (SELECT FROM idempotent.computed_from(target, ARRAY[g.attnum]) AS used WHERE used <> ALL (named)) ORDER BY g.attnum LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.refuse_generated(target, idempotent.column_name(target, generated),
            'Its value cannot be checked where a payload leaves out a column that it is computed from.');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_generated_alone(regclass, smallint[]) IS 'refuses generated columns that payloads do not determine';

CREATE FUNCTION idempotent.plan_payloads_merge(
    target regclass, rule idempotent.rule, shapes idempotent.merge_shape[], deciders idempotent.decider[], insert_only text[], delete_when text
) RETURNS idempotent.merge_plan
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shape idempotent.merge_shape;
    by_all smallint[] := ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c WHERE NOT EXISTS (SELECT FROM unnest(shapes) AS s WHERE c.number <> ALL (s.named)));
    plan idempotent.merge_plan;
BEGIN
    plan := idempotent.plan_merge(target, idempotent.find_arbiter(target, rule, by_all, (idempotent.guard_in_force(target)).key, 'payloads'),
        rule, deciders, insert_only, delete_when, ARRAY(SELECT unnest(s.named) FROM unnest(shapes) AS s), 'payloads',
        (SELECT count(DISTINCT s.named) = 1 FROM unnest(shapes) AS s));
    FOREACH shape IN ARRAY shapes LOOP
        PERFORM idempotent.check_shape(plan, shape.named, idempotent.numbered('payloads', shape.first));
    END LOOP;
    PERFORM idempotent.check_deciders(plan);
    FOREACH shape IN ARRAY shapes LOOP
        PERFORM idempotent.check_generated_alone(target, shape.named);
    END LOOP;
    RETURN plan;
END
$$;
COMMENT ON FUNCTION idempotent.plan_payloads_merge(regclass, idempotent.rule, idempotent.merge_shape[], idempotent.decider[], text[], text) IS 'what is merged of payloads';

-- The statement that reads payloads and merges them: $1 is the plan, $2 the payloads as they came, $3 as rows of the target, $4
-- the shape of each. Of a payload that deletes, only the key and latest_by are read.
CREATE FUNCTION idempotent.payloads_to_merge(plan idempotent.merge_plan, shapes idempotent.merge_shape[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unstored text := (
        SELECT string_agg(format('OPERATOR(pg_catalog.-) pg_catalog.dense_rank() OVER (ORDER BY COALESCE(raw OPERATOR(pg_catalog.->) %L, ''null'') DESC)', d.field), ', ' ORDER BY d.ordinality)
          FROM unnest(plan.deciders) WITH ORDINALITY AS d WHERE d.number IS NULL);
BEGIN
    RETURN idempotent.merging_of(plan, format(
        'WITH given AS MATERIALIZED (SELECT pg_catalog.unnest($2) AS raw, pg_catalog.unnest($3) AS payload, pg_catalog.unnest($4) AS shape),'
        ' "idempotent sent" AS MATERIALIZED (SELECT payload, shape, pg_catalog.row_number() OVER () AS ordinal, ARRAY[%s]::pg_catalog.int8[] AS unstored FROM given) %s',
        unstored, (SELECT string_agg(idempotent.payloads_of_shape(plan, s, n), ' UNION ALL ' ORDER BY n) FROM unnest(shapes) WITH ORDINALITY AS u (first, named, deletes, n)
                    CROSS JOIN LATERAL (SELECT ROW(first, named, deletes)::idempotent.merge_shape AS s) AS r)));
END
$$;
COMMENT ON FUNCTION idempotent.payloads_to_merge(idempotent.merge_plan, idempotent.merge_shape[]) IS 'the statement that merges payloads';

CREATE FUNCTION idempotent.payloads_of_shape(plan idempotent.merge_plan, shape idempotent.merge_shape, number bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deciding smallint[] := (plan.arbiter).deciding || idempotent.kept_deciders(plan.deciders);
    read smallint[] := ARRAY(SELECT n FROM unnest(shape.named) AS n WHERE NOT shape.deletes OR n = ANY (deciding));
    vals text[] := ARRAY(SELECT format('read.%I', idempotent.column_name(plan.target, n)) FROM unnest(read) WITH ORDINALITY AS u (n, place) ORDER BY place);
    defaults record;
BEGIN
    SELECT * INTO defaults FROM idempotent.completed(plan.target, (plan.arbiter).deciding, shape.named);
    RETURN format('SELECT ordinal, %L::pg_catalog.bool AS deletes, %L::pg_catalog.varbit AS named, unstored, %s AS "row"'
                  ' FROM "idempotent sent" CROSS JOIN LATERAL (%s) AS read WHERE shape OPERATOR(pg_catalog.=) %s',
        shape.deletes, idempotent.bits_of(plan.columns, shape.named), idempotent.working_row(plan.target, read || defaults.numbers, vals || defaults.vals),
        idempotent.reading_of(plan.target, read, '"idempotent sent".payload'), number);
END
$$;
COMMENT ON FUNCTION idempotent.payloads_of_shape(idempotent.merge_plan, idempotent.merge_shape, bigint) IS 'SQL that reads the payloads of a shape';

-- What can be checked where no payload says which columns are merged.
CREATE FUNCTION idempotent.check_empty_merge(target regclass, rule idempotent.rule, deciders idempotent.decider[], insert_only text[], delete_when text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    candidates idempotent.unique_index[];
    none idempotent.unique_index;
    bad text;
BEGIN
    PERFORM idempotent.check_any_right(target);
    candidates := idempotent.certain_arbiters(target, rule);
    IF cardinality(candidates) = 1 THEN
        PERFORM idempotent.plan_merge(target, candidates[1], rule, deciders, insert_only, delete_when, '{}', 'payloads', true);
        RETURN;
    END IF;
    -- Several indexes may be the key.
    SELECT name INTO bad FROM unnest(insert_only) WITH ORDINALITY AS i (name, n) WHERE idempotent.column_number(target, name) IS NULL ORDER BY n LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.no_such_column(target, bad, NULL);
    END IF;
    PERFORM idempotent.check_delete_when(target, none, delete_when);
    PERFORM idempotent.check_merge_rights(target, '{}', '{}', delete_when IS NOT NULL);
END
$$;
COMMENT ON FUNCTION idempotent.check_empty_merge(regclass, idempotent.rule, idempotent.decider[], text[], text) IS 'checks a merge without payloads';

-- The indexes that could decide, whatever payloads name.
CREATE FUNCTION idempotent.certain_arbiters(target regclass, rule idempotent.rule) RETURNS idempotent.unique_index[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard_key text[] := (idempotent.guard_in_force(target)).key;
    usable idempotent.unique_index[] := ARRAY(SELECT i FROM idempotent.indexes_of(target) AS i WHERE idempotent.can_be_default(i));
    guards idempotent.unique_index;
BEGIN
    IF rule.key IS NOT NULL THEN
        RETURN ARRAY[idempotent.arbiter_for_key(target, rule.key)];
    ELSIF guard_key IS NOT NULL THEN
        guards := idempotent.arbiter_for_key(target, guard_key);
        RETURN guards || ARRAY(SELECT i FROM unnest(usable) AS i WHERE i.index <> guards.index);
    ELSIF cardinality(usable) = 0 THEN
        RETURN ARRAY[idempotent.default_arbiter(target, ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c), 'payloads')];
    END IF;
    RETURN usable;
END
$$;
COMMENT ON FUNCTION idempotent.certain_arbiters(regclass, idempotent.rule) IS 'the indexes that could decide';

CREATE FUNCTION idempotent_merge_many(
    target    regclass,
    payloads  jsonb,
    key       text[] DEFAULT NULL,
    latest_by text[] DEFAULT NULL,
    compare   text[] DEFAULT NULL,
    ignore    text[] DEFAULT NULL,
    insert_only text[] DEFAULT NULL,
    delete_when text DEFAULT NULL,
    OUT received   bigint,
    OUT inserted   bigint,
    OUT updated    bigint,
    OUT deleted    bigint,
    OUT unchanged  bigint,
    OUT stale      bigint,
    OUT superseded bigint
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    rule idempotent.rule;
    deciders idempotent.decider[];
    members jsonb[];
    counts idempotent.merge_counts;
BEGIN
    PERFORM idempotent.check_target(target);
    PERFORM idempotent.require('payloads', payloads IS NOT NULL);
    rule := idempotent.merge_rule(target, key, compare, ignore);
    PERFORM idempotent.check_list('latest_by', latest_by);
    PERFORM idempotent.check_list('insert_only', insert_only);
    deciders := idempotent.deciders_of(target, latest_by, NULL);
    members := idempotent.merge_members(payloads);
    IF members OPERATOR(pg_catalog.=) '{}' THEN
        PERFORM idempotent.check_empty_merge(target, rule, deciders, insert_only, delete_when);
        counts := idempotent.counts_before(NULL);
    ELSE
        counts := idempotent.merge_payloads(target, members, rule, deciders, insert_only, delete_when);
    END IF;
    SELECT c.* INTO received, inserted, updated, deleted, unchanged, stale, superseded FROM (SELECT (counts).*) AS c;
END
$$;
COMMENT ON FUNCTION idempotent_merge_many(regclass, jsonb, text[], text[], text[], text[], text[], text) IS
    'inserts, updates or deletes rows by an array of JSON objects; a field that an object leaves out leaves the stored value alone';

CREATE FUNCTION idempotent.merge_payloads(
    target regclass, members jsonb[], rule idempotent.rule, deciders idempotent.decider[], insert_only text[], delete_when text
) RETURNS idempotent.merge_counts
LANGUAGE plpgsql
AS $$
DECLARE
    plain jsonb[];
    shaped record;
    plan idempotent.merge_plan;
    done record;
BEGIN
    plain := idempotent.plain_payloads(target, members, deciders, delete_when);
    SELECT * INTO shaped FROM idempotent.merge_shapes(target, plain, idempotent.flags_of(members, delete_when));
    plan := idempotent.plan_payloads_merge(target, rule, shaped.shapes, deciders, insert_only, delete_when);
    EXECUTE idempotent.payloads_to_merge(plan, shaped.shapes) INTO done USING plan, members, plain, shaped.shape_of;
    RETURN done.counts;
END
$$;
COMMENT ON FUNCTION idempotent.merge_payloads(regclass, jsonb[], idempotent.rule, idempotent.decider[], text[], text) IS 'merges payloads';
