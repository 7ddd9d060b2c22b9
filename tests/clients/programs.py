"""Clients that are programs, and where the files beside this one are."""

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(command, address, text="", timeout=60, **environment):
    return subprocess.run(
        [str(part) for part in command],
        input=text,
        env=address.environment(**environment),
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
    )
