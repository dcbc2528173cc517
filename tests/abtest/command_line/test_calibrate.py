"""A calibration that is killed leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.abtest.command_line.child_processes import runs, wait_until

ARGUMENTS = ("--users", "50", "--worlds", "1", "--days", "1", "--ladder-users", "0")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_of_a_killed_calibration_end(tmp_path: Path) -> None:
    out = tmp_path / "fitted.toml"
    command = [sys.executable, "-m", "abtest", "world", "calibrate", "--world", "small"]
    started = subprocess.Popen(
        [*command, *ARGUMENTS, "--workers", "1", "--out", str(out)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    workers: list[int] = []
    try:
        # Something has been measured, so that a worker is there and busy.
        steps = tmp_path / "fitted.toml.steps.jsonl"
        wait_until(lambda: steps.exists() and steps.stat().st_size > 0, 120.0)
        family = _children(started.pid)
        workers = [p for p in family if "spawn_main" in _read(p, "cmdline")]
        assert workers
        for pid in {started.pid, *(_parent(worker) for worker in workers)}:
            os.kill(pid, signal.SIGKILL)
        started.wait(20.0)
        wait_until(lambda: not any(runs(worker) for worker in workers), 10.0)
    finally:
        for pid in [*workers, started.pid]:
            if runs(pid):
                os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    """All descendants."""
    parents = {int(p.name): _parent(int(p.name)) for p in Path("/proc").glob("[0-9]*")}
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def _parent(pid: int) -> int:
    text = _read(pid, "stat")
    return int(text.rsplit(")", 1)[1].split()[1]) if text else 0


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
