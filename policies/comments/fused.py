"""Fuse another policy's comment score with what everybody looks at: ``fused:comments=NAME``.

The comment value without taste (likes, length, age, text; `policies.comments.value`) plus the
other policy's score, whose weight is learned from people whom that policy was not trained on. With
it, `comment-sasrec` and `text-similarity` are compared with `comment-value` as models of taste, not
by whether they read how many likes are displayed. No paper.

Held to `no-taste`: a score that adds less than .005 to dwell_r is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policies import registry
from policies.base import Progress, Scores
from policies.checkpoint import load_arrays, save_arrays
from policies.comments.base import CommentPolicy
from policies.comments.value.fuse import own_weight
from policies.comments.value.visits import held_people
from policies.comments.value_policy import (
    ValuePolicySettings,
    ValueRanker,
    fit_on_log,
    value_arrays,
    value_of,
)
from policies.errors import UnknownPolicy
from policies.settings import setting
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests

_FOLDER = "comments"


@dataclass(frozen=True)
class FusedSettings(ValuePolicySettings):
    """The comment policy whose score is fused, the fit, and the policy that ranks the videos."""

    comments: str = setting("comment-sasrec")


class Fused(CommentPolicy):
    """Comments by what everybody looks at plus another policy's score; videos as another policy's.

    Settings: see `FusedSettings`.
    """

    settings_class = FusedSettings
    options: FusedSettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        inner = registry.create(self.options.comments)
        if not isinstance(inner, CommentPolicy) or isinstance(inner, Fused):
            raise UnknownPolicy(
                f"comments is '{self.options.comments}', expected a policy that ranks comments "
                "only.",
                "See: abtest policy list",
            )
        self._inner = inner
        self._ranker, self._weight = ValueRanker(None), 0.0
        self._dataset_hash = ""

    def fit_comments(self, dataset: Dataset, *, seed: int, progress: Progress) -> dict[str, Any]:
        """Train the other policy without the held-out people, then weigh it."""
        self._dataset_hash = dataset.info.content_hash
        self._inner.left_out = held_people(len(dataset.user_ids()), seed)
        told = self._inner.fit_comments(dataset, seed=seed, progress=progress)
        fitted = fit_on_log(dataset, self.options, taste=False, seed=seed, progress=progress)

        def score(requests: CommentRequests) -> Scores | None:
            self._inner.reset_comments(len(requests.row))
            return self._inner.score_comments(requests)

        self._weight, fused = own_weight(fitted, score)
        self._inner.reset_comments(0)
        self._ranker = ValueRanker(fitted.model)
        return {**fitted.summary, self.options.comments: told, "fused": fused}

    def reset_comments(self, n_rows: int) -> None:
        """Forget the previous group."""
        self._ranker.reset(n_rows)
        self._inner.reset_comments(n_rows)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """Comment value plus weighted score; None where the platform's order is better."""
        scores = self._ranker.score(requests)
        if scores is None or self._weight == 0.0:
            return scores
        own = self._inner.score_comments(requests)
        if own is None:
            return scores
        return np.asarray(scores + np.float32(self._weight) * own, dtype=np.float32)

    def save_comments(self, directory: Path) -> None:
        """The comment value and the weight; the other policy in a folder of its own."""
        arrays = {**value_arrays(self._ranker.model), "weight": np.array([self._weight])}
        save_arrays(directory, arrays, self._about())
        (directory / _FOLDER).mkdir(exist_ok=True)
        self._inner.save_comments(directory / _FOLDER)

    def load_comments(self, directory: Path | None, dataset: Dataset) -> None:
        """Restore them."""
        assert directory is not None
        self._dataset_hash = dataset.info.content_hash
        arrays = load_arrays(directory, self._about())
        self._weight = float(arrays["weight"][0])
        self._ranker = ValueRanker(value_of(arrays, dataset.catalogue()))
        self._inner.load_comments(directory / _FOLDER, dataset)

    def _about(self) -> dict[str, Any]:
        return {**self.settings(), "dataset": self._dataset_hash}
