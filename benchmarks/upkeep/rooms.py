"""Count what a newcomer must find their way through: files per folder, and who imports whom.

    python -m benchmarks.upkeep.rooms
    python -m benchmarks.upkeep.rooms --root OTHER_CHECKOUT --folders

A room is a folder with Python files. An arrow leads from a room to another one that it imports
from; a pair both ways is two rooms that import each other. Tests and benchmarks do not count.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("abtest", "reports", "lsvcr", "policies", "simulator")


def python_files(root: Path) -> list[Path]:
    """The packages' Python files, relative to the root."""
    return sorted(
        file.relative_to(root) for name in PACKAGES for file in (root / name).rglob("*.py")
    )


def imported_modules(source: str) -> Iterator[str]:
    """Names of modules, and of what may be one, that a file imports from the packages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in PACKAGES)


def arrows(root: Path, files: list[Path]) -> set[tuple[str, str]]:
    """Pairs of rooms, the first of which imports from the second."""
    room_of = {
        ".".join(file.with_suffix("").parts).removesuffix(".__init__"): str(file.parent)
        for file in files
    }
    found = set()
    for file in files:
        here = str(file.parent)
        for module in imported_modules((root / file).read_text(encoding="utf-8")):
            there = room_of.get(module)
            if there is not None and there != here:
                found.add((here, there))
    return found


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2])
    parser.add_argument("--folders", action="store_true", help="also the files of each room")
    options = parser.parse_args()
    files = python_files(options.root)
    rooms = Counter(str(file.parent) for file in files)
    found = arrows(options.root, files)
    both = sum((b, a) in found for a, b in found) // 2
    largest, most = rooms.most_common(1)[0]
    print(
        f"{len(files)} files in {len(rooms)} rooms (largest: {largest}, {most} files), "
        f"{len(found)} arrows, {both} pairs both ways"
    )
    if options.folders:
        for room, count in sorted(rooms.items()):
            print(f"{count:4d}  {room}")


if __name__ == "__main__":
    main()
