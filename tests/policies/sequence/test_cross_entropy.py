"""The catalogue's cross-entropy and its gradients are those of torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st

from policies.sequence import cross_entropy
from policies.sequence.cross_entropy import catalogue_cross_entropy


@given(
    n=st.integers(1, 40),
    candidates=st.integers(1, 30),
    buffer=st.integers(1, 200),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 1_000),
)
def test_equals_torch_whatever_the_buffer(
    n: int, candidates: int, buffer: int, scale: float, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    states = torch.randn(n, 7, generator=random, dtype=torch.float64) * scale
    vectors = torch.randn(candidates, 7, generator=random, dtype=torch.float64)
    targets = torch.randint(0, candidates, (n,), generator=random)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_entropy, "_BUFFER", buffer)
        for loss in (catalogue_cross_entropy, lambda s, v, t: F.cross_entropy(s @ v.T, t)):
            given_states = states.clone().requires_grad_()
            given_vectors = vectors.clone().requires_grad_()
            value = loss(given_states, given_vectors, targets)
            (3.0 * value).backward()
            found.append((value.detach(), given_states.grad, given_vectors.grad))
    torch.testing.assert_close(found[0], found[1])


def test_logits_too_large_for_an_exponential_are_no_infinity() -> None:
    states = torch.tensor([[1_000.0]], requires_grad=True)
    loss = catalogue_cross_entropy(states, torch.tensor([[1.0], [-1.0]]), torch.tensor([1]))
    loss.backward()
    assert loss.item() == 2_000.0
    assert states.grad is not None and states.grad.item() == 2.0
