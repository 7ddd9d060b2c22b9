\set state '\\echo SQLSTATE :SQLSTATE'
-- One text for one multiset of rows, in whatever order.
CREATE TABLE entry (id int, name text, note text);
SELECT idempotent_digest(entry) FROM entry;
INSERT INTO entry VALUES (1, 'a', 'x'), (2, 'b', NULL), (3, NULL, ''), (3, NULL, '');
SELECT idempotent_digest(entry) FROM entry;
SELECT idempotent_digest(entry ORDER BY id DESC) FROM entry;
SELECT idempotent_digest(l) FROM (SELECT * FROM entry ORDER BY name, id DESC) AS l;
-- Rows of a table, of a query, and made on the spot are the same. NULL is no row.
SELECT idempotent_digest(ROW(id, name, note)) FROM entry;
SELECT idempotent_digest(v) FROM (VALUES (3, NULL, ''), (2, 'b', NULL), (3, NULL, ''), (1, 'a', 'x')) AS v;
SELECT idempotent_digest(entry) FROM (SELECT) AS one LEFT JOIN entry ON false;
SELECT idempotent_digest(NULL::entry), idempotent_digest(NULL), idempotent_digest(ROW(NULL)), idempotent_digest(ROW()) FROM generate_series(1, 2);
-- What must not be the same: every digest of these is another.
CREATE TABLE other (what text, digest text);
INSERT INTO other
    SELECT 'as it is', idempotent_digest(entry) FROM entry
    UNION ALL SELECT 'a value', idempotent_digest(ROW(id, replace(name, 'a', 'A'), note)) FROM entry
    UNION ALL SELECT 'a number', idempotent_digest(ROW(id + 1, name, note)) FROM entry
    UNION ALL SELECT 'columns swapped', idempotent_digest(ROW(id, note, name)) FROM entry
    UNION ALL SELECT 'null for nothing', idempotent_digest(ROW(id, name, nullif(note, ''))) FROM entry
    UNION ALL SELECT 'nothing for null', idempotent_digest(ROW(id, coalesce(name, ''), note)) FROM entry
    UNION ALL SELECT 'fewer columns', idempotent_digest(ROW(id, name)) FROM entry
    UNION ALL SELECT 'more columns', idempotent_digest(ROW(id, name, note, NULL)) FROM entry
    UNION ALL SELECT 'a row inside', idempotent_digest(ROW(entry)) FROM entry
    UNION ALL SELECT 'once', idempotent_digest(DISTINCT entry) FROM entry
    UNION ALL SELECT 'twice', idempotent_digest(entry) FROM entry, generate_series(1, 2)
    UNION ALL SELECT 'without one', idempotent_digest(entry) FILTER (WHERE id <> 2) FROM entry
    UNION ALL SELECT 'run together', idempotent_digest(ROW('ab', 'c'))
    UNION ALL SELECT 'run together', idempotent_digest(ROW('a', 'bc'))
    UNION ALL SELECT 'shifted', idempotent_digest(ROW(NULL, 'a'))
    UNION ALL SELECT 'shifted', idempotent_digest(ROW('a', NULL))
    UNION ALL SELECT 'shifted', idempotent_digest(ROW('', 'a'))
    UNION ALL SELECT 'shifted', idempotent_digest(ROW('a', ''))
    UNION ALL SELECT 'arrays', idempotent_digest(ROW(ARRAY['a', 'b']))
    UNION ALL SELECT 'arrays', idempotent_digest(ROW(ARRAY['a'], ARRAY['b']))
    UNION ALL SELECT 'arrays', idempotent_digest(ROW(ARRAY[['a', 'b']]))
    UNION ALL SELECT 'arrays', idempotent_digest(ROW('[0:1]={a,b}'::text[]))
    UNION ALL SELECT 'arrays', idempotent_digest(ROW(ARRAY['a', 'b', NULL]))
    UNION ALL SELECT 'arrays', idempotent_digest(ROW('{}'::text[]))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW(jsonb '1'))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW(jsonb '"1"'))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW(jsonb '[1]'))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW(jsonb 'null'))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW(jsonb '{}'))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW(jsonb '[]'))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW(jsonb '{"a": {"b": 1}}'))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW(jsonb '{"a": {}, "b": 1}'))
    UNION ALL SELECT 'bits', idempotent_digest(ROW(B'1'))
    UNION ALL SELECT 'bits', idempotent_digest(ROW(B'10'))
    UNION ALL SELECT 'ranges', idempotent_digest(ROW(numrange(1, 2)))
    UNION ALL SELECT 'ranges', idempotent_digest(ROW(numrange(1, 2, '[]')))
    UNION ALL SELECT 'ranges', idempotent_digest(ROW(numrange(1, NULL)))
    UNION ALL SELECT 'ranges', idempotent_digest(ROW(numrange(NULL, 1)))
    UNION ALL SELECT 'ranges', idempotent_digest(ROW(numrange 'empty'))
    UNION ALL SELECT 'numbers', idempotent_digest(ROW(10::numeric))
    UNION ALL SELECT 'numbers', idempotent_digest(ROW(-10::numeric))
    UNION ALL SELECT 'numbers', idempotent_digest(ROW(100000::numeric))
    UNION ALL SELECT 'numbers', idempotent_digest(ROW(0.0001::numeric))
    UNION ALL SELECT 'numbers', idempotent_digest(ROW(0::numeric))
    UNION ALL SELECT 'numbers', idempotent_digest(ROW('NaN'::numeric))
    UNION ALL SELECT 'numbers', idempotent_digest(ROW('Infinity'::numeric))
    UNION ALL SELECT 'numbers', idempotent_digest(ROW('-Infinity'::numeric))
    UNION ALL SELECT 'integers', idempotent_digest(ROW(0))
    UNION ALL SELECT 'integers', idempotent_digest(ROW(-1))
    UNION ALL SELECT 'integers', idempotent_digest(ROW(255))
    UNION ALL SELECT 'integers', idempotent_digest(ROW(-256))
    UNION ALL SELECT 'floats', idempotent_digest(ROW(0::float8))
    UNION ALL SELECT 'floats', idempotent_digest(ROW('NaN'::float8))
    UNION ALL SELECT 'floats', idempotent_digest(ROW('Infinity'::float8))
    UNION ALL SELECT 'paths', idempotent_digest(ROW(path '((0,0),(1,1))'))
    UNION ALL SELECT 'paths', idempotent_digest(ROW(path '[(0,0),(1,1)]'))
    UNION ALL SELECT 'times', idempotent_digest(ROW(timestamp '2013-11-03 01:00'))
    UNION ALL SELECT 'times', idempotent_digest(ROW(timestamptz '2013-11-03 01:00+00'))
    UNION ALL SELECT 'times', idempotent_digest(ROW(timetz '01:00+00'))
    UNION ALL SELECT 'times', idempotent_digest(ROW(timetz '02:00+01'));
SELECT count(*), count(DISTINCT digest) FROM other;
SELECT digest, array_agg(what) FROM other GROUP BY digest HAVING count(*) > 1;
-- What must be the same: what is equal, however it is written and whatever the width of its type.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN moods AS mood[];
SELECT what, (SELECT idempotent_digest(r) FROM (SELECT x) AS s(r)) = (SELECT idempotent_digest(r) FROM (SELECT y) AS s(r)) AS same
FROM (VALUES
    ('integers', ROW(1::int2, 300::int8, -5::int4)::record, ROW(1::int8, 300::int2, -5::int8)::record),
    ('oids', ROW(4000000000::oid), ROW(4000000000)),
    ('numeric', ROW(1.0, 100.00, 0.000, 12345678901234567890.10), ROW(1::numeric, 1e2, 0::numeric, 12345678901234567890.1)),
    ('floats', ROW(0.0::float8, 1.5::float8, 'NaN'::float8), ROW(-0.0::float8, 1.5::float4, 'NaN'::float4)),
    ('text', ROW('a'::text, 'b'::varchar(3), 'c'::char(9)), ROW('a'::char(5), 'b'::name, 'c'::"char")),
    ('an enum', ROW('sad'::mood), ROW('sad')),
    ('domains', ROW(1::positive, '{sad}'::moods), ROW(1, ARRAY['sad'])),
    ('composites', ROW(ROW(1, 'x')::pair), ROW(ROW(1, 'x'))),
    ('instants', ROW('2013-11-03 01:00-04'::timestamptz), ROW('2013-11-03 05:00+00'::timestamptz)),
    ('intervals', ROW('1 month'::interval, '24:00'::interval), ROW('30 days'::interval, '1 day'::interval)),
    ('jsonb', ROW('{"a": 1.0, "bb": [true, 10]}'::jsonb), ROW('{"bb": [true, 1e1], "a": 1}'::jsonb)),
    ('ranges', ROW(int4range(1, 3), numrange(1.0, 2)), ROW(int4range(1, 2, '[]'), numrange(1, 2.00))),
    ('multiranges', ROW('{[1,3),[3,5)}'::int4multirange), ROW('{[1,5)}'::int8multirange)),
    ('addresses', ROW('10.0.0.0/8'::inet), ROW('10.0.0.0/8'::cidr)),
    ('arrays', ROW('{1,2}'::int[], '{{a},{b}}'::char(2)[]), ROW('[1:2]={1,2}'::int8[], '{{a},{b}}'::text[]))
) AS v(what, x, y);
-- json and xml are text, as they were written.
SELECT idempotent_digest(ROW('{"a":1}'::json)) = idempotent_digest(ROW('{"a": 1}'::json)) AS same,
       idempotent_digest(ROW('{"a":1}'::json)) = idempotent_digest(ROW('{"a":1}')) AS text;
-- Digests outlive releases: these must never change, on no server.
CREATE TABLE golden (what text PRIMARY KEY, digest text);
CREATE FUNCTION golden() RETURNS TABLE (what text, digest text) LANGUAGE sql AS $$
    SELECT 'boolean', idempotent_digest(ROW(true, false))
    UNION ALL SELECT 'int2', idempotent_digest(ROW(0::int2, (-32768)::int2, 32767::int2))
    UNION ALL SELECT 'int4', idempotent_digest(ROW(127, 128, -128, -129, -2147483648, 2147483647))
    UNION ALL SELECT 'int8', idempotent_digest(ROW(-9223372036854775808, 9223372036854775807))
    UNION ALL SELECT 'numeric', idempotent_digest(ROW(0.1, -1234567.891, 1e100, 1e-100, 'NaN'::numeric, 'Infinity'::numeric, '-Infinity'::numeric))
    UNION ALL SELECT 'float4', idempotent_digest(ROW(0.1::float4, 'Infinity'::float4, '-Infinity'::float4))
    UNION ALL SELECT 'float8', idempotent_digest(ROW(0.1::float8, -1e-300, 'NaN'::float8, '-0'::float8))
    UNION ALL SELECT 'money', idempotent_digest(ROW(12.34::numeric::money))
    UNION ALL SELECT 'text', idempotent_digest(ROW('', 'text', 'Grüße, мир, 世界', repeat('long ', 10000)))
    UNION ALL SELECT 'varchar', idempotent_digest(ROW('text'::varchar(10)))
    UNION ALL SELECT 'char', idempotent_digest(ROW('text'::char(10), 't'::"char"))
    UNION ALL SELECT 'name', idempotent_digest(ROW('a name'::name))
    UNION ALL SELECT 'bytea', idempotent_digest(ROW('\x00ff'::bytea, ''::bytea))
    UNION ALL SELECT 'date', idempotent_digest(ROW(make_date(2013, 11, 3), make_date(1999, 12, 31), 'infinity'::date, '-infinity'::date))
    UNION ALL SELECT 'time', idempotent_digest(ROW('01:02:03.456789'::time))
    UNION ALL SELECT 'timetz', idempotent_digest(ROW('01:02:03.456789-05'::timetz))
    UNION ALL SELECT 'timestamp', idempotent_digest(ROW(make_timestamp(2013, 11, 3, 1, 2, 3.5), 'infinity'::timestamp))
    UNION ALL SELECT 'timestamptz', idempotent_digest(ROW(make_timestamptz(2013, 11, 3, 1, 2, 3.5, 'UTC'), '-infinity'::timestamptz))
    UNION ALL SELECT 'interval', idempotent_digest(ROW(make_interval(1, 2, 0, 3, 4, 5, 6.7), make_interval(days => -1)))
    UNION ALL SELECT 'uuid', idempotent_digest(ROW('d1c5bb4c-6b0c-4bd2-8e1c-000000000001'::uuid))
    UNION ALL SELECT 'json', idempotent_digest(ROW('{"a" : [1, null]}'::json))
    UNION ALL SELECT 'jsonb', idempotent_digest(ROW('{"b": [1.50, "x", true, false, null], "a": {"k": {}}, "": []}'::jsonb, '"x"'::jsonb, 'null'::jsonb, '-1.50'::jsonb))
    UNION ALL SELECT 'bit', idempotent_digest(ROW(B'10110', B'1011010111'::varbit, ''::varbit))
    UNION ALL SELECT 'inet', idempotent_digest(ROW('10.1.2.3/24'::inet, 'fe80::1'::inet, '10.1.0.0/16'::cidr))
    UNION ALL SELECT 'macaddr', idempotent_digest(ROW('08:00:2b:01:02:03'::macaddr, '08:00:2b:01:02:03:04:05'::macaddr8))
    UNION ALL SELECT 'ranges', idempotent_digest(ROW(int4range(1, 5), numrange(1.5, NULL), daterange(NULL, make_date(2013, 11, 3)), 'empty'::int8range))
    UNION ALL SELECT 'multiranges', idempotent_digest(ROW('{}'::int4multirange, '{[1,2),[5,9)}'::int4multirange))
    UNION ALL SELECT 'geometry', idempotent_digest(ROW(point(0.1, -0.0), '{1,2,3}'::line, '[(0,1),(2,3)]'::lseg, '(2,3),(0,1)'::box, '[(0,1),(2,3)]'::path, '((0,1),(2,3))'::polygon, '<(1,2),0.3>'::circle))
    UNION ALL SELECT 'search', idempotent_digest(ROW('fat:2,4A cat:3 rat'::tsvector, 'fat & (rat | ! cat)'::tsquery))
    UNION ALL SELECT 'system', idempotent_digest(ROW('(1,2)'::tid, '42'::xid, '42'::xid8, '1/2A'::pg_lsn, '$.a[*] ? (@.b > 1)'::jsonpath))
    UNION ALL SELECT 'names of objects', idempotent_digest(ROW('pg_class'::regclass, 'int4'::regtype, 'now()'::regprocedure, 'pg_catalog'::regnamespace, 'entry'::regclass))
    UNION ALL SELECT 'enum', idempotent_digest(ROW('sad'::mood, ARRAY['happy', NULL]::mood[]))
    UNION ALL SELECT 'array', idempotent_digest(ROW('{}'::int[], '{1,NULL,3}'::int[], '[0:1][2:3]={{a,b},{c,""}}'::text[]))
    UNION ALL SELECT 'composite', idempotent_digest(ROW(ROW(1, 'x')::pair, ROW(ROW(NULL, ROW(2))), ARRAY[ROW(1, NULL)::pair, NULL]))
    UNION ALL SELECT 'several', idempotent_digest(ROW(i, i::text, i / 7.0, nullif(i % 3, 0))) FROM generate_series(1, 1000) AS i
$$;
INSERT INTO golden SELECT * FROM golden();
TABLE golden;
-- No setting of the session changes one.
BEGIN;
SET LOCAL datestyle = 'SQL, DMY';
SET LOCAL intervalstyle = sql_standard;
SET LOCAL timezone = 'America/New_York';
SET LOCAL extra_float_digits = -15;
SET LOCAL bytea_output = escape;
SET LOCAL quote_all_identifiers = on;
SET LOCAL search_path = public, pg_catalog;
SET LOCAL client_encoding = LATIN1;
SELECT what FROM golden() AS now JOIN golden USING (what) WHERE now.digest <> golden.digest;
SHOW datestyle;
ROLLBACK;
-- Rows as tables have them: dropped and added columns, other places in a partition, values that are compressed or out of line.
CREATE TABLE altered (x int, gone text, y text);
INSERT INTO altered VALUES (1, 'gone', 'y');
SELECT idempotent_digest(ROW(x, y)) AS wanted FROM altered \gset
ALTER TABLE altered DROP COLUMN gone;
SELECT idempotent_digest(altered) = :'wanted' AS same FROM altered;
ALTER TABLE altered ADD COLUMN z int DEFAULT 7, ADD COLUMN w text;
INSERT INTO altered VALUES (1, 'y', 7, NULL);
SELECT x, count(*), idempotent_digest(altered) = idempotent_digest(ROW(1, 'y', 7, NULL)) AS same FROM altered GROUP BY x;
CREATE TABLE parted (id int, v text) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (gone int, v text, id int);
ALTER TABLE parted_2 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
INSERT INTO parted VALUES (1, 'a'), (2, 'b');
SELECT idempotent_digest(parted) = (SELECT idempotent_digest(entry) FROM (VALUES (2, 'b'), (1, 'a')) AS entry) AS same FROM parted;
CREATE TABLE long (id int, compressed text, out_of_line text, inside pair, document jsonb, list text[]);
INSERT INTO long
    SELECT 1, repeat('x', 10000), hashes, ROW(1, hashes)::pair, jsonb_build_object('h', hashes), ARRAY[hashes, NULL]
    FROM (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) AS n) AS made(hashes);
SELECT pg_column_size(compressed) < 1000 AS compressed, pg_relation_size(reltoastrelid) > 200000 AS out_of_line FROM long, pg_class WHERE oid = 'long'::regclass;
SELECT idempotent_digest(long) = idempotent_digest(ROW(1, repeat('x', 10000), out_of_line || '', ROW(1, out_of_line || ''), jsonb_build_object('h', out_of_line || ''), ARRAY[out_of_line || '', NULL])) AS same FROM long GROUP BY out_of_line;
-- A label counts, not the number that the enum gives it.
CREATE TYPE other_mood AS ENUM ('happy', 'sad');
SELECT idempotent_digest(ROW('sad'::mood, '{sad}'::mood[])) = idempotent_digest(ROW('sad'::other_mood, '{sad}'::other_mood[])) AS same;
-- As any aggregate: in groups, filtered, distinct, over frames that move.
CREATE TABLE event (day int, n int);
INSERT INTO event SELECT i % 3, i / 2 FROM generate_series(1, 12) AS i;
SELECT day, idempotent_digest(event), idempotent_digest(DISTINCT event) FILTER (WHERE n > 1) FROM event GROUP BY day ORDER BY day;
SELECT day, idempotent_digest(event) = (SELECT idempotent_digest(e) FROM event e WHERE e.day = event.day OR event.day IS NULL) AS same
FROM event GROUP BY ROLLUP (day) ORDER BY day;
SELECT frames, count(*), bool_and(digest = (SELECT idempotent_digest(e) FROM unnest(rows) AS e)) AS same
FROM (
    SELECT 'moving' AS frames, idempotent_digest(event) OVER w AS digest, array_agg(event) OVER w AS rows FROM event
    WINDOW w AS (ORDER BY n, day ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)
    UNION ALL
    SELECT 'both ends', idempotent_digest(event) OVER w, array_agg(event) OVER w FROM event
    WINDOW w AS (ORDER BY n, day ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING)
    UNION ALL
    SELECT 'growing', idempotent_digest(event) OVER w, array_agg(event) OVER w FROM event
    WINDOW w AS (PARTITION BY day ORDER BY n)
    UNION ALL
    SELECT 'with a gap', idempotent_digest(event) OVER w, array_agg(event) OVER w FROM event
    WINDOW w AS (ORDER BY n, day ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING EXCLUDE CURRENT ROW)
    UNION ALL
    SELECT 'filtered', idempotent_digest(event) FILTER (WHERE n <> 3) OVER w, array_agg(event) FILTER (WHERE n <> 3) OVER w FROM event
    WINDOW w AS (ORDER BY n, day ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
) AS framed GROUP BY frames ORDER BY frames;
SELECT n, idempotent_digest(maybe) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) = idempotent_digest(maybe) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS same
FROM (SELECT n, CASE WHEN n % 2 = 0 THEN event END AS maybe FROM event WHERE day = 0) AS e ORDER BY n;
-- A type that changes while a query runs: rows are written as they are.
CREATE TYPE growing AS (a int);
CREATE FUNCTION grow(i int) RETURNS record LANGUAGE plpgsql AS $$
BEGIN
    IF i = 2 THEN ALTER TYPE growing ADD ATTRIBUTE b int; END IF;
    RETURN jsonb_populate_record(NULL::growing, '{"a": 1}');
END $$;
SELECT idempotent_digest(grown) = (SELECT idempotent_digest(row) FROM (VALUES (ROW(1)), (ROW(1, NULL))) AS v(row)) AS same
FROM (SELECT grow(i) FROM generate_series(1, 2) AS i) AS g(grown);
-- What does not fit is refused.
\set VERBOSITY terse
SELECT idempotent_digest(1);
:state
SELECT idempotent_digest(ARRAY[ROW(1)]);
:state
DROP TABLE entry, other, golden, altered, parted, long, event;
