-- Batches under a token. What a token does is in docs/tokens.md.

-- Written by the extension's functions only, as its owner. People read the view idempotent.batches.
CREATE TABLE idempotent.batch_records (
    role         idempotent.kept_role  NOT NULL,
    target       idempotent.kept_table NOT NULL,
    token        text        NOT NULL,
    function     text        NOT NULL,
    options      jsonb       NOT NULL,
    digest       text,
    counts       jsonb       NOT NULL,
    completed_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    CONSTRAINT batch_records_pkey PRIMARY KEY (token, target, role)
);
COMMENT ON TABLE idempotent.batch_records IS 'what idempotent.batches shows; written by the extension only';
COMMENT ON COLUMN idempotent.batch_records.role IS 'the role that sent the batch';
COMMENT ON COLUMN idempotent.batch_records.target IS 'the table that the batch was for';
COMMENT ON COLUMN idempotent.batch_records.token IS 'the token that the caller gave the batch';
COMMENT ON COLUMN idempotent.batch_records.function IS 'insert_from, load or merge';
COMMENT ON COLUMN idempotent.batch_records.options IS 'what the call asked for beside target and source';
COMMENT ON COLUMN idempotent.batch_records.digest IS 'a digest of the content, according to the caller';
COMMENT ON COLUMN idempotent.batch_records.counts IS 'the counts that the call returned';
COMMENT ON COLUMN idempotent.batch_records.completed_at IS 'when the batch was done';

SELECT pg_catalog.pg_extension_config_dump('idempotent.batch_records', '');

CREATE VIEW idempotent.batches WITH (security_barrier = true) AS
SELECT batch.target::regclass AS target, batch.token, batch.function, batch.options, batch.digest, batch.counts,
       batch.completed_at
  FROM idempotent.batch_records AS batch
 WHERE batch.role OPERATOR(idempotent.=) idempotent.own_role();
COMMENT ON VIEW idempotent.batches IS 'your own batches that have committed under a token';
COMMENT ON COLUMN idempotent.batches.target IS 'the table that the batch was for';
COMMENT ON COLUMN idempotent.batches.token IS 'the token that the caller gave the batch';
COMMENT ON COLUMN idempotent.batches.function IS 'insert_from, load or merge';
COMMENT ON COLUMN idempotent.batches.options IS 'what the call asked for beside target and source';
COMMENT ON COLUMN idempotent.batches.digest IS 'a digest of the content, according to the caller';
COMMENT ON COLUMN idempotent.batches.counts IS 'the counts that the call returned';
COMMENT ON COLUMN idempotent.batches.completed_at IS 'when the batch was done';
