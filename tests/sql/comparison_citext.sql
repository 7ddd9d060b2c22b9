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
-- Two spellings of one key are judged with the stored row also where tables are large enough to be compared by sketches.
CREATE TABLE spelled (k citext PRIMARY KEY, v int, n text);
INSERT INTO spelled SELECT 'k' || i, i, repeat('x', 60) FROM generate_series(1, 8000) AS i;
CREATE TABLE spelled_in AS TABLE spelled;
INSERT INTO spelled_in SELECT upper(k::text), CASE k WHEN 'k7' THEN 8 ELSE v END, n FROM spelled WHERE k IN ('k7', 'k70');
SELECT status, key, differences FROM idempotent_reconcile('spelled', 'spelled_in');
SELECT status, key, outcome FROM idempotent_repair('spelled', 'spelled_in', dry_run => false);
SELECT k, v FROM spelled WHERE k IN ('k7', 'k70') ORDER BY k;
-- The operators are found although the type's schema is not in the search path.
SET search_path = public;
SELECT outcome FROM idempotent_insert('comparison_citext.users', '{"mail": "ANN@EXAMPLE.org", "name": "aNN"}');
SELECT * FROM idempotent_insert_many('comparison_citext.users', '[{"mail": "ANN@EXAMPLE.org", "name": "aNN"}, {"mail": "C@x"}, {"mail": "c@X"}]');
SET client_min_messages = warning;
DROP SCHEMA comparison_citext CASCADE;
