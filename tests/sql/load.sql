-- idempotent_load: the rows of a table or view in committed batches.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
SET client_min_messages = warning;
CREATE SCHEMA load;
SET search_path = load, public;
ALTER SEQUENCE idempotent.load_records_load_id_seq RESTART;
CREATE VIEW story AS
SELECT load_id, role = quote_ident(current_user)::regrole AS own, target, source, on_conflict AS policy, batch_size AS size, status,
       rows_total AS total, rows_done AS done, inserted, duplicates, conflicts, batches, pid = pg_backend_pid() AS here,
       completed_at >= updated_at AND updated_at >= started_at AS times, error
FROM idempotent.loads ORDER BY load_id;
CREATE VIEW counts AS
SELECT status, rows_total AS total, rows_done AS done, inserted, duplicates, conflicts, batches, error
FROM idempotent.loads ORDER BY load_id DESC LIMIT 1;

CREATE TABLE t (id int PRIMARY KEY, amount numeric(8,2), note text DEFAULT 'none');
CREATE TABLE s AS SELECT (i * 37) % 1009 AS id, (i / 3.0)::numeric(12,4) AS amount FROM generate_series(1, 1000) AS i;
CALL idempotent_load('t', 's');
SELECT count(*), count(DISTINCT id), bool_and(note = 'none') FROM t;
SELECT count(*) FROM t JOIN s USING (id) WHERE t.amount <> s.amount::numeric(8,2);
-- Again, in batches of another size: nothing changes.
SELECT sum(xmin::text::bigint) AS before FROM t \gset
CALL idempotent_load('t', 's', batch_size => 64);
SELECT sum(xmin::text::bigint) = :before AS untouched FROM t;
-- One row at a time; a batch that is the whole; one that is more.
TRUNCATE t;
CALL idempotent_load('t', 's', batch_size => 1);
SELECT count(*), count(DISTINCT xmin::text) FROM t;
TRUNCATE t;
CALL idempotent_load('t', 's', batch_size => 1000);
TRUNCATE t;
CALL idempotent_load('t', 's', batch_size => 999);
TRUNCATE t;
CALL idempotent_load('t', 's', batch_size => 2147483647);
SELECT * FROM story;

-- What is half in is made whole.
DELETE FROM t WHERE id % 3 = 0;
CALL idempotent_load('t', 's', batch_size => 100);
TABLE counts;

-- A key that comes several times stays in one batch.
CREATE TABLE repeated AS SELECT i % 10 AS id, i % 10 AS amount FROM generate_series(0, 99) AS i;
TRUNCATE t;
CALL idempotent_load('t', 'repeated', batch_size => 7);
TABLE counts;
CALL idempotent_load('t', 'repeated', batch_size => 1);
TABLE counts;
INSERT INTO repeated VALUES (3, 99);
TRUNCATE t;
CALL idempotent_load('t', 'repeated', batch_size => 7, on_conflict => 'report');
TABLE counts;

-- No rows.
TRUNCATE repeated;
CALL idempotent_load('t', 'repeated');
TABLE counts;

-- Conflicts. 'error' ends the load with the first batch that has one; what was committed stays.
TRUNCATE t;
INSERT INTO t VALUES (500, 0.5), (501, 0.5);
CALL idempotent_load('t', 's', batch_size => 100);
:state
TABLE counts;
SELECT count(*), max(id) FROM t WHERE id < 500;
SELECT count(*) FROM t WHERE id > 501;
CALL idempotent_load('t', 's', on_conflict => 'report', batch_size => 100);
TABLE counts;
CALL idempotent_load('t', 's', on_conflict => 'quarantine', batch_size => 100);
CALL idempotent_load('t', 's', on_conflict => 'quarantine', batch_size => 50);
TABLE counts;
SELECT key, differences FROM idempotent.conflicts ORDER BY id;
DELETE FROM idempotent.conflict_records;

-- Options mean what they mean elsewhere.
CALL idempotent_load('t', 's', ignore => '{amount}');
TABLE counts;
CALL idempotent_load('t', 's', compare => '{amount}', ignore => '{amount}');
:state
CALL idempotent_load('t', 's', key => '{amount}');
:state
CALL idempotent_load('t', 's', key => '{id}', compare => '{note}');
TABLE counts;

-- Arguments that do not fit leave no trace.
SELECT count(*) AS before FROM idempotent.loads \gset
CALL idempotent_load(NULL, 's');
:state
CALL idempotent_load('t', NULL);
:state
CALL idempotent_load('t', 's', on_conflict => NULL);
:state
CALL idempotent_load('t', 's', on_conflict => 'ignore');
:state
CALL idempotent_load('t', 's', batch_size => NULL);
:state
CALL idempotent_load('t', 's', batch_size => 0);
:state
CALL idempotent_load('t', 's', batch_size => -1);
:state
CALL idempotent_load(0, 's');
:state
CALL idempotent_load('t', 0);
:state
CALL idempotent_load('counts', 's');
:state
CALL idempotent_load('t', 'idempotent.load_records_load_id_seq');
:state
CREATE TABLE wrong (id int, amoun int);
CALL idempotent_load('t', 'wrong');
:state
CREATE TABLE keyless (amount int);
CALL idempotent_load('t', 'keyless');
:state
SELECT idempotent_load('t', 's');
:state
SELECT count(*) = :before AS no_trace FROM idempotent.loads;

-- Errors of rows.
CREATE TABLE bad (id int, amount numeric);
INSERT INTO bad VALUES (1, 1), (NULL, 2);
CALL idempotent_load('t', 'bad');
:state
TABLE counts;
CREATE TABLE checked (id int PRIMARY KEY, v int CONSTRAINT small CHECK (v < 90), w int CONSTRAINT other UNIQUE);
CREATE TABLE source AS SELECT i AS id, i AS v, i AS w FROM generate_series(1, 100) AS i;
CALL idempotent_load('checked', 'source', batch_size => 20);
:state
\echo :LAST_ERROR_MESSAGE
TABLE counts;
SELECT count(*) FROM checked;
UPDATE source SET v = 0;
UPDATE source SET w = 1 WHERE id = 95;
CALL idempotent_load('checked', 'source', batch_size => 20, on_conflict => 'report');
:state
TABLE counts;
-- An error that only the commit raises.
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE orphans AS SELECT i AS id, i AS parent FROM generate_series(1, 30) AS i;
INSERT INTO parents SELECT generate_series(1, 25);
CALL idempotent_load('children', 'orphans', batch_size => 10);
:state
TABLE counts;
SELECT count(*) FROM children;
INSERT INTO parents SELECT generate_series(26, 30);
CALL idempotent_load('children', 'orphans', batch_size => 10);
TABLE counts;
-- An error of the user's own, whose fields and SQLSTATE go on; and one that a trigger swallows first.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        RAISE 'swallowed %', NEW.id;
    EXCEPTION WHEN OTHERS THEN
    END;
    IF NEW.id = 17 THEN
        RAISE SQLSTATE 'AB123' USING MESSAGE = 'not 17', DETAIL = 'a detail', HINT = 'a hint', TABLE = 'children', CONSTRAINT = 'mine', COLUMN = 'c', DATATYPE = 'd', SCHEMA = 'load';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON children FOR EACH ROW EXECUTE FUNCTION refuse();
TRUNCATE children;
CALL idempotent_load('children', 'orphans', batch_size => 5);
:state
TABLE counts;
DROP TRIGGER refuse ON children;

-- In a transaction block, a function, a savepoint, with others in one message: 25001.
BEGIN;
CALL idempotent_load('t', 's');
:state
ROLLBACK;
CREATE FUNCTION in_function() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL idempotent_load('t', 's'); END $$;
SELECT in_function();
:state
DO $$ BEGIN
    BEGIN
        CALL idempotent_load('t', 's');
    EXCEPTION WHEN active_sql_transaction THEN
        RAISE WARNING '%', sqlerrm;
    END;
END $$;
CREATE PROCEDURE settled() LANGUAGE plpgsql SET work_mem = '1MB' AS $$ BEGIN CALL idempotent_load('t', 's'); END $$;
CALL settled();
:state
BEGIN; CALL idempotent_load('t', 's')\; SELECT 1; ROLLBACK;
SELECT 1\; CALL idempotent_load('t', 's');
:state
-- From a DO block and a procedure: between other statements, in a loop over a query.
CREATE PROCEDURE in_procedure(policy text) LANGUAGE plpgsql AS $$
DECLARE r record; n int;
BEGIN
    FOR r IN SELECT target FROM (VALUES ('t'), ('children'), ('t')) AS v (target) LOOP
        CALL idempotent_load(r.target::regclass, (CASE r.target WHEN 't' THEN 's' ELSE 'orphans' END)::regclass, on_conflict => policy, batch_size => 200);
        SELECT count(*) INTO n FROM t;
        RAISE WARNING 'after %: % rows in t', r.target, n;
        COMMIT;
    END LOOP;
END $$;
CALL in_procedure('report');
DO $$
DECLARE r record; wide text[] := ARRAY['amount', repeat('x', 10)];
BEGIN
    DELETE FROM children;
    CALL idempotent_load('children', 'orphans', batch_size => 10);
    FOR r IN SELECT i FROM generate_series(1, 3) AS i LOOP
        CALL idempotent_load('t', 's', ignore => wide[1:1], batch_size => 300);
    END LOOP;
    RAISE WARNING '%', (SELECT count(*) FROM children);
    ROLLBACK;
END $$;
TABLE counts;
CREATE PROCEDURE fails() LANGUAGE plpgsql AS $$
BEGIN
    CALL idempotent_load('t', 's', batch_size => 100);
END $$;
CALL fails();
:state
SELECT count(*) FROM idempotent.loads WHERE status NOT IN ('finished', 'failed');
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';

-- What the caller did before in its transaction is committed with the load's row.
DO $$ BEGIN
    INSERT INTO parents VALUES (1000);
    CALL idempotent_load('children', 'orphans');
    ROLLBACK;
END $$;
SELECT count(*) FROM parents WHERE id = 1000;

-- A view, with a query that costs something; a source with columns in another order, of other types.
CREATE VIEW v AS SELECT (i::text || '.00')::numeric AS amount, 10000 + i AS id FROM generate_series(1, 250) AS i ORDER BY i DESC;
CALL idempotent_load('t', 'v', batch_size => 100);
TABLE counts;
-- The target itself.
CALL idempotent_load('t', 't', batch_size => 100);
SELECT status, total = done AND done = duplicates AS all_there FROM counts;

-- A guarded target, a partitioned one, a temporary one, and temporary sources.
CREATE TABLE guarded (id int PRIMARY KEY, v int, first jsonb);
SELECT arbiter FROM idempotent_guard('guarded', remember => 'first');
CREATE TABLE g AS SELECT i AS id, i AS v FROM generate_series(1, 100) AS i;
CALL idempotent_load('guarded', 'g', batch_size => 30);
UPDATE guarded SET v = -v;
CALL idempotent_load('guarded', 'g', batch_size => 40);
TABLE counts;
CREATE TABLE parts (day date, n int, v text, PRIMARY KEY (day, n)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2013-01-01') TO ('2013-01-15');
CREATE TABLE parts_2 (v text, n int NOT NULL, day date NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM ('2013-01-15') TO ('2013-02-01');
CREATE TABLE p AS SELECT date '2013-01-01' + i % 31 AS day, i / 31 AS n, 'v' || i AS v FROM generate_series(0, 309) AS i;
CALL idempotent_load('parts', 'p', batch_size => 50);
TABLE counts;
CALL idempotent_load('parts', 'p', batch_size => 33);
TABLE counts;
SELECT tableoid::regclass, count(*) FROM parts GROUP BY 1 ORDER BY 1;
CREATE TEMP TABLE tmp (id int PRIMARY KEY, v int);
CALL idempotent_load('tmp', 'g', batch_size => 30);
TABLE counts;
SELECT count(*) FROM tmp;
CREATE TEMP TABLE brief (id int, v int) ON COMMIT DELETE ROWS;
DO $$ BEGIN
    INSERT INTO brief SELECT i, i FROM generate_series(101, 110) AS i;
    CALL idempotent_load('tmp', 'brief', batch_size => 3);
END $$;
TABLE counts;
-- Statement triggers see batches.
CREATE TABLE log (n bigint);
CREATE FUNCTION count_rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log SELECT count(*) FROM new; RETURN NULL; END $$;
CREATE TRIGGER count_rows AFTER INSERT ON checked REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION count_rows();
TRUNCATE checked;
UPDATE source SET w = id;
CALL idempotent_load('checked', 'source', batch_size => 40);
TABLE log;

-- Names that need quotes, and that are long.
CREATE TABLE "Odd ""Table"" %s" ("select" int PRIMARY KEY, "Ä b" text);
CREATE VIEW "source'; --" AS SELECT i AS "select", 'x' AS "Ä b" FROM generate_series(1, 5) AS i;
CALL idempotent_load('"Odd ""Table"" %s"', '"source''; --"', key => '{select}', batch_size => 2);
SELECT target, source, status, inserted FROM idempotent.loads ORDER BY load_id DESC LIMIT 1;

-- A source that is sorted and kept on disk.
SET work_mem = '64kB';
CREATE TABLE wide (id int PRIMARY KEY, pad text);
CREATE TABLE wide_source AS SELECT (i * 7919) % 10007 AS id, repeat(md5(i::text), 10) AS pad FROM generate_series(1, 10000) AS i;
CALL idempotent_load('wide', 'wide_source', batch_size => 3000);
TABLE counts;
SELECT count(*), count(*) FILTER (WHERE w.pad = s.pad) FROM wide w JOIN wide_source s USING (id);
UPDATE wide SET pad = 'x' WHERE id = 9000;
CALL idempotent_load('wide', 'wide_source', batch_size => 3000);
SELECT count(*) FROM pg_ls_tmpdir();
RESET work_mem;

-- A transaction that only reads.
SET default_transaction_read_only = on;
CALL idempotent_load('t', 's');
:state
RESET default_transaction_read_only;
SET default_transaction_isolation = 'serializable';
CALL idempotent_load('t', 's', batch_size => 100, ignore => '{amount}');
TABLE counts;
RESET default_transaction_isolation;

-- Who does not own anything: the caller's own rights count, and each role sees its own loads.
CREATE ROLE regress_pgi_loader;
GRANT USAGE ON SCHEMA load TO regress_pgi_loader;
ALTER VIEW counts SET (security_invoker = true);
GRANT SELECT ON counts TO regress_pgi_loader;
SET ROLE regress_pgi_loader;
CALL idempotent_load('t', 's');
:state
RESET ROLE;
GRANT SELECT ON g TO regress_pgi_loader;
CREATE TABLE theirs (id int PRIMARY KEY, v int);
GRANT SELECT, INSERT (id, v) ON theirs TO regress_pgi_loader;
SET ROLE regress_pgi_loader;
CALL idempotent_load('theirs', 'g', batch_size => 30);
CALL idempotent_load('theirs', 'g', batch_size => 30);
TABLE counts;
SELECT count(*), min(target) FROM idempotent.loads;
-- Nothing of the caller's is met with the owner's rights.
RESET ROLE;
CREATE SCHEMA trap AUTHORIZATION regress_pgi_loader;
SET ROLE regress_pgi_loader;
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$;
CREATE FUNCTION trap.never(bigint, bigint) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE OPERATOR trap.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = trap.never);
SET search_path = trap, pg_catalog, load, public;
CALL idempotent_load('theirs', 'g', batch_size => 30);
SELECT status, total, done, duplicates, batches FROM counts;
RESET ROLE;
SET search_path = load, public;
SELECT count(*) FROM idempotent.loads WHERE role = 'regress_pgi_loader'::regrole;

-- A load whose server process is gone.
INSERT INTO idempotent.load_records (role, target, source, on_conflict, batch_size, pid) VALUES ('regress_pgi_loader', 't', 's', 'error', 1, 1);
TABLE counts;

DROP SCHEMA load, trap CASCADE;
DROP OWNED BY regress_pgi_loader;
DROP ROLE regress_pgi_loader;
DELETE FROM idempotent.load_records;
