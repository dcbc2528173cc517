"""Processes that rank with the same weights share the tables: nothing is copied or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policies import checkpoint
from policies.checkpoint import ARRAYS, load_arrays, save_arrays
from policies.registry import create
from policies.sequence.sequential import SequentialPolicy
from simulator.logs.dataset import Dataset
from tests.policies.conftest import VIDEOS
from tests.policies.mappings import SMAPS, held_alone

QUICK: dict[str, Any] = {"dim": 16, "epochs": 1, "epoch_steps": 1, "tokens": 512}


def test_large_arrays_are_mapped_and_small_ones_read(tmp_path: Path) -> None:
    arrays = {"large": np.ones(1 << 18, np.float32), "small": np.ones(9, np.float32)}
    save_arrays(tmp_path, arrays, {})
    found = load_arrays(tmp_path, {})
    assert found["small"].base is None
    base = found["large"].base
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    found["large"][:] = 2.0
    assert load_arrays(tmp_path, {})["large"].max() == 1.0


@pytest.mark.skipif(not SMAPS.exists(), reason="this system does not tell what a process shares")
@pytest.mark.parametrize("name", ["sasrec", "two-tower", "gru4rec"])
def test_ranking_copies_no_table(
    chains: Dataset, make_requests: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trained = create(name, **QUICK)
    trained.fit(chains, seed=1)
    trained.save(tmp_path)
    monkeypatch.setattr(checkpoint, "_MAPPED_FROM", 1_000)
    policy = create(name, **QUICK)
    policy.load(tmp_path, chains)
    assert isinstance(policy, SequentialPolicy)
    requests = make_requests([[0, 1, 2], [5]])
    for one in (trained, policy):
        one.reset(2)
    np.testing.assert_array_equal(policy.score_videos(requests), trained.score_videos(requests))
    encoder = policy._model._encoder
    assert encoder is not None
    for table in (policy._model.table, encoder.items.weight.detach().numpy()):
        assert table.nbytes == VIDEOS * 16 * 4 and not table.flags.owndata
    size, alone = held_alone(tmp_path / ARRAYS)
    assert size >= VIDEOS * 16 * 4 * 2 / 1024 and alone == 0
