SELECT NOT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') AS lacks \gset
\if :lacks
\echo SKIPPED: this server has no ICU
\quit
\endif
\set state '\\echo SQLSTATE :SQLSTATE'
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_pgi_policy;
CREATE ROLE regress_pgi_policy;
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE t (id int, code text COLLATE "C", v int, hidden boolean DEFAULT false, UNIQUE NULLS NOT DISTINCT (id, code));
CREATE UNIQUE INDEX t_ci ON t (code COLLATE ci);
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY shown ON t FOR SELECT USING (NOT hidden);
CREATE POLICY any_in ON t FOR INSERT WITH CHECK (true);
GRANT INSERT ON t TO regress_pgi_policy;
GRANT SELECT (id, code, hidden) ON t TO regress_pgi_policy;
SELECT FROM idempotent_guard('t', key => '{id, code}');
INSERT INTO t VALUES (1, 'a', 1, false), (2, NULL, 2, false), (3, 'c', 3, true);
SET ROLE regress_pgi_policy;
-- By the key, where not every column may be read.
INSERT INTO t VALUES (1, 'a', 1);
:state
INSERT INTO t VALUES (2, NULL, 2);
INSERT INTO t VALUES (3, 'c', 3, true);
:state
RESET ROLE;
-- By the key's collation.
SELECT FROM idempotent_guard('t', key => '{code}');
SET ROLE regress_pgi_policy;
INSERT INTO t VALUES (1, 'A', 1);
:state
RESET ROLE;
SELECT idempotent_unguard('t');
-- With an operator of the caller's in the way.
CREATE FUNCTION public.always(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE SCHEMA evil;
CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = public.always);
GRANT USAGE ON SCHEMA evil TO regress_pgi_policy;
SELECT FROM idempotent_guard('t', key => '{id, code}');
SET ROLE regress_pgi_policy;
SET search_path = evil, public, pg_catalog;
INSERT INTO t VALUES (1, 'a', 1);
:state
RESET search_path;
RESET ROLE;
-- By the place: the table is part of it.
CREATE TABLE p (id int PRIMARY KEY, v int, hidden boolean) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
INSERT INTO p VALUES (1, 1, false), (101, 1, true);
SELECT DISTINCT ctid FROM p;
ALTER TABLE p ENABLE ROW LEVEL SECURITY;
CREATE POLICY shown ON p FOR SELECT USING (NOT hidden);
CREATE POLICY any_in ON p FOR INSERT WITH CHECK (true);
GRANT INSERT, SELECT ON p TO regress_pgi_policy;
SELECT FROM idempotent_guard('p');
SET ROLE regress_pgi_policy;
INSERT INTO p VALUES (101, 1, true);
:state
RESET ROLE;
-- The payload's values are shown to whoever may read the column, too.
CREATE TABLE w (id int PRIMARY KEY, v int, filled int DEFAULT 7);
SELECT FROM idempotent_guard('w');
INSERT INTO w VALUES (1, 1, 8);
GRANT INSERT (id, v), SELECT ON w TO regress_pgi_policy;
SET ROLE regress_pgi_policy;
INSERT INTO w (id, v) VALUES (1, 1);
:state
RESET ROLE;
