-- The table in which tokens are recorded: nobody has it, but for its owner, and the extension looks at it before it is used.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA tokens_state;
SET search_path = tokens_state, public;
CREATE TABLE sales (id int PRIMARY KEY, amount int);
CREATE TABLE staged (id int, amount int);
INSERT INTO staged VALUES (1, 10), (2, 20);
CREATE ROLE regress_pgi_two;
GRANT USAGE ON SCHEMA tokens_state TO regress_pgi_two;
SELECT replayed FROM idempotent_insert_from('sales', 'staged', token => 'file-1');

-- An error names it.
\set VERBOSITY verbose
SELECT * FROM idempotent_insert_from('sales', 'staged', token => 'file-1', digest => 'd');
\set VERBOSITY default
:state

-- Rights.
SET ROLE regress_pgi_two;
SELECT count(*) FROM idempotent.batch_records;
:state
INSERT INTO idempotent.batch_records (role, target, token, function, options, counts) VALUES ('regress_pgi_two', 'tokens_state.sales', 'forged', 'insert_from', '{}', '{}');
:state
RESET ROLE;

-- It is checked before it is used.
GRANT TRIGGER ON idempotent.batch_records TO regress_pgi_two;
CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'hostile code runs'; RETURN NEW; END $$;
GRANT EXECUTE ON FUNCTION take() TO regress_pgi_two;
SET ROLE regress_pgi_two;
CREATE TRIGGER hostile BEFORE INSERT ON idempotent.batch_records FOR EACH ROW EXECUTE FUNCTION take();
RESET ROLE;
SELECT replayed FROM idempotent_insert_from('sales', 'staged', token => 'watched');
:state
SELECT replayed FROM idempotent_insert_from('sales', 'staged');
DROP TRIGGER hostile ON idempotent.batch_records;
REVOKE TRIGGER ON idempotent.batch_records FROM regress_pgi_two;
SELECT replayed FROM idempotent_insert_from('sales', 'staged', token => 'watched');

SET client_min_messages = warning;
DELETE FROM idempotent.batch_records;
DROP SCHEMA tokens_state CASCADE;
DROP ROLE regress_pgi_two;
