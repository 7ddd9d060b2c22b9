"""The page of the documentation about clients."""

from support.project import ROOT

PAGE = ROOT / "docs" / "clients.md"


def recipe(what):
    """The SQL of the documentation's page that does this."""
    text = PAGE.read_text(encoding="utf-8")
    found = [block.split("```")[0] for block in text.split("```sql\n")[1:] if what in block.split("```")[0]]
    assert len(found) == 1, f"{PAGE.name} has {len(found)} blocks with {what}"
    return found[0]
