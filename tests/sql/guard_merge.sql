-- MERGE into a guarded table: what it inserts although it is stored is 23505, as without a guard. (docs/guard.md)
\set VERBOSITY default
\set SHOW_CONTEXT never
\set QUIET off
SET client_min_messages = warning;
CREATE SCHEMA guard_merge;
SET search_path = guard_merge, public;
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE TABLE plain (id int PRIMARY KEY, v int, other int UNIQUE);
SELECT key, compared FROM idempotent_guard('plain', ignore => '{other}');
INSERT INTO plain VALUES (3, 30);
MERGE INTO plain AS p USING (VALUES (3, 30), (5, 50)) AS s (id, v) ON p.id = s.id AND p.v <> s.v WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
MERGE INTO plain AS p USING (VALUES (3, 31)) AS s (id, v) ON p.id = s.id AND p.v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
:state
MERGE INTO plain AS p USING (VALUES (6, 1), (6, 1)) AS s (id, v) ON p.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
:state
SELECT id, v FROM plain ORDER BY id;
-- The partitions of a table.
CREATE TABLE events (tenant int, id int, amount numeric(9, 2), PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
CREATE TABLE events_2 PARTITION OF events FOR VALUES IN (2);
SELECT key, compared FROM idempotent_guard('events');
INSERT INTO events VALUES (1, 601, 2);
MERGE INTO events AS e USING (VALUES (1, 601, 3)) AS s (tenant, id, amount) ON e.tenant = s.tenant + 1 AND e.id = s.id
    WHEN NOT MATCHED THEN INSERT (tenant, id, amount) VALUES (s.tenant, s.id, s.amount);
:state
MERGE INTO events AS e USING (VALUES (1, 601, 3), (2, 601, 3)) AS s (tenant, id, amount) ON e.tenant = s.tenant AND e.id = s.id
    WHEN MATCHED THEN UPDATE SET amount = s.amount WHEN NOT MATCHED THEN INSERT (tenant, id, amount) VALUES (s.tenant, s.id, s.amount);
SELECT tableoid::regclass, * FROM events ORDER BY 1;
DROP SCHEMA guard_merge CASCADE;
