-- The functions on guarded tables, other statements, and whatever inserts from inside of a statement.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
-- Command tags say how many rows went in.
\set QUIET off
CREATE SCHEMA guard_functions;
SET search_path = guard_functions, public;
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, order_id text NOT NULL UNIQUE, alias text UNIQUE, amount numeric(10,2), status text DEFAULT 'new', at timestamptz DEFAULT clock_timestamp());
-- The key of the guard is the key of the functions, also where they would find another, or several.
SELECT * FROM idempotent_insert('orders', '{"order_id": "0", "alias": "z", "amount": 1}');
SELECT key, compared FROM idempotent_guard('orders', '{order_id}', ignore => '{status, alias}');
SELECT outcome, stored - 'at' AS stored, differences FROM idempotent_insert('orders', '{"order_id": "a", "alias": "b", "amount": 10}');
-- Columns that the guard does not compare, they do not either; and a column that a payload leaves out is not compared.
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "a", "alias": "c", "amount": 10.00, "status": "paid"}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "a"}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "a", "amount": 11, "at": "2001-01-01Z"}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "a", "amount": 11}');
:state
INSERT INTO orders (order_id, amount) VALUES ('a', 11);
:state
-- Options of their own come first.
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "a", "amount": 10, "status": "paid"}', compare => '{status}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "a", "alias": "c", "status": "paid"}', ignore => '{status}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "q", "alias": "b", "amount": 3}', key => '{alias}', on_conflict => 'report');
-- By another key than the guard's, which is one more unique index then.
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "a", "alias": "new", "amount": 10}', key => '{alias}', on_conflict => 'report');
:state
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "a", "alias": "new", "amount": 12}', key => '{alias}', on_conflict => 'report');
:state
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "k", "alias": "new", "amount": 12}', key => '{alias}', on_conflict => 'report');
-- The key is missing, or NULL.
SELECT outcome FROM idempotent_insert('orders', '{"amount": 10}');
:state
SELECT outcome FROM idempotent_insert('orders', '{"order_id": null, "amount": 10}');
:state
-- Many, each, from.
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": "b", "amount": 1}, {"order_id": "a", "amount": 10}, {"order_id": "c", "amount": 3}, {"order_id": "b", "amount": 1.0}]');
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": "b", "amount": 2}, {"order_id": "d", "amount": 10}, {"order_id": "d", "amount": 3}]');
:state
SELECT ordinal, outcome, differences FROM idempotent_insert_each('orders', '[{"order_id": "b", "amount": 2}, {"order_id": "d", "amount": 10, "status": "x"}, {"order_id": "d", "amount": 10, "status": "y"}, {"order_id": "d", "amount": 3}]', on_conflict => 'report');
CREATE TABLE source AS SELECT 's' || n AS order_id, n AS amount, 'st' AS status FROM generate_series(1, 500) AS n;
SELECT * FROM idempotent_insert_from('orders', 'source');
UPDATE source SET status = 'other';
SELECT * FROM idempotent_insert_from('orders', 'source');
INSERT INTO orders (order_id, amount, status) SELECT * FROM source;
UPDATE source SET amount = -1 WHERE order_id IN ('s7', 's8');
SELECT * FROM idempotent_insert_from('orders', 'source', on_conflict => 'report');
-- An UPDATE leaves rows where there is room.
CREATE TABLE in_order AS SELECT * FROM source ORDER BY order_id COLLATE "C";
SELECT * FROM idempotent_insert_from('orders', 'in_order');
-- Quarantine by the functions and by the guard: one record of one conflict.
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "a", "amount": 13}', on_conflict => 'quarantine');
SELECT on_conflict FROM idempotent_guard('orders', '{order_id}', ignore => '{status, alias}', on_conflict => 'quarantine');
INSERT INTO orders (order_id, amount) VALUES ('a', 13), ('a', 13), ('a', 14), ('n', 1) RETURNING order_id;
COPY orders (order_id, amount) FROM stdin;
a	14
n	2
o	1
\.
SELECT target, key, payload - 'at' - 'id' AS payload, stored - 'at' - 'id' AS stored, differences, arrived_by = current_user AS by_me, resolution FROM idempotent.conflicts ORDER BY id;
-- Of a call of theirs with 'error' nothing is set aside.
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "a", "amount": 15}');
SELECT count(*) FROM idempotent.conflicts;
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts WHERE key = '{"order_id": "n"}';
INSERT INTO orders (order_id, amount) VALUES ('n', 2), ('n', 1);
SELECT key, differences, resolution FROM idempotent.conflicts WHERE key = '{"order_id": "n"}' ORDER BY id;
BEGIN;
INSERT INTO orders (order_id, amount) VALUES ('a', 99);
ROLLBACK;
SELECT count(*) FROM idempotent.conflicts WHERE differences #>> '{amount,payload}' = '99.00';
DELETE FROM idempotent.conflict_records;

-- With remember: filled and read by both.
CREATE TABLE events (id int PRIMARY KEY, a int, b int DEFAULT 5, c text, seen jsonb);
CREATE TABLE events_digest (id int PRIMARY KEY, a int, b int DEFAULT 5, c text, seen bytea);
SELECT compared, remember FROM idempotent_guard('events', remember => 'seen');
SELECT compared, remember FROM idempotent_guard('events_digest', remember => 'seen');
SELECT outcome, stored FROM idempotent_insert('events', '{"id": 1, "a": 1, "c": "x"}');
SELECT outcome FROM idempotent_insert('events_digest', '{"id": 1, "a": 1, "c": "x"}');
SELECT * FROM idempotent_insert_many('events', '[{"id": 2, "a": 2}, {"id": 3}, {"id": 2, "a": 2}]');
SELECT * FROM idempotent_insert_many('events_digest', '[{"id": 2, "a": 2}, {"id": 3}, {"id": 2, "a": 2}]');
SELECT * FROM events ORDER BY id;
SELECT count(DISTINCT seen), count(seen) FROM events_digest;
UPDATE events SET a = 100, b = 100, c = 'updated';
UPDATE events_digest SET a = 100, b = 100, c = 'updated';
-- What the functions let in, the guard knows, and the other way round.
INSERT INTO events VALUES (1, 1, 5, 'x'), (2, 2, 5, NULL), (3, NULL, 5, NULL), (4, 4, 4, 'd');
INSERT INTO events_digest VALUES (1, 1, 5, 'x'), (2, 2, 5, NULL), (3, NULL, 5, NULL), (4, 4, 4, 'd');
UPDATE events SET a = 101;
UPDATE events_digest SET a = 101;
SELECT ordinal, outcome, differences FROM idempotent_insert_each('events', '[{"id": 1, "a": 1, "c": "x"}, {"id": 1, "a": 100}, {"id": 2, "a": 2, "b": 5}, {"id": 3, "b": 6}, {"id": 3}, {"id": 4, "a": 4, "b": 4, "c": "d"}, {"id": 4, "b": 4}, {"id": 4, "b": 5}]', on_conflict => 'report');
SELECT ordinal, outcome, differences FROM idempotent_insert_each('events_digest', '[{"id": 1, "a": 1, "c": "x"}, {"id": 1, "a": 101, "b": 100, "c": "updated"}, {"id": 2, "a": 2, "b": 5}, {"id": 2, "a": 2, "b": 5, "c": null}, {"id": 3, "a": null, "b": 6, "c": null}, {"id": 4, "a": 4, "b": 4, "c": "d"}]', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('events', '{"id": 1, "a": 2, "c": "y"}');
:state
SELECT outcome FROM idempotent_insert('events_digest', '{"id": 1, "a": 101, "b": 100, "c": "updated"}');
:state
SELECT outcome FROM idempotent_insert('events_digest', '{"id": 1, "a": 3, "b": 100, "c": "updated"}');
-- Own options with remember.
SELECT outcome FROM idempotent_insert('events', '{"id": 1, "a": 1, "c": "other"}', ignore => '{c}');
SELECT outcome FROM idempotent_insert('events', '{"id": 1, "a": 101, "c": "other"}', ignore => '{c}');
SELECT outcome FROM idempotent_insert('events', '{"id": 1, "a": 7, "c": "x"}', compare => '{c}');
-- A payload that brings its own.
SELECT outcome FROM idempotent_insert('events', '{"id": 9, "a": 9, "seen": {"a": 1, "b": 5, "c": null}}');
SELECT outcome FROM idempotent_insert('events', '{"id": 9, "a": 1}');
SELECT outcome, differences FROM idempotent_insert('events', '{"id": 9, "a": 9}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('events', '{"id": 9, "a": 7, "seen": {"a": 1, "b": 5, "c": null}}', on_conflict => 'report');
SELECT outcome, differences FROM idempotent_insert('events', '{"id": 9, "a": 1, "seen": {"a": 2, "b": 5, "c": null}}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('events', '{"id": 10, "a": 9, "seen": null}');
SELECT outcome FROM idempotent_insert('events', '{"id": 10, "a": 9, "seen": null}');
SELECT id, seen FROM events WHERE id > 8 ORDER BY id;
CREATE TABLE more AS SELECT id, a, b, c FROM events;
SELECT * FROM idempotent_insert_from('events', 'more', on_conflict => 'report');
SELECT * FROM idempotent_insert_from('events', 'events');
SELECT * FROM idempotent_insert_from('events_digest', 'events_digest');

-- ON CONFLICT: the guard judges first.
CREATE TABLE plain (id int PRIMARY KEY, v int, other int UNIQUE);
SELECT key, compared FROM idempotent_guard('plain', ignore => '{other}');
INSERT INTO plain VALUES (1, 1, 1), (1, 1, 1) ON CONFLICT DO NOTHING;
INSERT INTO plain VALUES (1, 2, 1) ON CONFLICT DO NOTHING;
:state
INSERT INTO plain VALUES (1, 1, 5) ON CONFLICT (id) DO UPDATE SET v = 9;
INSERT INTO plain VALUES (1, 2, 5) ON CONFLICT (id) DO UPDATE SET v = 9;
:state
INSERT INTO plain VALUES (2, 2, 1) ON CONFLICT (other) DO UPDATE SET v = excluded.v;
INSERT INTO plain VALUES (2, 2, 1) ON CONFLICT (other) DO NOTHING;
INSERT INTO plain VALUES (3, 3, 3), (4, 4, 4) ON CONFLICT (id) DO UPDATE SET v = 9 RETURNING id, v;
SELECT * FROM plain ORDER BY 1;
-- MERGE; what it inserts although it is stored is in guard_merge.sql.
MERGE INTO plain AS p USING (VALUES (3, 30), (5, 50)) AS s (id, v) ON p.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
MERGE INTO plain AS p USING (VALUES (6, 1)) AS s (id, v) ON p.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
-- UPDATE of a key is no payload.
UPDATE plain SET id = 7 WHERE id = 6;
UPDATE plain SET id = 5 WHERE id = 7;
:state
INSERT INTO plain VALUES (7, 1), (6, 2);
UPDATE plain SET v = 70 WHERE id = 7;
INSERT INTO plain VALUES (7, 1);
:state
-- Deleted and inserted again in one transaction, and in one statement.
BEGIN;
DELETE FROM plain WHERE id = 7;
INSERT INTO plain VALUES (7, 71), (7, 71);
UPDATE plain SET v = 72 WHERE id = 7;
INSERT INTO plain VALUES (7, 72);
SAVEPOINT s;
DELETE FROM plain WHERE id = 7;
INSERT INTO plain VALUES (7, 73);
ROLLBACK TO s;
INSERT INTO plain VALUES (7, 72);
SAVEPOINT s2;
INSERT INTO plain VALUES (7, 73);
ROLLBACK TO s2;
INSERT INTO plain VALUES (8, 8);
RELEASE s;
INSERT INTO plain VALUES (8, 8), (7, 72);
ROLLBACK;
INSERT INTO plain VALUES (7, 70), (8, 9);
WITH gone AS (DELETE FROM plain WHERE id = 8 RETURNING *) INSERT INTO plain SELECT id, v + 1 FROM gone;
SELECT * FROM plain WHERE id >= 7 ORDER BY 1;

-- PL/pgSQL: conflicts that are caught, many subtransactions, cursors that stay open.
CREATE FUNCTION put(i int, n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plain VALUES (i, n);
    RETURN CASE WHEN FOUND THEN 'inserted' ELSE 'duplicate' END;
EXCEPTION WHEN SQLSTATE '23I01' THEN
    RETURN 'conflict';
END $$;
SELECT n, put(100 + n % 4, n / 6) FROM generate_series(0, 11) AS n;
DO $$
DECLARE
    inserted int = 0; conflicts int = 0;
BEGIN
    FOR n IN 1..200 LOOP
        BEGIN
            INSERT INTO plain VALUES (200 + n % 50, n), (300 + n % 50, n);
            inserted := inserted + 1;
            IF n % 7 = 0 THEN RAISE EXCEPTION USING ERRCODE = 'P0001'; END IF;
        EXCEPTION WHEN SQLSTATE '23I01' THEN conflicts := conflicts + 1; WHEN raise_exception THEN NULL;
        END;
    END LOOP;
    RAISE INFO '% inserted, % conflicts', inserted, conflicts;
END $$;
SELECT count(*), sum(v) FROM plain WHERE id >= 200;
BEGIN;
DECLARE inserting CURSOR FOR SELECT put(400 + n, n) FROM generate_series(1, 5) AS n;
FETCH 2 FROM inserting;
SAVEPOINT s;
FETCH 1 FROM inserting;
INSERT INTO plain VALUES (401, 2);
ROLLBACK TO s;
INSERT INTO plain VALUES (401, 1), (403, 3);
CLOSE inserting;
COMMIT;
SELECT count(*) FROM plain WHERE id > 400;
-- Triggers that insert: into the guarded table itself, before and after, and into another.
CREATE TABLE tree (id int PRIMARY KEY, v int);
CREATE TABLE twigs (id int PRIMARY KEY, v int);
CREATE FUNCTION grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id < 100 THEN
        INSERT INTO tree VALUES (NEW.id * 10, NEW.v), (NEW.id * 10 + 1, NEW.v);
        INSERT INTO twigs VALUES (NEW.v, 1);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER before_grows BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION grows();
SELECT target, key FROM idempotent_guard('tree');
SELECT target, key FROM idempotent_guard('twigs');
INSERT INTO tree VALUES (1, 5), (2, 5), (1, 5);
INSERT INTO tree VALUES (1, 5), (10, 5), (3, 5), (100, 5);
SELECT count(*), (SELECT count(*) FROM twigs) AS twigs FROM tree;
INSERT INTO tree VALUES (4, 6), (2, 7);
SELECT count(*), (SELECT count(*) FROM twigs) AS twigs FROM tree;
-- A BEFORE trigger that inserts the row itself: the guard, which comes last, sees it.
CREATE FUNCTION itself() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 THEN INSERT INTO tree VALUES (NEW.id, NEW.v); END IF;
    RETURN NEW;
END $$;
DROP TRIGGER before_grows ON tree;
CREATE TRIGGER before_itself BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION itself();
INSERT INTO tree VALUES (500, 1), (501, 1);
SELECT count(*) FROM tree WHERE id >= 500;
DROP TRIGGER before_itself ON tree;
CREATE TRIGGER after_grows AFTER INSERT ON tree FOR EACH ROW EXECUTE FUNCTION grows();
INSERT INTO tree VALUES (6, 6), (7, 7), (6, 6);
INSERT INTO tree VALUES (6, 6), (7, 7), (8, 7);
SELECT count(*), (SELECT count(*) FROM twigs) AS twigs FROM tree;
DROP TRIGGER after_grows ON tree;
-- The row is rewritten by the triggers before it: so are its retries.
CREATE FUNCTION rewrites() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := NEW.v * 2; NEW.id := abs(NEW.id); RETURN NEW; END $$;
CREATE TRIGGER rewrites BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION rewrites();
INSERT INTO tree VALUES (-7000, 3), (7000, 3) RETURNING *;
INSERT INTO tree VALUES (7000, 6);
-- A function meets a payload that is not its own stored row.
SELECT outcome, differences FROM idempotent_insert('tree', '{"id": 7000, "v": 3}', on_conflict => 'report');
DROP TRIGGER rewrites ON tree;
-- Suppressed by a trigger before or behind: no key is left locked, and nothing is stored.
CREATE FUNCTION suppresses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER suppresses BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION suppresses();
INSERT INTO tree VALUES (7100, 0), (7100, 1), (7100, 0);
ALTER TRIGGER suppresses ON tree RENAME TO zzz_suppresses;
INSERT INTO tree VALUES (7101, 0), (7101, 0), (7101, 1);
SELECT count(*) AS key_locks FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 29;
DROP TRIGGER zzz_suppresses ON tree;
-- Statement triggers fire as ever; a transition table has what went in.
CREATE FUNCTION reports() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% new rows', (SELECT count(*) FROM new_rows); RETURN NULL; END $$;
CREATE TRIGGER reports AFTER INSERT ON tree REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION reports();
INSERT INTO tree VALUES (7100, 1), (7102, 1), (7102, 1), (7103, 1);
INSERT INTO tree VALUES (7102, 1);
DROP TRIGGER reports ON tree;
-- A default, and a function in the SELECT list, that insert into the same table.
CREATE FUNCTION makes(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO tree VALUES (i, 1); RETURN i + 1; END $$;
INSERT INTO tree SELECT makes(8000 + n % 3), 1 FROM generate_series(1, 6) AS n;
CREATE TABLE nested (id int PRIMARY KEY, v int, made int);
CREATE FUNCTION makes_default() RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO nested VALUES (99, 1, 1); RETURN 100; END $$;
ALTER TABLE nested ALTER made SET DEFAULT makes_default();
SELECT compared FROM idempotent_guard('nested');
INSERT INTO nested (id, v) VALUES (1, 1), (2, 2), (1, 1), (99, 1);
SELECT * FROM nested ORDER BY id;
SELECT id FROM tree WHERE id >= 8000 ORDER BY 1;
-- A guarded INSERT inside of a guarded INSERT of another table, and back.
CREATE FUNCTION ping() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id > 900 THEN INSERT INTO twigs VALUES (NEW.id - 1, NEW.v); END IF; RETURN NEW; END $$;
CREATE FUNCTION pong() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id > 900 THEN INSERT INTO tree VALUES (NEW.id - 1, NEW.v); END IF; RETURN NEW; END $$;
CREATE TRIGGER ping BEFORE INSERT ON tree FOR EACH ROW EXECUTE FUNCTION ping();
CREATE TRIGGER pong AFTER INSERT ON twigs FOR EACH ROW EXECUTE FUNCTION pong();
INSERT INTO tree (id, v) VALUES (910, 1), (908, 1), (911, 1);
SELECT array_agg(id ORDER BY id) FROM tree WHERE id >= 900;
SELECT array_agg(id ORDER BY id) FROM twigs WHERE id >= 900;
DROP TRIGGER ping ON tree;
-- A deferrable foreign key and a deferred constraint trigger: checked at COMMIT, for what went in.
CREATE TABLE leaves (id int PRIMARY KEY, tree int REFERENCES tree DEFERRABLE INITIALLY DEFERRED);
SELECT key FROM idempotent_guard('leaves');
BEGIN;
INSERT INTO leaves VALUES (1, 950), (1, 950);
INSERT INTO tree VALUES (950, 1);
COMMIT;
BEGIN;
INSERT INTO leaves VALUES (1, 950), (2, 951);
COMMIT;
:state
SELECT count(*) FROM leaves;
-- A SECURITY DEFINER function, an SQL function, and one that calls a function of the extension.
CREATE FUNCTION sql_put(i int, n int) RETURNS SETOF plain LANGUAGE sql AS 'INSERT INTO plain VALUES (i, n) RETURNING *';
SELECT * FROM sql_put(1000, 1);
SELECT * FROM sql_put(1000, 1);
SELECT * FROM sql_put(1000, 2);
CREATE FUNCTION calls() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM idempotent_insert('plain', jsonb_build_object('id', 2000 + NEW.id, 'v', NEW.v));
    INSERT INTO plain VALUES (3000 + NEW.id, NEW.v);
    RETURN NEW;
END $$;
CREATE TRIGGER calls AFTER INSERT ON plain FOR EACH ROW WHEN (NEW.id < 2000) EXECUTE FUNCTION calls();
-- Its rows are looked at by the guard as by anybody's: the function steps aside for its own rows only.
SELECT ordinal, outcome FROM idempotent_insert_each('plain', '[{"id": 1100, "v": 1}, {"id": 1101, "v": 2}, {"id": 1100, "v": 1}]');
INSERT INTO plain VALUES (3102, 3);
SELECT ordinal, outcome FROM idempotent_insert_each('plain', '[{"id": 1102, "v": 3}]');
INSERT INTO plain VALUES (3103, 0);
SELECT ordinal, outcome FROM idempotent_insert_each('plain', '[{"id": 1103, "v": 3}]', on_conflict => 'report');
:state
SELECT id, v FROM plain WHERE id > 1000 ORDER BY 1;

-- A guard that is off, disabled or gone: the functions still verify.
SET pg_idempotent.guard = off;
SELECT outcome FROM idempotent_insert('events', '{"id": 50, "a": 1}');
SELECT outcome FROM idempotent_insert('events', '{"id": 50, "a": 1}');
SELECT id, seen FROM events WHERE id = 50;
RESET pg_idempotent.guard;
ALTER TABLE events DISABLE TRIGGER zz_idempotent_guard;
SELECT outcome FROM idempotent_insert('events', '{"id": 51, "a": 1}');
SELECT outcome, differences FROM idempotent_insert('events', '{"id": 1, "a": 1, "c": "x"}', on_conflict => 'report');
ALTER TABLE events ENABLE TRIGGER zz_idempotent_guard;
SELECT outcome, differences FROM idempotent_insert('events', '{"id": 1, "a": 1, "c": "x"}', on_conflict => 'report');
SELECT id, seen FROM events WHERE id = 51;
-- READ ONLY: a retry of a plain INSERT is a write all the same; of a function it is not.
BEGIN READ ONLY;
INSERT INTO plain VALUES (1000, 1);
:state
ROLLBACK;
BEGIN READ ONLY;
SELECT outcome FROM idempotent_insert('plain', '{"id": 1000, "v": 1}');
ROLLBACK;
-- A duplicate takes no transaction id.
BEGIN;
INSERT INTO plain VALUES (3000, 1);
COMMIT;
BEGIN;
INSERT INTO plain VALUES (3000, 1), (1000, 1);
SELECT pg_current_xact_id_if_assigned() IS NULL AS none;
SELECT * FROM idempotent_insert_many('plain', '[{"id": 1000, "v": 1}]');
SELECT pg_current_xact_id_if_assigned() IS NULL AS none;
SELECT count(*) AS key_locks FROM pg_locks WHERE locktype = 'advisory';
COMMIT;
-- The levels.
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO plain VALUES (1000, 1), (4000, 1), (4000, 1);
INSERT INTO plain VALUES (4000, 1);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO plain VALUES (1000, 1), (4001, 1), (4001, 1);
INSERT INTO plain VALUES (4001, 2);
ROLLBACK;

SET client_min_messages = warning;
DROP SCHEMA guard_functions CASCADE;
SELECT count(*) FROM idempotent.guards;
