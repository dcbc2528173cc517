"""Start the command line; where the system limits memory, say so when that was too little.

Libraries that get no memory end the process (abort, or exit with code 1) without a word of ours,
and the kernel kills what exceeds the limit of a container. So under a limit of the address space
(``ulimit -v``) or of the control group a second process waits for the one that works and turns such
an end into a message and an exit code. Nothing large is imported before.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from types import FrameType
from typing import NoReturn

from abtest.processes import killed_before_others
from simulator.memory import group_limit, out_of_memory_kills

SMALLEST = 1_500_000_000
"""Bytes of address space that the libraries need to load: with less some end the process, and
others wait for ever."""
_RESOURCES = 6
_POINTS = 200
"""By which the kernel prefers to kill the process that works."""
_PR_SET_PDEATHSIG = 1
_NO_MEMORY = ("cannot allocate memory", "failed to map segment", "can't start new thread")


def main() -> None:
    """Entry point of ``abtest`` and ``python -m abtest``."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        of_group = group_limit()
        if of_group is None:
            _leave(_run())
        sys.exit(_watched(of_group, group=True))
    if limit < SMALLEST:
        sys.exit(_too_little(limit, f"Starting takes {SMALLEST / 1e9:g} GB. "))
    sys.exit(_watched(limit))


def _leave(code: int) -> NoReturn:
    """End, also where a policy has left threads that go on."""
    from abtest.run.arms.isolation import threads_left

    if threads_left():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    from abtest.cli import run_cli

    return run_cli()


def _watched(limit: int, *, group: bool = False) -> int:
    """The exit code of a process that runs the command, or what its end means.

    Args:
        limit: Bytes.
        group: Whether it is the limit of a control group: then the kernel counts what it killed.
    """
    told, tell = os.pipe()
    parent = os.getpid()
    kills = out_of_memory_kills()
    child = os.fork()
    if child == 0:
        os.close(told)
        _end_with(parent)
        killed_before_others(_POINTS)
        _leave(_report(tell))
    os.close(tell)

    def forward(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    # Ctrl-C reaches both: the child says what is kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, forward)
    ended = os.waitpid(child, 0)[1]
    if os.read(told, 1):
        return os.waitstatus_to_exitcode(ended)
    silent = os.WIFEXITED(ended) and os.WEXITSTATUS(ended) == _RESOURCES
    if group and (silent or out_of_memory_kills() > kills):
        return _too_little(limit, "", "its control group")
    if os.WIFSIGNALED(ended):
        number = os.WTERMSIG(ended)
        if group or number in (signal.SIGTERM, signal.SIGINT):
            if number != signal.SIGKILL:
                signal.signal(number, signal.SIG_DFL)
            os.kill(parent, number)
    return os.waitstatus_to_exitcode(ended) if group else _too_little(limit, "")


def _report(tell: int) -> int:
    """Run the command; tell the other process that this one ends as it wants to."""
    try:
        code = _run()
    except BaseException as error:
        text = str(error).lower()
        if isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY):
            return _RESOURCES
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(tell, b"1")
    return code


def _end_with(parent: int) -> None:
    """Ask the system to end this process when its parent ends, where it can."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        return
    if os.getppid() != parent:
        os._exit(1)


def _too_little(limit: int, why: str, source: str = "ulimit -v") -> int:
    print(
        f"abtest: out of memory. {why}This process may use {limit / 1e9:.1f} GB ({source}). "
        "Allow more, or use fewer --workers or fewer --users",
        file=sys.stderr,
    )
    return _RESOURCES


if __name__ == "__main__":
    main()
