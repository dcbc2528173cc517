"""The inventory as fine-tuning sees it: text embeddings by video and comment, as tensors."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.sr_model import SRModel
from lsvcr.text_tables import POPULAR_COMMENTS, TextTables
from simulator.logs.catalogue import UNKNOWN_TIME, Catalogue

Int64 = NDArray[np.int64]


class Inventory:
    """The catalogue and its text embeddings as tensors.

    Args:
        catalogue: Videos and comments.
        tables: Text embeddings.
        until_ms: Videos uploaded later did not exist during training and are no candidates.
    """

    def __init__(self, catalogue: Catalogue, tables: TextTables, until_ms: int) -> None:
        self.catalogue = catalogue
        self.has_text = tables.width > 0
        self.embeddings = torch.from_numpy(tables.embeddings.astype(np.float32))
        self.title = torch.from_numpy(tables.title)
        self.comment = tables.comment
        self.popular = catalogue.comments_of(
            np.arange(catalogue.n_videos, dtype=np.int32), POPULAR_COMMENTS
        ).astype(np.int64)
        known = (catalogue.upload_ms == UNKNOWN_TIME) | (catalogue.upload_ms <= until_ms)
        self.available = torch.from_numpy(np.flatnonzero(known))

    def rows_of_comments(self, comments: Int64) -> Tensor:
        """int64[...]: embedding rows of comments; -1 for padding and for comments without text."""
        if len(self.comment) == 0:
            return torch.full(comments.shape, -1)
        rows = np.where(comments >= 0, self.comment[np.maximum(comments, 0)], -1)
        return torch.from_numpy(rows)

    def popular_comments(self, videos: Int64, random: np.random.Generator | None) -> Int64:
        """One popular comment per video: the most liked, or a random one of its three."""
        known = self.popular[np.maximum(videos, 0)]
        if random is None:
            return np.where(videos >= 0, known[..., 0], -1)
        count = (known >= 0).sum(axis=-1)
        pick = (random.random(videos.shape) * count).astype(np.int64)
        chosen = np.take_along_axis(known, np.maximum(pick, 0)[..., None], axis=-1)[..., 0]
        return np.where((videos >= 0) & (count > 0), chosen, -1)


def text_vectors(model: SRModel, inventory: Inventory, rows: Tensor) -> Tensor:
    """float[..., dim]: adapted texts of embedding rows; 0 for -1. Each row is computed once."""
    unique, back = torch.unique(rows, return_inverse=True)
    vectors = model.text(inventory.embeddings[unique.clamp(min=0)])
    vectors = vectors * (unique >= 0)[:, None]
    # A scatter-free gather keeps the backward pass deterministic.
    gathered: Tensor = F.embedding(back, vectors)
    return gathered


def title_vectors(model: SRModel, inventory: Inventory, videos: Tensor) -> Tensor | None:
    """float[..., dim]: adapted titles; None if the log has no text."""
    if not inventory.has_text:
        return None
    return text_vectors(model, inventory, inventory.title[videos])


def mean_of_comments(model: SRModel, inventory: Inventory, comments: Int64) -> Tensor:
    """float[..., dim]: mean vector of up to n comments int64[..., n]; 0 where there are none."""
    rows = inventory.rows_of_comments(comments)
    total = text_vectors(model, inventory, rows).sum(dim=-2)
    return total / (rows >= 0).sum(dim=-1, keepdim=True).clamp(min=1)
