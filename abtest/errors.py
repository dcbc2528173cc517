"""Define the application's errors and map every room's errors to exit codes."""

from __future__ import annotations

import errno
from enum import IntEnum
from pathlib import Path

from polars.exceptions import PolarsError

from policies.errors import CheckpointError, PolicyContractError, PolicyError, UnknownPolicy
from reports.plan import PlanError
from reports.results import ResultFormatError
from reports.statistics.errors import StatisticsError
from reports.verdict.rule import RuleError
from simulator.errors import DataError, SimulatorError
from simulator.replay import ScorerError

STOPPED = "stopped. The same command goes on from what is kept: trainings from their last epoch."


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
        case CheckpointError():
            return ExitCode.DATA, str(error)
        case PolicyContractError() | PolicyError() | ScorerError():
            return ExitCode.POLICY, str(error)
        case DataError() | SimulatorError() | StatisticsError() | ResultFormatError():
            return ExitCode.DATA, str(error)
        case PolarsError():
            return ExitCode.DATA, f"a table cannot be read: {str(error).splitlines()[0]}"
        case KeyboardInterrupt():
            return ExitCode.INTERRUPTED, STOPPED
        case MemoryError():
            return ExitCode.RESOURCES, "out of memory. Use fewer --workers or fewer --users"
        case OSError() if error.errno == errno.ENOSPC:
            return ExitCode.RESOURCES, f"no space left on the disk of {error.filename or 'the run'}"
        case PermissionError() | FileNotFoundError() | NotADirectoryError() | IsADirectoryError():
            where = Path(error.filename) if error.filename else "a file"
            return ExitCode.USAGE, f"cannot use {where}: {(error.strerror or 'refused').lower()}"
        case _:
            return None
