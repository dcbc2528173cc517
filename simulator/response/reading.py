"""Draw how a comment section is read: a cascade down the list.

The person reads comment k, then goes on with probability
``sigmoid(read_base + person + read_match * match + read_appeal * appeal - read_depth * k)``,
where ``match`` is comment taste . comment style. Time on a comment is log-normal, with a part that
all comments of one visit share. The stay is the opening itself plus all dwells (cascade model:
Craswell et al., WSDM 2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import look_up
from simulator.randomness import mix, uniforms
from simulator.requests import Int32, Int64
from simulator.response.base import Read
from simulator.response.displayed import DisplayedLikes
from simulator.response.page import Float32, sigmoid
from simulator.world.config import WorldConfig
from simulator.world.items import N_STYLES
from simulator.world.people import People
from simulator.world.world import World

_READ = 12 << 16
_VISIT = -1
"""Where the draws of a visit as a whole stand among those of its comments."""
_WRITE = 20 << 16
_WRITE_SIGMA = 0.6
_BLOCKS = (4, 8, 16, 40)
"""Ranks drawn at once; few people read past the first ones. The last size repeats."""


def read_section(
    world: World,
    people: People,
    rows: Int64,
    key: NDArray[np.uint64],
    slot: Int64,
    comments: Int32,
    displayed: DisplayedLikes | None = None,
) -> Read:
    """Draw what R people do in sections of up to M comments, a block of ranks at a time.

    Only what is read is drawn: first how far people get, then what they do with each comment.
    ``displayed`` is given where likes have changed since the catalogue was made.
    """
    c = world.config
    r, m = comments.shape
    section_key = mix(key, _READ + slot)
    visit = uniforms(section_key, 4 if c.comment_order_effect >= 1.0 else 5, _VISIT)
    own = None
    order = comments
    if c.comment_order_effect < 1.0:
        place = None if displayed is None else displayed.place
        own = _order_read(comments, visit[4] < c.comment_order_effect, place)
        order = np.take_along_axis(comments, own, axis=1)
    engaged = np.exp(np.float32(c.dwell_open_sigma) * _normal(visit[0], visit[1]))
    opening = c.open_seconds * np.exp(
        np.float32(c.open_seconds_sigma) * _normal(visit[2], visit[3])
    )
    # Draws belong to the comment, not to its rank: two orders of one section share them.
    parts: list[tuple[NDArray[Any], ...]] = []
    alive = np.arange(r)
    start = 0
    for size in chain(_BLOCKS, repeat(_BLOCKS[-1])):
        if start >= m or len(alive) == 0:
            break
        # Rank by rank in memory.
        block = np.ascontiguousarray(order[:, start : start + size].T).take(alive, axis=1).T
        width = block.shape[1]
        match, appeal, slow = _traits(world, people, rows[alive], block)
        real = block >= 0
        onward = _onward(c, people.read[rows[alive], None], match, appeal, start)
        going = sigmoid(onward) > uniforms(section_key[alive], 1, block.T)[0].T
        going &= real
        # Everyone sees the first comment of a block they entered, and the one after each "on".
        seen = np.ones_like(going)
        for below in range(1, width):
            np.logical_and(seen[:, below - 1], going[:, below - 1], out=seen[:, below])
        on = alive[seen[:, -1] & going[:, -1]]
        seen &= real
        rank, person = np.nonzero(seen.T)
        read = (a[person, rank] for a in (block, match, appeal, slow))
        parts.append((alive[person], start + rank, *read))
        alive = on
        start += width
    section, rank, comment, match, appeal, slow = _joined(parts)
    u = uniforms(section_key[section], 3, comment, first=1)
    # One draw decides about the like and, rescaled, whether it is a reply.
    herding = None if displayed is None else displayed.herding.take(comment)
    p_touch = _p_touch(c, match, appeal, herding)
    reply = u[0] < np.float32(c.comment_reply_share) * p_touch
    like = (u[0] < p_touch) & ~reply
    log_dwell = _log_dwell(c, people.pace[rows[section]], match, appeal, slow)
    log_dwell += np.float32(c.dwell_sigma) * _normal(u[1], u[2])
    milliseconds = np.exp(log_dwell) * (np.float32(1_000.0) * engaged)[section]
    dwell_ms = np.maximum(milliseconds, np.float32(1.0)).astype(np.int64)
    stay_ms = np.maximum(1_000.0 * opening, 1.0).astype(np.int64)
    stay_ms += np.bincount(section, weights=dwell_ms, minlength=r).astype(np.int64)
    if own is not None:
        rank = own[section, rank]
        in_order = np.lexsort((rank, section))
        rank, dwell_ms, like, reply = (a[in_order] for a in (rank, dwell_ms, like, reply))
    return Read(section, rank, dwell_ms, like, reply, stay_ms)


def _joined(parts: list[Any]) -> list[Any]:
    """The columns of some blocks one after the other, in order of sections and of ranks."""
    columns = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]


@dataclass(frozen=True)
class SectionExpectations:
    """What is expected of R visits to sections of up to M comments; float32[R, M] at each comment.

    Everything is unconditional: a comment that is hardly ever reached is expected to get little.

    Attributes:
        reach: Probability of being read.
        like, reply: Probability.
        dwell_seconds: Expected time.
        stay_seconds: float32[R], expected stay; sections without comments take the opening alone.
    """

    reach: Float32
    like: Float32
    reply: Float32
    dwell_seconds: Float32
    stay_seconds: Float32


def section_expectations(
    world: World, people: People, rows: Int64, comments: Int32
) -> SectionExpectations:
    """What `read_section` draws from, for comments int32[R, M] in this order, -1 padded.

    Exact up to the rounding of dwell times to whole milliseconds. Padding may stand anywhere and
    ends what is read, as in `read_section`.
    """
    effect = float(np.clip(world.config.comment_order_effect, 0.0, 1.0))
    displayed = _in_order(world, people, rows, comments)
    if effect == 1.0:
        return displayed
    place = _order_read(comments, np.zeros(len(comments), dtype=np.bool_))
    own = _in_order(world, people, rows, np.take_along_axis(comments, place, axis=1))
    back = np.argsort(place, axis=1)

    def mixed(first: Float32, second: Float32) -> Float32:
        second = np.take_along_axis(second, back, axis=1)
        return np.asarray(effect * first + (1.0 - effect) * second, dtype=np.float32)

    stay = effect * displayed.stay_seconds + (1.0 - effect) * own.stay_seconds
    return SectionExpectations(
        reach=mixed(displayed.reach, own.reach),
        like=mixed(displayed.like, own.like),
        reply=mixed(displayed.reply, own.reply),
        dwell_seconds=mixed(displayed.dwell_seconds, own.dwell_seconds),
        stay_seconds=np.asarray(stay, dtype=np.float32),
    )


def _in_order(world: World, people: People, rows: Int64, comments: Int32) -> SectionExpectations:
    """Expectations where everyone reads down the list as it is."""
    c = world.config
    match, appeal, slow = _traits(world, people, rows, comments)
    onward = _onward(c, people.read[rows, None], match, appeal, 0)
    log_dwell = _log_dwell(c, people.pace[rows, None], match, appeal, slow)
    real = comments >= 0
    reach = np.ones(comments.shape, dtype=np.float32)
    reach[:, 1:] = np.cumprod((sigmoid(onward) * real)[:, :-1], axis=1)
    reach *= real
    touch = reach * _p_touch(c, match, appeal)
    dwell = reach * np.exp(log_dwell + np.float32(_half_variance(world)))
    return SectionExpectations(
        reach=reach,
        like=np.asarray((1.0 - c.comment_reply_share) * touch, dtype=np.float32),
        reply=np.asarray(c.comment_reply_share * touch, dtype=np.float32),
        dwell_seconds=dwell,
        stay_seconds=np.asarray(opening_seconds(world) + dwell.sum(axis=1), dtype=np.float32),
    )


def expected_stay(world: World, people: People, rows: Int64, comments: Int32) -> Float32:
    """float32[R]: expected stay in seconds for comments int32[R, M] in this order."""
    return section_expectations(world, people, rows, comments).stay_seconds


def comment_index(world: World, people: People, rows: Int64, comments: Int32) -> Float32:
    """float32[R, M]: mean dwell over the probability of stopping; descending, it is the best order.

    Put comments i and j one after the other: i first is better exactly if
    ``m_i + g_i m_j >= m_j + g_j m_i``, that is ``m_i / (1 - g_i) >= m_j / (1 - g_j)``, with mean
    dwell m and probability g of going on; what comes before and after is the same (Kempe & Mahdian,
    "A cascade model for externalities in sponsored search", WINE 2008). That is exact where going
    on does not depend on the rank; with ``read_depth`` above 0 it is very nearly so, as the tests
    show against all permutations. Padding gets 0, everything else more.
    """
    mean, on = expected_reading(world, people, rows, comments)
    return np.asarray(mean / np.maximum(1.0 - on, np.float32(1e-6)), dtype=np.float32)


def expected_reading(
    world: World, people: People, rows: Int64, comments: Int32
) -> tuple[Float32, Float32]:
    """Mean dwell in seconds and probability of going on, float32[R, M], as if reached at its rank.

    Both are 0 at padding.
    """
    c = world.config
    match, appeal, slow = _traits(world, people, rows, comments)
    onward = _onward(c, people.read[rows, None], match, appeal, 0)
    log_dwell = _log_dwell(c, people.pace[rows, None], match, appeal, slow)
    real = comments >= 0
    mean = np.exp(log_dwell + np.float32(_half_variance(world)))
    return mean * real, sigmoid(onward) * real


def _half_variance(world: World) -> float:
    """Half the variance of log dwell: its exponential is the ratio of mean to median."""
    return 0.5 * (world.config.dwell_sigma**2 + world.config.dwell_open_sigma**2)


def writing_ms(config: WorldConfig, key: NDArray[np.uint64], slot: Int64) -> Int64:
    """int64[R]: what writing a comment adds to the stay; log-normal, median ``write_seconds``."""
    u = uniforms(mix(key, _WRITE + slot), 2)
    seconds = config.write_seconds * np.exp(_WRITE_SIGMA * _normal(u[0], u[1]))
    return np.asarray(1_000.0 * seconds, dtype=np.int64)


def opening_seconds(world: World) -> float:
    """Mean seconds of a visit that are not spent on any comment."""
    c = world.config
    return float(c.open_seconds * np.exp(0.5 * c.open_seconds_sigma**2))


def _traits(
    world: World, people: People, rows: Int64, comments: Int32
) -> tuple[Float32, Float32, Float32]:
    """Match with the reader, appeal and what length and video add to log seconds, float32[R, M]."""
    traits = look_up(world.comment_traits, comments)
    taste = people.comment_taste[rows]
    if world.config.comment_taste_topics:
        # A section is of one video, so its first comment tells the topic; padding is not read.
        topic = world.comment_topic.take(comments[:, 0], mode="wrap")
        taste = taste + world.circle_taste[people.circle[rows], topic]
    match = np.einsum("rd,rmd->rm", taste, traits[..., :N_STYLES])
    return match, traits[..., N_STYLES], traits[..., N_STYLES + 1]


def _onward(
    c: WorldConfig, person: Float32, match: Float32, appeal: Float32, start: int
) -> Float32:
    """float32[R, M]: log-odds of going on; ranks count from ``start``."""
    depth = np.arange(start, start + match.shape[1], dtype=np.float32)
    onward = np.float32(c.read_match) * match + np.float32(c.read_appeal) * appeal
    onward += np.float32(c.read_base) + person
    onward -= np.float32(c.read_depth) * depth
    return np.asarray(onward)


def _log_dwell(
    c: WorldConfig, person: Float32, match: Float32, appeal: Float32, slow: Float32
) -> Float32:
    """Mean log of the seconds on a comment, once read; of the shape of ``match``."""
    log_dwell = np.float32(c.dwell_match) * match + np.float32(c.dwell_appeal) * appeal
    log_dwell += slow
    log_dwell += np.float32(c.dwell_base) + person
    return np.asarray(log_dwell)


def _p_touch(
    c: WorldConfig, match: Float32, appeal: Float32, herding: Float32 | None = None
) -> Float32:
    """Probability of a like or a reply, once read; all of the shape of ``match``."""
    logit = np.float32(c.comment_like_match) * match + np.float32(c.comment_like_appeal) * appeal
    if herding is not None:
        logit += herding
    return sigmoid(logit + np.float32(c.comment_like_base))


def _normal(first: Float32, second: Float32) -> Float32:
    """Standard normal draws from two uniform ones (Box & Muller, 1958)."""
    angle = np.float32(2.0 * np.pi) * second
    return np.asarray(np.sqrt(np.float32(-2.0) * np.log(first)) * np.cos(angle))


def _order_read(
    comments: Int32, as_displayed: NDArray[np.bool_], place: Int32 | None = None
) -> NDArray[np.int64]:
    """int64[R, M]: places in the order in which they are read: as displayed, or most liked first.

    Comments of a video are numbered from the most liked one on, unless ``place`` says otherwise.
    """
    liked = comments if place is None else look_up(place, comments)
    own = np.argsort(np.where(comments >= 0, liked, np.iinfo(np.int32).max), axis=1)
    return np.where(as_displayed[:, None], np.arange(comments.shape[1]), own)
