-- A collation that takes several texts for equal: they are one lock, and one partition, which is swapped; needs ICU.
SELECT count(*) = 0 AS no_icu FROM pg_collation WHERE collname = 'und-x-icu' \gset
\if :no_icu
\echo SKIPPED: this server was built without ICU
\quit
\endif
\set SHOW_CONTEXT never
CREATE SCHEMA overwrite_icu_swap;
SET search_path = overwrite_icu_swap, public;
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t (k text COLLATE ci, v int);
CREATE TABLE s (k text, v int);
INSERT INTO t VALUES ('a', 1), ('A', 2), ('b', 3);
INSERT INTO s VALUES ('a', 4), ('A', 5);
-- Both are one lock.
BEGIN;
SELECT * FROM idempotent_overwrite('t', 's', '{"k": "A"}');
SELECT * FROM idempotent_overwrite('t', 's', '{"k": "a"}');
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 33 AND pid = pg_backend_pid();
COMMIT;
-- Where column and partition key agree, it is swapped.
CREATE VIEW one AS SELECT 'a' AS k, 9 AS v;
CREATE TABLE same (k text COLLATE ci, v int) PARTITION BY LIST (k);
CREATE TABLE same_a PARTITION OF same FOR VALUES IN ('a');
INSERT INTO same VALUES ('a', 1), ('A', 2);
SELECT pg_relation_filenode('same_a') AS file \gset
SELECT * FROM idempotent_overwrite('same', 'one', '{"k": "A"}');
SELECT pg_relation_filenode('same_a') <> :file AS swapped;
SET client_min_messages = warning;
DROP SCHEMA overwrite_icu_swap CASCADE;
