"""Adapt the texts that a step needs, each distinct one once."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel


class TextVectors:
    """Adapted texts of everything that a step needs, each distinct one computed once.

    Args:
        model: Adapts.
        inventory: Text embeddings.
        rows: int64[...], embedding rows that may be asked for; -1 is no text.
    """

    def __init__(self, model: SRModel, inventory: Inventory, *rows: Tensor) -> None:
        n = len(inventory.embeddings)
        # Row -1 is the last one of this mask, and no embedding.
        device = inventory.device
        needed = torch.zeros(n + 1, dtype=torch.bool, device=device)
        for some in rows:
            needed[some.ravel()] = True
        distinct = torch.nonzero(needed[:n])[:, 0]
        self._place = torch.full((n + 1,), len(distinct), device=device)
        self._place[distinct] = torch.arange(len(distinct), device=device)
        adapted = model.text(inventory.embeddings[distinct])
        self._vectors = torch.cat([adapted, adapted.new_zeros(1, model.dim)])

    def of(self, rows: Tensor) -> Tensor:
        """float[..., dim]: adapted texts of embedding rows; 0 for -1."""
        # A gather whose backward pass is deterministic.
        gathered: Tensor = F.embedding(self._place[rows], self._vectors)
        return gathered

    def mean(self, rows: Tensor) -> Tensor:
        """float[..., dim]: mean text of rows int64[..., n]; 0 where all are -1."""
        total = self.of(rows).sum(dim=-2)
        return total / (rows >= 0).sum(dim=-1, keepdim=True).clamp(min=1)
