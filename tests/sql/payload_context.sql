-- Errors of PostgreSQL's that are raised while rows go in name the payload, or the row of the source, in CONTEXT, as COPY
-- names its line; all other fields stay as they are. Where no row is at hand, none is named.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA context;
SET search_path = context, public;

-- The last line of the CONTEXT, which is ours, and every field of the error.
CREATE FUNCTION fails(command text) RETURNS TABLE (state text, message text, about text, context text) LANGUAGE plpgsql AS $$
DECLARE
    t text; c text; n text; all_of_it text;
BEGIN
    EXECUTE command;
    RETURN QUERY SELECT 'none', NULL, NULL, NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, t = TABLE_NAME, c = COLUMN_NAME, n = CONSTRAINT_NAME, all_of_it = PG_EXCEPTION_CONTEXT;
    about := concat_ws(' ', t, c, n);
    context := COALESCE(substring(all_of_it FROM '(?:payload [0-9]+|row [0-9]+ of the source)[^\n]*'), 'no row');
    RETURN NEXT;
END $$;

CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE orders (
    id      int PRIMARY KEY,
    amount  int CHECK (amount > 0),
    code    text NOT NULL DEFAULT 'x',
    other   int UNIQUE,
    share   numeric GENERATED ALWAYS AS (100 / NULLIF(amount, 13) / (amount - 14)) STORED,
    parent  int REFERENCES parents (id),
    late    int REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE arrived (id int, amount int, code text, other int, parent int, late int);
-- Rows go in in the order of the key, so the first that is refused is the one with the lowest key.
INSERT INTO arrived VALUES (9, 1, 'a'), (5, -5, 'a'), (3, 1, 'a'), (7, -7, 'a');
SELECT * FROM fails($$ SELECT idempotent_insert_from('orders', 'arrived') $$);
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 9, "amount": 1}, {"id": 7, "amount": -7}, {"id": 5, "amount": -5}]') $$);
SELECT * FROM fails($$ SELECT * FROM idempotent_insert_each('orders', '[{"id": 9, "amount": 1}, {"id": 7, "amount": -7}, {"id": 5, "amount": 5}]') $$);
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 1}, {"id": 2, "code": null}]') $$);
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 1, "other": 1}, {"id": 2, "other": 1}]') $$);
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 4, "amount": 1}, {"id": 1, "amount": 14}, {"id": 2, "amount": 1}]') $$);
-- Payloads of several shapes, and one that is stored already, or follows another under its key.
INSERT INTO orders (id, amount) VALUES (1, 1), (3, 1);
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders',
    '[{"id": 3, "amount": 1}, {"id": 5, "amount": 1}, {"amount": 1, "id": 1}, {"id": 5, "amount": 1}, {"id": 6, "amount": 2, "code": "c"}, {"id": 8, "amount": 0, "code": "c"}, {"id": 7, "amount": 1}]') $$);
SELECT * FROM fails($$ SELECT idempotent_merge('orders', 'arrived') $$);
-- A call with one payload needs no ordinal.
SELECT * FROM fails($$ SELECT idempotent_insert('orders', '{"id": 9, "amount": -1}') $$);
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 9, "amount": -1}]') $$);

-- What the source itself raises, between two of its rows, is about none of them.
CREATE VIEW failing AS SELECT id, 1 / (id - 52) AS amount FROM generate_series(50, 53) AS id;
SELECT * FROM fails($$ SELECT idempotent_insert_from('orders', 'failing') $$);

-- Many rows, which go in without ON CONFLICT first: the row is the same.
CREATE VIEW many AS SELECT g AS id, CASE g WHEN 6000 THEN -1 ELSE 1 END AS amount FROM generate_series(20000, 100, -1) g;
SELECT * FROM fails($$ SELECT idempotent_insert_from('orders', 'many') $$);

-- What comes after the rows is about none of them: foreign keys, now or deferred, AFTER triggers.
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 20, "amount": 1}, {"id": 21, "parent": 1}]') $$);
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 20, "late": 1}, {"id": 21, "amount": 1}]'); SET CONSTRAINTS ALL IMMEDIATE $$);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '% refuses', TG_NAME USING ERRCODE = 'UE001', HINT = 'a hint', TABLE = 'a table'; END $$;
CREATE TRIGGER after_row AFTER INSERT ON orders FOR EACH ROW WHEN (NEW.id = 20) EXECUTE FUNCTION refuse();
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 20, "amount": 1}, {"id": 21, "amount": 1}]') $$);
DROP TRIGGER after_row ON orders;
CREATE TRIGGER before_all BEFORE INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse();
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 20, "amount": 1}, {"id": 21, "amount": 1}]') $$);
DROP TRIGGER before_all ON orders;
CREATE TRIGGER after_all AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION refuse();
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 20, "amount": 1}, {"id": 21, "amount": 1, "code": "d"}]') $$);
DROP TRIGGER after_all ON orders;
-- A BEFORE ROW trigger is about its row, and what it raises keeps its fields.
CREATE TRIGGER before_row BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.id = 21) EXECUTE FUNCTION refuse();
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 20, "amount": 1}, {"id": 22, "amount": 1}, {"id": 21, "amount": 1}]') $$);
DROP TRIGGER before_row ON orders;
-- A call inside a trigger of another call: the innermost payload comes first.
CREATE TABLE journal (id int PRIMARY KEY, amount int CHECK (amount < 50));
CREATE FUNCTION post() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM idempotent_insert_many('context.journal', jsonb_build_array(jsonb_build_object('id', -1, 'amount', 0), jsonb_build_object('id', NEW.id, 'amount', NEW.amount)));
    RETURN NEW;
END $$;
CREATE TRIGGER post BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION post();
\set SHOW_CONTEXT errors
SELECT * FROM idempotent_insert_many('orders', '[{"id": 30, "amount": 1}, {"id": 33, "amount": 1}, {"id": 32, "amount": 60}]');
\set SHOW_CONTEXT never
-- One that the trigger catches leaves the position of the outer row as it was.
CREATE OR REPLACE FUNCTION post() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM idempotent_insert_many('context.journal', jsonb_build_array(jsonb_build_object('id', -1, 'amount', 0), jsonb_build_object('id', NEW.id, 'amount', 60)));
    RETURN NEW;
EXCEPTION WHEN check_violation THEN
    RETURN NEW;
END $$;
SELECT * FROM fails($$ SELECT idempotent_insert_many('orders', '[{"id": 30, "amount": 1}, {"id": 33, "amount": 1}, {"id": 32, "amount": -60}]') $$);
DROP TRIGGER post ON orders;

-- Partitions: no partition for a row; a constraint of one.
CREATE TABLE parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_high (v int CHECK (v > 0), id int NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_high FOR VALUES FROM (10) TO (20);
SELECT * FROM fails($$ SELECT idempotent_insert_many('parts', '[{"id": 15, "v": 0}, {"id": 1, "v": 0}]') $$);
SELECT * FROM fails($$ SELECT idempotent_insert_many('parts', '[{"id": 25, "v": 0}, {"id": 1, "v": 0}]') $$);
-- Policies.
CREATE ROLE context_clerk;
GRANT USAGE ON SCHEMA context TO context_clerk;
GRANT SELECT, INSERT ON parts TO context_clerk;
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY even ON parts USING (true) WITH CHECK (id % 2 = 0);
SET ROLE context_clerk;
SELECT * FROM fails($$ SELECT idempotent_insert_many('parts', '[{"id": 4, "v": 0}, {"id": 6, "v": 0}, {"id": 5, "v": 0}]') $$);
RESET ROLE;
-- A merge: rows that go in, and rows that are updated.
TRUNCATE orders;
INSERT INTO orders (id, amount) VALUES (3, 1), (5, 1), (7, 1);
CREATE VIEW changes AS SELECT id, amount FROM (VALUES (7, 2), (3, 2), (5, -1), (6, 1)) v (id, amount);
SELECT * FROM fails($$ SELECT idempotent_merge('orders', 'changes') $$);
CREATE VIEW part_changes AS SELECT id, -id AS v FROM parts UNION ALL SELECT 2, 2;
INSERT INTO parts VALUES (1, 1), (12, 1), (11, 1);
SELECT * FROM fails($$ SELECT idempotent_merge('parts', 'part_changes') $$);
CREATE TRIGGER after_update AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE VIEW good_changes AS SELECT id, 9 AS amount FROM orders;
SELECT * FROM fails($$ SELECT idempotent_merge('orders', 'good_changes') $$);
-- A load.
DELETE FROM orders;
CALL idempotent_load('orders', 'arrived', batch_size => 2);
\set SHOW_CONTEXT errors
CALL idempotent_load('orders', 'arrived', batch_size => 2);
SELECT * FROM idempotent_insert_from('orders', 'arrived');
-- An overwrite: the row of the source, none for what comes after the last one.
CREATE TABLE shelf (n int, v int CHECK (v < 1000), double int GENERATED ALWAYS AS (v * 2) STORED);
CREATE TABLE shelf_in (n int, v int, double int);
INSERT INTO shelf VALUES (1, 1);
INSERT INTO shelf_in VALUES (1, 5, 10), (1, 1001, 2002), (1, 6, 12);
SELECT * FROM fails($$ SELECT idempotent_overwrite('shelf', 'shelf_in', '{"n": 1}') $$);
SELECT * FROM fails($$ SELECT idempotent_overwrite_each('shelf', 'shelf_in', '{n}') $$);
UPDATE shelf_in SET v = 7, double = 14 WHERE v = 1001;
CREATE TRIGGER after_insert AFTER INSERT ON shelf FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT * FROM fails($$ SELECT idempotent_overwrite('shelf', 'shelf_in', '{"n": 1}') $$);

-- A value that cannot be converted: the row of the source, and the column.
CREATE TABLE short (id int PRIMARY KEY, v varchar(3));
CREATE TABLE long (id int, v text);
INSERT INTO long VALUES (1, 'abc'), (2, 'abcd');
SELECT * FROM fails($$ SELECT idempotent_insert_from('short', 'long') $$);
SELECT * FROM fails($$ SELECT idempotent_merge('short', 'long') $$);
SELECT * FROM fails($$ SELECT idempotent_overwrite('short', 'long', '{}') $$);
SELECT * FROM fails($$ SELECT idempotent_overwrite_each('short', 'long', '{id}') $$);
SELECT * FROM fails($$ SELECT idempotent_reconcile('short', 'long') $$);
SELECT * FROM fails($$ SELECT idempotent_repair('short', 'long') $$);
CALL idempotent_load('short', 'long');
-- What the SELECT of the source raises comes from none of its rows, and what names a slice is no payload.
CREATE VIEW broken AS SELECT id, CASE id WHEN 2 THEN (1 / (id - 2))::text ELSE v END AS v FROM long;
SELECT * FROM fails($$ SELECT idempotent_insert_from('short', 'broken') $$);
\set SHOW_CONTEXT errors
SELECT * FROM idempotent_overwrite('short', 'long', '{"id": "x"}');
SELECT * FROM idempotent_overwrite('short', 'long', '{"id": {"from": "x"}}');
\set SHOW_CONTEXT never
-- A repair that writes: the row of the source.
ALTER TABLE short ALTER v TYPE text, ADD CHECK (v <> 'abcd');
SELECT * FROM fails($$ SELECT idempotent_repair('short', 'long', dry_run => false) $$);
-- Rows that a trigger suppresses, or moves to another key.
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TABLE suppressed (id int PRIMARY KEY, v text);
CREATE TRIGGER suppress BEFORE INSERT ON suppressed FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION suppress();
SELECT * FROM idempotent_insert_from('suppressed', 'long');
SELECT * FROM idempotent_insert_many('suppressed', '[{"id": 1}, {"id": 2}]');
SELECT * FROM idempotent_insert('suppressed', '{"id": 2}');
CALL idempotent_load('suppressed', 'long');
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id = NEW.id + 10; RETURN NEW; END $$;
CREATE TABLE moved (id int PRIMARY KEY, v text);
CREATE TRIGGER move BEFORE INSERT ON moved FOR EACH ROW EXECUTE FUNCTION move();
SELECT * FROM idempotent_insert_from('moved', 'long');
SELECT * FROM idempotent_insert_many('moved', '[{"id": 1}, {"id": 2}]');
-- Two rows of one source under one key.
INSERT INTO long VALUES (1, 'abd');
CREATE TABLE taken (id int PRIMARY KEY, v text);
SELECT * FROM idempotent_insert_from('taken', 'long');

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA context CASCADE;
DROP ROLE context_clerk;
