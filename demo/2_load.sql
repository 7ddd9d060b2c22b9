-- The main job: loads the staging tables, and loads them again.

\echo
\echo '=== Load, and load again ==='
\echo
\echo 'The first load inserts every row:'
\echo
\set ECHO queries
SELECT * FROM idempotent_insert_from('weather', 'weather_arrived') \gset
\set ECHO none
\echo '  received' :received '  inserted' :inserted '  duplicates' :duplicates '  conflicts' :conflicts
SELECT demo.check('weather, first load', ARRAY[:received, :inserted, :duplicates, :conflicts], ARRAY[26115, 26115, 0, 0]) \g /dev/null

\set ECHO queries
SELECT * FROM idempotent_insert_from('flights', 'flights_arrived') \gset
\set ECHO none
\echo '  received' :received '  inserted' :inserted '  duplicates' :duplicates '  conflicts' :conflicts
SELECT demo.check('flights, first load', ARRAY[:received, :inserted, :duplicates, :conflicts], ARRAY[27004, 27004, 0, 0]) \g /dev/null

\echo
\echo 'Suppose that the answer was lost, so the job runs again. It compares every row and writes none, so it also'
\echo 'succeeds in a READ ONLY transaction:'
\echo
\set ECHO queries
BEGIN READ ONLY;
SELECT * FROM idempotent_insert_from('weather', 'weather_arrived') \gset
\set ECHO none
\echo '  received' :received '  inserted' :inserted '  duplicates' :duplicates '  conflicts' :conflicts
SELECT demo.check('weather, second load', ARRAY[:received, :inserted, :duplicates, :conflicts], ARRAY[26115, 0, 26115, 0]) \g /dev/null

\set ECHO queries
SELECT * FROM idempotent_insert_from('flights', 'flights_arrived') \gset
\set ECHO none
\echo '  received' :received '  inserted' :inserted '  duplicates' :duplicates '  conflicts' :conflicts
SELECT demo.check('flights, second load', ARRAY[:received, :inserted, :duplicates, :conflicts], ARRAY[27004, 0, 27004, 0]) \g /dev/null
\set ECHO queries
COMMIT;
\set ECHO none

-- The tables contain exactly the rows that arrived.
SELECT demo.check('rows in weather', count(*), 26115::bigint) FROM weather \g /dev/null
SELECT demo.check('rows in flights', count(*), 27004::bigint) FROM flights \g /dev/null
SELECT demo.check('weather rows that differ from the file', count(*), 0::bigint)
  FROM (TABLE weather EXCEPT ALL TABLE weather_arrived) AS other \g /dev/null
SELECT demo.check('flights that differ from the file', count(*), 0::bigint)
  FROM (TABLE flights EXCEPT ALL TABLE flights_arrived) AS other \g /dev/null
