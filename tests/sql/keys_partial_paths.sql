-- Expression and partial indexes as the key of a guard, a view, a load, a merge, a comparison, and in quarantine.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA keys_partial_paths;
SET search_path = keys_partial_paths, public;
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- A guard on a soft-delete key.
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, order_id text NOT NULL, amount numeric, deleted_at timestamptz);
CREATE UNIQUE INDEX orders_live ON orders (lower(order_id)) WHERE deleted_at IS NULL;
SELECT idempotent_guard('orders');
:state
SELECT target, key, arbiter, compared, problem FROM idempotent_guard('orders', key => '{lower(order_id)}', ignore => '{id}');
INSERT INTO orders (order_id, amount) VALUES ('a', 1), ('b', 1), ('a', 1.0) RETURNING order_id;
INSERT INTO orders (order_id, amount) VALUES ('a', 1);
INSERT INTO orders (order_id, amount) VALUES ('A', 1);
:state
INSERT INTO orders (order_id, amount) VALUES ('a', 2);
:state
INSERT INTO orders (order_id, amount, deleted_at) VALUES ('a', 2, '2026-01-01Z'), ('a', 2, '2026-01-01Z');
COPY orders (order_id, amount, deleted_at) FROM stdin;
a	1	\N
c	3	\N
c	4	2026-01-01Z
c	3	\N
\.
UPDATE orders SET deleted_at = '2026-01-02Z' WHERE order_id = 'a' AND deleted_at IS NULL;
INSERT INTO orders (order_id, amount) VALUES ('A', 9), ('A', 9);
SELECT order_id, amount, deleted_at FROM orders ORDER BY id;
-- Functions take the guard's key, and leave the work to one of the two.
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "A", "amount": 9}');
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "d", "amount": 9}');
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "d", "amount": 9, "deleted_at": "2026-01-01Z"}');
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "d", "amount": 10}');
:state
-- The key in the trigger is that of the index, whatever the search_path.
RESET search_path;
INSERT INTO keys_partial_paths.orders (order_id, amount) VALUES ('d', 9);
SELECT key, problem FROM idempotent.guards;
SET search_path = keys_partial_paths, public;
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;
-- A trigger by hand; an expression longer than a name; and a NULL in it.
CREATE TABLE by_hand (a text, b text, v int);
CREATE UNIQUE INDEX by_hand_key ON by_hand (lower((((a || '-') || b) || '-and-something-that-is-longer-than-a-name-can-be')));
CREATE TRIGGER zz_idempotent_guard BEFORE INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key="lower((((a || ''-''::text) || b) || ''-and-something-that-is-longer-than-a-name-can-be''::text))"');
INSERT INTO by_hand VALUES ('x', 'y', 1), ('x', 'y', 1);
INSERT INTO by_hand VALUES ('X', 'y', 1);
:state
INSERT INTO by_hand VALUES ('X', NULL, 1);
:state
SELECT * FROM by_hand;
DROP INDEX by_hand_key;
SELECT key, problem FROM idempotent.guards WHERE target = 'by_hand'::regclass;
DROP TABLE by_hand;
-- What first arrived is remembered for a row without a key as well.
CREATE TABLE remembered (key text, v int, first jsonb);
CREATE UNIQUE INDEX remembered_key ON remembered (key) WHERE key IS NOT NULL;
SELECT key, compared, problem FROM idempotent_guard('remembered', remember => 'first');
INSERT INTO remembered VALUES ('a', 1), (NULL, 1), (NULL, 1);
UPDATE remembered SET v = 2 WHERE key = 'a';
INSERT INTO remembered VALUES ('a', 1);
INSERT INTO remembered VALUES ('a', 2);
:state
TABLE remembered;
-- A trigger before the guard moves a row in or out of the condition: the guard sees it so.
CREATE TABLE moved (a int, gone boolean, v int);
CREATE UNIQUE INDEX moved_key ON moved (a) WHERE NOT gone;
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.gone := NEW.v < 0; RETURN NEW; END $$;
CREATE TRIGGER move BEFORE INSERT ON moved FOR EACH ROW EXECUTE FUNCTION move();
SELECT key FROM idempotent_guard('moved', key => '{a}');
INSERT INTO moved VALUES (1, true, 1), (1, true, 1), (1, false, -1), (1, false, -1);
SELECT * FROM moved ORDER BY v;
SELECT idempotent_unguard('moved');
-- On the function path it is not the payload that is stored then.
SELECT outcome FROM idempotent_insert('moved', '{"a": 2, "gone": false, "v": -1}', key => '{a}');
:state
SELECT outcome FROM idempotent_insert('moved', '{"a": 2, "gone": true, "v": 1}', key => '{a}');
:state
SELECT outcome FROM idempotent_insert('moved', '{"a": 1, "gone": false, "v": 1}', key => '{a}');
SELECT * FROM idempotent_insert_many('moved', '[{"a": 3, "gone": false, "v": 1}, {"a": 3, "gone": true, "v": -1}, {"a": 3, "gone": true, "v": -1}, {"a": 3, "gone": false, "v": 1}]', key => '{a}');
SELECT outcome, stored FROM idempotent_insert_each('moved', '[{"a": 4, "gone": false, "v": 1}, {"a": 4, "gone": true, "v": -1}, {"a": 4, "gone": false, "v": 1}]', key => '{a}');
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER suppress BEFORE INSERT ON moved FOR EACH ROW WHEN (NEW.gone) EXECUTE FUNCTION suppress();
SELECT outcome FROM idempotent_insert('moved', '{"a": 5, "gone": true, "v": -1}', key => '{a}');
:state
-- AFTER triggers: then a row without a key cannot be read again, and is not shown.
CREATE TABLE after_rows (a int, gone boolean, v int);
CREATE UNIQUE INDEX after_rows_key ON after_rows (a) WHERE NOT gone;
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE after_rows SET v = v + 1 WHERE a = NEW.a; RETURN NULL; END $$;
CREATE TRIGGER later AFTER INSERT ON after_rows FOR EACH ROW WHEN (NOT NEW.gone) EXECUTE FUNCTION later();
SELECT * FROM idempotent_insert_each('after_rows', '[{"a": 1, "gone": true, "v": 1}, {"a": 1, "gone": false, "v": 1}]', key => '{a}');
-- Guards on partitions, whose columns have other numbers.
CREATE TABLE parted (day date, code text, gone boolean, v int) PARTITION BY RANGE (day);
CREATE TABLE parted_1 (v int, dropped int, gone boolean, code text, day date);
ALTER TABLE parted_1 DROP COLUMN dropped;
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE UNIQUE INDEX parted_key ON parted (upper(code), day) WHERE NOT gone;
SELECT key, compared, problem FROM idempotent_guard('parted', key => '{day, upper(code)}', compare => '{v}');
INSERT INTO parted VALUES ('2026-01-05', 'a', false, 1), ('2026-01-05', 'A', false, 1), ('2026-01-05', 'a', true, 1), ('2026-02-05', 'a', false, 1), ('2026-02-05', 'A', false, 1);
INSERT INTO parted VALUES ('2026-02-05', 'A', false, 2);
UPDATE parted SET day = '2026-02-06' WHERE day = '2026-01-05';
SELECT tableoid::regclass, * FROM parted ORDER BY day, code, gone;
-- A guard that observes.
CREATE TABLE observed (email text, v int);
CREATE UNIQUE INDEX observed_key ON observed (lower(email)) WHERE v > 0;
SELECT key, on_conflict FROM idempotent_guard('observed', key => '{lower(email)}', on_conflict => 'observe');
INSERT INTO observed VALUES ('a', 1), ('b', 0), ('b', 0);
INSERT INTO observed VALUES ('A', 1);
:state

-- A view.
CREATE TABLE viewed (id int GENERATED ALWAYS AS IDENTITY, email text, v int, gone boolean NOT NULL DEFAULT false);
CREATE UNIQUE INDEX viewed_key ON viewed (lower(email)) WHERE NOT gone;
SELECT idempotent_view('viewed', 'viewed_view', key => '{lower(email)}', ignore => '{email}');
INSERT INTO viewed_view (email, v) VALUES ('a@x', 1), ('A@x', 1) RETURNING id, email;
INSERT INTO viewed_view (email, v, gone) VALUES ('a@x', 2, true), ('a@x', 2, true) RETURNING id, email;
INSERT INTO viewed_view (email, v) VALUES ('a@X', 2);
:state

-- A load.
CREATE TABLE loaded (email text, v int, gone boolean);
CREATE UNIQUE INDEX loaded_key ON loaded (lower(email)) WHERE NOT gone;
CREATE TABLE loaded_in AS SELECT 'u' || (i % 50) AS email, i % 50 AS v, i % 3 = 0 AS gone FROM generate_series(1, 300) AS i;
SET client_min_messages = warning;
CALL idempotent_load('loaded', 'loaded_in', key => '{lower(email)}', batch_size => 7);
SELECT count(*), count(*) FILTER (WHERE NOT gone) AS live FROM loaded;
CALL idempotent_load('loaded', 'loaded_in', key => '{lower(email)}', batch_size => 7);
SELECT count(*), count(*) FILTER (WHERE NOT gone) AS live FROM loaded;
RESET client_min_messages;
-- Many rows, so that they go in without ON CONFLICT first; then as duplicates.
CREATE TABLE many (email text, v int, gone boolean);
CREATE UNIQUE INDEX many_key ON many (lower(email)) WHERE NOT gone;
CREATE TABLE many_in AS SELECT CASE WHEN i % 2 = 0 THEN 'u' ELSE 'U' END || i AS email, i AS v, i % 5 = 0 AS gone FROM generate_series(1, 12000) AS i;
SELECT * FROM idempotent_insert_from('many', 'many_in', key => '{lower(email)}');
SELECT * FROM idempotent_insert_from('many', 'many_in', key => '{lower(email)}');
DELETE FROM many WHERE v % 3 = 0;
SELECT * FROM idempotent_insert_from('many', 'many_in', key => '{lower(email)}');
SELECT count(*) FILTER (WHERE NOT gone) AS live, count(*) FILTER (WHERE gone) AS gone FROM many;

-- A merge: of rows without a key each is inserted.
CREATE TABLE merged (email text, name text, seen int, gone boolean NOT NULL DEFAULT false);
CREATE UNIQUE INDEX merged_key ON merged (lower(email)) WHERE NOT gone;
INSERT INTO merged VALUES ('A@x', 'old', 1, false), ('b@x', 'same', 5, false), ('d@x', 'later', 9, false), ('a@x', 'gone', 0, true);
CREATE VIEW merged_source (email, name, seen, gone) AS VALUES ('a@x', 'new', 3, false), ('a@X', 'older', 2, false), ('b@x', 'same', 5, false), ('c@x', 'c', 1, false),
  ('d@x', 'early', 8, false), ('a@x', 'gone', 0, true), ('e@x', 'gone', 0, true);
SELECT * FROM idempotent_merge('merged', 'merged_source', key => '{lower(email)}', latest_by => '{seen}');
SELECT * FROM merged ORDER BY lower(email), gone, name;
CREATE VIEW merged_live AS SELECT * FROM merged_source WHERE NOT gone;
SELECT * FROM idempotent_merge('merged', 'merged_live', key => '{lower(email)}', latest_by => '{seen}');

-- A comparison: rows without a key are left out on both sides.
CREATE TABLE expected AS SELECT * FROM merged;
SELECT * FROM idempotent_reconcile('merged', 'expected', key => '{lower(email)}');
UPDATE expected SET email = upper(email), name = 'other' WHERE email = 'b@x';
UPDATE expected SET gone = true WHERE email = 'c@x';
INSERT INTO expected VALUES ('f@x', 'f', 1, false), ('g@x', 'g', 1, true);
SELECT * FROM idempotent_reconcile('merged', 'expected', key => '{lower(email)}');
CREATE VIEW expected_names AS SELECT email, name FROM expected WHERE NOT gone;
SELECT status, key, differences FROM idempotent_reconcile('merged', 'expected_names', key => '{lower(email)}', ignore => '{email}');

-- Quarantine: the record has the key's values, and the stored row is found by them.
SELECT outcome FROM idempotent_insert('merged', '{"email": "B@x", "name": "mine", "seen": 5}', key => '{lower(email)}', on_conflict => 'quarantine');
SELECT outcome FROM idempotent_insert('merged', '{"email": "C@x", "name": "c", "seen": 2}', key => '{lower(email)}', on_conflict => 'quarantine');
SELECT key, payload, stored, differences FROM idempotent.conflicts ORDER BY id;
SELECT idempotent_resolve(min(id), 'apply_payload') FROM idempotent.conflicts;
UPDATE merged SET gone = true WHERE email = 'c@x';
SELECT idempotent_resolve(max(id), 'apply_payload') FROM idempotent.conflicts;
:state
SELECT idempotent_resolve(max(id), 'keep_stored') FROM idempotent.conflicts;
SELECT * FROM merged WHERE NOT gone ORDER BY lower(email);
