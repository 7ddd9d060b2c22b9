-- A slice under a collation that takes several texts for equal; needs ICU.
SELECT count(*) = 0 AS no_icu FROM pg_collation WHERE collname = 'und-x-icu' \gset
\if :no_icu
\echo SKIPPED: this server was built without ICU
\quit
\endif
\set SHOW_CONTEXT never
CREATE SCHEMA overwrite_icu;
SET search_path = overwrite_icu, public;
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t (k text COLLATE ci, v int);
CREATE TABLE s (k text, v int);
INSERT INTO t VALUES ('a', 1), ('A', 2), ('b', 3);
INSERT INTO s VALUES ('a', 4), ('A', 5);
SELECT * FROM idempotent_overwrite('t', 's', '{"k": "A"}');
SELECT * FROM idempotent_overwrite('t', 's', '{"k": "a"}');
SELECT * FROM t ORDER BY v;
-- Of several slices in one source, they are one, which shows one of them.
INSERT INTO s VALUES ('b', 6), ('B', 7);
SELECT * FROM idempotent_overwrite_each('t', 's', '{k}');
SELECT * FROM idempotent_overwrite_each('t', 's', '{k}');
DELETE FROM s WHERE v > 5;
-- A partition that holds more than the slice, and one that holds less.
CREATE TABLE more (k text, v int) PARTITION BY LIST (k COLLATE ci);
CREATE TABLE more_a PARTITION OF more FOR VALUES IN ('a');
INSERT INTO more VALUES ('a', 1), ('A', 2);
CREATE VIEW one AS SELECT 'a' AS k, 9 AS v;
SELECT * FROM idempotent_overwrite('more', 'one', '{"k": "a"}');
SELECT * FROM more ORDER BY v;
CREATE TABLE less (k text COLLATE ci, v int) PARTITION BY LIST (k COLLATE "C");
CREATE TABLE less_a PARTITION OF less FOR VALUES IN ('a');
CREATE TABLE less_rest PARTITION OF less DEFAULT;
INSERT INTO less VALUES ('a', 1), ('A', 2), ('b', 3);
SELECT * FROM idempotent_overwrite('less', 'one', '{"k": "a"}');
SELECT * FROM less ORDER BY v;
SET client_min_messages = warning;
DROP SCHEMA overwrite_icu CASCADE;
