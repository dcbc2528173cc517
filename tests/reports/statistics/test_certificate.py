"""The certificate in short: coverage and error rates where methods usually fail.

`python -m benchmarks.inference.certificate` is the full one. Coverage over R experiments is
compared with 94 to 96 % by an exact binomial test: a test fails by chance once in 10,000 runs if
coverage is at the edge of that range, hardly ever if it is 95 %. Seeds are fixed.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats

from benchmarks.inference import certificate
from benchmarks.inference.certificate import ERROR_RATES, Scenario, Tally
from benchmarks.lib import certificate_trials
from benchmarks.lib.certificate_errors import peeking_always_valid, split_while_it_runs
from benchmarks.lib.certificate_trials import Trial

CHANCE = 1e-4
RUNS = 800

WATCH_TIME = certificate_trials.mean_trial(certificate_trials.WATCH_TIME)


def tally(trial: Trial, control: int, treatment: int, lift: float, runs: int = RUNS) -> Tally:
    return certificate.run_block(Scenario("short", trial, control, treatment, lift), runs, 1, 0)


def below(hits: int, runs: int, rate: float) -> bool:
    """Whether so few hits of a rate at least this are beyond chance."""
    return bool(stats.binom.cdf(hits, runs, rate) < CHANCE)


def above(hits: int, runs: int, rate: float) -> bool:
    """Whether so many hits of a rate at most this are beyond chance."""
    return bool(stats.binom.sf(hits - 1, runs, rate) < CHANCE)


@pytest.mark.parametrize(
    ("trial", "control", "treatment", "lift"),
    [
        (WATCH_TIME, 500, 500, 0.0),
        (WATCH_TIME, 500, 500, 0.5),
        (certificate_trials.proportion_trial, 2_000, 2_000, 0.5),
        (certificate_trials.click_rate_trial, 1_800, 200, 0.0),
        (certificate_trials.stay_trial, 1_000, 1_000, 0.5),
        (certificate_trials.cuped_trial, 500, 500, 0.5),
        (certificate_trials.cuped_ratio_trial, 1_000, 1_000, 0.0),
        (certificate_trials.capped_trial, 4_500, 500, 0.0),
        (certificate_trials.capped_trial, 1_000, 1_000, 0.5),
        (certificate_trials.quantile_trial(0.5), 4_500, 500, 0.5),
        (certificate_trials.quantile_trial(0.9), 1_000, 1_000, 0.5),
        (certificate_trials.event_quantile_trial(0.9), 1_000, 1_000, 0.5),
        (certificate_trials.two_part_trial, 1_000, 1_000, 0.5),
        (certificate_trials.log_lift_trial, 2_000, 2_000, 0.5),
        (certificate_trials.novelty_trial, 500, 500, 0.5),
        (certificate_trials.paired_trial, 1_000, 1_000, 0.5),
    ],
)
def test_intervals_cover_and_the_module_is_silent(
    trial: Trial, control: int, treatment: int, lift: float
) -> None:
    found = tally(trial, control, treatment, lift)
    assert not below(found.absolute, found.runs, 0.94)
    # Quantiles and capped means at small n, and equal heavy tails, may cover a little more.
    assert not above(found.absolute, found.runs, 0.965)
    if found.relative_runs:
        assert not below(found.relative, found.relative_runs, 0.94)
    if found.judged:
        assert found.warned / found.judged < 0.5


@pytest.mark.parametrize(
    "trial",
    [WATCH_TIME, certificate_trials.proportion_trial],
)
def test_where_a_small_arm_under_covers_the_module_warns(trial: Trial) -> None:
    """500 of 5,000 users, heavy tails: 92 to 93 % in long runs."""
    found = tally(trial, 4_500, 500, 0.0, runs=2_000)
    assert below(found.absolute, found.runs, 0.95)
    assert found.warned / found.judged > 0.9


def test_two_hundred_looks_err_in_at_most_five_per_cent() -> None:
    runs = 600
    for name, first, per_look, lift in (
        ("1:9", (1_800, 200), (90, 10), 0.0),
        ("+50 %", (200, 200), (20, 20), 0.5),
    ):
        rng = certificate.generator(name, 1, 0)
        wrong = peeking_always_valid(rng, runs, first=first, per_look=per_look, lift=lift)
        assert not above(wrong, runs, 0.05), name


def test_split_is_accused_at_the_nominal_rate() -> None:
    runs = 1_000
    rng = np.random.default_rng(1)
    wrong = split_while_it_runs(rng, runs, shares=(0.9, 0.1), users=20_000)
    assert not above(wrong, runs, 0.05)
    ends = [r for r in ERROR_RATES if r.exact]
    assert len(ends) == 3
    for rate in ends:
        wrong = partial(rate.count, rng, runs)()
        assert not above(wrong, runs, 0.05)
        assert not below(wrong, runs, 0.04)


def test_the_certificate_does_not_depend_on_blocks_drawn_elsewhere() -> None:
    first = tally(WATCH_TIME, 50, 50, 0.0, runs=20)
    assert tally(WATCH_TIME, 50, 50, 0.0, runs=20) == first
    assert certificate.merged([first, first]).runs == 40


@pytest.mark.parametrize(
    ("hits", "warned", "expected"),
    [
        (3_800, 0, "ok"),
        (3_700, 4_000, "warned"),
        (3_700, 100, "CHECK"),
        (3_800, 4_000, "CHECK"),
        (3_950, 0, "cautious"),
    ],
)
def test_judgement(hits: int, warned: int, expected: str) -> None:
    line = certificate.judge(Tally(4_000, hits, 4_000, hits, 4_000, warned, 0))
    assert line.judgement == expected
