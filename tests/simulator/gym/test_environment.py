"""The Gymnasium environments: the interface's own checks, and the same people as in the feed."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from simulator.behaviours import COUNTED_FLAGS
from simulator.gym import ENVIRONMENT_ID, REWARDS, FeedEnv, FeedVectorEnv
from simulator.world.world import World

DOCS = Path(__file__).parents[3] / "docs" / "environment.md"
OPTIONS: list[dict[str, Any]] = [
    {},
    {"comments": "scores", "comments_scored": 4},
    {"episode": "horizon", "days": 1},
    {"burn_in_days": 1, "reward": {"play_seconds": 0.5, "likes": 10}},
]
Trajectory = list[tuple[Any, ...]]


def play(env: Any, steps: int, seed: int) -> Trajectory:
    """Everything that a random agent is told, and nothing that is told can change later."""
    env.action_space.seed(seed)
    told: Trajectory = [env.reset(seed=seed)]
    for _ in range(steps):
        told.append(env.step(env.action_space.sample()))
        if not hasattr(env, "num_envs") and (told[-1][2] or told[-1][3]):
            told.append(env.reset())
    return told


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (tuple, list)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(np.array_equal(left, right))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gymnasiums_own_check_passes_without_a_warning(
    lively_world: World, options: dict[str, Any]
) -> None:
    env = gymnasium.make(ENVIRONMENT_ID, world=lively_world, **options)
    check_env(env.unwrapped)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_everything_stays_inside_the_declared_spaces(
    lively_world: World, options: dict[str, Any]
) -> None:
    vector = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=20, world=lively_world, **options)
    assert isinstance(vector.unwrapped, FeedVectorEnv)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    for number, told in enumerate(play(vector, 30, seed=1)):
        assert told[0] in vector.observation_space
        if number:
            assert told[1].shape == told[2].shape == told[3].shape == (20,)
            assert told[1].dtype == np.float64
            assert told[2].dtype == told[3].dtype == np.bool_


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_seed_decides_everything(lively_world: World, options: dict[str, Any]) -> None:
    def run(seed: int) -> Trajectory:
        return play(FeedVectorEnv(8, lively_world, **options), 25, seed)

    assert same(run(3), run(3))
    assert not same(run(3)[0], run(4)[0])


def test_a_vector_of_one_is_the_single_environment(lively_world: World) -> None:
    single, vector = FeedEnv(lively_world), FeedVectorEnv(1, lively_world)
    single.action_space.seed(5)
    observation, _ = single.reset(seed=5)
    batch, _ = vector.reset(seed=5)
    episodes = 0
    for _ in range(120):
        assert same(observation, {name: values[0] for name, values in batch.items()})
        action = single.action_space.sample()
        observation, reward, terminated, truncated, info = single.step(action)
        batch, rewards, ended, cut, infos = vector.step(np.asarray(action)[None])
        assert (reward, terminated, truncated) == (rewards[0], ended[0], cut[0])
        assert all(same(np.asarray(info[name]), infos[name][0]) for name in info)
        if terminated or truncated:
            episodes += 1
            observation, _ = single.reset()
            batch, rewards, *_ = vector.step(np.asarray(action)[None])
            assert rewards[0] == 0.0
    assert episodes > 3


def test_rewards_are_what_the_feed_counts(lively_world: World) -> None:
    counted = {
        "comment_seconds": ("comment_watch_time_ms", 1e-3),
        "play_seconds": ("play_time_ms", 1e-3),
        "clicks": ("clicks", 1.0),
        "long_views": ("long_views", 1.0),
        "likes": ("likes", 1.0),
        "comment_opens": ("comment_opens", 1.0),
        "impressions": ("impressions", 1.0),
    }
    for name, (column, unit) in counted.items():
        vector = FeedVectorEnv(30, lively_world, reward=name)
        told = play(vector, 2, seed=2)
        episodes = vector._platform.episodes
        assert episodes is not None
        # Nobody has been replaced yet, so the feed's sums are those of these steps.
        assert same(told[0][1]["user_id"], told[-1][4]["user_id"])
        outcomes = episodes.feed.outcomes.to_frame(np.arange(30)).group_by("user_id").sum()
        expected = outcomes.sort("user_id")[column].to_numpy() * unit
        received = np.sum([step[1] for step in told[1:]], axis=0)
        assert received == pytest.approx(expected, rel=1e-5)
        assert received.sum() > 0
    pages = FeedVectorEnv(30, lively_world, reward={"comment_interactions": 2.0, "pages": 1.0})
    told = play(pages, 6, seed=2)
    for _, reward, _, _, info in told[1:]:
        given = info["comment_likes"] + info["comment_replies"]
        assert reward == pytest.approx(2.0 * given.sum(axis=1) + info["_videos"])
    assert sum(step[4]["comment_likes"].sum() for step in told[1:]) > 0


def test_a_function_may_be_the_reward(lively_world: World) -> None:
    vector = FeedVectorEnv(10, lively_world, reward=lambda page: page.flags["click"][:, 0] * 3)
    for _, reward, _, _, info in play(vector, 10, seed=1)[1:]:
        assert (reward == info["click"][:, 0] * 3).all()


def test_who_begins_an_episode_has_no_reward_whatever_a_function_says(
    lively_world: World,
) -> None:
    vector = FeedVectorEnv(10, lively_world, reward=lambda page: np.ones(10) - 3 * page.left)
    began = np.zeros(10, dtype=np.bool_)
    episodes = 0
    for _, reward, terminated, _, _ in play(vector, 40, seed=1)[1:]:
        assert (reward == np.where(began, 0.0, np.where(terminated, -2.0, 1.0))).all()
        began = terminated
        episodes += terminated.sum()
    assert episodes > 5


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        (
            lambda page: np.zeros(3),
            "has shape (3,), expected finite numbers of shape (2,)",
        ),
        (lambda page: 1.0, "the reward has shape ()"),
        (lambda page: np.full(2, np.nan), "expected finite numbers"),
    ],
)
def test_a_function_that_gives_no_reward_is_told(
    lively_world: World, reward: Callable[[Any], Any], told: str
) -> None:
    vector = FeedVectorEnv(2, lively_world, reward=reward)
    vector.reset(seed=1)
    with pytest.raises(ValueError, match=re.escape(told)):
        vector.step(np.tile(np.arange(6), (2, 1)))


def test_after_an_episode_the_next_step_only_begins_another(lively_world: World) -> None:
    vector = FeedVectorEnv(40, lively_world, days=1)
    told = play(vector, 60, seed=6)
    stayed = came = 0
    for (*_, before), (_, _, terminated, truncated, now), after in zip(
        told[1:], told[2:], told[3:], strict=False
    ):
        over = terminated | truncated
        assert (now["left"][terminated]).all()
        assert not after[4]["_videos"][over].any()
        assert after[4]["_videos"][~over].all()
        assert (after[1][over] == 0).all()
        assert not (after[2] | after[3])[over].any()
        assert (after[0]["candidates"][over, 5] >= 0).all()
        assert (after[0]["session"][over, 2:] == 0).all()
        assert (before["user_id"] == now["user_id"])[~before["_videos"] | ~over].any()
        same_person = (after[4]["user_id"] == now["user_id"])[over]
        stayed, came = stayed + same_person.sum(), came + (~same_person).sum()
        # A person who stays comes back later, with the history of the first visit.
        later = (after[4]["time_ms"] > now["time_ms"] - 1)[over]
        assert later[same_person].all()
    assert stayed > 20
    assert came > 20


def test_a_horizon_holds_several_sessions_and_is_cut_at_its_end(lively_world: World) -> None:
    vector = FeedVectorEnv(30, lively_world, episode="horizon", days=1)
    told = play(vector, 80, seed=1)
    assert not any(step[2].any() for step in told[1:])
    assert sum(step[3].sum() for step in told[1:]) > 30
    left = sum(step[4]["left"].sum() for step in told[1:])
    assert left > sum(step[3].sum() for step in told[1:])
    for now, after in itertools.pairwise(told[1:]):
        assert (now[0]["candidates"][now[3]] == -1).all()
        assert (after[4]["user_id"] != now[4]["user_id"])[now[3]].all()


def test_burn_in_gives_histories(lively_world: World) -> None:
    cold, _ = FeedVectorEnv(30, lively_world).reset(seed=1)
    warm, _ = FeedVectorEnv(30, lively_world, burn_in_days=1).reset(seed=1)
    assert (cold["clicked"] == -1).all()
    assert (warm["clicked"] >= 0).sum() > 30 * 5


def test_exact_probabilities_agree_with_what_happens(lively_world: World) -> None:
    """Slot 0 is always reached. A correct world fails one such check in 10,000 seeds."""
    vector = FeedVectorEnv(600, lively_world)
    vector.reset(seed=8)
    first = np.tile(np.arange(6), (600, 1))
    residual: dict[str, float] = {}
    variance: dict[str, float] = {}
    for _ in range(12):
        truth = vector.expectations()
        _, _, _, _, info = vector.step(first)
        had = info["_videos"]
        for name, column in (("click", "click"), ("like", "like"), ("open", "opened"),
                             ("long_view", "long_view")):  # fmt: skip
            p = truth[name][had, 0].astype(np.float64)
            residual[name] = residual.get(name, 0.0) + (info[column][had, 0] - p).sum()
            variance[name] = variance.get(name, 0.0) + (p * (1 - p)).sum()
    for name, value in residual.items():
        # Four two-sided checks at 2.5e-5 each.
        assert abs(value) < 4.22 * np.sqrt(variance[name]), name
        assert variance[name] > 20


def test_expectations_cover_exactly_the_candidates(lively_world: World) -> None:
    env = FeedEnv(lively_world)
    observation, _ = env.reset(seed=3)
    for values in env.expectations().values():
        assert (np.isnan(values) == (observation["candidates"] < 0)).all()


def test_scores_of_comments_matter_and_zeros_do_not(lively_world: World) -> None:
    def total(score: Callable[[Any], Any] | None) -> float:
        comments = "platform" if score is None else "scores"
        vector = FeedVectorEnv(100, lively_world, comments=comments)  # type: ignore[arg-type]
        observation, _ = vector.reset(seed=2)
        seconds = 0.0
        slate = np.tile(np.arange(6), (100, 1))
        for _ in range(8):
            action: Any = slate
            if score is not None:
                likes = observation["comment_features"][:, :6, :, 0]
                action = {"slate": slate, "comments": score(likes).astype(np.float32)}
            observation, reward, *_ = vector.step(action)
            seconds += reward.sum()
        return seconds

    platform = total(None)
    assert total(np.zeros_like) == platform
    assert total(lambda likes: -likes / 25.0) != platform


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"reward": "comment_second"}, "Did you mean 'comment_seconds'"),
        ({"reward": {}}, "no terms"),
        ({"reward": {"clicks": float("nan")}}, "the weight of clicks is nan"),
        ({"episode": "day"}, "expected session or horizon"),
        ({"comments": "mine"}, "expected platform or scores"),
        ({"days": 0}, "days is 0"),
        ({"comments_scored": 0}, "at least 1"),
    ],
)
def test_bad_options_are_named(lively_world: World, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        FeedEnv(lively_world, **options)


def test_bad_calls_are_named(lively_world: World) -> None:
    env = FeedEnv(lively_world)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.arange(6))
    env.reset(seed=1)
    with pytest.raises(ValueError, match="expected 0 to 39"):
        env.step(np.array([0, 1, 2, 3, 4, 40]))
    with pytest.raises(ValueError, match="expected integers"):
        env.step(np.arange(5))
    while not (told := env.step(np.arange(6)))[2]:
        assert not told[3]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.arange(6))
    scored = FeedEnv(lively_world, comments="scores")
    scored.reset(seed=1)
    for action in (np.arange(6), {"slate": np.arange(6)}):
        with pytest.raises(ValueError, match='a dict of "slate" and "comments"'):
            scored.step(action)
    vector = FeedVectorEnv(2, lively_world)
    with pytest.raises(ValueError, match="one integer"):
        vector.reset(seed=[1, 2])  # type: ignore[arg-type]


def test_a_reset_in_the_middle_brings_somebody_else(lively_world: World) -> None:
    env = FeedEnv(lively_world)
    _, first = env.reset(seed=1)
    env.step(np.arange(6))
    _, second = env.reset()
    assert first["user_id"] != second["user_id"]
    assert same(env.reset(seed=1)[1], first)


def test_without_gymnasium_the_extra_is_named() -> None:
    code = "import sys; sys.modules['gymnasium'] = None; import simulator.gym"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "MissingPackage" in run.stderr
    assert "pip install 'abtest[gym]'" in run.stderr


def test_the_documentation_names_every_reward() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in set(REWARDS) - set(COUNTED_FLAGS.values()):
        assert f"`{name}`" in text
