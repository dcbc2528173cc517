"""Map the arrays of a safetensors file into memory, so that processes share what they read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_LENGTH = 8
"""Bytes of the header's length."""


def map_arrays(file: Path, *, private: bool = False, least: int = 0) -> dict[str, NDArray[Any]]:
    """Arrays by name; pages are read when they are looked at, and shared.

    The layout is that of safetensors 0.x: eight bytes with the length of a JSON header, the header
    with types, shapes and offsets, the arrays.

    Args:
        file: What is mapped. It may be replaced meanwhile, but not written to.
        private: Arrays can be written to: what is written stays in this process, and only the
            pages that it is written to are no longer shared. False: they are read-only.
        least: Arrays of fewer bytes are read, not mapped.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OSError: not such a file.
    """
    content = np.memmap(file, dtype=np.uint8, mode="c" if private else "r")
    if len(content) < _LENGTH:
        raise ValueError("it is too short")
    size = int(content[:_LENGTH].view("<u8")[0])
    header = json.loads(content[_LENGTH : _LENGTH + size].tobytes())
    data = content[_LENGTH + size :]
    arrays: dict[str, NDArray[Any]] = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        kind, shape = np.dtype(_TYPES[about["dtype"]]), tuple(about["shape"])
        first, last = about["data_offsets"]
        if min(first, *shape, 0) < 0 or last - first != math.prod(shape) * kind.itemsize:
            raise ValueError(f"the place of '{name}' does not fit its shape")
        if last > len(data):
            raise ValueError(f"it ends before '{name}' does")
        array = np.asarray(data[first:last].view(kind)).reshape(shape)
        arrays[name] = array if array.nbytes >= least else array.copy()
    return arrays
