"""Train RecTools' SASRec: softmax up to 20,000 items, 256 sampled negatives above.

Hidden 64, 2 layers, 2 heads, length 50, batches of 128, its own trainer.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-not-found]
import torch
from pytorch_lightning import Callback, Trainer, seed_everything  # type: ignore[import-not-found]
from rectools import Columns  # type: ignore[import-not-found]
from rectools.dataset import Dataset  # type: ignore[import-not-found]
from rectools.models import SASRecModel  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parent))
from exchange import LENGTH, Float32, Int64, Library, Training, run


def _dataset(rows: Int64, histories: list[Int64]) -> Dataset:
    lengths = [len(items) for items in histories]
    order = np.arange(sum(lengths))
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: np.repeat(rows, lengths),
                Columns.Item: np.concatenate(histories),
                Columns.Weight: 1.0,
                # Days apart, so that no two events share a time.
                Columns.Datetime: pd.to_datetime(order, unit="s"),
            }
        )
    )


class _Budget(Callback):  # type: ignore[misc]
    """Counts targets, and stops at the deadline."""

    deadline = float("inf")
    positions = 0

    def on_train_batch_end(self, trainer, module, outputs, batch, number) -> None:  # type: ignore[no-untyped-def]
        self.positions += int((batch["y"] != 0).sum())
        trainer.should_stop = time.process_time() > self.deadline


class RecTools(Library):
    """The library's model, data preparation and trainer."""

    def __init__(self, training: Training, options: argparse.Namespace) -> None:
        seed_everything(options.seed)
        known = training.without_validation()
        self._n = training.n_items
        self._train = _dataset(np.arange(len(known)), known)
        self._budget = budget = _Budget()
        large = self._n > 20_000

        def trainer() -> Trainer:
            return Trainer(
                max_epochs=1,
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                enable_checkpointing=False,
                accelerator="cpu",
                devices=1,
                callbacks=[budget],
            )

        self._model = SASRecModel(
            n_blocks=2,
            n_heads=2,
            n_factors=64,
            dropout_rate=0.2,
            session_max_len=LENGTH,
            loss="sampled_softmax" if large else "softmax",
            n_negatives=256,
            lr=1e-3,
            batch_size=128,
            get_trainer_func=trainer,
        )

    def epoch(self, number: int, deadline: float) -> int:
        """See `Library`; a batch as in the library's own loop."""
        before = self._budget.positions
        # fit_partial copies the trainer, callback included, on its first call.
        self._budget.deadline = _Budget.deadline = deadline
        self._model.fit_partial(self._train, min_epochs=1, max_epochs=1)
        trainer = self._model.fit_trainer
        assert trainer is not None
        own = next(c for c in trainer.callbacks if isinstance(c, _Budget))
        self._budget = own
        return own.positions - before

    def vectors(self, rows: Int64, histories: list[Int64]) -> tuple[Float32, Float32]:
        """See `Library`."""
        dataset = _dataset(rows, histories)
        model, preparator = self._model, self._model.data_preparator
        # Users without items have no row and get the mean of the others.
        has = np.array([len(items) > 0 for items in histories])
        batch = preparator.transform_dataset_u2i(dataset, rows[has])
        loader = preparator.get_dataloader_recommend(batch, 256)
        people, items = model.lightning_model._get_user_item_embeddings(loader, "cpu")
        found = np.zeros((len(rows), people.shape[1]), dtype=np.float32)
        users = batch.user_id_map.convert_to_external(np.arange(len(people)))
        place = {int(user): at for at, user in enumerate(rows)}
        found[[place[int(user)] for user in users]] = people.numpy()
        table = np.full((self._n, people.shape[1]), 0.0, dtype=np.float32)
        ids = preparator.item_id_map.external_ids
        extra = preparator.n_item_extra_tokens
        table[ids[extra:].astype(np.int64)] = items[extra:].numpy()
        return found, table

    def rank(self, rows: Int64, histories: list[Int64]) -> None:
        """See `Library`."""
        self._model.recommend(
            users=rows, dataset=_dataset(rows, histories), k=10, filter_viewed=True
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    run(RecTools, __doc__)
