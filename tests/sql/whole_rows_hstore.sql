-- hstore in payloads: to_jsonb shows it as an object, and it is read from one.
SELECT NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hstore') AS lacks \gset
\if :lacks
\echo SKIPPED: this server has no hstore
\quit
\endif
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA hstores;
SET search_path = hstores, public;
SET client_min_messages = warning;
CREATE EXTENSION hstore SCHEMA hstores;
RESET client_min_messages;
CREATE DOMAIN tags AS hstore CHECK (NOT VALUE ? 'forbidden');
CREATE TABLE items (id int PRIMARY KEY, h hstore, d tags);
INSERT INTO items VALUES (1, 'a=>1, b=>NULL, c=>"NULL", " "=>"", "q\"uo\\te"=>"=>,\"\\", é=>"Ж😀"', 'x=>y'), (2, '', NULL), (3, NULL, '');
SELECT i.id, outcome FROM items i, idempotent_insert('items', to_jsonb(i));
SELECT idempotent_insert_many('items', (SELECT jsonb_agg(to_jsonb(i) || jsonb_build_object('id', id + 10)) FROM items i));
SELECT count(*) AS same FROM items a JOIN items b ON b.id = a.id + 10 AND (a.h, a.d) IS NOT DISTINCT FROM (b.h, b.d);
-- Values of other kinds are their texts; the notation of hstore serves as well.
SELECT outcome, stored FROM idempotent_insert('items', '{"id": 20, "h": {"n": 1.50, "t": true, "z": null}}');
SELECT outcome FROM idempotent_insert('items', '{"id": 20, "h": "n=>1.50, z=>NULL, t=>true"}');
SELECT outcome, differences FROM idempotent_insert('items', '{"id": 20, "h": {"n": "1.5"}}', on_conflict => 'quarantine');
SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts WHERE target = 'items'::regclass;
SELECT h FROM items WHERE id = 20;
-- What an hstore cannot hold.
SELECT outcome FROM idempotent_insert('items', '{"id": 21, "h": {"a": {"b": 1}}}');
:state
SELECT outcome FROM idempotent_insert('items', '{"id": 21, "h": [1]}');
:state
SELECT outcome FROM idempotent_insert('items', '{"id": 21, "d": {"forbidden": 1}}');
:state
\set SHOW_CONTEXT errors
SELECT idempotent_insert_many('items', '[{"id": 21, "h": {}}, {"id": 22, "h": {"a": []}}]');
\set SHOW_CONTEXT never
-- So are members of arrays and composites, at any depth; they take the notation of hstore as well. What was set aside can be applied.
CREATE TYPE pair AS (n int, tag hstore);
CREATE TABLE nested (id int PRIMARY KEY, h hstore, hs hstore[], p pair, ps pair[]);
INSERT INTO nested VALUES (1, 'a=>1', ARRAY['b=>1', NULL, 'c=>NULL']::hstore[], ROW(1, 'd=>1'), ARRAY[ROW(2, 'e=>1')::pair]);
SELECT outcome FROM idempotent_insert('nested', '{"id": 1, "hs": ["b=>1", null, "c=>NULL"], "p": {"n": 1, "tag": "d=>1"}, "ps": [{"n": 2, "tag": "e=>1"}]}');
SELECT outcome FROM nested AS n, idempotent_insert('nested', to_jsonb(n)) AS i;
SELECT outcome FROM idempotent_insert('nested', '{"id": 1, "hs": [{"b": 1}, null, {"c": null}], "p": {"tag": {"d": "1"}, "n": 1.0}}');
SELECT outcome, differences FROM idempotent_insert('nested', '{"id": 1, "hs": [{"b": 2}], "ps": [{"n": 2, "tag": {"e": 2}}]}', on_conflict => 'report');
SELECT outcome FROM idempotent_insert('nested', '{"id": 2, "hs": [{"b": []}]}');
:state
SELECT outcome FROM idempotent_insert('nested', '{"id": 2, "p": {"tag": [1]}}');
:state
SELECT outcome FROM idempotent_insert('nested', '{"id": 2, "hs": [[{"b": 1}], {"b": 1}]}');
:state
SELECT outcome FROM idempotent_insert('nested', '{"id": 1, "h": {"a": "2"}}', on_conflict => 'quarantine');
SELECT outcome FROM idempotent_insert('nested', '{"id": 1, "hs": ["b=>2"], "p": {"n": 3, "tag": "d=>3"}}', on_conflict => 'quarantine');
SELECT key, payload, stored FROM idempotent.conflicts WHERE target = 'nested'::regclass ORDER BY id;
SELECT idempotent_resolve(min(id), 'apply_payload') FROM idempotent.conflicts WHERE target = 'nested'::regclass AND resolution IS NULL;
SELECT * FROM nested;
SELECT idempotent_resolve(max(id), 'keep_stored') FROM idempotent.conflicts WHERE target = 'nested'::regclass;
SELECT outcome FROM idempotent_insert('nested', '{"id": 1, "hs": ["b=>2"], "p": {"n": 3, "tag": "d=>3"}}', on_conflict => 'quarantine');
SELECT idempotent_resolve(max(id), 'apply_payload') FROM idempotent.conflicts WHERE target = 'nested'::regclass;
SELECT * FROM nested;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA hstores CASCADE;
