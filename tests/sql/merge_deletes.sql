-- idempotent_merge with delete_when: what is deleted and what is counted, ties, arguments, rights, triggers, partitions.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_deleter;
CREATE SCHEMA merge_deletes;
GRANT USAGE ON SCHEMA merge_deletes TO regress_pgi_deleter;
SET search_path = merge_deletes, public;
CREATE FUNCTION merged(target regclass, source regclass, latest_by text[] DEFAULT '{at}', key text[] DEFAULT NULL, delete_when text DEFAULT 'gone') RETURNS text
LANGUAGE sql AS $$
    SELECT format('received %s, inserted %s, updated %s, deleted %s, unchanged %s, stale %s, superseded %s', received, inserted, updated, deleted, unchanged, stale, superseded)
    FROM idempotent_merge(target, source, key, latest_by, delete_when => delete_when)
$$;

-- A row of each kind: 1 new, 2 later, 3 equal, 4 stale; 5 a later delete, 6 a stale delete, 7 a delete of what is not stored,
-- 8 a delete of the same time as what is stored, 10 a delete without a time.
CREATE TABLE orders (id int PRIMARY KEY, at int, v text, note text DEFAULT 'default');
INSERT INTO orders SELECT g, 5, 'stored' FROM generate_series(2, 10) g WHERE g <> 7;
CREATE TABLE arrived (id int, gone boolean, v text, at int);
INSERT INTO arrived VALUES
    (1, false, 'new', 6), (2, NULL, 'later', 6), (3, false, 'stored', 5), (4, false, 'stale', 4), (5, true, NULL, 6), (6, true, NULL, 4),
    (7, true, NULL, 6), (8, true, NULL, 5), (10, true, NULL, NULL);
SELECT merged('orders', 'arrived');
SELECT * FROM orders ORDER BY id;
-- Again: nothing to do, nothing is written, and it is no matter that the transaction is READ ONLY.
CREATE TABLE places AS SELECT ctid AS place, xmin::text::bigint AS writer, id FROM orders;
BEGIN READ ONLY;
SELECT merged('orders', 'arrived');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
SELECT count(*) AS untouched FROM orders o JOIN places p ON o.ctid = p.place AND o.xmin::text::bigint = p.writer AND o.id = p.id AND o.xmax::text = '0';
CREATE VIEW delete_1 AS SELECT 1 AS id, 9 AS at, true AS gone;
BEGIN READ ONLY;
SELECT merged('orders', 'delete_1');
:state
ROLLBACK;
-- Deletes alone are one DELETE, updates and deletes one MERGE.
SELECT merged('orders', 'delete_1');
-- A late row, after a later delete, is inserted: the table does not remember the delete.
CREATE VIEW late_1 AS SELECT 1 AS id, 3 AS at, false AS gone;
SELECT merged('orders', 'late_1');
SELECT id, at, v FROM orders WHERE id = 1;

-- Several rows of one key: 1 its latest is a delete, 2 it is not, 3 a delete and a row of the same time: the delete is the later;
-- 4 two deletes; 5 the delete is the latest, and stale. Whichever comes first.
TRUNCATE orders, arrived;
INSERT INTO orders SELECT g, 5, 'stored' FROM generate_series(1, 5) g;
INSERT INTO arrived VALUES
    (1, false, 'a', 6), (1, true, NULL, 8), (1, false, 'b', 7), (2, true, NULL, 7), (2, false, 'c', 8), (2, true, NULL, 6),
    (3, false, 'd', 6), (3, true, NULL, 6), (4, true, 'e', 6), (4, true, 'f', 6), (5, false, 'g', 3), (5, true, NULL, 4);
BEGIN;
SELECT merged('orders', 'arrived');
SELECT * FROM orders ORDER BY id;
ROLLBACK;
CREATE VIEW backwards AS SELECT * FROM arrived ORDER BY id, at DESC, gone DESC;
SELECT merged('orders', 'backwards');
SELECT * FROM orders ORDER BY id;
-- New keys: a row that is later than its delete goes in, one that is earlier does not.
TRUNCATE orders;
SELECT merged('orders', 'arrived');
SELECT * FROM orders ORDER BY id;

-- Without latest_by a delete always counts; rows of one key must all delete or none.
DELETE FROM arrived WHERE id < 4;
SELECT merged('orders', 'arrived', NULL);
:state
DELETE FROM arrived WHERE id = 5;
SELECT merged('orders', 'arrived', NULL);
SET pg_idempotent.show_values = off;
CREATE VIEW one_deletes AS SELECT 5 AS id, gone FROM unnest('{true,false}'::boolean[]) gone;
SELECT merged('orders', 'one_deletes', NULL);
RESET pg_idempotent.show_values;
-- A source of the key and the flag alone.
INSERT INTO orders VALUES (4, 4), (5, 5);
CREATE VIEW key_alone AS SELECT 4 AS id, true AS gone UNION ALL SELECT 5, false UNION ALL SELECT 6, false;
SELECT merged('orders', 'key_alone', NULL);
SELECT * FROM orders ORDER BY id;

-- The target may have the column, too: then it is a column like any other.
CREATE TABLE marked (id int PRIMARY KEY, at int, gone boolean);
INSERT INTO marked VALUES (1, 1, false), (2, 1, true), (3, 1, NULL);
CREATE VIEW marked_in AS SELECT * FROM (VALUES (1, 2, true), (2, 2, false), (3, 1, false), (4, 1, NULL), (5, 1, true)) v (id, at, gone);
SELECT merged('marked', 'marked_in');
SELECT * FROM marked ORDER BY id;
-- One of another type takes the assignment cast.
CREATE TABLE marked_text (id int PRIMARY KEY, at int, gone text);
SELECT merged('marked_text', 'marked_in');
SELECT * FROM marked_text ORDER BY id;
-- A domain over boolean says it as well.
CREATE DOMAIN flag AS boolean NOT NULL;
CREATE TABLE flagged_in (id int, at int, gone flag);
INSERT INTO flagged_in VALUES (2, 3, true), (6, 1, false);
SELECT merged('marked', 'flagged_in');

-- Of a row that deletes, only the key and latest_by are read: what could not be stored does no harm there.
CREATE DOMAIN positive AS int NOT NULL CHECK (VALUE > 0);
CREATE TABLE strict (id int PRIMARY KEY, at int NOT NULL, v positive CHECK (v < 10), twice int GENERATED ALWAYS AS (v * 2) STORED);
INSERT INTO strict VALUES (1, 1, 1), (2, 1, 2), (3, 1, 3);
CREATE TABLE strict_in (id int, at int, v int, twice int, gone boolean);
INSERT INTO strict_in VALUES (1, 2, NULL, 7, true), (2, 2, -5, NULL, true), (3, 2, 4, 8, false);
SELECT merged('strict', 'strict_in');
SELECT * FROM strict;
UPDATE strict_in SET gone = false;
SELECT merged('strict', 'strict_in');
:state
UPDATE strict_in SET gone = true, id = nullif(id, 1);
SELECT merged('strict', 'strict_in');
:state

-- Arguments.
SELECT merged('orders', 'arrived', delete_when => 'gon');
:state
SELECT merged('orders', 'arrived', delete_when => '');
:state
SELECT merged('orders', 'arrived', delete_when => 'v');
:state
-- A column of the source that says nothing is a column that the target has to have.
SELECT merged('orders', 'arrived', delete_when => NULL);
:state
CREATE TABLE by_flag (gone boolean PRIMARY KEY, at int);
CREATE VIEW flags AS SELECT true AS gone, 1 AS at;
SELECT merged('by_flag', 'flags', delete_when => 'gone');
:state
-- The key cannot be the flag, but latest_by can name a flag that is stored.
SELECT merged('marked', 'marked_in', '{at,gone}');

-- It takes DELETE on the target, but only with delete_when; UPDATE only if there are columns to update.
GRANT SELECT ON ALL TABLES IN SCHEMA merge_deletes TO regress_pgi_deleter;
GRANT INSERT (id, at, v), UPDATE (at, v) ON orders TO regress_pgi_deleter;
TRUNCATE orders, arrived;
INSERT INTO orders VALUES (1, 1), (2, 1);
INSERT INTO arrived VALUES (1, true, NULL, 2), (2, false, 'x', 2);
CREATE VIEW unflagged AS SELECT id, v, at FROM arrived WHERE id = 2;
GRANT SELECT ON unflagged TO regress_pgi_deleter;
SET ROLE regress_pgi_deleter;
SELECT merged('orders', 'unflagged', delete_when => NULL);
SELECT merged('orders', 'arrived');
:state
RESET ROLE;
GRANT DELETE ON orders TO regress_pgi_deleter;
SET ROLE regress_pgi_deleter;
SELECT merged('orders', 'arrived');
RESET ROLE;
REVOKE UPDATE (at, v), INSERT (at, v) ON orders FROM regress_pgi_deleter;
INSERT INTO orders VALUES (4, 4);
SET ROLE regress_pgi_deleter;
SELECT merged('orders', 'key_alone', NULL);
RESET ROLE;

-- Policies: a row that they do not let be deleted. More of it: merge_statements.
CREATE TABLE guarded (id int PRIMARY KEY, at int, owner text);
INSERT INTO guarded VALUES (1, 1, 'mine'), (2, 1, 'mine'), (3, 1, 'hidden'), (4, 1, 'kept');
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY s ON guarded FOR SELECT USING (owner <> 'hidden');
CREATE POLICY i ON guarded FOR INSERT WITH CHECK (true);
CREATE POLICY u ON guarded FOR UPDATE USING (owner = 'mine');
CREATE POLICY d ON guarded FOR DELETE USING (owner = 'mine');
GRANT ALL ON guarded TO regress_pgi_deleter;
CREATE VIEW guarded_own AS SELECT * FROM (VALUES (1, 2, true), (2, 2, false)) v (id, at, gone);
CREATE VIEW guarded_kept AS SELECT 4 AS id, 2 AS at, true AS gone;
GRANT SELECT ON guarded_own, guarded_kept TO regress_pgi_deleter;
SET ROLE regress_pgi_deleter;
SELECT merged('guarded', 'guarded_own');
SELECT merged('guarded', 'guarded_kept');
:state
RESET ROLE;
SELECT * FROM guarded ORDER BY id;

-- Triggers and foreign keys, as of a plain UPDATE and DELETE. What the triggers see: merge_statements.
CREATE TABLE watched (id int PRIMARY KEY, at int);
CREATE TABLE child (id int PRIMARY KEY REFERENCES watched ON DELETE CASCADE);
CREATE TABLE holder (id int PRIMARY KEY REFERENCES watched);
INSERT INTO watched SELECT g, 1 FROM generate_series(1, 6) g;
INSERT INTO child VALUES (2), (3);
INSERT INTO holder VALUES (6);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % % %', TG_WHEN, TG_OP, TG_LEVEL, coalesce(OLD.id, NEW.id);
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE VIEW watched_in AS SELECT * FROM (VALUES (4, 2, false), (3, 2, true), (7, 2, false), (1, 2, false), (2, 2, true), (5, 0, true)) v (id, at, gone);
SET client_min_messages = warning;
SELECT merged('watched', 'watched_in');
RESET client_min_messages;
CREATE VIEW watched_delete AS SELECT 4 AS id, 3 AS at, true AS gone;
SELECT merged('watched', 'watched_delete');
SELECT merged('watched', 'watched_delete');
TABLE child;
CREATE VIEW watched_held AS SELECT 6 AS id, 3 AS at, true AS gone;
SELECT merged('watched', 'watched_held');
:state
DROP TRIGGER b ON watched;
DROP TRIGGER a ON watched;
DROP TRIGGER s ON watched;
-- A trigger that keeps a row.
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keep BEFORE DELETE ON watched FOR EACH ROW WHEN (OLD.id = 1) EXECUTE FUNCTION keep();
CREATE VIEW watched_kept AS SELECT 1 AS id, 9 AS at, true AS gone;
SELECT merged('watched', 'watched_kept');
:state
CREATE VIEW watched_kept_both AS SELECT 1 AS id, 9 AS at, true AS gone UNION ALL SELECT 5, 9, false UNION ALL SELECT 7, 9, true;
SELECT merged('watched', 'watched_kept_both');
:state
-- A trigger changes one row and deletes another after the look: they are not written in the first round, and all are counted.
CREATE TABLE chain (id int PRIMARY KEY, at int);
INSERT INTO chain SELECT g, 1 FROM generate_series(1, 6) g;
CREATE FUNCTION others_too() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN UPDATE merge_deletes.chain SET at = 0 WHERE id = 3; DELETE FROM merge_deletes.chain WHERE id = 4; RETURN NULL; END';
CREATE TRIGGER others_too AFTER INSERT ON chain FOR EACH ROW EXECUTE FUNCTION others_too();
CREATE VIEW chain_in AS SELECT g AS id, 2 AS at, g BETWEEN 2 AND 5 AS gone FROM generate_series(1, 7) g;
SELECT merged('chain', 'chain_in');
SELECT * FROM chain ORDER BY id;
-- A rule on DELETE is refused, where rows may be deleted.
CREATE RULE r AS ON DELETE TO chain DO INSTEAD NOTHING;
SELECT merged('chain', 'chain_in');
:state
SELECT updated, deleted FROM idempotent_merge('chain', 'chain', latest_by => '{at}');

-- Partitions of several levels, whose rows lie at the same places; an update that moves a row beside a delete.
CREATE TABLE parts (region text, no int, at int, v int, PRIMARY KEY (region, no)) PARTITION BY LIST (region);
CREATE TABLE parts_eu (no int NOT NULL, v int, at int, region text NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_eu FOR VALUES IN ('de', 'fr');
CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us') PARTITION BY RANGE (no);
CREATE TABLE parts_us_low PARTITION OF parts_us FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_us_high PARTITION OF parts_us FOR VALUES FROM (10) TO (20);
INSERT INTO parts VALUES ('de', 1, 1, 1), ('us', 1, 1, 1), ('us', 11, 1, 1), ('fr', 2, 1, 1);
CREATE TABLE parts_in (no int, region text, at int, v int, gone boolean);
INSERT INTO parts_in VALUES (1, 'de', 2, NULL, true), (1, 'us', 2, 2, false), (11, 'us', 2, 2, true), (2, 'fr', 0, 0, true), (12, 'us', 2, 2, NULL), (3, 'fr', 2, 2, true);
SELECT merged('parts', 'parts_in');
SELECT tableoid::regclass, * FROM parts ORDER BY region, no;
SELECT merged('parts', 'parts_in');
-- Tables that inherit keep their rows.
CREATE TABLE parent (id int PRIMARY KEY, at int);
CREATE TABLE heir () INHERITS (parent);
BEGIN;
INSERT INTO parent VALUES (1, 1), (2, 1);
INSERT INTO heir VALUES (1, 1), (2, 1);
COMMIT;
CREATE VIEW parent_in AS SELECT 1 AS id, 2 AS at, true AS gone UNION ALL SELECT 2, 2, false;
SELECT merged('parent', 'parent_in');
SELECT tableoid::regclass, * FROM parent ORDER BY 1, 2;

-- A guard that remembers, and insert_only: a row that comes after a delete is a new one.
CREATE TABLE remembered (id int PRIMARY KEY, at int, v int, first jsonb, created int);
SELECT FROM idempotent_guard('remembered', remember => 'first');
CREATE TABLE remembered_in (id int, at int, v int, created int, gone boolean);
INSERT INTO remembered_in VALUES (1, 1, 1, 1, false), (2, 1, 1, 1, false);
SELECT inserted FROM idempotent_merge('remembered', 'remembered_in', latest_by => '{at}', insert_only => '{created}', delete_when => 'gone');
UPDATE remembered_in SET at = 2, v = 2, created = 2, gone = id = 1;
SELECT updated, deleted FROM idempotent_merge('remembered', 'remembered_in', latest_by => '{at}', insert_only => '{created}', delete_when => 'gone');
SELECT * FROM remembered;
UPDATE remembered_in SET at = 3, v = 3, created = 3, gone = false;
SELECT updated, inserted FROM idempotent_merge('remembered', 'remembered_in', latest_by => '{at}', insert_only => '{created}', delete_when => 'gone');
SELECT * FROM remembered ORDER BY id;

-- NULLS NOT DISTINCT keys, odd names, and settings that would have the statements planned otherwise.
CREATE TABLE "Odd ""table" ("Key" int, stored int, "row" int, UNIQUE NULLS NOT DISTINCT ("Key"));
INSERT INTO "Odd ""table" VALUES (NULL, 1, 1), (1, 1, 1), (2, 1, 1);
CREATE TABLE odd_in ("Key" int, stored int, "row" int, "is ""gone" boolean);
INSERT INTO odd_in VALUES (NULL, 2, 1, true), (1, 2, 2, true), (2, 2, 2, false);
SET enable_nestloop = off;
SET enable_tidscan = off;
SET plan_cache_mode = force_generic_plan;
SELECT merged('"Odd ""table"', 'odd_in', '{stored}', delete_when => 'is "gone');
RESET enable_nestloop;
RESET enable_tidscan;
RESET plan_cache_mode;
SELECT * FROM "Odd ""table";
-- Thousands of rows.
CREATE TABLE many (id int PRIMARY KEY, at int);
CREATE TABLE many_in AS SELECT g AS id, 1 AS at, false AS gone FROM generate_series(1, 6000) g;
SELECT merged('many', 'many_in');
UPDATE many_in SET at = 2, gone = id % 3 = 0 WHERE id % 2 = 0;
SELECT merged('many', 'many_in');
SELECT count(*), sum(at) FROM many;
SELECT merged('many', 'many_in');
-- The target is its own source.
CREATE VIEW many_old AS SELECT id, at, true AS gone FROM many WHERE at = 1;
SELECT merged('many', 'many_old');
SELECT count(*) FROM many;

-- Keys of some rows, and of expressions: a row outside of the condition deletes nothing, and is not inserted.
CREATE TABLE soft (email text, at int, left_at int, v int);
CREATE UNIQUE INDEX soft_email ON soft (lower(email)) WHERE left_at IS NULL;
INSERT INTO soft VALUES ('Ann@x', 1, NULL, 1), ('bob@x', 1, NULL, 1), ('old@x', 1, 7, 1);
CREATE TABLE soft_in (email text, at int, left_at int, v int, gone boolean);
INSERT INTO soft_in VALUES ('ANN@x', 2, NULL, 2, true), ('bob@x', 2, 5, 2, true), ('old@x', 2, NULL, 2, true), ('new@x', 2, NULL, 2, false), ('out@x', 2, 5, 2, false);
SELECT merged('soft', 'soft_in', key => '{lower(email)}');
SELECT * FROM soft ORDER BY email;
DELETE FROM soft_in WHERE email = 'out@x';
SELECT merged('soft', 'soft_in', key => '{lower(email)}');
SELECT received, inserted, updated, deleted, unchanged, superseded FROM idempotent_merge_many('soft',
    '[{"email": "BOB@x", "at": 3, "v": 3}, {"email": "bob@X", "at": 3, "left_at": null}, {"email": "NEW@x", "at": 3, "gone": true},
      {"email": "out@x", "at": 3, "left_at": 5}, {"email": "bob@x", "at": 4, "left_at": 5, "gone": true}]',
    '{lower(email)}', '{at}', delete_when => 'gone');
SELECT * FROM soft ORDER BY email;
SELECT merged('soft', 'soft_in', key => '{lower(email)}', delete_when => 'left_at');
:state
-- A token: the counts come from the record.
SELECT deleted, unchanged, replayed FROM idempotent_merge('many', 'many_in', latest_by => '{at}', delete_when => 'gone', token => 'first');
TRUNCATE many;
SELECT deleted, unchanged, replayed FROM idempotent_merge('many', 'many_in', latest_by => '{at}', delete_when => 'gone', token => 'first');
SELECT replayed FROM idempotent_merge('many', 'many', latest_by => '{at}', token => 'first');
:state

SET client_min_messages = warning;
DROP SCHEMA merge_deletes CASCADE;
DROP ROLE regress_pgi_deleter;
