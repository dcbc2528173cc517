"""Load what is published about Kuaishou's logs: the figures of `published.toml`."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["rate", "quantile", "shape"]
Role = Literal["fitted", "input", "held out"]

_FILE = Path(__file__).with_suffix(".toml")
_ROLES: dict[str, Role] = {"fitted": "fitted", "input": "input", "held_out": "held out"}


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        name: The key under which `simulator.logs.measures.measure` finds it.
        label: For people.
        value: What was published.
        unit: Of the value.
        entry: The published statistic that it belongs to; several numbers may share one.
        definition: How it is counted.
        source: Who published what.
        kind: What sort of number it is: a rate or mean, a quantile, or another property of shape.
        role: Whether the built-in world is fitted to it, draws from it directly, or never saw it.
        note: Why the built-in world misses it, where it does.
        at_least: Whether it was published as "more than" this value: anything above it is close.
    """

    name: str
    label: str
    value: float
    unit: str
    entry: str
    definition: str
    source: str
    kind: Kind
    role: Role
    note: str = ""
    at_least: bool = False

    def is_close(self, value: float) -> bool:
        """Whether a measured value is within the tolerance, or above it where that is enough."""
        if self.value == 0.0:
            return False
        off = value / self.value - 1.0
        return abs(off) <= self.tolerance or (self.at_least and off > 0.0)

    @property
    def tolerance(self) -> float:
        """Relative deviation that still counts as close.

        5 % for a rate and 10 % for a quantile or shape that the world is made to meet; 20 % for
        what was kept out of the fit.
        """
        if self.role == "held out":
            return 0.20
        return 0.05 if self.kind == "rate" else 0.10


@functools.cache
def kuaishou() -> tuple[Published, ...]:
    """All figures, in the order of the file."""
    table = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    figures: list[Published] = []
    for entry in table["entry"]:
        values = [
            (name, value, role)
            for key, role in _ROLES.items()
            for name, value in entry.get(key, {}).items()
        ]
        for name, value, role in values:
            detail = name.split(".", 1)[1] if "." in name else ""
            alone = len(values) == 1
            figures.append(
                Published(
                    name=name,
                    label=entry["label"] if alone else f"{entry['label']}: {_words(detail)}",
                    value=float(value),
                    unit=entry["unit"],
                    entry=entry["name"],
                    definition=entry["definition"],
                    source=table["sources"][entry["source"]],
                    kind=entry["kind"],
                    role=role,
                    note=entry.get("note", ""),
                    at_least=entry.get("at_least", False),
                )
            )
    return tuple(figures)


def _words(detail: str) -> str:
    return detail.replace("_", " ")
