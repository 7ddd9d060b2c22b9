-- Insert or verify. What each function promises is in docs/insert.md.
--
-- A call works in three steps:
-- 1. It looks every payload up. What is found is verified: it is a duplicate or a conflict.
-- 2. It inserts the others in the order of their keys, with INSERT … ON CONFLICT (key) DO NOTHING.
-- 3. Where that inserts nothing, another session, or another payload of the call, was first: the call looks the key up
--    again, and verifies.
--
-- Why no interleaving goes wrong. Only the arbiter decides who inserts: it lets one session in, has the others wait for the
-- end of its transaction, and DO NOTHING makes nothing of what it has found. Each statement of a volatile function takes a
-- new snapshot at READ COMMITTED; so the look of step 3 sees what the INSERT has met. If it does not, the row was deleted
-- in between, and the call goes back to step 2. At REPEATABLE READ and above, the INSERT itself raises 40001 where it meets
-- a row that the snapshot cannot see. Overlapping calls insert in the same order, so that they do not wait in a circle.

CREATE TYPE idempotent.outcome AS (ordinal bigint, outcome text, stored jsonb, differences jsonb, error jsonb);
COMMENT ON TYPE idempotent.outcome IS 'what became of a payload';

-- The triggers of a table, or of one of its partitions, that fire BEFORE or AFTER INSERT for each row, without guards.
CREATE FUNCTION idempotent.has_row_trigger(target regclass, before boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT EXISTS (
        SELECT FROM pg_trigger AS t JOIN pg_proc AS f ON f.oid = t.tgfoid
         WHERE (t.tgrelid = target OR t.tgrelid IN (SELECT relid FROM pg_partition_tree(target)))
           AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND f.proname <> 'idempotent_guard_trigger'
           -- For each row, on INSERT, and BEFORE.
           AND t.tgtype & 1 = 1 AND t.tgtype & 4 = 4 AND (t.tgtype & 2 = 2) = before));
END
$$;
COMMENT ON FUNCTION idempotent.has_row_trigger(regclass, boolean) IS 'whether INSERT fires row triggers';

-- The order in which pending payloads are inserted: that of their keys, which are given as their texts. `repeats` says of each
-- whether it has the same key as the one before.
CREATE FUNCTION idempotent.in_key_order(arbiter idempotent.unique_index, ordinals bigint[], keys jsonb[], OUT sorted bigint[], OUT repeats boolean[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    by_key text := (SELECT string_agg(format('(key ->> %s)::%s%s', a.attnum - 1, format_type(a.atttypid, NULL), arbiter.collates[a.attnum]), ', ' ORDER BY a.attnum)
                      FROM pg_attribute AS a WHERE a.attrelid = arbiter.index AND a.attnum <= cardinality(arbiter.parts));
BEGIN
    EXECUTE format('SELECT coalesce(array_agg(n ORDER BY place), ''{}''), coalesce(array_agg(place > least_place ORDER BY place), ''{}'')
                      FROM (SELECT n, row_number() OVER (ORDER BY %s, n) AS place, rank() OVER (ORDER BY %1$s) AS least_place FROM unnest($1, $2) AS p (n, key)) AS ranked',
        by_key) INTO sorted, repeats USING ordinals, keys;
END
$$;
COMMENT ON FUNCTION idempotent.in_key_order(idempotent.unique_index, bigint[], jsonb[]) IS 'payloads in the order of their keys';

-- One line of the DETAIL of a conflict.
CREATE FUNCTION idempotent.conflict_sentence(
    target regclass, arbiter idempotent.unique_index, plan idempotent.plan, seen idempotent.look, by text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored text;
    sent text;
    differing text;
    subject text := format('Key (%s)', idempotent.key_list(arbiter));
    how text := CASE WHEN seen.first IS NOT NULL OR cardinality(seen.differing) = 0 THEN 'first arrived' ELSE 'is stored' END || coalesce(' by ' || by, '');
BEGIN
    SELECT string_agg(quote_ident(name), ', ' ORDER BY n),
           string_agg(format('%I=%s', name, coalesce(idempotent.cut(seen.stored_values[n]), 'null')), ', ' ORDER BY n),
           string_agg(format('%I=%s', name, coalesce(idempotent.cut(seen.sent_values[n]), 'null')), ', ' ORDER BY n)
      INTO differing, stored, sent
      FROM unnest(plan.compared_names) WITH ORDINALITY AS c (name, n) WHERE name = ANY (seen.differing);
    IF current_setting('pg_idempotent.show_values', true) IN ('off', 'false', 'no', '0') THEN
        RETURN format('%s %s with other values%s than the payload has.', subject, how, coalesce(' of ' || differing, ''));
    END IF;
    subject := format('%s=(%s) %s with', subject, (SELECT string_agg(coalesce(idempotent.cut(k), 'null'), ', ' ORDER BY n) FROM unnest(seen.key) WITH ORDINALITY AS k (k, n)), how);
    IF differing IS NULL THEN
        RETURN subject || ' other values than the payload has.';
    END IF;
    RETURN format('%s %s; the payload has %s.', subject, CASE WHEN row_security_active(target) THEN 'other values of ' || differing ELSE stored END, sent);
END
$$;
COMMENT ON FUNCTION idempotent.conflict_sentence(regclass, idempotent.unique_index, idempotent.plan, idempotent.look, text) IS 'one conflict, for people';

-- `{"amount": {"stored": 10.00, "payload": 12.00}}`; without stored values that the caller may not see.
CREATE FUNCTION idempotent.differences(target regclass, seen idempotent.look, everything boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce(jsonb_object_agg(name, CASE WHEN everything OR NOT row_security_active(target)
                                       THEN jsonb_build_object('stored', coalesce(seen.first, seen.stored) -> name, 'payload', coalesce(seen.brought, seen.sent) -> name)
                                       ELSE jsonb_build_object('payload', coalesce(seen.brought, seen.sent) -> name) END), '{}')
      FROM unnest(seen.differing) AS name);
END
$$;
COMMENT ON FUNCTION idempotent.differences(regclass, idempotent.look, boolean) IS 'the columns that differ, each with both values';

-- The stored row for results: NULL where the caller may see nothing of it.
CREATE FUNCTION idempotent.visible(target regclass, stored jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF row_security_active(target) THEN
        RETURN NULL;
    ELSIF has_table_privilege(target, 'SELECT') THEN
        RETURN nullif(stored, '{}');
    END IF;
    RETURN (SELECT nullif(jsonb_object_agg(name, value), '{}') FROM jsonb_each(stored) AS c (name, value) WHERE has_column_privilege(target, name, 'SELECT'));
END
$$;
COMMENT ON FUNCTION idempotent.visible(regclass, jsonb) IS 'what the caller may see of a stored row';

-- One error for all conflicts of a call: `sentences` tell the first five.
CREATE FUNCTION idempotent.refuse_conflicts(target regclass, arbiter idempotent.unique_index, conflicts bigint, sentences text[], only_column text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.fail('23I01',
        format(CASE conflicts WHEN 1 THEN 'payload conflicts with the stored row in table "%s"' ELSE conflicts || ' payloads conflict with stored rows in table "%s"' END,
            idempotent.name_of(target)),
        array_to_string(sentences, E'\n') || CASE WHEN conflicts > cardinality(sentences) THEN format(E'\nAnd %s more.', conflicts - cardinality(sentences)) ELSE '' END,
        'Use a new key for a new event, or leave columns that change after insert out of the comparison with ignore.',
        target, coalesce(only_column, ''), arbiter.name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_conflicts(regclass, idempotent.unique_index, bigint, text[], text) IS 'raises 23I01';

-- 27000: a trigger has left nothing to verify. Or the row that is stored under the key is hidden by a policy.
CREATE FUNCTION idempotent.refuse_suppressed(target regclass, arbiter idempotent.unique_index, what text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF row_security_active(target) THEN
        PERFORM idempotent.fail('42501', format('new row violates row-level security policy for table "%s"', idempotent.name_of(target)));
    END IF;
    PERFORM idempotent.fail('27000', format('%s in table "%s"', what, idempotent.name_of(target)),
        'A BEFORE INSERT trigger suppressed the row or changed its key.',
        'Insert into the table that the trigger writes to, or disable the trigger.', target, "constraint" => arbiter.name);
END
$$;
COMMENT ON FUNCTION idempotent.refuse_suppressed(regclass, idempotent.unique_index, text) IS 'raises 27000';

-- Step 1 for one payload: it is read, its key is checked, and the row under the key is looked at.
CREATE FUNCTION idempotent.look(
    target regclass, arbiter idempotent.unique_index, plan idempotent.plan, payload jsonb, origin text, ordinal bigint
) RETURNS idempotent.look
LANGUAGE plpgsql
AS $$
DECLARE
    seen idempotent.look;
BEGIN
    IF plan.missing IS NOT NULL THEN
        PERFORM idempotent.refuse_key(target, arbiter, plan.missing, 'missing from', idempotent.numbered(origin, ordinal), origin);
    END IF;
    EXECUTE plan.look INTO seen USING payload;
    PERFORM idempotent.check_look(target, arbiter, seen, origin, ordinal);
    RETURN seen;
END
$$;
COMMENT ON FUNCTION idempotent.look(regclass, idempotent.unique_index, idempotent.plan, jsonb, text, bigint) IS 'looks a payload up';

CREATE FUNCTION idempotent.check_look(target regclass, arbiter idempotent.unique_index, seen idempotent.look, origin text, ordinal bigint) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    null_at int := array_position(seen.key, NULL);
    row_name text;
BEGIN
    IF seen.has_key AND null_at IS NOT NULL AND NOT arbiter.nulls_equal THEN
        PERFORM idempotent.refuse_key(target, arbiter, arbiter.parts[null_at], 'null in', idempotent.numbered(origin, ordinal), origin);
    END IF;
    IF seen.wrong IS NOT NULL THEN
        row_name := idempotent.numbered(origin, ordinal);
        PERFORM idempotent.refuse_generated(target, seen.wrong,
            format('%s has a value there that differs from the one that the server computes.', upper(left(row_name, 1)) || substr(row_name, 2)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_look(regclass, idempotent.unique_index, idempotent.look, text, bigint) IS 'refuses a payload without a key, or with a wrong generated column';

-- Steps 2 and 3 for one payload that was not found: it is inserted, and the row as it went in is returned; or it is looked
-- up again. A payload that is outside the condition of the key is inserted, and that is all.
CREATE FUNCTION idempotent.put(
    target regclass, arbiter idempotent.unique_index, plan idempotent.plan, payload jsonb, origin text, ordinal bigint, INOUT seen idempotent.look, OUT inserted boolean
) LANGUAGE plpgsql
AS $$
DECLARE
    sent idempotent.look := seen;
    in_condition boolean;
BEGIN
    IF plan.refused IS NOT NULL THEN
        PERFORM idempotent.refuse_identity(target, plan.refused, origin);
    END IF;
    FOR round IN 1 .. 16 LOOP
        -- A guard of the table steps aside for this statement.
        PERFORM pg_catalog.set_config('idempotent.own_insert', pg_catalog.concat(target::pg_catalog.oid, ' ', arbiter.index), true);
        EXECUTE plan.put INTO seen.stored_key, seen.stored, in_condition USING payload;
        PERFORM pg_catalog.set_config('idempotent.own_insert', '', true);
        inserted := seen.stored_key IS NOT NULL;
        IF inserted THEN
            -- A trigger has moved it under a key that it did not have.
            EXIT WHEN NOT sent.has_key AND in_condition AND idempotent.has_row_trigger(target, before => true);
            IF sent.has_key AND (seen.stored_key OPERATOR(pg_catalog.<>) sent.key OR NOT in_condition) THEN
                -- Another spelling of the key, or another key?
                EXECUTE plan.look INTO seen USING payload;
                IF NOT seen.found THEN
                    PERFORM idempotent.refuse_suppressed(target, arbiter, CASE origin WHEN 'source' THEN 'a row of the source was stored under another key than its own'
                        ELSE 'a payload was stored under another key than its own' END);
                END IF;
            END IF;
            IF idempotent.has_row_trigger(target, before => false) THEN
                EXECUTE plan.look INTO seen USING payload;
                IF NOT seen.found THEN
                    seen.stored := NULL;
                END IF;
            END IF;
            RETURN;
        END IF;
        EXECUTE plan.look INTO seen USING payload;
        IF seen.found THEN
            RETURN;
        END IF;
        -- What was met has been deleted meanwhile, unless a trigger has its hand in it.
        EXIT WHEN idempotent.has_row_trigger(target, before => true);
    END LOOP;
    PERFORM idempotent.refuse_suppressed(target, arbiter, pg_catalog.concat(idempotent.numbered(origin, ordinal), ' was neither inserted nor found'));
END
$$;
COMMENT ON FUNCTION idempotent.put(regclass, idempotent.unique_index, idempotent.plan, jsonb, text, bigint, idempotent.look) IS 'inserts a payload, or looks it up again';

-- What is kept of an error for which a payload is rejected.
CREATE FUNCTION idempotent.row_error(sqlstate text, message text, detail text, "column" text, "constraint" text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('sqlstate', sqlstate, 'message', message, 'detail', nullif(detail, ''),
                                                'column', nullif("column", ''), 'constraint', nullif("constraint", '')))
$$;
COMMENT ON FUNCTION idempotent.row_error(text, text, text, text, text) IS 'an error for which a payload is rejected';

-- The field that cannot be read, if there is one: each is tried by itself.
CREATE FUNCTION idempotent.unreadable(target regclass, plan idempotent.plan, payload jsonb) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    number smallint;
    name text;
BEGIN
    FOREACH number IN ARRAY plan.named LOOP
        BEGIN
            name := idempotent.column_name(target, number);
            EXECUTE idempotent.reading_of(target, pg_catalog.array_append('{}'::pg_catalog.int2[], number)) USING payload;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            RETURN name;
        END;
    END LOOP;
    RETURN '';
END
$$;
COMMENT ON FUNCTION idempotent.unreadable(regclass, idempotent.plan, jsonb) IS 'the field of a payload that cannot be read';

CREATE FUNCTION idempotent.column_name(target regclass, number smallint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT attname::text FROM pg_attribute WHERE attrelid = target AND attnum = number);
END
$$;
COMMENT ON FUNCTION idempotent.column_name(regclass, smallint) IS 'the name of a column';

-- What a call writes.
CREATE TYPE idempotent.writing AS (
    target   regclass,
    arbiter  idempotent.unique_index,
    plans    idempotent.plan[],
    -- Which of them each payload has.
    plan_of  int[],
    payloads jsonb[],
    origin   text,
    -- Whether a payload that cannot be read or inserted is rejected by itself.
    rejects  boolean
);
COMMENT ON TYPE idempotent.writing IS 'what a call writes';

-- Step 1: every payload is looked up; those of one plan by one statement. Where that fails, one by one, so that it is the first
-- payload that is told.
CREATE FUNCTION idempotent.look_all(w idempotent.writing, OUT looks idempotent.look[], OUT errors jsonb[])
LANGUAGE plpgsql
AS $$
DECLARE
    plans idempotent.plan[] := w.plans;
    plan_of int[] := w.plan_of;
    payloads jsonb[] := w.payloads;
    looked record;
BEGIN
    IF NOT w.rejects THEN
        looks := idempotent.look_together(w);
    END IF;
    FOR i IN 1 .. pg_catalog.cardinality(payloads) LOOP
        IF w.rejects THEN
            SELECT * INTO looked FROM idempotent.look_or_reject(w.target, w.arbiter, plans[plan_of[i]], payloads[i], w.origin, i);
            looks[i] := looked.seen;
            errors[i] := looked.error;
        ELSIF (looks[i]).found IS NULL THEN
            looks[i] := idempotent.look(w.target, w.arbiter, plans[plan_of[i]], payloads[i], w.origin, i);
        ELSIF pg_catalog.array_position((looks[i]).key, NULL) IS NOT NULL OR (looks[i]).wrong IS NOT NULL THEN
            PERFORM idempotent.check_look(w.target, w.arbiter, looks[i], w.origin, i);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.look_all(idempotent.writing) IS 'looks all payloads of a call up';

CREATE FUNCTION idempotent.look_together(w idempotent.writing) RETURNS idempotent.look[]
LANGUAGE plpgsql
AS $$
DECLARE
    plan idempotent.plan;
    looks idempotent.look[];
    own idempotent.look[];
    ordinals bigint[];
BEGIN
    FOR p IN 1 .. pg_catalog.cardinality(w.plans) LOOP
        plan := w.plans[p];
        ordinals := idempotent.ordinals_of(w.plan_of, p);
        IF plan.look_each IS NOT NULL AND plan.missing IS NULL AND idempotent.is_many(ordinals, 1) THEN
            EXECUTE plan.look_each INTO own USING idempotent.these(w.payloads, ordinals);
            FOR k IN 1 .. pg_catalog.cardinality(ordinals) LOOP
                looks[ordinals[k]] := own[k];
            END LOOP;
        END IF;
    END LOOP;
    RETURN looks;
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION idempotent.look_together(idempotent.writing) IS 'looks the payloads of each plan up';

-- The ordinals of the payloads of a plan, and the payloads of ordinals.
CREATE FUNCTION idempotent.ordinals_of(plan_of int[], plan int) RETURNS bigint[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT n FROM unnest(plan_of) WITH ORDINALITY AS p (number, n) WHERE number = plan ORDER BY n) $$;
COMMENT ON FUNCTION idempotent.ordinals_of(int[], int) IS 'the ordinals of the payloads of a plan';

CREATE FUNCTION idempotent.these(payloads jsonb[], ordinals bigint[]) RETURNS jsonb[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own jsonb[];
BEGIN
    FOR k IN 1 .. cardinality(ordinals) LOOP
        own[k] := payloads[ordinals[k]];
    END LOOP;
    RETURN own;
END
$$;
COMMENT ON FUNCTION idempotent.these(jsonb[], bigint[]) IS 'the payloads with some ordinals';

-- The payloads that were not found, in the order of their keys, and whether each has the key of the one before.
CREATE FUNCTION idempotent.pending_of(arbiter idempotent.unique_index, looks idempotent.look[], errors jsonb[], OUT sorted bigint[], OUT repeats boolean[])
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ordinals bigint[] := ARRAY(SELECT n FROM generate_subscripts(looks, 1) AS n WHERE errors[n] IS NULL AND NOT (looks[n]).found ORDER BY n);
    keys jsonb[] := ARRAY(SELECT to_jsonb((looks[n]).key) FROM unnest(ordinals) WITH ORDINALITY AS o (n, place) ORDER BY place);
BEGIN
    SELECT * INTO sorted, repeats FROM idempotent.in_key_order(arbiter, ordinals, keys);
END
$$;
COMMENT ON FUNCTION idempotent.pending_of(idempotent.unique_index, idempotent.look[], jsonb[]) IS 'the payloads that are to be inserted';

-- Whether one statement inserts all of them: they have one plan and a key, and no trigger changes that.
CREATE FUNCTION idempotent.goes_together(w idempotent.writing, looks idempotent.look[], sorted bigint[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan int := w.plan_of[sorted[1]];
BEGIN
    RETURN NOT w.rejects AND cardinality(sorted) > 1 AND (w.plans[plan]).put_each IS NOT NULL AND (w.plans[plan]).refused IS NULL
           AND NOT EXISTS (SELECT FROM unnest(sorted) AS n WHERE w.plan_of[n] <> plan) AND NOT idempotent.lacks_key(looks, sorted) AND NOT idempotent.has_row_trigger(w.target, before => true);
END
$$;
COMMENT ON FUNCTION idempotent.goes_together(idempotent.writing, idempotent.look[], bigint[]) IS 'whether one statement inserts all payloads';

CREATE FUNCTION idempotent.lacks_key(looks idempotent.look[], ordinals bigint[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n bigint;
BEGIN
    FOREACH n IN ARRAY ordinals LOOP
        IF NOT (looks[n]).has_key THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;
COMMENT ON FUNCTION idempotent.lacks_key(idempotent.look[], bigint[]) IS 'whether one of some payloads is outside the condition of the key';

-- Where each key is among those that went in, which are in the same order; NULL if it is not.
CREATE FUNCTION idempotent.places_of(looks idempotent.look[], ordinals bigint[], keys text[]) RETURNS int[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    places int[];
    place int := 1;
BEGIN
    FOR k IN 1 .. cardinality(ordinals) LOOP
        IF keys[place] = (looks[ordinals[k]]).key::text THEN
            places[k] := place;
            place := place + 1;
        END IF;
    END LOOP;
    RETURN places;
END
$$;
COMMENT ON FUNCTION idempotent.places_of(idempotent.look[], bigint[], text[]) IS 'where keys are among those that went in';

-- Step 2 for payloads that go in together. `ordinals` are in the order of the keys, each key once.
CREATE FUNCTION idempotent.put_together(w idempotent.writing, ordinals bigint[], INOUT looks idempotent.look[], OUT inserted boolean[])
LANGUAGE plpgsql
AS $$
DECLARE
    plan idempotent.plan := w.plans[w.plan_of[ordinals[1]]];
    payloads jsonb[] := idempotent.these(w.payloads, ordinals);
    keys text[];
    stored jsonb[];
    places int[];
    again idempotent.look[];
BEGIN
    PERFORM pg_catalog.set_config('idempotent.own_insert', pg_catalog.concat(w.target::pg_catalog.oid, ' ', (w.arbiter).index), true);
    EXECUTE plan.put_each INTO keys, stored USING payloads;
    PERFORM pg_catalog.set_config('idempotent.own_insert', '', true);
    places := idempotent.places_of(looks, ordinals, keys);
    IF idempotent.has_row_trigger(w.target, before => false) THEN
        EXECUTE plan.look_each INTO again USING payloads;
    END IF;
    FOR k IN 1 .. pg_catalog.cardinality(ordinals) LOOP
        IF places[k] IS NOT NULL THEN
            inserted[ordinals[k]] := true;
            looks[ordinals[k]].stored_key := (looks[ordinals[k]]).key;
            looks[ordinals[k]].stored := CASE WHEN again IS NULL THEN stored[places[k]] WHEN (again[k]).found THEN (again[k]).stored END;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.put_together(idempotent.writing, bigint[], idempotent.look[]) IS 'inserts payloads by one statement';

-- Steps 2 and 3: what was not found is inserted. It gives the keys of those that went in, with their ordinals.
CREATE FUNCTION idempotent.put_all(
    w idempotent.writing, INOUT looks idempotent.look[], INOUT errors jsonb[], OUT inserted boolean[], OUT inserted_keys text[], OUT inserted_ordinals bigint[]
) LANGUAGE plpgsql
AS $$
DECLARE
    plans idempotent.plan[] := w.plans;
    plan_of int[] := w.plan_of;
    payloads jsonb[] := w.payloads;
    pending record;
    together record;
    put record;
    i bigint;
BEGIN
    SELECT * INTO pending FROM idempotent.pending_of(w.arbiter, looks, errors);
    IF idempotent.goes_together(w, looks, pending.sorted) THEN
        SELECT * INTO together FROM idempotent.put_together(w, idempotent.first_of_each(pending.sorted, pending.repeats), looks);
        looks := together.looks;
        inserted := together.inserted;
    END IF;
    FOR place IN 1 .. pg_catalog.cardinality(pending.sorted) LOOP
        i := pending.sorted[place];
        IF inserted[i] THEN
            inserted_keys := pg_catalog.array_append(inserted_keys, (looks[i]).stored_key::pg_catalog.text);
            inserted_ordinals := pg_catalog.array_append(inserted_ordinals, i);
            CONTINUE;
        END IF;
        IF pending.repeats[place] OR together IS NOT NULL THEN
            -- The payload before it has gone in, most likely, or another session was first: an INSERT would only draw numbers
            -- from sequences.
            looks[i] := idempotent.look(w.target, w.arbiter, plans[plan_of[i]], payloads[i], w.origin, i);
            CONTINUE WHEN (looks[i]).found;
        END IF;
        IF w.rejects THEN
            SELECT * INTO put FROM idempotent.put_or_reject(w.target, w.arbiter, plans[plan_of[i]], payloads[i], w.origin, i, looks[i]);
            errors[i] := put.error;
        ELSE
            SELECT * INTO put FROM idempotent.put(w.target, w.arbiter, plans[plan_of[i]], payloads[i], w.origin, i, looks[i]);
        END IF;
        looks[i] := put.seen;
        IF put.inserted THEN
            inserted[i] := true;
            inserted_keys := pg_catalog.array_append(inserted_keys, (put.seen).stored_key::pg_catalog.text);
            inserted_ordinals := pg_catalog.array_append(inserted_ordinals, i);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION idempotent.put_all(idempotent.writing, idempotent.look[], jsonb[]) IS 'inserts the payloads of a call that were not found';

CREATE FUNCTION idempotent.first_of_each(sorted bigint[], repeats boolean[]) RETURNS bigint[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT ARRAY(SELECT n FROM unnest(sorted, repeats) WITH ORDINALITY AS s (n, repeats, place) WHERE NOT repeats ORDER BY place) $$;
COMMENT ON FUNCTION idempotent.first_of_each(bigint[], boolean[]) IS 'payloads, one of each key';

-- Whether the caller may see stored rows whole.
CREATE FUNCTION idempotent.sees_all(target regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT NOT row_security_active(target) AND has_table_privilege(target, 'SELECT') $$;
COMMENT ON FUNCTION idempotent.sees_all(regclass) IS 'whether the caller may see stored rows whole';

-- All payloads of a call. `source_names` are the columns that a source names, as far as the key is looked for. What was found is
-- a duplicate or a conflict.
CREATE FUNCTION idempotent.write(
    target regclass, payloads jsonb[], origin text, rule idempotent.rule, on_conflict text, on_error text, source_names smallint[] DEFAULT NULL
) RETURNS SETOF idempotent.outcome
LANGUAGE plpgsql
AS $$
DECLARE
    guards idempotent.guard_config := idempotent.guard_in_force(target);
    sees_all boolean := idempotent.sees_all(target);
    planned record;
    w idempotent.writing;
    done record;
    looks idempotent.look[];
    result idempotent.outcome;
    conflicts bigint[] := '{}';
    sentences text[] := '{}';
    only_columns text[] := '{}';
BEGIN
    payloads := idempotent.cast_back(target, payloads, on_error OPERATOR(pg_catalog.<>) 'error');
    SELECT * INTO planned FROM idempotent.plans_of(target, payloads, rule, guards.key, guards.remembers, origin, source_names, on_error OPERATOR(pg_catalog.<>) 'error');
    w := ROW(target, planned.arbiter, planned.plans, planned.plan_of, payloads, origin, on_error OPERATOR(pg_catalog.<>) 'error');
    SELECT * INTO done FROM idempotent.look_all(w);
    SELECT * INTO done FROM idempotent.put_all(w, done.looks, done.errors);
    looks := done.looks;
    FOR i IN 1 .. pg_catalog.cardinality(payloads) LOOP
        result := ROW(i, CASE WHEN done.errors[i] IS NOT NULL THEN 'rejected' WHEN done.inserted[i] THEN 'inserted'
                              WHEN pg_catalog.cardinality((looks[i]).differing) OPERATOR(pg_catalog.>) 0 OR (looks[i]).is_other THEN 'conflict' ELSE 'duplicate' END,
                      CASE WHEN done.errors[i] IS NULL AND (looks[i]).stored OPERATOR(pg_catalog.<>) '{}' THEN (looks[i]).stored END, NULL, done.errors[i]);
        IF result.outcome OPERATOR(pg_catalog.=) 'conflict' THEN
            conflicts := pg_catalog.array_append(conflicts, i::pg_catalog.int8);
            IF NOT idempotent.is_many(conflicts, 5) THEN
                sentences := pg_catalog.array_append(sentences, idempotent.conflict_line(target, w.arbiter, w.plans[w.plan_of[i]], looks[i], origin, i,
                    done.inserted_ordinals[pg_catalog.array_position(done.inserted_keys, (looks[i]).stored_key::pg_catalog.text)]::pg_catalog.text));
            END IF;
            only_columns := idempotent.united(only_columns, (looks[i]).differing);
            result.differences := idempotent.differences(target, looks[i], false);
            IF on_conflict OPERATOR(pg_catalog.=) 'quarantine' THEN
                PERFORM idempotent.record_conflict(target, idempotent.key_object(w.arbiter, looks[i]), (looks[i]).sent, (looks[i]).stored, idempotent.differences(target, looks[i], true));
            END IF;
        ELSIF result.error IS NOT NULL AND on_error OPERATOR(pg_catalog.=) 'quarantine' THEN
            PERFORM idempotent.record_rejection(target, payloads[i], result.error);
        END IF;
        IF NOT sees_all THEN
            result.stored := idempotent.visible(target, result.stored);
        END IF;
        RETURN NEXT result;
    END LOOP;
    IF on_conflict OPERATOR(pg_catalog.=) 'error' AND conflicts OPERATOR(pg_catalog.<>) '{}' THEN
        PERFORM idempotent.refuse_conflicts(target, w.arbiter, pg_catalog.cardinality(conflicts), sentences, idempotent.only_one(only_columns));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.write(regclass, jsonb[], text, idempotent.rule, text, text, smallint[]) IS 'inserts or verifies payloads';

CREATE FUNCTION idempotent.look_or_reject(
    target regclass, arbiter idempotent.unique_index, plan idempotent.plan, payload jsonb, origin text, ordinal bigint, OUT seen idempotent.look, OUT error jsonb
) LANGUAGE plpgsql
AS $$
DECLARE
    message text;
    detail text;
    in_column text;
    in_constraint text;
BEGIN
    seen := idempotent.look(target, arbiter, plan, payload, origin, ordinal);
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, in_column = COLUMN_NAME, in_constraint = CONSTRAINT_NAME;
    IF in_column OPERATOR(pg_catalog.=) '' THEN
        in_column := idempotent.unreadable(target, plan, payload);
    END IF;
    error := idempotent.row_error(SQLSTATE, message, detail, in_column, in_constraint);
END
$$;
COMMENT ON FUNCTION idempotent.look_or_reject(regclass, idempotent.unique_index, idempotent.plan, jsonb, text, bigint) IS 'looks a payload up, and keeps the error if it cannot be read';

-- A conflict in another table, to which a trigger writes, ends the call.
CREATE FUNCTION idempotent.put_or_reject(
    target regclass, arbiter idempotent.unique_index, plan idempotent.plan, payload jsonb, origin text, ordinal bigint, INOUT seen idempotent.look,
    OUT inserted boolean, OUT error jsonb
) LANGUAGE plpgsql
AS $$
DECLARE
    message text;
    detail text;
    in_column text;
    in_constraint text;
    put record;
BEGIN
    SELECT * INTO put FROM idempotent.put(target, arbiter, plan, payload, origin, ordinal, seen);
    seen := put.seen;
    inserted := put.inserted;
EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
    IF SQLSTATE OPERATOR(pg_catalog.=) '23I01' THEN
        RAISE;
    END IF;
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, in_column = COLUMN_NAME, in_constraint = CONSTRAINT_NAME;
    error := idempotent.row_error(SQLSTATE, message, detail, in_column, in_constraint);
END
$$;
COMMENT ON FUNCTION idempotent.put_or_reject(regclass, idempotent.unique_index, idempotent.plan, jsonb, text, bigint, idempotent.look) IS 'inserts a payload, and keeps the error if the server refuses it';

-- Small questions of idempotent.write, whose operators have to be the server's.
CREATE FUNCTION idempotent.is_conflict(seen idempotent.look) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT cardinality(seen.differing) > 0 OR coalesce(seen.is_other, false) $$;
COMMENT ON FUNCTION idempotent.is_conflict(idempotent.look) IS 'whether the payload differs from the stored row';

CREATE FUNCTION idempotent.is_many(list bigint[], most int) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT cardinality(list) > most);
END
$$;
COMMENT ON FUNCTION idempotent.is_many(bigint[], int) IS 'whether a list has more members than this';

CREATE FUNCTION idempotent.united(a text[], b text[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT ARRAY(SELECT unnest(a) UNION SELECT unnest(b)));
END
$$;
COMMENT ON FUNCTION idempotent.united(text[], text[]) IS 'what is in one of two lists';

CREATE FUNCTION idempotent.only_one(list text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT CASE cardinality(list) WHEN 1 THEN list[1] END);
END
$$;
COMMENT ON FUNCTION idempotent.only_one(text[]) IS 'the member of a list that has one';

CREATE FUNCTION idempotent.key_object(arbiter idempotent.unique_index, seen idempotent.look) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT jsonb_object_agg(arbiter.parts[n], coalesce(seen.sent -> arbiter.parts[n], to_jsonb(seen.key[n]))) FROM generate_subscripts(arbiter.parts, 1) AS n);
END
$$;
COMMENT ON FUNCTION idempotent.key_object(idempotent.unique_index, idempotent.look) IS 'the key of a payload, for the record of a conflict';

CREATE FUNCTION idempotent.conflict_line(
    target regclass, arbiter idempotent.unique_index, plan idempotent.plan, seen idempotent.look, origin text, ordinal bigint, by text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT CASE origin WHEN 'payload' THEN '' ELSE upper(left(idempotent.numbered(origin, ordinal), 1)) || substr(idempotent.numbered(origin, ordinal), 2) || ': ' END
           || idempotent.conflict_sentence(target, arbiter, plan, seen, idempotent.numbered(origin, by::bigint)));
END
$$;
COMMENT ON FUNCTION idempotent.conflict_line(regclass, idempotent.unique_index, idempotent.plan, idempotent.look, text, bigint, text) IS 'one conflict of a call, for people';

-- The options that all four functions have.
CREATE FUNCTION idempotent.rule_of_call(
    target regclass, key text[], compare text[], ignore text[], on_conflict text, overriding text, on_error text
) RETURNS idempotent.rule
LANGUAGE plpgsql
AS $$
DECLARE
    rule idempotent.rule;
    guards record;
BEGIN
    PERFORM idempotent.check_list('key', key);
    PERFORM idempotent.check_list('compare', compare);
    PERFORM idempotent.check_list('ignore', ignore);
    PERFORM idempotent.check_option('on_conflict', on_conflict, '{error,report,quarantine}');
    IF overriding IS NOT NULL THEN
        PERFORM idempotent.check_option('overriding', overriding, '{system,user}');
    END IF;
    PERFORM idempotent.check_option('on_error', on_error, '{error,report,quarantine}');
    IF key IS NOT NULL THEN
        key := idempotent.canonical_key(target, key);
    END IF;
    rule := idempotent.rule_of(target, key, compare, ignore, overriding);
    IF compare IS NULL AND ignore IS NULL THEN
        rule.only_these := (idempotent.guard_in_force(target)).compared;
    END IF;
    RETURN rule;
END
$$;
COMMENT ON FUNCTION idempotent.rule_of_call(regclass, text[], text[], text[], text, text, text) IS 'checks the options of a call';

CREATE FUNCTION idempotent_insert(
    target      regclass,
    payload     jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    overriding  text   DEFAULT NULL,
    OUT outcome     text,
    OUT stored      jsonb,
    OUT differences jsonb
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    rule idempotent.rule;
BEGIN
    PERFORM idempotent.check_target(target);
    PERFORM idempotent.require('payload', payload IS NOT NULL);
    rule := idempotent.rule_of_call(target, key, compare, ignore, on_conflict, overriding, 'error');
    PERFORM idempotent.check_payloads(target, ARRAY[payload], 'payload');
    SELECT w.outcome, w.stored, w.differences INTO outcome, stored, differences
      FROM idempotent.write(target, ARRAY[payload], 'payload', rule, on_conflict, 'error') AS w;
END
$$;
COMMENT ON FUNCTION idempotent_insert(regclass, jsonb, text[], text[], text[], text, text) IS
    'inserts a JSON object as a row, or verifies it against the row stored under its key';

CREATE FUNCTION idempotent_insert_each(
    target      regclass,
    payloads    jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    overriding  text   DEFAULT NULL,
    on_error    text   DEFAULT 'error',
    OUT ordinal     bigint,
    OUT outcome     text,
    OUT stored      jsonb,
    OUT differences jsonb,
    OUT error       jsonb
) RETURNS SETOF record
LANGUAGE plpgsql ROWS 100
AS $$
DECLARE
    rule idempotent.rule;
    members jsonb[];
BEGIN
    PERFORM idempotent.check_target(target);
    PERFORM idempotent.require('payloads', payloads IS NOT NULL);
    members := idempotent.members_of(payloads);
    rule := idempotent.rule_of_call(target, key, compare, ignore, on_conflict, overriding, on_error);
    PERFORM idempotent.check_payloads(target, members, 'payloads');
    IF members OPERATOR(pg_catalog.=) '{}' THEN
        PERFORM idempotent.check_nothing(target, rule);
        RETURN;
    END IF;
    RETURN QUERY SELECT w.ordinal, w.outcome, w.stored, w.differences, w.error
                   FROM idempotent.write(target, members, 'payloads', rule, on_conflict, on_error) AS w;
END
$$;
COMMENT ON FUNCTION idempotent_insert_each(regclass, jsonb, text[], text[], text[], text, text, text) IS
    'inserts or verifies an array of JSON objects, and returns the outcome of each';

CREATE FUNCTION idempotent.members_of(payloads jsonb) RETURNS jsonb[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_typeof(payloads) <> 'array' THEN
        PERFORM idempotent.fail('22023', 'argument "payloads" must be a JSON array', format('It is a JSON %s.', jsonb_typeof(payloads)),
            format('Pass an array of objects, or a single object to %s.', idempotent.own_function('idempotent_insert')));
    END IF;
    RETURN ARRAY(SELECT member FROM jsonb_array_elements(payloads) WITH ORDINALITY AS m (member, n) ORDER BY n);
END
$$;
COMMENT ON FUNCTION idempotent.members_of(jsonb) IS 'the payloads of a batch';

-- Without a payload no column is named, and any right will do.
CREATE FUNCTION idempotent.check_any_right(target regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT idempotent.has_any_right(target) THEN
        PERFORM idempotent.fail('42501', format('permission denied for table %s', idempotent.name_of(target)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_any_right(regclass) IS 'demands any right on a table';

CREATE FUNCTION idempotent.check_nothing(target regclass, rule idempotent.rule) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.check_any_right(target);
    IF rule.key IS NOT NULL THEN
        PERFORM idempotent.check_rule(target, idempotent.arbiter_for_key(target, rule.key), rule);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_nothing(regclass, idempotent.rule) IS 'checks a call without payloads';

CREATE FUNCTION idempotent_insert_many(
    target      regclass,
    payloads    jsonb,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    overriding  text   DEFAULT NULL,
    on_error    text   DEFAULT 'error',
    OUT received   bigint,
    OUT inserted   bigint,
    OUT duplicates bigint,
    OUT conflicts  bigint,
    OUT rejected   bigint
) RETURNS record
LANGUAGE plpgsql
AS $$
DECLARE
    rule idempotent.rule;
    members jsonb[];
BEGIN
    PERFORM idempotent.check_target(target);
    PERFORM idempotent.require('payloads', payloads IS NOT NULL);
    members := idempotent.members_of(payloads);
    rule := idempotent.rule_of_call(target, key, compare, ignore, on_conflict, overriding, on_error);
    PERFORM idempotent.check_payloads(target, members, 'payloads');
    IF members OPERATOR(pg_catalog.=) '{}' THEN
        PERFORM idempotent.check_nothing(target, rule);
        SELECT 0, 0, 0, 0, 0 INTO received, inserted, duplicates, conflicts, rejected;
        RETURN;
    END IF;
    SELECT c.received, c.inserted, c.duplicates, c.conflicts, c.rejected INTO received, inserted, duplicates, conflicts, rejected
      FROM idempotent.counted(ARRAY(SELECT w.outcome FROM idempotent.write(target, members, 'payloads', rule, on_conflict, on_error) AS w)) AS c;
END
$$;
COMMENT ON FUNCTION idempotent_insert_many(regclass, jsonb, text[], text[], text[], text, text, text) IS
    'inserts or verifies an array of JSON objects, and counts the outcomes';

CREATE FUNCTION idempotent.counted(outcomes text[], OUT received bigint, OUT inserted bigint, OUT duplicates bigint, OUT conflicts bigint, OUT rejected bigint)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*), count(*) FILTER (WHERE o = 'inserted'), count(*) FILTER (WHERE o = 'duplicate'), count(*) FILTER (WHERE o = 'conflict'),
           count(*) FILTER (WHERE o = 'rejected') FROM unnest(outcomes) AS o
$$;
COMMENT ON FUNCTION idempotent.counted(text[]) IS 'how many payloads have each outcome';
