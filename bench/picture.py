#!/usr/bin/env python3
"""Draws docs/speed.svg from the table of speed in README.md. Run it after the figures there have changed."""

import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "speed.svg"

# In pixels: where the names and the bars begin, from the left, and what a row of the table takes.
NAMES = 8
ZERO = 360
WIDTH = 780
BAR = 13
ROW = 50
TOP = 46
COLOURS = ("#2f6f9f", "#7fb069")


def rows(readme):
    """The rows of the table: what is measured, beside what, and its ratios."""
    section = readme[readme.index("\n## Speed\n") :]
    found = []
    for line in section.splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) == 4 and all(re.fullmatch(r"[\d.]+", cell) for cell in cells[2:]):
            found.append((cells[0], cells[1], [float(cell) for cell in cells[2:]]))
        elif found:
            break
    return found


def text(x, y, words, size=12, colour="#222222", anchor="start"):
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'


def drawn(table, headings=("new rows", "sent again")):
    """The picture as SVG: two bars for each row, and a line where both are equally fast."""
    most = max(ratio for _, _, ratios in table for ratio in ratios)
    scale = (WIDTH - ZERO - 50) / most
    height = TOP + ROW * len(table) + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" role="img">',
        "<title>Rows a second of pg_idempotent, as a ratio to the alternative</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for place, (heading, colour) in enumerate(zip(headings, COLOURS)):
        x = ZERO + 190 + place * 110
        parts += [f'<rect x="{x}" y="9" width="12" height="12" fill="{colour}"/>', text(x + 18, 19, heading)]
    figures = []
    for place, (ours, other, ratios) in enumerate(table):
        y = TOP + place * ROW
        parts += [text(NAMES, y + 11, ours), text(NAMES, y + 26, other, 11, "#777777")]
        for bar, (ratio, colour) in enumerate(zip(ratios, COLOURS)):
            top = y + bar * (BAR + 3)
            parts.append(f'<rect x="{ZERO}" y="{top}" width="{ratio * scale:.1f}" height="{BAR}" fill="{colour}"/>')
            figures.append(text(round(ZERO + ratio * scale + 5, 1), top + 11, f"{ratio:.2f}", 11))
    line = round(ZERO + scale, 1)
    parts += [
        f'<line x1="{line}" y1="{TOP - 8}" x2="{line}" y2="{height - 8}" stroke="#222222" stroke-dasharray="3 3"/>',
        text(line, TOP - 14, "equally fast", 11, "#222222", "middle"),
        # Above the line, with a rim that keeps them readable on it.
        '<g stroke="#ffffff" stroke-width="3" paint-order="stroke">',
        *figures,
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn(rows((ROOT / "README.md").read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"Drew {PICTURE}")
