"""Score comments that people saw, at the moments they saw them, for dwell_r of any policy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from policies.base import Policy, Scores
from policies.evaluation.dwell import DwellCorrelation, dwell_r
from policies.evaluation.holdout import CASES_PER_PERSON
from policies.ranking import checked_comment_scores
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import histories_before
from simulator.logs.interactions import rank_in_run
from simulator.logs.reads import SeenComments, has_seen_comments, seen_comments
from simulator.requests import CommentRequests, HistoryView, Int64

Float64 = NDArray[np.float64]

_BLOCK = 2_000


class SeenVisits:
    """Visits to judge a policy by: at least two comments seen, after what it was trained on.

    Args:
        dataset: The whole log, which says which comments were seen.
        cut_ms: int64[U], of each person's visits those from here on, the first 20.
    """

    def __init__(self, dataset: Dataset, cut_ms: Int64) -> None:
        seen = seen_comments(dataset)
        first = first_of_visits(seen.visit)
        size = np.diff(np.append(first, len(seen)))
        eligible = np.flatnonzero((size >= 2) & (seen.time_ms[first] >= cut_ms[seen.user[first]]))
        person = seen.user[first[eligible]].astype(np.int64)
        chosen = eligible[rank_in_run(person) < CASES_PER_PERSON]
        visit = np.repeat(np.arange(len(chosen)), size[chosen])
        rows = seen.pick(first[chosen][visit] + rank_in_run(visit))
        self.seen = SeenComments(**{**vars(rows), "visit": visit})
        self.people, number = np.unique(self.seen.user, return_inverse=True)
        self.person: Int64 = number.astype(np.int64)
        self.history = histories_before(
            dataset, seen, seen.user[first[chosen]], seen.time_ms[first[chosen]]
        ).view(np.arange(len(chosen)))

    def __len__(self) -> int:
        return len(self.seen)

    def judge(self, policy: Policy) -> DwellCorrelation | None:
        """dwell_r of a fitted policy; None where it leaves comments in the platform's order."""

        def score(requests: CommentRequests) -> Scores | None:
            policy.reset(len(requests.row))
            return checked_comment_scores(policy, requests)

        found = score_seen(self.seen, self.history, score)
        if found is None:
            return None
        return dwell_r(found, self.seen.dwell_ms, self.seen.visit, self.person)


def seen_visits(dataset: Dataset, cut_ms: Int64) -> SeenVisits | None:
    """Visits to judge by; None where the log has none."""
    if not has_seen_comments(dataset):
        return None
    visits = SeenVisits(dataset, cut_ms)
    return visits if len(visits.people) > 1 else None


def first_of_visits(visit: Int64) -> Int64:
    """int64[V]: where each visit begins; ``visit`` int64[n] is ascending."""
    return np.flatnonzero(np.append(True, visit[1:] != visit[:-1])[: len(visit)])


def score_seen(
    seen: SeenComments, history: HistoryView, score: Callable[[CommentRequests], Scores | None]
) -> Float64 | None:
    """float64[n]: scores of seen comments, each visit ranked as it was opened.

    Args:
        seen: Of visits numbered from 0.
        history: Row v is what was known before visit v.
        score: Scores a group of its own at each call; None for the platform's order.
    """
    first = first_of_visits(seen.visit)
    place = rank_in_run(seen.visit)
    found = np.zeros(len(seen))
    for start in range(0, len(first), _BLOCK):
        visits = np.arange(start, min(start + _BLOCK, len(first)))
        at = np.flatnonzero((seen.visit >= start) & (seen.visit < start + len(visits)))
        line = seen.visit[at] - start
        candidates = np.full((len(visits), int(place[at].max()) + 1), -1, dtype=np.int32)
        candidates[line, place[at]] = seen.comment[at]
        head = first[visits]
        scores = score(
            CommentRequests(
                row=np.arange(len(visits), dtype=np.int32),
                user=seen.user[head],
                time_ms=seen.time_ms[head],
                key=visits.astype(np.uint64),
                video=seen.video[head],
                candidates=candidates,
                history=history.select(visits),
            )
        )
        if scores is None:
            return None
        found[at] = scores[line, place[at]]
    return found
