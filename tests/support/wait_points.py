"""The wait points of the source, at which the test build holds sessions (src/pg/schedule)."""

import re

from support.project import ROOT


def wait_points():
    """Their names."""
    source = (file.read_text(encoding="utf-8") for file in sorted((ROOT / "src").rglob("*.rs")))
    return {name for text in source for name in re.findall(r'wait_at!\("([^"]+)"\)', text)}
