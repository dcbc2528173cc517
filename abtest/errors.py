"""Define the application's errors and map every room's errors to exit codes."""

from __future__ import annotations

import errno
import os
from enum import IntEnum

from polars.exceptions import PolarsError

from policies.errors import (
    CheckpointError,
    PolicyContractError,
    PolicyError,
    UnknownPolicy,
    UnsuitedLog,
)
from reports.plan import PlanError
from reports.results import ResultFormatError
from reports.statistics.errors import StatisticsError
from reports.verdict.rule import RuleError
from simulator.errors import DataError, SimulatorError, TooLarge
from simulator.replay import ScorerError

STOPPED = (
    "stopped. The same command starts again with what it has kept, if anything: trainings go on "
    "from their last epoch."
)


class ExitCode(IntEnum):
    """What the shell sees; documented in the README."""

    COMPLETE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    UNTRUSTWORTHY = 4
    POLICY = 5
    RESOURCES = 6
    FAIL_ON = 10
    INTERRUPTED = 130


class AbtestError(Exception):
    """An error with a remedy.

    Attributes:
        problem: One sentence naming what is wrong and where.
        hint: What to do next; may be empty.
        code: The exit code.
    """

    code = ExitCode.BUG

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem} {hint}".strip())
        self.problem = problem
        self.hint = hint


class UsageError(AbtestError):
    """The command line or the configuration is wrong; nothing was run."""

    code = ExitCode.USAGE


class RunDataError(AbtestError):
    """A run directory or a cache is damaged or belongs to another configuration."""

    code = ExitCode.DATA


class Interrupted(AbtestError):
    """The person pressed Ctrl-C; what was finished is kept."""

    code = ExitCode.INTERRUPTED


def describe_error(error: BaseException) -> tuple[ExitCode, str] | None:
    """The exit code and message of an expected error, None for what must be our bug."""
    match error:
        case AbtestError():
            return error.code, str(error)
        case UnknownPolicy() | PlanError() | RuleError():
            return ExitCode.USAGE, str(error)
        case CheckpointError() | UnsuitedLog():
            return ExitCode.DATA, str(error)
        case PolicyContractError() | PolicyError() | ScorerError():
            return ExitCode.POLICY, str(error)
        case TooLarge():
            return ExitCode.RESOURCES, str(error)
        case DataError() | SimulatorError() | StatisticsError() | ResultFormatError():
            return ExitCode.DATA, str(error)
        case PolarsError() if says_full(error):
            return (
                ExitCode.RESOURCES,
                f"no space left on the disk that a table was written to{_ROOM}",
            )
        case PolarsError():
            return ExitCode.DATA, f"a table cannot be read: {str(error).splitlines()[0]}"
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED, STOPPED
        case _ if out_of_memory(error):
            return ExitCode.RESOURCES, "out of memory. Use fewer --workers or fewer --users"
        case OSError() if error.errno in _FULL:
            return (
                ExitCode.RESOURCES,
                f"no space left on the disk of {error.filename or 'the run'}{_ROOM}",
            )
        case OSError() if error.errno in _FAILING:
            return ExitCode.RESOURCES, f"cannot use {_where(error)}: {_why(error)}"
        case OSError() if error.errno is not None:
            return ExitCode.USAGE, f"cannot use {_where(error)}: {_why(error)}"
        case _:
            return None


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, in the words of whichever library said so."""
    match error:
        case MemoryError():
            return True
        case OSError() if error.errno == errno.ENOMEM:
            return True
        case ImportError() | RuntimeError() | OSError():
            text = str(error).lower()
            return any(sign in text for sign in _NO_MEMORY)
        case _:
            return False


def says_full(error: BaseException) -> bool:
    """Whether a library says in its own words that the disk is full."""
    return isinstance(error, PolarsError) and "no space left" in str(error).lower()


_ROOM = ". Free some and give the command again; a run goes on: abtest run --resume RUN"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FAILING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN)
_NO_MEMORY = (
    "can't allocate memory",  # torch
    "cannot allocate memory",  # the C library
    "failed to map segment",  # the dynamic linker
    "can't start new thread",
)


def _why(error: OSError) -> str:
    return (error.strerror or os.strerror(error.errno or 0)).lower()


def _where(error: OSError) -> str:
    if not error.filename:
        return "a file"
    name = os.fsdecode(error.filename) if not isinstance(error.filename, int) else "a file"
    shown = name.encode("utf-8", "backslashreplace").decode("utf-8")
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:40]}...{shown[-40:]}"


_LONGEST_NAME = 300
