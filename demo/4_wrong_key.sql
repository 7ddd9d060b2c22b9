-- A wrong key that looks right.

\echo
\echo '=== A wrong key ==='
\echo
\echo 'The local hour looks like a key: (origin, year, month, day, hour). It is not, because on 2013-11-03 the clocks in'
\echo 'New York went back, and the hour from 1 to 2 occurred twice. ON CONFLICT DO NOTHING does not report this:'
\echo

CREATE TABLE weather_do_nothing (LIKE weather, PRIMARY KEY (origin, year, month, day, hour));
CREATE TABLE weather_by_local_hour (LIKE weather, PRIMARY KEY (origin, year, month, day, hour));

\set ECHO queries
\set QUIET off
INSERT INTO weather_do_nothing SELECT * FROM weather_arrived ON CONFLICT DO NOTHING;
\set QUIET on
\set ECHO none
SELECT demo.check('rows that DO NOTHING kept', count(*), 26112::bigint) FROM weather_do_nothing \g /dev/null
\echo '  26115 rows were sent and 26112 were stored. Three rows are lost without an error.'

\echo
\echo 'pg_idempotent refuses such a load, names the rows, and stores none:'
\echo
\set ON_ERROR_STOP off
\set ECHO queries
SELECT * FROM idempotent_insert_from('weather_by_local_hour', 'weather_arrived');
\set ECHO none
\set ON_ERROR_STOP on
SELECT demo.check('SQLSTATE of the refused load', :'LAST_ERROR_SQLSTATE'::text, '23I01'::text) \g /dev/null
SELECT demo.check('rows after the refused load', count(*), 0::bigint) FROM weather_by_local_hour \g /dev/null

\echo
\echo 'With on_conflict => quarantine, it stores the other rows and records the conflicts:'
\echo
\set ECHO queries
SELECT * FROM idempotent_insert_from('weather_by_local_hour', 'weather_arrived', on_conflict => 'quarantine') \gset
\set ECHO none
\echo '  received' :received '  inserted' :inserted '  duplicates' :duplicates '  conflicts' :conflicts
SELECT demo.check('load under the wrong key', ARRAY[:received, :inserted, :duplicates, :conflicts], ARRAY[26115, 26112, 0, 3]) \g /dev/null

\echo
\set ECHO queries
SELECT conflicts.key->>'origin' AS origin,
       concat_ws('-', conflicts.key->>'year', conflicts.key->>'month', conflicts.key->>'day') AS day,
       conflicts.key->>'hour' AS hour,
       difference.key AS "column",
       difference.value->>'stored' AS stored,
       difference.value->>'payload' AS payload
  FROM idempotent.conflicts, jsonb_each(differences) AS difference
 WHERE target = 'weather_by_local_hour'::regclass
 ORDER BY origin, "column";
\set ECHO none

SELECT demo.check('conflicts on record', count(*), 3::bigint) FROM idempotent.conflicts \g /dev/null
-- Computed without the extension: the rows that share a local hour, and the columns in which they differ.
WITH expected AS (
    SELECT a.origin, a.year, a.month, a.day, a.hour, columns.key AS "column"
      FROM weather_arrived AS a
      JOIN weather_arrived AS b USING (origin, year, month, day, hour),
           jsonb_each(to_jsonb(a)) AS columns
     WHERE a.time_hour < b.time_hour
       AND columns.value <> to_jsonb(b)->columns.key
), reported AS (
    SELECT key->>'origin' AS origin, (key->>'year')::int AS year, (key->>'month')::int AS month,
           (key->>'day')::int AS day, (key->>'hour')::int AS hour, jsonb_object_keys(differences) AS "column"
      FROM idempotent.conflicts
)
SELECT demo.check('differing columns', (SELECT count(*) FROM expected), (SELECT count(*) FROM reported)),
       demo.check('differing columns, one by one',
           (SELECT count(*) FROM (TABLE expected EXCEPT TABLE reported) AS missing), 0::bigint),
       demo.check('the three rows',
           (SELECT string_agg(DISTINCT format('%s %s-%s-%s %s', origin, year, month, day, hour), ', ') FROM reported),
           'EWR 2013-11-3 1, JFK 2013-11-3 1, LGA 2013-11-3 1') \g /dev/null
