"""Train the network by gradient descent with early stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit as logit_of
from torch import Tensor

from simulator.devices import CPU, on_device
from simulator.response.learned.features import Float64
from simulator.response.learned.heads import N_OUTCOMES, N_OUTPUTS
from simulator.response.learned.network import ResponseNet
from simulator.response.learned.parts.split import CALIBRATE, TRAIN, some_rows
from simulator.response.learned.tensors import TrainingTensors

Progress = Callable[[str, float, str], None]

STAGE = "learning how people respond"
_PRIOR_SD = {
    **dict.fromkeys(("user", "level", "video", "author", "category"), 0.2),
    **dict.fromkeys(("hidden_context", "out_context"), 0.15),
    **dict.fromkeys(("hidden_user", "hidden_video", "hidden_pair", "out_hidden"), 0.5),
    **dict.fromkeys(("user_numbers", "duration", "out_user", "out_video"), 0.5),
    "chain": 4.0,
}
"""Standard deviations of the Gaussian priors of the weights: what little data must argue against.

Embeddings are shrunken hardest, and so is the hour of day, because nothing may be made of hours at
which a small log has few impressions. Biases have no prior."""
_MIN_BATCH, _MAX_BATCH, _BATCHES = 64, 1024, 48
_LEARNING_RATE = 0.01
_CHAIN_RATE = 0.05
_MAX_STEPS = 4_000
_MAX_EPOCHS = 40
_PATIENCE = 4


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums of one thread: the same weights whatever the machine's core count."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Pool:
    """Further people to learn from, who are not kept in memory.

    Attributes:
        rows: Training rows.
        load: Their tensors, and int8[N] which rows are for training.
    """

    rows: int
    load: Callable[[], tuple[TrainingTensors, NDArray[np.int8]]]


def optimise(
    data: TrainingTensors,
    part: NDArray[np.int8],
    base_rate: Float64,
    seed: int,
    progress: Progress,
    device: torch.device = CPU,
    others: Sequence[Pool] = (),
) -> tuple[ResponseNet, int, int]:
    """Train a network by Adam and keep the epoch with the best calibration loss.

    With further pools an epoch goes through all of them, one after the other in random order, and
    through the rows of each in random order.

    Args:
        data: The log as tensors.
        part: int8[N], TRAIN, CALIBRATE or TEST per impression.
        base_rate: float64[N_OUTCOMES], shares that the output biases start from.
        seed: Of initial weights, order of rows and dropped embeddings.
        progress: Told every 50 steps.
        device: Where the tensors are, and the network will be.
        others: Further pools; those who stop training early are the people of ``data``.

    Returns:
        The network, the number of epochs run, the epoch kept.
    """
    generator = torch.Generator().manual_seed(seed & 0x7FFFFFFF)
    base = np.zeros(N_OUTPUTS)
    base[:N_OUTCOMES] = logit_of(np.clip(base_rate, 1e-4, 1.0 - 1e-4))
    net = ResponseNet(data.sizes, torch.from_numpy(base), generator).to(device)
    tables = [net.user, net.level, net.video, net.author, net.category]
    unchained = [w for w in net.parameters() if w is not net.chain]
    # Some outcomes exclude each other: chain weights have a long way to go from 0.
    groups: list[dict[str, Any]] = [
        {"params": unchained},
        {"params": [net.chain], "lr": _CHAIN_RATE},
    ]
    optimiser = torch.optim.Adam(groups, lr=_LEARNING_RATE)
    learn = torch.from_numpy(np.flatnonzero(part == TRAIN))
    held = on_device(some_rows(part == CALIBRATE), device)
    sizes = [len(learn), *(pool.rows for pool in others)]
    total = sum(sizes)
    batch = int(np.clip(total // _BATCHES, _MIN_BATCH, _MAX_BATCH))
    per_epoch = sum(-(-size // batch) for size in sizes)
    # However large the log, everybody is learned from once.
    most_steps = max(_MAX_STEPS, per_epoch) if others else _MAX_STEPS
    epochs = max(1, min(_MAX_EPOCHS, most_steps // per_epoch))
    weights = dict(net.named_parameters())
    best, best_epoch, kept = np.inf, 0, _weights(net)
    epoch = 0
    for epoch in range(1, epochs + 1):
        step = 0
        turns = torch.randperm(len(sizes), generator=generator).tolist() if others else [0]
        for number in turns:
            now, own = data, learn
            if number:
                now, own_part = others[number - 1].load()
                own = torch.from_numpy(np.flatnonzero(own_part == TRAIN))
            order = own[torch.randperm(len(own), generator=generator)].to(device)
            for rows in torch.split(order, batch):
                if (epoch - 1) * per_epoch + step >= most_steps:
                    break
                optimiser.zero_grad()
                prior = sum((weights[name] ** 2).sum() / sd**2 for name, sd in _PRIOR_SD.items())
                loss = now.loss(now.outputs(net, rows, generator), rows)
                loss = loss + 0.5 / total * prior
                loss.backward()  # type: ignore[no-untyped-call]
                for t in tables:
                    assert t.grad is not None
                    t.grad[0] = 0.0
                optimiser.step()
                if step % 50 == 0:
                    progress(STAGE, (epoch - 1 + step / per_epoch) / epochs, f"epoch {epoch}")
                step += 1
        with torch.no_grad():
            score = float(data.loss(data.outputs(net, held, None), held)) if len(held) else -epoch
        if score < best - 1e-4:
            best, best_epoch, kept = score, epoch, _weights(net)
        elif epoch - best_epoch >= _PATIENCE:
            break
    net.load_state_dict(kept)
    progress(STAGE, 1.0, f"kept epoch {best_epoch} of {epoch}")
    return net, epoch, best_epoch


def _weights(net: ResponseNet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}
