"""Distributed tables, on three nodes of Citus. Skipped where the server has no Citus."""

import contextlib
import random
import re
import threading

import psycopg
import pytest

from support.citus_nodes import Nodes
from support.cluster import assert_clean
from support.queries import value
from support.sessions import Sessions, until_it_succeeds
from support.waiting import until

BATCH = "SELECT * FROM idempotent_insert_many(%s, %s)"
EACH = "SELECT outcome, stored, differences FROM idempotent_insert_each(%s, %s, on_conflict => 'report')"
TRIGGERS = "SET citus.enable_unsafe_triggers = on"
# For work on the shards of one node.
BY_HAND = "SET citus.override_table_visibility = off; SET citus.enable_ddl_propagation = off"


every_placement = pytest.mark.parametrize(
    "distribute",
    [
        "create_distributed_table('t', 'id')",
        "create_distributed_table('t', NULL, colocate_with => 'none', distribution_type => NULL)",
        "create_reference_table('t')",
        "citus_add_local_table_to_metadata('t')",
    ],
)


@pytest.fixture(scope="module")
def nodes(cluster):
    with cluster.connect() as conn:
        if value(conn, "SELECT count(*) FROM pg_available_extensions WHERE name = 'citus'") == 0:
            pytest.skip("the server has no Citus")
    nodes = Nodes()
    yield nodes
    assert_clean(nodes.destroy())


@pytest.fixture
def conn(nodes):
    with nodes.connect() as conn:
        yield conn
    with nodes.connect() as conn:
        conn.execute("SET client_min_messages = warning")
        # What a test that has failed leaves behind.
        conn.execute("SELECT recover_prepared_transactions()")
        conn.execute("DROP TABLE IF EXISTS t, source, loose CASCADE")
        # Shards that were moved leave the old ones behind for a while.
        conn.execute("CALL citus_cleanup_orphaned_resources()")
        # Citus does the same on its workers.
        conn.execute("DROP EXTENSION pg_idempotent")
        conn.execute("CREATE EXTENSION pg_idempotent")


def payloads(*rows):
    return psycopg.types.json.Jsonb([dict(zip(("id", "v"), row)) for row in rows])


def table(conn, distribute="create_distributed_table('t', 'id')", columns="id int PRIMARY KEY, v text"):
    conn.execute(f"CREATE TABLE t ({columns})")
    conn.execute(f"SELECT {distribute}")


def contents(conn, name="t"):
    return [tuple(row.values()) for row in conn.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall()]


def refused(conn, sql, parameters=None, state="0A000"):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(sql, parameters)
    assert caught.value.sqlstate == state, caught.value
    return caught.value.diag


@every_placement
def test_functions_insert_or_verify(conn, distribute):
    table(conn, distribute)
    counts = conn.execute(BATCH, ["t", payloads((1, "a"), (2, "b"), (1, "a"))]).fetchone()
    assert counts == {"received": 3, "inserted": 2, "duplicates": 1, "conflicts": 0, "rejected": 0}
    found = conn.execute(EACH, ["t", payloads((3, "c"), (1, "a"), (2, "x"), (3, "y"))]).fetchall()
    assert [row["outcome"] for row in found] == ["inserted", "duplicate", "conflict", "conflict"]
    assert [row["stored"] for row in found] == [{"id": i, "v": v} for i, v in ((3, "c"), (1, "a"), (2, "b"), (3, "c"))]
    assert found[2]["differences"] == {"v": {"stored": "b", "payload": "x"}}
    error = refused(conn, BATCH, ["t", payloads((4, "d"), (4, "e"))], state="23I01")
    assert error.message_detail == "Payload 2: Key (id)=(4) is stored by payload 1 with v=d; the payload has v=e."
    assert error.table_name == "t" and error.constraint_name == "t_pkey"
    conn.execute("CREATE TABLE source AS SELECT i AS id, 'v' || i AS v FROM generate_series(10, 3000) AS i")
    counts = conn.execute("SELECT * FROM idempotent_insert_from('t', 'source', token => 'one')").fetchone()
    assert counts["inserted"] == 2991
    assert conn.execute("SELECT * FROM idempotent_insert_from('t', 'source', token => 'one')").fetchone()["replayed"]
    conn.execute("UPDATE source SET v = 'other' WHERE id = 77; INSERT INTO source VALUES (1, 'a')")
    conn.execute("CALL idempotent_load('t', 'source', batch_size => 500, on_conflict => 'quarantine')")
    assert value(conn, "SELECT key FROM idempotent.conflicts") == {"id": 77}
    deviations = conn.execute("SELECT status, key FROM idempotent_reconcile('t', 'source')").fetchall()
    assert [(row["status"], row["key"]["id"]) for row in deviations] == [("unexpected", 2), ("unexpected", 3), ("different", 77)]


def test_keys_of_several_columns(conn):
    table(conn, "create_distributed_table('t', 'tenant')", "tenant int, id varchar(9), v text, PRIMARY KEY (id, tenant)")
    rows = psycopg.types.json.Jsonb([{"tenant": t, "id": i, "v": "v"} for t in range(20) for i in "abc"])
    assert conn.execute(BATCH, ["t", rows]).fetchone()["inserted"] == 60
    assert conn.execute(BATCH, ["t", rows]).fetchone()["duplicates"] == 60
    other = psycopg.types.json.Jsonb([{"tenant": 3, "id": "b", "v": "w"}])
    assert refused(conn, BATCH, ["t", other], state="23I01").message_detail.startswith("Payload 1: Key (id, tenant)=(b, 3) is stored")


@pytest.mark.parametrize("distribute", ["create_distributed_table('t', 'tenant')", "create_reference_table('t')"])
def test_keys_with_expressions_and_conditions(conn, distribute):
    table(conn, distribute, "tenant int, id varchar(9), v text, gone boolean")
    conn.execute("CREATE UNIQUE INDEX ON t (tenant, lower(id)) WHERE NOT gone")
    each = EACH.replace("on_conflict", "key => '{tenant, lower(id::text)}', on_conflict")

    def send(*rows):
        names = ("tenant", "id", "v", "gone")
        return conn.execute(each, ["t", psycopg.types.json.Jsonb([dict(zip(names, row)) for row in rows])]).fetchall()

    rows = [(t, i, f"{t}{i}", gone) for t in range(20) for i in "abc" for gone in (False, True)]
    found = send(*rows)
    assert {row["outcome"] for row in found} == {"inserted"}
    assert [row["stored"] for row in found] == [{"tenant": t, "id": i, "v": v, "gone": gone} for t, i, v, gone in rows]
    found = send(*rows)
    assert [row["outcome"] for row in found] == ["inserted" if row[3] else "duplicate" for row in rows]
    found = send((3, "A", "3a", False), (4, "d", "new", False), (4, "D", "new", True))
    assert [row["outcome"] for row in found] == ["conflict", "inserted", "inserted"]
    assert found[0]["differences"] == {"id": {"stored": "a", "payload": "A"}}
    conn.execute("CREATE TABLE source AS SELECT i % 50 AS tenant, 'K' || i AS id, 'v' AS v, i % 4 = 0 AS gone FROM generate_series(1, 2000) AS i")
    for inserted in (2000, 500):
        counts = conn.execute("SELECT * FROM idempotent_insert_from('t', 'source', key => '{tenant, lower(id::text)}')").fetchone()
        assert (counts["inserted"], counts["duplicates"]) == (inserted, 2000 - inserted)
    conn.execute("CALL idempotent_load('t', 'source', key => '{tenant, lower(id::text)}', batch_size => 300)")
    assert value(conn, "SELECT count(*) FROM t WHERE NOT gone") == 60 + 1 + 1500


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_one_transaction_sees_its_own_rows_and_a_rollback_takes_them(conn, level):
    table(conn)
    conn.execute(f"BEGIN ISOLATION LEVEL {level}")
    assert conn.execute(BATCH, ["t", payloads((1, "a"))]).fetchone()["inserted"] == 1
    assert conn.execute(BATCH, ["t", payloads((1, "a"))]).fetchone()["duplicates"] == 1
    conn.execute("ROLLBACK")
    assert contents(conn) == []


def test_rejected_rows_are_set_aside(conn):
    table(conn, columns="id int PRIMARY KEY, v text CHECK (v <> 'bad')")
    rows = payloads(*((i, "bad" if i % 9 == 0 else "good") for i in range(1, 100)))
    counts = conn.execute("SELECT * FROM idempotent_insert_many('t', %s, on_error => 'quarantine')", [rows]).fetchone()
    assert (counts["inserted"], counts["rejected"]) == (88, 11)
    assert value(conn, "SELECT count(*) FROM idempotent.rejections") == 11


def test_a_view_gives_the_stored_row(conn):
    table(conn)
    conn.execute("SELECT idempotent_view('t', 't_view')")
    for _ in range(2):
        assert conn.execute("INSERT INTO t_view VALUES (1, 'a') RETURNING *").fetchone() == {"id": 1, "v": "a"}
    refused(conn, "INSERT INTO t_view VALUES (1, 'b')", state="23I01")


def test_a_request_commits_with_its_rows(conn):
    table(conn)
    call = "SELECT response, replayed FROM idempotent_execute('k', 'INSERT INTO t VALUES (1, $1) RETURNING id', '[\"a\"]')"
    assert conn.execute(call).fetchone() == {"response": [{"id": 1}], "replayed": False}
    assert conn.execute(call).fetchone() == {"response": [{"id": 1}], "replayed": True}


def test_what_works_on_the_table_itself_is_refused(conn):
    table(conn)
    conn.execute("CREATE TABLE source AS SELECT 1 AS id, 'a'::text AS v")
    assert 'distributed table "t"' in refused(conn, "SELECT * FROM idempotent_guard('t')").message_primary
    conn.execute(f"{TRIGGERS}")
    refused(conn, "SELECT * FROM idempotent_guard('t', on_conflict => 'quarantine')")
    conn.execute("CREATE TABLE loose (id int, v text); SELECT create_distributed_table('loose', 'id')")
    found = conn.execute("SELECT message, hint FROM idempotent_lint('loose')").fetchone()
    assert 'the distribution column "id"' in found["message"] and "ON public.loose (…, id);" in found["hint"]
    conn.execute("DROP TABLE loose; CREATE TABLE loose (id int, v text); SELECT create_reference_table('loose')")
    found = conn.execute("SELECT message, hint FROM idempotent_lint('loose')").fetchone()
    assert "distribution column" not in found["message"] and "ON public.loose (…);" in found["hint"]


def merged(conn, rows, **options):
    """The counts but for the first, of rows (id, at, v) or (id, at, v, gone); None leaves v out."""
    names = ("id", "at", "v", "gone")
    payloads = [{name: x for name, x in zip(names, row) if x is not None} for row in rows]
    counts = conn.execute(
        "SELECT * FROM idempotent_merge_many('t', %s, latest_by => '{at}', delete_when => %s)",
        [psycopg.types.json.Jsonb(payloads), options.get("delete_when")],
    ).fetchone()
    return {name: number for name, number in list(counts.items())[1:] if number}


@every_placement
def test_the_latest_row_wins(conn, distribute):
    table(conn, distribute, "id int PRIMARY KEY, at int, v text, note text DEFAULT 'none'")
    conn.execute("INSERT INTO t SELECT i, 5, 'v' || i FROM generate_series(1, 600) AS i")
    conn.execute("CREATE TABLE source (id int, at int, v text, gone boolean)")
    conn.execute("INSERT INTO source SELECT i, i % 11, 'v' || i % 3, i % 5 = 0 FROM generate_series(1, 1200) AS i")
    merge = "SELECT * FROM idempotent_merge('t', 'source', latest_by => '{at}', delete_when => 'gone', token => %s)"
    # The same on one server, by plain SQL.
    conn.execute("CREATE TABLE loose AS TABLE t; DELETE FROM loose USING source AS s WHERE loose.id = s.id AND s.at >= loose.at AND s.gone")
    conn.execute("INSERT INTO loose SELECT id, at, v, 'none' FROM source WHERE NOT gone AND id > 600")
    conn.execute("UPDATE loose SET at = s.at, v = s.v FROM source AS s WHERE loose.id = s.id AND (s.at, s.v) > (loose.at, loose.v) AND NOT s.gone")
    first = conn.execute(merge, ["one"]).fetchone()
    assert contents(conn) == contents(conn, "loose")
    assert conn.execute(merge, ["one"]).fetchone() == {**first, "replayed": True}
    again = conn.execute(merge, ["two"]).fetchone()
    assert (again["inserted"], again["updated"], again["deleted"]) == (0, 0, 0)
    # Payloads that leave columns out, and several under one key.
    rows = [*((i, 20, "w") for i in range(1, 400)), *((i, 21, None) for i in range(200, 800)), *((i, 20, "x") for i in range(1500, 1502))]
    found = merged(conn, rows)
    assert sum(found.values()) == len(rows)
    assert merged(conn, rows) == {"unchanged": 801, "stale": 200}
    assert {(row["at"], row["v"]) for row in conn.execute("SELECT at, v FROM t WHERE id BETWEEN 200 AND 399").fetchall()} == {(21, "w")}


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_a_merge_sees_what_its_transaction_has_written(conn, level):
    table(conn, columns="id int PRIMARY KEY, at int, v text")
    conn.execute("INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'a')")
    conn.execute(f"BEGIN ISOLATION LEVEL {level}")
    assert merged(conn, [(1, 2, "b"), (2, 2, "b", True), (3, 2, "b")], delete_when="gone") == {"inserted": 1, "updated": 1, "deleted": 1}
    assert merged(conn, [(1, 1, "c"), (2, 1, "c"), (3, 3, "c")]) == {"inserted": 1, "updated": 1, "stale": 1}
    conn.execute("ROLLBACK")
    assert contents(conn) == [(1, 1, "a"), (2, 1, "a")]


def test_a_merge_takes_rows_of_all_types(conn):
    columns = "k {0}, id int, e {0}, d {1}, a int[], es {0}[], c {2}, j json, p point, f float8, at timestamptz, t text COLLATE \"C\""
    conn.execute("CREATE TYPE feeling AS ENUM ('sad', 'glad'); CREATE DOMAIN positive AS int CHECK (value > 0); CREATE TYPE pair AS (a int, b text)")
    table(conn, columns=columns.format("feeling", "positive", "pair") + ", PRIMARY KEY (k, id)")
    values = "e, d, a, es, c, j, p, f, at, t"
    conn.execute(f"INSERT INTO t (k, id, {values}) SELECT 'sad', 1, 'sad', 1, '{{1,2}}', '{{sad}}', '(1,x)', '{{\"a\": 1}}', '(1,2)', 0.1, now(), 'x'")
    conn.execute(f"INSERT INTO t (k, id, {values}) SELECT 'glad', 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL")
    conn.execute("CREATE TABLE source (LIKE t)")
    conn.execute("INSERT INTO source SELECT * FROM t")
    for setting in ("datestyle = 'sql, dmy'", "extra_float_digits = -15", "plan_cache_mode = force_generic_plan"):
        conn.execute(f"SET {setting}")
        merge = "SELECT updated, unchanged FROM idempotent_merge('t', 'source')"
        assert conn.execute(merge).fetchone() == {"updated": 0, "unchanged": 2}
        # Both rows change in each column, to a value or to NULL, and back.
        for _ in range(2):
            conn.execute(f"UPDATE source SET ({values}) = (SELECT {values} FROM source AS other WHERE other.id <> source.id)")
            assert conn.execute(merge).fetchone() == {"updated": 2, "unchanged": 0}
            assert value(conn, "SELECT idempotent_digest(x) FROM t x") == value(conn, "SELECT idempotent_digest(x) FROM source x")
        conn.execute("RESET ALL")
    conn.execute("SET client_min_messages = warning; DROP TABLE t, source; DROP TYPE feeling, pair; DROP DOMAIN positive")


def test_a_merge_finds_rows_by_expressions_and_a_condition(conn):
    # Names of columns that the statement could use for its own.
    table(conn, "create_distributed_table('t', 'tenant')", "tenant int, email text, at int, gone_at int, v int, r int, rk0 int")
    conn.execute("CREATE UNIQUE INDEX ON t (tenant, lower(email)) WHERE gone_at IS NULL")

    def merge(at, letter, **others):
        rows = [{"tenant": i % 5, "email": f"{letter}{i}@x", "at": at, "gone_at": None, **{name: of(i) for name, of in others.items()}} for i in range(60)]
        counts = conn.execute(
            "SELECT * FROM idempotent_merge_many('t', %s, key => '{tenant,lower(email)}', latest_by => '{at}', delete_when => 'gone')",
            [psycopg.types.json.Jsonb(rows)],
        ).fetchone()
        return {name: number for name, number in counts.items() if number}

    assert merge(1, "A") == {"received": 60, "inserted": 60}
    assert merge(2, "a", v=lambda i: i) == {"received": 60, "updated": 60}
    assert merge(3, "A", gone=lambda i: i % 6 == 0) == {"received": 60, "updated": 50, "deleted": 10}
    # What is outside of the condition has no key: it goes in beside the others.
    assert merge(4, "a", gone_at=lambda i: 9 if i % 2 else None) == {"received": 60, "inserted": 40, "updated": 20}
    assert value(conn, "SELECT count(*) FROM t WHERE gone_at IS NULL") == 60
    assert {row["email"][0] for row in conn.execute("SELECT email FROM t WHERE tenant = 0 AND gone_at IS NULL AND at = 3").fetchall()} == {"A"}


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_a_merge_judges_again_what_another_session_has_changed(nodes, conn, level):
    table(conn, columns="id int PRIMARY KEY, at int, v text")
    conn.execute("INSERT INTO t SELECT i, 1, 'a' FROM generate_series(1, 9) AS i")
    conn.execute(f"BEGIN ISOLATION LEVEL {level}")
    assert value(conn, "SELECT count(*) FROM t") == 9
    with nodes.connect(autocommit=False) as other:
        for change in ("SET at = 5, v = 'b' WHERE id = 1", "SET at = 2 WHERE id = 2", "SET v = 'c' WHERE id = 3", "SET at = 1 WHERE id = 4", "SET at = 5 WHERE id = 5"):
            other.execute(f"UPDATE t {change}")
        other.execute("DELETE FROM t WHERE id = 6")
        found = []

        def merge():
            try:
                found.append(merged(conn, [(i, 3, "m", i == 5) for i in range(1, 9)], delete_when="gone"))
            except psycopg.Error as error:
                found.append(error.sqlstate)

        thread = threading.Thread(target=merge)
        thread.start()
        with nodes.connect() as watch:
            until(lambda: value(watch, "SELECT count(*) > 0 FROM citus_lock_waits"), 30)
        other.commit()
        thread.join()
    if level == "repeatable read":
        assert found == ["40001"]
        conn.execute("ROLLBACK")
        return
    assert found == [{"inserted": 1, "updated": 5, "stale": 2}]
    conn.execute("COMMIT")
    latest = {1: (5, "b"), 5: (5, "a"), 9: (1, "a")}
    assert contents(conn) == [(i, *latest.get(i, (3, "m"))) for i in range(1, 10)]


def test_a_merge_obeys_policies(conn):
    table(conn, columns="id int PRIMARY KEY, at int, v text DEFAULT 'own'")
    conn.execute("INSERT INTO t VALUES (1, 1, 'own'), (2, 1, 'hidden'), (3, 1, 'kept')")
    conn.execute("DROP ROLE IF EXISTS regress_merger; CREATE ROLE regress_merger LOGIN; GRANT ALL ON t TO regress_merger")
    conn.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    for command, rows in (("SELECT", "USING (v <> 'hidden')"), ("INSERT", "WITH CHECK (true)"), ("UPDATE", "USING (v = 'own')"), ("DELETE", "USING (v = 'own')")):
        conn.execute(f"CREATE POLICY for_{command} ON t FOR {command} {rows}")
    conn.execute("SET ROLE regress_merger")
    assert merged(conn, [(1, 2, None), (4, 1, None)]) == {"inserted": 1, "updated": 1}
    many = "SELECT * FROM idempotent_merge_many('t', %s, latest_by => '{at}', delete_when => 'gone')"
    for id_ in (2, 3):
        refused(conn, many, [psycopg.types.json.Jsonb([{"id": id_, "at": 2}])], "42501")
    refused(conn, many, [psycopg.types.json.Jsonb([{"id": 3, "at": 2, "gone": True}])], "42501")
    assert merged(conn, [(2, 2, None, True), (4, 2, None, True)], delete_when="gone") == {"deleted": 1, "unchanged": 1}
    conn.execute("RESET ROLE")
    assert contents(conn) == [(1, 2, "own"), (2, 1, "hidden"), (3, 1, "kept")]
    conn.execute("DROP TABLE t; DROP ROLE regress_merger")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("distribute", ["create_distributed_table('t', 'id')", "create_reference_table('t')"])
def test_racing_merges_leave_the_greatest_row_of_each_key(nodes, conn, distribute):
    table(conn, distribute, "id int PRIMARY KEY, at int, v text")
    rounds, sessions, keys = 10, 8, 60
    errors, calls = [], []
    sent = {key: [] for key in range(keys)}

    def send(number, own):
        dice = random.Random(number)
        for _ in range(rounds):
            rows = [{"id": key, "at": dice.randint(1, 40), "v": dice.choice("abc"), "gone": key % 4 == 0 and dice.random() < 0.3} for key in range(keys)]
            dice.shuffle(rows)
            for row in rows:
                sent[row["id"]].append((row["at"], row["gone"], row["v"]))
            # Rows are compared by v where the time is the same: both are the same order.
            latest_by = [["at"], ["at", "v"]][number % 2]
            merge = "SELECT * FROM idempotent_merge_many('t', %s, latest_by => %s, delete_when => 'gone')"
            until_it_succeeds(lambda: own.execute(merge, [psycopg.types.json.Jsonb(rows), latest_by]), errors)
            calls.append(number)

    Sessions(sessions, nodes.connect, send).join()
    assert set(errors) <= {"40P01", "40001"}
    assert len(calls) == rounds * sessions and len(errors) < len(calls)
    stored = {row["id"]: (row["at"], False, row["v"]) for row in conn.execute("SELECT * FROM t").fetchall()}
    for key, rows in sent.items():
        greatest = max(rows)
        if greatest[1]:
            # After the delete, an earlier row may have gone in again.
            assert stored.get(key) is None or stored[key] in rows
        else:
            assert stored[key] == greatest


def conflict(conn, key, v):
    """The number of a conflict that is recorded for a payload."""
    conn.execute("SELECT * FROM idempotent_insert_many('t', %s, on_conflict => 'quarantine')", [payloads((key, v))])
    return value(conn, "SELECT max(id) FROM idempotent.conflicts")


APPLY = "SELECT idempotent_resolve(%s, 'apply_payload')"


@every_placement
def test_a_conflict_ends_with_the_payload(conn, distribute):
    table(conn, distribute, "id int PRIMARY KEY, v text, j json, p point DEFAULT '(1,2)'")
    conn.execute("INSERT INTO t SELECT i, 'a', '{\"a\":   1}' FROM generate_series(1, 9) AS i")
    first = conflict(conn, 1, "b")
    assert [value(conn, APPLY, first) for _ in range(2)] == [True, False]
    assert conn.execute("SELECT v, j FROM t WHERE id = 1").fetchone() == {"v": "b", "j": {"a": 1}}
    changed, gone, kept = conflict(conn, 2, "b"), conflict(conn, 3, "b"), conflict(conn, 4, "b")
    conn.execute("UPDATE t SET j = '[]' WHERE id = 2")
    conn.execute("DELETE FROM t WHERE id = 3")
    assert "differs from the one that was recorded" in refused(conn, APPLY, [changed], "55000").message_detail
    assert "no longer exists" in refused(conn, APPLY, [gone], "55000").message_detail
    assert value(conn, "SELECT idempotent_resolve(%s, 'keep_stored')", kept)
    refused(conn, APPLY, [kept], "55000")
    assert value(conn, "SELECT count(*) FROM t WHERE v = 'b'") == 1


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_a_payload_is_not_applied_to_a_row_that_another_session_changes(nodes, conn, level):
    table(conn)
    conn.execute("INSERT INTO t VALUES (1, 'a')")
    number = conflict(conn, 1, "b")
    conn.execute(f"BEGIN ISOLATION LEVEL {level}")
    assert value(conn, "SELECT count(*) FROM t") == 1
    found = []
    with nodes.connect(autocommit=False) as other:
        other.execute("UPDATE t SET v = 'c'")
        thread = threading.Thread(target=lambda: found.append(refused(conn, APPLY, [number], ["55000", "40001"][level == "repeatable read"])))
        thread.start()
        with nodes.connect() as watch:
            until(lambda: value(watch, "SELECT count(*) > 0 FROM citus_lock_waits"), 30)
        other.commit()
        thread.join()
    assert len(found) == 1
    conn.execute("ROLLBACK")
    assert contents(conn) == [(1, "c")]


@pytest.mark.parametrize("distribute", ["create_distributed_table('t', 'id')", "create_reference_table('t')"])
def test_a_repair_makes_the_table_equal_to_its_source(conn, distribute):
    table(conn, distribute)
    conn.execute("INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 60) AS i")
    conn.execute("CREATE TABLE source AS SELECT i AS id, CASE WHEN i % 7 = 0 THEN 'other' ELSE 'v' || i END AS v FROM generate_series(11, 80) AS i")
    found = conn.execute("SELECT outcome, count(*) FROM idempotent_repair('t', 'source', dry_run => false) GROUP BY outcome ORDER BY 1").fetchall()
    assert [tuple(row.values()) for row in found] == [("deleted", 10), ("inserted", 20), ("updated", 7)]
    assert conn.execute("SELECT * FROM idempotent_reconcile('t', 'source')").fetchall() == []
    assert contents(conn) == contents(conn, "source")


def test_a_repair_skips_a_row_that_another_session_inserts(nodes, conn):
    table(conn)
    conn.execute("CREATE TABLE source AS SELECT 1 AS id, 'a'::text AS v")
    with nodes.connect(autocommit=False) as other:
        other.execute("INSERT INTO t VALUES (1, 'b')")
        found = []
        thread = threading.Thread(target=lambda: found.append(conn.execute("SELECT outcome FROM idempotent_repair('t', 'source', dry_run => false)").fetchone()))
        thread.start()
        with nodes.connect() as watch:
            until(lambda: value(watch, "SELECT count(*) > 0 FROM citus_lock_waits"), 30)
        other.commit()
        thread.join()
    assert found == [{"outcome": "skipped"}]


def test_a_repair_by_a_partial_key_is_refused(conn):
    table(conn, columns="id int, v text")
    conn.execute("CREATE UNIQUE INDEX ON t (id) WHERE v IS NOT NULL")
    conn.execute("CREATE TABLE source AS SELECT 1 AS id, 'a'::text AS v")
    refused(conn, "SELECT * FROM idempotent_repair('t', 'source', key => '{id}', dry_run => false)")
    assert conn.execute("SELECT * FROM idempotent_insert_from('t', 'source', key => '{id}')").fetchone()["inserted"] == 1


def overwritten(conn, slice_, source="source"):
    row = conn.execute("SELECT * FROM idempotent_overwrite('t', %s, %s)", [source, psycopg.types.json.Jsonb(slice_)]).fetchone()
    return tuple(row.values())


@every_placement
def test_an_overwrite_replaces_a_slice(conn, distribute):
    table(conn, distribute, "id int, day date, v text, f float8, note text DEFAULT 'none'")
    conn.execute("INSERT INTO t SELECT i % 90, date '2020-01-01' + i % 5, 'old', i FROM generate_series(1, 900) AS i")
    # The same on one server, by plain SQL.
    conn.execute("CREATE TABLE loose (LIKE t INCLUDING DEFAULTS); INSERT INTO loose TABLE t")
    conn.execute("CREATE TABLE source (day date, v text, f float8, id int)")
    every = "SELECT array_agg(x ORDER BY x) FROM {} AS x"
    slices = [
        ({"day": "2020-01-02"}, "day = '2020-01-02'", "'2020-01-02'", 2000),
        ({"day": {"from": "2020-01-02", "to": "2020-01-04"}}, "day >= '2020-01-02' AND day < '2020-01-04'", "date '2020-01-02' + i % 2", 300),
        ({"day": None}, "day IS NULL", "NULL", 3),
        ({"id": 7, "day": "2020-01-03"}, "id = 7 AND day = '2020-01-03'", "'2020-01-03'", 5),
        ({"id": 8}, "id = 8", "NULL", 0),
        ({}, "true", "'2020-01-01'", 1500),
    ]
    settings = ("datestyle = 'sql, dmy'", "extra_float_digits = -15", "plan_cache_mode = force_generic_plan", "citus.enable_local_execution = off")
    for (slice_, condition, day, rows), setting in zip(slices, (*settings, *settings[:2])):
        conn.execute(f"TRUNCATE source; INSERT INTO source SELECT ({day})::date, 'v' || i, 1 / i::float8, {slice_.get('id', 'i % 700')} FROM generate_series(1, {rows}) AS i")
        if rows > 1:
            # A row that comes twice counts twice.
            conn.execute("INSERT INTO source SELECT * FROM source WHERE v = 'v1'")
        count = value(conn, "SELECT count(*) FROM source")
        deleted = conn.execute(f"DELETE FROM loose WHERE {condition}").rowcount
        conn.execute("INSERT INTO loose (day, v, f, id) SELECT * FROM source")
        conn.execute(f"SET {setting}")
        assert overwritten(conn, slice_) == (deleted, count, False)
        assert overwritten(conn, slice_) == (0, 0, True)
        conn.execute("RESET ALL")
        assert value(conn, every.format("t")) == value(conn, every.format("loose"))
    conn.execute("UPDATE source SET v = 'other' WHERE id = 5; INSERT INTO source VALUES ('2021-01-01', 'new', 1, 1)")
    call = "SELECT * FROM idempotent_overwrite_each('t', 'source', '{day}')"
    found = [tuple(row.values()) for row in conn.execute(call).fetchall()]
    assert found == [({"day": "2020-01-01"}, 1501, 1501, False), ({"day": "2021-01-01"}, 0, 1, False)]
    assert [row["unchanged"] for row in conn.execute(call).fetchall()] == [True, True]
    conn.execute("BEGIN")
    conn.execute("INSERT INTO t VALUES (1, '2021-01-01', 'more')")
    assert conn.execute(call).fetchall()[1]["deleted"] == 2
    conn.execute("ROLLBACK")
    error = refused(conn, "SELECT idempotent_overwrite('t', 'source', '{\"day\": \"2021-01-01\"}')", state="23514")
    assert error.message_primary == 'row 1 of the source is outside the slice of table "t"'
    assert value(conn, "SELECT count(*) FROM t") == 1502


def test_an_overwrite_of_a_partitioned_table(conn):
    table(conn, columns="id int, day date, v text) PARTITION BY RANGE (day")
    for month in range(1, 4):
        conn.execute(f"CREATE TABLE t_{month} PARTITION OF t FOR VALUES FROM ('2020-{month:02}-01') TO ('2020-{month + 1:02}-01')")
    conn.execute("CREATE TABLE source AS SELECT i AS id, date '2020-01-01' + i % 90 AS day, 'v' || i AS v FROM generate_series(1, 1800) AS i")
    assert overwritten(conn, {}) == (0, 1800, False)
    conn.execute("DELETE FROM source WHERE day >= '2020-02-01' OR id < 20; INSERT INTO t VALUES (1, '2020-01-31', 'late')")
    first = {"day": {"from": "2020-01-01", "to": "2020-02-01"}}
    assert overwritten(conn, first) == (621, value(conn, "SELECT count(*) FROM source"), False)
    assert overwritten(conn, first) == (0, 0, True)
    assert value(conn, "SELECT count(*) FROM t WHERE day >= '2020-02-01'") == 1180


def test_an_overwrite_of_a_guarded_table(conn):
    table(conn)
    conn.execute(f"{TRIGGERS}; SELECT idempotent_guard('t'); INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    conn.execute("CREATE TABLE source (id int, v text); INSERT INTO source SELECT i, 'b' FROM generate_series(2, 400) AS i; INSERT INTO source VALUES (3, 'b')")
    # The guard skips the row that comes twice.
    assert overwritten(conn, {}) == (2, 399, False)
    conn.execute("INSERT INTO source VALUES (4, 'c')")
    refused(conn, "SELECT idempotent_overwrite('t', 'source', '{}')", state="23I01")
    assert value(conn, "SELECT count(*) FROM t") == 399


def test_rows_of_a_slice_that_are_kept_are_an_error(conn):
    table(conn)
    conn.execute("INSERT INTO t SELECT i, 'a' FROM generate_series(1, 9) AS i")
    conn.execute("CREATE TABLE source AS SELECT i AS id, 'b' AS v FROM generate_series(1, 9) AS i")
    conn.execute("DROP ROLE IF EXISTS regress_keeper; CREATE ROLE regress_keeper LOGIN; GRANT ALL ON t, source TO regress_keeper")
    conn.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    for policy in ("DELETE USING (id <> 5)", "SELECT USING (true)", "INSERT WITH CHECK (true)"):
        conn.execute(f"CREATE POLICY for_{policy[:6]} ON t FOR {policy}")
    conn.execute("SET ROLE regress_keeper")
    call = "SELECT * FROM idempotent_overwrite('t', 'source', '{}')"
    assert "1 of its rows could not be deleted" in refused(conn, call, state="42501").message_primary
    conn.execute("RESET ROLE")
    conn.execute("ALTER TABLE t DISABLE ROW LEVEL SECURITY")
    conn.execute(TRIGGERS)
    conn.execute("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN OLD.id = 5 THEN NULL ELSE OLD END; END'")
    conn.execute("CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep()")
    assert "1 of its rows could not be deleted" in refused(conn, call, state="27000").message_primary
    assert {v for _, v in contents(conn)} == {"a"}
    conn.execute("SET client_min_messages = warning")
    for drop in ("TABLE t", "FUNCTION keep", "OWNED BY regress_keeper", "ROLE regress_keeper"):
        conn.execute(f"DROP {drop}")


@every_placement
def test_an_overwrite_that_could_take_no_turn_is_refused(nodes, conn, distribute):
    table(conn, distribute)
    conn.execute("CREATE TABLE source AS SELECT 1 AS id, 'a'::text AS v")
    for call in ("SELECT idempotent_overwrite('t', 'source', '{}')", "SELECT idempotent_overwrite_each('t', 'source', '{id}')"):
        for level in ("repeatable read", "serializable"):
            conn.execute(f"BEGIN ISOLATION LEVEL {level}")
            assert "READ COMMITTED" in refused(conn, call).message_hint
            conn.execute("ROLLBACK")
        with nodes.nodes[1].connect("app") as worker:
            worker.execute("CREATE TEMP TABLE source (id int, v text)")
            assert "on the coordinator" in refused(worker, call).message_hint


@pytest.mark.timeout(300)
@pytest.mark.parametrize("distribute", ["create_distributed_table('t', 'id')", "create_reference_table('t')"])
def test_racing_overwrites_of_slices_that_overlap_take_turns(nodes, conn, distribute):
    """No key keeps the rows of two calls apart. Each call writes all cells of its slice anew, a cell being an id and a day."""
    table(conn, distribute, "id int, day int, v text")
    ids, days, rows, calls, sessions = 6, 4, 3, 25, 8
    errors, done = [], []

    def send(number, own):
        dice = random.Random(number)
        own.execute("CREATE TEMP TABLE mine (id int, day int, v text)")
        for call in range(calls):
            id_, day = dice.randrange(ids), dice.randrange(days)
            slice_, condition = dice.choice(
                [
                    ({"id": id_}, f"id = {id_}"),
                    ({"day": day}, f"day = {day}"),
                    ({"id": id_, "day": day}, f"id = {id_} AND day = {day}"),
                    ({"id": id_, "day": {"from": 1, "to": day + 2}}, f"id = {id_} AND day >= 1 AND day < {day + 2}"),
                    ({}, "true"),
                ]
            )
            own.execute("TRUNCATE mine")
            own.execute(
                f"INSERT INTO mine SELECT id, day, '{number}.{call}' FROM generate_series(0, {ids - 1}) AS id,"
                f" generate_series(0, {days - 1}) AS day, generate_series(1, {rows}) WHERE {condition}"
            )
            each = len(slice_) == 1 and dice.random() < 0.3

            def overwrite():
                with own.transaction():
                    if each:
                        own.execute("SELECT * FROM idempotent_overwrite_each('t', 'mine', %s)", [list(slice_)])
                    else:
                        own.execute("SELECT * FROM idempotent_overwrite('t', 'mine', %s)", [psycopg.types.json.Jsonb(slice_)])

            until_it_succeeds(overwrite, errors)
            done.append(number)

    Sessions(sessions, nodes.connect, send).join()
    assert set(errors) <= {"40P01", "40001"}
    assert len(done) == calls * sessions and len(errors) < len(done) / 10
    cells = conn.execute("SELECT id, day, count(*), count(DISTINCT v) AS calls FROM t GROUP BY id, day").fetchall()
    assert {(row["count"], row["calls"]) for row in cells} == {(rows, 1)}
    assert len(cells) == ids * days


def test_an_overwrite_waits_for_the_one_before(nodes, conn):
    """The slice is empty at first: no row of it could be waited for."""
    table(conn, columns="id int, v text")
    conn.execute("CREATE TABLE source AS SELECT i AS id, 'a'::text AS v FROM generate_series(1, 40) AS i")
    with nodes.connect(autocommit=False) as other:
        assert overwritten(other, {}) == (0, 40, False)
        found = []
        thread = threading.Thread(target=lambda: found.append(overwritten(conn, {})))
        thread.start()
        with nodes.connect() as watch:
            until(lambda: value(watch, "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), 30)
        other.commit()
        thread.join()
    assert found == [(0, 0, True)]
    assert value(conn, "SELECT count(*) FROM t") == 40


def test_a_guard_verifies_on_every_shard(nodes, conn):
    table(conn)
    conn.execute(TRIGGERS)
    conn.execute("SELECT idempotent_guard('t')")
    rows = ", ".join(f"({i}, 'a')" for i in range(1, 41))
    assert conn.execute(f"INSERT INTO t VALUES {rows}").rowcount == 40
    assert conn.execute(f"INSERT INTO t VALUES {rows}, (41, 'a')").rowcount == 1
    error = refused(conn, "INSERT INTO t VALUES (7, 'b')", state="23I01")
    assert error.message_primary == 'payload conflicts with the stored row in table "t"'
    assert conn.execute("INSERT INTO t SELECT i, 'a' FROM generate_series(30, 50) AS i").rowcount >= 0
    assert len(contents(conn)) == 50
    with conn.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write("50\ta\n51\ta\n")
    assert len(contents(conn)) == 51
    assert_clean(nodes.forbidden_log_lines())
    with pytest.raises(psycopg.Error) as caught, conn.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write("50\tb\n52\ta\n")
    # Citus keeps the message and the DETAIL, and loses the SQLSTATE.
    assert caught.value.diag.message_detail == "Key (id)=(50) is stored with v=a; the payload has v=b."
    errors = [line for line in nodes.forbidden_log_lines() if " ERROR: " in line]
    assert ["payload conflicts with the stored row" in line for line in errors] == [True]
    assert len(contents(conn)) == 51


def guards_on_shards(conn):
    command = "SELECT count(*) FROM pg_trigger WHERE tgrelid = '%s'::regclass AND tgname ~ '^zz_idempotent_guard'"
    found = conn.execute("SELECT success, result FROM run_command_on_shards('t', %s)", [command]).fetchall()
    return {(row["success"], row["result"]) for row in found}


def test_a_guard_stays_where_shards_go(nodes, conn):
    table(conn)
    conn.execute(TRIGGERS)
    conn.execute("SELECT idempotent_guard('t')")
    conn.execute("INSERT INTO t SELECT i, 'a' FROM generate_series(1, 40) AS i")
    assert guards_on_shards(conn) == {(True, "1")}
    shards = conn.execute(
        "SELECT shardid, nodename FROM citus_shards WHERE table_name = 't'::regclass AND nodename = %s", [nodes.nodes[1].address]
    ).fetchall()
    for shard in shards:
        conn.execute(
            "SELECT citus_move_shard_placement(%s, %s, 5432, %s, 5432, 'block_writes')",
            [shard["shardid"], shard["nodename"], nodes.nodes[2].address],
        )
    assert guards_on_shards(conn) == {(True, "1")}
    for i in range(1, 41):
        refused(conn, f"INSERT INTO t VALUES ({i}, 'b')", state="23I01")
    conn.execute("SET client_min_messages = warning; SELECT undistribute_table('t')")
    assert value(conn, "SELECT count(*) FROM idempotent.guards WHERE target = 't'::regclass") == 1
    refused(conn, "INSERT INTO t VALUES (1, 'b')", state="23I01")
    assert value(conn, "SELECT idempotent_unguard('t')")


@pytest.mark.parametrize("index", ["t (id)", "t (id, (id + 1)) WHERE id IS NOT NULL"])
@pytest.mark.timeout(300)
def test_racing_batches_store_each_key_once_and_verify_the_rest(nodes, conn, index):
    table(conn, columns="id int, v text")
    conn.execute(f"CREATE UNIQUE INDEX ON {index}")
    rounds, sessions, keys = 12, 8, 60
    errors, counts = [], []

    def send(number, own):
        for round_ in range(rounds):
            order = list(range(keys))
            if number % 2:
                order.reverse()
            rows = payloads(*((round_ * keys + key, "same" if key % 5 else f"own {number}") for key in order))
            insert = "SELECT * FROM idempotent_insert_many('t', %s, on_conflict => 'report')"
            counts.append(until_it_succeeds(lambda: own.execute(insert, [rows]).fetchone(), errors))

    Sessions(sessions, nodes.connect, send).join()
    assert set(errors) <= {"40P01", "40001"}
    assert len(counts) == rounds * sessions
    assert sum(found["inserted"] for found in counts) == rounds * keys == len(contents(conn))
    # Of the keys under which all send the same, each other payload is a duplicate; of the others, a conflict.
    assert sum(found["conflicts"] for found in counts) == rounds * (sessions - 1) * keys // 5


@pytest.mark.timeout(300)
def test_payloads_with_one_key_are_judged_against_one_look(nodes, conn):
    """A look is for 1,000 keys; the payloads around its end have one key, which comes and goes meanwhile."""
    table(conn)
    conn.execute("INSERT INTO t SELECT i, 'a' FROM generate_series(0, 1500) AS i")
    ended = threading.Event()

    def come_and_go():
        with nodes.connect() as own:
            while not ended.is_set():
                own.execute("DELETE FROM t WHERE id = 999")
                own.execute("INSERT INTO t VALUES (999, 'a') ON CONFLICT DO NOTHING")

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        keys = [*range(1000), 999, *range(1000, 1100)]
        rows = payloads(*((key, "a") for key in keys))
        for _ in range(60):
            found = conn.execute(EACH, ["t", rows]).fetchall()
            assert {row["outcome"] for row in found} <= {"inserted", "duplicate"}
            assert [row["stored"]["id"] for row in found] == keys
    finally:
        ended.set()
        thread.join()


def test_settings_of_the_session_change_no_value(conn):
    table(conn, columns="id date PRIMARY KEY, v text, f float8, b bytea, i interval, at timestamptz")
    row = psycopg.types.json.Jsonb([{"id": "2020-02-01", "v": "a\\nb", "f": 0.30000000000000004, "b": "\\x00ff", "i": "-1 mons +2 days", "at": "2020-03-29 00:30:00+00"}])
    conn.execute("SET citus.enable_local_execution = off")
    for setting in ("datestyle = 'sql, dmy'", "standard_conforming_strings = off", "extra_float_digits = 0", "bytea_output = escape", "intervalstyle = sql_standard", "plan_cache_mode = force_generic_plan"):
        conn.execute("DELETE FROM t")
        conn.execute(f"SET {setting}")
        assert conn.execute(BATCH, ["t", row]).fetchone()["inserted"] == 1
        assert conn.execute(BATCH, ["t", row]).fetchone()["duplicates"] == 1
        conn.execute("RESET ALL")
        stored = value(conn, "SELECT to_jsonb(t) FROM t")
        assert (stored["id"], stored["f"], stored["b"], stored["v"]) == ("2020-02-01", 0.30000000000000004, "\\x00ff", "a\\nb")


def test_wide_rows_are_sent_in_parts(conn):
    table(conn)
    conn.execute("CREATE TABLE source AS SELECT i AS id, repeat(md5(i::text), 60000) AS v FROM generate_series(1, 300) AS i")
    assert conn.execute("SELECT inserted FROM idempotent_insert_from('t', 'source')").fetchone()["inserted"] == 300
    assert conn.execute("SELECT duplicates FROM idempotent_insert_from('t', 'source')").fetchone()["duplicates"] == 300


def test_a_guard_compares_no_column_that_the_coordinator_fills(conn):
    table(conn, columns="id int PRIMARY KEY, v text, at timestamptz DEFAULT now()")
    conn.execute(TRIGGERS)
    assert "ignore => '{at}'" in refused(conn, "SELECT idempotent_guard('t')").message_hint
    conn.execute("SELECT idempotent_guard('t', ignore => '{at}')")
    assert conn.execute("INSERT INTO t (id, v) VALUES (1, 'a')").rowcount == 1
    assert conn.execute("INSERT INTO t (id, v) VALUES (1, 'a')").rowcount == 0
    refused(conn, "INSERT INTO t (id, v) VALUES (1, 'b')", state="23I01")


def test_a_table_named_like_a_shard_is_none(conn):
    conn.execute("CREATE TABLE source_2024 (id int PRIMARY KEY, v text); SELECT idempotent_guard('source_2024', on_conflict => 'quarantine')")
    conn.execute("SET citus.next_shard_id = 2024")
    table(conn)
    conn.execute("RESET citus.next_shard_id; INSERT INTO source_2024 VALUES (1, 'a')")
    assert conn.execute("INSERT INTO source_2024 VALUES (1, 'b')").rowcount == 0
    assert value(conn, "SELECT count(*) FROM idempotent.conflicts") == 1
    conn.execute("DROP TABLE source_2024")


def test_a_load_is_called_again_after_a_worker_was_lost(nodes, conn):
    table(conn)
    conn.execute("CREATE TABLE source AS SELECT i AS id, repeat('v', 20) AS v FROM generate_series(1, 20000) AS i")
    failed = []

    def load():
        with nodes.connect() as own, contextlib.suppress(psycopg.Error):
            own.execute("CALL idempotent_load('t', 'source', batch_size => 500)")
            failed.append(False)

    thread = threading.Thread(target=load)
    thread.start()
    until(lambda: value(conn, "SELECT count(*) >= 1000 FROM t"), 60)
    worker = nodes.nodes[1]
    worker.crash()
    thread.join()
    worker.wait_until_up()
    assert not failed
    until(lambda: value(conn, "SELECT count(*) >= 0 FROM t") is not None, 60)
    with nodes.connect() as again:
        again.execute("SELECT recover_prepared_transactions()")
        again.execute("CALL idempotent_load('t', 'source', batch_size => 5000)")
        assert value(again, "SELECT idempotent_digest(t) FROM t") == value(again, "SELECT idempotent_digest(s) FROM source s")
    lines = nodes.forbidden_log_lines()
    assert not [line for line in lines if re.search("panicked|TRAP|PANIC", line)]


CALLS = {
    "load": "CALL idempotent_load('t', 'source', batch_size => 500)",
    "merge": "SELECT * FROM idempotent_merge('t', 'source', latest_by => '{at}')",
    "request": "SELECT response, replayed FROM idempotent_execute('k', 'INSERT INTO t SELECT * FROM source RETURNING id')",
    "overwrite": "SELECT * FROM idempotent_overwrite('t', 'source', '{}')",
}
SLICE = "SELECT * FROM idempotent_overwrite('t', 'source', '{\"id\": 7}')"


def table_for(conn, kind):
    """No key makes an overwrite wait."""
    table(conn, columns=f"id int {'' if kind in ('overwrite', 'slice') else 'PRIMARY KEY'}, at int, v text")


def shard_of_slice(nodes, conn):
    """The name of the shard, and its worker."""
    shard = conn.execute("SELECT shard_name::text, nodename FROM citus_shards WHERE shardid = get_shard_id_for_distribution_column('t', 7)").fetchone()
    return shard["shard_name"], next(node for node in nodes.nodes if node.address == shard["nodename"])


class Held:
    """A call in a session of its own."""

    def __init__(self, nodes, call):
        self.nodes, self.sql = nodes, call
        self.found = None
        self.thread = threading.Thread(target=self.call)
        self.thread.start()

    def call(self):
        try:
            with self.nodes.connect() as own:
                self.found = own.execute(self.sql).rowcount
        except psycopg.Error as error:
            self.found = error

    def until_prepared(self, worker):
        until(lambda: prepared(worker) > 0, 60)


def prepared(node):
    with node.connect("app") as conn:
        return value(conn, "SELECT count(*) FROM pg_prepared_xacts")


def repeated(nodes, kind):
    """Recovers the transactions, and makes the call again, which makes the table equal to the source."""
    with nodes.connect() as conn:
        recovered = value(conn, "SELECT recover_prepared_transactions()")
        assert [prepared(node) for node in nodes.nodes] == [0, 0, 0]
        found = conn.execute(SLICE if kind == "slice" else CALLS[kind])
        found = None if kind == "load" else found.fetchone()
        assert value(conn, "SELECT idempotent_digest(t) FROM t") == value(conn, "SELECT idempotent_digest(s) FROM source s")
        return recovered, found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [*CALLS, "slice"])
def test_a_worker_is_lost_after_the_coordinator_has_committed(nodes, conn, kind):
    """The coordinator has committed, and waits for a standby that is not there; the workers have only prepared."""
    table_for(conn, kind)
    rows = 20000 if kind == "load" else 1000
    id_ = "7" if kind == "slice" else "i"
    conn.execute(f"CREATE TABLE source AS SELECT {id_} AS id, 1 AS at, 'v' || i AS v FROM generate_series(1, {rows}) AS i")
    worker = shard_of_slice(nodes, conn)[1] if kind == "slice" else nodes.nodes[1]
    call = SLICE if kind == "slice" else CALLS[kind]

    def hold(standby):
        conn.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
        conn.execute("SELECT pg_reload_conf()")

    if kind != "load":
        hold("nobody")
    held = Held(nodes, call)
    if kind == "load":
        # It also commits before the first rows.
        until(lambda: value(conn, "SELECT count(*) >= 1000 FROM t"), 60)
        hold("nobody")
    held.until_prepared(worker)
    worker.crash()
    worker.wait_until_up()
    hold("")
    held.thread.join()
    assert prepared(worker) > 0
    if kind != "load":
        # The call has succeeded. Rows of the worker are neither there nor free.
        assert not isinstance(held.found, psycopg.Error)
        assert value(conn, "SELECT count(*) FROM t") < rows
        conn.execute("SET statement_timeout = '2s'")
        refused(conn, call if kind in ("overwrite", "slice") else CALLS["merge"], state="57014")
    if kind == "request":
        # The record is on the coordinator.
        assert conn.execute(CALLS["request"]).fetchone()["replayed"]
    recovered, found = repeated(nodes, kind)
    assert recovered > 0
    if kind == "merge":
        assert (found["inserted"], found["updated"], found["unchanged"]) == (0, 0, rows)
    if kind in ("overwrite", "slice"):
        assert found == {"deleted": 0, "inserted": 0, "unchanged": True}
    if kind == "request":
        assert found["replayed"] and len(found["response"]) == rows


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", CALLS)
def test_the_coordinator_is_lost_before_it_has_committed(nodes, conn, kind):
    """One worker has prepared, the other is held by a trigger that is deferred to the end of its transaction."""
    table_for(conn, kind)
    conn.execute("CREATE TABLE source AS SELECT i AS id, 1 AS at, 'v' || i AS v FROM generate_series(1, 1000) AS i")
    coordinator, first, second = nodes.nodes
    shard = value(conn, "SELECT shard_name::text FROM citus_shards WHERE table_name = 't'::regclass AND nodename = %s LIMIT 1", second.address)
    with second.connect("app") as own:
        own.execute(f"{BY_HAND}; SELECT pg_advisory_lock(13)")
        own.execute("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(13); RETURN NULL; END'")
        own.execute(f"CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON {shard} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()")
        held = Held(nodes, CALLS[kind])
        held.until_prepared(first)
        coordinator.crash()
        held.thread.join()
        assert isinstance(held.found, psycopg.Error)
    coordinator.wait_until_up()
    with second.connect("app") as own:
        until(lambda: value(own, "SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event = 'advisory'"), 30)
        assert prepared(first) > 0
        if kind == "overwrite":
            # It waits for nothing that the coordinator has not committed, and what is prepared is never seen.
            with nodes.connect() as again:
                assert overwritten(again, {}) == (0, 1000, False)
        recovered, found = repeated(nodes, kind)
        own.execute(f"{BY_HAND}; SET client_min_messages = warning; DROP FUNCTION hold CASCADE")
    assert recovered > 0
    if kind == "merge":
        assert (found["inserted"], found["unchanged"]) == (1000, 0)
    if kind == "overwrite":
        assert found == {"deleted": 0, "inserted": 0, "unchanged": True}
    if kind == "request":
        assert not found["replayed"] and len(found["response"]) == 1000


# With the number of rows that they store.
ON_ONE_WORKER = {
    "overwrite": (SLICE, 40),
    "request": ("SELECT response, replayed FROM idempotent_execute('k', 'INSERT INTO t VALUES (7, $1)', '[\"a\"]')", 1),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ON_ONE_WORKER)
def test_the_coordinator_is_lost_while_the_only_worker_commits(nodes, conn, kind):
    """The call is made again before the worker ends its commit, and no key keeps the rows of both apart."""
    table(conn, columns="id int, v text")
    conn.execute("CREATE TABLE source AS SELECT 7 AS id, 'v' || i AS v FROM generate_series(1, 40) AS i")
    shard, worker = shard_of_slice(nodes, conn)
    coordinator = nodes.nodes[0]
    call, rows = ON_ONE_WORKER[kind]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'"
    with worker.connect("app") as own:
        own.execute(f"{BY_HAND}; SELECT pg_advisory_lock(13); CREATE SEQUENCE first")
        own.execute(
            """CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF nextval('public.first') = 1 THEN PERFORM pg_advisory_xact_lock_shared(13); END IF; RETURN NULL; END $$"""
        )
        own.execute(
            f"CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON {shard} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold()"
        )
        held = Held(nodes, call)
        until(lambda: value(own, waiting) == 1, 60)
        coordinator.crash()
        held.thread.join()
        assert isinstance(held.found, psycopg.Error)
        coordinator.wait_until_up()
        with nodes.connect() as again:
            found = again.execute(call).fetchone()
            assert found.get("inserted") == rows or found.get("replayed") is False
        own.execute("SELECT pg_advisory_unlock(13)")
        until(lambda: prepared(worker) > 0 or value(own, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'") == 1, 30)
        with nodes.connect() as again:
            recovered = value(again, "SELECT recover_prepared_transactions()")
        own.execute(f"{BY_HAND}; SET client_min_messages = warning; DROP FUNCTION hold CASCADE; DROP SEQUENCE first")
    with nodes.connect() as again:
        assert value(again, "SELECT count(*) FROM t") == rows
        assert recovered == 1
        found = again.execute(call).fetchone()
        assert found.get("unchanged") or found.get("replayed")


@pytest.mark.timeout(300)
def test_a_worker_is_lost_in_the_middle_of_an_overwrite(nodes, conn):
    table(conn, columns="id int, v text")
    conn.execute("INSERT INTO t SELECT i, 'old' FROM generate_series(1, 500) AS i")
    conn.execute("CREATE TABLE source AS SELECT i AS id, 'new' AS v FROM generate_series(1, 1000) AS i")
    _, first, second = nodes.nodes
    shard = value(conn, "SELECT shard_name::text FROM citus_shards WHERE table_name = 't'::regclass AND nodename = %s LIMIT 1", second.address)
    found = []

    def call():
        try:
            with nodes.connect() as own:
                found.append(overwritten(own, {}))
        except psycopg.Error as error:
            found.append(error)

    with second.connect("app") as own:
        own.execute(f"{BY_HAND}; SELECT pg_advisory_lock(13)")
        own.execute("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(13); RETURN NEW; END'")
        own.execute(f"CREATE TRIGGER hold BEFORE INSERT ON {shard} FOR EACH ROW EXECUTE FUNCTION hold()")
        thread = threading.Thread(target=call)
        thread.start()
        # It has deleted, and is inserting.
        until(lambda: value(own, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory'"), 30)
        first.crash()
        first.wait_until_up()
        own.execute("SELECT pg_advisory_unlock(13)")
        thread.join()
        own.execute(f"{BY_HAND}; SET client_min_messages = warning; DROP FUNCTION hold CASCADE")
    assert isinstance(found[0], psycopg.Error)
    with nodes.connect() as again:
        again.execute("SELECT recover_prepared_transactions()")
        assert again.execute("SELECT v, count(*) FROM t GROUP BY v").fetchall() == [{"v": "old", "count": 500}]
        assert overwritten(again, {}) == (500, 1000, False)
        assert overwritten(again, {}) == (0, 0, True)
        assert value(again, "SELECT idempotent_digest(t) FROM t") == value(again, "SELECT idempotent_digest(s) FROM source s")


def test_an_overwrite_waits_for_no_node_that_is_silent(nodes, conn):
    table(conn)
    conn.execute("CREATE TABLE source AS SELECT i AS id, 'a'::text AS v FROM generate_series(1, 40) AS i")
    assert overwritten(conn, {}) == (0, 40, False)
    conn.execute("CREATE TABLE loose (id int, v text); SELECT citus_add_local_table_to_metadata('loose')")
    worker = nodes.nodes[2]
    # One elsewhere, and one there.
    there = "SELECT min(i) FROM generate_series(1, 40) AS i JOIN citus_shards AS s ON s.shardid = get_shard_id_for_distribution_column('t', i) WHERE (nodename = %s) = %s"
    ids = [value(conn, there, worker.address, is_there) for is_there in (False, True)]
    worker.stop()
    try:
        with nodes.connect() as own:
            error = refused(own, "SELECT idempotent_overwrite('t', 'source', '{}')", state="55000")
            assert worker.address in error.message_detail
            # A slice of one shard is a matter of its node alone.
            own.execute("CREATE TEMP TABLE one (id int, v text)")
            for id_, is_there in ((ids[0], False), (ids[1], True)):
                own.execute("TRUNCATE one; INSERT INTO one SELECT id, 'b' FROM source WHERE id = " + str(id_))
                if is_there:
                    refused(own, "SELECT idempotent_overwrite('t', 'one', jsonb_build_object('id', %s::int))", [id_], state="08006")
                else:
                    assert overwritten(own, {"id": id_}, "one") == (1, 1, False)
            # This one has no rows there.
            assert own.execute("SELECT inserted FROM idempotent_overwrite('loose', 'source', '{}')").fetchone()["inserted"] == 40
    finally:
        worker.start()
    with nodes.connect() as own:
        assert overwritten(own, {}) == (40, 40, False)
