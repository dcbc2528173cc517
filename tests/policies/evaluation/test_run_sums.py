"""Sums over runs and lists, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.evaluation.run_sums import listed_sums, run_sums


@given(st.lists(st.integers(1, 5), max_size=6), st.sampled_from([np.float32, np.float64]))
def test_runs(sizes: list[int], kind: type) -> None:
    n = sum(sizes)
    values = np.random.default_rng(n).integers(-9, 9, (n, 3)).astype(kind)
    first = np.cumsum([0, *sizes])[: len(sizes)]
    found = run_sums(values, first)
    expected = [values[at : at + size].sum(axis=0) for at, size in zip(first, sizes, strict=True)]
    assert found.dtype == kind
    np.testing.assert_array_equal(found, np.array(expected).reshape(-1, 3))


@pytest.mark.parametrize("width", [0, 1, 4])
def test_lists(width: int) -> None:
    random = np.random.default_rng(width)
    table = random.integers(-9, 9, (5, 2)).astype(np.float32)
    index = random.integers(-1, 5, (6, width))
    found = listed_sums(table, index)
    expected = [sum((table[i] for i in row if i >= 0), np.zeros(2)) for row in index]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))
