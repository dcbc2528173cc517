"""Rank by UniSRec: sequences of texts instead of identifiers (Hou et al., KDD 2022).

An item is its text: a fixed text vector goes through a mixture of experts, each a parametric
whitening ``(x - b) W``, mixed by a noisy gate; a causal transformer reads the adapted vectors, and
a score is a cosine over a temperature. There is no vector per identifier, so that a video nobody
has seen ranks by its caption like any other.

Differences from the paper: text vectors are `policies.text.vectors` instead of BERT's, so that no
model has to be downloaded; one log, hence no pre-training over several domains and none of its two
contrastive losses: cross-entropy over the whole catalogue (or shared sampled negatives) alone, the
paper's inductive setting trained from the start; dropout on a text vector is shared by the experts;
pre-layer normalisation; a start token stands for the empty history.

Held to `popular` on videos that have events, and to `sasrec` on fresh ones, which that cannot tell
apart. The paper's figures rest on language models and on other data.
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
from policies.errors import UnsuitedLog
from policies.memory import require_memory
from policies.sequence.encoder import VECTORS_AT_A_TIME, SequenceEncoder
from policies.sequence.sequential import SequentialPolicy
from policies.sequence.settings import AttentionSettings, TrainedSettings, VideoHistorySettings
from policies.settings import setting
from policies.text.vectors import text_vectors
from policies.videos.sasrec import Block
from simulator.logs.dataset import Dataset


class Adaptor(nn.Module):
    """Experts of parametric whitening, mixed by a gate that is noisy in training.

    Equations 2 to 4 of the paper; the noise is that of Shazeer et al., ICLR 2017.
    """

    def __init__(self, width: int, dim: int, experts: int, dropout: float) -> None:
        super().__init__()
        self.experts = experts
        self.drop = nn.Dropout(dropout)
        self.whiten = nn.Linear(width, experts * dim, bias=False)
        self.bias = nn.Parameter(torch.zeros(experts, width))
        self.gate = nn.Linear(width, experts, bias=False)
        self.noise = nn.Linear(width, experts, bias=False)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.noise.weight)

    def forward(self, x: Tensor) -> Tensor:
        """float[..., width] to float[..., dim]."""
        x = self.drop(x)
        logits = self.gate(x)
        if self.training:
            logits = logits + F.softplus(self.noise(x)) * torch.randn_like(logits)
        weights = logits.softmax(dim=-1)
        experts = self.whiten(x).unflatten(-1, (self.experts, -1))
        # (x - b) W is x W - b W, and b W does not depend on x.
        matrices = self.whiten.weight.view(self.experts, -1, x.shape[-1])
        experts = experts - torch.einsum("edw,ew->ed", matrices, self.bias)
        mixed: Tensor = (weights.unsqueeze(-1) * experts).sum(dim=-2)
        return mixed


class UniSRecModel(SequenceEncoder):
    """Fixed text vectors, adaptor, causal blocks, cosines.

    Args:
        texts: float32[n_items, width].
        length: Longest sequence.
        dim, layers, heads, experts, dropout: Size.
        temperature: What cosines are divided by.
    """

    looked_up = ("texts",)
    texts: Tensor

    def __init__(
        self,
        texts: NDArray[np.float32],
        length: int,
        dim: int,
        layers: int,
        heads: int,
        experts: int,
        dropout: float,
        temperature: float,
    ) -> None:
        super().__init__()
        self.register_buffer("texts", torch.from_numpy(texts))
        self.adaptor = Adaptor(texts.shape[1], dim, experts, dropout)
        self.start = nn.Parameter(torch.zeros(dim))
        # One more for the start token, one for the context item of a continued window.
        self.positions = nn.Embedding(length + 2, dim)
        self.norm_in = nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.temperature = temperature
        for parameter in (self.positions.weight, self.start):
            nn.init.normal_(parameter, std=0.02)

    @property
    def dim(self) -> int:
        """Width of states and of item vectors."""
        return self.positions.embedding_dim

    def forward(self, sequences: Tensor) -> Tensor:
        """int64[B, L] to float[B, L + 1, dim]: state i has seen the first i items."""
        b, length = sequences.shape
        tokens = self.adaptor(self.texts[sequences.clamp(min=0)])
        x = torch.cat([self.start.expand(b, 1, -1), tokens], dim=1)
        x = self.drop(self.norm_in(x + self.positions.weight[: length + 1]))
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.norm(x), dim=-1) / self.temperature

    def vectors(self, items: Tensor | None = None) -> Tensor:
        """float[n, dim]: unit vectors of the items' texts; a whole catalogue in blocks."""
        if items is None and len(self.texts) > VECTORS_AT_A_TIME:
            blocks = torch.split(
                torch.arange(len(self.texts), device=self.device), VECTORS_AT_A_TIME
            )
            return torch.cat([self.vectors(block) for block in blocks])
        return F.normalize(self.adaptor(self.texts if items is None else self.texts[items]), dim=-1)

    def serving_vectors(self, met: Tensor) -> Tensor:
        """float[n_items, dim]: every item's own, whether it has events or not."""
        return self.vectors()


@dataclass(frozen=True)
class UniSRecSettings(VideoHistorySettings, AttentionSettings, TrainedSettings):
    """A transformer over texts adapted by experts.

    Attributes:
        experts: Of the adaptor.
        text_dim: Width of the fixed text vectors.
        temperature: What cosines are divided by.
    """

    experts: int = setting(8, at_least=1, at_most=1_024)
    dropout: float = setting(0.2, at_least=0, below=1)
    text_dim: int = setting(128, at_least=1, at_most=8_192)
    temperature: float = setting(0.07, above=0, at_most=1_000)
    learning_rate: float = setting(3e-3, above=0, at_most=10)


class UniSRec(SequentialPolicy):
    """Self-attention over the captions of videos a user liked; no identifiers, so fresh ones rank.

    Settings: see `UniSRecSettings`.
    """

    stage = "unisrec"
    settings_class = UniSRecSettings
    options: UniSRecSettings
    _texts: NDArray[np.float32] | None = None

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Make the text vectors, then train as every sequence model does.

        Raises:
            UnsuitedLog: no video has a caption.
            UnknownPolicy: texts and vectors of the videos take more memory than there is.
        """
        s, n = self.options, dataset.catalogue().n_videos
        require_memory(
            nn.Module,
            self.stage,
            f"dim = {s.dim}, text_dim = {s.text_dim}, {n:,} videos",
            # Texts are held twice, with the best epoch's weights.
            tables=n * (4 * s.dim + 2 * 4 * s.text_dim),
        )
        captions = dataset.captions()
        if not any(captions):
            raise UnsuitedLog(
                f"unisrec ranks by captions, and no video of {dataset.path} has one.",
                "Use a policy that needs none: abtest policy list",
            )
        progress("unisrec", 0.0, f"vectors of {len(captions):,} captions")
        self._texts = text_vectors(captions, self.options.text_dim)
        super().fit(dataset, seed=seed, progress=progress)

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore `save`'s weights for the same dataset; they hold the text vectors."""
        self._texts = None
        super().load(directory, dataset)

    def new_encoder(self, n_items: int) -> SequenceEncoder:
        """Text model of the size in the settings; without text vectors where weights follow."""
        s = self.options
        blank = np.zeros((n_items, s.text_dim), dtype=np.float32)
        return UniSRecModel(
            blank if self._texts is None else self._texts,
            s.length,
            s.dim,
            s.layers,
            s.heads,
            s.experts,
            s.dropout,
            s.temperature,
        )
