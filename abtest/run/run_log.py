"""Write run.log: stages, warnings, versions, and the full traceback of what went wrong."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from abtest.version import __version__

PACKAGES = ("torch", "numpy", "scipy", "polars", "transformers")


class RunLog:
    """Lines with their time; kept in memory until the run directory exists, then in a file.

    A run that is continued appends to its file.
    """

    def __init__(self) -> None:
        self._early: list[str] = []
        self._file: TextIO | None = None
        self.path: Path | None = None
        """The file, once there is one."""
        versions = ", ".join(f"{name} {installed(name)}" for name in PACKAGES)
        self.write(f"abtest {__version__}, python {platform.python_version()}, {versions}")
        self.write(f"{platform.platform()}, {platform.machine()}")
        self.write("command: " + " ".join(sys.argv))

    def write(self, text: str) -> None:
        """Add a text; its further lines are indented."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        body = text.rstrip().replace("\n", "\n    ")
        line = f"{now}Z {body}\n"
        if self._file is None:
            self._early.append(line)
            return
        try:
            self._file.write(line)
            self._file.flush()
        except OSError:
            # A full disk must not hide what it interrupts.
            self._file = None

    def failure(self, error: BaseException) -> None:
        """Add an error with its traceback and those of its causes, also in other processes."""
        self.write("".join(traceback.format_exception(error)))

    def keep_in(self, path: Path) -> None:
        """Write to this file from now on, also what came before."""
        self.path = path
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        early, self._early = self._early, []
        self._file.writelines(early)
        self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def installed(package: str) -> str:
    """Version of a package, or "missing"."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
