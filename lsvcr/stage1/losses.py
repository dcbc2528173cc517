"""Compute the four losses of stage 1, with negatives from all devices.

Zheng et al. (arXiv 2403.13574): next-token cross-entropy of the answer, InfoNCE of a person against
the targets of a batch (van den Oord et al., arXiv 1807.03748), the same both ways between the two
models' views of a person, and a two-way choice between a person's two histories.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lsvcr.model.sr_model import TEMPERATURE
from lsvcr.text import IGNORED
from policies.distributed import gather, part_of_mean, rank


@dataclass(frozen=True)
class LossWeights:
    """What each loss counts; 0 leaves it out."""

    lm: float = 1.0
    rec: float = 1.0
    align: float = 0.5
    behaviour: float = 0.5


def language_model_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats of the answers' tokens, of all devices.

    Args:
        logits: float[B, R, V]; place j predicts ``labels[:, j]``.
        labels: int64[B, R], -100 where nothing is to be predicted.
    """
    total = F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total * part_of_mean((labels != IGNORED).sum())


def info_nce(
    anchors: Tensor,
    targets: Tensor,
    *,
    same: Tensor | None = None,
    group: Tensor | None = None,
    negatives: Tensor | None = None,
    known: Tensor | None = None,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """InfoNCE of each anchor's own target against the targets of the batch on all devices.

    Args:
        anchors: float[B, dim], of any length: cosines are compared.
        targets: float[B, dim]; row i belongs to anchor i.
        same: int64[B], what each target is. Rows with an anchor's own target are no negatives of
            it: under a popular target no anchor could satisfy the loss. None: all differ.
        group: int64[B]; only rows of an anchor's own group are negatives of it. None: one group.
        negatives: float[B, K, dim], negatives that an anchor has to itself; None for none.
        known: bool[B, K], which of them exist.
        temperature: Divides the cosines.
    """
    candidates = gather(F.normalize(targets, dim=-1))
    logits = F.normalize(anchors, dim=-1) @ candidates.T / temperature
    label = torch.arange(len(anchors), device=anchors.device) + rank() * len(anchors)
    left_out = torch.zeros_like(logits, dtype=torch.bool)
    if same is not None:
        left_out |= same[:, None] == gather(same)[None, :]
    if group is not None:
        left_out |= group[:, None] != gather(group)[None, :]
    left_out.scatter_(1, label[:, None], False)
    logits = logits.masked_fill(left_out, float("-inf"))
    if negatives is not None and known is not None:
        cosines = F.cosine_similarity(anchors[:, None], negatives, dim=-1)
        own = (cosines / temperature).masked_fill(~known, float("-inf"))
        logits = torch.cat([logits, own], dim=1)
    return F.cross_entropy(logits, label)


def alignment_loss(sequential: Tensor, language: Tensor, *, same: Tensor | None = None) -> Tensor:
    """Mean of InfoNCE both ways between two models' float[B, dim] of the same people.

    ``same`` int64[B] says who each row is: nobody is a negative of themselves.
    """
    forth = info_nce(sequential, language, same=same)
    return (forth + info_nce(language, sequential, same=same)) / 2


def behaviour_loss(
    language: Tensor,
    own: Tensor,
    other: Tensor,
    known: Tensor,
    *,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """Cross-entropy of a language model's person being nearer to the task's own history.

    Args:
        language: float[B, dim].
        own: float[B, dim], pooling over the task's own history.
        other: float[B, dim], the same pooling over the other one.
        known: bool[B], whether both histories hold anything; others do not count.
        temperature: Divides the cosines.
    """
    cosines = torch.stack([F.cosine_similarity(language, side, dim=-1) for side in (own, other)], 1)
    label = torch.where(known, 0, IGNORED)
    total = F.cross_entropy(cosines / temperature, label, ignore_index=IGNORED, reduction="sum")
    return total * part_of_mean(known.sum())
