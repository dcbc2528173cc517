"""Order statistics in bounded memory against sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.statistics.distributions.order_statistics import (
    interpolated,
    neighbours,
    order_statistics,
)
from reports.statistics.errors import StatisticsError

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(FLOATS | st.sampled_from([0.0, -0.0, 1.0, 5e-324]), min_size=1, max_size=60),
    cut=st.integers(0, 60),
    held=st.sampled_from([0, 3, 1_000]),
)
def test_every_rank_is_that_of_the_sorted_values(values: list[float], cut: int, held: int) -> None:
    blocks = [np.array(values[:cut]), np.array(values[cut:])]
    ranks = list(range(1, len(values) + 1))
    (found,) = order_statistics(lambda: [[block] for block in blocks], [ranks], held=held)
    assert found == sorted(values)


@pytest.mark.parametrize("held", [0, 100, 1_000_000])
def test_collections_of_different_sizes_are_read_side_by_side(held: int) -> None:
    rng = np.random.default_rng(1)
    tail = rng.lognormal(2.0, 2.0, 20_000)
    counts = rng.poisson(3.0, 5_000).astype(np.float64)
    blocks = list(zip(np.array_split(tail, 7), np.array_split(counts, 7), strict=True))
    ranks = [[1, 10_000, 19_800, 20_000], [2_500]]
    found = order_statistics(lambda: blocks, ranks, held=held)
    assert found[0] == [np.sort(tail)[rank - 1] for rank in ranks[0]]
    assert found[1] == [np.sort(counts)[2_499]]


def test_the_number_of_readings_is_bounded_even_if_all_values_are_alike() -> None:
    readings = 0

    def read() -> list[list[np.ndarray]]:
        nonlocal readings
        readings += 1
        return [[np.full(1_000, 0.1)]]

    assert order_statistics(read, [[1, 500, 1_000]], held=10) == [[0.1, 0.1, 0.1]]
    assert readings == 4


def test_nothing_asked_reads_nothing() -> None:
    assert order_statistics(lambda: pytest.fail("read"), [[], []]) == [[], []]


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    quantile=st.floats(0.0, 1.0),
)
def test_interpolation_is_numpys(values: list[float], quantile: float) -> None:
    place, ranks = neighbours(len(values), quantile)
    ordered = sorted(values)
    found = interpolated([ordered[rank - 1] for rank in ranks], place)
    assert found == pytest.approx(np.quantile(values, quantile), rel=1e-12, abs=1e-9)


def test_missing_values_and_ranks_beyond_the_values_are_errors() -> None:
    with pytest.raises(StatisticsError, match="missing or infinite"):
        order_statistics(lambda: [[np.array([1.0, np.nan])]], [[1]])
    with pytest.raises(StatisticsError, match="Rank 3 of 2"):
        order_statistics(lambda: [[np.array([1.0, 2.0])]], [[3]])
