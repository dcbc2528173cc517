"""Let a trained policy propose the candidates of every arm.

It takes the place of the built-in sources that look at a person's history (categories, authors,
what authors uploaded next); what is popular, fresh or random is proposed as before, so that new
videos are still met.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from abtest.errors import UsageError
from abtest.run.arms.foreign import make
from abtest.run.arms.training import TrainedPolicy, load_policy
from policies.base import Policy
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.requests import HistoryView, Int32, Int64
from simulator.retrieval import Retrieval, SeenVideos, Sources, distinct

IMPERSONAL = Sources(categories=0, authors=0, sequels=0)
PROPOSED = Sources().total - IMPERSONAL.total
_POOL = 256
"""Looked up per request: the best ones were mostly shown lately and are dropped."""


class PolicyRetrieval(Retrieval):
    """Candidates from a policy and from the impersonal sources.

    Args:
        policy: Fitted; proposes videos.
        catalogue: The inventory.
        popularity: float[V], as for `Retrieval`.
    """

    def __init__(
        self,
        policy: Policy,
        catalogue: Catalogue,
        popularity: NDArray[np.floating] | None = None,
    ) -> None:
        super().__init__(catalogue, popularity, IMPERSONAL)
        self._policy = policy
        self._upload_ms = catalogue.upload_ms

    @property
    def width(self) -> int:
        """C: columns of `candidates`."""
        return super().width + PROPOSED

    def candidates(
        self,
        rows: Int64,
        time_ms: Int64,
        key: NDArray[np.uint64],
        history: HistoryView,
        seen: SeenVideos,
        at_least: int,
    ) -> Int32:
        """Distinct candidates per request; arguments and result as for `Retrieval`."""
        others = super().candidates(rows, time_ms, key, history, seen, 0)
        among = np.flatnonzero(self._upload_ms <= time_ms.max(initial=0)).astype(np.int32)
        best = self._policy.propose_videos(history, among, min(_POOL, len(among)))
        assert best is not None
        usable = self._upload_ms[best] <= time_ms[:, None]
        usable &= ~seen.contains(rows, best)
        usable &= ~(best[:, :, None] == others[:, None, :]).any(axis=2)
        usable &= np.cumsum(usable, axis=1) <= PROPOSED
        # Usable ones to the front, in their order; ascending in the end, as every stage's.
        front = np.argsort(~usable, axis=1, kind="stable")[:, :PROPOSED]
        proposed = np.where(
            np.take_along_axis(usable, front, axis=1), np.take_along_axis(best, front, axis=1), -1
        )
        found = np.sort(np.concatenate([others, proposed], axis=1), axis=1)
        short = np.flatnonzero((found >= 0).sum(axis=1) < at_least)
        if len(short):
            more = super().candidates(
                rows[short], time_ms[short], key[short], history.select(short), seen, at_least
            )
            both = np.concatenate([found[short], more], axis=1)
            found[short] = np.sort(distinct(both), axis=1)[:, -found.shape[1] :]
        return found


def candidate_stage(
    trained: TrainedPolicy | None,
    dataset: Dataset,
    catalogue: Catalogue,
    popularity: NDArray[np.floating],
) -> Retrieval:
    """The built-in stage, or that of a trained policy."""
    if trained is None:
        return Retrieval(catalogue, popularity)
    return PolicyRetrieval(load_policy(trained, dataset), catalogue, popularity)


def check_candidates(spec: str, settings: dict[str, object]) -> None:
    """Refuse a policy that cannot propose videos.

    Raises:
        UsageError: it cannot.
        UnknownPolicy, PolicyError: see `policies.registry.create`.
    """
    if type(make(spec, settings)).propose_videos is Policy.propose_videos:
        raise UsageError(
            f"--candidates is '{spec}', which ranks candidates and proposes none.",
            "Try: --candidates two-tower",
        )
