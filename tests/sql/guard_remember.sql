-- remember: a column keeps what first arrived, and later payloads are verified against that.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
-- Command tags say how many rows went in.
\set QUIET off
CREATE SCHEMA remember;
SET search_path = remember, public;
SET TIME ZONE 'UTC';
SET DateStyle = 'ISO, YMD';

-- A document.
CREATE TABLE orders (order_id text PRIMARY KEY, amount numeric(10,2), status text DEFAULT 'new', at timestamptz DEFAULT clock_timestamp(), seen jsonb);
INSERT INTO orders VALUES ('old', 1, 'paid');
SELECT * FROM idempotent_guard('orders', remember => 'seen');
INSERT INTO orders (order_id, amount) VALUES ('a', 10);
SELECT order_id, amount, status, seen FROM orders ORDER BY 1;
-- A retry stays a duplicate after the row was updated; another payload stays a conflict, though it equals the row of today.
UPDATE orders SET amount = 12, status = 'paid' WHERE order_id = 'a';
INSERT INTO orders (order_id, amount) VALUES ('a', 10), ('a', 10.00);
INSERT INTO orders (order_id, amount) VALUES ('a', 12);
:state
INSERT INTO orders (order_id, amount, status) VALUES ('a', 12, 'paid');
COPY orders (order_id, amount) FROM stdin;
a	10
b	2
b	2.0
\.
DO $$
DECLARE sch text; tab text; col text; con text; sta text;
BEGIN
    INSERT INTO orders (order_id, amount) VALUES ('a', 12);
EXCEPTION WHEN SQLSTATE '23I01' THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME, sta = RETURNED_SQLSTATE;
    RAISE INFO '%: schema %, table %, column %, constraint %', sta, sch, tab, col, con;
END $$;
SET pg_idempotent.show_values = off;
INSERT INTO orders (order_id, amount) VALUES ('a', 12);
RESET pg_idempotent.show_values;
-- A row that is older than the guard is compared itself.
INSERT INTO orders (order_id, amount, status) VALUES ('old', 1, 'paid');
INSERT INTO orders (order_id, amount, status) VALUES ('old', 2, 'paid');
-- What is remembered cannot be changed; what is not remembered yet can be.
UPDATE orders SET seen = '{"amount": 12}' WHERE order_id = 'a';
:state
UPDATE orders SET seen = NULL WHERE order_id = 'a';
:state
UPDATE orders SET seen = seen, amount = 13 WHERE order_id = 'a';
UPDATE orders SET seen = '{"amount": 10.00, "status": "new"}' WHERE order_id = 'a';
UPDATE orders SET seen = '{"amount": 5, "status": "new"}' WHERE order_id = 'old';
INSERT INTO orders (order_id, amount) VALUES ('old', 5);
INSERT INTO orders (order_id, amount, status) VALUES ('old', 1, 'paid');
UPDATE orders SET seen = '{}' WHERE order_id = 'old';
INSERT INTO orders (order_id, amount) VALUES ('a', 99) ON CONFLICT (order_id) DO UPDATE SET seen = '{}';
:state
INSERT INTO orders (order_id, amount) VALUES ('a', 10) ON CONFLICT (order_id) DO UPDATE SET amount = 1;
MERGE INTO orders AS o USING (VALUES ('a', 10), ('m', 10)) AS s (order_id, amount) ON o.order_id = s.order_id
    WHEN MATCHED THEN UPDATE SET amount = s.amount + 1 WHEN NOT MATCHED THEN INSERT (order_id, amount) VALUES (s.order_id, s.amount);
MERGE INTO orders AS o USING (VALUES ('a', 10)) AS s (order_id, amount) ON o.order_id = s.order_id WHEN MATCHED THEN UPDATE SET seen = '{}';
:state
SET pg_idempotent.guard = off;
UPDATE orders SET seen = '{"amount": 1, "status": "new"}' WHERE order_id = 'm';
INSERT INTO orders (order_id, amount) VALUES ('unseen', 1);
RESET pg_idempotent.guard;
SELECT order_id, amount, status, seen FROM orders ORDER BY 1;
INSERT INTO orders (order_id, amount) VALUES ('m', 1), ('unseen', 1);
-- A payload that brings what it first was, as a restored or replicated row does: that is kept, and compared.
INSERT INTO orders (order_id, amount, status, seen) VALUES ('r', 7, 'paid', '{"amount": 5, "status": "new"}');
INSERT INTO orders (order_id, amount) VALUES ('r', 5);
INSERT INTO orders (order_id, amount, status) VALUES ('r', 7, 'paid');
INSERT INTO orders (order_id, amount, status, seen) VALUES ('r', 8, 'sent', '{"status": "new", "amount": 5.0}');
INSERT INTO orders (order_id, amount, status, seen) VALUES ('r', 7, 'paid', '{"amount": 6, "status": "new"}');
:state
INSERT INTO orders SELECT * FROM orders;
-- The same for one whose stored row remembers nothing.
SET pg_idempotent.guard = off;
INSERT INTO orders (order_id, amount, status) VALUES ('n', 1, 'paid');
RESET pg_idempotent.guard;
INSERT INTO orders (order_id, amount, status, seen) VALUES ('n', 1, 'paid', '{"amount": 6, "status": "new"}');
INSERT INTO orders (order_id, amount, status, seen) VALUES ('n', 2, 'paid', '{"amount": 1, "status": "paid"}');
-- Documents that are no such thing.
INSERT INTO orders (order_id, amount, status, seen) VALUES ('j1', 1, 'x', '[1, 2]'), ('j2', 1, 'x', '7'), ('j3', 1, 'x', 'null'), ('j4', 1, 'x', '{}'), ('j5', 1, 'x', '{"amount": 1, "nothing": 2}');
INSERT INTO orders (order_id, amount, status) VALUES ('j1', 1, 'x'), ('j2', 1, 'x'), ('j3', 1, 'x'), ('j4', 1, 'x'), ('j5', 1, 'x');
INSERT INTO orders (order_id, amount, status) VALUES ('j5', 2, 'x');
INSERT INTO orders (order_id, amount, status, seen) VALUES ('j6', 1, 'x', '{"amount": "ten"}');
INSERT INTO orders (order_id, amount, status) VALUES ('j6', 1, 'x');
:state

-- The table changes: a column that was not kept yet is that of the stored row.
ALTER TABLE orders ADD region text;
INSERT INTO orders (order_id, amount) VALUES ('a', 10);
INSERT INTO orders (order_id, amount, region) VALUES ('a', 10, 'eu');
UPDATE orders SET region = 'eu' WHERE order_id = 'a';
INSERT INTO orders (order_id, amount) VALUES ('a', 10);
INSERT INTO orders (order_id, amount, region) VALUES ('a', 10, 'eu');
INSERT INTO orders (order_id, amount, region) VALUES ('g', 10, 'eu');
SELECT seen FROM orders WHERE order_id = 'g';
-- A renamed column is another column; one that is dropped is not compared.
ALTER TABLE orders RENAME region TO area;
INSERT INTO orders (order_id, amount, area) VALUES ('g', 10, 'eu');
INSERT INTO orders (order_id, amount, area) VALUES ('g', 10, 'us');
ALTER TABLE orders DROP area;
INSERT INTO orders (order_id, amount) VALUES ('g', 10);
ALTER TABLE orders ALTER amount TYPE int;
INSERT INTO orders (order_id, amount) VALUES ('g', 10), ('a', 10);
INSERT INTO orders (order_id, amount) VALUES ('g', 11);
ALTER TABLE orders ALTER amount TYPE text;
INSERT INTO orders (order_id, amount) VALUES ('g', '10'), ('h', '10');
ALTER TABLE orders ALTER amount TYPE numeric(10,2) USING amount::numeric;
INSERT INTO orders (order_id, amount) VALUES ('h', '10.001');
-- Other options: what is compared less is kept still, what is compared more is that of the stored row.
SELECT compared, remember FROM idempotent_guard('orders', ignore => '{status}', remember => 'seen');
INSERT INTO orders (order_id, amount, status) VALUES ('a', 10, 'whatever');
SELECT compared, remember FROM idempotent_guard('orders', compare => '{amount,at}', remember => 'seen');
INSERT INTO orders (order_id, amount, at) SELECT order_id, 10, at FROM orders WHERE order_id = 'a';
INSERT INTO orders (order_id, amount, at) SELECT order_id, 10, at + '1 s' FROM orders WHERE order_id = 'nowhere';
-- Without remember the column is one like any.
SELECT compared, remember FROM idempotent_guard('orders', ignore => '{status}');
INSERT INTO orders (order_id, amount) VALUES ('g', 10);
UPDATE orders SET seen = '{}' WHERE order_id = 'g';
DROP TABLE orders;

-- A digest.
CREATE TABLE payments (id int PRIMARY KEY, amount numeric(10,2), note text, digest bytea);
INSERT INTO payments VALUES (100, 1, 'old');
SELECT compared, remember FROM idempotent_guard('payments', remember => 'digest');
INSERT INTO payments VALUES (1, 10, 'x'), (2, 10, 'x'), (3, NULL, NULL);
SELECT id, length(digest), digest = (SELECT digest FROM payments WHERE id = 1) AS as_first FROM payments ORDER BY 1;
UPDATE payments SET amount = 11;
INSERT INTO payments VALUES (1, 10.00, 'x'), (2, 10.001, 'x'), (3, NULL, NULL);
INSERT INTO payments VALUES (1, 12, 'y');
:state
-- It cannot tell which columns differed at first: those that differ from the stored row are named, if any do.
INSERT INTO payments VALUES (1, 11, 'x');
:state
INSERT INTO payments VALUES (1, 10, NULL);
DO $$
DECLARE sch text; tab text; col text; con text; sta text;
BEGIN
    INSERT INTO payments VALUES (1, 11, 'x');
EXCEPTION WHEN SQLSTATE '23I01' THEN
    GET STACKED DIAGNOSTICS sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME, con = CONSTRAINT_NAME, sta = RETURNED_SQLSTATE;
    RAISE INFO '%: schema %, table %, column "%", constraint %', sta, sch, tab, col, con;
END $$;
INSERT INTO payments VALUES (100, 11, 'old');
INSERT INTO payments VALUES (100, 1, 'old');
UPDATE payments SET digest = NULL WHERE id = 1;
:state
UPDATE payments SET digest = sha256('x') WHERE id = 1;
:state
UPDATE payments SET digest = sha256('x') WHERE id = 100;
INSERT INTO payments VALUES (100, 11, 'old');
-- It may be brought along.
INSERT INTO payments SELECT id + 10, 99, 'changed', digest FROM payments WHERE id < 3;
INSERT INTO payments VALUES (11, 10, 'x'), (12, 10, 'x');
INSERT INTO payments SELECT * FROM payments;
INSERT INTO payments SELECT id, amount, note, sha256('y') FROM payments WHERE id = 11;
INSERT INTO payments VALUES (20, 1, 'x', ''), (21, 1, 'x', '\x00');
INSERT INTO payments VALUES (20, 1, 'x');
-- Columns are known by name, and NULL adds nothing: a column that is added changes no digest.
ALTER TABLE payments ADD region text;
INSERT INTO payments (id, amount, note) VALUES (1, 10, 'x');
INSERT INTO payments (id, amount, note, region) VALUES (1, 10, 'x', 'eu');
:state
CREATE TABLE payments_2 (note text, digest bytea, gone int, region text, amount numeric(10,2), id int PRIMARY KEY);
ALTER TABLE payments_2 DROP gone;
SELECT compared, remember FROM idempotent_guard('payments_2', remember => 'digest');
INSERT INTO payments_2 (id, amount, note, digest) SELECT id, amount, note, digest FROM payments WHERE id < 3;
INSERT INTO payments_2 (id, amount, note) VALUES (1, 10, 'x'), (2, 10, 'x');
ALTER TABLE payments RENAME note TO remark;
INSERT INTO payments (id, amount, remark) VALUES (1, 10, 'x');
:state
ALTER TABLE payments RENAME remark TO note;
INSERT INTO payments (id, amount, note) VALUES (1, 10, 'x');

-- Values that are equal though written differently, in a document and in a digest; and some that are not.
CREATE DOMAIN money2 AS numeric(9,2);
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (n numeric, t timestamptz);
CREATE COLLATION IF NOT EXISTS c_again FROM "C";
CREATE TABLE kinds (
    id int PRIMARY KEY, n numeric, f float8, ts timestamptz, iv interval, j jsonb, plain_json json, arr numeric[], arr_ts timestamptz[], p pair, d money2, e mood, c char(5),
    b bytea, bits varbit, pt point, ip inet, r numrange, tt time, ttz timetz, bool bool, u uuid, n4 float4, txt text COLLATE c_again, na name, ch "char", mr nummultirange, tsv tsvector, m money, bx box, x xid);
CREATE TABLE kinds_digest (LIKE kinds INCLUDING ALL);
ALTER TABLE kinds ADD seen jsonb;
ALTER TABLE kinds_digest ADD seen bytea;
SELECT remember FROM idempotent_guard('kinds', remember => 'seen');
SELECT remember FROM idempotent_guard('kinds_digest', remember => 'seen');
CREATE VIEW one AS SELECT 1 AS id, 1.0 AS n, 0::float8 AS f, '2024-05-01 12:00Z'::timestamptz AS ts, interval '1 day' AS iv, '{"a": 1, "b": [1.0]}'::jsonb AS j, '{"a": 1, "b": 2}'::json AS plain_json, '{1.0,2.00}'::numeric[] AS arr,
    '{"2024-05-01 12:00Z"}'::timestamptz[] AS arr_ts, ROW(1.0, '2024-05-01 12:00Z')::pair AS p, 1.5::money2 AS d, 'sad'::mood AS e, 'ab'::char(5) AS c, '\x00ff'::bytea AS b, '101'::varbit AS bits,
    '(1,0)'::point AS pt, '10.0.0.1/8'::inet AS ip, '[1.0,2.0)'::numrange AS r, '12:00'::time AS tt, '12:00+00'::timetz AS ttz, true AS bool, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS u, 0.1::float4 AS n4,
    E'caf\u00e9 "q", \\' AS txt, 'na'::name AS na, 'x'::"char" AS ch, '{[1.0,2.0),[3,4)}'::nummultirange AS mr, 'a b'::tsvector AS tsv, '1.50'::money AS m, '(1,1),(0,0)'::box AS bx, '7'::xid AS x;
CREATE VIEW equal AS SELECT 1 AS id, 1.000 AS n, '-0'::float8 AS f, '2024-05-01 14:00+02'::timestamptz AS ts, interval '24 hours' AS iv, '{"b": [1], "a": 1.00}'::jsonb AS j, '{"b":2,   "a":1}'::json AS plain_json, '{1,2}'::numeric[] AS arr,
    '{"2024-05-01 14:00+02"}'::timestamptz[] AS arr_ts, ROW(1, '2024-05-01 14:00+02')::pair AS p, 1.50::money2 AS d, 'sad'::mood AS e, 'ab  '::char(5) AS c, '\x00FF'::bytea AS b, '101'::varbit AS bits,
    '(1.0,0.0)'::point AS pt, '10.0.0.1/8'::inet AS ip, '[1,2)'::numrange AS r, '12:00:00.000'::time AS tt, '12:00+00'::timetz AS ttz, true AS bool, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid AS u, 0.10::float4 AS n4,
    E'caf\u00e9 "q", \\' AS txt, 'na'::name AS na, 'x'::"char" AS ch, '{[3.0,4),[1,2)}'::nummultirange AS mr, 'b a'::tsvector AS tsv, '1.5'::money AS m, '(0,0),(1,1)'::box AS bx, '7'::xid AS x;
INSERT INTO kinds SELECT * FROM one;
INSERT INTO kinds_digest SELECT * FROM one;
-- What is kept does not depend on the session.
SET TIME ZONE 'Asia/Tokyo';
SET DateStyle = 'German';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = 0;
SET bytea_output = 'escape';
SET lc_monetary = 'C';
INSERT INTO kinds SELECT * FROM one;
INSERT INTO kinds SELECT * FROM equal;
INSERT INTO kinds_digest SELECT * FROM one;
INSERT INTO kinds_digest SELECT * FROM equal;
INSERT INTO kinds SELECT 2 AS id, (equal).* FROM (SELECT n, f, ts, iv, j, plain_json, arr, arr_ts, p, d, e, c, b, bits, pt, ip, r, tt, ttz, bool, u, n4, txt, na, ch, mr, tsv, m, bx, x FROM equal) AS equal;
RESET TIME ZONE;
SET TIME ZONE 'UTC';
SET DateStyle = 'ISO, YMD';
RESET IntervalStyle;
RESET extra_float_digits;
RESET bytea_output;
RESET lc_monetary;
INSERT INTO kinds SELECT 2 AS id, (one).* FROM (SELECT n, f, ts, iv, j, plain_json, arr, arr_ts, p, d, e, c, b, bits, pt, ip, r, tt, ttz, bool, u, n4, txt, na, ch, mr, tsv, m, bx, x FROM one) AS one;
SELECT jsonb_pretty(seen) FROM kinds WHERE id = 1;
-- After an UPDATE of everything still.
UPDATE kinds SET n = 9, f = 9, ts = now(), iv = '9 days', j = '9', plain_json = '9', arr = '{9}', arr_ts = '{}', p = NULL, d = 9, e = 'happy', c = '9', b = '9', bits = '0', pt = '(9,9)', ip = '9.9.9.9', r = 'empty',
    tt = '9:09', ttz = '9:09', bool = false, u = NULL, n4 = 9, txt = '9', na = '9', ch = '9', mr = '{}', tsv = '', m = 9, bx = NULL, x = '9';
UPDATE kinds_digest SET n = 9, f = 9, iv = NULL, j = NULL, plain_json = NULL, p = NULL, txt = '9';
INSERT INTO kinds SELECT * FROM equal;
INSERT INTO kinds_digest SELECT * FROM equal;
-- One column at a time differs: always a conflict, in both forms.
\set differs 'DO $do$ DECLARE c text; v text; s text; t text; names text[]; BEGIN FOREACH t IN ARRAY \'{kinds,kinds_digest}\'::text[] LOOP FOR c, v IN SELECT * FROM changes LOOP SELECT string_agg(CASE WHEN attname = c THEN format(\'%L\', v) ELSE quote_ident(attname) END, \', \' ORDER BY attnum) INTO s FROM pg_attribute WHERE attrelid = \'one\'::regclass AND attnum > 0; BEGIN EXECUTE format(\'INSERT INTO %I SELECT %s FROM one\', t, s); RAISE INFO \'% %: no conflict\', t, c; EXCEPTION WHEN SQLSTATE \'23I01\' THEN NULL; END; END LOOP; END LOOP; END $do$'
CREATE TABLE changes (col text, val text);
INSERT INTO changes VALUES ('n', '1.1'), ('n', NULL), ('n', 'NaN'), ('f', '1e-300'), ('ts', '2024-05-01 12:00:00.000001Z'), ('iv', '1 day 1 microsecond'), ('j', '{"a": 1, "b": [2]}'), ('j', 'null'), ('j', NULL), ('plain_json', '{"a": 1, "b": 3}'),
    ('arr', '{2,1}'), ('arr', '{1,2,NULL}'), ('arr', '{}'), ('arr_ts', '{"2024-05-01 12:00Z",NULL}'), ('p', '(1,)'), ('p', '(2,"2024-05-01 12:00Z")'), ('d', '1.51'), ('e', 'happy'), ('c', 'abc'), ('b', '\x00fe'), ('b', ''), ('bits', '1010'), ('bits', '100'),
    ('pt', '(1,1e-300)'), ('ip', '10.0.0.1/9'), ('r', '[1.0,2.0]'), ('r', 'empty'), ('tt', '12:00:00.000001'), ('ttz', '12:00+01'), ('bool', 'false'), ('u', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'), ('n4', '0.1000001'),
    ('txt', 'cafe'), ('txt', ''), ('txt', NULL), ('na', 'nb'), ('ch', 'y'), ('mr', '{[1,2)}'), ('tsv', 'a'), ('m', '1.51'), ('bx', '(1,1),(0,1e-300)'), ('x', '8');
:differs;

-- What JSON alone could not tell: JSON null and NULL, bounds of arrays, values at the ends of types. And settings that change texts.
CREATE TABLE ends (id int PRIMARY KEY, j jsonb, pj json, ja jsonb[], p pair, f float8, fs float8[], f4 float4, n numeric, ts timestamptz, t timestamp, d date, iv interval, txt text, vec int2vector, seen jsonb);
CREATE TABLE ends_digest (LIKE ends INCLUDING ALL);
ALTER TABLE ends_digest DROP seen, ADD seen bytea;
SELECT remember FROM idempotent_guard('ends', remember => 'seen');
SELECT remember FROM idempotent_guard('ends_digest', remember => 'seen');
CREATE VIEW extremes AS VALUES
    (1, 'null'::jsonb, NULL::json, '{"null","{\"a\": null}",NULL}'::jsonb[], ROW(NULL, 'infinity')::pair, 'NaN'::float8, '{NaN,-0,1e-307}'::float8[], 'Infinity'::float4, 'NaN'::numeric, 'infinity'::timestamptz, '-infinity'::timestamp, '4713-01-01 BC'::date,
        '1 year 2 mons -3 days 04:05:06.789'::interval, E'a\nb\t"\\\u0001', '1 2'::int2vector),
    (2, NULL, 'null', '{}', ROW('NaN', NULL)::pair, 1.7976931348623157e308, '[0:1]={1,2}', 1.17549435e-38, 'Infinity', '0044-03-15 BC 12:00+00', '294276-12-31 23:59:59.999999', 'infinity', '-1 day', '', ''),
    (3, '"null"', '"null"', '{{"1","2"},{"3","4"}}', NULL, 2.2250738585072014e-308, '[-1:0][5:5]={{1},{NULL}}', 0.3, 1e-30::numeric + 1e30, '1883-01-01 00:00+00', '2024-02-29', '2024-02-29', '178000000 years', 'Ω', '0');
INSERT INTO ends SELECT * FROM extremes;
INSERT INTO ends_digest SELECT * FROM extremes;
SET TIME ZONE 'America/St_Johns';
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'iso_8601';
SET extra_float_digits = -15;
INSERT INTO ends SELECT * FROM extremes;
INSERT INTO ends_digest SELECT * FROM extremes;
UPDATE ends SET j = NULL, ja = NULL, fs = NULL, p = NULL, vec = NULL;
UPDATE ends_digest SET j = NULL, ja = NULL, fs = NULL, p = NULL, vec = NULL;
SET TIME ZONE 'UTC';
SET DateStyle = 'ISO, YMD';
RESET IntervalStyle;
RESET extra_float_digits;
INSERT INTO ends SELECT * FROM extremes;
INSERT INTO ends_digest SELECT * FROM extremes;
INSERT INTO ends SELECT column1, NULL::jsonb, column3, column4, column5, column6, column7, column8, column9, column10, column11, column12, column13, column14, column15 FROM extremes WHERE column1 = 1;
INSERT INTO ends SELECT column1, column2, column3, column4, column5, column6, '{1,2}'::float8[], column8, column9, column10, column11, column12, column13, column14, column15 FROM extremes WHERE column1 = 2;
-- What runs together in a digest does not: names and lengths are part of it.
CREATE TABLE ab (id int PRIMARY KEY, a text, b text, seen bytea);
SELECT remember FROM idempotent_guard('ab', remember => 'seen');
INSERT INTO ab VALUES (1, 'x', 'yz'), (2, 'xy', 'z'), (3, '', NULL), (4, NULL, ''), (5, NULL, NULL), (6, 'x', NULL), (7, NULL, 'x'), (8, 'xb', NULL);
SELECT count(DISTINCT seen) FROM ab;
UPDATE ab SET a = 'q', b = 'q';
INSERT INTO ab VALUES (1, 'xy', 'z');
INSERT INTO ab VALUES (3, NULL, '');
-- A column that is added with a default is another matter for a digest than for a document.
ALTER TABLE ab ADD region text DEFAULT 'eu';
INSERT INTO ab VALUES (1, 'x', 'yz');
:state
CREATE TABLE cd (id int PRIMARY KEY, a text, seen jsonb);
SELECT remember FROM idempotent_guard('cd', remember => 'seen');
INSERT INTO cd VALUES (1, 'x');
ALTER TABLE cd ADD region text DEFAULT 'eu';
INSERT INTO cd VALUES (1, 'x');
-- Large values: kept whole, or as a digest.
CREATE TABLE large (id int PRIMARY KEY, v text, a int[], seen jsonb);
SELECT remember FROM idempotent_guard('large', remember => 'seen');
INSERT INTO large SELECT 1, string_agg(md5(n::text), ''), array_agg(n) FROM generate_series(1, 5000) AS n;
UPDATE large SET v = '', a = '{}';
INSERT INTO large SELECT 1, string_agg(md5(n::text), ''), array_agg(n) FROM generate_series(1, 5000) AS n;
INSERT INTO large SELECT 1, string_agg(md5(n::text), ''), array_agg(n + 1) FROM generate_series(1, 5000) AS n;
SELECT count(*) FROM large WHERE length(seen ->> 'v') = 160000 AND jsonb_array_length(seen -> 'a') = 5000;
-- A column that remembers may be NOT NULL, but have no default.
CREATE TABLE strict (id int PRIMARY KEY, v int, seen jsonb NOT NULL);
SELECT remember FROM idempotent_guard('strict', remember => 'seen');
INSERT INTO strict VALUES (1, 1), (1, 1);
CREATE TABLE defaulted (id int PRIMARY KEY, v int, seen jsonb DEFAULT '{}');
SELECT remember FROM idempotent_guard('defaulted', remember => 'seen');
:state
-- Nothing to keep but the key.
CREATE TABLE keys (id int PRIMARY KEY, seen jsonb, digest bytea);
SELECT compared, remember FROM idempotent_guard('keys', remember => 'seen', ignore => '{digest}');
INSERT INTO keys VALUES (1), (1), (2);
SELECT compared, remember FROM idempotent_guard('keys', remember => 'digest', ignore => '{seen}');
INSERT INTO keys VALUES (1), (3), (3);
SELECT id, seen, length(digest) FROM keys ORDER BY 1;
-- Domains over jsonb and bytea, and odd names.
CREATE DOMAIN first_seen AS jsonb;
CREATE TABLE odd (id int PRIMARY KEY, "V, ""v""" int, "Seen, first" jsonb, domain first_seen);
SELECT compared, remember FROM idempotent_guard('odd', remember => 'Seen, first', ignore => '{domain}');
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'odd'::regclass;
INSERT INTO odd VALUES (1, 1), (1, 1);
UPDATE odd SET "V, ""v""" = 2;
INSERT INTO odd VALUES (1, 1);
INSERT INTO odd VALUES (1, 2);
SELECT compared, remember FROM idempotent_guard('odd', remember => 'domain');
:state
-- The column goes, or changes its type.
ALTER TABLE odd DROP "Seen, first";
SELECT problem FROM idempotent.guards WHERE target = 'odd'::regclass;
INSERT INTO odd VALUES (1, 1);
:state
UPDATE odd SET "V, ""v""" = 3;
:state
ALTER TABLE odd ADD "Seen, first" text;
INSERT INTO odd VALUES (1, 1);
:state

-- Quarantine with remember.
CREATE TABLE q (id int PRIMARY KEY, v int, w int, seen jsonb);
CREATE TABLE qd (id int PRIMARY KEY, v int, w int, seen bytea);
SELECT on_conflict, remember FROM idempotent_guard('q', on_conflict => 'quarantine', remember => 'seen');
SELECT on_conflict, remember FROM idempotent_guard('qd', on_conflict => 'quarantine', remember => 'seen');
INSERT INTO q VALUES (1, 1, 1), (2, 2, 2);
INSERT INTO qd VALUES (1, 1, 1), (2, 2, 2);
UPDATE q SET v = 10;
UPDATE qd SET v = 10;
INSERT INTO q VALUES (1, 1, 1), (1, 5, 1), (1, 5, 1), (2, 10, 2), (3, 3, 3);
INSERT INTO qd VALUES (1, 1, 1), (1, 5, 1), (1, 5, 1), (2, 10, 2), (2, 10, 2), (3, 3, 3);
SELECT id, target, key, payload, stored #- '{seen}' AS stored, differences FROM idempotent.conflicts ORDER BY id;
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts WHERE target = 'q'::regclass ORDER BY id;
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts WHERE target = 'qd'::regclass ORDER BY id;
SELECT * FROM q ORDER BY id;
SELECT id, v, w FROM qd ORDER BY id;
INSERT INTO q VALUES (1, 1, 1), (2, 2, 2);

SET client_min_messages = warning;
DROP SCHEMA remember CASCADE;
SELECT count(*) FROM idempotent.guards;
