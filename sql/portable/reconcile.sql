-- Compares what a table holds with what it should hold, and makes it so. docs/reconcile.md
--
-- One statement reads both sides, and so under one snapshot, and joins them on the key. idempotent_repair addresses each row
-- that it writes by its place and by the transaction that wrote it: if another session writes the row meanwhile, the statement
-- waits for that, finds another version, and passes over it, or raises 40001 (REPEATABLE READ and above). What was read is not
-- removed, and its place not taken again, while the statement runs that called the function.

CREATE TYPE idempotent.reconciliation AS (
    arbiter  idempotent.unique_index,
    -- The columns of the source, and those whose values must agree.
    named    smallint[],
    compared smallint[],
    -- The columns from which a computed key comes; empty if the key is columns that nobody updates.
    needed   smallint[]
);
COMMENT ON TYPE idempotent.reconciliation IS 'how two tables are compared';

CREATE TYPE idempotent.deviation AS (
    status    text,
    key       jsonb,
    stored    jsonb,
    expected  jsonb,
    -- The columns that differ, and the key as text.
    differing text[],
    key_texts text[],
    -- Whether the row still has its key, with the expected values in these columns.
    keeps_key boolean,
    -- Which version of which row it is; NULL if nothing will be written.
    place     tid,
    version   xid,
    in_table  oid
);
COMMENT ON TYPE idempotent.deviation IS 'a row that deviates';

-- SQL that says whether two rows have one key, which both show as "key 1", "key 2", … Where NULL equals NULL, rows are compared, of
-- which that is true, and which can be joined by sorting.
CREATE FUNCTION idempotent.same_key(arbiter idempotent.unique_index, l text, r text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF arbiter.nulls_equal AND NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = arbiter.index AND a.attnum <= cardinality(arbiter.parts)
                                               AND arbiter.equals[a.attnum] IS DISTINCT FROM idempotent.equality(a.atttypid)) THEN
        RETURN format('ROW(%s)::pg_catalog.record OPERATOR(pg_catalog.=) ROW(%s)::pg_catalog.record',
            (SELECT string_agg(format('%s."key %s"%s', l, n, arbiter.collates[n]), ', ' ORDER BY n) FROM generate_subscripts(arbiter.parts, 1) AS n),
            (SELECT string_agg(format('%s."key %s"%s', r, n, arbiter.collates[n]), ', ' ORDER BY n) FROM generate_subscripts(arbiter.parts, 1) AS n));
    END IF;
    RETURN (SELECT string_agg(format(CASE WHEN arbiter.nulls_equal
            THEN '(%1$s."key %3$s" %4$s %2$s."key %3$s"%5$s OR (%1$s."key %3$s" IS NOT DISTINCT FROM NULL AND %2$s."key %3$s" IS NOT DISTINCT FROM NULL))'
            ELSE '%1$s."key %3$s" %4$s %2$s."key %3$s"%5$s' END, l, r, n, arbiter.equals[n], arbiter.collates[n]), ' AND ' ORDER BY n)
        FROM generate_subscripts(arbiter.parts, 1) AS n);
END
$$;
COMMENT ON FUNCTION idempotent.same_key(idempotent.unique_index, text, text) IS 'SQL that says whether two rows have one key';

-- The parts of a key, by number, each written in this way, with commas between them.
CREATE FUNCTION idempotent.each_key(arbiter idempotent.unique_index, form text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT string_agg(format(form, n, '(' || arbiter.expressions[n] || ')', quote_literal(arbiter.parts[n])), ', ' ORDER BY n) FROM generate_subscripts(arbiter.parts, 1) AS n);
END
$$;
COMMENT ON FUNCTION idempotent.each_key(idempotent.unique_index, text) IS 'SQL for the parts of a key';

-- SQL for some columns of a row as a JSON object.
CREATE FUNCTION idempotent.object_of(target regclass, numbers smallint[], row_name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT '(SELECT pg_catalog.to_jsonb(shown) FROM (SELECT ' || string_agg(row_name || '.' || quote_ident(idempotent.column_name(target, n)), ', ') || ') AS shown)'
              FROM unnest(numbers) AS n);
END
$$;
COMMENT ON FUNCTION idempotent.object_of(regclass, smallint[], text) IS 'SQL for columns as a JSON object';

-- SQL for the names of the columns in which two rows differ.
CREATE FUNCTION idempotent.differing_of(target regclass, compared smallint[], l text, r text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT coalesce('pg_catalog.array_remove(ARRAY[' || string_agg(format('CASE WHEN NOT %s THEN %L END',
                       idempotent.agreement(c, format('%s.%I', l, c.name), format('%s.%I', r, c.name)), c.name), ', ' ORDER BY c.number) || '], NULL)', '''{}''::pg_catalog.text[]')
              FROM idempotent.columns_of(target) AS c WHERE c.number = ANY (compared));
END
$$;
COMMENT ON FUNCTION idempotent.differing_of(regclass, smallint[], text, text) IS 'SQL for the columns that differ';

-- SQL that says whether a stored row, s, keeps its key when the columns in "its differences" get the values that are expected.
CREATE FUNCTION idempotent.kept_key(target regclass, plan idempotent.reconciliation) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    updated text;
    generated text;
BEGIN
    IF plan.needed = '{}' THEN
        RETURN 'true';
    END IF;
    SELECT string_agg(format(CASE WHEN c.number = ANY (plan.compared) THEN 'CASE WHEN %2$L OPERATOR(pg_catalog.=) ANY (d."its differences") THEN e.%1$I ELSE s.%1$I END AS %1$I'
                                  ELSE 's.%1$I' END, c.name, c.name), ', ') INTO updated
      FROM idempotent.columns_of(target) AS c WHERE c.number = ANY (plan.needed);
    SELECT coalesce(string_agg(format(', CAST(%s AS %s) AS %I', c.filled_by, split_part(c.type, ' COLLATE ', 1), c.name), ''), '') INTO generated
      FROM idempotent.columns_of(target) AS c WHERE c.generated <> '' AND c.number = ANY ((plan.arbiter).deciding);
    RETURN format('COALESCE((SELECT %s AND ("has key") FROM (SELECT %s, %s AS "has key" FROM (SELECT own.*%s FROM (SELECT %s) AS own) AS %I) AS updated), false)',
        idempotent.same_key(plan.arbiter, 'updated', 'e'), idempotent.each_key(plan.arbiter, '%2$s AS "key %1$s"'), coalesce((plan.arbiter).condition, 'true'),
        generated, updated, idempotent.name_of(target));
END
$$;
COMMENT ON FUNCTION idempotent.kept_key(regclass, idempotent.reconciliation) IS 'SQL that says whether an update leaves a row its key';

-- The columns from which the key of a row is computed, if it is.
CREATE FUNCTION idempotent.needed_for_key(target regclass, arbiter idempotent.unique_index) RETURNS smallint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    generated smallint[] := ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c WHERE c.generated <> '' AND c.number = ANY (arbiter.deciding));
BEGIN
    IF NOT idempotent.is_computed(arbiter) AND generated = '{}' THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT n FROM unnest(arbiter.deciding) AS n WHERE n <> ALL (generated)
        UNION
        SELECT n FROM pg_attrdef AS d, idempotent.columns_in(target, d.adbin) AS n WHERE d.adrelid = target AND d.adnum = ANY (generated)
        ORDER BY 1);
END
$$;
COMMENT ON FUNCTION idempotent.needed_for_key(regclass, idempotent.unique_index) IS 'the columns from which a key is computed';

-- The rows of a source, read as payloads are, with their keys.
CREATE FUNCTION idempotent.rows_with_keys(target regclass, source regclass, plan idempotent.reconciliation) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format(
        'documents AS (SELECT pg_catalog.row_number() OVER () AS "its number", pg_catalog.to_jsonb(own) AS "its row" FROM %s AS own),'
        ' read AS (SELECT documents."its number", documents."its row", own.* FROM documents CROSS JOIN LATERAL (%s) AS own),'
        ' payload AS (SELECT read.*%s FROM read),'
        ' keyed AS (SELECT %I.*, %s, COALESCE(%s, false) AS "has key" FROM payload AS %I)',
        idempotent.qualified(source), idempotent.reading_of(target, plan.named, 'documents."its row"', typed => true),
        idempotent.completion_of(target, plan.arbiter, plan.named),
        idempotent.name_of(target), idempotent.each_key(plan.arbiter, '%2$s AS "key %1$s"'), coalesce((plan.arbiter).condition, 'true'), idempotent.name_of(target));
END
$$;
COMMENT ON FUNCTION idempotent.rows_with_keys(regclass, regclass, idempotent.reconciliation) IS 'SQL that reads a source';

CREATE FUNCTION idempotent.both_sides(target regclass, source regclass, plan idempotent.reconciliation, places boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored_columns text := (SELECT string_agg(quote_ident(idempotent.column_name(target, n)), ', ') FROM (SELECT unnest(plan.named) UNION SELECT unnest(plan.needed)) AS u (n));
BEGIN
    RETURN idempotent.rows_with_keys(target, source, plan) || format(
        ', expected AS MATERIALIZED (SELECT * FROM keyed WHERE "has key"),'
        ' stored AS MATERIALIZED (SELECT pg_catalog.row_number() OVER () AS "its number", %s, %s%s FROM %s %s%s)',
        stored_columns, idempotent.each_key(plan.arbiter, '%2$s AS "key %1$s"'),
        CASE WHEN places THEN ', ctid AS "its tid", xmin AS "its version", tableoid AS "its table"'
             ELSE ', NULL::pg_catalog.tid AS "its tid", NULL::pg_catalog.xid AS "its version", NULL::pg_catalog.oid AS "its table"' END,
        CASE (SELECT relkind FROM pg_class WHERE oid = target) WHEN 'p' THEN '' ELSE 'ONLY' END, idempotent.qualified(target),
        ' WHERE ' || (plan.arbiter).condition);
END
$$;
COMMENT ON FUNCTION idempotent.both_sides(regclass, regclass, idempotent.reconciliation, boolean) IS 'SQL that reads a target and its source';

-- How deviations of one status are told: the stored row, the expected one, or both. `number` says which of several under equal
-- keys comes first.
CREATE FUNCTION idempotent.told(
    target regclass, plan idempotent.reconciliation, status text, stored text, expected text, number text,
    differing text DEFAULT 'NULL::pg_catalog.text[]', keeps_key text DEFAULT 'true'
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    either text := coalesce(stored, expected);
BEGIN
    RETURN format('SELECT %L AS status, pg_catalog.jsonb_build_object(%s) AS key, %s AS stored, %s AS expected, %s AS differing, ARRAY[%s] AS key_texts, %s AS keeps_key, %s, %s AS number, %s',
        status, idempotent.each_key(plan.arbiter, '%3$s, ' || either || '."key %1$s"'),
        coalesce(idempotent.object_of(target, plan.named, stored), 'NULL::pg_catalog.jsonb'),
        coalesce(idempotent.object_of(target, plan.named, expected), 'NULL::pg_catalog.jsonb'),
        differing,
        (SELECT string_agg(idempotent.shown(format('%s."key %s"', either, n)), ', ' ORDER BY n) FROM generate_subscripts((plan.arbiter).parts, 1) AS n),
        keeps_key,
        coalesce(replace('own."its tid" AS place, own."its version" AS version, own."its table" AS in_table', 'own.', stored || '.'), 'NULL::pg_catalog.tid AS place, NULL::pg_catalog.xid AS version, NULL::pg_catalog.oid AS in_table'),
        number, idempotent.each_key(plan.arbiter, either || '."key %1$s"'));
END
$$;
COMMENT ON FUNCTION idempotent.told(regclass, idempotent.reconciliation, text, text, text, text, text, text) IS 'SQL that tells deviations of one status';

-- The statement that finds the deviations, $1 at most, in the order of the key. Of several rows of the source that are missing
-- under one key, the first one deviates, and those that differ from it.
CREATE FUNCTION idempotent.reconciling(target regclass, source regclass, plan idempotent.reconciliation, places boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    same text := idempotent.same_key(plan.arbiter, 's', 'e');
    keys text := idempotent.each_key(plan.arbiter, '"key %1$s"');
    -- Whether a NULL in its key makes a row equal to no other.
    lone text := CASE WHEN (plan.arbiter).nulls_equal THEN 'false'
                      ELSE replace(idempotent.each_key(plan.arbiter, 'e."key %1$s" IS NOT DISTINCT FROM NULL'), ', ', ' OR ') END;
BEGIN
    RETURN format('WITH %s,', idempotent.both_sides(target, source, plan, places))
        || format(' different AS (%s FROM expected AS e JOIN stored AS s ON %s CROSS JOIN LATERAL (SELECT %s AS "its differences") AS d'
                  ' WHERE d."its differences" OPERATOR(pg_catalog.<>) ''{}''),',
                  idempotent.told(target, plan, 'different', 's', 'e', 'e."its number"', 'd."its differences"', idempotent.kept_key(target, plan)), same,
                  idempotent.differing_of(target, plan.compared, 's', 'e'))
        || format(' absent AS MATERIALIZED (SELECT e.*, pg_catalog.row_number() OVER (PARTITION BY %s ORDER BY e."its number") AS "its rank"'
                  ' FROM expected AS e WHERE NOT EXISTS (SELECT FROM stored AS s WHERE %s)),', keys, same)
        || format(' missing AS (%s FROM absent AS e LEFT JOIN absent AS first ON first."its rank" OPERATOR(pg_catalog.=) 1 AND %s'
                  ' WHERE e."its rank" OPERATOR(pg_catalog.=) 1 OR %s OR %s OPERATOR(pg_catalog.<>) ''{}''),',
                  idempotent.told(target, plan, 'missing', NULL, 'e', 'e."its number"'), idempotent.same_key(plan.arbiter, 'first', 'e'), lone,
                  idempotent.differing_of(target, plan.compared, 'first', 'e'))
        || format(' unexpected AS (%s FROM stored AS s WHERE NOT EXISTS (SELECT FROM expected AS e WHERE %s))',
                  -- Before the missing ones, which are numbered from 1.
                  idempotent.told(target, plan, 'unexpected', 's', NULL, 's."its number" OPERATOR(pg_catalog.-) 9000000000000000000'), same)
        || format(' SELECT status, key, stored, expected, differing, key_texts, keeps_key, place, version, in_table'
                  ' FROM (TABLE different UNION ALL TABLE missing UNION ALL TABLE unexpected) AS deviations ORDER BY %s, number LIMIT $1', keys);
END
$$;
COMMENT ON FUNCTION idempotent.reconciling(regclass, regclass, idempotent.reconciliation, boolean) IS 'the statement that finds deviations';

-- How the two are compared. A repair leaves alone what the server fills, and asks no guard what to compare.
CREATE FUNCTION idempotent.reconciliation_of(target regclass, source regclass, rule idempotent.rule, repairs boolean, defaults jsonb) RETURNS idempotent.reconciliation
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own idempotent.source_column[] := ARRAY(SELECT c FROM idempotent.columns_of_source(target, source) AS c);
    plan idempotent.reconciliation;
    missing text;
BEGIN
    IF repairs THEN
        rule := idempotent.rule_of_repair(target, rule);
    END IF;
    rule.excluded := idempotent.surrogates(target, own, rule.excluded);
    PERFORM idempotent.check_source_key(target, source, rule, own, defaults);
    plan.arbiter := idempotent.find_arbiter(target, rule, idempotent.named_by_source(own), (idempotent.guard_in_force(target)).key, 'source');
    PERFORM idempotent.check_rule(target, plan.arbiter, rule);
    plan.named := ARRAY(SELECT number FROM unnest(own) ORDER BY number);
    -- Generated columns are compared, too, unless something says otherwise.
    plan.compared := ARRAY(
        SELECT number FROM unnest(idempotent.compared(target, plan.arbiter, rule, plan.named)) AS number
        UNION
        SELECT c.number FROM idempotent.columns_of(target) AS c
         WHERE c.generated <> '' AND c.number = ANY (plan.named) AND c.number <> ALL ((plan.arbiter).numbers) AND rule.compare IS NULL
           AND c.number <> ALL (coalesce(rule.ignore, '{}')) AND c.number <> ALL (rule.excluded) AND (rule.only_these IS NULL OR c.number = ANY (rule.only_these))
         ORDER BY number);
    missing := idempotent.missing_column(target, plan.arbiter, plan.named);
    IF missing IS NOT NULL THEN
        PERFORM idempotent.refuse_key(target, plan.arbiter, missing, 'missing from', 'the source', 'source');
    END IF;
    plan.needed := CASE WHEN repairs THEN idempotent.needed_for_key(target, plan.arbiter) ELSE '{}' END;
    RETURN plan;
END
$$;
COMMENT ON FUNCTION idempotent.reconciliation_of(regclass, regclass, idempotent.rule, boolean, jsonb) IS 'how a table is compared with its source';

CREATE FUNCTION idempotent.check_limit("limit" bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF "limit" < 0 THEN
        PERFORM idempotent.fail('22023', 'argument "limit" must not be negative');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_limit(bigint) IS 'refuses a negative limit';

-- `{"amount": {"stored": 20.00, "expected": 25.00}}`
CREATE FUNCTION idempotent.differences_of(d idempotent.deviation) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT jsonb_object_agg(name, jsonb_build_object('stored', d.stored -> name, 'expected', d.expected -> name)) FROM unnest(d.differing) AS name);
END
$$;
COMMENT ON FUNCTION idempotent.differences_of(idempotent.deviation) IS 'the columns that differ, each with both values';

-- PL/pgSQL does not have an argument and a result of one name.
CREATE FUNCTION idempotent.reconcile(target regclass, source regclass, key text[], compare text[], ignore text[], "limit" bigint) RETURNS SETOF idempotent.deviation
LANGUAGE plpgsql ROWS 100
AS $$
DECLARE
    rule idempotent.rule;
BEGIN
    PERFORM idempotent.check_target(target, false);
    PERFORM idempotent.check_source(source);
    rule := idempotent.rule_of_call(target, key, compare, ignore, 'error', NULL, 'error');
    PERFORM idempotent.check_limit("limit");
    RETURN QUERY EXECUTE idempotent.reconciling(target, source, idempotent.reconciliation_of(target, source, rule, false, idempotent.defaults_in_words(source)), false) USING "limit";
END
$$;
COMMENT ON FUNCTION idempotent.reconcile(regclass, regclass, text[], text[], text[], bigint) IS 'finds deviations';

CREATE FUNCTION idempotent_reconcile(
    target  regclass,
    source  regclass,
    key     text[] DEFAULT NULL,
    compare text[] DEFAULT NULL,
    ignore  text[] DEFAULT NULL,
    "limit" bigint DEFAULT NULL,
    OUT status      text,
    OUT key         jsonb,
    OUT stored      jsonb,
    OUT expected    jsonb,
    OUT differences jsonb
) RETURNS SETOF record
LANGUAGE sql ROWS 100
AS $$
    SELECT d.status, d.key, d.stored, d.expected, idempotent.differences_of(d) FROM idempotent.reconcile($1, $2, $3, $4, $5, $6) AS d
$$;
COMMENT ON FUNCTION idempotent_reconcile(regclass, regclass, text[], text[], text[], bigint) IS
    'returns the rows, by key, in which a table or foreign table deviates from another one or a view';

-- The columns that the server fills in a new row are neither compared nor updated.
CREATE FUNCTION idempotent.rule_of_repair(target regclass, rule idempotent.rule) RETURNS idempotent.rule
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made smallint[] := ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c WHERE c.generated <> '' OR c.drawn);
    named smallint := (SELECT n FROM unnest(rule.compare) WITH ORDINALITY AS u (n, place) WHERE n = ANY (made) ORDER BY place LIMIT 1);
    name text := idempotent.column_name(target, named);
BEGIN
    IF named IS NOT NULL THEN
        PERFORM idempotent.fail('22023', format('column "%s" is server-generated and cannot be in "compare"', name),
            'A repair writes it when a row goes in, and never changes it.', target => target, "column" => name);
    END IF;
    rule.only_these := NULL;
    rule.excluded := rule.excluded || made;
    RETURN rule;
END
$$;
COMMENT ON FUNCTION idempotent.rule_of_repair(regclass, idempotent.rule) IS 'what a repair compares';

CREATE FUNCTION idempotent.check_delete_rules(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_rewrite WHERE ev_class = target AND ev_type = '4' AND ev_enabled <> 'D') THEN
        PERFORM idempotent.fail('0A000', format('cannot repair rows of table "%s"', idempotent.name_of(target)),
            'The table has a rule on DELETE.', 'Replace the rule with a trigger.', target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_delete_rules(regclass) IS 'refuses a table on which a rule says what DELETE does';

-- The rights of the INSERT, UPDATE and DELETE, and SELECT on the whole table, by whose places stored rows are addressed.
CREATE FUNCTION idempotent.check_repair_rights(target regclass, plan idempotent.reconciliation) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.check_rights(target, plan.named, (plan.arbiter).deciding);
    IF NOT has_table_privilege(target, 'SELECT') OR NOT has_table_privilege(target, 'DELETE')
       OR EXISTS (SELECT FROM unnest(plan.compared) AS n WHERE NOT has_column_privilege(target, n, 'UPDATE')) THEN
        PERFORM idempotent.fail('42501', format('permission denied for table %s', idempotent.name_of(target)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_repair_rights(regclass, idempotent.reconciliation) IS 'demands the rights of a repair';

-- 27000: the columns that an update leaves make another key.
CREATE FUNCTION idempotent.refuse_move(target regclass, plan idempotent.reconciliation) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lacking text := idempotent.column_list(target, ARRAY(SELECT n FROM unnest(plan.needed) AS n WHERE n <> ALL (plan.compared) AND n <> ALL ((plan.arbiter).numbers)));
BEGIN
    PERFORM idempotent.fail('27000', format('an update would give a row another key than its own in table "%s"', idempotent.name_of(target)),
        coalesce(format('The key or its condition also refers to columns that the update does not set: %s.', nullif(lacking, '')) || left(lacking, 0),
                 'The key is also computed from a column of the key, of which an update leaves the stored spelling.'),
        CASE WHEN lacking IS NULL THEN 'Ignore all columns that the key refers to.'
             ELSE 'Add them to the source and to "compare", or ignore all columns that the key refers to.' END, target, "constraint" => (plan.arbiter).name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_move(regclass, idempotent.reconciliation) IS 'refuses an update that would give a row another key';

-- 27000: a trigger has given a row another key than that of the source's row.
CREATE FUNCTION idempotent.refuse_moved(target regclass, plan idempotent.reconciliation) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('27000', format('an update gave a row another key than its own in table "%s"', idempotent.name_of(target)),
        'A BEFORE UPDATE trigger changed the key.', 'Disable the trigger.', target, "constraint" => (plan.arbiter).name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_moved(regclass, idempotent.reconciliation) IS 'refuses a trigger that has changed the key of a row';

CREATE FUNCTION idempotent.refuse_by_policy(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('42501', format('row-level security policy for table "%s" does not allow an update of a stored row', idempotent.name_of(target)), target => target);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_by_policy(regclass) IS 'raises 42501 for a stored row that a policy keeps';

-- The statements for one stored row: $1 is its place, $2 its version, $3 its table. Where policies are in force, MERGE asks those
-- for DELETE before any trigger fires, and raises the error itself; a row that cannot be updated is locked, which asks the
-- policies for UPDATE and fires no trigger. What an update sets comes from $4, and its key has to be $5.
CREATE FUNCTION idempotent.repairing(
    target regclass, plan idempotent.reconciliation, differing text[], OUT delete text, OUT look text, OUT update text
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own_rows text := CASE (SELECT relkind FROM pg_class WHERE oid = target) WHEN 'p' THEN '' ELSE 'ONLY ' END || idempotent.qualified(target);
    version CONSTANT text := 'ctid OPERATOR(pg_catalog.=) $1 AND xmin OPERATOR(pg_catalog.=) $2 AND tableoid OPERATOR(pg_catalog.=) $3';
    numbers smallint[] := idempotent.numbers_of(target, 'compare', differing);
    kept text;
BEGIN
    delete := CASE WHEN row_security_active(target) THEN format('MERGE INTO %s USING (SELECT) AS row ON %s WHEN MATCHED THEN DELETE', own_rows, version)
                   ELSE format('DELETE FROM %s WHERE %s', own_rows, version) END;
    look := format('SELECT true FROM %s WHERE %s', own_rows, version);
    SELECT string_agg(format('(((%1$s) %2$s ($5)[%3$s]::%4$s%5$s) OR (%1$s) IS NOT DISTINCT FROM NULL AND ($5)[%3$s] IS NULL)', (plan.arbiter).expressions[a.attnum],
               (plan.arbiter).equals[a.attnum], a.attnum, format_type(a.atttypid, NULL), (plan.arbiter).collates[a.attnum]), ' AND ') INTO kept
      FROM pg_attribute AS a WHERE a.attrelid = (plan.arbiter).index AND a.attnum <= cardinality((plan.arbiter).parts);
    update := format('UPDATE %s SET (%s) = ROW(%s) WHERE %s RETURNING COALESCE(%s AND (%s), false)', own_rows, idempotent.column_list(target, numbers),
        (SELECT string_agg(format('(SELECT sent.%I FROM (%s) AS sent)', idempotent.column_name(target, n), idempotent.reading_of(target, ARRAY[n], '$4')), ', ' ORDER BY place)
           FROM unnest(numbers) WITH ORDINALITY AS u (n, place)),
        version, kept, coalesce((plan.arbiter).condition, 'true'));
END
$$;
COMMENT ON FUNCTION idempotent.repairing(regclass, idempotent.reconciliation, text[]) IS 'the statements that repair a stored row';

-- Deletes a row that is unexpected, or updates one that is different. False if it is not as it was read, or a trigger keeps it.
CREATE FUNCTION idempotent.repair_stored(target regclass, plan idempotent.reconciliation, d idempotent.deviation) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    statements record;
    count bigint;
    has_its_key boolean;
BEGIN
    SELECT * INTO statements FROM idempotent.repairing(target, plan, d.differing);
    IF d.expected IS NULL THEN
        EXECUTE statements.delete USING d.place, d.version, d.in_table;
        GET DIAGNOSTICS count = ROW_COUNT;
        RETURN count OPERATOR(pg_catalog.>) 0;
    END IF;
    EXECUTE statements.update INTO has_its_key USING d.place, d.version, d.in_table, d.expected, d.key_texts;
    IF has_its_key IS NULL AND pg_catalog.row_security_active(target) THEN
        EXECUTE statements.look OPERATOR(pg_catalog.||) ' FOR UPDATE' INTO has_its_key USING d.place, d.version, d.in_table;
        IF has_its_key IS NULL THEN
            EXECUTE statements.look INTO has_its_key USING d.place, d.version, d.in_table;
            IF has_its_key THEN
                PERFORM idempotent.refuse_by_policy(target);
            END IF;
        END IF;
        RETURN false;
    ELSIF NOT has_its_key THEN
        PERFORM idempotent.refuse_moved(target, plan);
    END IF;
    RETURN COALESCE(has_its_key, false);
END
$$;
COMMENT ON FUNCTION idempotent.repair_stored(regclass, idempotent.reconciliation, idempotent.deviation) IS 'deletes or updates a row that deviates';

-- Inserts a row that is missing, unless its key is there by now.
CREATE FUNCTION idempotent.repair_missing(target regclass, plan idempotent.reconciliation, d idempotent.deviation) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    key text[];
    stored jsonb;
BEGIN
    PERFORM idempotent.check_identity(target, plan.named);
    PERFORM pg_catalog.set_config('idempotent.own_insert', pg_catalog.concat(target::pg_catalog.oid, ' ', (plan.arbiter).index), true);
    EXECUTE idempotent.put_of(target, plan.arbiter, plan.named, NULL) INTO key, stored USING d.expected;
    PERFORM pg_catalog.set_config('idempotent.own_insert', '', true);
    RETURN key IS NOT NULL;
END
$$;
COMMENT ON FUNCTION idempotent.repair_missing(regclass, idempotent.reconciliation, idempotent.deviation) IS 'inserts a row that is missing';

CREATE FUNCTION idempotent.check_identity(target regclass, named smallint[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    always text := (SELECT c.name FROM idempotent.columns_of(target) AS c WHERE c.identity = 'a' AND c.number = ANY (named));
BEGIN
    IF always IS NOT NULL THEN
        PERFORM idempotent.refuse_number(target, always);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_identity(regclass, smallint[]) IS 'refuses values for an identity column that takes none';

-- Whether a row has a key that another row can have, too.
CREATE FUNCTION idempotent.can_be_met(plan idempotent.reconciliation, d idempotent.deviation) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (plan.arbiter).nulls_equal OR array_position(d.key_texts, NULL) IS NULL;
END
$$;
COMMENT ON FUNCTION idempotent.can_be_met(idempotent.reconciliation, idempotent.deviation) IS 'whether a row has its whole key';

-- First what is unexpected is deleted, then what is different is updated, then what is missing is inserted, so that a value of
-- another unique index is free before it is needed.
CREATE FUNCTION idempotent.in_order_of_repair(reconciling text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('SELECT status, key, stored, expected, differing, key_texts, keeps_key, place, version, in_table FROM (SELECT own.*, pg_catalog.row_number() OVER () AS number FROM (%s) AS own) AS d'
        ' ORDER BY pg_catalog.array_position(''{unexpected,different,missing}''::pg_catalog.text[], status), number', reconciling);
END
$$;
COMMENT ON FUNCTION idempotent.in_order_of_repair(text) IS 'the statement that finds deviations, in the order in which they are repaired';

CREATE FUNCTION idempotent.repair(
    target regclass, source regclass, key text[], compare text[], ignore text[], "limit" bigint, dry_run boolean, OUT d idempotent.deviation, OUT outcome text
) RETURNS SETOF record
LANGUAGE plpgsql ROWS 100
AS $$
DECLARE
    rule idempotent.rule;
    plan idempotent.reconciliation;
BEGIN
    PERFORM idempotent.require('target', target IS NOT NULL);
    PERFORM idempotent.require('dry_run', dry_run IS NOT NULL);
    PERFORM idempotent.check_target(target);
    PERFORM idempotent.check_delete_rules(target);
    PERFORM idempotent.check_source(source);
    rule := idempotent.rule_of_call(target, key, compare, ignore, 'error', NULL, 'error');
    PERFORM idempotent.check_limit("limit");
    plan := idempotent.reconciliation_of(target, source, rule, true, idempotent.defaults_in_words(source));
    IF NOT dry_run THEN
        PERFORM idempotent.check_repair_rights(target, plan);
    END IF;
    FOR d IN EXECUTE idempotent.in_order_of_repair(idempotent.reconciling(target, source, plan, NOT dry_run)) USING "limit" LOOP
        IF NOT d.keeps_key AND (dry_run OR idempotent.can_be_met(plan, d)) THEN
            PERFORM idempotent.refuse_move(target, plan);
        END IF;
        outcome := CASE WHEN dry_run THEN NULL
            WHEN NOT idempotent.can_be_met(plan, d) THEN 'skipped'
            WHEN d.status OPERATOR(pg_catalog.=) 'missing' THEN CASE WHEN idempotent.repair_missing(target, plan, d) THEN 'inserted' ELSE 'skipped' END
            WHEN NOT idempotent.repair_stored(target, plan, d) THEN 'skipped'
            WHEN d.status OPERATOR(pg_catalog.=) 'different' THEN 'updated' ELSE 'deleted' END;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.repair(regclass, regclass, text[], text[], text[], bigint, boolean) IS 'repairs deviations, or finds them';

CREATE FUNCTION idempotent_repair(
    target  regclass,
    source  regclass,
    key     text[] DEFAULT NULL,
    compare text[] DEFAULT NULL,
    ignore  text[] DEFAULT NULL,
    "limit" bigint DEFAULT NULL,
    dry_run boolean DEFAULT true,
    OUT status      text,
    OUT key         jsonb,
    OUT stored      jsonb,
    OUT expected    jsonb,
    OUT differences jsonb,
    OUT outcome     text
) RETURNS SETOF record
LANGUAGE sql ROWS 100
AS $$
    SELECT (r.d).status, (r.d).key, (r.d).stored, (r.d).expected, idempotent.differences_of(r.d), r.outcome
      FROM idempotent.repair($1, $2, $3, $4, $5, $6, $7) AS r
$$;
COMMENT ON FUNCTION idempotent_repair(regclass, regclass, text[], text[], text[], bigint, boolean) IS
    'makes a table or foreign table equal to another one or a view, row by row, or says what that would change';
