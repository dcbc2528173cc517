"""Define the single and the vector environment; `FeedEnv` is the vector of one person.

One step is one page. The action picks a slate out of the candidates and, if asked for, scores the
comments under each slot's video beforehand, for the case that the section is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from simulator.gym.episodes import Episode, Episodes, EpisodeSettings, Scene
from simulator.gym.observation import Observation, Observer
from simulator.gym.outcome import Reward, reward_function
from simulator.gym.slates import AgentPage, comment_order, repair
from simulator.gym.truth import Truth, exact
from simulator.world.world import World

CommentAction = Literal["platform", "scores"]
Action = Any
_SEEDS = 1 << 31


class _Platform:
    """What both environments share: the world, its spaces, and how a step is taken.

    Args:
        world: A preset's name, or a world.
        world_seed: Which of the preset's worlds; people and draws come from ``reset(seed=...)``.
        people: Rows.
        settings: What an episode is.
        reward: See `simulator.gym.outcome.REWARDS`.
        comments: Who orders the comments.
        comments_scored: Comments per section that the agent sees and scores.
    """

    def __init__(
        self,
        world: World | str,
        world_seed: int,
        people: int,
        settings: EpisodeSettings,
        reward: Reward,
        comments: str,
        comments_scored: int,
    ) -> None:
        if comments not in ("platform", "scores"):
            raise ValueError(f"comments is '{comments}', expected platform or scores")
        if people < 1 or comments_scored < 1:
            raise ValueError("num_envs and comments_scored must be at least 1")
        self.scene = Scene.of(world, world_seed)
        self.people = people
        self._settings = settings
        self._reward = reward_function(reward)
        self._scored = comments_scored if comments == "scores" else 0
        self._candidates = self.scene.retrieval.width
        self._slots = Episodes.page_size
        self._observer = Observer(self.scene, self._candidates, self._scored)
        self.episodes: Episodes | None = None
        self._offered = np.empty((0, 0), dtype=np.int32)

    def observation_space(self) -> spaces.Dict:
        return self._observer.space()

    def action_space(self) -> spaces.Space[Any]:
        slate = spaces.MultiDiscrete(np.full(self._slots, self._candidates))
        if not self._scored:
            return slate
        scores = spaces.Box(-1.0, 1.0, (self._slots, self._scored), np.float32)
        return spaces.Dict({"slate": slate, "comments": scores})

    def start(self, seed: int) -> Observation:
        self.episodes = Episodes(self.scene, self.people, self._settings, seed)
        return self._observe()

    def restart(self) -> Observation:
        """Newcomers in every row."""
        self._running.restart()
        return self._observe()

    def next_episode(self) -> Observation:
        """Begin the episodes that are due to begin; nobody may be waiting for a page."""
        self._running.next_turn()
        return self._observe()

    def step(
        self, action: Action
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        episodes = self._running
        waiting = episodes.requests
        if waiting is not None:
            page = self._page(action, waiting.row)
            sections = episodes.show(page.videos)
            if sections is not None:
                episodes.feed.show_comments(comment_order(sections, waiting.row, page))
        terminated, truncated = episodes.next_turn()
        reward = np.zeros(self.people)
        if episodes.last is not None:
            shown = np.zeros(self.people, dtype=np.bool_)
            if waiting is not None:
                shown[waiting.row] = True
            # Whoever begins an episode was shown nothing, which a function need not know.
            reward = np.where(shown, self._reward(episodes.last), 0.0)
        return self._observe(), reward, terminated, truncated

    def infos(self) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
        """Arrays over people: who it is, and the last page's outcome; bool[N]: who had a page."""
        episodes = self._running
        info: dict[str, NDArray[Any]] = {
            "user_id": episodes.feed.users.astype(np.int64),
            "time_ms": episodes.feed.next_page_ms(),
        }
        if episodes.last is None:
            return info, np.zeros(self.people, dtype=np.bool_)
        return info | episodes.last.arrays(), episodes.last.reached[:, 0]

    def expectations(self) -> Truth:
        return exact(self._running, self._offered)

    @property
    def _running(self) -> Episodes:
        if self.episodes is None:
            raise gymnasium.error.ResetNeeded("call reset before anything else")
        return self.episodes

    def _observe(self) -> Observation:
        self._offered = self._observer.candidates(self._running)
        return self._observer.observe(self._running, self._offered)

    def _page(self, action: Action, rows: NDArray[np.int32]) -> AgentPage:
        if self._scored and not (
            isinstance(action, Mapping) and set(action) >= {"slate", "comments"}
        ):
            raise ValueError(
                'with comments="scores" the action is a dict of "slate" and "comments"'
            )
        slate = np.asarray(action["slate"] if self._scored else action)
        expected = (self.people, self._slots)
        if slate.shape != expected or slate.dtype.kind not in "iu":
            raise ValueError(
                f"the slate is {slate.dtype}{list(slate.shape)}, expected integers{list(expected)}"
            )
        if slate.min() < 0 or slate.max() >= self._candidates:
            raise ValueError(
                f"the slate picks candidate {slate[(slate < 0) | (slate >= self._candidates)][0]}, "
                f"expected 0 to {self._candidates - 1}"
            )
        scores = None
        if self._scored:
            scores = np.asarray(action["comments"], dtype=np.float32)
            if scores.shape != (*expected, self._scored) or not np.isfinite(scores).all():
                raise ValueError(
                    f"comment scores have shape {scores.shape}, expected finite numbers of shape "
                    f"{(*expected, self._scored)}"
                )
            scores = scores[rows]
        return repair(self._offered[rows], slate[rows], scores)


class FeedEnv(gymnasium.Env[Observation, Any]):
    """One person scrolls the feed; a step is a page.

    **Action.** ``MultiDiscrete([C] * S)``: which of the C candidates stand in the S slots, first
    slot first. A repeated pick or one beyond the last candidate is dropped: the slate closes up and
    is filled with the first candidates not on it (``info["videos"]`` is what was shown). With
    ``comments="scores"`` the action is ``{"slate": ..., "comments": Box(-1, 1, (S, K))}``: scores
    of the first K comments (in the platform's order) under the video of each slot, best first,
    before the others. They apply if the section is opened, so that one step is still one page.

    **Observation.** A Dict; see `simulator.gym.observation` for the names of features.

    **Reward.** Comment watch time in seconds by default; see `simulator.gym.outcome.REWARDS`.

    **Episode.** ``terminated`` when the person leaves; ``truncated`` when no page is due within the
    horizon. `reset` goes on with the same person's next session, or with a newcomer after the
    horizon or in the middle of an episode; ``reset(seed=...)`` starts everything anew.

    Args:
        world: A preset of the built-in world, or a world.
        world_seed: Which of the preset's worlds.
        episode: "session", or "horizon": all sessions of a person within ``days``.
        days: Horizon of a person.
        burn_in_days: Days before it under the platform's own ranker, which give a history; they
            cost time. 0 starts cold.
        reward: A name, weights by name, or a function of a `PageOutcome` to float[N].
        comments: "platform" (most liked first), or "scores".
        comments_scored: K.
        render_mode: There is none.

    Raises:
        ValueError: an unknown name or a value out of range.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own convention

    def __init__(
        self,
        world: World | str = "default",
        *,
        world_seed: int = 1,
        episode: Episode = "session",
        days: int = 2,
        burn_in_days: int = 0,
        reward: Reward = "comment_seconds",
        comments: CommentAction = "platform",
        comments_scored: int = 10,
        render_mode: None = None,
    ) -> None:
        self.render_mode = render_mode
        settings = EpisodeSettings(episode, days, burn_in_days)
        self._platform = _Platform(
            world, world_seed, 1, settings, reward, comments, comments_scored
        )
        self.observation_space: spaces.Space[Any] = self._platform.observation_space()
        self.action_space = self._platform.action_space()

    @property
    def world(self) -> World:
        """The world; its truth is for evaluation, an agent should not look at it."""
        return self._platform.scene.world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """The first page's observation; see the class for who comes."""
        super().reset(seed=seed)
        episodes = self._platform.episodes
        if seed is not None or episodes is None:
            observation = self._platform.start(int(self.np_random.integers(_SEEDS)))
        elif episodes.over[0]:
            observation = self._platform.next_episode()
        else:
            observation = self._platform.restart()
        return _first(observation), self._info()

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Show a page.

        Raises:
            gymnasium.error.ResetNeeded: the episode is over.
            ValueError: an action outside the space.
        """
        episodes = self._platform.episodes
        if episodes is None or episodes.over[0]:
            raise gymnasium.error.ResetNeeded("the episode is over; call reset")
        if isinstance(action, dict):
            batch: Any = {name: np.asarray(part)[None] for name, part in action.items()}
        else:
            batch = np.asarray(action)[None]
        observation, reward, terminated, truncated = self._platform.step(batch)
        ended = bool(terminated[0]), bool(truncated[0])
        return _first(observation), float(reward[0]), *ended, self._info()

    def expectations(self) -> Truth:
        """The world's exact probabilities for the candidates on offer, float32[C] each.

        For oracles and for judging agents; NaN where there is no candidate. See `Truth`.
        """
        return {name: values[0] for name, values in self._platform.expectations().items()}

    def _info(self) -> dict[str, Any]:
        info, had_page = self._platform.infos()
        always = {"user_id", "time_ms"}
        return {
            name: _scalar(values[0])
            for name, values in info.items()
            if had_page[0] or name in always
        }


class FeedVectorEnv(VectorEnv[Observation, Any, NDArray[Any]]):
    """N people on one vectorised feed; arguments and meaning as in `FeedEnv`.

    The autoreset mode is next-step, Gymnasium's default: the step after an episode's end ignores
    that row's action, gives reward 0 and the first observation of the row's next episode.

    Args:
        num_envs: N.
        world: As in `FeedEnv`, like everything that follows.
        world_seed: Which of the preset's worlds.
        episode: "session" or "horizon".
        days: Horizon of a person.
        burn_in_days: Days before it under the platform's own ranker.
        reward: A name, weights by name, or a function.
        comments: "platform" or "scores".
        comments_scored: Comments of a section that are scored.
        render_mode: There is none.

    Raises:
        ValueError: an unknown name or a value out of range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - Gymnasium's own convention
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        world: World | str = "default",
        *,
        world_seed: int = 1,
        episode: Episode = "session",
        days: int = 2,
        burn_in_days: int = 0,
        reward: Reward = "comment_seconds",
        comments: CommentAction = "platform",
        comments_scored: int = 10,
        render_mode: None = None,
    ) -> None:
        self.render_mode = render_mode
        settings = EpisodeSettings(episode, days, burn_in_days)
        self._platform = _Platform(
            world, world_seed, num_envs, settings, reward, comments, comments_scored
        )
        self.num_envs = num_envs
        self.single_observation_space = self._platform.observation_space()
        self.single_action_space = self._platform.action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @property
    def world(self) -> World:
        """The world; its truth is for evaluation, an agent should not look at it."""
        return self._platform.scene.world

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Newcomers in every row; with a seed, everything anew.

        Raises:
            ValueError: a list of seeds, or a mask of rows: all rows share one seed.
        """
        if seed is not None and not isinstance(seed, (int, np.integer)):
            raise ValueError("seed must be one integer; it decides all rows")
        if options and "reset_mask" in options:
            raise ValueError("rows reset themselves (next-step autoreset); reset_mask is not taken")
        super().reset(seed=seed)
        if seed is not None or self._platform.episodes is None:
            observation = self._platform.start(int(self.np_random.integers(_SEEDS)))
        else:
            observation = self._platform.restart()
        return observation, self._info()

    def step(
        self, actions: Any
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Show a page to everyone whose episode runs; begin the others' next episodes.

        Raises:
            gymnasium.error.ResetNeeded: never reset.
            ValueError: an action outside the space.
        """
        observation, reward, terminated, truncated = self._platform.step(actions)
        return observation, reward, terminated, truncated, self._info()

    def expectations(self) -> Truth:
        """As `FeedEnv.expectations`, float32[N, C] each."""
        return self._platform.expectations()

    def _info(self) -> dict[str, Any]:
        """Each array with a mask of the rows for which it is set, as Gymnasium wants it."""
        info, had_page = self._platform.infos()
        masked: dict[str, Any] = {}
        for name, values in info.items():
            always = name in ("user_id", "time_ms")
            masked[name] = values
            masked[f"_{name}"] = np.ones_like(had_page) if always else had_page.copy()
        return masked


def _first(observation: Observation) -> Observation:
    return {name: values[0].copy() for name, values in observation.items()}


def _scalar(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value.item()
