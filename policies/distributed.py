"""Exchange numbers between processes that train together; alone, every function does nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@contextmanager
def together() -> Iterator[None]:
    """Join the other processes of ``torchrun``, each on a GPU of its own where there are any.

    A process that was started alone stays alone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # Gradients travel between GPUs, some counts between CPUs.
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number; 0 without a process group."""
    return dist.get_rank() if _grouped() else 0


def world_size() -> int:
    """How many processes train together; 1 without a process group."""
    return dist.get_world_size() if _grouped() else 1


def gather(values: Tensor) -> Tensor:
    """Rows of all processes in the order of their ranks, differentiable; alone: the rows.

    Every process must hold equally many rows.
    """
    if world_size() == 1:
        return values
    if not values.requires_grad:
        return _gathered(values)
    rows: Tensor = _Gather.apply(values)  # type: ignore[no-untyped-call]
    return rows


def summed(values: Tensor) -> Tensor:
    """Sum over all processes, without gradients; alone: the values."""
    if world_size() == 1:
        return values
    everywhere = values.clone()
    dist.all_reduce(everywhere)
    return everywhere


def start_alike(parameters: list[torch.nn.Parameter]) -> None:
    """Give all processes the first one's values; alone: nothing to do."""
    if world_size() > 1:
        for parameter in parameters:
            dist.broadcast(parameter.data, src=0)


def mean_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace gradients by their mean over all processes; alone: nothing to do.

    A parameter without a gradient counts as 0 where another process has one.
    """
    if world_size() == 1:
        return
    there = torch.tensor([float(parameter.grad is not None) for parameter in parameters])
    for parameter, some in zip(parameters, summed(there).tolist(), strict=True):
        if not some:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= world_size()


def of_the_first(value: float) -> float:
    """The first process's number for all of them; alone: the number.

    What decides how training goes on: GPUs may differ in the last digit.
    """
    if world_size() == 1:
        return value
    told = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(told, src=0)
    return float(told)


def part_of_mean(count: Tensor) -> Tensor:
    """What makes of a process's sum its part of a mean over all of them; 0 for no members.

    Gradients are averaged over processes, so each part counts ``world_size`` times.
    """
    everywhere = summed(count)
    return torch.where(everywhere > 0, world_size() / everywhere.clamp(min=1), 0.0)


class _Gather(torch.autograd.Function):
    """What one process does with another's rows counts for that other process."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.rows = len(values)
        return _gathered(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[rank() * ctx.rows : (rank() + 1) * ctx.rows]


def _gathered(values: Tensor) -> Tensor:
    parts = [torch.empty_like(values) for _ in range(world_size())]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
