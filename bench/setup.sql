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

-- Where people COPY to before they insert. Faster than a temporary table, whose buffers are few.
CREATE UNLOGGED TABLE arrived (LIKE event);

-- What two sessions load at once: the rows of staging in files, each of them a transaction. A session has half of the
-- rows, those that are `distinct`, and with the `overlapping` also every 15th, whichever half that is in: one of 16
-- that arrive is a duplicate. The sessions' orders have nothing in common, but inside a file it is that of the key:
-- two transactions that waited for keys of each other's would be a deadlock.
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
