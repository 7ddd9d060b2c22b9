"""A query that returns one value, and what is often asked."""


def value(conn, sql, *parameters):
    """The one value that a query returns."""
    (only,) = conn.execute(sql, parameters or None).fetchone().values()
    return only


def advisory_locks(conn):
    """How many advisory locks the server has. The extension's are among them."""
    return value(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")


# The locks of keys that guarded statements hold, in all databases.
KEY_LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 29"
