"""The package as a house: rooms, what they hold, and which imports which; read from the code alone.

`python tests/helpers/house.py` draws it anew as `book/_assets/house.svg`.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path
from textwrap import wrap
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "card"
PICTURE = ROOT / "book" / "_assets" / "house.svg"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

GREEN, ORANGE, INK, FAINT, CORE, OTHER, PAGE = (
    "#00805d", "#c85200", "#1b2733", "#45505b", "#e3f3ee", "#fbece1", "#ffffff",
)  # fmt: skip
WIDTH, COLUMN, GAP, PAD, LINE = 748, 340, 40, 14, 19
NEEDS_TORCH = {"training", "profiling"}


def room(module):
    """Top-level part of the package that a module belongs to; empty for the package's own init."""
    return module.split(".")[1].removesuffix("__init__")


def imported(path):
    """Modules of the package that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            taken = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= taken if taken <= FILES.keys() else {node.module, *taken}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    inits = {f"{name}.__init__" for name in names}
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return ((names | inits) & FILES.keys()) - {"card.__init__", own}


IMPORTS = {module: imported(path) for module, path in FILES.items()}


def rooms():
    """Rooms that each room imports, those of the package's entrance apart, lowest floor first."""
    found = {room(module): set() for module in FILES}
    for module, names in IMPORTS.items():
        found[room(module)] |= {room(name) for name in names} - {room(module)}
    del found[""], found["__main__"]
    return {name: found[name] for name in TopologicalSorter(found).static_order()}


def arrows(house):
    """Imports that do not follow from others: from a room to the highest rooms below it."""

    def below(name):
        return set().union(*({other} | below(other) for other in house[name]))

    for name, others in house.items():
        for other in others:
            if not any(other in below(between) for between in others):
                yield name, other


def contents(name):
    """What a room is for, by its docstring, and the names of its modules."""
    folder = PACKAGE / name
    init = folder / "__init__.py" if folder.is_dir() else PACKAGE / f"{name}.py"
    told = (
        ast.get_docstring(ast.parse(init.read_text("utf-8")))
        .split("\n\n")[0]
        .replace("\n", " ")
        .replace("`", "")
    )
    modules = [p.stem for p in sorted(folder.glob("[!_]*.py")) if not p.stem.endswith("_pb2")]
    parts = [f"{p.parent.name}/" for p in sorted(folder.glob("*/__init__.py"))]
    return told, modules + parts


def floors(house):
    """Height of each room: one above the highest room that it imports."""
    level = {}
    for name, others in house.items():
        level[name] = 1 + max((level[other] for other in others), default=-1)
    return level


def drawing():
    """The house as SVG: the core on the left from the ground up, what stands beside it right."""
    house = rooms()
    beside = {"channel", *NEEDS_TORCH}
    level, place, parts = floors(house), {}, []
    top = PAD
    for floor in sorted(set(level.values()), reverse=True):
        tall = 0
        for name in sorted(n for n in house if level[n] == floor):
            left = PAD + (COLUMN + GAP if name in beside else 0)
            told, modules = contents(name)
            lines = [*wrap(told, 42), *wrap("\u00a0· ".join(modules), 42)]
            height = PAD + LINE * (1 + len(lines)) + PAD // 2
            place[name] = left, top, height
            tall = max(tall, height)
            parts.append(_box(name, left, top, height, lines, len(wrap(told, 42))))
        top += tall + GAP
    pairs = sorted(arrows(house), key=lambda pair: (-level[pair[0]], pair))
    across = [pair for pair in pairs if place[pair[0]][0] != place[pair[1]][0]]
    lanes = {pair: GAP * (len(across) - n) // (len(across) + 1) for n, pair in enumerate(across)}
    paths = [_arrow(place[one], place[other], lanes.get((one, other), 0)) for one, other in pairs]
    tall = top - GAP + PAD
    size = f'width="{WIDTH}" height="{tall}" viewBox="0 0 {WIDTH} {tall}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" '
            'font-family="system-ui, -apple-system, Segoe UI, Roboto, Arial, sans-serif">',
            "  <title>The rooms of the package and what each imports</title>",
            f'  <rect x="0" y="0" width="{WIDTH}" height="{tall}" rx="12" fill="{PAGE}"/>',
            *paths,
            *parts,
            "</svg>",
        ]
    )


def _box(name, left, top, height, lines, told):
    """A room: its name, its purpose, and its modules in a fainter shade."""
    fill, edge = (OTHER, ORANGE) if name in NEEDS_TORCH else (CORE, GREEN)
    rows = [
        f'  <rect x="{left}" y="{top}" width="{COLUMN}" height="{height}" rx="8" fill="{fill}" '
        f'stroke="{edge}" stroke-width="1.5"/>',
        f'  <text x="{left + PAD}" y="{top + PAD + 8}" font-size="17" font-weight="bold" '
        f'fill="{INK}">{name}</text>',
    ]
    for number, line in enumerate(lines, 1):
        shade = INK if number <= told else FAINT
        rows.append(
            f'  <text x="{left + PAD}" y="{top + PAD + 8 + LINE * number}" font-size="14" '
            f'fill="{shade}">{escape(line)}</text>'
        )
    return "\n".join(rows)


def _arrow(one, other, lane):
    """Line from a room to one that it imports: straight down, or along a lane between columns."""
    (left, top, height), (to_left, to_top, to_height) = one, other
    if left == to_left:
        x, end = left + COLUMN // 2, to_top
        line, head = f"M {x} {top + height} V {end - 7}", "l -5 -8 h 10 Z"
        start = f"M {x} {end}"
    else:
        side = 1 if left < to_left else -1
        x, y = left + (COLUMN if side > 0 else 0), top + 3 * height // 4
        end, to_y = to_left + (0 if side > 0 else COLUMN), to_top + to_height // 4
        line = f"M {x} {y} H {PAD + COLUMN + lane} V {to_y} H {end - 7 * side}"
        start, head = f"M {end} {to_y}", f"l {-8 * side} -5 v 10 Z"
    return (
        f'  <path d="{line}" fill="none" stroke="{FAINT}" stroke-width="1.5"/>\n'
        f'  <path d="{start} {head}" fill="{FAINT}"/>'
    )


if __name__ == "__main__":
    from card.figures.image_files import themed

    PICTURE.write_text(themed(drawing()) + "\n", encoding="utf-8")
