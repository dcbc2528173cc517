"""Compute the vectors of a batch's users from their histories.

Each distinct text that a batch needs is adapted once, whoever needs it
(`lsvcr.data.inventory.TextVectors`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from lsvcr.data.examples import Batch
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.model.text_vectors import TextVectors
from simulator.devices import on_device


class BatchTexts(NamedTuple):
    """Embedding rows of what a batch says; -1 is no text.

    Attributes:
        titles: int64[B, L], of the video history.
        popular: int64[B, L, 1], one popular comment per video.
        section_titles: int64[B, M], of the comment history.
        comments: int64[B, M, 3], engaged.
        watched: int64[B, T], titles of the videos at each moment.
    """

    titles: Tensor
    popular: Tensor
    section_titles: Tensor
    comments: Tensor
    watched: Tensor

    @classmethod
    def of(
        cls, inventory: Inventory, batch: Batch, random: np.random.Generator | None
    ) -> BatchTexts:
        """``random`` draws popular comments; None takes the most liked."""
        shown = inventory.popular_comments(batch.videos, random)
        return cls(
            inventory.rows_of_titles(batch.videos),
            inventory.rows_of_comments(shown[..., None]),
            inventory.rows_of_titles(batch.sections),
            inventory.rows_of_comments(batch.section_comments),
            inventory.rows_of_titles(batch.target),
        )


def user_vectors(
    model: SRModel, inventory: Inventory, batch: Batch, random: np.random.Generator | None
) -> Tensor:
    """User representations at every real moment of a batch: float[n, dim].

    Args:
        model: Represents.
        inventory: Texts.
        batch: Histories and moments.
        random: Draws popular comments; None takes the most liked.
    """
    if not inventory.has_text:
        return users_by_ids(model, batch)
    rows = BatchTexts.of(inventory, batch, random)
    return users_with_texts(model, batch, rows, TextVectors(model, inventory, *rows))


def users_with_texts(model: SRModel, batch: Batch, rows: BatchTexts, texts: TextVectors) -> Tensor:
    """As `user_vectors`, given the batch's texts: which rows, and their vectors."""
    videos, sections = _items(model, batch)
    return _user_vectors(
        model,
        batch,
        model.tokens(videos, texts.of(rows.titles), texts.mean(rows.popular)),
        model.tokens(sections, texts.of(rows.section_titles), texts.mean(rows.comments)),
        texts.of(rows.watched) if model.task == "comment" else None,
    )


def users_by_ids(model: SRModel, batch: Batch) -> Tensor:
    """As `user_vectors`, in a log without texts."""
    videos, sections = _items(model, batch)
    tokens = model.tokens(videos, None, None), model.tokens(sections, None, None)
    return _user_vectors(model, batch, *tokens, None)


def _items(model: SRModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Videos of both histories; padding is some video that nobody looks at."""
    videos, sections = np.maximum(batch.videos, 0), np.maximum(batch.sections, 0)
    return on_device(videos, model.device), on_device(sections, model.device)


def _user_vectors(
    model: SRModel, batch: Batch, videos: Tensor, sections: Tensor, watched: Tensor | None
) -> Tensor:
    """From the tokens of both histories, and the titles of the videos being watched."""
    device = model.device
    states, visible = model.states(
        videos,
        sections,
        on_device(batch.video_count, device),
        on_device(batch.comment_count, device),
        on_device(batch.window, device),
    )
    current = None
    if model.task == "comment":
        current = model.videos(on_device(batch.target, device), watched)
    return model.person(states, visible, current)[on_device(batch.real, device)]
