-- An attack: a function of the extension's got another owner after a session had found the state in order. Statements over the
-- state run with the rights of the extension's owner, and would run that function. The session looks again.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_mallory;
CREATE ROLE regress_caller;
GRANT USAGE, CREATE ON SCHEMA idempotent TO regress_mallory;
-- The session has found the requests in order.
SET ROLE regress_caller;
SELECT status FROM idempotent_request_begin('a', '{}', ttl => '1 microsecond', lease => '1 microsecond');
SELECT idempotent_purge();
SELECT status FROM idempotent_request_begin('b', '{}', ttl => '1 microsecond', lease => '1 microsecond');
RESET ROLE;
BEGIN;
ALTER FUNCTION idempotent.kept_role_eq(idempotent.kept_role, idempotent.kept_role) OWNER TO regress_mallory;
SET ROLE regress_mallory;
CREATE OR REPLACE FUNCTION idempotent.kept_role_eq(idempotent.kept_role, idempotent.kept_role) RETURNS boolean
    LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'mallory is superuser: %', current_setting('is_superuser'); RETURN true; END $$;
SET ROLE regress_caller;
SELECT idempotent_purge();
:state
ROLLBACK;
-- As it was made.
SET ROLE regress_caller;
SELECT idempotent_purge();
RESET ROLE;
REVOKE ALL ON SCHEMA idempotent FROM regress_mallory;
DROP ROLE regress_mallory, regress_caller;
