"""Declare the settings that models of sequences share."""

from __future__ import annotations

from dataclasses import dataclass

from policies.devices import DeviceSettings
from policies.sequence.trainer import TrainerSettings
from policies.settings import setting
from simulator.requests import HISTORY_LENGTH, SIGNALS, Signal


@dataclass(frozen=True)
class NextItemSettings(DeviceSettings):
    """What `policies.sequence.next_item` needs; a subclass says how training goes.

    Attributes:
        dim: Width of states and of item vectors.
        length: Longest history; above the 50 events that a platform keeps, those.
        epoch_steps, patience: See `policies.sequence.trainer`.
        tokens: The batch size in events.
        accumulation: Batches per step; see `policies.sequence.trainer`.
    """

    dim: int = setting(64, at_least=1, at_most=8_192)
    length: int = setting(HISTORY_LENGTH, at_least=1, at_most=100_000)
    epoch_steps: int = setting(100, at_least=1, at_most=1_000_000)
    patience: int = setting(4, at_least=1, at_most=100_000)
    tokens: int = setting(2048, at_least=1, at_most=10_000_000)
    accumulation: int = setting(1, at_least=1, at_most=10_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "length", min(self.length, HISTORY_LENGTH))

    @property
    def sampled(self) -> int:
        """Negatives drawn per batch, for losses that draw any."""
        return 1

    def trainer(self, n_items: int) -> TrainerSettings:
        """How long and how fast to learn, for a catalogue of so many items."""
        raise NotImplementedError


@dataclass(frozen=True)
class TrainedSettings(NextItemSettings):
    """Training that is the same for every size of the catalogue.

    Attributes:
        epochs, learning_rate: See `policies.sequence.trainer`.
    """

    epochs: int = setting(60, at_least=1, at_most=100_000)
    learning_rate: float = setting(1e-3, above=0, at_most=10)

    def trainer(self, n_items: int) -> TrainerSettings:
        """As the settings say."""
        return TrainerSettings(
            epochs=self.epochs,
            epoch_steps=self.epoch_steps,
            patience=self.patience,
            learning_rate=self.learning_rate,
            accumulation=self.accumulation,
        )


@dataclass(frozen=True)
class VideoHistorySettings(NextItemSettings):
    """Which events make the history: "liked" or "clicked"."""

    signal: Signal = setting("liked", one_of=SIGNALS)  # noqa: RUF009


@dataclass(frozen=True)
class LayeredSettings(NextItemSettings):
    """An encoder in layers, trained against sampled negatives where the catalogue is large.

    Attributes:
        layers: Number of them.
        negatives: Shared sampled negatives per batch.
    """

    layers: int = setting(2, at_least=1, at_most=256)
    negatives: int = setting(1024, at_least=1, at_most=10_000_000)

    @property
    def sampled(self) -> int:
        """The negatives."""
        return self.negatives


@dataclass(frozen=True)
class AttentionSettings(LayeredSettings):
    """Layers of attention with so many heads, which divide the width."""

    heads: int = setting(2, at_least=1, at_most=256)

    def disagreement(self) -> tuple[str, str] | None:
        """Every head gets an equal part of the width."""
        if self.dim % self.heads:
            return "heads", f"a divisor of dim, which is {self.dim}"
        return super().disagreement()
