"""Store weights on disk: safetensors for numbers, JSON for what they belong to; no pickles.

Large arrays are mapped when they are read: all processes of a machine that rank with the same
weights hold a page of them once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from policies.errors import CheckpointError
from simulator.logs.mapped_arrays import map_arrays

FORMAT_VERSION = 1
ARRAYS = "weights.safetensors"
HEADER = "weights.json"
_MAPPED_FROM = 1 << 20
"""Bytes from which on an array is mapped."""


def save_arrays(
    directory: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]
) -> None:
    """Write arrays and a header; each file under a temporary name first.

    Args:
        directory: An existing directory.
        arrays: Name to array.
        about: JSON-serialisable facts that a reader must agree on (settings, dataset hash).
    """
    temporary = directory / f".{ARRAYS}.tmp"
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary)
    temporary.replace(directory / ARRAYS)
    header = json.dumps({"format_version": FORMAT_VERSION, "about": about}, sort_keys=True)
    temporary = directory / f".{HEADER}.tmp"
    temporary.write_text(header + "\n", encoding="utf-8")
    temporary.replace(directory / HEADER)


def load_arrays(directory: Path, about: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Read arrays back, checking that they are what the reader expects.

    They can be written to, which changes neither the file nor what other processes see.

    Raises:
        CheckpointError: missing, damaged, of another version, or about something else; names the
            first difference.
    """
    header_file = directory / HEADER
    if not header_file.is_file() or not (directory / ARRAYS).is_file():
        raise CheckpointError(f"no weights in {directory}.", "Train them: abtest train POLICY")
    try:
        header = json.loads(header_file.read_text(encoding="utf-8"))
        arrays = map_arrays(directory / ARRAYS, private=True, least=_MAPPED_FROM)
        known = header["about"].keys()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise CheckpointError(
            f"the weights in {directory} are damaged: {error}.",
            "Retrain: abtest train POLICY --refresh",
        ) from None
    if header.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"the weights in {directory} have format {header.get('format_version')}, "
            f"this program reads {FORMAT_VERSION}.",
            "Retrain: abtest train POLICY --refresh",
        )
    expected = json.loads(json.dumps(about))
    for key in sorted(expected.keys() | known):
        found, wanted = header["about"].get(key), expected.get(key)
        if found == wanted:
            continue
        if key == "dataset":
            raise CheckpointError(
                f"the checkpoint was trained on another dataset ({str(found)[:4]}... is not "
                f"{str(wanted)[:4]}...).",
                "Retrain: abtest train POLICY --data DATASET",
            )
        raise CheckpointError(
            f"the weights in {directory} were trained with {key} = {found!r}, not {wanted!r}.",
            "Retrain: abtest train POLICY --refresh",
        )
    return arrays
