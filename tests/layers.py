"""Checks the layers of src/: a room names no room above it, and the files of a room import each other in no cycle.

The order of the rooms, lowest first, is the table at the head of src/lib.rs; docs/architecture.md repeats it. The check
reads text, not types: it follows the paths that begin with `crate`, `super` or the name of a module, through re-exports to
the file that defines the name. A call of a method names no path, so it is not seen; tests do not count. Prints each line
that breaks a rule, and exits with 1 if one does.

    layers.py            checks
    layers.py --report   also prints the strongly connected components of the rooms, and of the files
"""

import re
import sys
from collections import defaultdict
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src"

# Files that may import each other, and why. An entry that is not needed any more is an error.
RECURSIONS = {
    ("digest/encoding", "digest/row_encoder"): "a row consists of values, and a value may be a row",
    ("pg/value/reading", "pg/value/reading/*"): "arrays and rows are read member by member, and a member may be one",
    ("guard/row", "guard/row/*"): "a guard is extended by files, one for each step that it takes",
    ("target", "target/*"): "a target is gathered by files that extend it, from a relation that is part of it",
}

TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(?P<hashes>\#*)".*?"(?P=hashes)|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\[^']+|[^'\\])'""",
    re.DOTALL | re.VERBOSE,
)
USE = re.compile(r"^[ \t]*(pub(?:\([^)]*\))? )?use ([^;]+);", re.MULTILINE)
PATH = re.compile(r"(?<![\w:.])((?:crate|super|self|[a-z_]\w*)(?:::\w+)+)")
TESTS = re.compile(r"^#\[cfg\((?:any\()?test\b[^\n]*\]\n(?:#\[[^\n]*\]\n)*mod \w+ \{.*?^\}", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"\bmod \w+ \{")


def blank(match):
    """What stands in place of a comment, a text or tests: as many lines."""
    return re.sub(r"[^\n]", " ", match.group())


def leaves(tree, prefix=()):
    """The paths of a tree of imports, as (segments, the name in scope)."""
    tree = tree.strip()
    if "{" in tree:
        head, inner = tree.split("{", 1)
        prefix += tuple(part for part in head.strip().split("::") if part)
        depth, start = 0, 0
        inner = inner.rsplit("}", 1)[0] + ","
        for i, c in enumerate(inner):
            depth += (c == "{") - (c == "}")
            if c == "," and depth == 0:
                if inner[start:i].strip():
                    yield from leaves(inner[start:i], prefix)
                start = i + 1
        return
    path, _, alias = tree.partition(" as ")
    segments = prefix + tuple(path.strip().split("::"))
    if segments[-1] == "self":
        segments = segments[:-1]
    yield segments, alias.strip() or segments[-1]


class Module:
    """One file: its path, its module's path, and its text without comments, texts and tests."""

    def __init__(self, file):
        self.file = file
        parts = file.relative_to(SRC).with_suffix("").parts
        self.path = () if parts == ("lib",) else parts[:-1] if parts[-1] == "mod" else parts
        self.room = self.path[0] if self.path else "lib"
        self.text = TESTS.sub(blank, TOKEN.sub(blank, file.read_text(encoding="utf-8")))
        self.imports = []
        for match in USE.finditer(self.text):
            for segments, name in leaves(match[2]):
                self.imports.append((match.start(2), segments, name, bool(match[1])))
        self.body = USE.sub(blank, self.text)

    def depth(self, position):
        """How many modules written inside this file are open there."""
        depth = 0
        for match in INLINE.finditer(self.text, 0, position):
            level = 1
            for i in range(match.end(), position):
                level += (self.text[i] == "{") - (self.text[i] == "}")
                if level == 0:
                    break
            depth += level > 0
        return depth


class Source:
    """All files, and what they import from each other."""

    def __init__(self):
        files = sorted(SRC.rglob("*.rs"))
        self.modules = {m.path: m for m in map(Module, files)}
        # A private import is one for the files below, too.
        self.exported = {
            m.path: {name: segments for _, segments, name, _ in m.imports} for m in self.modules.values()
        }
        # From a file to a file: the lines that say so.
        self.edges = defaultdict(list)
        for module in self.modules.values():
            if module.path not in ((), ("unit_tests",)):
                self.read(module)

    def resolve(self, module, segments, depth, seen=()):
        """The module that defines what a path names; None if it is not of this crate."""
        here, rest = list(module.path), list(segments)
        if rest[0] == "crate":
            here, rest = [], rest[1:]
        elif rest[0] in ("self", "super"):
            while rest and rest[0] in ("self", "super"):
                if rest[0] == "super":
                    if depth:
                        depth -= 1
                    else:
                        here.pop()
                rest = rest[1:]
        elif (*here, rest[0]) not in self.modules:
            return None
        for i, segment in enumerate(rest):
            if (*here, segment) in self.modules:
                here.append(segment)
                continue
            exported = self.exported[tuple(here)].get(segment)
            if exported and (tuple(here), segment) not in seen:
                through = self.modules[tuple(here)]
                found = self.resolve(through, (*exported, *rest[i + 1 :]), 0, (*seen, (tuple(here), segment)))
                if found:
                    return found
            break
        return self.modules[tuple(here)]

    def read(self, module):
        names = set(re.findall(r"(?<![\w:.])\w+", module.body))
        scope = {}
        for position, segments, name, public in module.imports:
            depth = module.depth(position)
            found = self.resolve(module, segments, depth)
            if found:
                scope[name] = segments
                # A re-export is no use; what this file says itself by the name is one.
                if not public or name in names:
                    self.note(module, found, position, segments)
        for match in PATH.finditer(module.body):
            segments = tuple(match[1].split("::"))
            if segments[0] in scope:
                segments = scope[segments[0]] + segments[1:]
            found = self.resolve(module, segments, module.depth(match.start()))
            if found:
                self.note(module, found, match.start(), segments)

    def note(self, module, found, position, segments):
        if found is not module and found.path:
            line = module.text.count("\n", 0, position) + 1
            where = f"src/{module.file.relative_to(SRC)}:{line}: {'::'.join(segments)}"
            self.edges[module, found].append(where)


def components(edges):
    """The strongly connected components of more than one node, the largest first."""
    graph = defaultdict(set)
    for a, b in edges:
        graph[a].add(b)
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    sys.setrecursionlimit(10_000)
    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found, key=len, reverse=True)


def name_of(module):
    return str(module.file.relative_to(SRC).with_suffix("")).removesuffix("/mod")


def order_of_rooms(errors):
    """The rooms as lib.rs lists them. They must be its modules, and be listed in the same order in the documentation."""
    lib = (SRC / "lib.rs").read_text(encoding="utf-8")
    order = re.findall(r"^//! \| `(\w+)` \|", lib, re.MULTILINE)
    modules = set(re.findall(r"^mod (\w+);", lib, re.MULTILINE)) - {"unit_tests"}
    for room in sorted(modules ^ set(order)):
        errors.append(f"src/lib.rs: {room} is in the table or among the modules, not in both")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    if re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) != order:
        errors.append("docs/architecture.md: the table of rooms has another order than that of src/lib.rs")
    return order


def check_rooms(source, order, errors):
    height = {room: i for i, room in enumerate(order)}
    for (a, b), lines in source.edges.items():
        if a.room in height and b.room in height and height[b.room] > height[a.room]:
            errors += [f"{line} is of room {b.room}, which is above {a.room}" for line in lines]


def check_files(source, errors):
    said = {(name_of(a), name_of(b)): lines for (a, b), lines in source.edges.items() if a.room == b.room}
    needed = set()
    for cycle in components(said):
        allowed = next((e for e in RECURSIONS if all(any(fnmatch(file, part) for part in e) for file in cycle)), None)
        if allowed:
            needed.add(allowed)
            continue
        errors.append(f"{', '.join(cycle)} import each other:")
        errors += [f"    {said[edge][0]}" for edge in sorted(said) if set(edge) <= set(cycle)]
    errors += [f"RECURSIONS: {', '.join(entry)} are in no cycle any more" for entry in RECURSIONS if entry not in needed]


def report(source):
    rooms = {(a.room, b.room) for a, b in source.edges if a.room != b.room}
    files = {(name_of(a), name_of(b)) for a, b in source.edges}
    for what, edges in (("rooms", rooms), ("files", files)):
        found = components(edges)
        print(f"strongly connected components of {what}: {len(found)}, of {[len(cycle) for cycle in found]}")
        for cycle in found:
            print("   ", *cycle)


def main():
    source, errors = Source(), []
    order = order_of_rooms(errors)
    # What reads no imports would find no fault.
    if len(source.edges) < len(order):
        errors.append(f"only {len(source.edges)} imports were found")
    check_rooms(source, order, errors)
    check_files(source, errors)
    if "--report" in sys.argv:
        report(source)
    print(*errors or [f"{len(order)} rooms, and none names one above it"], sep="\n")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main())
