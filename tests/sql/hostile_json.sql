-- Attacks with json. It is kept as text, and jsonb refuses some of what it may hold; the server's error quotes the text
-- around. Nobody learns so what they may not read.
\set VERBOSITY default
\set SHOW_CONTEXT errors
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE ROLE regress_pgi_mallory;
CREATE SCHEMA vault;
GRANT USAGE ON SCHEMA vault TO regress_pgi_mallory;
SET search_path = vault, public;

-- 1. Mallory may insert, and read the key only. The stored texts hold the character 0, half a surrogate pair (low, high, at
--    the end), and numbers beyond numeric. The next are fine: an escaped backslash before u0000, a whole pair, a large number.
CREATE TABLE notes (id int PRIMARY KEY, note json);
INSERT INTO notes VALUES
    (1, '{"pin": "4711\u0000"}'), (2, '{"pin": "4711", "x": "\udE00"}'), (3, '{"pin": "4711", "x": "\uD83D "}'),
    (4, '{"pin": "4711", "x": "\uD83D"}'), (5, '{"pin": 4711, "x": 1e9999999999}'), (6, '[4711, 1E-999999]'),
    (7, '{"pin": "4711\\u0000"}'), (8, '{"pin": "4711\ud83d\ude00"}'), (9, '{"true": false, "x": 1e5000}');
GRANT SELECT (id), INSERT ON notes TO regress_pgi_mallory;
SET ROLE regress_pgi_mallory;
SELECT ordinal, outcome, stored, differences
  FROM idempotent_insert_each('notes', '[{"id": 1, "note": {}}, {"id": 2, "note": {}}, {"id": 3, "note": {}},
       {"id": 4, "note": {}}, {"id": 5, "note": {}}, {"id": 6, "note": {}}, {"id": 7, "note": {}},
       {"id": 8, "note": {}}, {"id": 9, "note": {"x": 1e5000, "true": false}}]', on_conflict => 'report');
RESET ROLE;
SELECT key FROM idempotent_guard('notes');
SET ROLE regress_pgi_mallory;
INSERT INTO notes VALUES (1, '{}');
:state
INSERT INTO notes VALUES (5, '{}');
:state
-- Two that are refused are equal if their texts are, and only then.
INSERT INTO notes VALUES (2, '{"pin": "4711", "x": "\udE00"}');
INSERT INTO notes VALUES (2, '{"pin": "4711", "x": "\ude00"}');
:state
INSERT INTO notes VALUES (9, '{"x": 1e5000, "true": false}');
RESET ROLE;

-- 2. Recorded, it is its text. No payload is applied over what cannot be compared.
SELECT key FROM idempotent_guard('notes', on_conflict => 'quarantine');
SET ROLE regress_pgi_mallory;
INSERT INTO notes VALUES (1, '{}');
RESET ROLE;
SELECT key, payload, stored, differences FROM idempotent.conflicts WHERE target = 'notes'::regclass;
SELECT max(id) AS id FROM idempotent.conflicts \gset
SELECT idempotent_resolve(:id, 'apply_payload');
:state
SELECT idempotent_resolve(:id, 'keep_stored');

-- 3. In an array it is not recorded, and not shown to Mallory either.
CREATE TABLE lists (id int PRIMARY KEY, notes json[]);
INSERT INTO lists VALUES (1, ARRAY['{"pin": "4711\u0000"}'::json]);
GRANT SELECT (id), INSERT ON lists TO regress_pgi_mallory;
SELECT key FROM idempotent_guard('lists', on_conflict => 'quarantine');
SET ROLE regress_pgi_mallory;
INSERT INTO lists VALUES (1, ARRAY['{}'::json]);
:state
SELECT idempotent_insert('lists', '{"id": 1, "notes": [{}]}', on_conflict => 'quarantine');
:state
RESET ROLE;

-- 4. A digest tells what jsonb refuses from the JSON string with the same text.
CREATE TABLE digests (id int PRIMARY KEY, note json, memory bytea);
SELECT key FROM idempotent_guard('digests', remember => 'memory');
INSERT INTO digests VALUES (1, '{"pin": "4711\u0000"}'), (2, to_json('{"pin": "4711\u0000"}'::text));
INSERT INTO digests VALUES (1, '{"pin": "4711\u0000"}');
INSERT INTO digests VALUES (1, to_json('{"pin": "4711\u0000"}'::text));
:state
SELECT count(DISTINCT memory) FROM digests;

-- 5. A merge tells the latest by such values as well: what jsonb refuses is later than the rest, in the order of the texts.
CREATE TABLE latest (id int PRIMARY KEY, version json, v int);
CREATE TABLE arriving (id int, version json, v int);
INSERT INTO arriving VALUES (1, '"4711\u0000"', 1), (1, '"b"', 2), (2, '"x"', 1), (2, '"y"', 2);
SELECT * FROM idempotent_merge('latest', 'arriving', latest_by => '{version}');
INSERT INTO arriving VALUES (1, '"4711\ud800"', 3), (2, '"4711\u0000"', 3);
SELECT * FROM idempotent_merge('latest', 'arriving', latest_by => '{version}');
SELECT * FROM latest ORDER BY id;

DELETE FROM idempotent.conflict_records WHERE target::regclass IN ('notes', 'lists');
RESET search_path;
DROP SCHEMA vault CASCADE;
DROP ROLE regress_pgi_mallory;
