"""Races driven by pgbench, whose clients meet more often than sessions of Python threads."""

import re

from support.cluster import at_level
from support.logs import Log
from support.server import BINDIR


def pgbench(db, scripts, *options, settings="", level=None, timeout=None):
    """Run scripts, (weight, text) each, in a database. The result has `returncode`, `stdout`, and `states`: the SQLSTATEs
    of the errors that the server's log has of that time. `settings` are those of the sessions, as PGOPTIONS has them."""
    cluster = db.cluster
    command = [BINDIR / "pgbench", "-n", "-j", 2, *options]
    for number, (weight, text) in enumerate(scripts):
        script = cluster.root / f"{db.name}_{number}.pgbench"
        script.write_text(text)
        script.chmod(0o644)
        command += ["-f", f"{script}@{weight}"]
    if level:
        settings = f"{settings} {at_level(level)}"
    log = Log(cluster)
    done = cluster.tool(*command, db.name, check=False, options=settings, timeout=timeout)
    done.states = log.new_states()
    return done


def failed_transactions(done):
    """How many transactions were given up, after as many tries as they had."""
    return int(re.search(r"^number of failed transactions: (\d+) ", done.stdout, re.M)[1])
