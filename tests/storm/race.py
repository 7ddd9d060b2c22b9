"""Identical payloads from sessions that run abreast, without faults: retries that race, and never meet 23505.

All sessions send the same keys, in the same order, at the same time, a transaction each or a batch each. Who is behind finds
rows that are stored and catches up, so that they meet again. A procedure sends them: a client in between would keep them apart.
"""

import collections
import itertools
import threading
import time

from support.cluster import running
from support.sessions import Sessions

SESSIONS = 8
# Keys of a round.
KEYS = 400
PROGRAMS = """
CREATE TABLE plain (k bigint PRIMARY KEY, a numeric(12,2), b text);
CREATE TABLE guarded (k bigint PRIMARY KEY, a numeric(12,2), b text);
SELECT idempotent_guard('guarded');
CREATE PROCEDURE by_insert(target regclass, first bigint, last bigint, INOUT inserted bigint, INOUT duplicates bigint) LANGUAGE plpgsql AS $$
DECLARE
    what text;
BEGIN
    inserted := 0; duplicates := 0;
    FOR k IN first..last LOOP
        SELECT outcome INTO what FROM idempotent_insert(target, jsonb_build_object('k', k, 'a', k / 7.0, 'b', k::text));
        COMMIT;
        inserted := inserted + (what = 'inserted')::int;
        duplicates := duplicates + (what = 'duplicate')::int;
    END LOOP;
END $$;
CREATE PROCEDURE by_many(target regclass, first bigint, last bigint, INOUT inserted bigint, INOUT duplicates bigint) LANGUAGE plpgsql AS $$
DECLARE
    counts record;
BEGIN
    inserted := 0; duplicates := 0;
    FOR k IN first..last BY 20 LOOP
        SELECT m.* INTO counts FROM idempotent_insert_many(target, (
            SELECT jsonb_agg(jsonb_build_object('k', n, 'a', n / 7.0, 'b', n::text)) FROM generate_series(k, least(k + 19, last)) AS n)) AS m;
        COMMIT;
        inserted := inserted + counts.inserted;
        duplicates := duplicates + counts.duplicates;
    END LOOP;
END $$;
CREATE PROCEDURE by_guard(target regclass, first bigint, last bigint, INOUT inserted bigint, INOUT duplicates bigint) LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    inserted := 0; duplicates := 0;
    FOR k IN first..last LOOP
        INSERT INTO guarded VALUES (k, k / 7.0, k::text);
        GET DIAGNOSTICS n = ROW_COUNT;
        COMMIT;
        inserted := inserted + n;
        duplicates := duplicates + 1 - n;
    END LOOP;
END $$;
CREATE PROCEDURE by_guard_many(target regclass, first bigint, last bigint, INOUT inserted bigint, INOUT duplicates bigint) LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
    upto bigint;
BEGIN
    inserted := 0; duplicates := 0;
    FOR k IN first..last BY 20 LOOP
        upto := least(k + 19, last);
        INSERT INTO guarded SELECT i, i / 7.0, i::text FROM generate_series(k, upto) AS i;
        GET DIAGNOSTICS n = ROW_COUNT;
        COMMIT;
        inserted := inserted + n;
        duplicates := duplicates + upto - k + 1 - n;
    END LOOP;
END $$;
"""
# What the sessions of a round call, in turn: functions alone, guards alone, and both against each other.
ROUNDS = (
    ("plain", ("by_insert",)),
    ("plain", ("by_insert", "by_many")),
    ("guarded", ("by_guard",)),
    ("guarded", ("by_guard", "by_insert")),
    ("guarded", ("by_guard_many", "by_many", "by_guard", "by_insert")),
)


def run(options):
    """Rounds until so many retries were sent. 0, or 1 if one of them was told anything but that it is a duplicate."""
    totals = collections.Counter()
    started = time.monotonic()
    winners = collections.Counter()
    settings = {"deadlock_timeout": "1s", "synchronous_commit": "off", "max_wal_size": "4GB"}
    with running(settings=settings) as cluster:
        db = cluster.create_database(PROGRAMS)
        barrier = threading.Barrier(SESSIONS)

        def work(number, conn):
            for place in itertools.count():
                table, programs = ROUNDS[place % len(ROUNDS)]
                first = place * KEYS
                if barrier.wait() == 0:
                    work.over = totals["duplicate"] >= options.retries
                barrier.wait()
                if work.over:
                    return
                program = programs[number % len(programs)]
                told = conn.execute(f"CALL {program}('{table}', %s, %s, NULL, NULL)", [first, first + KEYS - 1]).fetchone()
                with lock:
                    totals["inserted"] += told["inserted"]
                    totals["duplicate"] += told["duplicates"]
                    totals["other"] += KEYS - told["inserted"] - told["duplicates"]
                    totals["keys"] += KEYS if number == 0 else 0
                    winners[number] += told["inserted"]

        lock = threading.Lock()
        try:
            Sessions(SESSIONS, db.connect, work, barrier).join()
            failure = None
        except Exception as error:
            failure = error
    seconds = time.monotonic() - started
    ways = "without a statement where it may be"
    print(f"{totals['inserted'] + totals['duplicate']} payloads of {totals['keys']} keys from {SESSIONS} sessions in {seconds:.0f} s, {ways}:")
    print(f"  {totals['inserted']} inserted, {totals['duplicate']} duplicates (retries), {totals['other']} others")
    print(f"  inserted by session: {', '.join(str(winners[n]) for n in range(SESSIONS))}")
    if failure:
        print(f"✗ {getattr(failure, 'sqlstate', '')} {failure}")
    elif totals["inserted"] != totals["keys"] or totals["other"]:
        print("✗ not one inserted row a key")
        return 1
    return 1 if failure else 0
