-- ltree has a hash from version 1.3 on only: what was remembered before stays the same when it comes. Needs the contrib module.
SELECT count(*) = 0 AS no_ltree FROM pg_available_extension_versions WHERE name = 'ltree' AND version = '1.2' \gset
\if :no_ltree
\echo SKIPPED: this server has no ltree
\quit
\endif
\set SHOW_CONTEXT never
-- Command tags say how many rows went in.
\set QUIET off
CREATE SCHEMA remember_ltree;
SET search_path = remember_ltree, public;
CREATE EXTENSION ltree SCHEMA remember_ltree VERSION '1.2';
CREATE DOMAIN place AS ltree;
CREATE TABLE pages (id int PRIMARY KEY, path ltree, paths ltree[], place place, seen bytea);
SELECT remember FROM idempotent_guard('pages', remember => 'seen');
INSERT INTO pages VALUES (1, 'Top.Science', '{a.b,c}', 'x.y');
UPDATE pages SET path = NULL, paths = NULL, place = NULL;
CREATE TABLE before_upgrade AS SELECT seen FROM pages;
-- The same operator class that version 1.3 brings.
CREATE FUNCTION hash_ltree(ltree) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT pg_catalog.hashtext($1::text)';
CREATE FUNCTION hash_ltree_extended(ltree, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT AS 'SELECT pg_catalog.hashtextextended($1::text, $2)';
CREATE OPERATOR CLASS hash_ltree_ops DEFAULT FOR TYPE ltree USING hash AS OPERATOR 1 =, FUNCTION 1 hash_ltree(ltree), FUNCTION 2 hash_ltree_extended(ltree, bigint);
\set QUIET on
\c -
SET search_path = remember_ltree, public;
\set QUIET off
-- A retry is still a duplicate, and another payload is still a conflict.
INSERT INTO pages VALUES (1, 'Top.Science', '{a.b,c}', 'x.y');
INSERT INTO pages VALUES (1, 'Top.science', '{a.b,c}', 'x.y');
INSERT INTO pages VALUES (1, 'Top.Science', '{a.b,d}', 'x.y');
INSERT INTO pages VALUES (1, 'Top.Science', '{a.b,c}', 'x.z');
-- The digest of a row that goes in now is the one from before.
TRUNCATE pages;
INSERT INTO pages VALUES (1, 'Top.Science', '{a.b,c}', 'x.y');
SELECT seen IN (SELECT seen FROM before_upgrade) AS same_digest FROM pages;

SET client_min_messages = warning;
DROP SCHEMA remember_ltree CASCADE;
