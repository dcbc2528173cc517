"""The world's mechanisms are pinned: changing one without raising WORLD_VERSION fails here.

`golden.json` keeps a hash of each column of a small log and of a small run's outcomes. Columns of
milliseconds are kept as mean and deviation: processors round exponentials differently in the last
bit, so that some time is a millisecond longer on another one. After a deliberate change, raise
WORLD_VERSION and write the file anew. A new behaviour adds columns and leaves the others as they
are: write the file anew, with the version as it is:

    python -m tests.simulator.test_golden
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from abtest.run.arms.serving import ArmsRanker, PolicyRanker
from policies.videos.random import RandomPolicy
from simulator.calendar import DAY_MS
from simulator.feed import Feed
from simulator.loop import drive
from simulator.recorder import Recorder
from simulator.requests import CommentRequests, HistoryState, Int32, Slates, VideoRequests
from simulator.response.platform import PlatformRanker
from simulator.response.truth import WorldResponse
from simulator.retrieval import Retrieval
from simulator.world.config import WorldConfig
from simulator.world.world import WORLD_VERSION, World

GOLDEN = Path(__file__).with_name("golden.json")
WRITE = "python -m tests.simulator.test_golden"
PEOPLE = 48

SAME_TIMES = 1e-5
"""Relative difference up to which means and deviations of times are the same."""

Hashes = dict[str, Any]


class Backwards:
    """Shows the last candidates first, and sections from their end."""

    def slates(self, requests: VideoRequests, page_size: int) -> Slates:
        return Slates(_backwards(requests.candidates)[:, :page_size])

    def comments(self, requests: CommentRequests) -> Int32:
        return _backwards(requests.candidates)


def _backwards(candidates: Int32) -> Int32:
    turned = candidates[:, ::-1]
    return np.take_along_axis(turned, np.argsort(turned < 0, axis=1, kind="stable"), axis=1)


def feed_of(world: World, recorder: Recorder | None) -> Feed:
    users = np.arange(PEOPLE, dtype=np.int32)
    return Feed(
        world.catalogue(),
        WorldResponse(world).population(users),
        users,
        seed=5,
        start_ms=world.config.start_ms,
        end_ms=world.config.start_ms + DAY_MS,
        history=HistoryState(PEOPLE),
        retrieval=Retrieval(world.catalogue(), world.popularity()),
        recorder=recorder,
    )


def hashes(frame: pl.DataFrame) -> Hashes:
    """A digest of each column's values: six significant digits of what is not whole.

    Of a column of milliseconds: rows, mean above the least, and standard deviation.
    """
    found: Hashes = {}
    for name, values in frame.to_dict().items():
        if name.endswith(("_ms", "_time")):
            times = values.drop_nulls().cast(pl.Float64)
            above = (times - times.min()).to_numpy()
            found[name] = [len(above), float(above.mean()), float(above.std())]
            continue
        if values.dtype.is_float():
            values = values.cast(pl.Float64).round_sig_figs(6)
        text = json.dumps(values.to_list(), allow_nan=True)
        found[name] = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return found


def measured() -> dict[str, Any]:
    """The version of the world, and the hashes of its log and of a run in it."""
    world = World.create(WorldConfig.preset("small"), seed=3)
    recorder = Recorder(world.catalogue())
    users = np.arange(PEOPLE, dtype=np.int32)
    feed = feed_of(world, recorder)
    drive(feed, PlatformRanker(world, users))
    found: dict[str, Any] = {"world_version": WORLD_VERSION}
    tables = {name: frame for name, frame in recorder.drain() if not name.endswith("decisions")}
    tables |= {
        "users": world.users_frame(users),
        "videos": world.videos_frame(),
        "comments": world.comments_frame(),
    }
    # The second day, with policies in place of the platform's ranker: everything that is carried.
    feed.recorder = None
    feed.extend(world.config.start_ms + 2 * DAY_MS)
    feed.change_ranker(users[1::2].astype(np.int64), world.config.start_ms + DAY_MS)
    drive(feed, ArmsRanker([PolicyRanker(RandomPolicy(), 0.1), Backwards()], users % 2))
    tables["outcomes"] = feed.outcomes.to_frame(users.astype(np.int64))
    for name, frame in tables.items():
        found[name] = hashes(frame)
    return found


def same(old: Any, new: Any) -> bool:
    """Whether a column is as it was; times on another processor are so up to rounding."""
    if isinstance(old, list) and isinstance(new, list):
        return old[0] == new[0] and old[1:] == pytest.approx(new[1:], rel=SAME_TIMES)
    return bool(old == new)


def test_a_changed_mechanism_raises_the_version_of_the_world() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    now = measured()
    old, new = _columns(golden), _columns(now)
    changed = sorted(name for name in old if not same(old[name], new.get(name)))
    if changed and golden["world_version"] == WORLD_VERSION:
        pytest.fail(
            f"the world draws something else than before ({', '.join(changed[:8])}), but "
            f"WORLD_VERSION is still {WORLD_VERSION}. If that is meant, raise WORLD_VERSION in "
            f"simulator/world/world.py and run: {WRITE}. If not, undo the change."
        )
    assert golden["world_version"] == WORLD_VERSION, f"a new version of the world. Run: {WRITE}"
    # What is added changes nothing that was drawn before: old logs stay those of this version.
    added = sorted(set(new) - set(old))
    assert not added, f"new columns {', '.join(added)}. Pin them too: {WRITE}"


def _columns(found: dict[str, Any]) -> Hashes:
    """Hash by ``table.column``."""
    tables = {name: columns for name, columns in found.items() if isinstance(columns, dict)}
    return {
        f"{table}.{name}": h for table, columns in tables.items() for name, h in columns.items()
    }


def test_the_hash_sees_one_changed_value() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3], "b": [0.5, 0.25, 0.125]})
    one, other = hashes(frame), hashes(frame.with_columns(a=pl.Series([1, 2, 4])))
    assert one["a"] != other["a"] and one["b"] == other["b"]


def test_times_may_round_differently_but_not_move() -> None:
    frame = pl.DataFrame({"play_time_ms": [0, 9_000, 21_000, None]})
    before = hashes(frame)["play_time_ms"]
    rounded = hashes(frame.with_columns(pl.col("play_time_ms") * 1_000_001 // 1_000_000))
    moved = hashes(frame.with_columns(pl.col("play_time_ms") * 1_001 // 1_000))
    fewer = hashes(frame.head(2))
    assert same(before, rounded["play_time_ms"])
    assert not same(before, moved["play_time_ms"])
    assert not same(before, fewer["play_time_ms"])


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(measured(), indent=1) + "\n", encoding="utf-8")
    print(f"{GOLDEN.name}: written for world version {WORLD_VERSION}")
