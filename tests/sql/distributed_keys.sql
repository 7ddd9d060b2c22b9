-- Keys with expressions and conditions, looked for and inserted by the SQL for distributed tables.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA distributed_keys;
SET search_path = distributed_keys, public;
SET pg_idempotent.use_distributed_form = on;

-- A row outside of the condition has no key, and goes in.
CREATE TABLE accounts (tenant int, email varchar(80), name text, deleted_at date);
CREATE UNIQUE INDEX accounts_email ON accounts (tenant, lower(email)) WHERE deleted_at IS NULL;
SELECT ordinal, outcome, stored FROM idempotent_insert_each('accounts', '[
    {"tenant": 2, "email": "B@x", "name": "b"}, {"tenant": 1, "email": "A@x", "name": "a", "deleted_at": null},
    {"tenant": 1, "email": "A@x", "name": "first", "deleted_at": "2020-01-01"}, {"tenant": 1, "email": "A@x", "name": "second", "deleted_at": "2020-01-02"},
    {"tenant": 1, "email": "A@x", "name": "a"}, {"tenant": null, "email": null, "name": "none", "deleted_at": "2020-01-03"}]', key => '{tenant, lower(email::text)}');
SELECT * FROM idempotent_insert_many('accounts', '[{"tenant": 1, "email": "a@X", "name": "a"}, {"tenant": 1, "email": "A@x", "name": "third", "deleted_at": "2020-01-04"}, {"tenant": 3, "email": "a@x", "name": "a"}]', key => '{tenant, lower(email::text)}', ignore => '{email}');
SELECT * FROM idempotent_insert('accounts', '{"tenant": 1, "email": "a@X", "name": "b"}', key => '{tenant, lower(email::text)}');
:state
-- One that is stored outside of it is not found.
INSERT INTO accounts VALUES (5, 'a@x', 'gone', '2020-01-01');
SELECT outcome, stored ->> 'name' AS name FROM idempotent_insert('accounts', '{"tenant": 5, "email": "a@x", "name": "back"}', key => '{tenant, lower(email::text)}');
SELECT * FROM idempotent_insert('accounts', '{"tenant": 1, "email": null}', key => '{tenant, lower(email::text)}');
:state
CREATE TABLE source AS SELECT i % 7 AS tenant, 'Name' || i || '@x' AS email, 'n' AS name, CASE WHEN i % 3 = 0 THEN date '2020-01-01' END AS deleted_at FROM generate_series(1, 1500) AS i;
SELECT * FROM idempotent_insert_from('accounts', 'source', key => '{tenant, lower(email::text)}');
SELECT * FROM idempotent_insert_from('accounts', 'source', key => '{tenant, lower(email::text)}');
SET client_min_messages = warning;
CALL idempotent_load('accounts', 'source', key => '{tenant, lower(email::text)}', batch_size => 400);
RESET client_min_messages;
SELECT count(*), count(DISTINCT (tenant, lower(email))) FROM accounts WHERE deleted_at IS NULL;
-- Rows that are refused are set aside, with a key and without one.
ALTER TABLE accounts ADD CHECK (name <> 'bad');
SELECT ordinal, outcome, error ->> 'sqlstate' AS sqlstate FROM idempotent_insert_each('accounts', '[
    {"tenant": 8, "email": "a@x", "name": "good"}, {"tenant": 8, "email": "b@x", "name": "bad"}, {"tenant": 8, "email": "a@x", "name": "bad", "deleted_at": "2020-01-01"},
    {"tenant": 8, "email": "c@x", "name": "good"}, {"tenant": 8, "email": "a@x", "name": "good", "deleted_at": "2020-01-01"}]', key => '{tenant, lower(email::text)}', on_error => 'report');

-- For a row outside of the condition, the expression fails.
CREATE TABLE documents (kind text, doc jsonb);
CREATE UNIQUE INDEX documents_key ON documents ((CAST(doc ->> 'id' AS int))) WHERE kind = 'order';
INSERT INTO documents VALUES ('note', '{"id": "none"}'), ('order', '{"id": 1}');
SELECT outcome FROM idempotent_insert_each('documents', '[{"kind": "order", "doc": {"id": 1}}, {"kind": "order", "doc": {"id": 2}}, {"kind": "note", "doc": {"id": "other"}}]', key => '{(doc ->> ''id''::text)::integer}');

-- Names of columns that the statement might use itself, a table of such a name, and an expression over the whole row.
CREATE TABLE k (k int, k0 text, kk text, "Kk1" text, t int);
CREATE UNIQUE INDEX k_key ON k (upper("Kk1"), (k + t)) WHERE t > 0 AND k0 <> kk;
SELECT outcome FROM idempotent_insert_each('k', '[{"k": 1, "k0": "a", "kk": "b", "Kk1": "c", "t": 1}, {"k": 1, "k0": "a", "kk": "a", "Kk1": "c", "t": 1}, {"k": 0, "k0": "a", "kk": "b", "Kk1": "C", "t": 2}]', key => '{upper(\"Kk1\"), k + t}', on_conflict => 'report');
SELECT * FROM k ORDER BY t, kk;
CREATE TABLE "Whole" (a text, b text, v int);
CREATE FUNCTION whole("Whole") RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1.a || $1.b $$;
CREATE UNIQUE INDEX whole_key ON "Whole" (whole("Whole"), a) WHERE "Whole" IS NOT NULL;
SELECT outcome FROM idempotent_insert_each('"Whole"', '[{"a": "x", "b": "y", "v": 1}, {"a": "x", "b": "y"}, {"a": "x", "b": "y", "v": 1}, {"a": "x", "b": "y", "v": 2}]', key => '{whole(\"Whole\".*), a}', on_conflict => 'report');

-- NULL is like NULL; the value of an expression may be NULL although its columns are not.
CREATE TABLE nulls (a int NOT NULL, b text NOT NULL, v int);
CREATE UNIQUE INDEX nulls_key ON nulls (a, nullif(b, '')) NULLS NOT DISTINCT;
SELECT outcome FROM idempotent_insert_each('nulls', '[{"a": 1, "b": "", "v": 1}, {"a": 1, "b": "x", "v": 1}]', key => '{a, "NULLIF(b, '''')"}');
SELECT outcome FROM idempotent_insert_each('nulls', '[{"a": 1, "b": "", "v": 1}, {"a": 1, "b": "x", "v": 2}, {"a": 2, "b": "", "v": 1}]', on_conflict => 'report');

-- A collation of its own, and an order of its own.
CREATE TABLE orders (a text, b numeric, v int);
CREATE UNIQUE INDEX orders_key ON orders ((a || '!') COLLATE "C" text_pattern_ops DESC, trim_scale(b));
SELECT outcome FROM idempotent_insert_each('orders', '[{"a": "x", "b": 1.0, "v": 1}, {"a": "y", "b": 1, "v": 1}, {"a": "x", "b": 1.00, "v": 1}, {"a": "X", "b": 1, "v": 1}]');

-- A trigger that changes what the key is computed from, or takes a row out of the condition.
CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.deleted_at := '2020-01-01'; RETURN NEW; END $$;
CREATE TRIGGER moves BEFORE INSERT ON accounts FOR EACH ROW WHEN (NEW.name = 'moved') EXECUTE FUNCTION moves();
SELECT outcome FROM idempotent_insert('accounts', '{"tenant": 9, "email": "a@x", "name": "moved"}', key => '{tenant, lower(email::text)}');
:state
CREATE FUNCTION suppresses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER suppresses BEFORE INSERT ON accounts FOR EACH ROW WHEN (NEW.name = 'suppressed') EXECUTE FUNCTION suppresses();
SELECT * FROM idempotent_insert_many('accounts', '[{"tenant": 9, "email": "a@x", "name": "kept", "deleted_at": "2020-01-01"}, {"tenant": 9, "email": "a@x", "name": "suppressed", "deleted_at": "2020-01-01"}]', key => '{tenant, lower(email::text)}');
:state

-- Constants are read as they were written.
SET standard_conforming_strings = off;
SET escape_string_warning = off;
CREATE TABLE paths (path text, v int);
CREATE UNIQUE INDEX paths_key ON paths (replace(path, E'\\', '/'), replace(path, E'\'\\', E'\''));
SELECT outcome FROM idempotent_insert_each('paths', '[{"path": "a/b", "v": 1}, {"path": "a\\\\b", "v": 1}, {"path": "c", "v": 1}]', on_conflict => 'report');
SET standard_conforming_strings = on;
SELECT outcome FROM idempotent_insert_each('paths', '[{"path": "a/b", "v": 1}, {"path": "a\\b", "v": 1}, {"path": "d", "v": 1}]', on_conflict => 'report');
RESET escape_string_warning;

-- With the rights of the caller, under policies.
CREATE ROLE regress_pgi_keys;
GRANT USAGE ON SCHEMA distributed_keys TO regress_pgi_keys;
CREATE FUNCTION private(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN lower($1); END $$;
REVOKE ALL ON FUNCTION private FROM PUBLIC;
CREATE TABLE held (email text, who text, v int);
CREATE UNIQUE INDEX held_key ON held (private(email));
INSERT INTO held VALUES ('a@x', 'regress_pgi_keys', 1), ('b@x', 'postgres', 1);
GRANT SELECT, INSERT ON held TO regress_pgi_keys;
SET ROLE regress_pgi_keys;
SELECT outcome FROM idempotent_insert('held', '{"email": "a@x", "who": "regress_pgi_keys", "v": 1}');
:state
RESET ROLE;
GRANT EXECUTE ON FUNCTION private TO regress_pgi_keys;
ALTER TABLE held ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON held USING (who = current_user);
SET ROLE regress_pgi_keys;
SELECT outcome FROM idempotent_insert('held', '{"email": "a@x", "who": "regress_pgi_keys", "v": 1}');
SELECT outcome FROM idempotent_insert('held', '{"email": "b@x", "who": "regress_pgi_keys", "v": 1}');
:state
RESET ROLE;

-- What cannot be looked for keeps to this server's own look.
CREATE TYPE pair AS (a int, b int);
CREATE TABLE pairs (p pair, tags text[], v int);
CREATE UNIQUE INDEX pairs_key ON pairs ((p), (tags || '{}'::text[]));
SELECT outcome FROM idempotent_insert_each('pairs', '[{"p": {"a": 1, "b": 2}, "tags": ["a"], "v": 1}, {"p": {"a": 1, "b": 2}, "tags": ["a"], "v": 1}]');
DROP OWNED BY regress_pgi_keys;
DROP ROLE regress_pgi_keys;
SET client_min_messages = warning;
DROP SCHEMA distributed_keys CASCADE;
