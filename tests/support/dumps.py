"""Dumps and restored databases."""

from support.server import BINDIR, program


def dump(db, *options, user="postgres", form="sql"):
    """The file of a dump of this database by pg_dump."""
    file = db.cluster.root / f"{db.name}_{user}.{form}"
    db.cluster.tool(BINDIR / "pg_dump", "-U", user, *options, "-f", file, db.name)
    return file


def restore(file, cluster, name, *options, user="postgres", check=True):
    """Run a dump in SQL, or in the custom format with `options` of pg_restore. The first error ends it; unless `check` is
    false, it is one too many."""
    if file.read_bytes().startswith(b"PGDMP"):
        return cluster.tool(BINDIR / "pg_restore", "-e", "-U", user, *options, "-d", name, file, check=check)
    assert not options, "psql has other options"
    psql = [program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    return cluster.tool(*psql, "-U", user, "-d", name, "-f", file, check=check)


def empty_database(cluster, name, owner="postgres", extension=False):
    """Create a database that has nothing of template1 in it, the extension only if that is asked for. Returns its name."""
    with cluster.connect() as conn:
        conn.execute(f'CREATE DATABASE {name} TEMPLATE template0 OWNER "{owner}"')
    if extension:
        with cluster.connect(name) as conn:
            conn.execute("CREATE EXTENSION pg_idempotent")
    return name


def dumped_and_restored(db):
    """The name of a database beside this one, made of a dump of it."""
    file = dump(db)
    name = empty_database(db.cluster, f"{db.name}_restored")
    restore(file, db.cluster, name)
    return name
