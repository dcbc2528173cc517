"""Evaluations, A/A splits and assumed worlds as tasks of a cluster: the same figures and bytes.

A cluster in this process, where everything that would travel is pickled, shows that for the
commands; a real one of two nodes that it holds there too.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from abtest import api as python
from abtest.console import Console
from abtest.errors import UsageError
from abtest.evaluate.asked import Protocol
from abtest.evaluate.protocol import contestants, evaluate_policies
from abtest.evaluate.results import document
from abtest.power.spread import Split, spread_splits
from abtest.run.cluster import cargo
from abtest.run.cluster.cargo import Needs, UnfitNode
from abtest.run.engines import Job, Report
from abtest.run.machines import Machines
from abtest.run.simulate import GroupTask, SimulationSpec
from reports.analysis.calibration import calibrate
from reports.plan import Metric
from simulator.logs.dataset import Dataset
from tests.abtest.conftest import Result

Run = Callable[..., Result]
ONE, TWO = "a" * 3, "b" * 3


class Pickled:
    """A cluster of this process."""

    place = "here"
    workers = 1
    tasks_run: list[Any]
    asked: tuple[str | None, int | None]

    def __init__(self, job: Any, keep: Any, *, address: str | None, workers: int | None) -> None:
        self._job, self._keep = pickle.dumps(job), keep
        Pickled.asked = address, workers

    def __enter__(self) -> Pickled:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, tasks: Sequence[Any], report: Report) -> Iterator[Any]:
        job = pickle.loads(self._job)
        shared = job.prepare()
        for number, task in enumerate(tasks, 1):
            there = pickle.loads(pickle.dumps(task))
            Pickled.tasks_run.append(there)
            result = pickle.dumps(job.work(shared, there, lambda fraction: None))
            report(float(number), number)
            yield self._keep(task, pickle.loads(result))


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> type[Pickled]:
    Pickled.tasks_run = []
    monkeypatch.setattr("abtest.run.machines.RayEngine", Pickled)
    monkeypatch.setattr(Machines, "check", lambda self: None)
    return Pickled


def test_an_evaluation_is_the_same_and_a_task_per_policy_and_seed(
    abtest: Run, small_log: Path, pickled: type[Pickled]
) -> None:
    asked = ("evaluate", "popular", "itemknn", "likes", "--data", small_log, "--seeds", "2",
             "--json")  # fmt: skip
    local = abtest(*asked)
    assert local.code == 0, local.err
    assert not pickled.tasks_run
    remote = abtest(*asked, "--engine", "ray")
    assert remote.out == local.out
    # Videos: two policies of two seeds; comments: one policy.
    assert [t.seed for t in pickled.tasks_run] == [1, 2] * (len(pickled.tasks_run) // 2)
    assert len(pickled.tasks_run) >= 6


def test_python_evaluates_on_a_cluster_as_the_command_does(
    small_log: Path, pickled: type[Pickled], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "cache"))
    asked = partial(python.evaluate, ["popular", "likes"], data=small_log)
    local = asked()
    assert not pickled.tasks_run
    remote = asked(engine="ray", address="10.0.0.1:6379", workers=3)
    assert pickled.tasks_run and pickled.asked == ("10.0.0.1:6379", 3)
    assert remote.metrics().equals(local.metrics())


@pytest.mark.parametrize(
    ("engine", "more", "said"),
    [
        ("local", {"address": "auto"}, "--engine ray"),
        ("local", {"workers": 2}, "--engine ray"),
        ("rays", {}, "expected local or ray"),
    ],
)
def test_engines_that_cannot_be_are_refused_before_the_log_is_read(
    engine: Any, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        python.evaluate("popular", data="nowhere", engine=engine, **more)


def test_a_policy_that_the_log_does_not_suit_is_left_out_in_the_same_words(
    abtest: Run, small_log: Path, pickled: type[Pickled], tmp_path: Path
) -> None:
    (tmp_path / "picky.py").write_text(
        "from policies.base import Policy\nfrom policies.errors import PolicyError\n\n\n"
        'class Picky(Policy):\n    """No log suits it."""\n\n'
        "    def fit(self, dataset, *, seed, progress=None):\n"
        "        raise PolicyError(f'{dataset.path} does not suit.')\n\n"
        "    def score_videos(self, requests):\n        return requests.candidates * 0.0\n\n"
        "    def save(self, directory):\n        pass\n\n"
        "    def load(self, directory, dataset):\n        pass\n"
    )
    asked = ("evaluate", "popular", "picky.py:Picky", "--data", small_log, "--task", "videos",
             "--json")  # fmt: skip
    local, remote = abtest(*asked), abtest(*asked, "--engine", "ray")
    assert local.code == 0 and remote.out == local.out
    assert f"{small_log} does not suit" in local.out


def columns() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(300, 1)), random.random((300, 1)) < 0.3
    one = np.ones((300, 1))
    return {ONE: np.hstack([a, one, random.normal(size=(300, 1))]), TWO: np.hstack([b, one])}


METRICS = [Metric(name, name, "", (name,)) for name in (ONE, TWO)]


def split() -> Split:
    return Split(columns(), METRICS, seed=7, share=0.4, by_score=[TWO])


def test_splits_are_the_same_however_they_are_dealt_out(pickled: type[Pickled]) -> None:
    once = calibrate(columns(), METRICS, replicates=300, seed=7, share=0.4, by_score=[TWO])
    for machines in (Machines(), Machines("ray")):
        p_values = spread_splits(split(), 300, machines, Console(quiet=True))
        assert p_values.shape == (300, 2)
        spread = calibrate(
            columns(), METRICS, replicates=300, seed=7, share=0.4, by_score=[TWO],
            p_values=p_values,
        )  # fmt: skip
        assert spread == once
    assert pickled.tasks_run == [range(128), range(128, 256), range(256, 300)]


def test_an_a_a_test_prints_the_same(abtest: Run, tmp_path: Path, pickled: type[Pickled]) -> None:
    random = np.random.default_rng(2)
    values = {"user_id": range(200), "revenue": random.exponential(size=200)}
    pl.DataFrame(values).write_csv(tmp_path / "users.csv")
    asked = ("aa", "users.csv", "--metric", "revenue", "--replicates", 200, "--json")
    local, remote = abtest(*asked), abtest(*asked, "--engine", "ray")
    assert local.code in (0, 4) and (remote.code, remote.out) == (local.code, local.out)
    assert len(pickled.tasks_run) == 2


def worlds(spec: SimulationSpec, dataset: Dataset) -> list[tuple[SimulationSpec, Dataset]]:
    """A group of 30 people in the world, and in one where more of a session is refunded."""
    plain = dataclasses.replace(spec, people=30, keep_log=False)
    changed = dataclasses.replace(spec.environment, assumed=(("session_refund", 0.9),))
    return [(plain, dataset), (dataclasses.replace(plain, environment=changed), dataset)]


def outcomes(machines: Machines, many: Any, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    tasks = [(world, GroupTask(0, folder / f"{world}.parquet", None)) for world in range(2)]
    with machines.simulating_each(many) as engine:
        assert list(engine.run(tasks, lambda done, finished: None)) == [0, 0]
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_assumed_worlds_have_the_same_bytes(
    spec: SimulationSpec,
    dataset: Dataset,
    tmp_path: Path,
    pickled: type[Pickled],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.abtest.in_process import without_workers

    without_workers(monkeypatch)
    many = worlds(spec, dataset)
    local = outcomes(Machines(workers=1), many, tmp_path / "local")
    remote = outcomes(Machines("ray"), many, tmp_path / "remote")
    assert remote == local and len(local) == 2
    assert local["0.parquet"] != local["1.parquet"]


def test_a_machine_without_the_log_is_named(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cargo, "machine", lambda: "node 10.0.0.2")
    needs = Needs.of(dataset, ["popular"])
    assert needs.open().info.content_hash == dataset.info.content_hash
    with pytest.raises(UnfitNode, match=r"^node 10.0.0.2 has no dataset at /nowhere"):
        dataclasses.replace(needs, log="/nowhere").open()
    with pytest.raises(UnfitNode, match=r"^node 10.0.0.2 has another log"):
        dataclasses.replace(needs, log_hash="ab").open()


def tripled(shared: int, task: int, told: Callable[[float], None]) -> int:
    return shared * task


def three() -> int:
    return 3


def test_a_real_cluster_gives_what_this_process_gives(
    cluster: Any, spec: SimulationSpec, dataset: Dataset, tmp_path: Path, shared_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("ABTEST_CACHE", str(shared_cache))
    ray, quiet = Machines("ray"), Console(quiet=True)
    job: Job[int, int] = Job(three, tripled)
    assert list(ray.each(job, range(9))) == list(Machines().each(job, range(9)))
    np.testing.assert_array_equal(
        spread_splits(split(), 300, ray, quiet), spread_splits(split(), 300, Machines(), quiet)
    )
    rows = contestants(["random", "popular"], {}, ablations=False)
    judge = partial(evaluate_policies, rows, dataset, Protocol(("videos",), (1, 2)), quiet)
    local, remote = document(judge()), document(judge(ray))
    assert json.dumps(remote, sort_keys=True) == json.dumps(local, sort_keys=True)
    many = worlds(spec, dataset)
    here = outcomes(Machines(workers=1), many, tmp_path / "local")
    assert outcomes(ray, many, tmp_path / "remote") == here
