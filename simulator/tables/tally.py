"""Count what reading a table did: rows read, rejected and repaired, with examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from simulator.errors import DataError

BadRows = Literal["fail", "skip"]
_SHOWN = 3


@dataclass
class Tally:
    """Counts of one table.

    Attributes:
        bad_rows: "fail" raises when a file with bad rows has been read, "skip" leaves them out.
        read: Rows, bad ones included.
        rejected: Bad rows.
        examples: The first few of them: file, line, what is wrong.
        repaired: Column and reason, such as "play_time_ms: negative to 0", to the number of
            values of the source that were changed.
        told: Told bytes of files, as they lie on disk, whenever some more have been read.
    """

    bad_rows: BadRows = "fail"
    read: int = 0
    rejected: int = 0
    examples: list[str] = field(default_factory=list)
    repaired: dict[str, int] = field(default_factory=dict)
    told: Callable[[float], None] | None = field(default=None, repr=False, compare=False)

    @property
    def full(self) -> bool:
        """Whether there are examples enough."""
        return len(self.examples) >= _SHOWN

    def tell(self, size: float) -> None:
        """So many more bytes of a file have been read."""
        if self.told is not None:
            self.told(size)

    def reject(self, count: int, examples: list[str]) -> None:
        """Count bad rows; the first of them are named."""
        self.rejected += count
        self.examples += examples[: _SHOWN - len(self.examples)]

    def repair(self, reason: str, count: int) -> None:
        """Count values that were changed."""
        if count:
            self.repaired[reason] = self.repaired.get(reason, 0) + count

    def raise_if_bad(self) -> None:
        """Refuse a table with bad rows, unless they are to be skipped.

        Raises:
            DataError: names the first of them.
        """
        if self.rejected and self.bad_rows == "fail":
            n = self.rejected
            raise DataError(
                f"{self.examples[0]}. {n:,} bad row{'s' if n > 1 else ''}.",
                "Fix them, or: --bad-rows skip",
            )
