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
