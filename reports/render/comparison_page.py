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
from reports.render.methods import counted_methods, method_of, shared_name, with_replay
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
    results = [result for _, result in runs]
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
        kicker=_kicker(results),
        facts="All people are simulated; no real traffic was involved." if simulated else "",
        command=command,
    )


def _kicker(results: Sequence[ExperimentResult]) -> str:
    if with_replay(results):
        return counted_methods(results)
    return "Simulated experiments" if all(r.simulated for r in results) else "Experiments"


def comparison_json(runs: Runs) -> str:
    """Every metric of every run, the summary over seeds and the differences, as JSON."""
    document = {
        "runs": [
            {
                "run": name,
                "title": result.title,
                "method": method_of(result),
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
    return _named(runs, found)


def _metrics(runs: Runs) -> list[tuple[str, str]]:
    return _named(runs, [m for _, r in runs for c in r.comparisons for m in c.metrics])


def _named(runs: Runs, metrics: Sequence[MetricComparison]) -> list[tuple[str, str]]:
    """Names and labels, each once; beside a replay one name has one label, the experiment's."""
    if not with_replay([result for _, result in runs]):
        return list(dict.fromkeys((m.metric, m.label) for m in metrics))
    found: dict[str, str] = {}
    for metric in metrics:
        name = shared_name(metric.metric)
        if name not in found or metric.metric == name:
            found[name] = metric.label.removesuffix(" per impression")
    return list(found.items())


def _forest(runs: Runs, name: str, label: str, identity: str) -> PageTable:
    """One row per run and treatment, on one axis."""
    mixed = with_replay([result for _, result in runs])
    rows: list[tuple[str, str, ArmComparison, MetricComparison]] = [
        (run, method_of(result), comparison, metric)
        for run, result in runs
        for comparison in result.comparisons
        for metric in comparison.metrics
        if (shared_name(metric.metric) if mixed else metric.metric) == name
    ]
    scale = formats.common_scale(metric for *_, metric in rows)
    domain = svg.lift_domain([metric.on(scale) for *_, metric in rows])
    columns: list[Cell] = [
        "Run",
        "Treatment",
        "Control",
        "Lift",
        "Interval " + charts.row_axis(domain, f"{identity}-axis", _WIDTH, scale),
        "p",
        "Outcome",
    ]
    cells: list[list[Cell]] = []
    for number, (run, method, comparison, metric) in enumerate(rows):
        effect = metric.on(scale)
        bounds = formats.effect_interval(effect, scale, metric.unit)
        bar = charts.row_bar(
            effect,
            metric.outcome,
            domain,
            f"{identity}-{number}",
            f"{run}, {comparison.treatment}",
            width=_WIDTH,
            of=scale,
            said=f"{formats.effect(effect, scale, metric.unit)}, interval {bounds}",
        )
        state = comparison.verdict.state if metric.role == "primary" else metric.outcome
        cells.append(
            [
                _named_run(formats.shortened(run, 40), method if mixed else ""),
                formats.shortened(comparison.treatment, 32),
                formats.shortened(comparison.control, 32),
                formats.shown_effect(metric),
                bar + _small(formats.shown_interval(metric)),
                formats.p_value(metric.p_adjusted),
                f"{SYMBOLS.get(state, '–')} {state}",
            ]
        )
    units = dict.fromkeys((method if mixed else "", metric.unit) for _, method, _, metric in rows)
    unit = "; ".join(f"{method}: {own}" if method else own for method, own in units)
    if not mixed:
        unit = next((metric.unit for *_, metric in rows), "")
    guarded = {words.margin(metric) for *_, metric in rows if metric.role == "guardrail"}
    # Of a guardrail "not clear" is about its margin, and p is not.
    margin = f"; guardrail: {' or '.join(sorted(guarded))}; p is for no change" if guarded else ""
    return PageTable(f"{label} ({unit}){margin}", columns, cells, right=(3, 5), charts=(4,))


def _named_run(run: str, method: str) -> Cell:
    """A run's name, with its method beneath where there are several."""
    return Markup("{}<small>{}</small>").format(formats.plain(run), method) if method else run


def _small(text: str) -> Cell:
    return Markup("<small>{}</small>").format(formats.typographic(text))
