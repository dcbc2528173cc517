"""Read assumptions about the world: which parameter to vary, over which values, and why.

``comment_taste_strength=0.2,0.5,1,2`` varies one parameter, ``uncertain`` the five that nothing
published pins down (docs/world.md says how they were chosen).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from simulator.errors import DataError
from simulator.world.config import WorldConfig
from simulator.world.ranges import SHARES, wanted_of
from simulator.world.world import World

Value = int | float

UNCERTAIN = "uncertain"
"""The word that stands for all of `UNCERTAIN_ASSUMPTIONS`."""

_LONGEST = 80
"""Characters of an assumption's value or name that are read and repeated in an error."""

_EXAMPLE = "Example: --assume comment_taste_strength=0.2,0.5,1,2, or --assume uncertain"


@dataclass(frozen=True)
class Assumption:
    """A parameter and the values at which the world is tried.

    Attributes:
        parameter: Field of `WorldConfig`.
        values: Ascending, each once.
        label: What it is, in words; the parameter's name where nobody gave it words.
        reason: Why these values; empty where the user chose them.
    """

    parameter: str
    values: tuple[Value, ...]
    label: str
    reason: str = ""


UNCERTAIN_ASSUMPTIONS = (
    Assumption(
        "comment_taste_strength",
        (0.2, 2.0),
        "strength of comment taste",
        "a comment whose style suits by one standard deviation is read 6 % longer at 0.2, 35 % at "
        "1 and 82 % at 2",
    ),
    Assumption(
        "comment_taste_predictable",
        (0.0, 0.6),
        "share of comment taste that video taste tells",
        "from nothing, where only comments tell of taste in comments, to most of it",
    ),
    Assumption(
        "comment_taste_topics",
        (0.0, 0.5),
        "share of comment taste that depends on the video's topic",
        "from one taste for all videos, as comment rankers assume, to half, as in the preset "
        "topic-taste",
    ),
    Assumption(
        "comment_order_effect",
        (0.4, 1.0),
        "share of visits that read the list as displayed",
        "from a minority, where most look for the most liked comments whatever is displayed, to "
        "everybody",
    ),
    Assumption(
        "sequence_strength",
        (0.5, 2.0),
        "strength of what a session is about",
        "half and twice: one follow-up of the last clicked author multiplies the odds of a click "
        "by 1.2 at 0.5, 1.4 at 1 and 2.0 at 2",
    ),
)
"""Neither fitted to a published figure nor drawn from one, each with a low and a high value."""

LOG_FREE = frozenset({"comment_order_effect", "novelty_strength", "novelty_days"})
"""Parameters that the platform's log does not depend on: it displays comments in its own order, and
nobody's ranker changes while it is written."""


def parse_assumptions(texts: Iterable[str]) -> tuple[Assumption, ...]:
    """What ``--assume`` says, in the order in which the parameters are named.

    Args:
        texts: ``NAME=VALUE,VALUE`` or ``uncertain``. A parameter that is named twice is varied over
            all its values; values that a user gives replace those of ``uncertain``.

    Raises:
        DataError: no such parameter, no number, or a value out of range.
    """
    chosen: dict[str, list[Value]] = {}
    defaults: list[str] = []
    name = ""
    # Commas part values and assumptions alike, so that an environment variable can hold both.
    for part in ",".join(texts).split(","):
        word = part.strip()
        if word == UNCERTAIN:
            defaults += [a.parameter for a in UNCERTAIN_ASSUMPTIONS]
            name = ""
            continue
        before, equals, after = (piece.strip() for piece in word[:_LONGEST].partition("="))
        if equals:
            name = _parameter(before)
            word = after
        elif not name or not word or word in _names():
            raise DataError(_incomplete(word[:_LONGEST]), _hint(word[:_LONGEST]))
        chosen.setdefault(name, []).append(_value(name, word))
    known = {a.parameter: a for a in UNCERTAIN_ASSUMPTIONS}
    parsed = []
    for parameter in dict.fromkeys([*defaults, *chosen]):
        described = known.get(parameter)
        label = described.label if described else parameter
        if parameter in chosen:
            values = tuple(sorted(set(chosen[parameter])))
            parsed.append(Assumption(parameter, values, label))
        elif described:
            parsed.append(described)
    return tuple(parsed)


def with_assumption(config: WorldConfig, parameter: str, value: Value) -> WorldConfig:
    """The same world with another value of one parameter."""
    return WorldConfig.from_dict({**dataclasses.asdict(config), parameter: value})


def same_inventory(one: World, other: World) -> bool:
    """Whether both worlds have the same videos and comments, hidden qualities included.

    Popularity may differ: the platform's counters are no part of a log.
    """

    def equal(a: object, b: object, apart: tuple[str, ...]) -> bool:
        return all(
            np.array_equal(getattr(a, f.name), getattr(b, f.name))
            for f in dataclasses.fields(type(a))  # type: ignore[arg-type]
            if f.name not in apart
        )

    return equal(one.videos, other.videos, ("popularity",)) and equal(
        one.comments, other.comments, ()
    )


def _names() -> list[str]:
    apart = ("name", "language", "draws", "start_ms")
    return [f.name for f in dataclasses.fields(WorldConfig) if f.name not in apart]


def _parameter(name: str) -> str:
    if name not in _names():
        raise DataError(f"--assume: the world has no parameter '{name}'.", _hint(name))
    return name


def _incomplete(word: str) -> str:
    if word in _names():
        return f"--assume {word} gives no value."
    return f"--assume: '{word}' is no assumption." if word else "--assume gives no value."


def _hint(word: str) -> str:
    if word in _names():
        default = getattr(WorldConfig(), word)
        return f"Example: --assume {word}={default:g},{_another(word, default):g}"
    close = difflib.get_close_matches(word, [*_names(), UNCERTAIN], n=3)
    return f"Did you mean {' or '.join(repr(c) for c in close)}?" if close else _EXAMPLE


def _another(name: str, default: Value) -> Value:
    if name in SHARES:
        return round(default / 2 if default > 0.5 else 1.5 * default or 0.5, 6)
    return 2 * default if default else 1


def _value(name: str, text: str) -> Value:
    whole = isinstance(getattr(WorldConfig(), name), int)
    try:
        value: Value = int(text) if whole else float(text)
    except ValueError:
        wanted = "a whole number" if whole else "a number"
        given = f"'{text}'" if text else "nothing"
        raise DataError(f"--assume {name} is {given}, expected {wanted}.", _hint(name)) from None
    wanted = wanted_of(name, value, whole=whole)
    if wanted:
        raise DataError(f"--assume {name}={text} is out of range, expected {wanted}.", _hint(name))
    return value
