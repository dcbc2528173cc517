"""Train stage 2: one copy of the SR model per task (`lsvcr.stage2.tasks`)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.examples import Batch, Histories, History, batches, last_events
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.model.warm_start import start_from_agreement
from lsvcr.stage2.representation import user_vectors
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.stage2.tasks import CommentTask, FinetuneTask, VideoTask
from policies.base import Progress
from policies.sequence.trainer import TrainerSettings, TrainingSummary, train

_VALIDATED = 1_000

Int64 = NDArray[np.int64]


def held_out(
    own: History, seed: int, without: NDArray[np.bool_] | None = None
) -> tuple[Int64, Int64]:
    """Whose last event decides when training stops, and what is left to train on.

    Args:
        own: The task's own history.
        seed: Of the training.
        without: bool[U], people of whom no event is trained on or decides; None for nobody.

    Returns:
        int64[n], people; and int64[U], the event of everybody from which on events are held out.
    """
    random = np.random.default_rng([seed, 11])
    stop = own.lengths.copy()
    if without is not None:
        stop[without] = 0
    eligible = np.flatnonzero(stop >= 2)
    held = np.sort(random.permutation(eligible)[: min(_VALIDATED, len(eligible) // 2)])
    stop[held] -= 1
    return held, stop


def finetune(
    model: SRModel,
    both: Histories,
    inventory: Inventory,
    settings: FinetuneSettings,
    *,
    seed: int,
    progress: Progress,
    stage: str,
    aligned: bool = False,
    without: NDArray[np.bool_] | None = None,
) -> TrainingSummary:
    """Train one copy for its task; the last event of some people decides when to stop.

    Args:
        model: Fresh, or as stage 1 left it (``aligned``); trained in place.
        both: Histories.
        inventory: Texts.
        settings: How.
        seed: Of everything drawn.
        progress: Told loss and validation metric.
        stage: Name for progress.
        aligned: False starts the video task's text path from the closed form.
        without: bool[U], people who are left out; see `held_out`.
    """
    own = both.of(model.task)[0]
    held, stop = held_out(own, seed, without)
    task: FinetuneTask
    if model.task == "video":
        known = own.until(stop)
        if not aligned:
            start_from_agreement(model, known, inventory)
        task = VideoTask(model, inventory, settings, [seed, 12], known)
    else:
        task = CommentTask(model, inventory, settings, [seed, 12])
    validation = task.validation(both, last_events(own, held))

    def one_pass(number: int) -> Iterator[Batch]:
        task.start(number)
        return batches(
            both,
            model.task,
            stop,
            size=settings.batch,
            targets=settings.targets,
            seed=[seed, 13, number],
        )

    return train(
        model,
        one_pass,
        task.loss,
        lambda: validation(model, lambda batch: user_vectors(model, inventory, batch, None)),
        TrainerSettings(
            epochs=settings.epochs,
            epoch_steps=settings.epoch_steps,
            patience=settings.patience,
            learning_rate=settings.learning_rate,
            decay=settings.decay,
            from_start=True,
            average=settings.average,
            accumulation=settings.accumulation,
            faster={"ids.weight": settings.id_rate},
        ),
        progress=progress,
        stage=stage,
        metric_name="NDCG@5",
        seek=task.start,
    )
