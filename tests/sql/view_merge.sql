-- MERGE into a view: before PostgreSQL 17 no view can be its target; since then one that only inserts is.
\set SHOW_CONTEXT never
CREATE TABLE orders (id int PRIMARY KEY, amount int);
INSERT INTO orders VALUES (1, 10);
SELECT idempotent_view('orders', 'orders_in');
-- A retry that does not look first.
MERGE INTO orders_in USING (VALUES (1, 10), (2, 20)) AS sent (id, amount) ON false WHEN NOT MATCHED THEN INSERT VALUES (sent.id, sent.amount);
SELECT * FROM orders ORDER BY id;
-- One that looks: what is there is not verified, since nothing is inserted.
MERGE INTO orders_in AS o USING (VALUES (1, 11), (3, 30)) AS sent (id, amount) ON o.id = sent.id WHEN NOT MATCHED THEN INSERT VALUES (sent.id, sent.amount);
SELECT * FROM orders ORDER BY id;
-- A conflict, in the quarantine and not.
MERGE INTO orders_in USING (VALUES (1, 11), (4, 40)) AS sent (id, amount) ON false WHEN NOT MATCHED THEN INSERT VALUES (sent.id, sent.amount);
SELECT idempotent_view('orders', 'orders_in', on_conflict => 'quarantine');
MERGE INTO orders_in USING (VALUES (1, 11), (4, 40)) AS sent (id, amount) ON false WHEN NOT MATCHED THEN INSERT VALUES (sent.id, sent.amount);
SELECT * FROM orders ORDER BY id;
SELECT key, differences FROM idempotent.conflicts;
-- One that also updates.
MERGE INTO orders_in AS o USING (VALUES (1, 11)) AS sent (id, amount) ON o.id = sent.id
    WHEN MATCHED THEN UPDATE SET amount = sent.amount WHEN NOT MATCHED THEN INSERT VALUES (sent.id, sent.amount);
SELECT * FROM orders ORDER BY id;
