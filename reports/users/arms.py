"""Order the arms of a table, control first, and refuse names that cannot be told apart."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from reports.users.errors import TableError

CONTROLS = ("control", "baseline")


def ordered_arms(
    names: Iterable[str], control: str | None, planned: Sequence[str], path: str
) -> list[str]:
    """Arm names of a table, control first.

    Args:
        names: That are in the table.
        control: As given; None if it can be told from the names.
        planned: Arms of the planned split; empty if there is none.
        path: Name of the table.

    Raises:
        TableError: fewer than two arms, an unknown control, or names that differ by blanks or case
            only and were not planned side by side.
    """
    arms = sorted(names)
    _refuse_lookalikes(arms, planned, path)
    if len(arms) == 1:
        silent = [arm for arm in planned if arm not in arms]
        said = f"Planned and without users: {', '.join(map(repr, silent))}." if silent else ""
        raise TableError(
            f"{path} has one arm only ('{arms[0]}').", said or "A comparison needs two."
        )
    if control is None:
        usual = [arm for arm in arms if arm.strip().lower() in CONTROLS]
        if len(usual) != 1:
            shown = ", ".join(arms)
            raise TableError(
                "which arm is the control?", f"Arms: {shown}.", f"Add: --control {arms[0]}"
            )
        control = usual[0]
    if control not in arms:
        close = difflib.get_close_matches(control, arms, n=1)
        guess = f"Did you mean '{close[0]}'?" if close else f"Arms: {', '.join(arms)}"
        raise TableError(f"{path} has no arm '{control}'.", guess)
    return [control, *[arm for arm in arms if arm != control]]


def _refuse_lookalikes(arms: Sequence[str], planned: Sequence[str], path: str) -> None:
    seen: dict[str, str] = {}
    for arm in dict.fromkeys([*planned, *arms]):
        plain = " ".join(arm.split()).casefold()
        other = seen.setdefault(plain, arm)
        if other == arm or (other in planned and arm in planned):
            continue
        where = "planned" if other in planned and other not in arms else "in the table"
        raise TableError(
            f"is {arm!r} of {path} the same arm as {other!r} ({where})?",
            "The names differ by blanks or case only.",
            "Make them alike, or name both in the planned split: --split",
        )
