"""Where the application keeps what it can make again: built-in datasets and trained weights."""

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


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name, then rename: readers never see half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
