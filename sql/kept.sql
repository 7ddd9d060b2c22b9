-- Roles and tables in the rows of state: by oid here, by name in dumps. A value whose role or
-- table does not exist names none. src/kept.rs says why, docs/state.md what it means.
CREATE TYPE idempotent.kept_role;
CREATE TYPE idempotent.kept_table;

CREATE FUNCTION idempotent.kept_role_in(value cstring) RETURNS idempotent.kept_role
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_role_in_wrapper';
COMMENT ON FUNCTION idempotent.kept_role_in(cstring) IS 'input of kept_role';

CREATE FUNCTION idempotent.kept_role_out(value idempotent.kept_role) RETURNS cstring
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_role_out_wrapper';
COMMENT ON FUNCTION idempotent.kept_role_out(idempotent.kept_role) IS 'output of kept_role';

CREATE FUNCTION idempotent.kept_role_recv(value internal) RETURNS idempotent.kept_role
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_role_recv_wrapper';
COMMENT ON FUNCTION idempotent.kept_role_recv(internal) IS 'binary input of kept_role: its text';

CREATE FUNCTION idempotent.kept_role_send(value idempotent.kept_role) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_role_send_wrapper';
COMMENT ON FUNCTION idempotent.kept_role_send(idempotent.kept_role) IS 'binary output of kept_role: its text';

CREATE FUNCTION idempotent.kept_table_in(value cstring) RETURNS idempotent.kept_table
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_table_in_wrapper';
COMMENT ON FUNCTION idempotent.kept_table_in(cstring) IS 'input of kept_table';

CREATE FUNCTION idempotent.kept_table_out(value idempotent.kept_table) RETURNS cstring
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_table_out_wrapper';
COMMENT ON FUNCTION idempotent.kept_table_out(idempotent.kept_table) IS 'output of kept_table';

CREATE FUNCTION idempotent.kept_table_recv(value internal) RETURNS idempotent.kept_table
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_table_recv_wrapper';
COMMENT ON FUNCTION idempotent.kept_table_recv(internal) IS 'binary input of kept_table: its text';

CREATE FUNCTION idempotent.kept_table_send(value idempotent.kept_table) RETURNS bytea
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_table_send_wrapper';
COMMENT ON FUNCTION idempotent.kept_table_send(idempotent.kept_table) IS 'binary output of kept_table: its text';

CREATE TYPE idempotent.kept_role (
    INPUT = idempotent.kept_role_in, OUTPUT = idempotent.kept_role_out,
    RECEIVE = idempotent.kept_role_recv, SEND = idempotent.kept_role_send, LIKE = bytea);
COMMENT ON TYPE idempotent.kept_role IS
    'a role, by its name in dumps; (name) if it does not exist';

CREATE TYPE idempotent.kept_table (
    INPUT = idempotent.kept_table_in, OUTPUT = idempotent.kept_table_out,
    RECEIVE = idempotent.kept_table_recv, SEND = idempotent.kept_table_send, LIKE = bytea);
COMMENT ON TYPE idempotent.kept_table IS
    'a table, by its name in dumps; (name) if it does not exist';

-- Compared as the bytes that they are, by operators of their own: with those of bytea, by an
-- implicit cast, a name in quotes would be taken for bytes, and never be equal to anything.
DO $operators$
DECLARE
    kept text;
    operator record;
BEGIN
    FOREACH kept IN ARRAY ARRAY['idempotent.kept_role', 'idempotent.kept_table'] LOOP
        FOR operator IN VALUES ('<', 'lt', '>'), ('<=', 'le', '>='), ('=', 'eq', '='), ('>=', 'ge', '<='), ('>', 'gt', '<')
        LOOP
            EXECUTE pg_catalog.format(
                'CREATE FUNCTION %1$s_%3$s(%1$s, %1$s) RETURNS boolean
                 LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS ''bytea%3$s'';
                 COMMENT ON FUNCTION %1$s_%3$s(%1$s, %1$s) IS ''order of the bytes'';
                 CREATE OPERATOR idempotent.%2$s (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = %1$s_%3$s, COMMUTATOR = OPERATOR(idempotent.%4$s))',
                kept, operator.column1, operator.column2, operator.column3);
        END LOOP;
        EXECUTE pg_catalog.format(
            'CREATE OPERATOR CLASS %1$s_ops DEFAULT FOR TYPE %1$s USING btree AS
                 OPERATOR 1 idempotent.<, OPERATOR 2 idempotent.<=, OPERATOR 3 idempotent.=,
                 OPERATOR 4 idempotent.>=, OPERATOR 5 idempotent.>, FUNCTION 1 (%1$s, %1$s) pg_catalog.byteacmp(bytea, bytea)',
            kept);
    END LOOP;
END
$operators$;

CREATE FUNCTION idempotent.kept_oid(value idempotent.kept_role) RETURNS oid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_oid_wrapper';
COMMENT ON FUNCTION idempotent.kept_oid(idempotent.kept_role) IS
    'the oid of a role; 0 if the value names no role';
CREATE CAST (idempotent.kept_role AS oid)
    WITH FUNCTION idempotent.kept_oid(idempotent.kept_role);

CREATE FUNCTION idempotent.kept_regrole(value idempotent.kept_role) RETURNS regrole
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_oid_wrapper';
COMMENT ON FUNCTION idempotent.kept_regrole(idempotent.kept_role) IS
    'the role; 0 if the value names no role';
CREATE CAST (idempotent.kept_role AS regrole)
    WITH FUNCTION idempotent.kept_regrole(idempotent.kept_role);

CREATE FUNCTION idempotent.kept_oid(value idempotent.kept_table) RETURNS oid
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_oid_wrapper';
COMMENT ON FUNCTION idempotent.kept_oid(idempotent.kept_table) IS
    'the oid of a table; 0 if the value names no table';
CREATE CAST (idempotent.kept_table AS oid)
    WITH FUNCTION idempotent.kept_oid(idempotent.kept_table);

CREATE FUNCTION idempotent.kept_regclass(value idempotent.kept_table) RETURNS regclass
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'kept_oid_wrapper';
COMMENT ON FUNCTION idempotent.kept_regclass(idempotent.kept_table) IS
    'the table; 0 if the value names no table';
CREATE CAST (idempotent.kept_table AS regclass)
    WITH FUNCTION idempotent.kept_regclass(idempotent.kept_table);

CREATE FUNCTION idempotent.kept_trigger() RETURNS trigger
LANGUAGE c VOLATILE
AS 'MODULE_PATHNAME', 'kept_trigger_wrapper';
COMMENT ON FUNCTION idempotent.kept_trigger() IS
    'trigger function of the tables of state: takes roles and tables that the inserter may not name out of the row';

CREATE FUNCTION idempotent.own_role() RETURNS idempotent.kept_role
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'own_role_wrapper';
COMMENT ON FUNCTION idempotent.own_role() IS 'the current user; for the views of state';

-- Its owner restores the database, and has no right to a comment on the extension: the one
-- of the control file would be in every dump.
COMMENT ON EXTENSION pg_idempotent IS NULL;
