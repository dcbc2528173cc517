"""Join the videos of one policy and the comments of another: ``sasrec+lsvcr``.

Two of these against each other tell which half of a ranker moves a metric: ``sasrec+lsvcr``
against ``sasrec`` changes the comments alone, ``lsvcr+sasrec`` the videos alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from policies.base import Policy, Progress, Scores, silent
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, VideoRequests

PARTS = ("videos", "comments")
"""What the two policies of a joined name rank, in order."""


@dataclass(frozen=True)
class Part:
    """One half of a joined policy.

    Attributes:
        spec: Its name, as the user wrote it.
        settings: Those given to its constructor.
        policy: Made with them.
    """

    spec: str
    settings: dict[str, Any]
    policy: Policy


class Mixed(Policy):
    """Videos by one policy, comments by another.

    Args:
        parts: Who ranks the ``videos`` and who the ``comments``.
    """

    ranks: ClassVar[tuple[str, ...]] = PARTS

    def __init__(self, parts: Mapping[str, Part]) -> None:
        super().__init__()
        self._parts = dict(parts)

    def parts(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Folder -> name and settings of the policy whose weights belong there."""
        return {what: (part.spec, dict(part.settings)) for what, part in self._parts.items()}

    def settings(self) -> dict[str, Any]:
        """Both parts' settings."""
        return {what: {part.spec: part.policy.settings()} for what, part in self._parts.items()}

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Train both."""
        for part in self._parts.values():
            part.policy.fit(dataset, seed=seed, progress=progress)

    def reset(self, n_rows: int) -> None:
        """Forget the previous group."""
        for part in self._parts.values():
            part.policy.reset(n_rows)

    def score_videos(self, requests: VideoRequests) -> Scores:
        """As the first does."""
        return self._parts["videos"].policy.score_videos(requests)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """As the second does."""
        return self._parts["comments"].policy.score_comments(requests)

    def training_summary(self) -> dict[str, Any]:
        """Facts about both."""
        return {what: part.policy.training_summary() for what, part in self._parts.items()}

    def save(self, directory: Path) -> None:
        """Each part's weights in a folder of its own."""
        for what, part in self._parts.items():
            (directory / what).mkdir(exist_ok=True)
            part.policy.save(directory / what)

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore both."""
        for what, part in self._parts.items():
            part.policy.load(directory / what, dataset)
