"""Load what installed packages add: importers, metrics and report sections.

A package names each in an entry-point group (docs/plugins.md). What cannot be loaded is skipped
with a warning; what has the name of something built in is skipped too. Policies have a group of
their own, see `policies.registry`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from reports.plan import Metric
from reports.render.sections import Section
from reports.results import ExperimentResult
from simulator.logs.importers import FORMATS
from simulator.logs.importers.formats import Format

IMPORTERS = "abtest.importers"
METRICS = "abtest.metrics"
SECTIONS = "abtest.report_sections"

MakeSection = Callable[[ExperimentResult], "Section | None"]
T = TypeVar("T")


def importers() -> tuple[dict[str, Format], list[str]]:
    """Formats of installed packages by name, and what was skipped."""
    return _checked(IMPORTERS, Format, "simulator.logs.importers.formats.Format", FORMATS)


def metrics(built_in: Mapping[str, Metric]) -> tuple[dict[str, Metric], list[str]]:
    """Metrics of installed packages by name, and what was skipped."""
    return _checked(METRICS, Metric, "reports.plan.Metric", built_in)


def sections(result: ExperimentResult) -> tuple[list[Section], list[str]]:
    """What installed packages have to say about a result, and what was skipped.

    A section that fails is left out; the report is written without it.
    """
    found: list[Section] = []
    loaded, warnings = _loaded(SECTIONS)
    for name, (make, owner) in loaded.items():
        try:
            section = make(result)
        except (Exception, SystemExit) as error:
            warnings.append(_skipped(name, owner, f"{type(error).__name__}: {error}"))
            continue
        if isinstance(section, Section):
            found.append(section)
        elif section is not None:
            kind = type(section).__name__
            warnings.append(_skipped(name, owner, f"it gives a {kind}, expected a Section or None"))
    return found, warnings


def warnings(built_in: Mapping[str, Metric]) -> list[str]:
    """A sentence per importer, metric or section that does not load, for `abtest doctor`."""
    loaded, broken = _loaded(SECTIONS)
    broken += [
        _skipped(name, owner, "it cannot be called")
        for name, (make, owner) in loaded.items()
        if not callable(make)
    ]
    return [*importers()[1], *metrics(built_in)[1], *broken]


def names() -> dict[str, list[str]]:
    """Names in each group, loaded or not."""
    return {
        group: sorted(point.name for point in importlib.metadata.entry_points(group=group))
        for group in (IMPORTERS, METRICS, SECTIONS)
    }


def _checked(
    group: str, kind: type[T], expected: str, built_in: Mapping[str, Any]
) -> tuple[dict[str, T], list[str]]:
    """Loaded objects of a type by their own name."""
    found: dict[str, T] = {}
    loaded, warnings = _loaded(group)
    for name, (thing, owner) in loaded.items():
        if not isinstance(thing, kind):
            warnings.append(_skipped(name, owner, f"it is no {expected}"))
            continue
        own = str(getattr(thing, "name", name))
        if own in built_in:
            warnings.append(_skipped(name, owner, f"'{own}' is built in"))
        elif own in found:
            warnings.append(_skipped(name, owner, f"another package has '{own}'"))
        else:
            found[own] = thing
    return found, warnings


def _loaded(group: str) -> tuple[dict[str, tuple[Any, str]], list[str]]:
    """Entry points that load, with the package of each, and a sentence for the others."""
    found: dict[str, tuple[Any, str]] = {}
    warnings = []
    points = importlib.metadata.entry_points(group=group)
    for point in sorted(points, key=lambda p: (p.name, _owner(p))):
        if point.name in found:
            warnings.append(_skipped(point.name, _owner(point), "another package has this name"))
            continue
        try:
            found[point.name] = (point.load(), _owner(point))
        except (Exception, SystemExit) as error:
            reason = str(error).replace("No module named", "no module")
            warnings.append(_skipped(point.name, _owner(point), reason))
    return found, warnings


def _owner(point: importlib.metadata.EntryPoint) -> str:
    dist = getattr(point, "dist", None)
    return "" if dist is None else str(dist.name)


def _skipped(name: str, owner: str, reason: str) -> str:
    who = f"{owner}/{name}" if owner else name
    return f"plugin '{who}' skipped: {reason.rstrip('.')}. Details: abtest doctor"
