-- A foreign table has no guard: its rows are inserted on the other server.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA guard_foreign;
SET search_path = guard_foreign, public;
CREATE FOREIGN DATA WRAPPER regress_pgi_dummy;
CREATE SERVER regress_pgi_server FOREIGN DATA WRAPPER regress_pgi_dummy;
CREATE FOREIGN TABLE a_foreign_table (id int, v int) SERVER regress_pgi_server;
SELECT idempotent_guard('a_foreign_table');
:state
-- CREATE TRIGGER takes it; nothing can be inserted, and the view shows tables only.
CREATE TRIGGER zz_idempotent_guard BEFORE INSERT ON a_foreign_table FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
SELECT count(*) FROM idempotent.guards;
SET client_min_messages = warning;
DROP SCHEMA guard_foreign CASCADE;
DROP FOREIGN DATA WRAPPER regress_pgi_dummy CASCADE;
