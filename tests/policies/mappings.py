"""What of a mapped file a process holds for itself alone."""

from __future__ import annotations

from pathlib import Path

SMAPS = Path("/proc/self/smaps")


def held_alone(file: Path) -> tuple[int, int]:
    """kB of this process's mappings of a file: all, and what it has copied of it."""
    size = alone = 0
    inside = False
    for line in SMAPS.read_text().splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):
            inside = rest.endswith(str(file))
        elif inside and first == "Size:":
            size += int(rest.split()[0])
        elif inside and first == "Anonymous:":
            alone += int(rest.split()[0])
    return size, alone
