-- A date or time in a JSON string is taken as the SQL literal is, whatever the notation and the settings. The lines show what differs: none.
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA times;
SET search_path = times, public;
CREATE TABLE times (id int PRIMARY KEY, d date, t timestamp, tz timestamptz, t0 timestamp(0), tz2 timestamptz(2), v varchar(3), v0 varchar);

CREATE SEQUENCE ids;
CREATE FUNCTION taken(col text, value text) RETURNS TABLE (function text, literal text) LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        PERFORM idempotent_insert('times.times', jsonb_build_object('id', nextval('ids'), col, value));
        EXECUTE format('SELECT to_jsonb(times)->>%L FROM times WHERE id = currval(''ids'')', col) INTO function;
    EXCEPTION WHEN OTHERS THEN function := SQLSTATE || ' ' || SQLERRM; END;
    BEGIN
        EXECUTE format('INSERT INTO times (id, %I) VALUES (nextval(''ids''), %L) RETURNING to_jsonb(times)->>%L', col, value, col) INTO literal;
    EXCEPTION WHEN OTHERS THEN literal := SQLSTATE || ' ' || SQLERRM; END;
    RETURN NEXT;
END $$;
CREATE TABLE notations (value text);
INSERT INTO notations
SELECT day || clock || zone FROM unnest('{2026-01-31,0099-12-31}'::text[]) AS day,
     unnest('{"",T00:00:00," 23:59:59",T24:00:00,T23:59:60,T12:34:56.5,T12:34:56.123456,T12:34:56.999999,T12:34:56.1234567,T12:34:56.}'::text[]) AS clock,
     unnest('{"",+05:30,-03,Z," BC"}'::text[]) AS zone
UNION ALL SELECT day || clock
FROM unnest('{2024-02-29,2026-02-29,1900-02-29,2000-02-29,0001-01-01,0000-01-01,9999-12-31,1969-12-31,2026-13-01,2026-04-31,2026-1-2,26-01-02,02-01-2026,02/01/2026,infinity,now2,""}'::text[]) AS day,
     unnest('{"",T12:34:56,T12:34:56+01:00}'::text[]) AS clock
UNION ALL SELECT '2026-07-31T02:30:00' || zone
FROM unnest('{+00:00,-00:00,+15:59,-15:59,+16:00,+05:60,+0530,+5,+01:00:30," +01"," America/New_York",×05}'::text[]) AS zone
UNION ALL SELECT '2026-03-08T' || clock FROM unnest('{02:30:00,25:00:00,23:60:00,23:59,1:02:03}'::text[]) AS clock;
CREATE PROCEDURE compare() LANGUAGE plpgsql AS $$
DECLARE
    one record;
    style text;
    zone text;
BEGIN
    FOREACH style IN ARRAY '{"ISO, MDY","SQL, DMY","German, YMD"}'::text[] LOOP
        PERFORM set_config('datestyle', style, true);
        zone := CASE style WHEN 'ISO, MDY' THEN 'UTC' ELSE 'America/St_Johns' END;
        PERFORM set_config('timezone', zone, true);
        FOR one IN SELECT col, value, t.* FROM notations, unnest('{d,t,tz,t0,tz2}'::text[]) AS col, taken(col, value) AS t
            WHERE t.function IS DISTINCT FROM t.literal LOOP
            RAISE WARNING '% %: %', style, zone, one;
        END LOOP;
    END LOOP;
END $$;
CALL compare();
-- Many of them are times.
SELECT col, count(*) FILTER (WHERE function LIKE '____-%') AS times, count(*) AS notations
FROM notations, unnest('{d,t,tz,t0,tz2}'::text[]) AS col, taken(col, value) GROUP BY col ORDER BY col;
-- The length of a varchar counts characters, and blanks beyond it are cut off.
SELECT col, value, CASE WHEN function = literal THEN function ELSE 'function: ' || COALESCE(function, 'NULL') || ' literal: ' || COALESCE(literal, 'NULL') END AS result
FROM unnest('{v,v0}'::text[]) AS col, unnest('{"",abc,äöü,äö,abcd,"ab    "}'::text[]) AS value, taken(col, value) ORDER BY col, value COLLATE "C";
SET client_min_messages = warning;
DROP SCHEMA times CASCADE;
