"""Compute a closed-form start for the video task's text path, from which both stages begin.

Training compares people and texts by a sharp cosine. From a random start it first learns to make
all titles alike, because differences that mean nothing cost the most; on a log of thousands of
videos it can stop before it finds those that mean something. So the text path starts from the
directions in which the title of what somebody likes next resembles those of what they liked before:
the leading eigenvectors of the symmetrised cross-covariance of the two (canonical correlation:
Hotelling, Biometrika 1936), computed from the training events alone. The comment task starts
plainly: from such a start it takes ten times as long to leave its first plateau.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lsvcr.data.examples import History
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from simulator.devices import as_array, on_device

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

_KEPT = 48
_SAMPLE = 50_000
_FEWEST_EVENTS = 500
_FEWEST_TEXTS = 20
# Power of the constant over that of the directions: the larger, the closer the first cosines.
_CONSTANT_SHARE = 4.0


def start_from_agreement(model: SRModel, own: History, inventory: Inventory) -> bool:
    """Set the text path to the directions of agreement; False if there are too few events or texts.

    Args:
        model: A fresh model of the video task.
        own: What people liked, without held-out events.
        inventory: Texts.
    """
    if not inventory.has_text or len(own.video) < _FEWEST_EVENTS or not own.earlier.any():
        return False
    table = as_array(inventory.embeddings).astype(np.float64)
    titles = as_array(inventory.title)
    if len(np.unique(titles[titles >= 0])) < _FEWEST_TEXTS:
        return False
    mean, whiten = _whitening(table, titles)
    white = (table - mean) @ whiten
    rows = titles[own.video]
    counted = rows >= 0
    events = white[np.maximum(rows, 0)] * counted[:, None]
    before = _mean_before(events, counted, own)
    some = counted & np.isfinite(before).all(axis=1)
    if some.sum() < _FEWEST_EVENTS:
        return False
    crossed = before[some].T @ events[some] / some.sum()
    values, vectors = np.linalg.eigh((crossed + crossed.T) / 2.0)
    # Without any agreement the spectrum is symmetric around 0: its lower end measures the noise.
    best = np.argsort(-values)[: model.text_hidden // 2]
    best = best[values[best] > -values[0]]
    if len(best) == 0:
        return False
    weights = np.sqrt(values[best] / values[best[0]])
    _set_linear(model, whiten @ vectors[:, best] * weights, mean, float((weights**2).sum()))
    return True


def _whitening(table: Float64, rows: Int64) -> tuple[Float64, Float64]:
    """Mean, and the map float64[h, kept] to uncorrelated unit-variance leading components."""
    known = rows[rows >= 0]
    sample = table[known[:: max(1, len(known) // _SAMPLE)]]
    mean = sample.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(sample.T))
    keep = np.argsort(-values)[: min(_KEPT, len(values))]
    keep = keep[values[keep] > 1e-6 * values[keep[0]]]
    return mean, vectors[:, keep] / np.sqrt(values[keep])


def _mean_before(own: Float64, counted: NDArray[np.bool_], history: History) -> Float64:
    """Mean over a person's earlier events that have a title, float64[n, kept]; NaN without any."""
    total = np.concatenate([np.zeros((1, own.shape[1])), np.cumsum(own, axis=0)])
    count = np.concatenate([[0], np.cumsum(counted)])
    first = np.repeat(history.starts[:-1], history.lengths)
    at = np.arange(len(own))
    number = (count[at] - count[first])[:, None]
    return np.where(number > 0, (total[at] - total[first]) / np.maximum(number, 1), np.nan)


def _set_linear(model: SRModel, directions: Float64, mean: Float64, power: float) -> None:
    """Make text(e) = [directions' (e - mean) ; constant]: GELU(x) - GELU(-x) = x.

    The constant, shared by all texts, holds the first cosines close together: what somebody liked
    says a little about what comes next, not everything.
    """
    first, second = model.text_layers()
    n, half, dim = directions.shape[1], model.text_hidden // 2, model.dim
    weight = on_device(directions.T.astype(np.float32), model.device)
    bias = on_device((-directions.T @ mean).astype(np.float32), model.device)
    constant = np.sqrt(_CONSTANT_SHARE * power / max(dim - n, 1))
    with torch.no_grad():
        for sign, offset in ((1.0, 0), (-1.0, half)):
            first.weight[offset : offset + n] = sign * weight
            first.bias[offset : offset + n] = sign * bias
        second.weight.mul_(0.1)
        second.bias.zero_()
        model.llm_adapter.weight.zero_()
        model.llm_adapter.weight[:, :dim] = torch.eye(dim, device=model.device)
        for i in range(n):
            second.weight[i] = 0.0
            second.weight[i, i], second.weight[i, half + i] = 1.0, -1.0
        second.bias[n:dim:2], second.bias[n + 1 : dim : 2] = constant, -constant
        # An empty history is a text that says nothing.
        model.video_encoder.start.copy_(second.bias[:dim])
        model.comment_encoder.start.copy_(second.bias[:dim])
