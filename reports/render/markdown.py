"""Write a result as Markdown that fits a pull request: verdict, table, factors, checks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from reports import formats
from reports.render.sections import Section
from reports.render.symbols import SYMBOLS
from reports.results import ArmComparison, ExperimentResult, MetricComparison, Role
from reports.verdict import words

_ROLES: tuple[Role, ...] = ("primary", "guardrail", "secondary")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}


def render_markdown(result: ExperimentResult, sections: Sequence[Section] = ()) -> str:
    """The result as GitHub-flavoured Markdown, with a newline at the end.

    Names come from logs and plugins: whatever would be markup in them is escaped.
    """
    lines: list[str] = []
    several = len(result.comparisons) > 1
    if several:
        lines += [f"## {text(formats.shortened(result.title, 120))}", "", *_overview(result), ""]
    for comparison in result.comparisons:
        lines += _comparison(result, comparison, heading="###" if several else "##")
    if not result.comparisons:
        lines += [f"## {text(result.title)}", "", "Nothing was compared.", ""]
    for section in sections:
        lines += [*_section(section), ""]
    lines += _checks(result)
    command = result.context.get("command")
    if isinstance(command, str) and command:
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", command)), default=0))
        lines += ["", fence, formats.plain(command), fence]
    if result.simulated:
        lines += ["", "Simulated people, no real traffic."]
    return "\n".join(lines) + "\n"


def text(content: str) -> str:
    """Plain text in Markdown: escaped, on one line, naming nobody and linking nowhere."""
    line = formats.typographic(formats.plain(content))
    line = "".join(_ENTITIES.get(c, c) for c in line)
    line = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line)
    return line.replace("://", "&#58;//")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """A table of cells that are Markdown already; ``right`` lists columns aligned right."""
    rule = ["--:" if i in right else "---" for i in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _section(section: Section) -> list[str]:
    by = f" ({text(section.source)})" if section.source else ""
    lines = [f"### {text(section.title)}{by}", ""]
    for paragraph in section.paragraphs:
        lines += [text(paragraph), ""]
    if section.header:
        rows = [[text(cell) for cell in row] for row in section.rows]
        lines += table([text(title) for title in section.header], rows, ())
    return lines


def _overview(result: ExperimentResult) -> list[str]:
    rows = []
    for comparison in result.comparisons:
        primary = next(iter(words.of_role(comparison, "primary")), None)
        state = comparison.verdict.state
        effect = formats.shown_effect(primary) if primary else formats.MISSING
        bounds = formats.shown_interval(primary) if primary else formats.MISSING
        p = formats.p_value(primary.p_adjusted if primary else None)
        rows.append(
            [
                text(formats.shortened(comparison.treatment)),
                f"{SYMBOLS[state]} {words.overview(comparison)}",
                *map(text, (effect, bounds, p)),
            ]
        )
    primary = next(iter(words.of_role(result.comparisons[0], "primary")), None)
    name = text(primary.label) if primary else "Primary metric"
    return table(["Treatment", "Verdict", name, "Interval", "p, adjusted"], rows, (2, 3, 4))


def _comparison(result: ExperimentResult, comparison: ArmComparison, *, heading: str) -> list[str]:
    verdict = comparison.verdict
    lines = [
        f"{heading} {SYMBOLS[verdict.state]} {text(words.sentence(result, comparison))}",
        "",
    ]
    evident = verdict.finding != "check failed"
    said = [
        words.why(result, comparison),
        words.trade_offs(comparison) if evident else "",
        words.sensitivity(result, comparison),
        words.bias(result, comparison),
        words.true_effect(comparison) or "",
    ]
    decision = words.decision(result, comparison)
    if decision:
        lines += [f"**{text(decision)}** {text(' '.join(s for s in said if s))}".rstrip(), ""]
    lines += _metrics(result, comparison)
    if comparison.factors is not None and evident:
        lines += ["", *_factors(comparison)]
    lines += _assumptions(result, comparison)
    lines += _interference(result, comparison)
    for warning in words.warnings(result, comparison):
        about = f" ({warning.about})" if warning.about else ""
        lines += ["", f"Warning: {text(warning.text + about)}"]
    return [*lines, ""]


def _metrics(result: ExperimentResult, comparison: ArmComparison) -> list[str]:
    control, treatment = (
        text(formats.shortened(name, 32)) for name in (comparison.control, comparison.treatment)
    )
    metrics = [m for role in _ROLES for m in words.of_role(comparison, role)]
    rows = [_row(metric) for metric in metrics]
    header = ["Metric", control, treatment, "Lift", "Interval", "p, adjusted", "Outcome"]
    people = ""
    if metrics:
        first = metrics[0]
        people = (
            f"{words.people(result, first.control.users)} in {control}, "
            f"{words.people(result, first.treatment.users)} in {treatment}. "
        )
    families = dict.fromkeys(m.family for m in metrics if m.role == "secondary")
    family = f"Corrected: {text(', '.join(families))}. " if any(families) else ""
    note = words.adjustment_note(result, metrics[0]) if metrics else ""
    return [*table(header, rows, (1, 2, 3, 4, 5)), "", f"{people}{family}{note}".rstrip()]


def _row(metric: MetricComparison) -> list[str]:
    values = [formats.MISSING] * 2
    if metric.absolute is not None:
        values = formats.arm_values((metric.control, metric.treatment), metric.unit)
    role = {"primary": " (primary)", "guardrail": f" ({words.margin(metric)})"}
    label = text(f"{metric.label}{role.get(metric.role, '')}")
    return [
        f"**{label}**" if metric.role == "primary" else label,
        *map(text, values),
        text(formats.shown_effect(metric)),
        text(formats.shown_interval(metric)),
        text(formats.p_value(metric.p_adjusted)),
        f"{SYMBOLS.get(metric.outcome, '–')} {text(metric.outcome)}",
    ]


def _factors(comparison: ArmComparison) -> list[str]:
    split = comparison.factors
    assert split is not None
    *parts, whole = words.factor_parts(split)
    rows = [
        [
            text(factor.label),
            *map(text, words.factor_values(factor)),
            text(formats.lift(factor.relative)),
            text(part),
        ]
        for factor, part in zip(split.factors, parts, strict=True)
    ]
    rows.append(["Together", "", "", "", text(whole)])
    header = ["Factor of the lift", "Control", "Treatment", "Lift", "Part"]
    return table(header, rows, (1, 2, 3, 4))


def _assumptions(result: ExperimentResult, comparison: ArmComparison) -> list[str]:
    record = result.assumptions
    if record is None:
        return []
    rows = [
        [*map(text, (row.label, row.value, row.control, row.effect, row.interval)),
         f"{SYMBOLS.get(row.outcome, '–')} {text(row.outcome)}"]
        for grid in words.by_spread(record, comparison)
        for row in words.assumed_rows(record, grid, comparison)
    ]  # fmt: skip
    lift = "Difference" if record.scale == "absolute" else "Lift"
    header = ["Assumption", "Value", "Control", lift, "Interval", "Outcome"]
    return ["", *table(header, rows, (1, 2, 3, 4)), "", text(words.how_assumed(record))]


def _interference(result: ExperimentResult, comparison: ArmComparison) -> list[str]:
    record = result.interference
    rows = [] if record is None else words.bias_rows(record, comparison)
    if record is None or not rows:
        return []
    cells = [[text(cell) for cell in dataclasses.astuple(row)] for row in rows]
    right = tuple(range(1, len(words.BIAS_HEADER)))
    return ["", *table(list(words.BIAS_HEADER), cells, right), "", text(words.how_biased(record))]


def _checks(result: ExperimentResult) -> list[str]:
    chips = words.chips(result)
    items = [
        f"- {SYMBOLS[chip.status]} {chip.status}: **{text(chip.label)}**, {text(chip.detail)}"
        for chip in chips
    ]
    summary = f"<details><summary>Checks: {text(words.checks_line(chips))}</summary>"
    return [summary, "", *items, "", "</details>"]
