-- Hints where the search_path does not find the extension: they name its schema.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE SCHEMA hints_schema;
SET search_path = hints_schema, public;
CREATE TABLE said (sql text);
-- Runs a statement that fails, and keeps the SQL of its hint.
CREATE FUNCTION refused(statement text) RETURNS TABLE (code text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE hints_schema.said;
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
        code := SQLSTATE;
        message := SQLERRM;
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        INSERT INTO hints_schema.said
        SELECT m.sql[1] FROM regexp_matches(hint, '((?:CREATE|ALTER|DROP|REINDEX|SELECT) [^;]*;)', 'g') AS m (sql);
        RETURN NEXT;
    END;
END $$;
\set do 'SELECT sql FROM hints_schema.said \\gexec'
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\n    '

CREATE TABLE nullable (id int UNIQUE, x int);
SET search_path = hints_schema;
SELECT key FROM public.idempotent_guard('nullable');
SELECT * FROM refused($$ INSERT INTO nullable VALUES (NULL, 1) $$);
SELECT sql FROM said WHERE sql LIKE 'SELECT%' \gexec
INSERT INTO nullable VALUES (NULL, 1);
SELECT hint FROM public.idempotent_lint('nullable') WHERE rule = 'nullable_key';
SELECT * FROM refused($$ SELECT public.idempotent_insert_many('nullable', '{"id": 1}') $$);
SELECT * FROM refused($$ CALL public.idempotent_load('nullable', 'nullable') $$);
SELECT * FROM refused($$ SELECT public.idempotent_overwrite_each('nullable', 'nullable', '{}') $$);
-- A function of the same name that is found first is another one.
CREATE FUNCTION idempotent_guard(target regclass, key text[], compare text[], ignore text[], on_conflict text, remember text, null_key text)
    RETURNS int LANGUAGE sql AS 'SELECT 1';
SET search_path = hints_schema, public;
UPDATE nullable SET id = 1;
SELECT key FROM public.idempotent_guard('nullable', on_conflict => 'observe');
SELECT hint FROM idempotent_lint('nullable') WHERE rule = 'guard_observes';
DROP FUNCTION idempotent_guard(regclass, text[], text[], text[], text, text, text);
SELECT hint FROM idempotent_lint('nullable') WHERE rule = 'guard_observes';
SET client_min_messages = warning;
DROP SCHEMA hints_schema CASCADE;
