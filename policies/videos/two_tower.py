"""Rank by a two-tower model with corrected in-batch softmax (Yi et al., RecSys 2019).

One tower makes a vector of a person, the other one of a video; a score is their cosine over a
temperature, so that the best videos can be looked up. A batch's own targets are its negatives; as
popular videos come up often, the logarithm of how often an item is expected there is subtracted
from its score in training.

The towers: a video is the sum of its identifier's vector and of its features (caption, category,
author), then a feed-forward layer. A person is the mean of the videos of the history, a mean that
forgets, and the last one (the paper's seed), then a feed-forward layer.

Differences from the paper: shares are counted in the log instead of estimated from a stream, and a
target's own score is not corrected (see `policies.sequence.softmax.in_batch_loss`); one history of
liked (clicked) videos and no reward weights; no features of people, as those of an experiment need
not be in the log; a share of the identifiers is hidden in training, so that a video without events
is ranked by its features. Rare videos may share identifiers' vectors; their features differ.

Held to `itemknn` as a ranker, and as a candidate stage to the built-in sources. The paper's figures
are on YouTube's own data.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from policies.base import Progress, silent
from policies.memory import require_memory
from policies.sequence.encoder import VECTORS_AT_A_TIME, SequenceEncoder
from policies.sequence.ids import IdTableSettings
from policies.sequence.sequential import SequentialPolicy
from policies.sequence.settings import TrainedSettings
from policies.sequence.softmax import NegativeSampler, in_batch_loss
from policies.settings import setting
from policies.text.vectors import text_vectors
from simulator.logs.catalogue import Catalogue
from simulator.logs.dataset import Dataset
from simulator.requests import Int32

AUTHORS, CATEGORIES = 4096, 256
"""Rows of the tables of authors and categories; more share rows. Row 0 is for unknown."""

_BYTES_OF_ROWS = 16
"""Of a video's author and category; features are held twice, with the best epoch's weights."""
_FORGETS = 0.8
"""Weight of an event relative to the one after it, in the mean that forgets."""


class Features:
    """What the item tower knows of each video.

    Attributes:
        text: float32[n_items, text_dim], see `policies.text.vectors`.
        author, category: int64[n_items], rows of the tables.
    """

    def __init__(self, text: NDArray[np.float32], author: Tensor, category: Tensor) -> None:
        self.text, self.author, self.category = torch.from_numpy(text), author, category

    @classmethod
    def of(cls, dataset: Dataset, text_dim: int) -> Features:
        """From a log's captions and catalogue."""
        catalogue: Catalogue = dataset.catalogue()
        return cls(
            text_vectors(dataset.captions(), text_dim),
            _rows(catalogue.author, AUTHORS),
            _rows(catalogue.category, CATEGORIES),
        )

    @classmethod
    def blank(cls, n_items: int, text_dim: int) -> Features:
        """Of the right shape, for weights that bring their own."""
        none = torch.zeros(n_items, dtype=torch.long)
        return cls(np.zeros((n_items, text_dim), dtype=np.float32), none, none.clone())


class Tower(nn.Module):
    """A feed-forward layer with a residual from its first ``dim`` inputs; unit output."""

    def __init__(self, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * dim, dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """float[..., width] to unit vectors float[..., dim]."""
        return F.normalize(x[..., : self.dim] + self.layers(x), dim=-1)


class TwoTowerModel(SequenceEncoder):
    """Both towers over one table of identifiers.

    Args:
        features: Of the videos.
        dim, dropout: Size.
        temperature: What cosines are divided by.
        hidden: Share of the identifiers hidden in training.
        rows: int32[n_items], the row of each video in the table of identifiers; None where each
            has its own.
    """

    looked_up = ("items.weight", "text", "author", "category")
    text: Tensor
    author: Tensor
    category: Tensor
    row: Tensor | None

    def __init__(
        self,
        features: Features,
        dim: int,
        dropout: float,
        temperature: float,
        hidden: float,
        rows: Int32 | None = None,
    ) -> None:
        super().__init__()
        n_items, text_dim = features.text.shape
        self.register_buffer("text", features.text)
        self.register_buffer("author", features.author)
        self.register_buffer("category", features.category)
        # Stored by the policy, not with the weights.
        self.register_buffer("row", None if rows is None else torch.from_numpy(rows), False)
        n_rows = n_items if rows is None else int(rows.max(initial=-1)) + 1
        self.items = nn.Embedding(n_rows, dim)
        self.unknown = nn.Parameter(torch.zeros(dim))
        self.authors = nn.Embedding(AUTHORS, dim)
        self.categories = nn.Embedding(CATEGORIES, dim)
        self.of_text = nn.Linear(text_dim, dim, bias=False)
        self.start = nn.Parameter(torch.zeros(dim))
        self.drop = nn.Dropout(dropout)
        self.item_tower = Tower(dim, dim, dropout)
        self.user_tower = Tower(3 * dim, dim, dropout)
        self.temperature, self.hidden = temperature, hidden
        for table in (self.items, self.authors, self.categories):
            nn.init.normal_(table.weight, std=dim**-0.5)
        nn.init.normal_(self.start, std=dim**-0.5)

    def forward(self, sequences: Tensor) -> Tensor:
        """int64[B, L] to float[B, L + 1, dim]: state i has seen the first i items."""
        b, length = sequences.shape
        x = self.drop(self._videos(sequences.clamp(min=0)))
        x = torch.cat([self.start.expand(b, 1, -1), x], dim=1)
        place = torch.arange(length + 1, device=x.device)
        age = place[:, None] - place
        past = (age >= 0).float()
        # The start token counts as an event before the first one.
        forgetting = past * _FORGETS ** age.clamp(min=0)
        means = [(w / w.sum(dim=1, keepdim=True)) @ x for w in (past, forgetting)]
        pooled = torch.cat([means[1], means[0], x], dim=-1)
        states: Tensor = self.user_tower(pooled) / self.temperature
        return states

    def vectors(self, items: Tensor | None = None) -> Tensor:
        """float[n, dim]: unit vectors of videos; a whole catalogue in blocks."""
        if items is None:
            blocks = torch.split(
                torch.arange(len(self.text), device=self.device), VECTORS_AT_A_TIME
            )
            return torch.cat([self.vectors(block) for block in blocks])
        found: Tensor = self.item_tower(self._videos(items))
        return found

    def serving_vectors(self, met: Tensor) -> Tensor:
        """float[n_items, dim]: of the features alone where nothing was learned of an identifier."""
        if self.row is not None:
            seen = torch.zeros(len(self.items.weight), dtype=torch.bool, device=self.device)
            seen[self.row[met]] = True
            met = seen
        # In place: histories will hold such videos, too.
        self.items.weight.data[~met] = self.unknown.data
        return self.vectors()

    def _videos(self, items: Tensor) -> Tensor:
        """float[..., dim]: identifiers and features together, before the tower."""
        identity = self.items(items if self.row is None else self.row[items])
        if self.training:
            hidden = torch.rand(items.shape, device=items.device) < self.hidden
            identity = torch.where(hidden.unsqueeze(-1), self.unknown, identity)
        features = self.authors(self.author[items]) + self.categories(self.category[items])
        result: Tensor = identity + features + self.of_text(self.text[items])
        return result


@dataclass(frozen=True)
class TwoTowerSettings(IdTableSettings, TrainedSettings):
    """Two towers over identifiers and features.

    Attributes:
        text_dim: Width of the fixed caption vectors.
        temperature: What cosines are divided by.
        hidden: Share of the identifiers hidden in training, for videos without events.
        own_from: As of `IdTableSettings`; by default every video has an identifier's vector.
    """

    dropout: float = setting(0.2, at_least=0, below=1)
    text_dim: int = setting(64, at_least=1, at_most=8_192)
    temperature: float = setting(0.07, above=0, at_most=1_000)
    hidden: float = setting(0.1, at_least=0, below=1)
    patience: int = setting(12, at_least=1, at_most=100_000)
    own_from: int = setting(0, at_least=0, at_most=1_000_000_000)


class TwoTower(SequentialPolicy):
    """Cosine of a person's and a video's vector; serves as ranker or as candidate stage.

    Settings: see `TwoTowerSettings`.
    """

    stage = "two-tower"
    rows_are_items = False
    settings_class = TwoTowerSettings
    options: TwoTowerSettings
    _features: Features | None = None

    def loss(
        self, encoder: SequenceEncoder, windows: Tensor, sampler: NegativeSampler, n_items: int
    ) -> Tensor:
        """The batch's own targets are its negatives."""
        return in_batch_loss(encoder, windows, sampler, n_items)

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Collect the features, then train as every sequence model does.

        Raises:
            UnknownPolicy: features and vectors of the videos take more memory than there is.
        """
        s, n = self.options, dataset.catalogue().n_videos
        require_memory(
            nn.Module,
            self.stage,
            f"dim = {s.dim}, text_dim = {s.text_dim}, {n:,} videos",
            tables=n * (4 * s.dim + 2 * (4 * s.text_dim + _BYTES_OF_ROWS)),
        )
        self._features = Features.of(dataset, self.options.text_dim)
        super().fit(dataset, seed=seed, progress=progress)

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore `save`'s weights for the same dataset; they hold the features."""
        self._features = None
        super().load(directory, dataset)

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """Towers of the size in the settings; without features where weights follow."""
        s = self.options
        features = self._features or Features.blank(n_items, s.text_dim)
        return TwoTowerModel(features, s.dim, s.dropout, s.temperature, s.hidden, self._rows)


def _rows(values: NDArray[np.integer], size: int) -> Tensor:
    """int64[n]: rows of a table of ``size``; 0 for unknown (negative)."""
    index = values.astype(np.int64)
    return torch.from_numpy(np.where(index < 0, 0, 1 + index % (size - 1)))
