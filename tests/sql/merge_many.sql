-- idempotent_merge_many: payloads that name some columns, several of them under one key, fields that are not stored, deletes.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_sender;
CREATE SCHEMA merge_many;
GRANT USAGE ON SCHEMA merge_many TO regress_pgi_sender;
SET search_path = merge_many, public;
CREATE FUNCTION merged(target regclass, payloads jsonb, latest_by text[] DEFAULT '{at}', delete_when text DEFAULT NULL, key text[] DEFAULT NULL, insert_only text[] DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$
    SELECT format('received %s, inserted %s, updated %s, deleted %s, unchanged %s, stale %s, superseded %s', received, inserted, updated, deleted, unchanged, stale, superseded)
    FROM idempotent_merge_many(target, payloads, key, latest_by, insert_only => insert_only, delete_when => delete_when)
$$;

-- A payload of each kind: new, later, equal, stale, superseded.
CREATE TABLE orders (id int PRIMARY KEY, at int, status text DEFAULT 'new', address text DEFAULT 'unknown', note text);
INSERT INTO orders VALUES (2, 1, 'a', 'b', 'note'), (3, 1, 'a', 'b', 'note'), (4, 9, 'a', 'b', 'note');
SELECT merged('orders', '[{"id": 1, "at": 2, "status": "x"}, {"id": 2, "at": 2, "status": "y"}, {"id": 3, "at": 1, "status": "a"},
    {"id": 4, "at": 2, "status": "z"}, {"id": 1, "at": 1, "status": "w"}]');
SELECT * FROM orders ORDER BY id;
-- Payloads that name different columns: what one leaves out, stays. In a new row it takes its default. JSON null is a value.
SELECT merged('orders', '[{"id": 1, "at": 3, "address": "p"}, {"id": 2, "at": 3, "status": null}, {"id": 3, "at": 3, "note": "q", "address": "r"},
    {"id": 5, "at": 3}, {"id": 6, "at": 3, "address": null}]');
SELECT * FROM orders ORDER BY id;
-- Again: nothing to do, also in a READ ONLY transaction.
BEGIN READ ONLY;
SELECT merged('orders', '[{"id": 1, "at": 3, "address": "p"}, {"id": 2, "at": 3, "status": null}, {"id": 3, "at": 3, "note": "q", "address": "r"},
    {"id": 5, "at": 3}, {"id": 6, "at": 3, "address": null}]');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;

-- Several payloads under one key are merged one after the other, the earliest first, whatever their order in the array.
SELECT merged('orders', '[{"id": 7, "at": 1, "status": "paid", "note": "n"}, {"id": 7, "at": 2, "address": "home"}, {"id": 7, "at": 3, "note": "last"}]');
SELECT merged('orders', '[{"id": 8, "at": 3, "note": "last"}, {"id": 8, "at": 1, "status": "paid", "note": "n"}, {"id": 8, "at": 2, "address": "home"}]');
SELECT * FROM orders WHERE id IN (7, 8) ORDER BY id;
-- One that later ones cover is superseded; one that is earlier than what is stored is stale.
SELECT merged('orders', '[{"id": 7, "at": 4, "status": "p"}, {"id": 7, "at": 5, "address": "q"}, {"id": 7, "at": 6, "status": "r", "address": "s"},
    {"id": 7, "at": 2, "note": "stale"}]');
SELECT * FROM orders WHERE id = 7;
-- Payloads of the same time are one: each column is from the later one that names it, whatever is stored.
SELECT merged('orders', '[{"id": 9, "at": 1, "status": "x"}, {"id": 9, "at": 1, "address": "y"}, {"id": 9, "at": 1, "status": "w", "note": "z"}]');
SELECT merged('orders', '[{"id": 10, "at": 1, "status": "w", "note": "z"}, {"id": 10, "at": 1, "address": "y"}, {"id": 10, "at": 1, "status": "x"}]');
SELECT merged('orders', '[{"id": 10, "at": 2, "status": "a"}, {"id": 10, "at": 2, "note": "b"}]');
SELECT * FROM orders WHERE id IN (9, 10) ORDER BY id;
-- The one that leaves out the first column in which they are unlike is the earlier.
SELECT merged('orders', '[{"id": 0, "at": 1, "status": "a", "address": "x"}, {"id": 0, "at": 1, "address": "y"}]');
SELECT * FROM orders WHERE id = 0;
DELETE FROM orders WHERE id = 0;
-- Payloads of nothing but the key.
SELECT merged('orders', '[{"id": 9}, {"id": 11}, {"id": 11}]', NULL);
SELECT merged('orders', '[{"id": 12, "status": "s"}, {"id": 12}]', NULL);
SELECT * FROM orders WHERE id > 10 ORDER BY id;

-- Without latest_by: payloads of one key must agree in the columns that both name.
SELECT merged('orders', '[{"id": 13, "status": "s"}, {"id": 13, "address": "t"}, {"id": 13, "address": "t", "note": "u"}]', NULL);
SELECT * FROM orders WHERE id = 13;
SELECT merged('orders', '[{"id": 13, "status": "s"}, {"id": 13, "address": "t"}, {"id": 13, "address": "v", "note": "u"}]', NULL);
:state
SELECT merged('orders', '[{"id": 13, "status": "s"}, {"id": 13, "status": "t"}]', NULL);
:state
SET pg_idempotent.show_values = off;
SELECT merged('orders', '[{"id": 13, "status": "s"}, {"id": 13, "status": "t"}]', NULL);
RESET pg_idempotent.show_values;
SELECT merged('orders', '[{"id": 13, "gone": true}, {"id": 13, "status": "s"}]', NULL, 'gone');
:state

-- Deletes: a field that the target does not have. A payload deletes if it is the latest under its key.
TRUNCATE orders;
INSERT INTO orders SELECT g, 5, 'stored' FROM generate_series(1, 6) g;
SELECT merged('orders', '[{"id": 1, "at": 6, "gone": true}, {"id": 2, "at": 4, "gone": true}, {"id": 3, "at": 6, "gone": false, "status": "kept"},
    {"id": 4, "at": 6, "gone": null, "status": "kept"}, {"id": 5, "at": 6, "status": "kept"}, {"id": 7, "at": 6, "gone": true}]', delete_when => 'gone');
SELECT id, at, status FROM orders ORDER BY id;
-- What an earlier payload says before a delete is gone; a delete before the latest payload has no effect of its own.
SELECT merged('orders', '[{"id": 6, "at": 6, "status": "before"}, {"id": 6, "at": 7, "gone": true}, {"id": 6, "at": 8, "note": "after"},
    {"id": 8, "at": 6, "status": "before"}, {"id": 8, "at": 7, "gone": true}, {"id": 8, "at": 8, "note": "after"},
    {"id": 5, "at": 7, "status": "before"}, {"id": 5, "at": 8, "gone": true}, {"id": 5, "at": 7, "note": "before"}]', delete_when => 'gone');
SELECT * FROM orders ORDER BY id;
-- The flag is read as a boolean is; a payload that deletes is read no further than that.
SELECT merged('orders', '[{"id": 8, "at": 9, "gone": "yes", "status": [1], "note": {"a": 1}}]', delete_when => 'gone');
SELECT merged('orders', '[{"id": 8, "at": 9, "gone": "maybe"}]', delete_when => 'gone');
:state
SELECT merged('orders', '[{"id": 8, "at": 9, "gone": [true]}]', delete_when => 'gone');
:state
-- The target may have the column.
CREATE TABLE marked (id int PRIMARY KEY, gone boolean, v int);
SELECT merged('marked', '[{"id": 1, "gone": false}, {"id": 2, "gone": true}, {"id": 3, "v": 1}]', NULL, 'gone');
SELECT * FROM marked ORDER BY id;
SELECT merged('marked', '[{"id": 1, "gone": true}]', NULL, 'gone'), merged('marked', '[{"id": 3, "gone": true}]', NULL);
SELECT * FROM marked ORDER BY id;

-- latest_by: a field that is not stored is ordered as jsonb, and what arrives is later than what is stored.
TRUNCATE orders;
SELECT merged('orders', '[{"id": 1, "seq": 9, "status": "nine"}, {"id": 1, "seq": 10, "status": "ten"}, {"id": 2, "seq": null, "status": "null"}, {"id": 2, "seq": "x", "status": "text"}]', '{seq}');
SELECT id, at, status FROM orders ORDER BY id;
SELECT merged('orders', '[{"id": 1, "seq": 1, "status": "one"}]', '{seq}');
-- Stored as a column of the target, under its type.
SELECT merged('orders', '[{"id": 1, "seq": 9, "status": "nine"}, {"id": 1, "seq": "10", "status": "ten"}]', '{seq stored as at}');
SELECT merged('orders', '[{"id": 1, "seq": 9, "note": "late"}, {"id": 2, "seq": 1, "gone": true}]', '{seq stored as at}', 'gone');
SELECT id, at, status, note FROM orders ORDER BY id;
-- The same field as a column of its own, and in an array.
CREATE TABLE arrays (id int PRIMARY KEY, seq int[], last int[], v text);
SELECT merged('arrays', '[{"id": 1, "seq": [1, 2], "v": "a"}, {"id": 1, "seq": [1, 10], "v": "b"}, {"id": 1, "seq": [1, 1]}]', '{seq stored as last}');
TABLE arrays;
-- A field by its own name as well.
SELECT merged('orders', '[{"id": 1, "seq": 9, "at": 3}]', '{seq stored as at}');
:state
SELECT merged('orders', '[{"id": 1, "at": 3}, {"id": 1, "seq": 9}]', '{seq stored as at}');
:state
-- What decides must be in every payload, but may be null.
SELECT merged('orders', '[{"id": 1, "at": 3}, {"id": 2, "status": "x"}]');
:state
SELECT merged('orders', '[{"id": 1, "seq": 3}, {"id": 2, "gone": true}]', '{seq}', 'gone');
:state
SELECT merged('orders', '[{"id": 1, "at": 99}, {"id": 2, "at": null, "status": "null"}, {"id": 3, "at": null, "status": "null"}]');
SELECT id, at, status FROM orders ORDER BY id;

-- Arguments.
SELECT merged('orders', '[]'), merged('orders', '[]', '{seq}', 'gone');
-- No payloads: what the options say is checked all the same.
CREATE TABLE unsent (id int PRIMARY KEY, at int, note text, made bigserial);
SELECT updated FROM idempotent_merge_many('unsent', '[]', insert_only => '{nope}');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', insert_only => '{id}');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', compare => '{made}');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', compare => '{id}');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', latest_by => '{note}', insert_only => '{note}');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', latest_by => '{lsn stored as nope}');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', delete_when => 'id');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', key => '{note}');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', latest_by => '{lsn stored as at}', insert_only => '{note}', delete_when => 'gone');
CREATE RULE kept AS ON DELETE TO unsent DO INSTEAD NOTHING;
SELECT updated FROM idempotent_merge_many('unsent', '[]', delete_when => 'gone');
:state
-- Payloads could have two keys, or none.
ALTER TABLE unsent ADD UNIQUE (made);
SELECT updated FROM idempotent_merge_many('unsent', '[]', insert_only => '{id}');
SELECT updated FROM idempotent_merge_many('unsent', '[]', insert_only => '{nope}');
:state
SELECT updated FROM idempotent_merge_many('unsent', '[]', delete_when => 'gone');
:state
CREATE TABLE keyless (id int);
SELECT updated FROM idempotent_merge_many('keyless', '[]');
:state
SELECT merged('orders', '{"id": 1}');
:state
SELECT merged('orders', '[{"id": 1, "at": 1}, 7]');
:state
SELECT merged('orders', NULL);
:state
SELECT merged('orders', '[{"id": 1, "at": 1, "amonut": 7}]');
:state
SELECT merged('orders', '[{"id": 1, "at": 1, "gone": true}]', delete_when => 'gon');
:state
SELECT merged('orders', '[{"at": 1}]');
:state
SELECT merged('orders', '[{"id": null, "at": 1}]');
:state
SELECT merged('orders', '[{"id": 1, "at": 1}]', '{id}');
:state
SELECT merged('orders', '[{"id": 1, "at": 1}]', delete_when => 'id');
:state
SELECT merged('orders', '[{"id": 1, "at": 1}]', '{at}', insert_only => '{at}');
:state
SELECT merged('orders', '[{"id": 1, "at": 1}]', '{seq stored as aat}');
:state
SELECT merged('orders', '[{"id": 1, "at": "x"}]');
:state
\set SHOW_CONTEXT errors
SELECT * FROM idempotent_merge_many('orders', '[{"id": 1, "at": 1}, {"id": 2, "at": "x"}]');
\set SHOW_CONTEXT never
SELECT * FROM idempotent_merge_many('orders', '[{"id": 1, "at": 100, "status": "c"}]', compare => '{status}', ignore => '{note}');
:state
-- compare and ignore, for the columns that a payload names.
SELECT updated, unchanged FROM idempotent_merge_many('orders', '[{"id": 1, "status": "ten", "note": "ignored"}, {"id": 2, "note": "ignored"}, {"id": 3, "status": "new", "note": "with it"}]', ignore => '{note}');
SELECT id, status, note FROM orders ORDER BY id;

-- insert_only, identities, generated columns, NOT NULL.
CREATE TABLE made (no int GENERATED BY DEFAULT AS IDENTITY, code text PRIMARY KEY, qty int NOT NULL, price int DEFAULT 2, total int GENERATED ALWAYS AS (qty * price) STORED, created int);
SELECT merged('made', '[{"code": "a", "qty": 1, "created": 1}, {"code": "b", "qty": 2, "price": 3, "created": 1}]', NULL, insert_only => '{created}');
SELECT merged('made', '[{"code": "a", "price": 5, "created": 2}, {"code": "b", "qty": 4, "total": 8, "no": 7}, {"code": "c", "qty": 1, "no": 9}]', NULL, insert_only => '{created}');
:state
SELECT merged('made', '[{"code": "b", "qty": 4, "price": 3, "total": 13}]', NULL);
:state
SELECT merged('made', '[{"code": "b", "qty": 4, "price": 3, "total": 12}]', NULL);
SELECT merged('made', '[{"code": "a", "price": 5, "created": 2}, {"code": "b", "qty": 4, "no": 7}, {"code": "c", "qty": 1, "no": 9}]', NULL, insert_only => '{created}');
SELECT * FROM made ORDER BY code;
SELECT merged('made', '[{"code": "d", "price": 5}]', NULL);
:state
-- The first payload of a new row names what is written only then.
SELECT merged('made', '[{"code": "e", "at": 2, "price": 5}, {"code": "e", "at": 1, "qty": 1, "created": 7}]', '{at}', insert_only => '{created}');
SELECT qty, price, created FROM made WHERE code = 'e';

-- Large values out of line, arrays and composites that a payload leaves out.
CREATE TYPE pair AS (a int, b text);
CREATE TABLE large (id int PRIMARY KEY, body text, list int[], both_ pair, v int);
ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
INSERT INTO large VALUES (1, repeat('x', 10000), '{1,2}', '(1,x)', 1), (2, repeat('y', 10000), '{3}', '(2,y)', 1);
SELECT merged('large', '[{"id": 1, "v": 2}, {"id": 2, "list": [4, 5], "both_": {"a": 3}}, {"id": 1, "body": "short"}]', NULL);
SELECT id, length(body), list, both_, v FROM large ORDER BY id;
SELECT merged('large', '[{"id": 1, "v": 2}, {"id": 2, "list": [4, 5], "both_": {"a": 3}}, {"id": 1, "body": "short"}]', NULL);

-- Partitions with other attribute numbers; NULLS NOT DISTINCT; a key column that a default tells.
CREATE TABLE parts (region text, no int, v int, w int, PRIMARY KEY (region, no)) PARTITION BY LIST (region);
CREATE TABLE parts_eu (w int, no int NOT NULL, v int, region text NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_eu FOR VALUES IN ('de');
CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us');
INSERT INTO parts VALUES ('de', 1, 1, 1), ('us', 1, 1, 1);
SELECT merged('parts', '[{"region": "de", "no": 1, "v": 2}, {"region": "us", "no": 1, "w": 2}, {"region": "us", "no": 2, "w": 3}, {"region": "de", "no": 2}]', NULL);
SELECT merged('parts', '[{"region": "de", "no": 1, "gone": true}, {"region": "us", "no": 1, "v": 5}]', NULL, 'gone');
SELECT tableoid::regclass, * FROM parts ORDER BY region, no;
CREATE TABLE tenants (tenant text DEFAULT 'mine', id int, v int, w int, UNIQUE NULLS NOT DISTINCT (tenant, id));
SELECT merged('tenants', '[{"id": 1, "v": 1}, {"id": null, "v": 2}, {"tenant": null, "id": 1, "w": 3}, {"tenant": "mine", "id": 1, "w": 4}]', NULL);
SELECT * FROM tenants ORDER BY tenant, id;

-- Rights: INSERT on what payloads name, UPDATE on what may change, DELETE with delete_when.
REVOKE ALL ON orders FROM regress_pgi_sender;
GRANT SELECT, INSERT (id, at, status), UPDATE (at, status) ON orders TO regress_pgi_sender;
SET ROLE regress_pgi_sender;
SELECT merged('orders', '[{"id": 20, "at": 1, "status": "s"}, {"id": 1, "at": 200}]');
SELECT merged('orders', '[{"id": 20, "at": 2, "note": "s"}]');
:state
SELECT merged('orders', '[{"id": 20, "at": 2}]', delete_when => 'gone');
:state
SELECT merged('parts', '[]');
:state
-- Without payloads, INSERT on any column.
SELECT merged('orders', '[]');
SELECT merged('orders', '[]', delete_when => 'gone');
:state
RESET ROLE;
GRANT SELECT, UPDATE ON parts TO regress_pgi_sender;
SET ROLE regress_pgi_sender;
SELECT merged('parts', '[]');
:state
RESET ROLE;
-- Policies, triggers, and a guard that remembers.
CREATE TABLE watched (id int PRIMARY KEY, at int, v int, w int);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % % %', TG_WHEN, TG_OP, TG_LEVEL, coalesce(NEW, OLD);
    RETURN coalesce(NEW, OLD);
END $$;
INSERT INTO watched VALUES (2, 1, 1, 1), (3, 1, 1, 1);
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH STATEMENT EXECUTE FUNCTION tell();
-- What the triggers see: merge_statements.
SET client_min_messages = warning;
SELECT merged('watched', '[{"id": 3, "at": 2, "gone": true}, {"id": 2, "at": 2, "v": 7}, {"id": 1, "at": 2, "w": 8}, {"id": 2, "at": 3, "w": 9}]', delete_when => 'gone');
RESET client_min_messages;
DROP TRIGGER b ON watched;
DROP TRIGGER s ON watched;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION keep();
SELECT merged('watched', '[{"id": 1, "at": 9, "v": 1}]');
:state
DROP TRIGGER keep ON watched;
-- A trigger changes the row after the look: what a payload leaves out is taken from what is stored then.
CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE merge_many.watched SET w = 77 WHERE id = 1; RETURN NULL; END';
CREATE TRIGGER other AFTER INSERT ON watched FOR EACH ROW EXECUTE FUNCTION other();
SELECT merged('watched', '[{"id": 1, "at": 10, "v": 6}, {"id": 5, "at": 1}, {"id": 2, "at": 4, "w": 5}]');
SELECT * FROM watched ORDER BY id;
DROP TRIGGER other ON watched;
CREATE TABLE remembered (id int PRIMARY KEY, v int, w int, first jsonb);
SELECT FROM idempotent_guard('remembered', remember => 'first');
SELECT merged('remembered', '[{"id": 1, "v": 1}, {"id": 2, "w": 1}]', NULL);
SELECT merged('remembered', '[{"id": 1, "w": 2}, {"id": 2, "v": 2}, {"id": 3, "v": 3}]', NULL);
SELECT * FROM remembered ORDER BY id;
ALTER TABLE watched ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON watched USING (id <> 2);
GRANT ALL ON watched TO regress_pgi_sender;
SET ROLE regress_pgi_sender;
SELECT merged('watched', '[{"id": 1, "at": 20, "v": 6}, {"id": 5, "at": 20, "w": 1}]');
SELECT merged('watched', '[{"id": 2, "at": 20, "v": 6}]');
:state
RESET ROLE;

-- Payloads of one time are one payload, whatever comes later.
CREATE TABLE tied (k int PRIMARY KEY, at int, a int, b int);
INSERT INTO tied VALUES (1, 2, 1, 200), (2, 2, 1, 200), (3, 2, 1, 200);
SELECT received, updated, stale, superseded FROM idempotent_merge_many('tied', '[{"k": 1, "at": 2, "a": 1, "b": 5}, {"k": 1, "at": 2, "a": 2},
    {"k": 2, "at": 4, "a": 2}, {"k": 2, "at": 2, "a": 1, "b": 5}, {"k": 2, "at": 2, "a": 2},
    {"k": 3, "at": 4, "a": 2}, {"k": 3, "at": 2, "a": 2}, {"k": 3, "at": 3, "b": 6}, {"k": 3, "at": 2, "a": 1, "b": 5}, {"k": 3, "at": 2, "a": 2}]', latest_by => '{at}');
SELECT * FROM tied ORDER BY k;

-- Many payloads of many shapes, in any order.
CREATE TABLE many (id int PRIMARY KEY, at int, a int, b int, c int);
CREATE TABLE sent AS
SELECT jsonb_strip_nulls(jsonb_build_object('id', g % 500, 'at', g, 'a', CASE WHEN g % 2 = 0 THEN g END, 'b', CASE WHEN g % 3 = 0 THEN g END, 'c', CASE WHEN g % 7 = 0 THEN g END)) AS payload
FROM generate_series(1, 5000) g;
SELECT merged('many', jsonb_agg(payload ORDER BY payload)) FROM sent;
SELECT count(*), sum(at), sum(a), sum(b), sum(c) FROM many;
CREATE TABLE single AS SELECT * FROM many;
TRUNCATE many;
SELECT merged('many', jsonb_agg(payload ORDER BY md5(payload::text))) FROM sent;
SELECT count(*) AS differ FROM (TABLE many EXCEPT TABLE single) d;
-- As if they had been sent one by one, the earliest first.
TRUNCATE many;
SELECT count(merged('many', jsonb_build_array(payload))) FROM (SELECT payload FROM sent ORDER BY payload->'at') s;
SELECT count(*) AS differ FROM (TABLE many EXCEPT TABLE single) d;

SET client_min_messages = warning;
DROP SCHEMA merge_many CASCADE;
DROP ROLE regress_pgi_sender;
