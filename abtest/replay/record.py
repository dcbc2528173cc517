"""Turn a replay into an analysed experiment: the same verdicts, tables, report and results.json."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from typing import Any

from abtest.replay.ask import Replayed, ReplayOptions, seed_spread
from abtest.version import __version__
from reports import formats
from reports.results import (
    SCHEMA_VERSION,
    ArmComparison,
    ArmValue,
    Estimate,
    ExperimentResult,
    HealthCheck,
    MetricComparison,
    Role,
    SegmentLift,
)
from reports.statistics.multiplicity import adjusted_confidence, holm
from reports.verdict.judge import judge
from reports.verdict.rule import DecisionRule
from simulator.replay import METRICS, Comparison, MetricResult, ReplayResult
from simulator.replay import Estimate as Found
from simulator.replay.result import UNUSABLE, USABLE, Overlap
from simulator.replay.summary import at_level

CONFIDENCE = 0.95
GUARDRAIL_MARGIN = 0.05
_SCALE = {"share": (100.0, "% of impressions"), "ms": (0.001, "s per impression"),
          "count": (1.0, "per impression")}  # fmt: skip


def as_experiment(replayed: Replayed, asked: ReplayOptions, *, command: str) -> ExperimentResult:
    """The replay as a result of the schema that every other command writes.

    The verdict's rule is that of an experiment. A treatment whose primary metric is unusable has a
    failed check, and therefore no verdict.

    Args:
        replayed: What came out.
        asked: What was asked.
        command: The command that does the same again.
    """
    result = replayed.result
    health = _checks(result)
    comparisons = tuple(
        _comparison(result, name, asked.min_effect, health) for name in result.treatments
    )
    info = replayed.dataset.info
    return ExperimentResult(
        schema_version=SCHEMA_VERSION,
        title=f"{', '.join(result.treatments)} against {result.control}, replayed",
        simulated=info.world is not None,
        design="observed",
        comparisons=comparisons,
        health=tuple(health),
        warnings=tuple(result.warnings),
        context=_context(replayed, asked, command),
    )


def _comparison(
    result: ReplayResult, treatment: str, min_effect: float, health: list[HealthCheck]
) -> ArmComparison:
    found = result.of(treatment)
    users = {name: overlap.users for name, overlap in result.overlap.items()}
    primary = [_row(m, result.control, users) for m in found if m.role == "primary"]
    guardrails = [_row(m, result.control, users) for m in found if m.role == "guardrail"]
    secondary = _corrected(result, [m for m in found if m.role == "secondary"], users)
    mine = [c for c in health if c.facts.get("policy") in (None, treatment, result.control)]
    return ArmComparison(
        treatment=treatment,
        control=result.control,
        verdict=judge(
            primary[0],
            guardrails,
            mine,
            min_effect=min_effect,
            rule=DecisionRule(),
            same_policy=treatment == result.control,
        ),
        metrics=(*primary, *guardrails, *secondary),
        daily=(),
        segments=_segments(result, treatment),
        distributions=(),
    )


def _segments(result: ReplayResult, treatment: str) -> tuple[SegmentLift, ...]:
    """The primary metric by segment, Holm-corrected over all levels that are usable."""
    mine = [s for s in result.segments if s.treatment == treatment]
    usable = [s.found.verdict != UNUSABLE and s.found.p_value is not None for s in mine]
    known = [s.found.p_value or 0.0 for s, shown in zip(mine, usable, strict=True) if shown]
    pairs = iter(zip(known, holm(known), strict=True))
    lifts = []
    for one, shown in zip(mine, usable, strict=True):
        relative, adjusted = None, None
        if shown:
            p, adjusted = next(pairs)
            level = adjusted_confidence(p, adjusted, len(known), CONFIDENCE)
            relative = _shown(at_level(one.found, level)[1], 1.0)
        lifts.append(SegmentLift(one.segment, one.level, one.users, relative, adjusted))
    return tuple(lifts)


def _corrected(
    result: ReplayResult, metrics: list[MetricResult], users: dict[str, int]
) -> list[MetricComparison]:
    """Secondary metrics with Holm's p values and intervals of the levels that go with them."""
    known = {m.name: m.best.p_value for m in metrics if m.best.p_value is not None}
    adjusted = dict(zip(known, holm([p for p in known.values() if p is not None]), strict=True))
    family = f"secondary (Holm, {formats.counted(len(known), 'metric')})"
    rows = []
    for metric in metrics:
        p = known.get(metric.name)
        if p is None:
            rows.append(_row(metric, result.control, users))
            continue
        level = adjusted_confidence(p, adjusted[metric.name], len(known), CONFIDENCE)
        rows.append(_row(metric, result.control, users, level, adjusted[metric.name], family))
    return rows


def _row(
    metric: MetricResult,
    control: str,
    users: dict[str, int],
    level: float = CONFIDENCE,
    p_adjusted: float | None = None,
    family: str = "",
) -> MetricComparison:
    found = metric.best
    scale, unit = _SCALE[metric.unit]
    if METRICS[metric.name].per_comment:
        unit = unit.replace("impressions", "comments seen").replace("impression", "comment seen")
    difference, relative = at_level(found, level)
    role: Role = (
        "primary"
        if metric.role == "primary"
        else ("guardrail" if metric.role == "guardrail" else "secondary")
    )
    margin = GUARDRAIL_MARGIN if role == "guardrail" else None
    usable = found.verdict != UNUSABLE
    row = MetricComparison(
        metric=metric.name,
        label=metric.label,
        unit=unit,
        kind="ratio",
        role=role,
        direction="up" if metric.direction == "up" else "down",
        control=_arm(control, users[control], found.control, scale),
        treatment=_arm(metric.treatment, users[metric.treatment], found.treatment, scale),
        absolute=_shown(difference, scale) if usable else None,
        relative=_shown(relative, 1.0) if usable else None,
        relative_method="fieller" if relative is not None and usable else "none",
        p_value=found.p_value if usable else None,
        p_adjusted=(found.p_value if p_adjusted is None else p_adjusted) if usable else None,
        family=family or ("guardrail (non-inferiority)" if role == "guardrail" else role),
        confidence=level,
        detectable_effect=found.detectable,
        variance_reduction=None,
        margin=margin,
        outcome="",
        warnings=tuple(_sentence(found)),
    )
    return dataclasses.replace(row, outcome=_outcome(row))


def _sentence(found: Comparison) -> list[str]:
    if found.verdict == USABLE:
        return []
    return [f"{found.verdict.capitalize()}: {'; '.join(found.reasons)}."]


def _outcome(row: MetricComparison) -> str:
    if row.absolute is None or row.p_adjusted is None:
        return "no data"
    sign = 1.0 if row.direction == "up" else -1.0
    if row.margin is not None:
        relative = row.relative
        if relative is None or relative.low is None or relative.high is None:
            return "not clear"
        harm, best = (relative.low, relative.high) if sign > 0 else (-relative.high, -relative.low)
        if harm > -row.margin:
            return "within margin"
        return "margin broken" if best < -row.margin else "not clear"
    if row.p_adjusted >= 1.0 - CONFIDENCE:
        return "not clear"
    return "better" if sign * row.absolute.value > 0 else "worse"


def _arm(name: str, users: int, found: Found | None, scale: float) -> ArmValue:
    if found is None:
        return ArmValue(name, users, float("nan"), float("nan"))
    return ArmValue(name, users, scale * found.value, scale * found.standard_error)


def _shown(found: Found | None, scale: float) -> Estimate | None:
    if found is None:
        return None
    low = None if found.low is None else scale * found.low
    high = None if found.high is None else scale * found.high
    return Estimate(scale * found.value, low, high)


def _checks(result: ReplayResult) -> list[HealthCheck]:
    checks = []
    for line in result.identification:
        asked = line.subject in result.stages or (
            line.subject == "both" and len(result.stages) == 2
        )
        checks.append(
            HealthCheck(
                f"identified_{line.subject}",
                f"Identified: {line.subject}",
                "pass" if line.identified else ("fail" if asked else "not run"),
                f"{line.why}" + (f". {line.way_out}" if line.way_out else ""),
            )
        )
    primary = {m.treatment: m for m in result.metrics if m.role == "primary"}
    for overlap in result.overlap.values():
        status = {USABLE: "pass", UNUSABLE: "fail"}.get(overlap.verdict, "warn")
        detail = "; ".join(overlap.reasons) or f"worth {overlap.effective:,.0f} independent rows"
        checks.append(
            HealthCheck(
                f"overlap_{overlap.policy}", f"Overlap of {overlap.policy}", status,  # type: ignore[arg-type]
                detail, facts={"policy": overlap.policy, **_numbers(overlap)},
            )
        )  # fmt: skip
    for treatment, metric in primary.items():
        found = metric.best
        if not METRICS[metric.name].per_comment and (result.overlap[treatment].verdict == UNUSABLE):
            continue
        status = {USABLE: "pass", UNUSABLE: "fail"}.get(found.verdict, "warn")
        detail = "; ".join(found.reasons) or (
            f"{metric.recommended}, worth {found.effective or 0:,.0f} independent rows"
        )
        checks.append(
            HealthCheck(
                f"primary_{treatment}", f"Primary metric of {treatment}", status,  # type: ignore[arg-type]
                detail, facts={"policy": treatment},
            )
        )  # fmt: skip
    return checks


def _numbers(overlap: Overlap) -> dict[str, Any]:
    return {
        "expected_effective": overlap.expected_effective,
        "effective_sample_size": overlap.effective_sample_size,
        "mean_weight": overlap.mean_weight,
        "unsupported_share": overlap.unsupported_share,
    }


def _context(replayed: Replayed, asked: ReplayOptions, command: str) -> dict[str, Any]:
    result, info = replayed.result, replayed.dataset.info
    seeds = {
        str(seed): {name: list(lift) for name, lift in found.items()}
        for seed, found in replayed.seeds.items()
    }
    spread = {name: seed_spread(replayed.seeds, name) for name in result.treatments}
    return {
        "command": command,
        "method": "replay of a log; nobody was simulated for it",
        "design": "observed",
        "users": max(overlap.users for overlap in result.overlap.values()),
        "estimand": result.definition,
        "data": {
            "name": info.name,
            "content_hash": info.content_hash,
            "impressions": info.rows.get("impressions", 0),
            "replayed_from_ms": replayed.cut_ms,
        },
        "rows": result.rows,
        "recommended": {m.name: m.recommended for m in result.metrics},
        "training_seeds": seeds,
        "spread_over_training_seeds": {k: v for k, v in spread.items() if v == v},
        "policies": replayed.summaries,
        "replay": result.to_dict(),
        "options": {
            "min_effect": asked.min_effect,
            "reward_model": asked.model,
            "interval": dataclasses.asdict(asked.interval),
        },
        "versions": {
            "abtest": __version__,
            **{name: importlib.metadata.version(name) for name in ("numpy", "scipy", "polars")},
        },
    }
