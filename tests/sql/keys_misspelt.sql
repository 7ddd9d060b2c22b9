-- Keys that are no expression, or none that an index may be on: what the error says, and where it points.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set state '\\echo SQLSTATE :LAST_ERROR_SQLSTATE'
CREATE SCHEMA keys_misspelt;
SET search_path = keys_misspelt, public;
CREATE TABLE people (id int GENERATED ALWAYS AS IDENTITY, email varchar(80), name text);
CREATE UNIQUE INDEX people_email ON people (lower(email));
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{lowr(email)}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{lower(emial)}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{lower(email}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{"lower(email) FROM pg_class"}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{"lower(email), 1"}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{"lower(email); DROP TABLE people"}');
:state
SELECT * FROM idempotent_insert('people', '{"email": "a@x"}', key => '{"(SELECT lower(email))"}');
:state
CREATE TABLE written (a int, j jsonb);
CREATE UNIQUE INDEX written_a ON written ((a + 1));
CREATE UNIQUE INDEX written_j ON written ((j->>'id'));
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{*}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{written.*}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{(written).*}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{count(*)}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => ARRAY['a = $1']);
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{(SELECT 1)}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{"a + 1, a"}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{"a + 1 FROM written"}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{"(a + 1) AS b"}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{"row(*)"}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{"(DEFAULT)"}');
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => '{"(a = DEFAULT)"}');
SET statement_timeout = '10s';
\set VERBOSITY terse
SELECT outcome FROM idempotent_insert('written', '{"a": 1}', key => ARRAY[repeat('(', 200000) || repeat(')', 200000)]);
RESET statement_timeout;
\set VERBOSITY default
TABLE people;
TABLE written;
SET client_min_messages = warning;
DROP SCHEMA keys_misspelt CASCADE;
