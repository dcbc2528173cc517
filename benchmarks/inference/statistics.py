"""Compare speed and memory of the statistics module with its peers, on the same files.

    pip install tea-tasting "ibis-framework[duckdb]" gbstats spotify-confidence "pandas<3"
    python -m benchmarks.inference.statistics
    python -m benchmarks.inference.statistics --case quantile --case bootstrap --repeats 5
    python -m benchmarks.inference.statistics --case analyze --users 1000000 --users 4000000

Every library and case runs in a process of its own, one after the other. Times are medians of
repeated runs after a first one that is not counted, with processor seconds (the least of the
runs) beside them, which a busy machine changes less; memory is the process's peak, its imports
included. Files are Parquet as most tools write it (snappy), drawn from a fixed seed. Peers are
optional: what is not installed is skipped and named.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.lib import statistics_ours as ours
from benchmarks.lib import statistics_peers as peers
from benchmarks.lib.statistics_users import Run

CASES: dict[str, dict[str, tuple[str, Callable[[Path], Run]]]] = {
    "three": {
        "ours": ("", ours.three),
        "tea-tasting, DuckDB": ("tea_tasting", peers.tea_duckdb),
        "tea-tasting, DuckDB, loaded before": ("tea_tasting", peers.tea_duckdb_loaded),
        "tea-tasting, Polars": ("tea_tasting", peers.tea_polars),
        "gbstats, numpy sums": ("gbstats", peers.gbstats_three),
        "spotify-confidence (no ratio)": ("spotify_confidence", peers.spotify_mean),
    },
    "quantile": {
        "ours": ("", ours.quantile),
        "gbstats' order statistics in numpy": ("", peers.gbstats_quantile),
    },
    "bootstrap": {"ours": ("", ours.bootstrap)},
    "analyze": {"abtest analyze": ("", ours.analyze)},
    "streamed-quantile": {"ours": ("", ours.streamed_quantile)},
}
ANY_SIZE = ("three", "analyze", "streamed-quantile")
"""Cases whose memory does not grow with the users."""

TITLES = {
    "three": "mean + ratio + CUPED mean together, from Parquet, {:,} users per arm",
    "quantile": "p90 of 1,000,000 clustered values, closed form",
    "bootstrap": "bootstrap of a mean, 1,000 resamples, {:,} users per arm",
    "analyze": "abtest analyze: mean with a covariate, ratio, capped mean, {:,} users per arm",
    "streamed-quantile": "p90 of one value per user, from Parquet, {:,} users per arm",
}
PACKAGES = {
    "tea_tasting": 'tea-tasting "ibis-framework[duckdb]"',
    "gbstats": "gbstats",
    "spotify_confidence": "spotify-confidence",
}


def measure(run: Run, repeats: int) -> dict[str, Any]:
    """Seconds, processor seconds, peak MiB and the answers."""
    answers = run()
    wall, work = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - started)
        work.append(time.process_time() - used)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return {
        "median": statistics.median(wall),
        "least": min(wall),
        "work": min(work),
        "peak": peak,
        "answers": answers,
    }


def child(case: str, name: str, path: Path, repeats: int) -> None:
    """Measure one library in this process and print what was found."""
    made = CASES[case][name][1](path)
    with contextlib.redirect_stdout(sys.stderr):
        found = measure(made, repeats)
    print(json.dumps(found))


def compare_libraries(case: str, path: Path, per_arm: int, repeats: int) -> None:
    """One table: a line per library."""
    print(f"\n{TITLES[case].format(per_arm)}")
    print(f"{'':<36}{'median s':>9}{'least s':>9}{'CPU s':>8}{'peak MB':>9}  answers")
    for name, (package, _) in CASES[case].items():
        if package and importlib.util.find_spec(package) is None:
            print(f"{name:<36}not installed: pip install {PACKAGES[package]}")
            continue
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.inference.statistics"]
        command += ["--child", case, name, str(path), str(repeats)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["killed"])[-1]
            print(f"{name:<36}failed: {last[:90]}")
            continue
        found = json.loads(done.stdout)
        answers = ", ".join(f"{k} {v:.6g}" for k, v in found["answers"].items())
        print(
            f"{name:<36}{found['median']:>9.3f}{found['least']:>9.3f}{found['work']:>8.3f}"
            f"{found['peak']:>9.0f}  {answers}"
        )


def main() -> None:
    """Write the files, then a table per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=list(CASES), help="repeatable")
    parser.add_argument("--users", type=int, action="append", help="per arm; repeatable")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        case, name, path, repeats = options.child
        child(case, name, Path(path), int(repeats))
        return
    installed = {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}
    names = ("polars", "numpy", "tea-tasting", "duckdb", "gbstats", "spotify-confidence")
    versions = ", ".join(f"{name} {installed[name]}" for name in names if name in installed)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {versions}")
    with tempfile.TemporaryDirectory() as folder:
        for per_arm in options.users or [1_000_000, 10_000_000]:
            path = Path(folder) / f"{per_arm}.parquet"
            write = [sys.executable, "-c", f"from benchmarks.lib.statistics_users import *; "
                     f"write_users(Path({str(path)!r}), {per_arm})"]  # fmt: skip
            subprocess.run(write, check=True)
            for case in options.case or list(CASES):
                if case in ANY_SIZE or per_arm <= 1_000_000:
                    few = 1 if case in ("bootstrap", "analyze") else options.repeats
                    compare_libraries(case, path, per_arm, few)
            path.unlink()


if __name__ == "__main__":
    main()
