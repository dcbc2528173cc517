"""Try every hostile input, and count what was refused, accepted and what ended in a traceback.

    python -m benchmarks.hostile                     all cases
    python -m benchmarks.hostile --kind weights      some kinds
    python -m benchmarks.hostile --every 10          every tenth case
    python -m benchmarks.hostile --record r.jsonl    write every verdict, go on where the file ends

Prints a table and every case that was not refused. The exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from abtest.cli import run_cli
from abtest.tables import table
from benchmarks.hostile.cases import Case, Verdict, judge
from benchmarks.hostile.configurations import configuration_cases
from benchmarks.hostile.datasets import dataset_cases
from benchmarks.hostile.runs import run_cases, weight_cases
from benchmarks.hostile.tables import table_cases

STATES = ("refused", "harmless", "accepted", "left files", "traceback", "hung")


def main() -> None:
    """Make what is to be damaged, try all cases, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kind", nargs="+")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--record", type=Path, help="verdicts, one JSON object a line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        os.environ["ABTEST_CACHE"] = str(base / "cache")
        cases = [c for c in all_cases(base) if not options.kind or c.kind in options.kind]
        found = list(tried(islice(cases, None, None, options.every), base, options.record))
    counts_of: dict[str, Counter[str]] = {}
    for case, verdict in found:
        counts_of.setdefault(case.kind, Counter())[verdict.state] += 1
    rows = [
        [kind, str(sum(counts.values())), *(str(counts[state]) for state in STATES)]
        for kind, counts in counts_of.items()
    ]
    total = Counter(verdict.state for _, verdict in found)
    rows.append(["all", str(len(found)), *(str(total[state]) for state in STATES)])
    print(
        table(
            rows,
            header=["inputs", "cases", *(state.split()[0] for state in STATES)],
            right=range(1, 8),
        )
    )
    bad = [(c, v) for c, v in found if v.state not in ("refused", "harmless")]
    for case, verdict in bad:
        print(f"{verdict.state}: {case.kind}: {case.name!r}: {verdict.message}")
    sys.exit(1 if bad else 0)


def all_cases(base: Path) -> Iterator[Case]:
    """Every case; what is damaged is made in ``base`` first."""
    log, run = base / "log", base / "run"
    words = ["data", "synth", str(log), "--world", "small", "--users", "60"]
    _made(words)
    common = ["-c", "random", "--world", "small", "--log-users", "60", "--users", "64", "--quiet"]
    _made(["run", "-t", "popular", *common, "--out", str(run), "--workers", "1"])
    yield from configuration_cases()
    yield from dataset_cases(log)
    yield from run_cases(run)
    yield from weight_cases(base / "cache", "popular")
    yield from table_cases()


def _made(words: list[str]) -> None:
    code = run_cli(words)
    if code != 0:
        raise SystemExit(f"abtest {' '.join(words)} ended with exit code {code}")


def tried(cases: Iterator[Case], base: Path, record: Path | None) -> Iterator[tuple[Case, Verdict]]:
    """Every case with its verdict, each in a folder of its own that is removed.

    Args:
        cases: What to try.
        base: Where the folders are made.
        record: Verdicts of earlier calls, which are not tried again. New ones are added.
    """
    known = _recorded(record)
    for number, case in enumerate(cases):
        verdict = known.get((case.kind, case.name))
        if verdict is None:
            verdict = _judged(case, base, number)
            if record:
                line = {"kind": case.kind, "name": case.name, "state": verdict.state}
                with record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**line, "message": verdict.message}) + "\n")
        print(f"{number:4d} {verdict.state:10s} {case.kind}: {case.name!r}"[:100], file=sys.stderr,
              flush=True)  # fmt: skip
        yield case, verdict


def _recorded(record: Path | None) -> dict[tuple[str, str], Verdict]:
    if record is None or not record.exists():
        return {}
    lines = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    return {(x["kind"], x["name"]): Verdict(x["state"], x["message"]) for x in lines}


def _judged(case: Case, base: Path, number: int) -> Verdict:
    folder = base / f"case-{number}"
    own = folder / "cache"
    os.environ["ABTEST_CACHE"] = str(own if case.kind == "weights" else base / "cache")
    verdict = judge(case, folder)
    shutil.rmtree(folder, ignore_errors=True)
    return verdict


if __name__ == "__main__":
    main()
