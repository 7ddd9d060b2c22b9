"""What a caller, a trigger or an administrator could do to lead the functions astray."""

import psycopg
import pytest

from support.errors import sqlstate
from support.functions import insert, insert_each, insert_from, insert_many
from support.queries import value


def test_nothing_of_the_callers_search_path_runs_with_the_owners_rights(db):
    """The quarantine is written and ended with the rights of the extension's owner. A caller's own type, function or
    operator of a system's name must not be met on the way: it would run with those rights."""
    role = "mallory_" + db.name
    with db.connect() as admin, db.connect() as conn:
        admin.execute(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role}")
        heard = []
        conn.add_notice_handler(lambda diag: heard.append(diag.message_primary))
        conn.execute(f"SET ROLE {role}")
        conn.execute("CREATE TEMP TABLE mine (id int PRIMARY KEY, v int)")
        conn.execute("INSERT INTO mine VALUES (1, 1), (2, 1)")
        for type_name in ("oid", "text", "bigint", "jsonb", "bytea", "timestamptz", "name", "regclass"):
            conn.execute(
                f"""
                CREATE FUNCTION pg_temp.check_{type_name}(x pg_catalog.{'int8' if type_name == 'bigint' else type_name})
                RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'as %', current_user; RETURN true; END $$;
                CREATE DOMAIN pg_temp."{type_name}" AS pg_catalog.{'int8' if type_name == 'bigint' else type_name}
                    CHECK (pg_temp.check_{type_name}(VALUE));
                """
            )
        conn.execute(
            """
            CREATE FUNCTION public.sha256(pg_catalog.bytea) RETURNS pg_catalog.bytea LANGUAGE plpgsql AS
                $$ BEGIN RAISE WARNING 'as %', current_user; RETURN NULL; END $$;
            CREATE FUNCTION public.clock_timestamp() RETURNS pg_catalog.timestamptz LANGUAGE plpgsql AS
                $$ BEGIN RAISE WARNING 'as %', current_user; RETURN NULL; END $$;
            CREATE FUNCTION public.equal(pg_catalog.int8, pg_catalog.int8) RETURNS pg_catalog.bool LANGUAGE plpgsql AS
                $$ BEGIN RAISE WARNING 'as %', current_user; RETURN true; END $$;
            CREATE OPERATOR public.= (LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int8, FUNCTION = public.equal);
            SET search_path = pg_temp, public, pg_catalog
            """
        )
        for key, resolution in ((1, "keep_stored"), (2, "apply_payload")):
            found = conn.execute(
                "SELECT outcome FROM public.idempotent_insert('mine'::pg_catalog.regclass,"
                " pg_catalog.jsonb_build_object('id', %s::pg_catalog.int4, 'v', 2), on_conflict => 'quarantine')",
                [key],
            ).fetchone()
            assert found["outcome"] == "conflict"
            conn.execute(
                "SELECT public.idempotent_resolve(pg_catalog.max(id), %s::pg_catalog.text) FROM idempotent.conflicts",
                [resolution],
            )
        assert [said for said in heard if role not in said] == []
        # One of the traps was set off with the caller's rights at most; and the work was done.
        assert value(conn, "SELECT pg_catalog.sum(v) FROM mine") == 3


def test_a_long_value_in_a_database_of_another_encoding_is_cut_without_harm(cluster):
    with cluster.connect() as conn:
        conn.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    with cluster.connect("latin", client_encoding="utf8") as conn:
        conn.execute('CREATE EXTENSION pg_idempotent; CREATE TABLE t (id int PRIMARY KEY, "größe" text)')
        insert(conn, "t", {"id": 1, "größe": "ä"})
        for text in ("x" * 100, "ö" * 100, "é"):
            with pytest.raises(psycopg.IntegrityError) as caught:
                insert(conn, "t", {"id": 1, "größe": text})
            assert caught.value.sqlstate == "23I01"
            assert caught.value.diag.column_name == "größe"
            assert text[:64] in caught.value.diag.message_detail
        found = insert(conn, "t", {"id": 1, "größe": "é"}, on_conflict="quarantine")
        assert found["differences"] == {"größe": {"stored": "ä", "payload": "é"}}
        # A character that the database's encoding lacks is PostgreSQL's own error.
        assert sqlstate(lambda: insert(conn, "t", {"id": 2, "größe": "中"})) in ("22P05", "22P02", "22021")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            insert(conn, "t", {"id": 1, "groesse": "x"})


def test_schemas_that_swap_names_do_not_swap_the_rows(conn):
    """A blue-green deployment in the middle of a session: rows go where the oid, or the name as it is now, says."""
    conn.execute(
        """
        CREATE SCHEMA live; CREATE TABLE live.t (id int PRIMARY KEY, v text DEFAULT 'live');
        CREATE SCHEMA staging; CREATE TABLE staging.t (id int PRIMARY KEY, v text DEFAULT 'staging')
        """
    )
    for call in (insert_many, insert_each):
        call(conn, "live.t", [{"id": 1}])
        call(conn, "staging.t", [{"id": 1}])
    insert(conn, "live.t", {"id": 2})
    live = value(conn, "SELECT 'live.t'::regclass::oid::text")
    conn.execute("BEGIN; ALTER SCHEMA live RENAME TO old; ALTER SCHEMA staging RENAME TO live; COMMIT")
    assert insert(conn, "old.t", {"id": 3})["stored"] == {"id": 3, "v": "live"}
    assert insert_many(conn, "live.t", [{"id": 3}, {"id": 4}])["inserted"] == 2
    assert insert(conn, live, {"id": 5})["stored"] == {"id": 5, "v": "live"}
    conn.execute("CREATE VIEW source AS SELECT 6 AS id")
    assert insert_from(conn, "old.t", "source")["inserted"] == 1
    ids = lambda table: [row["id"] for row in conn.execute(f"SELECT id FROM {table} ORDER BY id")]
    assert ids("old.t") == [1, 2, 3, 5, 6]
    assert ids("live.t") == [1, 3, 4]
    conn.execute("ALTER TABLE old.t SET SCHEMA public; ALTER SCHEMA old RENAME TO older")
    assert insert(conn, "public.t", {"id": 5})["outcome"] == "duplicate"
    assert insert(conn, "public.t", {"id": 7})["outcome"] == "inserted"


def test_a_conflicting_row_that_a_trigger_touches_meanwhile_is_still_a_conflict(conn):
    """An AFTER trigger of the very call updates the stored row of another payload. That our transaction wrote the row
    does not make it that payload's."""
    conn.execute(
        """
        CREATE TABLE versions (id int PRIMARY KEY, v int, latest bool DEFAULT true);
        CREATE FUNCTION retire() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN UPDATE versions SET latest = false WHERE id IN (NEW.id - 1, NEW.id - 100, NEW.id - 1000); RETURN NULL; END $$;
        CREATE TRIGGER retire AFTER INSERT ON versions FOR EACH ROW EXECUTE FUNCTION retire()
        """
    )
    insert_many(conn, "versions", [{"id": n, "v": 1} for n in (1, 2, 1000)])
    found = insert_each(conn, "versions", [{"id": 2, "v": 999}, {"id": 3, "v": 1}], on_conflict="report")
    assert [row["outcome"] for row in found] == ["conflict", "inserted"]
    batch = [{"id": n, "v": 1} for n in range(10, 300)] + [{"id": 1000, "v": 999}, {"id": 2000, "v": 1}]
    assert insert_many(conn, "versions", batch, on_conflict="report") == {
        "received": 292,
        "inserted": 291,
        "duplicates": 0,
        "conflicts": 1,
        "rejected": 0,
    }
    with pytest.raises(psycopg.IntegrityError):
        insert_many(conn, "versions", [{"id": 2000, "v": 5}, {"id": 2001, "v": 1}])


def test_rows_with_combined_command_ids_are_no_new_rows(conn):
    """Rows that this transaction inserted earlier and updated in subtransactions that were rolled back."""
    conn.execute("CREATE TABLE events (id int PRIMARY KEY, v int)")
    conn.execute("BEGIN")
    for n in range(20):
        insert(conn, "events", {"id": n, "v": 1})
    for _ in range(20):
        conn.execute("SAVEPOINT s; UPDATE events SET v = v; ROLLBACK TO s")
    found = insert_many(conn, "events", [{"id": n, "v": 9} for n in range(20)] + [{"id": 50, "v": 1}], on_conflict="report")
    assert found == {"received": 21, "inserted": 1, "duplicates": 0, "conflicts": 20, "rejected": 0}
    found = insert_many(conn, "events", [{"id": n, "v": 1} for n in range(60)], on_conflict="report")
    assert found["conflicts"] == 0 and found["duplicates"] == 21
    conn.execute("ROLLBACK")


def test_a_foreign_key_to_the_own_table_is_checked_when_the_batch_is_in(conn):
    """As in one INSERT: rows that name different columns, and more rows than go in at once."""
    conn.execute("CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree)")
    assert insert_many(conn, "tree", [{"id": 1, "parent": 2}, {"id": 2}])["inserted"] == 2
    conn.execute(
        "CREATE TABLE source AS SELECT n AS id, nullif(n + 1, 30001) AS parent FROM generate_series(10, 30000) n"
    )
    assert insert_from(conn, "tree", "source")["inserted"] == 29991
