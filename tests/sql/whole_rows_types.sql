-- A row of the table is a payload, whatever the types of its columns: to_jsonb(row) is a duplicate of the row that it was
-- read from, and goes into an empty copy as the same row. Tried for every type of the server that a column may have, alone
-- and as the member of arrays, composites and domains.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA types;
SET search_path = types, public;
SET lc_monetary = 'C';
SET client_min_messages = warning;
-- Types of contrib, as far as this server has it.
DO $$ DECLARE e text; BEGIN
    FOR e IN SELECT name FROM pg_available_extensions WHERE name = ANY ('{citext,cube,earthdistance,hstore,intarray,isn,lo,ltree,seg}') ORDER BY name LOOP
        EXECUTE format('CREATE EXTENSION %I SCHEMA types', e);
    END LOOP;
    IF to_regtype('hstore') IS NOT NULL THEN CREATE TYPE hrange AS RANGE (subtype = hstore); END IF;
END $$;
-- A type that JSON shows as an array, by a cast, and that has a cast back.
CREATE TYPE span;
CREATE FUNCTION span_in(cstring) RETURNS span LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION span_out(span) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE span (INPUT = span_in, OUTPUT = span_out, LIKE = int4);
RESET client_min_messages;
CREATE CAST (span AS int4) WITHOUT FUNCTION;
CREATE CAST (int4 AS span) WITHOUT FUNCTION;
CREATE FUNCTION to_json(span) RETURNS json LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT json_build_array('days', $1::int4) $$;
CREATE CAST (span AS json) WITH FUNCTION to_json(span);
CREATE FUNCTION from_json(jsonb) RETURNS span LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT ($1->>1)::int4::span $$;
CREATE CAST (jsonb AS span) WITH FUNCTION from_json(jsonb);
CREATE TYPE mood AS ENUM ('sad', 'so so', 'glad');
-- The rows of a table that has lost a column.
CREATE TABLE parts (a int, gone int, i int2vector, m mood[], "S" span DEFAULT '5');
ALTER TABLE parts DROP gone;
CREATE TABLE samples (n int GENERATED ALWAYS AS IDENTITY, type text, sample text);
INSERT INTO samples (type, sample) VALUES
    ('bool', 't'), ('"char"', 'a'), ('"char"', '"'), ('name', 'a "name"'), ('int2', '-32768'), ('int4', '2147483647'), ('int8', '-9223372036854775808'),
    ('numeric', '1.50'), ('numeric', '-0.000000000000000000001'), ('numeric', 'NaN'), ('numeric', 'Infinity'), ('numeric(9,3)', '1.5'),
    ('float4', '0.1'), ('float4', '1e30'), ('float4', 'NaN'), ('float4', '-Infinity'), ('float8', '0.1'), ('float8', '-1e-300'), ('float8', 'Infinity'),
    ('money', '-1234.50'), ('text', ''), ('text', 'null'), ('text', E'{"a",\\b}\n(,) é😀'), ('varchar(5)', 'NULL'), ('bpchar', 'a'), ('char(4)', 'a'), ('bytea', '\x0001ff5c22'), ('bytea', ''),
    ('bit(3)', '101'), ('bit', '1'), ('varbit', ''), ('varbit', '0101'), ('varbit(9)', '111'),
    ('date', '2013-11-03'), ('date', '-infinity'), ('date', '0044-03-15 BC'), ('time', '24:00'), ('time(2)', '12:34:56.78'), ('timetz', '01:02:03.000004+05:30'),
    ('timestamp', '2013-11-03 01:30:00.000001'), ('timestamp', 'infinity'), ('timestamp(0)', '0001-01-01 BC'), ('timestamptz', '2013-11-03 01:30-07'), ('timestamptz', 'infinity'),
    ('interval', '1 year -2 mons +3 days -04:05:06.789'), ('interval', '0'), ('interval day to second', '1 day 1 sec'),
    ('uuid', '7f3e5a00-0000-4000-8000-000000000001'), ('json', '{"a": [1, {"b": null}], "c": "\"{}"}'), ('json', '[1, [2]]'), ('json', '"x"'), ('jsonb', '{"a": [1.0, {"b": null}]}'), ('jsonb', '[]'), ('jsonb', '[[1], 2]'), ('jsonb', '"[1]"'), ('jsonb', '1.0'), ('jsonb', 'false'),
    ('jsonpath', '$."a"[*] ? (@ > 1)'), ('xml', '<a b="c">d&amp;</a>'),
    ('point', '(1.5,-2)'), ('lseg', '[(0,0),(1,1)]'), ('path', '[(0,0),(1,1)]'), ('path', '((0,0),(1,1))'), ('box', '(1,1),(0,0)'), ('polygon', '((0,0),(1,1),(1,0))'), ('line', '{1,-1,0}'), ('circle', '<(0,0),1>'),
    ('cidr', '10.0.0.0/8'), ('inet', '2001:db8::1/64'), ('macaddr', '08:00:2b:01:02:03'), ('macaddr8', '08:00:2b:01:02:03:04:05'),
    ('tsvector', '''a b'':1A,2 c'), ('tsvector', ''), ('tsquery', '''a'' & !( ''b'' | ''c'':*B )'),
    ('int2vector', '1 2 -3'), ('int2vector', ''), ('int2vector', '5'), ('oidvector', '1 4294967295'), ('oidvector', ''),
    ('oid', '4294967295'), ('xid', '4294967295'), ('xid8', '18446744073709551615'), ('cid', '7'), ('tid', '(4294967295,65535)'), ('pg_lsn', 'FF/AA'), ('txid_snapshot', '10:20:10,14'), ('pg_snapshot', '10:20:10,14'),
    ('regproc', 'now'), ('regprocedure', 'abs(integer)'), ('regoper', '|/'), ('regoperator', '+(integer,integer)'), ('regclass', 'pg_class'), ('regcollation', '"C"'), ('regtype', 'timestamp with time zone'), ('regtype', '-'),
    ('regrole', '-'), ('regnamespace', 'pg_catalog'), ('regconfig', 'english'), ('regdictionary', 'simple'), ('refcursor', 'c 1'), ('aclitem', '=r*w/"pg_database_owner"'),
    ('int4range', '[1,5)'), ('int4range', 'empty'), ('int8range', '(,)'), ('numrange', '[1.0,2.50]'), ('daterange', '[2013-01-01,infinity)'), ('tsrange', '["2013-11-03 01:30:00",)'), ('tstzrange', '["2013-11-03 01:30:00+00","2013-11-04 01:30:00+00"]'),
    ('int4multirange', '{[1,3),[5,7)}'), ('int8multirange', '{}'), ('nummultirange', '{[1.0,2.50],[3,)}'), ('datemultirange', '{(,2013-01-01)}'), ('tsmultirange', '{["2013-11-03 01:30:00",)}'), ('tstzmultirange', '{["2013-11-03 01:30:00+00",)}'),
    ('mood', 'so so'), ('span', '30'), ('parts', '(1,"1 2",{glad},7)'), ('parts', '(,,,)'),
    ('citext', 'Aa'), ('cube', '(1, 2),(3, 4)'), ('earth', '(0, 0, 6378168)'), ('hstore', 'a=>1, b=>NULL, "q\"uo\\te,{}"=>"(),\"\\", c=>"NULL"'), ('hstore', ''), ('hrange', '["\"a\"=>\"1\"",)'),
    ('query_int', '1&(2|!3)'), ('isbn', '978-0-393-04002-9'), ('isbn13', '978-0-393-04002-9'), ('ismn', 'M-060-11561-5'), ('ismn13', '979-0-060-11561-5'), ('issn', '1436-4522'), ('issn13', '977-1436-45200-8'), ('ean13', '979-0-060-11561-5'), ('upc', '220356483481'),
    ('lo', '16385'), ('ltree', 'Top.Science'), ('ltree', ''), ('lquery', 'Top.*{1,2}.a@|b.!c'), ('ltxtquery', 'Europe & Russia*@ & !Transportation'), ('seg', '1.0 .. 2.50'), ('seg', '<5');
DELETE FROM samples WHERE to_regtype(regexp_replace(type, '\(.*', '')) IS NULL;

-- What comes of a row that holds a sample in columns of all shapes; NULL if it is as it should be.
CREATE FUNCTION comes_of(type text, sample text) RETURNS text LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
    made text; again text; anew text; message text;
BEGIN
    EXECUTE format('CREATE DOMAIN dom AS %s; CREATE DOMAIN doms AS %1$s[]; CREATE TYPE pair AS (n int, v %1$s, "A" %1$s[], o dom, s doms[]);
        CREATE DOMAIN two AS pair; CREATE DOMAIN more AS two[]', type);
    FOREACH made IN ARRAY ARRAY['whole', 'empty'] LOOP
        EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, v %s, o dom, a %2$s[], m %2$s[][], os dom[], s doms, ss doms[], p pair, ps pair[], t two, ts two[], more more)', made, type);
    END LOOP;
    EXECUTE format('INSERT INTO whole SELECT 1, v, v, ARRAY[v, NULL, v], ARRAY[[v, v], [v, NULL]], ARRAY[v, v]::dom[], ARRAY[v], ARRAY[ARRAY[v, v]::doms, ARRAY[v]::doms], p, ARRAY[p, NULL, p], p::two, ARRAY[p]::two[], ARRAY[p, p]::two[]
        FROM (SELECT v, ROW(1, v, ARRAY[v, NULL], v, ARRAY[ARRAY[v]::doms])::pair AS p FROM CAST(%L AS %s) AS v) AS sample', sample, type);
    SELECT i.outcome INTO again FROM whole, idempotent_insert('whole', to_jsonb(whole)) AS i;
    SELECT i.outcome INTO anew FROM whole, idempotent_insert('empty', to_jsonb(whole)) AS i;
    IF again = 'duplicate' AND anew = 'inserted' THEN
        SELECT CASE WHEN whole::text <> empty::text THEN 'another row: ' || whole::text || ' ' || empty::text END INTO message FROM whole, empty;
    ELSE
        message := again || ', ' || anew;
    END IF;
    DROP TABLE whole, empty;
    DROP TYPE dom, doms, pair CASCADE;
    RETURN message;
EXCEPTION WHEN feature_not_supported THEN
    -- A server without XML.
    RETURN CASE WHEN type <> 'xml' THEN sqlstate || ' ' || sqlerrm END;
WHEN OTHERS THEN
    RETURN sqlstate || ' ' || sqlerrm;
END $$;
SELECT type, sample, said FROM samples, comes_of(type, sample) AS said WHERE said IS NOT NULL ORDER BY n;
-- These are all that may be written: the others are what the server computes for itself, and refuse every text.
SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typcategory NOT IN ('A', 'Z') AND typname <> ALL ('{pg_node_tree,pg_ndistinct,pg_dependencies,pg_mcv_list,pg_brin_bloom_summary,pg_brin_minmax_multi_summary,gtsvector}')
    AND oid <> ALL (SELECT regexp_replace(type, '\(.*', '')::regtype FROM samples);

-- What JSON does not tell: JSON null in a json from NULL, and the bounds of an array. Such a row is another than what to_jsonb shows of it.
CREATE TABLE untold (id int PRIMARY KEY, j jsonb, js jsonb[], a int[]);
INSERT INTO untold VALUES (1, 'null', NULL, NULL), (2, NULL, '{"null"}', NULL), (3, NULL, NULL, '[0:1]={1,2}');
SELECT id, outcome, differences FROM untold, idempotent_insert('untold', to_jsonb(untold), on_conflict => 'report');
-- Arrays in an array of json: as many dimensions as the column was declared with, and one where it was not.
CREATE DOMAIN grid AS jsonb[][];
CREATE TABLE depths (id int PRIMARY KEY, one jsonb[], two jsonb[][], d grid, i int[]);
SELECT outcome FROM idempotent_insert('depths', '{"id": 1, "one": [[1, 2], [3]], "two": [[1, [2]], [3, null]], "d": [[[1]]], "i": [[1.0, 2], [3, 40e-1]]}');
SELECT one, two, d, i FROM depths;
SELECT outcome FROM idempotent_insert('depths', '{"id": 1, "one": "{\"[1, 2]\",\"[3]\"}"}');
CREATE FUNCTION refused(payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE place text; det text; hint text;
BEGIN
    PERFORM idempotent_insert('types.depths', payload || '{"id": 2}');
    RETURN 'not at all';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS place = PG_EXCEPTION_CONTEXT, det = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', sqlstate, sqlerrm, nullif(det, ''), nullif(hint, ''), split_part(place, E'\n', 1));
END $$;
SELECT refused('{"two": [[1], 2]}');
SELECT refused('{"two": [[1], [2, 3]]}');
SELECT refused('{"one": [1], "i": [[[1]], [2]]}');
SELECT refused('{"i": [[[[[[[1]]]]]]]}');
SELECT refused('{"i": {"a": 1}}');
SELECT refused('{"i": [1, 1e10]}');
CREATE TABLE vectors (id int PRIMARY KEY, i int2vector, o oidvector);
SELECT outcome FROM idempotent_insert('vectors', '{"id": 1, "i": [1.0, "2"], "o": "1 2"}');
SELECT outcome FROM idempotent_insert('vectors', '{"id": 1, "i": "1 2", "o": [1, 2]}');
SELECT idempotent_insert('vectors', '{"id": 2, "i": [1, null]}');
:state
SELECT idempotent_insert('vectors', '{"id": 2, "i": [[1], [2]]}');
:state
-- A composite that is changed after its table was used.
CREATE TYPE growing AS (a int);
CREATE TABLE grown (id int PRIMARY KEY, g growing, gs growing[]);
SELECT outcome FROM idempotent_insert('grown', '{"id": 1, "g": {"a": 1.0, "b": [1.0, 2]}}');
ALTER TYPE growing ADD ATTRIBUTE b int[];
SELECT outcome, stored FROM idempotent_insert('grown', '{"id": 1, "g": {"a": 1.0}}');
SELECT outcome, stored FROM idempotent_insert('grown', '{"id": 2, "g": {"a": 1.0, "b": [1.0, 2]}, "gs": [{"b": [30e-1]}]}');
-- Domains see what was put together, at any depth, and one that refuses NULL a field that is left out.
CREATE TYPE couple AS (x int, y numeric(3,1));
CREATE DOMAIN positive AS couple CHECK ((VALUE).x > 0);
CREATE DOMAIN short AS int[] CHECK (cardinality(VALUE) < 3);
CREATE DOMAIN present AS int NOT NULL;
CREATE TYPE held AS (p positive, here present);
CREATE TABLE minded (id int PRIMARY KEY, p positive, s short, ps positive[], h held, ss short[]);
SELECT outcome, stored FROM idempotent_insert('minded', '{"id": 1, "p": {"x": 1.0}, "s": [1, 2.0], "ps": [{"x": 1, "y": 1.05}], "h": {"here": 1}, "ss": [[1], [2, 3]]}');
SELECT idempotent_insert('minded', '{"id": 2, "p": {"x": 0}}');
SELECT idempotent_insert('minded', '{"id": 2, "s": [1, 2, 3]}');
SELECT idempotent_insert('minded', '{"id": 2, "ps": [{"x": 0}]}');
SELECT idempotent_insert('minded', '{"id": 2, "ss": [[1], [1, 2, 3]]}');
SELECT idempotent_insert('minded', '{"id": 2, "h": {"p": {"x": 0}, "here": 1}}');
SELECT idempotent_insert('minded', '{"id": 2, "h": {"p": {"x": 1}}}');
SELECT idempotent_insert('minded', '{"id": 2, "h": 5}');
SELECT response FROM idempotent_execute('minded', 'SELECT $1::types.positive AS p', '[{"x": 0}]');
-- Two fields of a type with two fields of a type, and so on: 16 million places for a value, 25 types.
CREATE PROCEDURE nest(name text, levels int, fields text[]) LANGUAGE plpgsql AS $$
DECLARE
    field text;
BEGIN
    EXECUTE format('CREATE TYPE %I AS (n int)', name || 0);
    FOR level IN 1 .. levels LOOP
        EXECUTE format('CREATE TYPE %I AS ()', name || level);
    END LOOP;
    EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY, v %I)', name, name || levels);
    FOR level IN REVERSE levels .. 1 LOOP
        FOREACH field IN ARRAY fields LOOP
            EXECUTE format('ALTER TYPE %I ADD ATTRIBUTE %I %I', name || level, field, name || level - 1);
        END LOOP;
    END LOOP;
END $$;
CALL nest('wide', 24, '{l,r}');
CREATE TABLE less_wide (id int PRIMARY KEY, v wide2);
SELECT outcome, stored FROM idempotent_insert('less_wide', '{"id": 1, "v": {"l": {"r": {"n": 1}}, "r": {"r": {"n": 2.0}}}}');
SET statement_timeout = '20s';
SELECT outcome FROM idempotent_insert('wide', '{"id": 1, "v": {"l": {"r": {}}}}');
SELECT outcome FROM idempotent_insert('wide', '{"id": 1, "v": {"l": {"r": {}}}}');
ALTER TABLE wide ADD COLUMN first bytea;
SELECT remember FROM idempotent_guard('wide', remember => 'first');
RESET statement_timeout;
-- Five hundred types within each other are more than a small stack holds.
CALL nest('deep', 500, '{x}');
SET max_stack_depth = '100kB';
SELECT outcome FROM idempotent_insert('deep', '{"id": 1, "v": {"x": {"x": {}}}}');
RESET max_stack_depth;
SELECT outcome FROM idempotent_insert('deep', '{"id": 1, "v": {"x": {"x": {}}}}');

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA types CASCADE;
