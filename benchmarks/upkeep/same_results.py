"""Compare what two checkouts of this project compute: a small run of every command in each.

    python -m benchmarks.upkeep.same_results BEFORE_CHECKOUT [--only run,replay] [--keep FOLDER]

Prints a row per output (files of datasets, runs and exports, and what commands print) with "same"
or what differs: columns of a Parquet file, keys of a JSON document, lines of a text. Wall times
(``timings.json``, ``run.log``) are left out. Exits 1 where something differs or a command fails in
one checkout only. Training is cheap on purpose; the aim is to see that a change of structure
changed no result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from abtest.tables import table

HERE = Path(__file__).parents[2]
_LOG, _SMALL = "logs/small", ("--world", "small", "--log-users", "60", "--users", "100")
_DAYS = ("--days", "1", "--burn-in-days", "2", "--workers", "1", "--quiet")

STEPS: dict[str, tuple[str, ...]] = {
    "synth": ("data", "synth", _LOG, "--world", "small", "--users", "60"),
    "check": ("data", "check", _LOG),
    "describe": ("data", "describe", _LOG, "--against", "kuaishou"),
    "export-kuairand": ("data", "export", _LOG, "files/kuairand", "--format", "kuairand"),
    "export-kuaicomt": ("data", "export", _LOG, "files/kuaicomt", "--format", "kuaicomt"),
    "import-kuairand": ("data", "import", "files/kuairand", "logs/kuairand"),
    "import-kuaicomt": ("data", "import", "files/kuaicomt", "logs/kuaicomt"),
    "train": ("train", "ease", "--data", _LOG),
    "run-online": ("run", "-t", "popular", "-c", "random", *_SMALL, *_DAYS, "-o", "runs/online"),
    "run-twin": ("run", "-t", "itemknn+newest", "-c", "popular", *_SMALL, *_DAYS, "-o", "runs/twin",
                 "--design", "twin", "--explore-share", "5%"),
    "run-data": ("run", "--data", _LOG, "-t", "popular", "-c", "random", "--days", "1",
                 "--workers", "1", "--quiet", "-o", "runs/data"),
    "report": ("report", "runs/online"),
    "analyze": ("analyze", "runs/online/outcomes.parquet", "--control", "random",
                "--metric", "clicks", "--metric", "stay=comment_watch_time_ms/comment_opens",
                "-o", "runs/analyze"),
    "power": ("power", "runs/online", "--json"),
    "aa": ("aa", "runs/online", "--replicates", "50", "--json"),
    "replay": ("replay", "-t", "popular", "-c", "random", "--data", _LOG, "--json"),
    "evaluate": ("evaluate", "popular", "itemknn", "--data", _LOG, "--json"),
}  # fmt: skip
"""Each step may read what the steps before it wrote."""

IGNORED = ("cache", "timings.json", "run.log")
MOST = 6


def live(checkout: Path, python: str, folder: Path, steps: list[str]) -> dict[str, float]:
    """Run the steps with a checkout's code; outputs go into the folder. Seconds by step."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "ABTEST_CACHE": str(folder / "cache"),
        "POLARS_MAX_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
    }
    printed = folder / "printed"
    printed.mkdir(parents=True)
    seconds = {}
    for name in steps:
        started = time.perf_counter()
        done = subprocess.run(
            [python, "-m", "abtest", *STEPS[name]],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds[name] = time.perf_counter() - started
        (printed / f"{name}.txt").write_text(done.stdout, encoding="utf-8")
        (printed / f"{name}.code").write_text(f"{done.returncode}\n", encoding="utf-8")
        # Code 1 is a verdict; what goes beyond it is a failure, and its reason is an output.
        if done.returncode > 1:
            (printed / f"{name}.error").write_text(done.stderr, encoding="utf-8")
    return seconds


def outputs(folder: Path) -> dict[str, Path]:
    """Files by name relative to the folder, without those that never agree."""
    return {
        str(path.relative_to(folder)): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(path.relative_to(folder).parts) & set(IGNORED)
    }


def difference(before: Path, after: Path) -> str:
    """Empty if the bytes are the same, else what differs."""
    old, new = before.read_bytes(), after.read_bytes()
    if old == new:
        return ""
    if before.suffix == ".parquet":
        return _of_tables(pl.read_parquet(before), pl.read_parquet(after))
    try:
        keys = list(_of_documents(json.loads(old), json.loads(new)))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return _of_lines(old, new)
    return _listed("keys", keys) if keys else "the same document, other bytes"


def _of_tables(old: pl.DataFrame, new: pl.DataFrame) -> str:
    if old.height != new.height:
        return f"{old.height:,} rows, now {new.height:,}"
    gone = [f"-{name}" for name in old.columns if name not in new.columns]
    come = [f"+{name}" for name in new.columns if name not in old.columns]
    both = [name for name in old.columns if name in new.columns]
    changed = [name for name in both if not old[name].equals(new[name], check_dtypes=True)]
    if not (gone or come or changed):
        order = "" if old.columns == new.columns else ", columns in another order"
        return f"the same values, other bytes{order}"
    return _listed("columns", [*gone, *come, *changed])


def _of_documents(old: Any, new: Any, place: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            here = f"{place}.{key}" if place else str(key)
            if key in old and key in new:
                yield from _of_documents(old[key], new[key], here)
            else:
                yield f"{'-' if key in old else '+'}{here}"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _of_documents(one, other, f"{place}[{number}]")
    elif old != new:
        yield f"{place}: {str(old)[:40]} -> {str(new)[:40]}"


def _of_lines(old: bytes, new: bytes) -> str:
    one, other = (b.decode("utf-8", "replace").splitlines() for b in (old, new))
    changed = [
        f"line {n}: {a[:60]!r} -> {b[:60]!r}"
        for n, (a, b) in enumerate(zip(one, other, strict=False), 1)
        if a != b
    ]
    if len(one) != len(other):
        changed.append(f"{len(one):,} lines, now {len(other):,}")
    return _listed("lines", changed) if changed else "line ends only"


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{what}: {'; '.join(names[:MOST])}{more}"


def compare(before: Path, after: Path) -> tuple[list[tuple[str, str]], int]:
    """(output, what differs) for each output, and how many differ."""
    old, new = outputs(before), outputs(after)
    rows = []
    for name in sorted({*old, *new}):
        if name not in old or name not in new:
            rows.append((name, "only before" if name in old else "only now"))
        else:
            rows.append((name, difference(old[name], new[name])))
    return rows, sum(bool(found) for _, found in rows)


def _chosen(text: str | None) -> list[str]:
    wanted = text.split(",") if text else [""]
    return [name for name in STEPS if any(name.startswith(w) for w in wanted)]


def main() -> None:
    """Run both checkouts side by side and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path, help="folder of the other checkout")
    parser.add_argument("--python", default=sys.executable, help="interpreter for both")
    parser.add_argument("--only", help="beginnings of steps, comma-separated; default: all")
    parser.add_argument("--keep", type=Path, help="folder to keep the outputs in")
    options = parser.parse_args()
    if not (options.before / "abtest").is_dir():
        parser.error(f"{options.before} is no checkout: it has no folder abtest")
    steps = _chosen(options.only)
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary)
        sides = {"before": options.before.resolve(), "after": HERE}
        with ThreadPoolExecutor(2) as pool:
            running = {
                side: pool.submit(live, checkout, options.python, root / side, steps)
                for side, checkout in sides.items()
            }
            seconds = {side: future.result() for side, future in running.items()}
        rows, differing = compare(root / "before", root / "after")
        failed = {name: (root / "after" / "printed" / f"{name}.error").is_file() for name in steps}
    times = [
        [n, f"{seconds['before'][n]:.1f}", f"{seconds['after'][n]:.1f}", "failed" * failed[n]]
        for n in steps
    ]
    print(table(times, header=["step", "s before", "s now", ""], right=(1, 2)))
    print()
    print(table([[name, found or "same"] for name, found in rows], header=["output", "result"]))
    print(f"\n{len(rows) - differing} of {len(rows)} outputs have the same bytes.")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
