"""Draw eight dropout decisions from one random number.

Torch's own draws one number per element: on a CPU a sixth of a small model's training time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 256


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al., JMLR 2014); the rate is rounded to a 256th."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._cut = round(rate * _LEVELS)

    def forward(self, x: Tensor) -> Tensor:
        """Any float tensor to one of its shape, with the same mean."""
        if not self.training or self._cut == 0:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        drawn = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        kept = (drawn >= self._cut).to(x.dtype).mul_(_LEVELS / (_LEVELS - self._cut))
        return x * kept
