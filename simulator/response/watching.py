"""Draw what a page does to a person: clicks, play time, feedback, opened comments.

Equations, units and sources are in docs/world.md. Everything here is a function of the page's
`Page`; the same functions draw outcomes and give their exact probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import look_up
from simulator.randomness import uniforms
from simulator.requests import Int32, Int64
from simulator.response.base import Watched
from simulator.response.opening import mean_open_if_click, open_logit, p_open
from simulator.response.page import Bool, Float32, Page, sigmoid
from simulator.response.playing import LONG_VIEW_SECONDS, expected_play, p_long_view, play_seconds
from simulator.world.config import WorldConfig
from simulator.world.people import People
from simulator.world.world import World

GRID_TAB, FEED_TAB = 0, 1
_WATCH, _COLLECT = 11 << 16, 21 << 16
_DRAWS = 7
_FORWARD, _HATE = 0.2, 0.4
_IF_SKIPPED, _IF_CLICKED = 0.35, 2.0
_PROFILE_SECONDS, _PROFILE_LIMIT = 9.0, 300.0


@dataclass(frozen=True)
class Expectations:
    """Exact probabilities and expectations at each slot, float32[B, S]; 0 at padding.

    They hold for a slot that is reached. Play times are in seconds and exclude comment time.

    Attributes:
        click, like, follow, forward, collect, hate, long_view: Probabilities.
        open: Probability that the comment section is opened.
        write: Probability that a comment is written.
        profile: Probability that the author's profile is visited.
        play_seconds: Expected play time.
        profile_seconds: Expected time on the profile.
    """

    click: Float32
    like: Float32
    follow: Float32
    forward: Float32
    collect: Float32
    hate: Float32
    open: Float32
    write: Float32
    profile: Float32
    long_view: Float32
    play_seconds: Float32
    profile_seconds: Float32


def draw(
    world: World,
    people: People,
    page: Page,
    key: NDArray[np.uint64],
    preview: Int32,
) -> Watched:
    """Draw what happens at every slot, as if it is reached."""
    c = world.config
    slots = page.videos.shape[1]
    u = uniforms(key, _DRAWS, _WATCH + np.arange(slots)[:, None]).swapaxes(1, 2)
    click = u[0] < page.click
    seconds = play_seconds(c, page, click, u[1])
    play = (seconds * np.float32(1000.0)).astype(np.int32)
    # Milliseconds are whole numbers: a click stays on its side of the published rule.
    bound = (page.shortest * np.float32(1000.0)).astype(np.int32)
    play = np.where(click, np.maximum(play, bound + 1), np.minimum(play, bound - 1))
    play_ms = np.maximum(play, 0).astype(np.int64)
    like = u[2] < _p_like(c, people, page, click)
    opened = u[3] < p_open(world, people, page, preview, click, like, seconds)
    # One draw for three rare events: each has its own part of the unit interval.
    rare = u[4]
    follow = rare < _p_follow(c, page, click, like)
    forward = (rare >= _FORWARD) & (rare < _forward_rate(c, page, click) + _FORWARD)
    hate = (rare >= _HATE) & (rare < _hate_rate(c, page, click) + _HATE)
    drawn = uniforms(key, 1, _COLLECT + np.arange(slots)[:, None])[0].T
    collect = drawn < _p_collect(c, click, like)
    write = np.zeros_like(opened)
    at = np.nonzero(opened)
    write[at] = u[5][at] < _p_write(c, page.relevance[at], click[at], like[at])
    visit = _profile_rate(c, page, click)
    profile = (u[6] < visit) | follow
    duration_ms = look_up(world.videos.duration_ms, page.videos)
    return Watched(
        play_ms=play_ms,
        flags={
            "click": click,
            "long_view": play_ms >= np.minimum(duration_ms, int(1000 * LONG_VIEW_SECONDS)),
            "like": like,
            "follow": follow,
            "comment": write,
            "forward": forward,
            "collect": collect,
            "hate": hate,
        },
        profile_stay_ms=_profile_stay_ms(profile, visit, u[6]),
        opened=opened,
        tab=np.where(page.grid[:, 0], GRID_TAB, FEED_TAB).astype(np.int8),
    )


def expectations(world: World, people: People, page: Page, preview: Int32) -> Expectations:
    """What `draw` draws from; opening and writing are integrated over the law of play time."""
    c = world.config
    yes = np.ones(page.videos.shape, dtype=np.bool_)
    names = ("like", "follow", "forward", "collect", "hate", "open", "write", "profile")
    found = {name: np.zeros_like(page.click) for name in names}
    logit = open_logit(world, people, page, preview)
    if_like = logit + np.float32(c.open_like)
    after_click = mean_open_if_click(c, page, (if_like, logit))
    after_skip = [sigmoid(if_like), sigmoid(logit)]
    for click, p_click, opening in (
        (yes, page.click, after_click),
        (~yes, np.float32(1.0) - page.click, after_skip),
    ):
        forward = np.minimum(_forward_rate(c, page, click), 1.0 - _FORWARD)
        found["forward"] += p_click * forward
        found["hate"] += p_click * np.minimum(_hate_rate(c, page, click), 1.0 - _HATE)
        visit = np.minimum(_profile_rate(c, page, click), 1.0)
        p_like = _p_like(c, people, page, click)
        found["like"] += p_click * p_like
        weights = (p_click * p_like, p_click * (np.float32(1.0) - p_like))
        for like, weight, p_opened in zip((yes, ~yes), weights, opening, strict=True):
            follow = _p_follow(c, page, click, like)
            found["follow"] += weight * follow
            found["collect"] += weight * _p_collect(c, click, like)
            found["profile"] += weight * (1.0 - (1.0 - visit) * (1.0 - follow))
            found["open"] += weight * p_opened
            write = np.minimum(_p_write(c, page.relevance, click, like), 1.0)
            found["write"] += weight * p_opened * write
    on_profile = _PROFILE_SECONDS * (1.0 - np.exp(-_PROFILE_LIMIT / _PROFILE_SECONDS))
    found |= {
        "click": page.click,
        "long_view": p_long_view(page),
        "play_seconds": expected_play(c, page),
        "profile_seconds": np.float32(on_profile) * found["profile"],
    }
    real = page.videos >= 0
    return Expectations(**{k: np.asarray(v * real, dtype=np.float32) for k, v in found.items()})


def _after_click(click: Bool) -> Float32:
    """float32[B, S]: how a click, or none, changes the rates of rare deeds."""
    return np.asarray(np.float32(_IF_SKIPPED) + np.float32(_IF_CLICKED - _IF_SKIPPED) * click)


def _p_follow(c: WorldConfig, page: Page, click: Bool, like: Bool) -> Float32:
    """float32[B, S]: probability of following the author, given click and like."""
    rate = np.float32(c.follow_rate) * np.exp(np.float32(c.follow_relevance) * page.relevance)
    rate *= _after_click(click) * (1.0 + np.float32(c.follow_like - 1.0) * like)
    return np.asarray(np.minimum(rate, np.float32(_FORWARD)))


def _forward_rate(c: WorldConfig, page: Page, click: Bool) -> Float32:
    """float32[B, S]: probability of forwarding, to be cut at its place among the rare deeds."""
    rate = np.float32(c.forward_rate) * np.exp(np.float32(c.forward_relevance) * page.relevance)
    return np.asarray(rate * _after_click(click))


def _p_collect(c: WorldConfig, click: Bool, like: Bool) -> Float32:
    """float32[B, S]: probability of collecting, given click and like."""
    rate = np.float32(c.collect_rate) * (1.0 + np.float32(c.collect_like - 1.0) * like)
    return np.asarray(np.minimum(rate * _after_click(click), 1.0), dtype=np.float32)


def _profile_rate(c: WorldConfig, page: Page, click: Bool) -> Float32:
    """float32[B, S]: probability of visiting the author's profile, to be cut at 1."""
    rate = np.float32(c.profile_rate) * np.exp(np.float32(c.profile_relevance) * page.relevance)
    return np.asarray(rate * _after_click(click))


def _hate_rate(c: WorldConfig, page: Page, click: Bool) -> Float32:
    """float32[B, S]: probability of hating, to be cut at its place among the rare deeds."""
    rate = np.float32(c.hate_rate) * np.exp(np.float32(-c.hate_relevance) * page.relevance)
    return np.asarray(rate * (np.float32(1.0) + np.float32(c.hate_click) * click))


def _p_write(c: WorldConfig, relevance: Float32, click: Bool, like: Bool) -> Float32:
    """Probability of writing, given an open section, to be cut at 1; of the arguments' shape."""
    liked = 1.0 + (c.write_like - 1.0) * like
    clicked = c.write_skip + (1.0 - c.write_skip) * click
    rate = np.float32(c.write_rate) * np.exp(np.float32(c.write_relevance) * relevance)
    return np.asarray(rate * liked * clicked, dtype=np.float32)


def _profile_stay_ms(profile: Bool, visit: Float32, draw: Float32) -> Int64:
    """int64[B, S]: time on profiles, by what the draw that decided about the visit leaves open."""
    stay_ms = np.zeros(profile.shape, dtype=np.int64, order="F")
    at = np.nonzero(profile)
    chance, draw = np.minimum(visit[at], np.float32(1.0)), draw[at]
    # Followers came whatever the draw.
    visits = draw < chance
    rest = np.where(visits, draw, draw - chance) / np.where(
        visits, chance, np.float32(1.0) - chance
    )
    seconds = -_PROFILE_SECONDS * np.log(np.maximum(rest, np.float32(2.0**-24)))
    stay_ms[at] = 1_000.0 * np.minimum(seconds, _PROFILE_LIMIT)
    return stay_ms


def _p_like(c: WorldConfig, people: People, page: Page, click: Bool) -> Float32:
    logit = (c.like_base + people.like[page.rows])[:, None] + np.float32(c.like_relevance) * (
        page.relevance
    )
    logit += np.float32(c.like_click) * click
    if c.like_duration:
        logit -= np.float32(c.like_duration) * np.log(page.duration * np.float32(1.0 / 30.0))
    return sigmoid(logit)
