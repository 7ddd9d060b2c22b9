-- idempotent_overwrite_each: every slice that the source holds is replaced, each as by idempotent_overwrite.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA overwrite_each;
SET search_path = overwrite_each, public;
CREATE TABLE delays (day date, carrier text, minutes numeric, loaded_at int DEFAULT 7);
CREATE INDEX ON delays (day, carrier);
CREATE TABLE staged (day date, carrier text, minutes numeric);
\set by_day 'SELECT * FROM idempotent_overwrite_each(\'delays\', \'staged\', \'{day}\');'
\set by_both 'SELECT * FROM idempotent_overwrite_each(\'delays\', \'staged\', \'{carrier, day}\');'

-- An empty source has no slices: nothing is done.
INSERT INTO delays VALUES ('2013-01-09', 'UA', 9);
:by_day
SELECT count(*) FROM delays;

-- Slices come in their order, NULL last; what the source does not hold stays.
INSERT INTO staged VALUES ('2013-01-02', 'UA', 4), (NULL, 'UA', 7), ('2013-01-01', 'UA', 2), ('2013-01-01', 'AA', 3);
:by_day
:by_day
SELECT day, carrier, minutes FROM delays ORDER BY day, carrier;
-- One differs: the others are not touched, and keep their place.
SELECT ctid AS place, day INTO before FROM delays;
UPDATE staged SET minutes = 5 WHERE day = '2013-01-02';
:by_day
SELECT before.day FROM before JOIN delays ON place = delays.ctid AND before.day IS NOT DISTINCT FROM delays.day ORDER BY before.day;
-- What is equal in value but written otherwise is written again, as by idempotent_overwrite; rows may repeat.
UPDATE staged SET minutes = 7.0 WHERE day IS NULL;
INSERT INTO staged SELECT * FROM staged WHERE day IS NULL;
:by_day
-- The slice of a row of the result is one for idempotent_overwrite.
SELECT slice, (idempotent_overwrite('delays', 'staged', slice)).*
  FROM (SELECT slice FROM idempotent_overwrite_each('delays', 'staged', '{day}') LIMIT 1) AS first, pg_sleep(0);
:state
CREATE VIEW one_day AS SELECT * FROM staged WHERE day = '2013-01-02';
SELECT slice, (idempotent_overwrite('delays', 'one_day', slice)).* FROM idempotent_overwrite_each('delays', 'one_day', '{day}');

-- Several columns, in the table's order whatever the argument's; NULL in one of them.
:by_both
UPDATE staged SET carrier = NULL WHERE carrier = 'AA';
:by_both
SELECT day, carrier, minutes FROM delays ORDER BY day, carrier, minutes;

-- Equality is that of the type; the slice shows the first of its rows.
CREATE TABLE shops (shop text, price numeric, ratio float8, span int4range, tags text[], kind jsonb);
CREATE TABLE sold (shop text, price numeric, ratio float8, span int4range, tags text[], kind jsonb);
INSERT INTO sold VALUES ('b', 1.0, 0.1, '[1,3)', '{a,b}', '{"x": 1}'), ('B', 1.00, 0.1, '[1,3)', '{a,b}', '{"x": 1}'),
                        ('a', 1, 'NaN', 'empty', '{}', '[]'), ('A', 2, '-0', NULL, NULL, '"s"');
SELECT * FROM idempotent_overwrite_each('shops', 'sold', '{shop}');
SELECT * FROM idempotent_overwrite_each('shops', 'sold', '{price}');
SELECT * FROM idempotent_overwrite_each('shops', 'sold', '{ratio, span, tags, kind}');
SELECT count(*) FROM shops;

-- Types: domains, enums, composites, timestamps, and a column that both sides number.
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN small AS int CHECK (VALUE < 10);
CREATE TABLE typed (id serial, m mood, p pair, s small, at timestamptz, v int);
CREATE TABLE typed_source (LIKE typed INCLUDING ALL);
INSERT INTO typed_source (m, p, s, at, v) VALUES ('glad', (1, 'a'), 3, '2013-01-01 00:00+00', 1), ('sad', (1, 'b'), 2, '2013-01-01 01:00+01', 2);
SET timezone = 'UTC';
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{m, p, s}');
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{at}');
-- In `by` it is compared.
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{id}');
UPDATE typed_source SET id = id + 10;
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{id}');

-- A composite whose members are NULL is no NULL.
CREATE TABLE pairs (p pair, v int);
CREATE TABLE pairs_source (LIKE pairs);
INSERT INTO pairs_source VALUES ((NULL, NULL), 2), (NULL, 3);
SELECT * FROM idempotent_overwrite_each('pairs', 'pairs_source', '{p}');
SELECT * FROM idempotent_overwrite_each('pairs', 'pairs_source', '{p}');
SELECT p::text, v FROM pairs ORDER BY v;

-- The slice that is shown names its slice alone, also where JSON has no form for the value: then it is the text.
CREATE TYPE mark AS (n int, j jsonb);
CREATE DOMAIN marks AS mark[];
CREATE TABLE odd (id int, a int[], j jsonb, js jsonb[], n mark, ns marks, r int4range, f float8, i interval, t timestamptz[]);
CREATE TABLE odd_source (LIKE odd);
CREATE TABLE odd_empty (LIKE odd);
INSERT INTO odd_source VALUES
    (1, '[2:3]={1,2}', 'null', '{NULL}', (1, NULL), NULL, 'empty', '-0', '1 day -1 hour', '{2013-01-01 00:00+00}'),
    (2, '{1,2}', NULL, '{"null"}', (1, 'null'), ARRAY[(1, NULL)::mark], '[1,3)', 'NaN', '-1 day', '[0:0]={2013-01-01 00:00+00}'),
    (3, '{{1},{2}}', '"null"', '[0:0]={"null"}', (NULL, NULL), ARRAY[(1, 'null')::mark], '[1,4)', 1e10, '1 mon', '{infinity,NULL}'),
    (4, '{}', '[null]', '{"[1, 2]"}', NULL, ARRAY[NULL::mark], NULL, 0.1, NULL, '{}');
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{a}');
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{js, n}');
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{ns}');
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{t}');
CREATE FUNCTION deleted_by_slices(name text) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    shown jsonb;
    deleted bigint[];
BEGIN
    FOR shown IN SELECT slice FROM idempotent_overwrite_each('odd', 'odd_source', ARRAY[name]) LOOP
        deleted := deleted || (SELECT done.deleted FROM idempotent_overwrite('odd', 'odd_empty', shown) AS done);
    END LOOP;
    RETURN deleted;
END $$;
SELECT name, deleted_by_slices(name) FROM unnest('{a,js,n,ns,r,f,i,t}'::text[]) AS name;
-- A jsonb that is JSON null has none: in a slice that is NULL, and the string is the string.
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{j}');
:state
SET pg_idempotent.show_values = off;
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{a, j}');
:state
RESET pg_idempotent.show_values;
SELECT count(*) FROM odd;
DELETE FROM odd_source WHERE j = 'null';
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{j}');
-- Numbers that are shown rounded.
SET extra_float_digits = 0;
UPDATE odd_source SET f = 0.1::float8 + 0.2::float8 WHERE id = 2;
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{f}');
:state
RESET extra_float_digits;
SELECT * FROM idempotent_overwrite_each('odd', 'odd_source', '{f}');

-- Generated columns: in `by`, and with another value than the server's.
CREATE TABLE made (day date, month int GENERATED ALWAYS AS (extract(month FROM day)) STORED, v int DEFAULT 3, w int GENERATED ALWAYS AS (v * 2) STORED);
CREATE TABLE made_source (day date, month int, w int);
INSERT INTO made_source VALUES ('2013-02-01', 2, 6), ('2013-01-01', 1, 6), ('2013-01-31', 1, 6);
SELECT * FROM idempotent_overwrite_each('made', 'made_source', '{month}');
SELECT * FROM idempotent_overwrite_each('made', 'made_source', '{month}');
INSERT INTO made_source VALUES ('2013-03-01', 4, 6);
SELECT * FROM idempotent_overwrite_each('made', 'made_source', '{month}');
:state

-- Arguments.
SELECT * FROM idempotent_overwrite_each('delays', 'staged', NULL);
:state
SELECT * FROM idempotent_overwrite_each(NULL, 'staged', '{day}');
:state
SELECT * FROM idempotent_overwrite_each('delays', 'staged', '{}');
:state
SELECT * FROM idempotent_overwrite_each('delays', 'staged', '{day, NULL}');
:state
SELECT * FROM idempotent_overwrite_each('delays', 'staged', '{day, day}');
:state
SELECT * FROM idempotent_overwrite_each('delays', 'staged', '{dy}');
:state
SELECT * FROM idempotent_overwrite_each('delays', 'staged', '{loaded_at}');
:state
CREATE TABLE places (p point, x xid, v int);
SELECT * FROM idempotent_overwrite_each('places', 'places', '{p}');
:state
SELECT * FROM idempotent_overwrite_each('places', 'places', '{x}');
:state

-- An error in a row names it, and nothing is written.
CREATE TABLE texts (day date, carrier text, minutes numeric, late boolean);
SELECT * FROM idempotent_overwrite_each('delays', 'texts', '{day}');
:state
ALTER TABLE delays ADD CHECK (minutes < 100), ADD COLUMN note varchar(3);
CREATE TABLE noted (day date, carrier text, minutes numeric, note text);
INSERT INTO noted VALUES ('2013-01-01', 'UA', 1, 'abc'), ('2013-01-02', 'UA', 1, 'abc'), ('2013-01-01', 'UA', 1, 'abcd');
\set SHOW_CONTEXT always
SELECT * FROM idempotent_overwrite_each('delays', 'noted', '{day}');
:state
\set SHOW_CONTEXT never
UPDATE noted SET note = 'abc', minutes = CASE WHEN day = '2013-01-02' THEN 200 ELSE 1 END;
SELECT * FROM idempotent_overwrite_each('delays', 'noted', '{day}');
:state
SELECT count(*) FROM delays WHERE note IS NOT NULL;

-- READ ONLY: equal slices do, others do not.
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{id}');
ROLLBACK;
UPDATE typed_source SET v = 0;
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{id}');
:state
ROLLBACK;

-- Rights: those of idempotent_overwrite.
CREATE ROLE regress_pgi_each;
GRANT USAGE ON SCHEMA overwrite_each TO regress_pgi_each;
GRANT SELECT ON typed, typed_source TO regress_pgi_each;
GRANT INSERT ON typed TO regress_pgi_each;
GRANT USAGE ON SEQUENCE typed_id_seq TO regress_pgi_each;
SET ROLE regress_pgi_each;
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{id}');
:state
RESET ROLE;
GRANT DELETE ON typed TO regress_pgi_each;
ALTER TABLE typed ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON typed USING (m = 'sad');
SET ROLE regress_pgi_each;
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{m}');
:state
RESET ROLE;
CREATE POLICY all_in ON typed FOR INSERT WITH CHECK (true);
SET ROLE regress_pgi_each;
SELECT * FROM idempotent_overwrite_each('typed', 'typed_source', '{m}');
RESET ROLE;
-- A trigger that keeps rows.
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER keep BEFORE DELETE ON shops FOR EACH ROW EXECUTE FUNCTION keep();
UPDATE sold SET tags = '{c}';
SELECT * FROM idempotent_overwrite_each('shops', 'sold', '{shop}');
:state
CREATE RULE r AS ON DELETE TO shops DO INSTEAD NOTHING;
SELECT * FROM idempotent_overwrite_each('shops', 'sold', '{shop}');
:state
-- The locks do not depend on the number of slices.
CREATE TABLE many (n int, v int);
CREATE INDEX ON many (n);
CREATE VIEW numbers AS SELECT n, n AS v FROM generate_series(1, 300) AS n;
BEGIN;
SELECT count(*), sum(inserted) FROM idempotent_overwrite_each('many', 'numbers', '{n}');
SELECT count(*) < 40 AS few FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
COMMIT;
SELECT count(*), sum(inserted), bool_and(unchanged) FROM idempotent_overwrite_each('many', 'numbers', '{n}');

DROP SCHEMA overwrite_each CASCADE;
DROP ROLE regress_pgi_each;
