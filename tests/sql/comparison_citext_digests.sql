-- citext: what is equal has one digest, in an array and in a row as well. Needs the contrib module.
SELECT count(*) = 0 AS no_citext FROM pg_available_extensions WHERE name = 'citext' \gset
\if :no_citext
\echo SKIPPED: this server has no citext
\quit
\endif
\set SHOW_CONTEXT never
CREATE SCHEMA comparison_citext_digests;
SET search_path = comparison_citext_digests, public;
CREATE EXTENSION citext SCHEMA comparison_citext_digests;
CREATE DOMAIN email AS citext CHECK (VALUE ~ '@');
CREATE TYPE person AS (name citext, nick text);
CREATE TABLE told (id int PRIMARY KEY, v citext, m email, a citext[], p person, first bytea);
SELECT remember FROM idempotent_guard('told', remember => 'first');
INSERT INTO told VALUES (1, 'Blue', 'A@b', '{A,b}', ('Ann', 'x'));
UPDATE told SET v = NULL, m = NULL, a = NULL, p = NULL;
INSERT INTO told VALUES (1, 'BLUE', 'a@B', '{a,B}', ('ANN', 'x'));
INSERT INTO told VALUES (1, 'green', 'A@b', '{A,b}', ('Ann', 'x'));
INSERT INTO told VALUES (1, 'Blue', 'A@b', '{b,A}', ('Ann', 'x'));
INSERT INTO told VALUES (1, 'Blue', 'A@b', '{A,b}', ('Ann', 'X'));
SET client_min_messages = warning;
DROP SCHEMA comparison_citext_digests CASCADE;
