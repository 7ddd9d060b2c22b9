"""Where the project's files are, and the sizes of the longer tests."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def size(name, default):
    """The number in this environment variable, or the default."""
    return int(os.environ.get(name, default))


SEED = size("PGI_SEED", 20131103)
