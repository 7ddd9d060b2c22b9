-- citext: the type's own equality, which is not its base's. Needs the contrib module.
SELECT count(*) = 0 AS no_citext FROM pg_available_extensions WHERE name = 'citext' \gset
\if :no_citext
\echo SKIPPED: this server has no citext
\quit
\endif
\set SHOW_CONTEXT never
CREATE SCHEMA comparison_citext;
SET search_path = comparison_citext, public;
CREATE EXTENSION citext SCHEMA comparison_citext;
CREATE DOMAIN email AS citext CHECK (VALUE ~ '@');
CREATE TABLE users (mail email PRIMARY KEY, name citext, nick text);
SELECT outcome FROM idempotent_insert('users', '{"mail": "Ann@Example.org", "name": "Ann", "nick": "a"}');
SELECT outcome, stored FROM idempotent_insert('users', '{"mail": "ann@example.ORG", "name": "ANN", "nick": "a"}');
SELECT outcome, differences FROM idempotent_insert('users', '{"mail": "ANN@example.ORG", "name": "Anne", "nick": "A"}', on_conflict => 'report');
SELECT ordinal, outcome FROM idempotent_insert_each('users', '[{"mail": "b@x"}, {"mail": "B@X"}, {"mail": "a@x"}]');
-- What is equal has one digest, in an array and in a row as well.
CREATE TYPE person AS (name citext, nick text);
CREATE TABLE told (id int PRIMARY KEY, v citext, m email, a citext[], p person, first bytea);
SELECT remember FROM idempotent_guard('told', remember => 'first');
INSERT INTO told VALUES (1, 'Blue', 'A@b', '{A,b}', ('Ann', 'x'));
UPDATE told SET v = NULL, m = NULL, a = NULL, p = NULL;
INSERT INTO told VALUES (1, 'BLUE', 'a@B', '{a,B}', ('ANN', 'x'));
INSERT INTO told VALUES (1, 'green', 'A@b', '{A,b}', ('Ann', 'x'));
INSERT INTO told VALUES (1, 'Blue', 'A@b', '{b,A}', ('Ann', 'x'));
INSERT INTO told VALUES (1, 'Blue', 'A@b', '{A,b}', ('Ann', 'X'));
-- The operators are found although the type's schema is not in the search path.
SET search_path = public;
SELECT outcome FROM idempotent_insert('comparison_citext.users', '{"mail": "ANN@EXAMPLE.org", "name": "aNN"}');
SELECT * FROM idempotent_insert_many('comparison_citext.users', '[{"mail": "ANN@EXAMPLE.org", "name": "aNN"}, {"mail": "C@x"}, {"mail": "c@X"}]');
SET client_min_messages = warning;
DROP SCHEMA comparison_citext CASCADE;
