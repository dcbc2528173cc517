"""Complete what stands after an option: policies, metrics, worlds, data and choices.

Shells ask these functions while somebody types, so nothing here loads torch or polars.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

Complete = Callable[[str], list[str]]


def choices(*values: str) -> Complete:
    """A completion among fixed values."""

    def complete(incomplete: str) -> list[str]:
        return _starting(values, incomplete)

    return complete


def policies(incomplete: str) -> list[str]:
    """Names of policies, also after a plus, and files of policies in this folder."""
    from policies.names import BUILT_IN, ENTRY_POINTS

    installed = [p.name for p in importlib.metadata.entry_points(group=ENTRY_POINTS)]
    head, plus, tail = incomplete.rpartition("+")
    files = [] if plus else sorted(path.name for path in Path().glob("*.py"))
    names = dict.fromkeys([*sorted(BUILT_IN), *sorted(installed), *files])
    return [head + plus + name for name in _starting(names, tail)]


def metrics(incomplete: str) -> list[str]:
    """Names of the platform's metrics."""
    from simulator.behaviours import METRIC_DEFINITIONS

    return _starting(METRIC_DEFINITIONS, incomplete)


def guardrails(incomplete: str) -> list[str]:
    """Names of metrics with the sign that a margin begins with."""
    return [f"{name}=" for name in metrics(incomplete.partition("=")[0])]


def worlds(incomplete: str) -> list[str]:
    """Presets of the built-in world."""
    import simulator

    folder = Path(str(simulator.__file__)).parent / "world" / "presets"
    return _starting(sorted(path.stem for path in folder.glob("*.toml")), incomplete)


def designs(incomplete: str) -> list[str]:
    """Designs of an experiment."""
    from abtest.config import Design

    return _starting(get_args(Design), incomplete)


def data(incomplete: str) -> list[str]:
    """``demo`` and dataset directories here and in ``logs/``."""
    found = [str(file.parent) for file in Path().glob("*/dataset.json")]
    found += [str(file.parent) for file in Path().glob("logs/*/dataset.json")]
    return _starting(["demo", *sorted(found)], incomplete)


def runs(incomplete: str) -> list[str]:
    """Run directories here and in ``runs/``."""
    found = [*Path().glob("*/plan.json"), *Path().glob("runs/*/plan.json")]
    return _starting(sorted(str(file.parent) for file in found), incomplete)


def _starting(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]
