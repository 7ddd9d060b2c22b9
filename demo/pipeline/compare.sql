-- Makes the whole month in one clean run, in separate tables, and compares the digests of these tables with those of the
-- tables that were rerun, corrected, killed and backfilled. The clean run uses the second edition of the file that was
-- corrected, and the first edition of all others.

CREATE SCHEMA clean;
CREATE TABLE clean.flights (LIKE flights INCLUDING ALL);
CREATE TABLE clean.delays (LIKE delays INCLUDING ALL);
INSERT INTO clean.flights
SELECT day, version, time_hour, carrier, flight, origin, dest, dep_delay, arr_delay
  FROM demo.files WHERE edition = CASE day WHEN '2013-01-08' THEN 2 ELSE 1 END;
INSERT INTO clean.delays
SELECT day, carrier, count(*), count(*) - count(dep_delay), round(avg(dep_delay), 1), max(dep_delay)
  FROM clean.flights GROUP BY day, carrier;

\set ECHO queries
SELECT (SELECT idempotent_digest(flights) FROM flights) AS "flights",
       (SELECT idempotent_digest(flights) FROM clean.flights) AS "flights, clean",
       (SELECT idempotent_digest(delays) FROM delays) AS "delays",
       (SELECT idempotent_digest(delays) FROM clean.delays) AS "delays, clean" \gx
\set ECHO none
SELECT demo.check('flights', (SELECT idempotent_digest(t) FROM flights t), (SELECT idempotent_digest(t) FROM clean.flights t)),
       demo.check('delays', (SELECT idempotent_digest(t) FROM delays t), (SELECT idempotent_digest(t) FROM clean.delays t)),
       demo.check('flights in January', (SELECT count(*) FROM flights), 27004::bigint) \g /dev/null
