"""Refuse work that memory cannot hold, and tell whether the system has killed processes for it."""

from __future__ import annotations

from pathlib import Path

from abtest.errors import AbtestError, ExitCode
from policies.memory import memory_limit

_CGROUP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


class TooLarge(AbtestError):
    """What was asked for takes more memory than this machine has; nothing was begun."""

    code = ExitCode.RESOURCES


def require_room(needed: int, doing: str, hint: str) -> None:
    """Compare what a stage takes, as measured on smaller logs, with the memory that there is.

    Args:
        needed: Bytes.
        doing: The stage and what makes it large, as "describing 9,000 impressions".
        hint: What to do.

    Raises:
        TooLarge: the stage takes more memory than there is.
    """
    present = memory_limit()
    if needed > present:
        raise TooLarge(
            f"{doing} takes about {needed / 1e9:,.1f} GB of memory, and this machine has "
            f"{present / 1e9:,.1f} GB.",
            hint,
        )


def out_of_memory_kills(cgroup: Path = _CGROUP, mount: Path = _MOUNT) -> int:
    """Processes of this control group killed by the kernel when memory ran out; 0 if unknown.

    Reads ``oom_kill`` of the group's ``memory.events`` (version 2 of control groups) or of its
    ``memory.oom_control`` (version 1).

    Args:
        cgroup: Where the kernel names this process's groups.
        mount: Where groups are mounted.
    """
    try:
        lines = cgroup.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        inside = path.strip("/")
        if controllers == "":
            files = [mount / inside / "memory.events", mount / "memory.events"]
        elif "memory" in controllers.split(","):
            files = [
                mount / "memory" / inside / "memory.oom_control",
                mount / "memory" / "memory.oom_control",
            ]
        else:
            continue
        for file in files:
            found = _count(file)
            if found is not None:
                return found
    return 0


def _count(file: Path) -> int | None:
    try:
        fields = dict(line.split() for line in file.read_text(encoding="utf-8").splitlines())
        return int(fields["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None
