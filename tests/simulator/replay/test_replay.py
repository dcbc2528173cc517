from __future__ import annotations

import json
from collections.abc import Callable
from math import comb
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import binom, norm

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay import METRICS, ReplayResult, ScorerError, TargetPolicy, replay
from simulator.replay.target import targets as targets_module
from simulator.replay.target.targets import NOT_PROPOSED
from simulator.requests import VideoRequests

EXTRACT = Path(__file__).parents[3] / "../shared/data/kuairand/log_random_4_22_to_5_08_1k.head.csv"
Make = Callable[[pl.DataFrame, int], Dataset]

VIDEOS = 30
VIDEO_EFFECT = np.linspace(-1.5, 1.5, VIDEOS)
USER_SPREAD = 0.8
GOOD = np.random.default_rng(11).permutation(VIDEOS).astype(np.float64) + 12 * VIDEO_EFFECT
POOR = -VIDEO_EFFECT
LOGS = 100


def by_video(score: NDArray[np.float64]) -> Callable[[VideoRequests], NDArray[np.float32]]:
    return lambda requests: score[np.maximum(requests.candidates, 0)].astype(np.float32)


def click_probability() -> NDArray[np.float64]:
    """Exact chance of a click per video, over all people (normal effect integrated out)."""
    z = np.linspace(-8, 8, 4001)
    weight = norm.pdf(z) / norm.pdf(z).sum()
    return (expit(USER_SPREAD * z[None, :] + VIDEO_EFFECT[:, None]) * weight).sum(axis=1)


def _people(random: np.random.Generator, users: int) -> tuple[NDArray, NDArray, NDArray]:
    count = random.integers(8, 33, users)
    user = np.repeat(np.arange(users), count)
    effect = np.repeat(random.normal(0.0, USER_SPREAD, users), count)
    return user, effect, np.arange(len(user)) * 1_000_000


def uniform_log(seed: int, users: int = 60) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    user, effect, time = _people(random, users)
    video = random.integers(0, VIDEOS, len(user))
    click = random.random(len(user)) < expit(effect + VIDEO_EFFECT[video])
    return pl.DataFrame(
        {
            "user_id": user,
            "video_id": video,
            "time_ms": time,
            "is_click": click.astype(np.int8),
            "play_time_ms": (click * 9_000).astype(np.int64),
            "is_rand": np.ones(len(user), np.int8),
        }
    )


def candidate_log(seed: int, users: int = 60, size: int = 5) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    user, effect, time = _people(random, users)
    n = len(user)
    candidates = np.argsort(random.random((n, VIDEOS)), axis=1)[:, :size]
    chance = np.exp(0.7 * np.sin(candidates))
    chance /= chance.sum(axis=1, keepdims=True)
    slot = (random.random((n, 1)) > np.cumsum(chance, axis=1)).sum(axis=1).clip(max=size - 1)
    video = candidates[np.arange(n), slot]
    click = random.random(n) < expit(effect + VIDEO_EFFECT[video])
    return pl.DataFrame(
        {
            "user_id": user,
            "video_id": video,
            "time_ms": time,
            "is_click": click.astype(np.int8),
            "play_time_ms": (click * 9_000).astype(np.int64),
            "propensity": chance[np.arange(n), slot].astype(np.float32),
            "candidates": pl.Series(candidates.tolist(), dtype=pl.List(pl.Int64)),
        }
    )


def pool_truth(score: NDArray[np.float64], m: int) -> float:
    return float(click_probability()[np.argsort(-score)[:m]].mean())


def candidate_truth(score: NDArray[np.float64], size: int = 5) -> float:
    """The video of rank r is the best of a random subset with chance C(V - r, k - 1) / C(V, k)."""
    order = np.argsort(-score)
    chance = [comb(VIDEOS - r, size - 1) / comb(VIDEOS, size) for r in range(1, VIDEOS + 1)]
    return float(click_probability()[order] @ np.array(chance))


def run(dataset: Dataset, **options: object) -> ReplayResult:
    scorers = {"good": by_video(GOOD), "poor": by_video(POOR)}
    settings = {"treatment": "good", "control": "poor", "metrics": ["click_rate"], **options}
    return replay(dataset, scorers, **settings)  # type: ignore[arg-type]


def _coverage_is_nominal(covered: list[bool]) -> bool:
    low, high = binom.interval(0.998, len(covered), 0.95)
    return bool(low <= sum(covered) <= high)


@pytest.mark.parametrize("kind", ["uniform", "candidates"])
def test_intervals_cover_the_exact_truth_at_the_nominal_rate(
    memory_dataset: Make, kind: str
) -> None:
    if kind == "uniform":
        make, options = uniform_log, {"top_share": 0.2}
        truth = {"treatment": pool_truth(GOOD, 6), "control": pool_truth(POOR, 6)}
    else:
        make, options = candidate_log, {}
        truth = {"treatment": candidate_truth(GOOD), "control": candidate_truth(POOR)}
    truth["difference"] = truth["treatment"] - truth["control"]
    truth["relative"] = truth["treatment"] / truth["control"] - 1.0
    covered: dict[tuple[str, str], list[bool]] = {}
    for seed in range(LOGS):
        result = run(memory_dataset(make(seed), VIDEOS), **options)
        for estimator, found in result.metrics[0].estimates.items():
            for side, exact in truth.items():
                estimate = getattr(found, side)
                if estimate is not None:
                    hit = estimate.low <= exact <= estimate.high
                    covered.setdefault((estimator, side), []).append(hit)
    expected = {"ips", "snips"} | ({"matching"} if kind == "uniform" else set())
    assert {estimator for estimator, _ in covered} == expected
    assert all(len(hits) > 0.9 * LOGS for hits in covered.values())
    wrong = {key: np.mean(hits) for key, hits in covered.items() if not _coverage_is_nominal(hits)}
    assert not wrong


def test_matching_equals_snips_when_every_row_has_the_same_pool(memory_dataset: Make) -> None:
    estimates = run(memory_dataset(uniform_log(1), VIDEOS)).metrics[0].estimates
    matching, snips = estimates["matching"].treatment, estimates["snips"].treatment
    assert matching is not None
    assert snips is not None
    assert (matching.value, matching.low) == pytest.approx((snips.value, snips.low))


def test_what_a_candidate_stage_leaves_out_is_chosen_with_probability_zero(
    memory_dataset: Make,
) -> None:
    """SNIPS by hand of 70 % the best of ten proposed videos and 30 % any of the ten."""
    log, proposed = uniform_log(4, users=150), np.arange(0, VIDEOS, 3)
    score = np.where(np.isin(np.arange(VIDEOS), proposed), GOOD, NOT_PROPOSED)
    scorers = {"both": by_video(score), "ranker": by_video(GOOD)}
    result = replay(
        memory_dataset(log, VIDEOS), scorers, treatment="both", control="ranker",
        metrics=["click_rate"], target=TargetPolicy(explore_share=0.3),
    )  # fmt: skip
    shown, click = log["video_id"].to_numpy(), log["is_click"].to_numpy()
    best = proposed[np.argmax(GOOD[proposed])]
    chance = 0.7 * (shown == best) + 0.03 * np.isin(shown, proposed)
    found = result.metrics[0].estimates["snips"]
    assert found.treatment is not None
    assert found.treatment.value == pytest.approx(chance @ click / chance.sum(), rel=1e-12)
    # Weights are over the pool that the log drew from, not over the proposals.
    assert result.overlap["both"].mean_weight == pytest.approx(VIDEOS * chance.mean())
    square = 0.73**2 + 9 * 0.03**2
    assert result.overlap["both"].expected_effective == pytest.approx(len(shown) / 30 / square)
    everything = 0.7 * (shown == np.argmax(GOOD)) + 0.3 / VIDEOS
    assert found.control is not None
    assert found.control.value == pytest.approx(everything @ click / everything.sum(), rel=1e-12)


def test_a_segment_has_the_estimate_of_a_log_of_its_people_alone(memory_dataset: Make) -> None:
    log = uniform_log(6, users=200)
    dataset = memory_dataset(log, VIDEOS)
    ids = dataset.user_ids()
    level = np.where(ids % 4 == 0, "few", np.where(ids < 15, "too few", "many"))
    options = {"top_share": 0.5}
    result = run(dataset, segments={"group": level}, **options)
    assert [(s.segment, s.level) for s in result.segments] == [("group", "few"), ("group", "many")]
    for segment in result.segments:
        own = ids[level == segment.level]
        alone = run(memory_dataset(log.filter(pl.col("user_id").is_in(own)), VIDEOS), **options)
        expected = alone.metrics[0].best
        assert segment.users == len(own)
        for side in ("treatment", "control", "difference", "relative"):
            found, wanted = getattr(segment.found, side), getattr(expected, side)
            bounds = (wanted.value, wanted.low, wanted.high)
            assert (found.value, found.low, found.high) == pytest.approx(bounds, rel=1e-9)
        assert segment.found.p_value == pytest.approx(expected.p_value)
        assert segment.found.effective == pytest.approx(expected.effective)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["segments"]


def test_definition_numbers_and_json(memory_dataset: Make) -> None:
    result = run(memory_dataset(uniform_log(2), VIDEOS), metrics=None)
    assert result.eligible_size == (30, 30)
    assert [m.name for m in result.metrics] == ["click_rate", "play_time_ms"]
    assert set(METRICS) > {m.name for m in result.metrics}
    assert "the best of the 30 videos that were exposed at random" in result.definition
    assert "Per impression, not per user-day" in result.definition
    overlap = result.overlap["good"]
    assert overlap.effective_sample_size == pytest.approx(overlap.matched_rows)
    assert overlap.mean_weight == pytest.approx(overlap.matched_rows * 30 / overlap.rows)
    assert overlap.expected_effective == pytest.approx(overlap.rows / 30)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["eligible"] == "random pool"


def test_blocks_and_seeds_of_ties_only(
    memory_dataset: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = memory_dataset(uniform_log(4), VIDEOS)
    whole = run(dataset)
    monkeypatch.setattr(targets_module, "_CELLS", 3 * VIDEOS)
    assert run(dataset) == whole
    assert run(dataset, seed=9) == whole, "no ties: the seed of ties must not matter"


def test_ties_are_broken_alike_for_everybody(memory_dataset: Make) -> None:
    dataset = memory_dataset(uniform_log(5), VIDEOS)
    flat = {"flat": by_video(np.zeros(VIDEOS)), "poor": by_video(POOR)}
    result = replay(dataset, flat, treatment="flat", control="poor", top_share=0.1)
    # No video is better than another: every row matches, and the value is what was shown.
    overlap, metric = result.overlap["flat"], result.metrics[0]
    assert overlap.matched_rows == overlap.rows
    assert overlap.expected_effective == pytest.approx(overlap.rows)
    found = metric.estimates["snips"].treatment
    assert found is not None
    assert found.value == pytest.approx(metric.logged_mean)


def test_histories_are_those_strictly_before_the_impression(memory_dataset: Make) -> None:
    frame = uniform_log(6, users=7).with_columns(
        (pl.col("time_ms") // 3_000_000).alias("time_ms"),
        (pl.int_range(pl.len()) % 2).cast(pl.Int8).alias("is_rand"),
    )
    seen = []

    def spy(requests: VideoRequests) -> NDArray[np.float32]:
        history = requests.history
        for i in range(len(requests.user)):
            videos = history.videos("clicked")[i, : history.lengths("clicked")[i]]
            seen.append((requests.user[i], requests.time_ms[i], tuple(videos)))
        return np.zeros(requests.candidates.shape, np.float32)

    replay(memory_dataset(frame, VIDEOS), {"spy": spy}, treatment="spy", control="spy")
    assert len(seen) == frame["is_rand"].sum()
    for user, time, videos in seen:
        mine = frame.filter(
            (pl.col("user_id") == int(user))
            & (pl.col("time_ms") < int(time))
            & (pl.col("is_click") == 1)
        )
        assert videos == tuple(mine["video_id"].to_list())


def test_a_policy_that_wants_what_was_never_shown_gets_no_number(memory_dataset: Make) -> None:
    frame = uniform_log(7).with_columns(pl.lit(1 / 40, pl.Float32).alias("propensity"))
    dataset = memory_dataset(frame, VIDEOS + 10)
    score = np.concatenate([GOOD, np.full(10, 1e6)])
    scorers = {"unseen": by_video(score), "poor": by_video(np.concatenate([POOR, np.zeros(10)]))}
    result = replay(dataset, scorers, treatment="unseen", control="poor", pool="all", rows="all")
    overlap = result.overlap["unseen"]
    assert (overlap.matched_rows, overlap.verdict) == (0, "unusable")
    assert overlap.unsupported_share == 1.0
    assert result.verdict == "unusable"
    for found in result.metrics[0].estimates.values():
        assert found.treatment is None
        assert found.difference is None
        assert found.control is not None


def test_half_the_mass_on_unseen_videos_is_said(memory_dataset: Make) -> None:
    frame = uniform_log(8, users=400).with_columns(pl.lit(1 / 40, pl.Float32).alias("propensity"))
    score = np.concatenate([GOOD, np.where(np.arange(10) < 2, 1e6, -1e6)])
    dataset = memory_dataset(frame, VIDEOS + 10)
    scorers = {"half": by_video(score)}
    result = replay(dataset, scorers, treatment="half", control="half", pool="all", top_share=0.1)
    overlap = result.overlap["half"]
    assert overlap.unsupported_share == pytest.approx(0.5)
    assert overlap.verdict == "unusable"
    assert any("50 % of its choices could not" in reason for reason in overlap.reasons)


def test_few_users_are_unusable(memory_dataset: Make) -> None:
    result = run(memory_dataset(uniform_log(9, users=4), VIDEOS), top_share=0.5)
    assert result.verdict == "unusable"
    assert any("from 4 users" in r for r in result.overlap["good"].reasons)


def test_propensities_over_other_sets_are_noticed(memory_dataset: Make) -> None:
    frame = uniform_log(10).with_columns(pl.lit(0.9, pl.Float32).alias("propensity"))
    with_wrong = run(memory_dataset(frame, VIDEOS))
    assert any("over other sets" in warning for warning in with_wrong.warnings)
    assert with_wrong.metrics == run(memory_dataset(uniform_log(10), VIDEOS)).metrics


def test_logs_that_cannot_be_replayed_are_refused_with_the_reason(memory_dataset: Make) -> None:
    plain = uniform_log(1).drop("is_rand")
    cases = [
        (plain, {}, "no column 'propensity'"),
        (plain.with_columns(pl.lit(0, pl.Int8).alias("is_rand")), {}, "no row is marked is_rand"),
        (plain, {"propensity_column": "p"}, "no column 'p'"),
        (
            plain.with_columns(pl.lit(0.1).alias("propensity")),
            {"rows": "all"},
            "nothing tells what else",
        ),
        (plain.head(0), {}, "no impressions"),
        (uniform_log(1), {"top_share": 0.0}, "top share"),
        (uniform_log(1), {"rows": "some"}, "rows is 'some'"),
        (uniform_log(1), {"treatment": "better"}, "no scorer for 'better'"),
        (uniform_log(1), {"metrics": ["clicks"]}, "unknown replay metric 'clicks'"),
        (candidate_log(1).with_columns(pl.lit(0.0).alias("propensity")), {}, "no impression can"),
    ]
    for frame, options, text in cases:
        with pytest.raises(DataError, match=text):
            run(memory_dataset(frame, VIDEOS), **options)


def test_rows_whose_shown_video_was_no_candidate_are_counted_not_used(memory_dataset: Make) -> None:
    frame = candidate_log(3)
    odd = frame.with_columns(
        pl.when(pl.int_range(pl.len()) < 5)
        .then(pl.lit([0, 1], dtype=pl.List(pl.Int64)))
        .otherwise("candidates")
        .alias("candidates"),
        pl.when(pl.int_range(pl.len()) < 5).then(7).otherwise("video_id").alias("video_id"),
    )
    result = run(memory_dataset(odd, VIDEOS))
    assert result.rows["shown_video_not_among_candidates"] == 5
    assert result.rows["used"] == frame.height - 5


@pytest.mark.parametrize("bad", ["shape", "nan"])
def test_a_scorer_that_breaks_its_contract_is_named(memory_dataset: Make, bad: str) -> None:
    def scorer(requests: VideoRequests) -> NDArray[np.float32]:
        if bad == "shape":
            return np.zeros(len(requests.user), np.float32)
        return np.full(requests.candidates.shape, np.nan, np.float32)

    with pytest.raises(ScorerError, match="'mine'"):
        replay(
            memory_dataset(uniform_log(1), VIDEOS),
            {"mine": scorer},
            treatment="mine",
            control="mine",
        )


@pytest.mark.skipif(not EXTRACT.is_file(), reason="the KuaiRand extract is not beside the project")
def test_five_real_people_are_too_few_and_it_says_so(memory_dataset: Make) -> None:
    frame = pl.read_csv(EXTRACT)
    dataset = memory_dataset(frame, 7_583)
    taste = np.random.default_rng(0).normal(size=(2, 7_583))
    scorers = {"one": by_video(taste[0]), "two": by_video(taste[1])}
    result = replay(dataset, scorers, treatment="one", control="two")
    assert result.verdict == "unusable"
    assert result.rows["used"] == 226
    for overlap in result.overlap.values():
        assert overlap.effective < 10
        assert overlap.verdict == "unusable"
    assert any("replayed rows are worth" in warning for warning in result.warnings)
    for metric in result.metrics:
        assert metric.logged_mean >= 0
        for found in metric.estimates.values():
            assert found.verdict == "unusable"
