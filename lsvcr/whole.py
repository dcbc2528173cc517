"""Rank with the whole of LSVCR: the paper's scores, the comment value, the expected stay.

What is served is chosen by the rules of docs/lsvcr.md, "The protocol of the comment value".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsvcr.serving.video_fusion import VideoFusion
from lsvcr.text.tables import TextTables
from policies.base import Scores, silent
from policies.comments.value.fit import Fitted
from policies.comments.value.model import ValueModel
from policies.comments.value.texts import DenseTexts, TextSpace, text_space
from policies.comments.value.visits import Visits
from policies.comments.value_policy import (
    ValueRanker,
    ValueSettings,
    fit_on_log,
    value_arrays,
    value_of,
)
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, VideoRequests

PROMISING = 0.0005
"""What a comment score that was trained briefly has to add to dwell_r to be trained in full."""


@dataclass
class WholeRanker:
    """What is served besides the paper's scores; of the paper's variant, nothing.

    Attributes:
        value: Ranks comments; without a model, the platform's order.
        own_weight: What the paper's comment score counts in it; 0 leaves it out.
        fusion: Adds to the paper's video score; None adds nothing.
    """

    value: ValueRanker
    own_weight: float = 0.0
    fusion: VideoFusion | None = None

    def __init__(
        self,
        model: ValueModel | None = None,
        own_weight: float = 0.0,
        fusion: VideoFusion | None = None,
    ) -> None:
        self.value, self.own_weight, self.fusion = ValueRanker(model), own_weight, fusion

    @property
    def needs_paper_comments(self) -> bool:
        """Whether the paper's comment score takes part."""
        return self.own_weight != 0.0

    def reset(self, n_rows: int) -> None:
        """Forget the previous group."""
        self.value.reset(n_rows)

    def score_comments(self, requests: CommentRequests, own: Scores | None) -> Scores | None:
        """float32[B, M] with the paper's scores, if they take part; None: the platform's order."""
        scores = self.value.score(requests)
        if scores is None or own is None:
            return scores
        return np.asarray(scores + np.float32(self.own_weight) * own, dtype=np.float32)

    def score_videos(self, requests: VideoRequests, own: Scores) -> Scores:
        """float32[B, C] from the paper's scores."""
        return own if self.fusion is None else self.fusion.add(own, requests.candidates)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For the disk."""
        arrays = {f"value.{k}": v for k, v in value_arrays(self.value.model).items()}
        arrays["own_weight"] = np.array([self.own_weight])
        if self.fusion is not None:
            arrays["fusion"] = self.fusion.bonus
        return arrays

    @classmethod
    def of_arrays(cls, arrays: dict[str, NDArray[Any]], catalogue: Catalogue) -> WholeRanker:
        """Restore what `arrays` gave."""
        value = {k.removeprefix("value."): v for k, v in arrays.items() if k.startswith("value.")}
        fusion = VideoFusion(arrays["fusion"]) if "fusion" in arrays else None
        return cls(value_of(value, catalogue), float(arrays["own_weight"][0]), fusion)


def fit_comment_value(dataset: Dataset, tables: TextTables, *, seed: int) -> Fitted:
    """Fit the comment value, with the language model's embeddings beside LSA, and choose.

    Args:
        dataset: The log.
        tables: The language model's embeddings of its texts.
        seed: Of the training.
    """
    settings = ValueSettings()
    return fit_on_log(
        dataset,
        settings,
        taste=True,
        seed=seed,
        progress=silent,
        more_spaces=lambda lsa, visits: _language_spaces(tables, lsa, settings.width, visits),
    )


def promising(told: Mapping[str, Any]) -> bool:
    """Whether a comment score that was trained briefly adds enough to be trained in full.

    Args:
        told: What `own_weight` compared.
    """
    return bool("adds" in told and told["adds"][0] >= PROMISING)


def _language_spaces(
    tables: TextTables, lsa: TextSpace, width: int, visits: Visits
) -> dict[str, TextSpace]:
    """The language model's embeddings, alone and beside LSA."""
    if not tables.width:
        return {}
    language = text_space(
        DenseTexts(tables.embeddings), tables.comment, tables.title, width, visits
    )
    return {"language model": language, "both": lsa.beside(language)}
