"""Let a process end with its parent, and offer it to the kernel when memory runs out.

Imports nothing large: it is needed before the libraries are loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from pathlib import Path
from typing import Any

_OWN_SCORE = Path("/proc/self/oom_score_adj")
_LARGEST_SCORE = 1_000
_POLL_SECONDS = 0.5


def killed_before_others(points: int, file: Path = _OWN_SCORE) -> None:
    """Ask the kernel to kill this process before others when memory runs out.

    A worker that dies leaves a parent that can say why. Without effect where the system has no
    such file.

    Args:
        points: Added to the score of this process; its children start with the sum.
        file: Where the score is.
    """
    with contextlib.suppress(OSError, ValueError):
        score = int(file.read_text(encoding="utf-8"))
        file.write_text(str(min(score + points, _LARGEST_SCORE)), encoding="utf-8")


def end_with(parent: int) -> None:
    """End this process when its parent is no more, also where nobody could tell it.

    Args:
        parent: Number of the process that started this one.
    """
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def watching(parent: int, module: str, name: str) -> Any:
    """An object without its state, in a process that ends with its parent from now on.

    A process that is made of a pickle starts here: what is large is imported afterwards.

    Args:
        parent: Number of the process that started this one.
        module: Where the object's class is.
        name: Of the class.
    """
    end_with(parent)
    kind = getattr(importlib.import_module(module), name)
    return kind.__new__(kind)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)
