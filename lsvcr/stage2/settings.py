"""Declare how stage 2 trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policies.sequence.softmax import FULL_SOFTMAX_UP_TO

CommentNegatives = Literal["section", "seen"]


@dataclass(frozen=True)
class FinetuneSettings:
    """How stage 2 trains; docs/lsvcr.md lists what is not the paper's.

    The average of the weights is ours: a thousand held-out events are a noisy judge of single
    epochs.

    Attributes:
        epochs, epoch_steps, patience, learning_rate, decay, average, accumulation: See
            `policies.sequence.trainer`.
        id_rate: Multiple of the learning rate at which the videos' ID vectors learn.
        batch: Windows per batch.
        targets: Most targets per window.
        negatives_per_comment: Other comments of the same video per positive one.
        comment_negatives: Which ones: any of its most liked 64 that were written by then, as in the
            paper ("section"), or those that the person saw and skipped ("seen").
        full_softmax_up_to: Videos up to which the loss of the video task knows all of them.
        video_negatives: Negatives drawn per batch above that.
        id_text_weight: Of the ID-text loss.
        id_text_negatives: Per anchor.
        id_text_anchors: Most videos per batch that take part, so that the cost is bounded.
    """

    epochs: int = 50
    epoch_steps: int = 100
    patience: int = 5
    learning_rate: float = 1e-3
    decay: bool = False
    average: float = 0.995
    accumulation: int = 1
    id_rate: float = 1.0
    batch: int = 64
    targets: int = 10
    negatives_per_comment: int = 19
    comment_negatives: CommentNegatives = "section"
    full_softmax_up_to: int = FULL_SOFTMAX_UP_TO
    video_negatives: int = 4_096
    id_text_weight: float = 0.1
    id_text_negatives: int = 99
    id_text_anchors: int = 512

    @property
    def steps(self) -> int:
        """Least steps of a whole training that never stops early."""
        return self.epochs * self.epoch_steps
