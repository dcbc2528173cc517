"""Write the lift report as text: readable at 80 columns, in ASCII, without colour and piped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from reports import formats
from reports.render.layout import shorten, table, text_width, wrap
from reports.results import ArmComparison, ExperimentResult, MetricComparison
from reports.verdict import words

T = TypeVar("T")
_NAME_CELLS = 28
_COLORS = {
    "heading": "1",
    "better": "32;1",
    "worse": "31;1",
    "suspicious": "33;1",
    "no verdict": "33;1",
    "not clear": "1",
    "pass": "32",
    "warn": "33",
    "fail": "31;1",
}
_MARKS = {"better": "+", "worse": "-", "not clear": "."}
_STATUS = {"pass": "ok", "warn": "warn", "fail": "FAIL", "not run": "not run", "note": "note"}


def render(result: ExperimentResult, *, width: int | None, encoding: str, color: bool) -> str:
    """The result as text, without a newline at the end.

    Args:
        result: What to show.
        width: Columns; None takes the terminal's, or 80 when piped.
        encoding: Of the terminal; what it lacks is written in ASCII.
        color: Use ANSI colours; they never carry anything the words do not.
    """
    clean = _cleaner(encoding)
    return _Page(_cleaned(result, clean), text_width(width), clean, color).text()


def _cleaner(encoding: str) -> Callable[[str], str]:
    if encoding.lower().startswith("utf"):
        return formats.plain
    return lambda text: formats.encodable(formats.plain(text).replace("\ufffd", "?"), encoding)


def _cleaned(value: T, clean: Callable[[str], str]) -> T:
    """The same record with every string cleaned: names come from logs and plugins."""
    changed: Any = value
    if isinstance(value, str):
        changed = clean(value)
    elif isinstance(value, tuple):
        changed = tuple(_cleaned(item, clean) for item in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: _cleaned(getattr(value, f.name), clean) for f in dataclasses.fields(value)
        }
        changed = type(value)(**fields)
    return changed  # type: ignore[no-any-return]


class _Page:
    """Collects the lines of one report."""

    def __init__(
        self, result: ExperimentResult, width: int, clean: Callable[[str], str], color: bool
    ) -> None:
        self._result = result
        self._width = width
        self._clean = clean
        self._color = color
        self._lines: list[str] = []

    def text(self) -> str:
        """The whole report."""
        comparisons = self._result.comparisons
        if len(comparisons) > 1:
            self._overview()
            self._trust()
        for comparison in comparisons:
            if len(comparisons) > 1:
                self._lines += ["", "=" * self._width, ""]
            self._comparison(comparison, trust=len(comparisons) == 1)
        if not comparisons:
            self._say(f"{self._result.title}: nothing was compared.")
            self._trust()
        return "\n".join(self._lines)

    def _overview(self) -> None:
        """One row per treatment, before any of them in detail."""
        result = self._result
        primary = next(iter(words.of_role(result.comparisons[0], "primary")), None)
        name = primary.label if primary else "Primary metric"
        control = shorten(result.comparisons[0].control, _NAME_CELLS)
        self._say(f"{name} of {len(result.comparisons)} treatments against {control}",
                  paint="heading")  # fmt: skip
        head = ["  Treatment", "lift", "interval", "p adj.", "verdict"]
        rows = []
        for comparison in result.comparisons:
            metric = next(iter(words.of_role(comparison, "primary")), None)
            rows.append(
                [
                    "  " + shorten(comparison.treatment, _NAME_CELLS),
                    formats.shown_effect(metric) if metric else formats.MISSING,
                    formats.shown_interval(metric) if metric else formats.MISSING,
                    formats.p_value(metric.p_adjusted if metric else None),
                    words.overview(comparison),
                ]
            )
        lines = table(head, rows, self._width, frozenset({4}))
        if lines is None:
            for label, lift, bounds, p, state in rows:
                self._say(f"{label.strip()}: {state}, {lift} ({bounds}), p {p}", "  ", "    ")
        else:
            self._lines += lines

    def _comparison(self, comparison: ArmComparison, *, trust: bool) -> None:
        verdict = comparison.verdict
        self._say(words.sentence(self._result, comparison), paint=verdict.state)
        for text in (
            words.decision(self._result, comparison),
            words.why(self._result, comparison),
            words.trade_offs(comparison) if verdict.finding != "check failed" else "",
            words.sensitivity(self._result, comparison),
            words.bias(self._result, comparison),
        ):
            if text:
                self._say(text, "  ")
        kind = "Simulated people, no real traffic. " if self._result.simulated else ""
        design = {"twin": "Twin design. ", "observed": "Observed data. "}
        treatment, control = comparison.treatment, comparison.control
        self._say(
            f"{kind}{design.get(self._result.design, '')}"
            f"Treatment: {shorten(treatment, _NAME_CELLS)}. "
            f"Control: {shorten(control, _NAME_CELLS)}.",
            "  ",
        )
        if verdict.finding != "check failed":
            self._factors(comparison)
        if trust:
            self._trust()
        for metric in words.of_role(comparison, "primary"):
            self._primary(metric)
        guardrails = words.of_role(comparison, "guardrail")
        if guardrails:
            self._heading(f"Guardrails {words.family(guardrails)}".strip())
            for metric in guardrails:
                self._guardrail(metric)
        self._secondary(words.of_role(comparison, "secondary"))
        self._assumptions(comparison)
        self._interference(comparison)
        self._notes(comparison)

    def _factors(self, comparison: ArmComparison) -> None:
        split = comparison.factors
        if split is None:
            return
        self._heading("The lift, factor by factor")
        rows = [
            [f"  {factor.label}", *words.factor_values(factor), formats.lift(factor.relative), part]
            for factor, part in zip(split.factors, words.factor_parts(split), strict=False)
        ]
        rows.append(["  Together", "", "", "", words.factor_parts(split)[-1]])
        primary = next(iter(words.of_role(comparison, "primary")), None)
        how = words.adjusted(self._result, primary) if primary else ""
        head = ["  Factor", "control", "treatment", f"lift {how}".strip(), "part"]
        lines = table(head, rows, self._width)
        if lines is None:
            self._say(words.factor_line(split), "  ")
        else:
            self._lines += lines

    def _trust(self) -> None:
        chips = words.chips(self._result)
        self._heading(f"Checks: {words.checks_line(chips)}")
        label_width = max(len(chip.label) for chip in chips)
        for chip in chips:
            status = self._painted(f"{_STATUS[chip.status]:<8}", chip.status)
            lead = " " * (2 + 8 + label_width + 2)
            lines = wrap(self._clean(chip.detail), self._width, lead)
            self._lines.append(f"  {status}{chip.label:<{label_width}}  {lines[0].lstrip()}")
            self._lines += lines[1:]

    def _primary(self, metric: MetricComparison) -> None:
        unit = f" ({metric.unit}; {words.preference(metric)})"
        self._heading(f"Primary metric: {metric.label}{unit}")
        if metric.absolute is None:
            self._say("No data.", "  ")
            return
        arms = (metric.control, metric.treatment)
        rows = [
            ["  " + shorten(arm.arm, _NAME_CELLS), text, words.people(self._result, arm.users)]
            for arm, text in zip(arms, formats.arm_values(arms, metric.unit), strict=True)
        ]
        self._lines += table([], rows, self._width) or [" ".join(row) for row in rows]
        difference = formats.difference(metric.absolute, metric.unit, alone=True)
        lead = f"lift {formats.lift(metric.relative)} ({self._ci(metric)}; {difference})"
        if metric.scale == "absolute":
            lead = f"difference {difference} ({self._ci(metric)})"
        self._say(
            f"{lead}, {formats.p_equals(metric.p_adjusted)}: {metric.outcome}",
            "  ",
        )
        note = words.adjustment_note(self._result, metric)
        self._say(f"{words.detectable(metric)} {note}".strip(), "  ")

    def _ci(self, metric: MetricComparison) -> str:
        return f"{formats.confidence(metric.confidence)} CI {formats.shown_interval(metric)}"

    def _guardrail(self, metric: MetricComparison) -> None:
        self._say(
            f"{metric.label}: {words.margin(metric)}. {metric.outcome.capitalize()}: "
            f"{words.guardrail(metric)}",
            "  ",
            "    ",
        )
        if metric.absolute is None:
            return
        control, treatment = formats.arm_values((metric.control, metric.treatment), metric.unit)
        noun = "difference" if metric.scale == "absolute" else "lift"
        self._say(
            f"{control} -> {treatment}, {noun} {formats.shown_effect(metric)} "
            f"({self._ci(metric)}), {formats.p_equals(metric.p_adjusted)} for no change",
            "    ",
        )

    def _secondary(self, metrics: list[MetricComparison]) -> None:
        if not metrics:
            return
        self._heading(f"Secondary metrics {words.family(metrics)}".strip())
        rows = []
        for metric in metrics:
            arms = (metric.control, metric.treatment)
            missing = metric.absolute is None
            values = [formats.MISSING] * 2 if missing else formats.arm_values(arms, metric.unit)
            rows.append(
                [
                    f"  {_MARKS.get(metric.outcome, '?')} {metric.label}",
                    *values,
                    formats.shown_effect(metric),
                    formats.shown_interval(metric),
                    formats.p_value(metric.p_adjusted),
                ]
            )
        head = ["    Metric", "control", "treatment", "lift", "interval", "p adj."]
        lines = table(head, rows, self._width)
        if lines is None:
            for metric, (label, before, after, lift, bounds, _) in zip(metrics, rows, strict=True):
                self._say(label.strip(), "  ", "    ")
                p = formats.p_equals(metric.p_adjusted)
                self._say(f"{before} -> {after}, {lift} ({bounds}), adjusted {p}", "      ")
        else:
            self._lines += lines
        self._say(
            "+ better, - worse, . not clear, ? no data. Values per user"
            f"{'' if self._result.design == 'observed' else '-day'}, or of a ratio. p and "
            "the interval's level are corrected together.",
            "  ",
        )

    def _assumptions(self, comparison: ArmComparison) -> None:
        record = self._result.assumptions
        if record is None:
            return
        found = [
            row
            for grid in words.by_spread(record, comparison)
            for row in words.assumed_rows(record, grid, comparison)
        ]
        if not found:
            return
        self._heading(f"{record.label} under other assumptions")
        rows = [[f"    {r.value}", r.control, r.effect, r.interval, r.outcome] for r in found]
        lift = "difference" if record.scale == "absolute" else "lift"
        head = ["    Value", "control", lift, "interval", "outcome"]
        lines = table(head, rows, self._width, frozenset({4}))
        # A table whose first column wraps has more lines than rows.
        fits = lines is not None and len(lines) == 1 + len(rows)
        if lines is not None and fits:
            self._lines.append(lines[0])
        label = ""
        for number, row in enumerate(found, start=1):
            if row.label != label:
                label = row.label
                self._say(label, "  ")
            if lines is not None and fits:
                self._lines.append(lines[number])
            else:
                told = f"{row.value}: {row.effect} ({row.interval}), {row.outcome}"
                self._say(told, "    ", "      ")
        self._say(words.how_assumed(record), "  ")

    def _interference(self, comparison: ArmComparison) -> None:
        record = self._result.interference
        rows = [] if record is None else words.bias_rows(record, comparison)
        if record is None or not rows:
            return
        self._heading("This test against the effect on everybody")
        for row in rows:
            self._say(
                f"{row.label}: this test {row.test}, tests on average {row.expected}, everybody "
                f"{row.truth}, bias {row.bias}. Sharing moves the control by {row.control}, the "
                f"treatment by {row.treatment}.",
                "  ",
                "    ",
            )
        self._say(words.how_biased(record), "  ")

    def _notes(self, comparison: ArmComparison) -> None:
        effect = words.true_effect(comparison)
        if effect:
            self._lines.append("")
            self._say(effect)
        for text in words.interactions(comparison):
            self._lines.append("")
            self._say(text)
        found = words.warnings(self._result, comparison)
        if found:
            self._heading("Warnings")
        for warning in found:
            about = f" ({warning.about})" if warning.about else ""
            self._say(f"warning: {warning.text}{about}", "  ", "    ")

    def _heading(self, text: str) -> None:
        self._lines.append("")
        self._say(text, paint="heading")

    def _say(self, text: str, first: str = "", rest: str | None = None, paint: str = "") -> None:
        lines = wrap(self._clean(text), self._width, first, rest)
        self._lines += [self._painted(line, paint) for line in lines]

    def _painted(self, text: str, paint: str) -> str:
        code = _COLORS.get(paint)
        return f"\x1b[{code}m{text}\x1b[0m" if self._color and code else text
