"""On a hot standby a retry is verified; a dump carries the quarantined conflicts."""


import psycopg
import pytest

from support.cluster import running
from support.dumps import dump, empty_database, restore
from support.functions import insert, insert_each, insert_from, insert_many
from support.queries import value
from support.waiting import until_sql


@pytest.fixture
def standby():
    """A database, and a connection to its copy on a streaming standby."""
    with running() as primary:
        db = primary.create_database()
        with db.connect() as conn:
            conn.execute("CREATE TABLE events (id int PRIMARY KEY, v numeric(6,2), no serial)")
            insert_many(conn, "events", [{"id": n, "v": n} for n in range(1, 301)])
            conn.execute("CREATE TABLE source AS SELECT id, v FROM events")
        with primary.standby() as copy, copy.connect(db.name) as conn:
            assert value(conn, "SELECT pg_is_in_recovery()")
            yield db, conn


def test_a_retry_on_a_hot_standby_is_verified_and_a_new_row_refused_as_read_only(standby):
    db, conn = standby
    assert insert(conn, "events", {"id": 7, "v": "7.00"})["outcome"] == "duplicate"
    assert insert_many(conn, "events", [{"id": n, "v": n} for n in range(1, 301)])["duplicates"] == 300
    assert insert_from(conn, "events", "source")["duplicates"] == 300
    assert insert_each(conn, "events", [{"id": 8, "v": 1}], on_conflict="report")[0]["outcome"] == "conflict"
    with pytest.raises(psycopg.IntegrityError):
        insert(conn, "events", {"id": 8, "v": 1})
    for call in (
        lambda: insert(conn, "events", {"id": 1000}),
        lambda: insert_many(conn, "events", [{"id": 1}, {"id": 1000}]),
        lambda: insert(conn, "events", {"id": 8, "v": 1}, on_conflict="quarantine"),
    ):
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as caught:
            call()
        assert caught.value.sqlstate == "25006"
    with db.connect() as primary:
        insert(primary, "events", {"id": 1000, "v": 5})
        lsn = value(primary, "SELECT pg_current_wal_lsn()::text")
    until_sql(conn, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn)
    assert insert(conn, "events", {"id": 1000, "v": 5})["outcome"] == "duplicate"


def test_a_dump_carries_conflicts_and_after_a_restore_they_can_be_resolved(cluster):
    db = cluster.create_database()
    with db.connect() as conn:
        # The restored tables will have other oids than these.
        conn.execute('CREATE SCHEMA "Other"; CREATE TABLE "Other"."Order" (id int PRIMARY KEY, v int, note text)')
        insert(conn, '"Other"."Order"', {"id": 1, "v": 1})
        for v in (2, 3):
            insert(conn, '"Other"."Order"', {"id": 1, "v": v}, on_conflict="quarantine")
        before = conn.execute("SELECT id, target::text, key, payload, stored, arrived_at FROM idempotent.conflicts ORDER BY id").fetchall()
        conn.execute("SELECT idempotent_resolve(%s, 'keep_stored')", [before[0]["id"]])
    file = dump(db)
    assert "conflict_records" in file.read_text()
    restored = empty_database(cluster, f"{db.name}_restored")
    with cluster.connect(restored) as conn:
        conn.execute("CREATE TABLE takes_an_oid (id int)")
    restore(file, cluster, restored)
    with cluster.connect(restored) as conn:
        after = conn.execute("SELECT id, target::text, key, payload, stored, arrived_at FROM idempotent.conflicts ORDER BY id").fetchall()
        assert after == before
        conn.execute("SELECT idempotent_resolve(%s, 'apply_payload')", [before[1]["id"]])
        assert value(conn, 'SELECT v FROM "Other"."Order"') == 3
        # New records get new numbers.
        insert(conn, '"Other"."Order"', {"id": 1, "v": 9}, on_conflict="quarantine")
        assert value(conn, "SELECT max(id) FROM idempotent.conflicts") > before[1]["id"]
        assert value(conn, "SELECT count(*) FROM idempotent.conflicts") == 3
