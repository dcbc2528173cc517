"""Measure how many small faults in the numeric rooms the tests notice.

    python -m benchmarks.upkeep.mutants                         200 mutants, sampled by seed 1
    python -m benchmarks.upkeep.mutants --count 50 --room reports/statistics

A mutant is a copy of the project with one operator, number or condition changed. It is killed if
a test that runs the changed line fails, and survives otherwise. Places are drawn uniformly over
all rooms, then one change of each place. Mutants that change nothing a test could see count as
survivors. The tests' lines are measured once; a run that was cut off goes on where it stopped.
Needs the extra ``mutation``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.lib.mutation import Mutant, environment, measure_tests, mutated, sites

ROOMS = (
    "simulator/response",
    "simulator/world",
    "reports/statistics",
    "reports/verdict",
    "policies/evaluation",
)
TESTS = ("tests/simulator", "tests/reports", "tests/policies/evaluation")
BUDGET = 90.0
"""Seconds of tests per mutant, at most; the quickest come first."""


def main() -> None:
    """Sample, run what has not been run, and print the score and the survivors."""
    options = _options()
    root = Path(__file__).parents[2]
    files = [f for room in options.room for f in _sources(root, room)]
    tree = _fingerprint(root)
    folder = root / "runs" / "mutants" / tree
    copies = [_copy(root, folder / f"copy{number}") for number in range(options.jobs)]
    known = measure_tests(copies[0], ["simulator", "reports", "policies"], list(TESTS), folder)
    chosen = _sample(root, files, options.count, options.seed)
    results = _load(folder / "results.jsonl")
    todo = [mutant for mutant in chosen if _key(mutant) not in results]
    print(f"{len(chosen)} mutants of {len(files)} files, {len(todo)} to run", file=sys.stderr)

    def run(copy: Path, mutant: Mutant) -> None:
        started = time.monotonic()
        tests, seconds = known.of(mutant, BUDGET)
        outcome = _outcome(copy, mutant, tests, seconds)
        record = {**asdict(mutant), **outcome, "tests": len(tests)}
        record["seconds"] = round(time.monotonic() - started, 1)
        results[_key(mutant)] = record
        with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        place = f"{mutant.file}:{mutant.line}"
        print(f"{len(results):4d} {record['outcome']:9s} {place} {record['change']}",
              file=sys.stderr, flush=True)  # fmt: skip

    def lane(number: int) -> None:
        for mutant in todo[number :: len(copies)]:
            run(copies[number], mutant)

    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(lane, range(len(copies))))
    _print_table([results[_key(mutant)] for mutant in chosen], options.room)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--room", nargs="+", default=list(ROOMS))
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at the same time")
    return parser.parse_args()


def _sources(root: Path, room: str) -> list[str]:
    paths = [root / room] if room.endswith(".py") else sorted((root / room).rglob("*.py"))
    return [path.relative_to(root).as_posix() for path in paths]


def _fingerprint(root: Path) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for name in _tracked(root):
        if name.endswith((".py", ".toml")):
            digest.update(name.encode() + (root / name).read_bytes())
    return digest.hexdigest()


def _tracked(root: Path) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.splitlines() if (root / name).is_file()]


def _copy(root: Path, target: Path) -> Path:
    """The tracked files of the working tree, so that a mutant never touches the original."""
    shutil.rmtree(target, ignore_errors=True)
    for name in _tracked(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name)
    return target


def _sample(root: Path, files: list[str], count: int, seed: int) -> list[Mutant]:
    """Places without replacement, then one mutant of each place."""
    places = [mutants for file in files for _, mutants in sorted(sites(root, file).items())]
    draw = random.Random(seed)
    return [draw.choice(mutants) for mutants in draw.sample(places, min(count, len(places)))]


def _outcome(copy: Path, mutant: Mutant, tests: list[str], seconds: float) -> dict[str, Any]:
    path = copy / mutant.file
    source = path.read_text(encoding="utf-8")
    changed = mutated(source, mutant)
    if changed is None:
        return {"outcome": "no change", "change": ""}
    lines = zip(source.splitlines(), changed.splitlines(), strict=False)
    before, after = next(((a, b) for a, b in lines if a != b), ("", ""))
    change = f"{before.strip()}  ->  {after.strip()}"
    if not tests:
        return {"outcome": "not run", "change": change}
    path.write_text(changed, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        code = subprocess.run(
            command, cwd=copy, env=environment(copy), capture_output=True,
            timeout=60 + 10 * seconds,
        ).returncode  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"outcome": "killed", "change": change}
    finally:
        path.write_text(source, encoding="utf-8")
    return {"outcome": "survived" if code in (0, 5) else "killed", "change": change}


def _key(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.operator}:{mutant.occurrence}"


def _load(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {f"{r['file']}:{r['operator']}:{r['occurrence']}": r for r in records}


def _print_table(records: list[dict[str, Any]], rooms: list[str]) -> None:
    def score(rows: list[dict[str, Any]]) -> str:
        count = Counter(row["outcome"] for row in rows if row["outcome"] != "no change")
        total = count.total()
        share = f"{count['killed'] / total:6.1%}" if total else "     -"
        return f"{count['killed']:4d} of {total:4d} killed {share}"

    for room in rooms:
        print(f"{room:22s} {score([r for r in records if r['file'].startswith(room)])}")
    print(f"{'all':22s} {score(records)}")
    print("\nSurvivors")
    for row in sorted(records, key=lambda r: (r["file"], r["line"])):
        if row["outcome"] in ("survived", "not run"):
            print(f"  {row['file']}:{row['line']} ({row['outcome']}) {row['change']}")


if __name__ == "__main__":
    main()
