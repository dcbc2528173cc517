"""A run on disk: configuration, finished pieces, results; safe to interrupt and continue.

Layout::

    runs/lsvcr-vs-sasrec/
        config.toml        the resolved configuration
        plan.json          what the pieces belong to (data hash, weights, group count)
        pieces/            per-user-day outcomes of each finished group of people
        outcomes.parquet   all of them, once the simulation is complete
        results.json       the analysed experiment
        report.html        the lift report
        timings.json       seconds per stage (the only file that differs between two equal runs)
        run.log            what was printed
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from abtest.config import RunConfig
from abtest.errors import RunDataError, UsageError
from abtest.paths import write_text

RUNS = Path("runs")


def default_path(config: RunConfig) -> Path:
    """``runs/TREATMENT-vs-CONTROL``, with a number appended if that exists."""
    name = re.sub(r"[^\w.+-]+", "_", f"{'+'.join(config.treatment)}-vs-{config.control}")[:80]
    path = RUNS / name
    number = 2
    while path.exists():
        path = RUNS / f"{name}-{number}"
        number += 1
    return path


def check_free(path: Path) -> None:
    """Refuse an output directory that exists or cannot be made, before any work is done.

    Raises:
        UsageError: it exists, or a parent is not writable.
    """
    if path.exists():
        hint = f"Choose another --out, or continue it: abtest run --resume {path}"
        if not (path / "plan.json").is_file():
            hint = "Choose another --out"
        raise UsageError(f"{path} exists and is left untouched.", hint)
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UsageError(f"cannot write to {parent}.", "Choose another --out")


class RunDirectory:
    """One run's files. Make it with `create` or `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pieces = path / "pieces"

    @classmethod
    def create(cls, path: Path, config: RunConfig, plan: dict[str, Any]) -> RunDirectory:
        """A new directory holding the configuration and the plan; complete or absent."""
        check_free(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        if temporary.exists():
            shutil.rmtree(temporary)
        (temporary / "pieces").mkdir(parents=True)
        write_text(temporary / "config.toml", config.to_toml())
        write_text(temporary / "plan.json", json.dumps(plan, indent=1, sort_keys=True) + "\n")
        temporary.rename(path)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, for ``--resume``, ``report`` and ``compare``.

        Raises:
            UsageError: no such directory, or not a run.
        """
        if not path.is_dir():
            raise UsageError(f"no run at {path}.", "See the runs: ls runs")
        if not (path / "plan.json").is_file():
            raise UsageError(f"{path} is not a run directory: it has no plan.json.")
        return cls(path)

    def check_plan(self, plan: dict[str, Any]) -> None:
        """Refuse to mix pieces of different experiments.

        Raises:
            RunDataError: the stored plan differs; names the first difference.
        """
        stored = json.loads((self.path / "plan.json").read_text(encoding="utf-8"))
        for key in sorted(stored.keys() | plan.keys()):
            if stored.get(key) != plan.get(key):
                raise RunDataError(
                    f"{self.path} was started with another {key.replace('_', ' ')} "
                    f"({stored.get(key)!r} is not {plan.get(key)!r}).",
                    "Start afresh: abtest run --out ANOTHER",
                )

    def piece(self, group: int) -> Path:
        """Where the outcomes of one group of people go."""
        return self.pieces / f"group-{group:05d}.parquet"

    def done(self, groups: int) -> list[int]:
        """Groups whose outcomes are complete."""
        return [g for g in range(groups) if self.piece(g).is_file()]

    def collect(self, groups: int) -> pl.DataFrame:
        """Join all pieces, in order, into ``outcomes.parquet``.

        Raises:
            RunDataError: a piece is missing or unreadable.
        """
        missing = [g for g in range(groups) if not self.piece(g).is_file()]
        if missing:
            raise RunDataError(
                f"{self.path}: outcomes of group {missing[0]} are missing.",
                f"Continue: abtest run --resume {self.path}",
            )
        frames = []
        for group in range(groups):
            try:
                frames.append(pl.read_parquet(self.piece(group)))
            except (pl.exceptions.PolarsError, OSError) as error:
                raise RunDataError(
                    f"{self.piece(group)} is damaged: {error}.",
                    f"Delete it and continue: abtest run --resume {self.path}",
                ) from None
        outcomes = pl.concat(frames)
        write_parquet(outcomes, self.path / "outcomes.parquet")
        return outcomes


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Write under a temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    frame.write_parquet(temporary, compression="zstd", statistics=False)
    temporary.replace(path)
