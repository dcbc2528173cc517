"""Compute cross-entropy over a whole catalogue without keeping the logits.

With autograd the logits of a batch live until the backward pass: 54 MB for 2,048 events and 6,665
videos, allocated afresh every step. Here loss and gradients are taken together, a few rows at a
time in one small buffer, as in Hsu et al., "Liger Kernel" (arXiv 2410.10989, section 3.2):
``python -m benchmarks.models.cross_entropy`` prints what that saves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BUFFER = 2**20  # Logits at a time: 4 MB, which stay in the cache.


def catalogue_cross_entropy(states: Tensor, vectors: Tensor, targets: Tensor) -> Tensor:
    """``F.cross_entropy(states @ vectors.T, targets)``, differentiable once.

    Args:
        states: float[n, dim].
        vectors: float[C, dim], of all candidates.
        targets: int64[n], rows of ``vectors``.
    """
    loss: Tensor = _CrossEntropy.apply(states, vectors, targets)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    """Both gradients are known once the softmax is: (p - onehot) / n times the other factor."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, vectors: Tensor, targets: Tensor) -> Tensor:
        n, size = len(states), max(1, _BUFFER // len(vectors))
        buffer = states.new_empty(min(n, size), len(vectors))
        of_states, of_vectors = torch.empty_like(states), torch.zeros_like(vectors)
        total = states.new_zeros(())
        for at in range(0, n, size):
            some, target = states[at : at + size], targets[at : at + size, None]
            logits = torch.mm(some, vectors.T, out=buffer[: len(some)])
            own, largest = logits.gather(1, target), logits.amax(dim=1, keepdim=True)
            sums = logits.sub_(largest).exp_().sum(dim=1, keepdim=True)
            total += (sums.log() + largest - own).sum()
            slope = logits.div_(sums).scatter_add_(1, target, torch.full_like(own, -1.0))
            torch.mm(slope, vectors, out=of_states[at : at + size])
            of_vectors.addmm_(slope.T, some)
        ctx.save_for_backward(of_states.div_(n), of_vectors.div_(n))
        return total / n

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, Tensor, None]:
        of_states, of_vectors = ctx.saved_tensors
        return outer[0] * of_states, outer[0] * of_vectors, None
