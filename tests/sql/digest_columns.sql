-- idempotent_digest(a, b, …) is idempotent_digest(ROW(a, b, …)), column by column.
\set state '\\echo SQLSTATE :SQLSTATE'
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE entry (id int, name text, note text);
-- Without rows, and with rows that have nulls.
SELECT idempotent_digest(id, name, note), idempotent_digest(id, name, note) = idempotent_digest(entry) AS same FROM entry;
INSERT INTO entry VALUES (1, 'a', 'x'), (2, 'b', NULL), (3, NULL, ''), (3, NULL, ''), (NULL, NULL, NULL);
SELECT idempotent_digest(id, name, note), idempotent_digest(id, name, note) = idempotent_digest(entry) AS same FROM entry;
-- Every type that the server comes with, with and without nulls beside it.
CREATE FUNCTION same(list text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE same boolean;
BEGIN
    EXECUTE format('SELECT idempotent_digest(%1$s, i) = idempotent_digest(ROW(%1$s, i)) AND
                           idempotent_digest(nullif(i, 2), %1$s) = idempotent_digest(ROW(nullif(i, 2), %1$s))
                    FROM generate_series(1, 3) AS i', list) INTO same;
    RETURN same;
END $$;
SELECT list, same(list) FROM unnest(ARRAY[
    $$true, false$$,
    $$0::int2, 128, -2147483648, 9223372036854775807, 4000000000::oid$$,
    $$0.1, -1234567.891, 1e100, 'NaN'::numeric, '-Infinity'::numeric$$,
    $$0.1::float4, '-0'::float8, 'NaN'::float8, 12.34::numeric::money$$,
    $$'', 'literal', NULL, 'text'::text, 'text'::varchar(10), 'text'::char(10), 't'::"char", 'a name'::name$$,
    $$repeat('long ', 10000), '\x00ff'::bytea$$,
    $$make_date(2013, 11, 3), 'infinity'::date, '01:02:03.456789'::time, '01:02:03.456789-05'::timetz$$,
    $$make_timestamp(2013, 11, 3, 1, 2, 3.5), make_timestamptz(2013, 11, 3, 1, 2, 3.5, 'UTC'), '1 month'::interval$$,
    $$'d1c5bb4c-6b0c-4bd2-8e1c-000000000001'::uuid, B'10110', ''::varbit$$,
    $$'{"a" : [1, null]}'::json, '{"b": [1.50, "x", null], "a": {"k": {}}}'::jsonb$$,
    $$'10.1.2.3/24'::inet, '10.1.0.0/16'::cidr, '08:00:2b:01:02:03'::macaddr, '08:00:2b:01:02:03:04:05'::macaddr8$$,
    $$int4range(1, 5), numrange(1.5, NULL), 'empty'::int8range, '{[1,2),[5,9)}'::int4multirange$$,
    $$point(0.1, -0.0), '{1,2,3}'::line, '[(0,1),(2,3)]'::lseg, '(2,3),(0,1)'::box$$,
    $$'[(0,1),(2,3)]'::path, '((0,1),(2,3))'::polygon, '<(1,2),0.3>'::circle$$,
    $$'fat:2,4A cat:3 rat'::tsvector, 'fat & (rat | ! cat)'::tsquery, '$.a[*] ? (@.b > 1)'::jsonpath$$,
    $$'(1,2)'::tid, '42'::xid, '42'::xid8, '1/2A'::pg_lsn, 'pg_class'::regclass, 'now()'::regprocedure$$,
    $$'sad'::mood, ARRAY['happy', NULL]::mood[], 1::positive, '{1,2}'::positive[]$$,
    $$'{}'::int[], '{1,NULL,3}'::int[], '[0:1][2:3]={{a,b},{c,""}}'::text[]$$,
    $$ROW(1, 'x')::pair, ROW(ROW(NULL, ROW(2))), ARRAY[ROW(1, NULL)::pair, NULL], NULL::pair$$
]) AS list;
-- Order, number and place of the values count.
SELECT count(DISTINCT digest) FROM (
    SELECT idempotent_digest('ab', 'c') UNION ALL SELECT idempotent_digest('a', 'bc') UNION ALL SELECT idempotent_digest('c', 'ab')
    UNION ALL SELECT idempotent_digest('ab', 'c', NULL) UNION ALL SELECT idempotent_digest('ab', NULL, 'c')
    UNION ALL SELECT idempotent_digest(NULL, 'ab', 'c')
) AS made(digest);
-- Values that are compressed, out of line, or as a function has them in hand.
CREATE TABLE long AS SELECT 1 AS id, repeat('x', 10000) AS compressed, hashes AS out_of_line, ARRAY[hashes, NULL] AS list
    FROM (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) AS n) AS made(hashes);
SELECT idempotent_digest(id, compressed, out_of_line, list) = idempotent_digest(long) AS same FROM long;
DO $$
DECLARE list int[]; line pair;
BEGIN
    FOR i IN 1 .. 3 LOOP list[i] := i; END LOOP;
    line.a := 1;
    ASSERT idempotent_digest(list, line, 1) = idempotent_digest(ROW('{1,2,3}'::int[], ROW(1, NULL), 1));
END $$;
-- A composite type that changes while the query runs.
CREATE TYPE growing AS (a int);
CREATE FUNCTION grow(i int) RETURNS record LANGUAGE plpgsql AS $$
BEGIN
    IF i = 2 THEN ALTER TYPE growing ADD ATTRIBUTE b int; END IF;
    RETURN jsonb_populate_record(NULL::growing, '{"a": 1}');
END $$;
SELECT idempotent_digest(grown, 0) = (SELECT idempotent_digest(r, 0) FROM (VALUES (ROW(1)), (ROW(1, NULL))) AS v(r)) AS same
FROM (SELECT grow(i) FROM generate_series(1, 2) AS i) AS g(grown);
-- As any aggregate: in groups, filtered, distinct, ordered, over frames that move.
CREATE TABLE event (day int, n int);
INSERT INTO event SELECT i % 3, i / 2 FROM generate_series(1, 12) AS i;
SELECT day, idempotent_digest(day, n) = idempotent_digest(event) AS same,
       idempotent_digest(DISTINCT day, n) = idempotent_digest(DISTINCT event) AS "distinct",
       idempotent_digest(day, n ORDER BY n DESC) = idempotent_digest(event) AS ordered,
       idempotent_digest(day, n) FILTER (WHERE n > 1) = idempotent_digest(event) FILTER (WHERE n > 1) AS filtered
FROM event GROUP BY ROLLUP (day) ORDER BY day;
SELECT 'literals' AS made_to_text_by, idempotent_digest(DISTINCT 'abc', 'de') = idempotent_digest(ROW('abc', 'de')) AS "distinct",
       idempotent_digest('abc', 'de' ORDER BY 'abc') = idempotent_digest(ROW('abc', 'de')) AS ordered;
SELECT frames, count(*), bool_and(digest = wanted) AS same
FROM (
    SELECT 'moving' AS frames, idempotent_digest(day, n) OVER w AS digest, idempotent_digest(event) OVER w AS wanted FROM event
    WINDOW w AS (ORDER BY n, day ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)
    UNION ALL
    SELECT 'both ends', idempotent_digest(day, n) OVER w, idempotent_digest(event) OVER w FROM event
    WINDOW w AS (ORDER BY n, day ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING)
    UNION ALL
    SELECT 'growing', idempotent_digest(day, n) OVER w, idempotent_digest(event) OVER w FROM event
    WINDOW w AS (PARTITION BY day ORDER BY n)
    UNION ALL
    SELECT 'with a gap', idempotent_digest(day, n) OVER w, idempotent_digest(event) OVER w FROM event
    WINDOW w AS (ORDER BY n, day ROWS BETWEEN 2 PRECEDING AND 2 FOLLOWING EXCLUDE CURRENT ROW)
    UNION ALL
    SELECT 'filtered', idempotent_digest(day, n) FILTER (WHERE n <> 3) OVER w, idempotent_digest(event) FILTER (WHERE n <> 3) OVER w FROM event
    WINDOW w AS (ORDER BY n, day ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
) AS framed GROUP BY frames ORDER BY frames;
-- In a parallel plan.
BEGIN;
CREATE TABLE big AS SELECT i, i::text AS t, i / 7.0 AS r, 'pg_class'::regclass AS c FROM generate_series(1, 20000) AS i;
SELECT idempotent_digest(big) AS wanted FROM big \gset
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT idempotent_digest(i, t, r, c) FROM big;
SELECT idempotent_digest(i, t, r, c) = :'wanted' AS same FROM big;
ROLLBACK;
-- VARIADIC: the members of an array are columns; a NULL is no row. In a window the server passes the array as it is.
SELECT idempotent_digest(1, VARIADIC ARRAY[2, NULL]) = idempotent_digest(ROW(1, 2, NULL)) AS members,
       idempotent_digest('a', VARIADIC '{}'::mood[]) = idempotent_digest(ROW('a'::text)) AS none,
       idempotent_digest(1, VARIADIC NULL::int[]) = idempotent_digest(1, 2) FILTER (WHERE false) AS no_row;
SELECT idempotent_digest(n, VARIADIC array_fill(n, ARRAY[n])) = (SELECT idempotent_digest(r) FROM (VALUES (ROW(0)), (ROW(1, 1)), (ROW(2, 2, 2))) AS v(r)) AS same
FROM generate_series(0, 2) AS n;
SELECT idempotent_digest(n, VARIADIC ARRAY[2]) OVER () = idempotent_digest(ROW(n, ARRAY[2])) OVER () AS one_column FROM generate_series(1, 1) AS n;
-- What does not fit is refused.
\set VERBOSITY terse
SELECT idempotent_digest(1);
:state
SELECT idempotent_digest();
:state
SELECT idempotent_digest(*) FROM entry;
:state
SELECT idempotent_digest(1, VARIADIC 2);
:state
DROP TABLE entry, long, event;
