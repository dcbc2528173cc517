"""Run commands in processes that begin with everything loaded, so that they can be killed quickly.

Reads one JSON list a line: words of a command, and after how many seconds it is killed (null:
never). Answers with the exit code (negative: the signal) and the seconds that it took. Nothing has
run in this process before, so it has no threads, and forks of it are sound.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

# What the commands import when they run.
import abtest.analyze
import abtest.run.experiment  # noqa: F401
import simulator.logs.importers.run  # noqa: F401
from abtest.cli import run_cli
from tests.abtest.in_process import without_workers


def main() -> None:
    """Answer until the other side goes away."""
    without_workers(pytest.MonkeyPatch())
    for line in sys.stdin:
        words, after = json.loads(line)
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(run_cli(words))
        if after is not None:
            time.sleep(after)
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, time.monotonic() - started]), flush=True)


if __name__ == "__main__":
    main()
