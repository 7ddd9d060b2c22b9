-- A default that is the time or the transaction in another notation is not what the session is: each attempt gets another
-- value. (docs/keys.md)
\set VERBOSITY default
\set SHOW_CONTEXT never
\set QUIET off
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA clock_texts;
SET search_path = clock_texts, public;

-- Dumps from before PostgreSQL 10 say CURRENT_TIMESTAMP as ('now'::text)::timestamptz. A guard finds no key with it.
CREATE TABLE old (id int, at timestamptz DEFAULT ('now'::text)::timestamptz, v int, PRIMARY KEY (id, at));
SELECT key FROM idempotent_guard('old');
:state
SELECT key FROM idempotent_guard('old', key => '{id, at}');
SELECT severity, rule, message FROM idempotent_lint('old') WHERE rule = 'clock_key';
SELECT outcome FROM idempotent_insert('old', '{"id": 9, "v": 1}');
:state
-- A source that is LIKE the target does not name it.
SELECT idempotent_unguard('old');
CREATE TABLE old_in (LIKE old INCLUDING DEFAULTS);
INSERT INTO old_in (id, v) VALUES (5, 5);
SELECT * FROM idempotent_insert_from('old', 'old_in');
:state

-- Each notation, and what is none. The first column of the key is the default's.
CREATE FUNCTION key_of(type text, expression text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE one (made %s DEFAULT %s, id int, PRIMARY KEY (made, id))', type, expression);
    BEGIN
        RETURN (SELECT key::text FROM idempotent_guard('one'));
    EXCEPTION WHEN invalid_column_reference THEN
        RETURN '-';
    END;
END
$$;
CREATE DOMAIN holiday AS date;
CREATE FUNCTION around_now() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT now()';
CREATE FUNCTION keys() RETURNS TABLE (type text, expression text, key text) LANGUAGE plpgsql AS $$
BEGIN
    FOR type, expression IN VALUES
        ('timestamptz', 'now()'), ('date', '(''now''::text)::date'), ('date', '(''Today''::varchar(9))::date'), ('holiday', '(''tomorrow''::text)::holiday'),
        ('timestamp', '(''now''::text)::timestamp(0)'), ('time', '(''now''::text)::time'), ('timetz', '(''now''::text)::timetz'),
        ('timestamptz', '(''yesterday'' || '' 12:00'')::timestamptz'), ('text', '((''now''::text)::date)::text'),
        ('timestamptz', 'timestamptz_in(''now'', 0, -1)'), ('daterange', '(''[today,tomorrow)''::text)::daterange'), ('date[]', '(''{today}''::text)::date[]'),
        ('interval', 'age(timestamp ''2024-01-01'')'),
        ('bigint', 'txid_current()'), ('xid8', 'pg_current_xact_id()'), ('text', 'pg_current_snapshot()::text'), ('int', 'pg_backend_pid()'),
        ('int', 'inet_client_port()'), ('int', 'pg_my_temp_schema()::int'),
        ('date', '''today''::date'), ('date', '(''2024-01-01''::text)::date'), ('date', 'current_setting(''app.today'')::date'), ('text', '''now''::text'),
        ('text', 'current_user'), ('inet', 'inet_client_addr()'), ('date', 'coalesce(current_setting(''app.day'', true), ''knowing'')::date'),
        ('timestamptz', 'clock_texts.around_now()')
    LOOP
        BEGIN
            key := clock_texts.key_of(type, expression);
            RETURN NEXT;
            RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
        EXCEPTION WHEN SQLSTATE 'UNDO0' THEN
            NULL;
        END;
    END LOOP;
END
$$;
SELECT * FROM keys();

-- Told to use such a key, the guard warns.
CREATE TABLE of_transaction (id int, x bigint DEFAULT txid_current(), v int, PRIMARY KEY (id, x));
SELECT key FROM idempotent_guard('of_transaction', key => '{id, x}');
SELECT severity, rule, message FROM idempotent_lint('of_transaction') WHERE rule LIKE '%key';
SELECT outcome FROM idempotent_insert('of_transaction', '{"id": 1, "v": 1}');
:state

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA clock_texts CASCADE;
