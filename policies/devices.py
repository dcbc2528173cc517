"""Choose the device that a policy's network trains and ranks on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from policies.settings import Settings, setting
from simulator.devices import devices

DeviceName = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class DeviceSettings(Settings):
    """Where a network trains and ranks.

    The same seed gives the same weights on the same kind of device. Weights start from the same
    draws on all of them, and then differ in their last digits.

    Attributes:
        device: "cpu", "cuda" or "mps"; "auto" becomes the fastest one of this machine.
    """

    device: DeviceName = setting("auto", one_of=get_args(DeviceName))  # noqa: RUF009

    def __post_init__(self) -> None:
        if self.device == "auto":
            object.__setattr__(self, "device", devices()[0])

    def disagreement(self) -> tuple[str, str] | None:
        """The device is one of this machine."""
        here = devices()
        if self.device not in here:
            return "device", f"a device of this machine, {', '.join(here)}, or auto"
        return super().disagreement()

    @property
    def on(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.device)


def random_states() -> dict[str, Tensor]:
    """States of torch's generators by device: those that dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: dict[str, Tensor]) -> None:
    """Go on where `random_states` was called, on the devices that are here."""
    setters = {
        "cpu": torch.set_rng_state,
        "cuda": torch.cuda.set_rng_state,
        "mps": torch.mps.set_rng_state,
    }
    for name in devices():
        if name in states:
            setters[name](states[name])
