"""Find the files of a table: a file, a directory, or several of them.

Paths are literal: ``*``, ``?`` and ``[`` in a name mean themselves.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from simulator.errors import DataError

TEXT_SUFFIXES = (
    ".csv",
    ".tsv",
    ".txt",
    ".tab",
    ".dat",
    ".inter",
    ".item",
    ".user",
    ".jsonl",
    ".ndjson",
)
PARQUET_SUFFIXES = (".parquet", ".pq")
PACKED_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
_PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Source:
    """One file of a table.

    Attributes:
        path: Where it is.
        parquet: Whether it is Parquet; anything else is read as text.
        partition: Columns that its folders name (``day=2022-04-08``).
    """

    path: Path
    parquet: bool
    partition: tuple[tuple[str, str], ...] = ()


def find_sources(paths: Path | str | Sequence[Path | str]) -> list[Source]:
    """The files of a table, in order; those of a directory sorted by path.

    Args:
        paths: A file, a directory (searched through, hidden and ``_`` names left out), or several.

    Raises:
        DataError: no such file, a directory without tables, or something that is not a file.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found: list[Source] = []
    for one in map(Path, given):
        if one.is_dir():
            inside = _inside(one)
            if not inside:
                raise DataError(
                    f"{one} holds no table: no file ends in {', '.join(_known())}.",
                    "Name the file itself",
                )
            found += inside
        elif one.is_file():
            found.append(Source(one, _is_parquet(one)))
        elif one.exists():
            raise DataError(f"{one} is neither a file nor a directory.")
        else:
            raise DataError(f"no file at {one}.{nearby(one)}")
    if not found:
        raise DataError("no file is named.")
    return found


def is_table_name(name: str) -> bool:
    """Whether a file of that name is taken for a table."""
    stem = name.lower()
    for packed in PACKED_SUFFIXES:
        stem = stem.removesuffix(packed)
    return stem.endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES))


def nearby(path: Path) -> str:
    """`` Nearby: ...`` with similar names in the same folder, or nothing."""
    try:
        names = [p.name for p in path.parent.iterdir() if p.is_dir() or is_table_name(p.name)]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.4)
    return f" Nearby: {', '.join(str(path.parent / name) for name in close)}." if close else ""


def _known() -> list[str]:
    return [*TEXT_SUFFIXES[:3], *PARQUET_SUFFIXES[:1]]


def _inside(root: Path) -> list[Source]:
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith((".", "_")) for part in parts)
        if not hidden and is_table_name(path.name) and path.is_file():
            pairs = [part.split("=", 1) for part in parts[:-1] if "=" in part]
            partition = tuple((unquote(name), unquote(value)) for name, value in pairs)
            found.append(Source(path, _is_parquet(path), partition))
    return found


def _is_parquet(path: Path) -> bool:
    """By content; an empty or unreadable file goes by its name."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_PARQUET_MAGIC))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    return start == _PARQUET_MAGIC or path.suffix.lower() in PARQUET_SUFFIXES
