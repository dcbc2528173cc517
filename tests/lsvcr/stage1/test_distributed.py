"""Two processes against one, through the launcher that people use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lsvcr.align import main
from lsvcr.text.store import beside
from simulator.logs.dataset import Dataset

ROOT = Path(__file__).parents[3]
# No dropout: two processes draw other masks than one.
SETTINGS = {
    "videos": 8,
    "comments": 8,
    "accumulation": 2,
    "history": 3,
    "text_tokens": 12,
    "prompt_tokens": 110,
    "lora_dropout": 0,
    "dropout": 0,
    "negatives": 3,
}


@pytest.fixture(scope="module")
def log(write_log: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    dataset: Dataset = write_log(tmp_path_factory.mktemp("log") / "log", users=24).dataset
    return dataset


@pytest.fixture(scope="module")
def llm(
    log: Dataset, save_tiny_llm: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return save_tiny_llm(tmp_path_factory.mktemp("hub"), log.captions())


def command(log: Dataset, llm: Path, out: Path, **changes: Any) -> list[str]:
    given = {**SETTINGS, **changes}
    return [
        *("--data", str(log.path), "--llm", str(llm), "--out", str(out), "--set"),
        *(f"{name}={json.dumps(value)}" for name, value in given.items()),
    ]


def test_two_processes_learn_what_one_does_from_the_joined_batch(
    log: Dataset, llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One step of two passes: its losses, and its gradients, which Adam's first moment holds."""
    assert main(command(log, llm, tmp_path / "one", batch=8)) == 0
    alone = json.JSONDecoder().raw_decode(capsys.readouterr().out)[0]
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "lsvcr.align"),
            *command(log, llm, tmp_path / "two", batch=4),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, ran.stderr
    together = json.JSONDecoder().raw_decode(ran.stdout)[0]
    assert together["alignment"]["steps"] == alone["alignment"]["steps"] == 1
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    np.testing.assert_allclose(two["told"], one["told"], rtol=1e-5)
    gradients = [name for name in one if name.startswith("exp_avg.")]
    # Adapters, both sequential models, contrast adapter.
    assert {name.split(".")[1] for name in gradients} >= {"llm", "video", "comment"}
    for name in gradients:
        largest = np.abs(one[name]).max() + 1e-6
        np.testing.assert_allclose(two[name] / largest, one[name] / largest, atol=1e-3)
    # Halves of the new texts come from each process, and everything has been embedded.
    first, second = alone["alignment"]["texts"], together["alignment"]["texts"]
    assert first["before"] > 0 and second == {"before": 0, "after": first["after"]}


def test_a_finished_alignment_is_neither_trained_nor_embedded_again(
    log: Dataset, llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for _ in range(2):
        assert main(command(log, llm, tmp_path / "out", batch=6)) == 0
        told.append(json.JSONDecoder().raw_decode(capsys.readouterr().out)[0]["alignment"])
    assert told[0]["texts"]["after"] > 0 and told[1]["texts"] == {"before": 0, "after": 0}
    assert told[0]["losses"] == told[1]["losses"]
    assert beside(log.path).is_dir()


def test_what_is_wrong_is_said_in_a_line(
    log: Dataset, llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(log, llm, tmp_path, videoz=1)) == 1
    assert "no setting 'videoz'" in capsys.readouterr().err
    assert main(["--data", str(tmp_path / "none"), "--out", str(tmp_path)]) == 1
    assert "no dataset at" in capsys.readouterr().err
    assert main([*command(log, llm, tmp_path), "batch"]) == 1
    assert "--set batch is no setting" in capsys.readouterr().err
