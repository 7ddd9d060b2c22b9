"""Text that is not UTF-8: what differs in the server stays different here, and comes back byte for byte.

A database in SQL_ASCII takes any bytes; one in WIN1252 takes bytes that its encoding has no character for. Queries are
sent, and texts received, as bytes: no client of any encoding has a part in it.
"""

import psycopg
import pytest

# By encoding, two texts that only their bytes tell apart.
PAIRS = [
    ("SQL_ASCII", b"Caf\xe9", b"Caf\xe8"),
    # A character of Unicode's last private ones, and a byte: nothing stands for two.
    ("SQL_ASCII", b"Caf\xf4\x8f\xbf\xa9", b"Caf\xe9"),
    # The byte that stands in place of what is no UTF-8, elsewhere.
    ("SQL_ASCII", b"Caf\xef\xbf\xbd", b"Caf\xe9"),
    ("LATIN1", b"Caf\xe9", b"Caf\xe8"),
    ("WIN1252", b"Caf\x81", b"Caf\x8d"),
    ("WIN1252", b"\xe9\x81", b"\xe9\x8d"),
    ("EUC_JP", b"\xb7\xd9", b"\xb7\xda"),
    # One character, in two ways to write it: converted to UTF-8 they are the same.
    ("EUC_JP", b"\xad\xe2", b"\x8f\xa2\xf1"),
    ("UTF8", b"Caf\xf4\x8f\xbf\xa9", b"Caf\xf4\x8f\xbf\xa8"),
]


class Bytes:
    """A session that sends and receives bytes."""

    def __init__(self, conn):
        self.conn = conn

    def run(self, sql):
        """The rows of a statement, their values as the bytes that came."""
        result = self.conn.pgconn.exec_(sql)
        if result.status not in (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK):
            raise Refused(result)
        return [tuple(result.get_value(row, i) for i in range(result.nfields)) for row in range(result.ntuples)]


class Refused(Exception):
    def __init__(self, result):
        field = psycopg.pq.DiagnosticField
        self.sqlstate = result.error_field(field.SQLSTATE)
        self.message = result.error_field(field.MESSAGE_PRIMARY)
        self.detail = result.error_field(field.MESSAGE_DETAIL) or b""
        self.column = result.error_field(field.COLUMN_NAME)
        super().__init__(self.sqlstate, self.message, self.detail)


def refused(sqlstate, bytes_, sql):
    with pytest.raises(Refused) as caught:
        bytes_.run(sql)
    assert caught.value.sqlstate == sqlstate, caught.value
    return caught.value


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1].hex()}-{pair[2].hex()}")
def session(request, cluster):
    encoding, one, other = request.param
    name = f"enc_{encoding}_{one.hex()}_{other.hex()}".lower()
    with cluster.connect() as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {name}")
        conn.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with cluster.connect(name) as conn:
            conn.pgconn.exec_(b"SET client_encoding = " + encoding.encode())
            conn.execute("CREATE EXTENSION pg_idempotent")
            yield Bytes(conn), one, other
    finally:
        with cluster.connect() as conn:
            conn.execute(f"DROP DATABASE {name}")


def test_commands_arguments_and_keys_of_requests(session):
    run, one, other = session
    call = b"SELECT response::text, replayed FROM idempotent_execute('%s', 'SELECT ''%s'' AS v, $1::text AS a', '[\"%s\"]')"
    first = run.run(call % (one, one, one))
    assert first == [(b'[{"a": "%s", "v": "%s"}]' % (one, one), b"f")]
    assert run.run(call % (one, one, one)) == [(first[0][0], b"t")]
    caught = refused(b"23I02", run, call % (one, other, one))
    assert caught.message == b'request key "%s" was used with another request' % one
    assert caught.detail == b"The requests differ in command."
    refused(b"23I02", run, call % (one, one, other))
    # Another key is another request.
    assert run.run(call % (other, one, one))[0][1] == b"f"
    begin = b"SELECT status FROM idempotent_request_begin('k', '{\"%s\": 1}', scope => '%s')"
    assert run.run(begin % (one, one)) == [(b"started",)]
    assert run.run(begin % (one, other)) == [(b"started",)]
    # In the order that jsonb has its names in.
    names = sorted((one, other), key=lambda name: (len(name), name))
    assert refused(b"23I02", run, begin % (other, one)).detail == b"The requests differ in %s, %s." % tuple(names)
    advance = b"SELECT idempotent_request_advance('k', (SELECT max(attempt) FROM idempotent.request_records), '%s', scope => '%s')"
    run.run(advance % (one, other))
    assert run.run(b"SELECT recovery_point FROM idempotent.request_records WHERE recovery_point <> ''") == [(one,)]


def test_versions_datasets_and_partitions_of_runs(session):
    run, one, other = session
    begin = b"SELECT decision, run_id FROM idempotent_run_begin('%s', '%s', '%s')"
    ((_, first),) = run.run(begin % (one, one, one))
    # These are other partitions, and another dataset: nothing is in progress there.
    assert run.run(begin % (one, other, one))[0][0] == b"run"
    assert run.run(begin % (other, one, one))[0][0] == b"run"
    run.run(b"SELECT idempotent_run_publish(%s, 1, '%s')" % (first, one))
    # Once more with the same it does nothing; another output is another end.
    run.run(b"SELECT idempotent_run_publish(%s, 1, '%s')" % (first, one))
    refused(b"55000", run, b"SELECT idempotent_run_publish(%s, 1, '%s')" % (first, other))
    assert run.run(begin % (one, one, one))[0][0] == b"skip"
    # An input that was not seen yet is not skipped.
    ((decision, second),) = run.run(begin % (one, one, other))
    assert decision == b"run"
    run.run(b"SELECT idempotent_run_fail(%s, '%s')" % (second, other))
    assert run.run(b"SELECT error FROM idempotent.pipeline_run_records WHERE status = 'failed'") == [(other,)]


def test_names_of_tables_and_columns(session):
    run, one, other = session
    ddl = b'CREATE TABLE "%s" (id int PRIMARY KEY, "%s" text, "%s" text)'
    run.run(ddl % (one, one, other))
    run.run(ddl % (other, one, other))
    insert = b"SELECT outcome, stored::text FROM idempotent_insert('\"%s\"', '{\"id\": 1, \"%s\": \"%s\"}')"
    assert run.run(insert % (one, one, one))[0][0] == b"inserted"
    assert run.run(insert % (one, one, one))[0][0] == b"duplicate"
    assert run.run(b'SELECT "%s", "%s" FROM "%s"' % (one, other, one)) == [(one, None)]
    caught = refused(b"23I01", run, insert % (one, one, other))
    assert caught.column == one
    assert caught.detail == b'Key (id)=(1) is stored with "%s"=%s; the payload has "%s"=%s.' % (one, one, one, other)
    assert run.run(b'SELECT count(*) FROM "%s"' % other) == [(b"0",)]
    # Options name columns, and one is not the other.
    ignoring = insert[:-1] + b", ignore => '{\"%s\"}')"
    assert run.run(ignoring % (one, one, other, one))[0][0] == b"duplicate"
    refused(b"23I01", run, ignoring % (one, one, other, other))


def test_guards_sources_merges_and_loads(session):
    run, one, other = session
    for name in (one, other, b"source"):
        run.run(b'CREATE TABLE "%s" (id int PRIMARY KEY, "%s" text, "%s" text)' % (name, one, other))
    run.run(b"SELECT idempotent_guard('\"%s\"', ignore => '{\"%s\"}')" % (one, other))
    assert run.run(b"SELECT ignore = '{\"%s\"}', compared = '{\"%s\"}' FROM idempotent.guards" % (other, one)) == [(b"t", b"t")]
    row = b"INSERT INTO \"%s\" VALUES (1, '%s', '%s')"
    run.run(row % (one, one, one))
    run.run(row % (one, one, other))
    caught = refused(b"23I01", run, row % (one, other, one))
    assert b'"%s"=%s; the payload has "%s"=%s' % (one, one, one, other) in caught.detail
    assert run.run(b'SELECT "%s" FROM "%s"' % (other, one)) == [(one,)]
    run.run(row % (b"source", one, other))
    run.run(b"CALL idempotent_load('\"%s\"', 'source')" % other)
    assert run.run(b"SELECT target FROM idempotent.loads") == [(b'public."%s"' % other,)]
    run.run(b"UPDATE source SET \"%s\" = '%s'" % (one, other))
    merged = b"SELECT updated, unchanged FROM idempotent_merge('\"%s\"', 'source')"
    assert run.run(merged % other) == [(b"1", b"0")]
    assert run.run(merged % other) == [(b"0", b"1")]
    assert run.run(b'SELECT "%s", "%s" FROM "%s"' % (one, other, other)) == [(other, other)]
    overwritten = b"SELECT deleted, inserted FROM idempotent_overwrite('\"%s\"', 'source', '{\"%s\": \"%s\"}')"
    assert run.run(overwritten % (other, one, other)) == [(b"0", b"0")]
    refused(b"23514", run, overwritten % (other, one, one))
    deviations = b"SELECT status FROM idempotent_reconcile('\"%s\"', 'source')"
    assert run.run(deviations % other) == []
    assert run.run(deviations % one) == [(b"different",)]
    for name in (one, other):
        run.run(b"SELECT * FROM idempotent_lint('\"%s\"')" % name)


def test_conflicts_are_kept_and_resolved(session):
    run, one, other = session
    run.run(b'CREATE TABLE "%s" ("%s" text PRIMARY KEY, "%s" text)' % (one, one, other))
    insert = b"SELECT outcome FROM idempotent_insert('\"%s\"', '{\"%s\": \"k\", \"%s\": \"%s\"}', on_conflict => 'quarantine')"
    assert run.run(insert % (one, one, other, one)) == [(b"inserted",)]
    assert run.run(insert % (one, one, other, other)) == [(b"conflict",)]
    assert run.run(insert % (one, one, other, other)) == [(b"conflict",)]
    assert run.run(b"SELECT payload->>'%s' FROM idempotent.conflicts" % other) == [(other,)]
    run.run(b"SELECT idempotent_resolve(id, 'apply_payload') FROM idempotent.conflicts")
    assert run.run(b'SELECT "%s" FROM "%s"' % (other, one)) == [(other,)]
