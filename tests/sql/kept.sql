-- Roles and tables in the rows of state: their text, what is made of a text, and for whom. Whole dumps and their restores
-- are in tests/cluster/test_state_elsewhere.py.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_kept;
CREATE ROLE regress_pgi_member IN ROLE regress_pgi_kept;
CREATE ROLE "regress_PGI ""(kept)"" 'x.y'";
CREATE ROLE "42";
CREATE SCHEMA "Kept.";
CREATE TABLE "Kept."."a ""b"".c" (id int PRIMARY KEY, v int);
CREATE TABLE "Kept.".plain (id int PRIMARY KEY, v int);

-- A name is the role's, quoted as SQL quotes it; a number is nobody's; what is nobody's is in parentheses, and stays.
CREATE VIEW texts AS
SELECT given, given::idempotent.kept_role AS role, given::idempotent.kept_role::regrole AS regrole, given::idempotent.kept_role::oid = 0 AS nobodys,
       given::idempotent.kept_role::text::idempotent.kept_role::text = given::idempotent.kept_role::text AS same_again
FROM (VALUES ('regress_pgi_kept'), ('REGRESS_PGI_kept'), ('"regress_pgi_kept"'), ('"regress_PGI ""(kept)"" ''x.y''"'), ('"42"'), ('42'), ('-'), (''), (' '),
             ('regress_pgi_no_such'), ('"No such"'), ('(regress_pgi_kept)'), ('(dropped 10 of 1)'), ('a.b'), ('"unfinished'), ('a b'), ('.'), ('public'),
             (repeat('x', 70))) AS t (given);
SELECT * FROM texts;
SELECT given, t::text AS table, t::regclass, t::oid = 0 AS nobodys, t::text::idempotent.kept_table::text = t::text AS same_again
FROM (VALUES ('"Kept."."a ""b"".c"'), ('"Kept.".plain'), ('plain'), ('pg_class'), ('pg_catalog.pg_class'), ('"Kept.".no_such'), ('no_such.plain'), ('42'),
             ('("Kept.".plain)'), ('a.b.c'), ('(dropped 42 of 1/1)')) AS v (given), LATERAL (SELECT given::idempotent.kept_table AS t) AS kept;
-- It follows the role and the table.
CREATE TABLE kept (n int, role idempotent.kept_role, of idempotent.kept_table);
INSERT INTO kept VALUES (1, 'regress_pgi_kept', '"Kept.".plain');
ALTER ROLE regress_pgi_kept RENAME TO regress_pgi_renamed;
ALTER TABLE "Kept.".plain RENAME TO "renamed.";
TABLE kept;
INSERT INTO kept SELECT n + 1, role::text::idempotent.kept_role, of::text::idempotent.kept_table FROM kept;
SELECT count(DISTINCT role), count(DISTINCT of) FROM kept;
-- A role made anew is another one.
CREATE ROLE regress_pgi_kept;
INSERT INTO kept VALUES (3, 'regress_pgi_kept', '"Kept.".plain');
SELECT n, role, of FROM kept ORDER BY n;
ALTER ROLE regress_pgi_kept RENAME TO regress_pgi_other;

-- Who may act for a role makes it of its name, and so with tables; for others it is nobody's.
SET ROLE regress_pgi_member;
SELECT 'regress_pgi_member'::idempotent.kept_role AS own, 'regress_pgi_renamed'::idempotent.kept_role AS of_a_member,
       'regress_pgi_other'::idempotent.kept_role AS other, '"Kept."."renamed."'::idempotent.kept_table AS none;
RESET ROLE;
GRANT SELECT ON "Kept."."renamed." TO regress_pgi_member;
SET ROLE regress_pgi_member;
SELECT '"Kept."."renamed."'::idempotent.kept_table AS readable;
RESET ROLE;
GRANT UPDATE ON "Kept."."renamed." TO regress_pgi_member;
SET ROLE regress_pgi_member;
SELECT '"Kept."."renamed."'::idempotent.kept_table AS writable;
RESET ROLE;
-- There is no other way to make one: not of a number, not of bytes.
SELECT 10::oid::idempotent.kept_role;
SELECT '\x010000000a'::bytea::idempotent.kept_role;
SELECT 'regress_pgi_other'::regrole::idempotent.kept_role;
-- The binary form is the text.
SELECT convert_from(idempotent.kept_role_send('regress_pgi_other'), 'UTF8') AS role, convert_from(idempotent.kept_table_send('"Kept."."renamed."'), 'UTF8') AS of;
-- A literal is no name of bytes: a comparison that is not the type's own is refused.
SELECT count(*) FROM kept WHERE role = 'regress_pgi_other';
:state
SELECT count(*) FROM kept WHERE role OPERATOR(idempotent.=) 'regress_pgi_other';
SELECT count(*) FROM kept WHERE role::regrole = 'regress_pgi_other'::regrole;

-- Dropped, and what is stored of it elsewhere.
DROP TABLE "Kept."."renamed.";
DROP ROLE regress_pgi_other;
SELECT n, regexp_replace(role::text, '\d+', 'N', 'g') AS role, regexp_replace(of::text, '\d+', 'N', 'g') AS of FROM kept ORDER BY n;
SELECT bool_and((role::text::idempotent.kept_role)::oid = 0) AS nobodys, bool_and(role::text::idempotent.kept_role::text = role::text) AS same_again FROM kept WHERE n = 3;

-- The privileges of those who dump and restore.
SELECT c.relname, a.grantee::regrole, string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) AS privileges
FROM pg_class c, LATERAL aclexplode(c.relacl) a
WHERE c.relnamespace = 'idempotent'::regnamespace AND c.relkind IN ('r', 'S') AND a.grantee <> c.relowner
GROUP BY 1, 2 ORDER BY 1, 2;
SELECT relname FROM pg_class WHERE relnamespace = 'idempotent'::regnamespace AND relname <> 'lock_secret' AND (relrowsecurity OR relforcerowsecurity);
SELECT obj_description(oid, 'pg_extension') IS NULL AS no_comment FROM pg_extension WHERE extname = 'pg_idempotent';

SET client_min_messages = warning;
DROP VIEW texts;
DROP TABLE kept;
DROP SCHEMA "Kept." CASCADE;
DROP ROLE regress_pgi_renamed, regress_pgi_member, "regress_PGI ""(kept)"" 'x.y'", "42";
