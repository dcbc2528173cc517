"""Several batches per step, of one process or of several, are one step on all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from abtest.console import Console
from abtest.run.arms.training import train as keep
from policies.base import silent
from policies.errors import UnknownPolicy
from policies.registry import create
from policies.sequence import trainer
from policies.sequence.trainer import TrainerSettings, train
from simulator.logs.dataset import Dataset

ROOT = Path(__file__).parents[3]
SETTINGS = {"epochs": 2, "epoch_steps": 3, "tokens": 64, "accumulation": 2, "dim": 8}


def _fitted(batches: list[list[float]], accumulation: int) -> float:
    """A weight w that minimises the mean of (w - x)^2 over a batch, after one pass."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    train(
        module,
        lambda number: iter(batches),
        lambda batch: ((module.weight - torch.tensor(batch)) ** 2).mean(),
        lambda: 0.0,
        TrainerSettings(
            epochs=1, warmup_steps=0, learning_rate=0.1, weight_decay=0.0, accumulation=accumulation
        ),
        progress=silent,
        stage="line",
    )
    return float(module.weight.detach())


def test_a_step_on_two_batches_is_a_step_on_both_together() -> None:
    apart = [[1.0, 5.0], [-2.0, 4.0], [7.0, 7.0], [0.0, -8.0]]
    joined = [[1.0, 5.0, -2.0, 4.0], [7.0, 7.0, 0.0, -8.0]]
    assert _fitted(apart, 2) == pytest.approx(_fitted(joined, 1), rel=1e-6)
    assert _fitted(apart, 2) != pytest.approx(_fitted(apart, 1), rel=1e-3)


def test_the_last_step_of_a_pass_may_have_fewer_batches() -> None:
    assert _fitted([[1.0], [2.0], [6.0]], 2) == pytest.approx(_fitted([[1.0, 2.0], [6.0]], 1))


def test_processes_without_a_batch_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "world_size", lambda: 3)
    with pytest.raises(UnknownPolicy, match="accumulation is 2") as refused:
        _fitted([[1.0], [2.0]], 2)
    assert refused.value.hint == "Take a multiple: accumulation = 3"


def test_what_a_batch_draws_depends_on_its_number_alone(
    chains: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process skips the batches of the others, and draws for its own what one process would."""

    def draws() -> list[Any]:
        seen: list[Any] = []

        def note(encoder: Any, window: Any, sampler: Any, _: int) -> Any:
            seen.append(np.concatenate([torch.rand(4).numpy(), sampler.draw()[0].numpy()]))
            return encoder.examples(window)[0].sum() * 0.0

        policy: Any = create("sasrec", **SETTINGS)
        monkeypatch.setattr(policy._model, "_loss", note)
        policy.fit(chains, seed=1)
        return seen

    whole = draws()
    monkeypatch.setattr(trainer, "rank", lambda: 1)
    monkeypatch.setattr(trainer, "world_size", lambda: 2)
    monkeypatch.setattr(trainer, "mean_gradients", lambda parameters: None)
    own = draws()
    assert 0 < len(own) < len(whole)
    assert all(any(np.array_equal(mine, drawn) for drawn in whole) for mine in own)


def test_two_processes_learn_what_one_does(
    chains: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the launcher and the command that people use."""
    settings = {**SETTINGS, "dropout": 0.1}
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path / "alone"))
    alone = keep("sasrec", settings, chains, seed=1, console=Console(quiet=True))
    text = ",".join(f"{name}={value}" for name, value in settings.items())
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "abtest", "train", f"sasrec:{text}"),
            *("--data", str(chains.path), "--training-seed", "1", "--quiet"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "ABTEST_CACHE": str(tmp_path / "together"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("best_epoch") == 1, "the first process alone tells"
    (file,) = (tmp_path / "together" / "policies").rglob("*.safetensors")
    (known,) = alone.directory.glob("*.safetensors")
    one, two = load_file(known), load_file(file)
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=2e-5, err_msg=name)
