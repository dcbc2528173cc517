"""Keep a run on disk: configuration, finished pieces, results; safe to interrupt and continue.

Layout::

    runs/lsvcr-vs-sasrec/
        config.toml        the resolved configuration
        plan.json          what the pieces belong to (data hash, weights, group count)
        pieces/            per-user-day outcomes of each finished group of people
        outcomes.parquet   all of them; appears when the simulation is complete
        results.json       the analysed experiment
        report.html        the lift report
        log/               the log of the experiment, a dataset (only with --keep-log)
        assumptions/       NAME=VALUE/: the twin in each assumed world, laid out likewise (--assume)
        truth/             the twin of an online test's people, laid out likewise (--interference)
        timings.json       seconds per stage, of all attempts together
        run.log            stages, warnings, versions, tracebacks

Two equal runs differ in timings.json and run.log only.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from abtest.config import RunConfig
from abtest.config_sources import load_config
from abtest.errors import RunDataError, UsageError
from abtest.files import (
    can_hold,
    existing_parent,
    locked,
    new_directory,
    read_parquet,
    remove_leftovers,
    write_parquet,
    write_text,
)
from abtest.results.mirror import Mirror
from reports.results import ExperimentResult, ResultFormatError

RUNS = Path("runs")
FINISHED = ("config.toml", "outcomes.parquet", "results.json", "report.html")
"""Files that a run has when it has ended."""


def default_path(config: RunConfig) -> Path:
    """``runs/TREATMENT-vs-CONTROL``, with a number appended if that exists."""
    name = re.sub(r"[^\w.+-]+", "_", f"{'+'.join(config.treatment)}-vs-{config.control}")[:80]
    path = RUNS / name
    number = 2
    while path.exists():
        path = RUNS / f"{name}-{number}"
        number += 1
    return path


def check_free(path: Path, *, resumable: bool = False) -> None:
    """Refuse an output directory that exists or cannot be made, before any work is done.

    Args:
        path: The directory.
        resumable: Whether the command that asks could go on with a run that lies there.

    Raises:
        UsageError: it exists, or a parent is not writable.
    """
    # A link to nowhere is there, too.
    if path.exists() or path.is_symlink():
        hint = "Choose another --out"
        if (path / "results.json").is_file():
            hint += f", or look at what is there: abtest report {path}"
        elif resumable and (path / "config.toml").is_file():
            hint += f", or continue it: abtest run --resume {path}"
        raise UsageError(f"{path} exists and is left untouched.", hint)
    parent = existing_parent(path)
    if not can_hold(parent):
        raise UsageError(f"cannot write to {parent}.", "Choose another --out")


def how_to_go_on(path: Path) -> str:
    """What to do about a run directory that lacks its outcomes or results."""
    try:
        plan = json.loads((path / "plan.json").read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        plan = {}
    if isinstance(plan, dict) and "analyze" in plan:
        return "It was made by abtest analyze; analyse the table again: abtest analyze TABLE"
    return f"Continue it: abtest run --resume {path}"


class RunDirectory:
    """One run's files, or those of a part of it. Make it with `create` or `open`.

    Attributes:
        path: The directory.
        resumed: What ``--resume`` is given: the run that this is part of, or this itself.
        pieces: Outcomes of finished groups of people.
        log: The log of the experiment.
        run_log: Stages, warnings, versions.
        mirror: Where finished files are copied to, as they come.
    """

    def __init__(self, path: Path, *, part_of: Path | None = None) -> None:
        self.path = path
        self.resumed = part_of or path
        self.pieces = path / "pieces"
        self.log = path / "log"
        self.run_log = path / "run.log"
        self.mirror: Mirror | None = None

    def copy_out(self, *, final: bool = False) -> None:
        """Copy what is finished to the mirror, if there is one.

        Args:
            final: Whether the run has ended.

        Raises:
            MirrorError: it cannot be copied.
        """
        if self.mirror is not None:
            self.mirror.update(self.path, final=final)

    @classmethod
    def create(
        cls, path: Path, config: RunConfig, plan: dict[str, Any], *, part_of: Path | None = None
    ) -> RunDirectory:
        """A new directory holding the configuration and the plan; complete or absent."""
        check_free(path)
        with new_directory(path) as temporary:
            (temporary / "pieces").mkdir()
            write_text(temporary / "config.toml", config.to_toml())
            write_text(temporary / "plan.json", json.dumps(plan, indent=1, sort_keys=True) + "\n")
        return cls(path, part_of=part_of)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, for ``--resume``, ``report`` and ``compare``.

        Raises:
            UsageError: no such directory, or not a run.
            RunDataError: its plan or its configuration is damaged.
        """
        if path.is_file():
            raise UsageError(
                f"{path} is a file, not a run directory.", f"A table: abtest analyze {path}"
            )
        if not path.is_dir():
            raise UsageError(f"no run at {path}.", _runs_near(path))
        if not (path / "plan.json").is_file():
            raise UsageError(f"{path} is not a run directory: it has no plan.json.")
        _table(path / "plan.json", _json)
        if (path / "config.toml").exists() and not _table(path / "config.toml", tomllib.loads):
            raise RunDataError(f"{path / 'config.toml'} is damaged: it is empty.", _AFRESH)
        return cls(path)

    def configuration(self) -> RunConfig:
        """What the run was started with.

        Raises:
            RunDataError: its configuration is damaged.
        """
        try:
            return load_config({}, file=self.path / "config.toml", environment={})
        except UsageError as error:
            raise RunDataError(error.problem, _AFRESH) from None

    def results(self) -> ExperimentResult:
        """What the run found.

        Raises:
            RunDataError: it has not ended, or its results are damaged.
        """
        file = self.path / "results.json"
        if not file.is_file():
            raise RunDataError(f"{self.path} has no results yet.", how_to_go_on(self.path))
        try:
            return ExperimentResult.from_json(file.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            problem = "is damaged: it is not UTF-8."
        except ResultFormatError as error:
            problem = str(error).removeprefix("results.json ")
        raise RunDataError(f"{file} {problem}", f"Delete it. {how_to_go_on(self.path)}")

    def check_plan(self, plan: dict[str, Any]) -> None:
        """Refuse to mix pieces of different experiments.

        Raises:
            RunDataError: the stored plan differs or is damaged; names the first difference.
        """
        stored = _table(self.path / "plan.json", _json)
        for key in sorted(stored.keys() | plan.keys()):
            if stored.get(key) == plan.get(key):
                continue
            if key == "weights":
                raise RunDataError(self._other_weights(stored.get(key), plan[key]), _AFRESH)
            raise RunDataError(
                f"{self.path} was started with another {key.replace('_', ' ')} "
                f"({stored.get(key)!r} is not {plan.get(key)!r}).",
                _AFRESH,
            )

    def _other_weights(self, stored: Any, now: dict[str, str]) -> str:
        found = stored if isinstance(stored, dict) else {}
        for policy, weights in now.items():
            before = str(found.get(policy))
            if before != weights:
                # A folder's name has a hash of data, settings, seed and code.
                why = (
                    "its code or its settings were changed since"
                    if before.split(" ")[0] != weights.split(" ")[0]
                    else "they were trained anew, or on another kind of processor, where the last "
                    "bits differ"
                )
                return (
                    f"{self.path} was simulated with other weights of {policy} "
                    f"({before} is not {weights}): {why}. Pieces of both would be no experiment."
                )
        return f"{self.path} was simulated with weights of other policies ({sorted(found)})."

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Work on this run alone; what a killed process left unfinished is removed.

        Raises:
            UsageError: another process is working on it.
        """

        def refuse() -> None:
            raise UsageError(f"another process is working on {self.path}.", "Wait for it to end")

        self.pieces.mkdir(exist_ok=True)
        with locked(self.path / "plan.json", refuse):
            remove_leftovers(self.path)
            remove_leftovers(self.pieces)
            yield

    def piece(self, group: int) -> Path:
        """Where the outcomes of one group of people go."""
        return self.pieces / f"group-{group:05d}.parquet"

    def piece_log(self, group: int) -> Path:
        """Where the log of one group of people goes."""
        return self.pieces / f"group-{group:05d}.log"

    def done(self, groups: int) -> list[int]:
        """Groups whose outcomes are complete."""
        return [g for g in range(groups) if self.piece(g).is_file()]

    def collect(self, groups: int) -> pl.DataFrame:
        """Join the first pieces, in order.

        Raises:
            RunDataError: a piece is missing or unreadable.
        """
        missing = [g for g in range(groups) if not self.piece(g).is_file()]
        if missing:
            raise RunDataError(
                f"{self.path}: outcomes of group {missing[0]} are missing.",
                f"Continue: abtest run --resume {self.resumed}",
            )
        hint = f"Delete it and continue: abtest run --resume {self.resumed}"
        return pl.concat([read_parquet(self.piece(g), hint) for g in range(groups)])

    def add_timings(self, seconds: Mapping[str, float]) -> None:
        """Add the seconds of stages to those that ``timings.json`` has."""
        file = self.path / "timings.json"
        total: dict[str, float] = {}
        with contextlib.suppress(*_UNREADABLE):
            total = {k: float(v) for k, v in json.loads(file.read_text("utf-8")).items()}
        for stage, more in seconds.items():
            total[stage] = round(total.get(stage, 0.0) + more, 3)
        # A full disk must not hide what it interrupts.
        with contextlib.suppress(OSError):
            write_text(file, json.dumps(total, indent=1) + "\n")

    def complete(self, outcomes: pl.DataFrame) -> None:
        """Write ``outcomes.parquet``, which says that the simulation is complete."""
        write_parquet(outcomes, self.path / "outcomes.parquet")


def _table(file: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """A file's table.

    Raises:
        RunDataError: it is damaged.
    """
    try:
        found = parse(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise RunDataError(f"{file} is damaged: {error}.", _AFRESH) from None
    if not isinstance(found, dict):
        raise RunDataError(f"{file} is damaged: it holds no table.", _AFRESH)
    return found


def _json(text: str) -> Any:
    """A document; NaN and Infinity are no JSON.

    Raises:
        ValueError: it is none.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"it holds {constant}")

    return json.loads(text, parse_constant=refuse)


_UNREADABLE = (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)
_AFRESH = "Start afresh: abtest run --out ANOTHER"


def _runs_near(path: Path) -> str:
    """What to do where there is no run: those with similar names, those beside it, or a first."""
    runs = []
    for folder in dict.fromkeys((path.parent, Path("runs"))):
        with contextlib.suppress(OSError):
            runs += [p for p in sorted(folder.iterdir()) if (p / "plan.json").is_file()]
    close = difflib.get_close_matches(path.name, [run.name for run in runs], n=3, cutoff=0.4)
    near = [str(run) for run in runs if run.name in close] or [str(run) for run in runs[:3]]
    return f"Nearby: {', '.join(near)}" if near else "Make one: abtest demo"
