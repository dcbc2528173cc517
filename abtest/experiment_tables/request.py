"""Parse what `abtest analyze` was asked: options, plan, columns and planned split."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from abtest.config_sources import parse_percent, suggest
from abtest.errors import UsageError
from abtest.results.metrics import platform_metrics
from reports.analysis.metric_files import (
    Declared,
    build_observed_plan,
    parse_metric,
    read_metrics,
)
from reports.plan import AnalysisPlan, Metric
from reports.users.files import Columns, UserFile
from reports.users.risk import MATURE, Absent
from reports.users.rows import Aggregation
from reports.verdict.rule import parse_rule

SLOPES = ("common", "by-arm")
RATIO_COVARIATES = ("parts", "linear")
RATES = ("auto", "score", "pooled", "welch")
CORRECT = ("both", "treatments", "metrics", "none")
CORRECTIONS = ("holm", "bh")
ABSENT: tuple[Absent, ...] = get_args(Absent)


@dataclass(frozen=True)
class ObservedOptions:
    """What `abtest analyze` was asked; see its help."""

    table: tuple[Path, ...]
    user: str = "user_id"
    arm: str | None = "arm"
    metrics: tuple[str, ...] = ()
    metrics_file: Path | None = None
    control: str | None = None
    covariates: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    day: str | None = None
    start: str | None = None
    absent: str = "error"
    joined: str | None = None
    split: str | None = None
    primary: str | None = None
    guardrails: tuple[str, ...] = ()
    absolute: tuple[str, ...] = ()
    min_effect: str = "0%"
    rule: tuple[str, ...] = ()
    confidence: str = "95%"
    rates: str = "auto"
    correct: str = "both"
    correction: str = "holm"
    slopes: str = "common"
    ratio_covariate: str = "parts"
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    bad_rows: str = "fail"


def plan_of(options: ObservedOptions, file: UserFile) -> AnalysisPlan:
    """The plan of an observed experiment.

    Raises:
        UsageError, PlanError: naming the option that makes no sense.
    """
    per = "user" if options.day is None else "user-day"
    declared: list[Declared] = []
    if options.metrics_file is not None:
        declared += read_metrics(options.metrics_file, per=per)
    for text in [*options.metrics, *_undeclared_guardrails(options, declared, file)]:
        chosen = parse_metric(text, file.columns, per=per, built_in=platform_metrics())
        if len(chosen.numerator) == 1 and not chosen.denominator:
            chosen = _as_retention(chosen, file.columns)
        declared.append(Declared(chosen))
    if not declared:
        keys = (options.user, options.arm, options.day, options.joined)
        names = file.numbers(keys) or [n for n in file.columns if n not in keys]
        raise UsageError(
            "no metric to analyse.", f"Add: --metric {names[0] if names else 'COLUMN'}"
        )
    return build_observed_plan(
        declared,
        primary=options.primary,
        guardrails=options.guardrails,
        min_effect=_min_effect(options.min_effect),
        min_effect_is_share="%" in options.min_effect,
        absolute=options.absolute,
        strata=options.strata,
        slopes=_chosen("--slopes", options.slopes, SLOPES).replace("-", " "),
        ratio_covariate=_chosen("--ratio-covariate", options.ratio_covariate, RATIO_COVARIATES),
        rule=parse_rule(options.rule),
        confidence=_confidence(options.confidence),
        rates=_chosen("--rates", options.rates, RATES),
        correct=_chosen("--correct", options.correct, CORRECT),
        correction=_chosen("--correction", options.correction, CORRECTIONS),
    )


def _as_retention(chosen: Metric, columns: Sequence[str]) -> Metric:
    """``active@7``: users active on the seventh day after they joined, of those whose day came."""
    (name,) = chosen.numerator
    if name in columns or not _is_retention(name):
        return chosen
    mature = f"{MATURE}{name.rsplit('@', 1)[1]}"
    return dataclasses.replace(chosen, denominator=(mature,), percent=True, unit="%")


def columns_of(options: ObservedOptions, plan: AnalysisPlan, columns: Sequence[str]) -> Columns:
    """The columns to read.

    Raises:
        UsageError: a covariate with an unknown aggregation.
    """
    covariates = dict(_covariate(text, columns) for text in options.covariates)
    named = [c for m in plan.metrics.values() for c in (*m.numerator, *m.denominator)]
    retention = _retention(named, columns)
    if retention and options.joined is None:
        raise UsageError(
            f"'{retention[0][0]}@{retention[0][1]}' needs the day on which each user joined.",
            "Name its column: --joined COLUMN",
        )
    outcomes = [c for c in named if c in columns or not _is_retention(c)]
    outcomes += [column for column, _ in retention]
    return Columns(
        user=options.user,
        arm=options.arm,
        outcomes=tuple(dict.fromkeys(outcomes)),
        covariates=tuple(covariates),
        segments=tuple(dict.fromkeys([*options.strata, *options.segments])),
        day=options.day,
        aggregations={name: how for name, how in covariates.items() if how is not None},
        joined=options.joined,
        absent=_absent(options.absent),
        retention=tuple(retention),
    )


def _absent(text: str) -> Absent:
    for known in ABSENT:
        if text == known:
            return known
    raise UsageError(f"--absent is '{text}'.{suggest(text, ABSENT)}", _known(ABSENT))


def _is_retention(name: str) -> bool:
    return re.fullmatch(r".+@\d+", name) is not None


def _retention(names: Sequence[str], columns: Sequence[str]) -> list[tuple[str, int]]:
    """Outcome columns and days after joining, of names as ``active@7``."""
    found = [n.rsplit("@", 1) for n in names if n not in columns and _is_retention(n)]
    return list(dict.fromkeys((c, int(day)) for c, day in found if c != MATURE.rstrip("@")))


def parse_split(text: str | None) -> dict[str, float] | None:
    """Planned shares from ``control=90,treatment=10``.

    Raises:
        UsageError: unreadable, or a share that is none.
    """
    if text is None:
        return None
    shares: dict[str, float] = {}
    for part in text.split(","):
        arm, _, share = part.rpartition("=")
        try:
            value = float(share.strip().rstrip("%"))
        except ValueError:
            value = 0.0
        if not arm.strip() or not 0.0 < value < float("inf") or arm.strip() in shares:
            raise UsageError(
                f"--split '{text}' does not give every arm a share.",
                "Example: --split control=90,treatment=10",
            )
        shares[arm.strip()] = value
    return shares


def check_split(planned: Mapping[str, float] | None, arms: Sequence[str]) -> None:
    """Refuse a plan that is not about these arms.

    A planned arm without users and an arm that nobody planned are no mistakes of the command: they
    are evidence against the split, and the check of the split says so.

    Raises:
        UsageError: the control has no planned share, or no other arm of the table has one.
    """
    if planned is None or (arms[0] in planned and len(set(arms) & set(planned)) > 1):
        return
    missing = next(arm for arm in arms if arm not in planned)
    close = difflib.get_close_matches(missing, planned, n=1)
    guess = f" Did you mean '{missing}' by '{close[0]}'?" if close else ""
    raise UsageError(
        f"--split plans {', '.join(map(repr, planned))}, the table has "
        f"{', '.join(map(repr, arms))}.{guess}",
        f"Example: --split {','.join(f'{arm}={100 / len(arms):.3g}' for arm in arms)}",
    )


def _undeclared_guardrails(
    options: ObservedOptions, declared: Sequence[Declared], file: UserFile
) -> list[str]:
    """Guardrails that name a column and no metric: the mean of the column."""
    names = {d.metric.name for d in declared}
    names |= {text.partition("=")[0].strip() for text in options.metrics}
    asked = dict.fromkeys(text.partition("=")[0].strip() for text in options.guardrails)
    return [name for name in asked if name in file.columns and name not in names]


def _chosen(flag: str, value: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise UsageError(f"{flag} is '{value}'.{suggest(value, choices)}", _known(choices))
    return value


def _known(choices: Sequence[str]) -> str:
    return f"Known: {', '.join(choices)}"


def _min_effect(text: str) -> float:
    value = parse_percent(text)
    if not 0.0 <= value < float("inf"):
        raise UsageError(f"--min-effect is {text}, expected 0 or more.", "Example: 0.5%")
    return value


def _confidence(text: str) -> float:
    value = parse_percent(text)
    if not 0.5 <= value < 1.0:
        raise UsageError(f"--confidence is {text}, expected 50 % to below 100 %.", "Example: 95%")
    return value


def _covariate(text: str, columns: Sequence[str]) -> tuple[str, Aggregation | None]:
    """``COLUMN`` or ``COLUMN:mean``: how several rows of a user become one number."""
    name, colon, how = text.rpartition(":")
    if text in columns or not colon:
        return text, None
    for known in get_args(Aggregation):
        if how == known:
            return name, known
    raise UsageError(
        f"--covariate {text}: a user's rows are not made one number by '{how}'.",
        _known(get_args(Aggregation)),
    )
