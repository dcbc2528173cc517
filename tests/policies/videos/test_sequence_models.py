"""Every sequence model sees only the past, learns the chains, and keeps the contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from abtest.run.contract.suite import OF_ONE_TRAINING, check_policy
from policies.base import Policy
from policies.registry import create
from policies.sequence.encoder import SequenceEncoder
from policies.sequence.next_item import encode_last, latest
from policies.videos.bert4rec import BERT4RecModel
from policies.videos.fmlprec import FMLPRecModel, causal_convolution
from policies.videos.gru4rec import GRU4RecModel
from policies.videos.hstu import HSTULayer, HSTUModel
from policies.videos.sasrec import SASRecModel
from policies.videos.two_tower import Features, TwoTowerModel
from policies.videos.unisrec import UniSRecModel
from simulator.logs.dataset import Dataset
from simulator.requests import VideoRequests
from tests.policies.conftest import CHAIN, VIDEOS, write_log

Make = Callable[..., VideoRequests]

ITEMS, LENGTH, DIM = 30, 12, 8
SHARED_ROWS = np.arange(ITEMS, dtype=np.int32) % 20
ENCODERS: dict[str, Callable[[], SequenceEncoder]] = {
    "sasrec": lambda: SASRecModel(ITEMS, LENGTH, DIM, 2, 2, 0.0),
    "gru4rec": lambda: GRU4RecModel(ITEMS, DIM, 2, 0.0),
    "hstu": lambda: HSTUModel(ITEMS, LENGTH, DIM, 2, 2, 0.0),
    "bert4rec": lambda: BERT4RecModel(ITEMS, LENGTH, DIM, 2, 2, 0.0, 0.2, 0.1),
    "fmlprec": lambda: FMLPRecModel(ITEMS, LENGTH, DIM, 2, 0.0),
    "unisrec": lambda: UniSRecModel(texts(), LENGTH, DIM, 2, 2, 3, 0.0, 0.07),
    "two-tower": lambda: TwoTowerModel(features(), DIM, 0.0, 0.07, 0.1),
    "shared towers": lambda: TwoTowerModel(features(), DIM, 0.0, 0.07, 0.1, SHARED_ROWS),
}
NEW = ("gru4rec", "hstu", "bert4rec", "fmlprec", "two-tower")
SMALL: dict[str, Any] = {
    "dim": 32,
    "epochs": 14,
    "epoch_steps": 1,
    "learning_rate": 1e-2,
    "tokens": 512,
}
# A fifth of the targets, and order to be found without a causal mask: more steps.
MORE_STEPS = {
    "dropout": 0.0,
    "epochs": 50,
    "epoch_steps": 1,
    "learning_rate": 3e-3,
    "patience": 50,
    "tokens": 128,
}


def texts() -> NDArray[np.float32]:
    return np.random.default_rng(2).standard_normal((ITEMS, 5)).astype(np.float32)


def features() -> Features:
    return Features(texts(), torch.arange(ITEMS) % 4, torch.arange(ITEMS) % 3)


@pytest.fixture(params=list(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> SequenceEncoder:
    torch.manual_seed(4)
    model = ENCODERS[request.param]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Away from the initial zeros, so that every part of the model matters.
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def windows(rows: int = 5, length: int = LENGTH + 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, ITEMS, (rows, length)))


@torch.no_grad()
def test_a_state_sees_the_past_and_only_the_past(encoder: SequenceEncoder) -> None:
    before = windows()
    states = encoder(before)
    assert states.shape == (5, LENGTH + 2, DIM)
    for changed in range(before.shape[1]):
        after = before.clone()
        after[:, changed] = (after[:, changed] + 1) % ITEMS
        moved = (encoder(after) - states).abs().amax(dim=(0, 2))
        assert (moved[: changed + 1] < 1e-5).all()
        assert (moved[changed + 1 :] > 1e-5).all()


@torch.no_grad()
def test_padding_changes_nothing(encoder: SequenceEncoder) -> None:
    items = windows(length=LENGTH)
    lengths = torch.tensor([0, 3, 7, 11, 12])
    padded = torch.where(torch.arange(LENGTH) < lengths[:, None], items, -1)
    last = encoder.last(padded, lengths)
    for row, length in enumerate(lengths.tolist()):
        own = items[row : row + 1, :length]
        alone = encoder(own)[0, -1]
        np.testing.assert_allclose(last[row], alone, atol=2e-5)
        # The slot of a padded candidate or a shorter block must not matter either.
        encoded = encode_last(encoder, padded[row : row + 1].numpy())
        np.testing.assert_allclose(encoded[0], alone, atol=2e-5)


def test_latest_keeps_the_end_of_a_history() -> None:
    histories = np.array([[1, 2, 3, 4], [5, 6, -1, -1], [-1, -1, -1, -1]], dtype=np.int32)
    assert latest(histories, 2).tolist() == [[3, 4], [5, 6], [-1, -1]]
    assert latest(histories, 9).tolist() == histories.tolist()


@torch.no_grad()
def test_hstu_layer_is_its_formula() -> None:
    """Equations 1 to 3 of the paper, one head and one position at a time."""
    torch.manual_seed(3)
    layer = HSTULayer(longest=9, dim=6, heads=2, dropout=0.0).eval()
    layer.bias += torch.randn(9)
    x = torch.randn(1, 5, 6)
    silu = torch.nn.functional.silu
    u, v, q, k = silu(layer.uvqk(layer.norm_1(x)))[0].split(6, dim=-1)
    pooled = torch.zeros(5, 6)
    for head in (slice(0, 3), slice(3, 6)):
        for i in range(5):
            for j in range(i + 1):
                weight = silu(q[i, head] @ k[j, head] + layer.bias[i - j]) / 9
                pooled[i, head] += weight * v[j, head]
    expected = x[0] + layer.out(layer.norm_2(pooled) * u)
    np.testing.assert_allclose(layer(x)[0], expected, atol=1e-5)


def test_filters_are_a_sum_over_the_past() -> None:
    rng = np.random.default_rng(8)
    for length in (1, 2, 5, 13):
        x, kernel = rng.standard_normal((3, length, 4)), rng.standard_normal((15, 4))
        found = causal_convolution(torch.from_numpy(x), torch.from_numpy(kernel))
        for i in range(length):
            expected = sum(kernel[k] * x[:, i - k] for k in range(i + 1))
            np.testing.assert_allclose(found[:, i], expected, atol=1e-12)


@pytest.mark.parametrize("name", NEW)
def test_learns_the_next_video_of_a_chain(
    chains: Dataset, make_requests: Make, tmp_path: Path, name: str
) -> None:
    settings = small(name)
    policy = create(name, **settings)
    policy.fit(chains, seed=1)
    histories = [[c * CHAIN + i for i in range(3)] for c in range(VIDEOS // CHAIN)]
    policy.reset(len(histories))
    requests = make_requests(histories)
    scores = policy.score_videos(requests)
    assert policy.training_summary()["validation"] > 0.3
    saved = _saved(policy, name, settings, tmp_path, chains)
    assert np.array_equal(saved.score_videos(requests), scores)
    scores = scores.copy()
    scores[np.arange(len(scores))[:, None], np.array(histories)] = -np.inf
    assert scores.argmax(axis=1).tolist() == [c * CHAIN + 3 for c in range(VIDEOS // CHAIN)]


def small(name: str) -> dict[str, Any]:
    return {**SMALL, **MORE_STEPS} if name == "bert4rec" else SMALL


def _saved(
    policy: Policy, name: str, settings: dict[str, Any], path: Path, dataset: Dataset
) -> Policy:
    policy.save(path)
    other = create(name, **settings)
    other.load(path, dataset)
    return other


@pytest.mark.parametrize("name", NEW)
def test_contract(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(6)
    rows = [(user, int(v), step) for user in range(70) for step, v in enumerate(rng.permutation(9))]
    # The other rules train again; they are about code that these policies share.
    short = f"{name}:epochs=1,epoch_steps=20"
    results = check_policy(short, write_log(tmp_path / "log", rows), OF_ONE_TRAINING)
    assert all(r.passed for r in results), [r for r in results if not r.passed]
