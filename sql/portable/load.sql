-- Loads in committed batches. docs/load.md
--
-- The source is read once, by a cursor that outlives commits, in the order of the key. Batch by batch the rows are inserted or
-- verified; the load's row in idempotent.load_records is brought up to date in the transaction of each batch, so it never says
-- more or less than what is committed. What is committed are whole batches, and a row that is in is a duplicate for the next
-- call; so the load may die at any moment.

-- By which the load's row knows its session, whose process number another one may have later.
CREATE FUNCTION idempotent.session_start() RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT backend_start FROM pg_stat_get_activity(pg_backend_pid()));
END
$$;
COMMENT ON FUNCTION idempotent.session_start() IS 'when the session began';

CREATE TABLE idempotent.load_records (
    load_id      bigint      GENERATED ALWAYS AS IDENTITY,
    role         regrole     NOT NULL DEFAULT idempotent.own_role(),
    target       text        NOT NULL,
    source       text        NOT NULL,
    on_conflict  text        NOT NULL,
    batch_size   int         NOT NULL,
    status       text        NOT NULL DEFAULT 'running',
    rows_total   bigint,
    rows_done    bigint      NOT NULL DEFAULT 0,
    inserted     bigint      NOT NULL DEFAULT 0,
    duplicates   bigint      NOT NULL DEFAULT 0,
    conflicts    bigint      NOT NULL DEFAULT 0,
    batches      bigint      NOT NULL DEFAULT 0,
    pid          int         NOT NULL DEFAULT pg_catalog.pg_backend_pid(),
    started_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    updated_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    completed_at timestamptz,
    error        text,
    on_error     text        NOT NULL DEFAULT 'error',
    rejected     bigint      NOT NULL DEFAULT 0,
    token        text,
    replayed     boolean     NOT NULL DEFAULT false,
    session_start timestamptz DEFAULT idempotent.session_start(),
    CONSTRAINT load_records_pkey PRIMARY KEY (load_id),
    CONSTRAINT load_records_status CHECK (status IN ('running', 'finished', 'failed'))
) WITH (fillfactor = 50);
COMMENT ON TABLE idempotent.load_records IS 'what idempotent.loads shows; written by idempotent_load, with the rights of its callers';
ALTER TABLE idempotent.load_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON idempotent.load_records USING (role = idempotent.own_role()) WITH CHECK (role = idempotent.own_role());

CREATE VIEW idempotent.loads WITH (security_barrier = true) AS
SELECT record.load_id, record.role, record.target, record.source, record.on_conflict, record.on_error, record.batch_size,
       CASE WHEN record.status OPERATOR(pg_catalog.=) 'running' AND NOT pg_catalog.pg_is_in_recovery()
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(record.pid) AS session
                                  WHERE session.backend_start OPERATOR(pg_catalog.=) record.session_start OR session.backend_start IS NULL)
            THEN 'died' ELSE record.status END AS status,
       record.rows_total, record.rows_done, record.inserted, record.duplicates, record.conflicts, record.rejected,
       record.batches,
       record.pid, record.started_at, record.updated_at, record.completed_at, record.error,
       record.token, record.replayed
  FROM idempotent.load_records AS record
 WHERE record.role OPERATOR(pg_catalog.=) idempotent.own_role()
    OR (SELECT pg_catalog.pg_has_role(class.relowner, 'USAGE') OR reader.rolbypassrls
          FROM pg_catalog.pg_class AS class CROSS JOIN pg_catalog.pg_roles AS reader
         WHERE class.oid OPERATOR(pg_catalog.=) 'idempotent.load_records'::regclass::oid
           AND reader.rolname OPERATOR(pg_catalog.=) CURRENT_USER);
COMMENT ON VIEW idempotent.loads IS 'your own loads, present and past, with their progress; all loads for the owner of the tables of state';
COMMENT ON COLUMN idempotent.loads.load_id IS 'the number of the load';
COMMENT ON COLUMN idempotent.loads.role IS 'the role that loads';
COMMENT ON COLUMN idempotent.loads.target IS 'the table that receives the rows, by its name at the start';
COMMENT ON COLUMN idempotent.loads.source IS 'the table or view that the rows come from, by its name at the start';
COMMENT ON COLUMN idempotent.loads.on_conflict IS 'what the load does about a conflict';
COMMENT ON COLUMN idempotent.loads.on_error IS 'what the load does about a row that the server refuses';
COMMENT ON COLUMN idempotent.loads.batch_size IS 'how many rows are committed at a time';
COMMENT ON COLUMN idempotent.loads.status IS 'running, finished, failed, or died: its server process no longer exists';
COMMENT ON COLUMN idempotent.loads.rows_total IS 'the rows of the source; NULL while it is being read';
COMMENT ON COLUMN idempotent.loads.rows_done IS 'the rows that have an outcome, committed';
COMMENT ON COLUMN idempotent.loads.inserted IS 'how many rows were inserted';
COMMENT ON COLUMN idempotent.loads.duplicates IS 'how many rows were already stored';
COMMENT ON COLUMN idempotent.loads.conflicts IS 'how many rows differ from the stored row';
COMMENT ON COLUMN idempotent.loads.rejected IS 'how many rows the server refused';
COMMENT ON COLUMN idempotent.loads.batches IS 'how many batches were committed';
COMMENT ON COLUMN idempotent.loads.pid IS 'the server process, for pg_cancel_backend';
COMMENT ON COLUMN idempotent.loads.started_at IS 'when it was called';
COMMENT ON COLUMN idempotent.loads.updated_at IS 'when the last batch was committed';
COMMENT ON COLUMN idempotent.loads.completed_at IS 'when it finished or failed';
COMMENT ON COLUMN idempotent.loads.error IS 'why it failed';
COMMENT ON COLUMN idempotent.loads.token IS 'the token that the caller gave the load';
COMMENT ON COLUMN idempotent.loads.replayed IS 'whether the counts are those of an earlier load with this token, and nothing was loaded';

-- What a load keeps in mind between its commits.
CREATE TYPE idempotent.load_state AS (
    load_id    bigint,
    cursor     text,
    rule       idempotent.rule,
    own        idempotent.source_column[],
    options    jsonb,
    rows_total bigint,
    rows_done  bigint,
    counts     jsonb,
    batches    bigint,
    -- Whether the last batch was the last one.
    ended      boolean,
    -- When rows began to go in, and when there will be news.
    since      timestamptz,
    due        timestamptz
);
COMMENT ON TYPE idempotent.load_state IS 'what a load keeps in mind between its commits';

-- The statement that reads a source: each row as JSON, its number in the source, whether it is the last one of its key, how many
-- there are, and which is the first one with a NULL in its key. Where rows may be rejected, they are read when their turn comes, and
-- have no order of keys.
CREATE FUNCTION idempotent.reading_source(target regclass, source regclass, rule idempotent.rule, own idempotent.source_column[], rejects boolean) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    plan idempotent.reconciliation;
    keys text;
    lacks text;
BEGIN
    IF rejects THEN
        RETURN format('SELECT pg_catalog.to_jsonb(own) AS payload, pg_catalog.row_number() OVER () AS number, true AS ends, pg_catalog.count(*) OVER () AS total, NULL::pg_catalog.int8 AS keyless FROM %s AS own',
            idempotent.qualified(source));
    END IF;
    plan.named := ARRAY(SELECT number FROM unnest(own) ORDER BY number);
    plan.arbiter := idempotent.find_arbiter(target, rule, idempotent.named_by_source(own), (idempotent.guard_in_force(target)).key, 'source');
    plan.needed := '{}';
    keys := idempotent.each_key(plan.arbiter, 'e."key %1$s"');
    lacks := CASE WHEN (plan.arbiter).nulls_equal THEN 'false'
                  ELSE (SELECT string_agg(format('e."key %s" IS NOT DISTINCT FROM NULL', n), ' OR ') FROM generate_subscripts((plan.arbiter).parts, 1) AS n) END;
    -- Rows without a key come first.
    RETURN format('WITH %s, rows AS (SELECT e."its row", e."its number", e."has key", %s FROM keyed AS e)'
        ' SELECT "its row" AS payload, "its number" AS number,'
        ' pg_catalog.row_number() OVER (ORDER BY "has key", %s, "its number") OPERATOR(pg_catalog.=) pg_catalog.count(*) OVER (ORDER BY "has key", %s) AS ends,'
        ' pg_catalog.count(*) OVER () AS total, pg_catalog.min("its number") FILTER (WHERE "has key" AND (%s)) OVER () AS keyless'
        ' FROM rows AS e ORDER BY "has key", %s, "its number"',
        idempotent.rows_with_keys(target, source, plan), keys, keys, keys, lacks, keys);
END
$$;
COMMENT ON FUNCTION idempotent.reading_source(regclass, regclass, idempotent.rule, idempotent.source_column[], boolean) IS 'the statement that reads the source of a load';

CREATE FUNCTION idempotent.check_batch_size(batch_size int) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM idempotent.require('batch_size', batch_size IS NOT NULL);
    IF batch_size < 1 THEN
        PERFORM idempotent.fail('22023', 'argument "batch_size" must be positive');
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_batch_size(int) IS 'refuses a batch of no rows';

-- Checks the call, and makes the load's row. If an earlier load with the token has done it, the load has ended.
CREATE FUNCTION idempotent.begin_load(
    target regclass, source regclass, key text[], compare text[], ignore text[], on_conflict text, batch_size int, overriding text, on_error text, token text, digest text
) RETURNS idempotent.load_state
LANGUAGE plpgsql
AS $$
DECLARE
    load idempotent.load_state;
BEGIN
    PERFORM idempotent.require('target', target IS NOT NULL);
    PERFORM idempotent.require('source', source IS NOT NULL);
    PERFORM idempotent.check_option('on_conflict', on_conflict, '{error,report,quarantine}');
    PERFORM idempotent.check_batch_size(batch_size);
    PERFORM idempotent.check_token(token, digest);
    PERFORM idempotent.check_target(target);
    PERFORM idempotent.check_source(source);
    load.own := ARRAY(SELECT c FROM idempotent.columns_of_source(target, source) AS c);
    load.rule := idempotent.rule_of_call(target, key, compare, ignore, on_conflict, overriding, on_error);
    load.rule.excluded := idempotent.surrogates(target, load.own, (load.rule).excluded);
    PERFORM idempotent.check_source_key(target, source, load.rule, load.own);
    PERFORM idempotent.plan_source(target, load.own, load.rule);
    load.options := idempotent.insert_batch_options(key, compare, ignore, on_conflict, on_error, overriding);
    load.rows_done := 0;
    load.batches := 0;
    load.ended := false;
    load.counts := '{"received": 0, "inserted": 0, "duplicates": 0, "conflicts": 0, "rejected": 0}';
    IF token IS NOT NULL THEN
        load.counts := COALESCE(idempotent.find_batch(target, token, digest, 'load', load.options), load.counts);
        load.ended := (load.counts OPERATOR(pg_catalog.->>) 'received') OPERATOR(pg_catalog.<>) '0' OR idempotent.has_batch(target, token);
    END IF;
    load.load_id := idempotent.new_load(target, source, on_conflict, batch_size, on_error, token);
    load.cursor := 'idempotent load ' OPERATOR(pg_catalog.||) load.load_id::pg_catalog.text;
    load.since := pg_catalog.clock_timestamp();
    load.due := load.since OPERATOR(pg_catalog.+) '2 s'::pg_catalog.interval;
    IF token IS NOT NULL THEN
        -- The transaction has this lock by now. The session gets it for all commits of the load, when no error can come any more.
        PERFORM pg_catalog.pg_advisory_lock(idempotent.token_number(target, token));
    END IF;
    RETURN load;
END
$$;
COMMENT ON FUNCTION idempotent.begin_load(regclass, regclass, text[], text[], text[], text, int, text, text, text, text) IS 'checks a load, and makes its row';

CREATE FUNCTION idempotent.new_load(target regclass, source regclass, on_conflict text, batch_size int, on_error text, token text) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO idempotent.load_records (target, source, on_conflict, batch_size, on_error, token)
    VALUES (idempotent.qualified(target), idempotent.qualified(source), on_conflict, batch_size, on_error, token) RETURNING load_id
$$;
COMMENT ON FUNCTION idempotent.new_load(regclass, regclass, text, int, text, text) IS 'makes the row of a load';

-- Brings the row of a load up to date.
CREATE FUNCTION idempotent.note_load(load idempotent.load_state, status text, error text, replayed boolean DEFAULT false) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE idempotent.load_records AS record
       SET status = note_load.status, error = note_load.error, replayed = note_load.replayed, rows_total = (load).rows_total, rows_done = (load).rows_done, batches = (load).batches,
           inserted = c.inserted, duplicates = c.duplicates, conflicts = c.conflicts, rejected = c.rejected,
           updated_at = moment, completed_at = CASE WHEN note_load.status <> 'running' THEN moment END
      FROM clock_timestamp() AS moment, jsonb_to_record((load).counts) AS c (inserted bigint, duplicates bigint, conflicts bigint, rejected bigint)
     WHERE record.load_id = (load).load_id
$$;
COMMENT ON FUNCTION idempotent.note_load(idempotent.load_state, text, text, boolean) IS 'brings the row of a load up to date';

-- Inserts or verifies rows, whose numbers in the source errors name.
CREATE FUNCTION idempotent.load_rows(load idempotent.load_state, target regclass, payloads jsonb[], numbers bigint[], on_conflict text, on_error text) RETURNS text[]
LANGUAGE plpgsql
AS $$
DECLARE
    outcomes text[];
BEGIN
    PERFORM pg_catalog.set_config('idempotent.row_numbers', numbers::pg_catalog.text, true);
    outcomes := ARRAY(SELECT w.outcome FROM idempotent.write(target, payloads, 'source', load.rule, on_conflict, on_error, idempotent.named_by_source(load.own)) AS w);
    PERFORM pg_catalog.set_config('idempotent.row_numbers', '', true);
    RETURN outcomes;
END
$$;
COMMENT ON FUNCTION idempotent.load_rows(idempotent.load_state, regclass, jsonb[], bigint[], text, text) IS 'inserts or verifies rows of a load';

-- Opens the source, and reads it: the number of rows is known with the first one. A NULL in a key is refused before anything goes in.
CREATE FUNCTION idempotent.open_source(load idempotent.load_state, target regclass, source regclass, on_error text) RETURNS idempotent.load_state
LANGUAGE plpgsql
AS $$
DECLARE
    c refcursor := load.cursor;
    first record;
BEGIN
    EXECUTE pg_catalog.format('DECLARE %I SCROLL CURSOR WITH HOLD FOR %s', load.cursor,
        idempotent.reading_source(target, source, load.rule, load.own, on_error OPERATOR(pg_catalog.<>) 'error'));
    FETCH c INTO first;
    IF first.keyless IS NOT NULL THEN
        WHILE first.number OPERATOR(pg_catalog.<>) first.keyless LOOP
            FETCH c INTO first;
        END LOOP;
        -- This refuses it.
        PERFORM idempotent.load_rows(load, target, ARRAY[first.payload], ARRAY[first.number], 'error', on_error);
    END IF;
    load.rows_total := COALESCE(first.total, 0);
    MOVE BACKWARD FROM c;
    load.since := pg_catalog.clock_timestamp();
    PERFORM idempotent.note_load(load, 'running', NULL);
    RETURN load;
END
$$;
COMMENT ON FUNCTION idempotent.open_source(idempotent.load_state, regclass, regclass, text) IS 'opens the source of a load';

-- One batch: rows up to the end of a key.
CREATE FUNCTION idempotent.load_batch(
    load idempotent.load_state, target regclass, on_conflict text, batch_size int, on_error text, token text, digest text
) RETURNS idempotent.load_state
LANGUAGE plpgsql
AS $$
DECLARE
    c refcursor := load.cursor;
    next record;
    payloads jsonb[] := '{}';
    numbers bigint[] := '{}';
    outcomes text[];
BEGIN
    LOOP
        FETCH c INTO next;
        load.ended := NOT FOUND;
        EXIT WHEN load.ended;
        payloads := pg_catalog.array_append(payloads, next.payload);
        numbers := pg_catalog.array_append(numbers, next.number);
        EXIT WHEN next.ends AND pg_catalog.cardinality(payloads) OPERATOR(pg_catalog.>=) batch_size;
    END LOOP;
    load.ended := load.ended OR load.rows_done OPERATOR(pg_catalog.+) pg_catalog.cardinality(payloads) OPERATOR(pg_catalog.>=) load.rows_total;
    IF payloads OPERATOR(pg_catalog.<>) '{}' THEN
        outcomes := idempotent.load_rows(load, target, payloads, numbers, on_conflict, on_error);
        load := idempotent.with_outcomes(load, outcomes);
    END IF;
    IF load.ended AND token IS NOT NULL THEN
        PERFORM idempotent.record_batch(target, token, digest, 'load', load.options, load.counts);
    END IF;
    PERFORM idempotent.note_load(load, CASE WHEN load.ended THEN 'finished' ELSE 'running' END, NULL);
    RETURN load;
END
$$;
COMMENT ON FUNCTION idempotent.load_batch(idempotent.load_state, regclass, text, int, text, text, text) IS 'loads one batch';

CREATE FUNCTION idempotent.with_outcomes(load idempotent.load_state, outcomes text[]) RETURNS idempotent.load_state
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    load.rows_done := load.rows_done + cardinality(outcomes);
    load.batches := load.batches + 1;
    load.counts := (SELECT jsonb_object_agg(was.key, was.value::text::bigint + (to_jsonb(more) ->> was.key)::bigint)
                      FROM idempotent.counted(outcomes) AS more, jsonb_each(load.counts) AS was);
    RETURN load;
END
$$;
COMMENT ON FUNCTION idempotent.with_outcomes(idempotent.load_state, text[]) IS 'the counts of a load with those of one more batch';

CREATE FUNCTION idempotent.with_replay(load idempotent.load_state) RETURNS idempotent.load_state
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    load.rows_done := load.counts ->> 'received';
    load.rows_total := load.rows_done;
    RETURN load;
END
$$;
COMMENT ON FUNCTION idempotent.with_replay(idempotent.load_state) IS 'a load that an earlier one has done';

-- 12 rows, 1 row.
CREATE FUNCTION idempotent.counted_words(count bigint, what text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT format('%s %s%s', count, what, CASE count WHEN 1 THEN '' ELSE 's' END) $$;
COMMENT ON FUNCTION idempotent.counted_words(bigint, text) IS 'so many of something';

-- NOTICEs on how far a load has come. Who waits no longer than two seconds needs no news.
CREATE FUNCTION idempotent.tell_load(load idempotent.load_state, target regclass, how text) RETURNS idempotent.load_state
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    speed bigint := load.rows_done / greatest(extract(epoch FROM clock_timestamp() - load.since), 0.000001);
    c record;
BEGIN
    IF how IS NOT NULL THEN
        SELECT * INTO c FROM jsonb_to_record(load.counts) AS own (received bigint, inserted bigint, duplicates bigint, conflicts bigint, rejected bigint);
        RAISE NOTICE 'loaded "%": % %: % inserted, %, %', idempotent.name_of(target), idempotent.counted_words(c.received, 'row'), how, c.inserted,
            idempotent.counted_words(c.duplicates, 'duplicate'),
            idempotent.counted_words(c.conflicts, 'conflict') || CASE WHEN c.rejected > 0 THEN format(', %s rejected', c.rejected) ELSE '' END;
    ELSIF clock_timestamp() >= load.due THEN
        load.due := clock_timestamp() + '5 s';
        RAISE NOTICE 'loading "%": % of % rows (% %%), % rows/s, % s left', idempotent.name_of(target), load.rows_done, load.rows_total,
            load.rows_done * 100 / greatest(load.rows_total, 1), speed, (load.rows_total - load.rows_done) / greatest(speed, 1);
    END IF;
    RETURN load;
END
$$;
COMMENT ON FUNCTION idempotent.tell_load(idempotent.load_state, regclass, text) IS 'tells how far a load has come';

-- The end of a load, in whatever way.
CREATE FUNCTION idempotent.end_load(load idempotent.load_state, target regclass, token text, error text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_cursors WHERE name = load.cursor) THEN
        EXECUTE format('CLOSE %I', load.cursor);
    END IF;
    IF token IS NOT NULL THEN
        PERFORM pg_advisory_unlock(idempotent.token_number(target, token));
    END IF;
    IF error IS NOT NULL THEN
        PERFORM idempotent.note_load(load, 'failed', error);
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.end_load(idempotent.load_state, regclass, text, text) IS 'closes what a load has open';

-- 25001 where COMMIT is refused. A block that catches errors refuses it anywhere, but the server tells one who could commit
-- otherwise something else than a function, in whatever language its messages are.
CREATE FUNCTION idempotent.check_may_commit(message text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    BEGIN
        COMMIT;
    EXCEPTION WHEN invalid_transaction_termination THEN
        IF message <> SQLERRM THEN
            RETURN;
        END IF;
    END;
    PERFORM idempotent.fail('25001', 'idempotent_load cannot run inside a transaction block or a function', 'It commits after every batch.',
        format('Call it on its own, or use %s, which is part of your transaction.', idempotent.own_function('idempotent_insert_from')));
END
$$;
COMMENT ON FUNCTION idempotent.check_may_commit(text) IS 'refuses a call in which nothing can be committed';

-- COMMIT is for blocks that catch no errors. So each step catches its own, and a failure is told behind the step.
CREATE PROCEDURE idempotent_load(
    target      regclass,
    source      regclass,
    key         text[] DEFAULT NULL,
    compare     text[] DEFAULT NULL,
    ignore      text[] DEFAULT NULL,
    on_conflict text   DEFAULT 'error',
    batch_size  int    DEFAULT 10000,
    overriding  text   DEFAULT NULL,
    on_error    text   DEFAULT 'error',
    token       text   DEFAULT NULL,
    digest      text   DEFAULT NULL
)
LANGUAGE plpgsql
AS $$
DECLARE
    began timestamptz := pg_catalog.clock_timestamp();
    load idempotent.load_state;
    after_batch idempotent.load_state;
    e idempotent.error_fields;
BEGIN
    BEGIN
        COMMIT;
    EXCEPTION WHEN invalid_transaction_termination THEN
        PERFORM idempotent.check_may_commit(SQLERRM);
    END;
    load := idempotent.begin_load(target, source, key, compare, ignore, on_conflict, batch_size, overriding, on_error, token, digest);
    IF load.ended THEN
        load := idempotent.with_replay(load);
        PERFORM idempotent.note_load(load, 'finished', NULL, true);
        PERFORM idempotent.end_load(load, target, token, NULL);
        COMMIT;
        PERFORM idempotent.tell_load(load, target, 'by an earlier load with this token');
        RETURN;
    END IF;
    IF NOT idempotent.is_temporary(source) THEN
        COMMIT;
    END IF;
    LOOP
        BEGIN
            IF load.rows_total IS NULL THEN
                load := idempotent.open_source(load, target, source, on_error);
            ELSE
                after_batch := idempotent.load_batch(load, target, on_conflict, batch_size, on_error, token, digest);
                SET CONSTRAINTS ALL IMMEDIATE;
                load := after_batch;
            END IF;
        EXCEPTION WHEN OTHERS OR query_canceled OR assert_failure THEN
            GET STACKED DIAGNOSTICS e.message = MESSAGE_TEXT, e.detail = PG_EXCEPTION_DETAIL, e.hint = PG_EXCEPTION_HINT, e.in_schema = SCHEMA_NAME, e.in_table = TABLE_NAME,
                e.in_column = COLUMN_NAME, e.in_constraint = CONSTRAINT_NAME, e.datatype = PG_DATATYPE_NAME;
            e.state := SQLSTATE;
        END;
        IF e.state IS NOT NULL THEN
            PERFORM idempotent.end_load(load, target, token, e.message);
            COMMIT;
            PERFORM idempotent.raise_error(e);
        END IF;
        COMMIT;
        EXIT WHEN load.ended;
        load := idempotent.tell_load(load, target, NULL);
    END LOOP;
    PERFORM idempotent.end_load(load, target, token, NULL);
    PERFORM idempotent.tell_load(load, target, idempotent.in_seconds(began));
END
$$;
COMMENT ON PROCEDURE idempotent_load(regclass, regclass, text[], text[], text[], text, int, text, text, text, text) IS
    'inserts or verifies the rows of a table or view in batches, each of which is committed';

CREATE FUNCTION idempotent.in_seconds(since timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format('in %s s', round(extract(epoch FROM clock_timestamp() - since), 1));
END
$$;
COMMENT ON FUNCTION idempotent.in_seconds(timestamptz) IS 'how long something took';

CREATE FUNCTION idempotent.is_temporary(relation regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT relpersistence = 't' FROM pg_class WHERE oid = relation);
END
$$;
COMMENT ON FUNCTION idempotent.is_temporary(regclass) IS 'whether a table or view is temporary';
