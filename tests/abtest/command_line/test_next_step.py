"""What a finished run and a run that is not there propose to do next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from abtest.results.conclusion import next_step
from reports.results import Decision, ExperimentResult, Scale
from tests.abtest.conftest import Result
from tests.reports.conftest import make_result

Run = Callable[..., Result]


def _decided(decision: Decision, min_effect: float, scale: Scale = "relative") -> ExperimentResult:
    result = make_result()
    (comparison,) = result.comparisons
    verdict = replace(
        comparison.verdict, decision=decision, min_effect=min_effect, min_effect_scale=scale
    )
    return replace(result, comparisons=(replace(comparison, verdict=verdict),))


def test_an_unclear_result_asks_how_many_people_it_takes() -> None:
    place = Path("my runs/a")
    assert next_step(_decided("keep running", 0.005), place).startswith(
        "abtest power 'my runs/a' --mde 0.5%   ("
    )
    for unclear in (_decided("keep running", 0.0), _decided("keep running", 3.0, "absolute")):
        assert next_step(unclear, place).startswith("abtest power 'my runs/a'   (")
    assert next_step(_decided("ship", 0.005), place).startswith("abtest report 'my runs/a' --fo")


def test_a_missing_run_names_those_that_are_there(abtest: Run, tmp_path: Path) -> None:
    assert "no run at runs/frist. Make one: abtest demo" in abtest("report", "runs/frist").err
    for name in ("first", "second", "no-run"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        if name != "no-run":
            (tmp_path / "runs" / name / "plan.json").write_text("{}")
    for command in (("report", "runs/frist"), ("run", "--resume", "frist")):
        assert "Nearby: runs/first\n" in abtest(*command).err
    assert "Nearby: runs/first, runs/second\n" in abtest("report", "xyz").err
