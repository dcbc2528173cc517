"""Show messages and progress on standard error, and pass them on to a log.

Results go to standard output. Bars are drawn only on a terminal; piped, each stage is one line:
its title when it starts, and the seconds behind it when it ends.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TextIO

from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from abtest.terminal import encoding_of
from reports.formats import encodable, visible

TRAINING = "train"
"""Key of the stages that end with what they found: the best epoch and its validation metric."""


def colored(stream: TextIO) -> bool:
    """Whether to write in colour: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


class _Words(ProgressColumn):
    """A title, or what is done now; the part that is cut where the terminal is narrow."""

    def __init__(self, words: Callable[[Task], str]) -> None:
        super().__init__()
        self._words = words

    def render(self, task: Task) -> Text:
        """One line."""
        return Text(visible(self._words(task)), no_wrap=True, overflow="ellipsis")


def _columns() -> tuple[ProgressColumn, ...]:
    """Title, bar, share, seconds so far and left, and what is done now."""
    whole = partial(Column, no_wrap=True)
    return (
        _Words(lambda task: task.description),
        BarColumn(bar_width=12, table_column=whole(min_width=12)),
        TaskProgressColumn(table_column=whole()),
        TimeElapsedColumn(table_column=whole()),
        TimeRemainingColumn(compact=True, table_column=whole()),
        _Words(lambda task: str(task.fields["detail"])),
    )


class Stage:
    """One long step with a bar (on a terminal) and a measured duration."""

    def __init__(self, console: Console, title: str, progress: Progress | None) -> None:
        self._console = console
        self._title = title
        self._progress = progress
        self._task: TaskID | None = None
        self.told = ""
        if progress is not None:
            self._task = progress.add_task(title, total=1.0, detail="")

    def update(self, stage: str, fraction: float, detail: str = "") -> None:
        """Report progress; the signature fits `policies.base.Progress`."""
        self.told = detail
        if self._console.follower is not None:
            self._console.follower(stage, fraction, detail)
        if self._progress is not None and self._task is not None:
            shown = f"{stage}: {detail}" if stage and detail else stage or detail
            self._progress.update(self._task, completed=min(max(fraction, 0.0), 1.0), detail=shown)

    def report(self, fraction: float) -> None:
        """The same for those who tell nothing but the share that is done."""
        self.update("", fraction)

    def part(self, title: str) -> Stage:
        """Something that happens meanwhile, with a bar of its own under this one's."""
        return Stage(self._console, title, self._progress)


class Console:
    """Messages and progress on standard error; remembers how long each stage took.

    Args:
        stream: Where to write; standard error by default.
        quiet: Print nothing but warnings and errors.
    """

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._rich = RichConsole(file=self._stream, highlight=False, markup=False)
        self._animated = self._rich.is_terminal and not quiet
        self._quiet = quiet
        self._begun = ""
        """The title whose line waits for its seconds."""
        self.durations: dict[str, float] = {}
        self.listener: Callable[[str], None] | None = None
        """Told every message, also those that are not shown; for run.log."""
        self.follower: Callable[[str, float, str], None] | None = None
        """Told the progress of every stage, as `Stage.update` is."""

    def say(self, text: str) -> None:
        """A line of information."""
        self.log(text)
        if not self._quiet:
            self._print(text)

    def note(self, text: str) -> None:
        """A line that starts with ``note:``."""
        self.say(f"note: {text}")

    def warn(self, text: str) -> None:
        """A line that starts with ``warning:``; shown even when quiet."""
        self.log(f"warning: {text}")
        self._print(f"warning: {text}")

    def log(self, text: str) -> None:
        """A line for the log alone."""
        if self.listener is not None:
            self.listener(text)

    def _print(self, text: str, end: str = "\n") -> None:
        self._end_line()
        # Names of files and columns come from elsewhere: they may not steer the terminal.
        shown = encodable(visible(text, kept="\n\t"), encoding_of(self._stream))
        self._rich.print(shown, soft_wrap=True, end=end)

    def _end_line(self) -> None:
        """Other messages do not go behind a title."""
        if self._begun:
            self._begun = ""
            self._rich.print()

    @contextmanager
    def stage(self, key: str, title: str) -> Iterator[Stage]:
        """A long step: shows a bar or a line, and records its duration under ``key``."""
        started = time.perf_counter()
        shown: Stage | None = None
        self.log(f"{title} ...")
        try:
            if self._animated:
                with Progress(*_columns(), console=self._rich, transient=True) as progress:
                    shown = Stage(self, title, progress)
                    yield shown
            else:
                self._begin(title)
                shown = Stage(self, title, None)
                yield shown
        except BaseException:
            self._end_line()
            raise
        finally:
            seconds = time.perf_counter() - started
            self.durations[key] = self.durations.get(key, 0.0) + seconds
        found = f", {shown.told}" if key == TRAINING and shown.told else ""
        self._end(title, f"{seconds:.1f} s{found}")

    def _begin(self, title: str) -> None:
        if not self._quiet:
            self._print(f"{title} ...", end="")
            self._begun = title

    def _end(self, title: str, found: str) -> None:
        """The seconds, behind the title or, where something was said meanwhile, after it again."""
        self.log(f"{title}: {found}")
        if self._quiet:
            return
        if self._begun == title:
            self._begun = ""
            self._rich.print(f" {encodable(found, encoding_of(self._stream))}", soft_wrap=True)
        else:
            self._print(f"{title}: {found}")
