"""Tell whether the system has killed processes for want of memory."""

from __future__ import annotations

from pathlib import Path

_CGROUP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


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
