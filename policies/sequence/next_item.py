"""Train and serve a next-item model, the same way for every encoder and kind of item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policies.base import Progress
from policies.memory import require_memory
from policies.sequence.encoder import SequenceEncoder
from policies.sequence.lengths import length_blocks
from policies.sequence.sequences import Sequences, window_batches
from policies.sequence.settings import NextItemSettings
from policies.sequence.softmax import NegativeSampler, next_item_loss
from policies.sequence.trainer import TrainingSummary, train
from simulator.devices import as_array, on_device

Loss = Callable[[SequenceEncoder, Tensor, NegativeSampler, int], Tensor]

_TABLE = "serving.table"
_CELLS = 512 * 100_000
"""Scores of held-out people that are in memory at a time, at most."""


class NextItemModel:
    """An encoder, and the table of item vectors that it ranks from.

    Args:
        new_encoder: Makes an untrained encoder for so many items.
        settings: Sizes and training.
        loss: Of a batch of windows; see `policies.sequence.softmax`.
    """

    def __init__(
        self,
        new_encoder: Callable[[int], SequenceEncoder],
        settings: NextItemSettings,
        loss: Loss = next_item_loss,
    ) -> None:
        self._new_encoder = new_encoder
        self._settings = settings
        self._loss = loss
        self._encoder: SequenceEncoder | None = None
        self.table: NDArray[np.float32] = np.zeros((0, settings.dim), dtype=np.float32)
        self.summary: TrainingSummary | None = None

    def fit(
        self, sequences: Sequences, n_items: int, *, seed: int, progress: Progress, stage: str
    ) -> None:
        """Train on every position; stop when held-out users stop improving."""
        s = self._settings
        require_memory(
            lambda: self._new_encoder(n_items), stage, f"dim = {s.dim}, {n_items:,} items"
        )
        torch.manual_seed(seed)
        # Made on the CPU, so that every device starts from the same weights.
        model = self._new_encoder(n_items).to(s.on)
        random = np.random.default_rng([seed, 1])
        # The last event of some users is for validation; they are trained on without it.
        eligible = np.flatnonzero(sequences.lengths() >= 2)
        held = random.permutation(eligible)[: min(2_000, len(eligible))]
        held_mask = np.zeros(len(sequences.users), dtype=np.int64)
        held_mask[held] = 1
        training = sequences.without_last(held_mask)
        targets = sequences.items[sequences.starts[1:][held] - 1]
        contexts = training.last(s.length)[held]
        counts = np.bincount(training.items, minlength=n_items).astype(np.float64)

        sampler = NegativeSampler(counts, s.sampled, seed, s.on)

        def batches(number: int) -> Iterator[NDArray[np.int64]]:
            sampler.start(number)
            order = np.random.default_rng([seed, 2, number])
            return window_batches(training, s.length, s.tokens, order)

        if len(training.items):
            self.summary = train(
                model,
                batches,
                lambda window: self._loss(model, on_device(window, s.on), sampler, n_items),
                lambda: validation_ndcg(model, contexts, targets),
                s.trainer(n_items),
                progress=progress,
                stage=stage,
                seek=sampler.start,
            )
        model.eval()
        self._encoder = model
        met = on_device(np.bincount(sequences.items, minlength=n_items) > 0, s.on)
        with torch.inference_mode():
            self.table = as_array(model.serving_vectors(met))

    def encode(self, histories: NDArray[np.integer]) -> NDArray[np.float32]:
        """float32[B, dim]: the state after each history int[B, n], left-aligned, -1 padded."""
        assert self._encoder is not None, "fit or load first"
        return encode_last(self._encoder, latest(histories, self._settings.length))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights and the serving table, for the disk."""
        assert self._encoder is not None, "fit first"
        weights = {k: as_array(v) for k, v in self._encoder.state_dict().items()}
        return {**weights, _TABLE: self.table}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what `arrays` described."""
        self.table = arrays[_TABLE]
        encoder = self._new_encoder(len(self.table))
        weights = {k: torch.from_numpy(v) for k, v in arrays.items() if k != _TABLE}
        for name, tensor in encoder.state_dict().items():
            if name not in encoder.looked_up:
                # Read; what is looked up stays where it is mapped.
                weights[name] = tensor.copy_(weights[name])
        encoder.load_state_dict(weights, assign=True)
        self._encoder = encoder.to(self._settings.on).eval()


def latest(histories: NDArray[np.integer], length: int) -> NDArray[np.int64]:
    """int64[B, min(n, length)]: the last items of histories int[B, n] padded with -1 at the end."""
    items = histories.astype(np.int64)
    width = items.shape[1]
    if length >= width:
        return items
    count = (items >= 0).sum(axis=1)
    index = np.maximum(count - length, 0)[:, None] + np.arange(length)
    return np.take_along_axis(items, index, axis=1)


def encode_last(model: SequenceEncoder, sequences: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[B, dim]: the state after each whole sequence, short ones batched together."""
    lengths = (sequences >= 0).sum(axis=1)
    result = np.empty((len(sequences), model.dim), dtype=np.float32)
    device = model.device
    with torch.inference_mode():
        for rows in length_blocks(lengths):
            width = int(lengths[rows].max())
            states = model.last(
                on_device(sequences[rows, :width], device), on_device(lengths[rows], device)
            )
            result[rows] = as_array(states)
    return result


def validation_ndcg(
    model: SequenceEncoder, contexts: NDArray[np.int64], targets: NDArray[np.int64]
) -> float:
    """NDCG@10 of held-out events, full ranking, seen videos removed, ties against the model."""
    if len(targets) == 0:
        return 0.0
    total = 0.0
    device = model.device
    encoded = on_device(encode_last(model, contexts), device)
    vectors = model.vectors()
    block = max(1, min(512, _CELLS // len(vectors)))
    for at in range(0, len(targets), block):
        scores = encoded[at : at + block] @ vectors.T
        target = on_device(targets[at : at + block], device)
        own = scores.gather(1, target[:, None])
        seen = on_device(contexts[at : at + block], device)
        rows = torch.arange(len(target), device=device)[:, None].expand_as(seen)
        hide = (seen >= 0) & (seen != target[:, None])
        scores[rows[hide], seen[hide]] = float("-inf")
        ranks = (scores >= own).sum(dim=1) - 1
        gains = torch.where(ranks < 10, 1.0 / torch.log2(ranks + 2.0), 0.0)
        total += float(gains.sum())
    return total / len(targets)
