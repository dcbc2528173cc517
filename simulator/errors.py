"""Define the simulator's errors, which the application maps to exit codes."""

from __future__ import annotations


class SimulatorError(Exception):
    """Base class: what is wrong, where, and what to do next.

    Attributes:
        problem: One sentence naming what is wrong and where (file, line, row, column).
        hint: The next command or the remedy; may be empty.
    """

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(f"{problem} {hint}".strip())
        self.problem = problem
        self.hint = hint


class DataError(SimulatorError):
    """Bad, missing or inconsistent data (a log, a dataset directory, an option about them)."""


class MissingPackage(SimulatorError, ImportError):
    """An optional package is needed for this and not installed."""


class TooLarge(SimulatorError):
    """What was asked for takes more memory than this process may use; nothing was begun."""
