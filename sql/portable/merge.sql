-- Merge: an upsert in which the latest row wins. What each function promises is in docs/merge.md.
--
-- The rows that arrive are read into working rows, and of those under one key the latest is kept. Then the call goes round
-- until every key has its outcome:
-- 1. It looks every key up. What is stored and equal is `unchanged`, what is stored and later is `stale`; a row that deletes,
--    and finds nothing, is `unchanged`. Nothing is written for these.
-- 2. If there are keys that it has not found, it inserts them, in their order, with INSERT … ON CONFLICT (key) DO NOTHING, and
--    begins anew with those that did not go in, and those that it has found.
-- 3. Else it updates and deletes what is stored and earlier, in the order of the keys, by one UPDATE, DELETE or MERGE, whose
--    condition is that the stored row is under the key, and earlier. What it has not met so is looked up once more.
--
-- Why no interleaving goes wrong, at READ COMMITTED:
-- - A row is changed between look and update. The statement finds it by its key, waits for whoever is changing it, and
--   evaluates its condition once more for what is committed then. So what is later is never overwritten by what is earlier.
--   The next look counts the row.
-- - A row is deleted meanwhile. The statement passes over it, and the next round inserts: as if the call had come later.
-- - Another session inserts the key between look and insert. ON CONFLICT waits for it, and passes over the row; the next look
--   sees it, since each statement of a volatile function takes a new snapshot.
-- - A key is inserted between look and delete: the delete is done with, as if the insert had come after it.
-- - Merges do not deadlock with each other: all inserts come before all updates, and both go by the order of keys. For this the
--   server must find the rows of the target one by one: the function that updates forbids it to join otherwise.
-- At REPEATABLE READ and above, INSERT and UPDATE raise 40001 where they meet what the snapshot cannot see.

CREATE TYPE idempotent.merge_plan AS (
    target     regclass,
    name       text,
    -- With its schema, and ONLY where tables inherit from it.
    relation   text,
    columns    idempotent.column_info[],
    arbiter    idempotent.unique_index,
    -- source or payloads.
    origin     text,
    -- Whether all rows name the same columns.
    one_shape  boolean,
    deciders   idempotent.decider[],
    -- The columns that some row names; that are compared; and that an update sets.
    named      smallint[],
    compared   smallint[],
    updated    smallint[],
    -- Whether an update may put a row where its key does not lead; and whether the key itself may be computed anew.
    may_move   boolean,
    mixes_key  boolean
);
COMMENT ON TYPE idempotent.merge_plan IS 'what is merged, and how';

CREATE TYPE idempotent.merge_counts AS (
    received bigint, inserted bigint, updated bigint, deleted bigint, unchanged bigint, stale bigint, superseded bigint
);
COMMENT ON TYPE idempotent.merge_counts IS 'what became of the rows of a merge';

-- The options ---------------------------------------------------------------------------------------------------------

-- The columns that a merge writes when a row goes in, and never again: what insert_only names, and what the server makes.
CREATE FUNCTION idempotent.never_updated(target regclass, arbiter idempotent.unique_index, insert_only smallint[]) RETURNS smallint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_key smallint;
BEGIN
    SELECT n INTO of_key FROM unnest(insert_only) WITH ORDINALITY AS i (n, place) WHERE n = ANY (arbiter.numbers) ORDER BY place LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.cannot_be_in(target, of_key, 'is part of the key', 'insert_only');
    END IF;
    RETURN coalesce(insert_only, '{}') || ARRAY(
        SELECT c.number FROM idempotent.columns_of(target) AS c
         WHERE (c.generated <> '' OR c.identity <> '' OR c.drawn AND c.kind <> 'clock')
           AND c.number <> ALL (arbiter.numbers) AND c.number <> ALL (coalesce(insert_only, '{}')));
END
$$;
COMMENT ON FUNCTION idempotent.never_updated(regclass, idempotent.unique_index, smallint[]) IS 'the columns that a merge never changes';

-- None of them may be named in an option that says when a stored row is replaced.
CREATE FUNCTION idempotent.refuse_never_updated(target regclass, named smallint[], never smallint[], insert_only smallint[], option text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad smallint;
BEGIN
    SELECT n INTO bad FROM unnest(named) WITH ORDINALITY AS i (n, place) WHERE n = ANY (never) ORDER BY place LIMIT 1;
    IF bad = ANY (insert_only) THEN
        PERFORM idempotent.cannot_be_in(target, bad, 'is in "insert_only"', option);
    ELSIF FOUND THEN
        PERFORM idempotent.fail('22023', format('column "%s" is server-generated and cannot be in "%s"', idempotent.column_name(target, bad), option),
            'A merge writes it when a row goes in, and never changes it.', target => target, "column" => idempotent.column_name(target, bad));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.refuse_never_updated(regclass, smallint[], smallint[], smallint[], text) IS 'refuses a column that a merge never changes';

-- A rule on DELETE, and a flag that is part of the key: it would never find the row.
CREATE FUNCTION idempotent.check_delete_when(target regclass, arbiter idempotent.unique_index, delete_when text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF delete_when IS NULL THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_rewrite WHERE ev_class = target AND ev_type = '4' AND ev_enabled <> 'D') THEN
        PERFORM idempotent.fail('0A000', format('cannot delete rows of table "%s"', idempotent.name_of(target)),
            'The table has a rule on DELETE.', 'Replace the rule with a trigger.', target);
    END IF;
    IF idempotent.column_number(target, delete_when) = ANY (arbiter.deciding) THEN
        PERFORM idempotent.cannot_be_in(target, idempotent.column_number(target, delete_when), 'is part of the key', 'delete_when');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_delete_when(regclass, idempotent.unique_index, text) IS 'refuses deletes that cannot be';

-- SELECT on the whole target, INSERT on what is named, UPDATE on what may change, and DELETE.
CREATE FUNCTION idempotent.check_merge_rights(target regclass, named smallint[], updated smallint[], deletes boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.check_rights(target, named, '{}');
    IF NOT has_table_privilege(target, 'SELECT') OR deletes AND NOT has_table_privilege(target, 'DELETE')
       OR EXISTS (SELECT FROM unnest(updated) AS n WHERE NOT has_column_privilege(target, n, 'UPDATE')) THEN
        PERFORM idempotent.fail('42501', format('permission denied for table %s', idempotent.name_of(target)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_merge_rights(regclass, smallint[], smallint[], boolean) IS 'demands the rights of a merge';

-- The columns that each computed part of a key is computed from: its expressions, its condition, and its generated columns.
-- An expression that refers to a generated column is computed from those of that one.
CREATE FUNCTION idempotent.computed_parts(target regclass, arbiter idempotent.unique_index) RETURNS TABLE (part int, numbers smallint[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH trees AS (SELECT expression, base FROM pg_index AS i, LATERAL (VALUES (i.indexprs::text, 0), (i.indpred::text, 1000)) AS t (expression, base)
                    WHERE i.indexrelid = arbiter.index),
         -- The expressions of a list are the braces of its outermost level.
         tokens AS (SELECT base, n, token[1] AS token FROM trees, regexp_matches(expression, '\{|\}|:varattno \d+', 'g') WITH ORDINALITY AS t (token, n)),
         levels AS (SELECT base, n, token, sum(CASE token WHEN '{' THEN 1 WHEN '}' THEN -1 ELSE 0 END) OVER (PARTITION BY base ORDER BY n) AS level FROM tokens),
         parts AS (SELECT token, base + CASE base WHEN 0 THEN count(*) FILTER (WHERE token = '{' AND level = 1) OVER (PARTITION BY base ORDER BY n) ELSE 0 END AS part FROM levels),
         used AS (SELECT DISTINCT part::int, a.attnum AS number FROM parts JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped
                   WHERE token LIKE ':varattno %' AND substr(token, 11)::int IN (0, a.attnum)
                   UNION SELECT 2000 + a.attnum, a.attnum FROM pg_attribute AS a WHERE a.attrelid = target AND a.attnum = ANY (arbiter.numbers) AND a.attgenerated <> ''),
         resolved AS (SELECT u.part, coalesce(of.number, u.number) AS number
                        FROM used AS u JOIN pg_attribute AS a ON a.attrelid = target AND a.attnum = u.number
                        LEFT JOIN LATERAL (SELECT f AS number FROM idempotent.computed_from(target, ARRAY[u.number]) AS f WHERE a.attgenerated <> '') AS of ON true)
    SELECT r.part, array_agg(DISTINCT r.number ORDER BY r.number) FROM resolved AS r GROUP BY r.part ORDER BY r.part;
END
$$;
COMMENT ON FUNCTION idempotent.computed_parts(regclass, idempotent.unique_index) IS 'what the computed parts of a key are computed from';

-- 42P10 where an update would set some of the columns that a part of the key is computed from, and not the others: the row
-- would be under another key then.
CREATE FUNCTION idempotent.check_key_kept(target regclass, arbiter idempotent.unique_index, updated smallint[], named smallint[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_set smallint;
    kept smallint;
    set_name text;
    kept_name text;
    others smallint[];
BEGIN
    FOR others IN SELECT ARRAY(SELECT n FROM unnest(p.numbers) AS n WHERE n <> ALL (arbiter.numbers)) FROM idempotent.computed_parts(target, arbiter) AS p LOOP
        SELECT min(n) FILTER (WHERE n = ANY (updated) AND n = ANY (named)), min(n) FILTER (WHERE NOT (n = ANY (updated) AND n = ANY (named)))
          INTO found_set, kept FROM unnest(others) AS n;
        CONTINUE WHEN found_set IS NULL OR kept IS NULL;
        set_name := idempotent.column_name(target, found_set);
        kept_name := idempotent.column_name(target, kept);
        PERFORM idempotent.fail('42P10', format('an update could move a row of table "%s" out of its key', idempotent.name_of(target)),
            format('The key of index "%s" is computed from columns "%s" and "%s", of which an update would set only "%2$s".', arbiter.name, set_name, kept_name),
            CASE WHEN kept = ANY (named) THEN format('Name column "%s" in insert_only, too.', set_name)
                 ELSE format('Add column "%s" to what is merged, or name "%s" in insert_only.', kept_name, set_name) END,
            target, "constraint" => arbiter.name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.check_key_kept(regclass, idempotent.unique_index, smallint[], smallint[]) IS 'refuses updates that would move a row out of its key';

-- The columns of latest_by that the target keeps.
CREATE FUNCTION idempotent.kept_deciders(deciders idempotent.decider[]) RETURNS smallint[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT number FROM unnest(deciders) WITH ORDINALITY AS d WHERE number IS NOT NULL ORDER BY ordinality);
END
$$;
COMMENT ON FUNCTION idempotent.kept_deciders(idempotent.decider[]) IS 'the columns of latest_by that the target keeps';

-- Whether an update leaves it open if the row is found under its key again: it may be changed by a trigger, or the key is
-- computed from a column of the key, whose stored spelling stays, and another one.
CREATE FUNCTION idempotent.may_move(target regclass, mixes_key boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN mixes_key OR EXISTS (
        SELECT FROM pg_trigger AS t JOIN pg_proc AS f ON f.oid = t.tgfoid
         WHERE t.tgrelid IN (SELECT target UNION SELECT relid FROM pg_partition_tree(target))
           AND t.tgtype & 19 = 19 AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND f.proname <> 'idempotent_guard_trigger');
END
$$;
COMMENT ON FUNCTION idempotent.may_move(regclass, boolean) IS 'whether an updated row may be under another key';

CREATE FUNCTION idempotent.mixes_key(target regclass, arbiter idempotent.unique_index, updated smallint[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM idempotent.computed_parts(target, arbiter) AS p WHERE p.numbers && arbiter.numbers AND p.numbers && updated);
END
$$;
COMMENT ON FUNCTION idempotent.mixes_key(regclass, idempotent.unique_index, smallint[]) IS 'whether a key is computed from a column of the key and an updated one';

-- What the options come to for rows that name these columns.
CREATE FUNCTION idempotent.plan_merge(
    target regclass, arbiter idempotent.unique_index, rule idempotent.rule, deciders idempotent.decider[], insert_only text[], delete_when text,
    named smallint[], origin text, one_shape boolean
) RETURNS idempotent.merge_plan
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan idempotent.merge_plan;
    only_inserted smallint[] := idempotent.numbers_of(target, 'insert_only', insert_only);
    never smallint[] := idempotent.never_updated(target, arbiter, only_inserted);
BEGIN
    PERFORM idempotent.refuse_never_updated(target, rule.compare, never, only_inserted, 'compare');
    PERFORM idempotent.check_rule(target, arbiter, rule);
    PERFORM idempotent.refuse_never_updated(target, idempotent.kept_deciders(deciders), never, only_inserted, 'latest_by');
    PERFORM idempotent.check_delete_when(target, arbiter, delete_when);
    rule.excluded := never;
    plan.target := target;
    plan.name := idempotent.name_of(target);
    plan.relation := CASE (SELECT relkind FROM pg_class WHERE oid = target) WHEN 'p' THEN '' ELSE 'ONLY ' END || idempotent.qualified(target);
    plan.columns := ARRAY(SELECT c FROM idempotent.columns_of(target) AS c);
    plan.arbiter := arbiter;
    plan.origin := origin;
    plan.one_shape := one_shape;
    plan.deciders := coalesce(deciders, '{}');
    plan.named := ARRAY(SELECT DISTINCT n FROM unnest(named) AS n ORDER BY n);
    plan.compared := ARRAY(SELECT n FROM unnest(idempotent.compared(target, arbiter, rule, named)) AS n WHERE n <> ALL (idempotent.kept_deciders(deciders)));
    plan.updated := ARRAY(SELECT n FROM unnest(plan.named) AS n WHERE n <> ALL (arbiter.numbers) AND n <> ALL (never));
    plan.mixes_key := idempotent.mixes_key(target, arbiter, plan.updated);
    plan.may_move := idempotent.may_move(target, plan.mixes_key);
    PERFORM idempotent.check_merge_rights(target, plan.named, plan.updated, delete_when IS NOT NULL);
    RETURN plan;
END
$$;
COMMENT ON FUNCTION idempotent.plan_merge(regclass, idempotent.unique_index, idempotent.rule, idempotent.decider[], text[], text, smallint[], text, boolean) IS 'what the options of a merge come to';

-- Refuses what the rows of one shape do not name; `place` is the source, or the first of the payloads.
CREATE FUNCTION idempotent.check_shape(plan idempotent.merge_plan, named smallint[], place text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing text := idempotent.missing_column(plan.target, plan.arbiter, named);
BEGIN
    IF missing IS NOT NULL THEN
        PERFORM idempotent.refuse_key(plan.target, plan.arbiter, missing, 'missing from', place, plan.origin);
    END IF;
    PERFORM idempotent.check_key_kept(plan.target, plan.arbiter, plan.updated, named);
END
$$;
COMMENT ON FUNCTION idempotent.check_shape(idempotent.merge_plan, smallint[], text) IS 'refuses rows that cannot be merged';

-- 22023 for a key column in latest_by, and 42703 for one that the source lacks.
CREATE FUNCTION idempotent.check_deciders(plan idempotent.merge_plan) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number smallint;
BEGIN
    FOREACH number IN ARRAY idempotent.kept_deciders(plan.deciders) LOOP
        IF number = ANY ((plan.arbiter).numbers) THEN
            PERFORM idempotent.cannot_be_in(plan.target, number, 'is part of the key', 'latest_by');
        ELSIF number <> ALL (plan.named) THEN
            PERFORM idempotent.not_in_source(plan.target, idempotent.column_name(plan.target, number), 'latest_by');
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.check_deciders(idempotent.merge_plan) IS 'refuses columns of latest_by that cannot decide';

-- Statements ----------------------------------------------------------------------------------------------------------
-- In them $1 are the working rows, and $2 their marks.

CREATE FUNCTION idempotent.arrived(c idempotent.column_info) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('("idempotent working"."idempotent row").%I', c.name);
END
$$;
COMMENT ON FUNCTION idempotent.arrived(idempotent.column_info) IS 'SQL for a column of a working row';

CREATE FUNCTION idempotent.marked(field text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('("idempotent working"."idempotent mark").%I', field) $$;
COMMENT ON FUNCTION idempotent.marked(text) IS 'SQL for a field of a mark';

-- SQL that says whether a working row names a column; NULL where all of them do.
CREATE FUNCTION idempotent.names_column(plan idempotent.merge_plan, c idempotent.column_info) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF plan.one_shape THEN
        RETURN NULL;
    END IF;
    RETURN format('pg_catalog.get_bit(%s, %s) OPERATOR(pg_catalog.=) 1', idempotent.marked('named'),
        (SELECT count(*) FROM unnest(plan.columns) AS other WHERE other.number < c.number));
END
$$;
COMMENT ON FUNCTION idempotent.names_column(idempotent.merge_plan, idempotent.column_info) IS 'SQL that says whether a row names a column';

-- The working rows with their keys, as a FROM item.
CREATE FUNCTION idempotent.working(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT format('(SELECT given.*, keyed.* FROM (SELECT pg_catalog.unnest($1) AS "idempotent row", pg_catalog.unnest($2) AS "idempotent mark") AS given'
                      ' CROSS JOIN LATERAL (SELECT %s FROM (SELECT (given."idempotent row").*) AS %I) AS keyed) AS "idempotent working"',
                      string_agg(format('%s AS "idempotent key %s"', idempotent.within_condition(plan.arbiter, n), n), ', ' ORDER BY n), plan.name)
          FROM generate_subscripts((plan.arbiter).parts, 1) AS n);
END
$$;
COMMENT ON FUNCTION idempotent.working(idempotent.merge_plan) IS 'SQL for the working rows with their keys';

-- SQL that says whether a stored row is under the key of a working row. `stored` is SQL for each part of the key of the former.
CREATE FUNCTION idempotent.key_match(plan idempotent.merge_plan, stored text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    arbiter idempotent.unique_index := plan.arbiter;
BEGIN
    RETURN (
        SELECT string_agg(format(CASE WHEN arbiter.nulls_equal
                   THEN '((%1$s) %4$s %2$s%3$s OR ((%1$s) IS NOT DISTINCT FROM NULL AND %2$s IS NOT DISTINCT FROM NULL))'
                   ELSE '(%1$s) %4$s %2$s%3$s' END, stored[n], format('"idempotent working"."idempotent key %s"', n), arbiter.collates[n], arbiter.equals[n]), ' AND ' ORDER BY n)
               || ' AND ' || idempotent.marked('has_key')
          FROM generate_subscripts(stored, 1) AS n);
END
$$;
COMMENT ON FUNCTION idempotent.key_match(idempotent.merge_plan, text[]) IS 'SQL that joins stored rows with working rows';

CREATE FUNCTION idempotent.stored_match(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN idempotent.key_match(plan, (plan.arbiter).expressions) || coalesce(' AND (' || (plan.arbiter).condition || ')', '');
END
$$;
COMMENT ON FUNCTION idempotent.stored_match(idempotent.merge_plan) IS 'SQL that joins the target with working rows';

-- SQL for what a working row is to the stored one: 1 if it is later, -1 if it is earlier, 0 if there is nothing to do. By
-- latest_by, up to the first column that is not stored: what has that came after the stored row; then a row that deletes is
-- the later; then by the compared columns.
CREATE FUNCTION idempotent.judgement(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first_unstored bigint := (SELECT min(ordinality) FROM unnest(plan.deciders) WITH ORDINALITY AS d WHERE number IS NULL);
    equal text;
    times text;
    compared text;
BEGIN
    SELECT string_agg(coalesce('NOT ' || idempotent.names_column(plan, c) || ' OR ', '') || idempotent.agreement(c, s.stored, idempotent.arrived(c)), ') AND (' ORDER BY c.number)
      INTO equal FROM unnest(plan.columns) AS c, LATERAL (SELECT format('%I.%I', plan.name, c.name) AS stored) AS s
     WHERE c.number = ANY (plan.compared || idempotent.kept_deciders(plan.deciders));
    SELECT string_agg(format(' WHEN %s THEN 1 WHEN %s THEN -1', idempotent.is_after(c, idempotent.arrived(c), s.stored), idempotent.is_after(c, s.stored, idempotent.arrived(c))), '' ORDER BY d.ordinality)
      INTO times FROM unnest(plan.deciders) WITH ORDINALITY AS d JOIN unnest(plan.columns) AS c ON c.number = d.number, LATERAL (SELECT format('%I.%I', plan.name, c.name) AS stored) AS s
     WHERE first_unstored IS NULL OR d.ordinality < first_unstored;
    SELECT string_agg(format(' WHEN %1$s%2$s THEN 1 WHEN %1$s%3$s THEN -1', idempotent.names_column(plan, c) || ' AND ',
                             idempotent.is_after(c, idempotent.arrived(c), s.stored), idempotent.is_after(c, s.stored, idempotent.arrived(c))), '' ORDER BY c.number)
      INTO compared FROM unnest(plan.columns) AS c, LATERAL (SELECT format('%I.%I', plan.name, c.name) AS stored) AS s WHERE c.number = ANY (plan.compared);
    RETURN format('CASE WHEN NOT %s AND (%s) THEN 0%s%s END', idempotent.marked('deletes'), coalesce(equal, 'true'), coalesce(times, ''),
        CASE WHEN cardinality(plan.deciders) = 0 OR first_unstored IS NOT NULL THEN ' ELSE 1'
             ELSE format(' WHEN %s THEN 1%s ELSE 0', idempotent.marked('deletes'), coalesce(compared, '')) END);
END
$$;
COMMENT ON FUNCTION idempotent.judgement(idempotent.merge_plan) IS 'SQL that compares a working row with the stored one';

-- Step 1. $3 says whether a write was tried on all rows: then a row that is at another place than before, and not later, was
-- updated.
CREATE FUNCTION idempotent.look_of_merge(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place text := format('pg_catalog.concat(%1$I.tableoid, %1$I.ctid)', plan.name);
    -- What is handed on, in the order of keys.
    kept text := 'pg_catalog.array_agg("row" ORDER BY (mark).place) FILTER (WHERE verdict OPERATOR(pg_catalog.=) %1$L),'
                 ' pg_catalog.array_agg(mark ORDER BY (mark).place) FILTER (WHERE verdict OPERATOR(pg_catalog.=) %1$L)';
BEGIN
    RETURN format(
        'SELECT pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) ''equal''), pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) ''stale''),'
        ' pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) ''gone''), pg_catalog.count(*) FILTER (WHERE verdict OPERATOR(pg_catalog.=) ''updated''), %s, %s'
        ' FROM (SELECT "row", idempotent.noted(mark, place) AS mark,'
        '   CASE WHEN place IS NULL THEN CASE WHEN (mark).deletes THEN ''gone'' ELSE ''new'' END'
        '        WHEN judged OPERATOR(pg_catalog.<) 0 THEN ''stale'''
        '        WHEN $3 AND NOT (mark).deletes AND (mark).seen OPERATOR(pg_catalog.<>) place THEN ''updated'''
        '        WHEN judged OPERATOR(pg_catalog.=) 0 THEN ''equal'' ELSE ''later'' END AS verdict'
        '   FROM (SELECT "idempotent working"."idempotent row" AS "row", "idempotent working"."idempotent mark" AS mark,'
        '                CASE WHEN %I.ctid IS NOT NULL THEN %s END AS place, %s AS judged'
        '           FROM %s LEFT JOIN %s ON %s) AS looked) AS verdicts',
        format(kept, 'new'), format(kept, 'later'), plan.name, place, idempotent.judgement(plan), idempotent.working(plan), plan.relation, idempotent.stored_match(plan));
END
$$;
COMMENT ON FUNCTION idempotent.look_of_merge(idempotent.merge_plan) IS 'the statement that looks working rows up';

CREATE FUNCTION idempotent.noted(mark idempotent.mark, place text) RETURNS idempotent.mark
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    mark.seen := place;
    RETURN mark;
END
$$;
COMMENT ON FUNCTION idempotent.noted(idempotent.mark, text) IS 'a mark with the place of the stored row';

-- Step 2, for rows that name the same columns. It gives how many went in, and those that did not. A row outside of the
-- condition of the key has nothing in its way.
CREATE FUNCTION idempotent.insertion_of(plan idempotent.merge_plan, named smallint[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    listed text;
    given text;
    keys text;
    stored text[];
BEGIN
    SELECT string_agg(quote_ident(c.name), ', ' ORDER BY c.number), string_agg(idempotent.arrived(c), ', ' ORDER BY c.number)
      INTO listed, given FROM unnest(plan.columns) AS c WHERE c.number = ANY (named) AND c.generated = '';
    SELECT string_agg(format('(%s) AS "idempotent stored %s"', e, n), ', ' ORDER BY n), array_agg(format('done."idempotent stored %s"', n) ORDER BY n)
      INTO keys, stored FROM unnest((plan.arbiter).expressions) WITH ORDINALITY AS k (e, n);
    RETURN format(
        'WITH done AS (INSERT INTO %s %sSELECT %s FROM %s ORDER BY %s ON CONFLICT %s DO NOTHING RETURNING true AS "idempotent done", %s)'
        ' SELECT pg_catalog.array_agg("idempotent row" ORDER BY %s) FILTER (WHERE "idempotent done" IS NULL),'
        '        pg_catalog.array_agg("idempotent mark" ORDER BY %8$s) FILTER (WHERE "idempotent done" IS NULL)'
        '   FROM %4$s LEFT JOIN done ON %9$s WHERE %10$s',
        idempotent.qualified(plan.target), '(' || listed || ') ', coalesce(given, ''), idempotent.working(plan), idempotent.marked('place'),
        idempotent.conflict_target(plan.target, plan.arbiter), keys, idempotent.marked('place'), idempotent.key_match(plan, stored), idempotent.marked('has_key'));
END
$$;
COMMENT ON FUNCTION idempotent.insertion_of(idempotent.merge_plan, smallint[]) IS 'the statement that inserts working rows';

-- Step 3. A column that a row leaves out, and others name, keeps what is stored.
CREATE FUNCTION idempotent.change_of(plan idempotent.merge_plan, updates boolean, deletes boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    condition text := format('%s AND (%s) OPERATOR(pg_catalog.=) 1', idempotent.stored_match(plan), idempotent.judgement(plan));
    setting text := (
        SELECT string_agg(format('%I = %s', c.name, coalesce('CASE WHEN ' || idempotent.names_column(plan, c) || format(' THEN %s ELSE %I.%I END', idempotent.arrived(c), plan.name, c.name),
                                                             idempotent.arrived(c))), ', ' ORDER BY c.number)
          FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.updated));
BEGIN
    IF NOT deletes THEN
        RETURN format('UPDATE %s SET %s FROM %s WHERE %s', plan.relation, setting, idempotent.working(plan), condition);
    ELSIF NOT updates THEN
        RETURN format('DELETE FROM %s USING %s WHERE %s', plan.relation, idempotent.working(plan), condition);
    END IF;
    RETURN format('MERGE INTO %s USING %s ON %s WHEN MATCHED AND %s THEN DELETE WHEN MATCHED THEN UPDATE SET %s',
        plan.relation, idempotent.working(plan), condition, idempotent.marked('deletes'), setting);
END
$$;
COMMENT ON FUNCTION idempotent.change_of(idempotent.merge_plan, boolean, boolean) IS 'the statement that updates and deletes';

-- The rounds ----------------------------------------------------------------------------------------------------------

-- Rows that have a key each, in their order.
CREATE FUNCTION idempotent.merge_rows(plan idempotent.merge_plan, given anyarray, marks idempotent.mark[], INOUT counts idempotent.merge_counts)
LANGUAGE plpgsql
AS $$
DECLARE
    look text := idempotent.look_of_merge(plan);
    pending given%TYPE := given;
    new_rows given%TYPE;
    new_marks idempotent.mark[];
    later_rows given%TYPE;
    later_marks idempotent.mark[];
    equal bigint;
    stale bigint;
    gone bigint;
    updated bigint;
    written bigint := 0;
    tried boolean := false;
    done record;
BEGIN
    FOR round IN 1 .. 16 LOOP
        EXECUTE look INTO equal, stale, gone, updated, new_rows, new_marks, later_rows, later_marks USING pending, marks, tried;
        IF tried AND idempotent.is_more(written, updated, gone) THEN
            PERFORM idempotent.refuse_moved(plan);
        END IF;
        counts := idempotent.counted_look(counts, equal, stale, gone, updated, written);
        tried := false;
        written := 0;
        IF new_rows IS NOT NULL THEN
            SELECT * INTO done FROM idempotent.insert_rows(plan, new_rows, new_marks, counts);
            counts := done.counts;
            pending := pg_catalog.array_cat(done.left_rows, later_rows);
            marks := pg_catalog.array_cat(done.left_marks, later_marks);
        ELSIF later_rows IS NOT NULL THEN
            SELECT * INTO done FROM idempotent.change_rows(plan, later_rows, later_marks, counts);
            counts := done.counts;
            written := done.written;
            IF written IS NULL THEN
                RETURN;
            END IF;
            tried := true;
            pending := later_rows;
            marks := later_marks;
        END IF;
        IF pending IS NULL OR new_rows IS NULL AND later_rows IS NULL THEN
            RETURN;
        END IF;
    END LOOP;
    PERFORM idempotent.refuse_unwritten(plan, new_rows IS NULL, later_marks);
END
$$;
COMMENT ON FUNCTION idempotent.merge_rows(idempotent.merge_plan, anyarray, idempotent.mark[], idempotent.merge_counts) IS 'merges rows that have a key each';

-- What was written beyond updates has deleted, as far as it is gone; what is gone besides was deleted by somebody else, or
-- never there.
CREATE FUNCTION idempotent.counted_look(counts idempotent.merge_counts, equal bigint, stale bigint, gone bigint, updated bigint, written bigint) RETURNS idempotent.merge_counts
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deleted bigint := least(greatest(written - updated, 0), gone);
BEGIN
    counts.updated := counts.updated + updated;
    counts.deleted := counts.deleted + deleted;
    counts.unchanged := counts.unchanged + equal + gone - deleted;
    counts.stale := counts.stale + stale;
    RETURN counts;
END
$$;
COMMENT ON FUNCTION idempotent.counted_look(idempotent.merge_counts, bigint, bigint, bigint, bigint, bigint) IS 'the counts, after a look';

CREATE FUNCTION idempotent.is_more(written bigint, updated bigint, gone bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT written > updated + gone $$;
COMMENT ON FUNCTION idempotent.is_more(bigint, bigint, bigint) IS 'whether more was written than is found again';

-- Step 2. One statement for all rows that name the same columns.
CREATE FUNCTION idempotent.insert_rows(
    plan idempotent.merge_plan, given anyarray, marks idempotent.mark[], INOUT counts idempotent.merge_counts, OUT left_rows anyarray, OUT left_marks idempotent.mark[]
) LANGUAGE plpgsql
AS $$
DECLARE
    of_shape record;
    shape bit varying;
    rest_rows given%TYPE;
    rest_marks idempotent.mark[];
BEGIN
    PERFORM idempotent.refuse_read_only(plan.target, 'INSERT');
    FOR shape IN SELECT s FROM idempotent.shapes_of(marks) AS s LOOP
        PERFORM idempotent.check_identity(plan, shape);
        SELECT pg_catalog.array_agg(r ORDER BY (m).place) AS rows, pg_catalog.array_agg(m ORDER BY (m).place) AS marks INTO of_shape
          FROM (SELECT pg_catalog.unnest(given) AS r, pg_catalog.unnest(marks) AS m) AS w WHERE (m).named OPERATOR(pg_catalog.=) shape;
        -- A guard of the table steps aside for this statement.
        PERFORM pg_catalog.set_config('idempotent.own_insert', pg_catalog.concat(plan.target::pg_catalog.oid, ' ', (plan.arbiter).index), true);
        EXECUTE idempotent.insertion_of(plan, idempotent.numbers_in(plan.columns, shape)) INTO rest_rows, rest_marks USING of_shape.rows, of_shape.marks;
        PERFORM pg_catalog.set_config('idempotent.own_insert', '', true);
        counts.inserted := idempotent.sum_of(counts.inserted, of_shape.marks, rest_marks);
        left_rows := pg_catalog.array_cat(left_rows, rest_rows);
        left_marks := pg_catalog.array_cat(left_marks, rest_marks);
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.insert_rows(idempotent.merge_plan, anyarray, idempotent.mark[], idempotent.merge_counts) IS 'inserts working rows';

CREATE FUNCTION idempotent.shapes_of(marks idempotent.mark[]) RETURNS SETOF bit varying
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT m.named FROM unnest(marks) AS m GROUP BY m.named ORDER BY min(m.place);
END
$$;
COMMENT ON FUNCTION idempotent.shapes_of(idempotent.mark[]) IS 'which columns rows name';

CREATE FUNCTION idempotent.sum_of(before bigint, tried idempotent.mark[], rest idempotent.mark[]) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT before + cardinality(tried) - coalesce(cardinality(rest), 0) $$;
COMMENT ON FUNCTION idempotent.sum_of(bigint, idempotent.mark[], idempotent.mark[]) IS 'a count, with those that were tried and are not left';

CREATE FUNCTION idempotent.check_identity(plan idempotent.merge_plan, shape bit varying) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    refused text;
BEGIN
    SELECT c.name INTO refused FROM unnest(plan.columns) AS c WHERE c.identity = 'a' AND c.number = ANY (idempotent.numbers_in(plan.columns, shape)) LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.refuse_number(plan.target, refused);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_identity(idempotent.merge_plan, bit varying) IS 'refuses numbers for an identity column';

-- 428C9 where there is no option that overrides.
CREATE FUNCTION idempotent.refuse_number(target regclass, name text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('428C9', format('cannot insert a non-DEFAULT value into column "%s"', name),
        format('Column "%s" is an identity column defined as GENERATED ALWAYS.', name),
        format('Leave it out; for a source table, use a view of its other columns, or make it writable: ALTER TABLE %s ALTER COLUMN %I SET GENERATED BY DEFAULT;',
            idempotent.qualified(coalesce(pg_partition_root(target), target)), name));
END
$$;
COMMENT ON FUNCTION idempotent.refuse_number(regclass, text) IS 'refuses a number for an identity column';

-- Step 3. `written` is NULL if all rows were written, and it is known that they are under their keys; else it is how many
-- were, and the next look tells which. The server has to take the rows in their order, and to look each of them up: a join
-- that hashes or sorts them, or begins with the target, would lose the order of keys.
CREATE FUNCTION idempotent.change_rows(plan idempotent.merge_plan, given anyarray, marks idempotent.mark[], INOUT counts idempotent.merge_counts, OUT written bigint)
LANGUAGE plpgsql
SET enable_nestloop = on SET enable_indexscan = on SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    n record;
BEGIN
    SELECT d.updates, d.deletes INTO n FROM idempotent.kinds_of(marks) AS d;
    EXECUTE idempotent.change_of(plan, idempotent.are_any(n.updates), idempotent.are_any(n.deletes)) USING given, marks;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF idempotent.is_done(plan, n.updates, n.deletes, written) THEN
        counts := idempotent.counted_look(counts, 0, 0, n.deletes, n.updates, written);
        written := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.change_rows(idempotent.merge_plan, anyarray, idempotent.mark[], idempotent.merge_counts) IS 'updates and deletes stored rows';

CREATE FUNCTION idempotent.kinds_of(marks idempotent.mark[], OUT updates bigint, OUT deletes bigint)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT count(*) FILTER (WHERE NOT m.deletes), count(*) FILTER (WHERE m.deletes) FROM unnest(marks) AS m $$;
COMMENT ON FUNCTION idempotent.kinds_of(idempotent.mark[]) IS 'how many rows update, and how many delete';

CREATE FUNCTION idempotent.are_any(n bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT n > 0 $$;
COMMENT ON FUNCTION idempotent.are_any(bigint) IS 'whether there are any';

CREATE FUNCTION idempotent.is_done(plan idempotent.merge_plan, updates bigint, deletes bigint, written bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT written = updates + deletes AND NOT (plan.may_move AND updates > 0) $$;
COMMENT ON FUNCTION idempotent.is_done(idempotent.merge_plan, bigint, bigint, bigint) IS 'whether nothing is left to look at';

-- 27000 for an update that has put a row where its key does not lead.
CREATE FUNCTION idempotent.refuse_moved(plan idempotent.merge_plan) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('27000',
        format('%s was stored under another key than its own in table "%s"', CASE plan.origin WHEN 'source' THEN 'a row of the source' ELSE 'a payload' END, plan.name),
        'A BEFORE UPDATE trigger changed the key, or moved the row out of the condition of the index.'
        || CASE WHEN plan.mixes_key THEN E'\nOr the key is also computed from a column of the key, of which an update leaves the stored spelling.' ELSE '' END,
        'Insert into the table that the trigger writes to, or disable the trigger.', plan.target, "constraint" => (plan.arbiter).name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_moved(idempotent.merge_plan) IS 'raises 27000 for a row that was moved';

-- For rows that were neither inserted nor updated nor deleted, and are in nobody's way.
CREATE FUNCTION idempotent.refuse_unwritten(plan idempotent.merge_plan, changes boolean, marks idempotent.mark[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    what text := CASE WHEN EXISTS (SELECT FROM unnest(marks) AS m WHERE m.deletes) THEN 'a delete' ELSE 'an update' END;
BEGIN
    IF row_security_active(plan.target) AND NOT changes THEN
        -- Of a row that the policies hide nothing is said.
        PERFORM idempotent.fail('42501', format('new row violates row-level security policy for table "%s"', plan.name));
    ELSIF row_security_active(plan.target) THEN
        PERFORM idempotent.fail('42501', format('row-level security policy for table "%s" does not allow %s of a stored row', plan.name, what), target => plan.target);
    END IF;
    PERFORM idempotent.fail('27000',
        format('%s was neither inserted nor updated nor deleted in table "%s"', CASE plan.origin WHEN 'source' THEN 'a row of the source' ELSE 'a payload' END, plan.name),
        'A BEFORE trigger suppressed the row or changed its key.',
        'Insert into the table that the trigger writes to, or disable the trigger.', plan.target, "constraint" => (plan.arbiter).name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_unwritten(idempotent.merge_plan, boolean, idempotent.mark[]) IS 'raises 27000 or 42501 for rows that were not written';

-- Which of the rows that arrived are merged ---------------------------------------------------------------------------

-- The order of the key's index, for ORDER BY.
CREATE FUNCTION idempotent.key_order(arbiter idempotent.unique_index) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT string_agg(format('"idempotent key %s"%s USING OPERATOR(%I.%s)', n, arbiter.collates[n], opn.nspname, o.oprname), ', ' ORDER BY n)
          FROM pg_index AS i CROSS JOIN generate_subscripts(arbiter.parts, 1) AS n
          JOIN pg_opclass AS oc ON oc.oid = i.indclass[n - 1]
          JOIN pg_amop AS op ON op.amopfamily = oc.opcfamily AND op.amoplefttype = oc.opcintype AND op.amoprighttype = oc.opcintype AND op.amopstrategy = 1
          JOIN pg_operator AS o ON o.oid = op.amopopr
          JOIN pg_namespace AS opn ON opn.oid = o.oprnamespace
         WHERE i.indexrelid = arbiter.index);
END
$$;
COMMENT ON FUNCTION idempotent.key_order(idempotent.unique_index) IS 'the order of keys, for ORDER BY';

-- The later first, by latest_by; `true` where it is not given.
CREATE FUNCTION idempotent.time_order(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((
        SELECT string_agg(CASE WHEN d.number IS NULL THEN format('(%s)[%s] DESC', idempotent.marked('unstored'), d.nth)
                               ELSE (SELECT idempotent.descending(c, idempotent.arrived(c)) FROM unnest(plan.columns) AS c WHERE c.number = d.number) END, ', ' ORDER BY d.ordinality)
          FROM (SELECT *, count(*) FILTER (WHERE number IS NULL) OVER (ORDER BY ordinality) AS nth FROM unnest(plan.deciders) WITH ORDINALITY AS u) AS d), 'true');
END
$$;
COMMENT ON FUNCTION idempotent.time_order(idempotent.merge_plan) IS 'the order of latest_by, for ORDER BY';

-- Of rows with the same latest_by: one that deletes is the later; then the compared columns decide, in the order of the table,
-- then the others, so that it is always the same row that is kept. A column that is left out comes before NULL.
CREATE FUNCTION idempotent.tie_order(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN concat_ws(', ', idempotent.marked('deletes') || ' DESC', (
        SELECT string_agg(concat_ws(', ', '(' || idempotent.names_column(plan, c) || ') DESC', idempotent.descending(c, idempotent.arrived(c))), ', '
                          ORDER BY c.number <> ALL (plan.compared), c.number)
          FROM unnest(plan.columns) AS c
         WHERE c.number = ANY (plan.named) AND c.number <> ALL ((plan.arbiter).numbers) AND c.number <> ALL (idempotent.kept_deciders(plan.deciders))),
        idempotent.marked('ordinal'));
END
$$;
COMMENT ON FUNCTION idempotent.tie_order(idempotent.merge_plan) IS 'the order of rows with the same latest_by, for ORDER BY';

-- The statement that keeps the rows that count, in key order. It gives their passes. Rows outside of the condition of the key
-- have none: they go into the first pass as they are, after the others.
CREATE FUNCTION idempotent.reduction_of(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format(
        'WITH grouped AS MATERIALIZED (SELECT *, pg_catalog.dense_rank() OVER (ORDER BY %s) AS grp FROM %s WHERE %s),'
        ' ranked AS MATERIALIZED (SELECT "idempotent row" AS "row", "idempotent mark" AS mark, grp,'
        '     pg_catalog.row_number() OVER (PARTITION BY grp ORDER BY %s, %s) AS r, pg_catalog.dense_rank() OVER (PARTITION BY grp ORDER BY %4$s) AS t'
        '   FROM grouped AS "idempotent working"),'
        ' %6$s,'
        ' passes AS (SELECT "row", mark, named, grp AS place, pg_catalog.dense_rank() OVER (PARTITION BY grp ORDER BY t DESC) AS pass FROM kept'
        '   UNION ALL SELECT "idempotent row", "idempotent mark", %7$s, 4611686018427387904 OPERATOR(pg_catalog.+) %8$s, 1 FROM %2$s WHERE NOT %3$s AND NOT %9$s)'
        ' SELECT pg_catalog.array_agg("row" ORDER BY place) AS rows, pg_catalog.array_agg(idempotent.placed(mark, place, named) ORDER BY place) AS marks'
        '   FROM passes GROUP BY pass ORDER BY pass',
        idempotent.key_order(plan.arbiter), idempotent.working(plan), idempotent.marked('has_key'), idempotent.time_order(plan), idempotent.tie_order(plan),
        CASE WHEN plan.one_shape THEN 'kept AS (SELECT "row", mark, (mark).named AS named, grp, t FROM ranked WHERE r OPERATOR(pg_catalog.=) 1)'
             ELSE idempotent.joining(plan) END,
        idempotent.marked('named'), idempotent.marked('ordinal'), idempotent.marked('deletes'));
END
$$;
COMMENT ON FUNCTION idempotent.reduction_of(idempotent.merge_plan) IS 'the statement that keeps the rows that count';

CREATE FUNCTION idempotent.placed(mark idempotent.mark, place bigint, named bit varying) RETURNS idempotent.mark
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    mark.place := place;
    mark.named := named;
    RETURN mark;
END
$$;
COMMENT ON FUNCTION idempotent.placed(idempotent.mark, bigint, bit varying) IS 'a mark with the place of its row';

-- Payloads that do not all name the same columns. The latest under a key does not replace the others: of a column that it leaves
-- out, the latest payload counts that names it. So they are merged one after the other, in passes, the earliest first.
-- Payloads of the same time (`t`) are one that has the columns of all. It is superseded if later ones name all its columns, or one
-- of them deletes; and of its own payloads those are whose columns later ones of them name. A delete that a later payload
-- supersedes has no effect.
CREATE FUNCTION idempotent.joining(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_key text := format('%L::pg_catalog.varbit', idempotent.bits_of(plan.columns, (plan.arbiter).numbers));
    everything text := format('%L::pg_catalog.varbit', repeat('1', cardinality(plan.columns)));
    joined text[] := ARRAY(
        SELECT format('((pg_catalog.array_agg("row" ORDER BY pg_catalog.get_bit((mark).named, %s) DESC, r))[1]).%I', place - 1, name)
          FROM (SELECT c.name, row_number() OVER (ORDER BY c.number) AS place FROM unnest(plan.columns) AS c) AS numbered ORDER BY place);
BEGIN
    RETURN format(
        'named AS (SELECT *, CASE WHEN (mark).deletes THEN %s ELSE (mark).named END AS bits FROM ranked),'
        ' covered AS (SELECT *,'
        '     COALESCE(pg_catalog.bit_or(bits) OVER (PARTITION BY grp ORDER BY t GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), %s) OPERATOR(pg_catalog.|) %2$s AS by_later,'
        '     COALESCE(pg_catalog.bit_or(bits) OVER (PARTITION BY grp, t ORDER BY r ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), %2$s) OPERATOR(pg_catalog.|) %2$s AS by_equal'
        '   FROM named),'
        ' counting AS (SELECT *, t OPERATOR(pg_catalog.=) 1 OR pg_catalog.bool_or(idempotent.adds(bits, by_later)) OVER (PARTITION BY grp, t) AS counts FROM covered),'
        ' lasting AS (SELECT *, pg_catalog.max(r) OVER (PARTITION BY grp) AS last FROM counting WHERE counts AND (r OPERATOR(pg_catalog.=) 1 OR idempotent.adds(bits, by_equal))),'
        ' kept AS (SELECT CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 1 THEN (pg_catalog.array_agg("row" ORDER BY r))[1] ELSE %s END AS "row",'
        '     (pg_catalog.array_agg(mark ORDER BY r))[1] AS mark, pg_catalog.bit_or((mark).named) AS named, grp, t'
        '   FROM lasting WHERE NOT ((mark).deletes AND r OPERATOR(pg_catalog.=) last AND r OPERATOR(pg_catalog.>) 1) GROUP BY grp, t)',
        everything, of_key, idempotent.working_row(plan.target, ARRAY(SELECT c.number FROM unnest(plan.columns) AS c ORDER BY c.number), joined));
END
$$;
COMMENT ON FUNCTION idempotent.joining(idempotent.merge_plan) IS 'SQL that keeps payloads that name different columns';

CREATE FUNCTION idempotent.adds(bits bit varying, covered bit varying) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT bit_count(bits & ~covered) > 0 $$;
COMMENT ON FUNCTION idempotent.adds(bit varying, bit varying) IS 'whether a row names columns that others do not';

-- Refuses the first row whose key has a NULL, or whose generated columns are wrong.
CREATE FUNCTION idempotent.check_marks(target regclass, arbiter idempotent.unique_index, origin text, marks idempotent.mark[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad idempotent.mark;
    row_name text;
BEGIN
    SELECT * INTO bad FROM unnest(marks) AS m WHERE m.wrong IS NOT NULL OR m.null_part IS NOT NULL ORDER BY m.ordinal LIMIT 1;
    row_name := idempotent.numbered(origin, bad.ordinal);
    IF bad.wrong IS NOT NULL THEN
        PERFORM idempotent.refuse_generated(target, bad.wrong,
            format('%s has a value there that differs from the one that the server computes.', upper(left(row_name, 1)) || substr(row_name, 2)));
    ELSIF bad.null_part IS NOT NULL THEN
        PERFORM idempotent.refuse_key(target, arbiter, arbiter.parts[bad.null_part], 'null in', row_name, origin);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_marks(regclass, idempotent.unique_index, text, idempotent.mark[]) IS 'refuses rows without a key, or with wrong generated columns';

-- A row that deletes and has no key has to say so itself: the condition is not met where a column is NULL that the row leaves
-- out, and which has no default.
CREATE FUNCTION idempotent.check_outside(plan idempotent.merge_plan, marks idempotent.mark[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT c.name, m.ordinal INTO bad
      FROM unnest(marks) AS m
      JOIN pg_index AS i ON i.indexrelid = (plan.arbiter).index
     CROSS JOIN LATERAL idempotent.columns_in(plan.target, i.indpred) AS used
      JOIN unnest(plan.columns) AS c ON c.number = used
     WHERE m.deletes AND NOT m.has_key AND c.filled_by IS NULL AND c.identity = '' AND c.number <> ALL (idempotent.numbers_in(plan.columns, m.named))
     ORDER BY m.ordinal, c.number LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.refuse_key(plan.target, plan.arbiter, bad.name, 'missing from',
            CASE plan.origin WHEN 'source' THEN 'the source' ELSE idempotent.numbered(plan.origin, bad.ordinal) END, plan.origin);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_outside(idempotent.merge_plan, idempotent.mark[]) IS 'refuses deletes that cannot be identified';

-- Without latest_by, rows with the same key must agree. The statement finds the first that does not.
CREATE FUNCTION idempotent.disagreement_of(plan idempotent.merge_plan) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    differing text;
    first_values text;
    other_values text;
    other_keys text := (SELECT string_agg(idempotent.shown(format('other."idempotent key %s"', n)), ', ' ORDER BY n) FROM generate_subscripts((plan.arbiter).parts, 1) AS n);
BEGIN
    SELECT string_agg(format('CASE WHEN %sNOT %s THEN %L END',
               CASE WHEN NOT plan.one_shape THEN format('pg_catalog.get_bit((one.mark).named OPERATOR(pg_catalog.&) (other.mark).named, %s) OPERATOR(pg_catalog.=) 1 AND ', place - 1) END,
               idempotent.agreement(c, format('(one."row").%I', (c).name), format('(other."row").%I', (c).name)), (c).name), ', ' ORDER BY place),
           string_agg(idempotent.shown(format('(one."row").%I', (c).name)), ', ' ORDER BY place),
           string_agg(idempotent.shown(format('(other."row").%I', (c).name)), ', ' ORDER BY place)
      INTO differing, first_values, other_values
      FROM (SELECT c, row_number() OVER (ORDER BY c.number) AS place FROM unnest(plan.columns) AS c) AS n WHERE (c).number = ANY (plan.compared);
    RETURN format(
        'WITH keyed AS MATERIALIZED (SELECT *, "idempotent row" AS "row", "idempotent mark" AS mark, pg_catalog.dense_rank() OVER (ORDER BY %s) AS grp FROM %s WHERE %s),'
        ' numbered AS MATERIALIZED (SELECT *, pg_catalog.row_number() OVER (PARTITION BY grp ORDER BY (mark).ordinal) AS n FROM keyed)'
        ' SELECT (one.mark).deletes OPERATOR(pg_catalog.<>) (other.mark).deletes, differing, ARRAY[%s]::pg_catalog.text[], ARRAY[%s]::pg_catalog.text[], ARRAY[%s]::pg_catalog.text[]'
        '   FROM numbered AS one JOIN numbered AS other ON other.grp OPERATOR(pg_catalog.=) one.grp AND %s AND one.n OPERATOR(pg_catalog.>) other.n'
        '  CROSS JOIN LATERAL (SELECT pg_catalog.array_remove(ARRAY[%s]::pg_catalog.text[], NULL) AS differing) AS d'
        '  WHERE NOT ((one.mark).deletes AND (other.mark).deletes)'
        '    AND ((one.mark).deletes OPERATOR(pg_catalog.<>) (other.mark).deletes OR pg_catalog.cardinality(differing) OPERATOR(pg_catalog.>) 0)'
        '  ORDER BY one.grp, one.n, other.n LIMIT 1',
        idempotent.key_order(plan.arbiter), idempotent.working(plan), idempotent.marked('has_key'), coalesce(first_values, ''), coalesce(other_values, ''), other_keys,
        CASE WHEN plan.one_shape THEN 'other.n OPERATOR(pg_catalog.=) 1' ELSE 'true' END, coalesce(differing, ''));
END
$$;
COMMENT ON FUNCTION idempotent.disagreement_of(idempotent.merge_plan) IS 'the statement that finds rows with the same key that differ';

CREATE FUNCTION idempotent.check_agreement(plan idempotent.merge_plan, given anyarray, marks idempotent.mark[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    one_deletes boolean;
    differing text[];
    first_values text[];
    other_values text[];
    other_key text[];
BEGIN
    IF pg_catalog.cardinality(plan.deciders) OPERATOR(pg_catalog.=) 0 THEN
        EXECUTE idempotent.disagreement_of(plan) INTO one_deletes, differing, first_values, other_values, other_key USING given, marks;
        IF differing IS NOT NULL THEN
            PERFORM idempotent.refuse_disagreement(plan, one_deletes, differing, first_values, other_values, other_key);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_agreement(idempotent.merge_plan, anyarray, idempotent.mark[]) IS 'refuses rows with the same key that differ';

-- 21000: two rows with the same key differ, and nothing says which is the latest.
CREATE FUNCTION idempotent.refuse_disagreement(
    plan idempotent.merge_plan, one_deletes boolean, differing text[], first_values text[], other_values text[], other_key text[]
) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    noun text := CASE plan.origin WHEN 'source' THEN 'row' ELSE 'payload' END;
    shown boolean := coalesce(current_setting('pg_idempotent.show_values', true), 'on') NOT IN ('off', 'false', 'no', '0');
    key text := format('(%s)', idempotent.key_list(plan.arbiter));
    names text;
    first_list text;
    other_list text;
BEGIN
    IF shown THEN
        key := format('%s=(%s)', key, (SELECT string_agg(coalesce(idempotent.cut(k), 'null'), ', ' ORDER BY n) FROM unnest(other_key) WITH ORDINALITY AS o (k, n)));
    END IF;
    SELECT string_agg(quote_ident(name), ', ' ORDER BY place),
           string_agg(format('%I=%s', name, coalesce(idempotent.cut(first_values[place]), 'null')), ', ' ORDER BY place),
           string_agg(format('%I=%s', name, coalesce(idempotent.cut(other_values[place]), 'null')), ', ' ORDER BY place)
      INTO names, first_list, other_list
      FROM (SELECT c.name, row_number() OVER (ORDER BY c.number) AS place FROM unnest(plan.columns) AS c WHERE c.number = ANY (plan.compared)) AS n WHERE name = ANY (differing);
    PERFORM idempotent.fail('21000',
        format('%s for table "%s" have the same key and differ', CASE plan.origin WHEN 'source' THEN 'rows of the source' ELSE 'payloads' END, plan.name),
        CASE WHEN one_deletes THEN format('One %s with key %s deletes what is stored; another does not.', noun, key)
             WHEN shown THEN format('One %s with key %s has %s; another has %s.', noun, key, first_list, other_list)
             ELSE format('%ss with the same key %s differ in %s.', initcap(noun), key, names) END,
        'Name the columns that identify the latest row with the argument latest_by.', plan.target, "constraint" => (plan.arbiter).name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_disagreement(idempotent.merge_plan, boolean, text[], text[], text[], text[]) IS 'raises 21000';

-- All rows that arrived, in their order.
CREATE FUNCTION idempotent.merge_all(plan idempotent.merge_plan, given anyarray, marks idempotent.mark[]) RETURNS idempotent.merge_counts
LANGUAGE plpgsql
AS $$
DECLARE
    pass record;
    counts idempotent.merge_counts;
BEGIN
    counts := idempotent.counts_before(marks);
    IF marks IS NULL THEN
        RETURN counts;
    END IF;
    PERFORM idempotent.check_marks(plan.target, plan.arbiter, plan.origin, marks);
    PERFORM idempotent.check_agreement(plan, given, marks);
    PERFORM idempotent.check_outside(plan, marks);
    FOR pass IN EXECUTE idempotent.reduction_of(plan) USING given, marks LOOP
        counts := idempotent.without_kept(counts, pass.marks);
        counts := idempotent.merge_rows(plan, pass.rows, pass.marks, counts);
    END LOOP;
    RETURN counts;
END
$$;
COMMENT ON FUNCTION idempotent.merge_all(idempotent.merge_plan, anyarray, idempotent.mark[]) IS 'merges working rows';

-- Before it is known which rows are kept, all that have something to say are superseded. A delete without a key does nothing.
CREATE FUNCTION idempotent.counts_before(marks idempotent.mark[]) RETURNS idempotent.merge_counts
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    gone bigint := (SELECT count(*) FROM unnest(marks) AS m WHERE m.deletes AND NOT m.has_key);
    received bigint := coalesce(cardinality(marks), 0);
BEGIN
    RETURN ROW(received, 0, 0, 0, gone, 0, received - gone)::idempotent.merge_counts;
END
$$;
COMMENT ON FUNCTION idempotent.counts_before(idempotent.mark[]) IS 'the counts before anything is merged';

CREATE FUNCTION idempotent.without_kept(counts idempotent.merge_counts, marks idempotent.mark[]) RETURNS idempotent.merge_counts
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    counts.superseded := counts.superseded - cardinality(marks);
    RETURN counts;
END
$$;
COMMENT ON FUNCTION idempotent.without_kept(idempotent.merge_counts, idempotent.mark[]) IS 'the counts without rows that are merged';

-- How rows are read ---------------------------------------------------------------------------------------------------

-- SQL for working rows with their marks, from a FROM item that has "row", ordinal, deletes, named and unstored; and for the
-- call that merges them, in which $1 is the plan.
CREATE FUNCTION idempotent.merging_of(plan idempotent.merge_plan, rows_read text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    arbiter idempotent.unique_index := plan.arbiter;
    null_part text := (SELECT string_agg(format('WHEN (%s) IS NOT DISTINCT FROM NULL THEN %s', e, n), ' ' ORDER BY n) FROM unnest(arbiter.expressions) WITH ORDINALITY AS k (e, n));
    condition text := coalesce(arbiter.condition, 'true');
    wrong text := idempotent.wrong_column(plan.target, plan.named);
BEGIN
    RETURN format(
        'SELECT idempotent.merge_all($1, pg_catalog.array_agg(read."row" ORDER BY read.ordinal),'
        '   pg_catalog.array_agg(ROW(read.ordinal, NULL, read.deletes, read.named, COALESCE(keyed.has_key, false), keyed.null_part, keyed.wrong, read.unstored, NULL, NULL)::idempotent.mark'
        '                        ORDER BY read.ordinal)) AS counts'
        '  FROM (%s) AS read'
        ' CROSS JOIN LATERAL (SELECT (%s) AS has_key, %s AS null_part, CASE WHEN NOT read.deletes THEN %s END AS wrong FROM (SELECT (read."row").*%s) AS %I) AS keyed',
        rows_read, condition, CASE WHEN arbiter.nulls_equal THEN 'NULL::pg_catalog.int4' ELSE format('CASE WHEN (%s) THEN CASE %s END END', condition, null_part) END,
        wrong, CASE WHEN wrong ~ '\mtableoid\M' THEN format(', %s::pg_catalog.oid AS tableoid', plan.target::oid) ELSE '' END, plan.name);
END
$$;
COMMENT ON FUNCTION idempotent.merging_of(idempotent.merge_plan, text) IS 'the statement that reads rows and merges them';

-- The rows of a source. Of a row that deletes, only the key and latest_by are read: what the other columns hold need not be
-- such as could be stored.
CREATE FUNCTION idempotent.source_to_merge(plan idempotent.merge_plan, source regclass, own idempotent.source_column[], delete_when text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deletes text := coalesce('"idempotent source".' || quote_ident(delete_when) || ' IS TRUE', 'false');
    always_read smallint[] := (plan.arbiter).deciding || idempotent.kept_deciders(plan.deciders);
    numbers smallint[] := ARRAY(SELECT o.number FROM unnest(own) AS o);
    vals text[] := idempotent.source_values(plan.target, own);
    defaults record;
BEGIN
    SELECT * INTO defaults FROM idempotent.completed(plan.target, (plan.arbiter).deciding, numbers);
    IF delete_when IS NOT NULL THEN
        vals := ARRAY(SELECT CASE WHEN n = ANY (always_read) THEN v
                                  ELSE format('CASE WHEN %s THEN %s ELSE %s END', deletes, idempotent.null_of(plan.target, idempotent.column_name(plan.target, n)), v) END
                        FROM unnest(numbers, vals) WITH ORDINALITY AS u (n, v, place) ORDER BY place);
    END IF;
    RETURN idempotent.merging_of(plan, idempotent.numbered_source(source, format(
        '"idempotent ordinal" AS ordinal, %s AS deletes, %L::pg_catalog.varbit AS named, %s AS unstored, %s AS "row"',
        deletes, idempotent.bits_of(plan.columns, plan.named), idempotent.ranks_of(source, plan.deciders),
        idempotent.working_row(plan.target, numbers || defaults.numbers, vals || defaults.vals))));
END
$$;
COMMENT ON FUNCTION idempotent.source_to_merge(idempotent.merge_plan, regclass, idempotent.source_column[], text) IS 'the statement that merges a source';

-- SQL for what decides and only the source has: of each such column, the place of the value among those of all rows.
CREATE FUNCTION idempotent.ranks_of(source regclass, deciders idempotent.decider[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT format('ARRAY[%s]::pg_catalog.int8[]', string_agg(format('OPERATOR(pg_catalog.-) pg_catalog.dense_rank() OVER (ORDER BY %s)',
                   idempotent.descending(c, format('"idempotent source".%I', c.name))), ', ' ORDER BY d.ordinality))
          FROM unnest(deciders) WITH ORDINALITY AS d JOIN idempotent.columns_of(source) AS c ON c.name = d.field WHERE d.number IS NULL);
END
$$;
COMMENT ON FUNCTION idempotent.ranks_of(regclass, idempotent.decider[]) IS 'SQL for the places of values that are not stored';

CREATE FUNCTION idempotent.merge_rule(target regclass, key text[], compare text[], ignore text[]) RETURNS idempotent.rule
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM idempotent.check_list('key', key);
    PERFORM idempotent.check_list('compare', compare);
    PERFORM idempotent.check_list('ignore', ignore);
    IF key IS NOT NULL THEN
        key := idempotent.canonical_key(target, key);
    END IF;
    RETURN idempotent.rule_of(target, key, compare, ignore);
END
$$;
COMMENT ON FUNCTION idempotent.merge_rule(regclass, text[], text[], text[]) IS 'the key and the compared columns of a merge';

-- The column of a source that says which rows delete.
CREATE FUNCTION idempotent.check_flag(target regclass, source regclass, delete_when text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    flag idempotent.column_info;
BEGIN
    IF delete_when IS NULL THEN
        RETURN;
    END IF;
    SELECT * INTO flag FROM idempotent.columns_of(source) AS c WHERE c.name = delete_when;
    IF NOT FOUND THEN
        PERFORM idempotent.not_in_source(target, delete_when, 'delete_when');
    ELSIF flag.base <> 'bool'::regtype THEN
        PERFORM idempotent.fail('42804', format('column "%s" of "delete_when" is of type %s instead of boolean', delete_when, format_type(flag.typid, NULL)),
            target => target, "column" => delete_when);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_flag(regclass, regclass, text) IS 'refuses a flag that is no boolean column of the source';

CREATE FUNCTION idempotent.source_fields(source regclass) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = source AND attnum > 0 AND NOT attisdropped ORDER BY attnum);
END
$$;
COMMENT ON FUNCTION idempotent.source_fields(regclass) IS 'the names of the columns of a source';

-- The columns of a source for a merge.
CREATE FUNCTION idempotent.merged_columns(target regclass, source regclass, deciders idempotent.decider[], delete_when text) RETURNS idempotent.source_column[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    renamed idempotent.decider[] := ARRAY(SELECT d FROM unnest(deciders) AS d WHERE d.number IS NOT NULL AND d.field IS NOT NULL);
    twice text;
BEGIN
    PERFORM idempotent.check_flag(target, source, delete_when);
    SELECT name INTO twice FROM unnest(renamed) AS d, LATERAL (SELECT idempotent.column_name(target, d.number) AS name) AS c
     WHERE name = ANY (idempotent.source_fields(source)) LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('42701', format('source "%s" has two columns for "%s"', idempotent.name_of(source), twice),
            format('It has a column of that name, and another one that "latest_by" stores as "%s".', twice),
            'Use a view of the source without one of them.', target, twice);
    END IF;
    RETURN ARRAY(SELECT c FROM idempotent.columns_of_source(target, source,
        ARRAY(SELECT d.field FROM unnest(deciders) AS d WHERE d.field IS NOT NULL) || delete_when,
        ARRAY(SELECT d.field FROM unnest(renamed) AS d), ARRAY(SELECT d.number FROM unnest(renamed) AS d)) AS c);
END
$$;
COMMENT ON FUNCTION idempotent.merged_columns(regclass, regclass, idempotent.decider[], text) IS 'the columns of a source for a merge';

CREATE FUNCTION idempotent.plan_source_merge(
    target regclass, source regclass, rule idempotent.rule, own idempotent.source_column[], deciders idempotent.decider[], insert_only text[], delete_when text
) RETURNS idempotent.merge_plan
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    numbers smallint[] := ARRAY(SELECT o.number FROM unnest(own) AS o);
    plan idempotent.merge_plan;
BEGIN
    plan := idempotent.plan_merge(target,
        idempotent.find_arbiter(target, rule, idempotent.named_by_source(own), (idempotent.guard_in_force(target)).key, 'source'),
        rule, deciders, insert_only, delete_when, numbers, 'source', true);
    PERFORM idempotent.check_shape(plan, numbers, 'the source');
    PERFORM idempotent.check_deciders(plan);
    PERFORM idempotent.check_generated(target, numbers);
    RETURN plan;
END
$$;
COMMENT ON FUNCTION idempotent.plan_source_merge(regclass, regclass, idempotent.rule, idempotent.source_column[], idempotent.decider[], text[], text) IS 'what is merged of a source';

CREATE FUNCTION idempotent_merge(
    target    regclass,
    source    regclass,
    key       text[] DEFAULT NULL,
    latest_by text[] DEFAULT NULL,
    compare   text[] DEFAULT NULL,
    ignore    text[] DEFAULT NULL,
    insert_only text[] DEFAULT NULL,
    delete_when text DEFAULT NULL,
    token     text   DEFAULT NULL,
    digest    text   DEFAULT NULL,
    OUT received   bigint,
    OUT inserted   bigint,
    OUT updated    bigint,
    OUT deleted    bigint,
    OUT unchanged  bigint,
    OUT stale      bigint,
    OUT superseded bigint,
    OUT replayed   boolean
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    rule idempotent.rule;
    deciders idempotent.decider[];
    own idempotent.source_column[];
    plan idempotent.merge_plan;
    options jsonb;
    counts jsonb;
BEGIN
    PERFORM idempotent.check_target(target);
    PERFORM idempotent.require('source', source IS NOT NULL);
    rule := idempotent.merge_rule(target, key, compare, ignore);
    PERFORM idempotent.check_list('latest_by', latest_by);
    PERFORM idempotent.check_list('insert_only', insert_only);
    PERFORM idempotent.check_source(source);
    deciders := idempotent.deciders_of(target, latest_by, idempotent.source_fields(source));
    own := idempotent.merged_columns(target, source, deciders, delete_when);
    PERFORM idempotent.check_source_key(target, source, rule, own);
    plan := idempotent.plan_source_merge(target, source, rule, own, deciders, insert_only, delete_when);
    PERFORM idempotent.check_token(token, digest);
    replayed := false;
    IF token IS NOT NULL THEN
        options := idempotent.merge_batch_options(key, compare, ignore, latest_by, insert_only, delete_when);
        counts := idempotent.find_batch(target, token, digest, 'merge', options);
        replayed := counts IS NOT NULL;
    END IF;
    IF NOT replayed THEN
        counts := idempotent.merge_source(plan, source, own, delete_when);
        IF token IS NOT NULL THEN
            PERFORM idempotent.record_batch(target, token, digest, 'merge', options, counts);
        END IF;
    END IF;
    SELECT c.* INTO received, inserted, updated, deleted, unchanged, stale, superseded FROM pg_catalog.jsonb_populate_record(NULL::idempotent.merge_counts, counts) AS c;
END
$$;
COMMENT ON FUNCTION idempotent_merge(regclass, regclass, text[], text[], text[], text[], text[], text, text, text) IS
    'inserts, updates or deletes rows by those of a table or view with the same key; the latest row wins, equal rows are not rewritten';

CREATE FUNCTION idempotent.merge_source(plan idempotent.merge_plan, source regclass, own idempotent.source_column[], delete_when text) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    done record;
BEGIN
    EXECUTE idempotent.source_to_merge(plan, source, own, delete_when) INTO done USING plan;
    RETURN pg_catalog.to_jsonb(done.counts);
END
$$;
COMMENT ON FUNCTION idempotent.merge_source(idempotent.merge_plan, regclass, idempotent.source_column[], text) IS 'merges the rows of a source';

CREATE FUNCTION idempotent.merge_batch_options(key text[], compare text[], ignore text[], latest_by text[], insert_only text[], delete_when text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN idempotent.batch_options(key, compare, ignore, jsonb_build_object('latest_by', idempotent.array_text(latest_by),
        'insert_only', idempotent.array_text(insert_only), 'delete_when', idempotent.array_text(ARRAY[delete_when])));
END
$$;
COMMENT ON FUNCTION idempotent.merge_batch_options(text[], text[], text[], text[], text[], text) IS 'what a retry of a merge has to ask for, too';
