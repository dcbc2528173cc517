"""Run one hostile input through the command line, and judge how it ended."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from abtest.cli import run_cli

UNTRUSTWORTHY = 4
"""A result with the reason why nobody should trust it: another table, not a broken one."""
ERRORS = frozenset({2, 3, 4, 5, 6})
"""Exit codes that say what is wrong with an input."""


@dataclass(frozen=True)
class Case:
    """An input that is wrong.

    Attributes:
        kind: What is wrong, for the table.
        name: Which input, unique within its kind.
        command: Words after ``abtest``; ``{}`` stands for the case's own folder.
        prepare: Writes the input into that folder.
        harmless: The input may also be accepted.
        writes: What the command would write, relative to the folder: may not be there afterwards.
    """

    kind: str
    name: str
    command: tuple[str, ...]
    prepare: Callable[[Path], None]
    harmless: bool = False
    writes: str = "out"


@dataclass(frozen=True)
class Verdict:
    """How a case ended: "refused", "harmless", "accepted", "traceback", "hung" or "left files"."""

    state: str
    message: str


class _Hung(BaseException):
    """A case took longer than it may."""


def judge(case: Case, folder: Path, seconds: int = 300) -> Verdict:
    """Prepare a case in a new folder, run its command there, and say how it ended."""
    folder.mkdir(parents=True)
    case.prepare(folder)
    words = [word.replace("{}", str(folder)) for word in case.command]
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            _inside(folder),
            _limited(seconds),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run_cli(words)
    except _Hung:
        return Verdict("hung", f"more than {seconds} s")
    except BaseException:
        return Verdict("traceback", traceback.format_exc().splitlines()[-1][:300])
    lines = [line for line in err.getvalue().splitlines() if line.strip()]
    said = lines[-1] if lines else ""
    if "Traceback" in err.getvalue():
        return Verdict("traceback", said)
    if code == 0:
        return Verdict("harmless" if case.harmless else "accepted", said)
    if code == UNTRUSTWORTHY and out.getvalue() and case.harmless:
        return Verdict("harmless", said)
    if code not in ERRORS or not said.startswith("abtest: "):
        return Verdict("traceback", f"exit code {code}: {said}")
    if (folder / case.writes).exists():
        return Verdict("left files", said)
    return Verdict("refused", said)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def copied(source: Path, name: str) -> Callable[[Path], Path]:
    """Copies ``source`` into a case's folder, under a name."""

    def copy(folder: Path) -> Path:
        target = folder / name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
        return target

    return copy


def always(content: bytes) -> Callable[[bytes], bytes]:
    """A change of a file's bytes into others, whatever they were."""
    return lambda _: content
