-- A partition with a guard of its own: it is refused when a row arrives, whatever way it came about,
-- and what is said of it is what docs/guard.md says. To get rid of it is always possible.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA alone;
SET search_path = alone, public;
CREATE TABLE root (id int, day int, v int, first jsonb, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
CREATE TABLE one (LIKE root INCLUDING ALL);
CREATE TABLE two (LIKE root INCLUDING ALL);
PREPARE guards AS SELECT target, trigger, problem FROM idempotent.guards WHERE target::text IN ('root', 'one', 'two', 'three') ORDER BY target::text;

-- Guarded first, attached later: a guard that fires on INSERT only, and one that fires on UPDATE too.
SELECT key FROM idempotent_guard('one');
SELECT key, remember FROM idempotent_guard('two', remember => 'first');
ALTER TABLE root ATTACH PARTITION one FOR VALUES IN (1);
ALTER TABLE root ATTACH PARTITION two FOR VALUES IN (2);
INSERT INTO root VALUES (1, 1, 1);
:state
INSERT INTO one VALUES (1, 1, 1);
:state
COPY root FROM stdin;
1	2	1	\N
\.
:state
SELECT outcome FROM idempotent_insert('root', '{"id": 1, "day": 1, "v": 1}');
:state
EXECUTE guards;
SELECT rule, message, hint FROM idempotent_lint('one') WHERE rule = 'guard_problem';
-- It cannot be guarded again, and its guard can be removed.
SELECT idempotent_guard('one');
:state
SELECT idempotent_unguard('one');
INSERT INTO root VALUES (1, 1, 1);
-- To guard the partitioned table takes the other's over.
SELECT key FROM idempotent_guard('root');
EXECUTE guards;
INSERT INTO root VALUES (1, 1, 1), (1, 2, 1), (1, 2, 1) RETURNING id, day;
-- Then it goes with that only.
SELECT idempotent_unguard('two');
:state
SELECT idempotent_unguard('root');
SELECT idempotent_unguard('two');

-- A guarded table under a guarded one: the server refuses to attach it, since the guards have one name.
SELECT key FROM idempotent_guard('root');
CREATE TABLE three (LIKE root INCLUDING ALL);
SELECT key FROM idempotent_guard('three');
ALTER TABLE root ATTACH PARTITION three FOR VALUES IN (3);
:state
SELECT idempotent_unguard('three');
ALTER TABLE root ATTACH PARTITION three FOR VALUES IN (3);
INSERT INTO root VALUES (1, 3, 1), (1, 3, 1) RETURNING id, day;
-- With another name it is attached, and has two guards. Its own is refused, before or behind the other.
ALTER TABLE root DETACH PARTITION three;
CREATE TRIGGER a_guard BEFORE INSERT ON three FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger();
ALTER TABLE root ATTACH PARTITION three FOR VALUES IN (3);
INSERT INTO root VALUES (2, 3, 1);
:state
ALTER TRIGGER a_guard ON three RENAME TO zzz_guard;
INSERT INTO root VALUES (2, 3, 1);
:state
EXECUTE guards;
SELECT rule, hint FROM idempotent_lint('three') WHERE rule = 'guard_problem';
-- Where rows are sent to it is said, too, until its guard does not fire any more.
SELECT rule, message, hint FROM idempotent_lint('root') WHERE rule = 'guard_problem';
ALTER TABLE three DISABLE TRIGGER zzz_guard;
EXECUTE guards;
SELECT rule FROM idempotent_lint('root') WHERE rule = 'guard_problem';
ALTER TABLE three ENABLE TRIGGER zzz_guard;
-- Only its own is removed.
SELECT idempotent_unguard('three');
EXECUTE guards;
INSERT INTO root VALUES (2, 3, 1), (2, 3, 1) RETURNING id, day;

-- Deeper: the guard of a partitioned table that is a partition itself.
CREATE TABLE four (LIKE root INCLUDING ALL) PARTITION BY LIST (id);
CREATE TABLE four_1 PARTITION OF four DEFAULT;
SELECT idempotent_unguard('root');
SELECT key FROM idempotent_guard('four');
ALTER TABLE root ATTACH PARTITION four FOR VALUES IN (4);
INSERT INTO root VALUES (1, 4, 1);
:state
ALTER TRIGGER zz_idempotent_guard ON four RENAME TO own;
SELECT key FROM idempotent_guard('root');
EXECUTE guards;
SELECT idempotent_unguard('root');
ALTER TRIGGER own ON four RENAME TO zz_idempotent_guard;
-- The partitioned table has no index that the guard could use.
ALTER TABLE root DETACH PARTITION four;
CREATE TABLE bare (id int NOT NULL, day int NOT NULL, v int, first jsonb) PARTITION BY LIST (day);
ALTER TABLE bare ATTACH PARTITION four FOR VALUES IN (4);
INSERT INTO bare VALUES (1, 4, 1);
:state
SET client_min_messages = warning;
DROP SCHEMA alone CASCADE;
