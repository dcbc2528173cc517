"""Time the catalogue's cross-entropy with gradients beside autograd's, on one thread.

    python -m benchmarks.models.cross_entropy

Both run alternately on the same numbers; times are the least of some repetitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from policies.sequence.cross_entropy import catalogue_cross_entropy

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

EVENTS, DIM = 2_048, 64
CATALOGUES = {"small world": 1_200, "ml-100k": 1_682, "KuaiRand slice": 6_665, "largest": 20_000}


def by_autograd(states: Tensor, vectors: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(states @ vectors.T, targets)


def seconds(loss: Loss, states: Tensor, vectors: Tensor, targets: Tensor) -> float:
    given = states.clone().requires_grad_(), vectors.clone().requires_grad_()
    started = time.perf_counter()
    loss(*given, targets).backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - started


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{EVENTS:,} events, {DIM} dimensions")
    for name, videos in CATALOGUES.items():
        numbers = (
            torch.randn(EVENTS, DIM),
            torch.randn(videos, DIM),
            torch.randint(videos, (EVENTS,)),
        )
        taken: dict[Loss, list[float]] = {catalogue_cross_entropy: [], by_autograd: []}
        for _ in range(8):
            for loss, times in taken.items():
                times.append(seconds(loss, *numbers))
        ours, autograd = map(min, taken.values())
        print(
            f"{name + ', ' + format(videos, ','):<24} autograd {autograd * 1e3:>6.1f} ms, "
            f"ours {ours * 1e3:>6.1f} ms: {autograd / ours:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
