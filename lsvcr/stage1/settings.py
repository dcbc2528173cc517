"""How stage 1 trains; needs no language model, so that a policy can check it when it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lsvcr.stage1.losses import LossWeights
from policies.errors import PolicyError

# In place of a Hugging Face model's name: the small one, trained on the log's own texts.
EMBEDDED = "embedded"


@dataclass(frozen=True)
class AlignmentSettings:
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
        rivals: Other comments of the same video as negatives of each comment in L_rec, drawn from
            its most liked; the paper has none (see docs/lsvcr.md).
        augment: Whether the two models' views differ.
        checkpoint: Directory to resume from and to write to; "" for none.
        checkpoint_steps: Steps between two checkpoints.
    """

    videos: int = 300_000
    comments: int = 128_000
    history: int = 20
    text_tokens: int = 48
    prompt_tokens: int = 4_096
    batch: int = 2
    accumulation: int = 8
    learning_rate: float = 3e-4
    warmup: float = 0.03
    lora_rank: int = 8
    lora_alpha: float = 32.0
    lora_dropout: float = 0.1
    dropout: float = -1.0
    gradient_checkpointing: bool = True
    lm: float = 1.0
    rec: float = 1.0
    align: float = 0.5
    behaviour: float = 0.5
    rivals: int = 0
    augment: bool = True
    checkpoint: str = ""
    checkpoint_steps: int = 200

    @classmethod
    def of(cls, preset: str, changes: Mapping[str, Any]) -> AlignmentSettings:
        """A preset with changes.

        Raises:
            PolicyError: there is no such setting, or a value cannot be.
        """
        known = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        for name, value in changes.items():
            if name not in known:
                raise PolicyError(
                    f"lsvcr has no alignment setting '{name}'.", f"Known: {', '.join(known)}"
                )
            kind = known[name]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (isinstance(value, kind) and isinstance(value, bool) == (kind is bool)) and not (
                kind is float and number
            ):
                raise PolicyError(
                    f"alignment setting {name} = {value!r} should be of type {kind.__name__}."
                )
        settings = cls(**{**PRESETS[preset], **changes})
        for name in ("history", "text_tokens", "prompt_tokens", "batch", "accumulation"):
            if getattr(settings, name) < 1:
                raise PolicyError(f"alignment setting {name} must be at least 1.")
        if settings.history > 50:
            raise PolicyError("alignment setting history must be at most 50.")
        return settings

    @property
    def weights(self) -> LossWeights:
        """Of the losses."""
        return LossWeights(self.lm, self.rec, self.align, self.behaviour)


PRESETS: dict[str, dict[str, Any]] = {
    "small": {
        "videos": 320,
        "comments": 320,
        "history": 4,
        "text_tokens": 32,
        "prompt_tokens": 192,
        "rivals": 9,
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
