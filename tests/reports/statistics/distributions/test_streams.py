"""Streamed moments against exact fractions, numpy and each other."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from reports.statistics.distributions import streams
from reports.statistics.distributions.streams import grouped_moments
from reports.statistics.errors import StatisticsError
from reports.statistics.moments import Moments

COLUMNS = ["revenue", "clicks", "views"]


def make_table(users: int, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    views = rng.poisson(20, users) + 1
    return pl.DataFrame(
        {
            "arm": rng.choice(["control", "a", "b"], users, p=[0.6, 0.3, 0.1]),
            "level": rng.choice(["light", "heavy"], users),
            "revenue": rng.gamma(2.0, 3.0, users),
            "clicks": rng.binomial(views, 0.2),
            "views": views.astype(np.int32),
        }
    )


def assert_same(one: Moments, other: Moments, relative: float = 1e-11) -> None:
    assert one.users == other.users
    np.testing.assert_allclose(one.mean, other.mean, rtol=relative, atol=1e-12)
    scale = np.abs(other.cross).max(initial=1e-300)
    np.testing.assert_allclose(one.cross, other.cross, rtol=relative, atol=relative * scale)


# Threads on a busy machine have no deadline.
@settings(deadline=None, max_examples=50)
@given(
    users=st.integers(1, 300),
    block=st.integers(1, 100),
    batch=st.integers(1, 200),
    lane=st.integers(1, 64),
)
def test_any_blocks_give_the_moments_of_each_group(
    users: int, block: int, batch: int, lane: int
) -> None:
    table = make_table(users, seed=users)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "BLOCK", block)
        patch.setattr(streams, "BATCH", batch)
        patch.setattr(streams, "_LANE", lane)
        found = grouped_moments(table, COLUMNS)
    assert {name for (name,) in found} == set(table["arm"].unique())
    for (name,), moments in found.items():
        own = table.filter(pl.col("arm") == name).select(COLUMNS).to_numpy()
        assert_same(moments, Moments.of(own))


def test_exact_fractions_a_billion_away_from_zero() -> None:
    rng = np.random.default_rng(3)
    values = 1e9 + rng.normal(size=(3_000, 2))
    values[:, 1] += values[:, 0] - 1e9
    arms = np.where(np.arange(3_000) % 3 == 0, "a", "b")
    table = pl.DataFrame({"arm": arms, "x": values[:, 0], "y": values[:, 1]})
    found = grouped_moments(table, ["x", "y"])
    for name in ("a", "b"):
        own = [[Fraction(float(v)) for v in row] for row in values[arms == name]]
        n = len(own)
        mean = [sum(row[i] for row in own) / n for i in range(2)]
        cross = [
            [float(sum((r[i] - mean[i]) * (r[j] - mean[j]) for r in own)) for j in range(2)]
            for i in range(2)
        ]
        assert found[(name,)].mean.tolist() == pytest.approx([float(m) for m in mean], rel=1e-16)
        np.testing.assert_allclose(found[(name,)].cross, cross, rtol=1e-9)


def test_files_shards_and_frames_agree(tmp_path: Path) -> None:
    table = make_table(40_000)
    table.write_parquet(tmp_path / "t.parquet", row_group_size=7_000)
    table.write_csv(tmp_path / "t.csv")
    whole = grouped_moments(table, COLUMNS, by=["arm", "level"])
    assert len(whole) == 6
    parts = [
        grouped_moments(part, COLUMNS, by=["arm", "level"])
        for part in (table.head(11_111), table.tail(40_000 - 11_111))
    ]
    for source in (pl.scan_parquet(tmp_path / "t.parquet"), pl.scan_csv(tmp_path / "t.csv")):
        for group, moments in grouped_moments(source, COLUMNS, by=["arm", "level"]).items():
            assert_same(moments, whole[group])
    for group, moments in whole.items():
        assert_same(parts[0][group].merge(parts[1][group]), moments)
        own = table.filter(
            pl.struct("arm", "level") == dict(zip(("arm", "level"), group, strict=True))
        )
        assert_same(moments, Moments.of(own.select(COLUMNS).to_numpy()))


def test_a_file_gives_the_same_bytes_however_far_reading_is_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_table(300_000).write_parquet(tmp_path / "t.parquet", row_group_size=50_000)
    seen = []
    for waiting in (0, 1, 4):
        monkeypatch.setattr(streams, "_WAITING", waiting)
        found = grouped_moments(pl.scan_parquet(tmp_path / "t.parquet"), COLUMNS)
        seen.append({k: (m.users, m.mean.tobytes(), m.cross.tobytes()) for k, m in found.items()})
    assert seen[0] == seen[1] == seen[2]


def test_the_same_rows_give_the_same_bytes_however_the_file_is_cut(tmp_path: Path) -> None:
    table = make_table(90_000)
    seen = []
    for rows in (900, 15_999, 16_000, 70_000, 90_000):
        path = tmp_path / f"{rows}.parquet"
        table.write_parquet(path, row_group_size=rows)
        found = grouped_moments(pl.scan_parquet(path), COLUMNS, by=["arm", "level"])
        seen.append([(k, m.users, m.mean.tobytes(), m.cross.tobytes()) for k, m in found.items()])
    seen.append(
        [
            (k, m.users, m.mean.tobytes(), m.cross.tobytes())
            for k, m in grouped_moments(table, COLUMNS, by=["arm", "level"]).items()
        ]
    )
    assert all(one == seen[0] for one in seen)


def test_values_that_move_away_from_the_first_ones_lose_nothing() -> None:
    # Each block is far from the origin, in its own deviations, as in a table sorted by value.
    steps = np.repeat([0.0, 1e7, 3e9], 20_000)
    values = steps + np.random.default_rng(7).normal(size=60_000)
    late = np.where(np.arange(60_000) >= 50_000, "b", "a")
    found = grouped_moments(pl.DataFrame({"arm": late, "x": values}), ["x"])
    for name in ("a", "b"):
        own = [Fraction(float(v)) for v in values[late == name]]
        mean = sum(own) / len(own)
        cross = float(sum((v - mean) ** 2 for v in own))
        assert found[(name,)].mean[0] == pytest.approx(float(mean), rel=1e-15)
        assert found[(name,)].cross[0, 0] == pytest.approx(
            cross, rel=1e-12 if name == "a" else 1e-7
        )


def test_more_groups_than_are_compared_one_by_one() -> None:
    rng = np.random.default_rng(8)
    values = rng.normal(size=(40_000, 2))
    arms = rng.integers(0, 200, 40_000)
    table = pl.DataFrame({"arm": arms, "x": values[:, 0], "y": values[:, 1]})
    found = grouped_moments(table, ["x", "y"])
    assert [arm for (arm,) in found] == list(dict.fromkeys(arms.tolist()))
    for (arm,), moments in found.items():
        assert_same(moments, Moments.of(values[arms == arm]))


def test_many_columns_use_the_matrix_product() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(5_000, 12))
    names = [f"c{i}" for i in range(12)]
    table = pl.DataFrame(values, schema=names).with_columns(arm=pl.lit("a"))
    assert_same(grouped_moments(table, names)[("a",)], Moments.of(values))


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_missing_values_name_their_column(bad: float | None) -> None:
    table = pl.DataFrame({"arm": ["a", "b", "a"], "x": [1.0, 2.0, 3.0], "y": [1.0, bad, 3.0]})
    with pytest.raises(StatisticsError, match="column 'y' has missing or infinite values"):
        grouped_moments(table, ["x", "y"])


def test_a_missing_group_is_an_error() -> None:
    with pytest.raises(StatisticsError, match="column 'arm' has missing values"):
        grouped_moments(pl.DataFrame({"arm": ["a", None], "x": [1.0, 2.0]}), ["x"])


def test_an_empty_table_has_no_groups() -> None:
    assert grouped_moments(make_table(10).clear(), COLUMNS) == {}


def test_combined_columns_are_columns_of_their_sums() -> None:
    values = np.random.default_rng(6).normal(size=(50, 3))
    weights = np.array([[1.0, 0.0, 0.5], [0.0, -2.0, 0.0]])
    assert_same(Moments.of(values).combine(weights), Moments.of(values @ weights.T))
