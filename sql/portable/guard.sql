-- The guard: plain INSERT and COPY become insert-or-verify. docs/guard.md
--
-- A BEFORE trigger that looks the key up and skips the row if it finds it is racy: between its look and the insertion,
-- another session inserts the same key. Here a lock on the key spans that gap.
--
-- The protocol, for every row, last of the BEFORE triggers:
-- 1. Look at the row under the key. Found: it is a duplicate, and skipped; or a conflict.
-- 2. Not found: take the lock on the key, which is held until the transaction ends, and look again. Found now: as above.
--    Not found: the row goes in.
--
-- Why no interleaving goes wrong, at READ COMMITTED. Let A and B be sessions with a row of one key. Whoever lets a row in
-- holds the lock on its key from a look that found nothing until its transaction has ended. If A has it, B waits; then
-- A's row is committed, and B's second look, which takes a new snapshot, sees it; or it is rolled back, and B's row goes
-- in. ROLLBACK TO SAVEPOINT gives the lock back together with the row. So the arbiter never has two rows of guarded
-- sessions to choose from.
-- - A updates or deletes the stored row and has not committed: B verifies against the last committed row, without waiting.
-- - At REPEATABLE READ and above, the snapshot cannot see what A has committed after it: B's row goes in, and the arbiter
--   raises 23505. The row is never judged wrongly, and the transaction has to be repeated, as after 40001.
-- - Sessions that insert overlapping keys in different orders can deadlock, as without a guard: 40P01.
-- - The lock is on a hash of the key. Two keys with one hash wait for each other in vain, that is all.
-- - Rows of our own functions take part, and what is found is skipped without judgement: the function verifies it.

-- The options are in the arguments of the trigger, as name=value; lists of columns are lists of SQL identifiers.
CREATE TYPE idempotent.guard_options AS (key text[], compare text[], ignore text[], on_conflict text, remember text, null_key text);
COMMENT ON TYPE idempotent.guard_options IS 'the options of a guard, as they were given';

CREATE TYPE idempotent.guard_config AS (
    trigger     oid,
    -- The guarded table: of a partition, its partitioned table.
    target      regclass,
    arbiter     idempotent.unique_index,
    key         text[],
    compared    smallint[],
    -- Those whose default is one value throughout a statement: they are compared unless the row has that value.
    if_supplied smallint[],
    on_conflict text,
    null_key    text,
    remembers   idempotent.memory
);
COMMENT ON TYPE idempotent.guard_config IS 'what the options of a guard come to on its table';

-- The members of a list of SQL identifiers: in lower case unless they are quoted. Expressions are as they are.
CREATE FUNCTION idempotent.listed(option text, list text, noun text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    members text[];
BEGIN
    IF list ~ '^\s*$' THEN
        PERFORM idempotent.check_list(option, '{}');
    ELSIF list !~ (CASE WHEN strpos(list, '(') > 0 THEN '^\s*("([^"]|"")+"|[^",]+)(\s*,\s*("([^"]|"")+"|[^",]+))*\s*$'
                        ELSE '^\s*("([^"]|"")+"|[^",\s]+)(\s*,\s*("([^"]|"")+"|[^",\s]+))*\s*$' END) THEN
        PERFORM idempotent.fail('22023', format('invalid list of columns in option "%s" of the %s: "%s"', option, noun, idempotent.cut(list)),
            hint => 'Separate names by commas, and put double quotes around those that need them.');
    END IF;
    SELECT array_agg(CASE WHEN part[1] LIKE '"%' THEN replace(substr(part[1], 2, char_length(part[1]) - 2), '""', '"')
                          WHEN strpos(list, '(') > 0 THEN trim(part[1]) ELSE lower(trim(part[1])) END ORDER BY n) INTO members
      FROM regexp_matches(list, '\s*("(?:[^"]|"")+"|[^",]+)\s*(?:,|$)', 'g') WITH ORDINALITY AS m (part, n);
    PERFORM idempotent.check_list(option, members);
    RETURN members;
END
$$;
COMMENT ON FUNCTION idempotent.listed(text, text, text) IS 'the members of a list of columns';

CREATE FUNCTION idempotent.listed_one(option text, list text, noun text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    members text[] := idempotent.listed(option, list, noun);
BEGIN
    IF cardinality(members) <> 1 THEN
        PERFORM idempotent.fail('22023', format('option "%s" of the %s names more than one column', option, noun));
    END IF;
    RETURN members[1];
END
$$;
COMMENT ON FUNCTION idempotent.listed_one(text, text, text) IS 'the one member of a list of columns';

CREATE FUNCTION idempotent.options_of(arguments text[], noun text DEFAULT 'guard') RETURNS idempotent.guard_options
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    options idempotent.guard_options := ROW(NULL, NULL, NULL, 'error', NULL, 'error');
    argument text;
    option text;
    value text;
    given text[] := '{}';
BEGIN
    FOREACH argument IN ARRAY coalesce(arguments, '{}') LOOP
        option := trim(split_part(argument, '=', 1));
        value := trim(substr(argument, strpos(argument, '=') + 1));
        IF strpos(argument, '=') = 0 OR option NOT IN ('key', 'compare', 'ignore', 'on_conflict', 'remember', 'null_key') THEN
            PERFORM idempotent.fail('22023', format('unrecognized option of the %s: "%s"', noun, idempotent.cut(argument)),
                hint => format('Available options: key=…, compare=…, ignore=…, on_conflict=…%s.', CASE noun WHEN 'guard' THEN ', remember=…, null_key=…' END));
        ELSIF option = ANY (given) THEN
            PERFORM idempotent.fail('22023', format('option "%s" of the %s is given more than once', option, noun));
        END IF;
        given := given || option;
        CASE option
            WHEN 'key' THEN options.key := idempotent.listed(option, value, noun);
            WHEN 'compare' THEN options.compare := idempotent.listed(option, value, noun);
            WHEN 'ignore' THEN options.ignore := idempotent.listed(option, value, noun);
            WHEN 'on_conflict' THEN options.on_conflict := value;
            WHEN 'remember' THEN options.remember := idempotent.listed_one(option, value, noun);
            ELSE options.null_key := value;
        END CASE;
    END LOOP;
    IF noun = 'guard' THEN
        PERFORM idempotent.check_guard_options(options);
    END IF;
    RETURN options;
END
$$;
COMMENT ON FUNCTION idempotent.options_of(text[], text) IS 'the options of a guard, from the arguments of its trigger';

CREATE FUNCTION idempotent.check_guard_options(options idempotent.guard_options) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF options.on_conflict = 'report' THEN
        PERFORM idempotent.fail('22023', 'a guard cannot report conflicts: a plain INSERT has nowhere to return them',
            hint => 'Available values: error, quarantine, observe.');
    END IF;
    PERFORM idempotent.check_option('on_conflict', options.on_conflict, '{error,quarantine,observe}');
    PERFORM idempotent.check_option('null_key', options.null_key, '{error,pass}');
END
$$;
COMMENT ON FUNCTION idempotent.check_guard_options(idempotent.guard_options) IS 'refuses options of a guard that are none';

-- The arguments of a trigger. They are kept as texts that end with a zero byte.
CREATE FUNCTION idempotent.arguments_of(guard oid) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept bytea;
    arguments text[] := '{}';
    zero int;
BEGIN
    SELECT tgargs INTO kept FROM pg_trigger WHERE oid = guard;
    LOOP
        zero := position('\x00'::bytea IN kept);
        EXIT WHEN zero = 0;
        arguments := arguments || convert_from(substr(kept, 1, zero - 1), getdatabaseencoding());
        kept := substr(kept, zero + 1);
    END LOOP;
    RETURN arguments;
END
$$;
COMMENT ON FUNCTION idempotent.arguments_of(oid) IS 'the arguments of a trigger';

-- The guards of a table, with those that come from its partitioned table; without disabled ones.
CREATE FUNCTION idempotent.guards_of(target regclass) RETURNS SETOF pg_trigger
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.* FROM pg_trigger AS t
     WHERE t.tgrelid = target AND t.tgfoid = to_regprocedure(format('%I.idempotent_guard_trigger()', idempotent.home())) ORDER BY t.tgname;
END
$$;
COMMENT ON FUNCTION idempotent.guards_of(regclass) IS 'the guards of a table';

-- The number of the column that remembers, which cannot be compared as well, nor be part of the key.
CREATE FUNCTION idempotent.remembering_column(target regclass, arbiter idempotent.unique_index, options idempotent.guard_options) RETURNS smallint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    number smallint;
BEGIN
    IF options.remember IS NULL THEN
        RETURN NULL;
    ELSIF options.on_conflict = 'observe' THEN
        PERFORM idempotent.fail('22023', 'a guard that only observes cannot remember the original payload',
            hint => 'Leave out the argument remember until the guard verifies.', target => target);
    END IF;
    number := (idempotent.numbers_of(target, 'remember', ARRAY[options.remember]))[1];
    IF options.remember = ANY (options.compare) THEN
        PERFORM idempotent.cannot_be_in(target, number, 'remembers the original payload', 'compare');
    ELSIF number = ANY (arbiter.numbers) THEN
        PERFORM idempotent.cannot_be_in(target, number, 'is part of the key', 'remember');
    END IF;
    RETURN number;
END
$$;
COMMENT ON FUNCTION idempotent.remembering_column(regclass, idempotent.unique_index, idempotent.guard_options) IS 'the number of the column that remembers';

-- The columns whose values must agree: the compared ones as named; or every column less the key, generated ones and those
-- that the server makes anew for every row, less the ignored ones.
CREATE FUNCTION idempotent.guard_compared(target regclass, arbiter idempotent.unique_index, options idempotent.guard_options) RETURNS smallint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    rule idempotent.rule := idempotent.rule_of(target, NULL, options.compare, options.ignore);
    generated smallint;
    remembers smallint;
BEGIN
    SELECT c.number INTO generated FROM unnest(rule.compare) WITH ORDINALITY AS n (number, place)
      JOIN idempotent.columns_of(target) AS c ON c.number = n.number WHERE c.generated <> '' ORDER BY place LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.cannot_be_in(target, generated, 'is generated after the guard has verified the row', 'compare');
    END IF;
    remembers := idempotent.remembering_column(target, arbiter, options);
    PERFORM idempotent.check_rule(target, arbiter, rule);
    RETURN idempotent.compared(target, arbiter, rule,
        ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c
               WHERE c.generated = '' AND c.number IS DISTINCT FROM remembers AND (rule.compare IS NOT NULL OR NOT c.drawn)));
END
$$;
COMMENT ON FUNCTION idempotent.guard_compared(regclass, idempotent.unique_index, idempotent.guard_options) IS 'the columns that a guard compares';

-- The key where none is named: the primary key if clients can send the same one again, else the one other usable unique
-- index with which they can.
CREATE FUNCTION idempotent.guard_arbiter(target regclass) RETURNS idempotent.unique_index
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    generated smallint[] := ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c WHERE c.generated <> '');
    anew smallint[] := ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c WHERE idempotent.changes(c));
    always smallint[] := ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c WHERE c.identity = 'a');
    of_default idempotent.unique_index[] := ARRAY(SELECT i FROM idempotent.indexes_of(target) AS i WHERE idempotent.can_be_default(i));
    usable idempotent.unique_index[] := ARRAY(SELECT i FROM unnest(of_default) AS i WHERE NOT i.deciding && generated);
    made idempotent.unique_index[] := ARRAY(SELECT i FROM unnest(usable) AS i WHERE i.deciding && anew);
    of_clients idempotent.unique_index[] := ARRAY(SELECT i FROM unnest(usable) AS i WHERE NOT i.deciding && anew);
    candidates idempotent.unique_index[];
    partial idempotent.unique_index;
    detail text;
BEGIN
    IF (of_clients[1]).is_primary THEN
        RETURN of_clients[1];
    END IF;
    candidates := idempotent.most_plain(of_clients);
    IF cardinality(candidates) = 1 THEN
        RETURN candidates[1];
    ELSIF cardinality(candidates) > 1 THEN
        PERFORM idempotent.fail('42P10', format('the key is ambiguous: several unique indexes of table "%s" qualify', idempotent.name_of(target)),
            format('Candidates: %s.', (SELECT string_agg(idempotent.describe(i), ', ') FROM unnest(candidates) AS i)),
            'Name the key columns with the argument key.', target);
    END IF;
    detail := concat_ws(' ',
        CASE WHEN cardinality(made) > 0 THEN
            (SELECT string_agg(idempotent.describe(i), ', ') FROM unnest(made) AS i)
            || CASE cardinality(made) WHEN 1 THEN ' is a server-generated key.' ELSE ' are server-generated keys.' END END,
        (SELECT string_agg(format('Column "%s" of index "%s" is generated, and the server computes it after the guard has verified the row.',
                                  idempotent.column_name(target, (SELECT n FROM unnest(i.deciding) AS n WHERE n = ANY (generated) LIMIT 1)), i.name), ' ')
           FROM unnest(of_default) AS i WHERE i.deciding && generated));
    SELECT * INTO partial FROM idempotent.indexes_of(target) AS i WHERE i.unusable IS NULL LIMIT 1;
    PERFORM idempotent.fail('42P10', format('table "%s" has no unique index that identifies a repeated payload', idempotent.name_of(target)),
        coalesce(nullif(detail, ''), idempotent.list_indexes(target)),
        CASE
            WHEN cardinality(of_default) = 0 AND partial.index IS NOT NULL THEN
                format('Name the key of a partial index, as in key => %s; rows outside its condition have no key.', quote_literal(idempotent.array_text(partial.parts)))
            WHEN EXISTS (SELECT FROM unnest(made) AS i WHERE NOT i.deciding && always) THEN
                idempotent.create_some_index(target, 'Create', ', or name the key columns with the argument key if clients provide them.')
            ELSE idempotent.create_some_index(target)
        END, target);
END
$$;
COMMENT ON FUNCTION idempotent.guard_arbiter(regclass) IS 'the key of a guard, where none is named';

-- 55000: a guard of a partition alone.
CREATE FUNCTION idempotent.check_part(partition regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF idempotent.is_partition(partition) THEN
        PERFORM idempotent.refuse_own_guard(pg_partition_root(partition), partition, g) FROM idempotent.guards_of(partition) AS g
          WHERE g.tgenabled <> 'D' AND idempotent.guarded_table(partition, g.tgname) <> pg_partition_root(partition);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_part(regclass) IS 'refuses a guard of a partition alone';

CREATE FUNCTION idempotent.check_single_guard(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[] := ARRAY(SELECT tgname::text FROM idempotent.guards_of(target) WHERE tgenabled <> 'D');
BEGIN
    PERFORM idempotent.check_part(target);
    IF cardinality(names) > 1 THEN
        PERFORM idempotent.fail('39P01', format('table "%s" has two guards', idempotent.name_of(target)),
            format('They are the triggers "%s" and "%s".', names[1], names[2]), 'Drop one of them.', target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_single_guard(regclass) IS 'refuses a second guard';

CREATE FUNCTION idempotent.config_of(target regclass, options idempotent.guard_options, guard oid) RETURNS idempotent.guard_config
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    config idempotent.guard_config;
    arbiter idempotent.unique_index;
    generated text;
    other idempotent.unique_index;
    gone record;
BEGIN
    SELECT * INTO gone FROM (SELECT 'compare' AS option, name FROM unnest(options.compare) AS name UNION ALL SELECT 'ignore', name FROM unnest(options.ignore) AS name
                             UNION ALL SELECT 'remember', options.remember WHERE options.remember IS NOT NULL
                             UNION ALL SELECT 'key', name FROM unnest(options.key) AS name WHERE NOT idempotent.looks_like_expression(name)) AS named
     WHERE guard IS NOT NULL AND idempotent.column_number(target, name) IS NULL LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('42703', format('column "%s" of relation "%s" does not exist', gone.name, idempotent.name_of(target)),
            format('It is named in "%s".', gone.option), format('Call %s again, with columns that the table has.', idempotent.own_function('idempotent_guard')), target);
    END IF;
    arbiter := CASE WHEN options.key IS NULL THEN idempotent.guard_arbiter(target) ELSE idempotent.arbiter_for_key(target, options.key) END;
    SELECT c.name INTO generated FROM idempotent.columns_of(target, false) AS c WHERE c.number = ANY (arbiter.deciding) AND c.generated <> '' LIMIT 1;
    IF FOUND THEN
        SELECT * INTO other FROM idempotent.indexes_of(target) AS i WHERE i.unusable IS NULL
           AND NOT EXISTS (SELECT FROM idempotent.columns_of(target) AS c WHERE c.number = ANY (i.deciding) AND c.generated <> '') LIMIT 1;
        PERFORM idempotent.fail('42P10', format('index "%s" of table "%s" cannot be the key of a guard', arbiter.name, idempotent.name_of(target)),
            format('Its column "%s" is generated, and the server computes it after the guard has verified the row.', generated),
            CASE WHEN other.index IS NOT NULL THEN format('Name other key columns, as in key => %s.', quote_literal(idempotent.array_text(other.parts)))
                 ELSE idempotent.create_some_index(target) END, target, "constraint" => arbiter.name);
    END IF;
    config.trigger := guard;
    config.target := target;
    config.arbiter := arbiter;
    config.key := arbiter.parts;
    config.compared := idempotent.guard_compared(target, arbiter, options);
    config.if_supplied := ARRAY(SELECT c.number FROM idempotent.columns_of(target) AS c
                                 WHERE options.compare IS NULL AND c.number = ANY (config.compared) AND NOT c.drawn AND c.kind IN ('clock', 'transaction', 'session'));
    config.on_conflict := options.on_conflict;
    config.null_key := options.null_key;
    IF options.remember IS NOT NULL THEN
        config.remembers := idempotent.memory_of(target, options.remember, config.compared, config.if_supplied);
    END IF;
    RETURN config;
END
$$;
COMMENT ON FUNCTION idempotent.config_of(regclass, idempotent.guard_options, oid) IS 'what the options of a guard come to';

-- What the guard of a table comes to, for the functions; NULL without one, or with one that only observes.
CREATE FUNCTION idempotent.guard_in_force(target regclass) RETURNS idempotent.guard_config
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard pg_trigger;
BEGIN
    SELECT * INTO guard FROM idempotent.guards_of(target) WHERE tgenabled <> 'D' LIMIT 1;
    IF FOUND AND NOT idempotent.observes(idempotent.arguments_of(guard.oid)) THEN
        PERFORM idempotent.check_single_guard(target);
        RETURN idempotent.config_of(target, idempotent.options_of(idempotent.arguments_of(guard.oid)), guard.oid);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION idempotent.guard_in_force(regclass) IS 'the guard of a table';

CREATE FUNCTION idempotent.guard_options(
    target regclass, guard oid,
    OUT key text[], OUT arbiter name, OUT compared text[], OUT compare text[], OUT ignore text[], OUT on_conflict text, OUT remember name, OUT null_key text, OUT problem text
) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    options idempotent.guard_options;
    config idempotent.guard_config;
    t pg_trigger;
    detail text;
BEGIN
    options := idempotent.options_of(idempotent.arguments_of(guard));
    key := options.key;
    compare := options.compare;
    ignore := options.ignore;
    on_conflict := options.on_conflict;
    remember := options.remember;
    null_key := options.null_key;
    IF NOT idempotent.has_any_right(target) THEN
        problem := 'not checked: you have no privilege on the table';
        RETURN;
    END IF;
    config := idempotent.config_of(target, options, guard);
    key := config.key;
    arbiter := (config.arbiter).name;
    compared := ARRAY(SELECT c.name FROM idempotent.columns_of(target, false) AS c WHERE c.number = ANY (config.compared) ORDER BY c.number);
    SELECT * INTO t FROM pg_trigger WHERE oid = guard;
    PERFORM idempotent.check_definition(target, t);
    PERFORM idempotent.check_part(tree.relid) FROM pg_partition_tree(target) AS tree;
    PERFORM idempotent.check_single_guard(target);
    PERFORM idempotent.check_alike(target);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    problem := concat_ws('. ', SQLERRM, nullif(detail, ''));
END
$$;
COMMENT ON FUNCTION idempotent.guard_options(regclass, oid) IS 'the options of a guard as they apply to its table; for the view idempotent.guards';

CREATE FUNCTION idempotent.list_guards() RETURNS TABLE (
    target regclass, trigger name, enabled text, key text[], arbiter name, compared text[], compare text[], ignore text[], on_conflict text,
    remember name, null_key text, problem text
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT guard.tgrelid::regclass, guard.tgname,
           CASE guard.tgenabled WHEN 'O' THEN 'origin' WHEN 'A' THEN 'always' WHEN 'R' THEN 'replica' ELSE 'disabled' END,
           options.key, options.arbiter, options.compared, options.compare, options.ignore, options.on_conflict, options.remember, options.null_key, options.problem
      FROM pg_class AS class
     CROSS JOIN LATERAL idempotent.guards_of(class.oid) AS guard
     CROSS JOIN LATERAL idempotent.guard_options(guard.tgrelid, guard.oid) AS options
     WHERE class.relhastriggers AND class.relkind IN ('r', 'p') AND guard.tgparentid = 0
       AND (class.relpersistence <> 't' OR class.relnamespace = pg_my_temp_schema());
END
$$;
COMMENT ON FUNCTION idempotent.list_guards() IS 'for the view idempotent.guards';

CREATE VIEW idempotent.guards AS SELECT * FROM idempotent.list_guards();
COMMENT ON VIEW idempotent.guards IS 'every guarded table, with the options of its guard';
COMMENT ON COLUMN idempotent.guards.target IS 'the guarded table';
COMMENT ON COLUMN idempotent.guards.trigger IS 'the trigger of the guard, whose arguments hold the options';
COMMENT ON COLUMN idempotent.guards.enabled IS
    'when it fires: origin, replica, always (see ALTER TABLE ... ENABLE TRIGGER), or disabled';
COMMENT ON COLUMN idempotent.guards.key IS 'the key columns';
COMMENT ON COLUMN idempotent.guards.arbiter IS 'the unique index that decides';
COMMENT ON COLUMN idempotent.guards.compared IS
    'the columns whose values must agree; a column with a stable default, such as now(), only if the statement sets it';
COMMENT ON COLUMN idempotent.guards.compare IS 'the option compare, if given';
COMMENT ON COLUMN idempotent.guards.ignore IS 'the option ignore, if given';
COMMENT ON COLUMN idempotent.guards.on_conflict IS 'error, quarantine or observe';
COMMENT ON COLUMN idempotent.guards.remember IS 'the column that keeps what first arrived';
COMMENT ON COLUMN idempotent.guards.null_key IS
    'rows with a NULL in the key: error, or pass (insert them without verification)';
COMMENT ON COLUMN idempotent.guards.problem IS
    'why the options no longer fit the table or the guard does not work on each partition, or that you have no privilege to know; NULL if nothing is wrong';

-- Whether a row that is inserted into a partition comes from an UPDATE, which moves it there. The guard of a partitioned
-- table fires on UPDATE, too: where the new row will leave its partition, it notes the row; the next row that comes to
-- another partition is that one, and is no payload.
CREATE FUNCTION idempotent.leaves_partition(partition regclass, new_row anyelement) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    stays boolean;
BEGIN
    EXECUTE pg_catalog.format('SELECT %s FROM (SELECT ($1::%s).*) AS own', COALESCE(pg_catalog.pg_get_partition_constraintdef(partition), 'true'), idempotent.qualified(partition))
       INTO stays USING new_row;
    RETURN NOT COALESCE(stays, true);
END
$$;
COMMENT ON FUNCTION idempotent.leaves_partition(regclass, anyelement) IS 'whether an updated row goes to another partition';

-- SQL that locks the key of a row, $1, until the transaction ends, if the row has its whole key. Equal keys have equal numbers,
-- however they are spelt, where their types have a hash.
CREATE FUNCTION idempotent.lock_of(target regclass, arbiter idempotent.unique_index) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT format('SELECT pg_catalog.pg_advisory_xact_lock(%s) FROM (%s) AS %I WHERE %s',
               format(CASE WHEN bool_and(idempotent.is_hashable(a.atttypid)) THEN 'pg_catalog.hash_record_extended(ROW(%s), %s)' ELSE 'pg_catalog.hashtextextended(ROW(%s)::pg_catalog.text, %s)' END,
                      string_agg(format('(%s)::%s', arbiter.expressions[a.attnum], format_type(a.atttypid, NULL)), ', ' ORDER BY a.attnum), target::oid),
               idempotent.row_of(target, ARRAY(SELECT c.number FROM idempotent.columns_of(target, false) AS c WHERE c.generated = '')), idempotent.name_of(target),
               concat_ws(' AND ', '(' || arbiter.condition || ')', CASE WHEN arbiter.nulls_equal THEN 'true' ELSE string_agg(format('(%s) IS DISTINCT FROM NULL', arbiter.expressions[a.attnum]), ' AND ') END))
      FROM pg_attribute AS a WHERE a.attrelid = arbiter.index AND a.attnum <= cardinality(arbiter.parts));
END
$$;
COMMENT ON FUNCTION idempotent.lock_of(regclass, idempotent.unique_index) IS 'SQL that waits for others that insert a key, and keeps them waiting until the transaction ends';

CREATE FUNCTION idempotent.is_hashable(type oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT t.typtype = 'e' OR EXISTS (
                SELECT FROM pg_opclass AS c WHERE c.opcmethod = 405 AND c.opcdefault
                   AND (c.opcintype = t.oid OR EXISTS (SELECT FROM pg_cast WHERE castsource = t.oid AND casttarget = c.opcintype AND castmethod = 'b' AND castcontext = 'i')))
              FROM pg_type AS t WHERE t.oid = type);
END
$$;
COMMENT ON FUNCTION idempotent.is_hashable(oid) IS 'whether the values of a type have a hash';

-- Of some columns, those that a row did not get from a stable default: the statement is taken to have left those out.
CREATE FUNCTION idempotent.supplied(relation regclass, config idempotent.guard_config, names text[], new_row anyelement) RETURNS text[]
LANGUAGE plpgsql
AS $$
DECLARE
    given text[] := '{}';
    name text;
    test text;
    left_out boolean;
BEGIN
    FOREACH name IN ARRAY names LOOP
        left_out := false;
        test := idempotent.omission_test(relation, config, name);
        IF test IS NOT NULL THEN
            BEGIN
                EXECUTE test INTO left_out USING new_row;
            EXCEPTION WHEN OTHERS THEN
                -- A default that fails for this role did not supply the value.
                NULL;
            END;
        END IF;
        IF NOT left_out THEN
            given := pg_catalog.array_append(given, name);
        END IF;
    END LOOP;
    RETURN given;
END
$$;
COMMENT ON FUNCTION idempotent.supplied(regclass, idempotent.guard_config, text[], anyelement) IS 'those of some columns that the statement named';

-- The default may be that of the partition into which the row was inserted.
CREATE FUNCTION idempotent.omission_test(relation regclass, config idempotent.guard_config, name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT format('SELECT %s FROM (%s) AS sent', string_agg(DISTINCT idempotent.is_omitted(c), ' OR '), min(idempotent.row_of(config.target, ARRAY[own.number])))
              FROM idempotent.columns_of(config.target, false) AS own
             CROSS JOIN LATERAL (SELECT * FROM idempotent.columns_of(config.target, false) UNION ALL SELECT * FROM idempotent.columns_of(relation, false)) AS c
             WHERE own.name = omission_test.name AND own.number = ANY (config.if_supplied) AND c.name = own.name AND c.filled_by IS NOT NULL);
END
$$;
COMMENT ON FUNCTION idempotent.omission_test(regclass, idempotent.guard_config, text) IS 'SQL that says whether a value is that of a stable default';

-- The guarded table of a trigger: of a partition, the partitioned table whose guard this is.
CREATE FUNCTION idempotent.guarded_table(relation oid, trigger_name name) RETURNS regclass
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard pg_trigger;
BEGIN
    SELECT * INTO guard FROM pg_trigger AS t WHERE t.tgrelid = relation AND t.tgname = trigger_name;
    WHILE guard.tgparentid <> 0 LOOP
        SELECT * INTO guard FROM pg_trigger AS t WHERE t.oid = guard.tgparentid;
    END LOOP;
    RETURN guard.tgrelid::regclass;
END
$$;
COMMENT ON FUNCTION idempotent.guarded_table(oid, name) IS 'the table that a guard was made for';

-- For each row, BEFORE, INSERT; and UPDATE where the guard has to know of it.
CREATE FUNCTION idempotent.check_definition(relation oid, t pg_trigger) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    remembers boolean := EXISTS (SELECT FROM unnest(idempotent.arguments_of(t.oid)) AS argument WHERE argument ~ '^\s*remember');
BEGIN
    IF idempotent.is_partition(relation) AND idempotent.guarded_table(relation, t.tgname) <> pg_partition_root(relation) THEN
        PERFORM idempotent.refuse_own_guard(pg_partition_root(relation), relation, t);
    ELSIF t.tgtype NOT IN (7, 23) THEN
        PERFORM idempotent.fail('39P01', 'the guard must fire BEFORE INSERT FOR EACH ROW', hint => idempotent.replacement_hint(relation, t));
    ELSIF (remembers OR idempotent.is_partitioned(relation)) AND (t.tgtype = 7 OR t.tgqual IS NOT NULL OR t.tgattr <> '') THEN
        PERFORM idempotent.fail('39P01',
            format('%s must fire %s', CASE WHEN remembers THEN 'a guard with remember' ELSE 'the guard of a partitioned table' END,
                CASE t.tgtype WHEN 7 THEN 'BEFORE INSERT OR UPDATE FOR EACH ROW' ELSE 'on every UPDATE, without a list of columns or a WHEN condition' END),
            CASE WHEN remembers THEN 'An UPDATE must not change the column that remembers.'
                 ELSE 'An UPDATE that moves a row to another partition arrives as an INSERT.' END,
            idempotent.replacement_hint(relation, t));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_definition(oid, pg_trigger) IS 'refuses a trigger that is made wrongly';

-- How the trigger gives way to one that is made right: with its options, where they can be read.
CREATE FUNCTION idempotent.replacement_hint(relation regclass, t pg_trigger) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    drop_it text := format('DROP TRIGGER %I ON %s;', t.tgname, idempotent.qualified(coalesce(idempotent.guarded_table(relation, t.tgname), relation)));
BEGIN
    IF (SELECT relkind = 'v' FROM pg_class WHERE oid = relation) THEN
        RETURN 'Only a table can have a guard: ' || drop_it;
    END IF;
    RETURN format('Replace the trigger: %s %s', drop_it,
        idempotent.guard_call(coalesce(pg_partition_root(relation), relation), idempotent.options_of(idempotent.arguments_of(t.oid))));
EXCEPTION WHEN OTHERS THEN
    RETURN format('Drop the trigger, and call %s: %s', idempotent.own_function('idempotent_guard'), drop_it);
END
$$;
COMMENT ON FUNCTION idempotent.replacement_hint(regclass, pg_trigger) IS 'how a trigger that is made wrongly is replaced';

-- The statements of a guard are made when the guard is: to make them for every row would take too long. They are good as
-- long as the definition of the table is the same; else they are made for each row, until idempotent_guard is called again.
-- Only the owner of a table can write them, who could make any other trigger on it as well.
CREATE TABLE idempotent.guard_plans (
    target      regclass PRIMARY KEY,
    definition  text     NOT NULL,
    look        text     NOT NULL,
    lock        text     NOT NULL,
    -- The index that decides.
    arbiter     oid      NOT NULL,
    -- The column that remembers, and what gives its value; NULL without one.
    remember    text,
    keep        text
);
COMMENT ON TABLE idempotent.guard_plans IS 'the statements of guards';
ALTER TABLE idempotent.guard_plans ENABLE ROW LEVEL SECURITY;
CREATE POLICY for_all ON idempotent.guard_plans FOR SELECT USING (true);

CREATE FUNCTION idempotent.owns(target regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = target), false);
END
$$;
COMMENT ON FUNCTION idempotent.owns(regclass) IS 'whether the current user owns a table';

CREATE POLICY of_owner ON idempotent.guard_plans USING (idempotent.owns(target)) WITH CHECK (idempotent.owns(target));

-- What the statements of a guard depend on: the table, its owner, columns with their defaults and the functions in these, indexes
-- and guard. It is asked for every row, so it reads the catalogs itself.
CREATE FUNCTION idempotent.definition_of(target regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT md5(concat_ws(' ', c.relname, c.relnamespace, c.relowner, c.relkind,
               (SELECT string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, a.attnotnull, a.attgenerated, a.attidentity, t.typdefault, t.typnotnull, d.adbin,
                           -- Where members of a type, or its operators, may change.
                           CASE WHEN a.atttypid >= 16384 THEN idempotent.equality(a.atttypid) END,
                           (SELECT string_agg(f.oid || f.provolatile::text, ',' ORDER BY f.oid) FROM pg_depend AS on_function JOIN pg_proc AS f
                                ON f.oid = CASE on_function.refclassid WHEN 'pg_proc'::regclass THEN on_function.refobjid
                                                WHEN 'pg_operator'::regclass THEN (SELECT oprcode FROM pg_operator WHERE oid = on_function.refobjid) END
                             WHERE on_function.classid = 'pg_attrdef'::regclass AND on_function.objid = d.oid)), ',' ORDER BY a.attnum)
                  FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
               (SELECT string_agg(concat_ws(' ', i.indexrelid, i.indisvalid, i.indisready, i.indimmediate), ',' ORDER BY i.indexrelid) FROM pg_index AS i WHERE i.indrelid = c.oid),
               (SELECT string_agg(concat_ws(' ', t.oid, t.tgargs), ',' ORDER BY t.oid) FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)))
      FROM pg_class AS c WHERE c.oid = target);
END
$$;
COMMENT ON FUNCTION idempotent.definition_of(regclass) IS 'what changes when the definition of a table changes';

CREATE FUNCTION idempotent.plan_guard(config idempotent.guard_config) RETURNS idempotent.guard_plans
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    plan idempotent.guard_plans;
BEGIN
    plan.target := config.target;
    plan.definition := idempotent.definition_of(config.target);
    plan.look := idempotent.look_of(config.target, config.arbiter,
        ARRAY(SELECT c.number FROM idempotent.columns_of(config.target, false) AS c WHERE c.generated = '' ORDER BY c.number), config.compared, '{}',
        -- Those whose defaults cannot fail. The others are asked for where a row differs.
        ARRAY(SELECT c.number FROM idempotent.columns_of(config.target) AS c
               WHERE c.number = ANY (config.if_supplied)
                 AND c.filled_by ~ '^((now|transaction_timestamp|statement_timestamp)\(\)|CURRENT_(DATE|TIME|TIMESTAMP|USER|ROLE)|LOCALTIME|LOCALTIMESTAMP|SESSION_USER|USER)$'),
        config.remembers, from_row => true);
    plan.remember := (config.remembers).name;
    plan.keep := idempotent.keep_of(config.target, config.remembers);
    plan.lock := idempotent.lock_of(config.target, config.arbiter);
    plan.arbiter := (config.arbiter).index;
    RETURN plan;
END
$$;
COMMENT ON FUNCTION idempotent.plan_guard(idempotent.guard_config) IS 'makes the statements of a guard';

CREATE FUNCTION idempotent.keep_plan(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard oid := idempotent.own_trigger(target);
    config idempotent.guard_config := idempotent.config_of(target, idempotent.options_of(idempotent.arguments_of(guard)), guard);
BEGIN
    IF idempotent.owns(target) THEN
        INSERT INTO idempotent.guard_plans AS own SELECT (p).* FROM idempotent.plan_guard(config) AS p
        ON CONFLICT ON CONSTRAINT guard_plans_pkey DO UPDATE
            SET (definition, look, lock, arbiter, remember, keep) = (excluded.definition, excluded.look, excluded.lock, excluded.arbiter, excluded.remember, excluded.keep);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.keep_plan(regclass) IS 'keeps the statements of a guard';

-- 55000: a partition has a guard of its own.
CREATE FUNCTION idempotent.refuse_own_guard(root regclass, partition regclass, guard pg_trigger) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    remove text := format('DROP TRIGGER %I ON %s;', guard.tgname, idempotent.qualified(idempotent.guarded_table(partition, guard.tgname)));
    options idempotent.guard_options;
    hint text;
BEGIN
    IF EXISTS (SELECT FROM idempotent.guards_of(root)) THEN
        hint := 'Drop the partition''s trigger: ' || remove;
    ELSE
        BEGIN
            options := idempotent.options_of(idempotent.arguments_of(guard.oid));
            PERFORM idempotent.config_of(root, options, NULL);
            hint := format('Drop the partition''s trigger, and guard its partitioned table: %s %s', remove, idempotent.guard_call(root, options));
        EXCEPTION WHEN OTHERS THEN
            hint := format('Drop the partition''s trigger, and guard the partitioned table "%s" by a key that it has: %s', idempotent.name_of(root), remove);
        END;
    END IF;
    PERFORM idempotent.fail('55000', format('the guard of partition "%s" is not part of the guard of its partitioned table', idempotent.name_of(partition)),
        'A guard on a partition alone cannot distinguish a payload from a row that an UPDATE moves there.', hint, root);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_own_guard(regclass, regclass, pg_trigger) IS 'refuses a guard of a partition alone';

-- Whether the definition of a table is still the one for which statements were made. A statement holds a lock that keeps others
-- from changing it; so the catalogs are read once a statement, and again if the table has got a column since.
CREATE FUNCTION idempotent.is_current_plan(relation regclass, trigger_name name, guarded regclass, definition text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text := (SELECT concat_ws(' ', oid, relation::oid, xmin, relnatts, definition, statement_timestamp()) FROM pg_class WHERE oid = guarded);
BEGIN
    IF current_setting('idempotent.current', true) = state THEN
        RETURN true;
    END IF;
    PERFORM idempotent.check_definition(relation, t) FROM pg_trigger AS t WHERE t.tgrelid = relation AND t.tgname = trigger_name;
    IF definition <> idempotent.definition_of(guarded) THEN
        RETURN false;
    END IF;
    PERFORM set_config('idempotent.current', state, true);
    RETURN true;
END
$$;
COMMENT ON FUNCTION idempotent.is_current_plan(regclass, name, regclass, text) IS 'whether the statements of a guard are still right';

-- The statements of the guard that fires.
CREATE FUNCTION idempotent.plan_of(relation oid, trigger_name name, arguments text[]) RETURNS idempotent.guard_plans
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guarded regclass := idempotent.guarded_table(relation, trigger_name);
    plan idempotent.guard_plans;
BEGIN
    SELECT p.* INTO plan FROM idempotent.guard_plans AS p WHERE p.target = guarded AND idempotent.is_current_plan(relation, trigger_name, guarded, p.definition);
    IF NOT FOUND THEN
        PERFORM idempotent.check_definition(relation, t) FROM pg_trigger AS t WHERE t.tgrelid = relation AND t.tgname = trigger_name;
        PERFORM idempotent.check_single_guard(relation);
        plan := idempotent.plan_guard(idempotent.config_of(guarded, idempotent.options_of(arguments), idempotent.own_trigger(guarded)));
    END IF;
    RETURN plan;
END
$$;
COMMENT ON FUNCTION idempotent.plan_of(oid, name, text[]) IS 'the statements of the guard that fires';

-- Whether a row has no key that has to be verified.
CREATE FUNCTION idempotent.has_whole_key(seen idempotent.look) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN seen.has_key AND array_position(seen.key, NULL) IS NULL;
END
$$;
COMMENT ON FUNCTION idempotent.has_whole_key(idempotent.look) IS 'whether a row has its whole key';

-- 23502, and how such rows are let in; true if the row passes without verification.
CREATE FUNCTION idempotent.passes(config idempotent.guard_config, seen idempotent.look) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part text := (config.key)[array_position(seen.key, NULL)];
    c idempotent.column_info;
    options idempotent.guard_options;
BEGIN
    IF NOT seen.has_key THEN
        RETURN true;
    ELSIF part IS NULL OR (config.arbiter).nulls_equal THEN
        RETURN false;
    ELSIF config.null_key = 'pass' THEN
        RETURN true;
    END IF;
    SELECT * INTO c FROM idempotent.columns_of(config.target) AS own WHERE own.name = part;
    options := idempotent.options_of(idempotent.arguments_of(config.trigger));
    options.null_key := 'pass';
    PERFORM idempotent.refuse_key(config.target, config.arbiter, part, 'null in', 'the payload', 'payload',
        CASE WHEN NOT c.may_be_null THEN 'The table requires a value for the column, so the INSERT has to give one.'
             ELSE 'If there are rows with a null in the key, let them pass without verification: ' || idempotent.guard_call(config.target, options)
                  || coalesce(' If there are none: ' || CASE WHEN c.name IS NOT NULL THEN
                         format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL;', idempotent.qualified(config.target), c.name) END, '') END);
END
$$;
COMMENT ON FUNCTION idempotent.passes(idempotent.guard_config, idempotent.look) IS 'whether a row has no key that could be verified';

-- The call that makes a guard with these options.
CREATE FUNCTION idempotent.guard_call(target regclass, options idempotent.guard_options) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('SELECT %s(%L%s%s%s%s%s%s);', idempotent.own_function('idempotent_guard'), idempotent.qualified(target),
        ', key => ' || quote_literal(idempotent.array_text(options.key)),
        ', compare => ' || quote_literal(idempotent.array_text(options.compare)),
        ', ignore => ' || quote_literal(idempotent.array_text(options.ignore)),
        CASE WHEN options.on_conflict <> 'error' THEN ', on_conflict => ' || quote_literal(options.on_conflict) END,
        ', remember => ' || quote_literal(options.remember),
        CASE WHEN options.null_key = 'pass' THEN ', null_key => ''pass''' END);
END
$$;
COMMENT ON FUNCTION idempotent.guard_call(regclass, idempotent.guard_options) IS 'the call of idempotent_guard with these options';

-- The row differs: an error, or a record. It does not, if all that differs is what the statement has left out. False if the
-- stored row is there no longer.
CREATE FUNCTION idempotent.guard_conflict(relation regclass, config idempotent.guard_config, new_row anyelement) RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    seen idempotent.look;
BEGIN
    EXECUTE idempotent.whole_look(config) INTO seen USING new_row;
    IF NOT seen.found THEN
        -- It is gone meanwhile.
        RETURN false;
    END IF;
    seen.differing := idempotent.supplied(relation, config, seen.differing, new_row);
    IF NOT idempotent.is_conflict(seen) THEN
        RETURN true;
    ELSIF config.on_conflict OPERATOR(pg_catalog.=) 'quarantine' THEN
        PERFORM idempotent.record_conflict(config.target, idempotent.key_object(config.arbiter, seen), idempotent.without_memory(seen.sent, config), seen.stored,
                                           idempotent.differences(config.target, seen, true));
    ELSE
        PERFORM idempotent.refuse_row(config, seen);
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION idempotent.guard_conflict(regclass, idempotent.guard_config, anyelement) IS 'what a guard does about a conflict';

-- Both rows, for a record or an error.
CREATE FUNCTION idempotent.whole_look(config idempotent.guard_config) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN idempotent.look_of(config.target, config.arbiter, ARRAY(SELECT c.number FROM idempotent.columns_of(config.target, false) AS c WHERE c.generated = '' ORDER BY c.number),
        config.compared, m => config.remembers, from_row => true);
END
$$;
COMMENT ON FUNCTION idempotent.whole_look(idempotent.guard_config) IS 'the statement that reads both rows whole';

CREATE FUNCTION idempotent.without_memory(sent jsonb, config idempotent.guard_config) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN (config.remembers).name IS NULL THEN sent ELSE sent - (config.remembers).name END;
END
$$;
COMMENT ON FUNCTION idempotent.without_memory(jsonb, idempotent.guard_config) IS 'a row without what is remembered';

CREATE FUNCTION idempotent.refuse_row(config idempotent.guard_config, seen idempotent.look) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan idempotent.plan;
BEGIN
    plan.compared_names := ARRAY(SELECT c.name FROM idempotent.columns_of(config.target, false) AS c WHERE c.number = ANY (config.compared) ORDER BY c.number);
    PERFORM idempotent.refuse_conflicts(config.target, config.arbiter, 1,
        ARRAY[idempotent.conflict_sentence(config.target, config.arbiter, plan, seen, NULL)], idempotent.only_one(seen.differing));
END
$$;
COMMENT ON FUNCTION idempotent.refuse_row(idempotent.guard_config, idempotent.look) IS 'raises 23I01 for a guarded INSERT';

CREATE FUNCTION idempotent_guard_trigger() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    plan idempotent.guard_plans;
    config idempotent.guard_config;
    seen idempotent.look;
    inserting text := pg_catalog.current_setting('idempotent.own_insert', true);
    moving text := pg_catalog.current_setting('idempotent.moving', true);
    is_moved boolean := false;
    -- At once where the row before was new, too: then one look is enough.
    takes_lock boolean := COALESCE(pg_catalog.current_setting('idempotent.expects', true), '') OPERATOR(pg_catalog.=) 'new';
BEGIN
    IF NOT idempotent.is_in_force(TG_RELID, TG_NAME) THEN
        RETURN NEW;
    ELSIF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        RETURN idempotent.judge_update(TG_RELID, TG_NAME, TG_ARGV, OLD, NEW);
    ELSIF pg_catalog.length(moving) OPERATOR(pg_catalog.>) 0 AND moving OPERATOR(pg_catalog.=) idempotent.moving(TG_RELID, pg_catalog.to_jsonb(NEW)) THEN
        PERFORM pg_catalog.set_config('idempotent.moving', '', true);
        is_moved := true;
    END IF;
    IF idempotent.observes(TG_ARGV) THEN
        IF NOT is_moved AND COALESCE(inserting, '') OPERATOR(pg_catalog.=) '' THEN
            PERFORM idempotent.observe(TG_RELID, TG_NAME, TG_ARGV, NEW);
        END IF;
        RETURN NEW;
    END IF;
    plan := idempotent.plan_of(TG_RELID, TG_NAME, TG_ARGV);
    LOOP
        IF takes_lock THEN
            EXECUTE plan.lock USING NEW;
        END IF;
        EXECUTE plan.look INTO seen USING NEW;
        IF NOT idempotent.has_whole_key(seen) THEN
            config := idempotent.config_of(plan.target, idempotent.options_of(TG_ARGV), idempotent.own_trigger(plan.target));
            IF idempotent.passes(config, seen) THEN
                RETURN CASE WHEN seen.has_key OR is_moved THEN NEW ELSE idempotent.with_memory(TG_RELID, plan, TG_ARGV, NEW) END;
            END IF;
        END IF;
        IF is_moved AND takes_lock THEN
            -- It is no payload, but others have to wait for it.
            RETURN NEW;
        ELSIF is_moved OR NOT seen.found AND NOT takes_lock THEN
            takes_lock := true;
            CONTINUE;
        ELSIF NOT seen.found THEN
            PERFORM idempotent.expect('new');
            RETURN idempotent.with_memory(TG_RELID, plan, TG_ARGV, NEW);
        ELSIF inserting OPERATOR(pg_catalog.=) pg_catalog.concat(plan.target::pg_catalog.oid, ' ', plan.arbiter) THEN
            -- One of our functions: it verifies the row itself.
            RETURN NULL;
        ELSIF pg_catalog.starts_with(inserting, pg_catalog.concat(plan.target::pg_catalog.oid, ' ')) THEN
            -- One that is decided by another key: this one is one more unique index.
            RETURN NEW;
        ELSIF idempotent.may_come_from_elsewhere(TG_RELID) THEN
            -- Better 23505 for a payload than a row of an UPDATE that is lost.
            RETURN NEW;
        ELSIF idempotent.is_conflict(seen) THEN
            config := idempotent.config_of(plan.target, idempotent.options_of(TG_ARGV), idempotent.own_trigger(plan.target));
            CONTINUE WHEN NOT idempotent.guard_conflict(TG_RELID, config, NEW);
        END IF;
        IF plan.target::pg_catalog.oid OPERATOR(pg_catalog.<>) TG_RELID THEN
            PERFORM idempotent.check_alike(plan.target);
        END IF;
        PERFORM idempotent.expect('stored');
        RETURN NULL;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent_guard_trigger() IS 'trigger function of guards; idempotent_guard creates the trigger';

-- Whether pg_idempotent.guard switches the guard off. The setting is anybody's here; so it counts for those who could as well disable
-- the trigger, the owners of the table.
CREATE FUNCTION idempotent.is_off(relation oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce(current_setting('pg_idempotent.guard', true) IN ('off', 'false', 'no', '0'), false)
           AND (SELECT pg_has_role(relowner, 'USAGE') AND pg_has_role(session_user, relowner, 'USAGE') FROM pg_class WHERE oid = relation);
END
$$;
COMMENT ON FUNCTION idempotent.is_off(oid) IS 'whether an owner of the table has switched its guard off';

-- Whether the trigger is made rightly, and not switched off.
CREATE FUNCTION idempotent.is_in_force(relation oid, trigger_name name) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t pg_trigger;
BEGIN
    SELECT * INTO t FROM pg_trigger WHERE tgrelid = relation AND tgname = trigger_name;
    IF t.tgtype NOT IN (7, 23) OR t.tgtype = 23 AND (t.tgqual IS NOT NULL OR t.tgattr <> '') THEN
        PERFORM idempotent.check_definition(relation, t);
    END IF;
    RETURN NOT idempotent.is_off(relation);
END
$$;
COMMENT ON FUNCTION idempotent.is_in_force(oid, name) IS 'whether a guard verifies rows';

-- Notes what the next row of the transaction will be, most likely.
CREATE FUNCTION idempotent.expect(what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF current_setting('idempotent.expects', true) IS DISTINCT FROM what THEN
        PERFORM set_config('idempotent.expects', what, true);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.expect(text) IS 'notes whether rows are new';

-- A new row with what is remembered of it.
CREATE FUNCTION idempotent.with_memory(relation regclass, plan idempotent.guard_plans, arguments text[], new_row anyelement) RETURNS anyelement
LANGUAGE plpgsql
AS $$
DECLARE
    config idempotent.guard_config;
    left_out text[] := '{}';
    kept jsonb;
BEGIN
    IF plan.keep IS NULL THEN
        RETURN new_row;
    ELSIF pg_catalog.strpos(plan.keep, 'idempotent.fingerprint') OPERATOR(pg_catalog.>) 0 THEN
        config := idempotent.config_of(plan.target, idempotent.options_of(arguments), idempotent.own_trigger(plan.target));
        left_out := idempotent.left_out(relation, config, new_row);
    END IF;
    kept := idempotent.kept_value(plan.keep, new_row, left_out);
    IF kept IS NULL THEN
        RETURN new_row;
    END IF;
    RETURN pg_catalog.jsonb_populate_record(new_row, pg_catalog.jsonb_build_object(plan.remember, kept));
END
$$;
COMMENT ON FUNCTION idempotent.with_memory(regclass, idempotent.guard_plans, text[], anyelement) IS 'a new row with what is remembered of it';

-- The compared columns that a row got from a stable default.
CREATE FUNCTION idempotent.left_out(relation regclass, config idempotent.guard_config, new_row anyelement) RETURNS text[]
LANGUAGE plpgsql
AS $$
DECLARE
    names text[] := idempotent.names_of(config.target, config.if_supplied);
BEGIN
    RETURN idempotent.less(names, idempotent.supplied(relation, config, names, new_row));
END
$$;
COMMENT ON FUNCTION idempotent.left_out(regclass, idempotent.guard_config, anyelement) IS 'the compared columns that a row got from a stable default';

CREATE FUNCTION idempotent.names_of(target regclass, numbers smallint[]) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = target AND attnum = ANY (numbers) ORDER BY attnum);
END
$$;
COMMENT ON FUNCTION idempotent.names_of(regclass, smallint[]) IS 'the names of columns';

CREATE FUNCTION idempotent.less(a text[], b text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT m FROM unnest(a) AS m WHERE m <> ALL (b));
END
$$;
COMMENT ON FUNCTION idempotent.less(text[], text[]) IS 'what is in one of two lists only';

-- A row that is updated: it may move to another partition, and must keep what is remembered of it.
CREATE FUNCTION idempotent.judge_update(relation regclass, guard name, arguments text[], old_row anyelement, new_row anyelement) RETURNS anyelement
LANGUAGE plpgsql
AS $$
DECLARE
    name text := (idempotent.options_of(arguments)).remember;
    was text;
    now_is text;
BEGIN
    PERFORM idempotent.note_move(relation, guard, new_row);
    IF name IS NULL THEN
        RETURN new_row;
    ELSIF idempotent.column_number(relation, name) IS NULL THEN
        -- It says what is wrong.
        PERFORM idempotent.plan_of(relation, guard, arguments);
    END IF;
    EXECUTE pg_catalog.format('SELECT ($1).%1$I::pg_catalog.text, ($2).%1$I::pg_catalog.text', name) INTO was, now_is USING old_row, new_row;
    IF now_is IS NULL AND was IS NOT NULL AND pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.=) 'replica' THEN
        -- The publisher remembers nothing, we do.
        RETURN pg_catalog.jsonb_populate_record(new_row, pg_catalog.jsonb_build_object(name, pg_catalog.to_jsonb(old_row) OPERATOR(pg_catalog.->) name));
    END IF;
    PERFORM idempotent.check_update(relation, guard, name, was, now_is);
    RETURN new_row;
END
$$;
COMMENT ON FUNCTION idempotent.judge_update(regclass, name, text[], anyelement, anyelement) IS 'what a guard does about an UPDATE';

CREATE FUNCTION idempotent.may_come_from_elsewhere(partition oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN idempotent.is_partition(partition) AND coalesce(starts_with(current_setting('idempotent.moving', true), pg_partition_root(partition)::oid || ' '), false)
           AND current_setting('idempotent.moving', true) <> idempotent.moving(partition, to_jsonb('from ' || partition));
END
$$;
COMMENT ON FUNCTION idempotent.may_come_from_elsewhere(oid) IS 'whether a row may be one that was moved, and that a trigger has changed';

-- The row that is on its way to another partition, or the partition that a row may have left; with the partitioned table.
CREATE FUNCTION idempotent.moving(partition oid, what jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN idempotent.is_partition(partition) THEN concat(pg_partition_root(partition)::oid, ' ', what) END;
END
$$;
COMMENT ON FUNCTION idempotent.moving(oid, jsonb) IS 'what is noted of a row that moves to another partition';

CREATE FUNCTION idempotent.note_move(relation oid, guard name, new_row anyelement) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF idempotent.is_partition(relation) AND idempotent.leaves_partition(relation, new_row) THEN
        PERFORM pg_catalog.set_config('idempotent.moving', idempotent.moving(relation, pg_catalog.to_jsonb(new_row)), true);
    ELSIF idempotent.has_later_update_trigger(relation, guard) THEN
        -- That one may move the row after all.
        PERFORM pg_catalog.set_config('idempotent.moving', COALESCE(idempotent.moving(relation, pg_catalog.to_jsonb('from ' OPERATOR(pg_catalog.||) relation::pg_catalog.text)), ''), true);
    ELSE
        PERFORM pg_catalog.set_config('idempotent.moving', '', true);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.note_move(oid, name, anyelement) IS 'notes a row that an UPDATE moves to another partition';

CREATE FUNCTION idempotent.has_later_update_trigger(relation oid, guard name) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- For each row, BEFORE, UPDATE.
    RETURN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relation AND tgtype & 19 = 19 AND tgname > guard AND NOT tgisinternal AND tgenabled <> 'D');
END
$$;
COMMENT ON FUNCTION idempotent.has_later_update_trigger(oid, name) IS 'whether a trigger fires on UPDATE behind the guard';

CREATE FUNCTION idempotent.is_partition(relation oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT relispartition FROM pg_class WHERE oid = relation);
END
$$;
COMMENT ON FUNCTION idempotent.is_partition(oid) IS 'whether a table is a partition';

CREATE FUNCTION idempotent.is_partitioned(relation oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT relispartition OR relkind = 'p' FROM pg_class WHERE oid = relation);
END
$$;
COMMENT ON FUNCTION idempotent.is_partitioned(oid) IS 'whether a table is a partition, or has some';

-- 55000: a guard that is not enabled alike on all partitions.
CREATE FUNCTION idempotent.check_alike(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard pg_trigger;
    other name;
BEGIN
    IF (SELECT relkind <> 'p' FROM pg_class WHERE oid = target) THEN
        RETURN;
    END IF;
    SELECT * INTO guard FROM idempotent.guards_of(target) LIMIT 1;
    SELECT c.relname INTO other FROM pg_partition_tree(target) AS tree JOIN pg_class AS c ON c.oid = tree.relid
     WHERE tree.isleaf AND c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = guard.tgname AND t.tgenabled = guard.tgenabled) LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('55000', format('the guard of table "%s" is not enabled on partition "%s" in the same way as on the others', idempotent.name_of(target), other),
            'The guard cannot distinguish a payload from a row that an UPDATE moves out of that partition.',
            'Enable or disable the trigger on the partitioned table, which changes it on all partitions.', target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_alike(regclass) IS 'refuses a guard that is not enabled alike on all partitions';

CREATE FUNCTION idempotent.own_trigger(target regclass) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT oid FROM idempotent.guards_of(target) LIMIT 1);
END
$$;
COMMENT ON FUNCTION idempotent.own_trigger(regclass) IS 'the guard of a table';

CREATE FUNCTION idempotent_guard(
    target      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    remember    text   DEFAULT NULL,
    null_key    text   DEFAULT 'error'
) RETURNS idempotent.guards
LANGUAGE plpgsql
AS $$
DECLARE
    options idempotent.guard_options;
    result idempotent.guards;
BEGIN
    PERFORM idempotent.require('target', target IS NOT NULL);
    PERFORM idempotent.check_list('key', key);
    PERFORM idempotent.check_list('compare', compare);
    PERFORM idempotent.check_list('ignore', ignore);
    options := ROW(key, compare, ignore, on_conflict, remember, null_key);
    PERFORM idempotent.require('on_conflict', on_conflict IS NOT NULL);
    PERFORM idempotent.check_guard_options(options);
    PERFORM idempotent.check_guardable(target);
    IF key IS NOT NULL THEN
        options.key := idempotent.canonical_key(target, key);
    END IF;
    PERFORM idempotent.make_guard(target, options);
    SELECT * INTO result FROM idempotent.guards AS g WHERE g.target OPERATOR(pg_catalog.=) idempotent_guard.target;
    RETURN result;
END
$$;
COMMENT ON FUNCTION idempotent_guard(regclass, text[], text[], text[], text, text, text) IS
    'installs a guard, which makes every INSERT and COPY on a table insert or verify, or replaces its options';

CREATE FUNCTION idempotent.check_guardable(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    other record;
BEGIN
    PERFORM idempotent.check_target(target, false);
    IF idempotent.is_partition(target) THEN
        PERFORM idempotent.fail('42809', format('"%s" is a partition', idempotent.name_of(target)),
            'A guard on a partition alone cannot distinguish a payload from a row that an UPDATE moves there.',
            'Guard the partitioned table, which guards all its partitions.', target);
    END IF;
    SELECT * INTO other FROM idempotent.guards_of(target) WHERE tgname <> 'zz_idempotent_guard' LIMIT 1;
    IF FOUND THEN
        PERFORM idempotent.fail('42710', format('table "%s" is already guarded', idempotent.name_of(target)),
            format('Trigger "%s" is a guard.', other.tgname),
            format('Remove it first: SELECT %s(%L);', idempotent.own_function('idempotent_unguard'), idempotent.qualified(target)), target);
    END IF;
    IF NOT EXISTS (SELECT FROM idempotent.guards_of(target))
       AND EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = target AND t.tgname = 'zz_idempotent_guard') THEN
        PERFORM idempotent.fail('42710', format('table "%s" has a trigger "zz_idempotent_guard" that is not a guard', idempotent.name_of(target)),
            hint => 'Rename it so that its name sorts before the guard''s.', target => target);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_guardable(regclass) IS 'refuses a table that cannot have a guard';

-- What a trigger keeps of the options, as literals.
CREATE FUNCTION idempotent.trigger_arguments(options idempotent.guard_options) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT quote_literal(option || '=' || value)
          FROM (VALUES (1, 'key', idempotent.identifiers(options.key)), (2, 'compare', idempotent.identifiers(options.compare)),
                       (3, 'ignore', idempotent.identifiers(options.ignore)), (4, 'on_conflict', nullif(options.on_conflict, 'error')),
                       (5, 'remember', quote_ident(options.remember)), (6, 'null_key', nullif(options.null_key, 'error'))) AS o (n, option, value)
         WHERE value IS NOT NULL ORDER BY n);
END
$$;
COMMENT ON FUNCTION idempotent.trigger_arguments(idempotent.guard_options) IS 'the arguments of a trigger that keep the options';

CREATE FUNCTION idempotent.identifiers(names text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT string_agg(quote_ident(name), ', ' ORDER BY n) FROM unnest(names) WITH ORDINALITY AS l (name, n));
END
$$;
COMMENT ON FUNCTION idempotent.identifiers(text[]) IS 'names as a list of SQL identifiers';

-- The key is kept as it is now: an index that is made later, or a default that changes, must not change which rows are the
-- same event.
CREATE FUNCTION idempotent.make_guard(target regclass, options idempotent.guard_options) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    config idempotent.guard_config := idempotent.config_of(target, options, NULL);
    enabled "char" := (SELECT tgenabled FROM idempotent.guards_of(target) LIMIT 1);
    later text;
    arguments text[];
BEGIN
    options.key := config.key;
    arguments := idempotent.trigger_arguments(options);
    EXECUTE format('CREATE OR REPLACE TRIGGER zz_idempotent_guard BEFORE INSERT%s ON %s FOR EACH ROW EXECUTE FUNCTION %I.idempotent_guard_trigger(%s)',
        CASE WHEN options.remember IS NOT NULL OR (SELECT relkind = 'p' FROM pg_class WHERE oid = target) THEN ' OR UPDATE' ELSE '' END,
        idempotent.qualified(target), idempotent.home(), array_to_string(arguments, ', '));
    -- To be replaced makes a trigger fire as a new one would.
    IF enabled IN ('A', 'R') THEN
        EXECUTE format('ALTER TABLE %s ENABLE %s TRIGGER zz_idempotent_guard', idempotent.qualified(target), CASE enabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END);
    END IF;
    PERFORM idempotent.keep_plan(target);
    PERFORM idempotent.warn_of_clock(config);
    SELECT tgname INTO later FROM pg_trigger
     WHERE tgrelid = target AND tgtype & 7 = 7 AND tgname::text > 'zz_idempotent_guard' COLLATE "C" AND NOT tgisinternal ORDER BY tgname LIMIT 1;
    IF FOUND THEN
        RAISE WARNING USING MESSAGE = format('trigger "%s" fires after the guard of table "%s"', later, idempotent.name_of(target)),
            DETAIL = 'The guard does not see the changes that this trigger makes to a row.',
            HINT = 'Rename it so that its name sorts before "zz_idempotent_guard".';
    END IF;
    PERFORM idempotent.warn_of_null(config, options);
END
$$;
COMMENT ON FUNCTION idempotent.make_guard(regclass, idempotent.guard_options) IS 'creates the trigger of a guard';

-- Key columns that a row without them gets from the clock or the transaction, and those that clients cannot send.
CREATE FUNCTION idempotent.warn_of_clock(config idempotent.guard_config) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c idempotent.column_info;
    in_table text := idempotent.name_of(config.target);
    partitioned boolean := (SELECT relkind = 'p' FROM pg_class WHERE oid = config.target);
BEGIN
    FOR c IN SELECT own.* FROM unnest((config.arbiter).numbers) WITH ORDINALITY AS k (number, n)
               JOIN idempotent.columns_of(config.target) AS own ON own.number = k.number
              WHERE own.kind IN ('clock', 'transaction') OR own.identity = 'a' ORDER BY n LOOP
        IF c.identity = 'a' THEN
            RAISE WARNING USING MESSAGE = format('key column "%s" of the guard on table "%s" is an identity column defined as GENERATED ALWAYS', c.name, in_table),
                DETAIL = 'Every row gets a number of its own, so the guard never finds a duplicate.', HINT = 'Use a key of columns that clients send.';
        ELSE
            RAISE WARNING USING MESSAGE = format('key column "%s" of the guard on table "%s" defaults to %s', c.name, in_table,
                    CASE c.kind WHEN 'clock' THEN 'the current time' ELSE 'a value of the transaction or connection' END),
                DETAIL = format('A retry that omits the column gets another %s, and is inserted as another row.', CASE c.kind WHEN 'clock' THEN 'time' ELSE 'value' END),
                HINT = CASE WHEN partitioned THEN 'Make clients send the same value in every retry, or partition the table by a column of the business event.'
                            ELSE 'Make clients send the same value in every retry, or use a key without this column.' END;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.warn_of_clock(idempotent.guard_config) IS 'warns of key columns that are others in every attempt';

CREATE FUNCTION idempotent.warn_of_null(config idempotent.guard_config, options idempotent.guard_options) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    nullable text[] := ARRAY(SELECT own.name FROM unnest((config.arbiter).numbers) WITH ORDINALITY AS k (number, n)
                               JOIN idempotent.columns_of(config.target) AS own ON own.number = k.number WHERE own.may_be_null ORDER BY n);
BEGIN
    IF cardinality(nullable) = 0 OR (config.arbiter).nulls_equal OR (config.arbiter).only_not_null OR options.null_key = 'pass' OR options.on_conflict = 'observe' THEN
        RETURN;
    END IF;
    options.null_key := 'pass';
    RAISE WARNING USING MESSAGE = format('key column "%s" of table "%s" may be null', nullable[1], idempotent.name_of(config.target)),
        DETAIL = 'The guard cannot identify a row with a null in its key, and refuses it with SQLSTATE 23502.',
        HINT = format('If every row has a key: ALTER TABLE %s %s; If not, let such rows pass without verification: %s', idempotent.qualified(config.target),
            (SELECT string_agg(format('ALTER COLUMN %I SET NOT NULL', m), ', ' ORDER BY n) FROM unnest(nullable) WITH ORDINALITY AS k (m, n)),
            idempotent.guard_call(config.target, options));
END
$$;
COMMENT ON FUNCTION idempotent.warn_of_null(idempotent.guard_config, idempotent.guard_options) IS 'warns of a key that may be NULL';

CREATE FUNCTION idempotent_unguard(target regclass) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    guard pg_trigger;
    removed boolean := false;
BEGIN
    PERFORM idempotent.require('target', target IS NOT NULL);
    IF EXISTS (SELECT FROM pg_class WHERE oid = target AND NOT pg_has_role(relowner, 'USAGE')) THEN
        PERFORM idempotent.fail('42501', format('must be owner of relation %s', idempotent.name_of(target)));
    END IF;
    PERFORM idempotent.check_target(target, false);
    -- As DROP TRIGGER does, but before the guard is looked for: a call of idempotent_guard that has not committed yet replaces it.
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', idempotent.qualified(target));
    -- Those of the table itself first.
    FOR guard IN SELECT * FROM idempotent.guards_of(target) ORDER BY tgparentid <> 0, tgname LOOP
        EXIT WHEN removed AND guard.tgparentid <> 0;
        IF guard.tgparentid <> 0 THEN
            PERFORM idempotent.fail('42809', format('"%s" is a partition', idempotent.name_of(target)), 'The guard of its partitioned table covers it.',
                format('Remove the guard of all partitions: SELECT %s(%L);', idempotent.own_function('idempotent_unguard'), idempotent.qualified(pg_partition_root(target))), target);
        END IF;
        EXECUTE format('DROP TRIGGER %I ON %s', guard.tgname, idempotent.qualified(target));
        removed := true;
    END LOOP;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION idempotent_unguard(regclass) IS 'removes the guard of a table; false if there was none';
