"""Refuse work that memory cannot hold."""

from __future__ import annotations

from abtest.errors import AbtestError, ExitCode
from simulator.memory import memory_limit


class TooLarge(AbtestError):
    """What was asked for takes more memory than this machine has; nothing was begun."""

    code = ExitCode.RESOURCES


def require_room(needed: int, doing: str, hint: str) -> None:
    """Compare what a stage takes, as measured on smaller logs, with the memory that there is.

    Args:
        needed: Bytes.
        doing: The stage and what makes it large, as "describing 9,000 impressions".
        hint: What to do.

    Raises:
        TooLarge: the stage takes more memory than there is.
    """
    present = memory_limit()
    if needed > present:
        raise TooLarge(
            f"{doing} takes about {needed / 1e9:,.1f} GB of memory, and this machine has "
            f"{present / 1e9:,.1f} GB.",
            hint,
        )
