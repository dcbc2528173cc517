"""Compare SASRec on public logs with public libraries: accuracy over seeds, speed.

    python -m benchmarks.models.policies --data ml-100k.inter
    python -m benchmarks.models.policies --data Video.txt --seeds 3 --set epochs=20
    python -m benchmarks.models.policies --data ml-100k.inter --peers-python PYTHON --peers rectools

Leave-last-out, full ranking, seen items removed, ties against the model, best epoch by NDCG@10 on
the last training event of up to 2,000 people; test events are seen by the evaluator alone. All
times are CPU seconds of one thread. ``positions/s``: target positions per CPU second of training
(ours with validation, libraries without). ``users/s``: encoding, scores of the whole catalogue,
seen items removed, the best ten.

PYTHON has torch and ``rectools[torch]`` or ``recbole``; SASRec.pytorch is used from its source
(``--sasrec-pytorch``, the directory with ``model.py``). Everything has hidden size 64, 2 layers, 2
heads, length 50. Libraries train with dropout .2 for ``--peer-seconds``, or until
``--peer-patience`` epochs bring nothing; an epoch of theirs is one pass through the log, a few
steps where it is short, and with little patience they stop on a plateau.
The data: see `benchmarks.lib.ratings`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import numpy as np
import torch
from numpy.typing import NDArray

from abtest.tables import table
from benchmarks.lib.ratings import ratings_dataset
from benchmarks.lib.settings import settings_of
from benchmarks.peers.exchange import Training, ndcg, ranks_of
from policies.evaluation.holdout import HeldOut, held_out, training_part
from policies.registry import create
from policies.sequence.full_ranking import FullRanking
from policies.sequence.sequences import Sequences
from policies.sequence.sequential import SequentialPolicy
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import HISTORY_LENGTH

LIBRARIES = {
    "rectools": "RecTools",
    "sasrec_pytorch": "SASRec.pytorch",
    "recbole": "RecBole",
}
Row = tuple[str, ...]


class Task:
    """What is asked: the held-out event of each person, given the training part.

    Attributes:
        sequences: Training events, one sequence per person.
        rows: int64[n], the sequence of each test person.
        target: int64[n], their held-out items.
    """

    def __init__(self, training: Dataset, test: HeldOut) -> None:
        events = interactions(training, "liked")
        self.n_items = training.catalogue().n_videos
        self.sequences = Sequences.of(events.user, events.video)
        self.rows = np.searchsorted(self.sequences.users, test.user)
        self.target = test.video.astype(np.int64)
        self.histories = self.sequences.last(HISTORY_LENGTH)[self.rows]
        lengths = self.sequences.lengths()[self.rows]
        self.seen_row = np.repeat(np.arange(len(self.rows)), lengths)
        first = np.repeat(self.sequences.starts[self.rows] - np.cumsum(lengths) + lengths, lengths)
        self.seen_item = self.sequences.items[first + np.arange(len(first))]

    def ranks(self, people: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `ranks_of`."""
        return ranks_of(people, vectors, self.seen_row, self.seen_item, self.target)

    def for_libraries(self) -> Training:
        """The same events, with validation people drawn as ours are."""
        eligible = np.flatnonzero(self.sequences.lengths() >= 2)
        held = np.random.default_rng([1, 1]).permutation(eligible)[:2_000]
        return Training(self.sequences.items, self.sequences.starts, held, self.n_items)


def accuracy(per_seed: list[NDArray[np.int64]]) -> tuple[str, str]:
    """HR@10 and NDCG@10 with standard errors over people, and over seeds if there are several."""
    cells = []
    for gain in (lambda ranks: (ranks < 10).astype(np.float64), ndcg):
        values = np.stack([gain(ranks) for ranks in per_seed])
        error = values.mean(axis=0).std(ddof=1) / np.sqrt(values.shape[1])
        cell = f"{values.mean():.4f} +- {error:.4f}"
        if len(per_seed) > 1:
            seeds = values.mean(axis=1).std(ddof=1) / np.sqrt(len(per_seed))
            cell += f" ({seeds:.4f})"
        cells.append(cell)
    return cells[0], cells[1]


def ours(name: str, settings: dict[str, Any], training: Dataset, task: Task, seeds: int) -> Row:
    """Train with several seeds; one line of the table."""
    per_seed, seconds, users, positions, passes = [], [], [], [], []
    for seed in range(1, seeds + 1):
        policy = create(name, **settings)
        assert isinstance(policy, SequentialPolicy), f"{name} ranks by no vectors"
        started = time.process_time()
        policy.fit(training, seed=seed)
        seconds.append(time.process_time() - started)
        summary = policy.training_summary()
        passes.append(summary["passes"])
        trained = len(task.sequences.items) - min(2_000, len(task.rows))
        positions.append(trained * summary["passes"] / seconds[-1])
        started = time.process_time()
        people = policy.encode(task.histories)
        FullRanking(policy.item_vectors).best(people, 10, task.seen_row, task.seen_item)
        users.append(len(people) / (time.process_time() - started))
        per_seed.append(task.ranks(people, policy.item_vectors))
        note(f"{name}, seed {seed}: {accuracy(per_seed[-1:])}, {seconds[-1]:.0f} CPU s, {summary}")
    return (
        name,
        *accuracy(per_seed),
        f"{np.mean(positions):,.0f}",
        f"{np.mean(users):,.0f}",
        f"{np.mean(seconds):.0f}",
        f"{np.mean(passes):.0f}",
    )


def library(name: str, options: argparse.Namespace, task: Task, folder: Path) -> Row:
    """Train one library in its interpreter; one line of the table."""
    script = Path(__file__).parents[1] / "peers" / (name.removesuffix("_pytorch") + "_sasrec.py")
    if name == "sasrec_pytorch":
        script = script.with_name("sasrec_pytorch.py")
    given, result = folder / "training.npz", folder / f"{name}.npz"
    task.for_libraries().save(given)
    command = [str(options.peers_python), str(script), str(given), str(result)]
    command += ["--seconds", str(options.peer_seconds), "--patience", str(options.peer_patience)]
    if options.sasrec_pytorch:
        command += ["--source", str(options.sasrec_pytorch)]
    # Its progress is shown as it comes: it may train for hours.
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.STDOUT)
    if done.returncode or not result.exists():
        return (LIBRARIES[name], "failed", *[""] * 5)
    with np.load(result) as found:
        ranks = task.ranks(found["people"][task.rows], found["table"])
        return (
            LIBRARIES[name],
            *accuracy([ranks]),
            f"{float(found['positions']):,.0f}",
            f"{float(found['users']):,.0f}",
            f"{float(found['seconds']):.0f}",
            f"{int(found['epochs'])}" + ("" if found["converged"] else ", cut"),
        )


def note(text: str) -> None:
    print(text.rstrip(), file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="ml-100k.inter or Video.txt")
    parser.add_argument("--policies", nargs="*", default=["sasrec"], help="sequence policies")
    parser.add_argument("--set", nargs="*", default=[], help="setting=value for all of them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=list(LIBRARIES), choices=list(LIBRARIES))
    parser.add_argument("--peers-python", type=Path, help="interpreter that has the libraries")
    parser.add_argument("--peer-seconds", type=float, default=300, help="CPU seconds of training")
    parser.add_argument("--peer-patience", type=int, default=100, help="epochs without a gain")
    parser.add_argument("--sasrec-pytorch", type=Path, help="python/ of SASRec.pytorch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = settings_of(options.set)
    with tempfile.TemporaryDirectory() as folder:
        log = ratings_dataset(options.data, Path(folder) / "log")
        test = held_out(log, "liked")
        training = training_part(log, test, Path(folder) / "training")
        task = Task(training, test)
        rows = [ours(name, settings, training, task, options.seeds) for name in options.policies]
        if options.peers_python:
            rows += [library(name, options, task, Path(folder)) for name in options.peers]
    header = ("model", "HR@10", "NDCG@10", "positions/s", "users/s", "CPU s", "passes")
    print(table(rows, header=header, right=(1, 2, 3, 4, 5, 6)))
    print(
        f"\n{options.data.name}: {len(task.rows):,} people, {task.n_items:,} items, "
        f"{len(task.sequences.items):,} training events; +- standard error over people "
        f"(over {options.seeds} seeds)"
    )


if __name__ == "__main__":
    main()
