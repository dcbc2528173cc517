"""Train every neural policy by one loop: AdamW, early stopping, best weights kept.

Deterministic given the batches: the stopping rule counts epochs, never seconds. Within
`policies.sequence.resume.kept_in` a run goes on from its last whole epoch, to the same weights.

Models start on a plateau that takes some hundred steps to leave, however few of them a short log
has. An epoch therefore has a least number of steps and makes as many passes as that takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from policies.base import Progress
from policies.devices import set_random_states
from policies.distributed import (
    mean_gradients,
    of_the_first,
    rank,
    start_alike,
    summed,
    world_size,
)
from policies.errors import UnknownPolicy
from policies.sequence.resume import RunState, StateFile


@dataclass(frozen=True)
class TrainerSettings:
    """How long and how fast to learn.

    Attributes:
        epochs: At most.
        epoch_steps: Least steps in an epoch; 1 makes each of them one pass through the log.
        patience: Epochs without a better validation metric before stopping.
        learning_rate, weight_decay: AdamW's.
        warmup_steps: Linear warm-up.
        decay: Whether the learning rate falls, epoch by epoch and linearly, towards zero.
        clip: Largest gradient norm.
        from_start: Whether the weights before the first step compete as epoch 0, because they are
            more than random. Patience counts from epoch 1 all the same.
        faster: Parameters by name that learn at a multiple of the learning rate.
        accumulation: Batches per step. Processes that train together (`policies.distributed`)
            share them: any number of processes gives the same weights, to rounding.
        average: Decay per step of a moving average of the weights, which is then what is validated
            and kept (Polyak & Juditsky, SIAM J. Control Optim. 1992); 0 for the weights themselves.
            It is shorter at first: step t weighs at least 9 / (10 + t).
    """

    epochs: int = 40
    epoch_steps: int = 1
    patience: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    warmup_steps: int = 50
    clip: float = 1.0
    decay: bool = False
    from_start: bool = False
    average: float = 0.0
    accumulation: int = 1
    faster: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingSummary:
    """What happened.

    Attributes:
        epochs, passes: Run, and the passes through the log in them.
        best_epoch, best_metric: The best one and its validation metric.
        final_loss: Of the last epoch.
    """

    epochs: int
    passes: int
    best_epoch: int
    best_metric: float
    final_loss: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "epochs": self.epochs,
            "passes": self.passes,
            "best_epoch": self.best_epoch,
            "validation": round(self.best_metric, 6),
            "loss": round(self.final_loss, 6),
        }


def train(
    module: nn.Module,
    batches: Callable[[int], Iterable[Any]],
    loss: Callable[[Any], Tensor],
    validate: Callable[[], float],
    settings: TrainerSettings,
    *,
    progress: Progress,
    stage: str,
    metric_name: str = "NDCG@10",
    seek: Callable[[int, int], None] | None = None,
) -> TrainingSummary:
    """Train until the validation metric stops rising; leave the best weights in the module.

    Args:
        module: What is trained, in place.
        batches: Batches of one pass through the log, given its number, from 1; must be a pure
            function of it.
        loss: Mean loss of a batch.
        validate: Validation metric, higher is better; the module is in eval mode.
        settings: How long and how fast.
        progress: Called after every batch and epoch.
        stage: Name for progress.
        metric_name: Name for progress.
        seek: ``seek(pass, number)``: what the loss draws from here on depends on the pass and the
            batch's number alone. Called before each batch where a step has several.
    """
    run = _Run(module, loss, settings, seek)
    file = StateFile(stage)
    shown = _Shown(progress, stage, settings)
    state = file.read()
    if state is not None:
        run.go_on_from(state)
    elif settings.from_start:
        run.judge(validate)
    while run.goes_on():
        for count, mean_loss in run.epoch_of(batches):
            shown.step(run.epoch, run.best_epoch, count, mean_loss)
        metric = run.judge(validate)
        shown.epoch(run.epoch, run.best_epoch, run.loss, f"{metric_name} {metric:.4f}")
        file.write(run.state())
    module.load_state_dict(run.best)
    module.eval()
    progress(stage, 1.0, f"best epoch {run.best_epoch}, {metric_name} {run.best_metric:.4f}")
    return TrainingSummary(run.epoch, run.passes, run.best_epoch, run.best_metric, run.loss)


class _Run:
    """One training: the weights, what moves them, and the best ones so far.

    Attributes:
        epoch, passes: Done so far, the present ones included.
        best_epoch, best_metric, best: The best epoch, its validation metric and its weights.
        loss: Mean of the last epoch.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Any], Tensor],
        settings: TrainerSettings,
        seek: Callable[[int, int], None] | None,
    ) -> None:
        self._module, self._loss_of, self._settings, self._seek = module, loss, settings, seek
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(
            _groups(module, settings),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        start_alike(self._parameters)
        if settings.accumulation % world_size():
            raise UnknownPolicy(
                f"{world_size()} processes share the batches of a step, and accumulation is "
                f"{settings.accumulation}.",
                f"Take a multiple: accumulation = {world_size()}",
            )
        self._first_seed = torch.initial_seed()
        self._average = _Average(module, settings.average)
        self.epoch, self.passes, self.loss = 0, 0, 0.0
        self.best_epoch, self.best_metric = 0, float("-inf")
        self.best = {name: value.clone() for name, value in module.state_dict().items()}
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, self._share)

    def goes_on(self) -> bool:
        """Whether there are epochs left, and patience."""
        without = self.epoch - max(self.best_epoch, 1)
        return self.epoch < self._settings.epochs and without < max(1, self._settings.patience)

    def epoch_of(self, batches: Callable[[int], Iterable[Any]]) -> Iterator[tuple[int, float]]:
        """Learn for an epoch; after every step, the number of steps in it and their mean loss."""
        self.epoch += 1
        self._module.train()
        joint = self._settings.accumulation
        total, count, before = 0.0, 0, -1
        while before < count < self._settings.epoch_steps:
            before, self.passes = count, self.passes + 1
            for number, group in enumerate(_grouped(batches(self.passes), joint)):
                total += self._step(group, number * joint)
                count += 1
                yield count, total / count
        self.loss = total / max(count, 1)

    def judge(self, validate: Callable[[], float]) -> float:
        """The validation metric of the present weights, which are kept if they are the best."""
        self._module.eval()
        with torch.no_grad(), self._average.in_place() as kept:
            metric = of_the_first(validate())
            if metric > self.best_metric:
                self.best_metric, self.best_epoch = metric, self.epoch
                self.best = {name: tensor.clone() for name, tensor in kept.items()}
        return metric

    def state(self) -> RunState:
        """What to go on from."""
        return RunState(
            self.epoch,
            self.passes,
            self.best_epoch,
            self.best_metric,
            self.loss,
            self._module.state_dict(),
            self.best,
            self._average.values,
            self._optimiser.state_dict(),
            self._schedule.state_dict(),
        )

    def go_on_from(self, state: RunState) -> None:
        """Take over what an earlier process left."""
        self.epoch, self.passes, self.loss = state.epoch, state.passes, state.loss
        self.best_epoch, self.best_metric = state.best_epoch, state.best_metric
        self.best = state.best
        self._module.load_state_dict(state.model)
        device = self._parameters[0].device
        self._average.values = {name: value.to(device) for name, value in state.average.items()}
        self._optimiser.load_state_dict(state.optimiser)
        self._schedule.load_state_dict(state.schedule)
        set_random_states(state.random)

    def _share(self, step: int) -> float:
        """Of the learning rate: it warms up, and may fall from epoch to epoch."""
        warm = min(1.0, (step + 1) / max(1, self._settings.warmup_steps))
        if not self._settings.decay:
            return warm
        return warm * (1 - max(self.epoch - 1, 0) / self._settings.epochs)

    def _step(self, group: Sequence[Any], at: int) -> float:
        """One step on the batches ``at`` and after of this pass; their mean loss."""
        self._optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for number, batch in enumerate(group):
            if number % world_size() != rank():
                continue
            if self._settings.accumulation > 1:
                seed = (self._first_seed + self.passes) * 1_000_003 + at + number
                torch.manual_seed(seed % 2**63)
                if self._seek is not None:
                    self._seek(self.passes, at + number)
            step_loss = self._loss_of(batch) * (world_size() / len(group))
            step_loss.backward()  # type: ignore[no-untyped-call]
            total += float(step_loss.detach()) / world_size()
        mean_gradients(self._parameters)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.clip)
        self._optimiser.step()
        self._schedule.step()
        self._average.update(self._schedule.last_epoch)
        return float(summed(torch.tensor(total, dtype=torch.float64)))


def _groups(module: nn.Module, settings: TrainerSettings) -> list[dict[str, Any]]:
    """The trained parameters, and those of them that learn faster."""
    groups: dict[float, list[Tensor]] = {1.0: []}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(settings.faster.get(name, 1.0), []).append(parameter)
    return [
        {"params": some, "lr": settings.learning_rate * multiple}
        for multiple, some in groups.items()
        if some
    ]


def _grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Batches in groups of one step each; the last group of a pass may be smaller."""
    left = iter(batches)
    while group := list(islice(left, size)):
        yield group


class _Shown:
    """What people see of a training: loss, the latest metric, and how far away the end can be.

    The end is where patience runs out if nothing improves any more; it moves on with every
    improvement, but the bar never goes back.
    """

    def __init__(self, progress: Progress, stage: str, settings: TrainerSettings) -> None:
        self._progress, self._stage, self._settings = progress, stage, settings
        self._metric, self._share = "", 0.0

    def step(self, epoch: int, best_epoch: int, count: int, loss: float) -> None:
        """After a step: the epoch's number ``count``, mean loss so far."""
        within = count / max(self._settings.epoch_steps, count + 1)
        self._tell(epoch, epoch - 1 + within, best_epoch, loss)

    def epoch(self, epoch: int, best_epoch: int, loss: float, metric: str) -> None:
        """After an epoch."""
        self._metric = f", {metric}"
        self._tell(epoch, epoch, best_epoch, loss)

    def _tell(self, epoch: int, done: float, best_epoch: int, loss: float) -> None:
        end = min(max(best_epoch, 1) + max(1, self._settings.patience), self._settings.epochs)
        self._share = max(self._share, min(done / end, 1.0))
        self._progress(self._stage, self._share, f"epoch {epoch}, loss {loss:.3f}{self._metric}")


class _Average:
    """Moving average of a module's weights; nothing with a decay of 0."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        self.values: dict[str, Tensor] = {}
        if decay:
            self.values = {name: value.clone() for name, value in module.state_dict().items()}

    def update(self, step: int) -> None:
        """Take in the weights after some steps."""
        if not self.values:
            return
        decay = min(self._decay, (1 + step) / (10 + step))
        weights = self._module.state_dict()
        for name, value in self.values.items():
            value.lerp_(weights[name], 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[dict[str, Tensor]]:
        """The module has the average, which is yielded, as its weights meanwhile."""
        if not self.values:
            yield self._module.state_dict()
            return
        weights = {name: value.clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self.values)
        yield self.values
        self._module.load_state_dict(weights)
