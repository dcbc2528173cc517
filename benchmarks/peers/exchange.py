"""Exchange data and scores with a library, and evaluate both sides with one evaluator.

Numpy alone, because it also runs in the interpreter of the library.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
LENGTH = 50


@dataclass(frozen=True)
class Training:
    """What may be learned from: everybody's items, one person after the other, oldest first.

    Attributes:
        items: int64[n], from 0.
        starts: int64[U + 1].
        held: int64[h], people whose last item is for validation.
        n_items: Size of the catalogue.
    """

    items: Int64
    starts: Int64
    held: Int64
    n_items: int

    def save(self, path: Path) -> None:
        """To an npz file."""
        np.savez(path, items=self.items, starts=self.starts, held=self.held, n=self.n_items)

    @classmethod
    def load(cls, path: Path) -> Training:
        """What `save` wrote."""
        with np.load(path) as data:
            return cls(data["items"], data["starts"], data["held"], int(data["n"]))

    def people(self) -> list[Int64]:
        """Each person's items."""
        return np.split(self.items, self.starts[1:-1])

    def without_validation(self) -> list[Int64]:
        """Each person's items, without the validation item."""
        people = self.people()
        for row in self.held:
            people[row] = people[row][:-1]
        return people

    def owner(self) -> Int64:
        """int64[n], whose item each is."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def ranks_of(
    people: Float32, table: Float32, seen_row: Int64, seen_item: Int64, target: Int64
) -> Int64:
    """Rank from 0 of each target among the items not seen before; ties count against.

    Args:
        people: float32[U, d].
        table: float32[n, d]; scores are inner products.
        seen_row: int64[m], ascending, row of each item seen.
        seen_item: int64[m]; a target competes in any case.
        target: int64[U].
    """
    found = np.empty(len(people), dtype=np.int64)
    for at in range(0, len(people), 256):
        scores = people[at : at + 256] @ table.T
        line = np.arange(len(scores))
        own = scores[line, target[at : at + 256]].copy()
        low, high = np.searchsorted(seen_row, [at, at + len(scores)])
        scores[seen_row[low:high] - at, seen_item[low:high]] = -np.inf
        scores[line, target[at : at + 256]] = -np.inf
        found[at : at + 256] = (scores >= own[:, None]).sum(axis=1)
    return found


def ndcg(ranks: Int64) -> NDArray[np.float64]:
    """NDCG@10 of one relevant item, by person."""
    return np.asarray((ranks < 10) / np.log2(ranks + 2.0), dtype=np.float64)


class Library:
    """One public implementation, to be trained epoch by epoch."""

    def epoch(self, number: int, deadline: float) -> int:
        """Train one epoch, or until `time.process_time` passes the deadline; target positions."""
        raise NotImplementedError

    def vectors(self, rows: Int64, histories: list[Int64]) -> tuple[Float32, Float32]:
        """Vectors of people with these histories, and of all items: float32[U, d], [n, d]."""
        raise NotImplementedError

    def rank(self, rows: Int64, histories: list[Int64]) -> None:
        """The best ten for each, seen items removed, the library's own way."""
        raise NotImplementedError

    def other_seconds(self) -> float:
        """CPU seconds of the library's worker processes so far."""
        return 0.0

    def close(self) -> None:
        """End the library's worker processes."""


def run(new: Callable[[Training, argparse.Namespace], Library], doc: str | None) -> None:
    """Command line of every library: train within a budget, keep the best epoch, write vectors."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("training", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="CPU seconds of training")
    parser.add_argument("--patience", type=int, default=100, help="epochs without a better NDCG@10")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", type=Path, help="the library's source, if not installed")
    options = parser.parse_args()
    training = Training.load(options.training)
    library = new(training, options)
    known = training.without_validation()
    held = training.held
    contexts = [known[row] for row in held]
    lengths = np.array([len(c) for c in contexts])
    target = training.items[training.starts[1:][held] - 1]
    row, item = np.repeat(np.arange(len(held)), lengths), np.concatenate(contexts)
    everybody = np.arange(len(known))
    best, best_epoch, kept, positions, spent, epoch = -1.0, 0, None, 0, 0.0, 0
    while spent < options.seconds and epoch - best_epoch < options.patience:
        epoch += 1
        started, others = time.process_time(), library.other_seconds()
        positions += library.epoch(epoch, started + options.seconds - spent)
        spent += time.process_time() - started + library.other_seconds() - others
        value = float(ndcg(ranks_of(*library.vectors(held, contexts), row, item, target)).mean())
        print(f"epoch {epoch}, NDCG@10 {value:.4f}, {spent:.0f} CPU s", flush=True)
        if value > best:
            best, best_epoch = value, epoch
            kept = library.vectors(everybody, training.people())
    some = everybody[: 2 * 1_024]
    histories = training.people()[: len(some)]
    started = time.process_time()
    library.rank(some, histories)
    ranked = len(some) / (time.process_time() - started)
    assert kept is not None
    report: dict[str, Any] = {
        "positions": positions / spent,
        "seconds": spent,
        "users": ranked,
        "epochs": epoch,
        "converged": epoch - best_epoch >= options.patience,
    }
    np.savez(options.result, people=kept[0], table=kept[1], **report)
    library.close()
