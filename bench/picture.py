#!/usr/bin/env python3
"""Draws the pictures of docs/ from tables: speed.svg from the table of speed in README.md, duplicates.svg and sessions.svg from
docs/benchmarks.md. Run it after the figures there have changed."""

import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"

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


def opening(title, height):
    """How a picture begins: as wide as all of them, and white."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="Helvetica, Arial, sans-serif" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]


def bars(table, headings=("new rows", "sent again")):
    """The table as SVG: two bars for each row, and a line where both are equally fast."""
    most = max(ratio for _, _, ratios in table for ratio in ratios)
    scale = (WIDTH - ZERO - 50) / most
    height = TOP + ROW * len(table) + 14
    parts = opening("Rows a second of pg_idempotent, as a ratio to the alternative", height)
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


# The same for curves: where the plane of the figures begins and ends.
LEFT, RIGHT, UPPER, LOWER = 50, 520, 40, 300
CURVES = ("#2f6f9f", "#d1782f", "#7fb069", "#8a5fa8", "#c0392b", "#111111", "#b8a038")


def curves_of(page, heading):
    """The table that follows a heading: the numbers at the head of its columns, and by row its name and its figures. A cell is
    empty, or begins with the figure."""
    section = page[page.index(f"\n{heading}\n") :]
    lines = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
             for line in section.splitlines() if line.startswith("|")]
    head = [re.search(r"\d+", cell) for cell in lines[0]]
    columns = [place for place, number in enumerate(head) if number]
    found = []
    for cells in lines[2:]:
        if len(cells) != len(head):
            break
        points = [(int(head[place][0]), float(cells[place].split()[0])) for place in columns if cells[place]]
        found.append((cells[0], points))
    return found


def curves(table, title, across, equal=None):
    """The table as SVG: a curve for each row. `across` says what the numbers below are; `equal` is where a line is drawn on
    which both are equally fast."""
    places = sorted({x for _, points in table for x, _ in points})
    most = max(y for _, points in table for _, y in points) * 1.1
    height = LOWER + 46

    def at(x, y):
        return LEFT + (RIGHT - LEFT) * (x - places[0]) / (places[-1] - places[0]), LOWER - (LOWER - UPPER) * y / most

    parts = [
        *opening(title, height),
        text(LEFT, 22, title),
        f'<path d="M{LEFT} {UPPER}V{LOWER}H{RIGHT}" fill="none" stroke="#222222"/>',
        text((LEFT + RIGHT) / 2, LOWER + 38, across, 12, "#222222", "middle"),
    ]
    parts += [text(round(at(x, 0)[0], 1), LOWER + 18, f"{x:g}", 11, "#222222", "middle") for x in places]
    step = next(step for step in (0.5, 50, 100, 200, 500) if most / step < 8)
    for mark in range(1, int(most / step) + 1):
        y = round(at(0, mark * step)[1], 1)
        parts += [f'<path d="M{LEFT} {y}H{RIGHT}" stroke="#e4e4e4"/>', text(LEFT - 6, y + 4, f"{mark * step:g}", 11, "#222222", "end")]
    if equal:
        y = round(at(0, equal)[1], 1)
        parts.append(f'<path d="M{LEFT} {y}H{RIGHT}" stroke="#222222" stroke-dasharray="3 3"/>')
    for place, ((name, points), colour) in enumerate(zip(table, CURVES[: len(table)], strict=True)):
        spots = [tuple(round(value, 1) for value in at(*point)) for point in points]
        path = "L".join(f"{x:g} {y:g}" for x, y in spots)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:g}" cy="{y:g}" r="3" fill="{colour}"/>' for x, y in spots]
        y = UPPER + 8 + place * 24
        parts += [f'<rect x="{RIGHT + 24}" y="{y}" width="12" height="12" fill="{colour}"/>', text(RIGHT + 42, y + 10, name, 11)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def pictures():
    """Each picture by the file that it belongs into."""
    readme, benchmarks = README.read_text(encoding="utf-8"), BENCHMARKS.read_text(encoding="utf-8")
    return {
        ROOT / "docs" / "speed.svg": bars(rows(readme)),
        ROOT / "docs" / "duplicates.svg": curves(
            curves_of(benchmarks, "## Functions") + [(f"guard, {name}", points) for name, points in curves_of(benchmarks, "## Guard")],
            "Rows a second, as a ratio to the alternative", "duplicates among the arriving rows, in percent", equal=1),
        ROOT / "docs" / "sessions.svg": curves(
            curves_of(benchmarks, "## Several sessions"),
            "Thousands of rows a second, together", "sessions"),
    }


if __name__ == "__main__":
    for file, picture in pictures().items():
        file.write_text(picture, encoding="utf-8")
        print(f"Drew {file.relative_to(ROOT)}")
