from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsvcr.data.lengths import by_lengths

PAIRS = st.lists(st.tuples(st.integers(0, 51), st.integers(0, 50)), max_size=60)


@given(PAIRS)
def test_everybody_has_one_place(pairs: list[tuple[int, int]]) -> None:
    lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    order = by_lengths(lengths[:, 0], lengths[:, 1])
    assert sorted(order) == list(range(len(pairs)))


@given(PAIRS)
def test_own_lengths_rise_in_steps(pairs: list[tuple[int, int]]) -> None:
    lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    steps = lengths[by_lengths(lengths[:, 0], lengths[:, 1]), 0] // 8
    assert (np.diff(steps) >= 0).all()


def test_tie_decides_among_equals() -> None:
    same = np.full(5, 3)
    tie = np.array([0.4, 0.1, 0.9, 0.0, 0.5])
    assert by_lengths(same, same, tie).tolist() == np.argsort(tie).tolist()


def test_padding_is_far_less_than_by_one_length() -> None:
    random = np.random.default_rng(0)
    own, other = np.minimum(random.geometric(0.06, (2, 4_000)), 50)

    def area(order: NDArray[np.intp]) -> int:
        blocks = np.split(order, range(64, len(order), 64))
        return sum(len(b) * int(own[b].max()) * int(other[b].max()) for b in blocks)

    both = area(by_lengths(own, other))
    assert both < 0.6 * min(area(np.argsort(own)), area(np.argsort(other)))
