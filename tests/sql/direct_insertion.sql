-- Rows go in without a statement where nothing but the table has a say, and with the same outcome.
SET client_min_messages = warning;
SET pg_idempotent.direct_insertion = on;
CREATE SCHEMA direct;
SET search_path = direct, public;
-- How the row at hand goes in, for a default: a statement is in the context.
CREATE FUNCTION way() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    context text;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    RETURN CASE WHEN context ~ 'SQL statement "INSERT INTO \S+ .*(ON CONFLICT|pg_idempotent_rows)' THEN 'statement' ELSE 'direct' END;
END $$;
-- The way of one row, of two, of two with other columns, and of many that are new.
CREATE FUNCTION ways(target regclass) RETURNS TABLE (one text, two text, unlike text, many text) LANGUAGE plpgsql AS $$
DECLARE
    way text := format('SELECT string_agg(DISTINCT way, %L) FROM %s WHERE id BETWEEN $1 AND $2', ' and ', target);
BEGIN
    PERFORM idempotent_insert(target, '{"id": 1}', key => '{id}');
    EXECUTE way INTO one USING 1, 1;
    PERFORM idempotent_insert_many(target, '[{"id": 2}, {"id": 3}]', key => '{id}');
    EXECUTE way INTO two USING 2, 3;
    PERFORM idempotent_insert_many(target, '[{"id": 4}, {"id": 5, "note": "a"}]', key => '{id}');
    EXECUTE way INTO unlike USING 4, 5;
    PERFORM idempotent_insert_many(target, (SELECT jsonb_agg(jsonb_build_object('id', i)) FROM generate_series(1001, 7000) i), key => '{id}');
    EXECUTE way INTO many USING 1001, 7000;
    RETURN NEXT;
END $$;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';

CREATE TABLE plain (id int PRIMARY KEY, note text, way text DEFAULT way());
SELECT * FROM ways('plain');
TRUNCATE plain;
-- Many rows that name different columns, with rows of one key among them; then with rows that are stored.
SELECT * FROM idempotent_insert_many('plain', (SELECT jsonb_agg(jsonb_build_object('id', i % 5999) || CASE WHEN i % 3 = 1 THEN jsonb_build_object('note', i % 5999) ELSE '{}' END)
    FROM generate_series(1, 6000) i));
SELECT count(*), count(note), sum(note::int), string_agg(DISTINCT way, ' and ') FROM plain;
SELECT * FROM idempotent_insert_many('plain', (SELECT jsonb_agg(jsonb_build_object('id', i) || CASE WHEN i % 3 = 1 THEN jsonb_build_object('note', i) ELSE '{}' END)
    FROM generate_series(1000, 14000) i), ignore => '{note}');
SELECT count(*), count(note), string_agg(DISTINCT way, ' and ') FROM plain;
TRUNCATE plain;
SET pg_idempotent.direct_insertion = off;
SELECT * FROM ways('plain');
SET pg_idempotent.direct_insertion = on;

-- What the executor's functions see to.
CREATE TABLE parents (id int PRIMARY KEY);
INSERT INTO parents VALUES (7);
CREATE TABLE rich (
    serial bigint GENERATED ALWAYS AS IDENTITY, dropped int, id int PRIMARY KEY CHECK (id > 0), note text NOT NULL DEFAULT 'none',
    twice int GENERATED ALWAYS AS (id * 2) STORED, parent int DEFAULT 7 REFERENCES parents, way text DEFAULT way(),
    at timestamptz DEFAULT now(), span int4range, UNIQUE (serial) DEFERRABLE, EXCLUDE USING gist (span WITH &&));
ALTER TABLE rich DROP COLUMN dropped;
SELECT * FROM ways('rich');
SELECT count(*), min(serial), count(DISTINCT serial), sum(twice), bool_and(note = 'none' OR id = 5), bool_and(parent = 7) FROM rich;
CREATE TABLE triggered (LIKE plain INCLUDING ALL);
CREATE TRIGGER before BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION keep();
CREATE TRIGGER after AFTER INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION keep();
SELECT * FROM ways('triggered');
CREATE TABLE guarded (LIKE plain INCLUDING ALL);
SELECT count(*) FROM idempotent_guard('guarded', ignore => '{way}');
SELECT * FROM ways('guarded');
CREATE TEMP TABLE temporary (LIKE plain INCLUDING ALL);
SELECT * FROM ways('temporary');
CREATE TABLE whole (id int PRIMARY KEY, note text, way text DEFAULT way()) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF whole FOR VALUES FROM (0) TO (7001);
SELECT * FROM ways('part');
SELECT * FROM idempotent_insert('part', '{"id": 7001}');

-- What sends rows the way of a statement.
TRUNCATE whole;
SELECT * FROM ways('whole');
CREATE TABLE counted (LIKE plain INCLUDING ALL);
CREATE TRIGGER counts AFTER INSERT ON counted EXECUTE FUNCTION keep();
SELECT * FROM ways('counted');
CREATE TABLE transition (LIKE plain INCLUDING ALL);
CREATE TRIGGER transition AFTER INSERT ON transition REFERENCING NEW TABLE AS new EXECUTE FUNCTION keep();
SELECT * FROM ways('transition');
CREATE TABLE twins (LIKE plain INCLUDING ALL, UNIQUE (id));
SELECT * FROM ways('twins');
CREATE TABLE partial (id int NOT NULL, note text, way text DEFAULT way());
CREATE UNIQUE INDEX ON partial (id) WHERE id > 0;
SELECT * FROM ways('partial');
CREATE DOMAIN amount AS int CHECK (VALUE IS NOT NULL);
CREATE TABLE domains (LIKE plain INCLUDING ALL, amount amount DEFAULT 1);
SELECT * FROM ways('domains');
ALTER TABLE domains ALTER amount DROP DEFAULT;
SELECT * FROM idempotent_insert('domains', '{"id": 8000}');
CREATE TABLE policed (LIKE plain INCLUDING ALL);
ALTER TABLE policed ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON policed USING (true);
SELECT * FROM ways('policed');
TRUNCATE policed;
CREATE ROLE regress_direct;
GRANT USAGE ON SCHEMA direct TO regress_direct;
GRANT ALL ON ALL TABLES IN SCHEMA direct TO regress_direct;
SET ROLE regress_direct;
SELECT * FROM ways('policed');
RESET ROLE;

-- A trigger that was created between two calls, and one that is gone.
CREATE TRIGGER counts AFTER INSERT ON plain EXECUTE FUNCTION keep();
SELECT stored ->> 'way' AS way FROM idempotent_insert('plain', '{"id": 9001}');
DROP TRIGGER counts ON plain;
SELECT stored ->> 'way' AS way FROM idempotent_insert('plain', '{"id": 9002}');

-- An error is the same to the last field, whichever way.
CREATE TABLE strict (
    id int PRIMARY KEY, amount int NOT NULL CHECK (amount > 0), code text UNIQUE, parent int REFERENCES parents, span int4range,
    half int GENERATED ALWAYS AS (10 / amount) STORED, late int UNIQUE DEFERRABLE, EXCLUDE USING gist (span WITH &&));
INSERT INTO strict VALUES (1, 1, 'a', NULL, '[1,10)', DEFAULT, 1);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.amount = 99 THEN
        RAISE EXCEPTION 'refused' USING ERRCODE = 'UX001', DETAIL = 'd', HINT = 'h', SCHEMA = 's', TABLE = 't', COLUMN = 'c', CONSTRAINT = 'x', DATATYPE = 'y';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON strict FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE FUNCTION error_of(payloads jsonb) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    a text; b text; c text; d text; e text; f text; g text; h text; i text; j text;
BEGIN
    PERFORM idempotent_insert_many('strict', payloads);
    SET CONSTRAINTS ALL IMMEDIATE;
    RETURN '{}';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS a = RETURNED_SQLSTATE, b = MESSAGE_TEXT, c = PG_EXCEPTION_DETAIL, d = PG_EXCEPTION_HINT, e = SCHEMA_NAME,
        f = TABLE_NAME, g = COLUMN_NAME, h = CONSTRAINT_NAME, i = PG_DATATYPE_NAME, j = PG_EXCEPTION_CONTEXT;
    -- The statement is the one difference in the context.
    j = regexp_replace(split_part(j, 'SQL statement "SELECT idempotent_insert', 1), '^SQL statement "INSERT INTO direct.strict .*?"\n', '', 'n');
    RETURN ARRAY[a, b, c, d, e, f, g, h, i, j];
END $$;
CREATE TABLE attempts (n int, payloads jsonb);
INSERT INTO attempts VALUES
    (1, '[{"id": 2, "amount": 1}, {"id": 3, "amount": null}]'),
    (2, '[{"id": 2, "amount": 1}, {"id": 3, "amount": -1}]'),
    (3, '[{"id": 2, "amount": 1}, {"id": 3, "amount": 1, "code": "a"}]'),
    (4, '[{"id": 3, "amount": 1, "parent": 8}]'),
    (5, '[{"id": 3, "amount": 1, "span": "[5,6)"}]'),
    (6, '[{"id": 3, "amount": 0}]'),
    (7, '[{"id": 3, "amount": 1, "late": 1}]'),
    (8, '[{"id": 3, "amount": 99}]'),
    (9, '[{"id": 3, "amount": 1, "code": "b", "half": 11}]');
SELECT n, array_to_string(error_of(payloads), '|', '') AS error FROM attempts ORDER BY n;
CREATE TABLE errors AS SELECT n, error_of(payloads) AS direct FROM attempts;
SET pg_idempotent.direct_insertion = off;
SELECT n, direct, error_of(payloads) AS by_statement FROM errors JOIN attempts USING (n) WHERE direct IS DISTINCT FROM error_of(payloads);
SET pg_idempotent.direct_insertion = on;
-- A role sees of the failing row what it has sent, and what it may read.
REVOKE ALL ON strict FROM regress_direct;
GRANT INSERT, SELECT (id) ON strict TO regress_direct;
SET ROLE regress_direct;
SELECT idempotent_insert('strict', '{"id": 3, "amount": -1}');
SET pg_idempotent.direct_insertion = off;
SELECT idempotent_insert('strict', '{"id": 3, "amount": -1}');
SET pg_idempotent.direct_insertion = on;
RESET ROLE;

-- Identities, with and without OVERRIDING; sequences draw alike.
CREATE TABLE numbered (id int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, m int GENERATED BY DEFAULT AS IDENTITY (START 100), s serial);
SELECT stored FROM idempotent_insert('numbered', '{"id": 1}');
SELECT stored FROM idempotent_insert('numbered', '{"id": 2, "n": 50, "m": 60}', overriding => 'system');
SELECT stored FROM idempotent_insert('numbered', '{"id": 3, "n": 50, "m": 60}', overriding => 'user');
SELECT stored FROM idempotent_insert('numbered', '{"id": 4, "n": 50}');
SELECT stored FROM idempotent_insert('numbered', '{"id": 4}');

-- A function in a default is called with the rights of the caller.
CREATE FUNCTION private() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
REVOKE ALL ON FUNCTION private() FROM PUBLIC;
CREATE TABLE defaulted (id int PRIMARY KEY, v int DEFAULT private());
GRANT ALL ON defaulted TO regress_direct;
SET ROLE regress_direct;
SELECT * FROM idempotent_insert('defaulted', '{"id": 1}');
SELECT * FROM idempotent_insert('defaulted', '{"id": 1, "v": 2}');
RESET ROLE;

-- READ ONLY; a temporary table may be written.
BEGIN READ ONLY;
SELECT outcome FROM idempotent_insert('temporary', '{"id": 9000}');
SELECT outcome FROM idempotent_insert('plain', '{"id": 9000}');
ROLLBACK;
DROP OWNED BY regress_direct;
DROP ROLE regress_direct;
