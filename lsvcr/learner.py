"""Train the deployed model of one task after the other, from what stage 1 has left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.data.examples import Histories
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.serving.deployed import DeployedTask
from lsvcr.settings import LSVCRSettings
from lsvcr.stage2.training import finetune
from lsvcr.starting_point import log_end_ms
from lsvcr.task import TASKS, Task
from lsvcr.text.tables import TextTables
from policies.base import Progress
from policies.sequence.ids import id_rows
from simulator.devices import as_array, on_device
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.requests import Int32

BRIEF_STEPS = 150
"""Least steps of a brief training: an epoch of whole passes through the log."""


@dataclass(frozen=True)
class Stage2:
    """See the module.

    Attributes:
        dataset: The log.
        both: Its histories.
        tables: Its text embeddings.
        aligned: Weights that stage 1 has left, by task; nothing without it.
        options: The policy's settings.
        seed: Of the training.
    """

    dataset: Dataset
    both: Histories
    tables: TextTables
    aligned: dict[Task, dict[str, Tensor]]
    options: LSVCRSettings
    seed: int

    def fit(
        self,
        task: Task,
        progress: Progress,
        *,
        without: NDArray[np.bool_] | None = None,
        brief: bool = False,
    ) -> tuple[DeployedTask, dict[str, Any]]:
        """A trained model, and what happened in its training; nothing in a log without events.

        Args:
            task: Which; what is drawn depends on the seed and the task alone.
            progress: Told loss and validation metric.
            without: bool[U], people who are left out.
            brief: One epoch of at least `BRIEF_STEPS` steps.
        """
        catalogue = self.dataset.catalogue()
        device = self.options.on
        inventory = Inventory(catalogue, self.tables, log_end_ms(self.dataset), device)
        torch.manual_seed(self.seed * 10 + TASKS.index(task))
        # Made on the CPU, so that every device starts from the same weights.
        rows = shared_rows(self.options, self.both, catalogue)
        model = new_model(self.options, task, id_count(rows, catalogue), self.tables.width)
        model = model.to(device)
        if rows is not None:
            model.share_ids(torch.from_numpy(rows.astype(np.int64)))
        if self.aligned:
            model.take_over(self.aligned[task])
        settings = self.options.stage_2(task)
        if brief:
            settings = replace(settings, epochs=1, epoch_steps=min(BRIEF_STEPS, settings.steps))
        told: dict[str, Any] = {}
        if (self.both.of(task)[0].lengths > 0).any():
            told = finetune(
                model,
                self.both,
                inventory,
                settings,
                seed=self.seed,
                progress=progress,
                stage=f"{task} task",
                aligned=bool(self.aligned),
                without=without,
            ).to_dict()
        _forget_unseen(model, self.both)
        return DeployedTask.of(model, inventory), told


def new_model(options: LSVCRSettings, task: Task, n_videos: int, text_dim: int) -> SRModel:
    """An untrained model of the policy's sizes."""
    return SRModel(task, n_videos, text_dim, **options.sizes(), use_ids=options.ids)


def shared_rows(options: LSVCRSettings, both: Histories, catalogue: Catalogue) -> Int32 | None:
    """int32[V]: the row of each video in the ID table; None where each has its own."""
    if options.own_from == 0:
        return None
    n = catalogue.n_videos
    counts = sum(np.bincount(h.video, minlength=n) for h in (both.liked, both.discussed))
    return id_rows(np.asarray(counts), catalogue.video_ids, options.own_from, options.shared_ids)


def id_count(rows: Int32 | None, catalogue: Catalogue) -> int:
    """Rows of the ID table."""
    return catalogue.n_videos if rows is None else int(rows.max(initial=-1)) + 1


def _forget_unseen(model: SRModel, both: Histories) -> None:
    """Videos without an event have learned no ID vector: only their text speaks."""
    seen = np.zeros(model.ids.num_embeddings, dtype=np.bool_)
    for history in (both.liked, both.discussed):
        video = on_device(history.video, model.device)
        rows = video if model.row_of_video is None else model.row_of_video[video]
        seen[as_array(rows)] = True
    with torch.no_grad():
        model.ids.weight[on_device(~seen, model.device)] = 0.0
