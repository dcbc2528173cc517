"""Make docs/examples: reports of small runs, one for each way an experiment can come out.

    python -m benchmarks.upkeep.examples              make all anew (minutes)
    python -m benchmarks.upkeep.examples --render     write report.md anew from its results.json

Every folder holds results.json and what `abtest report --format md` makes of it; a test compares
the two, so that an example never shows what the program no longer writes. The worlds are small and
the runs short: their numbers show what a report says, not what a policy is worth.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from reports.render.markdown import render_markdown
from reports.results import ExperimentResult

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
SMALL = ("--world", "small", "--log-users", "600", "--days", "2")
RUNS: dict[str, tuple[str, ...]] = {
    "better": ("-t", "popular", "-c", "random", "--users", "2048", "--guardrail", "hates=-30%"),
    "not-clear": ("-t", "ease", "-c", "itemknn", "--users", "2048"),
    "guardrail-broken": (
        "-t", "popular+comment-value", "-c", "itemknn", "--users", "512", "--design", "twin",
        "--guardrail", "click_rate=-1%",
    ),
    "several-arms": (
        "-t", "random", "-t", "ease", "-t", "itemknn", "-c", "popular", "--users", "4096",
    ),
    "twin": ("-t", "itemknn", "-c", "popular", "--users", "512", "--design", "twin"),
    "assumed": (
        "-t", "oracle-comments", "-c", "popular", "--users", "512", "--design", "twin",
        "--assume", "comment_taste_strength=0,0.5,1",
    ),
    "a-a": ("-t", "popular", "-c", "popular", "--users", "2048"),
}  # fmt: skip


def render(folder: Path) -> str:
    """report.md of an example, from its results.json."""
    text = (folder / "results.json").read_text(encoding="utf-8")
    return render_markdown(ExperimentResult.from_json(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--render", action="store_true", help="only write report.md again")
    parser.add_argument("--only", action="append", help="one example; repeatable")
    asked = parser.parse_args()
    if not asked.render:
        make(asked.only or [*RUNS, *OTHERS])
    for folder in sorted(path for path in FOLDER.iterdir() if path.is_dir()):
        (folder / "report.md").write_text(render(folder), encoding="utf-8", newline="\n")
        print(folder)


def make(names: Sequence[str]) -> None:
    """Run the examples and keep their results."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        for name in names:
            if name in OTHERS:
                OTHERS[name](place)
            else:
                _abtest("run", *SMALL, *RUNS[name], "--out", str(place / name))
            target = FOLDER / name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(place / name / "results.json", target / "results.json")


def _split_broken(place: Path) -> None:
    """A run from whose treatment every fourth user was lost."""
    source = place / "whole"
    _abtest("run", *SMALL, *RUNS["better"], "--out", str(source))
    table = pl.read_parquet(source / "outcomes.parquet")
    lost = (pl.col("arm") == "popular") & (pl.col("user_id") % 4 == 0)
    table.filter(~lost).with_columns(
        comment_watch_seconds=pl.col("comment_watch_time_ms") / 1000.0
    ).write_parquet(place / "users.parquet")
    _abtest(
        "analyze", str(place / "users.parquet"), "--control", "random", "--day", "day",
        "--start", "0", "--metric", "comment_watch_seconds", "--metric", "ctr=clicks/impressions",
        "--out", str(place / "split-broken"),
        untrusted=True,
    )  # fmt: skip


def _replay(place: Path) -> None:
    """Two rankers valued on the log of an experiment that showed a tenth at random."""
    _abtest(
        "run", *SMALL, "-t", "popular", "-c", "itemknn", "--users", "512", "--keep-log",
        "--explore-share", "0.1", "--explore-comments", "0.1", "--out", "logged",
        place=place,
    )  # fmt: skip
    _abtest(
        "replay", "-t", "ease", "-c", "itemknn", "--data", "logged/log", "--stage", "videos",
        "--out", "replay",
        place=place,
    )  # fmt: skip


OTHERS: dict[str, Callable[[Path], None]] = {"split-broken": _split_broken, "replay": _replay}
"""Examples that take more than one command."""


def _abtest(*arguments: str, untrusted: bool = False, place: Path | None = None) -> None:
    """Run a command, in a folder of its own if its results name files.

    Raises:
        SystemExit: it failed; exit code 4 is what an example of a broken split ends with.
    """
    done = subprocess.run([sys.executable, "-m", "abtest", *arguments], check=False, cwd=place)
    if done.returncode != (4 if untrusted else 0):
        raise SystemExit(f"abtest {' '.join(arguments)} ended with {done.returncode}")


if __name__ == "__main__":
    main()
