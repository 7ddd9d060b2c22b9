-- idempotent_repair where policies of row-level security show a row and do not let it be written.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :SQLSTATE'
CREATE ROLE regress_pgi_mender;
CREATE TABLE held (id int PRIMARY KEY, v int, w int);
INSERT INTO held SELECT i, i, i FROM generate_series(1, 4) AS i;
CREATE TABLE held_in (id int, v int);
INSERT INTO held_in SELECT i, i FROM generate_series(1, 4) AS i;
GRANT SELECT, INSERT, UPDATE, DELETE ON held TO regress_pgi_mender;
GRANT SELECT ON held_in TO regress_pgi_mender;
CREATE POLICY shown ON held FOR SELECT TO regress_pgi_mender USING (true);
CREATE POLICY inserted ON held FOR INSERT TO regress_pgi_mender WITH CHECK (true);
CREATE POLICY updated ON held FOR UPDATE TO regress_pgi_mender USING (id <> 2) WITH CHECK (v <> 99);
CREATE POLICY deleted ON held FOR DELETE TO regress_pgi_mender USING (id <> 3);
ALTER TABLE held ENABLE ROW LEVEL SECURITY;

-- The policy for UPDATE hides a row.
UPDATE held_in SET v = 20 WHERE id = 2;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in');
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in', dry_run => false);
:state
-- Nobody else is in the way of other rows.
RESET ROLE;
UPDATE held_in SET v = CASE id WHEN 1 THEN 10 ELSE id END;
DELETE FROM held_in WHERE id = 4;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in', dry_run => false);
RESET ROLE;
-- Its WITH CHECK refuses what would be stored.
UPDATE held_in SET v = 99 WHERE id = 1;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in', dry_run => false);
:state
RESET ROLE;
-- The policy for DELETE hides a row.
UPDATE held_in SET v = 10 WHERE id = 1;
DELETE FROM held_in WHERE id = 3;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in', dry_run => false);
:state
RESET ROLE;
SELECT * FROM held ORDER BY id;

-- A trigger that suppresses a row does so where there are policies, too; and what a policy refuses no
-- trigger sees, or it does no harm that it has seen it.
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% of %', TG_OP, OLD.id; RETURN NULL; END $$;
CREATE TRIGGER suppress BEFORE UPDATE OR DELETE ON held FOR EACH ROW EXECUTE FUNCTION suppress();
INSERT INTO held VALUES (5, 5, 5);
INSERT INTO held_in VALUES (3, 3);
UPDATE held_in SET v = 11 WHERE id = 1;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in', dry_run => false);
RESET ROLE;
UPDATE held_in SET v = 21 WHERE id = 2;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in', dry_run => false);
:state
RESET ROLE;
DELETE FROM held_in WHERE id = 3;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in', dry_run => false);
:state
RESET ROLE;
-- The owner, whom no policy concerns.
DROP TRIGGER suppress ON held;
SELECT status, key, outcome FROM idempotent_repair('held', 'held_in', dry_run => false);

-- Partitions.
CREATE TABLE split (region text, id int, v int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE split_n PARTITION OF split FOR VALUES IN ('n');
CREATE TABLE split_s PARTITION OF split FOR VALUES IN ('s');
INSERT INTO split VALUES ('n', 1, 1), ('n', 2, 2), ('s', 1, 1), ('s', 2, 2);
CREATE VIEW split_in(region, id, v) AS VALUES ('n', 1, 10), ('s', 1, 10), ('s', 2, 2);
GRANT SELECT, INSERT, UPDATE, DELETE ON split TO regress_pgi_mender;
GRANT SELECT ON split_in TO regress_pgi_mender;
CREATE POLICY shown ON split FOR SELECT TO regress_pgi_mender USING (true);
CREATE POLICY updated ON split FOR UPDATE TO regress_pgi_mender USING (region = 'n');
ALTER TABLE split ENABLE ROW LEVEL SECURITY;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('split', 'split_in', dry_run => false);
:state
RESET ROLE;
CREATE POLICY deleted ON split FOR DELETE TO regress_pgi_mender USING (id = 2);
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('split', 'split_in', dry_run => false);
:state
RESET ROLE;
DROP POLICY updated ON split;
CREATE POLICY updated ON split FOR UPDATE TO regress_pgi_mender USING (id = 1);
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('split', 'split_in', dry_run => false);
RESET ROLE;
SELECT tableoid::regclass, * FROM split ORDER BY region, id;
DROP OWNED BY regress_pgi_mender;
DROP ROLE regress_pgi_mender;
