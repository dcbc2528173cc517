"""Compute users needed, detectable effect or power for every metric of a source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from abtest.config_sources import suggest
from abtest.errors import UsageError
from abtest.power.known import Known, Unknown
from reports.statistics.errors import StatisticsError
from reports.statistics.power import (
    PlannedTest,
    best_shares,
    detectable_lift,
    detectable_margin,
    power,
    sample_size,
)

Question = Literal["users", "effect", "power", "margin"]
Correct = Literal["both", "treatments", "metrics", "none"]


@dataclass(frozen=True)
class Asked:
    """What is planned.

    Attributes:
        effect: A share of the value, or in the metric's unit; None if it is what is asked for.
        users: In all arms together, or None if they are.
        margin: Non-inferiority margin above zero, or None for a test of a difference.
        power: Wanted.
        alpha: Two-sided error rate of the experiment; one-sided tests spend half of it.
        shares: Of users per arm, the control first.
        correct: Over what alpha is divided: treatments, (secondary) metrics, both or none.
        paired: Twin design.
        effect_is_share, margin_is_share: Whether they were given with ``%``.
    """

    effect: float | None
    users: int | None
    margin: float | None
    power: float
    alpha: float
    shares: tuple[float, ...]
    correct: Correct
    paired: bool
    effect_is_share: bool = True
    margin_is_share: bool = True

    @property
    def question(self) -> Question:
        """What is not given."""
        if self.users is None:
            return "users"
        if self.margin is not None:
            return "power"
        return "effect" if self.effect is None else "power"

    def test(self, known: Known, secondary: int) -> PlannedTest:
        """The test of a metric, at the level that the analysis leaves it.

        The analysis corrects by Holm's method (or Benjamini and Hochberg's) over treatments and
        over secondary metrics; both find at least what a test at alpha / k finds, which is planned.

        Args:
            known: The metric.
            secondary: How many secondary metrics there are.
        """
        guards = self.margin is not None or known.role == "guardrail"
        over_metrics = self.correct in ("metrics", "both") and known.role == "secondary"
        base = PlannedTest(
            self.alpha,
            shares=self.shares,
            correct=self.correct in ("treatments", "both") and not guards,
            paired=self.paired,
            absolute=known.scale == "absolute",
            looks=max(secondary, 1) if over_metrics and not guards else 1,
        )
        if self.margin is None:
            return base
        # Guardrails are read from two-sided intervals: each end has half the error rate.
        up = known.direction == "up"
        margin = self.size(known, self.margin, self.margin_is_share)
        return base._replace(
            alpha=self.alpha / 2.0,
            alternative="greater" if up else "less",
            null=-margin if up else margin,
        )

    @staticmethod
    def size(known: Known, given: float, is_share: bool) -> float:
        """An effect or margin on the metric's scale.

        Raises:
            StatisticsError: a share of a value that is not clear of zero.
        """
        if known.scale == "relative":
            return given
        if not is_share:
            return given / known.shown
        if not known.clear:
            raise StatisticsError(
                f"a share of '{known.metric}' is no size.",
                f"Its value, {known.shown * known.baseline.value:.4g}, is not clear of zero.",
                "Give the effect in its unit: --mde 0.5",
            )
        return given * abs(known.baseline.value)


@dataclass(frozen=True)
class Answer:
    """One row: a metric, users, effect and power; or the problem that prevents it.

    Attributes:
        metric, unit, value, deviation, variance_removed: what is known; ``deviation`` is of one
            user, after covariates.
        users: Per arm, the control first.
        total: Different users in all arms.
        effect: Relative effect.
        margin: Non-inferiority margin, if one is tested.
        scale: Whether effect and margins are shares of the value or in the metric's unit.
        smallest_margin: Shown with the wanted power by these users, if a margin is tested.
        power: Probability of a significant result.
        problem: Why there is no answer; empty if there is one.
    """

    metric: str
    unit: str
    value: float | None
    deviation: float | None
    variance_removed: float | None
    users: tuple[int, ...] = ()
    total: int | None = None
    effect: float | None = None
    margin: float | None = None
    smallest_margin: float | None = None
    power: float | None = None
    scale: str = "relative"
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; None for what is not finite."""
        values = dataclasses.asdict(self)
        return {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in values.items()
        }


def answer(known: Known, asked: Asked, secondary: int = 1) -> Answer:
    """Answer the question for one metric.

    Args:
        known: The metric.
        asked: The question.
        secondary: How many secondary metrics there are.

    Raises:
        StatisticsError: it has no answer.
    """
    test = asked.test(known, secondary)
    baseline = known.baseline
    shown = known.shown if known.scale == "absolute" else 1.0
    row = Answer(
        known.metric,
        known.unit,
        known.shown * baseline.value,
        known.shown * math.sqrt(baseline.variance),
        known.variance_removed,
        margin=None if asked.margin is None else shown * abs(test.null),
        scale=known.scale,
    )
    effect = None
    if asked.effect is not None:
        effect = asked.size(known, asked.effect, asked.effect_is_share)
    elif asked.margin is not None:
        effect = 0.0
    if asked.users is None:
        if effect is None:
            raise UsageError(
                "say the effect to find or the users to have.", "Give --mde or --users"
            )
        plan = sample_size(baseline, effect, test, target=asked.power)
        return dataclasses.replace(
            row, users=plan.users, total=plan.total, effect=shown * plan.lift, power=plan.power
        )
    users = arm_sizes(asked.users, asked.shares, asked.paired)
    row = dataclasses.replace(row, users=users, total=asked.users)
    if effect is None:
        plan = detectable_lift(baseline, users, test, target=asked.power)
        return dataclasses.replace(row, effect=shown * plan.lift, power=plan.power)
    smallest = None
    if asked.margin is not None:
        smallest = shown * detectable_margin(baseline, users, test, lift=effect, target=asked.power)
    return dataclasses.replace(
        row,
        effect=shown * effect,
        power=power(baseline, effect, users, test),
        smallest_margin=smallest,
    )


def answers(known: Sequence[Known | Unknown], asked: Asked) -> list[Answer]:
    """Answers for several metrics; a metric without one says why, unless it is the only one.

    Raises:
        StatisticsError: the only metric has no answer.
    """
    rows = []
    secondary = sum(isinstance(item, Known) and item.role == "secondary" for item in known)
    for item in known:
        if isinstance(item, Unknown):
            rows.append(Answer(item.metric, item.unit, None, None, None, problem=item.problem))
            continue
        try:
            rows.append(answer(item, asked, secondary))
        except StatisticsError as error:
            if len(known) == 1:
                raise
            rows.append(Answer(item.metric, item.unit, None, None, None, problem=str(error)))
    return rows


def arm_sizes(total: int, shares: Sequence[float], paired: bool) -> tuple[int, ...]:
    """Users per arm.

    Raises:
        UsageError: an arm with fewer than two users.
    """
    if paired:
        sizes = (total,) * len(shares)
    else:
        sizes = tuple(int(total * share / sum(shares) + 1e-9) for share in shares)
    if min(sizes) < 2:
        raise UsageError(
            f"--users {total:,} leaves {min(sizes)} users in an arm; a test needs two."
        )
    return sizes


def parse_shares(text: str | None, treatments: int) -> tuple[float, ...]:
    """``0.1`` (of each treatment), ``best``, ``0.8,0.1,0.1`` (control first); None: equal.

    Raises:
        UsageError: shares that are none.
    """
    if text is None:
        return (1.0 / (treatments + 1),) * (treatments + 1)
    if text.strip() == "best":
        return best_shares(treatments)
    try:
        parts = [_fraction(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--split is '{text}', expected shares.", "Example: --split 0.1") from None
    if len(parts) == 1:
        parts = [1.0 - treatments * parts[0], *parts * treatments]
    if len(parts) != treatments + 1 or not min(parts) > 0.0 or not abs(sum(parts) - 1.0) < 1e-6:
        raise UsageError(
            f"--split {text} does not divide users among a control and {treatments} treatments.",
            "Give the share of each treatment, or one share per arm that add up to 1",
        )
    return tuple(parts)


def parse_correct(text: str) -> Correct:
    """What alpha is divided over.

    Raises:
        UsageError: an unknown choice.
    """
    for known in get_args(Correct):
        if text == known:
            return cast(Correct, known)
    raise UsageError(
        f"--correct is '{text}'.{suggest(text, get_args(Correct))}",
        f"Known: {', '.join(get_args(Correct))}",
    )


def _fraction(text: str) -> float:
    text = text.strip()
    return float(text[:-1]) / 100.0 if text.endswith("%") else float(text)
