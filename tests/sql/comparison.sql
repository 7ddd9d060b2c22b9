-- Comparison: the payload is coerced to the column's type with its modifier, as INSERT would; then the type's own
-- equality decides, NULL equal to NULL.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA comparison;
SET search_path = comparison, public;
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';

CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0);
CREATE DOMAIN prices AS price[];
CREATE TYPE pair AS (x int, y numeric(4,1));
CREATE DOMAIN positive_pair AS pair CHECK ((VALUE).x > 0);
CREATE TYPE floatrange2 AS RANGE (SUBTYPE = numeric);

CREATE TABLE t (
    id int PRIMARY KEY,
    num numeric, money2 numeric(12,2), whole numeric(5,0), hundreds numeric(5,-2),
    small int2, big int8, real4 real, real8 double precision,
    txt text, vc varchar(5), ch char(5), nm name, quick "char",
    flag boolean, day date, moment timestamptz, local timestamp, second timestamptz(0), clock time, clockz timetz, span interval,
    hours interval(0), uid uuid, raw bytea, bits bit(4), vbits varbit(4),
    js json, jb jsonb, ints int[], prices2 numeric(6,2)[], texts text[], grid int[][],
    md mood, pr price, prs prices, pa pair, ppa positive_pair, pas pair[],
    irange int4range, nrange numrange, trange tstzrange, irs int4multirange, fr floatrange2,
    ip inet, net cidr, mac macaddr, pt point, bx box, ln lseg, ci circle, po polygon, path path,
    tv tsvector, tq tsquery, ob oid, rc regclass, rt regtype, lsn pg_lsn, cash money, jp jsonpath, xi xid, xi8 xid8
);

-- How two spellings of a value in one column compare: stored first, then sent.
CREATE FUNCTION same(col text, stored jsonb, sent jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE first record; second record;
BEGIN
    DELETE FROM t;
    SELECT * INTO first FROM idempotent_insert('t', jsonb_build_object('id', 1, col, stored));
    IF first.outcome <> 'inserted' THEN RETURN 'not inserted: ' || first.outcome; END IF;
    SELECT * INTO second FROM idempotent_insert('t', jsonb_build_object('id', 1, col, sent), on_conflict => 'report');
    -- The batch functions and a source table must say the same.
    IF second.outcome <> (SELECT outcome FROM idempotent_insert_each('t', jsonb_build_array(jsonb_build_object('id', 1, col, sent)),
                                                                on_conflict => 'report')) THEN
        RETURN 'insert and insert_each differ';
    END IF;
    IF (SELECT outcome FROM idempotent_insert_each('t', jsonb_build_array(
            jsonb_build_object('id', 2, col, stored), jsonb_build_object('id', 2, col, sent)), on_conflict => 'report')
        OFFSET 1) <> second.outcome THEN
        RETURN 'within a batch it differs';
    END IF;
    DROP TABLE IF EXISTS pg_temp.source;
    EXECUTE format('CREATE TEMP TABLE source AS SELECT id, %I FROM t WITH NO DATA', col);
    INSERT INTO source SELECT * FROM jsonb_populate_record(NULL::source, jsonb_build_object('id', 1, col, sent));
    IF (second.outcome = 'conflict') <> ((SELECT conflicts FROM idempotent_insert_from('t', 'source', on_conflict => 'report')) = 1) THEN
        RETURN 'insert and insert_from differ';
    END IF;
    RETURN second.outcome || coalesce(' ' || second.differences::text, '');
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ' ' || sqlerrm;
END $$;

CREATE TABLE cases (no serial, col text, stored jsonb, sent jsonb);
INSERT INTO cases (col, stored, sent) VALUES
    -- numbers
    ('num', '1.0', '1.00'), ('num', '1', '"1.000"'), ('num', '1e2', '100'), ('num', '1.0', '1.0001'), ('num', '-0', '0'),
    ('num', '"NaN"', '"NaN"'), ('num', '"NaN"', '0'), ('num', '"Infinity"', '"inf"'), ('num', '"Infinity"', '"-Infinity"'),
    ('num', '12345678901234567890.123456789', '"12345678901234567890.1234567890"'),
    ('money2', '10', '10.004'), ('money2', '10.005', '10.01'), ('money2', '10', '10.01'), ('money2', '10.004', '10.00'),
    ('whole', '99999', '99999.4'), ('whole', '1', '99999.5'), ('hundreds', '1200', '1234'), ('hundreds', '1200', '1250'),
    ('small', '5', '"5"'), ('small', '5', '" 5 "'), ('small', '5', '5.0'), ('big', '9223372036854775807', '"9223372036854775807"'),
    ('big', '9223372036854775807', '9223372036854775806'),
    ('real4', '0.1', '0.10000000149'), ('real4', '0.1', '0.1001'), ('real8', '-0.0', '0'), ('real8', '"-0"', '0'), ('real8', '"NaN"', '"nan"'),
    ('real8', '"NaN"', '1'), ('real8', '"infinity"', '"Infinity"'), ('real8', '"-infinity"', '"Infinity"'), ('real8', '0.1', '0.1000000000000000055'),
    ('cash', '"$1.00"', '1'), ('cash', '"$1.00"', '"1.004"'),
    -- text
    ('txt', '"a"', '"A"'), ('txt', '"a"', '"a "'), ('txt', '""', 'null'), ('txt', '"null"', 'null'), ('txt', 'null', 'null'),
    ('txt', '"1"', '1'), ('txt', '"1"', '1.0'), ('txt', '"true"', 'true'), ('txt', '"{\"a\": 1}"', '{"a":1}'), ('txt', '"é"', '"e\u0301"'),
    ('vc', '"abcde"', '"abcde   "'), ('vc', '"abcde"', '"abcdef"'), ('vc', '"abc"', '"abc "'),
    ('ch', '"abc"', '"abc  "'), ('ch', '"abc"', '"abc       "'), ('ch', '"abc"', '"abd"'), ('ch', '"abcde"', '"abcdef"'),
    ('nm', '"abc"', '"abc"'), ('quick', '"a"', '"b"'), ('flag', 'true', '"yes"'), ('flag', 'true', '"off"'), ('flag', 'true', '1'),
    -- dates and times
    ('day', '"2013-11-03"', '"Nov 3, 2013"'), ('day', '"infinity"', '"infinity"'), ('day', '"infinity"', '"-infinity"'),
    ('moment', '"2013-11-03T01:30:00-04:00"', '"2013-11-03T05:30:00Z"'), ('moment', '"2013-11-03T01:30:00-04:00"', '"2013-11-03T01:30:00-05:00"'),
    ('moment', '"infinity"', '"infinity"'), ('moment', '"2013-11-03 01:30 America/New_York"', '"2013-11-03 06:30Z"'),
    ('local', '"2013-11-03 01:30"', '"2013-11-03T01:30:00+05"'), ('second', '"2013-11-03 01:30:00.4Z"', '"2013-11-03 01:30:00.3Z"'),
    ('second', '"2013-11-03 01:30:00.6Z"', '"2013-11-03 01:30:01Z"'), ('clock', '"24:00"', '"00:00"'), ('clock', '"1:30 pm"', '"13:30:00"'),
    ('clockz', '"12:00+01"', '"11:00+00"'), ('clockz', '"12:00+01"', '"12:00+01:00"'),
    ('span', '"1 day"', '"24 hours"'), ('span', '"1 month"', '"30 days"'), ('span', '"1 month"', '"31 days"'), ('span', '"1 year"', '"12 mons"'),
    ('span', '"PT36H"', '"1 day 12:00"'), ('hours', '"1.4 seconds"', '"1 second"'),
    -- identifiers and bits
    ('uid', '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"', '"{a0eebc999c0b4ef8bb6d6bb9bd380a11}"'),
    ('raw', '"\\x00ff"', '"\\x00FF"'), ('raw', '"\\x00ff"', '"\\000\\377"'), ('raw', '"\\x00"', '"\\x0000"'),
    ('bits', '"0101"', '"0101"'), ('bits', '"0101"', '"01011"'), ('vbits', '"01"', '"010"'),
    -- JSON
    ('js', '{"a": 1, "b": [1, 2]}', '{"b": [1.0, 2], "a": 1.00}'), ('js', '[1, 2]', '[2, 1]'), ('js', '1', '1.0'), ('js', '"x"', '"x"'), ('js', '1', '"1"'),
    ('jb', '{"a": {"x": 1, "y": null}}', '{"a": {"y": null, "x": 1e0}}'), ('jb', '{"a": null}', '{}'), ('jb', '{}', '[]'), ('jb', '"1"', '1'), ('jb', '[1]', '[[1]]'),
    ('jb', 'null', 'null'), ('jp', '"$.a"', '"$.\"a\""'),
    -- arrays
    ('ints', '[1, 2]', '"{1,2}"'), ('ints', '[1, 2]', '[2, 1]'), ('ints', '[1, null]', '"{1,NULL}"'), ('ints', '[]', '"{}"'), ('ints', '[]', 'null'),
    ('ints', '"[0:1]={1,2}"', '[1, 2]'), ('prices2', '[1, 2.5]', '[1.00, 2.504]'), ('prices2', '[1, 2.5]', '"{1,2.51}"'), ('texts', '["a,b", "c\"d", "NULL", null]', '"{\"a,b\",\"c\\\"d\",\"NULL\",NULL}"'),
    ('grid', '[[1, 2], [3, 4]]', '"{{1,2},{3,4}}"'), ('grid', '[[1, 2], [3, 4]]', '[1, 2, 3, 4]'), ('grid', '[[1, 2], [3]]', 'null'),
    -- enums, domains, composites
    ('md', '"glad"', '"sad"'), ('md', '"glad"', '"GLAD"'), ('pr', '1', '"1.004"'), ('pr', '1', '-1'), ('prs', '[1, 2]', '[1.00, 2.00]'), ('prs', '[1]', '[-1]'),
    ('pa', '{"x": 1, "y": 2}', '{"y": 2.04, "x": "1"}'), ('pa', '{"x": 1}', '{"x": 1, "y": null}'), ('pa', '{"x": 1, "y": 2}', '"(1,2)"'), ('pa', '{"x": 1, "y": 2}', '{"x": 1, "y": 2.1}'),
    ('pa', '{"x": null}', 'null'), ('ppa', '{"x": 1}', '{"x": 0}'), ('pas', '[{"x": 1, "y": 2}]', '"{\"(1,2.0)\"}"'), ('pa', '{"x": 1, "z": 5}', '{"x": 1}'),
    -- ranges
    ('irange', '"[1,5)"', '"(0,4]"'), ('irange', '"empty"', '"[3,3)"'), ('irange', '"[1,5)"', '"[1,6)"'), ('nrange', '"[1,5)"', '"[1.0,5.00)"'), ('nrange', '"[1,5)"', '"[1,5]"'),
    ('trange', '"[2013-11-03 05:30Z,infinity)"', '"[2013-11-03 01:30-04,infinity)"'), ('irs', '"{[1,3),[3,5)}"', '"{[1,5)}"'), ('fr', '"[1,2]"', '"[1.0,2.0]"'),
    -- networks and geometry; what has no default equality compares by its binary image
    ('ip', '"10.0.0.1"', '"10.0.0.1/32"'), ('ip', '"10.0.0.1"', '"10.0.0.1/24"'), ('net', '"10.0.0.0/8"', '"10/8"'), ('mac', '"08:00:2b:01:02:03"', '"08002b-010203"'),
    ('pt', '"(1,2)"', '"1.0,2.0"'), ('pt', '"(1,2)"', '"(1,3)"'), ('bx', '"(1,1),(0,0)"', '"(0,0),(1,1)"'), ('bx', '"(1,1),(0,0)"', '"(2,1),(0,0)"'), ('ln', '"[(0,0),(1,1)]"', '"[(1,1),(0,0)]"'),
    ('ci', '"<(0,0),1>"', '"0,0,1"'), ('ci', '"<(0,0),1>"', '"<(5,5),1>"'), ('po', '"((0,0),(1,1),(1,0))"', '"0,0,1,1,1,0"'), ('path', '"[(0,0),(1,1)]"', '"((0,0),(1,1))"'),
    -- text search and catalog types
    ('tv', '"b a b"', '"a b"'), ('tv', '"a"', '"a:1"'), ('tq', '"a & b"', '"a&b"'), ('ob', '1', '"1"'), ('rc', '"pg_class"', '"pg_catalog.pg_class"'), ('rt', '"int"', '"integer"'),
    ('lsn', '"0/0"', '"00/000"'), ('xi', '"5"', '5'), ('xi', '5', '6'), ('xi8', '5', '"5"'),
    -- garbage
    ('small', '1', '"one"'), ('small', '1', '40000'), ('small', '1', '[]'), ('day', '"2013-11-03"', '"someday"'), ('ints', '[1]', '{"a": 1}'), ('ints', '[1]', '["x"]'), ('ints', '[1]', '5'), ('pa', '{"x": 1}', '[1, 2]'), ('uid', 'null', '"x"');
\pset format unaligned
SELECT no, col, stored, sent, same(col, stored, sent) FROM cases ORDER BY no;
\pset format aligned

-- Extreme numbers do not overflow on their way.
SELECT same('num', to_jsonb(repeat('9', 1000)::numeric), to_jsonb(repeat('9', 1000)));
SELECT left(same('num', to_jsonb(repeat('9', 1000)::numeric), to_jsonb(repeat('9', 1001))), 30);

-- An omitted column takes its default on insert and is not compared; an explicit null is NULL and is compared.
CREATE TABLE defaults (id int PRIMARY KEY, a text DEFAULT 'x', b text DEFAULT 'y', c text NOT NULL DEFAULT 'z');
SELECT outcome, stored FROM idempotent_insert('defaults', '{"id": 1}');
SELECT outcome, differences FROM idempotent_insert('defaults', '{"id": 1, "a": "x"}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('defaults', '{"id": 1, "a": null}', on_conflict => 'report');
SELECT outcome, stored FROM idempotent_insert('defaults', '{"id": 2, "a": null}');
SELECT outcome, stored FROM idempotent_insert('defaults', '{"id": 2}');
SELECT outcome, differences FROM idempotent_insert('defaults', '{"id": 2, "a": "x", "b": null, "c": "q"}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('defaults', '{"id": 2, "c": null}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('defaults', '{"id": 3, "c": null}');
:state

-- compare and ignore.
SELECT outcome, differences FROM idempotent_insert('defaults', '{"id": 1, "a": "p", "b": "q"}', compare => '{b}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('defaults', '{"id": 1, "a": "p", "b": "q"}', ignore => '{b}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('defaults', '{"id": 1, "a": "p", "b": "y"}', compare => '{b, c}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('defaults', '{"id": 1, "a": "p", "b": "q"}', ignore => '{a, b, c}', on_conflict => 'report');
-- What is not compared is inserted all the same.
SELECT outcome, stored FROM idempotent_insert('defaults', '{"id": 9, "a": "p", "b": "q"}', compare => '{c}');

-- Settings that change how values are read and written do not change what is equal.
CREATE TABLE settings (id int PRIMARY KEY, day date, moment timestamptz, span interval, f float8, b bytea, m money);
SET datestyle = 'German'; SET extra_float_digits = 0; SET bytea_output = 'escape'; SET intervalstyle = 'sql_standard'; SET timezone = 'Asia/Kathmandu';
SELECT outcome FROM idempotent_insert('settings', '{"id": 1, "day": "03.11.2013", "moment": "2013-11-03 12:00:00+00", "span": "1 day 2 hours", "f": 0.30000000000000004, "b": "\\x00ff", "m": 1}');
SET datestyle = 'ISO, MDY'; RESET extra_float_digits; SET bytea_output = 'hex'; SET intervalstyle = 'iso_8601'; SET timezone = 'America/New_York';
SELECT outcome, differences FROM idempotent_insert('settings', '{"id": 1, "day": "2013-11-03", "moment": "2013-11-03 07:00:00", "span": "P1DT2H", "f": 0.30000000000000004, "b": "\\000\\377", "m": "1.00"}', on_conflict => 'report');
SET extra_float_digits = -15;
SELECT outcome FROM idempotent_insert('settings', '{"id": 1, "f": 0.3}', on_conflict => 'report');

SET client_min_messages = warning;
DROP SCHEMA comparison CASCADE;
