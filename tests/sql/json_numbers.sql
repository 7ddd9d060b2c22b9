-- A JSON number is taken as the SQL literal is, whatever the notation. Each line shows what INSERT … VALUES gives beside it.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA numbers;
SET search_path = numbers, public;
SET lc_monetary = 'C';
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE TABLE numbers (id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, o oid, n numeric, n2 numeric(6,2), f4 float4, f8 float8, m money, t text, v varchar(3), d small);

-- What the function makes of a number, and what INSERT does, in a column.
CREATE FUNCTION taken(col text, number text) RETURNS TABLE (function text, literal text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        PERFORM idempotent_insert('numbers.numbers', format('{"id": 1.0, %s: %s}', to_json(col), number)::jsonb);
        EXECUTE format('DELETE FROM numbers RETURNING %I::text', col) INTO function;
    EXCEPTION WHEN OTHERS THEN function := SQLSTATE || ' ' || SQLERRM; END;
    BEGIN
        EXECUTE format('INSERT INTO numbers (id, %I) VALUES (1.0, %s)', col, number);
        EXECUTE format('DELETE FROM numbers RETURNING %I::text', col) INTO literal;
    EXCEPTION WHEN OTHERS THEN literal := SQLSTATE || ' ' || SQLERRM; END;
    RETURN NEXT;
END $$;
SELECT col, number, CASE WHEN function = literal THEN function ELSE 'function: ' || COALESCE(function, 'NULL') || ' literal: ' || COALESCE(literal, 'NULL') END AS result
FROM unnest('{i2,i4,i8,d,o,n,n2,f4,f8,m,t,v}'::text[]) WITH ORDINALITY AS c (col, n),
     unnest('{1,1.0,-1.00,1e2,1.0e1,12e-1,1.5,2.5,-1.5,0.4999,1000000.0,1.0e40}'::text[]) WITH ORDINALITY AS l (number, m),
     taken(col, number) ORDER BY c.n, m;

-- The same in the members of arrays and composites, and in the arguments of a command.
CREATE TYPE pair AS (n int, v int4, d small);
CREATE TABLE nested (id int PRIMARY KEY, i2 int2[], i4 int4[], i8 int8[], d small[], o oid[], n numeric[], n2 numeric(6,2)[], f4 float4[], f8 float8[], m money[], t text[], v varchar(3)[], p pair, ps pair[]);
CREATE FUNCTION taken_nested(col text, number text) RETURNS TABLE (member text, alone text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        PERFORM idempotent_insert('numbers.nested', format('{"id": 1.0, %s: [null, %s]}', to_json(col), number)::jsonb);
        EXECUTE format('DELETE FROM nested RETURNING %I[2]::text', col) INTO member;
    EXCEPTION WHEN OTHERS THEN member := SQLSTATE || ' ' || SQLERRM; END;
    SELECT t.function INTO alone FROM taken(col, number) AS t;
    RETURN NEXT;
END $$;
SELECT col, number, member, alone
FROM unnest('{i2,i4,i8,d,o,n,n2,f4,f8,m,t,v}'::text[]) AS col,
     unnest('{1,1.0,-1.00,1e2,1.0e1,12e-1,1.5,2.5,-1.5,0.4999,1000000.0,1.0e40}'::text[]) AS number,
     taken_nested(col, number) WHERE member IS DISTINCT FROM alone;
SELECT s.stored FROM idempotent_insert('nested', '{"id": 1, "i4": [[1.0, 2.5], [30e-1, "4"]], "p": {"n": 1.5, "v": 2.0, "d": 3.0}, "ps": [{"v": 4.0}, null]}') AS i, jsonb_strip_nulls(i.stored) AS s (stored);
SELECT outcome FROM idempotent_insert('nested', '{"id": 1.0, "i4": [[1, 3.0], [3, 4]], "p": {"n": 2, "v": 2, "d": 3}}');
SELECT idempotent_insert('nested', '{"id": 2, "ps": [{"d": 100.0}]}');
SELECT idempotent_insert('nested', '{"id": 2, "i4": [1.0, "1.0"]}');
SELECT response FROM idempotent_execute('numbers', 'SELECT $1::int AS i, $2::int[] AS a, $3::numbers.pair AS p, $4::numeric(6,2)[] AS n, $5::money AS m, $6::text AS t', '[1.0, [1.0, 15e-1], {"n": 2.0}, [1.005], 1.5, 1.0]');

-- A retry in another notation is a duplicate, another number a conflict.
SELECT idempotent_insert_many('numbers', '[{"id": 2, "i4": 3, "m": 1.5}, {"id": 2.0, "i4": 3.00, "m": 1.50}, {"id": 2e0, "i4": 30e-1, "m": 15e-1}]');
SELECT outcome, differences FROM idempotent_insert('numbers', '{"id": 2.0, "i4": 4.0}', on_conflict => 'report');
-- A string is taken as a string.
SELECT idempotent_insert('numbers', '{"id": 3, "i4": "1.0"}');
INSERT INTO numbers (id, i4) VALUES (3, '1.0');
-- The bounds of bigint.
TRUNCATE numbers;
SELECT * FROM taken('i8', '9223372036854775807.0');
SELECT * FROM taken('i8', '9223372036854775807.5');

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA numbers CASCADE;
