-- An overwrite has the rights of the caller: SELECT on the columns of the source, in both tables, INSERT on them, DELETE.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_over;
CREATE SCHEMA overwrite_privileges;
SET search_path = overwrite_privileges, public;
CREATE TABLE stock (k int, v int, secret text DEFAULT 's');
CREATE TABLE source (k int, v int);
INSERT INTO stock VALUES (1, 1), (2, 2);
INSERT INTO source VALUES (1, 5);
-- One right after the other.
\set call 'SELECT * FROM idempotent_overwrite(\'overwrite_privileges.stock\', \'overwrite_privileges.source\', \'{"k": 1}\');'
\set oids 'SELECT * FROM idempotent_overwrite(:stock, :source, \'{"k": 1}\');'
SELECT 'stock'::regclass::oid AS stock, 'source'::regclass::oid AS source \gset
GRANT INSERT, DELETE, SELECT ON stock, source TO regress_pgi_over;
SET ROLE regress_pgi_over;
:oids :state
RESET ROLE;
GRANT USAGE ON SCHEMA overwrite_privileges TO regress_pgi_over;
REVOKE INSERT, DELETE, SELECT ON stock, source FROM regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
RESET ROLE;
GRANT INSERT (k) ON stock TO regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
RESET ROLE;
GRANT INSERT (v) ON stock TO regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
RESET ROLE;
GRANT DELETE ON stock TO regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
RESET ROLE;
GRANT SELECT (k) ON stock TO regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
RESET ROLE;
GRANT SELECT (v) ON stock TO regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
RESET ROLE;
GRANT SELECT (v) ON source TO regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
RESET ROLE;
GRANT SELECT (k) ON source TO regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
:call
RESET ROLE;
SELECT * FROM stock ORDER BY k;
-- An equal slice takes them all too.
REVOKE DELETE ON stock FROM regress_pgi_over;
SET ROLE regress_pgi_over;
:call :state
RESET ROLE;
GRANT DELETE ON stock TO regress_pgi_over;
-- A function of the owner lends its rights.
REVOKE ALL ON stock, source FROM regress_pgi_over;
REVOKE INSERT (k, v), SELECT (k, v) ON stock FROM regress_pgi_over;
REVOKE SELECT (k, v) ON source FROM regress_pgi_over;
CREATE FUNCTION lend() RETURNS record LANGUAGE sql SECURITY DEFINER SET search_path = overwrite_privileges, public AS
$$ SELECT idempotent_overwrite('stock', 'source', '{"k": 1}') $$;
SET ROLE regress_pgi_over;
SELECT lend();
RESET ROLE;

-- Row-level security: the slice is what the caller sees of it.
GRANT ALL ON stock, source TO regress_pgi_over;
ALTER TABLE stock ENABLE ROW LEVEL SECURITY;
CREATE POLICY sees ON stock FOR SELECT USING (v < 100);
CREATE POLICY adds ON stock FOR INSERT WITH CHECK (v < 50);
CREATE POLICY deletes ON stock FOR DELETE USING (v < 10);
INSERT INTO stock VALUES (1, 1000);
SET ROLE regress_pgi_over;
:call
UPDATE source SET v = 6;
:call
UPDATE source SET v = 60;
:call :state
UPDATE source SET v = 20;
:call
-- A row that the caller sees and may not delete would stay beside the new ones.
UPDATE source SET v = 21;
:call :state
SET row_security = off;
:call :state
RESET row_security;
RESET ROLE;
SELECT * FROM stock ORDER BY v;
-- The owner is not restricted.
:call
SELECT * FROM stock ORDER BY v;
ALTER TABLE stock FORCE ROW LEVEL SECURITY;
:call
ALTER TABLE stock NO FORCE ROW LEVEL SECURITY;
-- Ranges and the whole table likewise: what is not seen stays.
TRUNCATE stock, source;
INSERT INTO stock VALUES (1, 1), (2, 2), (3, 1000), (9, 3);
INSERT INTO source VALUES (2, 5);
SET ROLE regress_pgi_over;
SELECT * FROM idempotent_overwrite('overwrite_privileges.stock', 'overwrite_privileges.source', '{"k": {"from": 1, "to": 9}}');
SELECT * FROM idempotent_overwrite('overwrite_privileges.stock', 'overwrite_privileges.source', '{}');
RESET ROLE;
SELECT k, v FROM stock ORDER BY k;
INSERT INTO stock VALUES (4, 20);
SET ROLE regress_pgi_over;
SELECT * FROM idempotent_overwrite('overwrite_privileges.stock', 'overwrite_privileges.source', '{"k": {"from": 4}}'); :state
DELETE FROM source;
SELECT * FROM idempotent_overwrite('overwrite_privileges.stock', 'overwrite_privileges.source', '{"k": {"from": 4}}'); :state
RESET ROLE;
-- The rights are those that a slice of values needs.
REVOKE ALL ON stock FROM regress_pgi_over;
GRANT SELECT (k, v), INSERT (k, v) ON stock TO regress_pgi_over;
SET ROLE regress_pgi_over;
SELECT * FROM idempotent_overwrite('overwrite_privileges.stock', 'overwrite_privileges.source', '{}'); :state
RESET ROLE;
SET client_min_messages = warning;
DROP SCHEMA overwrite_privileges CASCADE;
DROP OWNED BY regress_pgi_over;
DROP ROLE regress_pgi_over;
