-- Lint, of triggers and collations that not every server has: moddatetime, autoinc, insert_username, ICU.
SELECT (SELECT count(*) FROM pg_available_extensions WHERE name IN ('moddatetime', 'autoinc', 'insert_username')) < 3
       OR NOT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') AS lacks \gset
\if :lacks
\echo SKIPPED: this server has no contrib/spi or no ICU
\quit
\endif
CREATE SCHEMA lint_contrib;
SET search_path = lint_contrib, public;
CREATE EXTENSION moddatetime SCHEMA lint_contrib;
CREATE EXTENSION autoinc SCHEMA lint_contrib;
CREATE EXTENSION insert_username SCHEMA lint_contrib;
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\n    '
PREPARE lint AS SELECT rule || ' (' || severity || ')', message, hint FROM idempotent_lint($1);

-- moddatetime changes its argument on update.
CREATE TABLE modified (id int PRIMARY KEY, v int, "Modified" timestamptz);
CREATE TRIGGER modified BEFORE UPDATE ON modified FOR EACH ROW EXECUTE FUNCTION moddatetime("Modified");
EXECUTE lint('modified');
SELECT compared FROM idempotent_guard('modified');
EXECUTE lint('modified');
SELECT (idempotent_guard('lint_contrib.modified', key => '{id}', ignore => '{Modified}')).compared;
EXECUTE lint('modified');

-- autoinc fills a key, insert_username a column that a payload may name.
CREATE SEQUENCE ids;
CREATE TABLE counted (id int PRIMARY KEY, v text, by_whom text);
CREATE TRIGGER by_whom BEFORE INSERT OR UPDATE ON counted FOR EACH ROW EXECUTE FUNCTION insert_username(by_whom);
EXECUTE lint('counted');
CREATE TRIGGER ids BEFORE INSERT ON counted FOR EACH ROW EXECUTE FUNCTION autoinc(id, ids);
EXECUTE lint('counted');

-- An index of another version of its collation, and one whose collation has none.
CREATE COLLATION lint_contrib."Old" (provider = icu, locale = 'und');
CREATE TABLE stale (k text COLLATE "Old" PRIMARY KEY, c text COLLATE "C" UNIQUE);
EXECUTE lint('stale');
UPDATE pg_collation SET collversion = '0' WHERE collname = 'Old';
EXECUTE lint('stale');
SET client_min_messages = warning;
ALTER COLLATION lint_contrib."Old" REFRESH VERSION;
EXECUTE lint('stale');
DROP SCHEMA lint_contrib CASCADE;
