"""The comparisons: their statements, their data and their target ratios. In a statement, {s} stands for the schema of the
side that runs it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Calls:
    """A prepared statement that the client calls once for each payload, with a commit for each call."""

    sql: str
    payload: str = "to_json(event)"
    """The expression that turns an event into a payload. A batch is a JSON array."""


@dataclass(frozen=True)
class Loop:
    """A PL/pgSQL statement that the server runs once for each payload (`arrived.payload`), in one transaction."""

    sql: str


@dataclass(frozen=True)
class Once:
    """A command that reads all rows from the staging table, or from the file `staging` or `staging.binary` in the server's data
    directory, which has the same rows. Several commands are one transaction."""

    sql: str


@dataclass(frozen=True)
class Together:
    """A command that several sessions run at the same time, each with its own number for {session}. They load the rows of the
    staging table in batches of `batch` rows (see write_batches in setup.sql)."""

    sql: str


@dataclass(frozen=True)
class Requests:
    """Prepared statements that a worker calls for each request, with a commit for each call. `begin` gets the key and the
    request, and returns the attempt in its first column. If it is no retry, `finish` gets the key, the attempt and an answer."""

    begin: str
    finish: str | None = None
    payload: str = "(event).id || ' ' || to_json(event)"
    """The expression for the key and the request."""


@dataclass(frozen=True)
class RequestLoop:
    """PL/pgSQL statements that the server runs for each request: `begin` uses `arrived.key` and `arrived.payload` and stores
    an attempt in `begun`; `finish` uses it."""

    begin: str
    finish: str
    commits: bool
    """True: commit after each statement. False: one commit for all requests of a turn."""


@dataclass(frozen=True)
class Contest:
    name: str
    what: str
    percent: int
    """The percentage of arriving rows that are already stored."""
    rows: int
    """The number of rows that arrive in a timed run."""
    ours: Calls | Loop | Once | Together | Requests | RequestLoop
    rivals: dict
    """The statements of the rivals by name, all of the same kind as ours."""
    stored: int = 200_000
    """The number of rows that the table holds before the run."""
    batch: int = 1
    """The number of payloads in a call, or of rows in a file; 1 means a call with a single object."""
    target: float | None = None
    """The target for our rate divided by that of the first rival."""
    flush: bool = False
    """True: a commit waits for the disk (synchronous_commit)."""
    show_wal: bool = False
    guard: bool = False
    """True: our table has a guard. The tables of the rivals never have one."""
    prepare: str = ""
    """Commands that prepare the staging table; {stored} stands for the number of rows that the table holds."""
    refused: int = 0
    """So many of 1,000 arriving rows does the server refuse, on both sides."""
    writes: bool = True
    """True: a side writes, so the tables must be rebuilt before the next round."""
    grows: bool = False
    """True: the tables are not rebuilt, although a side writes. Each round brings other rows, few beside those that are stored."""
    sessions: int = 2
    """The number of sessions that run a command together."""


def differ(one, other):
    """Returns the condition that the rows of two tables differ, given the names of the tables."""
    rows = [", ".join(f"{table}.{column}" for column in ("amount", "status", "customer", "note", "at"))
            for table in (one, other)]
    return f"({rows[0]}) IS DISTINCT FROM ({rows[1]})"


VERIFYING_UPDATE = (
    "ON CONFLICT (id) DO UPDATE SET id = excluded.id"
    f" WHERE {differ('events', 'excluded')} AND {{s}}.refuse(events.id)"
)

MANY = Calls("SELECT * FROM idempotent_insert_many('{s}.events', $1)")
MANY_NOTHING = Calls(
    "INSERT INTO {s}.events SELECT * FROM jsonb_populate_recordset(NULL::{s}.events, $1) ON CONFLICT DO NOTHING"
)
MANY_PLAIN = Calls("INSERT INTO {s}.events SELECT * FROM jsonb_populate_recordset(NULL::{s}.events, $1)")
MANY_UPDATE = Calls(
    f"INSERT INTO {{s}}.events SELECT * FROM jsonb_populate_recordset(NULL::{{s}}.events, $1) {VERIFYING_UPDATE}"
)
FROM = Once("SELECT * FROM idempotent_insert_from('{s}.events', 'staging')")
REPLAY_FROM = Once("SELECT * FROM idempotent_insert_from('{s}.events', 'staging', token => 'replay')")
LOAD = Once("CALL idempotent_load('{s}.events', 'staging')")
FROM_NOTHING = Once("INSERT INTO {s}.events SELECT * FROM staging ON CONFLICT DO NOTHING")
FROM_UPDATE = Once(f"INSERT INTO {{s}}.events SELECT * FROM staging {VERIFYING_UPDATE}")
FROM_PLAIN = Once("INSERT INTO {s}.events SELECT * FROM staging")
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
COPY = Once("COPY {s}.events FROM 'staging'")
COPY_BINARY = Once("COPY {s}.events FROM 'staging.binary' (FORMAT binary)")


def copy_and_join(copy):
    """Returns what verifies rows that this COPY brings: a staging table, DO NOTHING and a join."""
    return Once(
        "TRUNCATE arrived;"
        f" {copy.sql.replace('{s}.events', 'arrived')};"
        " INSERT INTO {s}.events SELECT * FROM arrived ON CONFLICT DO NOTHING;"
        f" SELECT count(*) FROM arrived JOIN {{s}}.events USING (id) WHERE {differ('events', 'arrived')}"
    )


COPY_OVERLAPPING = Together("CALL copy_batches('{s}.events', 'overlapping', {session})")
COPY_DISTINCT = Together("CALL copy_batches('{s}.events', 'distinct', {session})")
INSERT_OVERLAPPING = Together("CALL insert_batches('{s}.events', 'overlapping', {session}, '')")
INSERT_OVERLAPPING_NOTHING = Together("CALL insert_batches('{s}.events', 'overlapping', {session}, 'ON CONFLICT DO NOTHING')")
# As a client that does not use JSON sends it.
ROW_PLAIN = Calls("INSERT INTO {s}.events VALUES (($1::event).*)", payload="event::text")
ROW_NOTHING = Calls("INSERT INTO {s}.events VALUES (($1::event).*) ON CONFLICT DO NOTHING", payload="event::text")

MERGE = Once("SELECT * FROM idempotent_merge('{s}.events', 'staging', latest_by => '{at}')")


def core_merge(also=""):
    """Returns PostgreSQL's MERGE; `also` is an additional condition for an update."""
    return Once(
        "MERGE INTO {s}.events USING staging ON events.id = staging.id"
        f" WHEN MATCHED {also} THEN UPDATE SET amount = staging.amount, status = staging.status,"
        " customer = staging.customer, note = staging.note, at = staging.at"
        " WHEN NOT MATCHED THEN INSERT VALUES"
        " (staging.id, staging.amount, staging.status, staging.customer, staging.note, staging.at)"
    )


CORE_MERGE = core_merge()
CORE_MERGE_CHANGED = core_merge(f"AND {differ('events', 'staging')}")
# The same where a column of the staging table says which rows delete, and one that is not stored says which is the latest.
MERGE_DELETES = Once(
    "SELECT * FROM idempotent_merge('{s}.events', 'changes', latest_by => '{at,seq}', delete_when => 'gone')"
)
CORE_MERGE_DELETES = Once(
    "MERGE INTO {s}.events USING (SELECT DISTINCT ON (id) * FROM changes ORDER BY id, at DESC, seq DESC) staging"
    " ON events.id = staging.id"
    " WHEN MATCHED AND staging.gone AND staging.at >= events.at THEN DELETE"
    f" WHEN MATCHED AND NOT staging.gone AND staging.at >= events.at AND {differ('events', 'staging')}"
    " THEN UPDATE SET amount = staging.amount, status = staging.status,"
    " customer = staging.customer, note = staging.note, at = staging.at"
    " WHEN NOT MATCHED AND NOT staging.gone THEN INSERT VALUES"
    " (staging.id, staging.amount, staging.status, staging.customer, staging.note, staging.at)"
)
LOG = (
    "DROP TABLE IF EXISTS changes; CREATE UNLOGGED TABLE changes AS SELECT *, customer % 3 = 0 AS gone, 1 AS seq FROM staging"
)
MERGE_MANY = Calls(
    "SELECT * FROM idempotent_merge_many('{s}.events', $1, latest_by => '{at}')",
    payload="to_jsonb(event) - 'note' || jsonb_build_object('status', 'merged', 'at', (event).at + interval '1 day')",
)
UPDATE_MANY = Calls(
    "INSERT INTO {s}.events (id, amount, status, customer, at)"
    " SELECT id, amount, status, customer, at FROM jsonb_populate_recordset(NULL::{s}.events, $1)"
    " ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, status = excluded.status, customer = excluded.customer,"
    " at = excluded.at WHERE events.at < excluded.at",
    payload=MERGE_MANY.payload,
)
CHANGE = "UPDATE staging SET amount = amount + 1, at = at + interval '1 day'"
OVERWRITE = Once("""SELECT * FROM idempotent_overwrite('{s}.events', 'staging', '{"status": "paid"}')""")
DELETE_AND_INSERT = Once(
    "DELETE FROM {s}.events WHERE status = 'paid'; INSERT INTO {s}.events SELECT * FROM staging"
)
SLICE = (
    "TRUNCATE staging; INSERT INTO staging SELECT id, amount, status, customer, note, at"
    " FROM base WHERE number <= {stored} AND status = 'paid' ORDER BY number"
)
OVERWRITE_RANGE = Once("""SELECT * FROM idempotent_overwrite('{s}.events', 'staging', '{"customer": {"from": 0, "to": 12500}}')""")
DELETE_RANGE_AND_INSERT = Once(
    "DELETE FROM {s}.events WHERE customer >= 0 AND customer < 12500; INSERT INTO {s}.events SELECT * FROM staging"
)
RANGE = SLICE.replace("status = 'paid'", "customer < 12500")

# What people write to get ids back, also for rows that are stored: each of these is locked and written again.
RETURNED = "WITH returned AS ({insert} RETURNING id) SELECT count(*) FROM returned"
VIEW = Once(RETURNED.format(insert="INSERT INTO {s}.events_view SELECT * FROM staging"))
RETURNING_UPDATE = Once(RETURNED.format(insert="INSERT INTO {s}.events SELECT * FROM staging ON CONFLICT (id) DO UPDATE SET id = excluded.id"))
MAKE_VIEW = "SELECT idempotent_view('side_0.events', 'side_0.events_view')"
OBSERVE = "SELECT idempotent_guard('side_0.events', on_conflict => 'observe')"

# The first payload of each call is bad; the rival leaves it out.
MANY_REPORT = Calls(
    "SELECT * FROM idempotent_insert_many('{s}.events', $1, on_error => 'report')",
    payload="CASE WHEN mod(i, 1000) = 0 THEN to_jsonb(event) || '{\"amount\": \"much\"}' ELSE to_jsonb(event) END",
)
MANY_GOOD = Calls("SELECT * FROM idempotent_insert_many('{s}.events', $1::jsonb - 0)", payload=MANY_REPORT.payload)

DIGEST = Once("SELECT idempotent_digest(e) FROM {s}.events e")
MD5 = Once("SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM {s}.events e")
MD5_UNSORTED = Once("SELECT md5(string_agg(e::text, ',')) FROM {s}.events e")

RECONCILE = Once("SELECT count(*) FROM idempotent_reconcile('{s}.events', 'ledger')")
RECONCILE_FAR = Once("SELECT count(*) FROM idempotent_reconcile('{s}.events', 'far_ledger')")
COUNT = Once("SELECT count(*) FROM {s}.events; SELECT count(*) FROM ledger")
COUNT_FAR = Once("SELECT count(*) FROM far_ledger")
FULL_JOIN = "SELECT count(*) FROM {{s}}.events FULL JOIN {ledger} AS ledger USING (id) WHERE " + differ("events", "ledger")
# What reconcile compares the table with: a copy with the key, and that as a foreign table of another server, which is this one.
LEDGER = """DO $$ BEGIN
    DROP TABLE IF EXISTS ledger;
    CREATE TABLE ledger AS TABLE staging;
    ALTER TABLE ledger ADD PRIMARY KEY (id);
    ANALYZE ledger;
    CREATE EXTENSION IF NOT EXISTS postgres_fdw;
    EXECUTE format('CREATE SERVER IF NOT EXISTS far FOREIGN DATA WRAPPER postgres_fdw
                    OPTIONS (host %L, port %L, dbname %L, extensions ''pg_idempotent'', async_capable ''true'')',
                   split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database());
    CREATE USER MAPPING IF NOT EXISTS FOR CURRENT_USER SERVER far;
    CREATE FOREIGN TABLE IF NOT EXISTS far_ledger (id uuid NOT NULL, amount numeric(12,2), status text, customer int, note text, at timestamptz)
        SERVER far OPTIONS (table_name 'ledger');
END $$"""
TEN_DIFFER = "UPDATE ledger SET amount = amount + 1 WHERE id IN (SELECT id FROM ledger ORDER BY id LIMIT 10)"

BEGIN = "SELECT attempt, status, response FROM idempotent_request_begin($1, $2, '{s}')"
BEGIN_BY_HAND = "SELECT attempt, status, response FROM {s}.request_begin($1, $2)"
BEGIN_LOOKING = "SELECT attempt, status, response FROM {s}.request_begin($1, $2, true)"
REQUEST = Requests(BEGIN, "SELECT idempotent_request_finish($1, $2, $3, '{s}')")
REQUEST_BY_HAND = Requests(BEGIN_BY_HAND, "SELECT {s}.request_finish($1, $2, $3)")


def request_loop(commits):
    """Returns the same calls in a loop inside the server: ours, and those written by hand."""
    ours = "SELECT attempt, status, response INTO begun FROM idempotent_request_begin(arrived.key, arrived.payload, '{s}')"
    by_hand = "SELECT attempt, status, response INTO begun FROM {s}.request_begin(arrived.key, arrived.payload)"
    answer = "arrived.key, begun.attempt, '{\"status\": 201}'"
    return {
        "ours": RequestLoop(ours, f"PERFORM idempotent_request_finish({answer}, '{{s}}')", commits),
        "rivals": {"PL/pgSQL": RequestLoop(by_hand, f"PERFORM {{s}}.request_finish({answer})", commits)},
    }


REPLAY = Requests(BEGIN)
REPLAY_BY_HAND = Requests(BEGIN_BY_HAND)
REPLAY_LOOKING = Requests(BEGIN_LOOKING)

NOTHING = "DO NOTHING"


def contests(quick):
    """Returns all comparisons in the order in which they run; `quick` leaves out those without a target."""
    batches = 30_000 if quick else 100_000
    staged = 500_000
    flushed = 400 if quick else 1_000
    single = 5_000 if quick else 20_000
    guarded = 200_000 if quick else 1_000_000
    requests = 5_000 if quick else 20_000

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

    def load(name, percent):
        return Contest(
            name=f"load_{name}",
            what=f"idempotent_load, {guarded:,} rows of a table, {percent} % duplicates, compared with one transaction",
            percent=percent, rows=guarded, stored=guarded * percent // 100, target=1.0, writes=percent < 100,
            ours=LOAD, rivals={NOTHING: FROM_NOTHING},
        )

    def single_rows(name, percent, rows, what, ours, rivals, **more):
        kind = "duplicates" if percent else "new rows"
        return Contest(name, f"single {kind}, {what}", percent, rows, ours, rivals, **more)

    def guard(percent, **more):
        return Contest(
            name=f"guard_{percent}",
            what=f"INSERT … SELECT into a guarded table, {guarded:,} rows, {percent} % duplicates",
            percent=percent, rows=guarded, stored=guarded * percent // 100, target=1.0, guard=True,
            # A DO UPDATE that changes nothing still locks the rows, and locks them again in the next round.
            writes=percent < 100,
            ours=FROM_PLAIN, rivals={NOTHING: FROM_NOTHING, **more},
        )

    def guard_copy(name, what, copy, percent):
        # Without a guard, a duplicate would be an error.
        unguarded = {} if percent else {"COPY, unguarded": copy}
        return Contest(
            name=f"guard_{name}_{percent}",
            what=f"{what} into a guarded table, {guarded:,} rows, {percent} % duplicates",
            percent=percent, rows=guarded, stored=guarded * percent // 100, target=1.5, guard=True,
            writes=percent < 100,
            ours=copy, rivals={"staging and a join": copy_and_join(copy), **unguarded},
        )

    one = {"ours": ONE, "rivals": {NOTHING: ONE_NOTHING}}
    loop = {"ours": ONE_LOOP, "rivals": {NOTHING: ONE_NOTHING_LOOP}}
    chosen = [
        *(many(percent) for percent in (0, 5, 50, 100)),
        insert_from("new", 0, 1.3),
        insert_from("5", 5),
        insert_from("50", 50),
        insert_from("dup", 100, 1.0),
        Contest(
            name="from_replay",
            what=f"_from, {guarded:,} rows of a table that have committed under a token, compared with verifying them again",
            percent=100, rows=guarded, stored=guarded, target=50.0, writes=False,
            # The first side commits the batch; its table is filled anew afterwards.
            prepare="TRUNCATE side_0.events; " + REPLAY_FROM.sql.replace("{s}", "side_0"),
            ours=REPLAY_FROM, rivals={"verifying": FROM},
        ),
        load("new", 0),
        load("dup", 100),
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
                what=f"_many compared with a DO UPDATE that verifies, {percent} % duplicates",
                percent=percent, rows=batches, batch=1000, flush=True, show_wal=True,
                ours=MANY, rivals={"DO UPDATE … WHERE": MANY_UPDATE, NOTHING: MANY_NOTHING},
            )
            for percent in (0, 100)
        ),
        guard(0, **{"INSERT, unguarded": FROM_PLAIN}),
        guard(5),
        guard(50),
        guard(100, **{"DO UPDATE … WHERE": FROM_UPDATE}),
        *(guard_copy("copy", "COPY", COPY, percent) for percent in (0, 5, 100)),
        *(guard_copy("binary", "COPY of the binary format", COPY_BINARY, percent) for percent in (0, 5, 100)),
        # The number of rows that are stored is the same on both sides.
        Contest(
            name="guard_two",
            what="two sessions at once, COPY into a guarded table, 1 row of 16 a duplicate",
            percent=0, rows=guarded, stored=0, batch=1000, guard=True,
            ours=COPY_OVERLAPPING, rivals={"COPY, no duplicates": COPY_DISTINCT},
        ),
        *(
            Contest(
                name=f"sessions_{sessions}",
                what=f"{sessions} sessions at once, batches of 1,000 rows into a guarded table, 1 row of 16 a duplicate",
                percent=0, rows=200_000, stored=0, batch=1000, guard=True, sessions=sessions,
                ours=INSERT_OVERLAPPING, rivals={NOTHING: INSERT_OVERLAPPING_NOTHING},
            )
            for sessions in (1, 2, 4, 8)
        ),
        *(
            Contest(
                name=f"growth_{kind}_{stored}",
                what=f"{what}, half of the rows duplicates, beside {stored:,} stored rows",
                percent=50, rows=batches, batch=1000, stored=stored, grows=True, guard=guard,
                ours=ours, rivals={NOTHING: MANY_NOTHING},
            )
            for stored in (100_000, 1_000_000, 10_000_000)
            for kind, what, ours, guard in (
                ("many", "_many, 1,000 payloads a call", MANY, False),
                ("guard", "INSERT of 1,000 rows into a guarded table", MANY_PLAIN, True),
            )
        ),
        *(
            Contest(
                name=f"guard_single_{name}",
                what=f"INSERT of one row into a guarded table, {kind}, a commit each, not waiting for the disk",
                percent=percent, rows=single, guard=True, writes=percent < 100,
                ours=ROW_PLAIN, rivals={NOTHING: ROW_NOTHING},
            )
            for name, kind, percent in (("new", "new rows", 0), ("dup", "duplicates", 100))
        ),
        *(
            Contest(
                name=f"merge_{name}",
                what=f"idempotent_merge, {staged:,} rows, {kind}",
                percent=percent, rows=staged, stored=staged * percent // 100, target=target, prepare=prepare,
                ours=MERGE, rivals=rivals,
            )
            for name, kind, percent, target, prepare, rivals in (
                ("new", "all of them new", 0, 1.0, "", {"MERGE": CORE_MERGE}),
                ("changed", "all of them changed", 100, 1.0, CHANGE, {"MERGE": CORE_MERGE}),
                (
                    "equal", "nine in ten equal", 100, 2.0, CHANGE + " WHERE customer % 10 = 0",
                    {"MERGE": CORE_MERGE, "MERGE … AND differs": CORE_MERGE_CHANGED},
                ),
            )
        ),
        Contest(
            name="merge_deletes",
            what=f"idempotent_merge with delete_when, {staged:,} rows, a third of them delete",
            percent=100, rows=staged, stored=staged, prepare=f"{CHANGE}; {LOG}",
            ours=MERGE_DELETES, rivals={"MERGE … DELETE": CORE_MERGE_DELETES},
        ),
        Contest(
            name="merge_many",
            what="idempotent_merge_many, 1,000 payloads a call that leave a column out, half of them new",
            percent=50, rows=batches, batch=1000,
            ours=MERGE_MANY, rivals={"DO UPDATE": UPDATE_MANY},
        ),
        *(
            Contest(
                name=f"overwrite_{name}",
                what=f"idempotent_overwrite of a quarter of {staged:,} rows, {name}",
                percent=100, rows=staged // 4, stored=staged, target=target, prepare=prepare,
                ours=OVERWRITE, rivals={"DELETE, INSERT": DELETE_AND_INSERT},
            )
            for name, target, prepare in (
                ("equal", 5.0, SLICE),
                ("changed", None, f"{SLICE}; UPDATE staging SET amount = amount + 1"),
            )
        ),
        Contest(
            name="overwrite_range",
            what=f"idempotent_overwrite of a range, a quarter of {staged:,} rows, equal",
            percent=100, rows=staged // 4, stored=staged, target=5.0, prepare=RANGE,
            ours=OVERWRITE_RANGE, rivals={"DELETE, INSERT": DELETE_RANGE_AND_INSERT},
        ),
        *(
            Contest(
                name=f"view_{percent}",
                what=f"INSERT … RETURNING into a view, {guarded:,} rows, {percent} % duplicates, which returns stored rows",
                percent=percent, rows=guarded, stored=guarded * percent // 100, target=target, prepare=MAKE_VIEW,
                ours=VIEW, rivals={"DO UPDATE … RETURNING": RETURNING_UPDATE},
            )
            for percent, target in ((0, None), (100, 1.0))
        ),
        Contest(
            name="observe_0",
            what=f"INSERT … SELECT into a table whose guard observes, {guarded:,} new rows",
            percent=0, rows=guarded, stored=0, target=0.5, prepare=OBSERVE,
            ours=FROM_PLAIN, rivals={"INSERT, unguarded": FROM_PLAIN},
        ),
        Contest(
            name="many_rejected",
            what="_many with on_error, one bad payload beside 999 good ones, compared with the good ones alone",
            percent=0, rows=batches, batch=1000, target=0.5, refused=1,
            ours=MANY_REPORT, rivals={"without the bad one": MANY_GOOD},
        ),
        Contest(
            name="digest",
            what=f"idempotent_digest of {staged:,} rows",
            percent=100, rows=staged, stored=staged, target=1.0, writes=False,
            ours=DIGEST, rivals={"md5, ordered": MD5, "md5, unordered": MD5_UNSORTED},
        ),
        Contest(
            name="reconcile_equal",
            what=f"idempotent_reconcile of {guarded:,} rows that are equal, compared with count(*) of both tables",
            percent=100, rows=guarded, stored=guarded, target=0.33, writes=False, prepare=LEDGER,
            ours=RECONCILE, rivals={"count(*)": COUNT, "FULL JOIN": Once(FULL_JOIN.format(ledger="ledger"))},
        ),
        Contest(
            name="reconcile_far",
            what=f"idempotent_reconcile of {guarded:,} rows with a foreign table, of which 10 differ, compared with its count(*)",
            percent=100, rows=guarded, stored=guarded, target=0.33, writes=False, prepare=f"{LEDGER}; {TEN_DIFFER}",
            ours=RECONCILE_FAR, rivals={"count(*)": COUNT_FAR, "FULL JOIN": Once(FULL_JOIN.format(ledger="far_ledger"))},
        ),
        Contest(
            name="request_new",
            what="requests begun and finished beside a million live keys, a commit each, not waiting for the disk",
            percent=0, rows=requests, stored=1_000_000, target=1.5,
            ours=REQUEST, rivals={"PL/pgSQL": REQUEST_BY_HAND},
        ),
        # Without the client's round trips, which take equally long on both sides.
        Contest(
            name="request_inside_commits",
            what="requests begun and finished beside a million live keys, a commit each, inside the server",
            percent=0, rows=requests, stored=1_000_000, target=1.5, **request_loop(commits=True),
        ),
        Contest(
            name="request_inside",
            what="requests begun and finished beside a million live keys, one commit for a thousand requests, inside the server",
            percent=0, rows=requests, stored=1_000_000, target=1.5, **request_loop(commits=False),
        ),
        Contest(
            name="request_replay",
            what="requests replayed out of a million live keys, a commit each, not waiting for the disk",
            percent=100, rows=requests, stored=1_000_000, target=1.5, writes=False,
            ours=REPLAY, rivals={"PL/pgSQL": REPLAY_BY_HAND, "PL/pgSQL, look first": REPLAY_LOOKING},
        ),
    ]
    # Quick runs include only comparisons with a target.
    return [contest for contest in chosen if contest.target] if quick else chosen
