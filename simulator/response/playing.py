"""Say how long people play a video: skipped, left on the way, or played to the end.

Equations, units and sources are in docs/world.md, "Watching".
"""

from __future__ import annotations

import numpy as np

from simulator.response.page import Bool, Float32, Page, sigmoid
from simulator.world.config import WorldConfig

VALID_SECONDS = 7.0
"""A click plays this long, or the whole video."""
LONG_VIEW_SECONDS = 18.0
"""A long view plays this long, or the whole video."""


def play_laws(config: WorldConfig, duration: Float32, relevance: Float32) -> tuple[Float32, ...]:
    """Shortest click, room, probability of a full play and exponent of a partial one."""
    c = config
    log_duration = np.log(duration)
    shortest = np.minimum(np.float32(VALID_SECONDS), duration)
    full = c.play_full_base + c.play_full_relevance * relevance
    full = full - c.play_full_duration * (log_duration - np.float32(np.log(30.0)))
    share = log_duration * c.play_share_duration - c.play_share_relevance * relevance
    return (
        shortest,
        np.minimum(duration, np.float32(c.play_patience)) - shortest,
        sigmoid(full),
        np.float32(c.play_share * 60.0**-c.play_share_duration) * np.exp(share),
    )


def play_seconds(c: WorldConfig, page: Page, click: Bool, draw: Float32) -> Float32:
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
    played = np.where(to_end, whole_play(c, page, rest), partial_play(page, rest))
    return np.asarray(np.where(click, played, skipped), dtype=np.float32)


def _glance(c: WorldConfig, page: Page) -> Float32:
    """float32[B, S]: seconds that a skipped video plays at least."""
    return np.asarray(np.minimum(np.float32(c.play_glance_seconds), 0.5 * page.shortest))


def partial_play(page: Page, draw: Float32) -> Float32:
    """float32[B, S]: seconds of a click that does not play to the end, given a uniform draw."""
    return np.asarray(page.shortest + page.room * draw**page.share)


def whole_play(c: WorldConfig, page: Page, draw: Float32) -> Float32:
    """float32[B, S]: seconds of a click that plays to the end and perhaps again."""
    return np.asarray(page.duration * (1.0 - np.float32(c.play_replay) * np.log(draw)))


def p_long_view(page: Page) -> Float32:
    """P(play >= min(duration, 18 s)): certain after a full play, else by the share's law."""
    room = np.maximum(page.room, 1e-6)
    need = np.minimum(page.duration, LONG_VIEW_SECONDS) - page.shortest
    partial = 1.0 - np.clip(need / room, 0.0, 1.0) ** (1.0 / page.share)
    partial = np.where(page.duration <= LONG_VIEW_SECONDS, 0.0, partial)
    given_click = np.where(
        page.duration <= VALID_SECONDS, 1.0, page.full + (1.0 - page.full) * partial
    )
    return np.asarray(page.click * given_click, dtype=np.float32)


def expected_play(c: WorldConfig, page: Page) -> Float32:
    """float32[B, S]: expected seconds of play, clicked or not."""
    whole = page.duration * (1.0 + c.play_replay)
    partial = page.shortest + page.room / (1.0 + page.share)
    skip = c.play_skip_seconds
    glance = _glance(c, page)
    room = page.shortest - glance
    tail = np.exp(-room / skip)
    skipped = np.where(page.grid, 0.0, glance + skip - room * tail / (1.0 - tail))
    given_click = page.full * whole + (1.0 - page.full) * partial
    return np.asarray(page.click * given_click + (1 - page.click) * skipped, dtype=np.float32)
