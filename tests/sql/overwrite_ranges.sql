-- Slices with ranges, and the slice that is the whole table.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA overwrite_ranges;
SET search_path = overwrite_ranges, public;
CREATE TABLE sales (day date, shop text, n int);
-- Overwrites by two rows of the slice, twice: the second finds it equal. Says which of the stored rows went, and puts them back.
CREATE TABLE arriving (LIKE sales);
CREATE FUNCTION gone(slice jsonb, day date, shop text DEFAULT 'a') RETURNS TABLE (deleted bigint, inserted bigint, again boolean, gone text)
LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE sales, arriving;
    INSERT INTO sales SELECT d::date, s, 0 FROM generate_series(date '2025-12-30', '2026-01-03', '1 day') d, unnest('{a,b}'::text[]) s;
    INSERT INTO sales VALUES (NULL, 'a', 0), ('2026-01-01', NULL, 0), ('infinity', 'a', 0), ('-infinity', 'a', 0);
    CREATE TEMP TABLE before AS TABLE sales;
    INSERT INTO arriving VALUES (day, shop, 1), (day, shop, 2);
    SELECT o.deleted, o.inserted FROM idempotent_overwrite('sales', 'arriving', slice) o INTO deleted, inserted;
    SELECT o = (0::bigint, 0::bigint, true) FROM idempotent_overwrite('sales', 'arriving', slice) o INTO again;
    SELECT string_agg(coalesce(to_char(e.day, 'YYYY-MM-DD'), e.day::text, 'NULL') || coalesce(e.shop, 'NULL'), ' ' ORDER BY e.day, e.shop)
    FROM (TABLE before EXCEPT ALL TABLE sales) e INTO gone;
    DROP TABLE before;
    RETURN NEXT;
END $$;
-- Half open: the lower bound is in it, the upper one is not. NULL is in no range.
SELECT * FROM gone('{"day": {"from": "2025-12-31", "to": "2026-01-02"}}', '2025-12-31');
SELECT * FROM gone('{"day": {"from": "2025-12-31"}}', '2026-01-01');
SELECT * FROM gone('{"day": {"to": "2025-12-31"}}', '2025-12-30');
SELECT * FROM gone('{"day": {"from": "-infinity", "to": "infinity"}}', '2025-12-30');
SELECT * FROM gone('{"day": {"from": "infinity"}}', 'infinity');
-- With a value beside it; NULL beside it; two ranges; a range of texts.
SELECT * FROM gone('{"day": {"from": "2025-12-31", "to": "2026-01-02"}, "shop": "a"}', '2026-01-01');
SELECT * FROM gone('{"day": {"from": "2025-12-31"}, "shop": null}', '2026-01-01', NULL);
SELECT * FROM gone('{"day": {"from": "2026-01-02"}, "shop": {"to": "b"}}', '2026-01-02');
SELECT * FROM gone('{"day": "2026-01-02", "shop": {"from": "aa", "to": "c"}}', '2026-01-02', 'bb');
-- The whole table.
SELECT * FROM gone('{}', NULL, NULL);

-- Nothing is written to an equal one, in a READ ONLY transaction, too.
TRUNCATE arriving;
INSERT INTO sales SELECT d::date, 'a', 0 FROM generate_series(date '2026-01-01', '2026-01-31', '1 day') d;
CREATE VIEW january AS SELECT * FROM sales WHERE day >= '2026-01-01' AND day < '2026-02-01';
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite('sales', 'january', '{"day": {"from": "2026-01-01", "to": "2026-02-01"}}');
SELECT * FROM idempotent_overwrite('sales', 'sales', '{}');
COMMIT;
-- An empty source empties them; what is empty and stays it is unchanged.
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": {"from": "2026-01-01", "to": "2026-02-01"}}');
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": {"from": "2026-01-01", "to": "2026-02-01"}}');
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{}');
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{}');

-- A row outside is refused: below, at the upper end, NULL, with another value.
CREATE FUNCTION refused(slice jsonb, day date, shop text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE arriving;
    INSERT INTO arriving VALUES ('2026-01-01', 'a', 1), (day, shop, 2);
    PERFORM idempotent_overwrite('sales', 'arriving', slice);
END $$;
INSERT INTO sales VALUES ('2026-01-01', 'a', 5);
SELECT refused('{"day": {"from": "2026-01-01", "to": "2026-02-01"}}', '2025-12-31', 'a'); :state
SELECT refused('{"day": {"from": "2026-01-01", "to": "2026-02-01"}}', '2026-02-01', 'a'); :state
SELECT refused('{"day": {"from": "2026-01-01"}}', '2025-02-01', 'a'); :state
SELECT refused('{"day": {"to": "2026-02-01"}}', NULL, 'a'); :state
SELECT refused('{"day": {"from": "2026-01-01", "to": "2026-02-01"}, "shop": "a"}', '2026-01-31', 'b'); :state
SELECT refused('{"shop": {"from": "a", "to": "b"}, "day": "2026-01-01"}', '2026-01-01', 'b'); :state
SET pg_idempotent.show_values = off;
SELECT refused('{"day": {"from": "2026-01-01"}, "shop": "a"}', '2025-12-31', 'a'); :state
RESET pg_idempotent.show_values;
DO $$
DECLARE state text; "table" text; "column" text;
BEGIN
    PERFORM refused('{"day": {"from": "2026-01-01"}, "shop": "a"}', '2025-12-31', 'a');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, "table" = TABLE_NAME, "column" = COLUMN_NAME;
    RAISE NOTICE '% % %', state, "table", "column";
END $$;
SELECT * FROM sales;

-- What is no range.
TRUNCATE arriving;
\set with 'SELECT * FROM idempotent_overwrite(\'sales\', \'arriving\', '
:with '{"day": {}}'); :state
:with '{"day": {"since": "2026-01-01"}}'); :state
:with '{"day": {"from": "2026-01-01", "FROM": "2026-01-01"}}'); :state
:with '{"day": {"from": null}}'); :state
:with '{"day": {"from": "2026-01-01", "to": null}}'); :state
:with '{"day": {"from": "2026-01-01", "to": "2026-01-01"}}'); :state
:with '{"day": {"from": "2026-02-01", "to": "2026-01-01"}}'); :state
:with '{"day": {"from": "soon"}}'); :state
:with '{"day": {"to": {"from": "2026-01-01"}}}'); :state
:with '{"n": {"from": 1.5}}'); :state
:with '{"n": {"from": 1, "to": 99999999999}}'); :state
:with '{"dya": {"from": "2026-01-01"}}'); :state
CREATE TABLE odd (p point, j jsonb, t json, x xid, k int);
CREATE TABLE odd_source (LIKE odd);
SELECT idempotent_overwrite('odd', 'odd_source', '{"p": {"from": "(1,1)"}}'); :state
SELECT idempotent_overwrite('odd', 'odd_source', '{"x": {"from": "1"}}'); :state
CREATE VIEW less AS SELECT k FROM odd;
SELECT idempotent_overwrite('odd', 'less', '{"x": {"from": "1"}}'); :state
-- An object is a value where the type takes objects.
INSERT INTO odd (j) VALUES ('{"from": 1}'), ('{"from": 2}');
SELECT * FROM idempotent_overwrite('odd', 'odd_source', '{"j": {"from": 1}}');
SELECT j FROM odd;
SELECT idempotent_overwrite('odd', 'odd_source', '{"t": {"from": 1}}'); :state
CREATE TYPE pair AS (a int, b int);
CREATE TABLE pairs (p pair);
INSERT INTO pairs VALUES ('(1,2)'), ('(2,2)');
CREATE TABLE no_pairs (LIKE pairs);
SELECT * FROM idempotent_overwrite('pairs', 'no_pairs', '{"p": {"a": 1, "b": 2}}');
SELECT * FROM pairs;

-- Types of all kinds: the type's order, the column's collation, the type modifier.
CREATE DOMAIN day AS date CHECK (VALUE < '3000-01-01');
CREATE DOMAIN german AS text COLLATE "POSIX";
CREATE TYPE size AS ENUM ('small', 'large', 'medium');
CREATE TABLE kinds (
    i2 int2, i8 int8, o oid, f float8, n numeric(4, 1), ts timestamp(0), tz timestamptz, tm time, d day, c char(3), v varchar(3), g german COLLATE "C",
    e size, a int[], u uuid, i inet, b bytea, r int4range, iv interval, bo boolean, nm name);
CREATE TABLE kinds_source (LIKE kinds);
CREATE FUNCTION kept(col name, vals text[], range text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE list text;
BEGIN
    TRUNCATE kinds;
    EXECUTE format('INSERT INTO kinds (%I) SELECT v::%s FROM unnest($1) v', col, (SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'kinds'::regclass AND attname = col)) USING vals;
    PERFORM idempotent_overwrite('kinds', 'kinds_source', jsonb_build_object(col, range::jsonb));
    EXECUTE format('SELECT string_agg(%I::text, '' '' ORDER BY %1$I) FROM kinds', col) INTO list;
    RETURN list;
END $$;
SELECT kept('i2', '{-32768,-1,0,1,32767}', '{"from": -1, "to": 1}'), kept('i2', '{-32768,-1,0,32767}', '{"to": -32768}'), kept('i2', '{-32768,-1,0,32767}', '{"from": 32767}');
SELECT kept('i8', '{-9223372036854775808,-1,0,9223372036854775807}', '{"from": -9223372036854775808, "to": 9223372036854775807}');
SELECT kept('o', '{1,2147483648,4294967295}', '{"from": 2147483648, "to": 4294967295}');
SELECT kept('f', '{-Infinity,-0,0,1e300,NaN}', '{"from": 0, "to": "NaN"}');
SELECT kept('n', '{1.0,1.1,1.2}', '{"from": 1.06, "to": 1.2}');
SELECT kept('ts', '{2026-01-01 00:00:00,2026-01-01 00:00:01}', '{"from": "2026-01-01 00:00:00.7"}');
SELECT kept('tz', '{2026-01-01 00:00:00+00,2026-01-01 02:00:00+00}', '{"from": "2026-01-01 02:30:00+02", "to": "infinity"}') = '2026-01-01 00:00:00+00'::timestamptz::text AS instants;
SELECT kept('tm', '{10:00,12:00}', '{"to": "12:00"}'), kept('d', '{2026-01-01,2026-01-02}', '{"from": "2026-01-02"}');
SELECT kept('d', '{2026-01-01}', '{"to": "3000-01-01"}'); :state
SELECT kept('c', '{a,b,c}', '{"from": "b  ", "to": "c"}'), kept('v', '{a,b,B}', '{"to": "a"}'), kept('g', '{a,b,B}', '{"to": "a"}');
SELECT kept('v', '{a}', '{"to": "abcd"}'); :state
SELECT kept('e', '{small,medium,large}', '{"from": "large", "to": "medium"}'), kept('a', '{"{1}","{1,2}","{2}"}', '{"from": [1, 0], "to": [2]}');
SELECT kept('u', '{00000000-0000-0000-0000-000000000001,f0000000-0000-0000-0000-000000000001}', '{"from": "a0000000-0000-0000-0000-000000000001"}');
SELECT kept('i', '{10.0.0.1,10.0.1.1}', '{"from": "10.0.0.0/24", "to": "10.0.1.0/24"}'), kept('b', '{"\\x01","\\x02"}', '{"from": "\\x02"}');
SELECT kept('r', '{"[1,2)","[2,3)"}', '{"from": "[2,3)"}'), kept('iv', '{1 day,25 hours}', '{"from": "24:30:00"}'), kept('bo', '{f,t}', '{"from": true}'), kept('nm', '{a,b}', '{"from": "b"}');

-- A transaction that replaces many days holds fewer than three locks a day.
BEGIN;
SELECT count(*) FROM generate_series(date '2025-01-01', '2025-12-31', '1 day') d, idempotent_overwrite('sales', 'arriving', jsonb_build_object('day', d::date));
SELECT count(*) < 365 * 3 AS few FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
COMMIT;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';
-- Likewise where days are timestamps. What the calls of a statement hold adds up.
CREATE TABLE moments (at timestamptz, v int);
CREATE TABLE arriving_moments (LIKE moments);
SET timezone = 'UTC';
BEGIN;
SELECT count(*) FROM generate_series(timestamptz '2025-01-01', '2025-12-31', '1 day') d, idempotent_overwrite('moments', 'arriving_moments', jsonb_build_object('at', d));
SELECT count(*) < 365 * 4 AS few FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
COMMIT;
DROP SCHEMA overwrite_ranges CASCADE;
