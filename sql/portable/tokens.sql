-- Batches under a token: what has committed once is answered from its record. docs/tokens.md
--
-- A call that finds no record takes the lock on the token, and looks again. It holds the lock until its transaction ends,
-- so of two calls with one token the second finds the record of the first, or does the work itself if the first has rolled
-- back. At REPEATABLE READ and above, a record that the snapshot cannot see is 40001, which its INSERT raises.

CREATE TABLE idempotent.batch_records (
    role         regrole     NOT NULL DEFAULT idempotent.own_role(),
    target       regclass    NOT NULL,
    token        text        NOT NULL,
    function     text        NOT NULL,
    options      jsonb       NOT NULL,
    digest       text,
    counts       jsonb       NOT NULL,
    completed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CONSTRAINT batch_records_pkey PRIMARY KEY (token, target, role)
);
COMMENT ON TABLE idempotent.batch_records IS 'what idempotent.batches shows; written by the functions, with the rights of their callers';
COMMENT ON COLUMN idempotent.batch_records.role IS 'the role that sent the batch';
COMMENT ON COLUMN idempotent.batch_records.target IS 'the table that the batch was for';
COMMENT ON COLUMN idempotent.batch_records.token IS 'the token that the caller gave the batch';
COMMENT ON COLUMN idempotent.batch_records.function IS 'insert_from, load or merge';
COMMENT ON COLUMN idempotent.batch_records.options IS 'what the call asked for beside target and source';
COMMENT ON COLUMN idempotent.batch_records.digest IS 'a digest of the content, according to the caller';
COMMENT ON COLUMN idempotent.batch_records.counts IS 'the counts that the call returned';
COMMENT ON COLUMN idempotent.batch_records.completed_at IS 'when the batch was done';
ALTER TABLE idempotent.batch_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON idempotent.batch_records USING (role = idempotent.own_role()) WITH CHECK (role = idempotent.own_role());

CREATE VIEW idempotent.batches WITH (security_barrier = true) AS
SELECT batch.target, batch.token, batch.function, batch.options, batch.digest, batch.counts, batch.completed_at
  FROM idempotent.batch_records AS batch
 WHERE batch.role OPERATOR(pg_catalog.=) idempotent.own_role();
COMMENT ON VIEW idempotent.batches IS 'your own batches that have committed under a token';
COMMENT ON COLUMN idempotent.batches.target IS 'the table that the batch was for';
COMMENT ON COLUMN idempotent.batches.token IS 'the token that the caller gave the batch';
COMMENT ON COLUMN idempotent.batches.function IS 'insert_from, load or merge';
COMMENT ON COLUMN idempotent.batches.options IS 'what the call asked for beside target and source';
COMMENT ON COLUMN idempotent.batches.digest IS 'a digest of the content, according to the caller';
COMMENT ON COLUMN idempotent.batches.counts IS 'the counts that the call returned';
COMMENT ON COLUMN idempotent.batches.completed_at IS 'when the batch was done';

CREATE FUNCTION idempotent.check_token(token text, digest text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF token IS NULL AND digest IS NOT NULL THEN
        PERFORM idempotent.fail('22023', 'argument "digest" requires argument "token"');
    ELSIF char_length(token) NOT BETWEEN 1 AND 255 THEN
        PERFORM idempotent.fail('22023', 'a token must have 1 to 255 characters', format('This one has %s.', char_length(token)));
    END IF;
END
$$;
COMMENT ON FUNCTION idempotent.check_token(text, text) IS 'refuses a token that is none';

-- What a call asks for beside target and source: options that are not what they are without being named.
CREATE FUNCTION idempotent.batch_options(key text[], compare text[], ignore text[], others jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (SELECT jsonb_strip_nulls(jsonb_build_object('key', idempotent.array_text(key), 'compare', idempotent.array_text(compare), 'ignore', idempotent.array_text(ignore)) || others));
END
$$;
COMMENT ON FUNCTION idempotent.batch_options(text[], text[], text[], jsonb) IS 'what a retry of a batch has to ask for, too';

CREATE FUNCTION idempotent.token_number(target regclass, token text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN hashtextextended(format('idempotent batch %s %s %s', idempotent.own_role()::oid, target::oid, token), 0);
END
$$;
COMMENT ON FUNCTION idempotent.token_number(regclass, text) IS 'the number of the lock on a token';

CREATE FUNCTION idempotent.has_batch(target regclass, token text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM idempotent.batch_records AS r WHERE r.token = has_batch.token AND r.target = has_batch.target AND r.role = idempotent.own_role());
END
$$;
COMMENT ON FUNCTION idempotent.has_batch(regclass, text) IS 'whether a batch has committed under a token';

-- The record of a batch that has committed; else the token is locked until the transaction ends.
CREATE FUNCTION idempotent.find_batch(target regclass, token text, digest text, function text, options jsonb) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known idempotent.batch_records;
    was text;
BEGIN
    FOR attempt IN 1 .. 2 LOOP
        SELECT * INTO known FROM idempotent.batch_records AS r
         WHERE r.token = find_batch.token AND r.target = find_batch.target AND r.role = idempotent.own_role();
        IF FOUND THEN
            was := CASE
                WHEN known.function <> find_batch.function THEN format('It was used by idempotent_%s.', known.function)
                WHEN known.options <> find_batch.options THEN format('The calls differ in %s.', (
                    SELECT string_agg(name, ', ' ORDER BY octet_length(name), name)
                      FROM (SELECT jsonb_object_keys(known.options) AS name UNION SELECT jsonb_object_keys(find_batch.options)) AS names
                     WHERE known.options -> name IS DISTINCT FROM find_batch.options -> name))
                WHEN known.digest <> find_batch.digest THEN 'The batches differ in their digest.'
                WHEN known.digest IS NULL AND find_batch.digest IS NOT NULL THEN 'The batch was recorded without a digest.'
            END;
            IF was IS NOT NULL THEN
                PERFORM idempotent.fail('23I02',
                    format('token "%s" was used for another batch of table "%s"', idempotent.cut(token), idempotent.name_of(target)),
                    was, 'Use a new token for a new batch.', 'idempotent.batch_records', "constraint" => 'batch_records_pkey');
            END IF;
            RETURN known.counts;
        END IF;
        PERFORM pg_advisory_xact_lock(idempotent.token_number(target, token));
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION idempotent.find_batch(regclass, text, text, text, jsonb) IS 'the counts of a batch that has committed, or a lock on its token';

CREATE FUNCTION idempotent.record_batch(target regclass, token text, digest text, function text, options jsonb, counts jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO idempotent.batch_records (target, token, function, options, digest, counts) VALUES (target, token, function, options, digest, counts)
$$;
COMMENT ON FUNCTION idempotent.record_batch(regclass, text, text, text, jsonb, jsonb) IS 'records that a batch is done, in the transaction that has done it';
