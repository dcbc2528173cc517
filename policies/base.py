"""Define the policy contract: train on a log, score videos and comments of requests.

A policy never sees the environment. It is given a dataset once (`fit`, or `load` for cached
weights), then asked to score candidates. The platform sorts, breaks ties, explores and records
propensities.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from policies.settings import Settings, make_settings
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, HistoryView, Int32, Signal, VideoRequests

Scores = NDArray[np.float32]
Progress = Callable[[str, float, str], None]
"""``progress(stage, fraction_done, detail)``, called often; rendering is the caller's job."""


def silent(stage: str, fraction: float, detail: str) -> None:
    """A progress callback that shows nothing."""


def share(progress: Progress, start: float, width: float) -> Progress:
    """A progress callback for what is a share of something longer."""

    def shared(stage: str, fraction: float, detail: str) -> None:
        progress(stage, start + width * fraction, detail)

    return shared


class Policy:
    """Base class of every ranker; override what the ranker does, inherit the rest.

    Scores are float32, higher is better, finite for every real candidate; what stands at padded
    positions (candidate ``-1``) is ignored. Scores must be a function of the request alone
    (and of the fitted weights): same request, same scores, whatever the batch around it.

    Attributes:
        name: The registered name, set by the registry.
        ranks: What it ranks, where that does not follow from the methods it overrides.
        is_oracle: True only for policies that read the world's truth; marked in every output.
        slow_to_train: Whether training takes so long that an experiment gives it a process of its
            own beside others.
        training_effort: How long training takes, about, relative to SASRec's. Of policies that
            train at the same time, those that take less long leave the processor to the others.
        settings_class: Declares its settings with their defaults and ranges.
        options: The settings it was made with.
    """

    name: str = ""
    ranks: ClassVar[tuple[str, ...]] = ()
    is_oracle: ClassVar[bool] = False
    slow_to_train: ClassVar[bool] = False
    training_effort: ClassVar[float] = 1.0
    settings_class: ClassVar[type[Settings]] = Settings
    options: Settings = Settings()

    def __init__(self, **settings: Any) -> None:
        owner = self.name or type(self).__name__
        self.options = make_settings(self.settings_class, settings, owner)

    def settings(self) -> dict[str, Any]:
        """JSON-serialisable settings that, with the data and the seed, determine the weights."""
        return self.options.to_dict()

    def ablations(self) -> dict[str, dict[str, Any]]:
        """Parts that can be switched off: a label to the settings that do it.

        ``abtest evaluate P --ablations`` trains the policy once per entry, with these settings in
        place of its own. The default offers none.
        """
        return {}

    def learns_from(self) -> tuple[Signal, ...]:
        """Kinds of events of which a log must hold at least one, or `fit` would learn nothing.

        A command that trains the policy refuses a log without any. The default needs none.
        """
        return ()

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Train on a log. Must be deterministic given the dataset, settings and seed."""

    def reset(self, n_rows: int) -> None:
        """A new group of ``n_rows`` users starts: forget anything cached per row."""

    def score_videos(self, requests: VideoRequests) -> Scores:
        """float32[B, C]: a score per candidate video.

        The default prefers none; the platform breaks ties at random.
        """
        return np.zeros(requests.candidates.shape, dtype=np.float32)

    def propose_videos(self, history: HistoryView, among: Int32, size: int) -> Int32 | None:
        """The videos that should be ranked for each history: what a candidate stage asks.

        Args:
            history: What the platform knows of B people.
            among: int32[n], distinct videos that may be proposed.
            size: How many to propose, at most n.

        Returns:
            int32[B, size], distinct within a row, best first; None from a policy that only ranks.
        """
        return None

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """float32[B, M], or None to leave comments in the platform's own order (most liked)."""
        return None

    def training_summary(self) -> dict[str, Any]:
        """JSON-serialisable facts about the last fit (validation metric, epochs), for reports."""
        return {}

    def save(self, directory: Path) -> None:
        """Write fitted weights as safetensors and JSON; the default has nothing to write."""

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore what `save` wrote, for the dataset it was trained on."""
