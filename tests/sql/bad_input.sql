-- Bad input is refused by a plain sentence with the right SQLSTATE, and changes nothing.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA bad;
SET search_path = bad, public;
CREATE TABLE orders (order_id int PRIMARY KEY, amount numeric(12,2), status text, "Customer Name" text, shipped date);

-- A payload that is no object.
SELECT * FROM idempotent_insert('orders', '[]');
:state
SELECT * FROM idempotent_insert('orders', '[{"order_id": 1}]');
:state
SELECT * FROM idempotent_insert('orders', '5');
:state
SELECT * FROM idempotent_insert('orders', '"x"');
:state
SELECT * FROM idempotent_insert('orders', 'true');
:state
SELECT * FROM idempotent_insert('orders', 'null');
:state
-- Payloads that are no array, or hold something else than objects; the ordinal is named.
SELECT * FROM idempotent_insert_many('orders', '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert_many('orders', '5');
:state
SELECT * FROM idempotent_insert_many('orders', 'null');
:state
SELECT * FROM idempotent_insert_each('orders', '"[]"');
:state
\set SHOW_CONTEXT errors
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": 1}, 5]');
:state
SELECT * FROM idempotent_insert_each('orders', '[{"order_id": 1}, {"order_id": 2}, null]');
:state
SELECT * FROM idempotent_insert_each('orders', '[[{"order_id": 1}]]');
:state
\set SHOW_CONTEXT never

-- Nothing to do is not an error.
SELECT * FROM idempotent_insert_many('orders', '[]');
SELECT * FROM idempotent_insert_each('orders', '[]');
SELECT * FROM idempotent_insert_many('orders', '[]', key => '{order_id}', compare => '{amount}', on_conflict => 'quarantine');
CREATE VIEW nothing AS SELECT * FROM orders WHERE false;
SELECT * FROM idempotent_insert_from('orders', 'nothing');
-- But wrong options are, with or without payloads.
SELECT * FROM idempotent_insert_many('orders', '[]', on_conflict => 'nonsense');
:state
SELECT * FROM idempotent_insert_many('orders', '[]', key => '{nope}');
:state
SELECT * FROM idempotent_insert_many('orders', '[]', compare => '{amount}', ignore => '{status}');
:state
SELECT * FROM idempotent_insert_each('pg_stat_activity', '[]');
:state

-- An empty object names no key.
SELECT * FROM idempotent_insert('orders', '{}');
:state
SELECT * FROM idempotent_insert_many('orders', '[{}]');
:state

-- A field that is no column: named, with a hint when a column's name is close.
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amuont": 10}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "Amount": 10}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "customer name": "x"}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "zzzzzzzz": 10}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "": 10}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount ": 10}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "ctid": "(0,1)"}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "tableoid": 1}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "statu\u0073": "x", "stätus": "x"}');
:state
\set SHOW_CONTEXT errors
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": 1}, {"order_id": 2, "amuont": 10}]');
:state
\set SHOW_CONTEXT never
DROP VIEW nothing;
ALTER TABLE orders DROP COLUMN shipped;
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "shipped": "2013-11-03"}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "........pg.dropped.5........": "2013-11-03"}');
:state

-- Ten thousand fields, none of them a column; and one in ten thousand.
DO $$
BEGIN
    PERFORM idempotent_insert('orders', (SELECT jsonb_object_agg('field_' || n, n) FROM generate_series(1, 10000) n));
EXCEPTION WHEN undefined_column THEN
    RAISE INFO '%, %', sqlstate, left(sqlerrm, 60);
END $$;
DO $$
BEGIN
    PERFORM idempotent_insert('orders',
        jsonb_build_object('order_id', 1) || (SELECT jsonb_object_agg('x' || repeat('y', 10000) || n, n) FROM generate_series(1, 100) n));
EXCEPTION WHEN undefined_column THEN
    RAISE INFO '%', sqlstate;
END $$;

-- A wrong type deep in row 700 of a batch: PostgreSQL's own message, the ordinal in CONTEXT.
\set SHOW_CONTEXT errors
SELECT * FROM idempotent_insert_many('orders', (SELECT jsonb_agg(jsonb_build_object(
    'order_id', n, 'amount', CASE WHEN n = 700 THEN 'seven' ELSE n::text END) ORDER BY n) FROM generate_series(1, 1000) n));
:state
SELECT * FROM idempotent_insert_each('orders', (SELECT jsonb_agg(jsonb_build_object(
    'order_id', CASE WHEN n = 700 THEN '{"a": 1}' ELSE to_jsonb(n) END, 'amount', 1) ORDER BY n) FROM generate_series(1, 1000) n));
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": "seven"}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1, "amount": 12345678901.00}');
:state
\set SHOW_CONTEXT never
SELECT * FROM idempotent_insert('orders', '{"order_id": "1.5"}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1e400}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": true}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": [1]}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": ""}');
:state

-- NULL arguments.
SELECT * FROM idempotent_insert(NULL, '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert('orders', NULL);
:state
SELECT * FROM idempotent_insert_many(NULL, '[]');
:state
SELECT * FROM idempotent_insert_many('orders', NULL);
:state
SELECT * FROM idempotent_insert_each(NULL, NULL);
:state
SELECT * FROM idempotent_insert_each('orders', NULL);
:state
SELECT * FROM idempotent_insert_from(NULL, 'orders');
:state
SELECT * FROM idempotent_insert_from('orders', NULL);
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', on_conflict => NULL);
:state
-- NULL for key, compare and ignore means that they are not given.
SELECT outcome FROM idempotent_insert('orders', '{"order_id": 1, "amount": 1}', key => NULL, compare => NULL, ignore => NULL);

-- compare and ignore.
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', compare => '{amount}', ignore => '{status}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', compare => '{order_id}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', ignore => '{amount, order_id}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', compare => '{nope}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', ignore => '{amount, amuont}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', compare => '{ctid}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', compare => '{amount, NULL}');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', ignore => '{NULL}');
:state
SELECT outcome FROM idempotent_insert('orders', '{"order_id": 1, "amount": 2}', compare => '{status}');
SELECT outcome FROM idempotent_insert('orders', '{"order_id": 1, "amount": 2}', compare => '{}');
SELECT outcome FROM idempotent_insert('orders', '{"order_id": 1, "amount": 2}', ignore => '{}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('orders', '{"order_id": 1, "amount": 2}', ignore => '{amount, amount}', on_conflict => 'report');

-- on_conflict.
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', on_conflict => 'ignore');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', on_conflict => 'ERROR');
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', on_conflict => '');
:state

-- Targets that are no tables.
CREATE VIEW a_view AS SELECT * FROM orders;
CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM orders;
CREATE SEQUENCE a_sequence;
CREATE TYPE a_type AS (order_id int);
CREATE INDEX an_index ON orders (status);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE a_foreign_table (order_id int) SERVER nowhere;
SELECT * FROM idempotent_insert('a_view', '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert('a_matview', '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert('a_sequence', '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert('a_type', '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert('an_index', '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert_many('a_view', '[{"order_id": 1}]');
:state
SELECT * FROM idempotent_insert_from('a_view', 'orders');
:state
SELECT * FROM idempotent_insert(0::oid::regclass, '{"order_id": 1}');
:state
SELECT * FROM idempotent_insert(4294967295::oid::regclass, '{"order_id": 1}');
:state
-- Sources.
SELECT * FROM idempotent_insert_from('orders', 'a_sequence');
:state
SELECT * FROM idempotent_insert_from('orders', 'an_index');
:state
SELECT * FROM idempotent_insert_from('orders', 'a_type');
:state
CREATE TABLE stranger (order_id int, colour text);
SELECT * FROM idempotent_insert_from('orders', 'stranger');
:state
CREATE TABLE text_source (order_id text, amount text);
INSERT INTO text_source VALUES ('1', '1');
SELECT * FROM idempotent_insert_from('orders', 'text_source');
:state
CREATE TABLE no_columns ();
SELECT * FROM idempotent_insert_from('orders', 'no_columns');
:state
SELECT * FROM idempotent_insert('no_columns', '{}');
:state
SELECT * FROM idempotent_insert_from('orders', 'orders');
SELECT * FROM idempotent_insert_from('orders', 'a_matview');

-- A BEFORE trigger that suppresses the row leaves nothing that could be verified.
CREATE TABLE suppressed (id int PRIMARY KEY, v int);
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER suppress BEFORE INSERT ON suppressed FOR EACH ROW EXECUTE FUNCTION suppress();
SELECT * FROM idempotent_insert('suppressed', '{"id": 1, "v": 0}');
:state
SELECT * FROM idempotent_insert_many('suppressed', '[{"id": 1, "v": 1}, {"id": 2, "v": 0}]');
:state
SELECT * FROM idempotent_insert_each('suppressed', '[{"id": 2, "v": 0}]', on_conflict => 'report');
:state
SELECT * FROM idempotent_insert('suppressed', '{"id": 1, "v": 1}');
-- A rule that rewrites the insert: the row does not go where it was sent.
CREATE TABLE ruled (id int PRIMARY KEY, v int);
CREATE RULE elsewhere AS ON INSERT TO ruled DO INSTEAD NOTHING;
SELECT * FROM idempotent_insert('ruled', '{"id": 1, "v": 0}');
:state
DROP RULE elsewhere ON ruled;
CREATE RULE also AS ON INSERT TO ruled DO ALSO INSERT INTO suppressed VALUES (NEW.id, 1);
SELECT * FROM idempotent_insert_many('ruled', '[{"id": 1, "v": 0}]');
:state
DROP RULE also ON ruled;
CREATE RULE updates AS ON UPDATE TO ruled DO INSTEAD NOTHING;
SELECT * FROM idempotent_insert('ruled', '{"id": 1, "v": 0}');
:state

-- What is long is cut where an error names it.
SELECT * FROM idempotent_insert('orders', jsonb_build_object(repeat('n', 1000), 1));
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', key => ARRAY[repeat('n', 1000)]);
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', ignore => ARRAY[repeat('n', 1000)]);
:state
SELECT * FROM idempotent_insert('orders', '{"order_id": 1}', on_conflict => repeat('n', 1000));
:state

-- Nothing of all this has been stored.
SELECT * FROM orders;
SELECT * FROM suppressed;
SELECT count(*) FROM idempotent.conflicts;

SET client_min_messages = warning;
DROP SCHEMA bad CASCADE;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
