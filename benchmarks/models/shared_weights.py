"""Measure what processes that rank with the same weights hold, each and together.

    python -m benchmarks.models.shared_weights
    python -m benchmarks.models.shared_weights --policy sasrec --videos 1000000 --processes 1 2 4

Trains a policy for a moment on a made-up log of so many videos, then starts processes that load it
and score every video, as those of a run do. Prints their proportional set sizes (Linux: each page
divided by the processes that hold it), less those of processes that have only imported; once with
arrays mapped from the file of weights, once with arrays that every process reads for itself.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import polars as pl

from policies import checkpoint
from policies.registry import create
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.requests import HistoryState, VideoRequests

_START_MS = 1_700_000_000_000
_AT_A_TIME = 4_096
SHORT = {"epochs": 1, "epoch_steps": 2}


def write_log(folder: Path, videos: int) -> Path:
    """A dataset of 2,000 people with twenty liked videos each, among so many."""
    random = np.random.default_rng(1)
    n = 40_000
    shown = pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(2_000), 20),
            "video_id": random.integers(0, videos, n),
            "time_ms": _START_MS + np.tile(np.arange(20), 2_000) * 60_000,
            "play_time_ms": np.full(n, 9_000),
            "is_click": np.ones(n, np.int8),
            "is_like": np.ones(n, np.int8),
        }
    )
    with DatasetWriter(folder, name="made up", source="benchmark", licence="none") as writer:
        writer.append("impressions", shown)
        writer.append("users", pl.DataFrame({"user_id": np.arange(2_000)}))
        writer.append("videos", pl.DataFrame({"video_id": np.arange(videos)}))
    return folder


def _settings(policy: str) -> dict[str, object]:
    return {**SHORT, "text": False} if policy == "lsvcr" else dict(SHORT)


def rank(policy: str, log: Path, weights: Path, mapped: bool, pipe: Connection) -> None:
    """What a process of a run does: imports; loads and scores; waits to be measured after each."""
    import abtest  # noqa: F401 - registers lsvcr

    made = create(policy, **_settings(policy))
    dataset = Dataset.open(log)
    catalogue = dataset.catalogue()
    pipe.send("imported")
    pipe.recv()
    if not mapped:
        checkpoint._MAPPED_FROM = 1 << 62
    made.load(weights, dataset)
    made.reset(1)
    row = np.zeros(1, dtype=np.int32)
    for first in range(0, catalogue.n_videos, _AT_A_TIME):
        videos = np.arange(first, min(first + _AT_A_TIME, catalogue.n_videos), dtype=np.int32)
        history = HistoryState(1)
        for signal in ("liked", "clicked"):
            history.append(signal, np.zeros(1, np.int64), videos[:1])
        made.score_videos(
            VideoRequests(
                row=row, user=row, time_ms=np.full(1, _START_MS), key=row.astype(np.uint64),
                candidates=videos[None], history=history.view(row),
            )
        )  # fmt: skip
    pipe.send("ranked")
    pipe.recv()


def held(processes: list[int]) -> float:
    """MB of proportional set sizes, together."""
    total = 0
    for process in processes:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        total += int(text.split("Pss:")[1].split()[0])
    return total / 1024


def measure(policy: str, log: Path, weights: Path, count: int, mapped: bool) -> float:
    """MB that loading and ranking adds to so many processes, together."""
    context = get_context("spawn")
    pipes, started = [], []
    for _ in range(count):
        here, there = context.Pipe()
        process = context.Process(target=rank, args=(policy, log, weights, mapped, there))
        process.start()
        pipes.append(here)
        started.append(process)
    numbers = [process.pid for process in started if process.pid is not None]
    sizes = []
    for _ in range(2):
        for pipe in pipes:
            pipe.recv()
        sizes.append(held(numbers))
        for pipe in pipes:
            pipe.send("go on")
    for process in started:
        process.join()
    return sizes[1] - sizes[0]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--policy", default="lsvcr")
    parser.add_argument("--videos", type=int, default=300_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    import abtest  # noqa: F401 - registers lsvcr

    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ABTEST_CACHE"] = str(Path(scratch) / "cache")
        log, weights = write_log(Path(scratch) / "log", options.videos), Path(scratch) / "weights"
        made = create(options.policy, **_settings(options.policy))
        made.fit(Dataset.open(log), seed=1)
        weights.mkdir()
        made.save(weights)
        size = (weights / checkpoint.ARRAYS).stat().st_size / 1e6
        print(f"{options.policy}, {options.videos:,} videos: weights of {size:,.0f} MB on disk")
        print("processes     mapped: MB together   read: MB together")
        for count in options.processes:
            found = [measure(options.policy, log, weights, count, how) for how in (True, False)]
            print(f"{count:9}     {found[0]:19,.0f}   {found[1]:17,.0f}")


if __name__ == "__main__":
    main()
