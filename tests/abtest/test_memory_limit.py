"""Under a limit of memory every end is a message and exit code 6, or what the command says."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
import abtest.__main__ as start
def work():
    {body}
start._run = work
start.main()
"""


def started(body: str, limit: int = 2_000_000_000) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body, limit=limit)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "os.abort()",  # as Rust does
        "os._exit(1)",  # as OpenBLAS does
        "raise MemoryError",
        "bytearray(10**10)",
        "raise ImportError('x.so: failed to map segment from shared object')",
        "os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_whatever_ends_a_process_without_memory_is_said(body: str) -> None:
    ended = started(body)
    assert ended.returncode == 6
    assert ended.stderr == (
        "abtest: out of memory. This process may use 2.0 GB (ulimit -v). "
        "Allow more, or use fewer --workers or fewer --users\n"
    )


def test_what_the_command_says_is_kept() -> None:
    for code in (0, 3, 130):
        assert started(f"print('done'); return {code}").returncode == code
    bug = started("raise ValueError('ours')")
    assert bug.returncode == 1
    assert "ValueError: ours" in bug.stderr and "out of memory" not in bug.stderr
    assert started("os.kill(os.getppid(), signal.SIGTERM); signal.pause()").returncode == (
        -signal.SIGTERM
    )


def test_too_little_to_start_is_said_before_anything_is_loaded() -> None:
    ended = started("raise AssertionError", limit=400_000_000)
    assert ended.returncode == 6
    assert "Starting takes 1.5 GB. This process may use 0.4 GB (ulimit -v)" in ended.stderr
    assert ended.stderr.count("\n") == 1


GROUP = """
import os, resource, signal, sys
import abtest.__main__ as start
kills = iter({kills})
start.memory_limit = lambda: 500_000_000
start.out_of_memory_kills = lambda: next(kills)
def work():
    {body}
start._run = work
start.main()
"""


@pytest.mark.parametrize(
    ("body", "kills"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", [3, 4]),
        ("raise MemoryError", [3, 3]),
    ],
)
def test_what_the_limit_of_a_container_ends_is_said(body: str, kills: list[int]) -> None:
    ended = in_group(body, kills)
    assert ended.returncode == 6
    assert ended.stderr == (
        "abtest: out of memory. This process may use 0.5 GB (its control group). "
        "Allow more, or use fewer --workers or fewer --users\n"
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),  # by somebody else
        ("os._exit(7)", 7),
        ("return 3", 3),
        ("print('done', file=sys.stderr); return 0", 0),
        ("os.kill(os.getppid(), signal.SIGTERM); signal.pause()", -signal.SIGTERM),
    ],
)
def test_in_a_container_other_ends_stay_what_they_are(body: str, code: int) -> None:
    ended = in_group(body, [3, 3])
    assert ended.returncode == code
    assert "memory" not in ended.stderr


def in_group(body: str, kills: list[int]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GROUP.format(body=body, kills=kills)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
