"""Write several runs side by side, and what the runs do not share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reports import formats
from reports.analysis.seeds import differ_in_seeds_only, seed_summaries
from reports.render.layout import shorten, table, text_width, wrap
from reports.render.methods import (
    counted_methods,
    difference,
    method_of,
    shared_name,
    with_replay,
)
from reports.results import ExperimentResult
from reports.verdict import words

_RUN_CELLS = 32
_ARM_CELLS = 20


def render_comparison(
    runs: Sequence[tuple[str, ExperimentResult]], *, encoding: str, width: int | None = None
) -> str:
    """A table with one row per run and treatment, then the differences between the runs.

    Runs that differ in their seeds only are also summarised (`reports.analysis.seeds`).

    Args:
        runs: Name and result of each run, in the order shown.
        encoding: Of the terminal; what it lacks is written in ASCII.
        width: Columns; None takes the terminal's, or 80 when piped.
    """
    columns = text_width(width)

    utf = encoding.lower().startswith("utf")

    def clean(text: str) -> str:
        line = formats.plain(text)
        return line if utf else formats.encodable(line.replace("\ufffd", "?"), encoding)

    simulated = all(result.simulated for _, result in runs)
    kind = "simulated experiments" if simulated else "experiments"
    mixed = with_replay([result for _, result in runs])
    if mixed:
        kind = f"runs ({counted_methods([result for _, result in runs])})"
    lines = [*wrap(f"{len(runs)} {kind}, primary metric side by side", columns), ""]
    head = ["run", "treatment", "control", "lift", "interval", "p", "verdict"]
    left = frozenset({1, 2, 6})
    rows = [row for name, result in runs for row in _rows(name, result, clean)]
    shown = rows
    if mixed:
        head.insert(1, "method")
        left = frozenset({1, 2, 3, 7})
        of_row = [method_of(result) for _, result in runs for _ in result.comparisons]
        shown = [[row[0], one, *row[1:]] for row, one in zip(rows, of_row, strict=True)]
        rows = [[f"{row[0]}, {row[1]}", *row[2:]] for row in shown]
    found = table(head, shown, columns, left) if rows else []
    if found is None:
        for run, treatment, control, lift, bounds, p, verdict in rows:
            lines += wrap(f"{run}: {treatment} against {control}", columns, "", "  ")
            lines += wrap(f"{verdict}, {lift} ({bounds}), p {p}", columns, "    ")
    else:
        lines += found
    lines.append("")
    for text in comparison_facts(runs):
        lines += wrap(clean(text), columns, "", "  ")
    return "\n".join(lines).rstrip()


def _rows(name: str, result: ExperimentResult, clean: Callable[[str], str]) -> list[list[str]]:
    rows = []
    for comparison in result.comparisons:
        primary = next(iter(words.of_role(comparison, "primary")), None)
        rows.append(
            [
                shorten(clean(name), _RUN_CELLS),
                shorten(clean(comparison.treatment), _ARM_CELLS),
                shorten(clean(comparison.control), _ARM_CELLS),
                formats.lift(primary.relative if primary else None),
                formats.shown_interval(primary) if primary else formats.MISSING,
                formats.p_value(primary.p_adjusted if primary else None),
                comparison.verdict.state,
            ]
        )
    return rows


def comparison_facts(runs: Sequence[tuple[str, ExperimentResult]]) -> list[str]:
    """Sentences below the lifts: oracles, seeds summarised, what the runs do not share."""
    results = [result for _, result in runs]
    oracles = dict.fromkeys(s for result in results for s in words.oracles(result))
    lines = [text for text in (difference(results),) if text]
    lines += [f"oracle: {sentence}." for sentence in oracles]
    lines += [text for summary in seed_summaries(results) for text in summary.sentences()]
    return lines + _differences(runs)


def _differences(runs: Sequence[tuple[str, ExperimentResult]]) -> list[str]:
    """What the runs do not share, so that nobody mistakes it for an effect of the policy."""
    results = [result for _, result in runs]
    mixed = with_replay(results)
    primaries = [
        {
            shared_name(m.metric) if mixed else m.label
            for c in result.comparisons
            for m in words.of_role(c, "primary")
        }
        for result in results
    ]
    labels = {
        shared_name(m.metric): m.label
        for result in results
        for c in result.comparisons
        for m in words.of_role(c, "primary")
        if m.metric == shared_name(m.metric)
    }
    levels = {
        formats.confidence(m.confidence)
        for result in results
        for c in result.comparisons
        for m in words.of_role(c, "primary")
    }
    shared = set.union(*primaries) if primaries else set()
    if mixed:
        shared = {labels.get(name, name) for name in shared}
    lines = []
    if len(shared) == 1:
        lines.append(
            f"Primary metric: {next(iter(shared))}. Intervals: {', '.join(sorted(levels))}."
        )
    elif shared:
        names = ", ".join(sorted(shared))
        lines.append(f"warning: the runs have different primary metrics: {names}.")
    facts: list[tuple[str, list[Any]]] = [
        ("method", [method_of(r) for r in results] if mixed else [None for _ in results]),
        ("design", [r.design for r in results]),
        ("people", [r.context.get("users") for r in results]),
        ("days", [r.context.get("days") for r in results]),
        ("seed", [r.context.get("seed") for r in results]),
        ("training seed", [r.context.get("training_seed") for r in results]),
        ("data", [_data(r) for r in results]),
        ("abtest version", [_version(r) for r in results]),
    ]
    differing = [
        f"{name} ({', '.join(formats.count(v) if name == 'people' else str(v) for v in values)})"
        for name, values in facts
        if any(v != values[0] for v in values) and None not in values
    ]
    lines.append(f"The runs differ in: {'; '.join(differing)}." if differing else "")
    if mixed and _data_differs(results):
        lines.append(
            "The data of a replay are the log that it values, also where a simulation wrote that "
            "log: check that the log belongs to the platform of the other run."
        )
    elif _data_differs(results) and not differ_in_seeds_only(results):
        lines.append("warning: the runs are on different data; their lifts are not comparable.")
    return [line for line in lines if line]


def _data_differs(results: Sequence[ExperimentResult]) -> bool:
    return len({_data(r) for r in results} - {None}) > 1


def _data(result: ExperimentResult) -> str | None:
    data = result.context.get("data")
    digest = data.get("content_hash") if isinstance(data, dict) else None
    return None if digest is None else str(digest)[:12]


def _version(result: ExperimentResult) -> str | None:
    versions = result.context.get("versions")
    version = versions.get("abtest") if isinstance(versions, dict) else None
    return None if version is None else str(version)
