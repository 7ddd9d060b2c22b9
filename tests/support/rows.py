"""A source of very many rows, and whether a table holds exactly these."""

from support.queries import value


def create_source(conn, rows):
    """The table `source` of so many rows: a random-looking key `id`, `n` from 1 to the number of rows, and `note`."""
    conn.execute(
        "CREATE TABLE source AS SELECT md5(n::text)::uuid AS id, n, 'note ' || n AS note"
        f" FROM generate_series(1, {int(rows)}) n"
    )


def holds_the_source(conn, table="events"):
    """True if the table, whose `id` is unique, holds each row of `source` and no other."""
    return value(
        conn,
        f"""SELECT (SELECT count(*) FROM {table} JOIN source USING (id, n, note)) = (SELECT count(*) FROM source)
                AND (SELECT count(*) FROM {table}) = (SELECT count(*) FROM source)""",
    )
