"""SASRec: self-attentive sequential recommendation (Kang & McAuley, ICDM 2018).

Differences from the paper: cross-entropy over the whole catalogue (or shared sampled negatives,
corrected for how often they are drawn, above 20,000 videos) instead of one negative per
positive; pre-layer normalisation; every position of every window is a target; a start token
stands for the empty history, so that new users get a ranking too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from policies.base import Policy, Progress, Scores, silent
from policies.cache import RowCache
from policies.checkpoint import load_arrays, save_arrays
from policies.lengths import length_blocks
from policies.sequences import Sequences, window_batches
from policies.trainer import TrainerSettings, TrainingSummary, train
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import HISTORY_LENGTH, HistoryView, Signal, VideoRequests

FULL_SOFTMAX_UP_TO = 20_000


class Block(nn.Module):
    """A pre-norm transformer block with causal attention."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm_1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm_2 = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """float[B, L, dim] to the same; position i sees positions <= i."""
        b, length, dim = x.shape
        q, k, v = self.qkv(self.norm_1(x)).view(b, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=True
        )
        x = x + self.drop(self.out(attended.transpose(1, 2).reshape(b, length, dim)))
        result: Tensor = x + self.drop(self.feed_forward(self.norm_2(x)))
        return result

    def at(self, x: Tensor, position: Tensor) -> Tensor:
        """`forward`, without dropout, at one position int64[B] of each sequence: float[B, dim]."""
        b, length, dim = x.shape
        own, normed = x[torch.arange(b), position], self.norm_1(x)
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(self.norm_1(own), weight[:dim], bias[:dim]).view(b, self.heads, 1, -1)
        both = F.linear(normed, weight[dim:], bias[dim:]).view(b, length, 2, self.heads, -1)
        k, v = both.permute(2, 0, 3, 1, 4)
        visible = torch.arange(length) <= position[:, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=visible[:, None, None])
        own = own + self.out(attended.reshape(b, dim))
        result: Tensor = own + self.feed_forward(self.norm_2(own))
        return result


class SASRecModel(nn.Module):
    """Item and position embeddings, causal blocks, tied output.

    Sequences are left-aligned and padded at the end with -1; causal attention keeps padding from
    reaching real positions, so no mask is needed.
    """

    def __init__(
        self, n_items: int, length: int, dim: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items, dim)
        self.start = nn.Parameter(torch.zeros(dim))
        # One more for the start token, one for the context item of a continued window.
        self.positions = nn.Embedding(length + 2, dim)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        for parameter in (self.items.weight, self.positions.weight, self.start):
            nn.init.normal_(parameter, std=0.02)

    def forward(self, sequences: Tensor) -> Tensor:
        """int64[B, L] to float[B, L + 1, dim]: state i has seen the first i items."""
        x = self._tokens(sequences)
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x)
        return states

    def last(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        """float[B, dim]: the state after each whole sequence, for ranking (no dropout)."""
        x = self._tokens(sequences)
        *first, top = self.blocks
        for block in first:
            x = block(x)
        assert isinstance(top, Block)
        state: Tensor = self.norm(top.at(x, lengths))
        return state

    def _tokens(self, sequences: Tensor) -> Tensor:
        b, length = sequences.shape
        tokens = self.items(sequences.clamp(min=0)) * (self.items.embedding_dim**0.5)
        x = torch.cat([self.start.expand(b, 1, -1), tokens], dim=1)
        embedded: Tensor = self.drop(x + self.positions.weight[: length + 1])
        return embedded


class SASRec(Policy):
    """Self-attention over the videos a user liked; comments in the platform's order.

    Args:
        signal: Which events make the history: "liked" or "clicked".
        dim, layers, heads, dropout: Size of the model.
        length: Longest history.
        negatives: Shared sampled negatives per batch where the catalogue is large.
        epochs, patience, learning_rate, tokens: Training; ``tokens`` is the batch size in events.
    """

    def __init__(
        self,
        signal: Signal = "liked",
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        dropout: float = 0.2,
        length: int = HISTORY_LENGTH,
        negatives: int = 1024,
        epochs: int = 60,
        patience: int = 4,
        learning_rate: float = 1e-3,
        tokens: int = 2048,
    ) -> None:
        super().__init__()
        self._settings: dict[str, Any] = {
            "signal": signal,
            "dim": dim,
            "layers": layers,
            "heads": heads,
            "dropout": dropout,
            "length": min(length, HISTORY_LENGTH),
            "negatives": negatives,
            "epochs": epochs,
            "patience": patience,
            "learning_rate": learning_rate,
            "tokens": tokens,
        }
        self._model: SASRecModel | None = None
        self._table: NDArray[np.float32] = np.zeros((0, dim), dtype=np.float32)
        self._cache = RowCache(dim)
        self._summary: TrainingSummary | None = None
        self._dataset_hash = ""

    def settings(self) -> dict[str, Any]:
        """Constructor settings."""
        return dict(self._settings)

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Train on every liked (clicked) video; stop when held-out users stop improving."""
        torch.manual_seed(seed)
        s = self._settings
        self._dataset_hash = dataset.info.content_hash
        events = interactions(dataset, s["signal"])
        sequences = Sequences.of(events.user, events.video)
        n_items = dataset.catalogue().n_videos
        model = self._new_model(n_items)
        random = np.random.default_rng([seed, 1])
        # The last event of some users is for validation; they are trained on without it.
        eligible = np.flatnonzero(sequences.lengths() >= 2)
        held = random.permutation(eligible)[: min(2_000, len(eligible))]
        held_mask = np.zeros(len(sequences.users), dtype=np.int64)
        held_mask[held] = 1
        training = sequences.without_last(held_mask)
        targets = sequences.items[sequences.starts[1:][held] - 1]
        contexts = training.last(s["length"])[held]
        counts = np.bincount(training.items, minlength=n_items).astype(np.float64)
        sampler = _NegativeSampler(counts, s["negatives"], seed)

        def batches(epoch: int) -> Any:
            epoch_random = np.random.default_rng([seed, 2, epoch])
            return window_batches(training, s["length"], s["tokens"], epoch_random)

        def loss(window: NDArray[np.int64]) -> Tensor:
            return _loss(model, torch.from_numpy(window), sampler, n_items)

        if len(training.items):
            self._summary = train(
                model,
                batches,
                loss,
                lambda: _ndcg(model, contexts, targets),
                TrainerSettings(
                    epochs=s["epochs"], patience=s["patience"], learning_rate=s["learning_rate"]
                ),
                progress=progress,
                stage="sasrec",
            )
        model.eval()
        self._model = model
        self._table = _serving_table(model, np.bincount(sequences.items, minlength=n_items))
        self._cache.reset(0)

    def reset(self, n_rows: int) -> None:
        """Forget the previous group's encodings."""
        self._cache.reset(n_rows)

    def score_videos(self, requests: VideoRequests) -> Scores:
        """Inner product of the user's last state with each candidate's embedding."""
        assert self._model is not None, "fit or load first"
        versions = requests.history.version(self._settings["signal"])
        stale = self._cache.stale(requests.row, versions)
        if len(stale):
            encoded = self._encode(requests.history.select(stale))
            self._cache.put(requests.row[stale], versions[stale], encoded)
        users = self._cache.get(requests.row)
        scores: Scores = np.einsum("bd,bcd->bc", users, self._table[requests.candidates])
        return scores

    def training_summary(self) -> dict[str, Any]:
        """Epochs and validation NDCG@10 of the last fit."""
        return {} if self._summary is None else self._summary.to_dict()

    def save(self, directory: Path) -> None:
        """Weights and the serving table."""
        assert self._model is not None, "fit first"
        arrays = {k: v.numpy() for k, v in self._model.state_dict().items()}
        arrays["serving.table"] = self._table
        save_arrays(directory, arrays, {**self._settings, "dataset": self._dataset_hash})

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore `save`'s weights for the same dataset."""
        self._dataset_hash = dataset.info.content_hash
        arrays = load_arrays(directory, {**self._settings, "dataset": self._dataset_hash})
        self._table = arrays.pop("serving.table")
        self._model = self._new_model(len(self._table))
        self._model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
        self._model.eval()

    def _new_model(self, n_items: int) -> SASRecModel:
        s = self._settings
        return SASRecModel(n_items, s["length"], s["dim"], s["layers"], s["heads"], s["dropout"])

    def _encode(self, history: HistoryView) -> NDArray[np.float32]:
        assert self._model is not None
        signal, length = self._settings["signal"], self._settings["length"]
        videos = history.videos(signal).astype(np.int64)
        if length < HISTORY_LENGTH:
            count = history.lengths(signal)
            index = np.maximum(count - length, 0)[:, None] + np.arange(length)
            videos = np.take_along_axis(videos, np.minimum(index, HISTORY_LENGTH - 1), axis=1)
        return encode_last(self._model, videos)


def encode_last(model: SASRecModel, sequences: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[B, dim]: the state after each whole sequence, short ones batched together."""
    lengths = (sequences >= 0).sum(axis=1)
    result = np.empty((len(sequences), model.items.embedding_dim), dtype=np.float32)
    with torch.inference_mode():
        for rows in length_blocks(lengths):
            width = int(lengths[rows].max())
            states = model.last(
                torch.from_numpy(sequences[rows, :width]), torch.from_numpy(lengths[rows])
            )
            result[rows] = states.numpy()
    return result


def _loss(model: SASRecModel, window: Tensor, sampler: _NegativeSampler, n_items: int) -> Tensor:
    states = model(window[:, :-1]) if window.shape[1] > 1 else model(window[:, :0])
    real = window >= 0
    states, targets = states[real], window[real]
    if n_items <= FULL_SOFTMAX_UP_TO:
        return F.cross_entropy(states @ model.items.weight.T, targets)
    negatives, correction = sampler.draw()
    positive = (states * model.items(targets)).sum(-1, keepdim=True) - sampler.log_q[targets, None]
    negative = states @ model.items(negatives).T - correction
    # A negative that is the target itself must not be pushed away.
    negative = negative.masked_fill(negatives[None, :] == targets[:, None], float("-inf"))
    logits = torch.cat([positive, negative], dim=1)
    return F.cross_entropy(logits, torch.zeros(len(targets), dtype=torch.long))


class _NegativeSampler:
    """Shared negatives, half by popularity and half uniform, with log-q correction.

    Bengio & Senecal (2008); Yi et al., RecSys 2019, for recommendation.
    """

    def __init__(self, counts: NDArray[np.float64], size: int, seed: int) -> None:
        share = 0.5 * counts / max(counts.sum(), 1.0) + 0.5 / len(counts)
        self._share = share / share.sum()
        self._size = size
        self._random = np.random.default_rng([seed, 3])
        self.log_q = torch.from_numpy(np.log(self._share * size).astype(np.float32))

    def draw(self) -> tuple[Tensor, Tensor]:
        """Item indices int64[size] and their log expected counts."""
        items = self._random.choice(len(self._share), self._size, p=self._share)
        drawn = torch.from_numpy(items)
        return drawn, self.log_q[drawn]


def _ndcg(model: SASRecModel, contexts: NDArray[np.int64], targets: NDArray[np.int64]) -> float:
    """NDCG@10 of held-out events, full ranking, seen videos removed, ties against the model."""
    if len(targets) == 0:
        return 0.0
    total = 0.0
    encoded = torch.from_numpy(encode_last(model, contexts))
    for at in range(0, len(targets), 512):
        scores = encoded[at : at + 512] @ model.items.weight.T
        target = torch.from_numpy(targets[at : at + 512])
        own = scores.gather(1, target[:, None])
        seen = torch.from_numpy(contexts[at : at + 512])
        rows = torch.arange(len(target))[:, None].expand_as(seen)
        hide = (seen >= 0) & (seen != target[:, None])
        scores[rows[hide], seen[hide]] = float("-inf")
        ranks = (scores >= own).sum(dim=1) - 1
        gains = torch.where(ranks < 10, 1.0 / torch.log2(ranks + 2.0), 0.0)
        total += float(gains.sum())
    return total / len(targets)


def _serving_table(model: SASRecModel, counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Item vectors for ranking; videos without events get the mean vector of the others."""
    table = model.items.weight.detach().numpy().copy()
    trained = counts > 0
    if trained.any():
        table[~trained] = table[trained].mean(axis=0)
    return table
