"""Name LSVCR's two recommendation tasks and the longest history that either reads."""

from __future__ import annotations

from typing import Literal

Task = Literal["video", "comment"]
TASKS: tuple[Task, ...] = ("video", "comment")

MAX_LENGTH = 50
"""Most events of either history; the model has that many positions."""
