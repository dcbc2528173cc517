"""Declare how stage 1 trains; a policy checks it when it is made, without a language model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lsvcr.stage1.losses import LossWeights
from lsvcr.task import MAX_LENGTH
from policies.settings import Settings, make_settings, setting


@dataclass(frozen=True)
class AlignmentSettings(Settings):
    """How stage 1 trains; the paper's values, but for what `PRESETS` makes smaller.

    Attributes:
        videos, comments: Most examples per task.
        history: Most events of either history.
        text_tokens: Most tokens of one text.
        prompt_tokens: Most tokens of a prompt; its oldest events are left out until it fits.
        batch: Examples per device and pass: negatives come from these, of all devices.
        accumulation: Passes per step.
        learning_rate: Peak.
        warmup: Share of the steps over which the learning rate rises.
        lora_rank, lora_alpha, lora_dropout: See `CausalLLM.adapt`; rank 0 trains the whole model.
        dropout: Of the sequential models in this stage; -1 for the policy's.
        gradient_checkpointing: Less memory for more time.
        lm, rec, align, behaviour: Weights of the four losses; 0 leaves one out.
        negatives: Other comments of the same video as negatives of each comment in L_rec, drawn
            from its most liked; the paper has none (see docs/lsvcr.md).
        augment: Whether the two models' views differ.
        checkpoint: Directory to resume from and to write to; "" for none.
        checkpoint_steps: Steps between two checkpoints.
    """

    videos: int = setting(300_000, at_least=0, at_most=1_000_000_000)
    comments: int = setting(128_000, at_least=0, at_most=1_000_000_000)
    history: int = setting(20, at_least=1, at_most=MAX_LENGTH)
    text_tokens: int = setting(48, at_least=1, at_most=100_000)
    prompt_tokens: int = setting(4_096, at_least=1, at_most=1_000_000)
    batch: int = setting(2, at_least=1, at_most=1_000_000)
    accumulation: int = setting(8, at_least=1, at_most=1_000_000)
    learning_rate: float = setting(3e-4, above=0, at_most=10)
    warmup: float = setting(0.03, at_least=0, at_most=1)
    lora_rank: int = setting(8, at_least=0, at_most=4_096)
    lora_alpha: float = setting(32.0, above=0, at_most=1_000_000)
    lora_dropout: float = setting(0.1, at_least=0, below=1)
    dropout: float = setting(-1.0, at_least=-1, below=1)
    gradient_checkpointing: bool = setting(True)
    lm: float = setting(1.0, at_least=0)
    rec: float = setting(1.0, at_least=0)
    align: float = setting(0.5, at_least=0)
    behaviour: float = setting(0.5, at_least=0)
    negatives: int = setting(0, at_least=0, formerly="rivals", at_most=10_000_000)
    augment: bool = setting(True)
    checkpoint: str = setting("")
    checkpoint_steps: int = setting(200, at_least=1, at_most=1_000_000_000)

    @classmethod
    def of(cls, preset: str, changes: Mapping[str, Any]) -> AlignmentSettings:
        """A preset with changes.

        Raises:
            PolicyError: there is no such setting, or a value cannot be.
        """
        return make_settings(
            cls, {**PRESETS[preset], **changes}, "lsvcr", part="alignment_settings"
        )

    @property
    def weights(self) -> LossWeights:
        """Of the losses."""
        return LossWeights(self.lm, self.rec, self.align, self.behaviour)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "videos": 160,
        "comments": 160,
        "history": 4,
        "text_tokens": 32,
        "prompt_tokens": 192,
        "negatives": 9,
        "batch": 16,
        "accumulation": 1,
        "gradient_checkpointing": False,
    },
    "base": {
        "videos": 20_000,
        "comments": 20_000,
        "text_tokens": 32,
        "prompt_tokens": 2_048,
        "batch": 8,
        "accumulation": 4,
    },
    "paper": {},
}
