"""Reduce parts of users to moments, totals and order statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from reports.statistics.distributions.order_statistics import (
    interpolated,
    neighbours,
    order_statistics,
)
from reports.statistics.moments import Float, Moments
from reports.users.table import Users, UserTable

Columns = Callable[[UserTable], Float]
"""float64[users, k] of a part."""


def merged(parts: Sequence[Moments]) -> Moments:
    """Of all users together."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole


def arm_moments(users: Users, columns: Columns, arms: Sequence[str]) -> list[Moments]:
    """Moments of some columns in each of some arms.

    Raises:
        StatisticsError: a value is missing or infinite.
    """
    found: list[Moments | None] = [None] * len(arms)
    for part in users.parts():
        values = columns(part)
        for g, arm in enumerate(arms):
            own = Moments.of(values[part.rows(arm)])
            before = found[g]
            found[g] = own if before is None else before.merge(own)
    return [one for one in found if one is not None]


def total(users: Users, value: Callable[[UserTable], float | Float]) -> Float:
    """float64[...], added up over the parts."""
    return np.asarray(sum(np.asarray(value(part), np.float64) for part in users.parts()))


def values_at(
    users: Users, collections: Sequence[Columns], ranks: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Values at some places of the sorted values of some collections of users.

    Args:
        users: Of the experiment.
        collections: float64[n] of a part each.
        ranks: From 1, per collection.

    Raises:
        StatisticsError: a value is missing or infinite.
    """

    def read() -> Iterator[list[Float]]:
        return ([values(part) for values in collections] for part in users.parts())

    return order_statistics(read, ranks)


def quantiles(
    users: Users, collections: Sequence[tuple[Columns, int, Sequence[float]]]
) -> list[list[float]]:
    """Interpolated quantiles, as ``np.quantile`` gives them.

    Args:
        users: Of the experiment.
        collections: float64[n] of a part, how many values that makes in all, and the quantiles.

    Raises:
        StatisticsError: a value is missing or infinite.
    """
    asked = [[neighbours(size, q) for q in wanted] for _, size, wanted in collections]
    ranks = [[rank for _, pair in places for rank in pair] for places in asked]
    found = values_at(users, [values for values, _, _ in collections], ranks)
    return [
        [interpolated(own[2 * i : 2 * i + 2], place) for i, (place, _) in enumerate(places)]
        for own, places in zip(found, asked, strict=True)
    ]
