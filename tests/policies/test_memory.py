"""A network that memory cannot hold is refused with an estimate, without being made."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from policies import memory
from policies.errors import UnknownPolicy
from policies.memory import require_memory


def test_a_network_larger_than_memory_is_refused_with_both_sizes() -> None:
    with pytest.raises(UnknownPolicy) as refused:
        require_memory(lambda: nn.Embedding(10**9, 1_000), "mine", "dim = 1000")
    assert "1,000,000,000,000 weights (dim = 1000)" in str(refused.value)
    assert "16,000.0 GB" in str(refused.value)
    assert "abtest policy show mine" in refused.value.hint


@pytest.mark.parametrize(("limit", "refused"), [(16 * 30 - 1, True), (16 * 30, False)])
def test_sixteen_bytes_per_weight_are_counted(
    limit: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: limit)
    if refused:
        with pytest.raises(UnknownPolicy):
            require_memory(lambda: nn.Embedding(10, 3), "mine", "")
    else:
        require_memory(lambda: nn.Embedding(10, 3), "mine", "")


def test_tables_that_memory_cannot_hold_are_refused_by_their_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: 2_000_000_000)
    require_memory(lambda: nn.Embedding(10, 3), "mine", "9 videos", tables=2_000_000_000)
    with pytest.raises(UnknownPolicy, match=r"ranks from \(9 videos\) take at least 2\.1 GB"):
        require_memory(lambda: nn.Embedding(10, 3), "mine", "9 videos", tables=2_100_000_000)


def test_looking_draws_nothing_from_the_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    require_memory(lambda: nn.Linear(4, 4), "mine", "")
    assert torch.equal(torch.rand(3), expected)
