-- Into a guarded table through a view of another owner: what is left out is not compared, whoever's rights judge, and
-- what a column remembers is shown to those who may read it.
\set VERBOSITY default
\set SHOW_CONTEXT errors
CREATE ROLE regress_pgi_client;
CREATE ROLE regress_pgi_keeper;
CREATE SCHEMA through;
GRANT USAGE ON SCHEMA through TO PUBLIC;
SET search_path = through, public;
\set QUIET off
-- 1. A default that is stable: left out, it is not compared; sent, it is.
CREATE TABLE letters (id int, author name DEFAULT current_user, at timestamptz DEFAULT now(), body text, UNIQUE (id));
SELECT compared, null_key FROM idempotent_guard('letters', null_key => 'pass');
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON letters TO regress_pgi_keeper USING (author = current_user);
GRANT INSERT, SELECT ON letters TO regress_pgi_keeper;
CREATE VIEW box AS SELECT * FROM letters;
ALTER VIEW box OWNER TO regress_pgi_keeper;
GRANT INSERT ON box TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO box (id, body) VALUES (1, 'hello');
INSERT INTO box (id, body) VALUES (1, 'hello');
INSERT INTO box (id, at, body) VALUES (1, '2024-05-01', 'hello');
INSERT INTO box (id, body) VALUES (1, 'other');
-- A row without a key goes in as without a guard.
INSERT INTO box (id, body) VALUES (NULL, 'x'), (NULL, 'x');
-- Whoever has no right on the table sees the options, and no more.
SELECT key, arbiter, compared, null_key, problem FROM idempotent.guards WHERE target = 'letters'::regclass;
RESET ROLE;
SELECT id, author, body FROM letters ORDER BY id, body;

-- 2. Remembered: what the first row got by default is none of the payload's.
CREATE TABLE forms (id int PRIMARY KEY, at timestamptz DEFAULT now(), state text, first jsonb);
CREATE TABLE digests (id int PRIMARY KEY, at timestamptz DEFAULT now(), state text, first bytea);
SELECT compared FROM idempotent_guard('forms', remember => 'first');
SELECT compared FROM idempotent_guard('digests', remember => 'first');
CREATE VIEW desk AS SELECT id, at, state FROM forms;
CREATE VIEW shelf AS SELECT id, at, state FROM digests;
GRANT INSERT ON desk, shelf TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO desk (id, state) VALUES (1, 'new');
INSERT INTO shelf (id, state) VALUES (1, 'new');
RESET ROLE;
UPDATE forms SET state = 'done';
UPDATE digests SET state = 'done';
SET ROLE regress_pgi_client;
INSERT INTO desk (id, state) VALUES (1, 'new');
INSERT INTO shelf (id, state) VALUES (1, 'new');
INSERT INTO desk (id, state) VALUES (1, 'newer');
INSERT INTO shelf (id, state) VALUES (1, 'newer');
RESET ROLE;
GRANT SELECT (id, state) ON forms TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO desk (id, state) VALUES (1, 'newer');
RESET ROLE;
GRANT SELECT (first) ON forms TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO desk (id, state) VALUES (1, 'newer');
RESET ROLE;

-- 3. A statement that merges into one table, and inserts into another through a view, finds both in one state.
CREATE TABLE stock (id int PRIMARY KEY, pieces int);
SELECT FROM idempotent_guard('stock');
GRANT SELECT, INSERT, UPDATE ON stock TO regress_pgi_client;
SET ROLE regress_pgi_client;
INSERT INTO stock VALUES (1, 5);
WITH sent AS (INSERT INTO box (id, body) VALUES (1, 'hello'), (2, 'new') RETURNING 1)
MERGE INTO stock t USING (VALUES (1, 5), (2, 7)) s (id, pieces) ON t.id = s.id
  WHEN MATCHED THEN UPDATE SET pieces = t.pieces + s.pieces WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.pieces);
RESET ROLE;
SELECT * FROM stock ORDER BY id;
SELECT id, author, body FROM letters WHERE id = 2;

-- 4. A default of the view's own column is a value that the statement names; one of the table's column is not.
CREATE TABLE visits (id int PRIMARY KEY, at timestamptz DEFAULT now(), v int);
CREATE VIEW visits_view AS SELECT * FROM visits;
SELECT FROM idempotent_guard('visits');
INSERT INTO visits_view (id, v) VALUES (1, 1);
INSERT INTO visits_view (id, v) VALUES (1, 1);
ALTER VIEW visits_view ALTER at SET DEFAULT clock_timestamp();
\set VERBOSITY sqlstate
INSERT INTO visits_view (id, v) VALUES (1, 1);
\set VERBOSITY default
\set QUIET on
SET client_min_messages = warning;
DROP SCHEMA through CASCADE;
DROP ROLE regress_pgi_client, regress_pgi_keeper;
