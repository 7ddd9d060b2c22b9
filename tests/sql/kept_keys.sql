-- Repairs and resolutions that would move a row out of its key say so before they write, whether or not the other key is taken,
-- and so does a dry run.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA kept_keys;
SET search_path = kept_keys, public;

-- An expression of two columns, of which the source has one. The key that the row would have is taken, or not.
CREATE TABLE sums (a int, b int DEFAULT 0, v int);
CREATE UNIQUE INDEX sums_key ON sums ((a + b));
INSERT INTO sums VALUES (1, 2, 1), (5, 0, 2);
CREATE TABLE sums_in AS SELECT * FROM (VALUES (3, 10), (5, 2)) AS rows(a, v);
SELECT * FROM idempotent_repair('sums', 'sums_in', key => '{a + b}');
:state
SELECT * FROM idempotent_repair('sums', 'sums_in', key => '{a + b}', dry_run => false);
:state
UPDATE sums SET a = 7 WHERE a = 5;
SELECT * FROM idempotent_repair('sums', 'sums_in', key => '{a + b}');
:state
SELECT * FROM idempotent_repair('sums', 'sums_in', key => '{a + b}', dry_run => false);
:state
SELECT status, outcome FROM idempotent_repair('sums', 'sums_in', key => '{a + b}', ignore => '{a}');
-- Only rows that are to be updated can be moved.
SELECT status, outcome FROM idempotent_repair('sums', 'sums_in', key => '{a + b}', "limit" => 0);
INSERT INTO sums_in VALUES (3, 1);
SELECT status, key, expected FROM idempotent_reconcile('sums', 'sums_in', key => '{a + b}');
SELECT * FROM sums ORDER BY v;

-- It is the row that counts: with the columns that it keeps, the key may be the same.
CREATE TABLE either (a int, b int, v int);
CREATE UNIQUE INDEX either_key ON either (coalesce(a, b));
INSERT INTO either VALUES (NULL, 1, 1), (NULL, 2, 2);
CREATE VIEW either_in(a, v) AS VALUES (1, 1), (2, 20);
SELECT status, key, outcome FROM idempotent_repair('either', 'either_in', key => '{"COALESCE(a, b)"}');
SELECT status, key, outcome FROM idempotent_repair('either', 'either_in', key => '{"COALESCE(a, b)"}', dry_run => false);
SELECT * FROM either ORDER BY v;

-- A condition over two columns.
CREATE TABLE above (k int, x int, y int DEFAULT 0);
CREATE UNIQUE INDEX above_key ON above (k) WHERE x > y;
INSERT INTO above VALUES (1, 10, 5), (2, 10, 5);
CREATE TABLE above_in AS SELECT * FROM (VALUES (1, 7), (2, 10)) AS rows(k, x);
SELECT status, key, outcome FROM idempotent_repair('above', 'above_in', key => '{k}', dry_run => false);
UPDATE above_in SET x = 3 WHERE k = 2;
SELECT * FROM idempotent_repair('above', 'above_in', key => '{k}');
:state
SELECT * FROM idempotent_repair('above', 'above_in', key => '{k}', dry_run => false);
:state
SELECT * FROM above ORDER BY k;

-- A generated column of the key, and one in an expression. What it is computed from is read, also by a dry run.
CREATE TABLE made (a int, b int DEFAULT 0, k int GENERATED ALWAYS AS (a + b) STORED PRIMARY KEY, v int);
INSERT INTO made VALUES (1, 2, DEFAULT, 1), (5, 0, DEFAULT, 2);
CREATE VIEW made_in(a, k, v) AS VALUES (3, 3, 1), (5, 5, 2);
SELECT * FROM idempotent_repair('made', 'made_in');
:state
SELECT * FROM idempotent_repair('made', 'made_in', dry_run => false);
:state
CREATE UNIQUE INDEX made_abs ON made (abs(k));
SELECT * FROM idempotent_repair('made', 'made_in', key => '{abs(k)}');
:state
CREATE ROLE regress_pgi_keeper;
GRANT USAGE ON SCHEMA kept_keys TO regress_pgi_keeper;
GRANT SELECT (a, k, v) ON made TO regress_pgi_keeper;
GRANT SELECT ON made_in TO regress_pgi_keeper;
SET ROLE regress_pgi_keeper;
SELECT * FROM idempotent_repair('made', 'made_in');
:state
SELECT status, key FROM idempotent_reconcile('made', 'made_in');
RESET ROLE;
GRANT SELECT (b) ON made TO regress_pgi_keeper;
SET ROLE regress_pgi_keeper;
SELECT * FROM idempotent_repair('made', 'made_in');
:state
RESET ROLE;
CREATE OR REPLACE VIEW made_in(a, k, v) AS VALUES (1, 3, 10), (5, 5, 2);
SELECT status, key, outcome FROM idempotent_repair('made', 'made_in', dry_run => false);

-- The same columns of a partition are in other places.
CREATE TABLE parted (b int, a int, k int GENERATED ALWAYS AS (a + b) STORED, v int) PARTITION BY LIST (v);
CREATE TABLE parted_1 (v int, gone int, a int, b int, k int GENERATED ALWAYS AS (a + b) STORED);
ALTER TABLE parted_1 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1);
CREATE UNIQUE INDEX parted_key ON parted (k, v);
INSERT INTO parted (a, b, v) VALUES (1, 2, 1);
CREATE VIEW parted_in(a, k, v) AS VALUES (3, 3, 1);
SELECT * FROM idempotent_repair('parted', 'parted_in');
:state
SELECT * FROM idempotent_repair('parted', 'parted_in', dry_run => false);
:state

-- What a trigger does shows only when it is done. If the other key is taken, the server says so.
CREATE TABLE pushed (id int PRIMARY KEY, v int);
INSERT INTO pushed VALUES (1, 1), (2, 2);
CREATE FUNCTION push() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := NEW.id + NEW.v; RETURN NEW; END';
CREATE TRIGGER push BEFORE UPDATE ON pushed FOR EACH ROW EXECUTE FUNCTION push();
CREATE TABLE pushed_in AS SELECT * FROM (VALUES (1, 5), (2, 2)) AS rows(id, v);
SELECT status, key, outcome FROM idempotent_repair('pushed', 'pushed_in');
SELECT * FROM idempotent_repair('pushed', 'pushed_in', dry_run => false);
:state
UPDATE pushed_in SET v = 1 WHERE id = 1;
TRUNCATE pushed;
INSERT INTO pushed VALUES (1, 2), (2, 2);
SELECT * FROM idempotent_repair('pushed', 'pushed_in', dry_run => false);
:state

-- Two spellings of a value of the key: an update leaves the stored one, from which the other part of the key is computed.
CREATE TABLE scaled (n numeric, b int, v int);
CREATE UNIQUE INDEX scaled_key ON scaled (n, (scale(n) + b));
INSERT INTO scaled VALUES (1.0, 2, 1);
CREATE TABLE scaled_in AS SELECT 1.00 AS n, 1 AS b, 2 AS v;
SELECT * FROM idempotent_repair('scaled', 'scaled_in', key => '{n, scale(n) + b}');
:state
SELECT * FROM idempotent_repair('scaled', 'scaled_in', key => '{n, scale(n) + b}', dry_run => false);
:state
CREATE TABLE scaled_made (n numeric, b int, v int, k int GENERATED ALWAYS AS (scale(n) + b) STORED, PRIMARY KEY (n, k));
INSERT INTO scaled_made VALUES (1.0, 2, 1);
CREATE VIEW scaled_made_in AS SELECT *, 3 AS k FROM scaled_in;
SELECT * FROM idempotent_repair('scaled_made', 'scaled_made_in');
:state
SELECT * FROM idempotent_repair('scaled_made', 'scaled_made_in', dry_run => false);
:state
-- A merge notices it when it has written the row.
SELECT updated FROM idempotent_merge('scaled', 'scaled_in', key => '{n, scale(n) + b}');
:state
SELECT updated FROM idempotent_merge('scaled_made', 'scaled_made_in');
:state
SELECT updated FROM idempotent_merge_many('scaled_made', '[{"n": 1.00, "b": 1, "k": 3, "v": 2}]');
:state
SELECT updated FROM idempotent_merge_many('scaled_made', '[{"n": 1.0, "b": 2, "k": 3, "v": 2}]');
TABLE scaled_made;

-- Resolutions. The other key is taken, or not.
CREATE VIEW open AS SELECT id, target FROM idempotent.conflicts WHERE resolution IS NULL;
TRUNCATE sums;
INSERT INTO sums VALUES (1, 2, 1), (5, 0, 2);
SELECT outcome FROM idempotent_insert('sums', '{"a": 3, "v": 1}', key => '{a + b}', on_conflict => 'quarantine');
SELECT idempotent_resolve(id, 'apply_payload') FROM open WHERE target = 'sums'::regclass;
:state
DELETE FROM sums WHERE a = 5;
SELECT idempotent_resolve(id, 'apply_payload') FROM open WHERE target = 'sums'::regclass;
:state
SELECT outcome FROM idempotent_insert('made', '{"a": 0, "b": 3, "k": 3, "v": 1}', compare => '{a}', on_conflict => 'quarantine');
SELECT idempotent_resolve(id, 'apply_payload') FROM open WHERE target = 'made'::regclass;
:state
SELECT outcome FROM idempotent_insert('scaled', '{"n": 1.00, "b": 1, "v": 2}', key => '{n, scale(n) + b}', on_conflict => 'quarantine');
SELECT idempotent_resolve(id, 'apply_payload') FROM open WHERE target = 'scaled'::regclass;
:state
SELECT outcome FROM idempotent_insert('scaled_made', '{"n": 1.00, "b": 1, "k": 3, "v": 2}', on_conflict => 'quarantine');
SELECT idempotent_resolve(id, 'apply_payload') FROM open WHERE target = 'scaled_made'::regclass;
:state
-- The key is the same.
TRUNCATE either;
INSERT INTO either VALUES (NULL, 1, 1);
SELECT outcome FROM idempotent_insert('either', '{"a": 1, "v": 2}', key => '{"COALESCE(a, b)"}', on_conflict => 'quarantine');
SELECT idempotent_resolve(id, 'apply_payload') FROM open WHERE target = 'either'::regclass;
TABLE either;
-- A trigger.
TRUNCATE pushed;
INSERT INTO pushed VALUES (1, 1), (6, 1);
SELECT outcome FROM idempotent_insert('pushed', '{"id": 1, "v": 5}', on_conflict => 'quarantine');
SELECT idempotent_resolve(id, 'apply_payload') FROM open WHERE target = 'pushed'::regclass;
:state
DELETE FROM pushed WHERE id = 6;
SELECT idempotent_resolve(id, 'apply_payload') FROM open WHERE target = 'pushed'::regclass;
:state
DELETE FROM idempotent.conflict_records;
DROP OWNED BY regress_pgi_keeper;
DROP ROLE regress_pgi_keeper;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP SCHEMA kept_keys CASCADE;
