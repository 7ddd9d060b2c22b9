"""Random rows, many of which the server refuses, against plain SQL that sends them one by one.

The model inserts every row by itself, in the order of keys, in a block with EXCEPTION, into a twin of the table. Whatever
the extension does to find out which rows are refused, outcomes, errors and rows in the end have to be the same.

A failure prints what is needed to see it again: PGI_SEED=<seed>, and the rows.
"""

import json
import random

import pytest

from support.functions import insert_each, insert_from, insert_many
from support.project import SEED, size
from support.queries import value

CASES = size("PGI_CASES", 4000) // 40

TABLES = """
CREATE TABLE customers (id int PRIMARY KEY);
INSERT INTO customers SELECT generate_series(0, 9);
CREATE DOMAIN share AS int CHECK (VALUE < 100);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.note = TG_ARGV[0] THEN RAISE EXCEPTION USING ERRCODE = TG_ARGV[1], MESSAGE = 'no'; END IF;
    RETURN NEW;
END $$;
CREATE TABLE mine (
    id int PRIMARY KEY, code text UNIQUE, amount numeric(6,2) CHECK (amount >= 0), customer int REFERENCES customers,
    share share, span int4range, note text NOT NULL DEFAULT '', half int GENERATED ALWAYS AS (100 / NULLIF(share, 98) / (share - 97)) STORED,
    EXCLUDE USING gist (span WITH &&)
);
CREATE TABLE twin (LIKE mine INCLUDING ALL, FOREIGN KEY (customer) REFERENCES customers);
CREATE TRIGGER early BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION refuse('early', '22ABC');
CREATE TRIGGER early BEFORE INSERT ON twin FOR EACH ROW EXECUTE FUNCTION refuse('early', '22ABC');
"""

LATE = """
CREATE TRIGGER late AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION refuse('late', '23XYZ');
CREATE TRIGGER late AFTER INSERT ON twin FOR EACH ROW EXECUTE FUNCTION refuse('late', '23XYZ');
"""

MODEL = """
CREATE FUNCTION one_by_one(payloads jsonb) RETURNS TABLE (ordinal bigint, outcome text, state text) LANGUAGE plpgsql AS $model$
DECLARE
    payload jsonb;
    sent twin;
    one record;
    names text;
BEGIN
    CREATE TEMP TABLE readable (ordinal bigint, payload jsonb, row twin) ON COMMIT DROP;
    FOR payload, ordinal IN SELECT * FROM jsonb_array_elements(payloads) WITH ORDINALITY LOOP
        BEGIN
            sent := jsonb_populate_record(NULL::twin, payload);
            IF sent.id IS NULL THEN RAISE not_null_violation; END IF;
            INSERT INTO readable VALUES (ordinal, payload, sent);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            -- Which of several values is read first does not matter.
            outcome := 'rejected'; state := NULL;
            RETURN NEXT;
        END;
    END LOOP;
    FOR one IN SELECT * FROM readable AS r ORDER BY (r.row).id, r.ordinal LOOP
        ordinal := one.ordinal; payload := one.payload; sent := one.row;
        SELECT string_agg(quote_ident(key), ', ') INTO names FROM jsonb_object_keys(payload) AS key;
        state := NULL;
        EXECUTE format('SELECT CASE WHEN (SELECT ROW(%1$s) FROM twin WHERE id = $1.id) IS NOT DISTINCT FROM
                                         (SELECT ROW(%1$s) FROM (SELECT ($1).*) AS sent) THEN $$duplicate$$ ELSE $$conflict$$ END', names)
            INTO outcome USING sent;
        IF NOT EXISTS (SELECT FROM twin WHERE id = sent.id) THEN
            BEGIN
                EXECUTE format('INSERT INTO twin (%1$s) SELECT %1$s FROM (SELECT ($1).*) AS sent', names) USING sent;
                outcome := 'inserted';
            EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
                outcome := 'rejected'; state := SQLSTATE;
            END;
        END IF;
        RETURN NEXT;
    END LOOP;
END $model$;
"""

BAD = {
    "code": [None, "a", "b", "c"],
    "amount": [-1, 100000, "x", 1],
    "customer": [10, 10, 5],
    "share": [100, 97, 98],
    "span": ["[1,5)", "[2,3)", "empty", "(,"],
    "note": [None, "early", "late"],
    "id": [None, "x"],
}


def rows(dice, count):
    """Rows with keys of a small range, each with a share of what may be refused."""
    bad = dice.choice([0, 0.02, 0.2, 0.7])
    names = dice.sample(list(BAD), dice.randint(1, len(BAD)))
    uniform = dice.random() < 0.5
    found = []
    for n in range(count):
        row = {"id": dice.randrange(2 * count), "amount": n % 7}
        if uniform or dice.random() < 0.5:
            row |= {"customer": n % 10, "note": dice.choice(["", "fine"])}
        for name in names:
            if dice.random() < bad:
                row[name] = dice.choice(BAD[name])
        found.append(row)
    return found


@pytest.fixture(params=["known", "late"])
def tables(request, conn):
    conn.execute(TABLES + MODEL + (LATE if request.param == "late" else ""))
    return conn


@pytest.mark.timeout(300)
def test_refused_rows_are_those_that_are_refused_one_by_one(tables):
    conn = tables
    for case in range(CASES):
        dice = random.Random(f"{SEED} {case}")
        sent = rows(dice, dice.choice([1, 2, 5, 20, 60, 200]))
        on_error = dice.choice(["report", "quarantine"])
        if dice.random() < 0.5:
            conn.execute("TRUNCATE mine, twin")
        wanted = conn.execute("SELECT * FROM one_by_one(%s::jsonb)", [json.dumps(sent)]).fetchall()
        wanted = {row["ordinal"]: (row["outcome"], row["state"]) for row in wanted}
        what = f"PGI_SEED={SEED}, case {case}: {json.dumps(sent)}"
        if dice.random() < 0.6:
            found = insert_each(conn, "mine", sent, key=["id"], on_conflict="report", on_error=on_error)
            outcomes = {row["ordinal"]: (row["outcome"], (row["error"] or {}).get("sqlstate")) for row in found}
            unread = [n for n, (outcome, sqlstate) in wanted.items() if outcome == "rejected" and sqlstate is None]
            outcomes |= {n: (outcomes[n][0], None) for n in unread}
            assert outcomes == wanted, what
        else:
            counts = insert_many(conn, "mine", sent, key=["id"], on_conflict="report", on_error=on_error)
            outcomes = [outcome for outcome, _ in wanted.values()]
            names = {"inserted": "inserted", "duplicates": "duplicate", "conflicts": "conflict", "rejected": "rejected"}
            assert counts == {"received": len(sent)} | {name: outcomes.count(one) for name, one in names.items()}, what
        same = "SELECT count(*) FROM ((TABLE mine EXCEPT TABLE twin) UNION ALL (TABLE twin EXCEPT TABLE mine)) AS deviation"
        assert value(conn, same) == 0, what


def test_a_source_and_a_load_refuse_the_same_rows(tables):
    conn = tables
    conn.execute("CREATE TABLE source (id int, code text, amount float8, customer bigint, share int, note text)")
    for case in range(CASES // 5):
        dice = random.Random(f"{SEED} source {case}")
        sent = rows(dice, dice.choice([2, 20, 200]))
        for row in sent:
            row.pop("span", None)
            row["note"] = row.get("note")
            if not isinstance(row["amount"], int | float):
                row["amount"] = 1e6
            if not isinstance(row["id"], int):
                row["id"] = None
        columns = ("id", "code", "amount", "customer", "share", "note")
        sent = [{name: row.get(name) for name in columns} for row in sent]
        conn.execute("TRUNCATE source, mine, twin")
        conn.execute("INSERT INTO source SELECT * FROM jsonb_populate_recordset(NULL::source, %s)", [json.dumps(sent)])
        wanted = conn.execute("SELECT outcome, count(*) FROM one_by_one(%s::jsonb) GROUP BY 1", [json.dumps(sent)]).fetchall()
        wanted = {row["outcome"]: row["count"] for row in wanted}
        what = f"PGI_SEED={SEED}, case {case}: {json.dumps(sent)}"
        if dice.random() < 0.5:
            counts = insert_from(conn, "mine", "source", on_conflict="report", on_error="report")
        else:
            size = dice.choice([1, 7, 10000])
            conn.execute(
                f"CALL idempotent_load('mine', 'source', on_conflict => 'report', on_error => 'quarantine', batch_size => {size})"
            )
            counts = conn.execute("SELECT * FROM idempotent.loads ORDER BY load_id DESC LIMIT 1").fetchone()
            assert counts["rows_done"] == counts["rows_total"] == len(sent), what
        names = {"inserted": "inserted", "duplicates": "duplicate", "conflicts": "conflict", "rejected": "rejected"}
        assert {name: counts[name] for name in names} == {name: wanted.get(one, 0) for name, one in names.items()}, what
