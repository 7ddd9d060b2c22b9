-- Staging tables that are made LIKE the target: what they fill by themselves is no key (and no reason for a conflict), and
-- a merge never changes what the server makes.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA staging;
SET search_path = staging, public;
SET timezone = 'UTC';

-- A primary key that both sides draw from a sequence, and the reference by which the event is known. The same rows come
-- twice, the second time under new numbers.
CREATE TABLE orders (id bigserial PRIMARY KEY, ref text UNIQUE, amount int, at timestamptz DEFAULT '2024-01-01');
CREATE TABLE arrived (LIKE orders INCLUDING ALL);
INSERT INTO arrived (ref, amount) VALUES ('a', 1), ('b', 2);
SELECT * FROM idempotent_insert_from('orders', 'arrived');
TRUNCATE arrived;
INSERT INTO arrived (ref, amount) VALUES ('b', 2), ('a', 1), ('c', 3);
SELECT * FROM idempotent_insert_from('orders', 'arrived');
SET client_min_messages = warning;
CALL idempotent_load('orders', 'arrived', batch_size => 1);
RESET client_min_messages;
SELECT inserted, duplicates, conflicts FROM idempotent.loads ORDER BY load_id DESC LIMIT 1;
SELECT status, key FROM idempotent_reconcile('orders', 'arrived');
SELECT * FROM idempotent_merge('orders', 'arrived');
SELECT id, ref, amount FROM orders ORDER BY id;
-- Another amount under one reference is a conflict; the numbers are none.
UPDATE arrived SET amount = 9 WHERE ref = 'b';
SELECT * FROM idempotent_insert_from('orders', 'arrived');
:state
SELECT * FROM idempotent_insert_from('orders', 'arrived', on_conflict => 'report');
SELECT status, key, differences FROM idempotent_reconcile('orders', 'arrived');
-- Unless they are compared by name.
SELECT * FROM idempotent_insert_from('orders', 'arrived', compare => '{id}');
:state
-- Named as the key, they are the key: these are other rows, until they come again with their numbers.
CREATE TABLE numbered (id bigserial PRIMARY KEY, amount int);
CREATE TABLE numbered_in (LIKE numbered INCLUDING ALL);
INSERT INTO numbered_in (amount) VALUES (1), (2);
SELECT * FROM idempotent_insert_from('numbered', 'numbered_in', key => '{id}');
SELECT * FROM idempotent_insert_from('numbered', 'numbered_in', key => '{id}');
SELECT * FROM idempotent_merge('numbered', 'numbered_in', key => '{id}');
SELECT count(*) FROM idempotent_reconcile('numbered', 'numbered_in', key => '{id}');
SET client_min_messages = warning;
CALL idempotent_load('numbered', 'numbered_in', key => '{id}');
RESET client_min_messages;
SELECT inserted, duplicates, conflicts FROM idempotent.loads ORDER BY load_id DESC LIMIT 1;
-- Not named, there is no key, and the error says why, and how it is taken all the same.
SELECT * FROM idempotent_insert_from('numbered', 'numbered_in');
:state
CALL idempotent_load('numbered', 'numbered_in');
:state
SELECT * FROM idempotent_merge('numbered', 'numbered_in');
:state
SELECT * FROM idempotent_reconcile('numbered', 'numbered_in');
:state

-- Of every kind: an identity, a random value, a function that is volatile, the time, and a domain's default.
CREATE FUNCTION draw() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 7';
CREATE DOMAIN drawn AS uuid DEFAULT gen_random_uuid();
CREATE TABLE kinds (identity int UNIQUE, random uuid UNIQUE, volatile int UNIQUE, "The time" timestamptz UNIQUE, clock timestamptz UNIQUE, domain uuid UNIQUE);
CREATE TABLE s_identity (identity int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE s_random (random uuid DEFAULT gen_random_uuid());
CREATE TABLE s_volatile (volatile int DEFAULT draw() + 1);
CREATE TABLE s_time ("The time" timestamptz DEFAULT now() - interval '1 day');
CREATE TABLE s_clock (clock timestamptz DEFAULT clock_timestamp());
CREATE TABLE s_domain (domain drawn);
SELECT * FROM idempotent_insert_from('kinds', 's_identity');
SELECT * FROM idempotent_insert_from('kinds', 's_random');
SELECT * FROM idempotent_insert_from('kinds', 's_volatile');
SELECT * FROM idempotent_insert_from('kinds', 's_time');
SELECT * FROM idempotent_insert_from('kinds', 's_time', key => '{"The time"}');
SELECT * FROM idempotent_insert_from('kinds', 's_clock');
SELECT * FROM idempotent_insert_from('kinds', 's_domain');
-- A constant, the session's user or settings, and what is computed from other columns are the same when the rows come again.
CREATE TABLE steady (tenant text DEFAULT current_user, region text DEFAULT current_setting('TimeZone'), kind text DEFAULT 'new', code int,
    doubled int GENERATED ALWAYS AS (code * 2) STORED);
CREATE TABLE by_session (tenant text, region text, kind text, code int, doubled int, PRIMARY KEY (tenant, region, kind, doubled));
INSERT INTO steady (code) VALUES (1);
SELECT * FROM idempotent_insert_from('by_session', 'steady');
SELECT * FROM idempotent_insert_from('by_session', 'steady');
-- A view has no defaults of its own, whatever is below it; ALTER VIEW may give it some. A partitioned table has its own.
CREATE VIEW seen AS SELECT * FROM numbered_in;
SELECT * FROM idempotent_insert_from('numbered', 'seen');
ALTER VIEW seen ALTER id SET DEFAULT random();
SELECT * FROM idempotent_insert_from('numbered', 'seen');
CREATE TABLE parts (id bigint DEFAULT nextval('numbered_id_seq'), amount int) PARTITION BY LIST (amount);
SELECT * FROM idempotent_insert_from('numbered', 'parts');
CREATE TABLE "Odd ""name" (LIKE numbered INCLUDING ALL);
SELECT * FROM idempotent_insert_from('numbered', '"Odd ""name"');
-- One column of several that the source fills.
CREATE TABLE pairs (a int, n int, PRIMARY KEY (a, n));
CREATE TABLE pairs_in (a int, n serial);
SELECT * FROM idempotent_insert_from('pairs', 'pairs_in');
-- Where it is not only the default that is in the way, the error is as before.
CREATE TABLE none_in (v int);
CREATE TABLE none (id serial PRIMARY KEY, v int);
SELECT * FROM idempotent_insert_from('none', 'none_in');
CALL idempotent_load('none', 'none_in');
SELECT * FROM idempotent_merge('none', 'none_in');
SELECT * FROM idempotent_reconcile('none', 'none_in');
SELECT * FROM idempotent_repair('none', 'none_in');
CREATE TABLE triples (a int, n int, v int, PRIMARY KEY (a, n));
SELECT * FROM idempotent_insert_from('triples', 'none_in');
CREATE TABLE n_in (n serial, v int);
SELECT * FROM idempotent_insert_from('triples', 'n_in');
CREATE TABLE numbers (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);
SELECT * FROM idempotent_insert_from('numbers', 'none_in');
-- Nor is a column in the way that the source may leave to its default.
CREATE TABLE tenants (tenant text DEFAULT current_user, n int, v int, PRIMARY KEY (tenant, n));
SELECT * FROM idempotent_insert_from('tenants', 'n_in');
SELECT * FROM idempotent_insert_from('tenants', 'n_in', key => '{tenant, n}');
-- Where several others fit, it is between them.
CREATE TABLE several (id serial PRIMARY KEY, a int UNIQUE, b int UNIQUE);
CREATE TABLE several_in (LIKE several INCLUDING ALL);
SELECT * FROM idempotent_insert_from('several', 'several_in');
-- A number that only the source draws is a value for the target, and compared.
CREATE TABLE plain (ref text PRIMARY KEY, n int);
CREATE TABLE plain_in (ref text, n serial);
INSERT INTO plain_in (ref) VALUES ('a');
SELECT * FROM idempotent_insert_from('plain', 'plain_in');
UPDATE plain_in SET n = 2;
SELECT * FROM idempotent_insert_from('plain', 'plain_in');

-- A merge by the reference leaves the stored numbers alone, to which others refer. So it does with all that the server
-- makes; what has a constant or the time for a default is brought.
CREATE TABLE customers (
    id      bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    ref     text UNIQUE,
    serial  serial,
    token   uuid DEFAULT gen_random_uuid(),
    name    text DEFAULT 'unknown',
    city    text,
    label   text GENERATED ALWAYS AS (ref || ':' || city) STORED,
    updated timestamptz DEFAULT now()
);
CREATE TABLE accounts (customer bigint REFERENCES customers (id));
INSERT INTO customers (id, ref, serial, token, name, city, updated) VALUES (100, 'a', 100, '00000000-0000-0000-0000-000000000100', 'Ann', 'Ulm', '2024-01-01');
INSERT INTO accounts VALUES (100);
CREATE TABLE customers_in (LIKE customers INCLUDING DEFAULTS INCLUDING IDENTITY);
ALTER TABLE customers_in DROP label;
INSERT INTO customers_in (ref, name, city, updated) VALUES ('a', 'Ann', 'Bonn', '2024-02-01'), ('b', 'Ben', 'Bonn', '2024-02-01');
SELECT * FROM idempotent_merge('customers', 'customers_in', key => '{ref}', latest_by => '{updated}');
SELECT id, ref, serial, token IS DISTINCT FROM '00000000-0000-0000-0000-000000000100' AS new_token, name, city, label, updated FROM customers ORDER BY ref;
-- Staged again, under new numbers: nothing to do, and nothing is written.
CREATE TABLE places AS SELECT ctid AS place, xmin::text AS writer FROM customers;
UPDATE customers_in SET id = id + 50, serial = serial + 50, token = gen_random_uuid();
SELECT * FROM idempotent_merge('customers', 'customers_in', key => '{ref}');
SELECT * FROM idempotent_merge('customers', 'customers_in', latest_by => '{updated}');
SELECT count(*) AS untouched FROM customers c JOIN places p ON c.ctid = p.place AND c.xmin::text = p.writer;
-- Whoever may not update what is never updated may merge all the same.
CREATE ROLE staging_clerk;
GRANT USAGE ON SCHEMA staging TO staging_clerk;
GRANT SELECT, INSERT, UPDATE (name, city, updated) ON customers TO staging_clerk;
GRANT SELECT ON customers_in TO staging_clerk;
UPDATE customers_in SET city = 'Kiel';
SET ROLE staging_clerk;
SELECT * FROM idempotent_merge('customers', 'customers_in', key => '{ref}');
RESET ROLE;
-- Named where only what changes has a place: errors.
SELECT * FROM idempotent_merge('customers', 'customers_in', key => '{ref}', compare => '{city, token}');
:state
SELECT * FROM idempotent_merge('customers', 'customers_in', key => '{ref}', latest_by => '{id}');
:state
-- With ignore, it does no harm. In the key, it is the key.
SELECT * FROM idempotent_merge('customers', 'customers_in', key => '{ref}', ignore => '{id}');
SELECT * FROM idempotent_merge('customers', 'customers_in', key => '{id}', insert_only => '{ref}', ignore => '{serial}');
:state

-- insert_only: written when a row goes in, neither compared nor changed afterwards.
CREATE TABLE items (id int PRIMARY KEY, created_at timestamptz, created_by text, price numeric);
CREATE TABLE items_in (id int, created_at timestamptz, created_by text, price numeric);
INSERT INTO items VALUES (1, '2024-01-01', 'ann', 10), (2, '2024-01-01', 'ann', 20);
INSERT INTO items_in VALUES (1, '2024-05-01', 'ben', 10.0), (2, '2024-05-01', NULL, 21), (3, '2024-05-01', 'ben', 30);
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{created_at, created_by}');
SELECT * FROM items ORDER BY id;
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{created_by, created_at}');
-- Of two rows of the source under one key, the one that is later in the others goes in; equal ones do not differ in these.
TRUNCATE items, items_in;
INSERT INTO items_in VALUES (1, '2024-05-01', 'ben', 10), (1, '2024-06-01', 'cid', 10), (2, '2024-07-01', 'ann', 5), (2, '2024-06-01', 'ben', 6);
SELECT * FROM idempotent_merge('items', 'items_in', latest_by => '{price}', insert_only => '{created_at, created_by}');
SELECT * FROM items ORDER BY id;
DELETE FROM items_in WHERE id = 2;
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{created_at, created_by}');
-- A column that the source does not have, or that is ignored as well, may be named.
CREATE VIEW prices AS SELECT id, price + 1 AS price FROM items_in;
SELECT * FROM idempotent_merge('items', 'prices', insert_only => '{created_at}', ignore => '{created_by}');
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{created_at}', ignore => '{created_at, created_by}');
SELECT * FROM items ORDER BY id;
-- All of them: rows go in, and are never changed.
SELECT * FROM idempotent_merge('items', 'prices', insert_only => '{price}');
SELECT * FROM items ORDER BY id;
-- Errors.
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{id}');
:state
SELECT * FROM idempotent_merge('items', 'items_in', latest_by => '{created_at}', insert_only => '{created_at}');
:state
SELECT * FROM idempotent_merge('items', 'items_in', compare => '{price, created_at}', insert_only => '{created_at}');
:state
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{create_at}');
:state
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{created_at, created_at}');
:state
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{}');
:state
SELECT * FROM idempotent_merge('items', 'items_in', insert_only => '{NULL}');
:state

RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA staging CASCADE;
DROP ROLE staging_clerk;
