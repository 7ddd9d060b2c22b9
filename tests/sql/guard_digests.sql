\set state '\\echo SQLSTATE :SQLSTATE'
-- No two rows run together in a digest.
CREATE TABLE hashed (id int PRIMARY KEY, a text, b text, first bytea);
SELECT FROM idempotent_guard('hashed', remember => 'first');
INSERT INTO hashed VALUES (1, 'ab', 'c');
INSERT INTO hashed VALUES (1, 'a', 'bc');
:state
-- A value has one digest, compressed or not, moved out of line or not.
CREATE TABLE source AS SELECT 2 AS id, repeat('x', 3000) AS a, (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n) AS b;
SELECT pg_column_size(a) < 1000 AS compressed, pg_relation_size(reltoastrelid) > 0 AS out_of_line FROM source, pg_class WHERE oid = 'source'::regclass;
INSERT INTO hashed SELECT * FROM source;
INSERT INTO hashed SELECT id, a || '', b || '' FROM source;
INSERT INTO hashed SELECT * FROM source;
-- Digests outlive releases: these must never change.
CREATE TABLE golden (id int PRIMARY KEY, n int, t text, m numeric, j jsonb, js json, u uuid, f float8, first bytea);
SELECT FROM idempotent_guard('golden', remember => 'first');
INSERT INTO golden VALUES (1, 1, 'text', 1.50, '{"a": [1]}', '{"a" : 1}', 'd1c5bb4c-6b0c-4bd2-8e1c-000000000001', -0.0), (2, NULL, '', 0, NULL, NULL, NULL, 1.5);
SELECT id, encode(first, 'hex') FROM golden ORDER BY id;
-- Settings of the session change no digest.
CREATE TABLE places (id int PRIMARY KEY, p point, first bytea);
SELECT FROM idempotent_guard('places', remember => 'first');
SET extra_float_digits = 0;
INSERT INTO places VALUES (1, point(0.1::float8 + 0.2::float8, 0));
RESET extra_float_digits;
INSERT INTO places VALUES (1, point(0.1::float8 + 0.2::float8, 0));
-- And no document, as it is read.
CREATE TABLE spans (id int PRIMARY KEY, i interval, m money, d date[], first jsonb);
SELECT FROM idempotent_guard('spans', remember => 'first');
INSERT INTO spans VALUES (1, '-1 year 2 days -03:00', 5.5, '{2013-02-01}');
UPDATE spans SET i = '1 day';
SET intervalstyle = sql_standard;
SET datestyle = 'SQL, DMY';
INSERT INTO spans VALUES (1, make_interval(years => -1, days => 2, hours => -3), 5.5, ARRAY[make_date(2013, 2, 1)]);
:state
RESET ALL;
SELECT first FROM spans;
-- Where the type of a column has changed so that a document cannot be read, the error says which.
CREATE TABLE typed (id int PRIMARY KEY, v text, w int, first jsonb);
SELECT FROM idempotent_guard('typed', remember => 'first');
INSERT INTO typed VALUES (1, 'abc', 1);
ALTER TABLE typed ALTER v TYPE int USING 1;
\set SHOW_CONTEXT always
INSERT INTO typed VALUES (1, 1, 1);
:state
\set SHOW_CONTEXT errors
-- A record in the quarantine names what can be inserted.
CREATE TABLE made (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED);
SELECT FROM idempotent_guard('made', on_conflict => 'quarantine');
INSERT INTO made VALUES (1, 1), (1, 2);
SELECT payload FROM idempotent.conflicts WHERE target = 'made'::regclass;
-- A row that is replicated in without what is remembered keeps it.
CREATE TABLE kept (id int PRIMARY KEY, v int, first jsonb);
SELECT FROM idempotent_guard('kept', remember => 'first');
ALTER TABLE kept ENABLE ALWAYS TRIGGER zz_idempotent_guard;
INSERT INTO kept VALUES (1, 1);
SET session_replication_role = replica;
UPDATE kept SET v = 2, first = NULL;
RESET session_replication_role;
TABLE kept;
