"""Hold what stage 2 starts from: embeddings of the log's texts, and what stage 1 has learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from lsvcr.task import Task
from lsvcr.text.tables import Texts, TextTables
from simulator.logs.dataset import Dataset


@dataclass(frozen=True)
class StartingPoint:
    """See the module.

    Attributes:
        tables: Text embeddings; without width in a log without texts.
        weights: Of the sequential model by task; nothing without stage 1.
        summary: What happened, for people.
    """

    tables: TextTables
    weights: dict[Task, dict[str, Tensor]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def log_end_ms(dataset: Dataset) -> int:
    """The log's last moment: what was published later is unknown in training."""
    span = dataset.info.time_span_ms
    return span[1] if span else int(np.iinfo(np.int64).max)


def without_texts(texts: Texts) -> StartingPoint:
    """The starting point of a log without texts, or of a model that reads none."""
    nothing = np.zeros((0, 0), np.float16)
    return StartingPoint(TextTables(nothing, texts.title * 0 - 1, texts.comment * 0 - 1))
