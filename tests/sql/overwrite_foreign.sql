-- idempotent_overwrite of a foreign table. Needs postgres_fdw.
SELECT count(*) = 0 AS no_fdw FROM pg_available_extensions WHERE name = 'postgres_fdw' \gset
\if :no_fdw
\echo SKIPPED: this server has no postgres_fdw
\quit
\endif
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :SQLSTATE'
CREATE EXTENSION postgres_fdw;
SELECT format('host %L, port %L, dbname %L', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()) AS there \gset
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (:there);
CREATE USER MAPPING FOR CURRENT_USER SERVER far;
CREATE SCHEMA there;
CREATE TABLE there.sales (day date, shop text, n int, note text DEFAULT 'there');
CREATE FOREIGN TABLE sales (day date, shop text, n int, note text DEFAULT 'here') SERVER far OPTIONS (schema_name 'there');
CREATE TABLE arriving (shop text, n int, day date);
INSERT INTO there.sales VALUES ('2020-01-02', 'a', 9, 'old');
INSERT INTO arriving VALUES ('a', 1, '2020-01-01'), ('b', 2, '2020-01-01'), (NULL, NULL, '2020-01-01');
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
SELECT * FROM there.sales ORDER BY day, shop;
-- Equal: nothing is written.
BEGIN READ ONLY;
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": "2020-01-01"}');
COMMIT;
UPDATE arriving SET n = 3 WHERE shop = 'b';
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{"day": {"from": "2020-01-01", "to": "2020-01-02"}}');
BEGIN;
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{}');
ROLLBACK;
SELECT day, count(*) FROM there.sales GROUP BY day ORDER BY day;
INSERT INTO arriving SELECT 'c', i, date '2020-01-03' + i % 2 FROM generate_series(1, 700) AS i;
SELECT * FROM idempotent_overwrite_each('sales', 'arriving', '{day}');
SELECT * FROM idempotent_overwrite_each('sales', 'arriving', '{day}');
SELECT day, count(*), sum(n) FROM there.sales GROUP BY day ORDER BY day;
-- Rows of the slice that the other server keeps, and rows that are outside of it.
CREATE FUNCTION there.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN OLD.n = 5 THEN NULL ELSE OLD END; END $$;
CREATE TRIGGER keep BEFORE DELETE ON there.sales FOR EACH ROW EXECUTE FUNCTION there.keep();
CREATE VIEW fewer AS SELECT * FROM arriving WHERE day = '2020-01-04' AND n > 100;
SELECT * FROM idempotent_overwrite('sales', 'fewer', '{"day": "2020-01-04"}');
:state
SELECT * FROM idempotent_overwrite('sales', 'fewer', '{"day": "2020-01-03"}');
:state
SELECT count(*) FROM there.sales WHERE day = '2020-01-04';
-- The snapshot of the other server must not be older than the lock.
CREATE FOREIGN TABLE other (day date) SERVER far OPTIONS (schema_name 'there', table_name 'sales');
BEGIN;
SELECT count(*) FROM other;
SELECT * FROM idempotent_overwrite('sales', 'fewer', '{"day": "2020-01-04"}');
:state
ROLLBACK;
BEGIN;
SELECT count(*) FROM arriving;
SELECT unchanged FROM idempotent_overwrite_each('sales', 'arriving', '{day}');
SELECT * FROM idempotent_overwrite_each('sales', 'arriving', '{day}');
:state
ROLLBACK;
-- A source on the same server is read under that snapshot, too.
CREATE VIEW same_server AS SELECT * FROM sales WHERE day = '2020-01-01';
SELECT * FROM idempotent_overwrite('sales', 'same_server', '{"day": "2020-01-01"}');
-- A table that cannot be written.
ALTER FOREIGN TABLE sales OPTIONS (updatable 'false');
SELECT * FROM idempotent_overwrite('sales', 'fewer', '{"day": "2020-01-04"}');
:state
-- With the rights of the caller.
CREATE ROLE regress_pgi_far_overwrite;
GRANT SELECT ON arriving TO regress_pgi_far_overwrite;
GRANT SELECT, INSERT ON sales TO regress_pgi_far_overwrite;
SET ROLE regress_pgi_far_overwrite;
SELECT * FROM idempotent_overwrite('sales', 'arriving', '{}');
:state
RESET ROLE;
DROP OWNED BY regress_pgi_far_overwrite;
DROP ROLE regress_pgi_far_overwrite;
