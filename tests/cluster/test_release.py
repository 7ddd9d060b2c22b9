"""What the steps of a release in CONTRIBUTING.md rest on: one version everywhere, and snapshots that nobody replaces."""

import json
import re
import shutil
import subprocess

from support.project import ROOT
from support.queries import value
from support.versions import EARLIER, installed_version


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def numbers(version):
    """For comparing; a version with a suffix is before the one without."""
    plain, _, suffix = version.partition("-")
    return [int(n) for n in plain.split(".")], not suffix, suffix


def test_the_version_is_the_same_everywhere():
    version = re.search(r'^version = "(.*)"$', text("Cargo.toml"), re.M)[1]
    meta = json.loads(text("META.json"))
    assert meta["version"] == meta["provides"]["pg_idempotent"]["version"] == version
    assert re.search(r"^## (\S+) \((?:unreleased|\d{4}-\d\d-\d\d)\)$", text("CHANGELOG.md"), re.M)[1] == version
    assert re.match(r"pg-idempotent \((\S+)-\d+\) ", text("debian/changelog"))[1] == version
    assert installed_version() == version
    # What is released is not in testing any more.
    released = f"## {version} (unreleased)" not in text("CHANGELOG.md")
    assert meta["release_status"] == ("stable" if released else "testing")


def test_the_mark_names_a_version_up_to_this_one(conn):
    mark = value(conn, "SELECT idempotent.objects_version()")
    assert numbers(mark) <= numbers(installed_version())
    assert f'const OBJECTS: &str = "{mark}";' in text("src/version.rs")
    for version, path in EARLIER.items():
        assert numbers(version) < numbers(installed_version())
        found = re.search(r"^AS \$\$SELECT '(.*)'\$\$;$", path.read_text(encoding="utf-8"), re.M)
        assert found is None or numbers(found[1]) <= numbers(version)


def test_a_released_version_is_frozen_once(tmp_path):
    (tmp_path / "sql/upgrade").mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    frozen = tmp_path / "sql/upgrade/pg_idempotent--0.1.0.sql"
    frozen.write_text("-- as it was released\n")
    done = subprocess.run([tmp_path / "scripts/freeze", "0.1.0"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "sql/upgrade has version 0.1.0 already, and it was released.\n")
    assert frozen.read_text() == "-- as it was released\n"
