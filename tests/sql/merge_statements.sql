-- idempotent_merge: what triggers, foreign keys and policies see of its statements. On a distributed table, this differs.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_merger;
CREATE SCHEMA merge_statements;
GRANT USAGE ON SCHEMA merge_statements TO regress_pgi_merger;
SET search_path = merge_statements, public;
CREATE FUNCTION merged(target regclass, source regclass) RETURNS text
LANGUAGE sql AS $$
    SELECT format('received %s, inserted %s, updated %s, deleted %s, unchanged %s', received, inserted, updated, deleted, unchanged)
    FROM idempotent_merge(target, source, latest_by => '{at}', delete_when => 'gone')
$$;
-- Triggers of rows in the order of the keys, those of statements once for each kind of change.
CREATE TABLE watched (id int PRIMARY KEY, at int);
INSERT INTO watched SELECT g, 1 FROM generate_series(1, 6) g;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % %: % to %', TG_WHEN, TG_OP, TG_LEVEL, OLD, NEW;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER s AFTER INSERT OR UPDATE OR DELETE ON watched FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE VIEW mixed AS SELECT * FROM (VALUES (4, 2, false), (3, 2, true), (7, 2, false), (1, 2, false), (2, 2, true), (5, 0, true)) v (id, at, gone);
SELECT merged('watched', 'mixed');
CREATE VIEW only_updates AS SELECT * FROM (VALUES (1, 3, false), (4, 3, false), (7, 2, false)) v (id, at, gone);
SELECT merged('watched', 'only_updates');
CREATE VIEW only_deletes AS SELECT * FROM (VALUES (1, 4, true), (4, 4, true), (9, 4, true)) v (id, at, gone);
SELECT merged('watched', 'only_deletes');
-- Payloads that name different columns: updates and deletes in passes.
ALTER TABLE watched ADD v int;
SELECT updated, deleted FROM idempotent_merge_many('watched',
    '[{"id": 7, "at": 5, "gone": true}, {"id": 5, "at": 5, "v": 7}, {"id": 6, "at": 5}, {"id": 6, "at": 6, "v": 9}]',
    latest_by => '{at}', delete_when => 'gone');
-- A foreign key to a row of the same batch.
CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree, at int);
CREATE VIEW branches AS SELECT * FROM (VALUES (1, 2, 1, false), (2, 1, 1, false), (3, 4, 1, false), (4, 4, 1, false)) v (id, parent, at, gone);
SELECT merged('tree', 'branches');
SELECT * FROM tree ORDER BY id;
-- Policies: a row that they hide is not there to be deleted, as for a MERGE; and one that they do not let be deleted, beside one to update.
CREATE TABLE guarded (id int PRIMARY KEY, at int, owner text);
INSERT INTO guarded VALUES (1, 1, 'mine'), (2, 1, 'mine'), (3, 1, 'hidden'), (4, 1, 'kept');
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY s ON guarded FOR SELECT USING (owner <> 'hidden');
CREATE POLICY i ON guarded FOR INSERT WITH CHECK (true);
CREATE POLICY u ON guarded FOR UPDATE USING (owner = 'mine');
CREATE POLICY d ON guarded FOR DELETE USING (owner = 'mine');
CREATE VIEW hidden AS SELECT 3 AS id, 2 AS at, true AS gone;
CREATE VIEW kept_both AS SELECT 4 AS id, 2 AS at, true AS gone UNION ALL SELECT 2, 3, false;
GRANT ALL ON guarded, hidden, kept_both TO regress_pgi_merger;
SET ROLE regress_pgi_merger;
SELECT merged('guarded', 'hidden');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT merged('guarded', 'hidden');
COMMIT;
SELECT merged('guarded', 'kept_both');
:state
RESET ROLE;
SELECT * FROM guarded ORDER BY id;

SET client_min_messages = warning;
DROP SCHEMA merge_statements CASCADE;
DROP ROLE regress_pgi_merger;
