-- Tables that PostgreSQL 18 brought: virtual generated columns, temporal keys, NOT NULL constraints with names.
SELECT current_setting('server_version_num')::int < 180000 AS older \gset
\if :older
\echo SKIPPED: this server is older than PostgreSQL 18
\quit
\endif
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA odd18;
SET search_path = odd18, public;
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';

-- A virtual column is not in the table: `stored` leaves it out. A payload may name it with the value that it has.
CREATE TABLE computed (id int PRIMARY KEY, v int, g int GENERATED ALWAYS AS (v * 2), s int GENERATED ALWAYS AS (v * 3) STORED);
SELECT * FROM idempotent_insert('computed', '{"id": 1, "v": 1}');
SELECT * FROM idempotent_insert('computed', '{"id": 1, "v": 1}');
SELECT * FROM idempotent_insert('computed', '{"id": 1, "v": 2}', on_conflict => 'report');
SELECT * FROM idempotent_insert_each('computed', '[{"id": 1, "v": 1}, {"id": 2, "v": 2}, {"id": 2, "v": 2}]');
SELECT * FROM idempotent_insert('computed', '{"id": 1, "v": 1, "g": 2}');
SELECT * FROM idempotent_insert_many('computed', (SELECT jsonb_agg(to_jsonb(c) || jsonb_build_object('id', id + 10)) FROM computed c));
SELECT * FROM idempotent_insert_many('computed', (SELECT jsonb_agg(to_jsonb(c)) FROM computed c));
DELETE FROM computed WHERE id > 10;
SELECT * FROM idempotent_insert('computed', '{"id": 1, "v": 1, "g": 3}');
:state
SELECT * FROM idempotent_insert('computed', '{"id": 9, "v": 1, "g": 3}');
:state
SELECT * FROM idempotent_insert('computed', '{"id": 1, "v": 1, "g": 2}', compare => '{g}');
:state
INSERT INTO computed (id, v, g) VALUES (3, 1, 2);
:state
SELECT outcome FROM idempotent_insert('computed', '{"id": 1, "v": 5}', on_conflict => 'quarantine');
SELECT stored, differences FROM idempotent.conflicts;
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts;
SELECT * FROM computed ORDER BY id;
-- So may the source of an overwrite.
CREATE TABLE computed_copy AS SELECT * FROM computed WHERE id = 1;
SELECT * FROM idempotent_overwrite('computed', 'computed_copy', '{"id": 1}');
UPDATE computed_copy SET v = 7, g = 14, s = 21;
SELECT * FROM idempotent_overwrite('computed', 'computed_copy', '{"id": 1}');
SELECT * FROM idempotent_overwrite('computed', 'computed_copy', '{"g": 14}');
UPDATE computed_copy SET g = 15;
SELECT * FROM idempotent_overwrite('computed', 'computed_copy', '{"id": 1}');
:state
SELECT * FROM computed ORDER BY id;

-- A temporal key is no equality: rows with other keys can conflict with it, so it cannot decide.
CREATE TABLE temporal (room int4range, at tstzrange, n int UNIQUE, v int, PRIMARY KEY (room, at WITHOUT OVERLAPS));
SELECT outcome FROM idempotent_insert('temporal', '{"room": "[1,2)", "at": "[2024-01-01,2025-01-01)", "n": 1, "v": 1}');
SELECT outcome FROM idempotent_insert('temporal', '{"room": "[1,2)", "at": "[2024-01-01,2025-01-01)", "n": 1, "v": 1}', key => '{n}');
SELECT outcome FROM idempotent_insert('temporal', '{"room": "[1,2)", "at": "[2024-01-01,2025-01-01)", "n": 1, "v": 1}', key => '{room, at}');
:state
SELECT outcome FROM idempotent_insert('temporal', '{"room": "[1,2)", "at": "[2024-06-01,2026-01-01)", "n": 2, "v": 1}');
:state

-- A NOT NULL constraint names itself.
CREATE TABLE named (id int PRIMARY KEY, v int CONSTRAINT v_is_there NOT NULL);
DO $$
DECLARE con text; col text;
BEGIN
    PERFORM idempotent_insert('named', '{"id": 1, "v": null}');
EXCEPTION WHEN not_null_violation THEN
    GET STACKED DIAGNOSTICS con = CONSTRAINT_NAME, col = COLUMN_NAME;
    RAISE INFO '% "%" %', sqlerrm, con, col;
END $$;
DO $$
DECLARE con text; col text;
BEGIN
    INSERT INTO named VALUES (1, null);
EXCEPTION WHEN not_null_violation THEN
    GET STACKED DIAGNOSTICS con = CONSTRAINT_NAME, col = COLUMN_NAME;
    RAISE INFO '% "%" %', sqlerrm, con, col;
END $$;

SET client_min_messages = warning;
DROP SCHEMA odd18 CASCADE;
DELETE FROM idempotent.conflict_records;
