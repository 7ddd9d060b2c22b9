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

-- The files that two sessions load at the same time; each file is one transaction. In the load `distinct` each session has
-- half of the rows of staging. In `overlapping` each session also has every 15th row of the other half, so one of 16
-- arriving rows is a duplicate. The sessions load their files in different orders. Inside a file the rows are ordered by
-- key; otherwise two transactions could wait for keys of each other, which is a deadlock.
CREATE TABLE files (load text, session int, file text);

CREATE PROCEDURE write_files(size int)
LANGUAGE plpgsql AS $$
DECLARE
    file text;
BEGIN
    CREATE TEMP TABLE batches ON COMMIT DROP AS
    SELECT load, session,
           format('%s_%s_%s', load, session,
                  row_number() OVER (PARTITION BY load, session ORDER BY hashint8extended(i, session)) / size) AS file,
           event
    FROM (SELECT row_number() OVER () AS i, staging AS event FROM staging) arriving,
         (VALUES ('distinct'), ('overlapping')) loads (load),
         generate_series(1, 2) session
    WHERE i % 2 + 1 = session OR load = 'overlapping' AND i % 15 = 0;
    CREATE INDEX ON batches (file);
    TRUNCATE files;
    INSERT INTO files SELECT DISTINCT batches.load, batches.session, batches.file FROM batches;
    FOR file IN SELECT files.file FROM files LOOP
        EXECUTE format(
            'COPY (SELECT (event).* FROM batches WHERE file = %L ORDER BY (event).id) TO %L',
            file, current_setting('data_directory') || '/' || file
        );
    END LOOP;
END
$$;

CREATE PROCEDURE load_files(target regclass, load text, session int)
LANGUAGE plpgsql AS $$
DECLARE
    file text;
BEGIN
    FOR file IN SELECT f.file FROM files f WHERE f.load = load_files.load AND f.session = load_files.session LOOP
        EXECUTE format('COPY %s FROM %L', target, file);
        COMMIT;
    END LOOP;
END
$$;
