"""Slow policies train at the same time, to the weights of one after another."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from abtest.console import Console
from abtest.run.arms import side_by_side
from abtest.run.arms.side_by_side import train_side_by_side
from abtest.run.arms.training import train
from simulator.logs.dataset import Dataset

QUICK: dict[str, Any] = {"epochs": 1, "epoch_steps": 1, "dim": 8, "layers": 1}
POLICIES = {"sasrec": QUICK, "fmlprec+likes": {"videos": QUICK}, "popular": {}}


def weights(cache: Path) -> dict[str, bytes]:
    """Contents of all files of trained policies, by their path in the cache."""
    folder = cache / "policies"
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    }


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(side_by_side, "LocalEngine", refuse)


# Starts two interpreters: the only way to see that they learn the same.
def test_weights_are_those_of_one_after_another(
    small_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.open(small_log)
    said = io.StringIO()
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "together"))
    train_side_by_side(POLICIES, dataset, seed=1, processes=2, console=Console(said))
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "alone"))
    for name in ("sasrec", "fmlprec"):
        train(name, QUICK, dataset, seed=1, console=Console(quiet=True))
    together = weights(tmp_path / "together")
    assert together == weights(tmp_path / "alone")
    assert len({path.split("/")[0] for path in together}) == 2
    lines = said.getvalue().splitlines()
    assert lines[0] == "training sasrec and fmlprec side by side ..."
    assert len(lines) == 4
    for name in ("sasrec", "fmlprec"):
        (told,) = [line for line in lines if line.startswith(f"training {name}: ")]
        assert "best epoch" in told
    assert lines[-1].startswith("training sasrec and fmlprec side by side: ")


def test_the_policy_that_takes_longest_has_priority(
    small_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    niced: list[int] = []

    class Engine:
        """Takes what it is asked, and runs nothing."""

        def __init__(self, *_: Any) -> None: ...

        def __enter__(self) -> Engine:
            return self

        def __exit__(self, *_: object) -> None: ...

        def run(self, tasks: list[Any], _: Any) -> list[Any]:
            asked.extend(tasks)
            return []

    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path))
    monkeypatch.setattr(side_by_side, "LocalEngine", Engine)
    monkeypatch.setattr(side_by_side.os, "nice", niced.append, raising=False)
    monkeypatch.setattr(side_by_side, "train", lambda *_, **__: None)
    dataset = Dataset.open(small_log)
    for third in ("lsvcr", "fmlprec"):
        policies = {"sasrec": QUICK, "gru4rec": {}, third: {}}
        train_side_by_side(policies, dataset, seed=1, processes=2, console=Console(quiet=True))
    yields = [(one.spec, one.yields) for one in asked]
    assert yields[:3] == [("sasrec", True), ("gru4rec", True), ("lsvcr", False)]
    # Those that take equally long share the processor.
    assert yields[3:] == [("sasrec", False), ("gru4rec", False), ("fmlprec", False)]
    for one in asked[1:3]:
        one.files.parent.mkdir(exist_ok=True)
        side_by_side._train_one(dataset, one, lambda _: None)
    assert niced == [10]


@pytest.mark.usefixtures("no_processes")
def test_nothing_is_started_for_one_slow_policy_or_one_process(
    small_log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.open(small_log)
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path))
    quiet = Console(quiet=True)
    train_side_by_side(POLICIES, dataset, seed=1, processes=1, console=quiet)
    one = {"sasrec": QUICK, "sasrec+likes": {"videos": QUICK}, "popular": {}}
    train_side_by_side(one, dataset, seed=1, processes=2, console=quiet)
    train("fmlprec", QUICK, dataset, seed=1, console=quiet)
    train_side_by_side(POLICIES, dataset, seed=1, processes=2, console=quiet)
