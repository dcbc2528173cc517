"""Fit the comment value on a log, and choose its parts by dwell_r on held-out people.

The rules are those of docs/lsvcr.md, "The protocol of the comment value". Nothing here sees a lift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.base import Progress
from policies.comments.value.facts import age_facts
from policies.comments.value.model import ValueModel
from policies.comments.value.regression import HEADS, NormalEquations
from policies.comments.value.taste import history_vectors
from policies.comments.value.texts import TextSpace
from policies.comments.value.visits import Visits
from policies.evaluation.dwell import DwellCorrelation, dwell_r
from simulator.logs.dataset import Dataset
from simulator.requests import Int64

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PENALTIES = (100.0, 1_000.0, 10_000.0, 100_000.0)
PRECISIONS = (30.0, 100.0, 300.0, 1_000.0)

BETTER_TEXTS = 0.005
"""What other texts than LSA have to add to dwell_r."""
MARGIN = 0.01
"""What a richer model has to add to dwell_r to be served."""
CROSSED = 12


@dataclass(frozen=True)
class Fitted:
    """What came out.

    Attributes:
        model: Fitted on everybody; None where the platform's order is not beaten.
        summary: Choices and their criterion, for people.
        held: The comments seen by people held out of the choices; None where nothing was fitted.
        judged: The same model fitted without those people; None where none is served.
    """

    model: ValueModel | None
    summary: dict[str, Any]
    held: HeldVisits | None = None
    judged: ValueModel | None = None


class HeldVisits:
    """The comments seen by held-out people, and what models score them.

    Args:
        visits: Of everybody.
    """

    def __init__(self, visits: Visits) -> None:
        chosen = np.flatnonzero(visits.held)
        place = np.full(len(visits), -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        self.seen = visits.seen.pick(visits.held[visits.seen.visit])
        self.visit: Int64 = place[self.seen.visit]
        self.person = np.unique(self.seen.user, return_inverse=True)[1].astype(np.int64)
        self.history = visits.history.view(chosen)

    def __len__(self) -> int:
        return len(self.seen)

    def correlation(self, scores: NDArray[np.floating]) -> DwellCorrelation:
        """dwell_r of scores float[n]."""
        return dwell_r(scores, self.seen.dwell_ms, self.visit, self.person)

    def scores(self, model: ValueModel, tastes: Float32 | None = None) -> Float64:
        """float64[n] by a model, with tastes float32[V, d] where they are known."""
        comment = self.seen.comment
        ages = age_facts(model.written_ms[comment], self.seen.time_ms)
        found = model.common[comment].astype(np.float64) + ages @ model.age
        if model.personal:
            tastes = model.tastes(self.history) if tastes is None else tastes
            texts = model.space.comment[comment]
            found += np.einsum("nd,nd->n", texts, tastes[self.visit], dtype=np.float64)
        return np.asarray(found)


def fit_value(
    dataset: Dataset,
    visits: Visits,
    spaces: Mapping[str, TextSpace],
    *,
    taste: bool,
    reads: bool,
    progress: Progress,
) -> Fitted:
    """Fit and choose.

    Args:
        dataset: The log.
        visits: Of it, with seen comments.
        spaces: Texts to choose from; the first one unless another is better.
        taste: False leaves out personal taste.
        reads: False leaves out what people read before.
        progress: Told what is done.
    """
    held = HeldVisits(visits)
    catalogue = dataset.catalogue()
    likes = held.correlation(np.log1p(np.maximum(catalogue.comment_likes, 0))[held.seen.comment])
    best: _Choice | None = None
    told = {}
    for number, (name, space) in enumerate(spaces.items()):
        progress("comment value", number / len(spaces), f"texts: {name}")
        found = _choose(dataset, visits, held, name, space, taste=taste, reads=reads)
        told[name] = round(found.best.r, 4)
        if best is None or found.best.r > best.best.r + BETTER_TEXTS:
            best = found
    assert best is not None
    served, reason = _served(likes, best)
    summary = {
        "dwell_r": {
            "likes": _told(likes),
            "no taste": _told(best.plain),
            **({"taste": _told(best.personal)} if best.personal else {}),
        },
        "texts": {"chosen": best.texts, "dwell_r": told},
        "penalty": best.penalty,
        "precision": best.precision,
        "comments": len(visits.seen),
        "held": len(held),
        "served": served,
        "why": reason,
        "other heads": _other_heads(best, held),
    }
    progress("comment value", 1.0, f"dwell_r {best.best.r:.3f}, likes {likes.r:.3f}")
    if served == "platform":
        return Fitted(None, summary, held)
    personal = served == "taste"
    without_held, model = (
        best.equations.model(
            best.equations.solve(best.penalty, everybody=everybody, personal=personal),
            best.precision,
            personal=personal,
        )
        for everybody in (False, True)
    )
    return Fitted(model, summary, held, without_held)


@dataclass(frozen=True)
class _Choice:
    """The best settings for one space of texts, judged on the held people."""

    texts: str
    equations: NormalEquations
    penalty: float
    precision: float
    plain: DwellCorrelation
    personal: DwellCorrelation | None

    @property
    def best(self) -> DwellCorrelation:
        if self.personal is not None and self.personal.r > self.plain.r:
            return self.personal
        return self.plain


def _choose(
    dataset: Dataset,
    visits: Visits,
    held: HeldVisits,
    name: str,
    space: TextSpace,
    *,
    taste: bool,
    reads: bool,
) -> _Choice:
    equations = NormalEquations(dataset, space, CROSSED if taste else 0)
    equations.add(visits)
    vectors = history_vectors(space, held.history)

    def judged(penalty: float, personal: bool) -> DwellCorrelation:
        found = equations.solve(penalty, everybody=False, personal=personal)
        model = equations.model(found, 0.0, personal=personal)
        tastes = model.prior_tastes(vectors) if personal else None
        return held.correlation(held.scores(model, tastes))

    plain = {penalty: judged(penalty, False) for penalty in PENALTIES}
    penalty = max(plain, key=lambda key: plain[key].r)
    if not taste:
        return _Choice(name, equations, penalty, 0.0, plain[penalty], None)
    lowest = plain[penalty]
    by_penalty = {penalty: judged(penalty, True) for penalty in PENALTIES}
    penalty = max(by_penalty, key=lambda key: by_penalty[key].r)
    by_precision = {0.0: by_penalty[penalty]}
    if reads:
        found = equations.solve(penalty, everybody=False, personal=True)
        model = equations.model(found, 0.0, personal=True)
        tastes = model.tastes_by_precision(held.history, PRECISIONS)
        for value, own in zip(PRECISIONS, tastes, strict=True):
            by_precision[value] = held.correlation(held.scores(model, own))
    precision = max(by_precision, key=lambda key: by_precision[key].r)
    return _Choice(name, equations, penalty, precision, lowest, by_precision[precision])


def _other_heads(best: _Choice, held: HeldVisits) -> dict[str, float]:
    """Within-visit correlation of the heads that do not rank with what they predict."""
    personal = best.personal is not None
    found = best.equations.solve(best.penalty, everybody=False, personal=personal)
    outcomes = (~held.seen.last, held.seen.touched)
    told = {}
    for head, outcome in enumerate(outcomes, start=1):
        model = best.equations.model(found, 0.0, personal=personal, head=head)
        # dwell_r looks at the logarithm of seconds: 1 for yes, 0 for no.
        as_dwell = np.where(outcome, round(1_000 * np.e), 1_000)
        scores = held.scores(model)
        told[HEADS[head]] = round(dwell_r(scores, as_dwell, held.visit, held.person).r, 4)
    return told


def _served(likes: DwellCorrelation, best: _Choice) -> tuple[str, str]:
    """Which model ("taste", "no taste" or "platform"), and why."""
    personal = best.personal
    if personal is not None and _beats(personal, best.plain) and _beats(personal, likes):
        return "taste", "taste adds to what everybody looks at"
    if _beats(best.plain, likes):
        return "no taste", "facts and texts add to likes; taste adds too little or is left out"
    return "platform", "nothing orders dwell better than likes do"


def _beats(one: DwellCorrelation, other: DwellCorrelation) -> bool:
    difference = one.minus(other)
    return difference.r >= MARGIN and difference.interval[0] > 0.0


def _told(found: DwellCorrelation) -> list[float]:
    """Correlation and its 95 % interval."""
    return [round(float(value), 4) for value in (found.r, *found.interval)]
