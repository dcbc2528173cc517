"""Train SASRec.pytorch (pmixer) with its own model, sampler, loss and optimiser.

Batches of 128 and the pre-norm block, hidden 64, 2 layers, 2 heads, length 50.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from exchange import LENGTH, Float32, Int64, Library, Training, run

_BATCH = 128


class SASRecPytorch(Library):
    """The project's model and sampler in its training loop."""

    def __init__(self, training: Training, options: argparse.Namespace) -> None:
        sys.path.insert(0, str(options.source))
        from model import SASRec  # type: ignore[import-not-found]
        from utils import WarpSampler  # type: ignore[import-not-found]

        torch.manual_seed(options.seed)
        np.random.seed(options.seed)  # noqa: NPY002 - what its sampler draws from
        known = training.without_validation()
        self._n = training.n_items
        self._steps = (len(known) - 1) // _BATCH + 1
        settings = SimpleNamespace(
            device="cpu",
            norm_first=True,
            hidden_units=64,
            maxlen=LENGTH,
            dropout_rate=0.2,
            num_blocks=2,
            num_heads=2,
        )
        self._model = SASRec(len(known), self._n, settings)
        for parameter in self._model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.xavier_normal_(parameter.data)
        self._model.pos_emb.weight.data[0] = 0
        self._model.item_emb.weight.data[0] = 0
        people = {row + 1: (items + 1).tolist() for row, items in enumerate(known)}
        self._sampler = WarpSampler(
            people, len(known), self._n, batch_size=_BATCH, maxlen=LENGTH, n_workers=1
        )
        self._optimiser = torch.optim.Adam(self._model.parameters(), lr=1e-3, betas=(0.9, 0.98))

    def epoch(self, number: int, deadline: float) -> int:
        """See `Library`; a batch as in the library's own loop."""
        self._model.train()
        bce, positions = torch.nn.BCEWithLogitsLoss(), 0
        for _ in range(self._steps):
            user, sequence, positive, negative = map(np.array, self._sampler.next_batch())
            own, other = self._model(user, sequence, positive, negative)
            self._optimiser.zero_grad()
            real = np.where(positive != 0)
            loss = bce(own[real], torch.ones(own.shape)[real])
            loss += bce(other[real], torch.zeros(other.shape)[real])
            loss.backward()
            self._optimiser.step()
            positions += len(real[0])
            if time.process_time() > deadline:
                break
        return positions

    def other_seconds(self) -> float:
        """The sampler's process, from the kernel's account."""
        total = 0
        for process in self._sampler.processors:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the sampler."""
        self._sampler.close()

    def _padded(self, histories: list[Int64]) -> Int64:
        sequences = np.zeros((len(histories), LENGTH), dtype=np.int64)
        for row, items in enumerate(histories):
            last = items[-LENGTH:] + 1
            sequences[row, LENGTH - len(last) :] = last
        return sequences

    @torch.no_grad()
    def vectors(self, rows: Int64, histories: list[Int64]) -> tuple[Float32, Float32]:
        """See `Library`."""
        self._model.eval()
        sequences = self._padded(histories)
        people = [
            self._model.log2feats(sequences[at : at + 256])[:, -1].numpy()
            for at in range(0, len(sequences), 256)
        ]
        return np.concatenate(people), self._model.item_emb.weight[1:].numpy().copy()

    @torch.no_grad()
    def rank(self, rows: Int64, histories: list[Int64]) -> None:
        """See `Library`."""
        self._model.eval()
        sequences, everything = self._padded(histories), np.arange(1, self._n + 1)
        for at in range(0, len(rows), 128):
            scores = self._model.predict(rows, sequences[at : at + 128], everything)
            for line, items in enumerate(histories[at : at + 128]):
                scores[line, items] = -torch.inf
            torch.topk(scores, 10)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(SASRecPytorch, __doc__)
