"""Other versions of the extension beside the one that is installed.

sql/upgrade/ holds the install script of every earlier version, as it was, and what a database may hold in that version
(VERSION.state.sql).
"""

import contextlib
import re
from pathlib import Path

from support.project import ROOT
from support.server import pg_config

EXTENSIONS = Path(pg_config("sharedir")) / "extension"
UPGRADE = ROOT / "sql/upgrade"
EARLIER = {re.fullmatch(r"pg_idempotent--(.+)\.sql", path.name)[1]: path for path in UPGRADE.glob("pg_idempotent--*.sql")}


def installed_version():
    return re.search(r"default_version = '(.*)'", (EXTENSIONS / "pg_idempotent.control").read_text())[1]


@contextlib.contextmanager
def installable(scripts):
    """Puts scripts, by their file names, where the server finds them, until the end of the block."""
    places = {EXTENSIONS / name: text for name, text in scripts.items()}
    try:
        for place, text in places.items():
            place.write_text(text, encoding="utf-8")
            place.chmod(0o644)
        yield
    finally:
        for place in places:
            place.unlink(missing_ok=True)
