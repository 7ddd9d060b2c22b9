"""What insert-or-verify costs on three nodes of Citus: bench/distributed runs it.

Each contest has two sides. They run in turns, each time with other rows and in the other order, so that what else the machine
does meets both. A line gives the median of the ratios of a pair, and where the middle eight of ten of them lie.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

from psycopg.types.json import Jsonb

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.citus_nodes import Nodes  # noqa: E402
from support.queries import value  # noqa: E402

COLUMNS = "order_id bigint PRIMARY KEY, customer text, amount numeric(10,2), placed timestamptz"
BATCH = 1_000
COPY_ROWS = 20_000


def setup(conn):
    for name in ("here", "there", "plain", "guarded"):
        conn.execute(f"CREATE TABLE {name} ({COLUMNS})")
        if name != "here":
            conn.execute(f"SELECT create_distributed_table('{name}', 'order_id')")
    conn.execute("SET citus.enable_unsafe_triggers = on")
    conn.execute("SELECT idempotent_guard('guarded')")


def row(number):
    return number, f"customer {number % 97}", number % 1000 + 0.25, "2013-11-03T12:00:00Z"


def took(act):
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


def batch(conn, name, first):
    names = ("order_id", "customer", "amount", "placed")
    payloads = Jsonb([dict(zip(names, row(number), strict=True)) for number in range(first, first + BATCH)])
    return lambda: conn.execute(f"SELECT * FROM idempotent_insert_many('{name}', %s)", [payloads])


def copy(conn, name, first):
    rows = [row(number) for number in range(first, first + COPY_ROWS)]

    def act():
        with conn.cursor().copy(f"COPY {name} FROM STDIN") as stream:
            for one in rows:
                stream.write_row(one)

    return act


def rows_of(count):
    def statement(conn, name, first):
        rows = [row(number) for number in range(first, first + count)]
        lists = ", ".join(["(%s, %s, %s, %s)"] * count)
        return lambda: conn.execute(f"INSERT INTO {name} VALUES {lists}", [field for one in rows for field in one])

    return statement


def select(conn, name, first):
    return lambda: conn.execute(
        f"INSERT INTO {name} SELECT i, 'customer ' || i %% 97, i %% 1000 + 0.25, '2013-11-03T12:00:00Z'"
        " FROM generate_series(%s::bigint, %s) AS i", [first, first + BATCH - 1])  # fmt: skip


# What is measured, how, the side and its rival, and whether the same rows come again.
CONTESTS = [
    ("batch of 1,000 new payloads, distributed against local", batch, "there", "here", False),
    ("batch of 1,000 duplicates, distributed against local", batch, "there", "here", True),
    ("COPY of 20,000 rows, guarded against not", copy, "guarded", "plain", False),
    ("INSERT of 1,000 rows, guarded against not", rows_of(1_000), "guarded", "plain", False),
    ("INSERT … SELECT of 1,000 rows, guarded against not", select, "guarded", "plain", False),
    ("INSERT of one row, guarded against not", rows_of(1), "guarded", "plain", False),
]


def contest(conn, way, side, rival, again, pairs, first):
    ratios = []
    if again:
        for name in (side, rival):
            way(conn, name, first)()
    # The first pair fills caches.
    for number in range(pairs + 1):
        begin = first if again else first + number * COPY_ROWS
        order = (side, rival) if number % 2 else (rival, side)
        times = {name: took(way(conn, name, begin)) for name in order}
        ratios.append(times[side] / times[rival])
    return sorted(ratios[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30)
    pairs = parser.parse_args().pairs
    nodes = Nodes()
    try:
        with nodes.connect() as conn:
            if value(conn, "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_idempotent'") == 0:
                sys.exit("The server does not have pg_idempotent.")
            setup(conn)
            print("| what | times | 10 to 90 % |\n| --- | --: | --: |")
            for number, (words, way, side, rival, again) in enumerate(CONTESTS):
                found = contest(conn, way, side, rival, again, pairs, 1 + number * 1_000 * COPY_ROWS)
                low, high = found[len(found) // 10], found[-1 - len(found) // 10]
                print(f"| {words} | {statistics.median(found):.2f} | {low:.2f} to {high:.2f} |", flush=True)
    finally:
        nodes.destroy()


if __name__ == "__main__":
    main()
