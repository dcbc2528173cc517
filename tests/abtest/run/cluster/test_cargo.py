"""What travels to another machine, and what a machine is refused for. Needs no Ray."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from abtest.errors import ExitCode
from abtest.run.arms.training import load_policy
from abtest.run.cluster import cargo as module
from abtest.run.cluster.cargo import Cargo, UnfitNode, keep_group, prepare_on_node, read_files
from abtest.run.simulate import GroupTask, SimulationSpec
from policies.errors import CheckpointError
from simulator.logs.dataset import Dataset

Changed = Callable[[Cargo], Cargo]


@pytest.fixture
def cargo(
    spec: SimulationSpec, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cargo]:
    monkeypatch.setattr(module, "machine", lambda: "node 10.0.0.2")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("# a policy", encoding="utf-8")
    policies = (spec.policies[0], dataclasses.replace(spec.policies[1], spec="likes+mine.py:Mine"))
    return Cargo.of(dataclasses.replace(spec, policies=policies), dataset)


def test_weights_travel_as_they_are(cargo: Cargo, tmp_path: Path) -> None:
    here = cargo.unpack(tmp_path / "node")
    for sent, there in zip(cargo.spec.policies, here.policies, strict=True):
        assert there.directory.is_relative_to(tmp_path / "node")
        assert there.directory.name == sent.directory.name
        expected, found = read_files(sent.directory), read_files(there.directory)
        assert expected.keys() == found.keys() and "summary.json" in found
        assert all(np.array_equal(expected[name], found[name]) for name in expected)
        assert dataclasses.replace(there, directory=sent.directory) == sent


def test_people_learned_from_a_log_and_the_candidate_stage_travel_too(
    spec: SimulationSpec, dataset: Dataset, tmp_path: Path
) -> None:
    model, stage = spec.policies[0].directory, spec.policies[1]
    environment = dataclasses.replace(spec.environment, model=str(model), candidates=stage)
    sent = Cargo.of(dataclasses.replace(spec, environment=environment), dataset)
    here = sent.unpack(tmp_path).environment
    assert here.candidates is not None
    for directory, original in (
        (Path(here.model), model),
        (here.candidates.directory, stage.directory),
    ):
        assert directory.is_relative_to(tmp_path)
        assert read_files(directory).keys() == read_files(original).keys()


def test_a_machine_like_this_one_is_fit(cargo: Cargo) -> None:
    cargo.check_machine()
    assert list(cargo.policy_files) == ["mine.py"]
    assert Path(cargo.spec.environment.dataset).is_absolute()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda c: dataclasses.replace(c, program={**c.program, "abtest": "0.0.9 (ab)"}),
            r"has abtest .*, this one has 0\.0\.9 \(ab\)\. Install the same on every node",
        ),
        (
            lambda c: dataclasses.replace(c, program={**c.program, "numpy": "1.0"}),
            r"has numpy .*, this one has 1\.0\.",
        ),
        (
            lambda c: dataclasses.replace(
                c,
                spec=dataclasses.replace(
                    c.spec,
                    environment=dataclasses.replace(c.spec.environment, dataset="/nowhere/log"),
                ),
            ),
            "has no dataset at /nowhere/log. Every node must see the log under the same path",
        ),
        (
            lambda c: dataclasses.replace(c, policy_files={"other.py": "ab"}),
            "has no file .*other.py. Every node must see the policy",
        ),
        (
            lambda c: dataclasses.replace(c, policy_files={"mine.py": "ab"}),
            "has another .*mine.py. Copy it to every node",
        ),
        (lambda c: dataclasses.replace(c, log_hash="ab"), "has another log at "),
    ],
)
def test_a_machine_that_differs_is_named(cargo: Cargo, change: Changed, text: str) -> None:
    with pytest.raises(UnfitNode, match=f"^node 10.0.0.2 {text}") as caught:
        prepare_on_node(change(cargo))
    assert caught.value.code == ExitCode.DATA


def test_other_weights_than_the_run_was_started_with_are_refused(
    spec: SimulationSpec, dataset: Dataset
) -> None:
    trained = spec.policies[1]
    load_policy(trained, dataset)
    other = dataclasses.replace(trained, weights_hash="0123")
    with pytest.raises(CheckpointError, match=r"holds other weights of popular .*\(0123\)"):
        load_policy(other, dataset)


def test_a_group_is_kept_whole(cargo: Cargo, tmp_path: Path) -> None:
    task = GroupTask(7, tmp_path / "group.parquet", tmp_path / "group.log")
    task.log.mkdir()  # type: ignore[union-attr]
    (tmp_path / "group.log" / "left.parquet").write_bytes(b"from an attempt before")
    files = {
        "outcomes.parquet": np.frombuffer(b"outcomes", dtype=np.uint8),
        "log/users-00000.parquet": np.frombuffer(b"users", dtype=np.uint8),
    }
    assert keep_group(task, files) == 7
    assert task.outcomes.read_bytes() == b"outcomes"
    assert [p.name for p in (tmp_path / "group.log").iterdir()] == ["users-00000.parquet"]
    assert (tmp_path / "group.log" / "users-00000.parquet").read_bytes() == b"users"


def test_the_catalogue_is_not_read_again(dataset: Dataset) -> None:
    catalogue = dataset.catalogue()
    assert Dataset.open(dataset.path).with_catalogue(catalogue).catalogue() is catalogue
