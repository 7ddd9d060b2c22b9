-- Rows with a NULL in the guard's key: refused, with words that help, or passed. (docs/guard.md, A key that may be NULL)
\set VERBOSITY default
\set SHOW_CONTEXT never
\set QUIET off
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA null_key;
SET search_path = null_key, public;
CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop text NOT NULL, "Ref" text, v int, seen jsonb, UNIQUE (shop, "Ref"));

-- A nullable key is warned of, unless NULL is a key, or such rows pass.
SELECT key, null_key FROM idempotent_guard('items', ignore => '{seen}');
INSERT INTO items (shop, "Ref", v) VALUES ('a', '1', 1);
INSERT INTO items (shop, "Ref", v) VALUES ('a', '1', 1), ('a', NULL, 1);
:state
-- The hints run.
SELECT key, null_key FROM idempotent_guard('null_key.items', key => '{shop,Ref}', ignore => '{seen}', null_key => 'pass');
INSERT INTO items (shop, "Ref", v) VALUES ('a', '1', 1), ('a', NULL, 1), ('a', NULL, 1), ('a', NULL, 2);
INSERT INTO items (shop, "Ref", v) VALUES ('a', '1', 2);
:state
INSERT INTO items (shop, "Ref", v) VALUES (NULL, '1', 1);
:state
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'items'::regclass;
SELECT key, ignore, null_key, problem FROM idempotent.guards;
-- The functions ask for the whole key all the same.
SELECT outcome FROM idempotent_insert('items', '{"shop": "a", "Ref": null, "v": 1}');
:state
SELECT outcome FROM idempotent_insert('items', '{"shop": "a", "v": 1}', key => '{shop, Ref}');
:state
COPY items (shop, "Ref", v) FROM stdin;
a	\N	1
a	2	1
a	2	1
\.
SELECT "Ref", count(*) FROM items GROUP BY 1 ORDER BY 1;
-- What remembers stays empty for rows that are not judged.
SELECT remember, null_key FROM idempotent_guard('items', remember => 'seen', null_key => 'pass');
INSERT INTO items (shop, "Ref", v) VALUES ('b', '1', 1), ('b', NULL, 1);
SELECT "Ref", seen FROM items WHERE shop = 'b';
-- Replaced, not merged; the other way of the hint.
DELETE FROM items WHERE "Ref" IS NULL;
SELECT null_key FROM idempotent_guard('items', remember => 'seen', on_conflict => 'quarantine');
ALTER TABLE null_key.items ALTER COLUMN "Ref" SET NOT NULL;
SELECT null_key FROM idempotent_guard('items', remember => 'seen', on_conflict => 'quarantine');

-- NULL is a key; a domain that is never NULL; partitions.
CREATE TABLE equal (a text UNIQUE NULLS NOT DISTINCT, v int);
SELECT null_key FROM idempotent_guard('equal');
INSERT INTO equal VALUES (NULL, 1), (NULL, 1);
CREATE DOMAIN filled AS text NOT NULL;
CREATE TABLE domains (a filled UNIQUE, v int);
SELECT null_key FROM idempotent_guard('domains');
CREATE TABLE parted (a int, b int, v int, UNIQUE (a, b)) PARTITION BY LIST (a);
CREATE TABLE parted_1 (v int, b int, a int);
ALTER TABLE parted ATTACH PARTITION parted_1 FOR VALUES IN (1);
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
SELECT null_key FROM idempotent_guard('parted');
INSERT INTO parted VALUES (1, NULL, 1);
:state
SELECT null_key FROM idempotent_guard('parted', null_key => 'pass');
INSERT INTO parted VALUES (1, NULL, 1), (NULL, 1, 1), (1, 1, 1), (1, 1, 1);
INSERT INTO parted_1 (a, v) VALUES (1, 1), (1, 1);
SELECT tableoid::regclass, count(*) FROM parted GROUP BY 1 ORDER BY 1;
UPDATE parted SET a = 2 WHERE b IS NULL AND v = 1;

-- By hand, and wrong.
SELECT idempotent_unguard('items');
CREATE TRIGGER zz_idempotent_guard BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=shop, "Ref"', 'null_key=pass');
SELECT key, null_key, problem FROM idempotent.guards WHERE target = 'items'::regclass;
CREATE OR REPLACE TRIGGER zz_idempotent_guard BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('null_key=maybe');
SELECT null_key, problem FROM idempotent.guards WHERE target = 'items'::regclass;
SELECT null_key FROM idempotent_guard('items', null_key => 'Pass');
:state
SELECT null_key FROM idempotent_guard('items', null_key => NULL);
:state

RESET search_path;
SET client_min_messages = error;
DROP SCHEMA null_key CASCADE;
