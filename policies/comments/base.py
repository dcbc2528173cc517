"""Rank comments only, and leave the videos to another policy: the shared part.

An experiment on comments alone joins two names: ``sasrec+text-similarity`` against ``sasrec``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from policies import registry
from policies.base import Policy, Progress, Scores, silent
from policies.errors import UnknownPolicy
from policies.settings import Settings, setting
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.requests import VideoRequests

TIE_BREAK = 1e-4
"""Weight of the likes, far below any difference that matters: they order what is tied."""

_FOLDER = "videos"


@dataclass(frozen=True)
class CommentPolicySettings(Settings):
    """The built-in or installed policy that ranks the videos."""

    videos: str = setting("popular")


class CommentPolicy(Policy):
    """Base of the comment rankers; a subclass overrides the methods named ``*_comments``.

    Attributes:
        left_out: bool[U], people whose events `fit_comments` must not learn from; None for nobody.

    Raises:
        UnknownPolicy: ``videos`` names none, or one that ranks no videos of its own.
    """

    ranks: ClassVar[tuple[str, ...]] = ("comments",)
    settings_class: ClassVar[type[Settings]] = CommentPolicySettings
    options: CommentPolicySettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        videos = self.options.videos
        # A file's code is not part of the name under which weights are kept, see `settings`.
        kind = registry.policy_class(videos) if ":" not in videos else None
        if kind is None or kind.is_oracle or issubclass(kind, CommentPolicy):
            raise UnknownPolicy(
                f"videos is '{videos}', expected a policy by name that ranks videos.",
                "See: abtest policy list",
            )
        self._videos = registry.create(videos)
        self._summary: dict[str, Any] = {}
        self.left_out: NDArray[np.bool_] | None = None

    def fit_comments(self, dataset: Dataset, *, seed: int, progress: Progress) -> dict[str, Any]:
        """Train what ranks the comments; returns facts about it for `training_summary`."""
        self.load_comments(None, dataset)
        return {}

    def save_comments(self, directory: Path) -> None:
        """Write it; the default has nothing that the dataset does not hold."""

    def load_comments(self, directory: Path | None, dataset: Dataset) -> None:
        """Restore what `save_comments` wrote; None where nothing is ever written."""

    def reset_comments(self, n_rows: int) -> None:
        """Forget what is cached per row."""

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Train the ranker of comments and that of videos."""
        self._summary = self.fit_comments(dataset, seed=seed, progress=progress)
        self._videos.fit(dataset, seed=seed, progress=progress)

    def reset(self, n_rows: int) -> None:
        """Forget the previous group."""
        self._videos.reset(n_rows)
        self.reset_comments(n_rows)

    def score_videos(self, requests: VideoRequests) -> Scores:
        """As the policy named by ``videos`` does."""
        return self._videos.score_videos(requests)

    def training_summary(self) -> dict[str, Any]:
        """Facts about both rankers."""
        return {**self._summary, _FOLDER: self._videos.training_summary()}

    def save(self, directory: Path) -> None:
        """The comments' weights, and the videos' in a folder of their own."""
        self.save_comments(directory)
        (directory / _FOLDER).mkdir(exist_ok=True)
        self._videos.save(directory / _FOLDER)

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore both."""
        self.load_comments(directory, dataset)
        self._videos.load(directory / _FOLDER, dataset)


def likes_prior(catalogue: Catalogue) -> NDArray[np.float32]:
    """float32[M] in 0 .. 1: logarithm of each comment's displayed likes, over the largest."""
    likes = np.log1p(np.maximum(catalogue.comment_likes, 0).astype(np.float64))
    return (likes / max(float(likes.max(initial=0.0)), 1.0)).astype(np.float32)
