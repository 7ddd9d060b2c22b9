\set state '\\echo SQLSTATE :SQLSTATE'
-- demand_alike: asked again whenever something has changed, and for rows that are judged the long way.
CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
SELECT FROM idempotent_guard('parted');
INSERT INTO parted VALUES (1, 1), (1, 1);
ALTER TABLE parted_2 DISABLE TRIGGER zz_idempotent_guard;
INSERT INTO parted VALUES (1, 1);
:state
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO parted VALUES (1, 1);
:state
ROLLBACK;
-- The view says so before a client hears of it.
SELECT enabled, problem FROM idempotent.guards;
ALTER TABLE parted_2 ENABLE ALWAYS TRIGGER zz_idempotent_guard;
SELECT enabled, problem FROM idempotent.guards;
ALTER TABLE parted_2 ENABLE TRIGGER zz_idempotent_guard;
SELECT enabled, problem FROM idempotent.guards;
ALTER TABLE parted DISABLE TRIGGER zz_idempotent_guard;
SELECT enabled, problem FROM idempotent.guards;
ALTER TABLE parted ENABLE TRIGGER zz_idempotent_guard;
ALTER TABLE parted_2 DISABLE TRIGGER zz_idempotent_guard;
-- The functions verify rows themselves: they need not be told from moved ones.
SELECT * FROM idempotent_insert_many('parted', '[{"id": 2, "v": 2}, {"id": 3, "v": 3}]');
SELECT * FROM idempotent_insert_many('parted', '[{"id": 4, "v": 4}, {"id": 5, "v": 5}]');
SELECT * FROM idempotent_insert_many('parted', '[{"id": 4, "v": 4}, {"id": 6, "v": 6}]');
DROP TABLE parted;
-- The view: a trigger by hand on a partitioned table has to fire on UPDATE, too.
CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TRIGGER by_hand BEFORE INSERT ON parted FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
SELECT target, trigger, problem FROM idempotent.guards;
DROP TABLE parted;
-- A tree with a guard of its own under a partitioned table with one of another name.
CREATE TABLE years (y int, id int, v int, PRIMARY KEY (y, id)) PARTITION BY LIST (y);
CREATE TRIGGER by_hand BEFORE INSERT OR UPDATE ON years FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
CREATE TABLE y1 (y int, id int, v int, PRIMARY KEY (y, id)) PARTITION BY RANGE (id);
CREATE TABLE y1_a PARTITION OF y1 FOR VALUES FROM (0) TO (10);
SELECT FROM idempotent_guard('y1');
ALTER TABLE years ATTACH PARTITION y1 FOR VALUES IN (1);
INSERT INTO years VALUES (1, 1, 1);
:state
DROP TABLE years;
-- Rows that a trigger inserts inside of a function's INSERT are a client's.
CREATE TABLE log (id int PRIMARY KEY, v int);
SELECT FROM idempotent_guard('log');
INSERT INTO log VALUES (1, 1);
CREATE TABLE orders (id int PRIMARY KEY, v int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1, NEW.v); RETURN NEW; END';
CREATE TRIGGER note AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER note_before BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();
SELECT outcome FROM idempotent_insert('orders', '{"id": 7, "v": 1}');
SELECT outcome FROM idempotent_insert('orders', '{"id": 8, "v": 2}');
:state
-- What a guard remembers is not asked where another key decides.
CREATE TABLE keyed (id int PRIMARY KEY, alias text UNIQUE, v int, first jsonb);
SELECT FROM idempotent_guard('keyed', key => '{id}', remember => 'first');
INSERT INTO keyed VALUES (1, 'a', 1);
UPDATE keyed SET v = 2;
SELECT outcome, differences FROM idempotent_insert('keyed', '{"id": 1, "alias": "a", "v": 2}', key => '{alias}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('keyed', '{"id": 1, "alias": "a", "v": 1}', key => '{alias}', on_conflict => 'report');
-- Labels of enums, wherever they are, have one digest in every database.
CREATE TABLE digests (what text, digest bytea);
\set labels 'CREATE TYPE mood AS ENUM (\'sad\', \'ok\', \'glad\'); CREATE TYPE moods AS RANGE (SUBTYPE = mood, MULTIRANGE_TYPE_NAME = many_moods); CREATE DOMAIN good AS mood; CREATE TYPE both_ AS (n int, m mood);'
\set tables 'CREATE TABLE felt (id int PRIMARY KEY, what text, m mood, a mood[], r moods, mr many_moods, d good, da good[], c both_, first bytea); SELECT FROM idempotent_guard(\'felt\', ignore => \'{what}\', remember => \'first\');'
\set rows 'INSERT INTO felt (id, what, m) VALUES (1, \'enum\', \'ok\'); INSERT INTO felt (id, what, a) VALUES (2, \'array\', \'{ok,sad}\'); INSERT INTO felt (id, what, r) VALUES (3, \'range\', \'[ok,glad)\'); INSERT INTO felt (id, what, mr) VALUES (4, \'multirange\', \'{[ok,glad)}\'); INSERT INTO felt (id, what, d) VALUES (5, \'domain\', \'ok\'); INSERT INTO felt (id, what, da) VALUES (6, \'array of a domain\', \'{ok}\'); INSERT INTO felt (id, what, c) VALUES (7, \'composite\', \'(1,ok)\'); INSERT INTO digests SELECT what, first FROM felt; DROP TABLE felt; DROP TYPE both_; DROP DOMAIN good; DROP TYPE moods; DROP TYPE mood;'
:labels
:tables
:rows
:labels
:tables
:rows
SELECT what, count(DISTINCT digest) FROM digests GROUP BY 1 ORDER BY 1;
