"""Reading a comment section: a cascade down the list.

The person reads comment k, then goes on with probability
``sigmoid(read_base + person + read_match * match + read_appeal * appeal - read_depth * k)``,
where ``match`` is comment taste . comment style. Time on a comment is log-normal, with a part that
all comments of one visit share. The stay is the opening itself plus all dwells (cascade model:
Craswell et al., WSDM 2008).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import row_sums
from simulator.randomness import mix, uniforms
from simulator.requests import Int32, Int64
from simulator.response.base import Read
from simulator.response.watching import Float32, sigmoid
from simulator.world.config import WorldConfig
from simulator.world.people import People
from simulator.world.world import World

_READ = 12 << 16
_VISIT = 19 << 16
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
) -> Read:
    """Draw what R people do in sections of up to M comments, a block of ranks at a time."""
    c = world.config
    r, m = comments.shape
    section_key = mix(key, _READ + slot)
    visit = uniforms(mix(section_key, _VISIT), 4 if c.comment_order_effect >= 1.0 else 5)
    own = None
    order = comments
    if c.comment_order_effect < 1.0:
        own = _order_read(comments, visit[:, 4] < c.comment_order_effect)
        order = np.take_along_axis(comments, own, axis=1)
    engaged = np.exp(c.dwell_open_sigma * _normal(visit[:, 0], visit[:, 1]))
    opening = c.open_seconds * np.exp(c.open_seconds_sigma * _normal(visit[:, 2], visit[:, 3]))
    dwell_ms = np.zeros((r, m), dtype=np.int64)
    shown = np.zeros((r, m), dtype=np.bool_)
    like = np.zeros((r, m), dtype=np.bool_)
    reply = np.zeros((r, m), dtype=np.bool_)
    alive = np.arange(r)
    start = 0
    for size in chain(_BLOCKS, repeat(_BLOCKS[-1])):
        if start >= m or len(alive) == 0:
            break
        block = order[:, start : start + size].take(alive, axis=0)
        width = block.shape[1]
        match, onward, log_dwell = _traits(world, people, rows[alive], block, start)
        # Draws belong to the comment, not to its rank: two orders of one section share them.
        u = uniforms(mix(section_key[alive, None], block), 4)
        going = (u[..., 0] < sigmoid(onward)) & (block >= 0)
        # Everyone sees the first comment of a block they entered, and the one after each "on".
        seen = np.ones(block.shape, dtype=np.bool_)
        for rank in range(1, width):
            np.logical_and(seen[:, rank - 1], going[:, rank - 1], out=seen[:, rank])
        seen &= block >= 0
        # One draw decides about the like and, rescaled, whether it is a reply.
        p_like = _p_touch(world, match, block)
        touched = seen & (u[..., 1] < p_like)
        replied = touched & (u[..., 1] < c.comment_reply_share * p_like)
        seconds = np.exp(log_dwell + np.float32(c.dwell_sigma) * _normal(u[..., 2], u[..., 3]))
        milliseconds = seconds * (np.float32(1_000.0) * engaged[alive, None])
        at = slice(start, start + width)
        shown[alive, at] = seen
        dwell_ms[alive, at] = np.maximum(milliseconds, 1.0) * seen
        like[alive, at] = touched & ~replied
        reply[alive, at] = replied
        alive = alive[seen[:, -1] & going[:, -1]]
        start += width
    if own is not None:
        inverse = np.argsort(own, axis=1, kind="stable")
        shown, like, reply = (np.take_along_axis(a, inverse, axis=1) for a in (shown, like, reply))
        dwell_ms = np.take_along_axis(dwell_ms, inverse, axis=1)
    stay_ms = row_sums(dwell_ms).astype(np.int64) + np.maximum(1_000.0 * opening, 1.0).astype(
        np.int64
    )
    return Read(dwell_ms=dwell_ms, shown=shown, like=like, reply=reply, stay_ms=stay_ms)


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
    match, onward, log_dwell = _traits(world, people, rows, comments, 0)
    real = comments >= 0
    reach = np.ones(comments.shape, dtype=np.float32)
    reach[:, 1:] = np.cumprod((sigmoid(onward) * real)[:, :-1], axis=1)
    reach *= real
    touch = reach * _p_touch(world, match, comments)
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
    _, onward, log_dwell = _traits(world, people, rows, comments, 0)
    real = comments >= 0
    mean = np.exp(log_dwell + np.float32(_half_variance(world)))
    return mean * real, sigmoid(onward) * real


def _half_variance(world: World) -> float:
    """Half the variance of log dwell: its exponential is the ratio of mean to median."""
    return 0.5 * (world.config.dwell_sigma**2 + world.config.dwell_open_sigma**2)


def _p_touch(world: World, match: Float32, comments: Int32) -> Float32:
    """float32[R, M]: probability of a like or a reply, once read."""
    c = world.config
    return sigmoid(
        np.float32(c.comment_like_base)
        + np.float32(c.comment_like_match) * match
        + np.float32(c.comment_like_appeal) * world.comments.appeal.take(comments)
    )


def writing_ms(config: WorldConfig, key: NDArray[np.uint64], slot: Int64) -> Int64:
    """int64[R]: what writing a comment adds to the stay; log-normal, median ``write_seconds``."""
    u = uniforms(mix(key, _WRITE + slot), 2)
    seconds = config.write_seconds * np.exp(_WRITE_SIGMA * _normal(u[:, 0], u[:, 1]))
    return np.asarray(1_000.0 * seconds, dtype=np.int64)


def opening_seconds(world: World) -> float:
    """Mean seconds of a visit that are not spent on any comment."""
    c = world.config
    return float(c.open_seconds * np.exp(0.5 * c.open_seconds_sigma**2))


def _traits(
    world: World, people: People, rows: Int64, comments: Int32, start: int
) -> tuple[Float32, Float32, Float32]:
    """Match, log-odds of going on and mean log dwell, float32[R, M]; ranks count from ``start``."""
    c, items = world.config, world.comments
    match = np.einsum("rd,rmd->rm", people.comment_taste[rows], items.style.take(comments, axis=0))
    appeal = items.appeal.take(comments)
    depth = np.arange(start, start + comments.shape[1], dtype=np.float32)
    onward = (np.float32(c.read_base) + people.read[rows])[:, None] - np.float32(
        c.read_depth
    ) * depth
    onward = onward + np.float32(c.read_match) * match + np.float32(c.read_appeal) * appeal
    log_dwell = np.float32(c.dwell_match) * match + np.float32(c.dwell_appeal) * appeal
    log_dwell += (np.float32(c.dwell_base) + people.pace[rows])[:, None]
    log_dwell += np.float32(c.dwell_length) * np.log(
        items.length.take(comments) * np.float32(1 / 15)
    )
    return match, onward, log_dwell


def _normal(first: Float32, second: Float32) -> Float32:
    """Standard normal draws from two uniform ones (Box & Muller, 1958)."""
    angle = np.float32(2.0 * np.pi) * second
    return np.asarray(np.sqrt(np.float32(-2.0) * np.log(first)) * np.cos(angle))


def _order_read(comments: Int32, as_displayed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """int64[R, M]: places in the order in which they are read: as displayed, or most liked first.

    Comments of a video are numbered from the most liked one on.
    """
    own = np.argsort(np.where(comments >= 0, comments, np.iinfo(np.int32).max), axis=1)
    return np.where(as_displayed[:, None], np.arange(comments.shape[1]), own)
