-- What every comparison works on: numbered business events with a random uuid as their key.

CREATE EXTENSION pg_idempotent;

CREATE TYPE event AS (
    id       uuid,
    amount   numeric(12,2),
    status   text,
    customer int,
    note     text,
    at       timestamptz
);

-- Event number n, the same each time.
CREATE FUNCTION event(n bigint) RETURNS event
LANGUAGE sql IMMUTABLE
RETURN ROW(
    md5(n::text)::uuid,
    (n * 7919 % 10000000) / 100.0,
    (ARRAY['pending', 'paid', 'shipped', 'returned'])[n % 4 + 1],
    n % 50000,
    'event ' || n || repeat(' and so on', (n % 7)::int),
    timestamptz '2026-01-01 00:00:00+00' + n % 31536000 * interval '1 second'
)::event;

-- The events that tables hold before anything arrives: numbers 1 to as many as are wanted.
CREATE TABLE base (number bigint, LIKE event);

-- The numbers of what arrives: percent of them spread evenly over 1 to stored, none of them twice, the others new.
-- Each round gets other numbers.
CREATE FUNCTION arriving(rows bigint, percent int, stored bigint, round int)
RETURNS TABLE (i bigint, n bigint)
LANGUAGE sql
BEGIN ATOMIC
    SELECT i,
           CASE WHEN i * percent % 100 < percent
                THEN (round * 104729 + i) * 7919 % stored + 1
                ELSE 1000000000 + round * 10000000 + i
           END
    FROM generate_series(0, rows - 1) i;
END;

-- What arrives as a staging table, and as a feed of payloads for calls inside the server.
CREATE TABLE staging (LIKE event);
CREATE TABLE feed (i bigint PRIMARY KEY, payload jsonb);
