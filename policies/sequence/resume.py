"""Resume training where it was cut off, to the same bytes.

    with kept_in(folder):
        policy.fit(dataset, seed=1)

Every call of `policies.sequence.trainer.train` in there writes its state after each epoch, and
starts from the state that an earlier process left. What decides the weights (data, settings, code,
seed) has to be part of the folder's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from policies.devices import random_states
from policies.distributed import rank


@dataclass
class _Kept:
    """Where the runs of one fit are kept, and how many there have been."""

    folder: Path
    runs: int = 0


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Keep the state of training runs in a folder; deleting it afterwards is the caller's job."""
    token = _kept.set(_Kept(folder))
    try:
        yield
    finally:
        _kept.reset(token)


@dataclass
class RunState:
    """One training run between two epochs.

    Attributes:
        epoch, passes: Done so far.
        best_epoch: Of those.
        best_metric: Of the best epoch.
        loss: Of the last one.
        model, best: Weights now and those to keep, of the best epoch.
        average: Moving average of the weights; empty without one.
        optimiser, schedule: Their `state_dict`.
        random: States of torch's generators, by device.
    """

    epoch: int
    passes: int
    best_epoch: int
    best_metric: float
    loss: float
    model: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Tensor] = field(default_factory=random_states)


class StateFile:
    """The state of one training run on disk; does nothing outside `kept_in`.

    Args:
        stage: Name of the run.
    """

    def __init__(self, stage: str) -> None:
        kept = _kept.get()
        self._path: Path | None = None
        if kept is not None:
            # A fit may train several models, under one name or several.
            kept.runs += 1
            self._path = kept.folder / f"{kept.runs}-{stage}.safetensors"

    def read(self) -> RunState | None:
        """What an earlier process left; None if there is nothing, or nothing readable."""
        if self._path is None or not self._path.is_file():
            return None
        try:
            with safe_open(self._path, framework="pt") as file:
                written = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return None
        text = (written or {}).get("run", "")
        if (written or {}).get("hash") != _digest(text, tensors):
            return None
        header = json.loads(text)
        state = RunState(**header["numbers"], random={})
        state.optimiser, state.schedule = header["optimiser"], header["schedule"]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            group, _, key = name.partition("/")
            if group == "optimiser":
                parameter, _, moment = key.partition("/")
                moments.setdefault(int(parameter), {})[moment] = tensor
            else:
                getattr(state, group)[key] = tensor
        state.optimiser["state"] = moments
        return state

    def write(self, state: RunState) -> None:
        """Replace what is there, in one step: weights and numbers are one file."""
        if self._path is None or rank() > 0:
            return
        tensors: dict[str, Tensor] = {}
        for group in ("model", "best", "average", "random"):
            for name, tensor in getattr(state, group).items():
                tensors[f"{group}/{name}"] = tensor
        for parameter, moments in state.optimiser["state"].items():
            for moment, tensor in moments.items():
                tensors[f"optimiser/{parameter}/{moment}"] = torch.as_tensor(tensor)
        header = {
            "numbers": {
                "epoch": state.epoch,
                "passes": state.passes,
                "best_epoch": state.best_epoch,
                "best_metric": float(state.best_metric),
                "loss": float(state.loss),
            },
            "optimiser": {"param_groups": state.optimiser["param_groups"]},
            "schedule": state.schedule,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        # Copies: a file may not hold two tensors that share memory.
        copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        text = json.dumps(header)
        save_file(copies, temporary, metadata={"run": text, "hash": _digest(text, copies)})
        temporary.replace(self._path)


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """Of the header, names, types, shapes and bytes: one flipped bit makes another one."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
