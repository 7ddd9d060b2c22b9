-- Payloads that the server refuses: on_error => 'report' and 'quarantine'.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA reject;
SET search_path = reject, public;
CREATE TABLE customers (id int PRIMARY KEY);
INSERT INTO customers SELECT generate_series(1, 9);
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE orders (
    id       int PRIMARY KEY,
    code     varchar(4) UNIQUE,
    amount   numeric(5,2) CHECK (amount >= 0),
    share    percent,
    customer int NOT NULL DEFAULT 1 REFERENCES customers,
    ratio    int GENERATED ALWAYS AS (100 / NULLIF(share, 99) / (share - 98)) STORED,
    tags     int[]
);

-- Every kind of refusal: when the value is read, when the row goes in, when the statement ends. The others go in.
SELECT ordinal, outcome, stored->'id' AS id, error FROM idempotent_insert_each('orders', '[
    {"id": 1, "code": "a", "amount": 1},
    {"id": 2, "amount": "ten"},
    {"id": 3, "amount": 1000},
    {"id": 4, "code": "abcde"},
    {"id": 5, "share": 101},
    {"id": 6, "tags": [1, "x"]},
    {"id": null},
    {"id": 8, "amount": -1},
    {"id": 9, "customer": null},
    {"id": 10, "customer": 99},
    {"id": 11, "code": "a"},
    {"id": 12, "share": 98},
    {"id": 13, "code": "b", "customer": 9},
    {"id": 1, "code": "a", "amount": 1},
    {"id": 1, "code": "a", "amount": 2}]', on_conflict => 'report', on_error => 'report') ORDER BY ordinal;
SELECT id, code, customer FROM orders ORDER BY id;
SELECT * FROM idempotent.rejections;
-- By default, and asked for, the first error ends the call.
SELECT * FROM idempotent_insert_many('orders', '[{"id": 20}, {"id": 21, "amount": -1}]');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"id": 20}, {"id": 21, "amount": -1}]', on_error => 'error');
:state
SELECT * FROM orders WHERE id >= 20;

-- Counted, and recorded once.
SELECT * FROM idempotent_insert_many('orders', '[{"id": 20}, {"id": 21, "amount": -1}, {"id": 22, "amount": "x"}]', on_error => 'quarantine');
SELECT * FROM idempotent_insert_many('orders', '[{"id": 20}, {"id": 21, "amount": -1}, {"id": 22, "amount": "x"}, {"id": 22, "amount": "x"}]', on_error => 'quarantine');
SELECT target, payload, error, arrived_at IS NOT NULL AS arrived_at, arrived_by = current_user AS arrived_by FROM idempotent.rejections ORDER BY payload->'id';
-- The same payload with another error is another rejection; the language of the message makes no difference.
ALTER TABLE orders ADD CONSTRAINT a_first CHECK (amount <> -1);
SELECT rejected FROM idempotent_insert_many('orders', '[{"id": 21, "amount": -1}]', on_error => 'quarantine');
SELECT payload, error->>'constraint' AS "constraint" FROM idempotent.rejections WHERE payload->'id' = '21' ORDER BY 2;
ALTER TABLE orders DROP CONSTRAINT a_first;
-- What is not in the call's transaction in the end is not recorded.
BEGIN;
SELECT rejected FROM idempotent_insert_many('orders', '[{"id": 23, "amount": -1}]', on_error => 'quarantine');
ROLLBACK;
SELECT * FROM idempotent_insert_many('orders', '[{"id": 20, "code": "z"}, {"id": 23, "amount": -1}]', on_error => 'quarantine');
:state
SELECT count(*) FROM idempotent.rejections;

-- The rows are those that would go in one by one, in the order of their keys: 32 is in the way of nobody once the
-- customer of 31 is known not to exist; of 34 and 35, the first goes in; 30 is refused, and the next with its key goes in.
SELECT ordinal, outcome, stored->'id' AS id, error->>'sqlstate' AS sqlstate FROM idempotent_insert_each('orders', '[
    {"id": 31, "code": "c", "customer": 99},
    {"id": 32, "code": "c"},
    {"id": 33, "amount": -1},
    {"id": 34, "code": "d"},
    {"id": 35, "code": "d"},
    {"id": 30, "amount": -1},
    {"id": 30, "amount": 1},
    {"id": 30, "amount": 1},
    {"id": 30, "amount": 2}]', on_conflict => 'report', on_error => 'report') ORDER BY ordinal;
-- Payloads of several shapes, each of them refused.
SELECT * FROM idempotent_insert_many('orders', '[{"id": 40, "amount": -1}, {"id": 41, "customer": 99}, {"id": 42, "code": "d"}]', on_error => 'report');
SELECT * FROM idempotent_insert_many('orders', '[]', on_error => 'report');
-- Without a key: 23502 if it is said to be the key; else it is another key, or none, for the whole call.
SELECT ordinal, outcome, error FROM idempotent_insert_each('orders', '[{"id": 50}, {"code": "e"}]', key => '{id}', on_error => 'report');
SELECT * FROM idempotent_insert_many('orders', '[{"id": 51}, {"code": "f"}]', on_error => 'report');
:state

-- What is wrong with the call ends it.
SELECT * FROM idempotent_insert_many('orders', '[{"id": 60}, {"id": 61, "amuont": 1}]', on_error => 'report');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"id": 60}, 61]', on_error => 'report');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"id": 60}, {"id": 61, "ratio": 1}]', on_error => 'report');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"id": 60}]', on_error => 'ignore');
:state
SELECT * FROM idempotent_insert_many('orders', '[{"id": 60}]', on_error => NULL);
:state
SELECT * FROM idempotent_insert('orders', '{"id": 60}', on_error => 'report');
:state

-- Errors of triggers: by their SQLSTATE, also one that the server does not know. 23I01 has options of its own.
CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.note = 'seen' THEN RAISE NOTICE 'row % is seen', NEW.id; RETURN NEW; END IF;
    IF NEW.note = 'swallowed' THEN
        BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN RETURN NEW; END;
    END IF;
    IF NEW.note <> 'fine' THEN
        RAISE EXCEPTION USING ERRCODE = NEW.note, MESSAGE = 'no', DETAIL = 'because', COLUMN = 'note', CONSTRAINT = 'mine';
    END IF;
    RETURN NEW;
END $$;
CREATE TABLE judged (id int PRIMARY KEY, note text);
CREATE TRIGGER judge BEFORE INSERT ON judged FOR EACH ROW EXECUTE FUNCTION judge();
SELECT ordinal, outcome, error FROM idempotent_insert_each('judged', '[{"id": 1, "note": "fine"}, {"id": 2, "note": "22ABC"},
    {"id": 3, "note": "23Z99"}, {"id": 4, "note": "swallowed"}, {"id": 5, "note": "23505"}, {"id": 6, "note": "fine"}]', on_error => 'report');
CREATE FUNCTION ends(state text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM idempotent_insert_many('judged', jsonb_build_array('{"id": 10, "note": "fine"}'::jsonb, jsonb_build_object('id', 11, 'note', state)), on_error => 'quarantine');
    RETURN 'it went on';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT state, ends(state) FROM unnest('{23I01,P0001,40001,40P01,55P03,42501,53100,XX000,24000}'::text[]) AS state;
SELECT ends('57014');
:state
SELECT count(*) FROM judged WHERE id >= 10;
-- The same in an AFTER trigger, of the row and of the statement, which tell no row.
DROP TRIGGER judge ON judged;
CREATE TRIGGER judge AFTER INSERT ON judged FOR EACH ROW EXECUTE FUNCTION judge();
SELECT ordinal, outcome, error->>'sqlstate' AS sqlstate FROM idempotent_insert_each('judged', '[{"id": 21, "note": "fine"}, {"id": 22, "note": "22ABC"},
    {"id": 23, "note": "seen"}, {"id": 24, "note": "23505"}, {"id": 25, "note": "fine"}]', on_error => 'report');
SELECT ends('40001');
DROP TRIGGER judge ON judged;
CREATE FUNCTION not_two() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM new_rows) > 2 THEN RAISE check_violation USING MESSAGE = 'too many'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER not_two AFTER INSERT ON judged REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION not_two();
SELECT * FROM idempotent_insert_many('judged', '[{"id": 31}, {"id": 32}, {"id": 33}, {"id": 34}, {"id": 35}]', on_error => 'report');
DROP TRIGGER not_two ON judged;

-- A constraint that is deferred is checked at the end of the transaction: it refuses no payload, but all.
CREATE TABLE later (id int PRIMARY KEY, customer int REFERENCES customers DEFERRABLE INITIALLY DEFERRED, code text UNIQUE DEFERRABLE INITIALLY IMMEDIATE);
SELECT ordinal, outcome, error->>'constraint' AS "constraint" FROM idempotent_insert_each('later', '[{"id": 1, "code": "a"}, {"id": 2, "code": "a"}]', on_error => 'report');
SELECT * FROM idempotent_insert_many('later', '[{"id": 3}, {"id": 4, "customer": 99}]', on_error => 'report');
:state
SELECT * FROM later;

-- Rows of a source: values are refused as INSERT … SELECT assigns them. What the SELECT raises is about no row.
CREATE TABLE arrived (id bigint, code text, amount float8, customer int);
INSERT INTO arrived VALUES (1, 'a', 1, 1), (70, 'g', 1e9, 1), (71, 'toolong', 1, 1), (9999999999, NULL, 1, 1), (72, 'h', 1, 98), (73, 'i', -1, 1), (NULL, 'j', 1, 1), (74, 'k', 2, 2);
SELECT * FROM idempotent_insert_from('orders', 'arrived', on_error => 'quarantine');
SELECT payload, error->>'sqlstate' AS sqlstate, error->>'column' AS "column", error->>'constraint' AS "constraint" FROM idempotent.rejections WHERE payload ? 'customer' ORDER BY payload->>'code';
SELECT id, code FROM orders WHERE id >= 70 ORDER BY id;
CREATE VIEW failing AS SELECT id, 1 / (id - 71) AS amount FROM arrived;
SELECT * FROM idempotent_insert_from('orders', 'failing', on_error => 'report');
:state
SELECT * FROM idempotent_insert_from('orders', 'arrived');
:state

-- A load counts them, from the start and in its batches.
SET client_min_messages = warning;
TRUNCATE orders;
CALL idempotent_load('orders', 'arrived', batch_size => 1, on_error => 'quarantine');
CALL idempotent_load('orders', 'arrived', on_error => 'report');
CALL idempotent_load('orders', 'arrived');
:state
RESET client_min_messages;
SELECT on_error, status, rows_total, rows_done, inserted, duplicates, conflicts, rejected, batches, error FROM idempotent.loads WHERE target = 'reject.orders' ORDER BY load_id;
SELECT count(*) FROM idempotent.rejections WHERE payload ? 'customer';

-- Many rows, many of which are refused, by what is known to be about a row and by what is not; with rows that are stored.
CREATE TABLE big (id int PRIMARY KEY, v int CHECK (v % 7 <> 0), w int REFERENCES customers, note text);
INSERT INTO big SELECT i, 1, 1, '' FROM generate_series(100, 4000, 100) AS i;
CREATE TABLE big_in AS SELECT i AS id, i AS v, CASE WHEN i % 11 = 0 THEN 99 ELSE i % 9 + 1 END AS w, '' AS note FROM generate_series(1, 5000) AS i;
SELECT * FROM idempotent_insert_from('big', 'big_in', on_conflict => 'report', on_error => 'report');
SELECT count(*), count(*) FILTER (WHERE v % 7 = 0 OR id % 11 = 0) AS refused FROM big;
TRUNCATE big;
SELECT * FROM idempotent_insert_from('big', 'big_in', on_error => 'report');
SELECT * FROM idempotent_insert_from('big', 'big_in', on_error => 'report');
TRUNCATE big;
SELECT outcome, error->>'sqlstate' AS sqlstate, count(*), sum(ordinal) FROM idempotent_insert_each('big', (SELECT jsonb_agg(to_jsonb(b)) FROM big_in AS b), on_error => 'report') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) = (SELECT count(*) FROM big_in WHERE v % 7 <> 0 AND id % 11 <> 0) AS all_others FROM big;

-- On a guarded table, and partitions.
SELECT key FROM idempotent_guard('big', ignore => '{note}');
SELECT * FROM idempotent_insert_many('big', '[{"id": 5001, "v": 1}, {"id": 5002, "v": 7}]', on_error => 'report');
CREATE TABLE parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
SELECT ordinal, outcome, error FROM idempotent_insert_each('parted', '[{"id": 1}, {"id": 10}, {"id": 2}]', on_error => 'report');
-- With overriding.
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ref text UNIQUE, v int CHECK (v > 0));
SELECT ordinal, outcome, stored, error->>'constraint' AS "constraint" FROM idempotent_insert_each('made', '[{"id": 5, "ref": "a", "v": 1}, {"id": 6, "ref": "b", "v": 0}]', overriding => 'system', on_error => 'report');

-- Keys that are expressions or of some rows only: a row without a key goes in or is refused as any; so is one whose key
-- cannot be computed.
CREATE TABLE partial (id int, gone boolean NOT NULL DEFAULT false, v int CHECK (v > 0), UNIQUE (id, v));
CREATE UNIQUE INDEX partial_key ON partial ((12 / id)) WHERE NOT gone;
SELECT ordinal, outcome, error->>'sqlstate' AS sqlstate FROM idempotent_insert_each('partial', '[{"id": 1, "gone": false, "v": 1}, {"id": 0, "gone": false, "v": 1},
    {"id": 1, "gone": true, "v": 2}, {"id": 1, "gone": true, "v": 0}, {"id": 1, "gone": true, "v": 2}, {"id": 2, "gone": false, "v": 0}, {"id": 2, "gone": false, "v": 3}]',
    key => '{(12 / id)}', on_error => 'report');
SELECT * FROM partial ORDER BY id, v;
-- A batch under a token has its rejections, and is known by the options.
SELECT * FROM idempotent_insert_from('orders', 'arrived', on_conflict => 'report', on_error => 'report', token => 't');
SELECT * FROM idempotent_insert_from('orders', 'arrived', on_conflict => 'report', on_error => 'report', token => 't');
SELECT * FROM idempotent_insert_from('orders', 'arrived', on_conflict => 'report', token => 't');
:state

-- A retry is no rejection where the payload is stored; a READ ONLY transaction writes no record.
BEGIN READ ONLY;
SELECT * FROM idempotent_insert_many('big', '[{"id": 5001, "v": 1}]', on_error => 'quarantine');
SELECT * FROM idempotent_insert_many('big', '[{"id": 5001, "v": "x"}]', on_error => 'report');
SELECT * FROM idempotent_insert_many('big', '[{"id": 5001, "v": "x"}]', on_error => 'quarantine');
:state
ROLLBACK;

-- Who sees a rejection: as with conflicts. The sender needs no right on the records.
CREATE ROLE reject_sender;
CREATE ROLE reject_reader;
GRANT USAGE ON SCHEMA reject TO reject_sender, reject_reader;
CREATE TABLE secret (id int PRIMARY KEY, code text UNIQUE, v int CHECK (v > 0));
INSERT INTO secret VALUES (1, 'a', 1);
GRANT INSERT, SELECT (id) ON secret TO reject_sender;
SET ROLE reject_sender;
SELECT ordinal, outcome, error FROM idempotent_insert_each('secret', '[{"id": 2, "code": "a", "v": 1}, {"id": 3, "v": 0}]', on_error => 'quarantine');
SELECT count(*) FROM idempotent.rejections WHERE target = 'secret'::regclass;
SELECT count(*) FROM idempotent.rejection_records;
:state
SET ROLE reject_reader;
SELECT count(*) FROM idempotent.rejections;
RESET ROLE;
GRANT SELECT ON secret TO reject_reader;
SET ROLE reject_reader;
SELECT target, payload, error, arrived_by FROM idempotent.rejections ORDER BY payload->'id';
RESET ROLE;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY positive ON secret USING (id > 0);
SET ROLE reject_reader;
SELECT target, payload, error, arrived_by FROM idempotent.rejections;
RESET ROLE;
DROP TABLE secret;
SET ROLE reject_reader;
SELECT count(*) FROM idempotent.rejections;
RESET ROLE;
DELETE FROM idempotent.rejection_records;
SET client_min_messages = warning;
DROP SCHEMA reject CASCADE;
DROP ROLE reject_sender, reject_reader;
