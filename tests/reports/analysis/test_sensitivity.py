"""The record of an experiment under other assumptions, from the analysed twins."""

from __future__ import annotations

import dataclasses
import json

import polars as pl
import pytest

from abtest.results.metrics import platform_metrics
from reports.analysis.analyze import analyze
from reports.analysis.sensitivity import AnalysedGrid, sensitivity
from reports.plan import AnalysisPlan
from reports.results import Estimate, ExperimentResult
from tests.reports.conftest import make_outcomes, make_result


def twin(effect: float, seed: int = 3) -> ExperimentResult:
    return make_result(seed, {"sasrec": 1.0, "lsvcr": effect}, design="twin", users=300)


@pytest.fixture(scope="module")
def base() -> ExperimentResult:
    return twin(1.6)


def test_points_are_the_twins_primary_metrics_in_order_with_the_base_among_them(
    base: ExperimentResult,
) -> None:
    low = twin(0.6)
    grid = AnalysedGrid("taste", "taste", 1.0, "none", "why", True, [(0.2, low)])
    record = sensitivity(base, [grid], days=3, retrained=False)
    assert record is not None
    assert (record.metric, record.users, record.days) == ("comment_watch_time", 300, 3)
    (found,) = record.grids
    assert [point.value for point in found.points] == [0.2, 1.0]
    for point, result in zip(found.points, (low, base), strict=True):
        metric = result.comparisons[0].metrics[0]
        (lift,) = point.lifts
        assert lift.effect == metric.relative
        assert lift.outcome == metric.outcome
        assert point.control == metric.control.value
    assert found.findings[0].code == "changes sign"
    assert (found.findings[0].better, found.findings[0].worse) == ((1.0,), (0.2,))
    whole = dataclasses.replace(base, assumptions=record)
    assert ExperimentResult.from_json(whole.to_json()) == whole


def test_one_world_without_a_relative_lift_makes_all_effects_absolute(
    base: ExperimentResult,
) -> None:
    comparison = base.comparisons[0]
    metric = dataclasses.replace(comparison.metrics[0], scale="absolute", relative=None)
    silent = dataclasses.replace(comparison, metrics=(metric, *comparison.metrics[1:]))
    odd = dataclasses.replace(base, comparisons=(silent,))
    grid = AnalysedGrid("taste", "taste", 1.0, "set", "", True, [(2.0, odd)])
    record = sensitivity(base, [grid], days=3, retrained=False)
    assert record is not None and record.scale == "absolute"
    effects = [point.lifts[0].effect for point in record.grids[0].points]
    assert effects == [comparison.metrics[0].absolute] * 2


def test_results_of_older_versions_have_no_assumptions(base: ExperimentResult) -> None:
    document = json.loads(base.to_json())
    assert document.pop("assumptions") is None
    assert ExperimentResult.from_json(json.dumps(document)) == base


def test_arms_that_did_the_same_have_no_effect_and_are_no_missing_data(
    base: ExperimentResult,
) -> None:
    outcomes = make_outcomes(5, {"sasrec": 1.0}, users=50, twin=True)
    both = pl.concat([outcomes, outcomes.with_columns(arm=pl.lit("lsvcr"))])
    plan = AnalysisPlan(metrics=platform_metrics())
    same = analyze(both, plan, control="sasrec", treatments=["lsvcr"], design="twin")
    assert same.comparisons[0].metrics[0].outcome == "no data"
    grid = AnalysedGrid("order", "order", 1.0, "none", "", False, [(0.0, same)])
    record = sensitivity(base, [grid], days=3, retrained=False)
    assert record is not None
    (lift,) = record.grids[0].points[0].lifts
    assert (lift.effect, lift.outcome) == (Estimate(0.0, 0.0, 0.0), "not clear")
    (found,) = record.grids[0].findings
    assert (found.code, found.better, found.unclear) == ("better in part", (1.0,), (0.0,))
