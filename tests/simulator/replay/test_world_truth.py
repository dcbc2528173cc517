"""Replay of a simulated log against what the same world does under the replayed policy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.randomness import mix, purpose_key, uniform
from simulator.recorder import Recorder
from simulator.replay import replay
from simulator.requests import HistoryState, Slates, VideoRequests
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.config import WorldConfig
from simulator.world.world import World

USERS = 500
SHARE = 0.1


def live(world: World, best: np.ndarray | None) -> list[tuple[str, pl.DataFrame]]:
    """One day of the platform's log; random slots show one of ``best`` if given."""
    group = np.arange(USERS, dtype=np.int32)
    catalogue = world.catalogue()
    recorder = Recorder(catalogue)
    start_ms = world.config.start_ms
    feed = Feed(
        catalogue,
        WorldResponse(world).population(group),
        group,
        seed=1,
        start_ms=start_ms,
        end_ms=start_ms + DAY_MS,
        history=HistoryState(USERS),
        retrieval=Retrieval(catalogue, world.popularity()),
        recorder=recorder,
    )
    platform = PlatformRanker(world, group)
    while (requests := feed.video_requests()) is not None:
        slates = platform.slates(requests, feed.settings.page_size)
        if best is not None:
            slates = _with_best(requests, slates, best)
        sections = feed.show(slates)
        if sections is not None:
            feed.show_comments(platform.comments(sections))
    return list(recorder.drain())


def _with_best(requests: VideoRequests, slates: Slates, best: np.ndarray) -> Slates:
    assert slates.is_rand is not None
    slots = np.arange(slates.videos.shape[1])
    draw = uniform(mix(purpose_key(9, "truth"), requests.key)[:, None], slots)
    chosen = best[(draw * len(best)).astype(np.int64)]
    clash = (chosen[:, :, None] == slates.videos[:, None, :]).any(axis=2)
    again = slates.is_rand & ~clash
    videos = np.where(again, chosen, slates.videos).astype(np.int32)
    return Slates(videos=videos, propensity=slates.propensity, is_rand=again)


@pytest.fixture(scope="module")
def world() -> World:
    config = dataclasses.replace(WorldConfig.preset("small"), platform_random_share=0.15)
    return World.create(config, 3)


@pytest.fixture(scope="module")
def log(world: World, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    target: Path = tmp_path_factory.mktemp("truth") / "log"
    with DatasetWriter(target, name="truth", source="test", licence="none") as writer:
        writer.append("videos", world.videos_frame())
        writer.append("users", world.users_frame(np.arange(USERS, dtype=np.int32)))
        for table, frame in live(world, None):
            if table == "impressions":
                writer.append(table, frame)
    return Dataset.open(target)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_replay_recovers_what_the_world_does(world: World, log: Dataset, sign: float) -> None:
    score = sign * world.videos.quality.astype(np.float32)
    shown = log.scan("impressions").filter(is_rand=1).select("video_id").unique().collect()
    pool = np.sort(log.catalogue().video_index(shown["video_id"].to_numpy()))
    best = pool[np.argsort(-score[pool], kind="stable")][: int(np.ceil(SHARE * len(pool)))]
    truth = dict(live(world, best))["impressions"].filter(is_rand=1)
    result = replay(
        log,
        {"best": lambda requests: score[requests.candidates]},
        treatment="best",
        control="best",
        top_share=SHARE,
        rows="random",
    )
    for metric in result.metrics:
        if metric.name not in ("click_rate", "long_view_rate", "comment_open_rate"):
            continue
        column = {
            "click_rate": pl.col("is_click"),
            "long_view_rate": pl.col("long_view"),
            "comment_open_rate": pl.col("comment_stay_time") > 0,
        }[metric.name].cast(pl.Float64)
        values = truth.group_by("user_id").agg(column.sum().alias("y"), pl.len().alias("n"))
        expected = float(values["y"].sum() / values["n"].sum())
        residual = (values["y"] - expected * values["n"]).to_numpy()
        error = float(np.sqrt((residual**2).sum()) / values["n"].sum())
        assert {"ips", "snips"} <= set(metric.estimates)
        for name, comparison in metric.estimates.items():
            found = comparison.treatment
            assert found is not None
            both = float(np.hypot(found.standard_error, error))
            # A correct estimator fails at four standard errors in about 1 of 1,000 seeds.
            assert abs(found.value - expected) < 4.0 * both, (metric.name, name)
