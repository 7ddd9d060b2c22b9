-- idempotent_view: the rights of the caller, on the view and on the table.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE SCHEMA view_rights;
SET search_path = view_rights, public;
\set QUIET off
CREATE ROLE regress_pgi_writer;
GRANT USAGE ON SCHEMA view_rights TO regress_pgi_writer;
CREATE TABLE secret (id int PRIMARY KEY, open text, hidden text DEFAULT 'none');
INSERT INTO secret VALUES (1, 'a', 'b');
SELECT idempotent_view('secret', 'secret_in');
GRANT ALL ON secret_in TO regress_pgi_writer;
SET ROLE regress_pgi_writer;
INSERT INTO secret_in (id, open, hidden) VALUES (2, 'x', 'y');
RESET ROLE;
GRANT INSERT, SELECT (id) ON secret TO regress_pgi_writer;
SET ROLE regress_pgi_writer;
INSERT INTO secret_in VALUES (2, 'x', 'y') RETURNING *;
INSERT INTO secret_in VALUES (2, 'x', 'y') RETURNING *;
-- Neither the error nor the row tells a value that the caller may not read.
\set VERBOSITY default
INSERT INTO secret_in VALUES (1, 'a', 'c') RETURNING *;
\set VERBOSITY terse
SELECT id FROM secret_in;
SELECT * FROM secret_in;
RESET ROLE;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (open = current_user) WITH CHECK (open = current_user);
SET ROLE regress_pgi_writer;
INSERT INTO secret_in VALUES (1, 'regress_pgi_writer', 'c') RETURNING *;
INSERT INTO secret_in VALUES (3, 'regress_pgi_writer', 'c') RETURNING id, open;
INSERT INTO secret_in VALUES (3, 'regress_pgi_writer', 'c') RETURNING id, open;
INSERT INTO secret_in VALUES (4, 'somebody', 'c');
SELECT idempotent_view('secret', 'mine');
RESET ROLE;
DROP TABLE secret CASCADE;
REVOKE ALL ON SCHEMA view_rights FROM regress_pgi_writer;
DROP ROLE regress_pgi_writer;
DROP SCHEMA view_rights CASCADE;
