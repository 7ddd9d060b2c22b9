-- idempotent_merge into every kind of table, with columns of every kind of type.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA merge_tables;
SET search_path = merge_tables, public;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
CREATE FUNCTION merged(target regclass, source regclass, latest_by text[] DEFAULT NULL, key text[] DEFAULT NULL) RETURNS text
LANGUAGE sql AS $$
    SELECT format('received %s, inserted %s, updated %s, unchanged %s, stale %s, superseded %s', received, inserted, updated, unchanged, stale, superseded)
    FROM idempotent_merge(target, source, key, latest_by)
$$;

-- Partitions of several levels, with other attribute numbers and dropped columns.
CREATE TABLE parts (gone int, region text, no int, at int, v numeric(6,2), PRIMARY KEY (region, no)) PARTITION BY LIST (region);
ALTER TABLE parts DROP COLUMN gone;
CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('de', 'fr') PARTITION BY RANGE (no);
CREATE TABLE parts_eu_low (v numeric(6,2), gone1 int, at int, no int NOT NULL, gone2 text, region text NOT NULL);
ALTER TABLE parts_eu_low DROP COLUMN gone1, DROP COLUMN gone2;
CREATE UNIQUE INDEX "odd name" ON parts_eu_low (region, no);
ALTER TABLE parts_eu ATTACH PARTITION parts_eu_low FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_eu_high PARTITION OF parts_eu FOR VALUES FROM (10) TO (20) PARTITION BY HASH (no);
CREATE TABLE parts_eu_high_0 PARTITION OF parts_eu_high FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_eu_high_1 PARTITION OF parts_eu_high FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us');
-- All at the same place of their tables, and of one transaction.
INSERT INTO parts VALUES ('de', 1, 1, 1), ('fr', 11, 1, 1), ('de', 12, 1, 1), ('us', 1, 1, 1);
CREATE TABLE parts_in (no int, region varchar(8), v float8, at int);
INSERT INTO parts_in VALUES (1, 'de', 2.004, 2), (11, 'fr', 5, 0), (12, 'de', 1, 1), (2, 'us', 7, 1), (13, 'fr', 8, 1), (2, 'us', 6, 2);
SELECT merged('parts', 'parts_in', '{at}');
SELECT tableoid::regclass, * FROM parts ORDER BY region, no;
SELECT merged('parts', 'parts_in', '{at}');
UPDATE parts_in SET at = 9, v = v + 1;
SELECT merged('parts', 'parts_in', '{at}');
SELECT tableoid::regclass, * FROM parts ORDER BY region, no;
-- Only one row of a partition is meant, though others lie at the same place.
CREATE VIEW parts_one AS SELECT 'us' AS region, 1 AS no, 42 AS v;
SELECT merged('parts', 'parts_one');
SELECT region, no, v FROM parts WHERE v = 42;
-- No partition for a row.
CREATE VIEW parts_none AS SELECT 'pl' AS region, 1 AS no;
SELECT merged('parts', 'parts_none');
:state
-- A partition as the target.
SELECT merged('parts_us', 'parts_one');
CREATE VIEW parts_elsewhere AS SELECT 'de' AS region, 1 AS no, 1 AS v;
SELECT merged('parts_us', 'parts_elsewhere');
:state

-- Tables that inherit from the target are tables of their own, also where their rows lie at the same place.
CREATE TABLE parent (id int PRIMARY KEY, v int);
CREATE TABLE child (w int) INHERITS (parent);
BEGIN;
INSERT INTO parent VALUES (1, 1);
INSERT INTO child VALUES (1, 5, 5);
COMMIT;
CREATE VIEW parent_in AS SELECT 1 AS id, 2 AS v;
SELECT merged('parent', 'parent_in');
SELECT tableoid::regclass, id, v FROM parent ORDER BY 1;

-- Quoted names, names that are SQL keywords, and those that the statements use themselves.
CREATE TABLE "Odd ""table" ("Key" int, "select" int, ctid_ int, stored int, "row" int, a0 int, a1 int, "ä ö" text, PRIMARY KEY ("Key", "select"));
INSERT INTO "Odd ""table" VALUES (1, 1, 1, 1, 1, 1, 1, 'x');
CREATE TABLE pg_idempotent_changed AS SELECT * FROM "Odd ""table";
UPDATE pg_idempotent_changed SET stored = 2, "row" = 3, a0 = 4, a1 = 5, "ä ö" = 'y';
SELECT merged('"Odd ""table"', 'pg_idempotent_changed', '{stored,row}');
SELECT * FROM "Odd ""table";
SELECT merged('"Odd ""table"', 'pg_idempotent_changed', '{stored,row}');

-- Dropped columns in the target and in the source.
CREATE TABLE dropped (a int, id int PRIMARY KEY, b int, v int);
ALTER TABLE dropped DROP COLUMN a, DROP COLUMN b;
CREATE TABLE dropped_in (v int, a int, id int);
ALTER TABLE dropped_in DROP COLUMN a;
INSERT INTO dropped_in VALUES (1, 1), (2, 2);
SELECT merged('dropped', 'dropped_in');
UPDATE dropped_in SET v = 5 WHERE id = 2;
SELECT merged('dropped', 'dropped_in');
SELECT * FROM dropped ORDER BY id;
ALTER TABLE dropped ADD COLUMN w int DEFAULT 7;
ALTER TABLE dropped_in ADD COLUMN w int DEFAULT 7;
SELECT merged('dropped', 'dropped_in');
ALTER TABLE dropped DROP COLUMN v;
SELECT merged('dropped', 'dropped_in');
:state
ALTER TABLE dropped_in DROP COLUMN v;
SELECT merged('dropped', 'dropped_in');

-- Types: what is equal is not rewritten, however it is written.
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE types (id int PRIMARY KEY, num numeric, fixed numeric(8,2), code char(4), short varchar(3), d positive, m mood, arr int[], c pair, js json, jb jsonb, b bytea, f float8, iv interval, r int4range);
INSERT INTO types VALUES (1, 1.0, 1.005, 'ab', 'abc', 1, 'ok', '{1,NULL}', '(1,x)', '{"a": 1, "b": 2}', '{"a": 1.0}', '\x00', 'NaN', '1 day', '[1,3)');
CREATE TABLE types_in (id int, num text, fixed numeric, code text, short text, d int, m text, arr bigint[], c pair, js json, jb json, b bytea, f float8, iv interval, r int4range);
ALTER TABLE types_in ALTER num TYPE numeric USING num::numeric, ALTER m TYPE mood USING m::mood, ALTER jb TYPE jsonb;
INSERT INTO types_in VALUES (1, 1.00, 1.0051, 'ab  ', 'abc   ', 1, 'ok', '{1,NULL}', '(1,x)', '{"b":2,"a":1.0}', '{"a": 1}', '\x00', 'NaN', '24 hours', '[1,2]');
SELECT merged('types', 'types_in');
SELECT num, js FROM types;
-- Each type as latest_by: later, stale.
CREATE FUNCTION tried(name text, greater text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TEMP VIEW one AS SELECT 1 AS id, (%L)::%s AS %I', greater, (SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'types'::regclass AND attname = name), name);
    EXECUTE format('CREATE TEMP TABLE least AS SELECT id, %I FROM types', name);
    RETURN format('%s: %s; %s', name, merged('types', 'one', ARRAY[name]), merged('types', 'least', ARRAY[name]));
END $$;
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN VALUES ('num', '1.01'), ('fixed', '1.02'), ('code', 'ac'), ('short', 'b'), ('d', '2'), ('m', 'happy'), ('arr', '{2}'), ('c', '(1,y)'),
        ('js', '{"a": 2, "b": 2}'), ('jb', '{"a": 2}'), ('b', '\x01'), ('iv', '25 hours'), ('r', '[1,4)') LOOP
        RAISE NOTICE '%', tried(t.column1, t.column2);
        DROP VIEW one;
        DROP TABLE least;
    END LOOP;
END $$;
SELECT * FROM types;
-- NaN is the greatest float.
CREATE VIEW infinite AS SELECT 1 AS id, 'Infinity'::float8 AS f;
SELECT merged('types', 'infinite', '{f}');
-- What a domain or a length refuses is PostgreSQL's error.
CREATE VIEW not_positive AS SELECT 1 AS id, 0 AS d;
SELECT merged('types', 'not_positive');
:state
CREATE VIEW too_long AS SELECT 1 AS id, 'abcd' AS short;
SELECT merged('types', 'too_long');
:state

-- Types without an order: equality decides what is written, the bytes break ties, and settings have no part in it.
CREATE TABLE points (id int PRIMARY KEY, at int, place point, txid txid_snapshot);
INSERT INTO points VALUES (1, 1, point(0.3, 0), '1:1:');
CREATE VIEW points_near AS SELECT 1 AS id, 1 AS at, point(0.1::float8 + 0.2::float8, 0) AS place;
CREATE VIEW points_back AS SELECT 1 AS id, 1 AS at, point(0.3, 0) AS place;
SET extra_float_digits = -10;
SELECT merged('points', 'points_near', '{at}'), merged('points', 'points_back', '{at}'), merged('points', 'points_near', '{at}');
RESET extra_float_digits;
SELECT place[0] = 0.1::float8 + 0.2::float8 AS greater_bytes FROM points;
SELECT merged('points', 'points_back');
SELECT merged('points', 'points_back');
CREATE VIEW points_both AS SELECT * FROM points_near UNION ALL SELECT * FROM points_back;
SELECT merged('points', 'points_both', '{place}'), merged('points', 'points_near', '{place}');
CREATE VIEW snapshots AS SELECT 1 AS id, '1:3:2'::txid_snapshot AS txid;
SELECT merged('points', 'snapshots', '{txid}'), merged('points', 'snapshots', '{txid}');

-- A key that is equal but not the same: the stored one stays.
CREATE TABLE amounts (amount numeric PRIMARY KEY, v int);
INSERT INTO amounts VALUES (1.0, 1);
CREATE VIEW amounts_in AS SELECT 1.00 AS amount, 2 AS v UNION ALL SELECT 1.000, 3;
SELECT merged('amounts', 'amounts_in', '{v}');
SELECT * FROM amounts;

-- NULLS NOT DISTINCT keys.
CREATE TABLE nulls (a int, b int, v int, UNIQUE NULLS NOT DISTINCT (a, b));
INSERT INTO nulls VALUES (1, NULL, 1), (NULL, NULL, 1);
CREATE TABLE nulls_in (a int, b int, v int);
INSERT INTO nulls_in VALUES (1, NULL, 2), (NULL, NULL, 3), (NULL, NULL, 2), (NULL, 1, 1), (NULL, 1, 1);
SELECT merged('nulls', 'nulls_in', '{v}');
SELECT merged('nulls', 'nulls_in', '{v}');
SELECT * FROM nulls ORDER BY a, b;

-- Generated and identity columns.
CREATE TABLE made (no int GENERATED ALWAYS AS IDENTITY, code text UNIQUE, qty int, price int, total int GENERATED ALWAYS AS (qty * price) STORED, serial_no serial);
CREATE TABLE made_in (code text, qty int, price int);
INSERT INTO made_in VALUES ('a', 1, 2), ('b', 2, 2);
SELECT merged('made', 'made_in');
UPDATE made_in SET qty = 3 WHERE code = 'a';
SELECT merged('made', 'made_in'), merged('made', 'made_in');
SELECT * FROM made ORDER BY no;
SELECT last_value FROM made_no_seq;
CREATE VIEW made_total AS SELECT 'a' AS code, 1 AS total;
SELECT merged('made', 'made_total');
:state
CREATE VIEW made_no AS SELECT 'c' AS code, 7 AS no;
SELECT merged('made', 'made_no');
:state
CREATE VIEW made_no_old AS SELECT 'a' AS code, 7 AS no;
SELECT merged('made', 'made_no_old');
:state

-- Indexes that cannot decide; a rule; an index that can, beside them.
CREATE TABLE indexes (a int, b int, c int, d int, v int, UNIQUE (a) DEFERRABLE);
CREATE UNIQUE INDEX ON indexes (b) WHERE b > 0;
CREATE UNIQUE INDEX ON indexes ((c + 1));
CREATE VIEW indexes_in AS SELECT 1 AS a, 1 AS b, 1 AS c, 1 AS d, 1 AS v;
SELECT merged('indexes', 'indexes_in');
:state
SELECT merged('indexes', 'indexes_in', key => '{a}');
:state
SELECT merged('indexes', 'indexes_in', key => '{b}');
:state
CREATE UNIQUE INDEX ON indexes (d);
SELECT merged('indexes', 'indexes_in');
CREATE TABLE ruled (id int PRIMARY KEY, v int);
CREATE RULE r AS ON UPDATE TO ruled DO INSTEAD NOTHING;
CREATE VIEW ruled_in AS SELECT 1 AS id, 1 AS v;
SELECT merged('ruled', 'ruled_in');
:state

-- Temporary tables, and unlogged ones.
CREATE TEMP TABLE temporary (id int PRIMARY KEY, v int);
SELECT merged('temporary', 'ruled_in'), merged('temporary', 'ruled_in');
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, v int);
SELECT merged('unlogged', 'ruled_in');
SELECT merged('unlogged', 'temporary');

-- Values out of line.
CREATE TABLE large (id int PRIMARY KEY, at int, body text);
ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
CREATE TABLE large_in AS SELECT g AS id, 1 AS at, repeat(g::text, 10000) AS body FROM generate_series(1, 3) g;
SELECT merged('large', 'large_in'), merged('large', 'large_in');
UPDATE large_in SET body = body || 'x', at = 2 WHERE id = 2;
SELECT merged('large', 'large_in', '{at}');
-- A row that keeps its large value, and a large value that breaks a tie.
UPDATE large_in SET at = 3;
SELECT merged('large', 'large_in', '{at}');
UPDATE large_in SET body = body || 'y' WHERE id = 3;
SELECT merged('large', 'large_in', '{at}');
SELECT id, at, length(body), right(body, 2) FROM large ORDER BY id;

-- More than a thousand rows, and settings that would have the UPDATE planned otherwise.
CREATE TABLE many (id int PRIMARY KEY, v int);
CREATE TABLE many_in AS SELECT g AS id, 1 AS v FROM generate_series(1, 3000) g;
SELECT merged('many', 'many_in'), merged('many', 'many_in');
UPDATE many_in SET v = 2 WHERE id % 2 = 0;
INSERT INTO many_in SELECT g, 1 FROM generate_series(3001, 4500) g;
SET enable_nestloop = off;
SET enable_tidscan = off;
SET enable_indexscan = off;
SET plan_cache_mode = force_generic_plan;
SELECT merged('many', 'many_in');
RESET ALL;
SET search_path = merge_tables, public;
SELECT count(*), sum(v) FROM many;

-- A number that only a partition's default makes, or a trigger, is the source's column like others; insert_only keeps it.
CREATE SEQUENCE numbers;
CREATE TABLE leafy (id int, ref int UNIQUE, v int) PARTITION BY RANGE (ref);
CREATE TABLE leafy_1 PARTITION OF leafy (id DEFAULT nextval('numbers')) DEFAULT;
CREATE TABLE numbered (id int, ref int UNIQUE, v int);
CREATE FUNCTION number_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := coalesce(NEW.id, nextval(''merge_tables.numbers'')); RETURN NEW; END';
CREATE TRIGGER number_it BEFORE INSERT ON numbered FOR EACH ROW EXECUTE FUNCTION number_it();
INSERT INTO leafy_1 (ref, v) VALUES (1, 1);
INSERT INTO numbered (ref, v) VALUES (1, 1);
CREATE VIEW with_ids AS SELECT 77 AS id, 1 AS ref, 2 AS v;
SELECT updated FROM idempotent_merge('leafy', 'with_ids', insert_only => '{id}');
SELECT updated FROM idempotent_merge('numbered', 'with_ids', insert_only => '{id}');
TABLE leafy;
TABLE numbered;
UPDATE leafy SET v = 0;
UPDATE numbered SET v = 0;
SELECT updated FROM idempotent_merge('leafy', 'with_ids');
SELECT updated FROM idempotent_merge('numbered', 'with_ids');
TABLE leafy;
TABLE numbered;

SET client_min_messages = warning;
DROP SCHEMA merge_tables CASCADE;
