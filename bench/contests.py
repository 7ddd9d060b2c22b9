"""What is compared with what: the statements, the data that they get, and the ratio that is aimed at. In a statement
{s} stands for the schema of the side that runs it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Calls:
    """A prepared statement, called from outside once for each payload, one commit a call."""

    sql: str


@dataclass(frozen=True)
class Loop:
    """A statement of PL/pgSQL, run inside the server once for each payload (`arrived.payload`), in one transaction."""

    sql: str


@dataclass(frozen=True)
class Once:
    """One statement that takes all rows from the staging table."""

    sql: str


@dataclass(frozen=True)
class Contest:
    name: str
    what: str
    percent: int
    """How many of a hundred arriving rows are stored already."""
    rows: int
    """How many rows arrive in a timed run."""
    ours: Calls | Loop | Once
    rivals: dict
    """By name, each a Calls, Loop or Once."""
    stored: int = 200_000
    """How many rows the table holds before."""
    batch: int = 1
    """How many payloads a call carries; 1 stands for a call with a single object."""
    target: float | None = None
    """The ratio of our rate to the first rival's that is aimed at."""
    flush: bool = False
    """Whether a commit waits for the disk (synchronous_commit)."""
    show_wal: bool = False
    writes: bool = True
    """Whether some side writes, so that the tables have to be made anew before the next round."""


MANY = Calls("SELECT * FROM idempotent_insert_many('{s}.events', $1)")
MANY_NOTHING = Calls(
    "INSERT INTO {s}.events SELECT * FROM jsonb_populate_recordset(NULL::{s}.events, $1) ON CONFLICT DO NOTHING"
)
MANY_UPDATE = Calls(
    "INSERT INTO {s}.events SELECT * FROM jsonb_populate_recordset(NULL::{s}.events, $1)"
    " ON CONFLICT (id) DO UPDATE SET id = excluded.id"
    " WHERE (events.amount, events.status, events.customer, events.note, events.at) IS DISTINCT FROM"
    " (excluded.amount, excluded.status, excluded.customer, excluded.note, excluded.at) AND {s}.refuse(events.id)"
)
FROM = Once("SELECT * FROM idempotent_insert_from('{s}.events', 'staging')")
FROM_NOTHING = Once("INSERT INTO {s}.events SELECT * FROM staging ON CONFLICT DO NOTHING")
ONE = Calls("SELECT * FROM idempotent_insert('{s}.events', $1)")
ONE_NOTHING = Calls(
    "INSERT INTO {s}.events SELECT * FROM jsonb_populate_record(NULL::{s}.events, $1) ON CONFLICT DO NOTHING"
)
ONE_LOOP = Loop("SELECT * INTO answer FROM idempotent_insert('{s}.events', arrived.payload)")
ONE_NOTHING_LOOP = Loop(
    "INSERT INTO {s}.events SELECT * FROM jsonb_populate_record(NULL::{s}.events, arrived.payload)"
    " ON CONFLICT DO NOTHING"
)
ONE_CATCH = Calls("SELECT {s}.insert_or_catch($1)")
ONE_LOOK = Calls("SELECT {s}.insert_or_look($1)")

NOTHING = "DO NOTHING"


def contests(quick):
    """All of them, in their order."""
    batches = 30_000 if quick else 100_000
    staged = 500_000
    flushed = 400 if quick else 1_000
    single = 5_000 if quick else 20_000

    def many(percent):
        return Contest(
            name=f"many_{percent}",
            what=f"_many, 1,000 payloads a call, {percent} % duplicates",
            percent=percent, rows=batches, batch=1000, target=1.0, writes=percent < 100,
            ours=MANY, rivals={NOTHING: MANY_NOTHING},
        )

    def insert_from(name, percent, target=None):
        return Contest(
            name=f"from_{name}",
            what=f"_from, {staged:,} rows of a table, {percent} % duplicates",
            percent=percent, rows=staged, stored=staged * percent // 100, target=target, writes=percent < 100,
            ours=FROM, rivals={NOTHING: FROM_NOTHING},
        )

    def single_rows(name, percent, rows, what, ours, rivals, **more):
        kind = "duplicates" if percent else "new rows"
        return Contest(name, f"single {kind}, {what}", percent, rows, ours, rivals, **more)

    one = {"ours": ONE, "rivals": {NOTHING: ONE_NOTHING}}
    loop = {"ours": ONE_LOOP, "rivals": {NOTHING: ONE_NOTHING_LOOP}}
    chosen = [
        *(many(percent) for percent in (0, 5, 50, 100)),
        insert_from("new", 0, 1.3),
        insert_from("5", 5),
        insert_from("50", 50),
        insert_from("dup", 100, 1.0),
        single_rows("insert_new", 0, flushed, "a flushed commit each", **one, target=0.9, flush=True),
        single_rows("insert_dup", 100, single, "a commit each", **one, target=0.9, flush=True, writes=False),
        single_rows("insert_new_unflushed", 0, single, "a commit each, not waiting for the disk", **one),
        single_rows("insert_new_inside", 0, single, "a loop inside the server", **loop),
        single_rows("insert_dup_inside", 100, single, "a loop inside the server", **loop, writes=False),
        single_rows(
            "plpgsql_dup", 100, flushed, "a commit each", target=5.0, flush=True,
            ours=ONE, rivals={"PL/pgSQL, EXCEPTION": ONE_CATCH, "PL/pgSQL, DO NOTHING": ONE_LOOK},
        ),
        *(
            Contest(
                name=f"verify_{percent}",
                what=f"_many beside a DO UPDATE that verifies, {percent} % duplicates",
                percent=percent, rows=batches, batch=1000, flush=True, show_wal=True,
                ours=MANY, rivals={"DO UPDATE … WHERE": MANY_UPDATE, NOTHING: MANY_NOTHING},
            )
            for percent in (0, 100)
        ),
    ]
    # In a hurry, what there is an aim for.
    return [contest for contest in chosen if contest.target] if quick else chosen
