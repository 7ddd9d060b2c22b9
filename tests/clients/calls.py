"""Every way to send a batch that the tests know: how a client sends it, what it then reports, and what it raises on a
conflict. test_calls.py sends all of the batches through all of them; docs/clients.md shows what they report.

The rows are orders.Order. A way returns what the library tells the application; if the library can tell the ids that
the server made, it returns them.
"""

import asyncio
import csv
import io
import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import asyncpg
import pandas
import psycopg
import psycopg2
import psycopg2.extras
import sqlalchemy
import sqlalchemy.orm

import models
import recipes
from orders import COLUMNS
from programs import HERE, run
from support.server import program

# What a way may report besides plain values, which depends on the ids that the server made.
ALL_IDS = "the ids of all rows"
INSERTED_IDS = "the ids of the inserted rows"
NOTHING = None
# The client itself refuses a batch with one row twice.
UNFIT = "unfit"


class Refused(Exception):
    """The error that a client outside of Python has got, as it reported it."""

    def __init__(self, type, sqlstate, detail, constraint=None, **more):
        super().__init__(type, sqlstate, detail, more)
        self.type, self.sqlstate, self.detail, self.constraint, self.more = type, sqlstate, detail, constraint, more


@dataclass
class Way:
    """One way to send a batch.

    new, again, half, repeated   what is reported for a batch that is new, was committed before, was half committed
                                 before, has its first row a second time at its end
    raises                       the exception for a conflict: a class, or what a client outside of Python calls it
    shown                        the name of that class in the documentation, if it is imported from elsewhere
    """

    client: str
    call: str
    send: Callable
    new: Any
    again: Any
    half: Any
    repeated: Any
    raises: Any
    sqlstate: Callable = lambda error: error.sqlstate
    detail: Callable = lambda error: error.detail
    shown: str = ""

    def __str__(self):
        return f"{self.client} {self.call}"


WAYS = []


def way(client, call, **expected):
    def register(send):
        WAYS.append(Way(client, call, send, **expected))
        return send

    return register


ONE = {"new": 5, "again": 0, "half": 3, "repeated": 2}
EACH = {"new": [1] * 5, "again": [0] * 5, "half": [1, 0, 1, 0, 1], "repeated": [1, 1, 0]}
SILENT = {"new": NOTHING, "again": NOTHING, "half": NOTHING, "repeated": NOTHING}
COPIED = {"new": "COPY 5", "again": "COPY 0", "half": "COPY 3", "repeated": "COPY 2"}
RETURNED = {"new": ALL_IDS, "again": [], "half": INSERTED_IDS, "repeated": INSERTED_IDS}

INSERT = f"INSERT INTO orders ({', '.join(COLUMNS)}) VALUES"
COPY = f"COPY orders ({', '.join(COLUMNS)}) FROM STDIN"


# --- psql --------------------------------------------------------------------------------------------------------


def psql(address, *arguments, text="", **environment):
    """What psql prints. An error is raised with what it printed about it, the SQLSTATE among it."""
    arguments = ["-X", "-v", "VERBOSITY=verbose", *arguments]
    done = run([program("psql"), *arguments], address, text, PGOPTIONS="-c client_min_messages=warning", **environment)
    if done.returncode:
        found = re.search(r"ERROR:  (\w{5}): ", done.stderr)
        detail = re.search(r"^DETAIL:  (.*)$", done.stderr, re.MULTILINE)
        constraint = re.search(r"^CONSTRAINT NAME:  (.*)$", done.stderr, re.MULTILINE)
        raise Refused(
            f"exit status {done.returncode}",
            found and found[1],
            detail and detail[1],
            constraint and constraint[1],
            said=done.stderr,
        )
    return done.stdout.strip()


@way("psql", r"`\copy`", raises="exit status 1", **COPIED)
def psql_copy(address, rows):
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".csv") as file:
        file.write(lines.getvalue())
        file.flush()
        return psql(address, "-c", rf"\copy orders ({', '.join(COLUMNS)}) FROM '{file.name}' (FORMAT csv)")


@way(
    "psql",
    "`INSERT`",
    new="INSERT 0 5",
    again="INSERT 0 0",
    half="INSERT 0 3",
    repeated="INSERT 0 2",
    raises="exit status 1",
)
def psql_insert(address, rows):
    with psycopg.connect(**address.keywords) as conn:
        values = [psycopg.ClientCursor(conn).mogrify("(%s, %s, %s, %s)", row) for row in rows]
    return psql(address, "-c", f"{INSERT} {', '.join(values)}")


# --- psycopg -----------------------------------------------------------------------------------------------------

psycopg3 = {"raises": psycopg.IntegrityError, "detail": lambda error: error.diag.message_detail}


@way("psycopg 3", "`executemany`: `rowcount`", **ONE, **psycopg3)
def psycopg_executemany(address, rows):
    with psycopg.connect(**address.keywords) as conn, conn.cursor() as cursor:
        cursor.executemany(f"{INSERT} (%s, %s, %s, %s)", rows)
        return cursor.rowcount


@way("psycopg 3", "`executemany(returning=True)`: `results()`", **RETURNED, **psycopg3)
def psycopg_returning(address, rows):
    with psycopg.connect(**address.keywords) as conn, conn.cursor() as cursor:
        cursor.executemany(f"{INSERT} (%s, %s, %s, %s) RETURNING id", rows, returning=True)
        # A result set for every row that was sent; that of a skipped row is empty.
        found = [result.fetchall() for result in cursor.results()]
        assert len(found) == len(rows)
        return [id for (row,) in filter(None, found) for id in row]


@way("psycopg 3", "`copy`: `rowcount`", **ONE, **psycopg3)
def psycopg_copy(address, rows):
    with psycopg.connect(**address.keywords) as conn, conn.cursor() as cursor:
        with cursor.copy(COPY) as copy:
            for row in rows:
                copy.write_row(row)
        assert cursor.statusmessage == f"COPY {cursor.rowcount}"
        return cursor.rowcount


legacy = {
    "raises": psycopg2.IntegrityError,
    "sqlstate": lambda error: error.pgcode,
    "detail": lambda error: error.diag.message_detail,
}


def psycopg2_session(address, work):
    # Its connection, used as a context, ends the transaction only.
    conn = psycopg2.connect(**address.keywords)
    try:
        with conn, conn.cursor() as cursor:
            return work(cursor)
    finally:
        conn.close()


@way("psycopg 2", "`executemany`: `rowcount`", **ONE, **legacy)
def psycopg2_executemany(address, rows):
    def work(cursor):
        cursor.executemany(f"{INSERT} (%s, %s, %s, %s)", rows)
        return cursor.rowcount

    return psycopg2_session(address, work)


@way("psycopg 2", "`execute_values`: `rowcount`", **ONE, **legacy)
def psycopg2_values(address, rows):
    def work(cursor):
        psycopg2.extras.execute_values(cursor, f"{INSERT} %s", rows)
        return cursor.rowcount

    return psycopg2_session(address, work)


@way("psycopg 2", "`execute_values(fetch=True)`", **RETURNED, **legacy)
def psycopg2_returning(address, rows):
    def work(cursor):
        return [id for (id,) in psycopg2.extras.execute_values(cursor, f"{INSERT} %s RETURNING id", rows, fetch=True)]

    return psycopg2_session(address, work)


# --- asyncpg -----------------------------------------------------------------------------------------------------

asynchronous = {"raises": asyncpg.UnknownPostgresError, "shown": "asyncpg.UnknownPostgresError"}


def asyncpg_session(address, work):
    async def session():
        conn = await asyncpg.connect(
            host=address.host,
            port=address.port,
            database=address.dbname,
            user=address.user,
            password=address.password,
        )
        try:
            return await work(conn)
        finally:
            await conn.close()

    return asyncio.run(session())


@way("asyncpg", "`executemany`", **SILENT, **asynchronous)
def asyncpg_executemany(address, rows):
    return asyncpg_session(address, lambda conn: conn.executemany(f"{INSERT} ($1, $2, $3, $4)", rows))


@way("asyncpg", "`fetchmany`", **RETURNED, **asynchronous)
def asyncpg_fetchmany(address, rows):
    async def work(conn):
        return [row["id"] for row in await conn.fetchmany(f"{INSERT} ($1, $2, $3, $4) RETURNING id", rows)]

    return asyncpg_session(address, work)


@way("asyncpg", "`copy_records_to_table`", **COPIED, **asynchronous)
def asyncpg_copy(address, rows):
    return asyncpg_session(
        address, lambda conn: conn.copy_records_to_table("orders", records=rows, columns=COLUMNS)
    )


# --- SQLAlchemy and pandas ---------------------------------------------------------------------------------------

alchemy = {
    "raises": sqlalchemy.exc.IntegrityError,
    "sqlstate": lambda error: error.orig.sqlstate,
    "detail": lambda error: error.orig.diag.message_detail,
}


def engine(address, **options):
    # No pool: a connection that is left would keep the server from its fast end.
    url = address.url("postgresql+psycopg")
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool, **options)


@way("SQLAlchemy", "`session.execute(insert(Order), rows)`", **SILENT, **alchemy)
def sqlalchemy_bulk(address, rows):
    with sqlalchemy.orm.Session(engine(address)) as session, session.begin():
        session.execute(sqlalchemy.insert(models.Order), [row._asdict() for row in rows])


@way("SQLAlchemy", "`insert(Order).returning(Order)`", **RETURNED, **alchemy)
def sqlalchemy_returning(address, rows):
    with sqlalchemy.orm.Session(engine(address)) as session, session.begin():
        statement = sqlalchemy.insert(models.Order).returning(models.Order)
        return [order.id for order in session.scalars(statement, [row._asdict() for row in rows])]


@way("SQLAlchemy", "`bulk_save_objects`", **SILENT, **alchemy)
def sqlalchemy_bulk_save(address, rows):
    with sqlalchemy.orm.Session(engine(address)) as session, session.begin():
        session.bulk_save_objects([models.Order(**row._asdict()) for row in rows])


@way(
    "SQLAlchemy",
    "`add_all`, [key mapped as primary key](#sqlalchemy)",
    new=ALL_IDS,
    again=ALL_IDS,
    half=ALL_IDS,
    repeated=UNFIT,
    **alchemy,
)
def sqlalchemy_add_all(address, rows):
    with sqlalchemy.orm.Session(engine(address)) as session:
        orders = [models.KeyedOrder(**row._asdict()) for row in rows]
        session.add_all(orders)
        session.commit()
        return [order.id for order in orders]


@way("SQLAlchemy", "`connection.execute(insert(table), rows)`, `preserve_rowcount`: `rowcount`", **ONE, **alchemy)
def sqlalchemy_core(address, rows):
    with engine(address).begin() as conn:
        conn = conn.execution_options(preserve_rowcount=True)
        return conn.execute(sqlalchemy.insert(models.Order.__table__), [row._asdict() for row in rows]).rowcount


def to_sql(address, rows, method=None, **options):
    # Amounts are floating-point numbers there.
    frame = pandas.DataFrame(rows, columns=COLUMNS).astype({"amount": float})
    with engine(address, execution_options=options).begin() as conn:
        return frame.to_sql("orders", conn, if_exists="append", index=False, method=method)


framed = {
    "raises": pandas.errors.DatabaseError,
    "sqlstate": lambda error: error.__cause__.orig.sqlstate,
    "detail": lambda error: error.__cause__.orig.diag.message_detail,
}


# SQLAlchemy does not keep the number that psycopg has, unless it is told to.
@way("pandas", "`to_sql`", new=-1, again=-1, half=-1, repeated=-1, **framed)
def pandas_to_sql(address, rows):
    return to_sql(address, rows)


@way("pandas", "`to_sql`, `preserve_rowcount`", **ONE, **framed)
def pandas_counted(address, rows):
    return to_sql(address, rows, preserve_rowcount=True)


@way("pandas", "`to_sql(method='multi')`, `preserve_rowcount`", **ONE, **framed)
def pandas_multi(address, rows):
    return to_sql(address, rows, "multi", preserve_rowcount=True)


@way("pandas", "`to_sql`, [with COPY](#pandas)", **ONE, **psycopg3)
def pandas_copy(address, rows):
    return to_sql(address, rows, recipes.copy_into_table)


# --- Django ------------------------------------------------------------------------------------------------------

django = {
    "raises": models.django_integrity_error,
    "shown": "django.db.IntegrityError",
    "sqlstate": lambda error: error.__cause__.sqlstate,
    "detail": lambda error: error.__cause__.diag.message_detail,
}


@way("Django", "`bulk_create(ignore_conflicts=True)`: primary keys", **SILENT, **django)
def django_ignore_conflicts(address, rows):
    with models.django_database(address) as using:
        orders = models.DjangoOrder.objects.using(using).bulk_create(
            [models.DjangoOrder(**row._asdict()) for row in rows], ignore_conflicts=True
        )
        assert {order.pk for order in orders} == {None}


@way("Django", "`bulk_create`, [key as `primary_key`](#django)", **SILENT, **django)
def django_keyed(address, rows):
    with models.django_database(address) as using:
        orders = models.DjangoKeyedOrder.objects.using(using).bulk_create(
            [models.DjangoKeyedOrder(**row._asdict()) for row in rows]
        )
        assert [order.pk for order in orders] == [row.order_id for row in rows]


# --- node-postgres -----------------------------------------------------------------------------------------------


def answer(command, address, text):
    """What a program of ours prints about a client outside of Python."""
    done = run(command, address, text)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    if "error" in seen:
        raise Refused(**seen["error"])
    return seen["reports"]


def node(address, rows, how):
    orders = [[row.order_id, str(row.amount), row.placed_at.isoformat(), row.note] for row in rows]
    return answer(["node", HERE / "insert.js"], address, json.dumps({"way": how, "orders": orders}))


javascript = {"raises": "DatabaseError"}


@way("node-postgres", "a query each: `rowCount`", **EACH, **javascript)
def node_each(address, rows):
    return node(address, rows, "each")


@way("node-postgres", "one query: `rowCount`", **ONE, **javascript)
def node_values(address, rows):
    return node(address, rows, "values")


@way("node-postgres", "`RETURNING`: `rows`", **RETURNED, **javascript)
def node_returning(address, rows):
    return node(address, rows, "returning")


@way("node-postgres", "pg-copy-streams: `rowCount`", **ONE, **javascript)
def node_copy(address, rows):
    return node(address, rows, "copy")


# --- TypeORM and Sequelize ---------------------------------------------------------------------------------------


def orm(address, rows, how, table="orders"):
    """What orm.js reports."""
    orders = [row._asdict() | {"amount": str(row.amount), "placed_at": row.placed_at.isoformat()} for row in rows]
    return answer(["node", HERE / "orm.js"], address, json.dumps({"way": how, "table": table, "orders": orders}))


@way("TypeORM", "`repository.insert`: `raw`", raises="QueryFailedError", **RETURNED)
def typeorm_insert(address, rows):
    return orm(address, rows, "typeormInsert")


@way("TypeORM", "query builder, `updateEntity(false)`", raises="QueryFailedError", **SILENT)
def typeorm_insert_alone(address, rows):
    return orm(address, rows, "typeormInsertAlone")


@way("Sequelize", "`bulkCreate(ignoreDuplicates, returning: false)`", raises="SequelizeDatabaseError", **SILENT)
def sequelize_ignore_duplicates(address, rows):
    return orm(address, rows, "sequelizeIgnoreDuplicates")


# --- JDBC --------------------------------------------------------------------------------------------------------

DRIVER = os.environ.get("PGI_JDBC", "/usr/share/java/postgresql.jar")
_classes = None


def compiled():
    """The folder of the compiled program."""
    global _classes
    if _classes is None:
        _classes = tempfile.TemporaryDirectory(prefix="pgi_java_")
        javac = ["javac", "-encoding", "UTF-8", "-cp", DRIVER, "-d", _classes.name, HERE / "Insert.java"]
        subprocess.run(javac, check=True, timeout=100)
    return Path(_classes.name)


def copy_text(rows):
    fields = ([row.order_id, str(row.amount), row.placed_at.isoformat(), row.note or r"\N"] for row in rows)
    return "".join("\t".join(row) + "\n" for row in fields)


def java(address, rows, how, table="orders", **options):
    given = {"user": address.user, "password": address.password, **options}
    url = f"jdbc:postgresql://{address.host}:{address.port}/{address.dbname}?" + "&".join(
        f"{name}={value}" for name, value in given.items()
    )
    # A client that sends one batch is better off without the compiler that long runs are made for.
    command = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", f"{compiled()}{os.pathsep}{DRIVER}"]
    return answer([*command, "Insert", how, url, table], address, copy_text(rows))


batched = {"raises": "BatchUpdateException"}
single = {"raises": "PSQLException"}


@way("JDBC", "`executeBatch`", **EACH, **batched)
def jdbc_batch(address, rows):
    return java(address, rows, "batch")


@way("JDBC", "`executeBatch` with autocommit", **EACH, **batched)
def jdbc_autocommit(address, rows):
    return java(address, rows, "autocommit")


# Rows are sent in statements of 128, 64, … 2, 1 of them. -2 is SUCCESS_NO_INFO: some of the statement's rows went in.
@way(
    "JDBC",
    "`executeBatch` with `reWriteBatchedInserts`",
    new=[-2, -2, -2, -2, 1],
    again=[0, 0, 0, 0, 0],
    half=[-2, -2, -2, -2, 1],
    repeated=[-2, -2, 0],
    **batched,
)
def jdbc_rewrite(address, rows):
    return java(address, rows, "batch", reWriteBatchedInserts="true")


@way("JDBC", "`executeBatch`: `getGeneratedKeys`", **RETURNED, **batched)
def jdbc_keys(address, rows):
    seen = java(address, rows, "keys")
    # The keys are fewer than the rows, but the counts say which rows they belong to.
    assert sum(seen["counts"]) == len(seen["ids"])
    return seen["ids"]


@way("JDBC", "`executeUpdate`", **EACH, **single)
def jdbc_each(address, rows):
    return java(address, rows, "each")


@way("JDBC", "`CopyManager.copyIn`", **ONE, **single)
def jdbc_copy(address, rows):
    return java(address, rows, "copy")
