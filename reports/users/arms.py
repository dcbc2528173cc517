"""Order the arms of a table, control first, and refuse names that cannot be told apart."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from reports.users.errors import TableError

CONTROLS = ("control", "baseline")


def ordered_arms(
    names: Iterable[str],
    control: str | None,
    planned: Sequence[str],
    path: str,
    *,
    plannable: bool = True,
) -> list[str]:
    """Arm names of a table, control first.

    Args:
        names: That are in the table.
        control: As given; None if it can be told from the names.
        planned: Arms of the planned split; empty if there is none.
        path: Name of the table.
        plannable: Whether the command has a planned split.

    Raises:
        TableError: fewer than two arms, an unknown control, or names that look alike
            (blanks, case, forms of a letter) and were not planned side by side.
    """
    arms = sorted(names)
    _refuse_lookalikes(arms, planned, path, plannable)
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


def _refuse_lookalikes(
    arms: Sequence[str], planned: Sequence[str], path: str, plannable: bool
) -> None:
    seen: dict[str, str] = {}
    for arm in dict.fromkeys([*planned, *arms]):
        other = seen.setdefault(_seen_as(arm), arm)
        if other == arm or (other in planned and arm in planned):
            continue
        plain = " ".join(other.split()).casefold() == " ".join(arm.split()).casefold()
        where = "planned" if other in planned and other not in arms else "in the table"
        raise TableError(
            f"is {arm!r} of {path} the same arm as {other!r} ({where})?",
            "The names differ by blanks or case only." if plain else "The names look alike.",
            "Make them alike" + (", or name both in the planned split: --split" * plannable),
        )


def _seen_as(arm: str) -> str:
    """What people see in a name: no case, one kind of blank, letter and sign; 1.0 is 1."""
    folded = unicodedata.normalize("NFKC", arm).casefold()
    shown = "".join(letter for letter in folded if unicodedata.category(letter) != "Cf")
    text = " ".join(shown.split())
    return text.rstrip("0").rstrip(".") if re.fullmatch(r"\d+\.0*", text) else text
