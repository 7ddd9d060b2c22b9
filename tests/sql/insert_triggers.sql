-- Triggers of every kind fire for what is inserted, and for nothing else; and the rows of a call go in by one statement.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = notice;
CREATE SCHEMA insert_triggers;
SET search_path = insert_triggers, public;
CREATE TABLE fired (id int PRIMARY KEY, v int);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% % %', TG_WHEN, TG_LEVEL, CASE WHEN TG_LEVEL = 'ROW' THEN NEW::text END; RETURN NEW; END $$;
CREATE TRIGGER a BEFORE INSERT ON fired FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER b AFTER INSERT ON fired FOR EACH ROW EXECUTE FUNCTION tell();
SELECT * FROM idempotent_insert_many('fired', '[{"id": 2, "v": 1}, {"id": 1, "v": 1}, {"id": 2, "v": 1}]');
SELECT * FROM idempotent_insert_many('fired', '[{"id": 2, "v": 1}, {"id": 1, "v": 1}]');
SELECT outcome FROM idempotent_insert('fired', '{"id": 1, "v": 2}', on_conflict => 'report');
TABLE fired;
SET client_min_messages = warning;
DROP SCHEMA insert_triggers CASCADE;
