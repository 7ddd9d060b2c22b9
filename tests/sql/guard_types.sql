-- Keys and compared columns of many types, and rows that are stored in another shape than they arrive in.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
-- Command tags say how many rows went in.
\set QUIET off
CREATE SCHEMA guard_types;
SET search_path = guard_types, public;
SET TIME ZONE 'UTC';
SET DateStyle = 'ISO, YMD';

-- Keys: equal is what the index calls equal.
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE TYPE level AS ENUM ('low', 'high');
CREATE TYPE spot AS (x int, t text);
CREATE TABLE made (kind text, one text, same text, other text);
INSERT INTO made VALUES
    ('numeric', '1.0', '1.000', '1.01'), ('float8', '0', '-0', '1e-300'), ('float4', 'NaN', 'nan', '1'), ('timestamptz', '2024-05-01 12:00Z', '2024-05-01 14:00+02', '2024-05-01 12:00+02'), ('date', '2024-05-01', '20240501', 'infinity'),
    ('interval', '1 day', '24:00', '1 month'), ('jsonb', '{"a": 1, "b": 2}', '{"b": 2.0, "a": 1}', '{"a": 1}'), ('text', 'x', 'x', 'X'), ('char(4)', 'x', 'x  ', 'y'), ('code', 'x', 'x', 'y'), ('level', 'low', 'low', 'high'), ('spot', '(1,a)', '(1,"a")', '(1,)'),
    ('int[]', '{1,2}', '{1, 2}', '{2,1}'), ('numeric[]', '{1.0}', '{1}', '{1,NULL}'), ('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'A0EEBC999C0B4EF8BB6D6BB9BD380A11', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'), ('bytea', '\x00ff', '\x00FF', '\x00'),
    ('inet', '10.0.0.1/8', '10.0.0.1/8', '10.0.0.1'), ('int4range', '[1,3]', '[1,4)', '[1,2]'), ('bool', 'true', 'yes', 'false'), ('"char"', 'x', 'x', 'y'), ('name', 'n', 'n', 'm'), ('bit(3)', '101', '101', '100'), ('money', '1.50', '1.5', '1.51'), ('timetz', '12:00+00', '12:00:00+00', '13:00+01'),
    ('macaddr', '08:00:2b:01:02:03', '08002b010203', '08:00:2b:01:02:04'), ('oid', '7', '07', '8'), ('pg_lsn', '0/1', '0/01', '1/1'), ('tsvector', 'a b', 'b a', 'a'), ('int8multirange', '{[1,3]}', '{[1,2),[2,4)}', '{}');
DO $$
DECLARE m made; n int; got text;
BEGIN
    FOR m IN SELECT * FROM made LOOP
        EXECUTE format('CREATE TABLE t (k %s PRIMARY KEY, v %s, w int)', m.kind, m.kind);
        PERFORM idempotent_guard('t');
        -- One row, its equal, another value under its key, another key.
        EXECUTE format('INSERT INTO t VALUES (%L, %L, 1), (%L, %L, 1)', m.one, m.one, m.same, m.same);
        GET DIAGNOSTICS n = ROW_COUNT;
        BEGIN
            EXECUTE format('INSERT INTO t VALUES (%L, %L, 1)', m.same, m.other);
            got := 'no conflict';
        EXCEPTION WHEN SQLSTATE '23I01' THEN got := 'conflict';
        END;
        EXECUTE format('INSERT INTO t VALUES (%L, NULL, 1), (%L, NULL, 1)', m.other, m.other);
        IF n <> 1 OR got <> 'conflict' OR (SELECT count(*) FROM t) <> 2 THEN
            RAISE INFO '%: % inserted, %, % rows', m.kind, n, got, (SELECT count(*) FROM t);
        END IF;
        DROP TABLE t;
    END LOOP;
END $$;
-- An operator class that is not the default one.
CREATE TABLE patterned (k text, v int);
CREATE UNIQUE INDEX ON patterned (k text_pattern_ops);
SELECT key FROM idempotent_guard('patterned');
INSERT INTO patterned VALUES ('a', 1), ('A', 1), ('a', 1);
-- Several columns, in another order than the table's, descending, with NULLS FIRST and INCLUDE.
CREATE TABLE many (a int, b text, c date, d numeric, v int);
CREATE UNIQUE INDEX ON many (d DESC NULLS FIRST, b COLLATE "C" DESC, a) INCLUDE (v) NULLS NOT DISTINCT;
SELECT key FROM idempotent_guard('many');
INSERT INTO many VALUES (1, 'x', '2024-01-01', 1, 1), (1, 'x', '2024-01-01', 1.0, 1), (1, NULL, NULL, NULL, 1), (1, NULL, NULL, NULL, 1), (2, 'x', NULL, 1, 1);
INSERT INTO many VALUES (1, NULL, '2024-01-01', NULL, 1);

-- Rows that are stored in another shape: columns that were added or dropped since, values that are toasted, short, compressed.
CREATE TABLE shapes (gone1 text, id int PRIMARY KEY, a text, gone2 int[], b numeric, c text);
INSERT INTO shapes VALUES ('x', 1, 'one', '{1}', 1.0, NULL), ('x', 2, NULL, NULL, NULL, NULL);
ALTER TABLE shapes DROP gone1;
INSERT INTO shapes VALUES (3, 'three', '{3}', 3, 'c');
ALTER TABLE shapes DROP gone2;
SELECT compared FROM idempotent_guard('shapes');
INSERT INTO shapes VALUES (1, 'one', 1, NULL), (2, NULL, NULL, NULL), (3, 'three', 3.00, 'c');
ALTER TABLE shapes ADD d int, ADD e text DEFAULT 'default', ADD f int NOT NULL DEFAULT 7;
INSERT INTO shapes (id, a, b, c) VALUES (1, 'one', 1, NULL), (2, NULL, NULL, NULL), (3, 'three', 3.00, 'c');
INSERT INTO shapes VALUES (1, 'one', 1, NULL, NULL, 'default', 7), (2, NULL, NULL, NULL, NULL, 'default', 7);
INSERT INTO shapes VALUES (2, NULL, NULL, NULL, NULL, 'another', 7);
INSERT INTO shapes VALUES (2, NULL, NULL, NULL, 1, 'default', 7);
INSERT INTO shapes VALUES (2, NULL, NULL, NULL, NULL, NULL, 7);
UPDATE shapes SET f = f;
INSERT INTO shapes (id, a, b, c) VALUES (1, 'one', 1, NULL), (2, NULL, NULL, NULL), (3, 'three', 3.00, 'c');
ALTER TABLE shapes DROP e;
INSERT INTO shapes (id, a, b, c) VALUES (1, 'one', 1, NULL), (2, NULL, NULL, NULL), (3, 'three', 3.00, 'c'), (4, 'four', 4, NULL);
INSERT INTO shapes VALUES (4, 'four', 4, NULL, NULL, 8);
CREATE TABLE big (id int PRIMARY KEY, plain text, external text, main text, arr int[], doc jsonb, after int);
ALTER TABLE big ALTER plain SET STORAGE PLAIN, ALTER external SET STORAGE EXTERNAL, ALTER main SET STORAGE MAIN;
SELECT compared FROM idempotent_guard('big');
CREATE VIEW large AS
    SELECT n AS id, repeat('p', n) AS plain, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, n) AS i) AS external, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 100) AS i) AS main,
           (SELECT array_agg(i) FROM generate_series(1, n) AS i) AS arr, (SELECT jsonb_object_agg(i, md5(i::text)) FROM generate_series(1, n) AS i) AS doc, n AS after
      FROM unnest('{1,3,4,100,1000,3000}'::int[]) AS n;
INSERT INTO big SELECT * FROM large;
INSERT INTO big SELECT * FROM large;
INSERT INTO big SELECT * FROM big;
INSERT INTO big SELECT id, plain, external, main, arr, doc, 0 FROM big WHERE id = 3000;
INSERT INTO big SELECT id, plain, external || 'x', main, arr, doc, after FROM big WHERE id = 3000;
:state
INSERT INTO big SELECT id, plain, external, main, arr, doc || '{"1": 0}', after FROM large WHERE id = 1000;
:state
SELECT count(*) FROM big;
-- Equal rows whose bytes differ, and different rows whose texts do not.
CREATE TABLE bytes (id int PRIMARY KEY, n numeric, f float8, a numeric[], j json, pt point);
SELECT compared FROM idempotent_guard('bytes');
INSERT INTO bytes VALUES (1, 1.0, 0, '{1.0}', '{"a": 1}', '(0,0)');
INSERT INTO bytes VALUES (1, 1.000, '-0', '{1}', '{"a":1.0}', '(0,0)');
INSERT INTO bytes VALUES (1, 1, 0, '{1.0}', '{"a": 1}', '(-0,0)');
:state
INSERT INTO bytes VALUES (1, 1, 0, '[0:0]={1.0}', '{"a": 1}', '(0,0)');
:state
-- Wide tables, more NULLs than a byte of them, the key at the end.
DO $$
BEGIN
    EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg('c' || n || ' int', ', ' ORDER BY n) || ', id int PRIMARY KEY)' FROM generate_series(1, 300) AS n);
END $$;
SELECT cardinality(compared) FROM idempotent_guard('wide');
INSERT INTO wide (id, c1, c8, c9, c64, c299) VALUES (1, 1, 8, 9, 64, 299), (1, 1, 8, 9, 64, 299), (2, NULL, NULL, NULL, NULL, NULL), (2, NULL, NULL, NULL, NULL, NULL);
INSERT INTO wide (id, c1, c8, c9, c64, c300) VALUES (1, 1, 8, 9, 64, 299);
INSERT INTO wide (id, c300) VALUES (2, 0);
-- The key's type changes under the guard.
CREATE TABLE retyped (id int PRIMARY KEY, v int);
SELECT key FROM idempotent_guard('retyped');
INSERT INTO retyped VALUES (1, 1), (1, 1);
ALTER TABLE retyped ALTER id TYPE numeric;
INSERT INTO retyped VALUES (1.0, 1), (1.5, 1);
ALTER TABLE retyped ALTER id TYPE text, ALTER v TYPE numeric;
INSERT INTO retyped VALUES ('1', 1.0), ('1.0', 1);
INSERT INTO retyped VALUES ('1', 1.5);
-- Made and taken back in one transaction, and made while rows are being inserted.
CREATE TABLE brief (id int PRIMARY KEY, v int);
BEGIN;
INSERT INTO brief VALUES (1, 1);
SAVEPOINT s;
SELECT key FROM idempotent_guard('brief');
INSERT INTO brief VALUES (1, 1), (2, 2);
ROLLBACK TO s;
INSERT INTO brief VALUES (3, 3);
SELECT key FROM idempotent_guard('brief', compare => '{v}');
INSERT INTO brief VALUES (3, 3), (1, 1);
SELECT idempotent_unguard('brief');
COMMIT;
SELECT * FROM brief ORDER BY 1;
CREATE FUNCTION guards() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM idempotent_guard('brief'); RETURN NEW; END $$;
CREATE TRIGGER guards BEFORE INSERT ON brief FOR EACH ROW EXECUTE FUNCTION guards();
INSERT INTO brief VALUES (4, 4);
SELECT key FROM idempotent.guards WHERE target = 'brief'::regclass;
DROP TRIGGER guards ON brief;
-- A trigger whose guarded INSERTs fail inside of an EXCEPTION block, while the guarded statement around them goes on.
CREATE TABLE outer_rows (id int PRIMARY KEY, v int);
SELECT key FROM idempotent_guard('outer_rows');
SELECT key FROM idempotent_guard('brief');
CREATE FUNCTION tries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..3 LOOP
        BEGIN
            INSERT INTO brief VALUES (1, 1), (1000 + NEW.id, NEW.v), (1, 99);
        EXCEPTION WHEN SQLSTATE '23I01' THEN NULL;
        END;
        BEGIN
            INSERT INTO outer_rows VALUES (500 + NEW.id, NEW.v), (501 + NEW.id, 1 / NEW.id);
        EXCEPTION WHEN division_by_zero OR SQLSTATE '23I01' THEN NULL;
        END;
        INSERT INTO brief VALUES (2000 + NEW.id, NEW.v);
    END LOOP;
    RETURN NEW;
END $$;
CREATE TRIGGER tries BEFORE INSERT ON outer_rows FOR EACH ROW WHEN (NEW.id < 500) EXECUTE FUNCTION tries();
INSERT INTO outer_rows SELECT n % 3, n % 3 FROM generate_series(0, 8) AS n;
SELECT * FROM outer_rows ORDER BY 1;
SELECT * FROM brief ORDER BY 1;
-- COPY with FREEZE, into a table of this transaction.
BEGIN;
CREATE TABLE frozen (id int PRIMARY KEY, v int);
SELECT key FROM idempotent_guard('frozen');
COPY frozen FROM stdin (FREEZE);
1	1
2	2
1	1
\.
COMMIT;
INSERT INTO frozen VALUES (1, 1), (2, 2), (3, 3);

SET client_min_messages = warning;
DROP SCHEMA guard_types CASCADE;
