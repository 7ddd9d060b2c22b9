-- A request whose command is CALL: its parameters, and what it answers.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA requests_call;
SET search_path = requests_call, public;
CREATE TABLE called (n int, of text);
CREATE PROCEDURE proc(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := a + 1; END $$;
SELECT * FROM idempotent_execute('d6', 'CALL proc($1)', '[41]');
SELECT * FROM idempotent_execute('d6', 'CALL proc($1)', '[41]');
-- Without an answer of its own; a retry calls nothing.
CREATE PROCEDURE notes(n int, of text[]) LANGUAGE sql AS $$ INSERT INTO called SELECT n, unnest(of) $$;
SELECT * FROM idempotent_execute('n1', 'CALL notes($1, $2)', '[1, ["a", "b"]]');
SELECT * FROM idempotent_execute('n1', 'CALL notes($1, $2)', '[1, ["a", "b"]]');
SELECT * FROM idempotent_execute('n2', $$CALL notes(2, '{c}')$$);
SELECT * FROM idempotent_execute('n2', $$CALL notes(2, '{c}')$$);
TABLE called;
-- One that ends the transaction is refused.
CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
SELECT * FROM idempotent_execute('c1', 'CALL commits()');
:state
SELECT * FROM idempotent_execute('c1', 'CALL proc($1)', '[]');
:state
DELETE FROM idempotent.request_records;
SET client_min_messages = warning;
DROP SCHEMA requests_call CASCADE;
