"""The server under test: its programs, its version, the user that it runs as.

PG_CONFIG   the pg_config of the server, the extension installed in it (default: the one in PATH)
PGI_RUN_AS  the user that servers run as when the tests run as root (default: postgres)
"""

import functools
import grp
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

PG_CONFIG = os.environ.get("PG_CONFIG", "pg_config")
RUN_AS = os.environ.get("PGI_RUN_AS", "postgres")


def pg_config(what):
    return subprocess.run([PG_CONFIG, f"--{what}"], check=True, capture_output=True, text=True).stdout.strip()


BINDIR = Path(pg_config("bindir"))
SERVER_MAJOR = int(re.search(r"\d+", pg_config("version")).group())


@functools.cache
def program(name):
    """The path of a client program: the server's own, or the one in PATH where its own does not start."""
    own = BINDIR / name
    try:
        subprocess.run([own, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        own = shutil.which(name)
        assert own, f"there is no {name} here"
    return str(own)


def unprivileged():
    """Keyword arguments that make subprocess run something as the server's user, if the tests run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam(RUN_AS)
    groups = [g.gr_gid for g in grp.getgrall() if RUN_AS in g.gr_mem]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}
