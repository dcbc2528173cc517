"""Build catalogues, inventories and models small enough to compute by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lsvcr.data.examples import Histories, histories
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.model.text_vectors import TextVectors
from lsvcr.stage2.tasks import FinetuneTask
from lsvcr.task import Task
from lsvcr.text.tables import Texts, TextTables
from simulator.logs.catalogue import Catalogue

TEXT, DIM = 12, 16


def catalogue_of(counts: list[int], **arrays: Any) -> Catalogue:
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Catalogue.build(np.arange(len(counts)), comment_offsets=offsets, **arrays)


def inventory_of(catalogue: Catalogue, *, textless: tuple[int, ...] = ()) -> Inventory:
    """Every title and comment its own random embedding; some comments without text."""
    random = np.random.default_rng(3)
    v, m = catalogue.n_videos, catalogue.n_comments
    comment = np.arange(v, v + m)
    comment[list(textless)] = -1
    table = random.normal(size=(v + m, TEXT)).astype(np.float16)
    return Inventory(catalogue, TextTables(table, np.arange(v), comment), 1_000)


def model_of(task: Task, n_videos: int) -> SRModel:
    torch.manual_seed(0)
    model = SRModel(task, n_videos, TEXT, dim=DIM, feed_forward=32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def task_loss(task: FinetuneTask, batch: Any, persons: Tensor) -> Tensor:
    """The loss of given people, with the texts that a step would read."""
    choices = task.choices(batch)
    texts = TextVectors(task.model, task.inventory, choices.texts)
    return task.task_loss(choices, persons, texts)


def _set_up(planted: Any, task: Task) -> tuple[Histories, Inventory, SRModel]:
    dataset = planted.dataset
    texts = Texts.of(dataset)
    table = np.random.default_rng(0).normal(size=(len(texts.distinct), TEXT)).astype(np.float16)
    both = histories(dataset, "liked")
    catalogue = dataset.catalogue()
    # Half of what somebody could compare at an average moment is still to be written.
    written = np.random.default_rng(1).choice(both.discussed.time_ms, catalogue.n_comments)
    catalogue = dataclasses.replace(catalogue, comment_time_ms=written)
    inventory = Inventory(catalogue, TextTables(table, texts.title, texts.comment), 2**62)
    return both, inventory, model_of(task, catalogue.n_videos)
