"""The project's scripts and the user's environment: they start servers of their own, whatever that says."""

import os
import re
import subprocess

import pytest
from support.project import ROOT
from support.server import PG_CONFIG, SERVER_MAJOR

# What libpq, its programs and the server read from the environment, each with a value that leads astray.
ASTRAY = {
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGDATABASE": "nothing",
    "PGUSER": "nobody_at_all",
    "PGPASSWORD": "wrong",
    "PGPASSFILE": "/nowhere",
    "PGSERVICE": "none",
    "PGSERVICEFILE": "/nowhere",
    "PGSYSCONFDIR": "/nowhere",
    "PGOPTIONS": "-c no_such_setting=1",
    "PGAPPNAME": "another",
    "PGSSLMODE": "verify-full",
    "PGREQUIREPEER": "nobody",
    "PGCONNECT_TIMEOUT": "2",
    "PGCLIENTENCODING": "LATIN1",
    "PGTZ": "Mars/Olympus",
    "PGDATESTYLE": "Mayan",
    "PGGEQO": "off",
    "PGTARGETSESSIONATTRS": "standby",
    "PGDATA": "/nowhere",
    "PGCTLTIMEOUT": "1",
}


@pytest.mark.once
def test_the_environment_does_not_lead_scripts_astray():
    staged = subprocess.run(
        ["bash", "-c", 'source "$0"; staged_pg_config "$1"', str(ROOT / "scripts/lib.sh"), str(SERVER_MAJOR)],
        check=True, capture_output=True, text=True, env={**os.environ, "PG_CONFIG": PG_CONFIG},
    ).stdout.strip()
    if not os.access(staged, os.X_OK):
        pytest.skip("there is no private copy of this server")
    query = "SELECT current_user, current_database(), current_setting('port'), current_setting('client_encoding')"
    done = subprocess.run(
        [str(ROOT / "scripts/with-cluster"), str(SERVER_MAJOR), "psql", "-XAt", "-c", query],
        capture_output=True, text=True, env={**os.environ, **ASTRAY}, stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "postgres|postgres|5432|UTF8"


# These start no program of a server, or leave that to the others.
WITHOUT = {"portable", "run"}


@pytest.mark.once
def test_every_script_that_starts_a_program_of_the_server_forgets_the_environment():
    """scripts/lib.sh does that, so whoever takes it in is safe; `test_the_environment_does_not_lead_scripts_astray` tries one."""
    without = set()
    for folder in ("scripts", "demo", "demo/pipeline", "bench", ".ci"):
        for path in (ROOT / folder).iterdir():
            if path.is_file() and os.access(path, os.X_OK) and path.read_bytes().startswith(b"#!/usr/bin/env bash"):
                if not re.search(r'^source "?\S*lib\.sh"?$|^source "\$\(dirname "\$0"\)/\S*lib\.sh"$', path.read_text(), re.M):
                    without.add(path)
    assert {path.name for path in without} == WITHOUT
    for path in without:
        assert not re.search(r"psql|initdb|pg_ctl|createdb|libpq|PGHOST", path.read_text()), path
