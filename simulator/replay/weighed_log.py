"""Hold what a replay is asked, and one stage of a log as its policies weigh it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.progress import Meter
from simulator.replay.diagnostics import overlap
from simulator.replay.interval_method import BOOTSTRAP, STUDENT, Intervals
from simulator.replay.logged import LoggedRows
from simulator.replay.models.crossfit import CrossFit
from simulator.replay.result import Overlap
from simulator.replay.target.pages import cumulative_products
from simulator.replay.target.targets import Target
from simulator.replay.valuation import CommentStage, Measured, Weighted


@dataclass(frozen=True)
class Question:
    """What is asked of a log.

    Attributes:
        treatments: Policies to be compared with the control.
        control: The policy that they are compared with.
        primary: Name of the primary metric.
        interval: How intervals are computed.
        quantiles: Shares in (0, 1); of every time, these quantiles are compared too.
        more: Estimators beside the usual ones, out of `simulator.replay.estimators.names.MORE`.
    """

    treatments: tuple[str, ...]
    control: str
    primary: str
    interval: Intervals = STUDENT
    quantiles: tuple[float, ...] = ()
    more: tuple[str, ...] = ()

    def spends_draws_on(self, metric: str) -> bool:
        """Whether the way of intervals that was asked for is meant for all estimates of it."""
        return metric == self.primary or self.interval.method != BOOTSTRAP


@dataclass(frozen=True)
class WeighedLog:
    """The rows of one stage of a log, and how every policy weighs them.

    Attributes:
        logged: The rows.
        targets: By policy, what it would have chosen; empty for a stage that is as logged.
        weighted: By policy, the rows' weights.
        overlaps: By policy, how much of the log speaks about it.
        models: By metric, reward models.
    """

    logged: LoggedRows
    targets: Mapping[str, Target]
    weighted: Mapping[str, Weighted]
    overlaps: Mapping[str, Overlap]
    models: Mapping[str, CrossFit] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        logged: LoggedRows,
        policies: Iterable[str],
        targets: Mapping[str, Target],
        sections: Mapping[str, CommentStage] | None = None,
        models: Mapping[str, CrossFit] | None = None,
        meter: Meter | None = None,
    ) -> WeighedLog:
        """Weigh the rows.

        Args:
            logged: The rows.
            policies: Names. One without a target shows what was logged.
            targets: By policy, what it would have chosen.
            sections: By policy, the comment stage, where that is not as logged.
            models: By metric, reward models.
            meter: Told the policies that are done.
        """
        cluster = np.unique(logged.user, return_inverse=True)[1]
        weighted, overlaps = {}, {}
        for name in policies:
            target, section = targets.get(name), (sections or {}).get(name)
            weighted[name] = _weighted_rows(logged, target, section, cluster)
            overlaps[name] = _overlap(name, weighted[name], target, logged)
            if meter is not None:
                meter.add(1)
        return cls(logged, targets, weighted, overlaps, models or {})

    def measured(self, name: str) -> Measured:
        """One metric of the rows; its reward model, if there is one, predicts all of them."""
        model = self.models.get(name)
        shown = None if model is None else model.of_shown(self.logged.shown)
        return Measured.of(name, self.logged.outcomes, shown)

    def overlaps_of(self, *policies: str) -> list[Overlap]:
        """The overlaps of some policies."""
        return [self.overlaps[name] for name in policies]


def _weighted_rows(
    logged: LoggedRows,
    target: Target | None,
    section: CommentStage | None,
    cluster: NDArray[np.integer],
) -> Weighted:
    """What estimators need of one policy; None for a stage that is as logged."""
    n = len(logged)
    ones = np.ones(n)
    page = page_moment = None
    marginal = None if target is None else target.marginal
    known = marginal is not None and not bool(np.isnan(marginal).any())
    if target is not None and logged.kind == "decisions":
        page = cumulative_products(target.probability / logged.propensity, logged.page)
        page_moment = cumulative_products(target.second_moment, logged.page)
    return Weighted(
        user=cluster,
        n_users=int(cluster.max()) + 1,
        target=ones if target is None else target.probability,
        logging=ones if target is None else logged.propensity,
        second_moment=ones if target is None else target.second_moment,
        page=page,
        page_moment=page_moment,
        comments=section,
        uniform=logged.uniform and target is not None,
        expected={} if target is None else target.expected,
        marginal=marginal if known else None,
        marginal_moment=None if not known or target is None else target.marginal_moment,
        no_marginal=_no_marginal(logged, target),
        largest=1.0 if target is None else largest_weight(logged),
    )


def largest_weight(logged: LoggedRows) -> float | None:
    """The largest weight that the log's probabilities allow any policy; None where unknown."""
    if logged.logging is not None:
        return float(1.0 / logged.logging[logged.logging > 0].min())
    return float(logged.sizes().max()) if logged.uniform else None


def _no_marginal(logged: LoggedRows, target: Target | None) -> str:
    if logged.section is not None:
        return "comments have no category"
    if target is None:
        return "videos stay as logged"
    if target.marginal is None and logged.kind != "given":
        return "the log's videos have no category"
    return "the log does not tell the other candidates' chances"


def unseen_share(shown: NDArray[np.integer]) -> float:
    """Share of random exposure that would have been on videos that the log happens not to show.

    The pool is what happened to be shown: videos of it that never were are unseen. Their share of
    the exposure is about that of videos shown once (Good, Biometrika 1953).
    """
    return float((np.bincount(shown) == 1).sum()) / len(shown)


def _overlap(name: str, policy: Weighted, target: Target | None, logged: LoggedRows) -> Overlap:
    """How much of the log speaks about a policy."""
    unsupported = np.zeros(len(logged)) if target is None else target.unsupported
    if target is not None and logged.kind == "random pool":
        unsupported = np.full(len(logged), unseen_share(logged.shown))
    comments = None
    if policy.comments is not None:
        moment = float((policy.second_moment * policy.comments.second_moment).mean())
        comments = len(logged) / moment if moment > 0 else 0.0
    return overlap(
        name, policy.weight, policy.second_moment, unsupported, policy.user, policy.n_users,
        comments,
    )  # fmt: skip
