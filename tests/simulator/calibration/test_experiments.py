"""Published experiments, ladders and contrasts: against formulas by hand and against draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.calibration.contrasts import CONTRASTS, ExposureContrast, published_contrasts
from simulator.calibration.experiments import (
    LINES,
    TOWARDS_TIME,
    Elasticity,
    Experiment,
    Line,
    experiments,
    published_elasticities,
    reactions,
    summary,
)
from simulator.calibration.ladder import (
    METRICS,
    Rung,
    elasticity,
    live_ladder,
    objective_ladder,
    quality_ladder,
)
from simulator.calibration.sample import Sample
from simulator.calibration.targets import FitTarget, targets
from simulator.feed import Feed
from simulator.requests import HistoryState
from simulator.response.platform import Objective, PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.config import WorldConfig
from simulator.world.world import World

SMALL = dataclasses.replace(WorldConfig.preset("small"), session_seconds=150.0)


def rung(name: str, people: int = 5, **means: float) -> Rung:
    totals = np.array([[means.get(metric, 1.0) for metric in METRICS]] * people)
    return Rung(name, totals, np.linspace(0.2, 2.0, people).astype(np.float32))


def test_elasticities_are_quartiles_of_ratios_of_logs() -> None:
    rows = [
        Experiment("a", "s", "p", "model", "all", {"likes": 4.0, "stay": 2.0}),
        Experiment("b", "s", "p", "model", "all", {"likes": -1.0, "stay": 2.0}),
        Experiment("c", "s", "p", "objective", "all", {"likes": 50.0, "stay": 2.0}),
        Experiment("d", "s", "p", "model", "all", {"stay": 2.0}),
    ]
    (found,) = published_elasticities([Line("model", "likes", "stay", "fitted")], rows)
    by_hand = sorted(np.log([1.04, 0.99]) / np.log(1.02))
    assert found.count == 2
    assert found.positive == 1
    assert found.median == pytest.approx(np.mean(by_hand))
    assert found.low == pytest.approx(by_hand[0] + 0.25 * (by_hand[1] - by_hand[0]))


@pytest.mark.parametrize(
    ("found", "verdict"),
    [(0.5, "as published"), (1.4, "as published"), (1.6, "direction only"), (-0.5, "against"),
     (0.0, "against"), (0.1, "direction only"), (float("nan"), "against")],
)  # fmt: skip
def test_verdicts(found: float, verdict: str) -> None:
    line = Line("model", "stay", "watch", "fitted")
    assert Elasticity(line, 0.7, 0.4, 1.0, 5, 5).judge(found) == verdict
    mirrored = Elasticity(line, -0.7, -1.0, -0.4, 5, 0)
    assert mirrored.judge(-found) == verdict


def test_the_slope_along_a_ladder_is_that_of_the_logs() -> None:
    rungs = [rung("x", stay=2.0**k, likes=2.0 ** (1.5 * k)) for k in range(4)]
    assert elasticity(rungs, "likes", "stay") == pytest.approx(1.5)


def test_a_world_made_to_measure_reacts_as_published() -> None:
    """Rungs built from the published medians agree in every line; mirrored ones in none."""
    published = {e.line.name: e.median for e in published_elasticities()}

    def made(axis: str, step: float, sign: float) -> dict[str, float]:
        watch = step
        logs = {"watch": watch, "stay": sign * published[f"{axis}.stay/watch"] * watch}
        for line in LINES:
            if line.axis == axis and line.first != "stay":
                logs[line.first] = sign * published[line.name] * logs.get(line.second, watch)
        return {metric: float(np.exp(value)) for metric, value in logs.items()}

    def ladders(sign: float) -> tuple[list[Rung], list[Rung]]:
        names = ("blind", "noise x 2", "noise x 1", "perfect")
        quality = [rung(n, **made("model", 0.01 * k, sign)) for k, n in enumerate(names)]
        # People of low activity come first in a rung; they gain more.
        quality[-1].totals[:2, list(METRICS).index("stay")] *= 1.05
        objective = [
            rung(n, **made("objective", 0.01 * k, sign)) for k, n in enumerate(TOWARDS_TIME)
        ]
        return quality, objective

    counts = summary(reactions(*ladders(1.0)))
    assert counts["lines"] == len(LINES) + 1
    assert counts["direction"] == counts["lines"]
    against = [row for row in reactions(*ladders(-1.0)) if row.verdict == "against"]
    assert len(against) >= 4


def test_every_published_row_is_known_and_some_lines_are_held_out() -> None:
    assert len(experiments()) >= 25
    assert all(set(e.lifts) <= set(METRICS) for e in experiments())
    assert {line.role for line in LINES} == {"fitted", "held out"}
    assert all(e.count > 0 for e in published_elasticities())
    names = [t.name for t in targets()]
    assert len(set(names)) == len(names)
    assert "ladder.model.likes/stay" not in names


def test_distances_are_in_tolerances() -> None:
    assert FitTarget("x", 2.0, 0.1).distance(2.0 * np.exp(0.2)) == pytest.approx(2.0)
    assert FitTarget("x", -1.0, 0.5, difference=True).distance(-0.5) == pytest.approx(1.0)
    assert FitTarget("x", 2.0, 0.1).distance(None) == 10.0


def test_a_better_view_of_taste_earns_more_and_every_rung_is_the_same_people() -> None:
    """Sixty people, a day: blind to perfect lifts clicks by far more than their noise."""
    world = World.create(SMALL, 3)
    rungs = quality_ladder(SMALL)
    chosen = {name: rungs[name] for name in ("blind", "noise x 1", "perfect")}
    blind, own, perfect = live_ladder(world, chosen, users=60, days=1, seed=2, warm_days=0)
    assert np.array_equal(blind.activity, perfect.activity)
    for metric in ("views", "watch", "opens", "stay"):
        assert blind.mean(metric) < own.mean(metric), metric
    assert blind.mean("views") < 0.9 * perfect.mean("views")
    again = live_ladder(world, {"own": rungs["noise x 1"]}, users=60, days=1, seed=2, warm_days=0)
    assert np.array_equal(again[0].totals, own.totals)


def test_objectives_move_slates_towards_what_they_want() -> None:
    world = World.create(SMALL, 3)
    group = np.arange(300, dtype=np.int32)
    catalogue = world.catalogue()
    feed = Feed(
        catalogue, WorldResponse(world).population(group), group, seed=1,
        start_ms=SMALL.start_ms, end_ms=SMALL.start_ms + 86_400_000,
        history=HistoryState(len(group)), retrieval=Retrieval(catalogue, world.popularity()),
    )  # fmt: skip
    requests = feed.video_requests()
    assert requests is not None

    def shown(objective: Objective) -> np.ndarray:
        return PlatformRanker(world, group, objective).slates(requests, 6).videos

    ladder = objective_ladder(SMALL)
    videos = world.videos
    seconds = [np.log(videos.duration_ms[shown(ladder[n])]).mean() for n in TOWARDS_TIME]
    assert seconds == sorted(seconds)
    talk = [
        float(videos.discussability[shown(ladder[n])].mean())
        for n in ("play time only", "production", "comments only")
    ]
    assert talk == sorted(talk)
    # A blind ranker's slates do not depend on taste: everybody's are as random as anybody's.
    blind = quality_ladder(SMALL)["blind"]
    people = feed.population
    relevance = people.page(requests.row.astype(np.int64), shown(blind)).relevance
    perfect = people.page(
        requests.row.astype(np.int64), shown(quality_ladder(SMALL)["perfect"])
    ).relevance
    assert perfect.mean() > relevance.mean() + 0.5


def test_contrasts_are_ratios_of_expected_rates() -> None:
    assert {c.name for c in published_contrasts()} < set(CONTRASTS)
    likes = next(c for c in published_contrasts() if c.name == "like")
    assert likes.allows(3.421 / 1.19)
    assert not likes.allows(3.421 / 1.21)
    assert likes.allows(3.959 * 1.19)
    assert not likes.allows(3.959 * 1.21)
    world = World.create(SMALL, 3)
    group = np.arange(200, dtype=np.int32)
    catalogue = world.catalogue()
    people = WorldResponse(world).population(group)
    feed = Feed(
        catalogue, people, group, seed=1, start_ms=SMALL.start_ms,
        end_ms=SMALL.start_ms + 86_400_000, history=HistoryState(len(group)),
        retrieval=Retrieval(catalogue, world.popularity()),
    )  # fmt: skip
    requests = feed.video_requests()
    assert requests is not None
    slates = PlatformRanker(world, group).slates(requests, 6)
    assert slates.is_rand is not None
    pool = np.ones(len(world.videos.quality), dtype=np.bool_)
    marked = dataclasses.replace(slates, is_rand=np.arange(6)[None, :] % 2 == np.zeros((200, 1)))
    contrast = ExposureContrast(pool)
    nothing = np.full(slates.videos.shape, -1, dtype=np.int32)
    rows = requests.row.astype(np.int64)
    contrast.expect(people, rows, requests.time_ms, requests.key, marked, nothing)
    stated = people.expectations(
        rows, slates.videos, nothing, people.in_grid(rows, requests.key), requests.time_ms
    )
    real = slates.videos >= 0
    odd, even = (real & (np.arange(6) % 2 == k) for k in (1, 0))
    by_hand = stated.like[odd].mean() / stated.like[even].mean()
    assert contrast.ratios()["like"] == pytest.approx(by_hand, rel=1e-5)


def test_random_slots_of_the_small_world_earn_as_much_less_as_published() -> None:
    """600 people, two days: expectations at thousands of slots, whose ratios are within a tenth."""
    found = Sample(seed=2, users=600, days=2).evidence(WorldConfig.preset("small"))
    for published in published_contrasts():
        ratio = found[f"contrast.{published.name}"]
        assert ratio is not None
        assert (
            published.allows(ratio)
            or published.allows(ratio * 1.1)
            or (published.allows(ratio / 1.1))
        ), (published.name, ratio)
    assert found["contrast.hate"] < 1.0 < 4.5 < found["contrast.open"]


def test_rungs_do_not_matter_to_each_other() -> None:
    """A rung alone is the same life as the rung beside others."""
    world = World.create(SMALL, 4)
    rungs = quality_ladder(SMALL)
    both = {name: rungs[name] for name in ("blind", "perfect")}
    together = live_ladder(world, both, users=8, days=1, seed=4)
    for rung in together:
        (alone,) = live_ladder(world, {rung.name: both[rung.name]}, users=8, days=1, seed=4)
        assert alone.name == rung.name and (alone.totals == rung.totals).all()
    assert (together[0].totals != together[1].totals).any()
