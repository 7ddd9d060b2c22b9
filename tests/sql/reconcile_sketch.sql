-- Tables that are large enough are compared by sketches first, and only rows that may deviate are read: the result is the same.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :SQLSTATE'
SET timezone = 'UTC';
CREATE COLLATION en (provider = libc, locale = 'C');
-- Rows that deviate in tables with keys of a type: of 20,000 rows, one is missing, one unexpected, and one different.
CREATE FUNCTION deviations(type text, key text) RETURNS TABLE (status text, i text, differences jsonb) LANGUAGE plpgsql AS $$
BEGIN
    DROP TABLE IF EXISTS orders, ledger;
    EXECUTE format('CREATE TABLE orders (k %s PRIMARY KEY, i int, v numeric, n text)', type);
    EXECUTE format('INSERT INTO orders SELECT %s, i, i, repeat(''x'', i %% 30) FROM generate_series(1, 20000) AS i', key);
    CREATE TABLE ledger AS TABLE orders;
    DELETE FROM orders AS o WHERE o.i = 2;
    DELETE FROM ledger AS o WHERE o.i = 3;
    UPDATE ledger AS o SET v = 0.5 WHERE o.i = 19000;
    -- The same values, written otherwise.
    UPDATE ledger AS o SET v = 5.000 WHERE o.i = 5;
    ANALYZE orders, ledger;
    RETURN QUERY SELECT d.status, coalesce(stored, expected) ->> 'i', d.differences FROM idempotent_reconcile('orders', 'ledger') AS d ORDER BY 1;
END $$;
SELECT type, (SELECT string_agg(concat_ws(' ', status, i, differences::text), '; ' ORDER BY status) FROM deviations(type, key))
FROM (VALUES ('int', 'i'), ('smallint', 'i'), ('bigint', '(i - 10000) * 1000000000000'), ('uuid', 'md5(i::text)::uuid'), ('text', 'i::text'),
             ('text COLLATE en', 'i::text'), ('date', '''2000-01-01''::date + i - 10000'), ('timestamptz', '''2000-01-01''::timestamptz + i * interval ''1 hour'''),
             ('timestamp', 'CASE i WHEN 1 THEN ''infinity'' WHEN 2 THEN ''-infinity'' ELSE ''0044-03-15 BC''::timestamp + i * interval ''1 day'' END'),
             ('numeric', 'i / 4.0'), ('char(8)', 'i::text'), ('bytea', 'i::text::bytea'), ('int[]', 'ARRAY[i]'), ('interval', 'i * interval ''1 day''')) AS v(type, key);
-- Whatever the sessions's settings say: the bounds of ranges are read as they were written.
SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata'; SET intervalstyle = 'sql_standard'; SET standard_conforming_strings = off; SET escape_string_warning = off;
SELECT count(*) FROM deviations('timestamptz', '''2000-01-01''::timestamptz + i * interval ''1 hour''');
SELECT count(*) FROM deviations('date', '''2000-01-01''::date + i - 10000');
RESET datestyle; RESET timezone; RESET intervalstyle; RESET standard_conforming_strings; RESET escape_string_warning;
-- The two sides may have different types, and lie in another order.
CREATE TABLE events (a int, b text, v bigint, f float8, s varchar(20), j json, x point, PRIMARY KEY (a, b));
INSERT INTO events SELECT i / 100, 'b' || i % 100, i, i, 's' || i, format('{"i": %s}', i)::json, point(i, 0) FROM generate_series(1, 20000) AS i;
CREATE TABLE arrived AS SELECT v::int, f::float4, j, s::text, b::varchar, a::bigint FROM events ORDER BY md5(s);
SELECT * FROM idempotent_reconcile('events', 'arrived');
UPDATE arrived SET s = s || '!' WHERE v IN (7, 19999);
UPDATE arrived SET j = '{"i" :  8.0}' WHERE v = 8;
INSERT INTO arrived SELECT v, f, j, 'again', b, a FROM arrived WHERE v = 9;
SELECT status, key, differences FROM idempotent_reconcile('events', 'arrived');
SELECT status, key FROM idempotent_reconcile('events', 'arrived', compare => '{f}');
SELECT status, key FROM idempotent_reconcile('events', 'arrived', ignore => '{s}');
-- Types without an equality are read, and so is what is converted to another type.
CREATE TABLE places AS SELECT a, b, x FROM events;
UPDATE places SET x = point(0, '-0') WHERE a = 0 AND b = 'b1';
SELECT status, key, differences FROM idempotent_reconcile('events', 'places');
CREATE TABLE texts AS SELECT a::text AS a, b, v FROM events;
SELECT * FROM idempotent_reconcile('events', 'texts');
CREATE VIEW typed AS SELECT a::int, b, v + (v = 77)::int AS v FROM texts;
SELECT status, key, differences FROM idempotent_reconcile('events', 'typed');
CREATE TABLE wide AS SELECT a, b, repeat('s', 30) AS s FROM events;
SELECT * FROM idempotent_reconcile('events', 'wide');
:state
-- Few are wanted: the first ones by key, from as few rows as possible.
SELECT status, key FROM idempotent_reconcile('events', 'arrived', "limit" => 1);
SELECT status, key FROM idempotent_reconcile('events', 'arrived', NULL, NULL, NULL, 2);
SELECT status, key FROM idempotent_reconcile('events', 'arrived', "limit" => 0);
SELECT * FROM idempotent_reconcile('events', 'arrived', "limit" => -1);
:state
UPDATE arrived SET s = 'other';
SELECT status, key FROM idempotent_reconcile('events', 'arrived', "limit" => 3);
SELECT count(*), count(DISTINCT key) FROM idempotent_reconcile('events', 'arrived');
SELECT count(*), count(DISTINCT key) FROM idempotent_reconcile('events', 'arrived', "limit" => 15000);
-- NULL in the key.
CREATE TABLE nullable (a int, b int, v text, UNIQUE (a, b));
INSERT INTO nullable SELECT NULLIF(i % 200, 0), i / 200, 'v' || i FROM generate_series(1, 20000) AS i;
CREATE TABLE nullable_source AS TABLE nullable;
SELECT status, count(*), count(DISTINCT stored -> 'v'), count(DISTINCT expected -> 'v') FROM idempotent_reconcile('nullable', 'nullable_source') GROUP BY status ORDER BY status;
SELECT status, key FROM idempotent_reconcile('nullable', 'nullable_source', "limit" => 2);
CREATE TABLE filled_source (a int NOT NULL, b int NOT NULL, v text);
INSERT INTO filled_source SELECT * FROM nullable WHERE a > 0;
SELECT status, count(*) FROM idempotent_reconcile('nullable', 'filled_source') GROUP BY status;
CREATE TABLE nulls_equal (a int, b int, v text, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO nulls_equal TABLE nullable;
SELECT * FROM idempotent_reconcile('nulls_equal', 'nullable_source');
UPDATE nullable_source SET v = 'other' WHERE a IS NULL AND b = 50 OR a = 7 AND b = 60;
SELECT status, key FROM idempotent_reconcile('nulls_equal', 'nullable_source');
-- Partitions, and tables that inherit.
CREATE TABLE parted (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parted_n PARTITION OF parted FOR VALUES IN ('n');
CREATE TABLE parted_s PARTITION OF parted FOR VALUES IN ('s');
INSERT INTO parted SELECT i, CASE i % 2 WHEN 0 THEN 'n' ELSE 's' END, 'v' || i FROM generate_series(1, 20000) AS i;
CREATE TABLE parted_source AS TABLE parted;
CREATE TABLE heir () INHERITS (parted_source);
INSERT INTO heir VALUES (0, 'n', 'more');
DELETE FROM parted WHERE id = 4000;
SELECT status, key FROM idempotent_reconcile('parted', 'parted_source');
CREATE TABLE parent (LIKE parted_source, PRIMARY KEY (id));
INSERT INTO parent SELECT * FROM ONLY parted_source;
CREATE TABLE child () INHERITS (parent);
INSERT INTO child VALUES (1, 'n', 'not compared');
SELECT status, key FROM idempotent_reconcile('parent', 'parted_source');
-- Rights are checked though nothing is read; policies hide rows on the side that they are on.
CREATE ROLE regress_pgi_auditor;
GRANT SELECT ON parted_source TO regress_pgi_auditor;
GRANT SELECT (id, region) ON parent TO regress_pgi_auditor;
SET ROLE regress_pgi_auditor;
SELECT count(*) FROM idempotent_reconcile('parent', 'parted_source', ignore => '{v}');
:state
RESET ROLE;
GRANT SELECT ON parent TO regress_pgi_auditor;
CREATE POLICY seen ON parent TO regress_pgi_auditor USING (id <> 77);
ALTER TABLE parent ENABLE ROW LEVEL SECURITY;
SET ROLE regress_pgi_auditor;
SELECT status, key FROM idempotent_reconcile('parent', 'parted_source');
RESET ROLE;
-- It is repaired likewise.
SELECT outcome, key FROM idempotent_repair('parent', 'parted_source', dry_run => false);
SELECT outcome, key FROM idempotent_repair('parent', 'parted_source', dry_run => false);
-- The functions behind it refuse what they did not make.
SELECT idempotent.sketch(NULL, 1);
:state
SELECT idempotent.sketch('\x00', 1);
:state
SELECT idempotent.in_sketch('\x01', 1);
:state
SELECT idempotent.in_sketch(NULL, 1);
:state
SELECT idempotent.sketch(decode('01000206' || repeat('00', 18), 'hex'), 1);
:state
SELECT idempotent.sketch(decode('01000106' || repeat('00', 18), 'hex'), VARIADIC ARRAY[1, 2]);
:state
SELECT length(idempotent.sketch(decode('01000106' || repeat('00', 18), 'hex'), i, 'x')) FROM generate_series(1, 3) AS i;
SELECT idempotent.sketch(decode('01000106' || repeat('00', 18), 'hex'), i) IS NULL FROM generate_series(1, 0) AS i;
-- Parallel workers add up to the same sketch.
SELECT idempotent.sketch(decode('01000106' || repeat('00', 18), 'hex'), id) AS alone FROM parent \gset
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT idempotent.sketch(decode('01000106' || repeat('00', 18), 'hex'), id) FROM ONLY parent;
SELECT idempotent.sketch(decode('01000106' || repeat('00', 18), 'hex'), id) = :'alone' AS same FROM parent;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
-- Its hashes are keyed with both numbers of the seed: keys with the first, rows with the second. Each call draws others.
CREATE FUNCTION sketched(seed text) RETURNS bytea[] LANGUAGE sql AS $$
    SELECT array_agg(sketch) FROM (SELECT idempotent.sketch(decode('01000106' || seed || '0000', 'hex'), i, 'x') AS sketch FROM generate_series(1, 3) AS i GROUP BY i ORDER BY i) AS s $$;
SELECT sketched(repeat('00', 16)) = sketched(repeat('00', 16)) AS same, sketched('01' || repeat('00', 15)) = sketched(repeat('00', 16)) AS same_keys,
       sketched(repeat('00', 15) || '01') = sketched(repeat('00', 16)) AS same_rows;
CREATE TABLE drawn (seed text);
CREATE FUNCTION seen_by(id int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    stack text;
BEGIN
    GET DIAGNOSTICS stack = PG_CONTEXT;
    INSERT INTO drawn SELECT DISTINCT part[1] FROM regexp_matches(stack, 'idempotent.sketch\(pg_catalog.decode\(''.{8}(.{32})', 'g') AS part;
    RETURN true;
END $$;
CREATE POLICY looked ON parted_source TO regress_pgi_auditor USING (id > 1 OR seen_by(id));
ALTER TABLE parted_source ENABLE ROW LEVEL SECURITY;
GRANT INSERT ON drawn TO regress_pgi_auditor;
SET ROLE regress_pgi_auditor;
SELECT status, key FROM idempotent_reconcile('parent', 'parted_source');
SELECT status, key FROM idempotent_reconcile('parent', 'parted_source');
RESET ROLE;
SELECT count(*), count(DISTINCT seed), count(DISTINCT left(seed, 16)), count(DISTINCT right(seed, 16)) FROM (SELECT DISTINCT seed FROM drawn) AS d;
DROP OWNED BY regress_pgi_auditor;
DROP ROLE regress_pgi_auditor;
-- A second row of the source under the key of a stored row is judged with this, however it is written.
CREATE FUNCTION twice(type text, of text, first text, again text) RETURNS TABLE (status text, key jsonb, differences jsonb) LANGUAGE plpgsql AS $$
BEGIN
    DROP TABLE IF EXISTS orders, ledger;
    EXECUTE format('CREATE TABLE orders (k %s PRIMARY KEY, v int, n text)', type);
    EXECUTE format('CREATE TABLE ledger (k %s, v int, n text)', of);
    EXECUTE format('INSERT INTO orders SELECT %s, i, repeat(''x'', 30) FROM generate_series(1, 12000) AS i', first);
    INSERT INTO ledger TABLE orders;
    EXECUTE format('INSERT INTO ledger SELECT %s, i, repeat(''x'', 30) FROM (VALUES (7)) AS v(i)', again);
    EXECUTE format('INSERT INTO ledger SELECT %s, i + 1, repeat(''x'', 30) FROM (VALUES (8)) AS v(i)', again);
    RETURN QUERY SELECT d.status, d.key, d.differences FROM idempotent_reconcile('orders', 'ledger') AS d;
END $$;
SET client_min_messages = warning;
SELECT type, of, (SELECT string_agg(concat_ws(' ', status, key, differences::text), '; ') FROM twice(type, of, first, again))
FROM (VALUES ('numeric(10,2)', 'numeric', 'i', 'i + 0.001'), ('int', 'bigint', 'i', 'i'),
             ('timestamp(0)', 'timestamp', '''2000-01-01''::timestamp + i * interval ''1 s''', '''2000-01-01 00:00:00.1''::timestamp + i * interval ''1 s'''),
             ('varchar(6)', 'text', 'rpad(i::text, 6)', 'rpad(i::text, 9)'), ('float4', 'float8', 'i', 'i + 1e-9'), ('char(6)', 'char(9)', 'i::text', 'i::text'),
             ('float8', 'float4', 'i', 'i'), ('text', 'varchar(20)', 'i::text', 'i::text'), ('numeric', 'numeric(9,3)', 'i', 'i'),
             ('jsonb', 'jsonb', 'to_jsonb(i)', 'to_jsonb(i + 0.00)'), ('inet', 'inet', '''10.0.0.0''::inet + i', '''10.0.0.0''::inet + i')) AS v(type, of, first, again);
RESET client_min_messages;
-- With a limit, no range of the key is taken for another one.
CREATE TABLE rounded (k timestamp(0) PRIMARY KEY, n text DEFAULT 'lost');
INSERT INTO rounded SELECT '2020-01-01'::timestamp + i * interval '1 s', repeat('x', 60) FROM generate_series(1, 12000) AS i;
CREATE TABLE exact (k timestamp NOT NULL);
INSERT INTO exact SELECT k - interval '0.4 s' FROM rounded;
SELECT status, key FROM idempotent_reconcile('rounded', 'exact', "limit" => 100);
SELECT status, key, outcome FROM idempotent_repair('rounded', 'exact', "limit" => 100, dry_run => false);
SELECT count(*) FROM rounded WHERE n = 'lost';
-- Nor are keys compared by their bytes where the index has another equality than the type.
DO $$
DECLARE
    name text;
    sign text;
BEGIN
    CREATE FUNCTION folded_order(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT bttextcmp(lower($1), lower($2))';
    FOR name, sign IN VALUES ('lt', '<'), ('le', '<='), ('eq', '='), ('ge', '>='), ('gt', '>') LOOP
        EXECUTE format('CREATE FUNCTION folded_%s(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $f$SELECT lower($1) %s lower($2)$f$', name, sign);
        EXECUTE format('CREATE OPERATOR #%s# (FUNCTION = folded_%s, LEFTARG = text, RIGHTARG = text)', sign, name);
    END LOOP;
    CREATE OPERATOR CLASS folded_ops FOR TYPE text USING btree AS OPERATOR 1 #<#, OPERATOR 2 #<=#, OPERATOR 3 #=#, OPERATOR 4 #>=#, OPERATOR 5 #>#, FUNCTION 1 folded_order(text, text);
END $$;
CREATE TABLE folded (k text NOT NULL, v int, n text);
CREATE UNIQUE INDEX ON folded (k folded_ops);
INSERT INTO folded SELECT 'k' || i, i, repeat('x', 400) FROM generate_series(1, 2000) AS i;
CREATE TABLE unfolded AS TABLE folded;
INSERT INTO unfolded SELECT upper(k), v + (v - 7), n FROM folded WHERE v IN (7, 8);
SELECT status, key, differences FROM idempotent_reconcile('folded', 'unfolded');
-- Keys that are computed are read.
CREATE TABLE logins (email text, gone boolean, v int);
CREATE UNIQUE INDEX ON logins (lower(email));
CREATE UNIQUE INDEX ON logins (email) WHERE NOT gone;
INSERT INTO logins SELECT 'User' || i, false, i FROM generate_series(1, 20000) AS i;
CREATE TABLE logged AS SELECT upper(email) AS email, gone, v FROM logins;
UPDATE logged SET email = 'other' WHERE v = 7;
SELECT status, key FROM idempotent_reconcile('logins', 'logged', key => '{lower(email)}', compare => '{v}');
UPDATE logged SET email = initcap(email);
UPDATE logged SET gone = true WHERE v = 8;
SELECT status, key FROM idempotent_reconcile('logins', 'logged', key => '{email}', compare => '{v}');
-- More columns than a sketch takes are read.
CREATE FUNCTION wide(columns int) RETURNS TABLE (status text, key jsonb, differences jsonb, outcome text) LANGUAGE plpgsql AS $$
BEGIN
    DROP TABLE IF EXISTS wide_target, wide_source;
    EXECUTE format('CREATE TABLE wide_target (k int PRIMARY KEY, %s)', (SELECT string_agg('c' || i || ' int DEFAULT 0', ', ') FROM generate_series(2, columns) AS i));
    INSERT INTO wide_target (k) SELECT generate_series(1, 3000);
    CREATE TABLE wide_source AS TABLE wide_target;
    UPDATE wide_source SET c97 = 1 WHERE k = 7;
    RETURN QUERY SELECT r.status, r.key, r.differences, r.outcome FROM idempotent_repair('wide_target', 'wide_source', dry_run => false) AS r;
END $$;
SET client_min_messages = warning;
SELECT columns, wide.* FROM (VALUES (97), (98), (99), (100), (150)) AS v(columns), wide(columns);
RESET client_min_messages;
-- Equal values are one, however they are stored, and whatever their type calls them; others are others.
CREATE TABLE stored (id int2, t text, b bytea, n numeric, f float4, c char(9000));
ALTER TABLE stored ALTER t SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTENDED, ALTER n SET STORAGE EXTERNAL;
INSERT INTO stored SELECT i, repeat('text ' || i, 500 * i), repeat('bytes', 900 * i)::bytea, repeat('9', 6000 * i + 1)::numeric, i, repeat('ß', i) FROM generate_series(0, 4) AS i;
CREATE FUNCTION pg_temp.plan() RETURNS bytea LANGUAGE sql IMMUTABLE RETURN decode('01000106' || repeat('1234567890abcdef', 2) || '0000', 'hex');
SELECT pg_temp.plan() AS plan \gset
SELECT idempotent.sketch(:'plan', id, t, b, n, f, c) = idempotent.sketch(:'plan', id::int8, t || '', b || '', n + 0.00, f::float8, c::char(9003)) AS same FROM stored;
SELECT idempotent.sketch(:'plan', id, left(t, 60), f) = idempotent.sketch(:'plan', id::int4, left(t, 60)::name, -(-f)) AS same FROM stored;
SELECT count(*), count(DISTINCT sketch) FROM (
    SELECT idempotent.sketch(:'plan', id, t, b, n, f, c) AS sketch FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', id, left(t, -1), b, n, f, c) FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', id, t, set_byte(b || '!', 0, 1), n, f, c) FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', id, t, b, -n, f, c) FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', id, t, b, n * 10000, f, c) FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', id, t, b, n, -f, c) FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', id, t, b, n, NULLIF(f, 4), c) FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', id, t, b, n, f, c || '.') FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', id, b, t, n, f, c) FROM stored
    UNION ALL SELECT idempotent.sketch(:'plan', f, t, b, n, id, c) FROM stored) AS sketches;
SELECT count(DISTINCT sketch) FROM (SELECT idempotent.sketch(:'plan', 1, v) AS sketch FROM (VALUES (0.0), (0), (0.00), (1), (1.0), (10), (10000), (1.0001), (100000001), ('NaN'), ('Infinity'), ('-Infinity'), (-1)) AS v(v) GROUP BY v, scale(v)) AS sketches;
SELECT count(DISTINCT sketch) FROM (SELECT idempotent.sketch(:'plan', 1, v::float8) AS sketch FROM unnest('{0,-0,1,NaN,Infinity}'::text[]) AS v GROUP BY v) AS sketches;
