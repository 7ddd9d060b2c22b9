"""pgbench: clients that race each other for the same keys, and do all of it again."""

import re

import pytest

from programs import run
from support.server import program

KEYS = 40

# The payload follows from the key, so that whoever comes second sends the same.
SCRIPT = rf"""\set n random(1, {KEYS})
\set amount :n * FACTOR
INSERT INTO orders (order_id, amount, placed_at) VALUES ('p-' || :n, :amount, '2024-05-01');
"""


def pgbench(orders, tmp_path, protocol="simple", factor="2", clients=8, transactions=100):
    script = tmp_path / "insert.sql"
    script.write_text(SCRIPT.replace("FACTOR", factor))
    return run(
        [
            *(program("pgbench"), "--no-vacuum", "--random-seed=20131103", f"--protocol={protocol}"),
            *(f"--client={clients}", "--jobs=2", f"--transactions={transactions}", f"--file={script}"),
        ],
        orders.address,
    )


def processed(done):
    return re.search(r"number of transactions actually processed: (\d+/\d+)", done.stdout).group(1)


def stored(orders):
    return orders.query("SELECT order_id, amount FROM orders ORDER BY order_id")


ALL = sorted((f"p-{n}", 2 * n) for n in range(1, KEYS + 1))


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_a_run_and_its_retry(orders, tmp_path, protocol):
    done = pgbench(orders, tmp_path, protocol)
    assert (done.returncode, processed(done)) == (0, "800/800"), done.stderr
    assert stored(orders) == ALL
    ids = orders.ids()

    done = pgbench(orders, tmp_path, protocol)
    assert (done.returncode, processed(done)) == (0, "800/800"), done.stderr
    assert stored(orders) == ALL
    assert orders.ids() == ids


def test_a_run_of_which_half_was_committed_before(orders, tmp_path):
    half = "INSERT INTO orders (order_id, amount, placed_at) SELECT 'p-' || n, 2 * n, '2024-05-01' FROM generate_series"
    orders.run(f"{half}(1, {KEYS}, 2) AS n")
    ids = orders.ids()
    done = pgbench(orders, tmp_path)
    assert (done.returncode, processed(done)) == (0, "800/800"), done.stderr
    assert stored(orders) == ALL
    assert orders.ids().items() >= ids.items()


def test_an_altered_run_ends_its_clients(orders, tmp_path):
    pgbench(orders, tmp_path)
    ids = orders.ids()
    done = pgbench(orders, tmp_path, factor="3")
    assert done.returncode == 2
    assert processed(done) == "0/800"
    aborted = 'aborted in command 2 .*ERROR:  payload conflicts with the stored row in table "orders"'
    assert len(re.findall(aborted, done.stderr)) == 8
    detail = re.search(r"DETAIL:  Key \(order_id\)=\(p-(\d+)\) is stored with amount=(\d+).00; ", done.stderr)
    assert int(detail.group(2)) == 2 * int(detail.group(1))
    assert stored(orders) == ALL
    assert orders.ids() == ids


def test_an_altered_run_with_quarantine(quarantine, tmp_path):
    pgbench(quarantine, tmp_path)
    for _ in range(2):
        done = pgbench(quarantine, tmp_path, factor="3")
        assert (done.returncode, processed(done)) == (0, "800/800"), done.stderr
        assert stored(quarantine) == ALL
        found = {key["order_id"]: differences["amount"] for key, differences in quarantine.conflicts()}
        assert found == {f"p-{n}": {"stored": 2 * n, "payload": 3 * n} for n in range(1, KEYS + 1)}
        assert len(quarantine.conflicts()) == KEYS


def test_its_own_tables_are_filled_again(orders):
    """pgbench fills its tables with COPY, FREEZE among its options, after it has truncated them."""
    tables = {"pgbench_branches": 1, "pgbench_tellers": 10, "pgbench_accounts": 100000}
    pgbench = [program("pgbench"), "--initialize"]
    done = run([*pgbench, "--init-steps=dtp"], orders.owner)
    assert done.returncode == 0, done.stderr
    for table in tables:
        orders.run(f"SELECT idempotent_guard('{table}')")
    for _ in range(2):
        done = run([*pgbench, "--init-steps=g"], orders.owner)
        assert done.returncode == 0, done.stderr
        for table, rows in tables.items():
            assert orders.query(f"SELECT count(*) FROM {table}") == [(rows,)]
