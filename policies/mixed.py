"""The videos of one policy and the comments of another: ``sasrec+lsvcr``.

Two of these against each other tell which half of a ranker moves a metric: ``sasrec+lsvcr``
against ``sasrec`` changes the comments alone, ``lsvcr+sasrec`` the videos alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from policies import registry
from policies.base import Policy, Progress, Scores, silent
from policies.errors import UnknownPolicy
from policies.registry import PARTS
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, VideoRequests


class Mixed(Policy):
    """Videos by one policy, comments by another.

    Args:
        parts: Their names: who ranks the videos, who ranks the comments.
        videos, comments: Settings of each.

    Raises:
        UnknownPolicy: a part is no policy, or reads the simulated world's truth.
    """

    ranks: ClassVar[tuple[str, ...]] = PARTS

    def __init__(
        self,
        parts: tuple[str, str],
        videos: Mapping[str, Any] | None = None,
        comments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for part in parts:
            if registry.policy_class(part).is_oracle:
                raise UnknownPolicy(
                    f"'{'+'.join(parts)}': {part} cannot be a part, it already takes what it "
                    "leaves alone from the control.",
                    f"Use it by itself: --treatment {part}",
                )
        self._specs = dict(zip(PARTS, parts, strict=True))
        self._own = {"videos": dict(videos or {}), "comments": dict(comments or {})}
        self._made = {what: registry.create(self._specs[what], **self._own[what]) for what in PARTS}

    def parts(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Folder -> name and settings of the policy whose weights belong there."""
        return {what: (self._specs[what], dict(self._own[what])) for what in PARTS}

    def settings(self) -> dict[str, Any]:
        """Both parts' settings."""
        return {what: {self._specs[what]: part.settings()} for what, part in self._made.items()}

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Train both."""
        for part in self._made.values():
            part.fit(dataset, seed=seed, progress=progress)

    def reset(self, n_rows: int) -> None:
        """Forget the previous group."""
        for part in self._made.values():
            part.reset(n_rows)

    def score_videos(self, requests: VideoRequests) -> Scores:
        """As the first does."""
        return self._made["videos"].score_videos(requests)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """As the second does."""
        return self._made["comments"].score_comments(requests)

    def training_summary(self) -> dict[str, Any]:
        """Facts about both."""
        return {what: part.training_summary() for what, part in self._made.items()}

    def save(self, directory: Path) -> None:
        """Each part's weights in a folder of its own."""
        for what, part in self._made.items():
            (directory / what).mkdir(exist_ok=True)
            part.save(directory / what)

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore both."""
        for what, part in self._made.items():
            part.load(directory / what, dataset)
