-- The contents of the tables at the end.

\echo
\echo '=== Summary ==='
\echo

SELECT what AS "load", sent, stored, told AS "reported"
  FROM (VALUES
    (1, 'weather, twice', 2 * 26115, (SELECT count(*) FROM weather), '26115 duplicates'),
    (2, 'flights, twice', 2 * 27004, (SELECT count(*) FROM flights), '27004 duplicates'),
    (3, 'weather, by two sessions at once', 2 * 26115, (SELECT count(*) FROM weather_shared), '26115 duplicates'),
    (4, 'weather, wrong key, DO NOTHING', 26115, (SELECT count(*) FROM weather_do_nothing), 'nothing'),
    (5, 'weather, wrong key, pg_idempotent', 26115, (SELECT count(*) FROM weather_by_local_hour),
        '3 conflicts, each with its differences')
  ) AS line (ordinal, what, sent, stored, told)
 ORDER BY ordinal;
\echo 'The demo has checked every number above.'
