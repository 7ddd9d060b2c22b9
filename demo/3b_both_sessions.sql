-- Shows and checks the result of both sessions.

SELECT session, sum(received) AS received, sum(inserted) AS inserted, sum(duplicates) AS duplicates,
       sum(conflicts) AS conflicts
  FROM demo.shares
 GROUP BY session
 ORDER BY session;

\echo 'Together they inserted each row once. A session that met a row which the other was inserting waited for it, and then'
\echo 'compared.'

SELECT demo.check('two sessions: received', sum(received), 52230::numeric),
       demo.check('two sessions: inserted', sum(inserted), 26115::numeric),
       demo.check('two sessions: duplicates', sum(duplicates), 26115::numeric),
       demo.check('two sessions: conflicts', sum(conflicts), 0::numeric)
  FROM demo.shares \g /dev/null
SELECT demo.check('rows in weather_shared', count(*), 26115::bigint) FROM weather_shared \g /dev/null
SELECT demo.check('shared rows that differ from the file', count(*), 0::bigint)
  FROM (TABLE weather_shared EXCEPT ALL TABLE weather_arrived) AS other \g /dev/null
