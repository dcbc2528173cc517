"""Hold what people see of comments' likes, where these change while people live."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.requests import Int32


@dataclass(frozen=True)
class DisplayedLikes:
    """Likes as they are displayed now, in the terms of a person's choices.

    Attributes:
        herding: float32[M], what each comment's gain in likes adds to the log-odds of a like.
        place: int32[M], places of the comments in an order by likes, most liked first within each
            section.
    """

    herding: NDArray[np.float32]
    place: Int32
