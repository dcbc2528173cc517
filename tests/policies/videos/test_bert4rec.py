"""What BERT4Rec hides, and that it cannot see it."""

from __future__ import annotations

import numpy as np
import torch

from policies.videos.bert4rec import BERT4RecModel

ITEMS, LENGTH = 40, 30


def model(masked: float = 0.2, last_only: float = 0.0) -> BERT4RecModel:
    torch.manual_seed(1)
    return BERT4RecModel(ITEMS, LENGTH, 8, 2, 2, 0.0, masked, last_only).eval()


def windows(rows: int) -> torch.Tensor:
    rng = np.random.default_rng(2)
    items = torch.from_numpy(rng.integers(0, ITEMS, (rows, LENGTH)))
    lengths = torch.from_numpy(rng.integers(1, LENGTH + 1, rows))
    return torch.where(torch.arange(LENGTH) < lengths[:, None], items, -1)


@torch.no_grad()
def test_a_fifth_of_the_items_is_hidden_and_one_at_least() -> None:
    given = torch.arange(ITEMS)[:LENGTH].repeat(4_000, 1)
    _, targets = model().examples(given)
    counts = torch.bincount(targets, minlength=ITEMS)[:LENGTH]
    # 4,000 draws of .2 (and the one in 800 where none of 30 came up): 5 standard errors.
    assert (abs(counts / 4_000 - 0.2) < 5 * (0.2 * 0.8 / 4_000) ** 0.5 + 0.001).all()
    for width in (1, 2):
        _, targets = model(masked=0.0).examples(given[:, :width])
        assert len(targets) == 4_000


@torch.no_grad()
def test_padding_is_never_a_target() -> None:
    given = windows(500)
    states, targets = model(masked=0.9, last_only=0.5).examples(given)
    assert len(states) == len(targets)
    assert (targets >= 0).all()


@torch.no_grad()
def test_hiding_the_last_item_is_what_serving_does() -> None:
    encoder, given = model(last_only=1.0), windows(50)
    states, targets = encoder.examples(given)
    lengths = (given >= 0).sum(dim=1)
    assert torch.equal(targets, given[torch.arange(50), lengths - 1])
    before = torch.where(torch.arange(LENGTH) < lengths[:, None] - 1, given, -1)
    np.testing.assert_allclose(states, encoder.last(before, lengths - 1), atol=1e-5)


@torch.no_grad()
def test_states_see_both_sides_but_not_what_is_hidden() -> None:
    encoder = model(masked=0.3)
    given = torch.from_numpy(np.random.default_rng(3).integers(0, ITEMS, (1, 10)))
    torch.manual_seed(5)
    states, targets = encoder.examples(given)
    torch.manual_seed(5)
    _, places = encoder.examples(torch.arange(10)[None])
    assert torch.equal(given[0, places], targets)
    for changed in range(10):
        other = given.clone()
        other[0, changed] = (other[0, changed] + 1) % ITEMS
        torch.manual_seed(5)
        moved, _ = encoder.examples(other)
        hidden = bool((places == changed).any())
        assert torch.allclose(moved, states, atol=1e-6) == hidden
