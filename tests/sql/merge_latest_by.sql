-- idempotent_merge: latest_by names columns that only the source has, or that the target keeps under another name.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA merge_latest_by;
SET search_path = merge_latest_by, public;
CREATE FUNCTION merged(target regclass, source regclass, latest_by text[], delete_when text DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$
    SELECT format('received %s, inserted %s, updated %s, deleted %s, unchanged %s, stale %s, superseded %s', received, inserted, updated, deleted, unchanged, stale, superseded)
    FROM idempotent_merge(target, source, latest_by => latest_by, delete_when => delete_when)
$$;

-- A column that only the source has decides within the source. What arrives is later than what is stored.
CREATE TABLE items (id int PRIMARY KEY, v text);
INSERT INTO items VALUES (1, 'z'), (2, 'same');
CREATE TABLE log (lsn pg_lsn, v text, id int, gone boolean);
INSERT INTO log VALUES ('0/30', 'b', 1), ('0/100', 'a', 1), ('0/20', 'c', 1), ('0/20', 'old', 2), ('1/0', 'same', 2), ('0/1', 'new', 3);
SELECT merged('items', 'log', '{lsn}', 'gone');
SELECT * FROM items ORDER BY id;
SELECT merged('items', 'log', '{lsn}', 'gone');
-- Nothing says that what is stored is later.
DELETE FROM log WHERE lsn > '0/20';
SELECT merged('items', 'log', '{lsn}', 'gone');
SELECT * FROM items ORDER BY id;
-- Rows that are equal in it: the greater one in the compared columns, in whatever order.
TRUNCATE log;
INSERT INTO log VALUES ('0/50', 'x', 1), ('0/50', 'y', 1), (NULL, 'zz', 1);
SELECT merged('items', 'log', '{lsn}', 'gone');
CREATE VIEW log_back AS SELECT * FROM log ORDER BY v DESC;
SELECT merged('items', 'log_back', '{lsn}', 'gone');
SELECT * FROM items WHERE id = 1;
-- With deletes.
INSERT INTO log VALUES ('0/60', NULL, 1, true), ('0/70', NULL, 2, true), ('0/71', 'back', 2, false);
SELECT merged('items', 'log', '{lsn}', 'gone');
SELECT * FROM items ORDER BY id;
-- The flag itself decides: a delete is the later.
CREATE VIEW log_flag AS SELECT id, v, gone FROM log;
SELECT merged('items', 'log_flag', '{gone}', 'gone');
SELECT * FROM items ORDER BY id;
-- Several, of which the target keeps the first, or the second.
CREATE TABLE kept (id int PRIMARY KEY, at int, v text);
CREATE TABLE kept_in (id int, seq int, at int, v text);
INSERT INTO kept VALUES (1, 5, 'z'), (2, 5, 'z'), (3, 5, 'z');
INSERT INTO kept_in VALUES (1, 9, 4, 'earlier'), (2, 1, 5, 'a'), (2, 2, 5, 'b'), (3, 1, 6, 'c'), (3, 2, 5, 'd');
BEGIN;
SELECT merged('kept', 'kept_in', '{at,seq}');
SELECT * FROM kept ORDER BY id;
ROLLBACK;
SELECT merged('kept', 'kept_in', '{seq,at}');
SELECT * FROM kept ORDER BY id;

-- Stored as a column of the target: order is kept from call to call, late rows are stale.
CREATE TABLE stored (id int PRIMARY KEY, v text, last_lsn pg_lsn);
CREATE TABLE changes (lsn pg_lsn, v text, id int, gone boolean DEFAULT false);
INSERT INTO changes VALUES ('0/30', 'b', 1), ('0/100', 'a', 1), ('0/20', 'c', 2);
SELECT merged('stored', 'changes', '{lsn stored as last_lsn}', 'gone');
SELECT * FROM stored ORDER BY id;
UPDATE changes SET lsn = lsn - 1, v = 'late';
SELECT merged('stored', 'changes', '{lsn STORED AS last_lsn}', 'gone');
UPDATE changes SET lsn = lsn + 2, v = 'later', gone = id = 2;
SELECT merged('stored', 'changes', '{"  lsn   stored as   last_lsn "}', 'gone');
SELECT * FROM stored ORDER BY id;
-- It is assigned with its cast and its type's modifier.
CREATE TABLE rounded (id int PRIMARY KEY, v int, at numeric(6,1));
CREATE VIEW precise AS SELECT 1 AS id, v, 1 + v / 100.0 AS ts FROM generate_series(1, 3) v;
SELECT merged('rounded', 'precise', '{ts stored as at}');
SELECT * FROM rounded;
-- A column that the target has by both names goes into both.
CREATE TABLE both_names (id int PRIMARY KEY, seq int, last_seq int);
CREATE VIEW seqs AS SELECT 1 AS id, 7 AS seq;
SELECT merged('both_names', 'seqs', '{seq stored as last_seq}');
TABLE both_names;
-- Columns whose names say «stored as» are themselves.
CREATE TABLE odd (id int PRIMARY KEY, "a stored as b" int, b int);
CREATE VIEW odd_in AS SELECT 1 AS id, 2 AS "a stored as b", 3 AS b, 4 AS "c stored as b";
SELECT merged('odd', 'odd_in', '{a stored as b,c stored as b}');
TABLE odd;

-- A collation of the source's own, values out of line, a domain, types without an order.
CREATE TABLE texts (id int PRIMARY KEY, v int);
CREATE TABLE texts_in (id int, v int, tag text COLLATE "C", body text, place point);
ALTER TABLE texts_in ALTER body SET STORAGE EXTERNAL;
INSERT INTO texts_in VALUES (1, 1, 'a', repeat('a', 10000), point(1, 1)), (1, 2, 'B', repeat('b', 10000), point(2, 2));
CREATE VIEW texts_tag AS SELECT id, v, tag FROM texts_in;
CREATE VIEW texts_body AS SELECT id, v, body FROM texts_in;
CREATE VIEW texts_place AS SELECT id, v, place FROM texts_in;
SELECT merged('texts', 'texts_tag', '{tag}');
TABLE texts;
SELECT merged('texts', 'texts_body', '{body}');
TABLE texts;
SELECT merged('texts', 'texts_place', '{place}');
-- A thousand keys, each of which comes three times: only the rows that count are kept.
CREATE TABLE many (id int PRIMARY KEY, v int);
CREATE VIEW many_in AS SELECT g % 1000 AS id, g AS v, -g AS rank FROM generate_series(1, 3000) g;
SELECT merged('many', 'many_in', '{rank}');
SELECT count(*), min(v), max(v) FROM many;

-- Errors.
CREATE VIEW kept_named AS SELECT 1 AS id, 1 AS seq;
CREATE VIEW unversioned AS SELECT 1 AS id, 'x' AS v;
SELECT merged('stored', 'changes', '{lns stored as last_lsn}', 'gone');
:state
SELECT merged('stored', 'changes', '{lsn stored as last_lns}', 'gone');
:state
SELECT merged('stored', 'changes', '{lsn stored}', 'gone');
:state
SELECT merged('stored', 'unversioned', '{last_lsn}');
:state
SELECT merged('stored', 'changes', '{lsn stored as id}', 'gone');
:state
SELECT merged('stored', 'changes', '{lsn stored as v}', 'gone');
:state
SELECT merged('kept', 'kept_named', '{at,seq stored as at}');
:state
SELECT merged('kept', 'kept_named', '{seq stored as at,seq stored as at}');
:state
CREATE VIEW two AS SELECT 1 AS id, '0/1'::pg_lsn AS lsn, '0/1'::pg_lsn AS last_lsn;
SELECT merged('stored', 'two', '{lsn stored as last_lsn}');
:state
SELECT * FROM idempotent_merge('stored', 'changes', latest_by => '{lsn stored as last_lsn}', insert_only => '{last_lsn}', delete_when => 'gone');
:state
CREATE VIEW wrong AS SELECT 1 AS id, point(1, 1) AS ts;
SELECT merged('rounded', 'wrong', '{ts stored as at}');
:state
-- A column that nothing names is still none of the target's.
SELECT merged('items', 'changes', '{lsn}');
:state

SET client_min_messages = warning;
DROP SCHEMA merge_latest_by CASCADE;
