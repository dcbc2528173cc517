"""Describe a log by statistics, alone or beside what is published about Kuaishou's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.logs.measures import LogTables, Measures, measure
from simulator.logs.published import Published, kuaishou
from simulator.progress import Report


@dataclass(frozen=True)
class Statistic:
    """One statistic of a log; ``value`` is None where the log cannot say."""

    name: str
    label: str
    value: float | None
    unit: str


@dataclass(frozen=True)
class FigureComparison:
    """One statistic beside its published value.

    Attributes:
        published: The published figure.
        simulated: The log's own value; None where the log cannot say.
        ratio: Their quotient.
        verdict: ``"close"`` within the figure's tolerance, ``"off"``, or ``"not measured"``.
    """

    published: Published
    simulated: float | None
    ratio: float | None
    verdict: str


_BYTES_PER_ROW = 66


def memory_to_describe(dataset: Dataset) -> int:
    """Bytes that `describe` and `compare` take, about: quantiles need every gap and play time."""
    return _BYTES_PER_ROW * dataset.info.rows.get("impressions", 0)


def describe(dataset: Dataset, report: Report | None = None) -> list[Statistic]:
    """Counts of every table, then every statistic that has a published counterpart.

    Args:
        dataset: The log.
        report: Told the share that is done.
    """
    counts = [
        Statistic(f"rows.{table}", f"Rows in {table}", float(n), "rows")
        for table, n in dataset.info.rows.items()
    ]
    found = measure(LogTables.of(dataset), report)
    return counts + [Statistic(p.name, p.label, found.get(p.name), p.unit) for p in kuaishou()]


def compare(
    dataset: Dataset, against: str = "kuaishou", report: Report | None = None
) -> list[FigureComparison]:
    """Every published statistic beside the log's own.

    Args:
        dataset: The log.
        against: Whose statistics.
        report: Told the share that is done.

    Raises:
        DataError: nothing is published under that name.
    """
    if against != "kuaishou":
        raise DataError(f"no published statistics of '{against}'.", "Known: kuaishou")
    return compare_measures(measure(LogTables.of(dataset), report))


def compare_measures(found: Measures) -> list[FigureComparison]:
    """Every published statistic beside a measured one."""
    return [_comparison(p, found.get(p.name)) for p in kuaishou()]


def summary(comparisons: Sequence[FigureComparison]) -> dict[str, dict[str, int]]:
    """How many figures of each role are close, off, or not measured."""
    counts: dict[str, dict[str, int]] = {}
    for c in comparisons:
        verdicts = counts.setdefault(c.published.role, {"close": 0, "off": 0, "not measured": 0})
        verdicts[c.verdict] += 1
    return counts


def reasons(comparisons: Sequence[FigureComparison]) -> dict[str, str]:
    """Published statistic to why the built-in world misses it, where one of its figures is off."""
    return {
        c.published.label.split(":")[0]: c.published.note
        for c in comparisons
        if c.verdict == "off" and c.published.note
    }


def _comparison(published: Published, value: float | None) -> FigureComparison:
    ratio = None if value is None or published.value == 0 else value / published.value
    verdict = "not measured"
    if value is not None and ratio is not None:
        verdict = "close" if published.is_close(value) else "off"
    return FigureComparison(published, value, ratio, verdict)
