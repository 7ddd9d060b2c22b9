"""Requests that are cut short, expire, are dumped and restored; random ones; many of them."""

import json
import random
import time

import psycopg
import pytest

from support.dumps import dumped_and_restored
from support.errors import failure, sqlstate
from support.memory import MEGABYTE, memory
from support.project import SEED, size
from support.queries import value
from support.waiting import until

CASES = size("PGI_CASES", 4000) // 10
CALLS = size("PGI_CALLS", 200_000) // 2


def begin(conn, key, request="1", **options):
    named = "".join(f", {name} => %({name})s" for name in options)
    if not isinstance(request, str):
        request = json.dumps(request)
    return conn.execute(
        f"SELECT * FROM idempotent_request_begin(%(_key)s, %(_request)s::jsonb{named})",
        {"_key": key, "_request": request, **options},
    ).fetchone()


def advance(conn, key, attempt, point):
    conn.execute("SELECT idempotent_request_advance(%s, %s, %s)", [key, attempt, point])


def finish(conn, key, attempt, response):
    conn.execute("SELECT idempotent_request_finish(%s, %s, %s)", [key, attempt, json.dumps(response)])


def execute(conn, key, command, *arguments, **options):
    named = "".join(f", {name} => %({name})s" for name in options)
    return conn.execute(
        f"SELECT * FROM idempotent_execute(%(_key)s, %(_command)s, %(_arguments)s::jsonb{named})",
        {"_key": key, "_command": command, "_arguments": json.dumps(arguments), **options},
    ).fetchone()


def begin_when_the_lease_is_over(conn, key, request="1"):
    """Until then it is 55I01, and nothing else."""

    def begun():
        try:
            return begin(conn, key, request, lease="1 minute")
        except psycopg.Error as error:
            assert error.sqlstate == "55I01", error
            return None

    return until(begun, words="the lease never ran out")


# ---------------------------------------------------------------------------------------------------------------------
# Cut short


def test_a_killed_worker_is_resumed_from_its_recovery_point_and_cannot_finish_any_more(own_cluster):
    """SIGKILL after begin, after advance, and after the effect with finish not yet committed. `charges` is the world
    outside: its rows are committed for good."""
    cluster = own_cluster
    db = cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE TABLE charges (key text)")
    request = {"amount": 10}
    for moment in ("after begin", "after advance", "after the effect", "before the commit of finish"):
        key = f"pay {moment}"
        worker = db.connect()
        first = begin(worker, key, request, lease="700 ms")
        assert first["status"] == "started"
        if moment != "after begin":
            advance(worker, key, first["attempt"], "about to charge")
        if moment in ("after the effect", "before the commit of finish"):
            worker.execute("INSERT INTO charges VALUES (%s)", [key])
            advance(worker, key, first["attempt"], "charged")
        if moment == "before the commit of finish":
            worker.execute("BEGIN")
            finish(worker, key, first["attempt"], "lost")
        cluster.kill_backend(worker.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            worker.execute("SELECT 1")
        worker.close()
        cluster.wait_until_up()
        with db.connect() as conn:
            second = begin_when_the_lease_is_over(conn, key, request)
            assert second["status"] == "resumed" and second["attempt"] > first["attempt"]
            points = {"after begin": None, "after advance": "about to charge"}
            assert second["recovery_point"] == points.get(moment, "charged")
            if second["recovery_point"] != "charged":
                conn.execute("INSERT INTO charges VALUES (%s)", [key])
            # The first one was only slow, and comes back.
            for call in (
                lambda: finish(conn, key, first["attempt"], "late"),
                lambda: advance(conn, key, first["attempt"], "late"),
                lambda: conn.execute("SELECT idempotent_request_abandon(%s, %s)", [key, first["attempt"]]),
            ):
                assert sqlstate(call) == "55000"
            finish(conn, key, second["attempt"], {"paid": key})
            assert sqlstate(lambda: finish(conn, key, first["attempt"], {"paid": key})) == "55000"
            third = begin(conn, key, request)
            assert (third["status"], third["response"]) == ("finished", {"paid": key})
            assert value(conn, "SELECT count(*) FROM charges WHERE key = %s", key) == 1


def test_a_killed_statement_leaves_no_key_and_a_finished_one_survives_a_crash(own_cluster):
    cluster = own_cluster
    db = cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE TABLE effects (a int)")
        assert execute(conn, "kept", "INSERT INTO effects VALUES ($1) RETURNING a", 1)["replayed"] is False
        prepared = db.connect()
        prepared.execute("BEGIN")
        execute(prepared, "prepared", "INSERT INTO effects VALUES ($1) RETURNING a", 2)
        prepared.execute("PREPARE TRANSACTION 'of_a_request'")
        prepared.close()
        assert sqlstate(lambda: execute(conn, "prepared", "INSERT INTO effects VALUES ($1) RETURNING a", 2)) == "55I01"
        assert sqlstate(lambda: execute(conn, "prepared", "SELECT 1")) == "23I02"
    worker = db.connect()
    worker.execute("BEGIN")
    execute(worker, "killed", "INSERT INTO effects VALUES ($1) RETURNING a", 3)
    cluster.kill_backend(worker.info.backend_pid)
    cluster.wait_until_up()
    worker.close()
    with db.connect() as conn:
        assert execute(conn, "killed", "INSERT INTO effects VALUES ($1) RETURNING a", 3)["replayed"] is False
        assert execute(conn, "kept", "INSERT INTO effects VALUES ($1) RETURNING a", 1)["replayed"] is True
        # The lock of a prepared transaction outlives the server's restart.
        assert sqlstate(lambda: execute(conn, "prepared", "INSERT INTO effects VALUES ($1) RETURNING a", 2)) == "55I01"
        conn.execute("COMMIT PREPARED 'of_a_request'")
        answer = execute(conn, "prepared", "INSERT INTO effects VALUES ($1) RETURNING a", 2)
        assert (answer["response"], answer["replayed"]) == ([{"a": 2}], True)
        assert [row["a"] for row in conn.execute("SELECT a FROM effects ORDER BY a")] == [1, 2, 3]


def test_a_cancelled_or_terminated_statement_frees_its_key_at_once(db, conn):
    conn.execute("CREATE TABLE effects (a int)")
    command = "WITH new AS (INSERT INTO effects VALUES (1) RETURNING a) SELECT a, pg_sleep($1::float8)::text FROM new"
    worker = db.connect()
    worker.execute("SET statement_timeout = '100ms'")
    assert sqlstate(lambda: execute(worker, "cut", command, 10)) == "57014"
    worker.execute("SET statement_timeout = 0")
    worker.execute("BEGIN")
    execute(worker, "cut", "INSERT INTO effects VALUES (2)")
    assert sqlstate(lambda: execute(conn, "cut", "INSERT INTO effects VALUES (2)")) == "55I01"
    conn.execute("SELECT pg_terminate_backend(%s, 5000)", [worker.info.backend_pid])
    assert execute(conn, "cut", "INSERT INTO effects VALUES (3)")["replayed"] is False
    worker.close()
    assert [row["a"] for row in conn.execute("SELECT a FROM effects")] == [3]


def test_a_waiting_client_goes_on_when_the_holder_ends_and_gives_up_after_lock_timeout(db, conn):
    conn.execute("CREATE TABLE effects (a int)")
    with db.connect() as holder:
        holder.execute("BEGIN")
        execute(holder, "waited for", "INSERT INTO effects VALUES (1)")
        conn.execute("SET lock_timeout = '300ms'")
        started = time.monotonic()
        assert sqlstate(lambda: execute(conn, "waited for", "INSERT INTO effects VALUES (1)")) == "55I01"
        assert 0.25 < time.monotonic() - started < 3
        # Another request does not wait.
        conn.execute("SET lock_timeout = '30s'")
        started = time.monotonic()
        assert sqlstate(lambda: execute(conn, "waited for", "INSERT INTO effects VALUES (2)")) == "23I02"
        assert time.monotonic() - started < 3
        # Other locks of the statement time out as ever.
        conn.execute("SET lock_timeout = '100ms'")
        assert sqlstate(lambda: execute(conn, "other", "LOCK TABLE effects")) == "55P03"
        assert sqlstate(lambda: conn.execute("DROP TABLE effects")) == "55P03"
        holder.execute("COMMIT")
    assert execute(conn, "waited for", "INSERT INTO effects VALUES (1)")["replayed"] is True
    assert execute(conn, "other", "LOCK TABLE effects")["replayed"] is False


def test_a_replay_waits_for_nobody(db, conn):
    assert execute(conn, "done", "SELECT 1 AS x")["replayed"] is False
    with db.connect() as another:
        another.execute("BEGIN")
        assert execute(another, "done", "SELECT 1 AS x")["replayed"] is True
        assert execute(conn, "done", "SELECT 1 AS x")["replayed"] is True
        assert begin(conn, "done", {"command": "SELECT 1 AS x", "arguments": []})["status"] == "finished"
        another.execute("ROLLBACK")


def test_an_answer_expires_when_it_is_read(conn):
    first = begin(conn, "brief", ttl="300 ms")
    finish(conn, "brief", first["attempt"], "x")
    assert begin(conn, "brief")["response"] == "x"
    assert sqlstate(lambda: begin(conn, "brief", "2")) == "23I02"
    time.sleep(0.35)
    assert value(conn, "SELECT count(*) FROM idempotent.request_records WHERE key = 'brief'") == 1
    again = begin(conn, "brief", "2")
    assert again["status"] == "started" and again["attempt"] > first["attempt"]
    # Within one transaction too, and by the clock.
    with conn.transaction():
        assert execute(conn, "b", "SELECT clock_timestamp()::text AS t", ttl="50 ms")["replayed"] is False
        assert execute(conn, "b", "SELECT clock_timestamp()::text AS t", ttl="50 ms")["replayed"] is True
        time.sleep(0.06)
        assert execute(conn, "b", "SELECT clock_timestamp()::text AS t", ttl="50 ms")["replayed"] is False


def test_the_lease_is_renewed_by_advance(conn):
    first = begin(conn, "long work", lease="400 ms")
    for n in range(4):
        time.sleep(0.15)
        advance(conn, "long work", first["attempt"], f"step {n}")
        assert sqlstate(lambda: begin(conn, "long work")) == "55I01"
    finish(conn, "long work", first["attempt"], "done")


# ---------------------------------------------------------------------------------------------------------------------
# Dump and restore


def test_a_dump_carries_the_requests_and_attempts_go_on_after_a_restore(cluster):
    db = cluster.create_database()
    with db.connect() as conn:
        conn.execute("CREATE ROLE dumped_client")
        try:
            conn.execute("SET ROLE dumped_client")
            done = begin(conn, "done", {"a": [1, {"b": None}]})
            advance(conn, "done", done["attempt"], "point")
            finish(conn, "done", done["attempt"], None)
            held = begin(conn, "held", "2", lease="1 hour")
            execute(conn, "executed", "SELECT $1::jsonb AS x", {"é": ""})
            conn.execute("RESET ROLE")
            begin(conn, "done", '"of the owner"')
            listing = "SELECT * FROM idempotent.request_records ORDER BY key, role::text"
            before = conn.execute(listing).fetchall()
            assert len(before) == 4

            name = dumped_and_restored(db)
            with cluster.connect(name) as restored:
                assert restored.execute(listing).fetchall() == before
                restored.execute("SET ROLE dumped_client")
                again = begin(restored, "done", {"a": [1.0, {"b": None}]})
                assert again == {**done, "status": "finished", "recovery_point": "point", "response": None}
                assert execute(restored, "executed", "SELECT $1::jsonb AS x", {"é": ""})["replayed"] is True
                assert sqlstate(lambda: begin(restored, "held", "2")) == "55I01"
                fresh = begin(restored, "fresh")
                assert fresh["attempt"] > max(row["attempt"] for row in before)
                finish(restored, "held", held["attempt"], "y")
                restored.execute("RESET ROLE")
                restored.execute("DROP OWNED BY dumped_client")
            conn.execute(f"DROP DATABASE {name}")
        finally:
            conn.execute("RESET ROLE; DROP OWNED BY dumped_client; DROP ROLE dumped_client")


# ---------------------------------------------------------------------------------------------------------------------
# Random requests

STRINGS = ["", "a", "null", "0", "é", "😀", "\u0001", "\\", '"', "a%sb", "x" * 300, " ", "$1", "{}"]
NUMBERS = [0, 1, -1, 10, 1.5, -0.25, 1e20, 12345678901234567890, 1e-7]


def document(dice, depth=0):
    kind = dice.randrange(8 if depth < 4 else 5)
    if kind == 0:
        return None
    if kind == 1:
        return dice.random() < 0.5
    if kind in (2, 3):
        return dice.choice(NUMBERS)
    if kind == 4:
        return dice.choice(STRINGS)
    if kind == 5:
        return [document(dice, depth + 1) for _ in range(dice.randrange(4))]
    return {dice.choice(STRINGS) + str(n): document(dice, depth + 1) for n in range(dice.randrange(5))}


def rendered(dice, value):
    """The same document in other clothes: fields in another order, blanks, escapes, digits."""
    blank = dice.choice(["", "", " ", "\n\t"])
    if isinstance(value, dict):
        fields = list(value.items())
        dice.shuffle(fields)
        if fields and dice.random() < 0.2:
            # The last one of a name counts.
            fields.insert(0, (fields[-1][0], "overwritten"))
        inner = ",".join(f"{blank}{rendered(dice, k)}{blank}:{rendered(dice, v)}" for k, v in fields)
        return f"{{{inner}{blank}}}"
    if isinstance(value, list):
        return f"[{blank}{','.join(rendered(dice, v) for v in value)}{blank}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=dice.random() < 0.5)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        return dice.choice([f"{value}", f"{value}.0", f"{value}e0", f"{value}.00e0"])
    return dice.choice([repr(value), f"{value!r}0" if "e" not in repr(value) else repr(value)])


def key_of(value):
    """Equal for equal documents, and for no others."""
    if isinstance(value, dict):
        return ("object", tuple(sorted((k, key_of(v)) for k, v in value.items())))
    if isinstance(value, list):
        return ("array", tuple(key_of(v) for v in value))
    if isinstance(value, bool) or value is None:
        return (json.dumps(value),)
    if isinstance(value, str):
        return ("string", value)
    return ("number", float(value))


def tampered(dice, value):
    """One change, anywhere."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        name = dice.choice(list(value))
        if dice.random() < 0.2:
            return {k: v for k, v in value.items() if k != name}
        return {**value, name: tampered(dice, value[name])}
    if isinstance(value, list) and value and dice.random() < 0.9:
        n = dice.randrange(len(value))
        if dice.random() < 0.2:
            return value[:n] + value[n + 1 :]
        if dice.random() < 0.2:
            return value + [None]
        return value[:n] + [tampered(dice, value[n])] + value[n + 1 :]
    return document(dice, 3)


def shown(name):
    """A name as an error shows it: no longer than a name of the server's can be."""
    raw = name.encode()
    return name if len(raw) <= 64 else raw[:64].decode(errors="ignore") + "…"


def test_random_requests_are_the_same_in_any_clothes_and_not_after_tampering(conn):
    dice = random.Random(SEED)
    same = other = 0
    conn.execute("SET synchronous_commit = off")
    for n in range(CASES):
        request = document(dice)
        text = rendered(dice, request)
        at = f"PGI_SEED={SEED}, case {n}: {text}"
        key = f"case {n}"
        first = begin(conn, key, text)
        assert first["status"] == "started", at
        answer = document(dice)
        finish(conn, key, first["attempt"], answer)
        for _ in range(2):
            again = begin(conn, key, rendered(dice, request))
            assert again["status"] == "finished" and key_of(again["response"]) == key_of(answer), at
            same += 1
        for _ in range(3):
            change = tampered(dice, request)
            sent = rendered(dice, change)
            if key_of(change) == key_of(request):
                assert begin(conn, key, sent)["status"] == "finished", (at, sent)
                continue
            error = failure(lambda: begin(conn, key, sent))
            assert error.sqlstate == "23I02", (at, sent)
            detail = error.diag.message_detail
            if isinstance(request, dict) and isinstance(change, dict):
                names = [
                    name for name in {**request, **change}
                    if name not in request or name not in change or key_of(request[name]) != key_of(change[name])
                ]
                assert len(names) > 10 or all(shown(name) in detail for name in names), (at, sent, detail)
                if len(names) == 1 and len(names[0]) < 60:
                    assert detail == f"The requests differ in {names[0]}.", (at, sent, detail)
            else:
                assert detail == "The requests differ as a whole.", (at, sent, detail)
            other += 1
    assert same > CASES and other > CASES
    assert value(conn, "SELECT bool_and(fingerprint = sha256(convert_to(request::text, 'UTF8'))) FROM idempotent.request_records")


def test_random_arguments_come_back_as_they_were_sent(conn):
    dice = random.Random(SEED + 1)
    conn.execute("SET synchronous_commit = off")
    for n in range(CASES):
        sent = [document(dice) for _ in range(dice.randrange(1, 4))]
        command = "SELECT " + ", ".join(f"${i}::jsonb AS v{i}" for i in range(1, len(sent) + 1))
        expected = [{f"v{i}": value for i, value in enumerate(sent, 1)}]
        text = rendered(dice, sent)
        for replayed in (False, True):
            answer = conn.execute("SELECT * FROM idempotent_execute(%s, %s, %s)", [f"case {n}", command, text]).fetchone()
            assert answer["replayed"] is replayed, (SEED, n, text)
            assert key_of(answer["response"]) == key_of(expected), (SEED, n, text)
            text = rendered(dice, sent)


# ---------------------------------------------------------------------------------------------------------------------
# Many


# A commit each: a transaction keeps the lock of every key that it works on.
LOOP = """
DO $do$
DECLARE r record;
BEGIN
    FOR n IN {first} .. {last} LOOP
        {body}
        COMMIT;
    END LOOP;
END $do$
"""

BODIES = {
    "executed": "SELECT * INTO r FROM idempotent_execute('e ' || n, 'INSERT INTO effects VALUES ($1, $2) RETURNING a, b', "
    "jsonb_build_array(n, repeat('x', n % 50)));",
    "replayed": "SELECT * INTO r FROM idempotent_execute('known', 'SELECT $1::int AS a, $2::text AS b', '[1, \"x\"]');",
    "begun_and_finished": "SELECT * INTO r FROM idempotent_request_begin('b ' || n, jsonb_build_object('n', n, 'a', '[1, 2]')); "
    "PERFORM idempotent_request_advance('b ' || n, r.attempt, 'half'); "
    "PERFORM idempotent_request_finish('b ' || n, r.attempt, '{\"x\": [1]}');",
    "failed": "BEGIN PERFORM idempotent_execute('known', 'SELECT 2'); EXCEPTION WHEN SQLSTATE '23I02' THEN NULL; END; "
    "BEGIN PERFORM idempotent_execute('f', 'SELECT 1 / $1::int', '[0]'); EXCEPTION WHEN division_by_zero THEN NULL; END; "
    "BEGIN PERFORM idempotent_request_finish('known', -1, '1'); EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; END;",
    "ever_new_commands": "SELECT * INTO r FROM idempotent_execute('c ' || n, 'SELECT ' || n || ' + $1::int', '[1]');",
    "purged": "SELECT * INTO r FROM idempotent_execute('p', 'SELECT 1', ttl => '1 microsecond'); PERFORM idempotent_purge();",
}
SHARES = {"executed": 3, "replayed": 2, "begun_and_finished": 8, "failed": 20, "ever_new_commands": 10, "purged": 20}


@pytest.mark.once
@pytest.mark.parametrize("body", BODIES)
def test_many_calls_keep_the_memory_flat(conn, body):
    conn.execute("SET synchronous_commit = off")
    conn.execute("CREATE TABLE effects (a int, b text)")
    execute(conn, "known", "SELECT $1::int AS a, $2::text AS b", 1, "x")
    share = CALLS // SHARES[body] // 8
    measures = []
    for n in range(8):
        conn.execute(LOOP.format(first=1 + n * share, last=(n + 1) * share, body=BODIES[body]))
        measures.append(memory(conn))
    # After the caches are warm.
    assert measures[-1][0] - measures[2][0] < MEGABYTE // 2, measures
    assert measures[-1][1] - measures[2][1] < 6 * MEGABYTE, measures


@pytest.mark.once
def test_a_transaction_may_work_on_ever_so_many_keys(conn):
    """More than the lock table has room for."""
    many = 30_000
    conn.execute(
        "DO $$ BEGIN FOR n IN 1 .. %d LOOP PERFORM idempotent_execute('key ' || n, 'SELECT $1::int AS n', to_jsonb(ARRAY[n]));"
        " END LOOP; END $$" % many
    )
    assert value(conn, "SELECT count(*) FROM idempotent.request_records WHERE status = 'finished'") == many
    assert execute(conn, "key 7", "SELECT $1::int AS n", 7) == {"response": [{"n": 7}], "replayed": True}


@pytest.mark.parametrize(
    "addition",
    [
        "CREATE INDEX ON idempotent.request_records ((request ->> 'customer'))",
        "CREATE INDEX ON idempotent.request_records (status) WHERE status = 'started'",
        "CREATE UNIQUE INDEX ON idempotent.request_records (attempt)",
        "ALTER TABLE idempotent.request_records ADD checked boolean NOT NULL DEFAULT true CHECK (checked)",
    ],
)
def test_what_an_administrator_adds_to_the_table_holds_or_is_refused(conn, addition):
    """It is never ignored, and the server lives."""
    finish(conn, "before", begin(conn, "before")["attempt"], "x")
    with psycopg.connect(conn.info.dsn, autocommit=True) as administrator:
        administrator.execute(addition)
    try:
        first = begin(conn, "key", {"customer": "x"})
        finish(conn, "key", first["attempt"], "y")
    except psycopg.Error as error:
        # Without a SQLSTATE, the server is gone.
        assert error.sqlstate in ("55000", "0A000"), error
        return
    conn.execute("SET enable_seqscan = off")
    assert value(conn, "SELECT count(*) FROM idempotent.request_records WHERE status = 'started'") == 0
    assert value(conn, "SELECT count(*) FROM idempotent.request_records WHERE request ->> 'customer' = 'x'") == 1
    if "checked" in addition:
        assert value(conn, "SELECT checked FROM idempotent.request_records") is True


@pytest.mark.once
def test_memory_does_not_grow_within_one_transaction_that_replays(conn):
    execute(conn, "known", "SELECT repeat('x', 1000) AS x")
    code = """
    DO $do$
    DECLARE r record; early bigint; late bigint;
    BEGIN
        FOR n IN 1 .. {calls} LOOP
            SELECT * INTO r FROM idempotent_execute('known', 'SELECT repeat(''x'', 1000) AS x');
            IF n = {calls} / 10 THEN SELECT sum(total_bytes) INTO early FROM pg_backend_memory_contexts; END IF;
        END LOOP;
        SELECT sum(total_bytes) INTO late FROM pg_backend_memory_contexts;
        PERFORM set_config('my.growth', (late - early)::text, false);
    END $do$
    """
    conn.execute(code.format(calls=CALLS // 5))
    assert int(value(conn, "SELECT current_setting('my.growth')")) < MEGABYTE
