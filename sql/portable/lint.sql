-- What of a table makes retries unsafe, and what to do about it. docs/lint.md
--
-- Each rule is a function of its own, which is given what is known of the table, and returns what it has found.

CREATE TYPE idempotent.finding AS (severity text, rule text, object text, message text, hint text);
COMMENT ON TYPE idempotent.finding IS 'what a rule of the lint has found: an index, column or trigger, for the order, and what is said of it';

CREATE TYPE idempotent.row_trigger AS (
    name        text,
    -- The table that it was made on.
    made_on     regclass,
    on_insert   boolean,
    on_update   boolean,
    assignments idempotent.assignment[],
    unclear     boolean
);
COMMENT ON TYPE idempotent.row_trigger IS 'an enabled BEFORE trigger for each row that is no guard';

CREATE TYPE idempotent.server_filled AS (
    number      smallint,
    -- clock, wall_clock or volatile.
    source      text,
    -- What makes it, to follow «is filled by», and the SQL that ends it.
    made_by     text,
    undo        text,
    by_sequence boolean,
    may_be_sent boolean,
    overwritten boolean
);
COMMENT ON TYPE idempotent.server_filled IS 'why a column has another value with every attempt that leaves it out';

CREATE TYPE idempotent.linted AS (
    target       regclass,
    columns      idempotent.column_info[],
    indexes      idempotent.unique_index[],
    -- The key: that of the guard; else the primary key, unless the server makes it; else all others that it does not make.
    keys         idempotent.unique_index[],
    triggers     idempotent.row_trigger[],
    filled       idempotent.server_filled[],
    -- The columns by which the table and its partitions are partitioned, and those with the type that they have for good.
    partition_by smallint[],
    fixed        smallint[],
    is_partition boolean,
    -- Its guard, the table that this was made on, and what it comes to here; or why it comes to nothing.
    guard        pg_trigger,
    guarded      regclass,
    fits         boolean,
    problem      text,
    problem_hint text,
    options      idempotent.guard_options,
    compared     smallint[],
    if_supplied  smallint[]
);
COMMENT ON TYPE idempotent.linted IS 'what is known of a table that is looked at';

-- `column "a"`, `columns "a" and "b"`.
CREATE FUNCTION idempotent.column_words(kind text, names text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    quoted text[] := ARRAY(SELECT format('"%s"', name) FROM unnest(names) WITH ORDINALITY AS u (name, n) ORDER BY n);
BEGIN
    RETURN CASE cardinality(names) WHEN 1 THEN format('%s %s', kind, quoted[1])
                ELSE format('%ss %s and %s', kind, array_to_string(trim_array(quoted, 1), ', '), quoted[cardinality(quoted)]) END;
END
$$;
COMMENT ON FUNCTION idempotent.column_words(text, text[]) IS 'names, for messages';

-- Whether a name has one of these words: timeHour, time_hour and time-hour have two.
CREATE FUNCTION idempotent.has_word(name text, words text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN regexp_split_to_array(lower(regexp_replace(name, '([[:lower:]])([[:upper:]])', '\1 \2', 'g')), '[^[:alnum:]]+') && words;
END
$$;
COMMENT ON FUNCTION idempotent.has_word(text, text[]) IS 'whether a name has one of these words';

CREATE FUNCTION idempotent.row_triggers(target regclass) RETURNS SETOF idempotent.row_trigger
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    -- For each row, BEFORE; INSERT and UPDATE.
    RETURN QUERY
    SELECT t.tgname::text, CASE t.tgparentid WHEN 0 THEN target ELSE coalesce(pg_partition_root(target), target) END, t.tgtype & 4 = 4, t.tgtype & 16 = 16, body.assignments, body.unclear
      FROM pg_trigger AS t
     CROSS JOIN LATERAL idempotent.body_of(t.tgfoid, idempotent.arguments_of(t.oid)) AS body
     WHERE t.tgrelid = target AND t.tgtype & 3 = 3 AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
       AND t.tgfoid <> to_regprocedure(format('%I.idempotent_guard_trigger()', idempotent.home()))
     ORDER BY t.tgname;
END
$$;
COMMENT ON FUNCTION idempotent.row_triggers(regclass) IS 'the BEFORE triggers of a table that are no guards';

CREATE FUNCTION idempotent.filled_by_server(target regclass, columns idempotent.column_info[], defaults jsonb, triggers idempotent.row_trigger[]) RETURNS SETOF idempotent.server_filled
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    root text := idempotent.qualified(coalesce(pg_partition_root(target), target));
BEGIN
    RETURN QUERY
    WITH by_default AS (
        SELECT c.number, CASE WHEN c.kind = 'clock' AND c.identity = '' THEN CASE WHEN c.drawn THEN 'wall_clock' ELSE 'clock' END ELSE 'volatile' END AS source,
               CASE WHEN c.identity <> '' THEN 'its identity' ELSE 'its default ' || coalesce(defaults ->> c.name, c.filled_by) END AS made_by,
               format('ALTER TABLE %s ALTER COLUMN %I %s', root, c.name,
                      CASE WHEN c.identity <> '' THEN 'DROP IDENTITY' WHEN c.base <> c.typid THEN 'SET DEFAULT NULL' ELSE 'DROP DEFAULT' END) AS undo,
               c.kind = 'sequence' AS by_sequence, c.identity <> 'a' AS may_be_sent, c.identity = 'a' AS overwritten
          FROM unnest(columns) AS c WHERE idempotent.changes(c)),
    by_trigger AS (
        SELECT DISTINCT ON (c.number) c.number, a.source, format('trigger "%s"', t.name), format('DROP TRIGGER %I ON %s', t.name, idempotent.qualified(t.made_on)),
               false, a.depends AS may_be_sent, NOT a.depends AS overwritten
          FROM unnest(triggers) WITH ORDINALITY AS t (name, made_on, on_insert, on_update, assignments, unclear, place),
               unnest(t.assignments) WITH ORDINALITY AS a ("column", source, depends, rewritten, events, line),
               unnest(columns) AS c
         WHERE t.on_insert AND a."column" = c.name AND a.events & 1 = 1 AND a.source <> 'payload'
         ORDER BY c.number, t.place, a.line)
    -- A trigger that overwrites what is there counts before a default.
    SELECT * FROM by_default AS d WHERE NOT EXISTS (SELECT FROM by_trigger AS t WHERE t.number = d.number AND t.overwritten)
    UNION ALL
    SELECT * FROM by_trigger AS t WHERE t.overwritten OR NOT EXISTS (SELECT FROM by_default AS d WHERE d.number = t.number);
END
$$;
COMMENT ON FUNCTION idempotent.filled_by_server(regclass, idempotent.column_info[], jsonb, idempotent.row_trigger[]) IS 'the columns that the server fills with another value every time';

-- What the guard of a table comes to: of a partition, what that of its partitioned table comes to on the partition.
CREATE FUNCTION idempotent.with_guard(l idempotent.linted) RETURNS idempotent.linted
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard pg_trigger;
    config idempotent.guard_config;
    detail text;
    hint text;
BEGIN
    -- A partition's own guard, which every row fails at, before that of its root.
    SELECT * INTO guard FROM idempotent.guards_of(l.target) ORDER BY tgparentid <> 0, tgname LIMIT 1;
    IF NOT FOUND THEN
        RETURN l;
    END IF;
    l.guard := guard;
    l.guarded := idempotent.guarded_table(l.target, (l.guard).tgname);
    l.options := idempotent.options_of(idempotent.arguments_of((l.guard).oid));
    IF l.guarded = l.target AND l.is_partition THEN
        PERFORM idempotent.refuse_own_guard(pg_partition_root(l.target), l.target, l.guard);
    END IF;
    config := idempotent.config_of(l.guarded, l.options, (l.guard).oid);
    PERFORM idempotent.check_definition((l.guard).tgrelid, l.guard);
    PERFORM idempotent.check_single_guard(l.guarded);
    l.keys := ARRAY(SELECT i FROM unnest(l.indexes) AS i
                     WHERE i.index = (config.arbiter).index OR (config.arbiter).index IN (SELECT relid FROM pg_partition_ancestors(i.index)));
    l.compared := ARRAY(SELECT c.number FROM unnest(config.compared) AS n JOIN unnest(l.columns) AS c ON c.name = idempotent.column_name(l.guarded, n) ORDER BY c.number);
    l.if_supplied := ARRAY(SELECT c.number FROM unnest(config.if_supplied) AS n JOIN unnest(l.columns) AS c ON c.name = idempotent.column_name(l.guarded, n));
    l.fits := true;
    RETURN l;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    l.problem := concat_ws('. ', SQLERRM, nullif(detail, ''));
    l.problem_hint := nullif(hint, '');
    RETURN l;
END
$$;
COMMENT ON FUNCTION idempotent.with_guard(idempotent.linted) IS 'what the guard of a table comes to';

CREATE FUNCTION idempotent.is_usable(l idempotent.linted, i idempotent.unique_index) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN i.unusable IS NULL AND NOT EXISTS (SELECT FROM unnest(l.columns) AS c WHERE c.number = ANY (i.deciding) AND c.generated <> '');
END
$$;
COMMENT ON FUNCTION idempotent.is_usable(idempotent.linted, idempotent.unique_index) IS 'whether an index can decide for functions and guards';

CREATE FUNCTION idempotent.look_at(target regclass, defaults jsonb) RETURNS idempotent.linted
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    l idempotent.linted;
    keys idempotent.unique_index[];
BEGIN
    l.target := target;
    l.columns := ARRAY(SELECT c FROM idempotent.columns_of(target) AS c);
    l.indexes := ARRAY(SELECT i FROM idempotent.indexes_of(target) AS i);
    l.triggers := ARRAY(SELECT t FROM idempotent.row_triggers(target) AS t);
    l.filled := ARRAY(SELECT f FROM idempotent.filled_by_server(target, l.columns, defaults, l.triggers) AS f ORDER BY f.number);
    l.is_partition := idempotent.is_partition(target);
    l.partition_by := (idempotent.partitioned_by(target)).numbers;
    l.fixed := l.partition_by || ARRAY(
        SELECT idempotent.column_number(target, idempotent.column_name(a.relid, n))
          FROM pg_partition_ancestors(target) AS a JOIN pg_partitioned_table AS p ON p.partrelid = a.relid, unnest(p.partattrs::smallint[]) AS n WHERE n > 0);
    l := idempotent.with_guard(l);
    IF l.fits THEN
        RETURN l;
    END IF;
    keys := ARRAY(SELECT i FROM unnest(l.indexes) AS i
                   WHERE idempotent.is_usable(l, i) AND idempotent.can_be_default(i) AND NOT EXISTS (SELECT FROM unnest(l.filled) AS f WHERE f.number = ANY (i.deciding)));
    l.keys := CASE WHEN (keys[1]).is_primary THEN keys[1:1] ELSE idempotent.most_plain(keys) END;
    RETURN l;
END
$$;
COMMENT ON FUNCTION idempotent.look_at(regclass, jsonb) IS 'gathers what the rules of the lint ask for';

-- Only the owner of the table knows which columns name the event.
CREATE FUNCTION idempotent.create_on_event(target regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT coalesce(p.why_not, format('Create a unique index on the columns that name the business event: CREATE UNIQUE INDEX ON %s (…%s);',
                idempotent.qualified(target), coalesce(', ' || idempotent.column_list(target, p.numbers), '')))
              FROM idempotent.partitioned_by(target) AS p);
END
$$;
COMMENT ON FUNCTION idempotent.create_on_event(regclass) IS 'a hint to create a unique index';

-- The columns of an index.
CREATE FUNCTION idempotent.plain(i idempotent.unique_index) RETURNS smallint[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN array_remove(i.numbers, 0::smallint);
END
$$;
COMMENT ON FUNCTION idempotent.plain(idempotent.unique_index) IS 'the columns of an index, without its expressions';

-- Whether there is a key ----------------------------------------------------------------------------------------------------

CREATE FUNCTION idempotent.lint_whether_indexed(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    partition record;
BEGIN
    IF l.indexes <> '{}' THEN
        RETURN;
    END IF;
    -- Others have no indexes of their own, or the server makes their keys.
    SELECT c.relname, idempotent.describe(i) AS index, i.parts INTO partition
      FROM pg_partition_tree(l.target) AS p JOIN pg_class AS c ON c.oid = p.relid AND c.relkind = 'r', idempotent.indexes_of(p.relid) AS i
     WHERE p.relid <> l.target AND i.unusable IS NULL AND NOT idempotent.is_computed(i)
       AND NOT EXISTS (SELECT FROM idempotent.columns_of(p.relid) AS own WHERE own.number = ANY (i.numbers) AND idempotent.changes(own))
     ORDER BY c.relname::text COLLATE "C", NOT i.is_primary, i.index LIMIT 1;
    IF NOT FOUND THEN
        RETURN NEXT ROW('error', 'no_business_key', '', format('table "%s" has no unique index that identifies a repeated payload', idempotent.name_of(l.target)),
            idempotent.create_on_event(l.target))::idempotent.finding;
        RETURN;
    END IF;
    RETURN NEXT ROW('error', 'partition_index', partition.relname,
        format('partition "%s" has the unique index %s, but the partitioned table "%s" has none', partition.relname, partition.index, idempotent.name_of(l.target)),
        idempotent.create_index_on(l.target, ARRAY(SELECT idempotent.column_number(l.target, name) FROM unnest(partition.parts) WITH ORDINALITY AS u (name, n) ORDER BY n),
            'Create it on the partitioned table'))::idempotent.finding;
END
$$;
COMMENT ON FUNCTION idempotent.lint_whether_indexed(idempotent.linted) IS 'rules of the lint: no_business_key, partition_index';

-- What makes an index usable.
CREATE FUNCTION idempotent.remedy(l idempotent.linted, i idempotent.unique_index) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    index text := format('%I.%I', (SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = i.index), i.name);
BEGIN
    RETURN CASE
        WHEN NOT i.valid AND (SELECT relkind FROM pg_class WHERE oid = l.target) = 'p' THEN
            format('Create the index on every partition, and attach it: ALTER INDEX %s ATTACH PARTITION …;', index)
        WHEN NOT i.valid THEN format('Unless it is still being built: REINDEX INDEX CONCURRENTLY %s;', index)
        WHEN i.is_deferrable AND l.is_partition THEN 'Make it immediate on the partitioned table.'
        WHEN i.is_deferrable THEN format('Make it immediate: ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s (%s);', idempotent.qualified(l.target), i.name, i.name,
            CASE WHEN i.is_primary THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, idempotent.column_list(l.target, i.numbers))
        ELSE idempotent.create_on_event(l.target) END;
END
$$;
COMMENT ON FUNCTION idempotent.remedy(idempotent.linted, idempotent.unique_index) IS 'what makes an index usable';

-- None of the unique indexes decides. Beside a key that can decide they do no harm; only one that is not valid costs without any use.
CREATE FUNCTION idempotent.lint_unusable_index(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT CASE WHEN l.keys <> '{}' THEN 'warning' ELSE 'error' END, 'unusable_index', i.name,
           format('unique index "%s" cannot be the key: it %s', i.name, coalesce(i.unusable,
               (SELECT format('is on the generated column "%s", which is computed after the guard has verified the row', c.name)
                  FROM unnest(l.columns) AS c WHERE c.number = ANY (i.deciding) AND c.generated <> '' ORDER BY array_position(i.deciding, c.number) LIMIT 1))),
           idempotent.remedy(l, i)
      FROM unnest(l.indexes) AS i WHERE NOT idempotent.is_usable(l, i) AND (l.keys = '{}' OR NOT i.valid);
END
$$;
COMMENT ON FUNCTION idempotent.lint_unusable_index(idempotent.linted) IS 'a rule of the lint';

-- How to get rid of a key column that the server makes.
CREATE FUNCTION idempotent.without_filled(l idempotent.linted, i idempotent.unique_index, f idempotent.server_filled) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    made smallint[] := ARRAY(SELECT own.number FROM unnest(l.filled) AS own);
    others smallint[] := ARRAY(SELECT n FROM unnest(idempotent.plain(i)) WITH ORDINALITY AS u (n, place) WHERE n <> ALL (made) ORDER BY place);
    partitions_by smallint := (SELECT n FROM unnest(idempotent.plain(i)) WITH ORDINALITY AS u (n, place) WHERE n = ANY (l.partition_by) AND n = ANY (made) ORDER BY place LIMIT 1);
BEGIN
    RETURN CASE
        WHEN partitions_by IS NOT NULL THEN format('A unique index must contain "%s", by which the table is partitioned: partition the table by a column of the business event.',
            idempotent.column_name(l.target, partitions_by))
        WHEN others = '{}' THEN idempotent.create_on_event(l.target)
        ELSE format('If the other columns name the business event: CREATE UNIQUE INDEX ON %s (%s);', idempotent.qualified(l.target), idempotent.column_list(l.target, others)) END
        || CASE WHEN f.may_be_sent THEN format(' If every client sends "%s", with the same value in a retry: %s;', idempotent.column_name(l.target, f.number), f.undo) ELSE '' END;
END
$$;
COMMENT ON FUNCTION idempotent.without_filled(idempotent.linted, idempotent.unique_index, idempotent.server_filled) IS 'how to get rid of a key column that the server makes';

-- The only unique indexes have a column that the server fills. For a guard that was told to use such a key, clients send it; then
-- it is a risk only where one of them forgets to.
CREATE FUNCTION idempotent.lint_server_filled_key(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT CASE WHEN l.fits AND NOT f.overwritten THEN 'warning' ELSE 'error' END,
           CASE WHEN f.source IN ('clock', 'wall_clock') THEN 'clock_key' ELSE 'machine_made_key' END,
           format('%s %s', i.name, idempotent.column_name(l.target, f.number)),
           format('key column "%s" of index "%s" is a server-generated key: it is filled by %s', idempotent.column_name(l.target, f.number), i.name, f.made_by),
           idempotent.without_filled(l, i, f)
      FROM unnest(CASE WHEN l.keys <> '{}' THEN l.keys ELSE ARRAY(SELECT own FROM unnest(l.indexes) AS own WHERE idempotent.is_usable(l, own)) END) AS i
      JOIN unnest(l.filled) AS f ON f.number = ANY (i.numbers);
END
$$;
COMMENT ON FUNCTION idempotent.lint_server_filled_key(idempotent.linted) IS 'rules of the lint: machine_made_key, clock_key';

CREATE FUNCTION idempotent.lint_ambiguous_key(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF cardinality(l.keys) > 1 THEN
        RETURN NEXT ROW('info', 'ambiguous_key', '',
            format('several unique indexes could be the key: %s', (SELECT string_agg(idempotent.describe(i), ', ' ORDER BY n) FROM unnest(l.keys) WITH ORDINALITY AS u, LATERAL (SELECT l.keys[u.ordinality] AS i, u.ordinality AS n) AS own)),
            CASE WHEN l.is_partition THEN 'Name the key columns with the argument key.'
                 ELSE format('Name the key columns with the argument key, for example: SELECT %s(%L, key => %L);', idempotent.own_function('idempotent_guard'),
                             idempotent.qualified(l.target), idempotent.array_text((l.keys[1]).parts)) END)::idempotent.finding;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.lint_ambiguous_key(idempotent.linted) IS 'a rule of the lint';

-- Rows outside of the condition of a partial index have no key. Where no other index is the key, it is none either until it is named.
CREATE FUNCTION idempotent.lint_partial_key(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'info', 'partial_key', i.name,
           format('rows outside the condition of index "%s" have no key, and are inserted as often as they are sent: %s', i.name, i.condition),
           'If such rows are sent more than once, too, give them a unique index of their own.'
      FROM unnest(l.keys) AS i WHERE i.condition IS NOT NULL
    UNION ALL
    SELECT 'warning', 'partial_key', i.name, format('unique index "%s" is the key only where it is named, because it is partial', i.name),
           format('If it is: SELECT %s(%L, key => %L);', idempotent.own_function('idempotent_guard'),
                  idempotent.qualified(coalesce(pg_partition_root(l.target), l.target)), idempotent.array_text(i.parts))
      FROM unnest(l.indexes) AS i WHERE l.keys = '{}' AND idempotent.is_usable(l, i) AND i.condition IS NOT NULL;
END
$$;
COMMENT ON FUNCTION idempotent.lint_partial_key(idempotent.linted) IS 'a rule of the lint';

-- Whether the key identifies an event ---------------------------------------------------------------------------------------

CREATE FUNCTION idempotent.is_time(type oid) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN type IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype, 'time'::regtype, 'timetz'::regtype);
END
$$;
COMMENT ON FUNCTION idempotent.is_time(oid) IS 'whether a type is a point in time, or a part of one';

-- A key column that, by its name, says when the row was loaded.
CREATE FUNCTION idempotent.lint_loading_time(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'warning', 'clock_key', format('%s %s', i.name, c.name),
           format('key column "%s" of index "%s" has a name that suggests the time of the attempt', c.name, i.name),
           CASE WHEN c.number = ANY (l.partition_by)
                THEN format('Partition the table by a column of the business event, and leave "%s" out of the key.', c.name)
                ELSE format('Leave it out of the key: CREATE UNIQUE INDEX ON %s (%s);', idempotent.qualified(l.target),
                            idempotent.column_list(l.target, array_remove(idempotent.plain(i), c.number))) END
      FROM unnest(l.keys) AS i JOIN unnest(l.columns) AS c ON c.number = ANY (i.numbers)
     WHERE cardinality(i.parts) > 1 AND idempotent.is_time(c.base) AND idempotent.has_word(c.name, '{loaded,ingested,imported,inserted,processed}')
       AND NOT EXISTS (SELECT FROM unnest(l.filled) AS f WHERE f.number = c.number);
END
$$;
COMMENT ON FUNCTION idempotent.lint_loading_time(idempotent.linted) IS 'a rule of the lint: clock_key by the name';

CREATE FUNCTION idempotent.lint_nullable_key(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    i idempotent.unique_index;
    nullable text[];
    passing idempotent.guard_options := l.options;
    not_null text;
BEGIN
    passing.null_key := 'pass';
    FOREACH i IN ARRAY l.keys LOOP
        nullable := ARRAY(SELECT c.name FROM unnest(l.columns) AS c WHERE c.may_be_null AND c.number = ANY (i.numbers) ORDER BY array_position(i.numbers, c.number));
        CONTINUE WHEN i.nulls_equal OR i.only_not_null OR nullable = '{}';
        not_null := (SELECT string_agg(format('ALTER COLUMN %I SET NOT NULL', name), ', ' ORDER BY n) FROM unnest(nullable) WITH ORDINALITY AS u (name, n));
        IF l.fits AND (l.options).null_key = 'pass' THEN
            RETURN NEXT ROW('info', 'nullable_key', i.name,
                format('%s of index "%s" may be null, and rows with a null there are inserted without verification', idempotent.column_words('key column', nullable), i.name),
                format('If there are none: ALTER TABLE %s %s;', idempotent.qualified(l.target), not_null))::idempotent.finding;
        ELSE
            RETURN NEXT ROW('warning', 'nullable_key', i.name,
                format('%s of index "%s" may be null, and rows with a null there are never equal', idempotent.column_words('key column', nullable), i.name),
                format('If there are none, forbid them: ALTER TABLE %s %s;', idempotent.qualified(l.target), not_null)
                || CASE WHEN idempotent.is_computed(i) THEN '' ELSE
                    format(' Or, if nulls are equal to each other: CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT;', idempotent.qualified(l.target), idempotent.column_list(l.target, i.numbers)) END
                || CASE WHEN l.guarded IS NULL THEN '' ELSE ' Or let such rows pass without verification: ' || idempotent.guard_call(l.guarded, passing) END)::idempotent.finding;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.lint_nullable_key(idempotent.linted) IS 'a rule of the lint';

-- What a key column says of the time: timestamp, day, calendar, hour, finer; resolved, if it tells two equal local times apart.
CREATE FUNCTION idempotent.part_of_time(c idempotent.column_info) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    is_number boolean := c.base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype);
    is_text boolean := c.base IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype);
BEGIN
    RETURN CASE
        WHEN idempotent.has_word(c.name, '{utc,gmt,zulu,offset,utcoffset,dst,fold}') THEN 'resolved'
        WHEN c.base IN ('timestamptz'::regtype, 'timetz'::regtype, 'tstzrange'::regtype, 'uuid'::regtype) THEN 'resolved'
        WHEN c.base IN ('timestamp'::regtype, 'tsrange'::regtype) THEN 'timestamp'
        WHEN c.base = 'date'::regtype THEN 'day'
        WHEN c.base = 'time'::regtype THEN 'hour'
        WHEN (is_number OR is_text) AND idempotent.has_word(c.name, '{date,yyyymmdd}') THEN 'day'
        WHEN NOT is_number THEN 'other'
        -- A day of the week is none of the calendar: such an hour is on a timetable.
        WHEN idempotent.has_word(c.name, '{week,weekday,dow}') THEN 'calendar'
        WHEN idempotent.has_word(c.name, '{hour,hr,hh,hhmm}') THEN 'hour'
        WHEN idempotent.has_word(c.name, '{day,dd,yday,doy}') THEN 'day'
        WHEN idempotent.has_word(c.name, '{year,month,quarter,yyyy}') THEN 'calendar'
        WHEN idempotent.has_word(c.name, '{minute,second}') THEN 'finer'
        ELSE 'other' END;
END
$$;
COMMENT ON FUNCTION idempotent.part_of_time(idempotent.column_info) IS 'what a key column says of the time';

-- A key of an instant in place of local time.
CREATE FUNCTION idempotent.as_instant(l idempotent.linted, i idempotent.unique_index, local idempotent.column_info[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    instants idempotent.column_info[] := ARRAY(
        SELECT c FROM unnest(l.columns) AS c
         WHERE c.base = 'timestamptz'::regtype AND c.generated = '' AND NOT EXISTS (SELECT FROM unnest(l.filled) AS f WHERE f.number = c.number)
           AND NOT idempotent.has_word(c.name, '{loaded,ingested,imported,inserted,processed,created,updated,modified,changed}'));
    others smallint[] := ARRAY(SELECT n FROM unnest(idempotent.plain(i)) WITH ORDINALITY AS u (n, place)
                                WHERE NOT EXISTS (SELECT FROM unnest(local) AS c WHERE c.number = n) ORDER BY place);
BEGIN
    IF EXISTS (SELECT FROM unnest(local) AS c WHERE c.number = ANY (l.fixed)) THEN
        RETURN 'Partition the table by an instant, a column of type timestamptz, and put that into the key in place of local time.';
    ELSIF cardinality(instants) = 1 THEN
        RETURN idempotent.create_index_on(l.target, others || (instants[1]).number, format('Column "%s" is an instant', (instants[1]).name));
    ELSIF cardinality(local) = 1 AND (local[1]).base = 'timestamp'::regtype THEN
        RETURN format('Name the zone that its values are in: ALTER TABLE %s ALTER COLUMN %I TYPE timestamptz USING %I AT TIME ZONE ''UTC'';',
            idempotent.qualified(coalesce(pg_partition_root(l.target), l.target)), (local[1]).name, (local[1]).name);
    END IF;
    RETURN 'Add a column of type timestamptz, and put it into the key in place of local time.';
END
$$;
COMMENT ON FUNCTION idempotent.as_instant(idempotent.linted, idempotent.unique_index, idempotent.column_info[]) IS 'a key of an instant in place of local time';

-- A timestamp without time zone, or an hour beside a day. When clocks go back, an hour happens twice.
CREATE FUNCTION idempotent.lint_local_time_key(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    i idempotent.unique_index;
    parts text[];
    wanted text[];
    local idempotent.column_info[];
    names text[];
BEGIN
    FOREACH i IN ARRAY l.keys LOOP
        parts := ARRAY(SELECT idempotent.part_of_time(c) FROM unnest(l.columns) AS c WHERE c.number = ANY (i.numbers));
        wanted := CASE WHEN 'resolved' = ANY (parts) THEN '{}' WHEN 'timestamp' = ANY (parts) THEN '{timestamp}'
                       WHEN parts @> '{day,hour}' THEN '{day,hour,calendar,finer}' ELSE '{}' END;
        local := ARRAY(SELECT c FROM unnest(l.columns) AS c WHERE c.number = ANY (i.numbers) AND idempotent.part_of_time(c) = ANY (wanted) ORDER BY array_position(i.numbers, c.number));
        CONTINUE WHEN local = '{}';
        names := ARRAY(SELECT (local[n]).name FROM generate_subscripts(local, 1) AS n ORDER BY n);
        RETURN NEXT ROW('warning', 'local_time_key', i.name,
            format('%s of index "%s" %s local time, in which an hour occurs twice when clocks go back', idempotent.column_words('key column', names), i.name,
                   CASE cardinality(names) WHEN 1 THEN 'is' ELSE 'are' END),
            idempotent.as_instant(l, i, local))::idempotent.finding;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.lint_local_time_key(idempotent.linted) IS 'a rule of the lint';

CREATE FUNCTION idempotent.lint_float_key(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    i idempotent.unique_index;
    floats smallint[];
    names text[];
BEGIN
    FOREACH i IN ARRAY l.keys LOOP
        floats := ARRAY(SELECT c.number FROM unnest(l.columns) AS c
                         WHERE c.number = ANY (i.numbers) AND c.base IN ('float4'::regtype, 'float8'::regtype) ORDER BY array_position(i.numbers, c.number));
        CONTINUE WHEN floats = '{}';
        names := ARRAY(SELECT idempotent.column_name(l.target, n) FROM unnest(floats) WITH ORDINALITY AS u (n, place) ORDER BY place);
        RETURN NEXT ROW('warning', 'float_key', i.name,
            format('%s of index "%s" %s floating point, where equal values may differ in the last digit', idempotent.column_words('key column', names), i.name,
                   CASE cardinality(names) WHEN 1 THEN 'is' ELSE 'are' END),
            CASE WHEN floats && l.fixed THEN 'Make it numeric in a new table: the type of a column by which a table is partitioned cannot be changed.'
                 ELSE format('ALTER TABLE %s %s;', idempotent.qualified(coalesce(pg_partition_root(l.target), l.target)),
                             (SELECT string_agg(format('ALTER COLUMN %I TYPE numeric', name), ', ' ORDER BY n) FROM unnest(names) WITH ORDINALITY AS u (name, n))) END)::idempotent.finding;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.lint_float_key(idempotent.linted) IS 'a rule of the lint';

-- The quoted name of a collation whose version is not the recorded one, and how to record that of today.
CREATE FUNCTION idempotent.stale(collation_oid oid, OUT name text, OUT refresh text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF collation_oid = '"default"'::regcollation THEN
        SELECT 'of the database', format('ALTER DATABASE %I REFRESH COLLATION VERSION', datname) INTO name, refresh FROM pg_database AS d
         WHERE datname = current_database() AND datcollversion <> pg_database_collation_actual_version(d.oid);
    ELSE
        SELECT format('%I.%I', n.nspname, c.collname), format('ALTER COLLATION %I.%I REFRESH VERSION', n.nspname, c.collname) INTO name, refresh
          FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace
         WHERE c.oid = collation_oid AND c.collversion <> pg_collation_actual_version(c.oid);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.stale(oid) IS 'a collation whose version is not the recorded one';

-- The index of the key was built under another version of its collation than there is now.
CREATE FUNCTION idempotent.lint_stale_collation(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (i.name) 'warning', 'stale_collation', i.name,
           format('index "%s" was built under another version of collation %s, and may miss keys that are stored', i.name, s.name),
           format('REINDEX INDEX CONCURRENTLY %I.%I; When all indexes with that collation are rebuilt: %s;', c.nspname, i.name, s.refresh)
      FROM unnest(l.keys) AS i
      JOIN pg_index AS x ON x.indexrelid = i.index
      JOIN LATERAL (SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = i.index) AS c ON true
     CROSS JOIN LATERAL unnest(x.indcollation::oid[]) WITH ORDINALITY AS k (collation_oid, place)
     CROSS JOIN LATERAL idempotent.stale(k.collation_oid) AS s
     WHERE s.name IS NOT NULL ORDER BY i.name, k.place;
END
$$;
COMMENT ON FUNCTION idempotent.lint_stale_collation(idempotent.linted) IS 'a rule of the lint';

-- Whether the guard works ---------------------------------------------------------------------------------------------------

-- A guard that was made for a partition alone, or is not enabled there as on the table. NULL, if there is none.
CREATE FUNCTION idempotent.own_guard_of_partition(root regclass, OUT name text, OUT problem text, OUT hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own pg_trigger;
    detail text;
BEGIN
    SELECT g.* INTO own FROM pg_partition_tree(root) AS p, idempotent.guards_of(p.relid) AS g
     WHERE p.relid <> root AND g.tgenabled <> 'D' AND g.tgparentid = 0 LIMIT 1;
    IF FOUND THEN
        name := own.tgname;
        PERFORM idempotent.refuse_own_guard(root, own.tgrelid, own);
    END IF;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    problem := concat_ws('. ', SQLERRM, nullif(detail, ''));
END
$$;
COMMENT ON FUNCTION idempotent.own_guard_of_partition(regclass) IS 'a guard of a partition alone';

CREATE FUNCTION idempotent.lint_guard_problem(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard text := (l.guard).tgname;
    own record;
    unlike text;
BEGIN
    IF l.problem IS NOT NULL THEN
        RETURN NEXT ROW('error', 'guard_problem', guard, format('guard "%s" does not fit the table: %s', guard, l.problem),
            coalesce(l.problem_hint, format('Call %s again.', idempotent.own_function('idempotent_guard'))))::idempotent.finding;
        RETURN;
    END IF;
    SELECT * INTO own FROM idempotent.own_guard_of_partition(l.target);
    IF own.problem IS NOT NULL THEN
        RETURN NEXT ROW('error', 'guard_problem', coalesce(guard, own.name), own.problem, own.hint)::idempotent.finding;
        RETURN;
    END IF;
    SELECT idempotent.name_of(p.relid) INTO unlike FROM pg_partition_tree(l.target) AS p
     WHERE p.isleaf AND p.relid <> l.target AND l.guarded IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = p.relid AND t.tgname = (l.guard).tgname AND t.tgenabled = (l.guard).tgenabled) LIMIT 1;
    IF FOUND THEN
        RETURN NEXT ROW('error', 'guard_problem', guard,
            format('guard "%s" is not enabled on partition "%s" in the same way as on table "%s"', guard, unlike, idempotent.name_of(l.target)),
            format('ALTER TABLE %s %s TRIGGER %I;', idempotent.qualified(l.target),
                CASE (l.guard).tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE' END, guard))::idempotent.finding;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.lint_guard_problem(idempotent.linted) IS 'a rule of the lint';

CREATE FUNCTION idempotent.lint_guard_disabled(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard text := (l.guard).tgname;
    again text := format('ALTER TABLE %s ENABLE TRIGGER %s;', idempotent.qualified(l.target), quote_ident(guard));
BEGIN
    IF (l.guard).tgenabled = 'D' THEN
        RETURN NEXT ROW('error', 'guard_disabled', guard, format('guard "%s" is disabled, so rows are inserted without verification', guard), again)::idempotent.finding;
    ELSIF (l.guard).tgenabled = 'R' THEN
        RETURN NEXT ROW('warning', 'guard_disabled', guard,
            format('guard "%s" is enabled for replication only, so rows of clients are inserted without verification', guard), again)::idempotent.finding;
    END IF;
    IF (l.guard).tgenabled <> 'D' AND idempotent.is_off(l.guarded) THEN
        RETURN NEXT ROW('warning', 'guard_disabled', guard, format('guard "%s" lets all rows pass, because pg_idempotent.guard is off in this session', guard),
            'RESET pg_idempotent.guard; If it stays off, look for it in postgresql.conf, ALTER DATABASE and ALTER ROLE.')::idempotent.finding;
    END IF;
    IF l.fits AND (l.options).on_conflict = 'observe' THEN
        l.options.on_conflict := 'error';
        RETURN NEXT ROW('info', 'guard_observes', guard,
            format('guard "%s" only observes, so duplicates and conflicts are inserted, or fail, as without a guard', guard), idempotent.guard_call(l.guarded, l.options))::idempotent.finding;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.lint_guard_disabled(idempotent.linted) IS 'rules of the lint: guard_disabled, guard_observes';

CREATE FUNCTION idempotent.lint_trigger_after_guard(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'warning', 'trigger_after_guard', t.name,
           format('trigger "%s" fires after guard "%s", which does not see its changes', t.name, (l.guard).tgname),
           format('Rename it so that it sorts before the guard: ALTER TRIGGER %I ON %s RENAME TO %I;', t.name, idempotent.qualified(t.made_on), 'a_' || t.name)
      FROM unnest(l.triggers) AS t
     WHERE t.on_insert AND (t.unclear OR t.assignments <> '{}') AND t.name COLLATE "C" > (l.guard).tgname::text COLLATE "C";
END
$$;
COMMENT ON FUNCTION idempotent.lint_trigger_after_guard(idempotent.linted) IS 'a rule of the lint';

-- Defaults are filled in before a guard judges the row, so every duplicate draws a number.
CREATE FUNCTION idempotent.lint_small_sequence(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'warning', 'small_sequence', c.name,
           format('column "%s" is %s, and duplicates use values of its sequence, too: after %s attempts even a pure retry fails', c.name,
                  CASE WHEN c.base = 'int2'::regtype THEN 'a smallint' ELSE 'an integer' END, CASE WHEN c.base = 'int2'::regtype THEN 32767 ELSE 2147483647 END),
           format('ALTER TABLE %s ALTER COLUMN %I TYPE bigint;', idempotent.qualified(l.guarded), c.name)
           || coalesce(format(' ALTER SEQUENCE %s AS bigint;', CASE WHEN c.identity = '' THEN s.name END) || left(CASE WHEN c.identity = '' THEN s.name END, 0), '')
      FROM unnest(l.columns) AS c JOIN unnest(l.filled) AS f ON f.number = c.number AND f.by_sequence
     CROSS JOIN LATERAL (SELECT pg_get_serial_sequence(idempotent.qualified(l.target), c.name) AS name) AS s
     WHERE l.fits AND c.base IN ('int2'::regtype, 'int4'::regtype) AND c.number <> ALL ((l.keys[1]).numbers);
END
$$;
COMMENT ON FUNCTION idempotent.lint_small_sequence(idempotent.linted) IS 'a rule of the lint';

-- Whether a retry has the same values ---------------------------------------------------------------------------------------

-- The end of a sentence: the call that takes a column out of the guard's comparison.
CREATE FUNCTION idempotent.without_column(l idempotent.linted, name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    options idempotent.guard_options := l.options;
BEGIN
    IF options.compare IS NULL THEN
        options.ignore := options.ignore || name;
    ELSE
        options.compare := array_remove(options.compare, name);
        IF options.compare = '{}' THEN
            RETURN ', with ignore in place of compare.';
        END IF;
    END IF;
    RETURN ': ' || idempotent.guard_call(l.guarded, options);
END
$$;
COMMENT ON FUNCTION idempotent.without_column(idempotent.linted, text) IS 'the call that takes a column out of a comparison';

-- The guard compares a column that is filled with another value in every attempt. Those with stable defaults are compared where a
-- payload brings them, which is told as such.
CREATE FUNCTION idempotent.lint_clock_column(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c idempotent.column_info;
    f idempotent.server_filled;
    supplied boolean;
    touched boolean;
    told idempotent.finding;
BEGIN
    FOR c IN SELECT own.* FROM unnest(l.columns) AS own WHERE l.fits AND own.number = ANY (l.compared) ORDER BY own.number LOOP
        SELECT own.* INTO f FROM unnest(l.filled) AS own WHERE own.number = c.number;
        supplied := c.number = ANY (l.if_supplied);
        touched := idempotent.is_time(c.base) AND idempotent.has_word(c.name, '{created,updated,modified,changed}');
        told := ROW('warning', 'clock_column', c.name, NULL, 'Leave it out of the comparison')::idempotent.finding;
        -- What a trigger fills in may be what the default gives in the same statement.
        IF f.overwritten AND NOT (f.source = 'clock' AND supplied) THEN
            told.severity := 'error';
            told.message := format('compared column "%s" has another value in every attempt: it is filled by %s', c.name, f.made_by);
        ELSIF f.number IS NOT NULL AND NOT supplied THEN
            told.message := format('compared column "%s" has another value in every attempt that omits it: it is filled by %s', c.name, f.made_by);
        ELSIF f.overwritten THEN
            CONTINUE;
        ELSIF f.number IS NULL AND idempotent.is_time(c.base) AND idempotent.has_word(c.name, '{loaded,ingested,imported,inserted,processed}') THEN
            told.message := format('compared column "%s" has a name that suggests the time of the attempt', c.name);
        ELSIF touched THEN
            told.message := format('compared column "%s" has a name that suggests a time, which many clients set anew in every attempt', c.name);
            told.hint := 'Unless clients send the same time again, leave it out of the comparison';
        ELSIF supplied THEN
            told.severity := 'info';
            told.message := format('compared column "%s" is filled by %s when clients omit it, and compared only when they send it', c.name,
                coalesce(f.made_by, CASE WHEN c.kind = 'session' THEN 'a default that depends on the session' ELSE 'a default of its partitioned table' END));
            told.hint := 'If clients send another value with every attempt, leave it out of the comparison';
        ELSE
            CONTINUE;
        END IF;
        told.hint := told.hint || idempotent.without_column(l, c.name);
        RETURN NEXT told;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.lint_clock_column(idempotent.linted) IS 'a rule of the lint';

-- The guard compares a column that a trigger changes with every UPDATE, and does not remember what first arrived. What is computed from the row alike on INSERT stays as it is.
CREATE FUNCTION idempotent.lint_changed_on_update(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT DISTINCT ON (c.number) 'warning', 'changed_on_update', c.name,
           format('compared column "%s" is changed by trigger "%s" on update, so a late retry is a conflict', c.name, t.name),
           format('Make the guard remember the original payload, or leave the column out of the comparison%s', idempotent.without_column(l, c.name))
      FROM unnest(l.columns) AS c, unnest(l.triggers) WITH ORDINALITY AS t (name, made_on, on_insert, on_update, assignments, unclear, place), unnest(t.assignments) AS a
     WHERE l.fits AND (l.options).remember IS NULL AND c.number = ANY (l.compared) AND t.on_update AND a."column" = c.name AND a.events & 2 = 2
       AND NOT (a.source = 'payload' AND t.on_insert AND a.events & 1 = 1) AND NOT (a.source <> 'payload' AND a.depends)
       -- That every retry is a conflict is told already.
       AND NOT EXISTS (SELECT FROM unnest(l.filled) AS f WHERE f.number = c.number AND f.overwritten)
     ORDER BY c.number, t.place;
END
$$;
COMMENT ON FUNCTION idempotent.lint_changed_on_update(idempotent.linted) IS 'a rule of the lint';

-- A BEFORE INSERT trigger rewrites what a payload brings. Functions compare before it fires; the guard judges what it left.
CREATE FUNCTION idempotent.lint_before_trigger(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t idempotent.row_trigger;
    rewritten text[];
    what text;
    guard text := CASE
        WHEN l.guarded IS NOT NULL THEN 'use plain INSERT or COPY, where the guard verifies the row as the trigger returns it.'
        ELSE 'guard the table, since a guard verifies rows as the trigger returns them'
             || CASE WHEN cardinality(l.keys) = 1 AND NOT l.is_partition
                     THEN format(': SELECT %s(%L);', idempotent.own_function('idempotent_guard'), idempotent.qualified(l.target)) ELSE '.' END END;
BEGIN
    FOR t IN SELECT own.* FROM unnest(l.triggers) AS own WHERE own.on_insert LOOP
        rewritten := ARRAY(SELECT DISTINCT a."column" COLLATE "C" FROM unnest(t.assignments) AS a WHERE a.rewritten AND a.events & 1 = 1 ORDER BY 1);
        CONTINUE WHEN rewritten = '{}' AND NOT t.unclear;
        what := CASE WHEN rewritten = '{}' THEN 'may rewrite rows before they are inserted'
                     ELSE format('rewrites %s before a row is inserted', idempotent.column_words('column', rewritten)) END;
        RETURN NEXT ROW(CASE WHEN rewritten = '{}' OR l.guarded IS NOT NULL THEN 'info' ELSE 'warning' END, 'before_trigger', t.name,
            format('trigger "%s" %s, so functions may find a payload different from its own stored row', t.name, what),
            format('Send values as they are to be stored, or %s', guard))::idempotent.finding;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.lint_before_trigger(idempotent.linted) IS 'a rule of the lint';

-- The table -----------------------------------------------------------------------------------------------------------------

CREATE FUNCTION idempotent.lint_table(l idempotent.linted) RETURNS SETOF idempotent.finding
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 'error', 'rewrite_rule', rulename::text, format('rule "%s" rewrites statements, so functions cannot insert or verify rows', rulename),
           format('Replace it with a trigger: DROP RULE %I ON %s;', rulename, idempotent.qualified(l.target))
      FROM pg_rewrite WHERE ev_class = l.target AND ev_type IN ('2', '3')
    UNION ALL
    SELECT 'warning', 'unlogged', c.relname::text,
           format('%s "%s" is unlogged: a crash empties it, committed rows included', CASE WHEN c.oid = l.target THEN 'table' ELSE 'partition' END, c.relname),
           format('ALTER TABLE %s SET LOGGED;', idempotent.qualified(c.oid))
      FROM pg_class AS c
     WHERE c.relpersistence = 'u' AND c.relkind = 'r' AND (c.oid = l.target OR c.oid IN (SELECT relid FROM pg_partition_tree(l.target)))
    UNION ALL
    SELECT 'warning', 'inheritance', idempotent.name_of(l.target),
           format('rows in %s, inheriting from "%s", are not in its unique index', idempotent.column_words('table', heirs.names), idempotent.name_of(l.target)),
           'Make it a partitioned table, whose unique index covers all partitions.'
      FROM (WITH RECURSIVE below AS (SELECT inhrelid FROM pg_inherits WHERE inhparent = l.target
                                     UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN below ON i.inhparent = below.inhrelid)
            SELECT array_agg(c.relname::text ORDER BY c.relname::text COLLATE "C") AS names FROM below JOIN pg_class AS c ON c.oid = below.inhrelid) AS heirs
     WHERE heirs.names IS NOT NULL AND (SELECT relkind FROM pg_class WHERE oid = l.target) <> 'p';
END
$$;
COMMENT ON FUNCTION idempotent.lint_table(idempotent.linted) IS 'rules of the lint: rewrite_rule, unlogged, inheritance';

-- PL/pgSQL does not have an argument and a result of one name.
CREATE FUNCTION idempotent.lint(looked_at regclass, defaults jsonb) RETURNS TABLE (target regclass, rule text, severity text, message text, hint text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    l idempotent.linted;
BEGIN
    PERFORM idempotent.require('target', looked_at IS NOT NULL);
    IF NOT idempotent.has_any_right(looked_at) THEN
        PERFORM idempotent.fail('42501', format('permission denied for table %s', idempotent.name_of(looked_at)));
    END IF;
    PERFORM idempotent.check_target(looked_at, false);
    l := idempotent.look_at(looked_at, defaults);
    RETURN QUERY
    SELECT looked_at, f.rule, f.severity, f.message, f.hint
      FROM (SELECT * FROM idempotent.lint_whether_indexed(l) UNION ALL SELECT * FROM idempotent.lint_unusable_index(l)
            UNION ALL SELECT * FROM idempotent.lint_server_filled_key(l) UNION ALL SELECT * FROM idempotent.lint_ambiguous_key(l)
            UNION ALL SELECT * FROM idempotent.lint_partial_key(l) UNION ALL SELECT * FROM idempotent.lint_loading_time(l)
            UNION ALL SELECT * FROM idempotent.lint_nullable_key(l) UNION ALL SELECT * FROM idempotent.lint_local_time_key(l)
            UNION ALL SELECT * FROM idempotent.lint_float_key(l) UNION ALL SELECT * FROM idempotent.lint_stale_collation(l)
            UNION ALL SELECT * FROM idempotent.lint_guard_problem(l) UNION ALL SELECT * FROM idempotent.lint_guard_disabled(l)
            UNION ALL SELECT * FROM idempotent.lint_trigger_after_guard(l) UNION ALL SELECT * FROM idempotent.lint_small_sequence(l)
            UNION ALL SELECT * FROM idempotent.lint_clock_column(l) UNION ALL SELECT * FROM idempotent.lint_changed_on_update(l)
            UNION ALL SELECT * FROM idempotent.lint_before_trigger(l) UNION ALL SELECT * FROM idempotent.lint_table(l)) AS f
     ORDER BY array_position('{error,warning,info}', f.severity), array_position('{no_business_key,partition_index,unusable_index,machine_made_key,clock_key,'
              'nullable_key,local_time_key,float_key,stale_collation,ambiguous_key,partial_key,guard_problem,guard_disabled,guard_observes,trigger_after_guard,'
              'small_sequence,clock_column,changed_on_update,before_trigger,rewrite_rule,unlogged,inheritance}', f.rule), f.object COLLATE "C";
END
$$;
COMMENT ON FUNCTION idempotent.lint(regclass, jsonb) IS 'for idempotent_lint';

CREATE FUNCTION idempotent_lint(target regclass)
RETURNS TABLE (target regclass, rule text, severity text, message text, hint text)
LANGUAGE sql ROWS 10
AS $$ SELECT * FROM idempotent.lint($1, idempotent.defaults_in_words($1)) $$;
COMMENT ON FUNCTION idempotent_lint(regclass) IS
    'what makes retries on a table unsafe, and what to do about it; no rows for a table that is safe';
