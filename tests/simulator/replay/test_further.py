"""Estimators that are shown when asked for equal the functions behind them, or say why not."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.replay import ReplayResult, TargetPolicy, replay
from simulator.replay.estimators import (
    Candidates,
    Linear,
    Rows,
    empirical_bernstein,
    single,
    slates,
)
from simulator.replay.estimators.bootstrap import bootstrap_of, user_bootstrap
from simulator.replay.estimators.linear import mean, user_sums
from simulator.replay.estimators.names import MORE, SLATES, USUAL
from simulator.replay.estimators.pseudo_inverse import general_weights
from simulator.replay.estimators.tuning import limits, slope, smoothings
from simulator.replay.further.intervals import bounded
from simulator.replay.models.regression import for_outcome
from simulator.replay.valuation import Weighted, weighted_value
from tests.simulator.replay import decision_log as platform

MakeLog = Callable[[platform.DecisionLog], Dataset]
CATEGORY = np.array([0, 0, 1, 1, 2, 2])
GOOD = platform.CLICK.copy()
LONG = platform.DWELL.ravel()
SHARE = 0.3


def run(dataset: Dataset, **options: object) -> ReplayResult:
    settings: dict[str, object] = {
        "treatment": "good", "control": "poor", "target": TargetPolicy(explore_share=SHARE),
        "metrics": ["click_rate"], "estimators": ("all",), **options,
    }  # fmt: skip
    scorers = {"good": platform.by_item(GOOD), "poor": platform.by_item(-GOOD)}
    return replay(dataset, scorers, **settings)  # type: ignore[arg-type]


def with_categories(dataset: Dataset) -> Dataset:
    built = dataset.catalogue()
    found = dataclasses.replace(built, category=CATEGORY.astype(np.int16))
    dataset._built = found  # type: ignore[attr-defined]
    return dataset


def video_rows(log: platform.DecisionLog) -> tuple[Rows, Candidates]:
    """The rows of the log with the weights of "good", and the cells behind them."""
    clicks = log.impressions.select("user_id", "request_id", "position", "is_click")
    table = log.video_decisions.join(clicks, on=["user_id", "request_id", "position"])
    table = table.sort("user_id", "time_ms", "position")
    target, logging, chosen = [], [], []
    above: list[int] = []
    for i, row in enumerate(table.iter_rows(named=True)):
        above = [] if row["position"] == 0 else above
        target.append(platform.chances(GOOD, above, SHARE))
        logging.append(np.float32(row["propensities"]).astype(np.float64))
        chosen.append(i * platform.VIDEOS + row["video_id"])
        above.append(row["video_id"])
    start = np.arange(len(chosen) + 1) * platform.VIDEOS
    cells = Candidates(start, np.concatenate(target), np.concatenate(logging), np.array(chosen))
    user = np.unique(table["user_id"].to_numpy(), return_inverse=True)[1]
    outcome = table["is_click"].to_numpy().astype(np.float64)
    return cells.rows(user, int(user.max()) + 1, outcome), cells


def test_videos_are_valued_as_by_the_functions(decision_dataset: MakeLog) -> None:
    log = platform.make(3, users=120)
    result = run(with_categories(decision_dataset(log)), model=for_outcome).metrics[0]
    rows, cells = video_rows(log)
    wanted = {
        "clipped_ips": slope(lambda p: single.clipped_ips(rows, p), limits(rows.weight)),
        "sub_gaussian_ips": slope(lambda p: single.sub_gaussian_ips(rows, p), smoothings()),
    }
    for name, tuned in wanted.items():
        found = result.estimates[name]
        assert tuned is not None
        assert found.treatment is not None
        assert found.treatment.value == pytest.approx(tuned.linear.value, rel=1e-9)
        assert found.parameter == pytest.approx(tuned.parameter, rel=1e-9)
        assert found.verdict != "usable"
    marginal = cells.marginal_weights(np.tile(CATEGORY, len(rows)))
    linear = single.marginalised_ips(rows, marginal)
    found = result.estimates["marginalised_ips"]
    assert linear is not None
    assert found.treatment is not None
    assert found.treatment.value == pytest.approx(linear.value, rel=1e-9)
    assert found.treatment.standard_error == pytest.approx(linear.standard_error, rel=1e-9)
    # Fewer categories than videos: the design is worth more rows.
    assert found.effective > result.estimates["ips"].effective  # type: ignore[operator]
    assert set(MORE) - set(result.estimates) == {"mixed_ips", "mrdr", *SLATES}
    assert set(result.left_out) == {"mixed_ips", "mrdr", *SLATES}
    assert set(result.assumes) == set(result.estimates)


def test_other_intervals_are_those_of_the_functions(decision_dataset: MakeLog) -> None:
    log = platform.make(4, users=120)
    result = run(decision_dataset(log), model=for_outcome).metrics[0]
    rows, _ = video_rows(log)
    found = {(o.estimator, o.of, o.method): o for o in result.intervals}
    top = user_sums(rows.weight * rows.outcome, rows.user, rows.n_users)
    weight = user_sums(rows.weight, rows.user, rows.n_users)
    count = user_sums(np.ones(len(rows)), rows.user, rows.n_users)
    for name, bottom in (("ips", count), ("snips", weight)):
        wanted = user_bootstrap(top, bottom, draws=2_000, seed=0)
        got = found[name, "treatment", "bootstrap"].found
        assert wanted is not None
        assert got is not None
        assert (got.low, got.high) == pytest.approx((wanted.low, wanted.high))
    gap = found["sndr", "difference", "bootstrap"].found
    assert result.best.linear is not None
    treatment, control = result.best.linear
    assert gap == bootstrap_of(treatment - control, draws=2_000, seed=0)
    # Three slots a page and three pages: nine rows of everybody, the rarest video of a place.
    smallest = log.video_decisions["propensities"].explode()
    most = 1.0 / np.float32(smallest.filter(smallest > 0).min()) * 9.0
    per_user = rows.n_users * top / len(rows)
    bound = empirical_bernstein(per_user, float(most) * rows.n_users / len(rows))
    got = found["ips", "treatment", "bernstein"].found
    assert got is not None
    assert got.value == pytest.approx(bound.value)
    assert got.low == pytest.approx(bound.low)
    assert got.high == pytest.approx(min(bound.high or 1.0, 1.0))
    assert found["snips", "treatment", "bernstein"].found is None
    assert "two known bounds" in found["snips", "treatment", "bernstein"].why


def test_bernstein_bounds_of_a_share_are_finite_sample_bounds_of_users_values() -> None:
    """2,000 users with one or two rows each, weights of at most 1.5."""
    random = np.random.default_rng(9)
    user = np.sort(np.append(np.arange(2_000), np.arange(1_000)))
    logging = np.full(3_000, 0.5)
    target = random.choice([0.25, 0.75], 3_000)
    outcome = (random.random(3_000) < 0.3).astype(np.float64)
    rows = Rows(user, 2_000, outcome, target, logging)
    policy = Weighted(user, 2_000, target, logging, np.ones(3_000), None, None, None, True,
                      largest=1.5)  # fmt: skip
    valued = weighted_value(single.inverse_propensity(rows), rows, 1.0, by_rows=True)
    found = bounded(valued, policy, 2)
    sums = np.bincount(user, weights=rows.weight * outcome) * 2_000 / 3_000
    wanted = empirical_bernstein(sums, 2 * 1.5 * 2_000 / 3_000)
    assert (found.value, found.low, found.high) == pytest.approx(
        (wanted.value, wanted.low, wanted.high)
    )
    assert found.low is not None
    assert found.high is not None
    assert 0.1 < found.low < found.value < found.high < 0.5


def test_the_bootstrap_of_a_ratio_and_of_its_pseudo_values_agree() -> None:
    random = np.random.default_rng(1)
    values = random.normal(2.0, 1.0, 400)
    linear = mean(values, np.arange(400), 400)
    assert linear is not None
    own, plain = bootstrap_of(linear, seed=3), user_bootstrap(values, np.ones(400), seed=3)
    assert own is not None
    assert plain is not None
    assert (own.low, own.high) == pytest.approx((plain.low, plain.high), rel=2e-3)
    assert bootstrap_of(linear, seed=3) == own
    assert bootstrap_of(linear, seed=4) != own
    nobody = Linear(1.0, np.zeros(3), np.zeros(3, bool))
    assert bootstrap_of(nobody) is None


def test_nothing_else_moves_and_unknown_names_are_refused(decision_dataset: MakeLog) -> None:
    dataset = decision_dataset(platform.make(5, users=60))
    usual = run(dataset, model=for_outcome, estimators=())
    every = run(dataset, model=for_outcome)
    assert every.verdict == usual.verdict
    assert every.metrics[0].recommended == usual.metrics[0].recommended
    for name, found in usual.metrics[0].estimates.items():
        assert every.metrics[0].estimates[name] == found
    assert usual.metrics[0].assumes == {}
    assert usual.metrics[0].intervals == []
    assert "the log's videos have no category" in every.metrics[0].left_out["marginalised_ips"]
    one = run(dataset, estimators=("clipped_ips", "snips"))
    assert set(one.metrics[0].estimates) - set(USUAL) == {"clipped_ips"}
    with pytest.raises(DataError, match=r"unknown estimator 'clip'.*clipped_ips"):
        run(dataset, estimators=("clip",))


def sections(log: platform.DecisionLog) -> pl.DataFrame:
    """The comments seen with their order under "long first", in rows of sections."""
    dwell = log.comment_events.select("user_id", "time_ms", "video_id", "position", "dwell_ms")
    keys = ["user_id", "time_ms", "video_id", "position"]
    return log.comment_decisions.join(dwell, on=keys).sort("user_id", "time_ms", "request_id",
                                                            "video_id", "position")  # fmt: skip


def test_comment_lists_are_valued_as_by_the_functions(decision_dataset: MakeLog) -> None:
    """Orders drawn wholly at random: every estimator of slates applies."""
    log = platform.make(6, users=150, comment_share=1.0)
    orders = {"good": platform.by_item(LONG), "poor": platform.by_item(-LONG)}
    result = run(
        decision_dataset(log), comment_scorers=orders, stage="comments",
        metrics=["comment_stay_ms"], model=for_outcome,
    ).metrics[0]  # fmt: skip
    assert not set(SLATES) & set(result.left_out)
    table = sections(log)
    key = table["user_id"] * 10_000 + table["request_id"] * 100 + table["video_id"]
    slate = np.unique(key.to_numpy(), return_inverse=True)[1]
    n = int(slate.max()) + 1
    ratio, place = [], []
    above: list[int] = []
    for row in table.iter_rows(named=True):
        above = [] if row["position"] == 0 else above
        video, own = row["video_id"], row["comment_id"] % platform.COMMENTS
        score = platform.DWELL[video]
        p = platform.chances(score, above, 0.0)[own]
        ratio.append(p / np.float32(row["propensities"][own]))
        place.append(int((score > score[own]).sum()))
        above.append(own)
    reward = table["dwell_ms"].to_numpy().astype(np.float64)
    position = table["position"].to_numpy()
    rank = np.array(place)
    seen = slates.LoggedSlates(slate, n, position, reward, np.array(ratio))
    # Pseudo-inverse, by the moments of uniform orders of the comments that were seen.
    depth = np.bincount(slate)
    weight = np.zeros(n)
    for k in range(1, platform.COMMENTS + 1):
        mine = np.flatnonzero(depth == k)
        rows = np.stack([np.flatnonzero(slate == s) for s in mine])
        item = table["comment_id"].to_numpy()[rows] % platform.COMMENTS
        videos = table["video_id"].to_numpy()[rows[:, 0]]
        target = np.zeros((len(mine), k, platform.COMMENTS))
        for i, video in enumerate(videos):
            best = np.argsort(-platform.DWELL[video])
            target[i, np.arange(k), best[:k]] = 1.0
        weight[mine] = general_weights(target, item, _moments(k))
    reached = np.array([(depth > k).mean() for k in range(platform.COMMENTS)])
    values = {
        "standard": slates.standard(seen),
        "interaction": slates.reward_interaction(seen),
        "independent": slates.independent(seen),
        "pseudo_inverse": weight * seen.per_slate(reward),
        "position_based": slates.position_based(
            reward, slate, n, reached[rank], np.full(len(rank), reached.mean())
        ),
    }
    impressions = len(log.impressions)
    opened = 500.0 * n
    for name, section in values.items():
        found = result.estimates[name].treatment
        assert found is not None, name
        wanted = (section.sum() + opened) / impressions
        assert found.value == pytest.approx(wanted, rel=1e-6), name
    # Unbiased whatever its model, hence near the estimator without one.
    with_model, without = (result.estimates[n].treatment for n in ("cascade_dr", "interaction"))
    assert with_model is not None
    assert without is not None
    assert with_model.value != without.value
    assert abs(with_model.value - without.value) < 3 * without.standard_error
    assert with_model.standard_error < without.standard_error


def _moments(slots: int) -> np.ndarray:
    """Second moments of (slot, item) pairs of the first slots of a uniform order."""
    size = platform.COMMENTS
    total = np.zeros((slots * size, slots * size))
    orders = list(itertools.permutations(range(size), slots))
    for order in orders:
        pair = np.zeros(slots * size)
        pair[np.arange(slots) * size + np.array(order)] = 1.0
        total += np.outer(pair, pair) / len(orders)
    return total


def test_what_orders_cannot_be_valued_by_says_why(decision_dataset: MakeLog) -> None:
    orders = {"good": platform.by_item(LONG), "poor": platform.by_item(-LONG)}
    options: dict[str, object] = {
        "comment_scorers": orders, "stage": "comments",
        "metrics": ["comment_stay_ms", "comment_dwell_ms"],
    }  # fmt: skip
    partly = run(decision_dataset(platform.make(7, users=60)), **options)
    by_name = {m.name: m.left_out for m in partly.metrics}
    assert "drawn wholly at random" in by_name["comment_stay_ms"]["pseudo_inverse"]
    assert "no reward model" in by_name["comment_stay_ms"]["cascade_dr"]
    assert "not an order" in by_name["comment_dwell_ms"]["standard"]
    assert "comments have no category" in by_name["comment_dwell_ms"]["marginalised_ips"]
    drawn = run(
        decision_dataset(platform.make(7, users=60, comment_share=1.0)),
        comment_target=TargetPolicy(explore_share=0.5), **options,
    )  # fmt: skip
    assert "its target draws" in drawn.metrics[0].left_out["position_based"]
