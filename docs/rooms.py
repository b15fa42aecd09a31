"""Renew the table of rooms in docs/architecture.md: files, lines and upward imports, at a commit and now.

python docs/rooms.py 35b740f
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"

# From the top down: a room may import those below it. The other modules of arsbench/ itself come last.
ROOMS = ("cli", "suite", "pages", "analysis", "report", "training", "tasks", "models", "optim", "data")
ROOMS += ("environment", "ops", "config", "runs")
TOP_LEVEL = "arsbench/*.py"
# Where modules of the version before stand today.
MOVED = {
    "checkpoint": "training",
    "evaluation": "training",
    **dict.fromkeys(("records", "record_checks", "run_paths", "lock", "json_files"), "runs"),
}
SIDE_BY_SIDE = [{"models", "optim", "data"}]  # these do not import one another


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def room_of(module: str) -> str:
    """The room of a dotted module or of a path with dots: "arsbench.optim.ars" is in "optim"."""
    package, _, rest = module.partition(".")
    if package in ("cli", "arsbench_cli"):
        return "cli"
    name = rest.partition(".")[0]
    name = MOVED.get(name, name)
    return name if name in ROOMS else TOP_LEVEL


def is_upward(importer: str, imported: str) -> bool:
    if importer == imported:
        return False
    places = [*ROOMS, TOP_LEVEL]
    apart = any({importer, imported} <= rooms for rooms in SIDE_BY_SIDE)
    return apart or places.index(imported) < places.index(importer)


def imports(source: str) -> set[str]:
    """The modules of arsbench that a file imports by their full names."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module for module in modules if module.partition(".")[0] in ("arsbench", "arsbench_cli")}


def measure(paths: list[str], read: Callable[[str], str]) -> dict[str, Counter[str]]:
    """Files, lines and upward imports of each room."""
    rooms = {room: Counter() for room in [*ROOMS, TOP_LEVEL]}
    for path in paths:
        source = read(path)
        room = room_of(path.removesuffix(".py").replace("/", "."))
        rooms[room]["files"] += 1
        rooms[room]["lines"] += source.count("\n")
        # `__main__` starts the command line: it is in the layer of cli, wherever its file lies.
        if not path.endswith("__main__.py"):
            rooms[room]["upward"] += sum(is_upward(room, room_of(module)) for module in imports(source))
    return rooms


def python_files(listing: str) -> list[str]:
    return [path for path in listing.splitlines() if path.endswith(".py")]


def main() -> None:
    commit = sys.argv[1]
    listing = git("ls-tree", "-r", "--name-only", commit, "arsbench", "cli")
    before = measure(python_files(listing), lambda path: git("show", f"{commit}:{path}"))
    listing = git("ls-files", "--cached", "--others", "--exclude-standard", "arsbench", "cli")
    present = [path for path in python_files(listing) if (ROOT / path).exists()]
    now = measure(present, lambda path: (ROOT / path).read_text(encoding="utf-8"))

    columns = [(when, key) for key in ("files", "lines", "upward") for when in (before, now)]
    rows = [[f"`{room}`", *(str(when[room][key]) for when, key in columns)] for room in before]
    rows.append(["all", *(str(sum(counts[key] for counts in when.values())) for when, key in columns)])
    header = ["room"]
    header += [f"{what}, {when}" for what in ("files", "lines", "upward imports") for when in (commit, "now")]
    table = "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
    page = PAGE.read_text(encoding="utf-8")
    page = re.sub(r"(<!-- rooms -->\n).*?(<!-- /rooms -->)", rf"\g<1>{table}\n\g<2>", page, flags=re.DOTALL)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
