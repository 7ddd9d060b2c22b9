\set state '\\echo SQLSTATE :SQLSTATE'
\set SHOW_CONTEXT never
-- Remembering in a bytea: values are one exactly if their type's = says so, however they are nested.
-- Whatever the stored row is, a retry of the first payload goes through, and any other is a conflict.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE order_line AS (article text, quantity int, note jsonb, moods mood[]);
CREATE TYPE shape AS (p point, j json);
CREATE TABLE told (id int PRIMARY KEY, j jsonb, a int[], l order_line, ls order_line[], r numrange, d float8[], js json,
    i interval, x xml, c regclass, m mood, s shape, ps point[], first bytea);
SELECT remember FROM idempotent_guard('told', remember => 'first');
CREATE FUNCTION verdict(what text, sent text, again text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE number int := coalesce((SELECT max(id) FROM told), 0) + 1;
BEGIN
    EXECUTE format('INSERT INTO told (id, %I) VALUES ($1, %s)', what, sent) USING number;
    EXECUTE format('UPDATE told SET %I = NULL WHERE id = $1', what) USING number;
    EXECUTE format('INSERT INTO told (id, %I) VALUES ($1, %s)', what, again) USING number;
    RETURN 'duplicate';
EXCEPTION WHEN SQLSTATE '23I01' THEN RETURN 'conflict';
END $$;
SELECT what, expected, verdict(what, sent, again), CASE WHEN verdict(what, sent, again) <> expected THEN 'WRONG' END AS wrong
FROM (VALUES
    -- Hashes of 64 bits met where quantities were swapped, eight places apart, and where only the shape differs.
    ('j', 'conflict', quote_literal('[{"a": 1, "q": 2}, 0, 0, 0, 0, 0, 0, 0, {"a": 1, "q": 3}]'), quote_literal('[{"a": 1, "q": 3}, 0, 0, 0, 0, 0, 0, 0, {"a": 1, "q": 2}]')),
    ('j', 'conflict', $q$'{"lines": [{"q": 1}, {"q": 2}]}'$q$, $q$'{"lines": [{"q": 2}, {"q": 1}]}'$q$),
    ('j', 'conflict', $q$'{"a": [1, 2]}'$q$, $q$'{"a": [[1], 2]}'$q$),
    ('j', 'conflict', $q$'1'$q$, $q$'[1]'$q$),
    ('j', 'conflict', $q$'1'$q$, $q$'"1"'$q$),
    ('j', 'duplicate', $q$'{"a": 1.0, "bb": [true, 10]}'$q$, $q$'{"bb": [true, 1e1], "a": 1}'$q$),
    ('a', 'conflict', $q$'{1,2,3,4}'$q$, $q$'{{1,2},{3,4}}'$q$),
    ('a', 'conflict', $q$'{1,2,3,4}'$q$, $q$'[0:3]={1,2,3,4}'$q$),
    ('a', 'duplicate', $q$'{1,2,3,4}'$q$, $q$'[1:4]={1,2,3,4}'$q$),
    ('a', 'conflict', $q$'{1,NULL}'$q$, $q$'{NULL,1}'$q$),
    ('l', 'conflict', $q$ROW('a', 1, '[{"q": 1}, {"q": 2}]', NULL)::order_line$q$, $q$ROW('a', 1, '[{"q": 2}, {"q": 1}]', NULL)::order_line$q$),
    ('l', 'duplicate', $q$ROW('a', 1, '{"a": 1, "b": 2.0}', '{sad}')::order_line$q$, $q$ROW('a', 1, '{"b": 2, "a": 1}', '{sad}')::order_line$q$),
    ('l', 'conflict', $q$ROW('a', 1, NULL, '{sad}')::order_line$q$, $q$ROW('a', 1, NULL, '{happy}')::order_line$q$),
    ('l', 'conflict', $q$ROW(NULL, 1, NULL, NULL)::order_line$q$, $q$ROW('', 1, NULL, NULL)::order_line$q$),
    ('ls', 'conflict', $q$ARRAY[ROW('a', 1, '1', NULL), ROW('b', 2, '2', NULL)]::order_line[]$q$, $q$ARRAY[ROW('a', 2, '1', NULL), ROW('b', 1, '2', NULL)]::order_line[]$q$),
    ('ls', 'duplicate', $q$ARRAY[ROW('a', 1, '1.0', NULL)]::order_line[]$q$, $q$ARRAY[ROW('a', 1, '1', NULL)]::order_line[]$q$),
    ('r', 'duplicate', $q$'[1.0,2)'$q$, $q$'[1,2.00)'$q$),
    ('r', 'conflict', $q$'[1,2)'$q$, $q$'[1,2]'$q$),
    ('d', 'duplicate', $q$'{0,NaN}'$q$, $q$'{-0,NaN}'$q$),
    ('js', 'duplicate', $q$'{"a":1, "b":2}'$q$, $q$'{"b": 2, "a": 1.0}'$q$),
    ('js', 'conflict', $q$'{"a": 1}'$q$, $q$'{"a": 2}'$q$),
    ('i', 'duplicate', $q$'1 month'$q$, $q$'30 days'$q$),
    ('c', 'duplicate', $q$'pg_class'$q$, $q$'pg_catalog.pg_class'$q$),
    ('c', 'conflict', $q$'pg_class'$q$, $q$'pg_type'$q$),
    ('m', 'conflict', $q$'sad'$q$, $q$'happy'$q$),
    ('s', 'duplicate', $q$ROW('(1,2)', '{"a":1}')::shape$q$, $q$ROW('(1,2)', '{"a":1}')::shape$q$),
    ('s', 'conflict', $q$ROW('(1,2)', '{"a":1}')::shape$q$, $q$ROW('(1,2)', '{"a":2}')::shape$q$),
    ('ps', 'conflict', $q$ARRAY[point(1,2), point(3,4)]$q$, $q$ARRAY[point(1,4), point(3,2)]$q$)
) AS v(what, expected, sent, again);
-- The bytes are those of idempotent_digest: a version, and the SHA-256 of names and values, NULLs left out.
TRUNCATE told;
INSERT INTO told (id, a, m) VALUES (1, '{1,2}', 'sad');
SELECT first = '\x02'::bytea || sha256(
    '\x2001'::bytea || 'a' || '\x24011102110111011102'::bytea ||
    '\x2001'::bytea || 'm' || '\x2003'::bytea || 'sad') AS as_written FROM told;
-- What a session sets changes none.
CREATE SCHEMA elsewhere;
SET search_path = elsewhere, public, pg_catalog;
INSERT INTO told (id, c, s) VALUES (2, 'told', ROW(point(0.1::float8 + 0.2::float8, 0), '1'));
SET search_path = public;
SET extra_float_digits = 0;
SET quote_all_identifiers = on;
INSERT INTO told (id, c, s) VALUES (2, 'told', ROW(point(0.1::float8 + 0.2::float8, 0), '1'));
RESET ALL;
-- A digest of another version is told apart: nobody can verify by it, and it can be taken away.
INSERT INTO told (id, a, first) VALUES (3, '{1,2,3,4}', sha256('of the first version'));
INSERT INTO told (id, a) VALUES (3, '{1,2,3,4}');
:state
INSERT INTO told (id, a, first) VALUES (3, '{1,2,3,4}', sha256('of the first version'));
UPDATE told SET first = NULL WHERE octet_length(first) = 32;
INSERT INTO told (id, a) VALUES (3, '{1,2,3,4}');
INSERT INTO told (id, a) VALUES (3, '[0:3]={1,2,3,4}');
:state
-- One of this version stays what it is.
UPDATE told SET first = NULL WHERE id = 1;
:state
