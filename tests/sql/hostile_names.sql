-- Lists of names and of fields that keep nobody busy, and tables that hide no others from whoever looks.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE ROLE regress_pgi_namer;
CREATE SCHEMA namers AUTHORIZATION regress_pgi_namer;
SET search_path = namers, public;
CREATE TABLE public.named (id int PRIMARY KEY, v int);
SELECT key FROM idempotent_guard('public.named');

-- Core splits a list of doubled quotes in a time that grows with its square, and cannot be cancelled meanwhile.
SET ROLE regress_pgi_namer;
CREATE TABLE quotes (id int PRIMARY KEY);
DO $$ BEGIN
    EXECUTE format('CREATE TRIGGER zz BEFORE INSERT ON quotes FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger(%L)',
                   'ignore="' || repeat('""', 1500000) || '"');
END $$;
RESET ROLE;
SET statement_timeout = '10s';
SELECT target, left(problem, 60) AS problem FROM idempotent.guards WHERE target IN ('quotes'::regclass, 'public.named'::regclass) ORDER BY 1;
SELECT rule FROM idempotent_lint('quotes');
SELECT length(('"' || repeat('""', 1500000) || '"')::idempotent.kept_role::text);
SELECT idempotent_view('public.named', '"' || repeat('""', 1500000) || '"')::regclass::text = '"' || repeat('""', 63) || '"' AS cut;

-- So does its operator that takes names from a document.
SELECT status FROM idempotent_request_begin('names',
    (SELECT jsonb_object_agg('f' || i, i) FROM generate_series(1, 40000) AS i),
    ignore => (SELECT array_agg('g' || i) FROM generate_series(1, 40000) AS i));
SELECT attempt FROM idempotent_request_begin('fields', '{"a": 1, "b": [1, {"c": null}], "d": "x", "": 2}', ignore => '{a,a,zz,""}') \gset
SELECT request FROM idempotent.requests WHERE key = 'fields';
SELECT idempotent_request_finish('fields', :attempt, '"done"');
SELECT status, response FROM idempotent_request_begin('fields', '{"a": 7, "b": [1, {"c": null}], "d": "x"}', ignore => '{a,a,zz,""}');
SELECT status FROM idempotent_request_begin('fields', '{"a": 7, "b": [1, {"c": 1}], "d": "x"}', ignore => '{a,a,zz,""}');
SELECT status FROM idempotent_request_begin('no object', '[1, 2]', ignore => '{a}');
SELECT status FROM idempotent_request_begin('nothing left', '{"a": 1}', ignore => '{a}');
RESET statement_timeout;
DELETE FROM idempotent.request_records;

-- A type that is nested beyond the stack makes its own table a problem, and no other one.
SET ROLE regress_pgi_namer;
CREATE TYPE n0 AS (a int);
SET client_min_messages = warning;
DO $$ BEGIN FOR i IN 1..1500 LOOP EXECUTE format('CREATE TYPE n%s AS (a n%s)', i, i - 1); END LOOP; END $$;
RESET client_min_messages;
CREATE TABLE deep (id int PRIMARY KEY, v n1500, m bytea);
CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON deep FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=id', 'remember=m');
RESET ROLE;
SET max_stack_depth = '100kB';
SELECT target, compared, problem FROM idempotent.guards WHERE target IN ('deep'::regclass, 'public.named'::regclass) ORDER BY 1;
RESET max_stack_depth;

SET client_min_messages = warning;
DROP TABLE public.named CASCADE;
DROP TABLE quotes, deep;
DO $$ BEGIN FOR i IN REVERSE 1500..0 LOOP EXECUTE format('DROP TYPE namers.n%s', i); END LOOP; END $$;
DROP SCHEMA namers CASCADE;
DROP ROLE regress_pgi_namer;
