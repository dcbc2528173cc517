"""Draw the people of the built-in world on demand: any range, always the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, gammaincinv, logit, ndtr, ndtri

from simulator.randomness import normal, purpose_key, uniform
from simulator.requests import Int32
from simulator.world.config import WorldConfig
from simulator.world.items import DIMENSIONS, N_STYLES, N_TOPICS

Float32 = NDArray[np.float32]

N_CIRCLES = 6
"""Groups of people who share tastes in comments that differ by topic."""

# Published shares of KuaiRand's 27,285 users (docs/world.md).
ACTIVITY = {
    "full_active": 0.6582,
    "high_active": 0.225692,
    "middle_active": 0.078175,
    "2_14_day_new": 0.023273,
    "low_active": 0.010995,
    "other": 0.003665,
}
# Levels and values of quantile functions: published quantiles, and the edges of published ranges.
_FOLLOW_QUANTILES = (
    (0.0, 0.00689, 0.01, 0.05, 0.070625, 0.1, 0.250357, 0.397104, 0.493604, 0.621513, 0.781931,
     0.9, 0.95, 0.99, 1.0),
    (0, 1, 2, 7, 11, 16, 51, 101, 151, 251, 501, 1021, 1743, 4128, 5003),
)  # fmt: skip
_FANS_QUANTILES = (
    (0.0, 0.042404, 0.1, 0.237603, 0.5, 0.62122, 0.75, 0.9, 0.938757, 0.992266, 0.996371, 1.0),
    (0, 1, 2, 10, 48, 100, 221, 660, 1_000, 5_000, 10_000, 1_986_249),
)
_FRIEND_QUANTILES = (
    (0.0, 0.123694, 0.245, 0.31684, 0.5, 0.595198, 0.699724, 0.800475, 0.883744, 0.95, 0.99, 1.0),
    (0, 1, 3, 5, 16, 30, 60, 120, 250, 550, 1626, 4995),
)
_REGISTER_QUANTILES = (
    (0.0, 0.005351, 0.019315, 0.033755, 0.072164, 0.137328, 0.264687, 0.5, 0.75, 0.9, 0.95, 0.99,
     1.0),
    (14, 31, 61, 91, 181, 366, 731, 1188, 1701, 2108, 2381, 2700, 3624),
)  # fmt: skip
_FOLLOW_RANGES = (
    (0, 10, 50, 100, 150, 250, 500),
    ("0", "(0,10]", "(10,50]", "(50,100]", "(100,150]", "(150,250]", "(250,500]", "500+"),
)
_FANS_RANGES = (
    (1, 10, 100, 1_000, 5_000, 10_000, 100_000, 1_000_000),
    ("0", "[1,10)", "[10,100)", "[100,1k)", "[1k,5k)", "[5k,1w)", "[1w,10w)", "[10w,100w)",
     "[100w,1000w)"),
)  # fmt: skip
# Spearman correlations of follows, fans, friends and days since registration.
_FEATURE_SPEARMAN = (
    (1.0, 0.5191, 0.6296, 0.2211),
    (0.5191, 1.0, 0.8885, 0.3149),
    (0.6296, 0.8885, 1.0, 0.2205),
    (0.2211, 0.3149, 0.2205, 1.0),
)
_FRIEND_RANGES = (
    (1, 5, 30, 60, 120, 250),
    ("0", "[1,5)", "[5,30)", "[30,60)", "[60,120)", "[120,250)", "250+"),
)
_LIVE_STREAMERS, _VIDEO_AUTHORS = 0.225692, 0.816419
# The root of x^5 = x + 1: its powers spread points evenly in four dimensions (Roberts, 2018).
_PLASTIC = 1.1673039782614187
_SQRT2, _SQRT3 = 2.0**0.5, 3.0**0.5
_REGISTER_RANGES = (
    (14, 30, 60, 90, 180, 365, 730),
    ("8-14", "15-30", "31-60", "61-90", "91-180", "181-365", "366-730", "730+"),
)


@dataclass(frozen=True)
class People:
    """Fixed traits of G people; log-odds unless said otherwise.

    Attributes:
        taste: float32[G, 16], unit length: what they like to watch.
        drift: float32[G, 16], unit length: where taste moves to and fro.
        phase: float32[G], where in that movement they are (0..1).
        comment_taste: float32[G, 8], standard normal: which comment styles they enjoy.
        circle: int16[G], the group of people with whom they share tastes that differ by topic.
        click, like, open, read: float32[G], how readily they do each.
        pace: float32[G], log seconds: how slowly they read.
        session: float32[G], log: how long their sessions are.
        visits: float32[G], sessions per day, relative to the mean (mean 1).
        volume: float32[G], standardised: how much they use the platform.
        grid: float32[G], share of their pages that are of the two-column tab.
    """

    taste: Float32
    drift: Float32
    phase: Float32
    comment_taste: Float32
    circle: NDArray[np.int16]
    click: Float32
    like: Float32
    open: Float32
    read: Float32
    pace: Float32
    session: Float32
    visits: Float32
    volume: Float32
    grid: Float32


def make_people(
    config: WorldConfig, seed: int, topics: Float32, taste_map: Float32, users: Int32
) -> People:
    """The people with these indices.

    Args:
        config: Parameters.
        seed: The world's seed.
        topics: float32[24, 16], topic vectors.
        taste_map: float32[16, 8], what video taste says about comment taste.
        users: int32[G], any indices.
    """

    def draw(purpose: str, *counters: NDArray[np.int64] | int) -> NDArray[np.float64]:
        return normal(purpose_key(seed, f"people.{purpose}"), users, *counters)

    def draws(purpose: str, width: int) -> NDArray[np.float64]:
        key = purpose_key(seed, f"people.{purpose}")
        return normal(key, users[:, None], np.arange(width))

    preference = np.exp(1.6 * draws("topics", N_TOPICS))
    preference /= preference.sum(axis=1, keepdims=True)
    own = draws("taste", DIMENSIONS) / np.sqrt(DIMENSIONS)
    taste = _unit(preference @ topics + 0.3 * own)
    predictable = config.comment_taste_predictable
    explained = taste @ taste_map
    comment_taste = np.sqrt(predictable) * explained + np.sqrt(1.0 - predictable) * draws(
        "comments", N_STYLES
    )
    shape = 1.0 / config.visits_person_cv**2
    level = uniform(purpose_key(seed, "people.visits"), users)
    session = draw("session")
    # How much someone uses the platform, standardised: heavy users click less of what they see.
    volume = config.visits_person_cv * ndtri(level) + config.session_person_sigma * session
    volume /= max(np.hypot(config.visits_person_cv, config.session_person_sigma), 1e-9)
    click = config.click_person_sigma * draw("click") - config.click_volume * volume
    everywhere = config.comment_taste_strength * np.sqrt(1.0 - config.comment_taste_topics)
    return People(
        taste=taste,
        drift=_unit(draws("drift", DIMENSIONS)),
        phase=uniform(purpose_key(seed, "people.phase"), users).astype(np.float32),
        comment_taste=(everywhere * comment_taste).astype(np.float32),
        circle=(uniform(purpose_key(seed, "people.circle"), users) * N_CIRCLES).astype(np.int16),
        click=click.astype(np.float32),
        like=(config.like_person_sigma * draw("like")).astype(np.float32),
        open=(config.open_person_sigma * draw("open")).astype(np.float32),
        read=(config.read_person_sigma * draw("read")).astype(np.float32),
        pace=(config.dwell_person_sigma * draw("pace")).astype(np.float32),
        session=(config.session_person_sigma * session).astype(np.float32),
        visits=(gammaincinv(shape, level) / shape).astype(np.float32),
        volume=volume.astype(np.float32),
        grid=expit(logit(config.grid_share) + config.grid_person_sigma * draw("grid")).astype(
            np.float32
        ),
    )


def _unit(vectors: NDArray[np.float64]) -> Float32:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-12), dtype=np.float32)


def users_frame(config: WorldConfig, seed: int, users: Int32) -> pl.DataFrame:
    """Visible features, with the published marginals; activity follows how often they come."""
    shape = 1.0 / config.visits_person_cv**2
    level = uniform(purpose_key(seed, "people.visits"), users)
    visits = gammaincinv(shape, level) / shape
    # Visits decide the class only in part: published classes say little about volume.
    noisy = np.log(np.maximum(visits, 1e-3)) + 0.5 * normal(
        purpose_key(seed, "people.activity"), users
    )
    rank = _normal_rank(noisy, config)
    edges = np.cumsum([ACTIVITY[name] for name in ACTIVITY])
    order = np.searchsorted(edges, 1.0 - rank).clip(0, len(ACTIVITY) - 1)
    names = np.array(list(ACTIVITY))

    def level_of(purpose: str, step: float) -> NDArray[np.float64]:
        """Evenly spread over (0, 1) for any run of users (an additive recurrence, Weyl 1916)."""
        shift = float(uniform(purpose_key(seed, purpose), 0))
        return np.clip((shift + step * users.astype(np.float64)) % 1.0, 1e-9, 1.0 - 1e-9)

    # A Gaussian copula: Pearson's correlation is 2 sin(pi rho / 6) for Spearman's rho.
    pearson = 2.0 * np.sin(np.pi / 6.0 * np.asarray(_FEATURE_SPEARMAN))
    steps = [_PLASTIC ** -(number + 1) for number in range(4)]
    noise = ndtri(
        np.stack([level_of(f"people.features.{n}", step) for n, step in enumerate(steps)], axis=1)
    )
    ranks = ndtr(noise @ np.linalg.cholesky(pearson).T)
    follow = _by_quantile(ranks[:, 0], _FOLLOW_QUANTILES)
    fans = _by_quantile(ranks[:, 1], _FANS_QUANTILES)
    friends = _by_quantile(ranks[:, 2], _FRIEND_QUANTILES)
    days = _by_quantile(ranks[:, 3], _REGISTER_QUANTILES)
    return pl.DataFrame(
        {
            "user_id": users.astype(np.int64),
            "user_active_degree": names[order],
            "follow_user_num": follow,
            "follow_user_num_range": _ranges(follow, _FOLLOW_RANGES),
            "fans_user_num": fans,
            "fans_user_num_range": _ranges(fans, _FANS_RANGES, side="right"),
            "friend_user_num": friends,
            "friend_user_num_range": _ranges(friends, _FRIEND_RANGES, side="right"),
            "register_days": days,
            "register_days_range": _ranges(days, _REGISTER_RANGES),
            "is_live_streamer": (level_of("people.live_streamer", _SQRT2) < _LIVE_STREAMERS).astype(
                np.int8
            ),
            "is_video_author": (level_of("people.video_author", _SQRT3) < _VIDEO_AUTHORS).astype(
                np.int8
            ),
        }
    )


def _normal_rank(values: NDArray[np.float64], config: WorldConfig) -> NDArray[np.float64]:
    """Approximate population rank (0..1) of log visits plus noise, by its normal moments."""
    from scipy.special import digamma, polygamma

    shape = 1.0 / config.visits_person_cv**2
    mean = float(digamma(shape) - np.log(shape))
    deviation = float(np.sqrt(polygamma(1, shape) + 0.25))
    return np.asarray(ndtr((values - mean) / deviation))


def _by_quantile(
    level: NDArray[np.float64], table: tuple[tuple[float, ...], tuple[int, ...]]
) -> NDArray[np.int64]:
    """Log-linear between the published quantiles."""
    levels, values = table
    logs = np.log1p(np.asarray(values, dtype=np.float64))
    return np.floor(np.expm1(np.interp(level, levels, logs)) + 1e-9).astype(np.int64)


def _ranges(
    values: NDArray[np.int64],
    table: tuple[tuple[int, ...], tuple[str, ...]],
    side: Literal["left", "right"] = "left",
) -> NDArray[np.str_]:
    edges, names = table
    return np.array(names)[np.searchsorted(edges, values, side=side)]
