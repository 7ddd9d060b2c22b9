-- Attacks on the records of the quarantine: what a role may not see of a table, it learns from no record, and ends no
-- conflict about it.
\set VERBOSITY default
\set SHOW_CONTEXT errors
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_mallory;
CREATE ROLE regress_pgi_clerk;

-- 1. SELECT on a table whose schema the role may not use. It could not name the table in a query.
CREATE SCHEMA vault;
CREATE TABLE vault.accounts (id int PRIMARY KEY, pin text);
INSERT INTO vault.accounts VALUES (1, 'stored pin');
GRANT SELECT, UPDATE ON vault.accounts TO regress_pgi_mallory, regress_pgi_clerk;
GRANT USAGE ON SCHEMA vault TO regress_pgi_clerk;
SELECT outcome FROM idempotent_insert('vault.accounts', '{"id": 1, "pin": "sent pin"}', on_conflict => 'quarantine');
SELECT rejected FROM idempotent_insert_many('vault.accounts', '[{"id": "x", "pin": "rejected pin"}]', on_error => 'quarantine');
SELECT max(id) AS id FROM idempotent.conflicts \gset
SET ROLE regress_pgi_mallory;
SELECT key, payload, stored FROM idempotent.conflicts;
SELECT payload, error FROM idempotent.rejections;
SELECT idempotent_resolve(:id, 'keep_stored');
:state
SELECT idempotent_resolve(:id, 'apply_payload');
:state
RESET ROLE;
SET ROLE regress_pgi_clerk;
SELECT key, payload, stored FROM idempotent.conflicts;
SELECT payload, error ->> 'sqlstate' AS sqlstate FROM idempotent.rejections;
SELECT idempotent_resolve(:id, 'keep_stored') AS resolved;
RESET ROLE;

-- 2. SELECT on some columns only: the record holds all of them.
CREATE SCHEMA open;
GRANT USAGE ON SCHEMA open TO PUBLIC;
SET search_path = open, public;
CREATE TABLE people (id int PRIMARY KEY, name text, salary int);
INSERT INTO people VALUES (1, 'Ann', 1000);
GRANT SELECT (id, name), UPDATE ON people TO regress_pgi_mallory;
SELECT outcome FROM idempotent_insert('people', '{"id": 1, "name": "Ann", "salary": 2000}', on_conflict => 'quarantine');
SELECT max(id) AS id FROM idempotent.conflicts \gset
SET ROLE regress_pgi_mallory;
SELECT key, payload, stored, differences FROM idempotent.conflicts;
SELECT idempotent_resolve(:id, 'keep_stored');
:state
RESET ROLE;
SELECT resolution FROM idempotent.conflicts WHERE id = :id;

-- 3. Row-level security. The conflicts of rows that policies hide are recorded; the view shows mallory that they are
-- there, without a value.
CREATE TABLE notes (id int PRIMARY KEY, author name, body text, size text);
GRANT SELECT, INSERT, UPDATE ON notes TO regress_pgi_mallory;
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (author = current_user);
INSERT INTO notes VALUES (1, 'boss', 'stored body', 'stored secret'), (2, 'boss', 'stored body', 'stored secret'), (3, 'boss', 'stored body', 'stored secret'), (4, 'regress_pgi_mallory', 'mine', 'stored secret'), (5, 'regress_pgi_mallory', 'mine', '5');
SELECT received, conflicts FROM idempotent_insert_many('notes', '[{"id": 1, "author": "boss", "body": "sent body", "size": "sent secret"}, {"id": 2, "author": "boss", "body": "sent body", "size": "sent secret"}, {"id": 3, "author": "boss", "body": "sent body", "size": "sent secret"}, {"id": 4, "author": "regress_pgi_mallory", "body": "sent body", "size": "sent secret"}, {"id": 5, "author": "regress_pgi_mallory", "body": "sent body", "size": "6"}]', on_conflict => 'quarantine');
SELECT id AS c1, id + 1 AS c2, id + 2 AS c3, id + 3 AS c4, id + 4 AS c5 FROM idempotent.conflicts WHERE payload ->> 'id' = '1' ORDER BY id DESC LIMIT 1 \gset
-- A hidden row as it was, a hidden row that has changed, and one that is gone: the same answer.
UPDATE notes SET body = 'changed' WHERE id = 2;
DELETE FROM notes WHERE id = 3;
SET ROLE regress_pgi_mallory;
SELECT key, payload, stored, differences FROM idempotent.conflicts WHERE id BETWEEN :c1 AND :c5;
SELECT idempotent_resolve(:c1, 'apply_payload');
:state
SELECT idempotent_resolve(:c2, 'apply_payload');
:state
SELECT idempotent_resolve(:c3, 'apply_payload');
:state
-- 'keep_stored' ends none of them.
SELECT idempotent_resolve(:c1, 'keep_stored');
:state
SELECT idempotent_resolve(:c2, 'keep_stored');
:state
SELECT idempotent_resolve(:c3, 'keep_stored');
:state
RESET ROLE;
SELECT count(*) AS open FROM idempotent.conflicts WHERE id BETWEEN :c1 AND :c3 AND resolution IS NULL;
-- The type of a column changes, so that what was recorded is no value of it any more. No error quotes it: of a hidden
-- row, or of one's own, since the view does not show the record's values of that either.
ALTER TABLE notes ALTER size TYPE int USING id;
SET ROLE regress_pgi_mallory;
SELECT idempotent_resolve(:c1, 'apply_payload');
:state
SELECT idempotent_resolve(:c4, 'apply_payload');
:state
RESET ROLE;
-- The key's, too.
BEGIN;
ALTER TABLE notes ALTER id TYPE date USING '2001-01-01'::date + id;
SET LOCAL ROLE regress_pgi_mallory;
SAVEPOINT a;
SELECT idempotent_resolve(:c1, 'keep_stored');
:state
ROLLBACK TO a;
SELECT idempotent_resolve(:c4, 'keep_stored');
:state
ROLLBACK;
-- The unique index is gone: still nothing is said of what is hidden.
BEGIN;
ALTER TABLE notes DROP CONSTRAINT notes_pkey;
SET LOCAL ROLE regress_pgi_mallory;
SELECT idempotent_resolve(:c1, 'keep_stored');
:state
ROLLBACK;
-- A superuser, whom nothing is hidden from, is told.
SELECT idempotent_resolve(:c1, 'apply_payload');
:state
-- Rows that mallory sees can be resolved by mallory.
SET ROLE regress_pgi_mallory;
SELECT idempotent_resolve(:c5, 'apply_payload');
SELECT * FROM notes WHERE id = 5;
SELECT idempotent_resolve(:c4, 'keep_stored');
RESET ROLE;
-- With row_security off it is the server's own error.
SET ROLE regress_pgi_mallory;
SET row_security = off;
\set SHOW_CONTEXT never
SELECT idempotent_resolve(:c1, 'keep_stored');
:state
\set SHOW_CONTEXT errors
RESET row_security;
RESET ROLE;

-- 4. A row that the policies show, and do not let be updated.
CREATE TABLE readonly (id int PRIMARY KEY, v int);
GRANT SELECT, UPDATE ON readonly TO regress_pgi_mallory;
INSERT INTO readonly VALUES (1, 1);
ALTER TABLE readonly ENABLE ROW LEVEL SECURITY;
CREATE POLICY shown ON readonly FOR SELECT USING (true);
SELECT outcome FROM idempotent_insert('readonly', '{"id": 1, "v": 2}', on_conflict => 'quarantine');
SELECT max(id) AS id FROM idempotent.conflicts \gset
SET ROLE regress_pgi_mallory;
SELECT idempotent_resolve(:id, 'apply_payload');
:state
RESET ROLE;
SELECT resolution FROM idempotent.conflicts WHERE id = :id;

-- 5. By partition: policies of the partitioned table hide the row wherever it is.
CREATE TABLE parts (id int PRIMARY KEY, hidden boolean, v int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
INSERT INTO parts VALUES (1, false, 1), (101, true, 1);
GRANT SELECT, UPDATE ON parts TO regress_pgi_mallory;
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY shown ON parts USING (NOT hidden);
SELECT conflicts FROM idempotent_insert_many('parts', '[{"id": 1, "v": 2}, {"id": 101, "v": 2}]', on_conflict => 'quarantine');
SELECT id AS seen, id + 1 AS unseen FROM idempotent.conflicts WHERE target = 'parts'::regclass ORDER BY id LIMIT 1 \gset
SET ROLE regress_pgi_mallory;
SELECT idempotent_resolve(:unseen, 'keep_stored');
:state
SELECT idempotent_resolve(:seen, 'apply_payload');
RESET ROLE;
SELECT * FROM parts ORDER BY id;

-- 6. A column that is gone: its name is part of the record, which policies hide. To the owner it is named.
CREATE TABLE gone (id int PRIMARY KEY, owner name, secret text);
GRANT SELECT, UPDATE ON gone TO regress_pgi_mallory;
INSERT INTO gone VALUES (1, 'regress_pgi_mallory', 'a');
SELECT outcome FROM idempotent_insert('gone', '{"id": 1, "secret": "b"}', on_conflict => 'quarantine');
SELECT max(id) AS id FROM idempotent.conflicts \gset
ALTER TABLE gone ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON gone USING (owner = current_user);
ALTER TABLE gone DROP secret;
SET ROLE regress_pgi_mallory;
SELECT idempotent_resolve(:id, 'apply_payload');
:state
RESET ROLE;
SELECT idempotent_resolve(:id, 'apply_payload');
:state
SET ROLE regress_pgi_mallory;
SELECT idempotent_resolve(:id, 'keep_stored');
RESET ROLE;

-- What is not there at all.
SET ROLE regress_pgi_mallory;
SELECT idempotent_resolve(9223372036854775807, 'keep_stored');
:state
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA vault, open CASCADE;
DELETE FROM idempotent.conflict_records;
DROP ROLE regress_pgi_mallory, regress_pgi_clerk;
