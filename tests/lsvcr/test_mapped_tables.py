"""Processes that rank with the same `lsvcr` share its tables: nothing is copied or written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsvcr.policy import LSVCR
from policies import checkpoint
from policies.checkpoint import ARRAYS
from tests.lsvcr.scoring import LEARNING, Ask, scores_of
from tests.policies.mappings import SMAPS, held_alone

TABLES = ("candidates", "video_tokens", "section_tokens", "comment_parts", "queries", "comment_row")


@pytest.mark.skipif(not SMAPS.exists(), reason="this system does not tell what a process shares")
def test_ranking_copies_no_table(
    planted: Any, fitted: LSVCR, asking: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted.save(tmp_path)
    monkeypatch.setattr(checkpoint, "_MAPPED_FROM", 1_000)
    loaded = LSVCR(**LEARNING)
    loaded.load(tmp_path, planted.dataset)
    expected = scores_of(fitted, planted.dataset, asking)
    for mine, theirs in zip(expected, scores_of(loaded, planted.dataset, asking), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    size, alone = held_alone(tmp_path / ARRAYS)
    tables = [task._tables[name] for task in loaded._tasks.values() for name in TABLES]
    large = [table for table in tables if table.nbytes >= 1_000]
    assert len(large) >= 4 and not any(table.flags.owndata for table in large)
    assert size * 1024 >= sum(table.nbytes for table in large) and alone == 0
    for task in loaded._tasks.values():
        # What is used is what is mapped, no copy in another precision.
        assert task._candidates is task._tables["candidates"]
        assert task._parts is task._tables["comment_parts"]
        assert task._rows is task._tables["comment_row"]
