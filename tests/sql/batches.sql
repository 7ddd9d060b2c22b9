-- Batches: ordinals, two payloads under one key, different column sets, and what an error of a whole call says.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA batches;
SET search_path = batches, public;
CREATE TABLE t (id int PRIMARY KEY, a int, b text DEFAULT 'dflt', c numeric(6,2));

-- Results come in input order, whatever the order of the keys.
SELECT * FROM idempotent_insert_each('t', '[{"id": 30, "a": 3}, {"id": 10, "a": 1}, {"id": 20, "a": 2}]');
SELECT * FROM idempotent_insert_each('t', '[{"id": 20, "a": 2}, {"id": 15, "a": 1}, {"id": 30, "a": 3}, {"id": 10, "a": 9}]', on_conflict => 'report');

-- Two payloads under one key: equal, the second is a duplicate; different, a conflict whose report names both ordinals.
SELECT * FROM idempotent_insert_each('t', '[{"id": 40, "a": 1}, {"id": 41, "a": 1}, {"id": 40, "a": 1}]');
SELECT * FROM idempotent_insert_each('t', '[{"id": 50, "a": 1}, {"id": 51, "a": 1}, {"id": 50, "a": 2}, {"id": 50, "a": 1}, {"id": 50, "a": 3}]', on_conflict => 'report');
SELECT * FROM idempotent_insert_many('t', '[{"id": 60, "a": 1}, {"id": 61, "a": 1}, {"id": 60, "a": 2}]');
:state
SELECT * FROM idempotent_insert_many('t', '[{"id": 60, "a": 1}, {"id": 61, "a": 1}, {"id": 60, "a": 2}, {"id": 60, "a": 3}]');
:state
SELECT count(*) FROM t WHERE id >= 60;
-- The key compares as the index does, not as JSON is written.
CREATE TABLE numbered (no numeric(8,2) PRIMARY KEY, v int);
SELECT * FROM idempotent_insert_each('numbered', '[{"no": 1, "v": 1}, {"no": "1.00", "v": 1}, {"no": 1.004, "v": 2}, {"no": 1.005, "v": 1}]', on_conflict => 'report');

-- Objects may name different columns.
SELECT * FROM idempotent_insert_each('t', '[{"id": 71, "a": 1}, {"id": 70, "b": "x"}, {"c": 1, "id": 72}, {"id": 73}, {"id": 74, "a": null, "b": null, "c": null}]');
-- The later payload is compared in the columns that it names, with what the earlier has stored.
SELECT * FROM idempotent_insert_each('t', '[{"id": 80, "a": 1}, {"id": 80, "b": "dflt"}, {"id": 80, "b": "other"}, {"id": 80}, {"id": 80, "a": 1, "b": "dflt", "c": null}]', on_conflict => 'report');

-- One statement that fails: all or nothing, and the first five are shown with their ordinals.
INSERT INTO t SELECT n, 0, 'x' FROM generate_series(101, 120) n;
SELECT * FROM idempotent_insert_many('t', '[{"id": 1, "a": 1}, {"id": 101, "a": 1}, {"id": 2, "a": 1}]');
:state
SELECT * FROM idempotent_insert_many('t', '[{"id": 103, "a": 3, "b": "y"}, {"id": 1, "a": 1}, {"id": 102, "a": 1}, {"id": 101, "a": 0}]');
:state
SELECT * FROM idempotent_insert_many('t', (SELECT jsonb_agg(jsonb_build_object('id', n, 'a', n)) FROM generate_series(120, 90, -1) n));
:state
SELECT count(*) FROM idempotent_insert_each('t', (SELECT jsonb_agg(jsonb_build_object('id', n, 'a', n)) FROM generate_series(120, 90, -1) n));
:state
CREATE TABLE source AS SELECT n AS id, n AS a FROM generate_series(90, 120) n;
SELECT * FROM idempotent_insert_from('t', 'source');
:state
SELECT count(*) FROM t WHERE id < 10 OR id BETWEEN 90 AND 100;
-- Reported instead: what is new goes in, what conflicts stays out.
SELECT * FROM idempotent_insert_many('t', (SELECT jsonb_agg(jsonb_build_object('id', n, 'a', n)) FROM generate_series(90, 120) n), on_conflict => 'report');
SELECT * FROM idempotent_insert_from('t', 'source', on_conflict => 'report');
SELECT * FROM idempotent_insert_from('t', 'source', ignore => '{a}');
SELECT count(*), sum(a) FROM t WHERE id BETWEEN 90 AND 120;

-- A source: matched by name, order and dropped columns do not matter; views, partitioned tables, types that cast.
CREATE TABLE shuffled (gone int, c real, b varchar(9), id bigint);
ALTER TABLE shuffled DROP COLUMN gone;
INSERT INTO shuffled VALUES (1.5, 'v', 200), (2.25, 'w', 201), (1.5, 'v', 200), (9, 'v', 200);
SELECT * FROM idempotent_insert_from('t', 'shuffled', on_conflict => 'report');
SELECT * FROM t WHERE id >= 200 ORDER BY id;
CREATE VIEW volatile_view AS SELECT (random() * 0)::int + 300 AS id, generate_series(1, 3) AS a;
SELECT * FROM idempotent_insert_from('t', 'volatile_view', on_conflict => 'report');
CREATE TABLE parts (id int, a int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (500);
INSERT INTO parts VALUES (400, 1), (401, 1);
SELECT * FROM idempotent_insert_from('t', 'parts');
SELECT * FROM idempotent_insert_from('t', 't');
-- A value that does not fit is PostgreSQL's own error.
UPDATE shuffled SET id = 99999999999 WHERE id = 201;
SELECT * FROM idempotent_insert_from('t', 'shuffled');
:state
UPDATE shuffled SET id = 202, c = 99999 WHERE b = 'w';
SELECT * FROM idempotent_insert_from('t', 'shuffled');
:state

-- As rows of a query: once for each row, and joined with it.
SELECT n, r.outcome FROM generate_series(500, 502) n, idempotent_insert('t', jsonb_build_object('id', n % 501, 'a', 1)) r;
SELECT ordinal, outcome FROM idempotent_insert_each('t', '[{"id": 600}, {"id": 601}, {"id": 600}]') ORDER BY ordinal DESC;
SELECT ordinal, outcome FROM idempotent_insert_each('t', '[{"id": 700}, {"id": 701}]') LIMIT 1;
SELECT count(*) FROM t WHERE id >= 700;
SELECT (idempotent_insert_many('t', '[{"id": 700}, {"id": 702}]')).*;
WITH sent AS (SELECT * FROM idempotent_insert_each('t', '[{"id": 800, "a": 1}, {"id": 800, "a": 2}]', on_conflict => 'report'))
SELECT s.outcome, t.id FROM sent s LEFT JOIN t ON t.id = (s.stored ->> 'id')::int ORDER BY s.ordinal;
PREPARE p(jsonb) AS SELECT * FROM idempotent_insert_many('t', $1);
EXECUTE p('[{"id": 900, "a": 1}]');
EXECUTE p('[{"id": 900, "a": 1}]');
EXECUTE p('[]');
DECLARE c CURSOR WITH HOLD FOR SELECT ordinal, outcome FROM idempotent_insert_each('t', '[{"id": 1000}, {"id": 1001}]');
FETCH 1 FROM c;
FETCH ALL FROM c;
CLOSE c;

-- A long run of new keys must not change how the rest of the batch is treated: what is sent unseen may have no effect when
-- it turns out to be stored.
CREATE FUNCTION run(more jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_agg(jsonb_build_object('id', n, 'v', 1) ORDER BY n) || more FROM generate_series(1, 150) n $$;
-- A duplicate that leaves out a NOT NULL column, or violates a CHECK, is a duplicate as in a call of its own.
CREATE TABLE required (id int PRIMARY KEY, v int NOT NULL, w int);
INSERT INTO required VALUES (1000, 1, 1), (1001, 2, 2), (1002, 3, 3);
SELECT * FROM idempotent_insert('required', '{"id": 1000}');
SELECT * FROM idempotent_insert_many('required', run('[{"id": 1000}, {"id": 1001, "v": null}, {"id": 1002, "w": 3}]'), on_conflict => 'report');
CREATE TABLE checked (id int PRIMARY KEY, v int CHECK (v < 10));
INSERT INTO checked VALUES (1000, 1);
SELECT * FROM idempotent_insert_many('checked', run('[{"id": 1000, "v": 10}]'), on_conflict => 'report');
CREATE DOMAIN small AS int CHECK (VALUE < 10);
CREATE TABLE computed (id int PRIMARY KEY, v int, w int GENERATED ALWAYS AS (100 / v) STORED);
INSERT INTO computed VALUES (1000, 1);
SELECT * FROM idempotent_insert_many('computed', run('[{"id": 1000, "v": 0}]'), on_conflict => 'report');
-- No sequence value is drawn for it, no trigger fires, no default is evaluated.
CREATE TABLE drawn (id int PRIMARY KEY, v int, no serial);
INSERT INTO drawn (id, v) SELECT n, 1 FROM generate_series(1000, 1099) n;
SELECT * FROM idempotent_insert_many('drawn', run((SELECT jsonb_agg(jsonb_build_object('id', n, 'v', 1)) FROM generate_series(1000, 1099) n)));
SELECT last_value FROM drawn_no_seq;
CREATE TABLE audit (id int);
CREATE TABLE audited (id int PRIMARY KEY, v int);
INSERT INTO audited SELECT n, 1 FROM generate_series(1000, 1099) n;
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO batches.audit VALUES (NEW.id); RETURN NEW; END $$;
CREATE TRIGGER audit BEFORE INSERT ON audited FOR EACH ROW EXECUTE FUNCTION audit();
SELECT * FROM idempotent_insert_many('audited', run((SELECT jsonb_agg(jsonb_build_object('id', n, 'v', 1)) FROM generate_series(1000, 1099) n)));
SELECT count(*), max(id) FROM audit;
CREATE FUNCTION noisy() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO batches.audit VALUES (-1); RETURN 5; END $$;
CREATE TABLE defaulted (id int PRIMARY KEY, v int, w int DEFAULT noisy());
INSERT INTO defaulted SELECT n, 1, 1 FROM generate_series(1000, 1099) n;
SELECT * FROM idempotent_insert_many('defaulted', run((SELECT jsonb_agg(jsonb_build_object('id', n, 'v', 1)) FROM generate_series(1000, 1099) n)));
SELECT count(*) FROM audit WHERE id = -1;
-- Another unique index that a duplicate would violate does not speak up.
CREATE TABLE twice (id int PRIMARY KEY, v int, w int UNIQUE);
INSERT INTO twice VALUES (1000, 1, 1), (1001, 1, 2);
SELECT * FROM idempotent_insert_many('twice', run('[{"id": 1000, "v": 1, "w": 2}]'), on_conflict => 'report', ignore => '{w}');
-- Conflicts and repeated keys behind such a run keep their ordinals.
CREATE TABLE plain (id int PRIMARY KEY, v int);
INSERT INTO plain VALUES (1000, 1);
SELECT ordinal, outcome, stored, differences FROM idempotent_insert_each('plain', run('[{"id": 1001, "v": 1}, {"id": 1000, "v": 2}, {"id": 1001, "v": 3}, {"id": 1000, "v": 1}, {"id": 7, "v": 1}]'), on_conflict => 'report') WHERE ordinal > 149;
SELECT * FROM idempotent_insert_many('plain', run('[{"id": 1001, "v": 1}, {"id": 1000, "v": 2}, {"id": 1001, "v": 3}, {"id": 8, "v": 2}]'));

SET client_min_messages = warning;
DROP SCHEMA batches CASCADE;
