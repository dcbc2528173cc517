"""Measure how time and memory of every stage of a log grow with its rows.

    python -m benchmarks.scale --rows 1000000 5000000 20000000
    python -m benchmarks.scale --rows 200000 1000000 --videos 100000 --stages import response

Writes made-up logs in KuaiRand's layout, and runs each stage on each in its own process. Prints
wall time, processor time and the most memory held, and slopes per million rows between the
smallest and the largest log.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.lib.kuairand_log import write_log
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset
from simulator.logs.describe import describe
from simulator.logs.exporters import export_logs
from simulator.logs.importers import import_logs
from simulator.logs.interactions import interactions
from simulator.response.learned import LearnedResponse, optimisation

_FILES, _DATASET = "files", "dataset"


def _import(folder: Path) -> None:
    import_logs(folder / _FILES, folder / _DATASET, overwrite=True)


def _check(folder: Path) -> None:
    check(Dataset.open(folder / _DATASET))


def _describe(folder: Path) -> None:
    describe(Dataset.open(folder / _DATASET))


def _histories(folder: Path) -> None:
    interactions(Dataset.open(folder / _DATASET), "clicked")


def _catalogue(folder: Path) -> None:
    Dataset.open(folder / _DATASET).catalogue()


def _export(folder: Path) -> None:
    target = Path(tempfile.mkdtemp(dir=folder)) / "exported"
    export_logs(Dataset.open(folder / _DATASET), target, format="kuairand")


def _response(folder: Path) -> None:
    """A short training, but at least one pass over everybody: longer ones hold no more memory."""
    optimisation._MAX_STEPS = 100
    LearnedResponse.fit(Dataset.open(folder / _DATASET), seed=1)


STAGES: dict[str, Callable[[Path], None]] = {
    "import": _import,
    "check": _check,
    "describe": _describe,
    "click histories": _histories,
    "catalogue": _catalogue,
    "export": _export,
    "response": _response,
}
DEFAULT = [name for name in STAGES if name != "response"]
"""The response model is trained where it is asked for by name, after import."""


def measured(stage: str, folder: Path) -> dict[str, float]:
    """Seconds, processor seconds and MB of a stage, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run_stage(stage: str, folder: Path) -> None:
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin, spent = time.perf_counter(), time.process_time()
    STAGES[stage](folder)
    found = {
        "seconds": time.perf_counter() - begin,
        "cpu": time.process_time() - spent,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000,
        "idle_mb": idle / 1_000,
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _line(*cells: Any) -> str:
    return "  ".join(f"{cell:>12}" for cell in cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--stages", nargs="+", default=DEFAULT, choices=list(STAGES))
    parser.add_argument("--folder", type=Path, help="where logs are written; kept if given")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        _run_stage(options.stage, options.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = options.folder or Path(scratch)
        print(_line("rows", "stage", "seconds", "cpu s", "peak MB"), flush=True)
        found: dict[tuple[str, int], dict[str, float]] = {}
        for rows in sorted(options.rows):
            folder = root / str(rows)
            if not (folder / _FILES).is_dir():
                write_log(folder / _FILES, rows, options.videos)
            for stage in options.stages:
                one = found[stage, rows] = measured(stage, folder)
                numbers = f"{one['seconds']:.1f}", f"{one['cpu']:.1f}", f"{one['mb']:,.0f}"
                print(_line(f"{rows:,}", stage, *numbers), flush=True)
        low, high = min(options.rows), max(options.rows)
        if low == high:
            return
        millions = (high - low) / 1e6
        print("\nper million rows more")
        print(_line("stage", "seconds", "cpu s", "MB"))
        for stage in options.stages:
            first, last = found[stage, low], found[stage, high]
            slopes = [(last[key] - first[key]) / millions for key in ("seconds", "cpu", "mb")]
            print(_line(stage, f"{slopes[0]:.2f}", f"{slopes[1]:.2f}", f"{slopes[2]:,.1f}"))


if __name__ == "__main__":
    main()
