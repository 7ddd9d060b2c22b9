-- The extension is dropped: the guard is part of the table, and of the extension only by CASCADE.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA dropped;
SET search_path = dropped, public;
CREATE TABLE typed (id int PRIMARY KEY);
SELECT key FROM idempotent_guard('typed');
INSERT INTO typed VALUES (1), (1);
\set VERBOSITY terse
DROP EXTENSION pg_idempotent;
\set VERBOSITY default
:state
BEGIN;
SET client_min_messages = warning;
DROP EXTENSION pg_idempotent CASCADE;
INSERT INTO typed VALUES (1);
ROLLBACK;
RESET client_min_messages;
SELECT key FROM idempotent.guards;
SET client_min_messages = warning;
DROP SCHEMA dropped CASCADE;
