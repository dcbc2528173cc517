"""Write the sentences about metrics: margins, power, trends, segments."""

from __future__ import annotations

from dataclasses import dataclass

from reports import formats
from reports.results import (
    ArmComparison,
    ExperimentResult,
    MetricComparison,
    Role,
)


@dataclass(frozen=True)
class Warn:
    """A warning and the metrics it is about ("" for the experiment as a whole)."""

    about: str
    text: str


def of_role(comparison: ArmComparison, role: Role) -> list[MetricComparison]:
    """The metrics with one role, in the order of the record."""
    return [m for m in comparison.metrics if m.role == role]


def family(metrics: list[MetricComparison]) -> str:
    """How the metrics of one role are corrected: "(Holm, 8 metrics)"; empty if they are not."""
    names = dict.fromkeys(m.family.removeprefix(m.role).strip() for m in metrics)
    return ", ".join(name for name in names if name)


def inline(label: str) -> str:
    """A label inside a sentence: its first letter small, unless it is an abbreviation."""
    start = label.split(" ")[0][:2]
    return label if len(start) > 1 and start.isupper() else label[:1].lower() + label[1:]


def harm(metric: MetricComparison) -> str:
    """What would be bad: "a rise" or "a fall"."""
    return "a fall" if metric.direction == "up" else "a rise"


def preference(metric: MetricComparison) -> str:
    """Which direction is good."""
    return "more is better" if metric.direction == "up" else "less is better"


def margin(metric: MetricComparison) -> str:
    """The non-inferiority margin in words."""
    if metric.margin is None:
        return "no margin"
    verb = "fall" if metric.direction == "up" else "rise"
    return f"must not {verb} by more than {formats.margin(metric)}"


def guardrail(metric: MetricComparison) -> str:
    """What the interval says about the margin; goes after the outcome and a colon."""
    if metric.margin is None or metric.outcome == "no data":
        return "nothing can be said about this guardrail."
    beyond = f"{harm(metric)} beyond {formats.margin(metric)}"
    if metric.outcome == "margin broken":
        return f"the whole interval is {beyond}."
    p = "" if metric.margin_p is None else f" ({formats.p_equals(metric.margin_p)}, one-sided)"
    if metric.outcome == "within margin":
        return f"the interval rules out {beyond}{p}."
    if p:
        p = p.replace(")", f"; it would take less than {0.5 * (1.0 - metric.confidence):.3g})")
    return f"the interval does not rule out {beyond}{p}."


def detectable(metric: MetricComparison) -> str:
    """The power of the test in words."""
    size = formats.detectable_size(metric)
    if size == formats.MISSING:
        return f"What this test could detect in {inline(metric.label)} is not known."
    return (
        f"With this data's variance, the test detects a change of ±{size} in "
        f"{inline(metric.label)} (80 % power)."
    )


def true_effect(comparison: ArmComparison) -> str | None:
    """What a twin design's lift is; None for other designs."""
    if comparison.true_effect is None:
        return None
    return (
        "Twin design: the same people lived through both arms, so this is the effect on them and "
        "not an estimate for others like them."
    )


def novelty(comparison: ArmComparison) -> str | None:
    """Whether the lift changes from day to day, where that was tested."""
    found = comparison.novelty
    if found is None:
        return None
    noun, slope = "lift", f"{formats.lift(found.slope)} of the control"
    bounds = formats.interval(found.slope)
    if found.scale == "absolute":
        primary = next(iter(of_role(comparison, "primary")), None)
        unit = "" if primary is None else primary.unit
        noun, slope = "difference", formats.difference(found.slope, unit)
        bounds = formats.absolute_interval(found.slope, unit)
    word = "no clear trend"
    if found.p_value < 1.0 - found.confidence:
        word = f"the {noun} {'rises' if found.slope.value > 0.0 else 'falls'}"
    return (
        f"Novelty: over {found.days} days the {noun} changes by {slope} per day "
        f"({formats.confidence(found.confidence)} CI {bounds}; "
        f"{formats.p_equals(found.p_value)}; family: {found.family}): {word}."
    )


def two_part(comparison: ArmComparison) -> str | None:
    """How much of a lift comes from more or fewer people, where it was taken apart."""
    found = comparison.two_part
    if found is None:
        return None
    bounds = formats.interval(found.from_share)
    if bounds == formats.MISSING:
        return "How much of the lift comes from more or fewer people cannot be told."
    part = formats.lift(found.from_share).lstrip("+")
    return (
        f"{part} of the lift ({formats.confidence(found.confidence)} CI {bounds}) comes from more "
        "or fewer people, on the log scale."
    )


def warnings(result: ExperimentResult, comparison: ArmComparison) -> list[Warn]:
    """Warnings of the experiment and of the metrics; each text once, naming its metrics."""
    about: dict[str, list[str]] = {text: [] for text in result.warnings}
    for metric in comparison.metrics:
        for text in metric.warnings:
            about.setdefault(text, []).append(metric.label)
    return [Warn(", ".join(labels), text) for text, labels in about.items()]
