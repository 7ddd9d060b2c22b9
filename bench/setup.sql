-- The data of all comparisons: numbered business events with a uuid as their key.

CREATE EXTENSION pg_idempotent;

CREATE TYPE event AS (
    id       uuid,
    amount   numeric(12,2),
    status   text,
    customer int,
    note     text,
    at       timestamptz
);

-- Event number n. It is the same each time.
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

-- The events that tables hold at the beginning of a round: numbers 1 to the wanted number of rows.
CREATE TABLE base (number bigint, LIKE event);

-- The numbers of the events that arrive. `percent` of them are spread evenly over 1 to `stored`, none of them twice; the
-- others are new. Each round gets other numbers.
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

-- The arriving events as a staging table, and as payloads for calls inside the server.
CREATE TABLE staging (LIKE event);
CREATE TABLE feed (i bigint PRIMARY KEY, payload jsonb);

-- The table for a COPY before an INSERT. It is faster than a temporary table, which has few buffers.
CREATE UNLOGGED TABLE arrived (LIKE event);

-- The batches that several sessions load at the same time; each is one transaction, and a file as well. In the load `distinct`
-- each session has its share of the rows of staging. In `overlapping` each also has every 15th row of its neighbour's share,
-- so one of 16 arriving rows is a duplicate. The sessions load their batches in different orders. Inside a batch the rows
-- are ordered by key; otherwise two transactions could wait for keys of each other, which is a deadlock.
CREATE UNLOGGED TABLE batches (load text, session int, name text, event event);
CREATE INDEX ON batches (name);

CREATE PROCEDURE write_batches(size int, sessions int)
LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    TRUNCATE batches;
    INSERT INTO batches
    SELECT load, session,
           format('%s_%s_%s', load, session,
                  row_number() OVER (PARTITION BY load, session ORDER BY hashint8extended(i, session)) / size),
           event
    FROM (SELECT row_number() OVER () AS i, ROW(staging.*)::event AS event FROM staging) arriving,
         (VALUES ('distinct'), ('overlapping')) loads (load),
         generate_series(1, sessions) session
    WHERE i % sessions + 1 = session OR load = 'overlapping' AND i % 15 = 0 AND (i + 1) % sessions + 1 = session;
    FOR name IN SELECT DISTINCT b.name FROM batches b LOOP
        EXECUTE format(
            'COPY (SELECT (event).* FROM batches WHERE name = %L ORDER BY (event).id) TO %L',
            name, current_setting('data_directory') || '/' || name
        );
    END LOOP;
    ANALYZE batches;
END
$$;

CREATE PROCEDURE copy_batches(target regclass, load text, session int)
LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT DISTINCT b.name FROM batches b WHERE b.load = copy_batches.load AND b.session = copy_batches.session LOOP
        EXECUTE format('COPY %s FROM %L', target, name);
        COMMIT;
    END LOOP;
END
$$;

-- `clause` follows each INSERT.
CREATE PROCEDURE insert_batches(target regclass, load text, session int, clause text)
LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT DISTINCT b.name FROM batches b WHERE b.load = insert_batches.load AND b.session = insert_batches.session LOOP
        EXECUTE format('INSERT INTO %s SELECT (event).* FROM batches WHERE name = $1 ORDER BY (event).id %s', target, clause)
        USING name;
        COMMIT;
    END LOOP;
END
$$;
