"""Keep a catalogue as files of columns, which all processes of a machine map into memory.

The system holds each page of such a file once, however many processes read it, and only as long as
there is room: a catalogue of tens of millions of videos costs its size once, not per process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.errors import DataError
from simulator.logs.catalogue import Catalogue

LAYOUT = 1
"""Raise when a catalogue's columns or their order change: files of before are then left aside."""

_FACTS, _NAMES = "catalogue.json", "category_names"
_BLOCK = 1 << 24


def write_catalogue(catalogue: Catalogue, directory: Path) -> None:
    """Write a ``.npy`` file per column, and ``catalogue.json`` with their hashes.

    Args:
        catalogue: What is written.
        directory: An existing, empty one.
    """
    hashes = {}
    for name, column in _columns(catalogue).items():
        file = directory / f"{name}.npy"
        np.save(file, column)
        hashes[name] = file_hash(file)
    facts = {"layout": LAYOUT, _NAMES: catalogue.category_names, "columns": hashes}
    (directory / _FACTS).write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")


def map_catalogue(directory: Path) -> Catalogue:
    """The catalogue that was written there, its columns mapped, not read; they are read-only.

    Raises:
        DataError: a file is missing, or is not what was written.
    """
    try:
        facts: Mapping[str, Any] = json.loads((directory / _FACTS).read_text(encoding="utf-8"))
        columns = {}
        for name, written in facts["columns"].items():
            file = directory / f"{name}.npy"
            if file_hash(file) != written:
                raise ValueError(f"{file.name} is not what was written")
            columns[name] = np.asarray(np.load(file, mmap_mode="r"))
        return Catalogue(**columns, category_names=list(facts[_NAMES]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the catalogue in {directory} is damaged: {error}.",
            f"Remove it and give the command again: rm -r {directory}",
        ) from error


def _columns(catalogue: Catalogue) -> dict[str, NDArray[Any]]:
    names = [f.name for f in fields(Catalogue) if f.name != _NAMES]
    return {name: getattr(catalogue, name) for name in names}


def file_hash(file: Path) -> str:
    """Of the bytes of a file, read in blocks."""
    digest = hashlib.blake2b(digest_size=16)
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
