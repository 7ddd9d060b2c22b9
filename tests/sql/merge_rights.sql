-- idempotent_merge: privileges, row-level security, triggers, guards, and a hostile search_path.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_merger;
CREATE SCHEMA merge_rights;
GRANT USAGE ON SCHEMA merge_rights TO regress_pgi_merger;
SET search_path = merge_rights, public;
CREATE FUNCTION merged(target regclass, source regclass, latest_by text[] DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$
    SELECT format('received %s, inserted %s, updated %s, unchanged %s, stale %s, superseded %s', received, inserted, updated, unchanged, stale, superseded)
    FROM idempotent_merge(target, source, latest_by => latest_by)
$$;

-- It takes SELECT on the whole target, INSERT on the source's columns, UPDATE on those but the key, SELECT on the source.
-- All of it is asked for before anything is looked up, also where nothing is to be done.
CREATE TABLE orders (id int PRIMARY KEY, amount int, secret text DEFAULT 'none');
INSERT INTO orders VALUES (1, 10, 'very secret');
CREATE VIEW orders_in AS SELECT 1 AS id, 10 AS amount;
CREATE VIEW orders_new AS SELECT * FROM (VALUES (1, 11), (2, 20)) v (id, amount);
SET ROLE regress_pgi_merger;
SELECT merged('orders', 'orders_in');
:state
RESET ROLE;
GRANT INSERT (id, amount), SELECT (id, amount), UPDATE (amount) ON orders TO regress_pgi_merger;
GRANT SELECT ON orders_in TO regress_pgi_merger;
SET ROLE regress_pgi_merger;
SELECT merged('orders', 'orders_in');
:state
RESET ROLE;
GRANT SELECT ON orders TO regress_pgi_merger;
SET ROLE regress_pgi_merger;
SELECT merged('orders', 'orders_in');
SELECT merged('orders', 'orders_new');
:state
RESET ROLE;
GRANT SELECT ON orders_new TO regress_pgi_merger;
SET ROLE regress_pgi_merger;
SELECT merged('orders', 'orders_new');
RESET ROLE;
REVOKE UPDATE (amount) ON orders FROM regress_pgi_merger;
SET ROLE regress_pgi_merger;
SELECT merged('orders', 'orders_new');
:state
RESET ROLE;
GRANT UPDATE (amount) ON orders TO regress_pgi_merger;
REVOKE INSERT (amount) ON orders FROM regress_pgi_merger;
SET ROLE regress_pgi_merger;
SELECT merged('orders', 'orders_new');
:state
RESET ROLE;
-- A source of the key alone updates nothing, and needs no UPDATE.
CREATE VIEW orders_keys AS SELECT generate_series(1, 3) AS id;
GRANT SELECT ON orders_keys TO regress_pgi_merger;
REVOKE UPDATE (amount) ON orders FROM regress_pgi_merger;
SET ROLE regress_pgi_merger;
SELECT merged('orders', 'orders_keys');
RESET ROLE;
REVOKE USAGE ON SCHEMA merge_rights FROM regress_pgi_merger;
GRANT INSERT, UPDATE ON orders TO regress_pgi_merger;
SET ROLE regress_pgi_merger;
SELECT idempotent_merge(oid, oid) FROM pg_class WHERE relname = 'orders';
:state
RESET ROLE;
GRANT USAGE ON SCHEMA merge_rights TO regress_pgi_merger;
SELECT * FROM orders ORDER BY id;

-- Row-level security. Of a row that the policies hide nothing is said: equal, later and stale all get the same error.
CREATE TABLE notes (id int PRIMARY KEY, owner text, v int, body text);
INSERT INTO notes VALUES (1, 'regress_pgi_merger', 1, 'mine'), (2, 'other', 5, 'hidden'), (3, 'regress_pgi_merger', 1, 'mine');
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE ON notes TO regress_pgi_merger;
CREATE TABLE notes_in (id int, owner text, v int, body text);
GRANT ALL ON notes_in TO regress_pgi_merger;
SET ROLE regress_pgi_merger;
INSERT INTO notes_in VALUES (1, 'regress_pgi_merger', 2, 'changed'), (3, 'regress_pgi_merger', 1, 'mine'), (4, 'regress_pgi_merger', 1, 'new');
SELECT merged('notes', 'notes_in', '{v}');
SELECT * FROM notes ORDER BY id;
INSERT INTO notes_in VALUES (2, 'other', 5, 'hidden');
SELECT merged('notes', 'notes_in', '{v}');
:state
UPDATE notes_in SET v = 6, owner = 'regress_pgi_merger' WHERE id = 2;
SELECT merged('notes', 'notes_in', '{v}');
:state
UPDATE notes_in SET v = 4 WHERE id = 2;
SELECT merged('notes', 'notes_in', '{v}');
:state
-- Rows that the policies do not let in, new and old.
UPDATE notes_in SET id = 5, owner = 'other' WHERE id = 2;
SELECT merged('notes', 'notes_in', '{v}');
:state
UPDATE notes_in SET id = 1, v = 9 WHERE id = 5;
SELECT merged('notes', 'notes_in', '{v}');
:state
SET row_security = off;
SELECT merged('notes', 'notes_in', '{v}');
:state
RESET row_security;
RESET ROLE;
SELECT * FROM notes ORDER BY id;
-- A row that may be seen, but not updated.
DROP POLICY own ON notes;
CREATE POLICY all_seen ON notes FOR SELECT USING (true);
CREATE POLICY all_new ON notes FOR INSERT WITH CHECK (true);
CREATE POLICY own_old ON notes FOR UPDATE USING (owner = current_user);
TRUNCATE notes_in;
INSERT INTO notes_in VALUES (2, 'other', 5, 'hidden'), (6, 'other', 1, 'new');
SET ROLE regress_pgi_merger;
SELECT merged('notes', 'notes_in', '{v}');
UPDATE notes_in SET v = 9 WHERE id = 2;
SELECT merged('notes', 'notes_in', '{v}');
:state
RESET ROLE;
-- Whom policies do not bind.
SELECT merged('notes', 'notes_in', '{v}');
SELECT * FROM notes ORDER BY id;

-- Triggers: those of INSERT for new rows, those of UPDATE for changed rows, none for others. What they see: merge_statements.
CREATE TABLE watched (id int PRIMARY KEY, v int, changes int DEFAULT 0);
INSERT INTO watched VALUES (1, 1), (2, 1), (3, 1);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % %: % to %', TG_WHEN, TG_OP, TG_LEVEL, CASE WHEN TG_LEVEL = 'ROW' AND TG_OP = 'UPDATE' THEN OLD END, CASE TG_LEVEL WHEN 'ROW' THEN NEW END;
    IF TG_OP = 'UPDATE' AND TG_WHEN = 'BEFORE' AND TG_LEVEL = 'ROW' THEN
        NEW.changes := OLD.changes + 1;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION watch();
CREATE TRIGGER b AFTER INSERT OR UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION watch();
CREATE TRIGGER c AFTER INSERT OR UPDATE ON watched FOR EACH STATEMENT EXECUTE FUNCTION watch();
CREATE VIEW watched_in AS SELECT * FROM (VALUES (1, 1), (2, 2), (3, 3), (4, 4)) v (id, v);
SET client_min_messages = warning;
SELECT merged('watched', 'watched_in');
RESET client_min_messages;
SELECT merged('watched', 'watched_in');
SELECT * FROM watched ORDER BY id;
-- Suppressed rows.
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TABLE archive (id int PRIMARY KEY, v int);
INSERT INTO archive VALUES (1, 1);
CREATE VIEW archive_new AS SELECT 2 AS id, 2 AS v;
CREATE VIEW archive_old AS SELECT 1 AS id, 2 AS v;
CREATE TRIGGER suppress BEFORE INSERT OR UPDATE ON archive FOR EACH ROW EXECUTE FUNCTION suppress();
SELECT merged('archive', 'archive_new');
:state
SELECT merged('archive', 'archive_old');
:state
-- A trigger that raises, with a SQLSTATE of its own.
CREATE OR REPLACE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'not %', TG_OP USING ERRCODE = 'XY123', DETAIL = 'Some detail.', HINT = 'Some hint.';
END $$;
SELECT merged('archive', 'archive_new');
:state
SELECT merged('archive', 'archive_old');
:state
-- A trigger that writes to the same table: key 2 was judged to be earlier, changes while key 4 goes in, and is judged again.
CREATE TABLE linked (id int PRIMARY KEY, at int, v int);
INSERT INTO linked VALUES (1, 1, 1), (2, 1, 1), (3, 1, 1);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE linked SET at = 11 WHERE id = 2;
    UPDATE linked SET at = 0 WHERE id = 3;
    RETURN NULL;
END $$;
CREATE TRIGGER touch BEFORE INSERT ON linked EXECUTE FUNCTION touch();
CREATE VIEW linked_in AS SELECT g AS id, 2 AS at, 2 AS v FROM generate_series(1, 4) g;
SELECT merged('linked', 'linked_in', '{at}');
SELECT * FROM linked ORDER BY id;

-- Guards: the guard steps aside for rows that were looked up, and rows are updated as in any table.
CREATE TABLE guarded (id int PRIMARY KEY, at int, status text);
SELECT key, compared FROM idempotent_guard('guarded', ignore => '{status}');
INSERT INTO guarded VALUES (1, 1, 'new');
CREATE VIEW guarded_in AS SELECT * FROM (VALUES (1, 1, 'paid'), (2, 1, 'new')) v (id, at, status);
CREATE VIEW guarded_later AS SELECT id, at + 1 AS at, status FROM guarded_in;
-- By default all columns are compared, those that the guard ignores as well.
SELECT merged('guarded', 'guarded_in', '{at}');
SELECT * FROM idempotent_merge('guarded', 'guarded_in', compare => '{status}');
SELECT merged('guarded', 'guarded_later', '{at}');
SELECT * FROM guarded ORDER BY id;
-- A guard that remembers: a merge fills what first arrived, and never changes it.
CREATE TABLE remembered (id int PRIMARY KEY, at int, status text, first jsonb);
SELECT key, compared FROM idempotent_guard('remembered', remember => 'first');
SELECT merged('remembered', 'guarded_in', '{at}');
SELECT merged('remembered', 'guarded_later', '{at}');
SELECT merged('remembered', 'guarded_later', '{at}');
SELECT * FROM remembered ORDER BY id;
INSERT INTO remembered VALUES (1, 1, 'paid');
INSERT INTO remembered VALUES (1, 2, 'paid');
:state
CREATE VIEW remembered_in AS SELECT 1 AS id, '{}'::jsonb AS first;
SELECT merged('remembered', 'remembered_in');
SELECT * FROM idempotent_merge('remembered', 'remembered_in', compare => '{first}');
:state

-- Names and operators of others in front of ours are not used.
CREATE SCHEMA hostile;
DO $$
DECLARE
    t text; o text;
BEGIN
    FOREACH t IN ARRAY '{int,tid,xid,oid}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION hostile.grab(%s, %1$s) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN RAISE ''grabbed''; END $f$', t);
        FOREACH o IN ARRAY '{=,<>,<}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = hostile.grab)', o, t);
        END LOOP;
    END LOOP;
END $$;
CREATE TABLE hostile.orders (id int PRIMARY KEY, amount int);
CREATE TABLE hostile.pg_idempotent_changed (a0 int, a1 int, a2 tid, a3 xid);
CREATE TABLE hostile.pg_idempotent_rows (a0 int);
CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
INSERT INTO parted VALUES (1, 1);
CREATE VIEW orders_later AS SELECT * FROM (VALUES (1, 12), (2, 19), (4, 40)) v (id, amount);
SET search_path = hostile, pg_catalog, merge_rights, public;
SELECT 1 = 1;
SELECT updated, inserted, stale FROM idempotent_merge('merge_rights.orders', 'merge_rights.orders_later', latest_by => '{amount}');
SELECT updated, inserted FROM idempotent_merge('merge_rights.parted', 'merge_rights.archive_old', latest_by => '{v}');
SELECT updated, inserted FROM idempotent_merge('merge_rights.parted', 'merge_rights.archive_new', latest_by => '{v}');
SET search_path = merge_rights, public;
SELECT * FROM orders ORDER BY id;
SELECT * FROM parted ORDER BY id;
-- With nothing in the path at all.
SET search_path = '';
SELECT updated, inserted FROM public.idempotent_merge('merge_rights.watched', 'merge_rights.archive_new');

SET client_min_messages = warning;
DROP SCHEMA hostile, merge_rights CASCADE;
DROP ROLE regress_pgi_merger;
