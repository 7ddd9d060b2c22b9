-- Creates the tables and loads the data into staging tables.

CREATE EXTENSION pg_idempotent;

-- One row for each hour and airport, which are the business key.
CREATE TABLE weather (
    origin     text        NOT NULL,
    year       int         NOT NULL,
    month      int         NOT NULL,
    day        int         NOT NULL,
    hour       int         NOT NULL,   -- local time
    temp       float8,
    dewp       float8,
    humid      float8,
    wind_dir   int,
    wind_speed float8,
    wind_gust  float8,
    precip     float8,
    pressure   float8,
    visib      float8,
    time_hour  timestamptz NOT NULL,
    PRIMARY KEY (origin, time_hour)
);

CREATE TABLE flights (
    year           int         NOT NULL,
    month          int         NOT NULL,
    day            int         NOT NULL,
    dep_time       int,
    sched_dep_time int,
    dep_delay      int,
    arr_time       int,
    sched_arr_time int,
    arr_delay      int,
    carrier        text        NOT NULL,
    flight         int         NOT NULL,
    tailnum        text,
    origin         text,
    dest           text,
    air_time       int,
    distance       int,
    hour           int,
    minute         int,
    time_hour      timestamptz NOT NULL,
    PRIMARY KEY (time_hour, carrier, flight)
);

-- Staging tables have no key, because a file may contain anything.
CREATE TABLE weather_arrived (LIKE weather);
CREATE TABLE flights_arrived (LIKE flights);
\copy weather_arrived FROM PROGRAM 'gzip -dc demo/data/weather.csv.gz' WITH (FORMAT csv, HEADER, NULL 'NA')
\copy flights_arrived FROM PROGRAM 'gzip -dc demo/data/flights.csv.gz' WITH (FORMAT csv, HEADER, NULL 'NA')

-- The demo checks the numbers that it shows, and fails if one is wrong.
CREATE SCHEMA demo;
CREATE FUNCTION demo.check(what text, is_now anyelement, should_be anyelement) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF is_now IS DISTINCT FROM should_be THEN
        RAISE EXCEPTION 'demo: %: expected %, found %', what, should_be, is_now;
    END IF;
END $$;

SELECT demo.check('weather rows in the file', count(*), 26115::bigint) FROM weather_arrived \g /dev/null
SELECT demo.check('flights in the file', count(*), 27004::bigint) FROM flights_arrived \g /dev/null
\echo '  The staging tables contain 26115 hours of weather and 27004 flights.'
