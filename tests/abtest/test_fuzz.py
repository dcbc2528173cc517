"""Damaged files are read or refused by every reader; `python -m benchmarks.fuzz` tries more."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from benchmarks.fuzz import Change, Target, changes, check, damaged, targets

TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_undamaged_files_are_read(name: str, tmp_path: Path) -> None:
    ends = [check(TARGETS[name], tmp_path, data) for data in TARGETS[name].seeds]
    assert ends == ["read"] * len(ends)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_end_in_no_fault_of_ours(name: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(how=changes)
    def ends_well(how: list[Change]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for data in TARGETS[name].seeds:
                assert check(TARGETS[name], Path(folder), damaged(data, how))

    ends_well()


def test_a_fault_is_not_swallowed(tmp_path: Path) -> None:
    def reader(folder: Path, data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(KeyError):
        check(Target(reader, ()), tmp_path, b"x")
