-- The guard: which columns it takes by itself, what its options do, and what plain INSERT and COPY become.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
-- Command tags say how many rows went in.
\set QUIET off
CREATE SCHEMA guard;
SET search_path = guard, public;
CREATE TABLE orders (order_id text PRIMARY KEY, amount numeric(10,2), status text DEFAULT 'new', note text, at timestamptz DEFAULT clock_timestamp());
SELECT * FROM idempotent_guard('orders');
SELECT * FROM idempotent.guards;
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;

-- New, duplicate, conflict.
INSERT INTO orders VALUES ('a', 10, 'new', 'x');
INSERT INTO orders VALUES ('a', 10.00, 'new', 'x', '2001-01-01');
INSERT INTO orders (note, order_id, amount) VALUES ('x', 'a', 10.001);
INSERT INTO orders VALUES ('a', 12, 'new', 'x');
:state
INSERT INTO orders VALUES ('a', 12, NULL, 'y');
INSERT INTO orders VALUES ('b', 12, NULL, 'y'), ('a', 10, 'new', 'x'), ('c', 1, 'new', NULL), ('b', 12, NULL, 'y');
-- All of a statement or nothing.
INSERT INTO orders VALUES ('d', 12, 'new', 'x'), ('a', 11, 'new', 'x'), ('e', 1, 'new', 'x');
SELECT order_id, amount, status, note FROM orders ORDER BY 1;
-- RETURNING shows what went in, and nothing else.
INSERT INTO orders VALUES ('d', 4, 'new', 'x'), ('a', 10, 'new', 'x') RETURNING order_id, amount;
INSERT INTO orders VALUES ('d', 4, 'new', 'x'), ('a', 10, 'new', 'x') RETURNING order_id, amount;
-- The error's fields.
DO $$
DECLARE sch text; tab text; col text; con text; typ text; det text; hin text; sta text;
BEGIN
    INSERT INTO guard.orders VALUES ('a', 12, 'new', 'x');
EXCEPTION WHEN integrity_constraint_violation THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME, typ = PG_DATATYPE_NAME, det = PG_EXCEPTION_DETAIL, hin = PG_EXCEPTION_HINT, sta = RETURNED_SQLSTATE;
    RAISE INFO '%: schema %, table %, column %, constraint %, type "%"', sta, sch, tab, col, con, typ;
    RAISE INFO '%', det;
    RAISE INFO '%', hin;
END $$;
DO $$
DECLARE sch text; tab text; col text; con text; sta text; det text;
BEGIN
    INSERT INTO guard.orders VALUES (NULL, 12);
EXCEPTION WHEN not_null_violation THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME, sta = RETURNED_SQLSTATE, det = PG_EXCEPTION_DETAIL;
    RAISE INFO '%: %, %, %, %: %: %', sta, sch, tab, col, con, sqlerrm, det;
END $$;
SET pg_idempotent.show_values = off;
INSERT INTO orders VALUES ('a', 12, 'new', 'z');
RESET pg_idempotent.show_values;
-- Long values are cut.
INSERT INTO orders VALUES ('a', 10, 'new', repeat('lorem ipsum ', 20));

-- COPY.
COPY orders (order_id, amount, note) FROM stdin;
a	10	x
f	6	\N
f	6.0	\N
\.
COPY orders (order_id, amount, note) FROM stdin (FORMAT csv);
a,10,x
f,6,
\.
COPY orders (order_id, amount, note) FROM stdin;
g	7	\N
a	10	y
\.
:state
SELECT count(*) FROM orders WHERE order_id = 'g';

-- INSERT … SELECT, from itself, too.
INSERT INTO orders SELECT * FROM orders;
INSERT INTO orders (order_id, amount) SELECT 's' || n % 5, n % 5 FROM generate_series(0, 19) AS n;
INSERT INTO orders (order_id, amount) SELECT 's' || n % 5, n FROM generate_series(0, 19) AS n;
-- DEFAULT VALUES has no key here.
INSERT INTO orders DEFAULT VALUES;
-- Two INSERTs in one statement: the second judges what the first did.
WITH one AS (INSERT INTO orders (order_id, amount) VALUES ('t', 1) RETURNING order_id),
     two AS (INSERT INTO orders (order_id, amount) VALUES ('t', 1) RETURNING order_id)
SELECT (SELECT count(*) FROM one) + (SELECT count(*) FROM two) AS inserted;
WITH one AS (INSERT INTO orders (order_id, amount) VALUES ('u', 1) RETURNING order_id),
     two AS (INSERT INTO orders (order_id, amount) VALUES ('u', 2) RETURNING order_id)
SELECT (SELECT count(*) FROM one) + (SELECT count(*) FROM two) AS inserted;
-- Prepared statements.
PREPARE put AS INSERT INTO orders (order_id, amount) VALUES ($1, $2);
EXECUTE put('p', 1);
EXECUTE put('p', 1);
EXECUTE put('p', 2);
SELECT * FROM idempotent_guard('orders', ignore => '{amount}') \g /dev/null
EXECUTE put('p', 3);
SELECT idempotent_unguard('orders');
EXECUTE put('p', 3);
SELECT idempotent_unguard('orders');
SELECT * FROM idempotent.guards;
DEALLOCATE put;

-- compare and ignore, and what goes into the trigger.
SELECT key, arbiter, compared, compare, ignore, on_conflict, remember FROM idempotent_guard('orders', compare => '{note, amount}');
INSERT INTO orders VALUES ('a', 10, 'paid', 'x');
INSERT INTO orders VALUES ('a', 10, 'paid', 'y');
SELECT key, arbiter, compared, compare, ignore, on_conflict, remember FROM idempotent_guard('orders', ignore => '{note, at}');
INSERT INTO orders VALUES ('a', 10, 'new', 'y');
INSERT INTO orders VALUES ('a', 10, 'paid', 'y');
-- A clock column is compared if it is asked for.
SELECT key, arbiter, compared, compare, ignore, on_conflict, remember FROM idempotent_guard('orders', compare => '{at}');
INSERT INTO orders VALUES ('z', 1, 'new', 'y', '2024-05-01 12:00Z');
INSERT INTO orders VALUES ('z', 2, 'old', 'z', '2024-05-01 14:00+02');
INSERT INTO orders VALUES ('z', 2, 'old', 'z', '2024-05-01 14:00Z');
-- Everything at once.
ALTER TABLE orders ADD first_seen jsonb;
SELECT key, arbiter, compared, compare, ignore, on_conflict, remember FROM idempotent_guard('orders', '{order_id}', NULL, '{status}', 'quarantine', 'first_seen');
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;
-- The options are replaced, not merged.
SELECT key, arbiter, compared, compare, ignore, on_conflict, remember FROM idempotent_guard('orders');
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;

-- Whether it fires survives that.
ALTER TABLE orders ENABLE ALWAYS TRIGGER zz_idempotent_guard;
SELECT enabled, ignore FROM idempotent_guard('orders', ignore => '{note}');
ALTER TABLE orders ENABLE REPLICA TRIGGER zz_idempotent_guard;
SELECT enabled, ignore FROM idempotent_guard('orders', ignore => '{note, status}');
INSERT INTO orders VALUES ('a', 10, 'new', 'x');
SET session_replication_role = replica;
INSERT INTO orders VALUES ('a', 10, 'new', 'x');
INSERT INTO orders VALUES ('a', 11, 'new', 'x');
ALTER TABLE orders ENABLE TRIGGER zz_idempotent_guard;
INSERT INTO orders VALUES ('a', 10, 'new', 'x');
RESET session_replication_role;
INSERT INTO orders VALUES ('a', 10, 'new', 'x');
ALTER TABLE orders DISABLE TRIGGER zz_idempotent_guard;
SELECT enabled, compared FROM idempotent.guards;
INSERT INTO orders VALUES ('a', 10, 'new', 'x');
-- One that is disabled is enabled by being replaced.
SELECT enabled FROM idempotent_guard('orders');
ALTER TABLE orders DISABLE TRIGGER USER;
INSERT INTO orders VALUES ('a', 10, 'new', 'x');
ALTER TABLE orders ENABLE TRIGGER USER;
INSERT INTO orders VALUES ('a', 10, 'new', 'x');

-- The default key.
CREATE TABLE k1 (id int PRIMARY KEY, code text UNIQUE, v int);
SELECT key, arbiter, compared FROM idempotent_guard('k1');
CREATE TABLE k2 (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code text NOT NULL UNIQUE, v int);
SELECT key, arbiter, compared FROM idempotent_guard('k2');
CREATE TABLE k3 (id serial PRIMARY KEY, code text UNIQUE, v int);
SELECT key, arbiter, compared FROM idempotent_guard('k3');
CREATE TABLE k4 (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, a int, b int, v int, UNIQUE (b, a));
SELECT key, arbiter, compared FROM idempotent_guard('k4');
CREATE TABLE k5 (at timestamptz DEFAULT now(), who text, PRIMARY KEY (who, at), code int UNIQUE);
SELECT key, arbiter, compared FROM idempotent_guard('k5');
-- A constant default makes nothing new, nor one that is computed from one.
CREATE TABLE k6 (tenant int DEFAULT 1, region text DEFAULT lower('EU'), no int, v int DEFAULT 1 + 1, PRIMARY KEY (tenant, region, no));
SELECT key, arbiter, compared FROM idempotent_guard('k6');
CREATE TABLE k7 (id int PRIMARY KEY DEFAULT floor(random() * 1000), code text UNIQUE, v int);
SELECT key, arbiter, compared FROM idempotent_guard('k7');
CREATE TABLE k8 (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v int);
SELECT key, arbiter, compared FROM idempotent_guard('k8');
:state
-- Named, it is taken: clients may provide it.
SELECT key, arbiter, compared FROM idempotent_guard('k8', '{id}');
INSERT INTO k8 VALUES (1, 1), (1, 1);
INSERT INTO k8 VALUES (1, 2);
CREATE TABLE k9 (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, code text UNIQUE, alias text UNIQUE);
SELECT key, arbiter, compared FROM idempotent_guard('k9');
:state
SELECT key, arbiter, compared FROM idempotent_guard('k9', '{alias}');
-- Two indexes on the same columns are one candidate.
CREATE TABLE k10 (a int, b int);
CREATE UNIQUE INDEX k10_one ON k10 (a, b);
CREATE UNIQUE INDEX k10_two ON k10 (b, a) INCLUDE (a);
SELECT key, arbiter, compared FROM idempotent_guard('k10');
SELECT key, arbiter, compared FROM idempotent_guard('k10', '{b, a}');
INSERT INTO k10 VALUES (1, 2), (1, 2), (2, 1);
CREATE TABLE k11 (a int, b int, v int);
SELECT key, arbiter, compared FROM idempotent_guard('k11');
:state
CREATE UNIQUE INDEX k11_partial ON k11 (a) WHERE b > 0;
CREATE UNIQUE INDEX k11_expression ON k11 ((a + b));
ALTER TABLE k11 ADD CONSTRAINT k11_deferrable UNIQUE (b) DEFERRABLE;
SELECT key, arbiter, compared FROM idempotent_guard('k11');
SELECT key, arbiter, compared FROM idempotent_guard('k11', '{b}');
:state
SELECT key, arbiter, compared FROM idempotent_guard('k11', '{v}');
-- A generated column decides nothing, it is not there yet when the guard judges.
CREATE TABLE k12 (a text, b text GENERATED ALWAYS AS (lower(a)) STORED UNIQUE, v int);
SELECT key, arbiter, compared FROM idempotent_guard('k12');
:state
SELECT key, arbiter, compared FROM idempotent_guard('k12', '{b}');
CREATE TABLE k13 (a text PRIMARY KEY, b text GENERATED ALWAYS AS (lower(a)) STORED UNIQUE, v int, w int GENERATED ALWAYS AS (v * 2) STORED);
SELECT key, arbiter, compared FROM idempotent_guard('k13');
INSERT INTO k13 VALUES ('A', DEFAULT, 1), ('A', DEFAULT, 1), ('B', DEFAULT, 2);
INSERT INTO k13 (a, v) VALUES ('A', 2);

-- The default compared set: what the server fills in anew every time is left out.
CREATE SEQUENCE numbers;
CREATE FUNCTION fixed() RETURNS int IMMUTABLE LANGUAGE sql RETURN 7;
CREATE FUNCTION looked_up() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN 7; END';
CREATE FUNCTION anew() RETURNS int VOLATILE LANGUAGE plpgsql AS 'BEGIN RETURN 7; END';
CREATE TABLE c1 (
    id int PRIMARY KEY, plain int, constant int DEFAULT 5, text_constant text DEFAULT 'x', computed int DEFAULT 2 * 3, immutable int DEFAULT fixed(), array_constant int[] DEFAULT '{1,2}',
    null_default int DEFAULT NULL, cast_constant date DEFAULT '2024-01-01'::date,
    identity_always int GENERATED ALWAYS AS IDENTITY, next int DEFAULT nextval('numbers'), now timestamptz DEFAULT now(), clock timestamptz DEFAULT clock_timestamp(), today date DEFAULT CURRENT_DATE,
    moment timestamp DEFAULT LOCALTIMESTAMP, who name DEFAULT CURRENT_USER, random float8 DEFAULT random(), uuid uuid DEFAULT gen_random_uuid(), stable int DEFAULT looked_up(), volatile int DEFAULT anew(),
    generated int GENERATED ALWAYS AS (plain + 1) STORED, "Json" json, point point);
SELECT key, compared FROM idempotent_guard('c1');
-- A domain may have a default of its own.
CREATE DOMAIN stamped AS timestamptz DEFAULT now();
CREATE DOMAIN five AS int DEFAULT 5;
CREATE TABLE c2 (id int PRIMARY KEY, stamp stamped, five five, settled stamped DEFAULT '2024-01-01Z');
SELECT key, compared FROM idempotent_guard('c2');
INSERT INTO c2 (id) VALUES (1), (1);
INSERT INTO c2 (id, five) VALUES (1, 6);
-- A candidate that cannot decide is none.
CREATE TABLE k14 (a text UNIQUE, b text GENERATED ALWAYS AS (lower(a)) STORED UNIQUE);
SELECT key, arbiter, compared FROM idempotent_guard('k14');
-- Nothing to compare: the key alone tells.
CREATE TABLE c3 (id int PRIMARY KEY);
SELECT key, compared, problem FROM idempotent_guard('c3');
INSERT INTO c3 VALUES (1), (1), (2);
SELECT key, compared, problem FROM idempotent_guard('orders', ignore => '{amount, status, note, first_seen}');
INSERT INTO orders (order_id, note) VALUES ('a', 'z'), ('n', 'z');

-- The setting.
SET pg_idempotent.guard = off;
INSERT INTO c3 VALUES (1);
INSERT INTO c3 VALUES (3);
INSERT INTO c3 VALUES (NULL);
BEGIN;
SET LOCAL pg_idempotent.guard = on;
INSERT INTO c3 VALUES (3), (4);
COMMIT;
INSERT INTO c3 VALUES (3);
RESET pg_idempotent.guard;
INSERT INTO c3 VALUES (3);
SELECT count(*) FROM c3;

-- Temporary and unlogged tables, and one with the name of a keyword.
CREATE TEMP TABLE staging (id int PRIMARY KEY, v int) ON COMMIT DELETE ROWS;
SELECT target, key, compared FROM idempotent_guard('staging');
BEGIN;
INSERT INTO staging VALUES (1, 1), (1, 1);
INSERT INTO staging VALUES (1, 1);
SAVEPOINT s;
INSERT INTO staging VALUES (1, 2);
ROLLBACK TO s;
SELECT * FROM staging;
COMMIT;
INSERT INTO staging VALUES (1, 2);
SELECT count(*) FROM idempotent.guards WHERE target = 'staging'::regclass;
DROP TABLE staging;
CREATE UNLOGGED TABLE "select" ("from" int PRIMARY KEY, "where" int);
SELECT target, key, compared FROM idempotent_guard('"select"');
INSERT INTO "select" VALUES (1, 2), (1, 2);
INSERT INTO "select" VALUES (1, 3);
-- Names with capitals, blanks, commas, quotes, percent signs and more.
CREATE TABLE "Odd, ""Table"" %s" (
    "Key, one" int, "key ""two""" text, "É'quals=" int, "a.b" int, " lead" int, "comma," int, "back\slash" int, "gone" int, "%n" int, "select" int,
    PRIMARY KEY ("key ""two""", "Key, one"));
ALTER TABLE "Odd, ""Table"" %s" DROP "gone";
SELECT * FROM idempotent_guard('"Odd, ""Table"" %s"', '{"Key, one","key \"two\""}', NULL, '{"comma,","a.b"}');
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = '"Odd, ""Table"" %s"'::regclass;
INSERT INTO "Odd, ""Table"" %s" VALUES (1, 'x', 3, 4, 5, 6, 7, 8, 9), (1, 'x', 3, 0, 5, 0, 7, 8, 9);
INSERT INTO "Odd, ""Table"" %s" VALUES (1, 'x', 0, 0, 0, 0, 0, 0, 0);
SELECT compare, compared FROM idempotent_guard('"Odd, ""Table"" %s"', NULL, '{"back\\slash"," lead","É''quals=",select,"%n"}');
INSERT INTO "Odd, ""Table"" %s" VALUES (1, 'x', 3, 5, 5, 5, 7, 8, 9);
INSERT INTO "Odd, ""Table"" %s" VALUES (1, 'x', 3, 5, 5, 5, 0, 8, 9);
-- A table in another schema, and one that is renamed, moved, and renamed in its schema.
CREATE SCHEMA "guard Two";
ALTER TABLE k1 SET SCHEMA "guard Two";
ALTER TABLE "guard Two".k1 RENAME TO "K One";
ALTER SCHEMA "guard Two" RENAME TO guard2;
ALTER INDEX guard2.k1_pkey RENAME TO "Pkey";
INSERT INTO guard2."K One" VALUES (1, 'a', 1), (1, 'a', 1);
INSERT INTO guard2."K One" VALUES (1, 'a', 2);
SELECT target, key, arbiter, problem FROM idempotent.guards WHERE target = 'guard2."K One"'::regclass;

-- Columns and indexes that are renamed, dropped and made again.
CREATE TABLE changing (id int PRIMARY KEY, a int, b int, c int);
SELECT key, compared, ignore FROM idempotent_guard('changing', ignore => '{c}');
INSERT INTO changing VALUES (1, 1, 1, 1);
ALTER TABLE changing RENAME a TO aa;
INSERT INTO changing VALUES (1, 1, 1, 1);
ALTER TABLE changing DROP aa;
ALTER TABLE changing ADD d int DEFAULT 4;
INSERT INTO changing VALUES (1, 1, 2);
INSERT INTO changing VALUES (1, 2, 1);
INSERT INTO changing VALUES (1, 1, 1, 5);
SELECT key, compared, ignore, problem FROM idempotent.guards WHERE target = 'changing'::regclass;
ALTER TABLE changing ALTER d TYPE text;
INSERT INTO changing VALUES (1, 1, 1, 5);
INSERT INTO changing VALUES (1, 1, 1, '4');
-- A name in the options is a name: the renamed column is not it.
ALTER TABLE changing RENAME c TO cc;
SELECT key, arbiter, compared, ignore, on_conflict, problem FROM idempotent.guards WHERE target = 'changing'::regclass;
INSERT INTO changing VALUES (1, 1, 1, '4');
:state
INSERT INTO changing VALUES (2, 1, 1, '4');
SELECT key, compared, ignore, problem FROM idempotent_guard('changing', ignore => '{cc}');
INSERT INTO changing VALUES (1, 1, 2, '4');
ALTER TABLE changing RENAME id TO no;
SELECT key, arbiter, compared, problem FROM idempotent.guards WHERE target = 'changing'::regclass;
INSERT INTO changing VALUES (1, 1, 2, '4');
:state
ALTER TABLE changing RENAME no TO id;
ALTER TABLE changing DROP CONSTRAINT changing_pkey;
SELECT key, arbiter, compared, problem FROM idempotent.guards WHERE target = 'changing'::regclass;
INSERT INTO changing VALUES (1, 1, 2, '4');
:state
CREATE UNIQUE INDEX changing_id ON changing (id);
INSERT INTO changing VALUES (1, 1, 2, '4'), (3, 3, 3, 3);
SELECT key, arbiter, compared, problem FROM idempotent.guards WHERE target = 'changing'::regclass;
-- Another unique index later changes nothing: the key is settled.
ALTER TABLE changing ADD code int GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
INSERT INTO changing VALUES (1, 1, 2, '4');
SELECT key, arbiter, compared, problem FROM idempotent.guards WHERE target = 'changing'::regclass;
REINDEX TABLE changing;
CLUSTER changing USING changing_id;
INSERT INTO changing VALUES (1, 1, 2, '4'), (4, 4, 4, 4);
TRUNCATE changing;
INSERT INTO changing VALUES (1, 1, 2, '4'), (4, 4, 4, 4);
DROP TABLE changing;
SELECT count(*) FROM idempotent.guards WHERE target::text LIKE '%changing%';

-- NULL in a key.
CREATE TABLE n1 (a int, b int, v int, UNIQUE (a, b));
SELECT key FROM idempotent_guard('n1');
INSERT INTO n1 VALUES (1, 1, 1), (1, 1, 1);
INSERT INTO n1 VALUES (1, NULL, 1);
:state
INSERT INTO n1 VALUES (2, 2, 2), (NULL, 2, 2);
CREATE TABLE n2 (a int, b int, v int, UNIQUE NULLS NOT DISTINCT (a, b));
SELECT key FROM idempotent_guard('n2');
INSERT INTO n2 VALUES (1, NULL, 1), (1, NULL, 1), (NULL, NULL, NULL), (NULL, 1, 1), (NULL, NULL, NULL);
INSERT INTO n2 VALUES (1, NULL, 2);
INSERT INTO n2 VALUES (NULL, NULL, 2);
SELECT * FROM n2 ORDER BY a, b;

-- Every other error is PostgreSQL's own; the guard comes before those that only an insert obeys.
CREATE TABLE checked (id int PRIMARY KEY, v int NOT NULL CHECK (v > 0), code text UNIQUE, parent int REFERENCES checked);
SELECT key, compared FROM idempotent_guard('checked');
INSERT INTO checked VALUES (1, 1, 'a', NULL), (2, 2, 'b', 1);
INSERT INTO checked VALUES (1, -1, 'a', NULL);
INSERT INTO checked VALUES (3, -1, 'c', NULL);
INSERT INTO checked VALUES (3, NULL, 'c', NULL);
INSERT INTO checked VALUES (3, 3, 'a', NULL);
:state
INSERT INTO checked VALUES (3, 3, 'c', 9);
INSERT INTO checked VALUES (3, 'x', 'c', 9);
INSERT INTO checked VALUES (3, 3, 'c', 1), (3, 3, 'c', 1);

SET client_min_messages = warning;
DROP SCHEMA guard, guard2 CASCADE;
SELECT count(*) FROM idempotent.guards;
