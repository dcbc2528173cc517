"""Measure how many small faults in the numeric rooms the tests notice.

    python -m benchmarks.upkeep.mutants                         200 mutants, sampled by seed 1
    python -m benchmarks.upkeep.mutants --count 50 --seed 2 --room reports/statistics

A mutant is a copy of the project with one operator, number or condition changed. It is killed if
a test that runs the changed line fails, and survives otherwise. Places are drawn uniformly over
all rooms, then one change of each place; places that no test could notice (annotations, texts of
errors, sizes of pieces) are not drawn, see ``benchmarks/lib/mutation.py``. Rooms take turns, so
that a run that was cut off has seen some of each.

What is known is kept in ``runs/mutants`` and used again: the lines of a test file while it and
the files that it runs are unchanged; a result while the changed file and the tests behind it are
unchanged (the test that failed, or all tests that passed). So after new tests only the survivors
are tried again. Needs the extra ``mutation``.
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
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from benchmarks.lib.mutant_runs import Verdict, changed_file, run_tests, start
from benchmarks.lib.mutation import Mutant, mutated, sites
from benchmarks.lib.test_lines import TestLines, measure_tests

ROOMS = (
    "simulator/response",
    "simulator/world",
    "reports/statistics",
    "reports/verdict",
    "policies/evaluation",
)
TESTS = ("tests/reports", "tests/policies/evaluation", "tests/simulator")
BUDGET = 90.0
"""Seconds of tests per mutant, at most, as measured; the quickest come first."""

GOLDEN = "tests/simulator/test_golden.py::test_a_changed_mechanism_raises_the_version_of_the_world"
"""Slow, so it is the last to be tried, on what the quick tests of the simulator let pass."""

Record = dict[str, Any]


def main() -> None:
    """Sample, run what is not known, and print the score and the survivors."""
    options = _options()
    root = Path(__file__).parents[2]
    folder = root / "runs" / "mutants"
    copies = [_copy(root, folder / f"copy{number}") for number in range(options.jobs)]
    lines = measure_tests(copies[0], ROOMS, TESTS, folder / "lines.json")
    chosen = _sample(root, options.room, options.count, options.seed)
    results = _load(folder / "results.jsonl")
    todo = []
    for mutant in chosen:
        known = results.get(_key(root, mutant))
        if known is None or not _holds(root, known, _files(lines.of(*_place(mutant), BUDGET)[0])):
            todo.append(mutant)
    print(f"{len(chosen)} mutants, {len(todo)} to run", file=sys.stderr, flush=True)
    start()
    last = [GOLDEN] if run_tests(copies[0], [GOLDEN], 600.0).killer is None else []
    if not last:
        print(f"left out, because it fails without any mutant: {GOLDEN}", file=sys.stderr)

    def lane(number: int) -> None:
        for at, mutant in list(enumerate(todo, 1))[number :: len(copies)]:
            record = _run(copies[number], mutant, lines, last)
            results[record["key"]] = record
            with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(f"{at:4d} {record['outcome']:9s} {record['seconds']:6.1f} s "
                  f"{mutant.file}:{mutant.line} {record['change']}",
                  file=sys.stderr, flush=True)  # fmt: skip

    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(lane, range(len(copies))))
    _print_table([results[_key(root, mutant)] for mutant in chosen], options.room)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--room", nargs="+", default=list(ROOMS))
    parser.add_argument("--jobs", type=int, default=1, help="mutants tried at the same time")
    return parser.parse_args()


def _copy(root: Path, target: Path) -> Path:
    """The tracked files of the working tree, so that a mutant never touches the original."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    )
    shutil.rmtree(target, ignore_errors=True)
    for name in listed.stdout.splitlines():
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return target


def _sample(root: Path, rooms: list[str], count: int, seed: int) -> list[Mutant]:
    """Places without replacement, then one mutant of each place; rooms take turns."""
    places = []
    for room in rooms:
        paths = [root / room] if room.endswith(".py") else sorted((root / room).rglob("*.py"))
        for path in paths:
            found = sites(root, path.relative_to(root).as_posix())
            places += [(room, mutants) for _, mutants in sorted(found.items())]
    draw = random.Random(seed)
    turns: dict[str, list[Mutant]] = defaultdict(list)
    for room, mutants in draw.sample(places, min(count, len(places))):
        turns[room].append(draw.choice(mutants))
    return [mutant for turn in zip_longest(*turns.values()) for mutant in turn if mutant]


def _place(mutant: Mutant) -> tuple[str, int]:
    return mutant.file, mutant.line


def _run(copy: Path, mutant: Mutant, lines: TestLines, last: list[str]) -> Record:
    started = time.monotonic()
    path = copy / mutant.file
    source = path.read_text(encoding="utf-8")
    changed = mutated(source, mutant)
    tests, seconds = lines.of(*_place(mutant), BUDGET)
    if changed is None:
        verdict = Verdict("no change", None)
    elif not tests:
        verdict = Verdict("not run", None)
    else:
        with changed_file(path, changed):
            verdict = run_tests(copy, tests, limit=120 + 10 * seconds)
            if verdict.outcome == "survived" and mutant.file.startswith("simulator/"):
                verdict = run_tests(copy, last, limit=600.0) if last else verdict
    pairs = zip(source.splitlines(), (changed or source).splitlines(), strict=False)
    before, after = next(((a, b) for a, b in pairs if a != b), ("", ""))
    behind = _files([verdict.killer] if verdict.killer else tests)
    return {
        "key": _key(copy, mutant),
        **asdict(mutant),
        "outcome": verdict.outcome,
        "change": f"{before.strip()}  ->  {after.strip()}",
        "killer": verdict.killer,
        "tests": len(tests),
        "proof": {file: _hash(copy / file) for file in behind},
        "seconds": round(time.monotonic() - started, 1),
    }


def _holds(root: Path, known: Record, files: set[str]) -> bool:
    """Whether nothing changed that could turn a result; ``files`` are those of today's tests."""
    proof: dict[str, str] = known["proof"]
    if known["killer"] is None and not files <= set(proof):
        return False
    return all((root / f).is_file() and _hash(root / f) == old for f, old in proof.items())


def _files(tests: list[str]) -> set[str]:
    return {test.partition("::")[0] for test in tests}


def _hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=6).hexdigest()


def _key(root: Path, mutant: Mutant) -> str:
    return f"{mutant.file}:{_hash(root / mutant.file)}:{mutant.operator}:{mutant.occurrence}"


def _load(path: Path) -> dict[str, Record]:
    if not path.is_file():
        return {}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {record["key"]: record for record in records}


def _print_table(records: list[Record], rooms: list[str]) -> None:
    def score(rows: list[Record]) -> str:
        count = Counter(row["outcome"] for row in rows if row["outcome"] != "no change")
        total, killed = count.total(), count["killed"] + count["too slow"]
        share = f"{killed / total:6.1%}" if total else "     -"
        return f"{killed:4d} of {total:4d} killed {share}"

    for room in rooms:
        print(f"{room:22s} {score([r for r in records if r['file'].startswith(room)])}")
    print(f"{'all':22s} {score(records)}")
    print("\nSurvivors")
    for row in sorted(records, key=lambda r: (r["file"], r["line"])):
        if row["outcome"] in ("survived", "not run"):
            print(f"  {row['file']}:{row['line']} ({row['outcome']}) {row['change']}")


if __name__ == "__main__":
    main()
