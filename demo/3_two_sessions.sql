-- An empty table that two sessions will load at the same moment.

\echo
\echo '=== Two sessions at once ==='
\echo
\echo 'Two workers load the same year into one empty table at the same moment, a month a transaction, one from'
\echo 'January on, the other from December back:'
\echo

CREATE TABLE weather_shared (LIKE weather, PRIMARY KEY (origin, time_hour));

CREATE VIEW weather_of_month AS
SELECT * FROM weather_arrived WHERE month = current_setting('demo.month')::int;

CREATE TABLE demo.shares (
    session text, month int, received bigint, inserted bigint, duplicates bigint, conflicts bigint
);
