"""Train RecBole's SASRec with full cross-entropy; one example per target, as the library does.

Hidden 64, 2 layers, 2 heads, length 50, its default batches of 2,048.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

# RecBole 1.2 still uses names that NumPy has dropped.
for _old, _new in (("float_", np.float64), ("unicode_", np.str_), ("complex_", np.complex128)):
    if not hasattr(np, _old):
        setattr(np, _old, _new)

from recbole.model.sequential_recommender import SASRec  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parent))
from exchange import LENGTH, Float32, Int64, Library, Training, run

_BATCH = 2_048


class _Catalogue:
    """As much of RecBole's dataset as the model asks for."""

    def __init__(self, n_items: int) -> None:
        self._n = n_items

    def num(self, field: str) -> int:
        return self._n


class RecBole(Library):
    """The library's model and loss; its data pipeline's examples, made here."""

    def __init__(self, training: Training, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self._random = np.random.default_rng(options.seed)
        self._n = training.n_items
        settings = {
            "USER_ID_FIELD": "user",
            "ITEM_ID_FIELD": "item",
            "LIST_SUFFIX": "_list",
            "ITEM_LIST_LENGTH_FIELD": "length",
            "NEG_PREFIX": "neg_",
            "MAX_ITEM_LIST_LENGTH": LENGTH,
            "device": torch.device("cpu"),
            "n_layers": 2,
            "n_heads": 2,
            "hidden_size": 64,
            "inner_size": 256,
            "hidden_dropout_prob": 0.2,
            "attn_dropout_prob": 0.2,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "initializer_range": 0.02,
            "loss_type": "CE",
        }
        self._model = SASRec(settings, _Catalogue(self._n + 1))
        self._optimiser = torch.optim.Adam(self._model.parameters(), lr=1e-3)
        # The library's augmentation: every event but the first is the target of its own prefix.
        self._items = np.concatenate(training.without_validation()) + 1
        lengths = np.array([len(items) for items in training.without_validation()])
        place = np.arange(len(self._items)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._target = np.flatnonzero(place > 0)
        self._before = np.minimum(place, LENGTH)

    def epoch(self, number: int, deadline: float) -> int:
        """See `Library`; a batch as in the library's own loop."""
        self._model.train()
        positions = 0
        order = self._random.permutation(self._target)
        for at in range(0, len(order), _BATCH):
            target = order[at : at + _BATCH]
            length = self._before[target]
            index = (target - length)[:, None] + np.arange(LENGTH)
            real = np.arange(LENGTH) < length[:, None]
            sequence = np.where(real, self._items[np.minimum(index, len(self._items) - 1)], 0)
            loss = self._model.calculate_loss(
                {
                    "item_list": torch.from_numpy(sequence),
                    "length": torch.from_numpy(length),
                    "item": torch.from_numpy(self._items[target]),
                }
            )
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
            positions += len(target)
            if time.process_time() > deadline:
                break
        return positions

    def _batch(self, histories: list[Int64]) -> dict[str, torch.Tensor]:
        sequence = np.zeros((len(histories), LENGTH), dtype=np.int64)
        length = np.ones(len(histories), dtype=np.int64)
        for row, items in enumerate(histories):
            last = items[-LENGTH:] + 1
            sequence[row, : len(last)] = last
            length[row] = max(len(last), 1)
        return {"item_list": torch.from_numpy(sequence), "length": torch.from_numpy(length)}

    @torch.no_grad()
    def vectors(self, rows: Int64, histories: list[Int64]) -> tuple[Float32, Float32]:
        """See `Library`."""
        self._model.eval()
        people = []
        for at in range(0, len(histories), 256):
            batch = self._batch(histories[at : at + 256])
            people.append(self._model.forward(batch["item_list"], batch["length"]).numpy())
        return np.concatenate(people), self._model.item_embedding.weight[1:].numpy().copy()

    @torch.no_grad()
    def rank(self, rows: Int64, histories: list[Int64]) -> None:
        """See `Library`."""
        self._model.eval()
        for at in range(0, len(histories), 256):
            scores = self._model.full_sort_predict(self._batch(histories[at : at + 256]))
            for line, items in enumerate(histories[at : at + 256]):
                scores[line, items + 1] = -torch.inf
            torch.topk(scores[:, 1:], 10)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(RecBole, __doc__)
