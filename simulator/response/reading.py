"""Reading a comment section: a cascade down the list.

The person reads comment k, then goes on with probability
``sigmoid(read_base + person + read_match * match + read_appeal * appeal - read_depth * k)``,
where ``match`` is comment taste . comment style. Time on a comment is log-normal. The stay is a
fixed overhead plus all dwells (cascade model: Craswell et al., WSDM 2008).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from simulator.randomness import mix, uniforms
from simulator.requests import Int32, Int64
from simulator.response.base import Read
from simulator.world.people import People
from simulator.world.world import World

Float32 = NDArray[np.float32]

OVERHEAD_SECONDS = 0.7
_READ = 12 << 16
_SHUFFLE = 16 << 16
_BLOCK = 8


def _traits(
    world: World, people: People, rows: Int64, comments: Int32
) -> tuple[Float32, Float32, Float32]:
    """Match, log-odds of going on (without depth) and mean log dwell, float32[R, M]."""
    c, items = world.config, world.comments
    match = np.einsum("rd,rmd->rm", people.comment_taste[rows], items.style[comments])
    appeal = items.appeal[comments]
    onward = (
        c.read_base + people.read[rows][:, None] + c.read_match * match + c.read_appeal * appeal
    )
    dwell = (
        c.dwell_base
        + people.pace[rows][:, None]
        + c.dwell_length * np.log(items.length[comments] / 15.0)
        + c.dwell_match * match
        + c.dwell_appeal * appeal
    )
    return match, onward.astype(np.float32), dwell.astype(np.float32)


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
    order = comments
    back: NDArray[np.int64] | None = None
    section_key = mix(key, _READ + slot)
    if c.comment_order_effect == 0.0:
        # Read in an order of one's own, whatever the display: position then has no effect.
        back = np.argsort(
            np.where(
                comments >= 0,
                mix(section_key[:, None], _SHUFFLE + comments) >> np.uint64(1),
                np.uint64(2**63),
            ),
            axis=1,
            kind="stable",
        )
        order = np.take_along_axis(comments, back, axis=1)
    dwell_ms = np.zeros((r, m), dtype=np.int64)
    shown = np.zeros((r, m), dtype=np.bool_)
    like = np.zeros((r, m), dtype=np.bool_)
    reply = np.zeros((r, m), dtype=np.bool_)
    alive = np.arange(r)
    for start in range(0, m, _BLOCK):
        block = order[alive, start : start + _BLOCK]
        width = block.shape[1]
        rank = np.arange(start, start + width)
        match, onward, log_dwell = _traits(world, people, rows[alive], block)
        # Draws belong to the comment, not to its rank: two orders of one section share them.
        u = uniforms(mix(section_key[alive, None], block), 4)
        going = (u[..., 0] < expit(onward - c.read_depth * rank)) & (block >= 0)
        # Everyone sees the first comment of a block they entered, and the one after each "on".
        seen = np.ones(block.shape, dtype=np.bool_)
        seen[:, 1:] = np.cumprod(going[:, :-1], axis=1, dtype=np.int8).astype(np.bool_)
        seen &= block >= 0
        seconds = np.exp(log_dwell + c.dwell_sigma * ndtri(u[..., 1]))
        p_like = expit(
            c.comment_like_base
            + c.comment_like_match * match
            + c.comment_like_appeal * world.comments.appeal[block]
        )
        touched = seen & (u[..., 2] < p_like)
        replied = touched & (u[..., 3] < c.comment_reply_share)
        at = slice(start, start + width)
        shown[alive, at] = seen
        dwell_ms[alive, at] = np.where(seen, np.maximum(seconds * 1000.0, 1.0), 0.0)
        like[alive, at] = touched & ~replied
        reply[alive, at] = replied
        alive = alive[seen[:, -1] & going[:, -1]]
        if len(alive) == 0:
            break
    if back is not None:
        inverse = np.argsort(back, axis=1, kind="stable")
        shown, like, reply = (np.take_along_axis(a, inverse, axis=1) for a in (shown, like, reply))
        dwell_ms = np.take_along_axis(dwell_ms, inverse, axis=1)
    stay_ms = dwell_ms.sum(axis=1) + int(1000 * OVERHEAD_SECONDS)
    return Read(dwell_ms=dwell_ms, shown=shown, like=like, reply=reply, stay_ms=stay_ms)


def expected_stay(world: World, people: People, rows: Int64, comments: Int32) -> Float32:
    """float32[R]: exact expected stay in seconds for comments in this order.

    Only for worlds in which order matters: the recursion is over ranks.
    """
    c = world.config
    _, onward, log_dwell = _traits(world, people, rows, comments)
    real = comments >= 0
    mean = np.where(real, np.exp(log_dwell + 0.5 * c.dwell_sigma**2), 0.0)
    on = np.where(real, expit(onward - c.read_depth * np.arange(comments.shape[1])), 0.0)
    reach = np.ones_like(mean)
    reach[:, 1:] = np.cumprod(on[:, :-1], axis=1)
    return np.asarray(OVERHEAD_SECONDS + (reach * mean).sum(axis=1), dtype=np.float32)
