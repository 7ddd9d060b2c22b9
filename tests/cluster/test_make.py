"""The targets of the Makefile that packagers use: `make`, `make install`, `make uninstall`, `make installcheck`, `make dist`."""

import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pytest
from support.cluster import running
from support.project import ROOT
from support.queries import value
from support.server import PG_CONFIG, SERVER_MAJOR, pg_config
from support.versions import installed_version

LIBRARY = Path(pg_config("pkglibdir")).relative_to("/") / "pg_idempotent.so"
SHARE = Path(pg_config("sharedir")).relative_to("/") / "extension"


def make(*arguments, **environment):
    return subprocess.run(
        ["make", "--silent", *arguments],
        cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PG_CONFIG": PG_CONFIG, **environment},
    )


def files(directory):
    return {path.relative_to(directory) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def private_copy():
    """The server is one that scripts/install has built for, so that nothing is built again."""
    if ROOT / ".tools/servers" not in Path(PG_CONFIG).parents:
        pytest.skip("it would take a build")


@pytest.mark.timeout(900)
def test_install_and_uninstall_below_another_root(private_copy, tmp_path):
    installed = make("install", f"DESTDIR={tmp_path}")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert "Compiling" not in (ROOT / f".tools/log/install-{SERVER_MAJOR}.log").read_text(), "it was built already"
    found = files(tmp_path)
    assert LIBRARY in found and SHARE / "pg_idempotent.control" in found and SHARE / "pg_idempotent--0.1.0.sql" in found
    assert (tmp_path / LIBRARY).read_bytes() == (Path("/") / LIBRARY).read_bytes()
    assert os.stat(tmp_path / LIBRARY).st_mode & 0o777 == 0o755
    other = tmp_path / SHARE / "another.control"
    other.touch()
    removed = make("uninstall", f"DESTDIR={tmp_path}")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert files(tmp_path) == {other.relative_to(tmp_path)}


@pytest.mark.timeout(900)
def test_an_image_folder_is_used_where_it_is(private_copy):
    """With a script and a library that only this folder has, so that the server's own are none of it."""
    made = make("image")
    if SERVER_MAJOR < 18:
        assert made.returncode != 0 and "extension_control_path came with PostgreSQL 18" in made.stderr
        return
    assert made.returncode == 0, made.stdout + made.stderr
    with tempfile.TemporaryDirectory(prefix="pgi_image_") as folder:
        os.chmod(folder, 0o755)
        shutil.copytree(ROOT / "target/image", folder, dirs_exist_ok=True)
        Path(folder, f"share/extension/pg_idempotent--{installed_version()}--9.9.9.sql").write_text("-- nothing\n")
        settings = {"extension_control_path": f"{folder}/share:$system", "dynamic_library_path": f"{folder}/lib:$libdir"}
        with running(settings=settings) as cluster, cluster.create_database().connect() as conn:
            conn.execute("ALTER EXTENSION pg_idempotent UPDATE TO '9.9.9'")
            conn.execute("CREATE TABLE orders (id int PRIMARY KEY); SELECT idempotent_guard('orders'); INSERT INTO orders VALUES (1)")
            assert conn.execute("INSERT INTO orders VALUES (1)").rowcount == 0
            maps = Path(f"/proc/{value(conn, 'SELECT pg_backend_pid()')}/maps").read_text()
            assert f"{folder}/lib/pg_idempotent.so" in maps


def test_a_server_that_is_not_supported_is_told_which_are(tmp_path):
    old = tmp_path / "pg_config"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "PostgreSQL 14.3" || echo /nowhere\n')
    old.chmod(0o755)
    for target in ("all", "install", "uninstall", "installcheck"):
        refused = make(target, PG_CONFIG=str(old))
        assert refused.returncode != 0
        told = refused.stderr.splitlines()[0]
        assert told == "PostgreSQL 14 is not supported. pg_idempotent runs on PostgreSQL 15, 16, 17, 18."


def test_a_server_without_assertions_is_no_server_for_test_cassert(own_cluster):
    unnamed = make("test-cassert", PG_CONFIG="")
    assert unnamed.returncode != 0
    assert unnamed.stderr.splitlines()[0].startswith("Name the server that was built with assertions: ")
    with own_cluster.connect() as conn:
        if value(conn, "SHOW debug_assertions") == "on":
            pytest.skip("this server was built with assertions")
    refused = make("test-cassert")
    assert refused.returncode != 0 and refused.stdout == ""
    assert refused.stderr.splitlines()[0].endswith("was built without --enable-cassert. CONTRIBUTING.md says how to build one with it.")


def test_the_archive_is_what_is_committed():
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    made = make("dist")
    assert made.returncode == 0, made.stderr
    with zipfile.ZipFile(ROOT / made.stdout.strip()) as archive:
        names = set(archive.namelist())
    assert {"pg_idempotent-0.1.0/META.json", "pg_idempotent-0.1.0/Makefile", "pg_idempotent-0.1.0/src/lib.rs"} <= names
    assert all(name.startswith("pg_idempotent-0.1.0/") for name in names)


@pytest.mark.parametrize(
    "remote, web",
    [
        ("git@forge.example.org:team/pg_idempotent.git", "https://forge.example.org/team/pg_idempotent"),
        ("ssh://git@forge.example.org:2222/team/pg_idempotent", "https://forge.example.org/team/pg_idempotent"),
        ("https://forge.example.org/team/pg_idempotent.git", "https://forge.example.org/team/pg_idempotent"),
        ("https://name:secret@forge.example.org/team/pg_idempotent.git", None),
        ("/srv/git/pg_idempotent.git", None),
        (None, None),
    ],
)
def test_the_archive_says_where_the_repository_is(tmp_path, remote, web):
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    for name in ("scripts/dist", "scripts/lib.sh", "META.json"):
        shutil.copy2(ROOT / name, checkout / name)
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    commands = [["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "all"]]
    for command in [*commands, *([["remote", "add", "origin", remote]] if remote else [])]:
        subprocess.run(["git", *command], cwd=checkout, check=True)
    made = subprocess.run(["scripts/dist"], cwd=checkout, check=True, capture_output=True, text=True)
    assert ("names no repository" in made.stderr) == (web is None)
    with zipfile.ZipFile(checkout / made.stdout.strip()) as archive:
        resources = json.loads(archive.read("pg_idempotent-0.1.0/META.json")).get("resources")
    expected = {
        "homepage": web, "bugtracker": {"web": f"{web}/issues"},
        "repository": {"url": f"{web}.git", "web": web, "type": "git"},
    }
    assert resources == (expected if web else None)


def test_installcheck_uses_the_server_that_the_environment_names(own_cluster):
    """Three files of tests/sql stand for all: scripts/test runs the others in the same way."""
    with own_cluster.connect("postgres") as conn:
        conn.execute("ALTER ROLE postgres SET timezone = 'Asia/Kolkata'")
    checked = make("installcheck", "TESTS=keys lint objects", PGHOST=str(own_cluster.root), PGUSER="postgres")
    if "pg_regress is missing" in checked.stderr or "pg_regress does not start" in checked.stderr:
        pytest.skip("this server came without a pg_regress that works")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.splitlines()[-1] == "All 3 tests passed."
    failed = make("installcheck", "TESTS=keys", PGHOST=str(own_cluster.root), PGUSER="nobody_at_all")
    assert failed.returncode != 0
