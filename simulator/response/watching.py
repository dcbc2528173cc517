"""Draw what a page does to a person: clicks, play time, feedback, opened comments.

Equations, units and sources are in docs/world.md. Everything here is a function of the page's
`Page`; the same functions draw outcomes and give their exact probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import look_up
from simulator.randomness import uniforms
from simulator.requests import Int32, Int64
from simulator.response.base import Watched
from simulator.world.config import WorldConfig
from simulator.world.people import People
from simulator.world.world import World

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]

GRID_TAB, FEED_TAB = 0, 1
_WATCH, _COLLECT = 11 << 16, 21 << 16
_DRAWS = 7
_LONG_VIEW_SECONDS = 18.0
_VALID_SECONDS = 7.0
_OPEN_SATURATES = 30.0
_FORWARD, _HATE = 0.2, 0.4
_IF_SKIPPED, _IF_CLICKED = 0.35, 2.0
_PROFILE_SECONDS, _PROFILE_LIMIT = 9.0, 300.0
_NODES = 24


@dataclass(frozen=True)
class Page:
    """One page as a person meets it; float32[B, S] unless said otherwise.

    Attributes:
        rows: int64[B], rows of the people.
        videos: int32[B, S].
        vectors: float32[B, S, 16].
        relevance: How well each video suits the person, by lasting taste and quality together, of
            unit variance over random people and videos.
        pleasure: How much of the time with each video is well spent if it is watched, 0..1.
        click: Probability of a click.
        duration: Seconds.
        shortest: Seconds that a click lasts at least.
        room: Seconds between the shortest click and the longest partial play.
        full: Probability that a click plays to the end.
        share: Exponent of the partial play's law.
        curious: float32[B, 1], what a recent change of ranker adds to log-odds.
        grid: bool[B, 1], pages of the two-column tab.
    """

    rows: Int64
    videos: Int32
    vectors: Float32
    relevance: Float32
    pleasure: Float32
    click: Float32
    duration: Float32
    shortest: Float32
    room: Float32
    full: Float32
    share: Float32
    curious: Float32
    grid: Bool


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


def sigmoid(logit: NDArray[np.floating[Any]]) -> Float32:
    """float32: 1 / (1 + exp(-x)), several times faster than `scipy.special.expit` in float32."""
    # Bounded, as single precision overflows at 88.
    odds = np.minimum(-logit, np.float32(80.0)).astype(np.float32, copy=False)
    np.exp(odds, out=odds)
    odds += np.float32(1.0)
    return np.asarray(np.reciprocal(odds, out=odds))


def play_laws(config: WorldConfig, duration: Float32, relevance: Float32) -> tuple[Float32, ...]:
    """Shortest click, room, probability of a full play and exponent of a partial one."""
    c = config
    log_duration = np.log(duration)
    shortest = np.minimum(np.float32(_VALID_SECONDS), duration)
    full = c.play_full_base + c.play_full_relevance * relevance
    full = full - c.play_full_duration * (log_duration - np.float32(np.log(30.0)))
    share = log_duration * c.play_share_duration - c.play_share_relevance * relevance
    return (
        shortest,
        np.minimum(duration, np.float32(c.play_patience)) - shortest,
        sigmoid(full),
        np.float32(c.play_share * 60.0**-c.play_share_duration) * np.exp(share),
    )


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
    seconds = _play_seconds(c, page, click, u[1])
    play = (seconds * np.float32(1000.0)).astype(np.int32)
    # Milliseconds are whole numbers: a click stays on its side of the published rule.
    bound = (page.shortest * np.float32(1000.0)).astype(np.int32)
    play = np.where(click, np.maximum(play, bound + 1), np.minimum(play, bound - 1))
    play_ms = np.maximum(play, 0).astype(np.int64)
    like = u[2] < _p_like(c, people, page, click)
    opened = u[3] < _p_open(world, people, page, preview, click, like, seconds)
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
            "long_view": play_ms >= np.minimum(duration_ms, int(1000 * _LONG_VIEW_SECONDS)),
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
    logit = _open_logit(world, people, page, preview)
    if_like = logit + np.float32(c.open_like)
    after_click = _mean_open_if_click(c, page, (if_like, logit))
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
        for like, weight, p_open in zip((yes, ~yes), weights, opening, strict=True):
            follow = _p_follow(c, page, click, like)
            found["follow"] += weight * follow
            found["collect"] += weight * _p_collect(c, click, like)
            found["profile"] += weight * (1.0 - (1.0 - visit) * (1.0 - follow))
            found["open"] += weight * p_open
            write = np.minimum(_p_write(c, page.relevance, click, like), 1.0)
            found["write"] += weight * p_open * write
    on_profile = _PROFILE_SECONDS * (1.0 - np.exp(-_PROFILE_LIMIT / _PROFILE_SECONDS))
    found |= {
        "click": page.click,
        "long_view": _p_long_view(page),
        "play_seconds": _expected_play(c, page),
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


def _play_seconds(c: WorldConfig, page: Page, click: Bool, draw: Float32) -> Float32:
    """float32[B, S]: play time, given a uniform draw.

    Of a click, the draw decides whether it plays to the end and, rescaled, how long it plays.
    """
    skip = np.float32(c.play_skip_seconds)
    glance = _glance(c, page)
    cut = np.float32(1.0) - np.exp((glance - page.shortest) / skip)
    skipped = (glance - skip * np.log1p(-draw * cut)) * ~page.grid
    to_end = draw < page.full
    chance = np.where(to_end, page.full, np.float32(1.0) - page.full)
    rest = np.maximum((draw - page.full * ~to_end) / chance, np.float32(2.0**-24))
    played = np.where(to_end, _whole_play(c, page, rest), _partial_play(page, rest))
    return np.asarray(np.where(click, played, skipped), dtype=np.float32)


def _glance(c: WorldConfig, page: Page) -> Float32:
    """float32[B, S]: seconds that a skipped video plays at least."""
    return np.asarray(np.minimum(np.float32(c.play_glance_seconds), 0.5 * page.shortest))


def _partial_play(page: Page, draw: Float32) -> Float32:
    """float32[B, S]: seconds of a click that does not play to the end, given a uniform draw."""
    return np.asarray(page.shortest + page.room * draw**page.share)


def _whole_play(c: WorldConfig, page: Page, draw: Float32) -> Float32:
    """float32[B, S]: seconds of a click that plays to the end and perhaps again."""
    return np.asarray(page.duration * (1.0 - np.float32(c.play_replay) * np.log(draw)))


def _p_like(c: WorldConfig, people: People, page: Page, click: Bool) -> Float32:
    logit = (c.like_base + people.like[page.rows])[:, None] + np.float32(c.like_relevance) * (
        page.relevance
    )
    logit += np.float32(c.like_click) * click
    if c.like_duration:
        logit -= np.float32(c.like_duration) * np.log(page.duration * np.float32(1.0 / 30.0))
    return sigmoid(logit)


def _p_open(
    world: World,
    people: People,
    page: Page,
    preview: Int32,
    click: Bool,
    like: Bool,
    seconds: Float32,
) -> Float32:
    """float32[B, S]: probability of opening, given click, like and the play time in seconds."""
    logit = _open_logit(world, people, page, preview)
    logit += click * _open_if_click(world.config, seconds)
    logit += np.float32(world.config.open_like) * like
    return sigmoid(logit)


def _open_logit(world: World, people: People, page: Page, preview: Int32) -> Float32:
    """float32[B, S]: log-odds of opening without a click and a like."""
    c = world.config
    logit = (c.open_base + people.open[page.rows])[:, None] + page.curious
    logit = logit + look_up(world.talk, page.videos)
    logit += np.float32(c.open_relevance) * page.relevance
    if c.open_preview:
        style = look_up(world.comments.style, preview)
        match = np.einsum("bd,bsd->bs", people.comment_taste[page.rows], style)
        if c.comment_taste_topics:
            topic = look_up(world.videos.topic, page.videos)
            circle = world.circle_taste[people.circle[page.rows][:, None], topic]
            match += np.einsum("bsd,bsd->bs", circle, style)
        match *= preview >= 0
        logit += np.float32(c.open_preview) * match
    return np.asarray(logit, dtype=np.float32)


def _open_if_click(c: WorldConfig, seconds: Float32) -> Float32:
    """float32[B, S]: what a click with this play time adds to the log-odds of opening."""
    played = np.clip(seconds, np.float32(_VALID_SECONDS), np.float32(_OPEN_SATURATES))
    played = np.log(played * np.float32(1.0 / _VALID_SECONDS))
    return np.asarray(np.float32(c.open_click) + np.float32(c.open_play) * played)


def _mean_open_if_click(c: WorldConfig, page: Page, logits: tuple[Float32, ...]) -> list[Float32]:
    """Means over play time of the probability of opening after a click, one per given log-odds.

    By Gauss-Legendre quadrature in the uniform draw that decides the play time.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    totals = [np.zeros_like(page.click) for _ in logits]
    for node, weight in zip((nodes + 1.0) / 2.0, weights / 2.0, strict=True):
        u = np.full((1, 1), node, dtype=np.float32)
        whole = _open_if_click(c, _whole_play(c, page, u))
        part = _open_if_click(c, _partial_play(page, u))
        for total, logit in zip(totals, logits, strict=True):
            opened = page.full * sigmoid(logit + whole)
            total += np.float32(weight) * (opened + (1.0 - page.full) * sigmoid(logit + part))
    return totals


def _p_long_view(page: Page) -> Float32:
    """P(play >= min(duration, 18 s)): certain after a full play, else by the share's law."""
    room = np.maximum(page.room, 1e-6)
    need = np.minimum(page.duration, _LONG_VIEW_SECONDS) - page.shortest
    partial = 1.0 - np.clip(need / room, 0.0, 1.0) ** (1.0 / page.share)
    partial = np.where(page.duration <= _LONG_VIEW_SECONDS, 0.0, partial)
    given_click = np.where(
        page.duration <= _VALID_SECONDS, 1.0, page.full + (1.0 - page.full) * partial
    )
    return np.asarray(page.click * given_click, dtype=np.float32)


def _expected_play(c: WorldConfig, page: Page) -> Float32:
    whole = page.duration * (1.0 + c.play_replay)
    partial = page.shortest + page.room / (1.0 + page.share)
    skip = c.play_skip_seconds
    glance = _glance(c, page)
    room = page.shortest - glance
    tail = np.exp(-room / skip)
    skipped = np.where(page.grid, 0.0, glance + skip - room * tail / (1.0 - tail))
    given_click = page.full * whole + (1.0 - page.full) * partial
    return np.asarray(page.click * given_click + (1 - page.click) * skipped, dtype=np.float32)
