"""Map the arrays of a safetensors file into memory, so that processes share what they read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def map_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Read-only arrays by name; pages are read when they are looked at, and shared.

    The layout is that of safetensors 0.x: eight bytes with the length of a JSON header, the header
    with types, shapes and offsets, the arrays.

    Raises:
        ValueError, KeyError, OSError: not such a file.
    """
    content = np.memmap(file, dtype=np.uint8, mode="r")
    size = int(content[:8].view("<u8")[0])
    header = json.loads(content[8 : 8 + size].tobytes())
    arrays: dict[str, NDArray[Any]] = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        first, last = about["data_offsets"]
        part = content[8 + size + first : 8 + size + last]
        arrays[name] = np.asarray(part.view(_TYPES[about["dtype"]])).reshape(about["shape"])
    return arrays
