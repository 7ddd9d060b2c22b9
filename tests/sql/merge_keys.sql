-- What a merge or a resolution changes stays under its key: expressions, conditions and generated columns in keys, and triggers.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA merge_keys;
SET search_path = merge_keys, public;

-- An expression of two columns, of which the source has one.
CREATE TABLE sums (a int, b int DEFAULT 0, v int);
CREATE UNIQUE INDEX sums_key ON sums ((a + b));
INSERT INTO sums VALUES (1, 2, 7), (5, 0, 1);
CREATE TABLE sums_in AS SELECT 3 AS a, 8 AS v;
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}');
:state
SELECT inserted, updated FROM idempotent_merge_many('sums', '[{"a": 3, "b": 0, "v": 9}, {"a": 3, "v": 9}]', key => '{a + b}');
:state
-- None of them is set.
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}', insert_only => '{a}');
SELECT inserted, updated FROM idempotent_merge_many('sums', '[{"a": 3, "v": 9}]', key => '{a + b}', insert_only => '{a}');
SELECT * FROM sums ORDER BY a;
-- Spaces make no difference.
SELECT updated FROM idempotent_merge('sums', 'sums_in', key => '{a+b}', insert_only => '{a}');
SELECT unchanged FROM idempotent_merge('sums', 'sums_in', key => '{a-b}', insert_only => '{a}');
SELECT unchanged FROM idempotent_merge('sums', 'sums_in', key => '{a-c}', insert_only => '{a}');
-- All of them are set, or one is kept.
ALTER TABLE sums_in ADD b int DEFAULT 0;
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}', insert_only => '{b}');
:state
UPDATE sums_in SET v = 7;
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}', insert_only => '{a, b}');
SELECT inserted, updated FROM idempotent_merge('sums', 'sums_in', key => '{a + b}');
SELECT inserted, updated, unchanged FROM idempotent_merge('sums', 'sums_in', key => '{a + b}');
SELECT inserted, updated FROM idempotent_merge_many('sums', '[{"a": 0, "b": 3, "v": 10}]', key => '{a + b}');
SELECT * FROM sums ORDER BY a;

-- A condition over two columns.
CREATE TABLE parts (k int, x int, y int DEFAULT 0, v int);
CREATE UNIQUE INDEX parts_key ON parts (k) WHERE x > y;
INSERT INTO parts VALUES (1, 10, 5, 1);
SELECT updated FROM idempotent_merge_many('parts', '[{"k": 1, "x": 3}]', key => '{k}');
:state
SELECT updated, inserted FROM idempotent_merge_many('parts', '[{"k": 1, "x": 3}]', key => '{k}', insert_only => '{x}');
SELECT updated, inserted FROM idempotent_merge_many('parts', '[{"k": 1, "x": 3, "y": 2}]', key => '{k}');
SELECT * FROM parts;

-- The expression's columns are set, those of the condition are not.
CREATE TABLE people (email text, gone boolean DEFAULT false, v int);
CREATE UNIQUE INDEX people_key ON people (lower(email)) WHERE NOT gone;
INSERT INTO people VALUES ('Ann', false, 1);
SELECT updated, inserted FROM idempotent_merge_many('people', '[{"email": "ANN", "v": 2}]', key => '{lower(email)}');
SELECT * FROM people;

-- A generated column is the key, and one is in an expression.
CREATE TABLE generated (a int, b int DEFAULT 0, kk int GENERATED ALWAYS AS (a + b) STORED PRIMARY KEY, v int);
INSERT INTO generated VALUES (1, 2, DEFAULT, 1);
CREATE TABLE generated_in AS SELECT 3 AS a, 3 AS kk, 2 AS v;
SELECT updated FROM idempotent_merge('generated', 'generated_in');
:state
ALTER TABLE generated_in ADD b int DEFAULT 0;
SELECT updated FROM idempotent_merge('generated', 'generated_in');
SELECT * FROM generated;
CREATE UNIQUE INDEX generated_abs ON generated (abs(kk));
SELECT updated FROM idempotent_merge('generated', 'generated_in', key => '{abs(kk)}', insert_only => '{a}');
:state

-- A conflict's payload would move the row.
SELECT conflicts FROM idempotent_insert_many('sums', '[{"a": 3, "b": 0, "v": 11}, {"a": 5, "v": 2}]', key => '{a + b}', on_conflict => 'quarantine');
SELECT conflicts FROM idempotent_insert_many('parts', '[{"k": 1, "x": 2, "y": 1, "v": 5}]', key => '{k}', on_conflict => 'quarantine');
UPDATE sums SET a = 4, b = 1 WHERE a = 5;
SELECT conflicts FROM idempotent_insert_many('sums', '[{"a": 5, "v": 3}]', key => '{a + b}', compare => '{a}', on_conflict => 'quarantine');
SELECT resolved FROM (SELECT id, idempotent_resolve(id, 'apply_payload') AS resolved FROM (SELECT id FROM idempotent.conflicts WHERE payload->>'v' IN ('5', '11') ORDER BY id) c) r;
SELECT idempotent_resolve((SELECT id FROM idempotent.conflicts WHERE payload->>'v' = '3' AND resolution IS NULL), 'apply_payload');
:state
SELECT * FROM sums ORDER BY a;

-- So would a generated key, a condition of two columns, and a trigger.
CREATE VIEW open AS SELECT id, target FROM idempotent.conflicts WHERE resolution IS NULL;
SELECT conflicts FROM idempotent_insert_many('generated', '[{"a": 0, "b": 3, "kk": 3, "v": 2}]', on_conflict => 'quarantine', compare => '{a}');
SELECT idempotent_resolve((SELECT id FROM open WHERE target = 'generated'::regclass), 'apply_payload');
:state
UPDATE parts SET x = 20, y = 15;
SELECT conflicts FROM idempotent_insert_many('parts', '[{"k": 1, "x": 10}]', key => '{k}', compare => '{x}', on_conflict => 'quarantine');
SELECT idempotent_resolve((SELECT id FROM open WHERE target = 'parts'::regclass), 'apply_payload');
:state
SELECT x, y FROM parts;
CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.k := 9; RETURN NEW; END';
CREATE TABLE away (k int PRIMARY KEY, v int);
INSERT INTO away VALUES (1, 1);
CREATE TRIGGER away BEFORE UPDATE ON away FOR EACH ROW EXECUTE FUNCTION away();
SELECT conflicts FROM idempotent_insert_many('away', '[{"k": 1, "v": 2}]', on_conflict => 'quarantine');
SELECT idempotent_resolve((SELECT id FROM open WHERE target = 'away'::regclass), 'apply_payload');
:state

-- BEFORE UPDATE triggers that change the key, or move the row out of the condition.
CREATE TABLE shifted (k int PRIMARY KEY, v int);
INSERT INTO shifted VALUES (1, 1), (2, 1);
CREATE FUNCTION shift() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.k := NEW.k + NEW.v / 10 * 100; RETURN NEW; END';
CREATE TRIGGER shift BEFORE UPDATE ON shifted FOR EACH ROW EXECUTE FUNCTION shift();
SELECT inserted, updated FROM idempotent_merge_many('shifted', '[{"k": 1, "v": 12}, {"k": 3, "v": 1}]');
:state
CREATE TABLE shifted_in AS SELECT k, 11 AS v, k = 1 AS gone FROM generate_series(1, 3) k;
SELECT inserted, updated, deleted FROM idempotent_merge('shifted', 'shifted_in', delete_when => 'gone');
:state
UPDATE shifted_in SET v = 9;
SELECT inserted, updated, deleted FROM idempotent_merge('shifted', 'shifted_in', delete_when => 'gone');
SELECT inserted, updated, deleted, unchanged FROM idempotent_merge('shifted', 'shifted_in', delete_when => 'gone');
SELECT inserted, updated FROM idempotent_merge_many('shifted', '[{"k": 2, "v": 8}]');
SELECT * FROM shifted ORDER BY k;
CREATE TABLE hidden (k int, gone boolean DEFAULT false, v int);
CREATE UNIQUE INDEX hidden_key ON hidden (k) WHERE NOT gone;
INSERT INTO hidden VALUES (1, false, 1);
CREATE FUNCTION hide() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.gone := NEW.v < 0; RETURN NEW; END';
CREATE TRIGGER hide BEFORE UPDATE ON hidden FOR EACH ROW EXECUTE FUNCTION hide();
SELECT updated FROM idempotent_merge_many('hidden', '[{"k": 1, "v": -1}]', key => '{k}');
:state
SELECT updated FROM idempotent_merge_many('hidden', '[{"k": 1, "v": 2}]', key => '{k}');
-- Only a partition has such a trigger.
CREATE TABLE parted (k int PRIMARY KEY, v int) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (1000);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (1000) TO (2000);
CREATE TRIGGER shift BEFORE UPDATE ON parted_2 FOR EACH ROW EXECUTE FUNCTION shift();
INSERT INTO parted VALUES (1, 1), (1001, 1);
SELECT updated FROM idempotent_merge_many('parted', '[{"k": 1, "v": 20}]');
SELECT updated FROM idempotent_merge_many('parted', '[{"k": 1, "v": 30}, {"k": 1001, "v": 20}]');
:state
SELECT updated FROM idempotent_merge_many('parted', '[{"k": 1, "v": 30}, {"k": 1001, "v": 2}]');

-- An expression over a column of the key, of which an update leaves the spelling that is stored, and another that it sets.
CREATE TABLE spelled (n numeric, d text, v int);
CREATE UNIQUE INDEX spelled_key ON spelled (n, (n::text || d));
INSERT INTO spelled VALUES (1.0, '0', 1), (2.0, '0', 1);
SELECT updated FROM idempotent_merge_many('spelled', '[{"n": 2.0, "d": "0", "v": 2}]', key => '{n, "(n::text || d)"}');
SELECT updated FROM idempotent_merge_many('spelled', '[{"n": 1.00, "d": "", "v": 2}]', key => '{n, "(n::text || d)"}');
:state
SELECT * FROM spelled ORDER BY n;

-- A delete that leaves out what the condition refers to.
CREATE TABLE lived (k int, dead boolean, v int);
CREATE UNIQUE INDEX lived_key ON lived (k) WHERE NOT dead;
INSERT INTO lived VALUES (1, false, 1), (2, false, 1);
SELECT deleted, unchanged FROM idempotent_merge_many('lived', '[{"k": 1, "gone": true}]', key => '{k}', delete_when => 'gone');
:state
SELECT deleted, unchanged FROM idempotent_merge_many('lived', '[{"k": 2, "dead": false, "v": 2}, {"k": 1, "gone": true}]', key => '{k}', delete_when => 'gone');
:state
SELECT deleted, unchanged FROM idempotent_merge_many('lived', '[{"k": 1, "dead": false, "gone": true}, {"k": 2, "dead": true, "gone": true}]', key => '{k}', delete_when => 'gone');
CREATE UNIQUE INDEX lived_v ON lived (k, coalesce(v, 0)) WHERE NOT dead;
SELECT deleted, unchanged FROM idempotent_merge_many('lived', '[{"k": 2, "dead": true, "gone": true}]', key => '{k, "coalesce(v, 0)"}', delete_when => 'gone');
CREATE TABLE lived_in AS SELECT 2 AS k, true AS gone;
SELECT deleted, unchanged FROM idempotent_merge('lived', 'lived_in', key => '{k}', delete_when => 'gone');
:state
ALTER TABLE lived ALTER dead SET DEFAULT false;
SELECT deleted, unchanged FROM idempotent_merge('lived', 'lived_in', key => '{k}', delete_when => 'gone');

SET client_min_messages = warning;
DROP SCHEMA merge_keys CASCADE;
