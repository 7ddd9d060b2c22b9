-- Functions of the extension are PARALLEL UNSAFE. Somebody who wraps one in a function that they call PARALLEL SAFE gets an
-- error in the server's words, with its SQLSTATE, where it cannot be done in a parallel operation; where it only looks, its answer.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA wrapped;
SET search_path = wrapped, public;
CREATE TABLE items (id int PRIMARY KEY, v int);
INSERT INTO items SELECT g, g FROM generate_series(1, 20000) AS g;
ANALYZE items;
CREATE TABLE slice AS SELECT * FROM items WHERE id = 1;
INSERT INTO slice VALUES (1, 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
CREATE FUNCTION wrap(call text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE call INTO answer;
    RETURN answer;
END $$;
-- Where a setting of the extension waits for the library, whichever process loads it in a parallel operation would warn.
SELECT current_setting('pg_idempotent.use_distributed_form', true) IS NOT NULL AS waits \gset
\if :waits
    LOAD '$libdir/pg_idempotent';
\endif
EXPLAIN (COSTS OFF) SELECT max(wrap('SELECT v')) FROM items WHERE v < 3;
SELECT max(wrap($$SELECT outcome FROM idempotent_insert('wrapped.items', '{"id": 1, "v": 1}')$$)) FROM items WHERE v < 3;
SELECT max(wrap($$SELECT outcome FROM idempotent_insert('wrapped.items', '{"id": 0, "v": 1}')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT outcome FROM idempotent_insert('wrapped.items', '{"id": 1, "v": 2}', on_conflict => 'quarantine')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT response FROM idempotent_execute('k', 'SELECT 1')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT status FROM idempotent_request_begin('k', '{}')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT idempotent_purge()$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT decision FROM idempotent_run_begin('d')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT idempotent_resolve(1, 'keep_stored')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT idempotent_overwrite('wrapped.items', 'wrapped.slice', '{"id": 1}')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT updated FROM idempotent_merge('wrapped.items', 'wrapped.slice', latest_by => '{v}')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT key FROM idempotent_guard('wrapped.items')$$)) FROM items WHERE v < 3;
:state
SELECT max(wrap($$SELECT count(*) FROM idempotent_lint('wrapped.items')$$)) FROM items WHERE v < 3;
SELECT count(*) FROM items;
SET client_min_messages = warning;
DROP SCHEMA wrapped CASCADE;
