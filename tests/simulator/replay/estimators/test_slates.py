"""Slate estimators against enumeration of every slate that could have been logged."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from simulator.replay.estimators.linear import Linear
from simulator.replay.estimators.nested import nested_dr, nested_ips, nested_snips
from simulator.replay.estimators.pseudo_inverse import (
    general_weights,
    independent_weights,
    uniform_weights,
)
from simulator.replay.estimators.slates import (
    LoggedSlates,
    cascade_dr,
    independent,
    position_based,
    reward_interaction,
    self_normalised_mean,
    slate_mean,
    standard,
)

ITEMS, SLOTS = 4, 3
SCORE_LOGGING = np.random.default_rng(1).uniform(0.3, 2.0, ITEMS)
SCORE_TARGET = np.random.default_rng(2).uniform(0.3, 2.0, ITEMS)
ALL = list(itertools.permutations(range(ITEMS), SLOTS))
REWARDS = np.random.default_rng(3).uniform(0.0, 3.0, (SLOTS, ITEMS, ITEMS, ITEMS))


def conditionals(score: np.ndarray, slate: tuple[int, ...]) -> np.ndarray:
    """Plackett-Luce: probability of each slot given those above."""
    left, out = score.sum(), []
    for item in slate:
        out.append(score[item] / left)
        left -= score[item]
    return np.array(out)


def chance(score: np.ndarray, slate: tuple[int, ...]) -> float:
    return float(conditionals(score, slate).prod())


def marginals(score: np.ndarray) -> np.ndarray:
    out = np.zeros((SLOTS, ITEMS))
    for slate in ALL:
        out[np.arange(SLOTS), list(slate)] += chance(score, slate)
    return out


def rewards(slate: tuple[int, ...], kind: str) -> np.ndarray:
    a, b, c = slate
    if kind == "any":
        return np.array([REWARDS[k, a, b, c] for k in range(SLOTS)])
    if kind == "cascade":
        return np.array([REWARDS[0, a, 0, 0], REWARDS[1, a, b, 0], REWARDS[2, a, b, c]])
    if kind == "slot":
        return np.array([REWARDS[k, item, 0, 0] for k, item in enumerate(slate)])
    return np.array([0.9**k * REWARDS[0, item, 0, 0] for k, item in enumerate(slate)])


def truth(kind: str) -> float:
    return sum(chance(SCORE_TARGET, s) * rewards(s, kind).sum() for s in ALL)


def logged(
    slate: tuple[int, ...], kind: str, order: np.ndarray, **more: np.ndarray
) -> LoggedSlates:
    ratio = conditionals(SCORE_TARGET, slate) / conditionals(SCORE_LOGGING, slate)
    return LoggedSlates(
        slate=np.zeros(SLOTS, int),
        n_slates=1,
        position=np.arange(SLOTS)[order],
        reward=rewards(slate, kind)[order],
        ratio=ratio[order],
        **{k: v[order] for k, v in more.items()},
    )


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [(standard, "any"), (standard, "slot"), (reward_interaction, "cascade")],
)
@pytest.mark.parametrize("order", list(itertools.permutations(range(SLOTS))))
def test_unbiased_under_its_assumption_whatever_the_order_of_rows(
    estimator: Callable[[LoggedSlates], np.ndarray], kind: str, order: tuple[int, ...]
) -> None:
    total = 0.0
    for slate in ALL:
        total += chance(SCORE_LOGGING, slate) * estimator(logged(slate, kind, np.array(order)))[0]
    assert total == pytest.approx(truth(kind), abs=1e-9)


def test_reward_interaction_is_biased_where_lower_slots_matter() -> None:
    total = sum(
        chance(SCORE_LOGGING, s) * reward_interaction(logged(s, "any", np.arange(SLOTS)))[0]
        for s in ALL
    )
    assert abs(total - truth("any")) > 1e-3


def test_independent_needs_marginals_where_slots_share_items() -> None:
    target, logging = marginals(SCORE_TARGET), marginals(SCORE_LOGGING)
    total = 0.0
    for slate in ALL:
        at = (np.arange(SLOTS), list(slate))
        slates = logged(slate, "slot", np.arange(SLOTS))
        total += chance(SCORE_LOGGING, slate) * independent(slates, target[at] / logging[at])[0]
    assert total == pytest.approx(truth("slot"), abs=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_cascade_dr_is_unbiased_with_any_model(seed: int) -> None:
    random = np.random.default_rng(seed)
    model = {s[:k]: random.uniform(0, 5) for s in ALL for k in range(1, SLOTS + 1)}
    total = 0.0
    for slate in ALL:
        expected = []
        for k in range(SLOTS):
            left = [i for i in range(ITEMS) if i not in slate[:k]]
            weight = SCORE_TARGET[left] / SCORE_TARGET[left].sum()
            expected.append(
                sum(w * model[(*slate[:k], i)] for w, i in zip(weight, left, strict=True))
            )
        slates = logged(
            slate,
            "cascade",
            np.array([2, 0, 1]),
            model=np.array([model[slate[: k + 1]] for k in range(SLOTS)]),
            expected=np.array(expected),
        )
        total += chance(SCORE_LOGGING, slate) * cascade_dr(slates)[0]
    assert total == pytest.approx(truth("cascade"), abs=1e-9)


def test_cascade_dr_with_the_right_model_has_no_variance_left_of_the_policy() -> None:
    """With rewards fixed by the slate and a true model, every logged slate gives the truth."""

    def value(prefix: tuple[int, ...]) -> float:
        """Reward of the last slot and everything the target adds below it."""
        k = len(prefix)
        full = (*prefix, *[i for i in range(ITEMS) if i not in prefix])[:SLOTS]
        own = rewards(full, "cascade")[k - 1]
        return own + (below(prefix) if k < SLOTS else 0.0)

    def below(prefix: tuple[int, ...]) -> float:
        left = [i for i in range(ITEMS) if i not in prefix]
        weight = SCORE_TARGET[left] / SCORE_TARGET[left].sum()
        return float(sum(w * value((*prefix, i)) for w, i in zip(weight, left, strict=True)))

    for slate in ALL[::5]:
        slates = logged(
            slate,
            "cascade",
            np.arange(SLOTS),
            model=np.array([value(slate[: k + 1]) for k in range(SLOTS)]),
            expected=np.array([below(slate[:k]) for k in range(SLOTS)]),
        )
        assert cascade_dr(slates)[0] == pytest.approx(truth("cascade"), abs=1e-9)


def test_position_based_weights_are_unbiased_for_attraction_times_examination() -> None:
    examination = 0.9 ** np.arange(SLOTS)
    seen_target = examination @ marginals(SCORE_TARGET)
    seen_logging = examination @ marginals(SCORE_LOGGING)
    total = 0.0
    for slate in ALL:
        items = list(slate)
        value = position_based(
            rewards(slate, "attraction"),
            np.zeros(SLOTS, int),
            1,
            seen_target[items],
            seen_logging[items],
        )
        total += chance(SCORE_LOGGING, slate) * value[0]
    assert total == pytest.approx(truth("attraction"), abs=1e-9)


def _moments(probability: dict[tuple[int, ...], float]) -> np.ndarray:
    out = np.zeros((SLOTS * ITEMS, SLOTS * ITEMS))
    for slate, p in probability.items():
        s = np.zeros(SLOTS * ITEMS)
        s[np.arange(SLOTS) * ITEMS + np.array(slate)] = 1
        out += p * np.outer(s, s)
    return out


def test_pseudo_inverse_is_unbiased_for_sums_over_slots() -> None:
    """Only the slate's total reward is used."""
    moments = _moments({s: chance(SCORE_LOGGING, s) for s in ALL})
    q = marginals(SCORE_TARGET)[None]
    total = 0.0
    for slate in ALL:
        weight = general_weights(q, np.array([slate]), moments)[0]
        total += chance(SCORE_LOGGING, slate) * weight * rewards(slate, "slot").sum()
    assert total == pytest.approx(truth("slot"), abs=1e-9)


@pytest.mark.parametrize("slots", [1, 2, 3, 4])
def test_closed_form_of_uniform_slates_equals_the_pseudo_inverse(slots: int) -> None:
    every = list(itertools.permutations(range(ITEMS), slots))
    moments = np.zeros((slots * ITEMS, slots * ITEMS))
    q = np.zeros((slots, ITEMS))
    for slate in every:
        s = np.zeros(slots * ITEMS)
        s[np.arange(slots) * ITEMS + np.array(slate)] = 1
        moments += np.outer(s, s) / len(every)
        q[np.arange(slots), list(slate)] += chance(SCORE_TARGET, slate)
    for slate in every:
        general = general_weights(q[None], np.array([slate]), moments)
        in_place = q[np.arange(slots), list(slate)].sum()
        anywhere = q.mean(axis=0)[list(slate)].sum()
        closed = uniform_weights(
            np.array([in_place]), np.array([anywhere]), slots, np.array([ITEMS])
        )
        np.testing.assert_allclose(closed, general, atol=1e-9)


def test_independent_slots_have_a_simple_pseudo_inverse() -> None:
    random = np.random.default_rng(7)
    logging = random.dirichlet(np.ones(ITEMS), SLOTS)
    q = random.dirichlet(np.ones(ITEMS), SLOTS)
    every = list(itertools.product(range(ITEMS), repeat=SLOTS))
    at = np.arange(SLOTS)
    moments = _moments({s: float(logging[at, list(s)].prod()) for s in every})
    for slate in every[::7]:
        simple = independent_weights(
            np.array([(q[at, list(slate)] / logging[at, list(slate)]).sum()]), np.array([SLOTS])
        )
        np.testing.assert_allclose(
            simple, general_weights(q[None], np.array([slate]), moments), atol=1e-8
        )


def _many(kind: str, n: int = 400) -> tuple[LoggedSlates, np.ndarray]:
    random = np.random.default_rng(11)
    p = np.array([chance(SCORE_LOGGING, s) for s in ALL])
    drawn = random.choice(len(ALL), n, p=p / p.sum())
    ratio = [
        conditionals(SCORE_TARGET, ALL[i]) / conditionals(SCORE_LOGGING, ALL[i]) for i in drawn
    ]
    reward = [rewards(ALL[i], kind) for i in drawn]
    shuffled = random.permutation(n * SLOTS)
    slates = LoggedSlates(
        slate=np.repeat(np.arange(n), SLOTS)[shuffled],
        n_slates=n,
        position=np.tile(np.arange(SLOTS), n)[shuffled],
        reward=np.concatenate(reward)[shuffled],
        ratio=np.concatenate(ratio)[shuffled],
    )
    return slates, random.integers(0, 80, n)


def test_self_normalised_slates_are_invariant_to_a_shift_and_near_the_truth() -> None:
    slates, user = _many("cascade")
    found = self_normalised_mean(slates, slates.cumulative(), user, 80)
    plain = slate_mean(reward_interaction(slates), user, 80)
    assert found is not None
    assert plain is not None
    for estimate in (found, plain):
        assert abs(estimate.value - truth("cascade")) < 4 * estimate.standard_error
    import dataclasses

    higher = dataclasses.replace(slates, reward=slates.reward + 2.0)
    moved = self_normalised_mean(higher, slates.cumulative(), user, 80)
    assert moved is not None
    assert moved.value == pytest.approx(found.value + 2.0 * SLOTS)
    assert moved.standard_error == pytest.approx(found.standard_error)


def test_two_rows_at_one_position_are_refused() -> None:
    slates = LoggedSlates(np.zeros(2, int), 1, np.zeros(2, int), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="slate 0 has two rows at position 0"):
        slates.cumulative()


# Nested: one of three videos, an opening chance each, then an order of two comments.
OPEN = np.array([0.2, 0.5, 0.8])
VIDEO_LOGGING, VIDEO_TARGET = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.3, 0.6])
LIST_LOGGING = np.array([[0.7, 0.3], [0.5, 0.5], [0.4, 0.6]])
LIST_TARGET = np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]])
WATCH = np.array([[3.0, 1.0], [2.0, 8.0], [5.0, 4.0]])
NESTED_TRUTH = float((VIDEO_TARGET * OPEN * (LIST_TARGET * WATCH).sum(axis=1)).sum())


def _nested(estimate: Callable[[int, bool, int], float]) -> float:
    total = 0.0
    for video in range(3):
        total += VIDEO_LOGGING[video] * (1 - OPEN[video]) * estimate(video, False, 0)
        for order in range(2):
            p = VIDEO_LOGGING[video] * OPEN[video] * LIST_LOGGING[video, order]
            total += p * estimate(video, True, order)
    return total


def _columns(video: int, opened: bool, order: int) -> tuple[np.ndarray, ...]:
    v = VIDEO_TARGET[video] / VIDEO_LOGGING[video]
    c = LIST_TARGET[video, order] / LIST_LOGGING[video, order] if opened else np.nan
    y = WATCH[video, order] if opened else 0.0
    # A second user without weight, so that nobody holds everything.
    return np.array([v, 0.0]), np.array([opened, False]), np.array([c, np.nan]), np.array([y, 0.0])


def _single(found: Linear | None) -> float:
    """The first row's contribution: the mean is over two rows."""
    assert found is not None
    return 2.0 * found.value


USERS2 = np.array([0, 1])


def test_nested_ips_is_unbiased_over_both_stages() -> None:
    def estimate(video: int, opened: bool, order: int) -> float:
        v, o, c, y = _columns(video, opened, order)
        return _single(nested_ips(v, np.where(o, c * y, 0.0), USERS2, 2))

    assert _nested(estimate) == pytest.approx(NESTED_TRUTH, abs=1e-9)


def test_nested_dr_is_unbiased_whatever_the_models() -> None:
    video_model, list_model = np.array([1.0, -2.0, 0.5]), np.array([[4.0, 0.0], [1.0, 1.0], [9, 2]])

    def estimate(video: int, opened: bool, order: int) -> float:
        v, o, c, y = _columns(video, opened, order)

        def row(value: float) -> np.ndarray:
            return np.array([value, 0.0])

        return _single(
            nested_dr(
                v,
                o,
                c,
                y,
                video_model=row(video_model[video]),
                video_expected=row(float(VIDEO_TARGET @ video_model)),
                list_model=row(list_model[video, order]),
                list_expected=row(float(LIST_TARGET[video] @ list_model[video])),
                user=USERS2,
                n_users=2,
            )
        )

    assert _nested(estimate) == pytest.approx(NESTED_TRUTH, abs=1e-9)


def test_nested_self_normalised_is_consistent() -> None:
    random = np.random.default_rng(13)
    n = 200_000
    video = random.choice(3, n, p=VIDEO_LOGGING)
    opened = random.random(n) < OPEN[video]
    order = (random.random(n) > LIST_LOGGING[video, 0]).astype(int)
    found = nested_snips(
        (VIDEO_TARGET / VIDEO_LOGGING)[video],
        opened,
        (LIST_TARGET / LIST_LOGGING)[video, order],
        WATCH[video, order],
        np.arange(n) % 5_000,
        5_000,
    )
    assert found is not None
    assert abs(found.value - NESTED_TRUTH) < 4 * found.standard_error
    assert found.standard_error < 0.02
