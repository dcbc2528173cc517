"""Arrays of a safetensors file are mapped as they were written; what is no such file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from simulator.logs.mapped_arrays import map_arrays

KINDS = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


def written(folder: Path) -> Path:
    random = np.random.default_rng(1)
    arrays = {k: random.integers(0, 2, (3, 5)).astype(k) for k in KINDS}
    arrays |= {"empty": np.zeros((0, 4), np.float32), "scalar": np.array(3.5)}
    save_file(arrays, folder / "a.safetensors")
    return folder / "a.safetensors"


def test_arrays_of_all_kinds_come_back(tmp_path: Path) -> None:
    file = written(tmp_path)
    found, expected = map_arrays(file), load_file(file)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape


def test_writing_to_a_private_array_changes_neither_file_nor_other_mapping(tmp_path: Path) -> None:
    file = written(tmp_path)
    before = file.read_bytes()
    own, other = map_arrays(file, private=True), map_arrays(file)
    own["f8"][:] = 9.0
    assert (own["f8"] == 9.0).all()
    np.testing.assert_array_equal(other["f8"], load_file(file)["f8"])
    assert file.read_bytes() == before
    with pytest.raises(ValueError, match="read-only"):
        other["f8"][0] = 1.0


def test_small_arrays_are_read(tmp_path: Path) -> None:
    file = written(tmp_path)
    found = map_arrays(file, private=True, least=15 * 4)
    for name, array in found.items():
        assert np.shares_memory(array, array) or array.size == 0
        mapped = array.base is not None
        assert mapped == (array.nbytes >= 15 * 4), name


def changed(content: bytes, **fields: Any) -> bytes:
    """The file with other fields of its array ``f4`` in the header."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["f4"].update(fields)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": "F99"},
        {"shape": [3, 6]},
        {"shape": [-3, -5]},
        {"shape": 15},
        {"shape": ["a"]},
        {"data_offsets": [-60, 0]},
        {"data_offsets": [10**9, 10**9 + 60]},
        {"data_offsets": [60, 0]},
        {"data_offsets": None},
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    file = written(tmp_path)
    file.write_bytes(changed(file.read_bytes(), **fields))
    with pytest.raises((ValueError, KeyError, TypeError)):
        map_arrays(file)


@pytest.mark.parametrize("length", [0, 3, 8, 20, -1])
def test_a_file_that_was_cut_is_refused(tmp_path: Path, length: int) -> None:
    file = written(tmp_path)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError):
        map_arrays(file)


@pytest.mark.parametrize("header", [b"[]", b"7", b'{"a": 3}', b"\xff"])
def test_a_header_of_another_kind_is_refused(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises((ValueError, TypeError, AttributeError)):
        map_arrays(file)
