-- The guard of a partitioned table: clones on partitions that look different, and UPDATEs that move rows.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
-- Command tags say how many rows went in.
\set QUIET off
CREATE SCHEMA guard_partitions;
SET search_path = guard_partitions, public;
CREATE TABLE events (tenant int, id int, kind text DEFAULT 'x', amount numeric(8,2), at timestamptz DEFAULT clock_timestamp(), PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
-- Other column order, dropped columns.
CREATE TABLE events_2 (amount numeric(8,2), gone int, at timestamptz DEFAULT clock_timestamp(), id int NOT NULL, also_gone text, kind text DEFAULT 'x', tenant int NOT NULL);
ALTER TABLE events_2 DROP gone, DROP also_gone;
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES IN (2);
-- Sub-partitions; one made before the guard, one after.
CREATE TABLE events_3 PARTITION OF events FOR VALUES IN (3) PARTITION BY RANGE (id);
CREATE TABLE events_3_low (kind text DEFAULT 'x', id int NOT NULL, tenant int NOT NULL, amount numeric(8,2), at timestamptz);
ALTER TABLE events_3 ATTACH PARTITION events_3_low FOR VALUES FROM (0) TO (100);
SELECT * FROM idempotent_guard('events');
CREATE TABLE events_3_high PARTITION OF events_3 FOR VALUES FROM (100) TO (200);
CREATE TABLE events_default PARTITION OF events DEFAULT;
-- One guard; its clones are part of it.
SELECT target, trigger, key, arbiter, compared FROM idempotent.guards;
SELECT tgrelid::regclass, tgname, tgparentid <> 0 AS clone FROM pg_trigger WHERE tgname LIKE 'zz%' ORDER BY 1;

INSERT INTO events (tenant, id, amount) VALUES (1, 1, 1), (2, 1, 1), (3, 1, 1), (3, 101, 1), (9, 1, 1);
INSERT INTO events (tenant, id, amount) VALUES (9, 1, 1), (3, 101, 1.00), (3, 1, 1), (2, 1, 1), (1, 1, 1), (1, 2, 2);
INSERT INTO events (tenant, id, amount) VALUES (2, 1, 2);
:state
INSERT INTO events VALUES (3, 1, 'y', 2);
INSERT INTO events VALUES (3, 101, 'y', 2);
INSERT INTO events VALUES (3, 201, 'y', 2);
:state
INSERT INTO events VALUES (3, NULL, 'y', 2);
:state
-- The fields are those of the root.
DO $$
DECLARE sch text; tab text; col text; con text; sta text;
BEGIN
    INSERT INTO events (tenant, id, amount) VALUES (2, 1, 2);
EXCEPTION WHEN integrity_constraint_violation THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME, sta = RETURNED_SQLSTATE;
    RAISE INFO '%: schema %, table %, column %, constraint %', sta, sch, tab, col, con;
END $$;
-- COPY, and INSERT and COPY into a partition itself.
COPY events (tenant, id, amount) FROM stdin;
1	1	1
2	1	1
2	2	2
3	101	1
2	2	2
\.
INSERT INTO events_2 (tenant, id, amount) VALUES (2, 2, 2), (2, 3, 3);
INSERT INTO events_2 (tenant, id, amount) VALUES (2, 2, 3);
INSERT INTO events_3 (tenant, id, amount) VALUES (3, 1, 1), (3, 2, 2);
INSERT INTO events_3_low (tenant, id, amount) VALUES (3, 1, 2);
COPY events_3_high (tenant, id, amount) FROM stdin;
3	101	1
3	102	1
\.
INSERT INTO events SELECT * FROM events;
INSERT INTO events (tenant, id, amount) VALUES (1, 1, 1), (1, 7, 1), (2, 7, 1) RETURNING tableoid::regclass, tenant, id;
SELECT tableoid::regclass, tenant, id, kind, amount FROM events ORDER BY 2, 3;

-- UPDATE within a partition is none of the guard's business.
UPDATE events SET amount = 5 WHERE tenant = 1 AND id = 1;
UPDATE events SET id = 8 WHERE tenant = 1 AND id = 7;
UPDATE events SET id = 8 WHERE tenant = 1 AND id = 1;
:state
-- Moved to another partition: a free key, and one that is taken, equal or not.
UPDATE events SET tenant = 2 WHERE tenant = 1 AND id = 8;
UPDATE events SET tenant = 2 WHERE tenant = 1 AND id = 2;
:state
UPDATE events SET tenant = 2, id = 3, amount = 3 WHERE tenant = 1 AND id = 2;
:state
SELECT tableoid::regclass, tenant, id, amount FROM events WHERE id IN (2, 8) AND tenant < 3 ORDER BY 2, 3;
-- Many rows, some of them moved; RETURNING.
WITH u AS (UPDATE events SET tenant = CASE tenant WHEN 1 THEN 5 ELSE tenant END, kind = 'moved' WHERE tenant IN (1, 2, 9) RETURNING tableoid::regclass, tenant, id, kind) SELECT * FROM u ORDER BY tenant, id;
WITH u AS (UPDATE events SET tenant = 3 - tenant, id = id + 50 WHERE tenant = 2 RETURNING tableoid::regclass, tenant, id) SELECT * FROM u ORDER BY id;
UPDATE events SET id = 150 WHERE tenant = 3 AND id = 2 RETURNING tableoid::regclass, tenant, id;
-- Back again, and a payload for the key that it left.
BEGIN;
UPDATE events SET tenant = 1 WHERE tenant = 5 AND id = 1;
INSERT INTO events (tenant, id, amount) VALUES (5, 1, 9);
UPDATE events SET tenant = 5 WHERE tenant = 1 AND id = 1;
:state
ROLLBACK;
-- A trigger that moves: the UPDATE in it is judged like any.
CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE events SET tenant = 6 WHERE tenant = 5; RETURN NULL; END $$;
CREATE TRIGGER moves AFTER INSERT ON events FOR EACH ROW WHEN (NEW.kind = 'mover') EXECUTE FUNCTION moves();
INSERT INTO events VALUES (1, 500, 'mover', 1), (1, 500, 'mover', 1);
SELECT tableoid::regclass, tenant, id FROM events WHERE tenant IN (5, 6) ORDER BY 3;
DROP TRIGGER moves ON events;
-- An UPDATE's own triggers that insert payloads while a row is being moved.
CREATE FUNCTION logs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO events VALUES (1, 900, 'log', 1); RETURN NEW; END $$;
CREATE TRIGGER logs BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION logs();
UPDATE events SET tenant = 1 WHERE tenant = 6;
SELECT tableoid::regclass, tenant, id, kind FROM events WHERE tenant IN (1, 6) ORDER BY 3;
DROP TRIGGER logs ON events;
-- In one statement: an UPDATE that moves a row, and an INSERT of a payload of the same key.
WITH moved AS (UPDATE events SET tenant = 7 WHERE tenant = 9 RETURNING tenant)
INSERT INTO events (tenant, id, amount, kind) SELECT 1, 910, 1, 'new' FROM moved RETURNING tenant, id;
-- A BEFORE INSERT trigger of the partition that makes the moved row another.
CREATE FUNCTION other_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := NEW.id + 1000; RETURN NEW; END $$;
CREATE TRIGGER other_key BEFORE INSERT ON events_default FOR EACH ROW EXECUTE FUNCTION other_key();
UPDATE events SET tenant = 8 WHERE tenant = 1 AND id = 910;
UPDATE events SET tenant = 8 WHERE tenant = 1 AND id = 900;
SELECT tableoid::regclass, tenant, id, kind FROM events WHERE tenant = 8 ORDER BY 3;
DROP TRIGGER other_key ON events_default;
-- The same where that key is taken, by an equal row.
CREATE TABLE moves (id int, r int, v int, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
CREATE TABLE moves_1 PARTITION OF moves FOR VALUES IN (1);
CREATE TABLE moves_2 PARTITION OF moves FOR VALUES IN (2);
SELECT key FROM idempotent_guard('moves');
INSERT INTO moves VALUES (1, 1, 1), (1007, 2, 1), (7, 1, 1), (8, 1, 1);
CREATE TRIGGER other_key BEFORE INSERT ON moves_2 FOR EACH ROW EXECUTE FUNCTION other_key();
UPDATE moves SET r = 2 WHERE id = 7;
:state
UPDATE moves SET r = 2, id = 10 WHERE id = 8;
DROP TRIGGER other_key ON moves_2;
-- A payload with the key of a row that the same statement updates: in place, and moved.
WITH u AS (UPDATE moves SET v = 2 WHERE id = 7 RETURNING id, r, v) INSERT INTO moves SELECT * FROM u;
WITH u AS (UPDATE moves SET v = 3 WHERE id = 7 RETURNING id, r, v) INSERT INTO moves SELECT id, r, 77 FROM u;
:state
WITH u AS (UPDATE moves SET r = 2 WHERE id = 7 RETURNING id, r, v) INSERT INTO moves SELECT * FROM u;
WITH u AS (UPDATE moves SET r = 1 WHERE id = 7 RETURNING id, r, v) INSERT INTO moves SELECT id, 2, 9 FROM u;
SELECT * FROM moves ORDER BY id, r;
-- Moved where its key is taken with an equal row: an error, and no row lost.
SELECT count(*) FROM events;
INSERT INTO events (tenant, id, amount, kind) VALUES (2, 600, 1, 'same'), (1, 600, 1, 'same');
UPDATE events SET tenant = 2 WHERE tenant = 1 AND id = 600;
:state
SELECT count(*) FROM events;
-- Twice in one transaction, with a savepoint.
BEGIN;
UPDATE events SET tenant = 8 WHERE tenant = 1 AND id = 600;
SAVEPOINT s;
UPDATE events SET tenant = 2 WHERE tenant = 8 AND id = 600;
ROLLBACK TO s;
UPDATE events SET tenant = 1 WHERE tenant = 8 AND id = 600;
COMMIT;
SELECT tableoid::regclass, tenant, id FROM events WHERE id = 600 ORDER BY 2;

-- MERGE and ON CONFLICT.
MERGE INTO events AS e USING (VALUES (1, 600, 2), (1, 601, 2)) AS s (tenant, id, amount) ON e.tenant = s.tenant AND e.id = s.id
    WHEN MATCHED THEN UPDATE SET tenant = 8, amount = s.amount WHEN NOT MATCHED THEN INSERT (tenant, id, amount) VALUES (s.tenant, s.id, s.amount);
SELECT tableoid::regclass, tenant, id, amount FROM events WHERE id IN (600, 601) ORDER BY 2;
INSERT INTO events (tenant, id, amount) VALUES (1, 601, 2) ON CONFLICT (tenant, id) DO UPDATE SET amount = 99;
INSERT INTO events (tenant, id, amount) VALUES (1, 601, 3) ON CONFLICT (tenant, id) DO UPDATE SET amount = 99;

-- DETACH leaves a table without the guard; ATTACH gives it one.
ALTER TABLE events DETACH PARTITION events_2;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'events_2'::regclass;
INSERT INTO events_2 (tenant, id, amount) VALUES (2, 600, 1);
:state
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES IN (2);
INSERT INTO events_2 (tenant, id, amount, kind) VALUES (2, 600, 1, 'same');
-- A table that is guarded by itself is no partition to be.
ALTER TABLE events DETACH PARTITION events_1;
SELECT target, key, arbiter FROM idempotent_guard('events_1');
INSERT INTO events_1 (tenant, id, amount) VALUES (1, 601, 2);
ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES IN (1);
:state
SELECT idempotent_unguard('events_1');
ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES IN (1);
-- Under another name it gets in, and says so.
ALTER TABLE events DETACH PARTITION events_1;
CREATE TRIGGER by_hand BEFORE INSERT OR UPDATE ON events_1 FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES IN (1);
INSERT INTO events (tenant, id, amount) VALUES (1, 602, 2);
:state
INSERT INTO events (tenant, id, amount, kind) VALUES (2, 600, 1, 'same');
SELECT target, trigger, problem FROM idempotent.guards ORDER BY 2;
DROP TRIGGER by_hand ON events_1;
INSERT INTO events (tenant, id, amount) VALUES (1, 602, 2);
-- So does a tree under a partitioned table that is guarded itself.
CREATE TABLE years (y int, id int, v int, PRIMARY KEY (y, id)) PARTITION BY LIST (y);
CREATE TABLE y1 (y int, id int, v int, PRIMARY KEY (y, id)) PARTITION BY RANGE (id);
CREATE TABLE y1_a PARTITION OF y1 FOR VALUES FROM (0) TO (10);
SELECT target, key, arbiter FROM idempotent_guard('y1');
INSERT INTO y1 VALUES (1, 1, 1), (1, 1, 1);
ALTER TABLE years ATTACH PARTITION y1 FOR VALUES IN (1);
SELECT target, trigger, problem FROM idempotent.guards WHERE target = 'y1'::regclass;
INSERT INTO years VALUES (1, 1, 1);
:state
INSERT INTO y1_a VALUES (1, 1, 1);
:state
SELECT idempotent_guard('y1');
:state
SELECT idempotent_unguard('y1');
SELECT target, key, arbiter FROM idempotent_guard('years');
INSERT INTO years VALUES (1, 1, 1), (1, 2, 2);
SELECT idempotent_unguard('years');
SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('years'::regclass, 'y1'::regclass, 'y1_a'::regclass);
-- Disabled and enabled for all partitions.
ALTER TABLE events DISABLE TRIGGER zz_idempotent_guard;
INSERT INTO events (tenant, id, amount) VALUES (1, 602, 2);
ALTER TABLE events ENABLE TRIGGER zz_idempotent_guard;
-- On one partition only: then a duplicate cannot be told from a row that is moved.
ALTER TABLE events_default DISABLE TRIGGER zz_idempotent_guard;
INSERT INTO events (tenant, id, amount) VALUES (1, 602, 2);
:state
INSERT INTO events (tenant, id, amount) VALUES (1, 603, 3);
UPDATE events SET tenant = 1 WHERE tenant = 8 AND id = 600;
INSERT INTO events (tenant, id, amount, kind) VALUES (8, 600, 2, 'same');
UPDATE events SET tenant = 1 WHERE tenant = 8 AND id = 600;
:state
UPDATE events SET tenant = 8 WHERE tenant = 1 AND id = 600;
:state
DELETE FROM events WHERE tenant = 1 AND id IN (600, 603);
ALTER TABLE events ENABLE ALWAYS TRIGGER zz_idempotent_guard;
INSERT INTO events (tenant, id, amount) VALUES (1, 602, 2);
SELECT enabled FROM idempotent_guard('events', ignore => '{kind}');
SELECT tgrelid::regclass, tgenabled FROM pg_trigger WHERE tgname LIKE 'zz%' ORDER BY 1;
INSERT INTO events (tenant, id, kind, amount) VALUES (1, 602, 'q', 2), (2, 600, 'q', 1);
SET session_replication_role = replica;
INSERT INTO events (tenant, id, kind, amount) VALUES (1, 602, 'q', 2);
RESET session_replication_role;

-- Quarantine: the root is the target.
SELECT on_conflict FROM idempotent_guard('events', on_conflict => 'quarantine', ignore => '{kind}');
INSERT INTO events (tenant, id, kind, amount) VALUES (2, 600, 'q', 2), (2, 600, 'q', 2), (3, 1, 'q', 2);
SELECT target, key, payload - 'at' AS payload, stored - 'at' AS stored, differences FROM idempotent.conflicts ORDER BY id;
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts ORDER BY id;
SELECT tableoid::regclass, tenant, id, kind, amount FROM events WHERE (tenant, id) IN ((2, 600), (3, 1)) ORDER BY 2;

-- remember on partitions.
ALTER TABLE events ADD seen jsonb;
SELECT remember, compared FROM idempotent_guard('events', ignore => '{kind}', remember => 'seen');
INSERT INTO events (tenant, id, amount) VALUES (1, 700, 1), (2, 700, 2), (3, 70, 3);
UPDATE events SET amount = 10 WHERE id IN (700, 70);
UPDATE events SET tenant = 8 WHERE id = 700 AND tenant = 2;
INSERT INTO events (tenant, id, amount) VALUES (1, 700, 1), (8, 700, 2), (3, 70, 3);
INSERT INTO events (tenant, id, amount) VALUES (8, 700, 10);
UPDATE events SET seen = '{}', tenant = 2 WHERE id = 700 AND tenant = 8;
:state
UPDATE events SET seen = '{}' WHERE id = 70 AND tenant = 3;
:state
SELECT tableoid::regclass, tenant, id, amount, seen FROM events WHERE seen IS NOT NULL ORDER BY 2, 3;

-- A column that a partition has a default of its own for, or one that a partition generates differently.
CREATE TABLE d (id int PRIMARY KEY, a int DEFAULT 1, g int GENERATED ALWAYS AS (a * 2) STORED) PARTITION BY RANGE (id);
CREATE TABLE d1 PARTITION OF d (a DEFAULT 2) FOR VALUES FROM (0) TO (10);
SELECT key, compared FROM idempotent_guard('d');
INSERT INTO d (id) VALUES (1);
INSERT INTO d1 (id) VALUES (1);
:state
INSERT INTO d (id) VALUES (1);
-- Hash partitions.
CREATE TABLE h (id text PRIMARY KEY, v int) PARTITION BY HASH (id);
CREATE TABLE h0 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
SELECT key, compared FROM idempotent_guard('h');
INSERT INTO h SELECT 'k' || n % 50, n % 50 FROM generate_series(1, 1000) AS n;
UPDATE h SET id = id || 'x', v = v + 1;
INSERT INTO h SELECT 'k' || n % 50 || 'x', n % 50 + 1 FROM generate_series(1, 1000) AS n;
SELECT count(*), sum(v) FROM h;

SET client_min_messages = warning;
DROP SCHEMA guard_partitions CASCADE;
SELECT count(*) FROM idempotent.guards;
