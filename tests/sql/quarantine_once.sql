-- A conflict that arrives again is recorded once, also where its values are written in another way: by the types' equality.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA once;
SET search_path = once, public;
SET timezone = 'UTC';
CREATE TABLE orders (id numeric PRIMARY KEY, n numeric, i interval, t timestamptz, c char(5), j jsonb, a numeric[], plain json, f float8, note text);
INSERT INTO orders VALUES (1, 1, '1 hour', '2024-01-01', 'a', '{}', '{1}', '{}', 1, 'stored');
CREATE FUNCTION sends(VARIADIC payloads text[]) RETURNS TABLE (payload text, outcome text, recorded bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOREACH payload IN ARRAY payloads LOOP
        SELECT i.outcome INTO outcome FROM idempotent_insert('orders', payload::jsonb, on_conflict => 'quarantine') i;
        SELECT count(*) INTO recorded FROM idempotent.conflicts WHERE target = 'once.orders'::regclass;
        RETURN NEXT;
    END LOOP;
END $$;
SELECT * FROM sends('{"id": 1, "n": 2}', '{"id": 1, "n": 2.0}', '{"id": 1.00, "n": "2.000"}', '{"id": 1, "n": 3}', '{"id": 1, "n": null}');
SELECT * FROM sends('{"id": 1, "i": "1 day"}', '{"id": 1, "i": "24:00"}', '{"id": 1, "i": "25:00"}');
SELECT * FROM sends('{"id": 1, "t": "2024-01-01 12:00Z"}', '{"id": 1, "t": "2024-01-01 14:00+02"}', '{"id": 1, "c": "b"}', '{"id": 1, "c": "b  "}');
SELECT * FROM sends('{"id": 1, "j": {"a": 1, "b": 1}}', '{"id": 1, "j": {"b": 1.0, "a": 1}}', '{"id": 1, "plain": {"a": 2.0}}', '{"id": 1, "plain": {"a": 2}}', '{"id": 1, "a": [2]}', '{"id": 1, "a": [2.0]}', '{"id": 1, "f": 2}', '{"id": 1, "f": "2e0"}');
-- Not compared, not told apart; another column with the same values is another conflict; so is one with another stored row.
SELECT p.outcome, (SELECT count(*) FROM idempotent.conflicts WHERE target = 'orders'::regclass) FROM idempotent_insert('orders', '{"id": 1, "n": 2, "note": "x"}', ignore => '{note}', on_conflict => 'quarantine') p;
SELECT p.outcome, (SELECT count(*) FROM idempotent.conflicts WHERE target = 'orders'::regclass) FROM idempotent_insert('orders', '{"id": 1, "f": 2, "n": 2}', on_conflict => 'quarantine') p;
SELECT count(*) FROM idempotent.conflicts WHERE target = 'orders'::regclass;
UPDATE orders SET note = 'changed';
SELECT * FROM sends('{"id": 1, "n": 2}', '{"id": 1, "n": 2.0}');
-- Once resolved, it may be recorded again.
SELECT idempotent_resolve(max(id), 'keep_stored') FROM idempotent.conflicts WHERE target = 'orders'::regclass;
SELECT * FROM sends('{"id": 1, "n": 2.0}', '{"id": 1, "n": 2}');
-- From a batch.
TRUNCATE orders;
INSERT INTO orders (id, n) VALUES (2, 1);
SELECT * FROM idempotent_insert_many('orders', '[{"id": 2, "n": 5}, {"id": 2.0, "n": 5.0}, {"id": 2, "n": 6}]', on_conflict => 'quarantine');
SELECT key, payload FROM idempotent.conflicts WHERE target = 'orders'::regclass AND key @> '{"id": 2}' ORDER BY id;
-- NULL in one column is not NULL in another.
INSERT INTO orders (id, n, f) VALUES (1, 1, 1);
SELECT * FROM sends('{"id": 1, "n": null}', '{"id": 1, "f": null}', '{"id": 1, "n": null}');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA once CASCADE;
