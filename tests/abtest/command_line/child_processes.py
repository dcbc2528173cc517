"""Look at the processes that a test has started."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    """Fail where something has not become true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def runs(pid: int) -> bool:
    """Whether a process is there; a zombie that nobody has waited for has ended, too."""
    try:
        return "\tZ" not in Path(f"/proc/{pid}/status").read_text().split("State:", 1)[1][:3]
    except (FileNotFoundError, ProcessLookupError):
        return False
