-- What every comparison works on: a table of business events with a random uuid as its key, numbered events to put
-- into it, and the functions that people write by hand.

CREATE EXTENSION pg_idempotent;

CREATE TABLE events (
    id       uuid PRIMARY KEY,
    amount   numeric(12,2),
    status   text,
    customer int,
    note     text,
    at       timestamptz
);

-- Event number n, the same each time.
CREATE FUNCTION event(n bigint) RETURNS events
LANGUAGE sql IMMUTABLE
RETURN ROW(
    md5(n::text)::uuid,
    (n * 7919 % 10000000) / 100.0,
    (ARRAY['pending', 'paid', 'shipped', 'returned'])[n % 4 + 1],
    n % 50000,
    'event ' || n || repeat(' and so on', (n % 7)::int),
    timestamptz '2026-01-01 00:00:00+00' + n % 31536000 * interval '1 second'
)::events;

-- The events that are in the table already: numbers 1 to stored.
CREATE TABLE base (LIKE events);

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

-- As a staging table, and as a feed of payloads for calls inside the server.
CREATE TABLE staging (LIKE events);
CREATE TABLE feed (payload jsonb);

-- The first way to do it by hand: try, and look when it was there already.
CREATE FUNCTION insert_or_catch(payload jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    arrived events := jsonb_populate_record(NULL::events, payload);
    stored  events;
BEGIN
    INSERT INTO events VALUES (arrived.*);
    RETURN 'inserted';
EXCEPTION WHEN unique_violation THEN
    SELECT * INTO STRICT stored FROM events WHERE id = arrived.id;
    IF stored.amount IS DISTINCT FROM arrived.amount
        OR stored.status IS DISTINCT FROM arrived.status
        OR stored.customer IS DISTINCT FROM arrived.customer
        OR stored.note IS DISTINCT FROM arrived.note
        OR stored.at IS DISTINCT FROM arrived.at
    THEN
        RAISE EXCEPTION 'event % is stored with other values', arrived.id;
    END IF;
    RETURN 'duplicate';
END
$$;

-- The second way: ON CONFLICT DO NOTHING, and look when nothing went in.
CREATE FUNCTION insert_or_look(payload jsonb) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    arrived events := jsonb_populate_record(NULL::events, payload);
    stored  events;
BEGIN
    INSERT INTO events VALUES (arrived.*) ON CONFLICT (id) DO NOTHING;
    IF FOUND THEN
        RETURN 'inserted';
    END IF;
    SELECT * INTO STRICT stored FROM events WHERE id = arrived.id;
    IF stored.amount IS DISTINCT FROM arrived.amount
        OR stored.status IS DISTINCT FROM arrived.status
        OR stored.customer IS DISTINCT FROM arrived.customer
        OR stored.note IS DISTINCT FROM arrived.note
        OR stored.at IS DISTINCT FROM arrived.at
    THEN
        RAISE EXCEPTION 'event % is stored with other values', arrived.id;
    END IF;
    RETURN 'duplicate';
END
$$;

-- For a DO UPDATE that verifies.
CREATE FUNCTION refuse(id uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'event % is stored with other values', id;
END
$$;
