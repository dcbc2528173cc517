"""Measure how time and memory of every stage of a log grow with its rows.

    python -m benchmarks.scale --rows 1000000 5000000 20000000
    python -m benchmarks.scale --rows 1000000 5000000 --stages import response simulate
    python -m benchmarks.scale --log logs/made --stages response simulate

Writes made-up logs in KuaiRand's layout, or takes a dataset, and runs each stage on each in its own
process. Prints wall time, processor time, the most memory held and what of it the stage added, and
slopes per million rows between the smallest and the largest log. A person has 4,200 rows; "analyse"
has three days of a person per twelve rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.lib.kuairand_log import write_log
from simulator.log_outcomes import user_days_of_log
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset
from simulator.logs.describe import describe
from simulator.logs.exporters import export_logs
from simulator.logs.importers import import_logs
from simulator.logs.initial_history import initial_history
from simulator.logs.interactions import interactions
from simulator.response.learned import LearnedResponse, optimisation

_FILES, _DATASET, _MODEL = "files", "dataset", "model"


def _import(folder: Path) -> None:
    import_logs(folder / _FILES, folder / _DATASET, overwrite=True)


def _check(folder: Path) -> None:
    check(Dataset.open(folder / _DATASET))


def _describe(folder: Path) -> None:
    describe(Dataset.open(folder / _DATASET))


def _histories(folder: Path) -> None:
    """What training on clicks reads: every one."""
    interactions(Dataset.open(folder / _DATASET), "clicked")


def _group(folder: Path) -> None:
    """What a process of a run reads of the log for a group of people: at most 4,096."""
    from abtest.run.datasets import GROUP_SIZE

    dataset = Dataset.open(folder / _DATASET)
    people = np.arange(min(GROUP_SIZE, len(dataset.user_ids())), dtype=np.int32)
    initial_history(dataset, people)
    user_days_of_log(dataset, dataset.user_ids()[people])


def _train(policy: str, folder: Path, **settings: Any) -> None:
    """One epoch of at least 20 steps: longer training holds no more memory."""
    import abtest  # noqa: F401 - registers lsvcr
    from policies.registry import create

    short = {"epochs": 1, "epoch_steps": 20} if policy != "popular" else {}
    made = create(policy, **short, **settings)
    made.fit(Dataset.open(folder / _DATASET), seed=1)


def _simulate(folder: Path) -> None:
    """A day of 64 people of the log, in one process, after the stage "response"."""
    from abtest.run.arms.serving import PolicyRanker
    from abtest.run.environments import EnvironmentSpec
    from policies.videos.random import RandomPolicy
    from simulator.calendar import DAY_MS
    from simulator.loop import drive

    spec = EnvironmentSpec("learned", str(folder / _DATASET), str(folder / _MODEL), 0, 1, 1)
    environment = spec.build()
    users = environment.people(64)
    feed, _ = environment.warm_feed(users)
    feed.extend(environment.start_ms + DAY_MS)
    policy = RandomPolicy()
    policy.reset(len(users))
    drive(feed, PolicyRanker(policy))


def _analyse(folder: Path) -> None:
    """Analysis and report of two arms, two days before and one day of the experiment."""
    from abtest.config import RunConfig
    from abtest.run.sizing import analysis_plan, analyze_outcomes
    from reports.render.html import write_html
    from simulator.behaviours import OUTCOMES

    rows = Dataset.open(folder / _DATASET).info.rows["impressions"]
    people, days = max(rows // 12, 100), np.array([-2, -1, 0])
    random = np.random.default_rng(1)
    arms = np.array(["sasrec", "lsvcr"])[random.integers(0, 2, people)]
    made = {name: random.exponential(size=3 * people) for name in OUTCOMES}
    outcomes = pl.DataFrame(
        {"user_id": np.repeat(np.arange(people), 3), "day": np.tile(days, people)}
        | {"arm": np.repeat(arms, 3)}
        | made
    ).with_columns(pl.col("day").cast(pl.Int32))
    config = RunConfig()
    result = analyze_outcomes(config, outcomes, analysis_plan(config), ("sasrec", "lsvcr"), {})
    write_html(result, folder / "report.html")


def _catalogue(folder: Path) -> None:
    Dataset.open(folder / _DATASET).catalogue()


def _export(folder: Path) -> None:
    target = Path(tempfile.mkdtemp(dir=folder)) / "exported"
    export_logs(Dataset.open(folder / _DATASET), target, format="kuairand")


def _response(folder: Path) -> None:
    """A short training, but at least one pass over everybody: longer ones hold no more memory."""
    optimisation._MAX_STEPS = 100
    _whole_response(folder)


def _whole_response(folder: Path) -> None:
    """All of it, as `run --data` does once for a log."""
    response = LearnedResponse.fit(Dataset.open(folder / _DATASET), seed=1)
    response.save(folder / _MODEL)


STAGES: dict[str, Callable[[Path], None]] = {
    "import": _import,
    "check": _check,
    "describe": _describe,
    "click histories": _histories,
    "catalogue": _catalogue,
    "histories of a group": _group,
    "export": _export,
    "popular": partial(_train, "popular"),
    "sasrec": partial(_train, "sasrec"),
    "lsvcr": partial(_train, "lsvcr"),
    "two-tower": partial(_train, "two-tower"),
    "two-tower, shared": partial(_train, "two-tower", own_from=1_000, shared_ids=10_000),
    "response": _response,
    "whole response": _whole_response,
    "simulate": _simulate,
    "analyse": _analyse,
}
_ON_REQUEST = (
    "sasrec", "lsvcr", "two-tower", "two-tower, shared", "response", "whole response", "simulate"
)  # fmt: skip
DEFAULT = [name for name in STAGES if name not in _ON_REQUEST]
"""What trains is run where it is asked for by name, after import."""


def measured(stage: str, folder: Path) -> dict[str, float]:
    """Seconds, processor seconds and MB of a stage, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run_stage(stage: str, folder: Path) -> None:
    idle = _most_memory()
    begin, spent = time.perf_counter(), time.process_time()
    STAGES[stage](folder)
    found = {
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - spent,
        "mb": _most_memory() / 1e6,
        "added_mb": (_most_memory() - idle) / 1e6,
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _most_memory() -> int:
    """Bytes that this process has held at most; getrusage counts the parent's at the fork, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _line(*cells: Any) -> str:
    return "  ".join(f"{cell:>20}" if n == 1 else f"{cell:>10}" for n, cell in enumerate(cells))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--stages", nargs="+", default=DEFAULT, choices=list(STAGES))
    parser.add_argument("--folder", type=Path, help="where logs are written; kept if given")
    parser.add_argument("--log", type=Path, help="a dataset, in place of made-up logs")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        _run_stage(options.stage, options.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ABTEST_CACHE"] = str(Path(scratch) / "cache")
        root = options.folder or Path(scratch)
        if options.log:
            _measure_all({_rows(options.log): _beside(options.log, root)}, options.stages)
            return
        folders = {rows: root / str(rows) for rows in sorted(options.rows)}
        for rows, folder in folders.items():
            if not (folder / _FILES).is_dir():
                write_log(folder / _FILES, rows, options.videos)
        _measure_all(folders, options.stages)


def _rows(log: Path) -> int:
    return Dataset.open(log).info.rows["impressions"]


def _beside(log: Path, root: Path) -> Path:
    """A folder in which a dataset is where stages look for it."""
    folder = Path(tempfile.mkdtemp(dir=root))
    (folder / _DATASET).symlink_to(log.absolute())
    return folder


def _measure_all(folders: dict[int, Path], stages: list[str]) -> None:
    print(_line("rows", "stage", "seconds", "cpu s", "peak MB", "added MB"), flush=True)
    found: dict[tuple[str, int], dict[str, float]] = {}
    for rows, folder in folders.items():
        for stage in stages:
            one = found[stage, rows] = measured(stage, folder)
            numbers = [f"{one[key]:.1f}" for key in ("seconds", "cpu")]
            numbers += [f"{one[key]:,.0f}" for key in ("mb", "added_mb")]
            print(_line(f"{rows:,}", stage, *numbers), flush=True)
    low, high = min(folders), max(folders)
    if low == high:
        return
    millions = (high - low) / 1e6
    print("\nper million rows more")
    print(_line("", "stage", "seconds", "cpu s", "MB"))
    for stage in stages:
        first, last = found[stage, low], found[stage, high]
        slopes = [(last[key] - first[key]) / millions for key in ("seconds", "cpu", "mb")]
        print(_line("", stage, f"{slopes[0]:.2f}", f"{slopes[1]:.2f}", f"{slopes[2]:,.1f}"))


if __name__ == "__main__":
    main()
