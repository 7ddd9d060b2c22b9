-- Views and rules into a guarded table. The server inserts with the rights of the owner of the view (or of the rule's
-- table), and the guard judges with those: the retry of a row that went in is a duplicate. What they may read they do
-- not lend: errors show values that the client may read as well.
\set VERBOSITY default
\set SHOW_CONTEXT errors
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_clerk;
CREATE ROLE regress_pgi_auditor;
CREATE ROLE regress_pgi_viewer;
CREATE SCHEMA views;
GRANT USAGE ON SCHEMA views TO PUBLIC;
SET search_path = views, public;
\set QUIET off
CREATE TABLE notes (id int PRIMARY KEY, author name, body text);
SELECT FROM idempotent_guard('notes');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
-- The policies are those for the view's owner; current_user in them is the client all the same.
CREATE POLICY own ON notes TO regress_pgi_viewer USING (author = current_user);
GRANT INSERT, SELECT ON notes TO regress_pgi_viewer;
CREATE VIEW inbox AS SELECT * FROM notes;
ALTER VIEW inbox OWNER TO regress_pgi_viewer;
GRANT INSERT ON inbox TO regress_pgi_clerk;
INSERT INTO notes VALUES (99, 'boss', 'secret');

-- 1. The first send goes in; its exact retry is a duplicate.
SET ROLE regress_pgi_clerk;
INSERT INTO inbox VALUES (1, 'regress_pgi_clerk', 'hello');
INSERT INTO inbox VALUES (1, 'regress_pgi_clerk', 'hello');
-- A conflict is judged, but the view's owner does not lend their eyes: no stored value is shown. Nothing is said of a
-- row that the policies hide.
INSERT INTO inbox VALUES (1, 'regress_pgi_clerk', 'other');
:state
INSERT INTO inbox VALUES (99, 'regress_pgi_clerk', 'guess');
:state
RESET ROLE;
-- The same for a client who may read the table: row-level security is in force for them.
GRANT SELECT ON notes TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
INSERT INTO inbox VALUES (1, 'regress_pgi_clerk', 'other');
:state
RESET ROLE;

-- 2. The other way round: a client who sees all rows, and a view whose owner does not see the row that is stored.
CREATE POLICY shown ON notes TO regress_pgi_auditor USING (true);
GRANT SELECT, INSERT ON notes TO regress_pgi_auditor;
CREATE POLICY few ON notes TO regress_pgi_viewer USING (body <> 'secret') WITH CHECK (true);
DROP POLICY own ON notes;
GRANT INSERT ON inbox TO regress_pgi_auditor;
SET ROLE regress_pgi_auditor;
INSERT INTO notes VALUES (99, 'boss', 'secret');
INSERT INTO inbox VALUES (99, 'boss', 'secret');
:state
INSERT INTO inbox VALUES (1, 'regress_pgi_clerk', 'hello');
RESET ROLE;

-- 3. A view with security_invoker takes the rights of its user.
CREATE VIEW invoked WITH (security_invoker = true) AS SELECT * FROM notes;
ALTER VIEW invoked OWNER TO regress_pgi_viewer;
GRANT INSERT ON invoked TO regress_pgi_auditor, regress_pgi_clerk;
SET ROLE regress_pgi_auditor;
INSERT INTO invoked VALUES (99, 'boss', 'secret');
RESET ROLE;
SET ROLE regress_pgi_clerk;
INSERT INTO invoked VALUES (1, 'regress_pgi_clerk', 'hello');
:state
RESET ROLE;

-- 4. A view over a view: the owner of the inner one inserts. If that has security_invoker, it is the client, as the
-- server has it.
CREATE VIEW outer_view AS SELECT * FROM inbox;
ALTER VIEW outer_view OWNER TO regress_pgi_auditor;
CREATE VIEW outer_invoked AS SELECT * FROM invoked;
ALTER VIEW outer_invoked OWNER TO regress_pgi_auditor;
GRANT INSERT ON outer_view, outer_invoked TO regress_pgi_clerk;
-- So may the auditor, who sees all rows.
GRANT INSERT ON outer_invoked TO regress_pgi_auditor;
SET ROLE regress_pgi_clerk;
INSERT INTO outer_view VALUES (1, 'regress_pgi_clerk', 'hello');
INSERT INTO outer_view VALUES (99, 'boss', 'secret');
:state
INSERT INTO outer_invoked VALUES (99, 'boss', 'secret');
:state
SET ROLE regress_pgi_auditor;
INSERT INTO outer_invoked VALUES (99, 'boss', 'secret');
RESET ROLE;

-- 5. Rules: INSTEAD and ALSO insert with the rights of the owner of the table that has them.
CREATE TABLE letters (id int, author name, body text);
CREATE RULE into_notes AS ON INSERT TO letters DO INSTEAD INSERT INTO notes VALUES (NEW.id, NEW.author, NEW.body);
CREATE TABLE copied (id int, author name, body text);
CREATE RULE into_notes AS ON INSERT TO copied DO ALSO INSERT INTO notes VALUES (NEW.id, NEW.author, NEW.body);
GRANT INSERT ON letters, copied TO regress_pgi_clerk;
ALTER TABLE letters OWNER TO regress_pgi_auditor;
ALTER TABLE copied OWNER TO regress_pgi_auditor;
CREATE POLICY any_in ON notes TO regress_pgi_auditor WITH CHECK (true);
SET ROLE regress_pgi_clerk;
INSERT INTO letters VALUES (2, 'boss', 'by rule');
INSERT INTO letters VALUES (2, 'boss', 'by rule');
INSERT INTO copied VALUES (3, 'boss', 'by rule');
INSERT INTO copied VALUES (3, 'boss', 'by rule');
INSERT INTO letters VALUES (99, 'boss', 'guess');
:state
RESET ROLE;
SELECT * FROM notes ORDER BY id;
SELECT count(*) FROM copied;

-- 6. One statement that inserts into the table twice, with other rights each time.
SET ROLE regress_pgi_auditor;
WITH a AS (INSERT INTO inbox VALUES (1, 'regress_pgi_clerk', 'hello')) INSERT INTO notes VALUES (99, 'boss', 'secret');
WITH a AS (INSERT INTO notes VALUES (99, 'boss', 'secret')) INSERT INTO inbox VALUES (99, 'boss', 'secret');
:state
RESET ROLE;

-- 7. In a function, prepared, and by the first statement of a session, which loads the extension's library.
CREATE VIEW full_view AS SELECT * FROM notes;
ALTER VIEW full_view OWNER TO regress_pgi_auditor;
GRANT INSERT ON full_view TO regress_pgi_clerk;
REVOKE SELECT ON notes FROM regress_pgi_clerk;
CREATE FUNCTION send(int, name, text) RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO views.full_view VALUES ($1, $2, $3); END';
\set QUIET on
\c -
\set QUIET off
SET search_path = views, public;
SET ROLE regress_pgi_clerk;
SELECT send(99, 'boss', 'secret');
\set QUIET on
\c -
\set QUIET off
SET search_path = views, public;
SET ROLE regress_pgi_clerk;
INSERT INTO full_view VALUES (99, 'boss', 'secret');
PREPARE again AS INSERT INTO full_view VALUES (99, 'boss', 'secret');
EXECUTE again;
EXECUTE again;
RESET ROLE;
-- SECURITY DEFINER runs as its owner, who inserts with rights of their own.
CREATE FUNCTION definer() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$INSERT INTO views.notes VALUES (99, 'boss', 'secret')$$;
ALTER FUNCTION definer() OWNER TO regress_pgi_auditor;
SET ROLE regress_pgi_clerk;
SELECT definer();
RESET ROLE;

-- 8. Partitions: the rights are those for the table that the statement names.
CREATE TABLE parts (id int PRIMARY KEY, hidden boolean, v int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
SELECT FROM idempotent_guard('parts');
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY every ON parts TO regress_pgi_viewer USING (true);
GRANT SELECT, INSERT ON parts TO regress_pgi_viewer;
CREATE VIEW parts_view AS SELECT * FROM parts;
ALTER VIEW parts_view OWNER TO regress_pgi_viewer;
GRANT INSERT ON parts_view TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
INSERT INTO parts_view VALUES (1, true, 1), (101, true, 1);
INSERT INTO parts_view VALUES (1, true, 1), (101, true, 1), (102, true, 1);
RESET ROLE;

-- 9. Column privileges: a value is shown only where the client and the role that inserts may both read it.
CREATE TABLE pay (id int PRIMARY KEY, name text, salary int);
SELECT FROM idempotent_guard('pay');
INSERT INTO pay VALUES (1, 'Ann', 1000);
CREATE VIEW pay_in AS SELECT * FROM pay;
ALTER VIEW pay_in OWNER TO regress_pgi_viewer;
GRANT INSERT, SELECT ON pay TO regress_pgi_viewer;
GRANT INSERT ON pay_in TO regress_pgi_clerk;
GRANT SELECT (id, name) ON pay TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
INSERT INTO pay_in VALUES (1, 'Bob', 5);
:state
RESET ROLE;
REVOKE SELECT ON pay FROM regress_pgi_viewer;
GRANT SELECT (salary) ON pay TO regress_pgi_viewer;
GRANT SELECT ON pay TO regress_pgi_clerk;
SET ROLE regress_pgi_clerk;
INSERT INTO pay_in VALUES (1, 'Bob', 5);
:state
RESET ROLE;
-- Into the quarantine: it is the client who sent it.
SELECT FROM idempotent_guard('pay', on_conflict => 'quarantine');
SET ROLE regress_pgi_clerk;
INSERT INTO pay_in VALUES (1, 'Bob', 5);
RESET ROLE;
SELECT payload, arrived_by FROM idempotent.conflicts;

SET client_min_messages = warning;
DROP SCHEMA views CASCADE;
DELETE FROM idempotent.conflict_records;
DROP ROLE regress_pgi_clerk, regress_pgi_auditor, regress_pgi_viewer;
