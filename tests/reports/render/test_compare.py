from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from reports.analysis.seeds import seed_summaries
from reports.render.comparison import render_comparison
from reports.results import Estimate, ExperimentResult
from reports.statistics.random_effects import random_effects
from tests.reports.conftest import make_result

A = make_result(1, context={"seed": 1, "data": {"content_hash": "aaaa"}}, users=200)
B = make_result(2, context={"seed": 2, "data": {"content_hash": "aaaa"}}, users=200)
C = make_result(3, context={"seed": 2, "data": {"content_hash": "cccc"}}, users=200)


def test_one_row_per_run_with_its_lift_and_verdict() -> None:
    text = render_comparison([("runs/a", A), ("runs/b", B)], encoding="ascii", width=80)
    for name, result in (("runs/a", A), ("runs/b", B)):
        row = next(line for line in text.splitlines() if line.startswith(name))
        relative = result.comparisons[0].metrics[0].relative
        assert relative is not None
        assert f"{100 * relative.value:+.1f} %" in row
        assert row.endswith(result.comparisons[0].verdict.state)


def test_differences_between_the_runs_are_named() -> None:
    same = render_comparison([("a", A), ("b", B)], encoding="ascii", width=80)
    assert "The runs differ in: seed (1, 2)." in same
    assert "different data" not in same
    other = render_comparison([("a", A), ("c", C)], encoding="ascii", width=110)
    assert "data (aaaa, cccc)" in other
    assert "warning: the runs are on different data" in other


def test_several_treatments_are_several_rows_and_fit_any_width() -> None:
    many = make_result(arms={"sasrec": 1.0, "视频": 1.3, "z" * 60: 0.9}, users=200)
    for width in (40, 80, 110):
        text = render_comparison([("run" * 30, many), ("b", B)], encoding="utf-8", width=width)
        assert text.count("sasrec") == 3
        assert max(len(line) for line in text.splitlines()) <= width
    assert render_comparison([("r", many), ("b", B)], encoding="ascii", width=80).isascii()


def test_runs_without_context_compare() -> None:
    bare = make_result(4, users=200)
    assert "differ" not in render_comparison([("a", bare), ("b", bare)], encoding="ascii", width=80)


def as_replay(result: ExperimentResult, data: str = "bbbb") -> ExperimentResult:
    """The same figures, as a replay has them: per impression, under its names."""
    mine = {"comment_watch_time": "comment_stay_ms", "play_time": "play_time_ms"}
    comparisons = tuple(
        dataclasses.replace(
            c,
            metrics=tuple(
                dataclasses.replace(
                    m, metric=mine[m.metric], label=f"{m.label} per impression",
                    unit="s per impression",
                )
                for m in c.metrics
                if m.metric in mine
            ),
        )
        for c in result.comparisons
    )  # fmt: skip
    context = {"replay": {"definition": "one slot"}, "data": {"content_hash": data}}
    return dataclasses.replace(result, design="observed", comparisons=comparisons, context=context)


def test_a_replay_beside_a_simulation_is_told_from_it() -> None:
    replayed = as_replay(B)
    text = render_comparison([("runs/r", replayed), ("runs/s", A)], encoding="ascii", width=130)
    flat = " ".join(text.split())
    assert "2 runs (1 replay, 1 simulation)" in flat
    rows = {line.split()[0]: line.split()[1] for line in text.splitlines() if "runs/" in line}
    assert rows == {"runs/r": "replay", "runs/s": "simulation"}
    assert "A replay values one impression" in flat
    assert "A simulation counts whole days" in flat
    assert "Primary metric: Comment watch time." in flat
    assert "different primary metrics" not in flat
    assert "not comparable" not in flat
    narrow = render_comparison([("r", replayed), ("s", A)], encoding="ascii", width=60)
    assert "r, replay: lsvcr against sasrec" in narrow
    real = dataclasses.replace(A, simulated=False)
    beside = render_comparison([("r", replayed), ("s", real)], encoding="ascii", width=130)
    assert "An experiment counts whole days" in " ".join(beside.split())
    twice = render_comparison([("a", replayed), ("b", as_replay(A))], encoding="ascii", width=130)
    assert "A replay values" not in twice


def seeded(result: ExperimentResult, training: int, seed: int = 1, days: int = 3, world: int = 1,
           data: str = "aaaa") -> ExperimentResult:  # fmt: skip
    context = {
        "configuration": f"seed = {seed}\ntraining_seed = {training}\nworld_seed = {world}\n"
        f"days = {days}\n",
        "data": {"content_hash": data},
        "versions": {"abtest": "1"},
    }
    return dataclasses.replace(result, context=context)


def test_runs_that_differ_in_seeds_only_are_summarised_by_random_effects() -> None:
    runs = [seeded(r, i, seed=i) for i, r in enumerate((A, B, C))]
    (summary,) = seed_summaries(runs)
    logs, variances = [], []
    for run in runs:
        metric = run.comparisons[0].metrics[0]
        arms = (metric.control.compared, metric.treatment.compared)
        logs.append(math.log(arms[1][0] / arms[0][0]))
        variances.append(sum((error / value) ** 2 for value, error in arms))
    oracle = random_effects(logs, variances)
    assert summary.lift.value == pytest.approx(math.expm1(oracle.mean.value), rel=0.02)
    assert summary.prediction.low is not None and summary.lift.low is not None
    assert summary.prediction.low <= summary.lift.low < summary.lift.value
    assert summary.varied == ("seed", "training_seed")
    text = render_comparison(
        [(str(i), run) for i, run in enumerate(runs)], encoding="ascii", width=80
    )
    flat = " ".join(text.split())
    assert "3 runs that differ in seeds only (seed, training seed), random effects" in flat
    assert "prediction interval" in flat and "Spread between runs" in flat
    assert "share their people" not in flat


def test_only_runs_that_differ_in_nothing_else_are_pooled() -> None:
    assert not seed_summaries([A, B])
    assert not seed_summaries([seeded(A, 1), seeded(B, 2, days=4)])
    assert not seed_summaries([seeded(A, 1), seeded(A, 1)])
    assert not seed_summaries([seeded(A, 1), seeded(B, 2, data="other")])
    (worlds,) = seed_summaries([seeded(A, 1), seeded(B, 1, world=2, data="other")])
    assert worlds.varied == ("world_seed",)
    assert worlds.prediction.low is None
    (training,) = seed_summaries([seeded(A, 1), seeded(B, 2)])
    assert training.shared_people


def test_the_log_variance_of_a_twin_run_uses_its_pairing() -> None:
    """With one twin run twice, the pooled error is the paired one over root two."""
    twin = make_result(5, users=300, design="twin")
    (summary,) = seed_summaries([seeded(twin, 1), seeded(twin, 2)])
    relative = twin.comparisons[0].metrics[0].relative
    assert relative is not None and relative.low is not None and relative.high is not None
    assert summary.lift.low is not None and summary.lift.high is not None
    assert summary.lift.value == pytest.approx(relative.value, rel=1e-9)
    own = math.log1p(relative.high) - math.log1p(relative.low)
    pooled = math.log1p(summary.lift.high) - math.log1p(summary.lift.low)
    # Student's t with one degree of freedom instead of 299.
    assert pooled / own == pytest.approx(12.706 / 1.968 / np.sqrt(2.0), rel=0.02)


def test_runs_whose_intervals_have_different_levels_are_pooled_at_the_higher_one() -> None:
    """A correction that depends on the order of p values gives a treatment another level by run."""
    twin = make_result(5, users=300, design="twin")
    comparison = twin.comparisons[0]
    metric = comparison.metrics[0]
    shown = metric.absolute
    assert shown is not None and shown.low is not None and shown.high is not None
    wider = (shown.high - shown.low) / 2.0 * stats.t.isf(0.0125, 299) / stats.t.isf(0.025, 299)
    corrected = dataclasses.replace(
        metric,
        confidence=0.975,
        absolute=Estimate(shown.value, shown.value - wider, shown.value + wider),
    )
    other = dataclasses.replace(
        twin, comparisons=(dataclasses.replace(comparison, metrics=(corrected,)),)
    )
    (plain,) = seed_summaries([seeded(twin, 1), seeded(twin, 2)])
    (mixed,) = seed_summaries([seeded(twin, 1), seeded(other, 2)])
    assert (plain.confidence, mixed.confidence) == (0.95, 0.975)
    assert mixed.lift.value == pytest.approx(plain.lift.value, rel=1e-9)
    assert mixed.p_value == pytest.approx(plain.p_value, rel=1e-6)
    assert mixed.lift.low is not None and plain.lift.low is not None
    assert mixed.lift.low < plain.lift.low
