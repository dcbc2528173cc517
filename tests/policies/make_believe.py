"""Stand in for a GPU on a machine without one: tensors of two devices may not meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from policies.devices import DeviceSettings

GPU = torch.device("cpu", 0)
"""To torch it is the CPU; to `MakeBelieveGPU` another device than `torch.device("cpu")`."""

_ACROSS = {"copy_", "__setitem__", "__set__", "_has_compatible_shallow_copy_type"}
"""What two devices may do with each other: copying, and replacing the data of a tensor."""


class MixedDevices(AssertionError):
    """A real GPU would have raised here."""


class MakeBelieveGPU(TorchFunctionMode):
    """Remember which tensors are on `GPU`: those moved there, made there, or computed from such.

    An operation on tensors of both devices raises `MixedDevices`, as with a real GPU; scalars may
    be on either. So does reading a tensor of the GPU as an array.
    """

    def __init__(self) -> None:
        super().__init__()
        # Strong references: an address is not used twice.
        self._storages: dict[int, Any] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func == Tensor.device.__get__:
            return GPU if self.has(args[0]) else func(*args, **kwargs)
        tensors = [t for t in _tensors((args, kwargs)) if t.dim() > 0]
        on_gpu = [self.has(t) for t in tensors]
        if name == "numpy" and any(on_gpu):
            raise MixedDevices("numpy of a tensor on the GPU")
        if any(on_gpu) and not all(on_gpu) and name not in _ACROSS:
            raise MixedDevices(f"{name} of tensors on both devices")
        target = _target(name, args, kwargs)
        found = func(*args, **kwargs)
        if name == "cpu" or (target is not None and target != GPU):
            return found.clone() if any(on_gpu) else found
        if target == GPU and name == "to":
            found = found.clone()
        of_gpu_weight = name == "__get__" and self.has(args[0])
        if target == GPU or any(on_gpu) or of_gpu_weight:
            for tensor in _tensors(found):
                self._keep(tensor)
        return found

    def has(self, tensor: Tensor) -> bool:
        """Whether a tensor is on the GPU."""
        with torch._C.DisableTorchFunction():
            return tensor.untyped_storage()._cdata in self._storages

    def _keep(self, tensor: Tensor) -> None:
        with torch._C.DisableTorchFunction():
            storage = tensor.untyped_storage()
        self._storages[storage._cdata] = storage


def _target(name: str, args: Any, kwargs: Any) -> torch.device | None:
    """The device that a call names; None if it names none."""
    device = kwargs.get("device")
    if device is None and name == "to":
        device = next((a for a in args[1:] if isinstance(a, (torch.device, str))), None)
    return None if device is None else torch.device(device)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


@contextmanager
def make_believe_gpu() -> Iterator[MakeBelieveGPU]:
    """Policies made within train and rank on the make-believe GPU."""
    with pytest.MonkeyPatch.context() as patch, MakeBelieveGPU() as mode:
        patch.setattr(DeviceSettings, "on", GPU)
        yield mode
