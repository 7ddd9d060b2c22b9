-- Which unique index decides: the arbiter. docs/keys.md says how it is found, and what is said where there is none.

CREATE FUNCTION idempotent.column_list(target regclass, numbers smallint[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY place)
      FROM unnest(numbers) WITH ORDINALITY AS n (number, place) JOIN pg_attribute ON attrelid = target AND attnum = number);
END
$$;
COMMENT ON FUNCTION idempotent.column_list(regclass, smallint[]) IS 'the names of columns, quoted and separated by commas';

CREATE FUNCTION idempotent.key_list(i idempotent.unique_index) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT string_agg(CASE i.numbers[n] WHEN 0 THEN i.parts[n] ELSE quote_ident(i.parts[n]) END, ', ' ORDER BY n) FROM generate_subscripts(i.parts, 1) AS n);
END
$$;
COMMENT ON FUNCTION idempotent.key_list(idempotent.unique_index) IS 'the columns and expressions of a key';

CREATE FUNCTION idempotent.describe(i idempotent.unique_index) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT format('"%s" (%s)%s', i.name, idempotent.key_list(i), ' WHERE ' || i.condition));
END
$$;
COMMENT ON FUNCTION idempotent.describe(idempotent.unique_index) IS 'an index, for error texts';

CREATE FUNCTION idempotent.list_indexes(target regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce('Unique indexes: ' || string_agg(CASE WHEN i.unusable IS NULL THEN idempotent.describe(i)
                                                          ELSE format('"%s", which %s', i.name, i.unusable) END, '; ') || '.',
                    'The table has no unique index.')
      FROM idempotent.indexes_of(target) AS i);
END
$$;
COMMENT ON FUNCTION idempotent.list_indexes(regclass) IS 'the unique indexes of a table, and why some do not qualify';

-- Whether an index may be the key without being named: it has a key for every row, but for those with a NULL in it.
CREATE FUNCTION idempotent.can_be_default(i idempotent.unique_index) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT i.unusable IS NULL AND (i.condition IS NULL OR i.only_not_null));
END
$$;
COMMENT ON FUNCTION idempotent.can_be_default(idempotent.unique_index) IS 'whether an index may be the key without being named';

CREATE FUNCTION idempotent.is_computed(i idempotent.unique_index) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT i.condition IS NOT NULL OR 0 = ANY (i.numbers));
END
$$;
COMMENT ON FUNCTION idempotent.is_computed(idempotent.unique_index) IS 'whether more than columns make the key of a row';

-- Whether two indexes have the same key for the same rows: it does not matter which of them decides.
CREATE FUNCTION idempotent.are_twins(a idempotent.unique_index, b idempotent.unique_index) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT a.expressions @> b.expressions AND b.expressions @> a.expressions AND cardinality(a.expressions) = cardinality(b.expressions)
           AND a.condition IS NOT DISTINCT FROM b.condition);
END
$$;
COMMENT ON FUNCTION idempotent.are_twins(idempotent.unique_index, idempotent.unique_index) IS 'whether two indexes have the same key';

-- What ON CONFLICT calls the arbiter: its columns, or whatever names it alone where another index has them, too.
CREATE FUNCTION idempotent.conflict_target(target regclass, arbiter idempotent.unique_index) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT CASE
        WHEN NOT idempotent.is_computed(arbiter)
             AND NOT EXISTS (SELECT FROM idempotent.indexes_of(target) AS other
                              WHERE other.index <> arbiter.index AND other.valid AND idempotent.are_twins(other, arbiter)) THEN
            format('(%s)', array_to_string(arbiter.expressions, ', '))
        WHEN arbiter.is_constraint THEN format('ON CONSTRAINT %I', arbiter.name)
        ELSE format('(%s)', array_to_string(arbiter.inferred, ', ')) || coalesce(' WHERE ' || arbiter.condition, '')
    END);
END
$$;
COMMENT ON FUNCTION idempotent.conflict_target(regclass, idempotent.unique_index) IS 'what ON CONFLICT calls an arbiter';

-- 42703, with a hint when a column's name is close.
CREATE FUNCTION idempotent.no_such_column(target regclass, name text, detail text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    close text;
BEGIN
    IF octet_length(name) <= 128 THEN
        SELECT c.name INTO close FROM idempotent.columns_of(target) AS c
         WHERE idempotent.distance(lower(no_such_column.name), lower(c.name)) <= least(char_length(no_such_column.name) / 2, 3)
         ORDER BY idempotent.distance(lower(no_such_column.name), lower(c.name)), c.number LIMIT 1;
    END IF;
    PERFORM idempotent.fail('42703', format('column "%s" of relation "%s" does not exist', idempotent.cut(name), idempotent.name_of(target)), detail,
        format('Perhaps you meant to reference the column "%s.%s".', idempotent.name_of(target), nullif(close, '')) || left(close, 0), target);
END
$$;
COMMENT ON FUNCTION idempotent.no_such_column(regclass, text, text) IS 'refuses a name that is no column';

-- How many characters are inserted, deleted or replaced between two texts: the distance of Levenshtein, row by row.
CREATE FUNCTION idempotent.distance(a text, b text) RETURNS int
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    distances int[] := ARRAY(SELECT n FROM generate_series(0, char_length(b)) AS n);
    diagonal int;
    replaced int;
BEGIN
    FOR i IN 1 .. char_length(a) LOOP
        diagonal := distances[1];
        distances[1] := i;
        FOR j IN 1 .. char_length(b) LOOP
            replaced := diagonal + CASE WHEN substr(a, i, 1) = substr(b, j, 1) THEN 0 ELSE 1 END;
            diagonal := distances[j + 1];
            distances[j + 1] := least(replaced, diagonal + 1, distances[j] + 1);
        END LOOP;
    END LOOP;
    RETURN distances[char_length(b) + 1];
END
$$;
COMMENT ON FUNCTION idempotent.distance(text, text) IS 'how many characters differ between two texts';

-- The numbers of the columns that an option names.
CREATE FUNCTION idempotent.numbers_of(target regclass, option text, names text[]) RETURNS smallint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    numbers smallint[] := CASE WHEN names IS NOT NULL THEN '{}'::smallint[] END;
    named text;
    found_number smallint;
BEGIN
    FOREACH named IN ARRAY coalesce(names, '{}') LOOP
        found_number := idempotent.column_number(target, named);
        IF found_number IS NULL THEN
            PERFORM idempotent.no_such_column(target, named, format('It is named in "%s".', option));
        END IF;
        numbers := numbers || found_number;
    END LOOP;
    RETURN numbers;
END
$$;
COMMENT ON FUNCTION idempotent.numbers_of(regclass, text, text[]) IS 'the columns that an option names';

-- The columns by which a table, or a partitioned table under it, is partitioned; or the sentence that says why no unique
-- index can be on it.
CREATE FUNCTION idempotent.partitioned_by(target regclass, OUT numbers smallint[], OUT why_not text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH tree AS (SELECT relid, level FROM pg_partition_tree(target)),
         keys AS (SELECT level, own.attname, number
                    FROM tree JOIN pg_partitioned_table AS p ON p.partrelid = tree.relid
                   CROSS JOIN LATERAL unnest(p.partattrs::smallint[]) WITH ORDINALITY AS k (number, place)
                    LEFT JOIN pg_attribute AS own ON own.attrelid = tree.relid AND own.attnum = number AND number > 0)
    SELECT (SELECT coalesce(array_agg(number ORDER BY level, number), '{}')
              FROM (SELECT a.attnum AS number, min(level) AS level FROM keys JOIN pg_attribute AS a ON a.attrelid = target AND a.attname = keys.attname
                     GROUP BY a.attnum) AS own),
           CASE
               WHEN EXISTS (SELECT FROM tree JOIN pg_class AS c ON c.oid = tree.relid WHERE c.relkind = 'f') THEN
                   'Detach the partitions that are foreign tables, which no unique index covers.'
               WHEN EXISTS (SELECT FROM keys WHERE number = 0) THEN
                   'Partition the table by plain columns of the key: no unique index covers partitions by an expression.'
           END
$$;
COMMENT ON FUNCTION idempotent.partitioned_by(regclass) IS 'the columns by which a table and its partitions are partitioned';

-- What to do where no unique index can decide, as a sentence.
CREATE FUNCTION idempotent.create_some_index(target regclass, begin text DEFAULT 'Create', "end" text DEFAULT '.') RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce(p.why_not,
        format('%s a unique index on the columns that identify the business event%s%s', begin,
            CASE WHEN cardinality(p.numbers) > 0 THEN
                format(' and on those by which the table is partitioned (%s)', idempotent.column_list(target, p.numbers)) END, "end"))
      FROM idempotent.partitioned_by(target) AS p);
END
$$;
COMMENT ON FUNCTION idempotent.create_some_index(regclass, text, text) IS 'a hint to create a unique index';

-- The SQL that creates a unique index on these columns; or why there can be none.
CREATE FUNCTION idempotent.create_index_on(target regclass, numbers smallint[], lead text DEFAULT 'Create one with') RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bad text;
    partitions record;
    added smallint[];
    wanted smallint[];
    names text[];
BEGIN
    SELECT c.name INTO bad FROM unnest(create_index_on.numbers) WITH ORDINALITY AS n (number, place)
      JOIN idempotent.columns_of(target) AS c ON c.number = n.number WHERE c.generated <> '' ORDER BY place LIMIT 1;
    IF FOUND THEN
        RETURN format('Name other key columns: "%s" is generated, and computed after the guard has verified the row.', bad);
    END IF;
    SELECT c.name INTO bad FROM unnest(create_index_on.numbers) WITH ORDINALITY AS n (number, place)
      JOIN idempotent.columns_of(target) AS c ON c.number = n.number
     WHERE NOT EXISTS (SELECT FROM pg_opclass JOIN pg_am ON pg_am.oid = opcmethod AND amname = 'btree'
                        WHERE opcdefault AND (opcintype = c.base
                              OR EXISTS (SELECT FROM pg_cast WHERE castsource = c.base AND casttarget = opcintype AND castmethod = 'b' AND castcontext = 'i')
                              OR (SELECT typtype IN ('e', 'r', 'm', 'c') OR typcategory = 'A' FROM pg_type WHERE pg_type.oid = c.base)))
     ORDER BY place LIMIT 1;
    IF FOUND THEN
        RETURN format('Name other key columns: the type of "%s" has no order, so no unique index can be on it.', bad);
    END IF;
    SELECT * INTO partitions FROM idempotent.partitioned_by(target);
    IF partitions.why_not IS NOT NULL THEN
        RETURN partitions.why_not;
    END IF;
    added := ARRAY(SELECT n FROM unnest(partitions.numbers) AS n WHERE n <> ALL (create_index_on.numbers));
    wanted := create_index_on.numbers || added;
    IF cardinality(wanted) > current_setting('max_index_keys')::int THEN
        RETURN format('Name fewer key columns: an index has at most %s.', current_setting('max_index_keys'));
    END IF;
    IF cardinality(added) = 0 THEN
        RETURN format('%s: CREATE UNIQUE INDEX ON %s (%s);', lead, idempotent.qualified(target), idempotent.column_list(target, wanted));
    END IF;
    names := ARRAY(SELECT c.name FROM unnest(wanted) WITH ORDINALITY AS n (number, place)
                     JOIN idempotent.columns_of(target) AS c ON c.number = n.number ORDER BY place);
    RETURN format('A unique index must contain the columns by which the table is partitioned. Name these in the key, too, as in key => %s, and send the same %s in every retry%s',
        quote_literal(idempotent.array_text(names)), array_to_string(names[cardinality(create_index_on.numbers) + 1 :], ', '),
        CASE WHEN EXISTS (SELECT FROM idempotent.indexes_of(target) AS i
                           WHERE i.unusable IS NULL AND NOT idempotent.is_computed(i) AND i.numbers @> wanted AND wanted @> i.numbers) THEN '.'
             ELSE format(': CREATE UNIQUE INDEX ON %s (%s);', idempotent.qualified(target), idempotent.column_list(target, wanted)) END);
END
$$;
COMMENT ON FUNCTION idempotent.create_index_on(regclass, smallint[], text) IS 'a hint to create a unique index on some columns';

-- A minus sign and words are in many names, too, and say that an expression is meant only between blanks.
CREATE FUNCTION idempotent.looks_like_expression(name text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT name <> translate(name, '([+*/<>=~!@#%^&|?''', '') OR (name LIKE '% %' AND (name LIKE '%-%' OR lower(name) LIKE '% is %')));
END
$$;
COMMENT ON FUNCTION idempotent.looks_like_expression(text) IS 'whether a part of a key that is no column is meant to be an expression';

-- An expression as the server shows it once it is parsed, however it was written. EXPLAIN parses and plans it, and runs
-- nothing; a cursor refuses more than one statement before it runs any. With the search_path of the caller, who wrote it.
CREATE FUNCTION idempotent.canonical(target regclass, expression text) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    plan json;
    c refcursor;
BEGIN
    OPEN c FOR EXECUTE pg_catalog.format('EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) SELECT (%s) FROM ONLY %s', expression, idempotent.qualified(target));
    FETCH c INTO plan;
    CLOSE c;
    RETURN plan OPERATOR(pg_catalog.#>>) '{0,Plan,Output,0}';
END
$$;
COMMENT ON FUNCTION idempotent.canonical(regclass, text) IS 'an expression as the server shows it';

-- A key as a caller has written it, with expressions as the indexes have them.
CREATE FUNCTION idempotent.canonical_key(target regclass, key text[]) RETURNS text[]
LANGUAGE plpgsql
AS $$
DECLARE
    written text;
    meant text;
    own record;
    canonical text[] := '{}';
    same text;
BEGIN
    FOREACH written IN ARRAY key LOOP
        same := NULL;
        IF idempotent.looks_like_expression(written) AND idempotent.column_number(target, written) IS NULL THEN
            SELECT e.shown INTO same FROM idempotent.key_expressions(target) AS e WHERE idempotent.is_written_so(e.shown, e.sql, written) LIMIT 1;
            -- Only for whoever calls: to parse what others have written is to run their code.
            meant := CASE WHEN same IS NULL THEN idempotent.canonical(target, written) END;
            FOR own IN SELECT * FROM idempotent.key_expressions(target) LOOP
                IF same IS NULL AND idempotent.canonical(target, own.sql) IS NOT DISTINCT FROM meant THEN
                    same := own.shown;
                END IF;
            END LOOP;
        END IF;
        canonical := pg_catalog.array_append(canonical, COALESCE(same, written));
    END LOOP;
    RETURN canonical;
END
$$;
COMMENT ON FUNCTION idempotent.canonical_key(regclass, text[]) IS 'a key with expressions as the indexes have them';

CREATE FUNCTION idempotent.column_number(target regclass, name text) RETURNS smallint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT attnum FROM pg_attribute WHERE attrelid = target AND attname::text = name AND attnum > 0 AND NOT attisdropped);
END
$$;
COMMENT ON FUNCTION idempotent.column_number(regclass, text) IS 'the number of a column; NULL if there is none of that name';

CREATE FUNCTION idempotent.key_expressions(target regclass) RETURNS TABLE (shown text, sql text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT i.parts[n], i.expressions[n] FROM idempotent.indexes_of(target) AS i, generate_subscripts(i.parts, 1) AS n WHERE i.numbers[n] = 0;
END
$$;
COMMENT ON FUNCTION idempotent.key_expressions(regclass) IS 'the expressions in the unique indexes of a table';

CREATE FUNCTION idempotent.is_written_so(shown text, sql text, written text) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT written IN (shown, sql, format('(%s)', shown), format('(%s)', sql)));
END
$$;
COMMENT ON FUNCTION idempotent.is_written_so(text, text, text) IS 'whether an expression is written as the index has it';

-- A key whose expressions are as the indexes show them, where they are written with all parentheses. Nothing is parsed.
CREATE FUNCTION idempotent.key_as_shown(target regclass, key text[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(key) AS name WHERE idempotent.looks_like_expression(name) AND idempotent.column_number(target, name) IS NULL) THEN
        RETURN key;
    END IF;
    RETURN ARRAY(SELECT coalesce((SELECT e.shown FROM idempotent.key_expressions(target) AS e
                                   WHERE idempotent.column_number(target, name) IS NULL AND idempotent.is_written_so(e.shown, e.sql, name) LIMIT 1), name)
                   FROM unnest(key) WITH ORDINALITY AS k (name, n) ORDER BY n);
END
$$;
COMMENT ON FUNCTION idempotent.key_as_shown(regclass, text[]) IS 'a key with its expressions as the indexes show them';

-- The arbiter for a key that is named: the usable unique index on exactly these columns and expressions, in any order.
-- One without a condition goes first.
CREATE FUNCTION idempotent.arbiter_for_key(target regclass, key text[]) RETURNS idempotent.unique_index
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text;
    candidates idempotent.unique_index[];
    arbiter idempotent.unique_index;
BEGIN
    key := idempotent.key_as_shown(target, key);
    FOREACH name IN ARRAY key LOOP
        IF idempotent.column_number(target, name) IS NULL AND NOT idempotent.looks_like_expression(name)
           AND name NOT IN (SELECT shown FROM idempotent.key_expressions(target)) THEN
            PERFORM idempotent.no_such_column(target, name, 'It is named in "key".');
        END IF;
    END LOOP;
    candidates := ARRAY(SELECT i FROM idempotent.indexes_of(target) AS i
                         WHERE i.unusable IS NULL AND i.parts @> key AND key @> i.parts AND cardinality(i.parts) = cardinality(key));
    IF cardinality(candidates) = 0 THEN
        PERFORM idempotent.no_index_on(target, key);
    END IF;
    IF EXISTS (SELECT FROM unnest(candidates) AS other WHERE NOT idempotent.are_twins(other, candidates[1])) THEN
        SELECT * INTO arbiter FROM unnest(candidates) AS i WHERE i.condition IS NULL LIMIT 1;
        IF NOT FOUND THEN
            PERFORM idempotent.fail('42P10',
                format('the key is ambiguous: several partial unique indexes of table "%s" have it', idempotent.name_of(target)),
                format('Candidates: %s.', (SELECT string_agg(idempotent.describe(i), ', ') FROM unnest(candidates) AS i)),
                'Keep one of them, or create the others with a further column or expression, by which a key can tell them apart.', target);
        END IF;
        RETURN arbiter;
    END IF;
    -- Where NULL equals NULL in one of several twins, it knows keys that the others do not tell apart.
    SELECT * INTO arbiter FROM unnest(candidates) AS i ORDER BY NOT i.is_primary, NOT i.nulls_equal, i.index LIMIT 1;
    RETURN arbiter;
END
$$;
COMMENT ON FUNCTION idempotent.arbiter_for_key(regclass, text[]) IS 'the arbiter for a key that is named';

-- 42P10: no usable index is on exactly these columns and expressions.
CREATE FUNCTION idempotent.no_index_on(target regclass, key text[]) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    refused idempotent.unique_index;
    about idempotent.unique_index;
    wanted smallint[] := ARRAY(SELECT idempotent.column_number(target, name) FROM unnest(key) WITH ORDINALITY AS k (name, n) ORDER BY n);
    only_columns boolean := array_position(wanted, NULL) IS NULL;
BEGIN
    SELECT * INTO refused FROM idempotent.indexes_of(target) AS i
     WHERE i.unusable IS NOT NULL AND i.parts @> key AND key @> i.parts AND cardinality(i.parts) = cardinality(key)
       -- A temporal key is no key of these columns.
       AND NOT (SELECT indisexclusion FROM pg_index WHERE indexrelid = i.index) LIMIT 1;
    SELECT * INTO about FROM idempotent.indexes_of(target) AS i
     WHERE i.unusable IS NULL AND only_columns
       AND (SELECT array_agg(DISTINCT c ORDER BY c) FROM (
                SELECT unnest(i.numbers) UNION SELECT idempotent.columns_in(target, x.indexprs) FROM pg_index AS x WHERE x.indexrelid = i.index) AS a (c) WHERE c > 0)
           = (SELECT array_agg(c ORDER BY c) FROM unnest(wanted) AS c) LIMIT 1;
    PERFORM idempotent.fail('42P10',
        format('table "%s" has no usable unique index on (%s)', idempotent.name_of(target),
            (SELECT string_agg(CASE WHEN idempotent.column_number(target, name) IS NULL THEN name ELSE quote_ident(name) END, ', ' ORDER BY n)
               FROM unnest(key) WITH ORDINALITY AS k (name, n))),
        CASE WHEN refused.index IS NULL THEN idempotent.list_indexes(target) ELSE format('Index "%s" %s.', refused.name, refused.unusable) END,
        CASE
            WHEN NOT only_columns THEN 'Name columns and expressions as a unique index has them, or create one on these.'
            WHEN NOT refused.valid AND (SELECT relkind FROM pg_class WHERE oid = target) <> 'p' THEN
                format('Unless it is still being built: REINDEX INDEX CONCURRENTLY %I.%I;',
                    (SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = target), refused.name)
            WHEN refused.is_deferrable THEN
                format('Add one that is checked immediately: ALTER TABLE %s ADD UNIQUE (%s);', idempotent.qualified(target), idempotent.column_list(target, wanted))
            WHEN about.index IS NOT NULL THEN format('Name what the index is on: key => %s.', quote_literal(idempotent.array_text(about.parts)))
            ELSE idempotent.create_index_on(target, wanted)
        END, target, "constraint" => coalesce(refused.name, ''));
END
$$;
COMMENT ON FUNCTION idempotent.no_index_on(regclass, text[]) IS 'refuses a key that no usable unique index has';

-- Of several indexes those that could be the key: the ones on columns alone and on all rows, if there are some. Of those
-- that decide the same, the first, or the one in which NULL equals NULL.
CREATE FUNCTION idempotent.most_plain(fit idempotent.unique_index[]) RETURNS idempotent.unique_index[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF cardinality(fit) < 2 THEN
        RETURN fit;
    END IF;
    RETURN (
    SELECT coalesce(array_agg(fit[n] ORDER BY n), '{}') FROM generate_subscripts(fit, 1) AS n
     WHERE (NOT idempotent.is_computed(fit[n]) OR NOT EXISTS (SELECT FROM generate_subscripts(fit, 1) AS m WHERE NOT idempotent.is_computed(fit[m])))
       AND NOT EXISTS (SELECT FROM generate_subscripts(fit, 1) AS m
                        WHERE idempotent.are_twins(fit[m], fit[n]) AND (NOT (fit[m]).nulls_equal, m) < (NOT (fit[n]).nulls_equal, n)));
END
$$;
COMMENT ON FUNCTION idempotent.most_plain(idempotent.unique_index[]) IS 'of several indexes those that could be the key';

-- The arbiter where no key is named: the primary key if every payload, or the source, names all its columns, else the one
-- usable unique index whose columns they all name. `counted` are the columns that count as named.
CREATE FUNCTION idempotent.default_arbiter(target regclass, counted smallint[], origin text) RETURNS idempotent.unique_index
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    fit idempotent.unique_index[] := ARRAY(SELECT i FROM idempotent.indexes_of(target) AS i WHERE idempotent.can_be_default(i) AND i.deciding <@ counted);
    candidates idempotent.unique_index[] := idempotent.most_plain(fit);
BEGIN
    IF (fit[1]).is_primary THEN
        RETURN fit[1];
    ELSIF cardinality(candidates) = 1 THEN
        RETURN candidates[1];
    ELSIF cardinality(candidates) > 1 THEN
        PERFORM idempotent.fail('42P10', format('the key is ambiguous: several unique indexes of table "%s" qualify', idempotent.name_of(target)),
            format('Candidates: %s.', (SELECT string_agg(idempotent.describe(i), ', ') FROM unnest(candidates) AS i)),
            'Name the key columns with the argument key.', target);
    END IF;
    PERFORM idempotent.no_named_key(target, counted, origin);
END
$$;
COMMENT ON FUNCTION idempotent.default_arbiter(regclass, smallint[], text) IS 'the arbiter where no key is named';

-- 42P10: no usable index has only columns that count as named. If there is one usable index, the columns of it that
-- payloads do not name are told.
CREATE FUNCTION idempotent.no_named_key(target regclass, counted smallint[], origin text, more_detail text DEFAULT NULL, other_hint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    usable idempotent.unique_index[] := ARRAY(SELECT i FROM idempotent.indexes_of(target) AS i WHERE idempotent.can_be_default(i));
    partial idempotent.unique_index;
    lacking smallint[];
    detail text := idempotent.list_indexes(target);
    hint text;
BEGIN
    IF cardinality(usable) = 0 THEN
        SELECT * INTO partial FROM idempotent.indexes_of(target) AS i WHERE i.unusable IS NULL LIMIT 1;
        hint := CASE WHEN partial.index IS NOT NULL THEN
            format('Name the key of a partial index, as in key => %s; rows outside its condition have no key.', quote_literal(idempotent.array_text(partial.parts)))
            ELSE idempotent.create_some_index(target) END;
    ELSE
        IF cardinality(usable) = 1 AND origin <> 'source' THEN
            lacking := ARRAY(SELECT n FROM unnest((usable[1]).deciding) AS n WHERE n <> ALL (counted));
            detail := detail || E'\n' || CASE cardinality(lacking)
                WHEN 1 THEN format('Not every payload names column "%s".', (SELECT attname FROM pg_attribute WHERE attrelid = target AND attnum = lacking[1]))
                ELSE format('Not every payload names each of the columns %s.', idempotent.column_list(target, lacking)) END;
        END IF;
        -- An identity that is GENERATED ALWAYS is no client's to send.
        hint := CASE WHEN EXISTS (
                SELECT FROM unnest(usable) AS i
                 WHERE NOT EXISTS (SELECT FROM idempotent.columns_of(target) AS c
                                    WHERE c.number = ANY (i.deciding) AND c.number <> ALL (counted) AND c.identity = 'a')) THEN
            idempotent.create_some_index(target, CASE origin WHEN 'source' THEN 'Add the key columns to the source, or create'
                                                              ELSE 'Name the key columns in every payload, or create' END)
            ELSE idempotent.create_some_index(target) END;
    END IF;
    PERFORM idempotent.fail('42P10',
        format('table "%s" has no usable unique index whose columns %s names', idempotent.name_of(target),
            CASE origin WHEN 'source' THEN 'the source' ELSE 'every payload' END),
        concat_ws(E'\n', detail, more_detail), coalesce(other_hint, hint), target);
END
$$;
COMMENT ON FUNCTION idempotent.no_named_key(regclass, smallint[], text, text, text) IS 'refuses payloads that name no key';
