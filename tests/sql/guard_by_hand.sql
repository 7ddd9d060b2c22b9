\set state '\\echo SQLSTATE :SQLSTATE'
-- A guard is known by a compiled function, not by a text that says the same.
CREATE TABLE t (id int PRIMARY KEY, a int, b int);
SET check_function_bodies = off;
CREATE FUNCTION fake() RETURNS trigger LANGUAGE plpgsql AS 'idempotent_guard_trigger_wrapper';
RESET check_function_bodies;
CREATE TRIGGER fake BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fake();
ALTER TABLE t DISABLE TRIGGER fake;
SELECT key FROM idempotent_guard('t');
:state
-- The error names the column that differs, if it is one.
DO $$
DECLARE
    c text;
    n int;
BEGIN
    INSERT INTO t VALUES (1, 1, 1);
    FOR n IN 1 .. 2 LOOP
        BEGIN
            INSERT INTO t VALUES (1, 2, n);
        EXCEPTION WHEN SQLSTATE '23I01' THEN
            GET STACKED DIAGNOSTICS c = COLUMN_NAME;
            RAISE NOTICE 'column "%"', c;
        END;
    END LOOP;
END $$;
-- A guard with remember must fire on every UPDATE.
CREATE TABLE kept (id int PRIMARY KEY, v int, first jsonb);
CREATE TRIGGER by_hand BEFORE INSERT OR UPDATE ON kept FOR EACH ROW WHEN (NEW.v > 0) EXECUTE FUNCTION idempotent_guard_trigger('remember=first');
INSERT INTO kept VALUES (1, 1);
:state
SELECT problem FROM idempotent.guards WHERE target = 'kept'::regclass;
