-- One slice of a table is replaced by the rows of a source, or left alone.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA overwrite;
SET search_path = overwrite, public;
CREATE TABLE sales (day date, shop text, n int, price numeric, note text DEFAULT 'new');
CREATE TABLE arriving (shop text, n int, price numeric, day date);
-- Where the rows of a table are, and who wrote them.
CREATE FUNCTION places(rows regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE list text;
BEGIN
    EXECUTE format('SELECT string_agg(tableoid || xmin::text || ctid::text, '' '' ORDER BY tableoid, ctid) FROM %s', rows) INTO list;
    RETURN list;
END $$;
-- Overwrites twice: the second finds the slice equal, and leaves every row where it is.
CREATE FUNCTION twice(target regclass, source regclass, slice jsonb) RETURNS TABLE (deleted bigint, inserted bigint, unchanged boolean, again boolean)
LANGUAGE plpgsql AS $$
DECLARE before text;
BEGIN
    SELECT o.deleted, o.inserted, o.unchanged FROM idempotent_overwrite(target, source, slice) o INTO deleted, inserted, unchanged;
    before := places(target);
    SELECT o = (0::bigint, 0::bigint, true) AND places(target) IS NOT DISTINCT FROM before FROM idempotent_overwrite(target, source, slice) o INTO again;
    RETURN NEXT;
END $$;

-- Counts; rows outside of the slice stay; a column that the source has not takes its default.
INSERT INTO sales VALUES ('2020-01-02', 'a', 9, 9, 'old');
INSERT INTO arriving VALUES ('a', 1, 1.5, '2020-01-01'), ('b', 2, 2.5, '2020-01-01'), (NULL, NULL, NULL, '2020-01-01');
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
SELECT * FROM sales ORDER BY day, shop;
-- Equal: nothing is written, not even a transaction id is taken. A column that the source has not is not compared.
UPDATE sales SET note = 'changed by hand' WHERE shop = 'b';
SELECT places('sales') AS before \gset
BEGIN;
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS nothing_written;
COMMIT;
SELECT places('sales') = :'before' AS untouched;
-- In another order, and the source as a view.
CREATE VIEW sorted AS SELECT * FROM arriving ORDER BY n DESC;
SELECT * FROM idempotent_overwrite('sales', 'sorted', '{"day": "2020-01-01"}');
SELECT places('sales') = :'before' AS untouched;
-- A doubled row counts twice, on either side.
INSERT INTO arriving VALUES ('a', 1, 1.5, '2020-01-01');
SELECT * FROM twice('sales', 'arriving', '{"day": "2020-01-01"}');
INSERT INTO arriving VALUES ('b', 2, 2.5, '2020-01-01');
DELETE FROM arriving WHERE ctid = (SELECT min(ctid) FROM arriving WHERE shop = 'a');
SELECT * FROM twice('sales', 'arriving', '{"day": "2020-01-01"}');
SELECT shop, count(*) FROM sales WHERE day = '2020-01-01' GROUP BY shop ORDER BY shop;
-- The same value written differently is written anew; NULL is not ''; values do not run together.
UPDATE arriving SET price = 1.50 WHERE shop = 'a';
SELECT * FROM twice('sales', 'arriving', '{"day": "2020-01-01"}');
SELECT price FROM sales WHERE shop = 'a' AND day = '2020-01-01';
UPDATE arriving SET shop = '' WHERE shop IS NULL;
SELECT * FROM twice('sales', 'arriving', '{"day": "2020-01-01"}');
-- An empty source empties the slice; an empty slice and an empty source are equal.
CREATE VIEW nothing AS SELECT * FROM arriving WHERE false;
SELECT * FROM twice('sales', 'nothing', '{"day": "2020-01-01"}');
SELECT * FROM sales ORDER BY day, shop;
SELECT * FROM idempotent_overwrite('sales', 'nothing', '{"day": "1999-01-01"}');
-- In one transaction with a rollback, and after its own writes.
BEGIN;
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
SAVEPOINT s;
DELETE FROM sales WHERE day = '2020-01-01' AND shop = 'b';
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
ROLLBACK TO s;
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
ROLLBACK;
SELECT count(*) FROM sales WHERE day = '2020-01-01';
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';

-- Several columns; NULL is a value like any other.
TRUNCATE sales;
INSERT INTO sales VALUES ('2020-01-01', 'a', 1, 1), ('2020-01-01', NULL, 2, 2), (NULL, NULL, 3, 3), (NULL, 'a', 4, 4);
CREATE TABLE mixed AS SELECT day, shop, n + 10 AS n FROM sales;
CREATE VIEW day_null AS SELECT * FROM mixed WHERE day = '2020-01-01' AND shop IS NULL;
SELECT * FROM twice('sales', 'day_null', '{"shop": null, "day": "2020-01-01"}');
CREATE VIEW null_null AS SELECT * FROM mixed WHERE day IS NULL AND shop IS NULL;
SELECT * FROM twice('sales', 'null_null', '{"day": null, "shop": null}');
SELECT day, shop, n FROM sales ORDER BY n;
SELECT * FROM idempotent_overwrite('sales', 'null_null', '{"day": "2020-01-01", "shop": null}'); :state

-- A row of the source outside of the slice: one is named, nothing is changed.
SELECT places('sales') AS before \gset
SELECT * FROM idempotent_overwrite('sales', 'mixed', '{"day": "2020-01-01", "shop": "a"}');
DO $$
DECLARE
    state text; "schema" text; "table" text; "column" text;
BEGIN
    PERFORM idempotent_overwrite('sales', 'mixed', '{"day": "2020-01-01", "shop": "a"}');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, "schema" = SCHEMA_NAME, "table" = TABLE_NAME, "column" = COLUMN_NAME;
    RAISE NOTICE '% % % %', state, "schema", "table", "column";
END
$$;
SELECT * FROM idempotent_overwrite('sales', 'mixed', '{"day": "2020-01-02"}');
SET pg_idempotent.show_values = off;
SELECT * FROM idempotent_overwrite('sales', 'mixed', '{"day": "2020-01-02"}'); :state
RESET pg_idempotent.show_values;
-- The target is a source like any other, if it holds nothing else.
SELECT * FROM idempotent_overwrite('sales', 'sales', '{"day": "2020-01-01"}'); :state
SELECT places('sales') = :'before' AS untouched;
CREATE VIEW distinct_sales AS SELECT DISTINCT day, n FROM sales WHERE day = '2020-01-01';
INSERT INTO sales VALUES ('2020-01-01', 'a', 1, 1);
SELECT * FROM idempotent_overwrite('sales', 'distinct_sales', '{"day": "2020-01-01"}');
DELETE FROM sales WHERE day IS NULL;
SELECT * FROM twice('sales', 'sales', '{"day": "2020-01-01"}');
SELECT * FROM sales ORDER BY n;

-- Wrong arguments.
SELECT idempotent_overwrite('sales', 'arriving', NULL); :state
SELECT idempotent_overwrite(NULL, 'arriving', '{"day": null}'); :state
SELECT idempotent_overwrite('sales', NULL, '{"day": null}'); :state
SELECT idempotent_overwrite('sales', 'arriving', '["day"]'); :state
SELECT idempotent_overwrite('sales', 'arriving', '"day"'); :state
SELECT idempotent_overwrite('sales', 'arriving', 'null'); :state
SELECT idempotent_overwrite('sales', 'arriving', '{"dya": "2020-01-01"}'); :state
SELECT idempotent_overwrite('sales', 'arriving', '{"DAY": "2020-01-01"}'); :state
SELECT idempotent_overwrite('sales', 'arriving', '{"ctid": "(0,1)"}'); :state
SELECT idempotent_overwrite('sales', 'arriving', '{"note": "new"}'); :state
SELECT idempotent_overwrite('sales', 'arriving', '{"day": "yesterday but one"}'); :state
SELECT idempotent_overwrite('sales', 'arriving', '{"n": [1]}'); :state
SELECT idempotent_overwrite('sales', 'arriving', '{"n": 1.5}'); :state
SELECT idempotent_overwrite('sales', 'sales', '{"n": 99999999999}'); :state
CREATE TABLE more (day date, extra int);
SELECT idempotent_overwrite('sales', 'more', '{"day": "2020-01-01"}'); :state
CREATE TABLE other (day int[]);
SELECT idempotent_overwrite('sales', 'other', '{"day": "2020-01-01"}'); :state
CREATE TABLE no_columns ();
SELECT idempotent_overwrite('sales', 'no_columns', '{"day": "2020-01-01"}'); :state
SELECT idempotent_overwrite('no_columns', 'no_columns', '{"day": "2020-01-01"}'); :state
CREATE SEQUENCE numbers;
SELECT idempotent_overwrite('sales', 'numbers', '{"day": "2020-01-01"}'); :state
SELECT idempotent_overwrite('numbers', 'sales', '{"day": "2020-01-01"}'); :state
SELECT idempotent_overwrite('sorted', 'arriving', '{"day": "2020-01-01"}'); :state
SELECT idempotent_overwrite(0, 'arriving', '{"day": "2020-01-01"}'); :state
SELECT idempotent_overwrite('sales', 999999999, '{"day": "2020-01-01"}'); :state

-- A view that locks its rows, one that fails, one that is another every time.
CREATE VIEW locking AS SELECT day, shop, n FROM arriving FOR UPDATE;
SELECT * FROM idempotent_overwrite('sales', 'locking', '{"day": "2020-01-01"}');
CREATE VIEW failing AS SELECT '2020-01-01'::date AS day, 1 / (g - 3) AS n FROM generate_series(1, 4) g;
SELECT * FROM idempotent_overwrite('sales', 'failing', '{"day": "2020-01-01"}'); :state
CREATE SEQUENCE odd;
CREATE VIEW changing AS SELECT '2020-01-01'::date AS day, nextval('odd')::int AS n;
SELECT * FROM idempotent_overwrite('sales', 'changing', '{"day": "2020-01-01"}');
SELECT count(*) FROM arriving;

-- Names that need quotes; dropped columns.
CREATE SCHEMA "Sch ema";
CREATE TABLE "Sch ema"."Ta""ble" (gone int, "Select" int, "a""b" text, "é" text);
ALTER TABLE "Sch ema"."Ta""ble" DROP COLUMN gone;
CREATE TABLE "Sch ema"."Sou""rce" ("a""b" text, gone int, "Select" int);
ALTER TABLE "Sch ema"."Sou""rce" DROP COLUMN gone;
INSERT INTO "Sch ema"."Sou""rce" VALUES ('it''s', 1), ('\', 1);
SELECT * FROM twice('"Sch ema"."Ta""ble"', '"Sch ema"."Sou""rce"', '{"Select": 1}');
INSERT INTO "Sch ema"."Sou""rce" VALUES ('x', 1);
SELECT * FROM twice('"Sch ema"."Ta""ble"', '"Sch ema"."Sou""rce"', '{"Select": 1}');
SELECT * FROM idempotent_overwrite('"Sch ema"."Ta""ble"', '"Sch ema"."Sou""rce"', '{"a\"b": "x"}');
DROP SCHEMA "Sch ema" CASCADE;

-- Columns of many types, as what a slice is of and as what it holds. `same` is equal to `value`, and written differently.
CREATE DOMAIN code AS text COLLATE "C" CHECK (VALUE <> '');
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN pairs AS pair;
CREATE FUNCTION slice(type text, value text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('k', CASE type WHEN 'jsonb' THEN value::jsonb ELSE to_jsonb(value) END)
$$;
CREATE FUNCTION by_type(type text, value text, same text, another text) RETURNS TABLE (written text, held text, again boolean, kept bigint, outside text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE typed (k %1$s, v int)', type);
    EXECUTE format('CREATE TABLE typed_source (k %1$s, v int)', type);
    EXECUTE format('INSERT INTO typed VALUES (%L, 1), (%L, 1), (NULL, 1)', value, another);
    EXECUTE format('INSERT INTO typed_source VALUES (%L, 2), (%L, 3)', value, same);
    SELECT format('-%s +%s', o.deleted, o.inserted) FROM idempotent_overwrite('typed', 'typed_source', slice(type, value)) o INTO written;
    SELECT string_agg(v::text, ' ' ORDER BY v) FROM typed INTO held;
    SELECT o.again FROM twice('typed', 'typed_source', slice(type, same)) o INTO again;
    EXECUTE format('SELECT count(*) FROM typed WHERE k IS NULL OR k::text = %L::%s::text', another, type) INTO kept;
    BEGIN
        PERFORM idempotent_overwrite('typed', 'typed_source', slice(type, another));
    EXCEPTION WHEN OTHERS THEN outside := sqlstate;
    END;
    DROP TABLE typed, typed_source;
    RETURN NEXT;
END $$;
SELECT type, b.* FROM (VALUES
    ('int', '-1', '-1', '1'), ('bigint', '-1', '-1', '1'), ('smallint', '-1', '-1', '1'), ('boolean', 't', 'true', 'f'), ('"char"', 'a', 'a', 'b'),
    ('oid', '4294967295', '4294967295', '1'), ('real', '-0', '0', '1'), ('double precision', 'NaN', 'NaN', '0'), ('numeric', '1.0', '1.00', '1.1'),
    ('numeric(10,2)', '1.001', '1.00', '1.01'), ('text', 'a', 'a', 'A'), ('text COLLATE "POSIX"', 'a', 'a', 'A'), ('varchar(3)', 'abc', 'abc', 'abd'), ('char(3)', 'a', 'a ', 'b'),
    ('name', 'a', 'a', 'b'), ('code', 'a', 'a', 'b'), ('code COLLATE "POSIX"', 'a', 'a', 'b'), ('mood', 'sad', 'sad', 'ok'), ('pair', '(1,a)', '(1,"a")', '(2,a)'),
    ('pairs', '(1,a)', '(1,"a")', '(2,a)'), ('int[]', '{1,2}', '{1, 2}', '{2,1}'), ('mood[]', '{ok}', '{"ok"}', '{sad}'), ('jsonb', '{"a": 1}', '{"a": 1.0}', '{"a": 2}'),
    ('timestamptz', '2020-01-01 00:00+00', '2020-01-01 01:00+01', '2020-01-02 00:00+00'), ('interval', '1 day', '24 hours', '2 days'), ('uuid', '7f3e0000-0000-0000-0000-000000000000', '7F3E0000000000000000000000000000', '00000000-0000-0000-0000-000000000000'),
    ('int4range', '[1,2]', '[1,3)', '[1,4)'), ('inet', '10.0.0.1', '10.0.0.1/32', '10.0.0.2'), ('bit(2)', '10', '10', '11'), ('tsvector', 'a b', 'b a', 'c'), ('bytea', '\x00', '\x00', '\x01')
) v(type, value, same, another), by_type(type || '', value, same, another) b;
-- What has no equality cannot name a slice; it can be in one. A domain checks.
CREATE TABLE documents (k int, j json, p point, x xid);
SELECT idempotent_overwrite('documents', 'documents', '{"j": {"a": 1}}'); :state
SELECT idempotent_overwrite('documents', 'documents', '{"p": "(1,1)"}'); :state
CREATE TABLE documents_source AS SELECT 1 AS k, '{"a": 1}'::json AS j, '(1,1)'::point AS p;
SELECT * FROM twice('documents', 'documents_source', '{"k": 1}');
UPDATE documents_source SET j = '{"a":1}';
SELECT * FROM twice('documents', 'documents_source', '{"k": 1}');
CREATE TABLE coded (c code, n int);
SELECT idempotent_overwrite('coded', 'coded', '{"c": ""}'); :state
-- Values are coerced as INSERT would; large ones are compared out of line.
CREATE TABLE coerced (k int, a varchar(2), b numeric(6,1), o oid, t text);
CREATE TABLE coerced_source (k bigint, a char(2), b double precision, o bigint, t varchar);
ALTER TABLE coerced_source ALTER t SET STORAGE EXTERNAL;
INSERT INTO coerced_source SELECT 1, 'x', 1.26, 4294967295, repeat('abc', 10000);
SELECT * FROM twice('coerced', 'coerced_source', '{"k": 1}');
SELECT k, a, b, o, length(t) FROM coerced;
INSERT INTO coerced_source VALUES (2, 'long', 0, 0); :state
INSERT INTO coerced_source VALUES (1, 'x', 1e6, 0);
SELECT * FROM twice('coerced', 'coerced_source', '{"k": 1}'); :state
SELECT count(*) FROM coerced;

-- No name of the caller's answers for one of the server's.
CREATE SCHEMA evil;
CREATE FUNCTION evil.yes(date, date) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR evil.= (LEFTARG = date, RIGHTARG = date, FUNCTION = evil.yes);
CREATE FUNCTION evil.no(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT 1/0 = 1';
CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.no);
CREATE TABLE evil.pg_publication (pubdelete boolean, pubtruncate boolean);
CREATE VIEW first_day AS SELECT '2020-01-01'::date AS day, 7 AS n;
INSERT INTO sales VALUES ('2020-01-03', 'stays', 1, 1);
SET search_path = evil, pg_catalog, overwrite, public;
SELECT * FROM public.idempotent_overwrite('sales', 'first_day', '{"day": "2020-01-01"}');
SET search_path = overwrite, public;
SELECT * FROM sales ORDER BY day, shop;
DROP SCHEMA evil CASCADE;

-- READ ONLY: an equal slice is no write.
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite('sales', 'first_day', '{"day": "2020-01-01"}');
SELECT * FROM idempotent_overwrite('sales', 'nothing', '{"day": "2020-01-09"}');
SELECT * FROM idempotent_overwrite('sales', 'changing', '{"day": "2020-01-01"}'); :state
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite('sales', 'nothing', '{"day": "2020-01-01"}'); :state
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite('sales', 'first_day', '{"n": 7}');
ROLLBACK;

-- Generated and identity columns.
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY, k int, twice int GENERATED ALWAYS AS (k * 2) STORED, own int GENERATED BY DEFAULT AS IDENTITY);
CREATE TABLE made_source AS SELECT 1 AS k FROM generate_series(1, 2);
SELECT * FROM twice('made', 'made_source', '{"k": 1}');
SELECT * FROM made ORDER BY id;
CREATE VIEW made_id AS SELECT 1 AS k, 5 AS id;
SELECT * FROM idempotent_overwrite('made', 'made_id', '{"k": 1}'); :state
-- What the source says of a generated column is what the server computes, or 428C9; the slice may be named by it.
CREATE TABLE made_twice AS SELECT 1 AS k, 2.0 AS twice;
SELECT * FROM twice('made', 'made_twice', '{"k": 1}');
SELECT * FROM idempotent_overwrite('made', 'made_twice', '{"twice": 2}');
INSERT INTO made_twice VALUES (1, 3);
SELECT * FROM idempotent_overwrite('made', 'made_twice', '{"k": 1}'); :state
SELECT * FROM idempotent_overwrite('made', 'made_twice', '{"twice": 2}'); :state
UPDATE made_twice SET k = 3, twice = CASE twice WHEN 2 THEN 6 END;
SELECT * FROM idempotent_overwrite('made', 'made_twice', '{"k": 3}'); :state
SELECT k, twice FROM made;
-- A copy of the table is a source, and so is a table LIKE it; a generated column of its own says the same.
CREATE TABLE totals (day int, qty int, price numeric(8,2) DEFAULT 2, note text, total numeric GENERATED ALWAYS AS (qty * price) STORED, label text GENERATED ALWAYS AS (upper(note)) STORED);
INSERT INTO totals (day, qty, note) VALUES (1, 2, 'a'), (1, 2, 'a'), (1, NULL, NULL), (2, 5, 'b');
CREATE TABLE totals_copy AS SELECT * FROM totals WHERE day = 1;
SELECT * FROM idempotent_overwrite('totals', 'totals_copy', '{"day": 1}');
-- Equal numbers in another notation are no difference in what is computed.
ALTER TABLE totals_copy ALTER total TYPE numeric(9,4);
SELECT * FROM idempotent_overwrite('totals', 'totals_copy', '{"day": 1}');
UPDATE totals_copy SET qty = 7, total = 14 WHERE qty = 2;
SELECT * FROM twice('totals', 'totals_copy', '{"day": 1}');
CREATE TABLE totals_like (LIKE totals INCLUDING ALL);
INSERT INTO totals_like (day, qty, price, note) VALUES (2, 1, 1.5, 'c');
SELECT * FROM twice('totals', 'totals_like', '{"day": 2}');
SELECT * FROM totals ORDER BY day, qty;
-- What is computed from a default that only an INSERT knows cannot be checked; a constant one can.
CREATE VIEW totals_short AS SELECT 2 AS day, 3 AS qty, 6 AS total;
SELECT * FROM twice('totals', 'totals_short', '{"day": 2}');
-- It tells rows apart that agree in all else that is named.
UPDATE totals SET price = 4 WHERE day = 2;
SELECT * FROM twice('totals', 'totals_short', '{"day": 2}');
CREATE TABLE loaded (day int, at timestamptz DEFAULT now(), late bool GENERATED ALWAYS AS (at > '2020-01-01 00:00Z') STORED);
CREATE VIEW loaded_source AS SELECT 1 AS day, true AS late;
SELECT * FROM idempotent_overwrite('loaded', 'loaded_source', '{"day": 1}'); :state
-- Nothing is named but what is computed.
CREATE TABLE only_made (k int DEFAULT 4, twice int GENERATED ALWAYS AS (k * 2) STORED);
CREATE VIEW only_twice AS SELECT 8 AS twice FROM generate_series(1, 2);
SELECT * FROM idempotent_overwrite('only_made', 'only_twice', '{"twice": 8}');
SELECT * FROM only_made;
-- The rights are those on the columns that go in.
CREATE ROLE regress_pgi_totals;
GRANT USAGE ON SCHEMA overwrite TO regress_pgi_totals;
GRANT SELECT, DELETE, INSERT (day, qty, price, note) ON totals TO regress_pgi_totals;
GRANT SELECT ON totals_copy TO regress_pgi_totals;
SET ROLE regress_pgi_totals;
SELECT * FROM idempotent_overwrite('totals', 'totals_copy', '{"day": 1}');
RESET ROLE;
DROP OWNED BY regress_pgi_totals;
DROP ROLE regress_pgi_totals;
CREATE VIEW made_own AS SELECT 1 AS k, 5 AS own;
SELECT * FROM twice('made', 'made_own', '{"k": 1}');

-- Constraints are PostgreSQL's own, and leave the old slice.
CREATE TABLE parents (id int PRIMARY KEY);
INSERT INTO parents VALUES (1), (2);
CREATE TABLE checked (k int, id int UNIQUE CHECK (id > 0), parent int NOT NULL REFERENCES parents);
INSERT INTO checked VALUES (1, 1, 1), (2, 2, 2);
CREATE TABLE checked_source (k int, id int, parent int);
INSERT INTO checked_source VALUES (1, 1, 2);
SELECT * FROM twice('checked', 'checked_source', '{"k": 1}');
UPDATE checked_source SET parent = 3;
SELECT * FROM idempotent_overwrite('checked', 'checked_source', '{"k": 1}'); :state
UPDATE checked_source SET parent = NULL;
SELECT * FROM idempotent_overwrite('checked', 'checked_source', '{"k": 1}'); :state
UPDATE checked_source SET parent = 1, id = 0;
SELECT * FROM idempotent_overwrite('checked', 'checked_source', '{"k": 1}'); :state
UPDATE checked_source SET id = 2;
SELECT * FROM idempotent_overwrite('checked', 'checked_source', '{"k": 1}'); :state
SELECT * FROM checked ORDER BY k;
-- A row that others refer to cannot go.
CREATE TABLE children (id int REFERENCES checked (id));
INSERT INTO children VALUES (1);
UPDATE checked_source SET id = 3;
SELECT * FROM idempotent_overwrite('checked', 'checked_source', '{"k": 1}'); :state
DELETE FROM children;
SELECT * FROM twice('checked', 'checked_source', '{"k": 1}');

-- Triggers fire as for DELETE and INSERT, and not at all for an equal slice.
CREATE TABLE watched (k int, n int);
CREATE TABLE watched_source (k int, n int);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% % %: %', tg_when, tg_op, tg_level, CASE tg_level WHEN 'ROW' THEN CASE tg_op WHEN 'DELETE' THEN OLD ELSE NEW END END;
    RETURN CASE tg_op WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER a BEFORE INSERT OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER b AFTER INSERT OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER c BEFORE INSERT OR DELETE ON watched EXECUTE FUNCTION tell();
CREATE TRIGGER d AFTER INSERT OR DELETE ON watched EXECUTE FUNCTION tell();
INSERT INTO watched_source VALUES (1, 1);
SELECT * FROM idempotent_overwrite('watched', 'watched_source', '{"k": 1}');
SELECT * FROM idempotent_overwrite('watched', 'watched_source', '{"k": 1}');
UPDATE watched_source SET n = 2;
SELECT * FROM idempotent_overwrite('watched', 'watched_source', '{"k": 1}');
-- A trigger that keeps a row: the old one would stay beside the new ones.
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
DROP TRIGGER a ON watched;
DROP TRIGGER b ON watched;
DROP TRIGGER c ON watched;
DROP TRIGGER d ON watched;
CREATE TRIGGER keep BEFORE DELETE ON watched FOR EACH ROW WHEN (OLD.n = 2) EXECUTE FUNCTION keep();
UPDATE watched_source SET n = 3;
SELECT * FROM idempotent_overwrite('watched', 'watched_source', '{"k": 1}'); :state
SELECT * FROM watched;
-- One that keeps rows out: what did not go in is not counted.
CREATE TRIGGER out BEFORE INSERT ON watched FOR EACH ROW WHEN (NEW.n = 4) EXECUTE FUNCTION keep();
INSERT INTO watched_source VALUES (2, 4), (2, 5);
CREATE VIEW watched_two AS SELECT * FROM watched_source WHERE k = 2;
SELECT * FROM idempotent_overwrite('watched', 'watched_two', '{"k": 2}');
SELECT * FROM idempotent_overwrite('watched', 'watched_two', '{"k": 2}');
-- Rules.
CREATE TABLE ruled (k int, n int);
INSERT INTO ruled VALUES (1, 1);
CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING;
SELECT * FROM idempotent_overwrite('ruled', 'watched_source', '{"k": 1}'); :state
CREATE OR REPLACE RULE r AS ON DELETE TO ruled DO ALSO SELECT 1;
SELECT * FROM idempotent_overwrite('ruled', 'watched_source', '{"k": 1}'); :state
DROP RULE r ON ruled;
CREATE RULE r AS ON INSERT TO ruled DO INSTEAD NOTHING;
SELECT * FROM idempotent_overwrite('ruled', 'watched_source', '{"k": 1}'); :state
SELECT * FROM ruled;

-- Guarded tables.
CREATE TABLE guarded (id int PRIMARY KEY, k int, n int);
CREATE TABLE guarded_source (id int, k int, n int);
SELECT FROM idempotent_guard('guarded');
INSERT INTO guarded VALUES (1, 1, 1), (3, 2, 1);
INSERT INTO guarded_source VALUES (1, 1, 2), (2, 1, 2);
SELECT * FROM twice('guarded', 'guarded_source', '{"k": 1}');
SELECT * FROM guarded ORDER BY id;
INSERT INTO guarded_source VALUES (2, 1, 2);
SELECT * FROM idempotent_overwrite('guarded', 'guarded_source', '{"k": 1}');
INSERT INTO guarded_source VALUES (3, 1, 2);
SELECT * FROM idempotent_overwrite('guarded', 'guarded_source', '{"k": 1}'); :state
SELECT * FROM guarded ORDER BY id;
ALTER TABLE guarded ADD first jsonb;
SELECT FROM idempotent_guard('guarded', remember => 'first');
DELETE FROM guarded_source WHERE ctid IN (SELECT max(ctid) FROM guarded_source GROUP BY id HAVING count(*) > 1) OR id = 3;
SELECT * FROM twice('guarded', 'guarded_source', '{"k": 1}');
UPDATE guarded_source SET n = 3;
SELECT * FROM twice('guarded', 'guarded_source', '{"k": 1}');
SELECT * FROM guarded ORDER BY id;

-- Temporary tables, unlogged tables, inheritance.
CREATE TEMP TABLE temporary (k int, n int);
CREATE TEMP TABLE temporary_source AS SELECT 1 AS k, g AS n FROM generate_series(1, 3) g;
SELECT * FROM twice('temporary', 'temporary_source', '{"k": 1}');
DELETE FROM temporary_source WHERE n = 1;
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite('temporary', 'temporary_source', '{"k": 1}');
COMMIT;
CREATE UNLOGGED TABLE unlogged (k int, n int);
SELECT * FROM twice('unlogged', 'temporary_source', '{"k": 1}');
CREATE TABLE heir () INHERITS (watched);
INSERT INTO heir VALUES (7, 7);
CREATE TEMP VIEW sevens AS SELECT 7 AS k, 8 AS n;
SELECT * FROM twice('watched', 'sevens', '{"k": 7}');
SELECT tableoid::regclass, * FROM watched WHERE k = 7;

-- What source and target both number by themselves does not make rows differ, nor what follows from it; the slice's own
-- column does, and so does a number that only one of them draws.
CREATE TABLE bookings (id bigserial PRIMARY KEY, token uuid DEFAULT gen_random_uuid(), reference text UNIQUE, day date, shown text GENERATED ALWAYS AS ('#' || id) STORED);
CREATE TABLE bookings_in (LIKE bookings INCLUDING ALL);
INSERT INTO bookings_in (reference, day) VALUES ('x', '2024-01-01'), ('y', '2024-01-01');
SELECT * FROM idempotent_insert_from('bookings', 'bookings_in');
TRUNCATE bookings_in;
INSERT INTO bookings_in (reference, day) VALUES ('y', '2024-01-01'), ('x', '2024-01-01');
SELECT * FROM twice('bookings', 'bookings_in', '{"day": "2024-01-01"}');
SELECT id, reference, shown FROM bookings ORDER BY id;
UPDATE bookings_in SET reference = 'z' WHERE reference = 'x';
SELECT * FROM twice('bookings', 'bookings_in', '{"day": "2024-01-01"}');
SELECT id, reference, shown FROM bookings ORDER BY id;
SELECT * FROM idempotent_overwrite('bookings', 'bookings_in', '{"day": "2024-01-01", "id": 3}'); :state
ALTER TABLE bookings_in ALTER id DROP DEFAULT;
UPDATE bookings_in SET id = id + 10;
SELECT * FROM twice('bookings', 'bookings_in', '{"day": "2024-01-01"}');

-- A composite whose members are NULL is no NULL: its row is of another slice, and stays.
CREATE TYPE couple AS (a int, b text);
CREATE TABLE couples (p couple, v int);
CREATE INDEX ON couples (p);
CREATE VIEW null_couple AS SELECT NULL::couple AS p, 3 AS v;
CREATE VIEW couple_of_nulls AS SELECT ROW(NULL, NULL)::couple AS p, 4 AS v;
SELECT * FROM twice('couples', 'couple_of_nulls', '{"p": {"a": null, "b": null}}');
SELECT * FROM twice('couples', 'null_couple', '{"p": null}');
SELECT p::text, v FROM couples ORDER BY v;

DROP SCHEMA overwrite CASCADE;
