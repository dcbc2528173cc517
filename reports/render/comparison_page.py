"""Write several runs as one page, a forest of lifts per metric, or as one JSON document."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from markupsafe import Markup

from reports import formats
from reports.analysis.seeds import seed_summaries
from reports.render import charts, svg
from reports.render.comparison import comparison_facts
from reports.render.page import Cell, PageSection, PageTable, render_page
from reports.render.symbols import SYMBOLS
from reports.results import ArmComparison, ExperimentResult, MetricComparison, finite
from reports.verdict import words

Runs = Sequence[tuple[str, ExperimentResult]]
_WIDTH = 320


def render_comparison_html(runs: Runs, *, command: str = "") -> str:
    """The page: the primary metric with its verdicts, then every other metric.

    Args:
        runs: Name and result of each run, in the order shown.
        command: What makes the page again.
    """
    first = _primaries(runs)
    forests = [_forest(runs, name, label, f"f{n}") for n, (name, label) in enumerate(first)]
    sections = [PageSection("Primary metric", comparison_facts(runs), forests)]
    others = [
        _forest(runs, name, label, f"m{n}")
        for n, (name, label) in enumerate(_metrics(runs))
        if (name, label) not in first
    ]
    if others:
        sections.append(PageSection("Every other metric", (), others))
    simulated = all(result.simulated for _, result in runs)
    return render_page(
        f"{len(runs)} runs side by side",
        sections,
        kicker="Simulated experiments" if simulated else "Experiments",
        facts="All people are simulated; no real traffic was involved." if simulated else "",
        command=command,
    )


def comparison_json(runs: Runs) -> str:
    """Every metric of every run, the summary over seeds and the differences, as JSON."""
    document = {
        "runs": [
            {
                "run": name,
                "title": result.title,
                "design": result.design,
                "simulated": result.simulated,
                "comparisons": [
                    {
                        "treatment": c.treatment,
                        "control": c.control,
                        "verdict": dataclasses.asdict(c.verdict),
                        "metrics": [dataclasses.asdict(m) for m in c.metrics],
                    }
                    for c in result.comparisons
                ],
            }
            for name, result in runs
        ],
        "over_seeds": [dataclasses.asdict(s) for s in seed_summaries([r for _, r in runs])],
        "notes": comparison_facts(runs),
    }
    return json.dumps(finite(document), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _primaries(runs: Runs) -> list[tuple[str, str]]:
    """Name and label of the primary metrics, each once."""
    found = [m for _, r in runs for c in r.comparisons for m in words.of_role(c, "primary")]
    return list(dict.fromkeys((m.metric, m.label) for m in found))


def _metrics(runs: Runs) -> list[tuple[str, str]]:
    found = [m for _, r in runs for c in r.comparisons for m in c.metrics]
    return list(dict.fromkeys((m.metric, m.label) for m in found))


def _forest(runs: Runs, name: str, label: str, identity: str) -> PageTable:
    """One row per run and treatment, on one axis."""
    rows: list[tuple[str, ArmComparison, MetricComparison]] = [
        (run, comparison, metric)
        for run, result in runs
        for comparison in result.comparisons
        for metric in comparison.metrics
        if metric.metric == name
    ]
    domain = svg.lift_domain([metric.relative for *_, metric in rows])
    columns: list[Cell] = [
        "Run",
        "Treatment",
        "Control",
        "Lift",
        "Interval " + charts.row_axis(domain, f"{identity}-axis", _WIDTH),
        "p",
        "Outcome",
    ]
    cells: list[list[Cell]] = []
    for number, (run, comparison, metric) in enumerate(rows):
        bar = charts.row_bar(
            metric.relative,
            metric.outcome,
            domain,
            f"{identity}-{number}",
            f"{run}, {comparison.treatment}",
            width=_WIDTH,
        )
        state = comparison.verdict.state if metric.role == "primary" else metric.outcome
        cells.append(
            [
                formats.shortened(run, 40),
                formats.shortened(comparison.treatment, 32),
                formats.shortened(comparison.control, 32),
                formats.shown_effect(metric),
                bar + _small(formats.shown_interval(metric)),
                formats.p_value(metric.p_adjusted),
                f"{SYMBOLS.get(state, '–')} {state}",
            ]
        )
    unit = next((metric.unit for *_, metric in rows), "")
    return PageTable(f"{label} ({unit})", columns, cells, right=(3, 5), charts=(4,))


def _small(text: str) -> Cell:
    return Markup("<small>{}</small>").format(formats.typographic(text))
