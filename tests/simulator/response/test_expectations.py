"""The truth on demand: stated probabilities against draws of the very same functions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.randomness import mix, purpose_key
from simulator.response.truth import WorldPopulation, WorldResponse
from simulator.world.config import WorldConfig
from simulator.world.world import World

# Two-sided z tests of single probabilities and means. The file makes about 3,000 of them; at 5.5
# standard errors all of them together fail by chance once in 8,000 seeds. The seeds are fixed.
Z = 5.5
PEOPLE, TIMES, SLOTS = 8, 24_000, 6
SMALL = dataclasses.replace(
    WorldConfig.preset("small"), n_videos=500, grid_share=0.2, grid_person_sigma=0.0
)
# Everything rare happens often, so that a few thousand draws see it.
LIVELY = dataclasses.replace(
    SMALL,
    click_base=-0.8,
    like_base=-2.0,
    like_duration=0.2,
    follow_rate=0.05,
    forward_rate=0.06,
    hate_rate=0.05,
    profile_rate=0.1,
    write_rate=0.1,
    write_relevance=0.3,
    open_base=-1.5,
    open_preview=0.5,
)
# So often that the rates' own limits are met.
EXTREME = dataclasses.replace(
    LIVELY, follow_rate=0.9, forward_rate=0.9, hate_rate=0.9, profile_rate=0.9, write_rate=0.9
)
# Nobody writes comments, so most videos have none.
SILENT = dataclasses.replace(LIVELY, comments_min=0, comments_median=0.5, comments_sigma=0.3)


def population(config: WorldConfig) -> WorldPopulation:
    world = World.create(config, 11)
    return WorldResponse(world).population(np.arange(PEOPLE, dtype=np.int32))


def pages(people: WorldPopulation, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Videos and previews of a page per person; the last slots of the last one are empty."""
    world = people.world
    random = np.random.default_rng(seed)
    videos = np.stack(
        [random.choice(world.config.n_videos, SLOTS, replace=False) for _ in range(PEOPLE)]
    ).astype(np.int32)
    videos[-1, 3:] = -1
    offsets = world.comments.offsets
    some = (np.diff(offsets)[videos] > 0) & (videos >= 0)
    preview = np.where(some, offsets[:-1][videos], -1).astype(np.int32)
    return videos, preview


def keys(people: WorldPopulation, grid: bool, count: int) -> np.ndarray:
    """uint64[count]: keys of pages of one tab."""
    found = mix(purpose_key(3, "expectations"), np.arange(40 * count))
    everyone = np.zeros(len(found), dtype=np.int64)
    return found[people.in_grid(everyone, found) == grid][:count]


@pytest.mark.parametrize("grid", [False, True], ids=["feed", "grid"])
@pytest.mark.parametrize(
    "config", [SMALL, LIVELY, EXTREME, SILENT], ids=["small", "lively", "extreme", "silent"]
)
def test_expectations_are_the_means_of_many_draws(config: WorldConfig, grid: bool) -> None:
    people = population(config)
    videos, preview = pages(people)
    rows, repeated = np.arange(PEOPLE), np.repeat(np.arange(PEOPLE), TIMES)
    start = np.full(PEOPLE, config.start_ms)
    key = keys(people, grid, len(repeated))
    drawn = people.watch(repeated, start[repeated], key, videos[repeated], preview[repeated])
    stated = people.expectations(rows, videos, preview, np.full(PEOPLE, grid), start)
    found = {
        **{"write" if name == "comment" else name: flag for name, flag in drawn.flags.items()},
        "open": drawn.opened,
        "profile": drawn.profile_stay_ms > 0,
        "play_seconds": drawn.play_ms / 1_000.0,
        "profile_seconds": drawn.profile_stay_ms / 1_000.0,
    }
    assert set(found) == {f.name for f in dataclasses.fields(stated)}
    real = videos >= 0
    for name, values in found.items():
        lives = values.reshape(PEOPLE, TIMES, SLOTS).astype(np.float64)
        wanted = getattr(stated, name).astype(np.float64)
        assert (wanted[~real] == 0.0).all(), name
        if "seconds" in name:
            error = Z * lives.std(axis=1) / np.sqrt(TIMES) + 0.001
            # A handful of long plays says nothing of its own spread.
            cause = stated.click if name == "play_seconds" else stated.profile
            error[cause * TIMES < 50] = np.inf
        else:
            # The error that the stated probability implies; counts below one are not normal.
            assert ((wanted >= 0.0) & (wanted <= 1.0)).all(), name
            error = Z * np.sqrt(wanted * (1.0 - wanted) / TIMES) + Z / TIMES
        if name == "profile":
            # Visits under a millisecond, one in 9,000, leave no trace.
            error = error + wanted / 9_000.0
        off = np.abs(lives.mean(axis=1) - wanted)
        assert (off <= error)[real].all(), (name, (off / error)[real].max())


def test_videos_without_comments_are_never_opened() -> None:
    people = population(SILENT)
    videos, preview = pages(people)
    stated = people.expectations(np.arange(PEOPLE), videos, preview)
    bare = (preview < 0) & (videos >= 0)
    assert bare.sum() > 5
    assert stated.open[bare].max() < 1e-4
    assert stated.write[bare].max() < 1e-4


def test_expectations_are_those_of_the_present_state() -> None:
    """After a click the same page is expected otherwise, and still as it is then drawn."""
    people = population(LIVELY)
    videos, preview = pages(people)
    rows = np.arange(PEOPLE)
    start = np.full(PEOPLE, LIVELY.start_ms)
    key = keys(people, False, PEOPLE)
    people.begin_session(rows, start, key)
    before = people.expectations(rows, videos, preview).click
    watched = people.watch(rows, start, key, videos, preview)
    people.finish(rows, key, videos, watched, np.zeros(videos.shape, dtype=np.int64))
    after = people.expectations(rows, videos, preview).click
    assert (np.abs(after - before)[videos >= 0] > 1e-4).mean() > 0.8
    repeated = np.repeat(rows, TIMES)
    drawn = people.watch(
        repeated,
        start[repeated],
        keys(people, False, len(repeated)),
        videos[repeated],
        preview[repeated],
    )
    rate = drawn.flags["click"].reshape(PEOPLE, TIMES, SLOTS).mean(axis=1)
    error = Z * np.sqrt(after * (1.0 - after) / TIMES) + Z / TIMES
    assert (np.abs(rate - after) <= error)[videos >= 0].all()
