"""Look up text embeddings by video and comment, as tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.text.tables import POPULAR_COMMENTS, TextTables
from simulator.devices import CPU, on_device
from simulator.logs.catalogue import Catalogue
from simulator.logs.interactions import rank_in_run

Int64 = NDArray[np.int64]


class Inventory:
    """The catalogue and its text embeddings as tensors.

    Args:
        catalogue: Videos and comments.
        tables: Text embeddings.
        until_ms: What was published later did not exist during training: such videos are no
            candidates, such comments not popular.
        device: Where the tensors are.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        tables: TextTables,
        until_ms: int,
        device: torch.device = CPU,
    ) -> None:
        self.catalogue, self.until_ms = catalogue, until_ms
        self.device = device
        self.has_text = tables.width > 0
        self.embeddings = on_device(tables.embeddings.astype(np.float32), device)
        self.title = on_device(tables.title, device)
        self.comment = tables.comment
        self.popular = _most_liked(catalogue, catalogue.comment_time_ms <= until_ms)
        self.available = on_device(np.flatnonzero(catalogue.upload_ms <= until_ms), device)

    def rows_of_titles(self, videos: Int64) -> Tensor:
        """int64[...]: embedding rows of titles; -1 for padding and for videos without one."""
        if len(self.title) == 0:
            return torch.full(videos.shape, -1, device=self.device)
        known = on_device(videos, self.device)
        return self.title[known.clamp(min=0)].masked_fill(known < 0, -1)

    def rows_of_comments(self, comments: Int64) -> Tensor:
        """int64[...]: embedding rows of comments; -1 for padding and for comments without text."""
        if len(self.comment) == 0:
            return torch.full(comments.shape, -1, device=self.device)
        rows = np.where(comments >= 0, self.comment[np.maximum(comments, 0)], -1)
        return on_device(rows, self.device)

    def section(self, videos: Int64, time_ms: Int64, most: int) -> Int64:
        """int64[n, most]: comments written by some time under videos int64[n], -1 padded.

        Those are among the most liked of all times, in that order.
        """
        comments = self.catalogue.comments_of(videos.astype(np.int32), most).astype(np.int64)
        if self.catalogue.n_comments == 0:
            return comments
        written = self.catalogue.comment_time_ms[comments] <= time_ms[:, None]
        return np.where((comments >= 0) & written, comments, -1)

    def popular_comments(self, videos: Int64, random: np.random.Generator | None) -> Int64:
        """One popular comment per video: the most liked, or a random one of its three."""
        known = self.popular[np.maximum(videos, 0)]
        if random is None:
            return np.where(videos >= 0, known[..., 0], -1)
        count = (known >= 0).sum(axis=-1)
        pick = (random.random(videos.shape) * count).astype(np.int64)
        chosen = np.take_along_axis(known, np.maximum(pick, 0)[..., None], axis=-1)[..., 0]
        return np.where((videos >= 0) & (count > 0), chosen, -1)


def _most_liked(catalogue: Catalogue, written: NDArray[np.bool_]) -> Int64:
    """int64[V, 3]: each video's most liked comments among those written, -1 padded."""
    comment = np.flatnonzero(written)
    video = catalogue.comment_video[comment].astype(np.int64)
    place = rank_in_run(video)
    kept = place < POPULAR_COMMENTS
    popular = np.full((catalogue.n_videos, POPULAR_COMMENTS), -1, dtype=np.int64)
    popular[video[kept], place[kept]] = comment[kept]
    return popular
