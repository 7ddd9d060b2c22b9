-- Hints of guards and of their views: what a hint says is done, and then the statement goes well.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE SCHEMA hints_guard;
SET search_path = hints_guard, public;
CREATE TABLE said (sql text);
-- Runs a statement that fails, and keeps the SQL of its hint.
CREATE FUNCTION refused(statement text) RETURNS TABLE (code text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE hints_guard.said;
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
        code := SQLSTATE;
        message := SQLERRM;
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        INSERT INTO hints_guard.said
        SELECT m.sql[1] FROM regexp_matches(hint, '((?:CREATE|ALTER|DROP|REINDEX|SELECT) [^;]*;)', 'g') AS m (sql);
        RETURN NEXT;
    END;
END $$;
\set do 'SELECT sql FROM hints_guard.said \\gexec'
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\n    '

-- Where the search_path does not find the extension, a hint names the extension's schema.
CREATE TABLE nullable (id int UNIQUE, x int);
SET search_path = hints_guard;
SELECT key FROM public.idempotent_guard('nullable');
SELECT * FROM refused($$ INSERT INTO nullable VALUES (NULL, 1) $$);
SELECT sql FROM said WHERE sql LIKE 'SELECT%' \gexec
INSERT INTO nullable VALUES (NULL, 1);
SELECT hint FROM public.idempotent_lint('nullable') WHERE rule = 'nullable_key';
SELECT * FROM refused($$ SELECT public.idempotent_insert_many('nullable', '{"id": 1}') $$);
SELECT * FROM refused($$ CALL public.idempotent_load('nullable', 'nullable') $$);
-- A function of the same name that is found first is another one.
CREATE FUNCTION idempotent_guard(target regclass, key text[], compare text[], ignore text[], on_conflict text, remember text, null_key text)
    RETURNS int LANGUAGE sql AS 'SELECT 1';
SET search_path = hints_guard, public;
UPDATE nullable SET id = 1;
SELECT key FROM public.idempotent_guard('nullable', on_conflict => 'observe');
SELECT hint FROM idempotent_lint('nullable') WHERE rule = 'guard_observes';
DROP FUNCTION idempotent_guard(regclass, text[], text[], text[], text, text, text);
SELECT hint FROM idempotent_lint('nullable') WHERE rule = 'guard_observes';

-- A key that is NOT NULL already: what does not have it is left out.
CREATE TABLE not_null (id int PRIMARY KEY, a int);
SELECT key FROM idempotent_guard('not_null');
SELECT * FROM refused($$ INSERT INTO not_null (a) VALUES (1) $$);

-- A guard that was made wrong by hand goes first.
CREATE TABLE by_hand (id int PRIMARY KEY, "a" int, r jsonb);
CREATE TRIGGER "A" AFTER INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=id', 'compare=a');
SELECT * FROM refused($$ INSERT INTO by_hand VALUES (1, 1) $$);
:do
INSERT INTO by_hand VALUES (1, 1), (1, 1);
SELECT key, compare FROM idempotent.guards WHERE target = 'by_hand'::regclass;
SELECT idempotent_unguard('by_hand');
CREATE TRIGGER r BEFORE INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=id', 'remember=r');
SELECT * FROM refused($$ INSERT INTO by_hand VALUES (2, 1) $$);
:do
INSERT INTO by_hand VALUES (2, 1), (2, 1);
-- Of another name, where a call of idempotent_guard meets it.
SELECT idempotent_unguard('by_hand');
CREATE TRIGGER "A" BEFORE INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=id');
SELECT * FROM refused($$ SELECT idempotent_guard('by_hand') $$);
:do
SELECT key FROM idempotent_guard('by_hand');
-- Two of them.
CREATE TRIGGER "A" BEFORE INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('key=id');
SELECT * FROM refused($$ INSERT INTO by_hand VALUES (3, 1) $$);
SELECT problem FROM idempotent.guards WHERE target = 'by_hand'::regclass;
-- Options that cannot be read are not repeated.
CREATE TABLE unreadable (id int PRIMARY KEY);
CREATE TRIGGER u AFTER INSERT ON unreadable FOR EACH ROW EXECUTE FUNCTION idempotent_guard_trigger('kee=id');
SELECT * FROM refused($$ INSERT INTO unreadable VALUES (1) $$);
:do
INSERT INTO unreadable VALUES (1);

-- Options of a view's trigger are those of a view.
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE VIEW by_hand_view AS SELECT * FROM t;
CREATE TRIGGER v INSTEAD OF INSERT ON by_hand_view FOR EACH ROW EXECUTE FUNCTION idempotent_view_trigger('kee=a');
SELECT * FROM refused($$ INSERT INTO by_hand_view VALUES (1, 1) $$);
CREATE OR REPLACE TRIGGER v INSTEAD OF INSERT ON by_hand_view FOR EACH ROW EXECUTE FUNCTION idempotent_view_trigger('key=id', 'key=id');
SELECT * FROM refused($$ INSERT INTO by_hand_view VALUES (1, 1) $$);
CREATE OR REPLACE TRIGGER v INSTEAD OF INSERT ON by_hand_view FOR EACH ROW EXECUTE FUNCTION idempotent_view_trigger('key="id');
SELECT * FROM refused($$ INSERT INTO by_hand_view VALUES (1, 1) $$);
CREATE OR REPLACE TRIGGER v INSTEAD OF INSERT ON by_hand_view FOR EACH ROW EXECUTE FUNCTION idempotent_view_trigger('remember=a,b');
SELECT * FROM refused($$ INSERT INTO by_hand_view VALUES (1, 1) $$);
CREATE OR REPLACE TRIGGER v INSTEAD OF INSERT ON by_hand_view FOR EACH ROW EXECUTE FUNCTION idempotent_view_trigger('on_conflict=report');
SELECT * FROM refused($$ INSERT INTO by_hand_view VALUES (1, 1) $$);
CREATE OR REPLACE TRIGGER v INSTEAD OF INSERT ON by_hand_view FOR EACH ROW EXECUTE FUNCTION idempotent_view_trigger('on_conflict=skip');
SELECT * FROM refused($$ INSERT INTO by_hand_view VALUES (1, 1) $$);
DROP VIEW by_hand_view;

-- A column that the options of a view name is renamed.
SELECT idempotent_view('t', 'tv', key => '{id}', ignore => '{v}');
ALTER TABLE t RENAME id TO iid;
SELECT * FROM refused($$ INSERT INTO tv VALUES (1, 1) $$);
ALTER VIEW tv RENAME COLUMN id TO iid;
SELECT idempotent_view('t', 'tv', key => '{iid}', ignore => '{v}');
INSERT INTO tv VALUES (1, 1) RETURNING *;
ALTER TABLE t RENAME v TO vv;
SELECT * FROM refused($$ INSERT INTO tv VALUES (1, 1) $$);
ALTER VIEW tv RENAME COLUMN v TO vv;
SELECT idempotent_view('t', 'tv', key => '{iid}', ignore => '{vv}');
INSERT INTO tv VALUES (1, 2) RETURNING *;

-- What a view must have to be replaced, and what stands in the way.
DROP TRIGGER idempotent_view ON tv;
SELECT * FROM refused($$ SELECT idempotent_view('t', 'tv') $$);
:do
SELECT idempotent_view('t', 'tv');
CREATE FUNCTION takes_none() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER "A trigger" INSTEAD OF INSERT ON tv FOR EACH ROW EXECUTE FUNCTION takes_none();
SELECT * FROM refused($$ SELECT idempotent_view('t', 'tv') $$);
:do
SELECT idempotent_view('t', 'tv');
CREATE RULE "A rule" AS ON INSERT TO tv DO INSTEAD NOTHING;
SELECT * FROM refused($$ SELECT idempotent_view('t', 'tv') $$);
:do
SELECT idempotent_view('t', 'tv');
-- One that was never this function's work is not to be replaced, whatever is dropped of it.
CREATE VIEW stranger AS SELECT * FROM t;
CREATE TRIGGER other INSTEAD OF INSERT ON stranger FOR EACH ROW EXECUTE FUNCTION takes_none();
SELECT * FROM refused($$ SELECT idempotent_view('t', 'stranger') $$);
:do
SELECT idempotent_view('t', 'stranger');

RESET search_path;
\set ECHO none
SET client_min_messages = warning;
DROP SCHEMA hints_guard CASCADE;
