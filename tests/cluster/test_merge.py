"""idempotent_merge: whatever arrives in whatever order, one table comes out of it.

The model is a dictionary: of the rows that ever came under a key, the greatest by `latest_by` and then by the compared
columns, NULL being less than every value.

PGI_CASES    how many random histories are merged in several orders (default 40)
PGI_ROUNDS   how many merges each session of a race sends (default 400; at the higher levels a tenth)
PGI_ROWS     rows of the merge that is killed (default 1,000,000, of which a tenth is taken)
"""

import collections
import itertools
import random
import time

import psycopg
import pytest
from psycopg.types.json import Jsonb

from support.killing import kill_in_the_middle
from support.memory import MEGABYTE, contexts, peak
from support.project import SEED, size
from support.queries import value
from support.races import LEVELS, READ_COMMITTED, SERIALIZABLE, commit_with_retry, race
from support.sessions import in_background
from support.waiting import waits_for_a_lock

CASES = size("PGI_CASES", 40)
ROUNDS = size("PGI_ROUNDS", 400)
ROWS = size("PGI_ROWS", 1_000_000) // 10

TABLE = "CREATE TABLE events (id int {key}, at int, no int, v int, note text, {constraint}) {partitioned}"
KINDS = {
    "plain": TABLE.format(key="PRIMARY KEY", constraint="CHECK (true)", partitioned=""),
    "partitioned": TABLE.format(key="PRIMARY KEY", constraint="CHECK (true)", partitioned="PARTITION BY HASH (id)")
    + "".join(f"; CREATE TABLE events_{n} PARTITION OF events FOR VALUES WITH (MODULUS 3, REMAINDER {n})" for n in range(3)),
    "null_keys": TABLE.format(key="", constraint="UNIQUE NULLS NOT DISTINCT (id)", partitioned=""),
}
MERGE = "SELECT * FROM idempotent_merge('events', 'source', latest_by => %s)"


def rank(row):
    """What decides: at and no, then v and note, the columns in the table's order."""
    return tuple((field is not None, field) for field in row[1:])


def latest(rows):
    """The model."""
    table = {}
    for row in rows:
        if row[0] not in table or rank(row) > rank(table[row[0]]):
            table[row[0]] = row
    return table


def stored(conn):
    rows = conn.execute("SELECT id, at, no, v, note FROM events").fetchall()
    table = {row["id"]: tuple(row.values()) for row in rows}
    assert len(table) == len(rows)
    return table


def send(conn, rows, latest_by=("at", "no")):
    """One merge, of a temporary table of the session's."""
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS source (id int, at int, no int, v int, note text)")
    conn.execute("DELETE FROM source")
    with conn.cursor() as cursor, cursor.copy("COPY source (id, at, no, v, note) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    counts = conn.execute(MERGE, [list(latest_by)]).fetchone()
    assert counts["received"] == len(rows)
    assert sum(counts.values()) == 2 * len(rows)
    assert counts["superseded"] == len(rows) - len({row[0] for row in rows})
    return counts


def history(dice, keys, length):
    """Few values, so that ties of all kinds are frequent."""

    def maybe(most):
        return dice.choice([None, *range(most)])

    return [
        (dice.choice(keys), maybe(3), maybe(2), maybe(2), dice.choice([None, "", "a", "b"])) for _ in range(length)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_any_order_and_any_split_of_the_same_rows_gives_the_table_of_the_model(db, conn, kind):
    dice = random.Random(SEED)
    conn.execute(KINDS[kind])
    for case in range(CASES):
        keys = list(range(dice.randrange(1, 12)))
        if kind == "null_keys":
            keys.append(None)
        rows = history(dice, keys, dice.randrange(1, 60))
        wanted = latest(rows)
        for order in range(3):
            # The order of the source's columns has no part in it, either.
            columns = ["id int", "at int", "no int", "v int", "note text"]
            dice.shuffle(columns)
            conn.execute(f"DROP TABLE IF EXISTS source; CREATE TEMP TABLE source ({', '.join(columns)})")
            conn.execute("TRUNCATE events")
            dice.shuffle(rows)
            sent, so_far = 0, {}
            while sent < len(rows):
                part = rows[sent : sent + dice.randrange(1, len(rows) + 1)]
                sent += len(part)
                counts = send(conn, part)
                # The counts are those of the model, too.
                new = latest(part)
                kinds = collections.Counter(
                    "inserted" if key not in so_far
                    else "unchanged" if row == so_far[key]
                    else "updated" if rank(row) > rank(so_far[key])
                    else "stale"
                    for key, row in new.items()
                )  # fmt: skip
                assert {name: counts[name] for name in ("inserted", "updated", "unchanged", "stale")} == {
                    name: kinds[name] for name in ("inserted", "updated", "unchanged", "stale")
                }, (case, order)
                so_far = latest([*so_far.values(), *part])
            assert stored(conn) == wanted, (case, order)
            again = send(conn, rows)
            assert again["inserted"] == again["updated"] == again["stale"] == 0


@LEVELS
@pytest.mark.parametrize("kind", KINDS)
def test_merges_of_the_same_keys_from_many_sessions_neither_deadlock_nor_lose_anything(db, level, kind):
    """Keys are changed, and new ones come all the time, in random order."""
    with db.connect() as conn:
        conn.execute(KINDS[kind])
    rounds = ROUNDS if level is READ_COMMITTED else ROUNDS // 10

    def work(number, conn, barrier):
        dice = random.Random(f"{SEED} {number}")
        conn.autocommit = True
        conn.execute("CREATE TEMP TABLE source (id int, at int, no int, v int, note text)")
        conn.autocommit = False
        sent = []
        barrier.wait()
        for n in range(rounds):
            keys = list(range(n // 4 * 5, n // 4 * 5 + 20))
            if kind == "null_keys":
                keys.append(None)
            rows = [(key, dice.randrange(100), n, number, "x") for key in dice.sample(keys, 12)]
            rows += history(dice, keys, 3)
            # A deadlock would be raised here, at every level.
            commit_with_retry(conn, lambda rows=rows: send(conn, rows), level)
            sent += rows
        return sent

    results = race(db, work, sessions=8, level=level)
    with db.connect() as conn:
        assert stored(conn) == latest(row for rows in results for row in rows)


# ---------------------------------------------------------------------------------------------------------------------
# Deletes. A row has `gone` behind its other fields. After a delete nothing is stored, so a row that arrives later is inserted,
# however early it is. Where the latest row of a key is not a delete, the order of arrival has no part in the end.


def rank_with_deletes(row):
    """What decides within a call: at and no, then whether the row deletes, then v and note."""
    key, at, no, v, note, gone = row
    return rank((key, at, no)), gone, rank((key, v, note))


def merge_into(table, part):
    """The model of one call: changes the table, and gives the counts."""
    counts = collections.Counter(received=len(part), superseded=len(part) - len({row[0] for row in part}))
    for key in {row[0] for row in part}:
        *row, gone = max((row for row in part if row[0] == key), key=rank_with_deletes)
        row, stored = tuple(row), table.get(key)
        if gone:
            outcome = "unchanged" if stored is None else "deleted" if rank(row[:3]) >= rank(stored[:3]) else "stale"
        else:
            outcome = (
                "inserted" if stored is None
                else "unchanged" if row == stored
                else "updated" if rank(row) > rank(stored)
                else "stale"
            )  # fmt: skip
        if outcome == "deleted":
            del table[key]
        elif outcome in ("inserted", "updated"):
            table[key] = row
        counts[outcome] += 1
    return counts


def send_with_deletes(conn, rows):
    conn.execute("CREATE TEMP TABLE IF NOT EXISTS changes (id int, at int, no int, v int, note text, gone boolean)")
    conn.execute("DELETE FROM changes")
    with conn.cursor() as cursor, cursor.copy("COPY changes FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    merge = "SELECT * FROM idempotent_merge('events', 'changes', latest_by => '{at,no}', delete_when => 'gone')"
    return {name: count for name, count in conn.execute(merge).fetchone().items() if count}


def history_with_deletes(dice, keys, length):
    return [(*row, dice.random() < 0.3) for row in history(dice, keys, length)]


@pytest.mark.parametrize("kind", KINDS)
def test_with_deletes_each_call_does_what_the_model_says_and_only_rows_after_a_later_delete_depend_on_the_order(db, conn, kind):
    dice = random.Random(SEED + 1)
    conn.execute(KINDS[kind])
    for case in range(CASES):
        keys = list(range(dice.randrange(1, 12)))
        if kind == "null_keys":
            keys.append(None)
        rows = history_with_deletes(dice, keys, dice.randrange(1, 60))
        last = {key: max((row for row in rows if row[0] == key), key=rank_with_deletes) for key in {row[0] for row in rows}}
        for order in range(3):
            conn.execute("TRUNCATE events")
            dice.shuffle(rows)
            sent, table, calls = 0, {}, []
            while sent < len(rows):
                part = rows[sent : sent + dice.randrange(1, len(rows) + 1)]
                sent += len(part)
                calls.append(part)
                assert send_with_deletes(conn, part) == dict(+merge_into(table, part)), (case, order)
                assert stored(conn) == table, (case, order)
            for key, row in last.items():
                if not row[5]:
                    assert table[key] == row[:5], (case, order)
                elif key in table:
                    # It came in a later call than the delete.
                    at = max(n for n, call in enumerate(calls) if row in call)
                    assert any(table[key] == late[:5] for call in calls[at + 1 :] for late in call), (case, order)
        # Where the deletes come last, or with the rest, order has no part in it at all.
        conn.execute("TRUNCATE events")
        dice.shuffle(rows)
        for part in ([row for row in rows if not row[5]], [row for row in rows if row[5]]):
            send_with_deletes(conn, part)
        assert stored(conn) == {key: row[:5] for key, row in last.items() if not row[5]}, case


@LEVELS
@pytest.mark.parametrize("kind", KINDS)
def test_merges_with_deletes_from_many_sessions_lose_no_later_row(db, level, kind):
    """Deletes may cause deadlocks: a round may insert after updates. Then the call is made again."""
    with db.connect() as conn:
        conn.execute(KINDS[kind])
    rounds = ROUNDS // 4 if level is READ_COMMITTED else ROUNDS // 20

    def work(number, conn, barrier):
        dice = random.Random(f"{SEED} {number}")
        conn.autocommit = True
        conn.execute("CREATE TEMP TABLE changes (id int, at int, no int, v int, note text, gone boolean)")
        conn.autocommit = False
        sent = []
        barrier.wait()
        for n in range(rounds):
            keys = list(range(n // 4 * 5, n // 4 * 5 + 20))
            rows = [(key, dice.randrange(100), n, number, "x", dice.random() < 0.3) for key in dice.sample(keys, 12)]
            for _ in range(1000):
                try:
                    commit_with_retry(conn, lambda rows=rows: send_with_deletes(conn, rows), level)
                    break
                except psycopg.errors.DeadlockDetected:
                    conn.rollback()
            sent += rows
        return sent

    rows = [row for sent in race(db, work, sessions=8, level=level) for row in sent]
    with db.connect() as conn:
        table = stored(conn)
    last = {}
    for row in rows:
        if row[0] not in last or rank_with_deletes(row) > rank_with_deletes(last[row[0]]):
            last[row[0]] = row
    sent = {row[:5] for row in rows if not row[5]}
    assert all(row in sent for row in table.values())
    assert {key: row[:5] for key, row in last.items() if not row[5]} == {key: row for key, row in table.items() if not last[key][5]}


# ---------------------------------------------------------------------------------------------------------------------
# Payloads that leave fields out.

DEFAULTS = {"v": 7, "note": "default"}


def rank_of_payload(payload):
    """What decides within a call: at and no, then whether the payload deletes, then v and note, of which one that is left out is
    the least."""
    fields = [(name in payload, payload.get(name) is not None, payload.get(name)) for name in ("v", "note")]
    return rank((None, payload["at"], payload["no"])), bool(payload.get("gone")), fields


def merge_payloads_into(table, payloads):
    """The model: of each key, all payloads after the last delete, one after the other, the earliest first. Payloads of the same
    time are one."""
    for key in {payload["id"] for payload in payloads}:
        parts = sorted((p for p in payloads if p["id"] == key), key=rank_of_payload)
        deletes = [n for n, payload in enumerate(parts) if payload.get("gone")]
        if deletes and deletes[-1] == len(parts) - 1:
            parts = parts[-1:]
        elif deletes:
            parts = parts[deletes[-1] + 1 :]
        for time, together in itertools.groupby(parts, key=lambda payload: (payload["at"], payload["no"])):
            payload = dict(pair for part in together for pair in part.items())
            if payload.get("gone"):
                if key in table and rank((key, *time)) >= rank(table[key][:3]):
                    del table[key]
                continue
            if key not in table:
                table[key] = (key, *time, *(payload.get(name, default) for name, default in DEFAULTS.items()))
                continue
            row = dict(zip(("id", "at", "no", "v", "note"), table[key], strict=True))
            named = [name for name in ("at", "no", "v", "note") if name in payload]
            if rank((key, *(payload[name] for name in named))) > rank((key, *(row[name] for name in named))):
                table[key] = tuple({**row, **{name: payload[name] for name in named}}.values())


def test_payloads_that_leave_fields_out_are_merged_as_if_they_came_one_by_one_the_earliest_first(conn):
    dice = random.Random(SEED + 2)
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, at int, no int, v int DEFAULT 7, note text DEFAULT 'default')")
    merge = "SELECT * FROM idempotent_merge_many('events', %s, latest_by => '{at,no}', delete_when => 'gone')"
    for case in range(CASES * 2):
        table = {}
        conn.execute("TRUNCATE events")
        for _ in range(3):
            rows = history_with_deletes(dice, range(dice.randrange(1, 8)), dice.randrange(1, 30))
            payloads = [dict(zip(("id", "at", "no", "v", "note", "gone"), row, strict=True)) for row in rows]
            for payload in payloads:
                for name in ("v", "note", "gone"):
                    if dice.random() < 0.5 and not (name == "gone" and payload["gone"]):
                        del payload[name]
            before = dict(table)
            merge_payloads_into(table, payloads)
            seen = []
            for _ in range(2):
                dice.shuffle(payloads)
                conn.execute("BEGIN")
                counts = conn.execute(merge, [Jsonb(payloads)]).fetchone()
                assert sum(counts.values()) == 2 * len(payloads) == 2 * counts["received"]
                seen.append((counts, stored(conn)))
                conn.execute("ROLLBACK" if len(seen) == 1 else "COMMIT")
            assert seen[0] == seen[1], case
            wrong = {key for key in {*table, *seen[1][1]} if table.get(key) != seen[1][1].get(key)}
            assert not wrong, [(key, before.get(key), table.get(key), seen[1][1].get(key), [p for p in payloads if p["id"] == key]) for key in wrong]


def test_large_overlapping_merges_in_opposite_orders(db):
    """So large that new rows go in without ON CONFLICT, until one is in the way."""
    with db.connect() as conn:
        conn.execute(KINDS["plain"])

    def work(number, conn, barrier):
        dice = random.Random(f"{SEED} {number}")
        sent = []
        for n in range(5):
            first = n * 2500
            rows = [(key, dice.randrange(100), n, number, "x") for key in range(first, first + 3000)]
            if number % 2:
                rows.reverse()
            barrier.wait()
            commit_with_retry(conn, lambda rows=rows: send(conn, rows), READ_COMMITTED)
            sent += rows
        return sent

    results = race(db, work, sessions=4)
    with db.connect() as conn:
        assert stored(conn) == latest(row for rows in results for row in rows)


@LEVELS
def test_merges_race_with_plain_statements_and_nothing_later_is_overwritten(db, level):
    """Other sessions insert, update and delete rows of the same keys, all with `at` beyond what is merged. Each plain
    statement takes one row, so that there is no deadlock that is not the merge's own; deletes may cause some."""
    keys = 30
    with db.connect() as conn:
        conn.execute(KINDS["plain"])
    rounds = ROUNDS // 4

    def work(number, conn, barrier):
        dice = random.Random(f"{SEED} {number}")
        conn.autocommit = True
        conn.execute("CREATE TEMP TABLE source (id int, at int, no int, v int, note text)")
        barrier.wait()
        if number < 4:
            conn.autocommit = False
            for n in range(rounds):
                rows = [(key, dice.randrange(100), n, number, "merged") for key in dice.sample(range(keys), 20)]
                for _ in range(1000):
                    try:
                        commit_with_retry(conn, lambda rows=rows: send(conn, rows), level)
                        break
                    except psycopg.errors.DeadlockDetected:
                        conn.rollback()
            return None
        kept = {}
        own = [key for key in range(keys) if key % 3 == number - 4]
        for n in range(rounds * 4):
            key = dice.choice(own)
            action = dice.choice(["upsert", "update", "delete"])
            try:
                if action == "upsert":
                    conn.execute(
                        "INSERT INTO events VALUES (%s, 1000, %s, 1, 'plain') ON CONFLICT (id) DO UPDATE "
                        "SET at = excluded.at, no = excluded.no, v = excluded.v, note = excluded.note",
                        [key, n],
                    )
                    kept[key] = (key, 1000, n, 1, "plain")
                elif action == "update" and key in kept:
                    conn.execute("UPDATE events SET at = 1000 + at, no = %s WHERE id = %s", [n, key])
                    kept[key] = (key, 1000 + kept[key][1], n, 1, "plain")
                elif action == "delete":
                    conn.execute("DELETE FROM events WHERE id = %s", [key])
                    kept.pop(key, None)
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                pass
        return kept

    results = race(db, work, sessions=7, level=level)
    plain = {key: row for kept in results[4:] for key, row in kept.items()}
    with db.connect() as conn:
        table = stored(conn)
    # What a plain statement wrote last is there; elsewhere there is what a merge wrote, if it came after a delete.
    assert {key: row for key, row in table.items() if row[4] == "plain"} == plain
    assert plain


def prepare_large(conn):
    """A merge of ROWS rows: a third new, a third later, a third equal."""
    conn.execute(KINDS["plain"])
    conn.execute("CREATE TABLE source (LIKE events)")
    conn.execute(f"INSERT INTO source SELECT g, 2, 0, 0, 'n' || g FROM generate_series(1, {ROWS}) g")
    conn.execute("INSERT INTO events SELECT id, at - 1, no, v, note FROM source WHERE id % 3 = 1")
    conn.execute("INSERT INTO events SELECT * FROM source WHERE id % 3 = 2")


@pytest.fixture
def large(conn):
    prepare_large(conn)
    return conn


ALL = "SELECT count(*) = %s AND count(*) FILTER (WHERE at = 2 AND note = 'n' || id) = count(*) FROM events"


def test_a_cancelled_or_terminated_merge_leaves_nothing_and_the_same_call_again_completes_it(db, large):
    before = value(large, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM events e")
    ended = collections.Counter()
    for delay in (0.02, 0.1, 0.2, 0.3, 0.5):
        for function in ("pg_cancel_backend", "pg_terminate_backend"):
            victim = db.connect(autocommit=False)

            def act(victim=victim):
                victim.execute(MERGE, [["at"]])
                victim.rollback()

            join = in_background(act)
            time.sleep(delay)
            large.execute(f"SELECT {function}(%s)", [victim.info.backend_pid])
            error = join()
            victim.close()
            ended[type(error).__name__] += 1
            assert value(large, "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM events e") == before
    assert ended["QueryCanceled"] and ended["AdminShutdown"], ended
    counts = large.execute(MERGE, [["at"]]).fetchone()
    assert counts["inserted"] + counts["updated"] + counts["unchanged"] == ROWS == counts["received"]
    assert value(large, ALL, ROWS)


@pytest.mark.timeout(180)
def test_a_backend_killed_in_the_middle_of_a_merge_and_the_same_call_again_give_the_right_end(own_cluster):
    db = own_cluster.create_database()
    with db.connect() as conn:
        prepare_large(conn)
        conn.execute("CHECKPOINT")
    kill_in_the_middle(own_cluster, db, lambda conn: conn.execute(MERGE, [["at"]]), (0.05, 0.15, 0.3))
    with db.connect() as conn:
        conn.execute(MERGE, [["at"]])
        assert value(conn, ALL, ROWS)
        again = conn.execute(MERGE, [["at"]]).fetchone()
        assert again["unchanged"] == ROWS


def test_a_merge_again_writes_nothing_takes_no_xid_and_locks_no_row(db, large):
    conn = large
    conn.execute(MERGE, [["at"]])
    conn.execute("INSERT INTO source SELECT id, at - 1, 9, 9, 'stale' FROM source WHERE id <= 100")
    conn.execute("UPDATE events SET at = 9 WHERE id BETWEEN 200 AND 300")
    for statement in ("VACUUM (FREEZE, ANALYZE)", "CHECKPOINT"):
        conn.execute(statement)
    # Reading the system catalogs may prune their pages, which is logged: that is done with after the first.
    for _ in range(2):
        with db.connect() as other:
            other.execute(MERGE, [["at"]])
    explain = "EXPLAIN (ANALYZE, WAL, COSTS OFF, FORMAT JSON) " + MERGE
    conn.execute(MERGE, [["at"]])
    conn.execute("BEGIN")
    plan = conn.execute(explain, [["at"]]).fetchone()["QUERY PLAN"][0]["Plan"]
    assert plan["WAL Records"] == 0
    assert value(conn, "SELECT pg_current_xact_id_if_assigned()") is None
    with db.connect() as other:
        assert value(other, "SELECT count(*) FROM (SELECT FROM events FOR UPDATE NOWAIT) l") == ROWS
    conn.execute("COMMIT")
    counts = conn.execute(MERGE, [["at"]]).fetchone()
    assert (counts["unchanged"], counts["stale"], counts["superseded"]) == (ROWS - 101, 101, 100)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_merge_can_be_prepared_and_is_waited_for(db, conn, end):
    conn.execute(KINDS["plain"])
    conn.execute("INSERT INTO events VALUES (1, 1)")
    rows = [(1, 5, 0, 0, "first"), (2, 5, 0, 0, "first")]
    # A transaction that has used a temporary table cannot be prepared.
    conn.execute("CREATE TABLE source AS SELECT * FROM events; DELETE FROM source")
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO source VALUES (%s, %s, %s, %s, %s)", rows)
    conn.execute("BEGIN")
    counts = conn.execute(MERGE, [["at"]]).fetchone()
    assert (counts["inserted"], counts["updated"]) == (1, 1)
    conn.execute("PREPARE TRANSACTION 'merge'")
    with db.connect() as other:
        got = []
        join = in_background(lambda: got.append(other.execute(MERGE, [["at"]]).fetchone()))
        assert waits_for_a_lock(db, other, "transactionid")
        conn.execute(f"{end} PREPARED 'merge'")
        assert join() is None
    assert got[0]["unchanged"] == (2 if end == "COMMIT" else 0)
    assert stored(conn) == latest(rows)


def test_two_merges_that_rest_on_what_the_other_changes_are_not_both_serializable(db):
    """What was looked up and not written counts as read."""
    with db.connect() as conn:
        conn.execute("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)")
        conn.execute("INSERT INTO a VALUES (1, 5); INSERT INTO b VALUES (1, 5)")
        conn.execute("CREATE VIEW same AS SELECT 1 AS id, 5 AS v")
    first, second = db.connect(autocommit=False), db.connect(autocommit=False)
    failures = 0
    for conn, reads, writes in ((first, "a", "b"), (second, "b", "a")):
        conn.isolation_level = SERIALIZABLE
        counts = conn.execute(f"SELECT * FROM idempotent_merge('{reads}', 'same')").fetchone()
        assert counts["unchanged"] == 1
    for conn, writes in ((first, "b"), (second, "a")):
        try:
            conn.execute(f"UPDATE {writes} SET v = 6 WHERE id = 1")
            conn.commit()
        except psycopg.errors.SerializationFailure:
            conn.rollback()
            failures += 1
        finally:
            conn.close()
    assert failures == 1


def test_a_merge_waits_no_longer_than_lock_timeout(db):
    with db.connect() as conn:
        conn.execute(KINDS["plain"])
        conn.execute("INSERT INTO events VALUES (1, 1)")
    holder, merger = db.connect(autocommit=False), db.connect()
    holder.execute("UPDATE events SET v = 1")
    merger.execute("SET lock_timeout = '100ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        send(merger, [(1, 2, 0, 0, "x")])
    holder.rollback()
    assert send(merger, [(1, 2, 0, 0, "x")])["updated"] == 1
    holder.close()
    merger.close()


@pytest.mark.once
def test_memory_of_merges_is_flat_and_bounded_by_work_mem(large):
    conn = large
    conn.execute("SET work_mem = '4MB'")

    conn.execute(MERGE, [["at"]])
    at_rest, high = contexts(conn), peak(conn.info.backend_pid)
    for n in range(3, 8):
        conn.execute("UPDATE source SET at = %s", [n])
        conn.execute(MERGE, [["at"]])
    assert contexts(conn) - at_rest < MEGABYTE
    assert peak(conn.info.backend_pid) - high < 160 * MEGABYTE
    loop = "DO $$ BEGIN FOR n IN 1 .. 2000 LOOP PERFORM idempotent_merge('events', 'few', latest_by => '{at}'); END LOOP; END $$"
    conn.execute("CREATE VIEW few AS SELECT g AS id, (random() * 1e6)::int AS at FROM generate_series(1, 20) g")
    conn.execute("CREATE VIEW others AS SELECT g AS id, random() AS seq, (random() * 9)::int AS v, random() < 0.3 AS gone FROM generate_series(1, 20) g")
    deletes = "PERFORM idempotent_merge('events', 'others', latest_by => '{seq}', delete_when => 'gone')"
    many = """PERFORM idempotent_merge_many('events', jsonb_agg(CASE WHEN gone THEN to_jsonb(s) ELSE to_jsonb(s) - 'v' END), latest_by => '{seq}',
        delete_when => 'gone') FROM others s"""
    for call in (None, deletes, many):
        repeated = loop if call is None else f"DO $$ BEGIN FOR n IN 1 .. 1000 LOOP {call}; END LOOP; END $$"
        conn.execute(repeated)
        at_rest = contexts(conn)
        conn.execute(repeated)
        assert contexts(conn) - at_rest < MEGABYTE / 4
