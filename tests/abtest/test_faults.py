"""A command that is killed leaves all or nothing, and ends with the same bytes when given again.

Twenty moments of longer commands, SIGTERM and workers: ``python -m benchmarks.faults``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Send = Callable[..., tuple[int, float]]

HEADER = (
    "user_id,video_id,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_log: Path) -> Path:
    """A log to import, a dataset to run on and a table to analyse."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "small").symlink_to(small_log)
    (folder / "csv").mkdir()
    rows = "".join(
        f"{i // 50},{i * 7 % 300},{1650470400000 + i * 1000},{i % 2},0,0,0,0,0,0,{i * 13 % 9000},"
        "9000,0,0,0,0,1\n"
        for i in range(1_000)
    )
    (folder / "csv" / "log_standard_4_08_to_4_21_1k.csv").write_text(HEADER + rows, "utf-8")
    table = "".join(f"{i},{'AB'[i % 2]},{i * 37 % 11}\n" for i in range(2_000))
    (folder / "t.csv").write_text("user_id,arm,x\n" + table, "utf-8")
    return folder


@pytest.fixture(scope="module")
def send(folder: Path) -> Iterator[Send]:
    """Run a command in a process of its own, killed after some seconds."""
    environment = {
        **os.environ,
        "ABTEST_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.abtest.forked"], cwd=folder, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        assert server.stdin is not None and server.stdout is not None

        def run(*words: str, after: float | None = None) -> tuple[int, float]:
            print(json.dumps([words, after]), file=server.stdin, flush=True)
            code, seconds = json.loads(server.stdout.readline())  # type: ignore[union-attr]
            return code, seconds

        yield run
        server.stdin.close()


def digests(path: Path, left_out: tuple[str, ...]) -> dict[str, str]:
    files = (p for p in sorted(path.rglob("*")) if p.is_file() and p.name not in left_out)
    return {
        str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
        if not p.name.endswith(".lock")
    }


IMPORT = ("data", "import", "csv")
ANALYZE = ("analyze", "t.csv", "-m", "x", "-c", "A", "--quiet", "--out")
RUN = ("run", "-t", "popular", "-c", "random", "--data", "small", "--users", "20", "--workers", "1",
       "--quiet", "--out")  # fmt: skip
DIFFERENT = ("timings.json", "run.log", "report.html", "plan.json")


@pytest.mark.parametrize(
    ("words", "moments"), [(IMPORT, 3), (ANALYZE, 2), (RUN, 1)], ids=["import", "analyze", "run"]
)
def test_a_killed_command_leaves_all_or_nothing(
    send: Send, folder: Path, words: tuple[str, ...], moments: int
) -> None:
    name = words[0]
    code, seconds = send(*words, f"{name}-whole")
    assert code in (0, 4)
    expected = digests(folder / f"{name}-whole", DIFFERENT)
    draw = random.Random(3)
    killed = 0
    for number in range(moments):
        out = f"{name}-{number}"
        code, _ = send(*words, out, after=draw.uniform(0.0, seconds))
        killed += code == -9
        again: tuple[str, ...] = (*words, out)
        if (folder / out).exists():
            # What is there is whole, or goes on.
            again = ("run", "--resume", out, "--quiet") if name == "run" else ()
            if again == ():
                assert digests(folder / out, DIFFERENT) == expected
                continue
        code, _ = send(*again)
        assert code in (0, 4)
        assert digests(folder / out, DIFFERENT) == expected
    assert killed > 0
