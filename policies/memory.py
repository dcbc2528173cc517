"""Refuse a network that cannot be trained in this machine's memory, before it is made."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from policies.errors import UnknownPolicy

_BYTES_PER_WEIGHT = 16
"""In training: a 32-bit weight, its gradient and the two moments of Adam."""
_GROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


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


def memory_limit() -> int:
    """Bytes that this process may use: the machine's memory, its control group's, its own limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    for file in _GROUP_LIMITS:
        try:
            limits.append(int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            # No such group, or "max".
            continue
    return min(limits)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
