"""Training that was cut off goes on to the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies.base import Policy, silent
from policies.registry import create
from policies.sequence import softmax
from policies.sequence.resume import kept_in
from simulator.logs.dataset import Dataset
from tests.policies.conftest import write_log

# Of 360 likes in batches of about 128; an epoch makes more passes than one.
SMALL: dict[str, Any] = {"dim": 8, "epochs": 4, "epoch_steps": 5, "tokens": 128}


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    rng = np.random.default_rng(2)
    rows = [(user, int(v), step) for user in range(40) for step, v in enumerate(rng.permutation(9))]
    return write_log(tmp_path_factory.mktemp("resume") / "log", rows)


def weights(policy: Policy, folder: Path) -> bytes:
    folder.mkdir()
    policy.save(folder)
    return (folder / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "two-tower"])
def test_resumed_equals_uninterrupted(
    log: Dataset, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sampled negatives, too, must be those of an uninterrupted run.
    monkeypatch.setattr(softmax, "FULL_SOFTMAX_UP_TO", 10)
    whole = create(name, **SMALL)
    whole.fit(log, seed=3)
    reached: list[str] = []

    def killed_in_epoch_3(stage: str, fraction: float, detail: str) -> None:
        if detail.startswith("epoch 3,"):
            raise Killed

    def noted(stage: str, fraction: float, detail: str) -> None:
        reached.append(detail.split(",")[0])

    with pytest.raises(Killed), kept_in(tmp_path / "state"):
        create(name, **SMALL).fit(log, seed=3, progress=killed_in_epoch_3)
    again = create(name, **SMALL)
    with kept_in(tmp_path / "state"):
        again.fit(log, seed=3, progress=noted)
    assert "epoch 2" not in reached
    assert "epoch 3" in reached
    assert weights(again, tmp_path / "again") == weights(whole, tmp_path / "whole")
    assert again.training_summary() == whole.training_summary()


def test_a_finished_run_is_not_run_again(log: Dataset, tmp_path: Path) -> None:
    with kept_in(tmp_path):
        create("gru4rec", **SMALL).fit(log, seed=1, progress=silent)
    trained: list[str] = []
    with kept_in(tmp_path):
        create("gru4rec", **SMALL).fit(
            log, seed=1, progress=lambda stage, fraction, detail: trained.append(detail)
        )
    assert not any(detail.startswith("epoch") for detail in trained)


def test_damaged_state_starts_over(log: Dataset, tmp_path: Path) -> None:
    whole = create("gru4rec", **SMALL)
    with kept_in(tmp_path / "state"):
        whole.fit(log, seed=1)
    (file,) = (tmp_path / "state").iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    again = create("gru4rec", **SMALL)
    with kept_in(tmp_path / "state"):
        again.fit(log, seed=1)
    assert np.array_equal(
        np.frombuffer(weights(whole, tmp_path / "a"), dtype=np.uint8),
        np.frombuffer(weights(again, tmp_path / "b"), dtype=np.uint8),
    )
