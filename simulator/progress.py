"""Tell how far a long step is, as a share of work whose amount is known before it starts."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[float], None]
"""``report(fraction_done)``, from 0 to 1, called now and then."""


_STEP = 0.001
"""Smaller advances are not reported: a bar shows none, and small pieces are many."""


class Meter:
    """Add up what has been done, in bytes, rows or pieces, and report its share.

    Args:
        report: Told the share; None for nobody.
        total: Of all that is to be done.
        first: Share of the whole step that was done before.
        last: Share of the whole step that is done when ``total`` is.
    """

    def __init__(
        self, report: Report | None, total: float, *, first: float = 0.0, last: float = 1.0
    ) -> None:
        self._report = report
        self._total = total
        self._first, self._last = first, last
        self._done = 0.0
        self._told = -1.0

    def add(self, amount: float) -> None:
        """So much more is done; what goes beyond the total is not shown."""
        self._done += amount
        self._tell(min(self._done / self._total, 1.0) if self._total > 0.0 else 0.0)

    def end(self) -> None:
        """All is done, whatever was counted."""
        self._tell(1.0)

    def _tell(self, share: float) -> None:
        if share < self._told + _STEP and not self._told < share == 1.0:
            return
        if self._report is not None:
            self._told = share
            self._report(self._first + (self._last - self._first) * share)


def split(report: Report | None, share: float) -> tuple[Report | None, Report | None]:
    """One report as two, for two steps that follow each other.

    Args:
        report: Told the share of both together.
        share: Of the first step in both.
    """
    if report is None:
        return None, None
    return lambda done: report(share * done), lambda done: report(share + (1.0 - share) * done)
