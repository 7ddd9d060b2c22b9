"""What nobody should do, done: none of it may end in a crash, a wrong answer or another role's rights."""

import pytest

from support.errors import sqlstate
from support.queries import value


def error_of(conn, sql, *parameters):
    """The SQLSTATE that a statement ends with."""
    return sqlstate(lambda: conn.execute(sql, parameters))


SLICES = """
    CREATE TABLE part (d date, n int, v text) PARTITION BY LIST (d);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES IN ('2020-01-01');
    CREATE VIEW source AS SELECT '2020-01-01'::date AS d, n, 'new' AS v FROM generate_series(1, 5) AS n;
    INSERT INTO part SELECT '2020-01-01', n, 'old' FROM generate_series(1, 5) AS n;
"""
OVERWRITE = """SELECT deleted, inserted FROM idempotent_overwrite('part', 'source', '{"d": "2020-01-01"}')"""


def test_a_partition_is_overwritten_under_an_open_cursor(db):
    """TRUNCATE refuses a table that a query of the session is reading; DELETE does not."""
    with db.connect() as conn:
        conn.execute(SLICES)
        conn.execute("BEGIN")
        conn.execute("DECLARE reading CURSOR FOR SELECT v FROM part")
        assert conn.execute("FETCH reading").fetchone()["v"] == "old"
        assert conn.execute(OVERWRITE).fetchone() == {"deleted": 5, "inserted": 5}
        assert [row["v"] for row in conn.execute("FETCH ALL FROM reading")] == ["old"] * 4
        conn.execute("COMMIT")
        assert {row["v"] for row in conn.execute("SELECT v FROM part")} == {"new"}


def test_a_partition_that_is_not_truncated_can_be_read_meanwhile(db):
    with db.connect() as conn, db.connect() as snapshot, db.connect() as reader:
        conn.execute(SLICES)
        conn.execute("BEGIN")
        snapshot.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        snapshot.execute("SELECT 1")
        assert conn.execute(OVERWRITE).fetchone() == {"deleted": 5, "inserted": 5}
        reader.execute("SET lock_timeout = '2s'")
        assert {row["v"] for row in reader.execute("SELECT v FROM part_1")} == {"old"}
        assert {row["v"] for row in snapshot.execute("SELECT v FROM part")} == {"old"}
        conn.execute("COMMIT")
        assert {row["v"] for row in snapshot.execute("SELECT v FROM part")} == {"old"}


def test_a_load_does_not_go_on_with_the_rights_of_another_role(db):
    """SET LOCAL ROLE ends with the first commit. What the role may not do, nobody does for it."""
    with db.connect() as conn:
        conn.execute(
            """
            CREATE ROLE abuse_load;
            CREATE TABLE target (id int PRIMARY KEY, v text);
            CREATE VIEW source WITH (security_barrier) AS SELECT 1 AS id, current_user::text AS v;
            GRANT SELECT, INSERT ON target, source TO abuse_load;
            """
        )
        try:
            state = error_of(
                conn, "DO $$ BEGIN SET LOCAL ROLE abuse_load; CALL idempotent_load('target', 'source'); END $$"
            )
            assert state == "55000"
            assert conn.execute("SELECT v FROM target").fetchall() == []
            loads = conn.execute("SELECT role::text, status, rows_done FROM idempotent.loads").fetchall()
            assert loads == [{"role": "abuse_load", "status": "failed", "rows_done": 0}]
            conn.execute("DO $$ BEGIN SET ROLE abuse_load; CALL idempotent_load('target', 'source'); RESET ROLE; END $$")
            assert [row["v"] for row in conn.execute("SELECT v FROM target")] == ["abuse_load"]
        finally:
            conn.execute("DROP OWNED BY abuse_load; DROP ROLE abuse_load")


REQUESTS = "ALTER TABLE idempotent.request_records"


def drop_view(conn, view):
    """Columns that a view shows cannot be altered."""
    conn.execute(f"ALTER EXTENSION pg_idempotent DROP VIEW {view}; DROP VIEW {view}")


@pytest.mark.parametrize(
    "change",
    [
        f"{REQUESTS} ALTER response TYPE text",
        f"{REQUESTS} ALTER ttl TYPE text",
        f"{REQUESTS} ALTER attempt TYPE numeric",
        f"{REQUESTS} DROP COLUMN response",
        f"{REQUESTS} DROP CONSTRAINT request_records_pkey",
        f"{REQUESTS} DROP CONSTRAINT request_records_pkey, ADD PRIMARY KEY (attempt)",
        f"{REQUESTS} RENAME TO was_requests;"
        " CREATE TABLE idempotent.request_records (LIKE idempotent.was_requests INCLUDING ALL) PARTITION BY LIST (role)",
        "ALTER SEQUENCE idempotent.request_attempts RENAME TO was_attempts",
    ],
)
def test_a_table_of_requests_that_its_owner_has_changed_is_refused(db, change):
    """Rows are read and written by the types that the columns were made with: anything else would be misread."""
    with db.connect() as conn:
        held = conn.execute("SELECT attempt FROM idempotent_request_begin('held', '{}')").fetchone()["attempt"]
        drop_view(conn, "idempotent.requests")
        conn.execute(change)
        assert error_of(conn, "SELECT idempotent_request_begin('new', '{}')") == "55000"
        assert error_of(conn, "SELECT idempotent_request_begin('held', '{}')") == "55000"
        assert error_of(conn, "SELECT idempotent_request_advance('held', %s, 'here')", held) == "55000"
        assert error_of(conn, "SELECT idempotent_request_finish('held', %s, '[]')", held) == "55000"
        assert error_of(conn, "SELECT idempotent_execute('other', 'SELECT 1')") == "55000"


def test_a_column_of_requests_that_came_back_is_found_where_it_is(db):
    with db.connect() as conn:
        drop_view(conn, "idempotent.requests")
        conn.execute(f"{REQUESTS} DROP COLUMN response, ADD COLUMN response jsonb")
        for replayed in (False, True):
            row = conn.execute("SELECT response::text, replayed FROM idempotent_execute('k', 'SELECT 1 AS n')").fetchone()
            assert row == {"response": '[{"n": 1}]', "replayed": replayed}


def test_the_command_of_a_request_that_drops_the_extension(db):
    with db.connect() as conn:
        assert error_of(conn, "SELECT idempotent_execute('drop', 'DROP EXTENSION pg_idempotent')") == "42P01"
        assert conn.execute("SELECT replayed FROM idempotent_execute('drop', 'SELECT 1')").fetchone()["replayed"] is False


def test_no_operator_on_a_domain_answers_instead_of_its_base_types(db):
    """Who may create operators where a type's own are must not be asked what a slice or a key is."""
    with db.connect() as conn:
        if not value(conn, "SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'"):
            pytest.skip("this server has no citext")
        conn.execute(
            """
            CREATE EXTENSION citext;
            CREATE DOMAIN word AS citext;
            CREATE FUNCTION always(word, word) RETURNS boolean LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'called'; END $$;
            CREATE OPERATOR = (LEFTARG = word, RIGHTARG = word, FUNCTION = always);
            CREATE TABLE part (day word, id word, v int, PRIMARY KEY (day, id)) PARTITION BY LIST (day);
            CREATE TABLE part_1 PARTITION OF part FOR VALUES IN ('x');
            INSERT INTO part VALUES ('x', 'a', 1);
            CREATE VIEW source AS SELECT 'x'::citext AS day, 'A'::citext AS id, 2 AS v;
            """
        )
        merged = conn.execute("SELECT updated FROM idempotent_merge('part', 'source')").fetchone()
        assert merged == {"updated": 1}
        conn.execute("UPDATE ONLY part_1 SET v = 3")
        overwritten = conn.execute("""SELECT deleted FROM idempotent_overwrite('part', 'source', '{"day": "X"}')""")
        assert overwritten.fetchone() == {"deleted": 1}


def test_errors_of_the_server_leave_nothing_behind(db):
    """A session that lives for months meets any number of them."""
    used = """
        SELECT sum(used_bytes)::bigint AS used FROM pg_backend_memory_contexts
         WHERE name = 'TopMemoryContext' OR name LIKE 'pg_idempotent%'
    """
    fail = """
        DO $$ BEGIN
            FOR i IN 1..1000 LOOP
                BEGIN PERFORM idempotent_execute('fails', 'SELECT 1/0'); EXCEPTION WHEN division_by_zero THEN NULL; END;
            END LOOP;
        END $$
    """
    with db.connect() as conn:
        conn.execute("SET log_min_messages = 'panic'")
        conn.execute(fail)
        before = conn.execute(used).fetchone()["used"]
        conn.execute(fail)
        assert conn.execute(used).fetchone()["used"] - before < 20_000


@pytest.mark.parametrize(
    "change",
    [
        "ALTER reason TYPE varchar(200)",
        "ALTER error TYPE int USING length(error)",
        "ALTER row_count TYPE text",
        "ALTER attempt TYPE bigint",
    ],
)
def test_a_table_of_runs_that_its_owner_has_changed_is_not_misread(db, change):
    with db.connect() as conn:
        run = conn.execute("SELECT run_id FROM idempotent_run_begin('a')").fetchone()["run_id"]
        conn.execute("SELECT idempotent_run_fail(%s, 'why')", (run,))
        drop_view(conn, "idempotent.pipeline_runs")
        conn.execute(f"ALTER TABLE idempotent.pipeline_run_records {change}")
        assert error_of(conn, "SELECT idempotent_run_begin('a')") == "55000"
