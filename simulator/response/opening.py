"""Say how likely people open the comment section of a video.

Equations, units and sources are in docs/world.md, "Watching".
"""

from __future__ import annotations

import numpy as np

from simulator.arrays import look_up
from simulator.requests import Int32
from simulator.response.page import Bool, Float32, Page, sigmoid
from simulator.response.playing import VALID_SECONDS, partial_play, whole_play
from simulator.world.config import WorldConfig
from simulator.world.people import People
from simulator.world.world import World

_SATURATES = 30.0
_NODES = 24


def p_open(
    world: World,
    people: People,
    page: Page,
    preview: Int32,
    click: Bool,
    like: Bool,
    seconds: Float32,
) -> Float32:
    """float32[B, S]: probability of opening, given click, like and the play time in seconds."""
    logit = open_logit(world, people, page, preview)
    logit += click * _gate(world.config, seconds)
    logit += np.float32(world.config.open_like) * like
    return sigmoid(logit)


def open_logit(world: World, people: People, page: Page, preview: Int32) -> Float32:
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


def _gate(c: WorldConfig, seconds: Float32) -> Float32:
    """float32[B, S]: what a click with this play time adds to the log-odds of opening."""
    played = np.clip(seconds, np.float32(VALID_SECONDS), np.float32(_SATURATES))
    played = np.log(played * np.float32(1.0 / VALID_SECONDS))
    return np.asarray(np.float32(c.open_click) + np.float32(c.open_play) * played)


def mean_open_if_click(c: WorldConfig, page: Page, logits: tuple[Float32, ...]) -> list[Float32]:
    """Means over play time of the probability of opening after a click, one per given log-odds.

    By Gauss-Legendre quadrature in the uniform draw that decides the play time.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    totals = [np.zeros_like(page.click) for _ in logits]
    for node, weight in zip((nodes + 1.0) / 2.0, weights / 2.0, strict=True):
        u = np.full((1, 1), node, dtype=np.float32)
        whole = _gate(c, whole_play(c, page, u))
        part = _gate(c, partial_play(page, u))
        for total, logit in zip(totals, logits, strict=True):
            opened = page.full * sigmoid(logit + whole)
            total += np.float32(weight) * (opened + (1.0 - page.full) * sigmoid(logit + part))
    return totals
