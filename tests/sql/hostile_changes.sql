-- What a session knows of a table also rests on what is no part of the table: the functions in its defaults, domains, composite
-- types, operator classes. A change of those is heard of as a change of the table is: the session that has known the table says
-- the same as one that has not.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE SCHEMA changing;
SET search_path = changing, public;

-- A volatile default is left out of the comparison; one that becomes stable is compared at once.
CREATE FUNCTION made() RETURNS text LANGUAGE sql VOLATILE AS $$SELECT 'made'$$;
CREATE TABLE t (id int PRIMARY KEY, a text DEFAULT made());
SELECT compared FROM idempotent_guard('t');
INSERT INTO t VALUES (1, 'one');
INSERT INTO t VALUES (1, 'one');
CREATE OR REPLACE FUNCTION made() RETURNS text LANGUAGE sql STABLE AS $$SELECT 'made'$$;
INSERT INTO t VALUES (1, 'another');
SELECT outcome FROM idempotent_insert('t', '{"id": 1, "a": "another"}', on_conflict => 'report');
SELECT compared FROM idempotent.guards WHERE target = 't'::regclass;
-- The other way round.
ALTER FUNCTION made() VOLATILE;
INSERT INTO t VALUES (1, 'another');
SELECT compared FROM idempotent.guards WHERE target = 't'::regclass;
-- Within a transaction, and back with it.
BEGIN;
ALTER FUNCTION made() STABLE;
SAVEPOINT s;
INSERT INTO t VALUES (1, 'another');
ROLLBACK;
INSERT INTO t VALUES (1, 'another');

-- The function of an operator, and one within another call.
CREATE FUNCTION plus(int, int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1 + $2';
CREATE OPERATOR #+# (FUNCTION = plus, LEFTARG = int, RIGHTARG = int);
CREATE TABLE o (id int PRIMARY KEY, a text DEFAULT upper((1 #+# 2)::text));
SELECT compared FROM idempotent_guard('o');
INSERT INTO o VALUES (1, 'one');
INSERT INTO o VALUES (1, 'another');
ALTER FUNCTION plus(int, int) IMMUTABLE;
INSERT INTO o VALUES (1, 'another');

-- The default of a domain.
CREATE DOMAIN text_now AS text DEFAULT clock_timestamp()::text;
CREATE TABLE d (id int PRIMARY KEY, a text_now);
SELECT compared FROM idempotent_guard('d');
INSERT INTO d VALUES (1, 'one');
INSERT INTO d VALUES (1, 'another');
ALTER DOMAIN text_now SET DEFAULT 'fixed';
INSERT INTO d VALUES (1, 'another');
ALTER DOMAIN text_now DROP DEFAULT;
INSERT INTO d VALUES (1, 'another');
ALTER DOMAIN text_now SET DEFAULT clock_timestamp()::text;
INSERT INTO d VALUES (1, 'another');

-- The default of a key's column.
CREATE FUNCTION tenant() RETURNS int LANGUAGE sql STABLE AS 'SELECT 7';
CREATE TABLE k (tenant int DEFAULT tenant(), id int, v int, PRIMARY KEY (tenant, id));
SELECT outcome FROM idempotent_insert('k', '{"id": 1, "v": 1}');
SELECT outcome FROM idempotent_insert('k', '{"id": 1, "v": 1}');
ALTER FUNCTION tenant() VOLATILE;
SELECT outcome FROM idempotent_insert('k', '{"id": 1, "v": 1}');
ALTER FUNCTION tenant() STABLE;
SELECT outcome FROM idempotent_insert('k', '{"id": 1, "v": 1}');

-- An idempotent view.
CREATE FUNCTION amount() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE TABLE v (id int PRIMARY KEY, a int DEFAULT amount());
SELECT idempotent_view('v', 'v_in');
INSERT INTO v_in VALUES (1, 5);
INSERT INTO v_in VALUES (1, 6);
ALTER FUNCTION amount() IMMUTABLE;
INSERT INTO v_in VALUES (1, 6);

-- A composite type that gets a column without equality, and loses it: compared by its bytes, and by its values.
CREATE TYPE pair AS (a numeric, b int);
CREATE TABLE c (id int PRIMARY KEY, p pair);
SELECT compared FROM idempotent_guard('c');
INSERT INTO c VALUES (1, ROW(1.0, 1));
INSERT INTO c VALUES (1, ROW(1.00, 1));
ALTER TYPE pair ADD ATTRIBUTE c point;
INSERT INTO c VALUES (1, ROW(1.0, 1, NULL));
INSERT INTO c VALUES (1, ROW(1.0, 1, '(1,1)'));
ALTER TYPE pair DROP ATTRIBUTE c;
INSERT INTO c VALUES (1, ROW(1.00, 1));

-- An operator class gives an equality to a type that had none, whose values were compared by their bytes.
CREATE TYPE ignoring AS (a int, j json);
CREATE TABLE e (id int PRIMARY KEY, p ignoring);
SELECT compared FROM idempotent_guard('e');
INSERT INTO e VALUES (1, ROW(1, '1'));
INSERT INTO e VALUES (1, ROW(1, '2'));
CREATE FUNCTION same_a(ignoring, ignoring) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT ($1).a = ($2).a';
CREATE FUNCTION order_a(ignoring, ignoring) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp(($1).a, ($2).a)';
CREATE OPERATOR #=# (FUNCTION = same_a, LEFTARG = ignoring, RIGHTARG = ignoring);
CREATE OPERATOR CLASS ignoring_ops DEFAULT FOR TYPE ignoring USING btree AS OPERATOR 3 #=#, FUNCTION 1 order_a(ignoring, ignoring);
INSERT INTO e VALUES (1, ROW(1, '2'));

-- The names of a collation and of an operator class, which statements of ours have.
CREATE COLLATION first_name (provider = libc, locale = 'C');
CREATE OPERATOR CLASS first_ops FOR TYPE text USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 bttextcmp(text, text);
CREATE TABLE n (id text, a int, b int);
CREATE UNIQUE INDEX ON n (lower(id) COLLATE first_name first_ops);
SELECT outcome FROM idempotent_insert('n', '{"id": "x"}', key => '{lower(id)}');
ALTER COLLATION first_name RENAME TO other_name;
SELECT outcome FROM idempotent_insert('n', '{"id": "y", "a": 1}', key => '{lower(id)}');
ALTER OPERATOR CLASS first_ops USING btree RENAME TO other_ops;
SELECT outcome FROM idempotent_insert('n', '{"id": "z", "b": 1}', key => '{lower(id)}');

SET client_min_messages = warning;
DROP SCHEMA changing CASCADE;
