-- xml has no equality: it compares by its binary image. Needs a server built with libxml.
\set SHOW_CONTEXT never
SELECT count(*) = 0 AS no_xml FROM pg_config WHERE name = 'CONFIGURE' AND setting ~ 'with-libxml' \gset
\if :no_xml
\echo SKIPPED: this server was built without libxml
\quit
\endif
CREATE SCHEMA comparison_xml;
SET search_path = comparison_xml, public;
CREATE TABLE t (id int PRIMARY KEY, x xml);
SELECT outcome FROM idempotent_insert('t', '{"id": 1, "x": "<a b=\"1\"/>"}');
SELECT outcome FROM idempotent_insert('t', '{"id": 1, "x": "<a b=\"1\"/>"}');
SELECT outcome, differences FROM idempotent_insert('t', '{"id": 1, "x": "<a b=''1''/>"}', on_conflict => 'report');
\set VERBOSITY terse
SELECT outcome FROM idempotent_insert('t', '{"id": 2, "x": "<a"}');
SELECT ordinal, outcome FROM idempotent_insert_each('t', '[{"id": 3, "x": "<b/>"}, {"id": 3, "x": "<b/>"}, {"id": 3, "x": "<c/>"}]', on_conflict => 'report');
CREATE TABLE source AS SELECT * FROM t;
SELECT * FROM idempotent_insert_from('t', 'source');
SET client_min_messages = warning;
DROP SCHEMA comparison_xml CASCADE;
