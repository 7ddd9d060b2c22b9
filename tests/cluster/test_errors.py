"""Every error that is not our own is PostgreSQL's, unchanged to the last field.

Each case is a row that a plain INSERT refuses. The same row goes through the four functions; what the client gets must
be equal in every diagnostic field. The whole file runs twice: against a server without and one with RUST_BACKTRACE in
its environment, since that variable makes panic handlers talkative.
"""

import json
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql

from support import errors
from support.errors import failure
from support.functions import insert, insert_each, insert_from, insert_many
from support.queries import value

# All fields that a client can compare.
FIELDS = (*errors.FIELDS, "severity_nonlocalized")

SCHEMA = """
CREATE SCHEMA shop;
CREATE DOMAIN shop.price AS numeric(7,2) CONSTRAINT price_is_positive CHECK (VALUE > 0);
CREATE DOMAIN shop.code AS text CONSTRAINT code_is_given NOT NULL;
CREATE TYPE shop.mood AS ENUM ('glad', 'sad');
CREATE TABLE shop.customers (id int PRIMARY KEY);
CREATE TABLE shop.orders (
    id int PRIMARY KEY,
    customer int CONSTRAINT order_has_customer REFERENCES shop.customers,
    name varchar(5),
    required text NOT NULL DEFAULT 'x',
    quantity int CONSTRAINT quantity_is_small CHECK (quantity < 100),
    price shop.price,
    code shop.code DEFAULT 'c',
    mood shop.mood,
    ticket text CONSTRAINT one_ticket UNIQUE,
    seat int,
    amount numeric(5,2),
    day date,
    flag boolean,
    numbers int[],
    "Größe" smallint,
    twice int GENERATED ALWAYS AS (1000 / seat) STORED
);
CREATE TABLE shop.numbered (id int PRIMARY KEY, row_no int GENERATED ALWAYS AS IDENTITY);
ALTER TABLE shop.orders ADD CONSTRAINT seat_is_free EXCLUDE (seat WITH =);
INSERT INTO shop.customers VALUES (1);
INSERT INTO shop.orders (id, ticket, seat) VALUES (1, 'taken', 11);

CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'MY042', MESSAGE = 'the till is closed — «heute»', DETAIL = 'It opens at nine.',
        HINT = 'Come back tomorrow.', SCHEMA = 'my_schema', TABLE = 'my_table', COLUMN = 'my_column',
        DATATYPE = 'my_type', CONSTRAINT = 'my_constraint';
END $$;
CREATE TABLE shop.before_refused (id int PRIMARY KEY, v int);
CREATE TRIGGER t BEFORE INSERT ON shop.before_refused FOR EACH ROW EXECUTE FUNCTION shop.refuse();
CREATE TABLE shop.after_refused (id int PRIMARY KEY, v int);
CREATE TRIGGER t AFTER INSERT ON shop.after_refused FOR EACH ROW EXECUTE FUNCTION shop.refuse();
CREATE TABLE shop.later_refused (id int PRIMARY KEY, v int);
CREATE CONSTRAINT TRIGGER t AFTER INSERT ON shop.later_refused
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.refuse();
CREATE TABLE shop.statement_refused (id int PRIMARY KEY, v int);
CREATE TRIGGER t AFTER INSERT ON shop.statement_refused FOR EACH STATEMENT EXECUTE FUNCTION shop.refuse();

CREATE FUNCTION shop.refuse_plainly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no'; END $$;
CREATE TABLE shop.plainly_refused (id int PRIMARY KEY, v int);
CREATE TRIGGER t BEFORE INSERT ON shop.plainly_refused FOR EACH ROW EXECUTE FUNCTION shop.refuse_plainly();

CREATE FUNCTION shop.assert_false() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN ASSERT NEW.v > 100, 'v is small'; RETURN NEW; END $$;
CREATE TABLE shop.asserted (id int PRIMARY KEY, v int);
CREATE TRIGGER t BEFORE INSERT ON shop.asserted FOR EACH ROW EXECUTE FUNCTION shop.assert_false();

CREATE FUNCTION shop.log_and_raise_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'business rule broken' USING ERRCODE = 'P0123', DETAIL = 'the first', TABLE = 'rule', CONSTRAINT = 'r1';
EXCEPTION WHEN OTHERS THEN
    BEGIN
        INSERT INTO shop.there_is_no_log VALUES (1);
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    RAISE;
END $$;
CREATE TABLE shop.raised_again (id int PRIMARY KEY, v int);
CREATE TRIGGER t BEFORE INSERT ON shop.raised_again FOR EACH ROW EXECUTE FUNCTION shop.log_and_raise_again();

CREATE FUNCTION shop.write_elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM idempotent_insert('shop.before_refused', jsonb_build_object('id', NEW.id, 'v', NEW.v));
    RETURN NEW;
END $$;
CREATE TABLE shop.nested (id int PRIMARY KEY, v int);
CREATE TRIGGER t BEFORE INSERT ON shop.nested FOR EACH ROW EXECUTE FUNCTION shop.write_elsewhere();

CREATE FUNCTION shop.fail(int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
BEGIN RAISE EXCEPTION 'no number today' USING ERRCODE = '0A000', HINT = 'Ask again.'; END $$;
CREATE TABLE shop.bad_default (id int PRIMARY KEY, v int, w int DEFAULT shop.fail(1));
CREATE FUNCTION shop.check_fails(v int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN RETURN 1 / (v - v) > 0; END $$;
CREATE TABLE shop.bad_check (id int PRIMARY KEY, v int CHECK (shop.check_fails(v)));
CREATE DOMAIN shop.odd_domain AS int CHECK (shop.check_fails(VALUE));
CREATE TABLE shop.bad_domain (id int PRIMARY KEY, v shop.odd_domain);
CREATE TABLE shop.indexed_badly (id int PRIMARY KEY, v int);
CREATE INDEX ON shop.indexed_badly ((100 / v));

CREATE TABLE shop.parts (id int, v int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE shop.parts_low PARTITION OF shop.parts FOR VALUES FROM (0) TO (10);
ALTER TABLE shop.parts_low ADD CONSTRAINT low_v CHECK (v < 5);

CREATE TABLE shop.always (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);

CREATE ROLE PLACEHOLDER_ROLE;
GRANT USAGE ON SCHEMA shop TO PLACEHOLDER_ROLE;
CREATE TABLE shop.owned (id int PRIMARY KEY, owner text, v int);
ALTER TABLE shop.owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON shop.owned USING (owner = 'me') WITH CHECK (owner = 'me');
CREATE POLICY small ON shop.owned AS RESTRICTIVE WITH CHECK (v < 10);
GRANT SELECT, INSERT ON shop.owned TO PLACEHOLDER_ROLE;
CREATE TABLE shop.forbidden (id int PRIMARY KEY, v int);
GRANT SELECT ON shop.forbidden TO PLACEHOLDER_ROLE;
CREATE TABLE shop.half_forbidden (id int PRIMARY KEY, v int, w int);
GRANT SELECT, INSERT (id, w) ON shop.half_forbidden TO PLACEHOLDER_ROLE;
"""


@dataclass(frozen=True)
class Case:
    name: str
    table: str
    row: dict
    sqlstate: str
    restricted: bool = False  # run as a role that owns nothing
    typed: bool = True  # the row can be in a source table too; a text that is no number cannot


CASES = [
    Case("not_null", "orders", {"id": 2, "required": None}, "23502"),
    Case("check", "orders", {"id": 2, "quantity": 100}, "23514"),
    Case("foreign_key", "orders", {"id": 2, "customer": 99}, "23503"),
    Case("second_unique_index", "orders", {"id": 2, "ticket": "taken"}, "23505"),
    Case("exclusion", "orders", {"id": 2, "seat": 11}, "23P01"),
    Case("domain_check", "orders", {"id": 2, "price": "-1"}, "23514"),
    Case("domain_not_null", "orders", {"id": 2, "code": None}, "23502"),
    Case("domain_modifier", "orders", {"id": 2, "price": "123456"}, "22003"),
    Case("varchar_too_long", "orders", {"id": 2, "name": "sixsix"}, "22001"),
    Case("numeric_overflow", "orders", {"id": 2, "amount": "1000"}, "22003"),
    Case("not_a_number", "orders", {"id": 2, "quantity": "many"}, "22P02", typed=False),
    Case("integer_out_of_range", "orders", {"id": 2, "quantity": "99999999999"}, "22003", typed=False),
    Case("non_ascii_column", "orders", {"id": 2, "Größe": "groß"}, "22P02", typed=False),
    Case("not_a_date", "orders", {"id": 2, "day": "soon"}, "22007", typed=False),
    Case("no_such_day", "orders", {"id": 2, "day": "2013-02-30"}, "22008", typed=False),
    Case("month_and_day_swapped", "orders", {"id": 2, "day": "31/12/2013"}, "22008", typed=False),
    Case("not_a_boolean", "orders", {"id": 2, "flag": "perhaps"}, "22P02", typed=False),
    Case("not_an_enum_label", "orders", {"id": 2, "mood": "bored"}, "22P02", typed=False),
    Case("malformed_array", "orders", {"id": 2, "numbers": "{1,2"}, "22P02", typed=False),
    Case("generated_column_fails", "orders", {"id": 2, "seat": 0}, "22012"),
    Case("generated_column_given", "orders", {"id": 2, "twice": 5}, "428C9"),
    Case("identity_always_given", "numbered", {"id": 2, "row_no": 5}, "428C9"),
    Case("identity_key_given", "always", {"id": 5, "v": 1}, "428C9"),
    Case("before_trigger", "before_refused", {"id": 2, "v": 1}, "MY042"),
    Case("after_trigger", "after_refused", {"id": 2, "v": 1}, "MY042"),
    Case("statement_trigger", "statement_refused", {"id": 2, "v": 1}, "MY042"),
    Case("deferred_trigger", "later_refused", {"id": 2, "v": 1}, "MY042"),
    Case("plain_raise", "plainly_refused", {"id": 2, "v": 1}, "P0001"),
    Case("raised_again_after_a_swallowed_one", "raised_again", {"id": 2, "v": 1}, "P0123"),
    Case("assert", "asserted", {"id": 2, "v": 1}, "P0004"),
    Case("own_function_in_trigger", "nested", {"id": 2, "v": 1}, "MY042"),
    Case("default_fails", "bad_default", {"id": 2, "v": 1}, "0A000"),
    Case("check_fails", "bad_check", {"id": 2, "v": 1}, "22012"),
    Case("domain_check_fails", "bad_domain", {"id": 2, "v": 1}, "22012", typed=False),
    Case("index_expression_fails", "indexed_badly", {"id": 2, "v": 0}, "22012"),
    Case("no_partition", "parts", {"id": 10, "v": 1}, "23514"),
    Case("check_of_partition", "parts", {"id": 2, "v": 5}, "23514"),
    Case("row_security", "owned", {"id": 2, "owner": "you", "v": 1}, "42501", restricted=True),
    Case("restrictive_row_security", "owned", {"id": 2, "owner": "me", "v": 11}, "42501", restricted=True),
    Case("no_insert_privilege", "forbidden", {"id": 2, "v": 1}, "42501", restricted=True),
    Case("no_privilege_on_a_column", "half_forbidden", {"id": 2, "v": 1}, "42501", restricted=True),
]


@pytest.fixture(scope="module", params=["plain", "backtrace"])
def shop(request):
    cluster = request.getfixturevalue("cluster" if request.param == "plain" else "backtrace_cluster")
    database = cluster.create_database()
    with database.connect() as conn:
        conn.execute(SCHEMA.replace("PLACEHOLDER_ROLE", "clerk_" + database.name))
    yield database


@pytest.fixture
def conn(shop):
    with shop.connect() as conn:
        yield conn


def fields(error):
    return errors.fields(error, FIELDS)


def insert_directly(conn, case):
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier("shop", case.table),
        sql.SQL(", ").join(map(sql.Identifier, case.row)),
        sql.SQL(", ").join(map(sql.Literal, case.row.values())),
    )
    conn.execute(statement)


def source_table(conn, case):
    """A temporary table that holds the case's row in the target's base types, without its modifiers."""
    types = {
        row["attname"]: row["type"]
        for row in conn.execute(
            """
            SELECT a.attname, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END::regtype::text AS type
            FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
            """,
            ["shop." + case.table],
        )
    }
    conn.execute("DROP TABLE IF EXISTS pg_temp.source")
    conn.execute(
        sql.SQL("CREATE TEMP TABLE source ({})").format(
            sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(types[n])) for n in case.row)
        )
    )
    conn.execute(
        sql.SQL("INSERT INTO source VALUES ({})").format(sql.SQL(", ").join(map(sql.Literal, case.row.values())))
    )
    conn.execute("GRANT SELECT ON source TO public")


PATHS = {
    "insert": lambda conn, case: insert(conn, "shop." + case.table, case.row),
    "insert_report": lambda conn, case: insert(conn, "shop." + case.table, case.row, on_conflict="report"),
    "insert_key_named": lambda conn, case: insert(conn, "shop." + case.table, case.row, key=["id"]),
    "many": lambda conn, case: insert_many(conn, "shop." + case.table, [case.row]),
    "each": lambda conn, case: insert_each(conn, "shop." + case.table, [case.row]),
    "each_quarantine": lambda conn, case: insert_each(conn, "shop." + case.table, [case.row], on_conflict="quarantine"),
    "from": lambda conn, case: insert_from(conn, "shop." + case.table, "source"),
}


# The server's hint is to use OVERRIDING, which is an option of a call, and the extension knows more of a generated column.
OWN_HINTS = {"generated_column_given", "identity_always_given", "identity_key_given"}


def assert_same(case, ours, direct):
    """Equal in every field, but for a hint that can be followed and what is said behind the server's own detail."""
    if case.name in OWN_HINTS:
        assert ours["message_hint"] and ours["message_detail"].startswith(direct["message_detail"])
        ours = {**ours, "message_hint": direct["message_hint"], "message_detail": direct["message_detail"]}
    assert ours == direct


@pytest.mark.parametrize(
    "case, path",
    # A source table cannot hold a value that is none of its column's type.
    [pytest.param(c, p, id=f"{c.name}-{p}") for c in CASES for p in PATHS if c.typed or p != "from"],
)
def test_a_native_error_reaches_the_client_unchanged_in_every_field(conn, case, path):
    if path == "from":
        source_table(conn, case)
    if case.restricted:
        conn.execute(f"SET ROLE clerk_{conn.info.dbname}")
    direct = fields(failure(lambda: insert_directly(conn, case)))
    assert direct["sqlstate"] == case.sqlstate, direct
    ours = failure(lambda: PATHS[path](conn, case))
    assert_same(case, fields(ours), direct)
    for text in (ours.diag.context, ours.diag.message_detail):
        assert "backtrace" not in (text or "") and ".rs" not in (text or ""), text
    # Nothing of the failed call is left in the session: neither the row nor the error's fields.
    conn.execute("RESET ROLE")
    assert value(conn, f"SELECT count(*) FROM shop.{case.table} WHERE id = %s", case.row["id"]) == 0
    assert insert(conn, "shop.customers", {"id": 1})["outcome"] == "duplicate"
    again = fields(failure(lambda: conn.execute("SELECT 1/0")))
    assert again == {
        **dict.fromkeys(FIELDS),
        "severity": "ERROR",
        "severity_nonlocalized": "ERROR",
        "sqlstate": "22012",
        "message_primary": "division by zero",
    }


@pytest.mark.parametrize("case", [c for c in CASES if not c.restricted and c.name != "deferred_trigger"], ids=lambda c: c.name)
def test_an_exception_block_sees_the_native_fields_and_the_session_goes_on(conn, case):
    """What PL/pgSQL catches is what the client would get, and the subtransaction leaves nothing behind."""
    conn.execute("SET client_min_messages = warning")
    notices = []
    conn.add_notice_handler(lambda diag: notices.append(diag.message_primary))
    direct = fields(failure(lambda: insert_directly(conn, case)))
    conn.execute(
        """
        CREATE OR REPLACE FUNCTION pg_temp.caught(target regclass, payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
        DECLARE state text; message text; det text; hin text; sch text; tab text; col text; typ text; con text;
        BEGIN
            PERFORM idempotent_insert(target, payload);
            RETURN NULL;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, det = PG_EXCEPTION_DETAIL,
                hin = PG_EXCEPTION_HINT, sch = SCHEMA_NAME, tab = TABLE_NAME, col = COLUMN_NAME,
                typ = PG_DATATYPE_NAME, con = CONSTRAINT_NAME;
            RETURN jsonb_build_object('sqlstate', state, 'message_primary', message, 'message_detail', det,
                'message_hint', hin, 'schema_name', sch, 'table_name', tab, 'column_name', col,
                'datatype_name', typ, 'constraint_name', con);
        END $$
        """
    )
    conn.execute("BEGIN")
    # ASSERT is not caught by OTHERS: that, too, must stay so.
    if case.sqlstate == "P0004":
        assert failure(lambda: conn.execute("SELECT pg_temp.caught('shop.asserted', %s)", [json.dumps(case.row)])).sqlstate == "P0004"
        conn.execute("ROLLBACK")
        return
    for _ in range(3):
        caught = value(conn, "SELECT pg_temp.caught(%s::regclass, %s)", "shop." + case.table, json.dumps(case.row))
        assert_same(case, caught, {name: direct[name] or "" for name in FIELDS if not name.startswith("severity")})
    assert insert(conn, "shop.customers", {"id": 2})["outcome"] == "inserted"
    conn.execute("ROLLBACK")
    assert notices == []


def test_messages_and_notices_of_triggers_reach_the_client_in_order(conn):
    conn.execute(
        """
        CREATE TABLE shop.talks (id int PRIMARY KEY);
        CREATE FUNCTION shop.talk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE WARNING 'row %', NEW.id USING ERRCODE = '01ABC', DETAIL = 'a detail'; RETURN NEW; END $$;
        CREATE TRIGGER t BEFORE INSERT ON shop.talks FOR EACH ROW EXECUTE FUNCTION shop.talk();
        """
    )
    heard = []
    conn.add_notice_handler(lambda diag: heard.append((diag.sqlstate, diag.message_primary, diag.message_detail)))
    insert(conn, "shop.talks", {"id": 1})
    insert_many(conn, "shop.talks", [{"id": 2}, {"id": 3}])
    assert heard == [("01ABC", f"row {n}", "a detail") for n in (1, 2, 3)]
    conn.execute("DROP TABLE shop.talks; DROP FUNCTION shop.talk")


def test_a_message_of_a_megabyte_arrives_whole(conn):
    conn.execute(
        """
        CREATE TABLE shop.long_winded (id int PRIMARY KEY, v int);
        CREATE FUNCTION shop.long_wind() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION USING ERRCODE = 'LONG1', MESSAGE = repeat('é%s ', 300000), DETAIL = repeat('%', 300000),
                HINT = repeat('h', 300000);
        END $$;
        CREATE TRIGGER t BEFORE INSERT ON shop.long_winded FOR EACH ROW EXECUTE FUNCTION shop.long_wind();
        """
    )
    case = Case("long", "long_winded", {"id": 1, "v": 1}, "LONG1")
    direct = fields(failure(lambda: insert_directly(conn, case)))
    for path in ("insert", "many", "each"):
        assert fields(failure(lambda: PATHS[path](conn, case))) == direct
    conn.execute("DROP TABLE shop.long_winded; DROP FUNCTION shop.long_wind")


def test_timeouts_and_read_only_are_reported_as_by_insert(conn):
    conn.execute(
        """
        CREATE TABLE shop.slow (id int PRIMARY KEY, v int);
        CREATE FUNCTION shop.sleep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$;
        CREATE TRIGGER t BEFORE INSERT ON shop.slow FOR EACH ROW EXECUTE FUNCTION shop.sleep();
        """
    )
    case = Case("slow", "slow", {"id": 1, "v": 1}, "57014")
    conn.execute("SET statement_timeout = '100ms'")
    direct = fields(failure(lambda: insert_directly(conn, case)))
    assert direct["sqlstate"] == "57014"
    for path in ("insert", "many", "each"):
        assert fields(failure(lambda: PATHS[path](conn, case))) == direct
    conn.execute("RESET statement_timeout")
    conn.execute("DROP TABLE shop.slow; DROP FUNCTION shop.sleep")

    fresh = Case("fresh", "customers", {"id": 77}, "25006")
    conn.execute("SET default_transaction_read_only = on")
    direct = fields(failure(lambda: insert_directly(conn, fresh)))
    assert direct["sqlstate"] == "25006"
    for path in ("insert", "many", "each"):
        assert fields(failure(lambda: PATHS[path](conn, fresh))) == direct


def test_lock_timeout_while_waiting_for_a_winner_is_55P03(shop, conn):
    with shop.connect(autocommit=False) as winner:
        insert(winner, "shop.customers", {"id": 4711})
        conn.execute("SET lock_timeout = '100ms'")
        direct = failure(lambda: conn.execute("INSERT INTO shop.customers VALUES (4711)"))
        assert direct.sqlstate == "55P03"
        for call in (
            lambda: insert(conn, "shop.customers", {"id": 4711}),
            lambda: insert_many(conn, "shop.customers", [{"id": 4711}]),
            lambda: insert_each(conn, "shop.customers", [{"id": 4711}]),
        ):
            assert fields(failure(call)) == fields(direct)
        winner.rollback()


def test_a_bad_payload_in_a_batch_is_found_by_its_ordinal_in_context_while_the_message_stays(conn):
    good = [{"id": n, "amount": "1.50"} for n in range(1000, 2000)]
    for bad, state in (({"amount": "much"}, "22P02"), ({"amount": "1000"}, "22003"), ({"day": "2013-02-30"}, "22008")):
        rows = [dict(row) for row in good]
        rows[699].pop("amount")
        rows[699].update(bad)
        column = next(iter(bad))
        case = Case("bad", "orders", {"id": 5, **bad}, state)
        direct = fields(failure(lambda: insert_directly(conn, case)))
        for call in (insert_many, insert_each):
            error = failure(lambda: call(conn, "shop.orders", rows))
            assert fields(error) == direct
            assert f'payload 700, column "{column}"' in error.diag.context, error.diag.context


def test_our_conflict_carries_its_sqlstate_text_and_fields(conn):
    conn.execute(
        """
        CREATE TABLE IF NOT EXISTS shop.events (
            day date, no int, amount numeric(9,2), status text, note text, CONSTRAINT one_event PRIMARY KEY (day, no))
        """
    )
    conn.execute("TRUNCATE shop.events")
    stored = {"day": "2013-11-03", "no": 7, "amount": 10, "status": "paid", "note": "same"}
    insert(conn, "shop.events", stored)

    error = failure(lambda: insert(conn, "shop.events", {**stored, "amount": "12", "status": "pending"}))
    expected = {
        "severity": "ERROR",
        "severity_nonlocalized": "ERROR",
        "sqlstate": "23I01",
        "message_primary": 'payload conflicts with the stored row in table "events"',
        "message_detail": "Key (day, no)=(2013-11-03, 7) is stored with amount=10.00, status=paid;"
        " the payload has amount=12.00, status=pending.",
        "message_hint": "Use a new key for a new event, or leave columns that change after insert out of the"
        " comparison with ignore.",
        "schema_name": "shop",
        "table_name": "events",
        "column_name": None,
        "datatype_name": None,
        "constraint_name": "one_event",
    }
    assert fields(error) == expected
    assert isinstance(error, psycopg.Error)

    error = failure(lambda: insert(conn, "shop.events", {**stored, "note": None}))
    assert error.diag.message_detail == "Key (day, no)=(2013-11-03, 7) is stored with note=same; the payload has note=null."
    assert error.diag.column_name == "note"

    error = failure(lambda: insert_many(conn, "shop.events", [{**stored, "amount": n} for n in range(1, 8)]))
    assert fields(error) | {"message_detail": None, "column_name": None} == {
        **expected,
        "message_primary": '7 payloads conflict with stored rows in table "events"',
        "message_detail": None,
    }
    for ordinal in range(1, 6):
        assert f"amount={ordinal}.00" in error.diag.message_detail
    assert "amount=6.00" not in error.diag.message_detail

    error = failure(lambda: insert_many(conn, "shop.events", [stored, {**stored, "amount": 3}]))
    assert error.diag.message_primary == expected["message_primary"]
    assert "2" in error.diag.message_detail


def test_a_conflict_never_changes_or_adds_a_row(conn):
    conn.execute("CREATE TABLE shop.still (id int PRIMARY KEY, v int)")
    conn.execute("INSERT INTO shop.still VALUES (1, 1)")
    before = conn.execute("SELECT ctid::text, xmin::text, xmax::text, * FROM shop.still").fetchall()
    error = failure(lambda: insert_many(conn, "shop.still", [{"id": 5, "v": 5}, {"id": 1, "v": 2}]))
    assert error.sqlstate == "23I01"
    for on_conflict in ("report", "quarantine"):
        assert insert(conn, "shop.still", {"id": 1, "v": 2}, on_conflict=on_conflict)["outcome"] == "conflict"
    assert conn.execute("SELECT ctid::text, xmin::text, xmax::text, * FROM shop.still").fetchall() == before
    conn.execute("DROP TABLE shop.still")


def test_psycopg_raises_its_integrity_error_for_a_conflict(conn):
    """Class 23 is what drivers turn into their integrity error."""
    conn.execute("CREATE TABLE shop.integrity (id int PRIMARY KEY, v int); INSERT INTO shop.integrity VALUES (1, 1)")
    with pytest.raises(psycopg.IntegrityError):
        insert(conn, "shop.integrity", {"id": 1, "v": 2})
    conn.execute("DROP TABLE shop.integrity")
