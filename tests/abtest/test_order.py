"""The benchmark of order: its intervals, its table, and the steps that need no trained policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.order import METRICS, ORACLE, PLATFORM, Lift, Stage, report, verdict
from tests.abtest.quiet_world import quiet_world_file


def test_lift_is_that_of_means_with_the_variance_of_a_ratio_of_pairs() -> None:
    random = np.random.default_rng(0)
    base = random.gamma(4.0, 1.0, 4_000)
    more = 1.2 * base + 0.1 * random.normal(size=4_000)
    lift = Lift.of(more, base)
    assert lift.value == pytest.approx(more.mean() / base.mean() - 1.0)
    resampled = [
        more[pick].mean() / base[pick].mean() - 1.0
        for pick in random.integers(0, 4_000, (2_000, 4_000))
    ]
    assert (lift.high - lift.low) / 3.92 == pytest.approx(np.std(resampled), rel=0.1)
    assert verdict(lift) == "above"
    assert verdict(Lift.of(base, more)) == "below"
    assert verdict(Lift.of(base, random.permutation(base))) == "not told apart"


def test_the_table_counts_neighbouring_steps_and_marks_what_is_out_of_order() -> None:
    random = np.random.default_rng(1)
    base = random.gamma(4.0, 1.0, (500, len(METRICS)))
    found = {"random": base, "popular": 1.1 * base, "ease": 1.3 * base, "itemknn": 1.2 * base}
    found[PLATFORM] = 1.25 * base
    rows, above, compared = report(found)
    # popular over random, two over popular, the platform over two: one of which is better.
    assert compared == 5 * len(METRICS)
    assert above == 4 * len(METRICS)
    marked = {row[0] for row in rows if any("!" in cell for cell in row[1:])}
    assert marked == {PLATFORM}


def test_better_views_of_taste_earn_more_in_the_small_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 people, one day: lifts of a quarter and more, whose errors are a few per cent."""
    monkeypatch.setenv("ABTEST_CACHE", str(tmp_path))
    stage = Stage(quiet_world_file(tmp_path), 1, users=300, log_users=60)
    found = {name: stage.live(name) for name in ("random", PLATFORM, ORACLE)}
    for column, metric in enumerate(METRICS):
        own = Lift.of(found[PLATFORM][:, column], found["random"][:, column])
        assert own.low > 0.0, metric
        assert found[ORACLE][:, column].mean() > found["random"][:, column].mean(), metric
    assert Lift.of(found[PLATFORM][:, 1], found["random"][:, 1]).value > 0.2
