"""What a calibration measured once is not measured again, and how far it is is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from simulator.calibration.evaluations import Evaluations, effort
from simulator.calibration.fit import calibrate, loss, planned
from simulator.calibration.knobs import Knob
from simulator.calibration.sample import Sample
from simulator.errors import DataError
from simulator.logs.measures import Measures
from simulator.world.config import WorldConfig

SMALL = WorldConfig.preset("small")
SAMPLE = Sample(users=10, days=2)


class Counting:
    """Stands for the simulation: counts calls, and answers with the click parameter."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, _: Callable[[WorldConfig], Measures], configs: Iterable[WorldConfig]
    ) -> Iterable[Measures]:
        for config in configs:
            self.calls += 1
            yield {"click_rate.standard": 0.3 + 0.1 * (config.click_base + 2.3)}


def test_a_file_of_evaluations_spares_the_next_run_the_same_ones(tmp_path: Path) -> None:
    file, told = tmp_path / "steps.jsonl", []
    other = dataclasses.replace(SMALL, click_base=-1.0)
    first = Counting()
    before = Evaluations(file, parallel=first)(SAMPLE, [SMALL, other])
    again = Counting()
    evaluate = Evaluations(file, parallel=again, told=lambda e, now: told.append((e, now)))
    renamed = dataclasses.replace(other, name="mine")
    assert evaluate(SAMPLE, [other, renamed, SMALL]) == [before[1], before[1], before[0]]
    assert (first.calls, again.calls) == (2, 0)
    # Another sample of the same world is another evaluation.
    evaluate(dataclasses.replace(SAMPLE, seed=2), [SMALL])
    assert again.calls == 1
    assert told == [(30.0, False)] * 3 + [(30.0, True)]


def test_a_line_that_was_cut_short_is_measured_again_and_a_strange_file_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "steps.jsonl"
    Evaluations(file, parallel=Counting())(SAMPLE, [SMALL])
    whole = file.read_text()
    file.write_text(whole + whole[: len(whole) // 2])
    again = Counting()
    other = dataclasses.replace(SMALL, click_base=-1.0)
    Evaluations(file, parallel=again)(SAMPLE, [SMALL, other])
    assert again.calls == 1
    assert Evaluations(file, parallel=again)(SAMPLE, [other]) and again.calls == 1
    file.write_text('{"who": 1}\n' + whole)
    with pytest.raises(DataError, match="line 1: not an evaluation"):
        Evaluations(file)


def test_a_fit_moves_its_knob_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """The published click rate is .379, which the stand-in has at a click parameter of -1.51."""
    knobs = [Knob("click_base", ("click_rate.standard",), 0.15)]
    done: list[float] = []

    def fitted(parallel: Counting) -> WorldConfig:
        evaluate = Evaluations(
            tmp_path / "steps.jsonl", parallel=parallel, told=lambda e, _: done.append(e)
        )
        return calibrate(SMALL, SAMPLE, iterations=6, evaluate=evaluate, knobs=knobs)

    first, again = Counting(), Counting()
    found = fitted(first)
    assert found.click_base == pytest.approx(-1.513, abs=0.03)
    assert 3 <= first.calls <= 10
    assert sum(done) <= planned(SAMPLE, SAMPLE, 6, knobs)
    assert fitted(again) == found and again.calls == 0


def test_effort_counts_days_of_people_and_the_loss_grows_linearly_far_off() -> None:
    ladder = Sample(users=100, days=3, ladder_users=50, ladder_days=2)
    assert effort(ladder) == 100 * 3 * 1.5 + 50 * (1 + 4 * 2)
    assert effort(dataclasses.replace(ladder, contrasts=False)) == 100 * 3 + 50 * (1 + 4 * 2)
    assert loss([0.0]) == 0.0
    assert loss([0.1, -0.1]) == pytest.approx(0.01, rel=0.01)
    assert loss([20.0]) / loss([10.0]) == pytest.approx(2.2, abs=0.1)
    assert loss([30.0]) == loss([500.0])


def test_figures_of_several_worlds_are_means_over_them() -> None:
    sample = Sample(seed=4, worlds=2, users=60, days=1, contrasts=False)
    both = sample.evidence(SMALL)
    alone = [dataclasses.replace(sample, seed=seed, worlds=1).evidence(SMALL) for seed in (4, 5)]
    assert alone[0]["click_rate.standard"] != alone[1]["click_rate.standard"]
    for name in ("click_rate.standard", "session_length", "exposure.gini"):
        values = [one[name] or 0.0 for one in alone]
        assert both[name] == pytest.approx(sum(values) / 2)
    assert effort(sample) == 2 * effort(dataclasses.replace(sample, worlds=1))
