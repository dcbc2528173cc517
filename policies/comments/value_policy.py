"""Rank comments by the time that a person is expected to look at them.

The model is linear: displayed likes, likes beside the section's top, length, age and text are worth
the same to everybody; a person's taste in texts follows from both histories and from the comments
read since (`policies.comments.value`). It learns from every comment that was seen, and from how
long; position within the section is accounted for in training. No paper: the parts are ridge
regression and Bayesian linear regression; what is learned from is what Zheng et al. (arXiv
2403.13574) measure online, comment watch time.

Held to `likes` and, with taste, to `no-taste`, by dwell_r on held-out people
(`policies.evaluation.dwell`): what does not beat them is not served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from policies.base import Progress, Scores
from policies.checkpoint import load_arrays, save_arrays
from policies.comments.base import CommentPolicy, CommentPolicySettings
from policies.comments.value.fallback import touched_visits
from policies.comments.value.fit import Fitted, fit_value
from policies.comments.value.model import ValueModel
from policies.comments.value.texts import TextSpace, lsa_space
from policies.comments.value.visits import Visits, sample_visits
from policies.sequence.cache import RowCache
from policies.settings import Settings, setting
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.logs.reads import has_seen_comments, seen_comments
from simulator.requests import CommentRequests


@dataclass(frozen=True)
class ValueSettings(Settings):
    """How the comment value is fitted.

    Attributes:
        width: Dimensions of the text space.
        sample: Comments of the log that it is fitted on, at most.
        reads: Whether what a person read before updates their taste.
        directions: Whether a part of the text space follows what readers differ in.
    """

    width: int = setting(32, at_least=2, at_most=8_192)
    sample: int = setting(400_000, at_least=1_000, at_most=1_000_000_000)
    reads: bool = setting(True)
    directions: bool = setting(True)


@dataclass(frozen=True)
class ValuePolicySettings(CommentPolicySettings, ValueSettings):
    """Those of the fit, and the policy that ranks the videos."""


class ValueRanker:
    """A fitted comment value and the tastes of a group's people.

    Args:
        model: None ranks nothing: the platform's order.
    """

    def __init__(self, model: ValueModel | None) -> None:
        self.model = model
        self._cache = RowCache(0 if model is None else model.space.width)

    def reset(self, n_rows: int) -> None:
        """Forget the previous group."""
        self._cache.reset(n_rows)

    def score(self, requests: CommentRequests) -> Scores | None:
        """float32[B, M], or None for the platform's order."""
        model = self.model
        if model is None:
            return None
        if not model.personal:
            return model.score(None, requests.candidates, requests.time_ms)
        history = requests.history
        versions = history.reads_version() * 1_000_003 + history.version("liked")
        versions = versions * 1_000_003 + history.version("discussed")
        stale = self._cache.stale(requests.row, versions)
        if len(stale):
            tastes = model.tastes(history.select(stale))
            self._cache.put(requests.row[stale], versions[stale], tastes)
        return model.score(self._cache.get(requests.row), requests.candidates, requests.time_ms)


def fit_on_log(
    dataset: Dataset,
    settings: ValueSettings,
    *,
    taste: bool,
    seed: int,
    progress: Progress,
    more_spaces: Callable[[TextSpace, Visits], Mapping[str, TextSpace]] | None = None,
) -> Fitted:
    """Fit a comment value with what the log has: seen comments and dwell, or touches alone.

    Args:
        dataset: The log.
        settings: How.
        taste: Whether people differ.
        seed: Of the sample and of who is held out.
        progress: Told what is done.
        more_spaces: Text spaces that compete with LSA, given that one and the visits.
    """
    if not dataset.has("comments"):
        return Fitted(None, {"served": "platform", "why": "the log has no comments"})
    progress("comment value", 0.0, "texts")
    told = {"signal": "dwell of seen comments"}
    visits: Visits | None = None
    if has_seen_comments(dataset):
        visits = sample_visits(dataset, seen_comments(dataset), settings.sample, seed)
    if visits is None or not visits.enough():
        told = {"signal": "touches: the log does not say which comments were seen for how long"}
        visits = touched_visits(dataset, settings.sample, seed)
    if visits is None or not visits.enough():
        return Fitted(None, {"served": "platform", "why": "the log names too few comments"})
    lsa = lsa_space(dataset, settings.width, visits if settings.directions else None)
    spaces = {"LSA": lsa, **(more_spaces(lsa, visits) if more_spaces else {})}
    found = fit_value(dataset, visits, spaces, taste=taste, reads=settings.reads, progress=progress)
    return replace(found, summary={**told, **found.summary})


class CommentValue(CommentPolicy):
    """Comments by expected dwell for this person; videos as another policy ranks them.

    Settings: see `ValuePolicySettings`.
    """

    taste: ClassVar[bool] = True
    settings_class = ValuePolicySettings
    options: ValuePolicySettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._ranker = ValueRanker(None)
        self._dataset_hash = ""

    def fit_comments(self, dataset: Dataset, *, seed: int, progress: Progress) -> dict[str, Any]:
        """Fit on the seen comments of the log."""
        self._dataset_hash = dataset.info.content_hash
        fitted = fit_on_log(dataset, self.options, taste=self.taste, seed=seed, progress=progress)
        self._ranker = ValueRanker(fitted.model)
        return fitted.summary

    def reset_comments(self, n_rows: int) -> None:
        """Forget the previous group's tastes."""
        self._ranker.reset(n_rows)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """Predicted log dwell; None where the platform's order is better."""
        return self._ranker.score(requests)

    def save_comments(self, directory: Path) -> None:
        """The fitted tables."""
        save_arrays(directory, value_arrays(self._ranker.model), self._about())

    def load_comments(self, directory: Path | None, dataset: Dataset) -> None:
        """Restore them."""
        assert directory is not None
        self._dataset_hash = dataset.info.content_hash
        self._ranker = ValueRanker(
            value_of(load_arrays(directory, self._about()), dataset.catalogue())
        )

    def _about(self) -> dict[str, Any]:
        return {**self.settings(), "taste": self.taste, "dataset": self._dataset_hash}


class NoTaste(CommentValue):
    """Comments by expected dwell, the same for everybody; videos as another policy ranks them.

    Settings: see `ValuePolicySettings`.
    """

    taste: ClassVar[bool] = False


def value_arrays(model: ValueModel | None) -> dict[str, NDArray[Any]]:
    """A model for the disk; an empty mark where there is none."""
    return {"none": np.zeros(1)} if model is None else model.arrays()


def value_of(arrays: dict[str, NDArray[Any]], catalogue: Catalogue) -> ValueModel | None:
    """What `value_arrays` gave."""
    return None if "none" in arrays else ValueModel.of_arrays(arrays, catalogue)
