"""Let a process end with its parent, and tell what its control group says about memory.

Imports nothing large: it is needed before the libraries are loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from pathlib import Path
from typing import Any

_CGROUP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


_UNLIMITED = 2**60
"""Version 1 of control groups writes a number near 2^63 where there is no limit."""
_OWN_SCORE = Path("/proc/self/oom_score_adj")
_LARGEST_SCORE = 1_000
_POLL_SECONDS = 0.5


def out_of_memory_kills(cgroup: Path = _CGROUP, mount: Path = _MOUNT) -> int:
    """Processes of this control group killed by the kernel when memory ran out; 0 if unknown.

    Reads ``oom_kill`` of the group's ``memory.events`` (version 2 of control groups) or of its
    ``memory.oom_control`` (version 1).

    Args:
        cgroup: Where the kernel names this process's groups.
        mount: Where groups are mounted.
    """
    for folder, second in _folders(cgroup, mount):
        found = _count(folder / ("memory.events" if second else "memory.oom_control"))
        if found is not None:
            return found
    return 0


def group_limit(cgroup: Path = _CGROUP, mount: Path = _MOUNT) -> int | None:
    """Bytes that this control group may use (``memory.max`` or ``memory.limit_in_bytes``).

    None where there is no limit or none is known. Arguments as for `out_of_memory_kills`.
    """
    for folder, second in _folders(cgroup, mount):
        file = folder / ("memory.max" if second else "memory.limit_in_bytes")
        try:
            limit = int(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return limit if limit < _UNLIMITED else None
    return None


def killed_before_others(points: int, file: Path = _OWN_SCORE) -> None:
    """Ask the kernel to kill this process before others when memory runs out.

    A worker that dies leaves a parent that can say why. Without effect where the system has no
    such file.

    Args:
        points: Added to the score of this process; its children start with the sum.
        file: Where the score is.
    """
    with contextlib.suppress(OSError, ValueError):
        score = int(file.read_text(encoding="utf-8"))
        file.write_text(str(min(score + points, _LARGEST_SCORE)), encoding="utf-8")


def end_with(parent: int) -> None:
    """End this process when its parent is no more, also where nobody could tell it.

    Args:
        parent: Number of the process that started this one.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def watching(parent: int, module: str, name: str) -> Any:
    """An object without its state, in a process that ends with its parent from now on.

    A process that is made of a pickle starts here: what is large is imported afterwards.

    Args:
        parent: Number of the process that started this one.
        module: Where the object's class is.
        name: Of the class.
    """
    end_with(parent)
    kind = getattr(importlib.import_module(module), name)
    return kind.__new__(kind)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)


def _folders(cgroup: Path, mount: Path) -> list[tuple[Path, bool]]:
    """Where this process's group may be, and whether that is of version 2."""
    try:
        lines = cgroup.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        inside = path.strip("/")
        if controllers == "":
            found += [(mount / inside, True), (mount, True)]
        elif "memory" in controllers.split(","):
            found += [(mount / "memory" / inside, False), (mount / "memory", False)]
    return found


def _count(file: Path) -> int | None:
    try:
        fields = dict(line.split() for line in file.read_text(encoding="utf-8").splitlines())
        return int(fields["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None
