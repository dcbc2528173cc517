"""Quantiles from a stream are those of the values in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.statistics.distributions.quantile_streams import _Shares, grouped_quantiles
from reports.statistics.distributions.quantiles import QuantileEstimate, quantile_estimate
from reports.statistics.errors import StatisticsError


def make_events(users: int = 900, seed: int = 1, *, ties: bool = False) -> pl.DataFrame:
    """Sorted by user; a user's values are alike."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(users), rng.poisson(4, users))
    values = rng.lognormal(0.0, 1.0, users)[ids] * rng.gamma(2.0, 1.0, len(ids))
    return pl.DataFrame(
        {
            "user": ids,
            "arm": np.where(rng.random(users) < 0.3, "new", "control")[ids],
            "x": np.round(values) if ties else values,
        }
    )


def in_memory(table: pl.DataFrame, arm: str, q: float, *, clustered: bool) -> QuantileEstimate:
    own = table.filter(pl.col("arm") == arm)
    users = own["user"].to_numpy() if clustered else None
    return quantile_estimate(own["x"].to_numpy(), q, users=users, confidence=0.9)


def assert_same(found: QuantileEstimate, expected: QuantileEstimate) -> None:
    assert found.interval == expected.interval
    for name, a, b in zip(found._fields, found, expected, strict=True):
        if name not in ("interval", "quantile"):
            assert a == (None if b is None else pytest.approx(b, rel=1e-12)), name


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("order", ["sorted", "shuffled", "names"])
@pytest.mark.parametrize("q", [0.1, 0.5, 0.99])
def test_a_streamed_file_is_the_table_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clustered: bool, order: str, q: float
) -> None:
    table = make_events()
    stored = table
    if order == "shuffled":
        stored = table.sample(fraction=1.0, shuffle=True, seed=2)
    elif order == "names":
        names = pl.col("user").cast(pl.String).str.zfill(6)
        stored = table.with_columns(user=names)
    stored.write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(
        pl.LazyFrame, "collect_batches", lambda lazy, **_: lazy.collect().iter_slices(101)
    )
    found = grouped_quantiles(
        pl.scan_parquet(tmp_path / "t.parquet"),
        "x",
        q,
        user="user" if clustered else None,
        confidence=0.9,
    )
    assert set(found) == {("control",), ("new",)}
    for (arm,), one in found.items():
        assert_same(one, in_memory(table, arm, q, clustered=clustered))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), q=st.floats(0.02, 0.98), ties=st.booleans())
def test_any_table_and_quantile(seed: int, q: float, ties: bool) -> None:
    table = make_events(60, seed, ties=ties)
    expected = {}
    try:
        for arm in table["arm"].unique(maintain_order=True):
            expected[arm,] = in_memory(table, arm, q, clustered=True)
    except StatisticsError as error:
        with pytest.raises(StatisticsError, match=error.problem):
            grouped_quantiles(table, "x", q, user="user", confidence=0.9)
        return
    found = grouped_quantiles(table, "x", q, user="user", confidence=0.9)
    assert found.keys() == expected.keys()
    for name, one in found.items():
        assert_same(one, expected[name])


def test_batches_must_go_on_with_users_that_come_later() -> None:
    batches = {(5, 6): True, (7,): True, (4, 9): False, (8, 7): False, (4,): False}
    for users, fits in batches.items():
        shares = _Shares(1.0)
        assert shares.add(np.array([0.0, 2.0, 1.0]), pl.Series([1, 2, 5]))
        # The last user of a batch may go on in the next one.
        assert shares.add(np.ones(len(users)), pl.Series(users)) is fits


def test_groups_of_several_columns() -> None:
    table = make_events().with_columns(level=pl.col("user") % 2)
    found = grouped_quantiles(table, "x", 0.5, by=("arm", "level"), user="user", confidence=0.9)
    assert len(found) == 4
    for (arm, level), one in found.items():
        part = table.filter(pl.col("level") == level)
        assert_same(one, in_memory(part, arm, 0.5, clustered=True))


def test_what_has_no_quantile_is_an_error() -> None:
    table = make_events(20)
    with pytest.raises(StatisticsError, match=r"not in \(0, 1\)"):
        grouped_quantiles(table, "x", 1.0)
    with pytest.raises(StatisticsError, match="at least two users"):
        grouped_quantiles(table.head(1), "x", 0.5)
    with pytest.raises(StatisticsError, match="'user' has missing values"):
        nobody = table.with_columns(user=pl.lit(None, dtype=pl.Int64))
        grouped_quantiles(nobody, "x", 0.5, user="user")
    with pytest.raises(StatisticsError, match="missing or infinite"):
        grouped_quantiles(table.with_columns(x=pl.lit(np.inf)), "x", 0.5)
    same = pl.DataFrame({"arm": "a", "user": [0, 0, 1, 1], "x": [1.0, 2.0, 1.0, 2.0]})
    with pytest.raises(StatisticsError, match="same share of values"):
        grouped_quantiles(same, "x", 0.5, user="user")
