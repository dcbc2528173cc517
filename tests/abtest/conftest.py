"""A cache of its own, a small log of the built-in world, and the command line in-process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from abtest.cli import run_cli
from abtest.config import RunConfig
from abtest.console import Console
from abtest.run.datasets import synthesise
from simulator.behaviours import OUTCOMES
from tests.abtest.in_process import without_workers
from tests.abtest.quiet_world import quiet_world_file


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def small_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 people, one day, 1,200 videos."""
    folder = tmp_path_factory.mktemp("logs")
    target, world = folder / "small", quiet_world_file(folder)
    synthesise(target, preset=world, seed=1, users=200, days=1, console=Console(quiet=True))
    return target


@pytest.fixture
def quick_pilot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dry runs take a made-up variance in place of simulating people."""

    def people(config: RunConfig, world: object) -> pl.DataFrame:
        columns = {name: [float(1_000 * (1 + i % 7)) for i in range(200)] for name in OUTCOMES}
        return pl.concat(
            pl.DataFrame({"user_id": range(200), **columns}).with_columns(
                pl.lit("all").alias("arm"), pl.lit(day, dtype=pl.Int32).alias("day")
            )
            for day in range(config.days)
        )

    monkeypatch.setattr("abtest.dry_run.preview.outcomes_of_world", people)


@pytest.fixture
def abtest(
    tmp_path: Path,
    shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Result]:
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABTEST_CACHE", str(shared_cache))
    without_workers(monkeypatch)

    def invoke(*arguments: object) -> Result:
        capsys.readouterr()
        code = run_cli([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return Result(int(code), out, err)

    return invoke


class Terminal:
    """Standard output and error in some encoding, as a terminal has them."""

    def __init__(self, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._encoding = encoding
        self._bytes = {name: io.BytesIO() for name in ("stdout", "stderr")}

    def run(self, *arguments: object) -> int:
        """Run a command; an error of the encoding is raised."""
        with self._patch.context() as patch:
            streams = [
                io.TextIOWrapper(raw, encoding=self._encoding, write_through=True)
                for raw in self._bytes.values()
            ]
            for name, stream in zip(self._bytes, streams, strict=True):
                patch.setattr(sys, name, stream)
            code = run_cli([str(a) for a in arguments])
            for stream in streams:
                stream.flush()
                stream.detach()
        return int(code)

    def output(self) -> str:
        """What was printed on standard output."""
        return self._bytes["stdout"].getvalue().decode(self._encoding)

    def error(self) -> str:
        """What was printed on standard error."""
        return self._bytes["stderr"].getvalue().decode(self._encoding)


@pytest.fixture
def terminal(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Terminal]:
    """A terminal in an encoding, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABTEST_CACHE", str(shared_cache))
    return lambda encoding: Terminal(encoding, monkeypatch)
