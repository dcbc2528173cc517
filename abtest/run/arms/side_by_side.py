"""Train the slow policies of an experiment at the same time, a process each.

Every policy trains on one thread (`abtest.run.arms.training.TRAINING_THREADS`), so that the weights
are the same bytes as one after another. The processes fill the cache of weights; whoever needs a
policy then asks for it as always. The one that takes longest has priority, so that it is not alone
at the end with the other cores idle.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from abtest.console import TRAINING, Console, Stage
from abtest.run.arms.foreign import make
from abtest.run.arms.training import train, weights_directory
from abtest.run.engines import Job, LocalEngine, Told, WorkerDied
from policies.mixed import Mixed
from simulator.logs.dataset import Dataset

_EVERY_SECONDS = 0.5
_NICE = 10
_WARNING = "warning: "


@dataclass(frozen=True)
class _Asked:
    """One policy to train; picklable.

    Attributes:
        spec, settings, seed: See `train`.
        files: Where its process tells what it does: ``NAME.progress``, ``NAME.messages``.
        yields: Whether its process leaves the processor to others that want it.
    """

    spec: str
    settings: dict[str, Any]
    seed: int
    files: Path
    yields: bool = False

    @property
    def progress(self) -> Path:
        """File of the latest progress: fraction, stage and detail, a line each."""
        return self.files.with_suffix(".progress")

    @property
    def messages(self) -> Path:
        """File of all messages, a line each."""
        return self.files.with_suffix(".messages")


def train_side_by_side(
    policies: Mapping[str, Mapping[str, Any]],
    dataset: Dataset,
    *,
    seed: int,
    processes: int,
    console: Console,
) -> None:
    """Train what takes long and is not trained yet, if there are two or more; else do nothing.

    Args:
        policies: Settings by name, as for `train`.
        dataset: The log.
        seed: Of the training.
        processes: At most so many at once; 1 leaves everything to `train`.
        console: Shows a bar for each.

    Raises:
        WorkerDied: a process was killed, for want of memory for example.
        BaseException: whatever `train` raises.
    """
    slow = _untrained(policies, dataset, seed) if processes > 1 else []
    if len(slow) < 2:
        return
    with tempfile.TemporaryDirectory(prefix="abtest-training-") as folder:
        longest = max(effort for _, _, effort in slow)
        asked = [
            _Asked(spec, settings, seed, Path(folder) / str(number), yields=effort < longest)
            for number, (spec, settings, effort) in enumerate(slow)
        ]
        names = " and ".join(one.spec for one in asked)
        job = Job(prepare=partial(Dataset.open, dataset.path), work=_train_one)
        with (
            console.stage(TRAINING, f"training {names} side by side") as stage,
            LocalEngine(job, min(processes, len(asked))) as engine,
        ):
            shown = _Shown(asked, stage, console)
            try:
                for _ in engine.run(asked, shown.update):
                    pass
            except WorkerDied as error:
                fewer = "Train one after the other: --workers 1" if error.out_of_memory else ""
                raise WorkerDied(
                    error.problem, fewer or error.hint, out_of_memory=error.out_of_memory
                ) from error
            finally:
                shown.update(0.0, 0)


def _untrained(
    policies: Mapping[str, Mapping[str, Any]], dataset: Dataset, seed: int
) -> list[tuple[str, dict[str, Any], float]]:
    """Slow ones without weights, each once, joined names in parts: name, settings, effort."""
    found: dict[Path, tuple[str, dict[str, Any], float]] = {}
    for spec, settings in policies.items():
        policy = make(spec, settings)
        parts = {"": (spec, dict(settings))}
        if isinstance(policy, Mixed):
            parts = policy.parts()
        for part, own in parts.values():
            single = make(part, own)
            if single.slow_to_train:
                directory = weights_directory(single, part, dataset, seed)
                if not directory.is_dir():
                    found[directory] = (part, own, single.training_effort)
    return list(found.values())


def _train_one(dataset: Dataset, asked: _Asked, told: Told) -> None:
    """In a process of its own: train into the cache, and write down how far it has come."""
    if asked.yields:
        # Not on every system; and a process may have been made the nicest already.
        with contextlib.suppress(AttributeError, OSError):
            os.nice(_NICE)
    console = Console(io.StringIO(), quiet=True)
    last = 0.0

    def follow(stage: str, fraction: float, detail: str) -> None:
        nonlocal last
        if time.monotonic() - last > _EVERY_SECONDS:
            last = time.monotonic()
            fresh = asked.files.with_suffix(".new")
            fresh.write_text(f"{fraction}\n{stage}\n{detail}", encoding="utf-8")
            fresh.replace(asked.progress)

    with asked.messages.open("a", encoding="utf-8") as file:

        def tell(text: str) -> None:
            file.write(" ".join(text.split()) + "\n")
            file.flush()

        console.listener = tell
        console.follower = follow
        train(asked.spec, asked.settings, dataset, seed=asked.seed, console=console)


class _Shown:
    """What people see of the processes: a bar each, and their messages."""

    def __init__(self, asked: Sequence[_Asked], stage: Stage, console: Console) -> None:
        self._asked, self._console = asked, console
        self._bars = [stage.part(f"training {one.spec}") for one in asked]
        self._read = [0] * len(asked)

    def update(self, fractions: float, finished: int) -> None:
        """Show what is new."""
        for number, one in enumerate(self._asked):
            if one.progress.is_file():
                fraction, stage, detail = one.progress.read_text(encoding="utf-8").split("\n", 2)
                self._bars[number].update(stage, float(fraction), detail)
            if one.messages.is_file():
                *lines, _ = one.messages.read_text(encoding="utf-8").split("\n")
                for line in lines[self._read[number] :]:
                    self._pass_on(line)
                self._read[number] = len(lines)

    def _pass_on(self, line: str) -> None:
        if line.startswith(_WARNING):
            self._console.warn(line.removeprefix(_WARNING))
        elif line.endswith(" ..."):
            # That it began is shown by its bar, and said when it ends.
            self._console.log(line)
        else:
            self._console.say(line)
