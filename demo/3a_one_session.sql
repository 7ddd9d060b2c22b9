-- One of the two sessions. :session is its name; :direction is 1 for January to December and -1 for the reverse;
-- :start_at is the time at which both begin.

SELECT pg_sleep_until(:'start_at') \g /dev/null

SELECT format('SET demo.month = %s', month),
       format('INSERT INTO demo.shares
               SELECT %L, %s, received, inserted, duplicates, conflicts FROM idempotent_insert_from(''weather_shared'', ''weather_of_month'')',
              :'session', month)
  FROM generate_series(1, 12) AS month
 ORDER BY month * :direction
\gexec
