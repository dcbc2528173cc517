"""Refuse what memory cannot hold; tell how much there is, and what the kernel killed for it.

Imports nothing large: it is needed before the libraries are loaded.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from simulator.errors import TooLarge

_CGROUP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60
"""Version 1 of control groups writes a number near 2^63 where there is no limit."""


def require_room(needed: int, doing: str, hint: str) -> None:
    """Compare what a step takes, as measured on smaller logs, with the memory that there is.

    Args:
        needed: Bytes.
        doing: The step and what makes it large, as "describing 9,000 impressions".
        hint: What to do.

    Raises:
        TooLarge: the step takes more memory than there is.
    """
    present = memory_limit()
    if needed > present:
        raise TooLarge(
            f"{doing} takes about {needed / 1e9:,.1f} GB of memory, and this machine has "
            f"{present / 1e9:,.1f} GB.",
            hint,
        )


def memory_limit(cgroup: Path = _CGROUP, mount: Path = _MOUNT) -> int:
    """Bytes that this process may use: the machine's, its control groups' or its own limit.

    The smallest of the three. Arguments as for `group_limit`.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    of_group = group_limit(cgroup, mount)
    if of_group is not None:
        limits.append(of_group)
    return min(limits)


def group_limit(cgroup: Path = _CGROUP, mount: Path = _MOUNT) -> int | None:
    """Bytes that this process's control group may use, and every group that holds it.

    The smallest ``memory.max`` (version 2) or ``memory.limit_in_bytes`` (version 1) from its own
    group up to the root: the kernel enforces them all. None where there is no limit or none is
    known.

    Args:
        cgroup: Where the kernel names this process's groups.
        mount: Where groups are mounted.
    """
    limits = []
    for folder, second in _folders(cgroup, mount):
        file = folder / ("memory.max" if second else "memory.limit_in_bytes")
        try:
            limits.append(int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            # No such group, or "max".
            continue
    return min((limit for limit in limits if limit < _UNLIMITED), default=None)


def out_of_memory_kills(cgroup: Path = _CGROUP, mount: Path = _MOUNT) -> int:
    """Processes of this control group killed by the kernel when memory ran out; 0 if unknown.

    Reads ``oom_kill`` of the group's ``memory.events`` (version 2 of control groups) or of its
    ``memory.oom_control`` (version 1). Arguments as for `group_limit`.
    """
    for folder, second in _folders(cgroup, mount):
        found = _count(folder / ("memory.events" if second else "memory.oom_control"))
        if found is not None:
            return found
    return 0


def _folders(cgroup: Path, mount: Path) -> list[tuple[Path, bool]]:
    """This process's groups from its own up to the root, and whether each is of version 2."""
    try:
        lines = cgroup.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        second = controllers == ""
        if not second and "memory" not in controllers.split(","):
            continue
        root = mount if second else mount / "memory"
        # A group outside this container's view is named "/..": only the root is seen then.
        inside = Path(path.strip("/"))
        steps = [] if ".." in inside.parts else [inside, *inside.parents]
        found += [(root / step, second) for step in steps or [Path()]]
    return found


def _count(file: Path) -> int | None:
    try:
        fields = dict(line.split() for line in file.read_text(encoding="utf-8").splitlines())
        return int(fields["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None
