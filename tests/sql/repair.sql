-- idempotent_repair: makes a table equal to another one, and tells what it did.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :SQLSTATE'
CREATE TABLE orders (order_id int PRIMARY KEY, amount numeric(9,2), status text UNIQUE, note text DEFAULT 'none');
CREATE TABLE ledger (order_id int, amount numeric, status text);
INSERT INTO orders VALUES (1, 10, 'a', 'kept'), (2, 20, 'b', 'x'), (3, 30, 'c', 'y'), (5, 50, 'e', 'kept');
INSERT INTO ledger VALUES (1, 10.000, 'a'), (2, 25, 'b'), (4, 40, 'c'), (5, 55, 'x');
-- By default nothing is written, and nothing but SELECT is needed.
BEGIN READ ONLY;
SELECT * FROM idempotent_repair('orders', 'ledger');
COMMIT;
SELECT * FROM idempotent_repair('orders', 'ledger', ignore => '{amount}', "limit" => 1, dry_run => false);
SELECT * FROM idempotent_repair('orders', 'ledger', compare => '{amount}', "limit" => 1, dry_run => false);
-- A value of another unique index is free before it is needed.
SELECT status, key, outcome FROM idempotent_repair('orders', 'ledger', dry_run => false);
SELECT * FROM orders ORDER BY order_id;
SELECT * FROM idempotent_reconcile('orders', 'ledger');
-- There is nothing to do, which also a READ ONLY transaction can.
BEGIN READ ONLY;
SELECT * FROM idempotent_repair('orders', 'ledger', dry_run => false);
COMMIT;
UPDATE ledger SET amount = 11 WHERE order_id = 1;
BEGIN READ ONLY;
SELECT * FROM idempotent_repair('orders', 'ledger', dry_run => false);
:state
ROLLBACK;
-- Only columns that differ are set: a trigger sees which.
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% by %', TG_OP, TG_NAME; RETURN coalesce(NEW, OLD); END $$;
CREATE TRIGGER on_status BEFORE UPDATE OF status ON orders FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER on_amount BEFORE UPDATE OF amount ON orders FOR EACH ROW EXECUTE FUNCTION tell();
SELECT outcome, differences FROM idempotent_repair('orders', 'ledger', dry_run => false);
-- A trigger that suppresses a row.
CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER suppress BEFORE INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION suppress();
INSERT INTO ledger VALUES (9, 9, 'nine');
DELETE FROM ledger WHERE order_id = 2;
SELECT status, outcome FROM idempotent_repair('orders', 'ledger', dry_run => false);
DROP TRIGGER suppress ON orders;
-- Its errors are the server's.
ALTER TABLE orders ADD CHECK (amount < 100);
UPDATE ledger SET amount = 100 WHERE order_id = 4;
SELECT * FROM idempotent_repair('orders', 'ledger', dry_run => false);
:state
CREATE TABLE lines (order_id int REFERENCES orders);
INSERT INTO lines VALUES (2);
SELECT * FROM idempotent_repair('orders', 'ledger', dry_run => false);
:state

-- What the server fills: new rows get the value of the source, stored ones keep theirs, and it is not compared.
CREATE TABLE made (ref text PRIMARY KEY, id bigserial, token uuid DEFAULT gen_random_uuid(), v int, twice int GENERATED ALWAYS AS (v * 2) STORED);
INSERT INTO made (ref, v) VALUES ('a', 1), ('b', 2);
CREATE TABLE made_in AS SELECT ref, id + 100 AS id, v FROM made;
INSERT INTO made_in VALUES ('c', 7, 3);
UPDATE made_in SET v = 20 WHERE ref = 'b';
SELECT status, key, differences, outcome FROM idempotent_repair('made', 'made_in', dry_run => false);
SELECT ref, id, v, twice FROM made ORDER BY ref;
SELECT * FROM idempotent_repair('made', 'made_in', compare => '{id}', dry_run => false);
:state
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY, ref text PRIMARY KEY);
CREATE VIEW numbered_in AS SELECT 7 AS id, 'x'::text AS ref;
SELECT * FROM idempotent_repair('numbered', 'numbered_in', dry_run => false);
:state

-- A guard steps aside; what it remembers stays what arrived first.
CREATE TABLE guarded (id int PRIMARY KEY, v int, first jsonb);
SELECT FROM idempotent_guard('guarded', remember => 'first');
INSERT INTO guarded (id, v) VALUES (1, 1), (2, 2);
CREATE VIEW guarded_in(id, v) AS VALUES (1, 10), (3, 30);
SELECT status, key, outcome FROM idempotent_repair('guarded', 'guarded_in', dry_run => false);
SELECT * FROM guarded ORDER BY id;

-- Keys with NULL, and of the source twice.
CREATE TABLE nullable (a int, b int, v int, UNIQUE (a, b));
INSERT INTO nullable VALUES (1, NULL, 1), (2, 2, 2);
CREATE VIEW nullable_in(a, b, v) AS VALUES (NULL, 1, 1), (2, 2, 3), (2, 2, 4), (5, 5, 5), (5, 5, 6), (5, 5, 5);
SELECT status, key, stored, expected, outcome FROM idempotent_repair('nullable', 'nullable_in', dry_run => false);
TABLE nullable;
CREATE TABLE nulls_equal (a int, b int, v int, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO nulls_equal VALUES (1, NULL, 1), (2, 2, 2);
SELECT status, key, outcome FROM idempotent_repair('nulls_equal', 'nullable_in', dry_run => false);
TABLE nulls_equal;

-- Partitions; tables that inherit stay as they are.
CREATE TABLE parted (gone int, id int, region text, v int, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
ALTER TABLE parted DROP COLUMN gone;
CREATE TABLE parted_n PARTITION OF parted FOR VALUES IN ('n');
CREATE TABLE parted_s (v int, region text NOT NULL, id int NOT NULL);
ALTER TABLE parted ATTACH PARTITION parted_s FOR VALUES IN ('s');
INSERT INTO parted VALUES (1, 'n', 1), (2, 'n', 2), (1, 's', 3), (2, 's', 4);
CREATE VIEW parts(region, id, v) AS VALUES ('n', 1, 10), ('s', 2, 40), ('n', 3, 60);
SELECT status, key, outcome FROM idempotent_repair('parted', 'parts', dry_run => false);
SELECT tableoid::regclass, * FROM parted ORDER BY region, id;
CREATE TABLE parent (id int PRIMARY KEY, v int);
CREATE TABLE child () INHERITS (parent);
INSERT INTO child VALUES (1, 1);
INSERT INTO parent VALUES (2, 2);
CREATE VIEW family(id, v) AS VALUES (1, 5);
SELECT status, key, outcome FROM idempotent_repair('parent', 'family', dry_run => false);
SELECT tableoid::regclass, * FROM parent;

-- Keys of some rows, and of expressions.
CREATE TABLE soft (email text, v int, gone boolean DEFAULT false);
CREATE UNIQUE INDEX soft_key ON soft (lower(email)) WHERE NOT gone;
INSERT INTO soft VALUES ('A@x', 1, false), ('a@x', 0, true), ('B@x', 2, false), ('c@x', 3, false);
CREATE VIEW soft_in(email, v, gone) AS VALUES ('a@x', 1, false), ('b@x', 20, false), ('d@x', 4, false), ('c@x', 3, true);
SELECT status, key, differences, outcome FROM idempotent_repair('soft', 'soft_in', key => '{lower(email)}', dry_run => false);
SELECT * FROM soft ORDER BY email COLLATE "C";
SELECT status, key FROM idempotent_repair('soft', 'soft_in', key => '{lower(email)}', dry_run => false);

-- Wrong arguments.
SELECT * FROM idempotent_repair(NULL, 'ledger');
:state
SELECT * FROM idempotent_repair('orders', 'ledger', dry_run => NULL);
:state
SELECT * FROM idempotent_repair('orders', 'ledger', "limit" => -1);
:state
SELECT * FROM idempotent_repair('orders', 'ledger', key => '{status}', compare => '{status}');
:state
CREATE TABLE ruled (id int PRIMARY KEY);
CREATE VIEW no_rows AS SELECT 1 AS id WHERE false;
CREATE RULE keep AS ON DELETE TO ruled DO INSTEAD NOTHING;
SELECT * FROM idempotent_repair('ruled', 'no_rows', dry_run => false);
:state

-- Privileges: those of the INSERT, UPDATE and DELETE, though there is nothing to do.
CREATE ROLE regress_pgi_mender;
CREATE TABLE owned (id int PRIMARY KEY, v int, w int);
INSERT INTO owned VALUES (1, 1, 1), (2, 2, 2);
CREATE VIEW owned_in(id, v) AS VALUES (1, 1), (3, 3);
GRANT SELECT ON owned, owned_in TO regress_pgi_mender;
SET ROLE regress_pgi_mender;
SELECT status, key FROM idempotent_repair('owned', 'owned_in');
SELECT * FROM idempotent_repair('owned', 'owned_in', dry_run => false);
:state
RESET ROLE;
GRANT INSERT (id, v), UPDATE (v) ON owned TO regress_pgi_mender;
SET ROLE regress_pgi_mender;
SELECT * FROM idempotent_repair('owned', 'owned_in', dry_run => false);
:state
RESET ROLE;
GRANT DELETE ON owned TO regress_pgi_mender;
CREATE POLICY most ON owned TO regress_pgi_mender USING (id <> 2) WITH CHECK (id <> 4);
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('owned', 'owned_in', dry_run => false);
RESET ROLE;
CREATE OR REPLACE VIEW owned_in(id, v) AS VALUES (1, 1), (3, 3), (4, 4);
SET ROLE regress_pgi_mender;
SELECT status, key, outcome FROM idempotent_repair('owned', 'owned_in', dry_run => false);
:state
RESET ROLE;
TABLE owned;
DROP OWNED BY regress_pgi_mender;
DROP ROLE regress_pgi_mender;

-- A row that was updated has the key of the source's row. A column that the source lacks keeps its value, which may make another key.
CREATE TABLE summed (a int, b int DEFAULT 0, v int);
CREATE UNIQUE INDEX summed_key ON summed ((a + b));
INSERT INTO summed VALUES (1, 2, 7), (4, 0, 4), (6, 0, 6);
CREATE TABLE summed_in (a int, v int);
INSERT INTO summed_in VALUES (3, 8), (4, 5), (6, 6);
SELECT status, key, outcome FROM idempotent_repair('summed', 'summed_in', key => '{a + b}');
SELECT status, key, outcome FROM idempotent_repair('summed', 'summed_in', key => '{a + b}', dry_run => false);
:state
SELECT status, key, outcome FROM idempotent_repair('summed', 'summed_in', key => '{a + b}', ignore => '{a}', dry_run => false);
ALTER TABLE summed_in ADD b int DEFAULT 0;
SELECT status, key, outcome FROM idempotent_repair('summed', 'summed_in', key => '{a + b}', compare => '{a}', dry_run => false);
:state
SELECT status, key, outcome FROM idempotent_repair('summed', 'summed_in', key => '{a + b}', dry_run => false);
SELECT * FROM summed ORDER BY v;
SELECT count(*) FROM idempotent_reconcile('summed', 'summed_in', key => '{a + b}');
CREATE TABLE above (k int, x int, y int DEFAULT 0);
CREATE UNIQUE INDEX above_key ON above (k) WHERE x > y;
INSERT INTO above VALUES (1, 10, 5);
CREATE VIEW above_in(k, x) AS VALUES (1, 3);
SELECT status, key, outcome FROM idempotent_repair('above', 'above_in', key => '{k}', dry_run => false);
:state
CREATE TABLE made_key (a int, b int DEFAULT 0, k int GENERATED ALWAYS AS (a + b) STORED PRIMARY KEY, v int);
INSERT INTO made_key VALUES (1, 2, DEFAULT, 7);
CREATE VIEW made_key_in(a, k, v) AS VALUES (3, 3, 8);
SELECT status, key, outcome FROM idempotent_repair('made_key', 'made_key_in', key => '{k}', dry_run => false);
:state
CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := NEW.id + 100; RETURN NEW; END $$;
CREATE TABLE moved (id int PRIMARY KEY, v int);
INSERT INTO moved VALUES (1, 1), (2, 2);
CREATE TRIGGER move BEFORE UPDATE ON moved FOR EACH ROW EXECUTE FUNCTION move();
CREATE VIEW moved_in(id, v) AS VALUES (1, 1), (2, 3);
SELECT status, key, outcome FROM idempotent_repair('moved', 'moved_in', dry_run => false);
:state
TABLE moved;
-- A NULL in a key in which NULL equals NULL.
CREATE TABLE nulls_kept (a int, b int, v int, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO nulls_kept VALUES (NULL, NULL, 1), (1, NULL, 1);
CREATE VIEW nulls_kept_in(a, b, v) AS VALUES (NULL::int, NULL::int, 2), (1, NULL, 2);
SELECT status, key, outcome FROM idempotent_repair('nulls_kept', 'nulls_kept_in', dry_run => false);

-- Each row may differ in other columns.
SELECT format('CREATE TABLE varied (id int PRIMARY KEY, %s)', string_agg('c' || i || ' int DEFAULT 0', ', ')) FROM generate_series(0, 9) AS i \gexec
INSERT INTO varied SELECT generate_series(1, 1000);
CREATE TABLE varied_in AS TABLE varied;
SELECT format('UPDATE varied_in SET %s', string_agg(format('c%s = id >> %1$s & 1', i), ', ')) FROM generate_series(0, 9) AS i \gexec
SELECT status, outcome, count(*), count(DISTINCT differences) FROM idempotent_repair('varied', 'varied_in', dry_run => false) GROUP BY 1, 2;
SELECT count(*) FROM idempotent_reconcile('varied', 'varied_in');
