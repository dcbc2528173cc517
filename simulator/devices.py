"""Name the devices of this machine that torch can use, and move arrays to them and back."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

CPU = torch.device("cpu")


def devices() -> tuple[str, ...]:
    """Devices of this machine that torch can use, the fastest first."""
    found = ("cuda",) if torch.cuda.is_available() else ()
    if torch.backends.mps.is_available():
        found = (*found, "mps")
    return (*found, "cpu")


def on_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """A tensor of an array; on the CPU it shares the array's memory."""
    return torch.from_numpy(values).to(device)


def as_array(tensor: Tensor) -> NDArray[Any]:
    """An array of a tensor of any device; of one on the CPU it shares the memory."""
    found: NDArray[Any] = tensor.detach().cpu().numpy()
    return found
