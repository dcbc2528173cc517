"""Refuse a network that cannot be trained in this machine's memory, before it is made."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from policies.errors import UnknownPolicy
from simulator.memory import memory_limit

_BYTES_PER_WEIGHT = 16
"""In training: a 32-bit weight, its gradient and the two moments of Adam."""


def require_memory(
    new_network: Callable[[], nn.Module], owner: str, sizes: str, *, tables: int = 0
) -> None:
    """Compare what training a network takes at least with the memory that there is.

    The network is made on torch's ``meta`` device, where tensors have shapes and no memory.

    Args:
        new_network: Makes it.
        owner: Whose it is, for the message: a policy's name.
        sizes: What makes it large, for the message, as "dim = 64, 9,000 videos".
        tables: Bytes of what it ranks from after training.

    Raises:
        UnknownPolicy: the settings ask for more memory than there is.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        weights = sum(parameter.numel() for parameter in new_network().parameters())
    present = memory_limit()
    training = weights * _BYTES_PER_WEIGHT
    if max(training, tables) > present:
        what = (
            f"{weights:,} weights ({sizes}) take at least {_gigabytes(training)} in training"
            if training > present
            else f"the tables that it ranks from ({sizes}) take at least {_gigabytes(tables)}"
        )
        raise UnknownPolicy(
            f"{owner}: {what}, and this machine has {_gigabytes(present)}.",
            f"Choose smaller sizes: abtest policy show {owner}",
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
