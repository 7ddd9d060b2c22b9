-- The guard with types and collations that not every server has: citext, hstore, nondeterministic collations.
SELECT (SELECT count(*) FROM pg_available_extensions WHERE name IN ('citext', 'hstore', 'isn', 'ltree')) < 4
       OR NOT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') AS lacks \gset
\if :lacks
\echo SKIPPED: this server lacks an extension of contrib, or ICU
\quit
\endif
\set VERBOSITY default
\set SHOW_CONTEXT never
-- Command tags say how many rows went in.
\set QUIET off
CREATE SCHEMA guard_contrib;
SET search_path = guard_contrib, public;
CREATE EXTENSION citext SCHEMA guard_contrib;
CREATE EXTENSION hstore SCHEMA guard_contrib;
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TYPE tagged AS (tags hstore, name citext);
CREATE DOMAIN tags AS hstore;

-- Keys and columns that are spelt differently, and equal.
CREATE TABLE loosely (k text COLLATE loose, m citext, v text COLLATE loose, PRIMARY KEY (k, m));
SELECT key, compared FROM idempotent_guard('loosely');
INSERT INTO loosely VALUES ('Key', 'Ann@Example.org', 'Value'), ('KEY', 'ann@EXAMPLE.org', 'VALUE'), ('key', 'ann@example.org', 'value');
INSERT INTO loosely VALUES ('key', 'ANN@example.org', 'valve');
SELECT * FROM loosely;
-- What first arrived, in a document and in a digest.
CREATE TABLE remembering (id int PRIMARY KEY, c citext, l text COLLATE loose, h hstore, hs hstore[], t tagged, d tags, cs citext[], seen jsonb);
CREATE TABLE digesting (LIKE remembering INCLUDING ALL);
ALTER TABLE digesting DROP seen, ADD seen bytea;
SELECT remember FROM idempotent_guard('remembering', remember => 'seen');
SELECT remember FROM idempotent_guard('digesting', remember => 'seen');
CREATE VIEW one AS SELECT 1 AS id, 'Hello'::citext AS c, 'World'::text COLLATE loose AS l, 'a=>1,b=>NULL'::hstore AS h, '{"a=>1","b=>2"}'::hstore[] AS hs, ROW('a=>2', 'Abc')::tagged AS t, 'k=>v'::tags AS d, '{X,y}'::citext[] AS cs;
CREATE VIEW equal AS SELECT 1 AS id, 'hELLO'::citext AS c, 'wORLD'::text COLLATE loose AS l, 'b=>NULL, a=>1'::hstore AS h, '{"a=>1","b=>2"}'::hstore[] AS hs, ROW('a=>2', 'aBC')::tagged AS t, 'k=>v'::tags AS d, '{x,Y}'::citext[] AS cs;
INSERT INTO remembering SELECT * FROM one;
INSERT INTO digesting SELECT * FROM one;
INSERT INTO remembering SELECT * FROM equal;
INSERT INTO digesting SELECT * FROM equal;
UPDATE remembering SET c = 'x', l = 'x', h = NULL, hs = NULL, t = NULL, d = NULL, cs = NULL;
UPDATE digesting SET c = 'x', l = 'x', h = NULL, hs = NULL, t = NULL, d = NULL, cs = NULL;
INSERT INTO remembering SELECT * FROM equal;
INSERT INTO digesting SELECT * FROM equal;
INSERT INTO remembering SELECT id, c, l, h || 'b=>3', hs, t, d, cs FROM one;
INSERT INTO remembering SELECT id, c || '!', l, h, hs, t, d, cs FROM one;
INSERT INTO remembering SELECT id, c, l, h, hs, ROW('a=>3', 'Abc')::tagged, d, cs FROM one;
INSERT INTO digesting SELECT id, c, l, h || 'b=>3', hs, t, d, cs FROM one;
INSERT INTO digesting SELECT id, c || '!', l, h, hs, t, d, cs FROM one;
INSERT INTO digesting SELECT id, c, l, h, hs, t, d, '{x,z}' FROM one;

-- Types that have a hash have a digest.
CREATE EXTENSION ltree SCHEMA guard_contrib;
CREATE EXTENSION isn SCHEMA guard_contrib;
CREATE TABLE kept (id int PRIMARY KEY, a citext, b hstore, c ltree, d isbn, e int[], f numrange, g tsvector, seen bytea);
SELECT key FROM idempotent_guard('kept', remember => 'seen');
SET client_min_messages = warning;
DROP SCHEMA guard_contrib CASCADE;
