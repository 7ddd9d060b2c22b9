-- Creates an empty table that two sessions will load at the same time.

\echo
\echo '=== Two sessions at once ==='
\echo
\echo 'Two workers load the same year into one empty table at the same time, one transaction for each month. One starts'
\echo 'with January, the other with December:'
\echo

CREATE TABLE weather_shared (LIKE weather, PRIMARY KEY (origin, time_hour));

CREATE VIEW weather_of_month AS
SELECT * FROM weather_arrived WHERE month = current_setting('demo.month')::int;

CREATE TABLE demo.shares (
    session text, month int, received bigint, inserted bigint, duplicates bigint, conflicts bigint
);
