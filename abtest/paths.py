"""Find the directory of what can be made again: built-in datasets and trained weights."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """``$ABTEST_CACHE``, or ``abtest`` under ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    chosen = os.environ.get("ABTEST_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "abtest"
