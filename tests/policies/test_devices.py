"""Every neural policy trains and ranks on the device that its settings name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies.devices import DeviceSettings, random_states, set_random_states
from policies.errors import UnknownPolicy
from policies.registry import create
from policies.settings import make_settings
from simulator.devices import as_array, devices
from simulator.logs.dataset import Dataset
from simulator.requests import VideoRequests
from tests.policies.conftest import VIDEOS, write_log
from tests.policies.make_believe import GPU, MixedDevices, make_believe_gpu

NEURAL = ("sasrec", "gru4rec", "hstu", "fmlprec", "bert4rec", "unisrec", "two-tower")
QUICK = {"epochs": 1, "epoch_steps": 1, "dim": 8}
HISTORIES = [[], [3], [4, 5, 6]]


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A log of a hundred people with captions."""
    rows = [(user, (user + step) % VIDEOS, step) for user in range(100) for step in range(4)]
    captions = [f"video {'abcdef'[video % 6]} {video}" for video in range(VIDEOS)]
    return write_log(tmp_path_factory.mktemp("captioned") / "log", rows, captions=captions)


def test_a_make_believe_gpu_notices_what_a_real_one_would_refuse() -> None:
    with make_believe_gpu() as gpu:
        there = torch.ones(3, device=GPU)
        assert gpu.has(there) and gpu.has(there * 2.0 + torch.tensor(1.0)) and there.device == GPU
        moved = torch.nn.Linear(3, 2).to(GPU)
        assert gpu.has(moved(there)) and gpu.has(moved.weight)
        with pytest.raises(MixedDevices):
            there + torch.ones(3)
        with pytest.raises(MixedDevices):
            there[torch.arange(2)]
        with pytest.raises(MixedDevices):
            there.numpy()
        np.testing.assert_array_equal(as_array(there), np.ones(3))


@pytest.mark.parametrize("name", NEURAL)
def test_a_policy_trains_and_ranks_there(
    name: str,
    chains: Dataset,
    captioned: Dataset,
    make_requests: Callable[..., VideoRequests],
    tmp_path: Path,
) -> None:
    log = captioned if name == "unisrec" else chains
    here = create(name, **QUICK)
    here.fit(log, seed=1)
    here.reset(len(HISTORIES))
    expected = here.score_videos(make_requests(HISTORIES))
    with make_believe_gpu() as gpu:
        policy: Any = create(name, **QUICK)
        policy.fit(log, seed=1)
        weights = list(policy._model._encoder.parameters())
        assert all(gpu.has(weight) for weight in weights)
        policy.save(tmp_path)
        loaded = create(name, **QUICK)
        loaded.load(tmp_path, log)
        for one in (policy, loaded):
            one.reset(len(HISTORIES))
            np.testing.assert_array_equal(one.score_videos(make_requests(HISTORIES)), expected)


@pytest.mark.parametrize("name", [*NEURAL, "comment-sasrec", "lsvcr"])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    missing = "mps" if "mps" not in devices() else "cuda"
    with pytest.raises(UnknownPolicy, match=f"device is '{missing}', expected a device of this"):
        create(name, device=missing)
    with pytest.raises(UnknownPolicy, match="expected one of auto, cpu, cuda, mps"):
        create(name, device="tpu")


def test_auto_is_the_fastest_device_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert create("sasrec").settings()["device"] == devices()[0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = make_settings(DeviceSettings, {}, "mine")
    assert settings.device == "cuda" and settings.on == torch.device("cuda")
    assert create("sasrec", device="cpu").settings()["device"] == "cpu"


def test_generators_of_all_devices_go_on_where_they_were() -> None:
    before = random_states()
    drawn = torch.rand(4)
    set_random_states({**before, "cuda-that-is-gone": torch.zeros(1)})
    assert torch.equal(torch.rand(4), drawn)
