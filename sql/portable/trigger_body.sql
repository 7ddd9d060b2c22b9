-- What a trigger function in PL/pgSQL assigns to NEW, for the lint. Its source is read token by token, as far as assignments, and
-- the IFs around them, need it. What cannot be followed is not guessed: `unclear` says so.

CREATE TYPE idempotent.assignment AS (
    "column"   text,
    -- payload, clock, wall_clock or volatile: whether its value is another one with every attempt.
    source     text,
    -- Whether the value depends on what the row brings for this very column, in the expression or a condition around it; and
    -- whether it is computed from that, other than to put something in place of NULL.
    depends    boolean,
    rewritten  boolean,
    -- In which events it is reached: the sum of 1 for INSERT, 2 for UPDATE, 4 for DELETE.
    events     int
);
COMMENT ON TYPE idempotent.assignment IS 'what a trigger function assigns to a column of NEW';

-- The tokens of a source, without comments. The first letter says what it is: n a name or word, folded as the server folds it;
-- t a text; s a sign; o anything else.
CREATE FUNCTION idempotent.tokens_of(source text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tokens text[] := '{}';
    tag text;
    taken text;
BEGIN
    LOOP
        source := regexp_replace(source, '^\s+', '');
        EXIT WHEN source = '';
        tag := (regexp_match(source, '^(\$([[:alpha:]_]\w*)?\$)'))[1];
        IF tag IS NOT NULL THEN
            tokens := tokens || 't'::text;
            taken := tag || split_part(substr(source, char_length(tag) + 1), tag, 1) || tag;
        ELSE
            taken := (regexp_match(source, '^(--[^\n]*|/\*([^*]|\*+[^*/])*\**/?|[eE]?''([^''\\]|\\.|''''|\\)*''?|"([^"]|"")*"?|[[:alpha:]_][\w$]*|\d\w*|<<|:=|<>|!=|=>|.)'))[1];
            tokens := tokens || CASE
                WHEN taken LIKE '--%' OR taken LIKE '/*%' THEN NULL
                WHEN taken LIKE '"%' THEN 'n' || replace(btrim(taken, '"'), '""', '"')
                WHEN taken ~ '^[eE]?''' THEN 't' || regexp_replace(taken, '^[eE]?''|''$', '', 'g')
                WHEN taken ~ '^[[:alpha:]_]' THEN 'n' || lower(taken)
                WHEN taken = '!=' THEN 's<>'
                WHEN taken IN ('<<', '#', ':=', '<>', '=>', ';', '.', ',', '=', '(', ')') THEN 's' || taken
                ELSE 'o' END;
        END IF;
        source := substr(source, char_length(taken) + 1);
    END LOOP;
    RETURN array_remove(tokens, NULL);
END
$$;
COMMENT ON FUNCTION idempotent.tokens_of(text) IS 'the tokens of a PL/pgSQL source';

-- Where a word is next, not counting what is within a CASE; behind the end if it is nowhere.
CREATE FUNCTION idempotent.word_after(tokens text[], at int, word text) RETURNS int
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    depth int := 0;
BEGIN
    WHILE at <= cardinality(tokens) LOOP
        IF depth = 0 AND tokens[at] = 'n' || word THEN
            RETURN at;
        END IF;
        depth := greatest(depth + CASE tokens[at] WHEN 'ncase' THEN 1 WHEN 'nend' THEN -1 ELSE 0 END, 0);
        at := at + 1;
    END LOOP;
    RETURN at;
END
$$;
COMMENT ON FUNCTION idempotent.word_after(text[], int, text) IS 'where a word is next';

-- The columns in NEW.column.
CREATE FUNCTION idempotent.columns_of_new(tokens text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(SELECT substr(tokens[i + 2], 2) FROM generate_subscripts(tokens, 1) AS i
                  WHERE tokens[i] = 'nnew' AND tokens[i + 1] = 's.' AND tokens[i + 2] LIKE 'n%');
END
$$;
COMMENT ON FUNCTION idempotent.columns_of_new(text[]) IS 'the columns of NEW that tokens name';

-- Whether an expression gives another value with every attempt.
CREATE FUNCTION idempotent.source_of_value(tokens text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[] := ARRAY(SELECT substr(tokens[i], 2) FROM generate_subscripts(tokens, 1) AS i
                           WHERE tokens[i] LIKE 'n%' AND NOT (tokens[i - 1] IS NOT DISTINCT FROM 's.' AND tokens[i - 2] IN ('nnew', 'nold')));
    clocks text[] := '{now,transaction_timestamp,statement_timestamp,current_timestamp,current_date,current_time,localtime,localtimestamp}';
    first text := (SELECT name FROM unnest(names) WITH ORDINALITY AS n (name, place) WHERE name IN ('clock_timestamp', 'timeofday') OR name = ANY (clocks) ORDER BY place LIMIT 1);
BEGIN
    RETURN CASE
        WHEN first = ANY (clocks) THEN 'clock'
        WHEN first IS NOT NULL THEN 'wall_clock'
        WHEN names && '{nextval,random,gen_random_uuid,gen_random_bytes,uuid_generate_v1,uuid_generate_v1mc,uuid_generate_v4,uuid_generate_v7,uuidv4,uuidv7,txid_current,pg_current_xact_id,random_normal}'
            THEN 'volatile'
        ELSE 'payload' END;
END
$$;
COMMENT ON FUNCTION idempotent.source_of_value(text[]) IS 'whether a value is another one with every attempt';

-- The events in which a condition may be true, and those in which it may be false. Only TG_OP = '…' tells; AND narrows.
CREATE FUNCTION idempotent.events_of(condition text[], OUT events int, OUT rest int)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first int := array_position(condition, 'ntg_op');
    behind text[] := condition[first : coalesce(array_position(condition, 'nand', coalesce(first, 1)), cardinality(condition) + 1) - 1];
    named int := CASE WHEN 'tINSERT' = ANY (behind) THEN 1 ELSE 0 END + CASE WHEN 'tUPDATE' = ANY (behind) THEN 2 ELSE 0 END + CASE WHEN 'tDELETE' = ANY (behind) THEN 4 ELSE 0 END;
BEGIN
    events := 7;
    rest := 7;
    IF first IS NULL OR 'nnot' = ANY (condition) THEN
        RETURN;
    ELSIF 'nor' = ANY (condition) THEN
        -- Those that are named, if nothing else is asked.
        IF condition <@ '{ntg_op,nor,tINSERT,tUPDATE,tDELETE,s=,s(,s)}'::text[] THEN
            events := named;
            rest := 7 - named;
        END IF;
    ELSIF condition[first + 1] IN ('s=', 'nin', 's<>') THEN
        events := CASE condition[first + 1] WHEN 's<>' THEN 7 - named ELSE named END;
        rest := CASE WHEN 'nand' = ANY (condition) THEN 7 ELSE 7 - events END;
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.events_of(text[]) IS 'the events that a condition admits';

-- NEW.column := …; and NEW := …; `tokens` is the statement. Nothing, if it is none of these.
CREATE FUNCTION idempotent.read_assignment(tokens text[], OUT assignment idempotent.assignment, OUT unclear boolean)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    sign int := least(array_position(tokens, 's:='), array_position(tokens, 's='));
    value text[] := tokens[sign + 1 :];
    within boolean;
BEGIN
    unclear := false;
    IF tokens[2] IS DISTINCT FROM 's.' OR tokens[3] NOT LIKE 'n%' THEN
        unclear := coalesce(tokens[2] IN ('s:=', 's='), false);
    ELSIF sign IS NOT NULL THEN
        within := substr(tokens[3], 2) = ANY (idempotent.columns_of_new(value));
        assignment := ROW(substr(tokens[3], 2), idempotent.source_of_value(value), within, sign <> 4 OR (within AND value[1] IS DISTINCT FROM 'ncoalesce'), 7);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.read_assignment(text[]) IS 'what a statement assigns to NEW';

-- SELECT … INTO NEW.column, …
CREATE FUNCTION idempotent.read_into(tokens text[], OUT assignments idempotent.assignment[], OUT unclear boolean)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    i int := 1;
    others text[];
    within boolean;
BEGIN
    unclear := false;
    assignments := '{}';
    WHILE i <= cardinality(tokens) LOOP
        IF tokens[i] = 'ninto' THEN
            i := i + CASE tokens[i + 1] WHEN 'nstrict' THEN 2 ELSE 1 END;
            WHILE tokens[i] = 'nnew' LOOP
                unclear := unclear OR tokens[i + 1] IS DISTINCT FROM 's.';
                EXIT WHEN unclear;
                -- The targets themselves are not read.
                others := tokens[: i - 1] || tokens[i + 3 :];
                IF tokens[i + 2] LIKE 'n%' THEN
                    within := substr(tokens[i + 2], 2) = ANY (idempotent.columns_of_new(others));
                    assignments := assignments || ROW(substr(tokens[i + 2], 2), idempotent.source_of_value(others), within, within, 7)::idempotent.assignment;
                END IF;
                i := i + CASE tokens[i + 3] WHEN 's,' THEN 4 ELSE 3 END;
            END LOOP;
        END IF;
        i := i + 1;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.read_into(text[]) IS 'what INTO assigns to NEW';

CREATE FUNCTION idempotent.read_trigger(source text, OUT assignments idempotent.assignment[], OUT unclear boolean)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    tokens text[] := idempotent.tokens_of(source);
    at int := 1;
    next int;
    -- The IFs that are open: the events of the branch at hand, those of later branches, and the columns that are asked for.
    events int[] := '{}';
    rests int[] := '{}';
    asked jsonb := '[]';
    condition record;
    added idempotent.assignment[];
    one record;
    own idempotent.assignment;
BEGIN
    unclear := false;
    assignments := '{}';
    WHILE at <= cardinality(tokens) LOOP
        added := '{}';
        IF tokens[at] IN ('s<<', 's#') THEN
            at := at + 3;
            CONTINUE;
        ELSIF tokens[at] NOT LIKE 'n%' OR tokens[at] IN ('nbegin', 'ndeclare', 'nloop', 'nthen', 'nexception') THEN
            at := at + 1;
            CONTINUE;
        END IF;
        -- Where the statement ends, or the words that begin a block.
        next := CASE
            WHEN tokens[at] IN ('nif', 'nelsif', 'nelseif', 'nwhen') THEN idempotent.word_after(tokens, at + 1, 'then')
            WHEN tokens[at] = 'nelse' THEN at
            WHEN tokens[at] = 'ncase' THEN idempotent.word_after(tokens, idempotent.word_after(tokens, at + 1, 'when') + 1, 'then')
            WHEN tokens[at] IN ('nfor', 'nforeach', 'nwhile') THEN idempotent.word_after(tokens, at + 1, 'loop')
            ELSE coalesce(array_position(tokens, 's;', at), cardinality(tokens) + 1) END;
        IF tokens[at] IN ('nif', 'nelsif', 'nelseif', 'nelse') THEN
            SELECT * INTO condition FROM idempotent.events_of(tokens[at + 1 : next - 1]);
            IF tokens[at] = 'nif' THEN
                events := events || condition.events;
                rests := rests || condition.rest;
                asked := asked || jsonb_build_array(idempotent.columns_of_new(tokens[at + 1 : next - 1]));
            ELSIF cardinality(events) > 0 THEN
                events[cardinality(events)] := rests[cardinality(rests)] & condition.events;
                rests[cardinality(rests)] := rests[cardinality(rests)] & condition.rest;
                asked := jsonb_set(asked, '{-1}', (asked -> -1) || to_jsonb(idempotent.columns_of_new(tokens[at + 1 : next - 1])));
            END IF;
        ELSIF tokens[at] = 'ncase' THEN
            unclear := unclear OR 'ntg_op' = ANY (tokens[at + 1 : idempotent.word_after(tokens, at + 1, 'when') - 1]);
        ELSIF tokens[at] = 'nend' AND tokens[at + 1] = 'nif' THEN
            events := trim_array(events, least(cardinality(events), 1));
            rests := trim_array(rests, least(cardinality(rests), 1));
            asked := asked - -1;
        ELSIF tokens[at] = 'nnew' THEN
            SELECT * INTO one FROM idempotent.read_assignment(tokens[at : next - 1]);
            unclear := unclear OR one.unclear;
            added := array_remove(ARRAY[one.assignment], NULL);
        ELSIF tokens[at] NOT IN ('nend', 'nwhen', 'nfor', 'nforeach', 'nwhile') THEN
            SELECT * INTO one FROM idempotent.read_into(tokens[at : next - 1]);
            unclear := unclear OR one.unclear;
            added := one.assignments;
        END IF;
        FOREACH own IN ARRAY added LOOP
            own.depends := own.depends OR asked @> jsonb_build_array(jsonb_build_array(own."column"));
            own.events := coalesce((SELECT bit_and(e) FROM unnest(events) AS e), 7);
            assignments := assignments || own;
        END LOOP;
        at := next + 1;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.read_trigger(text) IS 'what a PL/pgSQL trigger function assigns to NEW';

-- Known are PL/pgSQL, and compiled functions of the server and of its module spi.
CREATE FUNCTION idempotent.body_of(function oid, arguments text[], OUT assignments idempotent.assignment[], OUT unclear boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    language text;
    source text;
BEGIN
    SELECT l.lanname, f.prosrc INTO language, source FROM pg_proc AS f JOIN pg_language AS l ON l.oid = f.prolang WHERE f.oid = function;
    assignments := '{}';
    unclear := false;
    IF language = 'plpgsql' THEN
        SELECT * INTO assignments, unclear FROM idempotent.read_trigger(source);
    ELSIF language IN ('c', 'internal') AND source IN ('moddatetime', 'insert_username', 'tsvector_update_trigger_byid', 'tsvector_update_trigger_bycolumn') THEN
        assignments := ARRAY(SELECT ROW(arguments[1], CASE source WHEN 'moddatetime' THEN 'clock' ELSE 'payload' END, false, false, 7)::idempotent.assignment
                              WHERE arguments[1] IS NOT NULL);
    ELSIF language IN ('c', 'internal') AND source = 'autoinc' THEN
        -- Pairs of a column and a sequence; what is there is kept.
        assignments := ARRAY(SELECT ROW(arguments[i], 'volatile', true, false, 7)::idempotent.assignment FROM generate_series(1, cardinality(arguments), 2) AS i);
    ELSE
        unclear := NOT (language IN ('c', 'internal') AND source = 'suppress_redundant_updates_trigger');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.body_of(oid, text[]) IS 'what a trigger function does to a row';
