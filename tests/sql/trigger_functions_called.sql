-- The trigger functions of guards and views, called by no trigger: refused in words.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA called;
SET search_path = called, public;
CREATE TABLE wrong (id int PRIMARY KEY, v int);
-- Called by nobody's trigger.
SELECT idempotent_guard_trigger();
:state
CREATE FUNCTION calls_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN idempotent_guard_trigger(); END';
CREATE TRIGGER w BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION calls_it();
INSERT INTO wrong VALUES (9, 9);
:state
DROP TRIGGER w ON wrong;
SELECT idempotent_view_trigger();
:state
SET client_min_messages = warning;
DROP SCHEMA called CASCADE;
