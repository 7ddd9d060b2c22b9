-- A guard that only observes: it tells what it would do, and changes nothing.
\set state '\\echo SQLSTATE :SQLSTATE'
\set SHOW_CONTEXT never
CREATE TABLE orders (order_id text PRIMARY KEY, amount numeric(10,2), status text DEFAULT 'new', placed_at timestamptz DEFAULT now());
SELECT key, arbiter, compared, on_conflict, problem FROM idempotent_guard('orders', on_conflict => 'observe');
SELECT encode(tgargs, 'escape') AS arguments FROM pg_trigger WHERE tgname = 'zz_idempotent_guard';
SET client_min_messages = log;
-- What is new goes in, and there is nothing to tell.
INSERT INTO orders VALUES ('a', 1), ('b', 2), ('c', 3);
-- A duplicate and a conflict fail as without a guard. The server sends the line after the error, and psql shows the two in
-- either order; so the errors are caught here.
CREATE PROCEDURE caught(statement text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE '% %', SQLSTATE, SQLERRM;
END $$;
CALL caught($$INSERT INTO orders VALUES ('a', 1.0)$$);
CALL caught($$INSERT INTO orders VALUES ('d', 4), ('b', 2.5)$$);
CALL caught($$COPY orders (order_id, amount) FROM PROGRAM 'echo e,5; echo c,3' (FORMAT csv)$$);
-- ON CONFLICT does what it does without one.
INSERT INTO orders VALUES ('a', 1), ('f', 6), ('b', 3), ('c', 3) ON CONFLICT DO NOTHING;
INSERT INTO orders VALUES ('a', 7), ('c', 3) ON CONFLICT (order_id) DO UPDATE SET amount = excluded.amount RETURNING order_id, amount, status;
-- What differs is said of the first five.
INSERT INTO orders SELECT 'a', i FROM generate_series(1, 6) AS i ON CONFLICT DO NOTHING;
-- A statement has one line, however many rows it has; so each statement of a function has one.
INSERT INTO orders SELECT CASE WHEN i % 2 = 0 THEN 'a' ELSE 'c' END, 3 FROM generate_series(1, 10000) AS i ON CONFLICT DO NOTHING;
DO $$ BEGIN
    FOR i IN 1..2 LOOP
        INSERT INTO orders SELECT 'c', 3 FROM generate_series(1, 100) ON CONFLICT DO NOTHING;
    END LOOP;
END $$;
-- Rows that the transaction's snapshot does not see are no 40001.
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO orders VALUES ('a', 7) ON CONFLICT DO NOTHING;
COMMIT;
-- Values are shown as in the errors of a guard.
SET pg_idempotent.show_values = off;
INSERT INTO orders VALUES ('a', 8) ON CONFLICT DO NOTHING;
RESET pg_idempotent.show_values;
CREATE ROLE regress_pgi_blind;
GRANT INSERT ON orders TO regress_pgi_blind;
SET ROLE regress_pgi_blind;
CALL caught($$INSERT INTO orders VALUES ('a', 8)$$);
RESET ROLE;
-- Policies are not asked, and so it is not said whether the row agrees.
CREATE POLICY all_in ON orders FOR INSERT WITH CHECK (true);
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
SET ROLE regress_pgi_blind;
CALL caught($$INSERT INTO orders VALUES ('a', 7)$$);
RESET ROLE;
ALTER TABLE orders DISABLE ROW LEVEL SECURITY;
-- MERGE and our functions look for themselves.
MERGE INTO orders USING (VALUES ('a', 9)) AS v(order_id, amount) ON orders.order_id = v.order_id
    WHEN MATCHED THEN UPDATE SET amount = v.amount WHEN NOT MATCHED THEN INSERT (order_id, amount) VALUES (v.order_id, v.amount);
MERGE INTO orders USING (VALUES ('k', 1), ('k', 1)) AS v(order_id, amount) ON orders.order_id = v.order_id
    WHEN NOT MATCHED THEN INSERT (order_id, amount) VALUES (v.order_id, v.amount);
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "a", "amount": 9}');
SELECT outcome, differences FROM idempotent_insert('orders', '{"order_id": "a", "amount": 10}', on_conflict => 'report');
SELECT * FROM idempotent_insert_many('orders', '[{"order_id": "g", "amount": 1}, {"order_id": "g", "amount": 1}]');
-- Off is off.
SET pg_idempotent.guard = off;
INSERT INTO orders VALUES ('a', 9) ON CONFLICT DO NOTHING;
RESET pg_idempotent.guard;
-- A guard that does not fit its table any more fails no statement, nor a function.
SELECT FROM idempotent_guard('orders', ignore => '{status}', on_conflict => 'observe');
ALTER TABLE orders RENAME status TO state;
INSERT INTO orders VALUES ('h', 9), ('a', 9) ON CONFLICT DO NOTHING;
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "h", "amount": 9}');
SELECT problem FROM idempotent.guards;
ALTER TABLE orders RENAME state TO status;
-- An error while rows are compared ends there.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE FUNCTION fails(mood, mood) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'no'; END $$;
CREATE FUNCTION fails_to_order(mood, mood) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'no'; END $$;
CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = fails);
CREATE OPERATOR CLASS fails DEFAULT FOR TYPE mood USING btree AS OPERATOR 3 ===, FUNCTION 1 fails_to_order(mood, mood);
CREATE TABLE feelings (id int PRIMARY KEY, feeling mood);
SELECT FROM idempotent_guard('feelings', on_conflict => 'observe');
INSERT INTO feelings VALUES (1, 'sad');
INSERT INTO feelings VALUES (1, 'happy') ON CONFLICT DO NOTHING;
INSERT INTO feelings VALUES (1, 'happy') ON CONFLICT (id) DO UPDATE SET feeling = excluded.feeling;
SELECT * FROM feelings;
-- A null in the key.
CREATE TABLE items (id int UNIQUE, what text);
SELECT null_key FROM idempotent_guard('items', on_conflict => 'observe');
INSERT INTO items VALUES (NULL, 'x'), (NULL, 'x'), (1, 'x');
SELECT null_key FROM idempotent_guard('items', on_conflict => 'observe', null_key => 'pass');
INSERT INTO items VALUES (NULL, 'x'), (2, 'x');
-- A partitioned table has one line. A row that an UPDATE moves is no payload.
CREATE TABLE events (day int, id int, what text, PRIMARY KEY (day, id)) PARTITION BY LIST (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1);
CREATE TABLE events_2 (what text, id int NOT NULL, day int NOT NULL);
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES IN (2);
SELECT FROM idempotent_guard('events', on_conflict => 'observe');
INSERT INTO events VALUES (1, 1, 'a'), (2, 1, 'b'), (1, 2, 'c');
INSERT INTO events VALUES (1, 1, 'a'), (2, 1, 'x'), (2, 3, 'new') ON CONFLICT DO NOTHING;
UPDATE events SET day = 3 - day WHERE id IN (2, 3);
UPDATE events SET day = 2 WHERE day = 1 AND id = 1;
:state
SELECT * FROM events ORDER BY day, id;
-- What it cannot do is refused.
RESET client_min_messages;
SELECT severity, message, hint FROM idempotent_lint('orders') WHERE rule = 'guard_observes';
SELECT severity, hint FROM idempotent_lint('events_1') WHERE rule = 'guard_observes';
SELECT idempotent_guard('orders', on_conflict => 'observe', remember => 'status');
:state
SELECT idempotent_guard('orders', on_conflict => 'report');
:state
SELECT idempotent_guard('orders', on_conflict => 'watch');
:state
SELECT outcome FROM idempotent_insert('orders', '{"order_id": "a", "amount": 9}', on_conflict => 'observe');
:state
-- From observing to verifying.
SELECT on_conflict FROM idempotent_guard('orders');
INSERT INTO orders VALUES ('a', 9);
INSERT INTO orders VALUES ('a', 8);
:state
DROP TABLE orders, feelings, items, events;
DROP ROLE regress_pgi_blind;
