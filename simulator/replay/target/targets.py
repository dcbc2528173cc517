"""Score every logged choice as each policy would have, and reduce it to what estimators need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.errors import SimulatorError
from simulator.logs.dataset import Dataset
from simulator.progress import Meter
from simulator.randomness import mix, purpose_key
from simulator.replay.logged import LoggedRows
from simulator.replay.target.histories import Waves
from simulator.replay.target.marginal import marginal_weights, places_in_order
from simulator.replay.target.target_policy import TargetPolicy
from simulator.requests import CommentRequests, Int32, Int64, VideoRequests

Float64 = NDArray[np.float64]
Scorer = Callable[[VideoRequests], NDArray[np.float32]]
"""Scores the candidates of a batch of requests, float32[B, C]; higher is better."""
NOT_PROPOSED = np.float32(np.finfo(np.float32).min)
"""Score of what the policy's own candidate stage leaves out: it is chosen with probability 0."""
CommentScorer = Callable[[CommentRequests], NDArray[np.float32] | None]
"""The same for comments; None keeps the platform's order."""
Predict = Callable[[Int64, Int32], Float64]
"""``predict(rows, items)``: modelled outcome float64[B, C] of items int32[B, C] (-1 padded)."""

_CELLS = 1_000_000
"""Cells worked on at a time: bounds memory to some tens of MB whatever the pool."""


class ScorerError(SimulatorError):
    """A scorer returned something that is not a finite score per candidate."""


@dataclass(frozen=True)
class Target:
    """One policy on the logged choices of one stage.

    Attributes:
        probability: float64[N], of what was shown.
        second_moment: float64[N], expectation of the squared weight under the log's policy; NaN
            where the log does not tell the other candidates' probabilities.
        unsupported: float64[N], probability of what the log could not have shown; NaN if unknown.
        expected: By model: float64[N], its outcome averaged over the policy's choices.
        marginal: float64[N], weight of the shown item's feature; None unless asked for, NaN where
            the log does not tell the other candidates' probabilities.
        marginal_moment: float64[N], expectation of its square under the log's policy.
        places: int64[N, 2], see `places_in_order`; None unless asked for.
    """

    probability: Float64
    second_moment: Float64
    unsupported: Float64
    expected: dict[str, Float64]
    marginal: Float64 | None = None
    marginal_moment: Float64 | None = None
    places: Int64 | None = None


def targets(
    dataset: Dataset,
    logged: LoggedRows,
    scorers: Mapping[str, Scorer] | Mapping[str, CommentScorer],
    policy: TargetPolicy,
    *,
    seed: int,
    models: Mapping[str, Predict] | None = None,
    meter: Meter | None = None,
    feature: NDArray[np.integer] | None = None,
    places: bool = False,
) -> dict[str, Target]:
    """Probabilities of the shown items under every scorer.

    A page is scored once, with the history before it; its places are then filled from the top,
    each given what the log shows above. ``row`` and ``user`` of the requests are both the dense
    user index, so a scorer that caches per row needs ``len(dataset.user_ids())`` rows.

    Args:
        dataset: The log; histories come from all of it, not only from the used rows.
        logged: The used rows of one stage.
        scorers: By name; of videos, or of comments if the rows are of comment sections.
        policy: How scores become choices.
        seed: For request keys.
        models: Reward models by name, for doubly robust estimators.
        meter: Told the rows that are scored.
        feature: int[items], code of an item's feature from 0: weights over it are computed too.
        places: Whether the places of what was shown in the ranker's own order are found too.

    Raises:
        ScorerError: a scorer broke its contract.
    """
    n, models = len(logged), models or {}
    out = {
        name: Target(np.zeros(n), np.full(n, np.nan), np.full(n, np.nan),
                     {model: np.zeros(n) for model in models},
                     None if feature is None else np.full(n, np.nan),
                     None if feature is None else np.full(n, np.nan),
                     np.zeros((n, 2), dtype=np.int64) if places else None)
        for name in scorers
    }  # fmt: skip
    request_key = purpose_key(seed, "replay.request")
    first = np.flatnonzero(np.diff(logged.page, prepend=-1))
    end = np.append(first[1:], n)
    never_shown = None if logged.pool is None else ~np.isin(logged.pool, logged.shown)
    width = logged.candidates.shape[1] if logged.candidates is not None else len(logged.pool)  # type: ignore[arg-type]
    block = max(1, _CELLS // max(width, 1) // max(int((end - first).max(initial=1)), 1))
    waves = Waves(dataset, logged.user[first], logged.time_ms[first])
    for step, (wave, people) in enumerate(waves):
        for start in range(0, len(wave), block):
            pages, who = wave[start : start + block], people[start : start + block]
            lead = first[pages]
            count = end[pages] - lead
            of_page = np.repeat(np.arange(len(pages)), count)
            rows = (
                lead[of_page] + np.arange(len(of_page)) - np.repeat(np.cumsum(count) - count, count)
            )
            page = _Page(logged, rows, of_page)
            key = mix(request_key, logged.user[lead], logged.time_ms[lead], step)
            requests = _requests(logged, lead, key, page.lists, waves.state.view(who))
            chances = {}
            for name, scorer in scorers.items():
                scores = scorer(requests)  # type: ignore[arg-type]
                if scores is None:
                    # The platform's order: the list as the ranker was given it.
                    order = -np.arange(page.lists.shape[1], dtype=np.float32)
                    scores = np.broadcast_to(order, page.lists.shape)
                scores = _checked(name, scores, requests, dataset)
                chances[name] = _fill(out[name], page, scores, policy, never_shown, feature)
            for model, predict in models.items():
                # The same prediction serves every scorer.
                value = predict(page.rows, page.cells)
                for name, chance in chances.items():
                    expected = np.einsum("bc,bc->b", chance, value)
                    out[name].expected[model][page.rows] = expected
            if meter is not None:
                meter.add(len(rows))
    return out


class _Page:
    """Rows of some pages, with what can still be chosen in each."""

    def __init__(self, logged: LoggedRows, rows: Int64, of_page: NDArray[np.int64]) -> None:
        self.rows, self.of_page = rows, of_page
        leads = np.flatnonzero(np.diff(of_page, prepend=-1))
        self.shown = logged.shown[rows]
        if logged.candidates is not None:
            self.cells = logged.candidates[rows]
        else:
            assert logged.pool is not None
            self.cells = np.broadcast_to(logged.pool, (len(rows), len(logged.pool)))
        self.lists = np.ascontiguousarray(self.cells[leads])
        self.logging = None if logged.logging is None else logged.logging[rows]
        self.propensity = logged.propensity[rows]
        self.uniform = logged.uniform
        self.free = self.cells >= 0
        rank = np.arange(len(rows)) - leads[of_page]
        for depth in range(1, int(rank.max(initial=0)) + 1):
            at = np.flatnonzero(rank == depth)
            # A row inherits what was gone on the row above, and what that row showed.
            gone = ~self.free[at - 1] | (self.cells[at - 1] == self.shown[at - 1][:, None])
            self.free[at] &= ~gone
        if self.logging is not None:
            # Where places above are missing from the log, its own zeros say what stood there.
            incomplete = logged.position[rows] > rank
            self.free[incomplete] &= self.logging[incomplete] > 0
        same = self.cells == self.shown[:, None]
        self.at = np.argmax(same & self.free, axis=1)
        self.present = (same & self.free).any(axis=1)


def _fill(
    target: Target,
    page: _Page,
    scores: NDArray[np.float32],
    policy: TargetPolicy,
    never_shown: NDArray[np.bool_] | None,
    feature: NDArray[np.integer] | None,
) -> Float64:
    """Note what the rows of a page have under one policy; the chance of every cell."""
    usable = page.free.any(axis=1)
    free = page.free.copy()
    free[~usable, 0] = True  # Any cell: the row is not present and gets no weight.
    own = scores[page.of_page]
    proposed = free & (own > NOT_PROPOSED)
    # What was proposed may all stand above: the place then gets any of the rest.
    proposed[~proposed.any(axis=1)] = free[~proposed.any(axis=1)]
    chance = policy.probabilities(own, proposed)
    number = np.arange(len(page.rows))
    target.probability[page.rows] = np.where(page.present, chance[number, page.at], 0.0)
    logging = page.logging
    if logging is None and page.uniform:
        logging = np.where(free, (1.0 / free.sum(axis=1))[:, None], 0.0).astype(np.float32)
    if logging is not None:
        seen = logging > 0
        square = np.where(seen, chance**2 / np.where(seen, logging, 1.0), 0.0)
        target.second_moment[page.rows] = square.sum(axis=1)
        target.unsupported[page.rows] = np.where(seen, 0.0, chance).sum(axis=1)
        if feature is not None and target.marginal is not None:
            assert target.marginal_moment is not None
            weight, moment = marginal_weights(chance, logging, feature[page.cells], page.at)
            target.marginal[page.rows] = np.where(page.present, weight, 0.0)
            target.marginal_moment[page.rows] = moment
    if target.places is not None:
        target.places[page.rows] = places_in_order(own, page.cells >= 0, page.at)
    if never_shown is not None:
        target.unsupported[page.rows] = chance @ never_shown
    return chance


def _requests(
    logged: LoggedRows,
    lead: Int64,
    key: NDArray[np.uint64],
    lists: Int32,
    history: object,
) -> VideoRequests | CommentRequests:
    common = {
        "row": logged.user[lead],
        "user": logged.user[lead],
        "time_ms": logged.time_ms[lead],
        "key": key,
        "candidates": lists,
        "history": history,
    }
    if logged.section is None:
        return VideoRequests(**common)  # type: ignore[arg-type]
    return CommentRequests(video=logged.section[lead], **common)  # type: ignore[arg-type]


def _checked(
    name: str,
    scores: NDArray[np.float32],
    requests: VideoRequests | CommentRequests,
    dataset: Dataset,
) -> NDArray[np.float32]:
    scores = np.asarray(scores)
    if scores.shape != requests.candidates.shape:
        raise ScorerError(
            f"'{name}' returned scores of shape {scores.shape} for candidates of shape "
            f"{requests.candidates.shape}.",
            "Check it: abtest policy check FILE:CLASS",
        )
    bad = ~np.isfinite(scores) & (requests.candidates >= 0)
    if bad.any():
        row, column = (int(x[0]) for x in np.nonzero(bad))
        catalogue, item = dataset.catalogue(), requests.candidates[row, column]
        video = isinstance(requests, VideoRequests)
        what = (
            f"video {catalogue.video_ids[item]}"
            if video
            else (f"comment {catalogue.comment_ids[item]}")
        )
        raise ScorerError(
            f"'{name}' returned a non-finite score for {what} "
            f"(user {dataset.user_ids()[requests.user[row]]}).",
            "Check it: abtest policy check FILE:CLASS",
        )
    return scores
