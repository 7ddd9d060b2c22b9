-- A slice that is exactly a partition is emptied by TRUNCATE, where nobody can tell it from DELETE. Whether it was is seen
-- by the partition's file.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA overwrite_partitions;
SET search_path = overwrite_partitions, public;
-- Overwrites a slice by two rows, then by three others, and by the same three; says how it was emptied.
CREATE FUNCTION swap(target regclass, slice jsonb, leaf regclass) RETURNS TABLE (deleted bigint, inserted bigint, swapped boolean, equal boolean)
LANGUAGE plpgsql AS $$
DECLARE columns text; file oid; source regclass;
BEGIN
    SELECT string_agg(format('%L::%s AS %I', slice ->> attname, format_type(atttypid, atttypmod), attname), ', ')
    FROM pg_attribute WHERE attrelid = target AND slice ? attname INTO columns;
    CREATE TEMP TABLE rows_to_come (v int);
    EXECUTE format('CREATE TEMP VIEW to_come AS SELECT %s, v FROM rows_to_come', columns);
    INSERT INTO rows_to_come VALUES (1), (2);
    file := pg_relation_filenode(leaf);
    PERFORM idempotent_overwrite(target, 'pg_temp.to_come', slice);
    UPDATE rows_to_come SET v = v + 2;
    INSERT INTO rows_to_come VALUES (5);
    SELECT o.deleted, o.inserted FROM idempotent_overwrite(target, 'pg_temp.to_come', slice) o INTO deleted, inserted;
    swapped := file <> pg_relation_filenode(leaf);
    file := pg_relation_filenode(leaf);
    SELECT o.unchanged AND file = pg_relation_filenode(leaf) FROM idempotent_overwrite(target, 'pg_temp.to_come', slice) o INTO equal;
    DROP VIEW pg_temp.to_come;
    DROP TABLE rows_to_come;
    RETURN NEXT;
END $$;

-- One value in a list; two; NULL; NULL and a value; the default partition.
CREATE TABLE by_list (k text, v int) PARTITION BY LIST (k);
CREATE TABLE list_a PARTITION OF by_list FOR VALUES IN ('a');
CREATE TABLE list_bc PARTITION OF by_list FOR VALUES IN ('b', 'c');
CREATE TABLE list_null PARTITION OF by_list FOR VALUES IN (NULL);
CREATE TABLE list_d PARTITION OF by_list FOR VALUES IN ('d');
CREATE TABLE list_rest PARTITION OF by_list DEFAULT;
INSERT INTO by_list VALUES ('d', 100), ('c', 100);
SELECT * FROM swap('by_list', '{"k": "a"}', 'list_a');
SELECT * FROM swap('by_list', '{"k": "b"}', 'list_bc');
SELECT * FROM swap('by_list', '{"k": null}', 'list_null');
SELECT * FROM swap('by_list', '{"k": "e"}', 'list_rest');
SELECT tableoid::regclass, count(*), sum(v) FROM by_list GROUP BY 1 ORDER BY 1;
CREATE TABLE by_list_2 (k int, v int) PARTITION BY LIST (k);
CREATE TABLE list_2_null PARTITION OF by_list_2 FOR VALUES IN (1, NULL);
SELECT * FROM swap('by_list_2', '{"k": 1}', 'list_2_null');
SELECT * FROM swap('by_list_2', '{"k": null}', 'list_2_null');
SELECT count(*) FROM by_list_2;
-- The partition itself is a table like any other.
SELECT * FROM swap('list_a', '{"k": "a"}', 'list_a');
-- Not a column more or less.
CREATE TABLE two (k text, j int, v int) PARTITION BY LIST (k);
CREATE TABLE two_a PARTITION OF two FOR VALUES IN ('a');
SELECT * FROM swap('two', '{"k": "a"}', 'two_a');
SELECT * FROM swap('two', '{"k": "a", "j": 1}', 'two_a');
SELECT * FROM swap('two', '{"j": 1}', 'two_a'); :state
SELECT k, j, count(*) FROM two GROUP BY 1, 2 ORDER BY 2;

-- Ranges of one value: a day, an integer; not a month, not open ends, not types without a next value.
CREATE TABLE by_day (day date, v int) PARTITION BY RANGE (day);
CREATE TABLE day_1 PARTITION OF by_day FOR VALUES FROM ('2020-02-28') TO ('2020-02-29');
CREATE TABLE day_2 PARTITION OF by_day FOR VALUES FROM ('2020-02-29') TO ('2020-03-01');
CREATE TABLE month PARTITION OF by_day FOR VALUES FROM ('2020-04-01') TO ('2020-05-01');
CREATE TABLE open_end PARTITION OF by_day FOR VALUES FROM ('2021-01-01') TO (MAXVALUE);
CREATE TABLE open_start PARTITION OF by_day FOR VALUES FROM (MINVALUE) TO ('2019-01-01');
INSERT INTO by_day VALUES ('2020-02-28', 100), ('2020-04-02', 100);
SELECT * FROM swap('by_day', '{"day": "2020-02-29"}', 'day_2');
SELECT * FROM swap('by_day', '{"day": "2020-02-28"}', 'day_1');
SELECT * FROM swap('by_day', '{"day": "2020-04-01"}', 'month');
SELECT * FROM swap('by_day', '{"day": "2021-01-01"}', 'open_end');
SELECT * FROM swap('by_day', '{"day": "infinity"}', 'open_end');
SELECT * FROM swap('by_day', '{"day": "2018-12-31"}', 'open_start');
SELECT tableoid::regclass, day, count(*) FROM by_day GROUP BY 1, 2 ORDER BY 1, 2;
CREATE TABLE by_number (a smallint, b int, c bigint, v int) PARTITION BY RANGE (a, b, c);
CREATE TABLE number_1 PARTITION OF by_number FOR VALUES FROM (1, -1, 5) TO (1, -1, 6);
CREATE TABLE number_2 PARTITION OF by_number FOR VALUES FROM (2, 5, 5) TO (2, 6, 5);
SELECT * FROM swap('by_number', '{"a": 1, "b": -1, "c": 5}', 'number_1');
SELECT * FROM swap('by_number', '{"a": 2, "b": 5, "c": 5}', 'number_2');
SELECT * FROM swap('by_number', '{"a": 1, "b": -1}', 'number_1'); :state
CREATE TABLE by_bigint (k bigint, v int) PARTITION BY RANGE (k);
CREATE TABLE bigint_1 PARTITION OF by_bigint FOR VALUES FROM (-1) TO (0);
CREATE TABLE bigint_last PARTITION OF by_bigint FOR VALUES FROM (9223372036854775807) TO (MAXVALUE);
SELECT * FROM swap('by_bigint', '{"k": -1}', 'bigint_1');
SELECT * FROM swap('by_bigint', '{"k": 9223372036854775807}', 'bigint_last');
CREATE TABLE by_time (k timestamp, v int) PARTITION BY RANGE (k);
CREATE TABLE time_1 PARTITION OF by_time FOR VALUES FROM ('2020-01-01') TO ('2020-01-02');
SELECT * FROM swap('by_time', '{"k": "2020-01-01"}', 'time_1');
CREATE TABLE by_hash (k int, v int) PARTITION BY HASH (k);
CREATE TABLE hash_0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 1, REMAINDER 0);
SELECT * FROM swap('by_hash', '{"k": 1}', 'hash_0');
CREATE TABLE by_expression (k int, v int) PARTITION BY LIST ((k % 2));
CREATE TABLE expression_1 PARTITION OF by_expression FOR VALUES IN (1);
SELECT * FROM swap('by_expression', '{"k": 1}', 'expression_1');

-- Several levels, columns in other places, dropped columns, types of all kinds.
CREATE TYPE region AS ENUM ('north', 'south');
CREATE DOMAIN day AS date;
CREATE TABLE levels (gone int, r region, d day, v int) PARTITION BY LIST (r);
ALTER TABLE levels DROP COLUMN gone;
CREATE TABLE north (v int, d day, gone int, r region) PARTITION BY RANGE (d);
ALTER TABLE north DROP COLUMN gone;
ALTER TABLE levels ATTACH PARTITION north FOR VALUES IN ('north');
CREATE TABLE north_1 (d day, gone int, v int, r region);
ALTER TABLE north_1 DROP COLUMN gone;
ALTER TABLE north ATTACH PARTITION north_1 FOR VALUES FROM ('2020-01-01') TO ('2020-01-02');
CREATE TABLE south PARTITION OF levels FOR VALUES IN ('south') PARTITION BY LIST (d);
CREATE TABLE south_1 PARTITION OF south FOR VALUES IN ('2020-01-01');
INSERT INTO levels VALUES ('south', '2020-01-01', 100);
SELECT * FROM swap('levels', '{"r": "north", "d": "2020-01-01"}', 'north_1');
SELECT * FROM swap('north', '{"d": "2020-01-01"}', 'north_1'); :state
SELECT * FROM swap('north', '{"d": "2020-01-01", "r": "north"}', 'north_1');
SELECT * FROM swap('levels', '{"r": "south", "d": "2020-01-01"}', 'south_1');
SELECT * FROM swap('levels', '{"d": "2020-01-02", "r": "north"}', 'north_1'); :state
SELECT tableoid::regclass, r, d, count(*) FROM levels GROUP BY 1, 2, 3 ORDER BY 1;
CREATE TABLE by_numeric (k numeric, v int) PARTITION BY LIST (k);
CREATE TABLE numeric_1 PARTITION OF by_numeric FOR VALUES IN (1.0);
SELECT * FROM swap('by_numeric', '{"k": 1.00}', 'numeric_1');
CREATE TABLE by_varchar (k varchar(10), v int) PARTITION BY LIST (k);
CREATE TABLE varchar_a PARTITION OF by_varchar FOR VALUES IN ('a');
SELECT * FROM swap('by_varchar', '{"k": "a"}', 'varchar_a');
CREATE TABLE by_boolean (k boolean, v int) PARTITION BY LIST (k);
CREATE TABLE boolean_t PARTITION OF by_boolean FOR VALUES IN (true);
SELECT * FROM swap('by_boolean', '{"k": true}', 'boolean_t');
-- A partition key that takes other values for equal than the column does.
CREATE TABLE by_posix (k text COLLATE "C", v int) PARTITION BY LIST (k COLLATE "POSIX");
CREATE TABLE posix_a PARTITION OF by_posix FOR VALUES IN ('a');
SELECT * FROM swap('by_posix', '{"k": "a"}', 'posix_a');
CREATE FUNCTION compare_tens(int, int) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS 'SELECT btint4cmp($1 / 10, $2 / 10)';
CREATE FUNCTION same_ten(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1 / 10 = $2 / 10';
CREATE SCHEMA tens;
CREATE OPERATOR tens.= (LEFTARG = int, RIGHTARG = int, FUNCTION = same_ten);
CREATE OPERATOR CLASS tens.by_tens FOR TYPE int USING btree AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 tens.=, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 compare_tens(int, int);
CREATE TABLE by_ten (k int, v int) PARTITION BY LIST (k tens.by_tens);
CREATE TABLE ten_1 PARTITION OF by_ten FOR VALUES IN (11);
INSERT INTO by_ten VALUES (12, 100);
SELECT * FROM swap('by_ten', '{"k": 11}', 'ten_1');
SELECT k, count(*) FROM by_ten GROUP BY k ORDER BY k;

-- Ranges that are partitions, whole: one, several, those that are empty; not a part of one, not open ends beyond it.
CREATE TABLE months (day date, shop text, v int) PARTITION BY RANGE (day);
CREATE TABLE january PARTITION OF months FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE february PARTITION OF months FOR VALUES FROM ('2026-02-01') TO ('2026-03-01') PARTITION BY LIST (shop);
CREATE TABLE february_a PARTITION OF february FOR VALUES IN ('a');
CREATE TABLE february_b PARTITION OF february DEFAULT;
CREATE TABLE later PARTITION OF months FOR VALUES FROM ('2026-03-01') TO (MAXVALUE);
CREATE TABLE others PARTITION OF months DEFAULT;
CREATE TABLE new_months (LIKE months);
CREATE FUNCTION swapped(slice jsonb, target regclass DEFAULT 'months', source regclass DEFAULT 'new_months') RETURNS TABLE (deleted bigint, kept bigint, swapped name[])
LANGUAGE plpgsql AS $$
BEGIN
    -- A file that this transaction has made is emptied in its place.
    DELETE FROM months;
    INSERT INTO months VALUES ('2026-01-01', 'a', 1), ('2026-01-31', 'b', 1), ('2026-02-01', 'a', 1), ('2026-02-28', 'b', 1), ('2026-03-01', 'a', 1), (NULL, 'a', 1);
    CREATE TEMP TABLE files AS SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relnamespace = 'overwrite_partitions'::regnamespace AND relkind = 'r';
    SELECT o.deleted FROM idempotent_overwrite(target, source, slice) o INTO deleted;
    SELECT array_agg(relname ORDER BY relname) FROM files JOIN pg_class c USING (relname)
    WHERE relnamespace = 'overwrite_partitions'::regnamespace AND pg_relation_filenode(c.oid) <> files.pg_relation_filenode INTO swapped;
    SELECT count(*) FROM months INTO kept;
    DROP TABLE files;
    RETURN NEXT;
END $$;
SELECT * FROM swapped('{"day": {"from": "2026-01-01", "to": "2026-02-01"}}');
SELECT * FROM swapped('{"day": {"from": "2026-01-01", "to": "2026-03-01"}}');
SELECT * FROM swapped('{"day": {"from": "2025-06-01", "to": "2026-02-15"}}');
SELECT * FROM swapped('{"day": {"from": "2025-06-01", "to": "2026-02-01"}}');
SELECT * FROM swapped('{"day": {"from": "2026-01-02", "to": "2026-02-01"}}');
SELECT * FROM swapped('{"day": {"from": "2026-01-01", "to": "2026-01-31"}}');
SELECT * FROM swapped('{"day": {"from": "2026-02-01", "to": "2026-03-01"}, "shop": "a"}');
SELECT * FROM swapped('{"day": {"from": "2026-02-01", "to": "2026-03-01"}, "shop": "b"}');
SELECT * FROM swapped('{"day": {"from": "2026-02-01", "to": "2026-03-01"}, "shop": {"from": "a", "to": "b"}}');
SELECT * FROM swapped('{"day": {"from": "2026-03-01"}}');
SELECT * FROM swapped('{"day": {"from": "2026-03-01", "to": "infinity"}}');
SELECT * FROM swapped('{"day": {"to": "2026-03-01"}}');
SELECT * FROM swapped('{"shop": {"from": "a"}}');
-- All of them at once; those of a partition that has partitions.
SELECT * FROM swapped('{}');
SELECT * FROM swapped('{}', 'february');
SELECT * FROM swapped('{"shop": "a"}', 'february');
-- The rows go in.
INSERT INTO new_months VALUES ('2026-01-05', 'a', 2), ('2026-02-05', 'a', 2);
SELECT * FROM swapped('{"day": {"from": "2026-01-01", "to": "2026-03-01"}}');
SELECT tableoid::regclass, * FROM months ORDER BY day;
-- If one of them may not be truncated, none is.
CREATE FUNCTION no_op() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
CREATE TRIGGER t BEFORE DELETE ON february_b FOR EACH ROW EXECUTE FUNCTION no_op();
SELECT * FROM swapped('{"day": {"from": "2026-01-01", "to": "2026-03-01"}}');
DROP TRIGGER t ON february_b;
-- A list of values is inside, if the range holds them all.
CREATE TABLE lists (k int, v int) PARTITION BY LIST (k);
CREATE TABLE lists_1 PARTITION OF lists FOR VALUES IN (1);
CREATE TABLE lists_2 PARTITION OF lists FOR VALUES IN (2);
CREATE TABLE lists_34 PARTITION OF lists FOR VALUES IN (3, 4);
CREATE TABLE no_lists (LIKE lists);
INSERT INTO lists VALUES (1), (2), (3);
SELECT pg_relation_filenode('lists_1') AS one, pg_relation_filenode('lists_2') AS two \gset
SELECT * FROM idempotent_overwrite('lists', 'no_lists', '{"k": {"from": 1, "to": 3}}');
SELECT pg_relation_filenode('lists_1') <> :one AS one, pg_relation_filenode('lists_2') <> :two AS two;
INSERT INTO lists VALUES (1), (2);
SELECT * FROM idempotent_overwrite('lists', 'no_lists', '{"k": {"to": 4}}');
SELECT count(*) FROM lists;

-- Each thing that somebody could tell a TRUNCATE by.
CREATE TABLE safe (k int, v int) PARTITION BY LIST (k);
CREATE TABLE safe_1 PARTITION OF safe FOR VALUES IN (1);
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
-- Triggers on DELETE or TRUNCATE, on the table or on the partition; not those on INSERT or UPDATE.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN CASE tg_op WHEN ''DELETE'' THEN OLD ELSE NEW END; END';
CREATE FUNCTION with_trigger(trigger text, on_table regclass) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE swapped boolean;
BEGIN
    EXECUTE format('CREATE TRIGGER t %s EXECUTE FUNCTION nothing()', replace(trigger, '@', on_table::text));
    SELECT s.swapped FROM swap('safe', '{"k": 1}', 'safe_1') s INTO swapped;
    EXECUTE format('DROP TRIGGER t ON %s', on_table);
    RETURN swapped;
END $$;
SELECT format('SELECT with_trigger(%L, %L) AS %I', t, o, t)
FROM unnest(ARRAY['BEFORE DELETE ON @ FOR EACH ROW', 'AFTER DELETE ON @ FOR EACH ROW', 'BEFORE DELETE ON @', 'AFTER DELETE ON @', 'BEFORE TRUNCATE ON @',
    'AFTER TRUNCATE ON @', 'AFTER INSERT ON @ FOR EACH ROW', 'BEFORE UPDATE ON @ FOR EACH ROW', 'AFTER INSERT OR UPDATE ON @']) WITH ORDINALITY t(t, n),
    unnest(ARRAY['safe', 'safe_1']) o ORDER BY n, o \gexec
SELECT with_trigger('AFTER DELETE ON @ REFERENCING OLD TABLE AS gone', 'safe');
-- A foreign key that refers to it, on either level.
CREATE UNIQUE INDEX ON safe (k, v);
CREATE TABLE referring (k int, v int, FOREIGN KEY (k, v) REFERENCES safe (k, v));
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
DROP TABLE referring;
CREATE TABLE referring (k int, v int, FOREIGN KEY (k, v) REFERENCES safe_1 (k, v));
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
DROP TABLE referring;
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
-- Rights: TRUNCATE on the partition, SELECT on the table; and no policies.
CREATE ROLE regress_pgi_swap;
GRANT USAGE ON SCHEMA overwrite_partitions TO regress_pgi_swap;
GRANT SELECT, INSERT, DELETE ON safe TO regress_pgi_swap;
SET ROLE regress_pgi_swap;
SELECT * FROM swap('safe', '{"k": 1}', 'safe_1');
RESET ROLE;
GRANT TRUNCATE ON safe TO regress_pgi_swap;
SET ROLE regress_pgi_swap;
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
RESET ROLE;
REVOKE TRUNCATE ON safe FROM regress_pgi_swap;
GRANT TRUNCATE ON safe_1 TO regress_pgi_swap;
SET ROLE regress_pgi_swap;
SELECT * FROM swap('safe', '{"k": 1}', 'safe_1');
RESET ROLE;
-- A partition in a schema that the role may not use, by whose name TRUNCATE would ask for it.
CREATE SCHEMA hidden;
ALTER TABLE safe_1 SET SCHEMA hidden;
SELECT 'hidden.safe_1'::regclass::oid AS hidden \gset
SET ROLE regress_pgi_swap;
SELECT * FROM swap('safe', '{"k": 1}', :hidden);
RESET ROLE;
ALTER TABLE hidden.safe_1 SET SCHEMA overwrite_partitions;
DROP SCHEMA hidden;
ALTER TABLE safe ADD more int;
REVOKE SELECT ON safe FROM regress_pgi_swap;
GRANT SELECT (k, v) ON safe TO regress_pgi_swap;
SET ROLE regress_pgi_swap;
SELECT * FROM swap('safe', '{"k": 1}', 'safe_1');
RESET ROLE;
GRANT SELECT ON safe TO regress_pgi_swap;
ALTER TABLE safe ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON safe USING (v > 0);
SET ROLE regress_pgi_swap;
SELECT * FROM swap('safe', '{"k": 1}', 'safe_1');
RESET ROLE;
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
ALTER TABLE safe DISABLE ROW LEVEL SECURITY;
DROP OWNED BY regress_pgi_swap;
DROP ROLE regress_pgi_swap;
-- Publications.
SET client_min_messages = error;
CREATE TABLE elsewhere (k int);
CREATE PUBLICATION p FOR TABLE elsewhere WITH (publish = 'insert, delete');
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
ALTER PUBLICATION p SET (publish = 'insert');
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
ALTER PUBLICATION p SET (publish = 'insert, delete, truncate');
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
ALTER PUBLICATION p SET (publish_via_partition_root = true);
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
DROP PUBLICATION p;
RESET client_min_messages;
SELECT swapped FROM swap('safe', '{"k": 1}', 'safe_1');
-- Our own transaction: a cursor that reads it, events that wait for its end, rows that it wrote itself.
CREATE VIEW seven AS SELECT 1 AS k, 7 AS v;
CREATE VIEW eight AS SELECT 1 AS k, 8 AS v;
CREATE TABLE file (n oid);
INSERT INTO file VALUES (pg_relation_filenode('safe_1'));
BEGIN;
DECLARE c CURSOR FOR SELECT v FROM safe ORDER BY v;
FETCH 1 FROM c;
SELECT * FROM idempotent_overwrite('safe', 'seven', '{"k": 1}');
SELECT n = pg_relation_filenode('safe_1') AS deleted FROM file;
FETCH ALL FROM c;
CLOSE c;
SELECT * FROM idempotent_overwrite('safe', 'eight', '{"k": 1}');
SELECT n <> pg_relation_filenode('safe_1') AS swapped FROM file;
ROLLBACK;
SELECT n = pg_relation_filenode('safe_1') AS as_before FROM file;
SELECT v FROM safe ORDER BY v;
SELECT o.* FROM safe, idempotent_overwrite('safe', 'seven', jsonb_build_object('k', safe.k)) o LIMIT 1;
SELECT n = pg_relation_filenode('safe_1') AS deleted FROM file;
CREATE TABLE keys (k int PRIMARY KEY);
INSERT INTO keys VALUES (1);
ALTER TABLE safe ADD FOREIGN KEY (k) REFERENCES keys DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO safe VALUES (1, 9);
SELECT * FROM idempotent_overwrite('safe', 'eight', '{"k": 1}');
SELECT n = pg_relation_filenode('safe_1') AS deleted FROM file;
COMMIT;
SELECT * FROM idempotent_overwrite('safe', 'seven', '{"k": 1}');
SELECT n <> pg_relation_filenode('safe_1') AS swapped FROM file;
-- In a READ ONLY transaction it is the DELETE that is refused.
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite('safe', 'eight', '{"k": 1}'); :state
ROLLBACK;
-- The locks: ACCESS EXCLUSIVE is held only for a swap.
BEGIN;
SELECT * FROM idempotent_overwrite('safe', 'eight', '{"k": 1}');
SELECT relation::regclass, mode FROM pg_locks WHERE relation IN ('safe'::regclass, 'safe_1'::regclass) AND mode = 'AccessExclusiveLock';
ROLLBACK;
-- A source may be a view of the partition that is emptied, with values out of line.
CREATE TABLE large (k int, v text) PARTITION BY LIST (k);
ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
CREATE TABLE large_1 PARTITION OF large FOR VALUES IN (1);
INSERT INTO large VALUES (1, repeat('x', 5000));
CREATE VIEW larger AS SELECT k, v FROM large UNION ALL SELECT k, 'again' FROM large;
SELECT pg_relation_filenode('large_1') AS n INTO TEMP large_file;
SELECT * FROM idempotent_overwrite('large', 'larger', '{"k": 1}');
SELECT n <> pg_relation_filenode('large_1') AS swapped FROM large_file;
SELECT length(v) FROM large ORDER BY 1;
-- Names that need quotes; temporary tables.
CREATE TABLE "Par ent" ("K" int, v int) PARTITION BY LIST ("K");
CREATE TABLE "Le""af" PARTITION OF "Par ent" FOR VALUES IN (1);
SELECT * FROM swap('"Par ent"', '{"K": 1}', '"Le""af"');
CREATE TEMP TABLE temporary (k int, v int) PARTITION BY LIST (k);
CREATE TEMP TABLE temporary_1 PARTITION OF temporary FOR VALUES IN (1);
SELECT * FROM swap('temporary', '{"k": 1}', 'temporary_1');
-- A guard on it sees INSERT only.
SELECT FROM idempotent_guard('safe', key => '{k,v}');
SELECT * FROM swap('safe', '{"k": 1}', 'safe_1');
-- Each slice of idempotent_overwrite_each that is a partition; a source may be a view of the table itself, with large values.
CREATE TABLE daily (day date, v text) PARTITION BY RANGE (day);
CREATE TABLE daily_1 PARTITION OF daily FOR VALUES FROM ('2013-01-01') TO ('2013-01-02');
CREATE TABLE daily_2 PARTITION OF daily FOR VALUES FROM ('2013-01-02') TO ('2013-01-03');
ALTER TABLE daily ALTER v SET STORAGE EXTERNAL;
INSERT INTO daily VALUES ('2013-01-01', repeat('x', 5000)), ('2013-01-02', repeat('y', 5000));
CREATE VIEW shouted AS SELECT day, v FROM daily UNION ALL SELECT day, 'again' FROM daily WHERE day = '2013-01-02';
SELECT pg_relation_filenode('daily_1') AS one, pg_relation_filenode('daily_2') AS two \gset
SELECT * FROM idempotent_overwrite_each('daily', 'shouted', '{day}');
SELECT pg_relation_filenode('daily_1') <> :one AS one, pg_relation_filenode('daily_2') <> :two AS two;
SELECT day, length(v) FROM daily ORDER BY day, v;
SET client_min_messages = warning;
DROP SCHEMA tens CASCADE;
DROP SCHEMA overwrite_partitions CASCADE;
