-- A key column with an immutable or session default counts as named where a payload leaves it out: the default says what
-- it is, to judge by and to insert. One that the server makes anew for every row does not. (docs/keys.md)
\set VERBOSITY default
\set SHOW_CONTEXT never
\set QUIET off
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
SET client_min_messages = warning;
CREATE SCHEMA session_keys;
SET search_path = session_keys, public;
CREATE FUNCTION uid() RETURNS text STABLE LANGUAGE sql AS $$ SELECT current_setting('app.uid') $$;
CREATE TABLE notes (tenant int DEFAULT current_setting('app.tenant')::int, owner text DEFAULT uid(), kind text DEFAULT 'note', ref int, body text, PRIMARY KEY (tenant, owner, kind, ref));

-- The guard: its own default key.
SELECT key, compared FROM idempotent_guard('notes');
SELECT idempotent_unguard('notes');
CREATE TABLE by_user (who text PRIMARY KEY DEFAULT current_user, v int);
SELECT key FROM idempotent_guard('by_user');
INSERT INTO by_user (v) VALUES (1), (1);
INSERT INTO by_user (v) VALUES (2);
:state
CREATE TABLE by_clock (at timestamptz DEFAULT now(), ref int, PRIMARY KEY (at, ref));
SELECT key FROM idempotent_guard('by_clock');
:state
CREATE TABLE by_ticking (at timestamptz PRIMARY KEY DEFAULT clock_timestamp());
SELECT key FROM idempotent_guard('by_ticking');
:state
CREATE TABLE by_random (id float8 PRIMARY KEY DEFAULT random());
SELECT key FROM idempotent_guard('by_random');
:state

-- Functions.
SET app.tenant = 1;
SET app.uid = 'ann';
SELECT outcome, stored FROM idempotent_insert('notes', '{"ref": 1, "body": "a"}');
SELECT outcome, stored FROM idempotent_insert('notes', '{"ref": 1, "body": "a"}');
SELECT outcome, differences FROM idempotent_insert('notes', '{"ref": 1, "body": "b"}', on_conflict => 'report');
SELECT * FROM idempotent_insert('notes', '{"ref": 1, "body": "b"}');
SELECT outcome, stored FROM idempotent_insert('notes', '{"ref": 1, "body": "b", "owner": "bob"}');
SET app.tenant = 2;
SELECT outcome, stored FROM idempotent_insert('notes', '{"ref": 1, "body": "b"}', key => '{tenant, owner, kind, ref}');
SELECT * FROM idempotent_insert_many('notes', '[{"ref": 1, "body": "b"}, {"ref": 2, "body": "b"}, {"ref": 2, "body": "b"}, {"ref": 1, "body": "a", "tenant": 1}]');
SELECT ordinal, outcome, stored FROM idempotent_insert_each('notes', '[{"ref": 3, "body": "b"}, {"ref": 3, "tenant": 2, "kind": "note"}, {"ref": 3, "owner": "bob"}]');
CREATE TABLE incoming (ref int, body text);
INSERT INTO incoming SELECT n, 'b' FROM generate_series(1, 6) AS n;
SELECT * FROM idempotent_insert_from('notes', 'incoming');
SELECT * FROM idempotent_insert_from('notes', 'incoming');
CALL idempotent_load('notes', 'incoming', batch_size => 2);
SET app.tenant = 3;
CALL idempotent_load('notes', 'incoming', batch_size => 4);
UPDATE incoming SET body = 'c' WHERE ref > 4;
INSERT INTO incoming VALUES (7, 'new');
SELECT * FROM idempotent_merge('notes', 'incoming');
SELECT * FROM idempotent_merge('notes', 'incoming');
SELECT tenant, owner, kind, count(*), string_agg(body, '' ORDER BY ref) FROM notes GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT status, key FROM idempotent_reconcile('notes', 'incoming') WHERE (key ->> 'tenant')::int = 3;
SELECT count(*), min(status), bool_and((key ->> 'tenant')::int <> 3) FROM idempotent_reconcile('notes', 'incoming');
DELETE FROM incoming WHERE ref = 7;
SELECT status, key FROM idempotent_reconcile('notes', 'incoming') WHERE (key ->> 'tenant')::int = 3;

-- Many rows, in the way that many rows go in.
CREATE TABLE many (ref int, body text);
INSERT INTO many SELECT n, 'x' FROM generate_series(1, 6000) AS n;
SET app.tenant = 4;
SELECT * FROM idempotent_insert_from('notes', 'many');
SELECT * FROM idempotent_insert_from('notes', 'many');

-- What cannot be had is an error of its own, as for the INSERT; a default that is NULL names nothing.
RESET app.tenant;
SET app.tenant = '';
SELECT * FROM idempotent_insert('notes', '{"ref": 1, "body": "a"}');
:state
CREATE TABLE nothing (tenant text DEFAULT nullif(current_setting('app.tenant', true), ''), ref int, UNIQUE (tenant, ref));
SELECT * FROM idempotent_insert('nothing', '{"ref": 1}');
:state
-- What is another in every attempt is no key, named or not.
SELECT * FROM idempotent_insert('by_clock', '{"ref": 1}');
:state
SELECT * FROM idempotent_insert('by_clock', '{"ref": 1}', key => '{at, ref}');
:state
SELECT * FROM idempotent_insert('by_ticking', '{}', key => '{at}');
:state
-- Where no primary key fits, an index whose columns are all named goes before one that is completed.
CREATE TABLE two (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ref int UNIQUE, tenant int DEFAULT 1, code int, UNIQUE (tenant, code));
SELECT outcome FROM idempotent_insert_each('two', '[{"ref": 1, "code": 1}, {"ref": 1, "code": 1}]');
SELECT outcome FROM idempotent_insert_each('two', '[{"code": 2}, {"code": 2}, {"code": 2, "tenant": 1}]');

-- The column is left to the default by the INSERT, too: no privilege on it is needed. A quarantined payload has its key.
CREATE ROLE regress_keys;
GRANT USAGE ON SCHEMA session_keys TO regress_keys;
GRANT SELECT, INSERT (ref, body), UPDATE ON notes TO regress_keys;
SET ROLE regress_keys;
SET app.tenant = 5;
SELECT outcome FROM idempotent_insert('notes', '{"ref": 1, "body": "a"}');
SELECT outcome FROM idempotent_insert('notes', '{"ref": 1, "body": "b"}', on_conflict => 'quarantine');
SELECT key, payload FROM idempotent.conflicts;
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts;
SELECT * FROM notes WHERE tenant = 5;
RESET ROLE;

-- With a guard on the same key, and what first arrived remembered.
ALTER TABLE notes ADD seen bytea;
SELECT key, compared FROM idempotent_guard('notes', remember => 'seen');
SET app.tenant = 6;
INSERT INTO notes (ref, body) VALUES (1, 'a'), (1, 'a');
UPDATE notes SET body = 'later' WHERE tenant = 6;
SELECT outcome FROM idempotent_insert('notes', '{"ref": 1, "body": "a"}');
INSERT INTO notes (ref, body) VALUES (1, 'a');
SELECT outcome FROM idempotent_insert('notes', '{"ref": 1, "body": "later"}', on_conflict => 'report');

-- Partitions: by tenant.
CREATE TABLE parted (tenant int DEFAULT current_setting('app.tenant')::int, ref int, body text, PRIMARY KEY (tenant, ref)) PARTITION BY LIST (tenant);
CREATE TABLE parted_6 (body text, ref int NOT NULL, tenant int NOT NULL DEFAULT current_setting('app.tenant')::int);
ALTER TABLE parted ATTACH PARTITION parted_6 FOR VALUES IN (6);
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
SELECT key FROM idempotent_guard('parted');
SELECT outcome FROM idempotent_insert_each('parted', '[{"ref": 1, "body": "a"}, {"ref": 1, "body": "a"}]');
INSERT INTO parted (ref, body) VALUES (1, 'a');
INSERT INTO parted_6 (ref, body) VALUES (1, 'a');
SET app.tenant = 7;
SELECT * FROM idempotent_insert_from('parted', 'incoming');
SELECT * FROM idempotent_merge('parted', 'incoming');
SELECT tableoid::regclass, count(*) FROM parted GROUP BY 1 ORDER BY 1;

RESET search_path;
SET client_min_messages = error;
DROP SCHEMA session_keys CASCADE;
DROP ROLE regress_keys;
DELETE FROM idempotent.conflict_records;
