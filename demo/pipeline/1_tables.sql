-- Creates the tables, the views of the job, and the files as they are delivered.

CREATE EXTENSION pg_idempotent;

CREATE SCHEMA demo;
CREATE FUNCTION demo.check(what text, is_now anyelement, should_be anyelement) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF is_now IS DISTINCT FROM should_be THEN
        RAISE EXCEPTION 'demo: %: expected %, found %', what, should_be, is_now;
    END IF;
END $$;

-- The first month of the year, as it was published.
CREATE TABLE demo.published (
    year int, month int, day int, dep_time int, sched_dep_time int, dep_delay int, arr_time int, sched_arr_time int,
    arr_delay int, carrier text, flight int, tailnum text, origin text, dest text, air_time int, distance int, hour int,
    minute int, time_hour timestamptz
);
\copy demo.published FROM PROGRAM 'gzip -dc demo/data/flights.csv.gz' WITH (FORMAT csv, HEADER, NULL 'NA')
-- The file of each day has two editions. In the second one, one flight in 25 is corrected and has version 2.
CREATE VIEW demo.files AS
SELECT edition, make_date(year, month, day) AS day, CASE WHEN corrected THEN 2 ELSE 1 END AS version,
       time_hour, carrier, flight, origin, dest,
       CASE WHEN corrected THEN dep_delay + 10 ELSE dep_delay END AS dep_delay,
       CASE WHEN corrected THEN arr_delay + 10 ELSE arr_delay END AS arr_delay
  FROM demo.published, generate_series(1, 2) AS edition,
       LATERAL (SELECT edition = 2 AND (flight + day) % 25 = 0) AS corrections (corrected);

-- The inbox contains one file for each day. A new delivery of a day replaces its file. There is no key, because a file may
-- contain anything.
CREATE TABLE inbox (
    day date, version int, time_hour timestamptz, carrier text, flight int, origin text, dest text, dep_delay int, arr_delay int
);
CREATE FUNCTION demo.deliver(day date, edition int) RETURNS void LANGUAGE sql AS $$
    DELETE FROM inbox WHERE inbox.day = deliver.day;
    INSERT INTO inbox
    SELECT file.day, version, time_hour, carrier, flight, origin, dest, dep_delay, arr_delay
      FROM demo.files AS file WHERE file.day = deliver.day AND file.edition = deliver.edition;
$$;

-- All rows that ever arrived, as they arrived.
CREATE TABLE arrivals (LIKE inbox, PRIMARY KEY (time_hour, carrier, flight, version));

-- The latest version of each flight.
CREATE TABLE flights (LIKE inbox, PRIMARY KEY (time_hour, carrier, flight));
CREATE INDEX ON flights (day);

-- An aggregate.
CREATE TABLE delays (
    day date, carrier text, flights bigint, cancelled bigint, mean_delay numeric, worst_delay int, PRIMARY KEY (day, carrier)
);

-- The views that the job of one day reads.
CREATE VIEW inbox_of_day AS SELECT * FROM inbox WHERE day = current_setting('job.day')::date;
CREATE VIEW delays_of_day AS
SELECT day, carrier, count(*) AS flights, count(*) FILTER (WHERE dep_delay IS NULL) AS cancelled,
       round(avg(dep_delay), 1) AS mean_delay, max(dep_delay) AS worst_delay
  FROM flights
 WHERE day = current_setting('job.day')::date
 GROUP BY day, carrier;
