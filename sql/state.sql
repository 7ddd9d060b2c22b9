-- The schema of everything that is not a function.
CREATE SCHEMA idempotent;
COMMENT ON SCHEMA idempotent IS
    'pg_idempotent: state and views';
GRANT USAGE ON SCHEMA idempotent TO PUBLIC;
