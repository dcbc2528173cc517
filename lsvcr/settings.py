"""Declare LSVCR's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from lsvcr.stage1.settings import PRESETS, AlignmentSettings
from lsvcr.stage2.settings import CommentNegatives, FinetuneSettings
from lsvcr.task import Task
from lsvcr.text import EMBEDDED
from policies.devices import DeviceSettings
from policies.settings import setting
from simulator.requests import SIGNALS, Signal

Alignment = Literal["none", "llm"]
Variant = Literal["whole", "paper"]

_EPOCHS = {"small": 60, "base": 50, "paper": 50}
_EMBEDDED_COMMENTS = 40_000

QUICK: dict[str, Any] = {
    "epochs": 5,
    "id_rate": 5.0,
    "learning_rate": 3e-3,
    "decay": True,
    "average": 0.99,
    "full_softmax_up_to": 2_048,
    "video_negatives": 2_048,
}
"""Stage 2 of the video task where the preset is "small", except in the paper's variant."""


@dataclass(frozen=True)
class LSVCRSettings(DeviceSettings):
    """What LSVCR is made of, and how it trains.

    Attributes:
        variant: "whole": comments by predicted dwell and videos with the expected comment stay, as
            far as the log says that this is better (`lsvcr.whole`); "paper": the paper's scores.
        preset: "small", "base" or "paper": sizes of the embedded language model and length of
            training.
        signal: Which events make the video history: "liked" or "clicked".
        dim, layers, heads, feed_forward, dropout: Sizes of the sequential model.
        text: False leaves all texts out, IDs alone.
        epochs, epoch_steps, patience, learning_rate, batch, targets, accumulation: Stage 2, see
            `lsvcr.stage2.settings`; None is the preset's, in the video task that of `QUICK`.
        embedded_comments: Comments whose texts are embedded, at most: those that people engaged
            with, and the ones seen most often (`lsvcr.data.attended`). None is 40,000 where the
            preset is "small", and otherwise all, as in the paper's variant.
        alignment: "llm": stage 1 with a language model; "none" leaves it out: the language model
            embeds the texts as it is.
        llm: What embeds texts: "embedded" (the small one), or a causal language model of Hugging
            Face by name or local directory, as it is or aligned.
        alignment_settings: What differs from the preset, by name; see
            `lsvcr.stage1.settings.AlignmentSettings`.
        comment_history: False hides in which comment sections people engaged: in training and
            in ranking everybody's comment history is empty.
        mixing: False leaves out the cross-attention between the two histories.
        ids: False leaves out the videos' ID vectors: a video is its text.
        own_from: Events from which on a video has an ID vector of its own; 0 gives every video one.
        shared_ids: ID vectors that all the other videos share, by a hash of their identifiers.
        id_text_weight: Of the ID-text loss.
        comment_negatives: What an engaged comment is compared with in training: others of its
            section ("section", as in the paper), or those that the person saw and skipped
            ("seen").
    """

    variant: Variant = setting("whole", one_of=get_args(Variant))  # noqa: RUF009
    preset: str = setting("small", one_of=sorted(PRESETS))
    signal: Signal = setting("liked", one_of=SIGNALS)  # noqa: RUF009
    dim: int = setting(64, at_least=1, at_most=8_192)
    layers: int = setting(2, at_least=1, at_most=256)
    heads: int = setting(2, at_least=1, at_most=256)
    feed_forward: int = setting(256, at_least=1, at_most=65_536)
    dropout: float = setting(0.3, at_least=0, below=1)
    text: bool = setting(True)
    epochs: int | None = setting(None, at_least=1, at_most=100_000)
    epoch_steps: int = setting(100, at_least=1, at_most=1_000_000)
    patience: int = setting(5, at_least=1, at_most=100_000)
    learning_rate: float | None = setting(None, above=0, at_most=10)
    batch: int = setting(64, at_least=1, at_most=1_000_000)
    accumulation: int = setting(1, at_least=1, at_most=10_000)
    targets: int = setting(10, at_least=1, at_most=100_000)
    embedded_comments: int | None = setting(None, at_least=0, at_most=10**12)
    alignment: Alignment = setting("llm", one_of=get_args(Alignment))  # noqa: RUF009
    llm: str = setting(EMBEDDED)
    alignment_settings: dict[str, Any] = setting({})  # noqa: RUF009
    comment_history: bool = setting(True)
    mixing: bool = setting(True)
    ids: bool = setting(True)
    own_from: int = setting(0, at_least=0, at_most=1_000_000_000)
    shared_ids: int = setting(10_000, at_least=1, at_most=100_000_000)
    id_text_weight: float = setting(0.1, at_least=0, at_most=1_000_000)
    comment_negatives: CommentNegatives = setting(  # noqa: RUF009
        "section", one_of=get_args(CommentNegatives), formerly="comment_rivals"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "alignment_settings", dict(self.alignment_settings))

    def disagreement(self) -> tuple[str, str] | None:
        """Heads divide the width; a video has a text or an ID; stage 1 knows its settings."""
        if self.dim % self.heads:
            return "heads", f"a divisor of dim, which is {self.dim}"
        if not (self.ids or self.text):
            return "ids", "true where text is false: nothing else tells one video from another"
        # Wrong ones are refused before anything is trained.
        self.stage_1()
        return super().disagreement()

    @property
    def most_comments(self) -> int | None:
        """Comments whose texts are embedded, at most; None for all."""
        if self.embedded_comments is None and self._quick:
            return _EMBEDDED_COMMENTS
        return self.embedded_comments

    @property
    def _quick(self) -> bool:
        return self.variant == "whole" and self.preset == "small"

    def stage_1(self) -> AlignmentSettings:
        """How stage 1 trains: the preset's settings with the changes."""
        return AlignmentSettings.of(self.preset, self.alignment_settings)

    def stage_2(self, task: Task) -> FinetuneSettings:
        """How stage 2 of a task trains."""
        chosen = QUICK if task == "video" and self._quick else {"epochs": _EPOCHS[self.preset]}
        given = {"epochs": self.epochs, "learning_rate": self.learning_rate}
        return FinetuneSettings(
            epoch_steps=self.epoch_steps,
            patience=self.patience,
            batch=self.batch,
            accumulation=self.accumulation,
            targets=self.targets,
            comment_negatives=self.comment_negatives,
            id_text_weight=self.id_text_weight,
            **{**chosen, **{name: value for name, value in given.items() if value is not None}},
        )

    def sizes(self) -> dict[str, Any]:
        """Of the sequential model."""
        names = ("dim", "layers", "heads", "feed_forward", "dropout", "mixing")
        return {name: getattr(self, name) for name in names}
