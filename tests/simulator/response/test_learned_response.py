from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.randomness import mix, purpose_key
from simulator.response.base import Finished, Population, Watched
from simulator.response.learned import LearnedResponse, code_version
from tests.policies.make_believe import GPU, make_believe_gpu
from tests.simulator.conftest import tables

KEY = purpose_key(1, "test")
NOW = 1_650_000_000_000
HOUR_MS = 3_600_000
SLICE = (
    Path(__file__).parents[3] / "../shared/data/kuairand/log_standard_4_08_to_4_21_27k_slice.csv"
)


def page(
    population: Population, rows: np.ndarray, step: int, n_videos: int, size: int = 6
) -> tuple[Watched, np.ndarray, Finished]:
    """Show one page of arbitrary videos to these rows and finish it."""
    rows = np.asarray(rows, dtype=np.int64)
    key = mix(KEY, rows, step)
    slot = np.arange(size)
    videos = (mix(key[:, None], 5, slot) % np.uint64(n_videos)).astype(np.int32)
    time = np.full(len(rows), NOW + step * 3 * HOUR_MS)
    watched = population.watch(rows, time, key, videos, np.full_like(videos, -1))
    at, slots = np.nonzero(watched.opened)
    stay = np.zeros(videos.shape, dtype=np.int64)
    if len(at):
        read = population.read(
            rows[at], key[at], slots, videos[at, slots], np.full((len(at), 1), -1, np.int32)
        )
        stay[at, slots] = read.stay_ms
    return watched, stay, population.finish(rows, key, videos, watched, stay)


def flat(watched: Watched, stay: np.ndarray, finished: Finished) -> list[np.ndarray]:
    values = [*watched.flags.values(), watched.play_ms, watched.profile_stay_ms, watched.opened]
    return [*values, stay, *vars(finished).values()]


def test_quality_is_honest_about_signal_and_noise(fitted: LearnedResponse) -> None:
    quality = json.loads(json.dumps(fitted.quality(), allow_nan=False))
    binary = quality["binary"]
    assert binary["click"]["auc"] > 0.7
    assert binary["click"]["brier"] < binary["click"]["brier_base_rate"]
    assert abs(binary["hate"]["auc"] - 0.5) < 0.12, "hates are coin flips in this log"
    assert binary["follow"] == {"learned": False, "constant_probability": 0.0}
    assert set(binary) >= {"click", "long_view", "open", "like", "hate", "end"}
    for entry in binary.values():
        if entry["learned"]:
            assert entry["calibration_error"] < 0.1
    play = quality["quantiles"]["play_time_ms"]
    assert play["p50"]["pinball"] < play["p50"]["pinball_constant"]
    assert 0.03 < play["p10"]["share_below"] < 0.2
    assert 0.8 < play["p90"]["share_below"] < 0.97
    assert quality["rows"]["test"] > 200


def test_simulated_rates_and_times_are_those_of_the_log(
    fitted: LearnedResponse, toy: Dataset
) -> None:
    log = toy.scan("impressions").collect()
    population = fitted.population(np.arange(60, dtype=np.int32))
    everyone = np.arange(60)
    pages = []
    for step in range(60):
        pages.append(page(population, everyone, step, 50))
        gone = np.flatnonzero(pages[-1][2].left)
        population.begin_session(gone, np.full(len(gone), NOW), mix(KEY, gone))
    click = np.mean([w.flags["click"] for w, _, _ in pages])
    like = np.mean([w.flags["like"] for w, _, _ in pages])
    opened = np.mean([w.opened for w, _, _ in pages])
    assert click == pytest.approx(log["is_click"].mean(), abs=0.06)
    assert like == pytest.approx(log["is_like"].mean(), abs=0.03)
    assert opened == pytest.approx((log["comment_stay_time"] > 0).mean(), abs=0.04)
    assert not any(w.flags["follow"].any() or w.flags["forward"].any() for w, _, _ in pages)
    assert np.mean([w.flags["like"] & ~w.flags["click"] for w, _, _ in pages]) < 0.005
    early, late = (
        np.mean([w.flags["click"] for w, _, _ in part]) for part in (pages[:30], pages[30:])
    )
    assert early == pytest.approx(late, abs=0.03), "what was simulated must not feed on itself"
    stay = np.concatenate([s[s > 0] for _, s, _ in pages])
    real = log.filter(pl.col("comment_stay_time") > 0)["comment_stay_time"]
    assert np.median(stay) == pytest.approx(real.median(), rel=0.2)
    reached = np.concatenate([f.reached[:, 1:].ravel() for _, _, f in pages])
    left = np.concatenate([f.left for _, _, f in pages])
    assert 0.2 < left.mean() < 0.8
    assert reached.any()


def test_pages_end_in_a_prefix_and_count_only_what_was_reached(fitted: LearnedResponse) -> None:
    population = fitted.population(np.arange(60, dtype=np.int32))
    _, stay, finished = page(population, np.arange(60), 0, 50)
    assert finished.reached[:, 0].all()
    assert (np.diff(finished.reached.astype(int), axis=1) <= 0).all()
    assert (finished.reached.all(axis=1) | finished.left).all()
    spent = (finished.play_ms * finished.reached).sum(axis=1)
    assert (finished.elapsed_ms >= spent).all()
    assert (finished.play_ms >= stay).all()


def test_nobody_stays_on_an_empty_page(fitted: LearnedResponse) -> None:
    population = fitted.population(np.array([0], dtype=np.int32))
    videos, key = np.full((1, 6), -1, np.int32), np.array([5], np.uint64)
    now = np.array([NOW])
    watched = population.watch(np.array([0]), now, key, videos, videos)
    finished = population.finish(
        np.array([0]), key, videos, watched, np.zeros((1, 6), dtype=np.int64)
    )
    assert finished.left.all()


def test_a_batch_of_one_equals_its_row_in_a_batch(fitted: LearnedResponse) -> None:
    together = fitted.population(np.arange(60, dtype=np.int32))
    alone = [fitted.population(np.array([u], dtype=np.int32)) for u in range(0, 60, 11)]
    for step in range(5):
        whole = flat(*page(together, np.arange(60), step, 50))
        for population, user in zip(alone, range(0, 60, 11), strict=True):
            key = mix(KEY, np.array([user]), step)
            videos = (mix(key[:, None], 5, np.arange(6)) % np.uint64(50)).astype(np.int32)
            one = np.array([0])
            now = np.array([NOW + step * 3 * HOUR_MS])
            watched = population.watch(one, now, key, videos, videos)
            at, slots = np.nonzero(watched.opened)
            stay = np.zeros((1, 6), dtype=np.int64)
            if len(at):
                stay[at, slots] = population.read(
                    one[at], key[at], slots, videos[at, slots], np.full((len(at), 1), -1, np.int32)
                ).stay_ms
            finished = population.finish(one, key, videos, watched, stay)
            for expected, got in zip(whole, flat(watched, stay, finished), strict=True):
                np.testing.assert_array_equal(expected[user], got[0])


def test_copies_live_their_own_lives_but_react_alike(fitted: LearnedResponse) -> None:
    first = fitted.population(np.arange(60, dtype=np.int32))
    page(first, np.arange(60), 0, 50)
    second = first.copy()
    a, b = page(first, np.arange(60), 1, 50), page(second, np.arange(60), 1, 50)
    for x, y in zip(flat(*a), flat(*b), strict=True):
        np.testing.assert_array_equal(x, y)
    third = second.copy()
    for step in range(2, 12):
        page(second, np.arange(60), step, 50)
    differs = any(
        (x != y).any()
        for x, y in zip(
            flat(*page(second, np.arange(60), 12, 50)),
            flat(*page(third, np.arange(60), 12, 50)),
            strict=True,
        )
    )
    assert differs, "ten more pages must leave a trace"


def test_sessions_return_later_and_reproducibly(fitted: LearnedResponse) -> None:
    population = fitted.population(np.arange(60, dtype=np.int32))
    rows, now = np.arange(60), np.full(60, NOW)
    starts = population.next_session(rows, now, mix(KEY, rows))
    assert (starts > now).all()
    again = population.next_session(rows[7:8], now[7:8], mix(KEY, rows[7:8]))
    assert again[0] == starts[7]
    population.begin_session(rows, starts, mix(KEY, rows))


def test_same_seed_same_model_on_any_device_and_untouched_global_randomness(
    toy: Dataset, fitted: LearnedResponse, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    threads = torch.get_num_threads()
    with make_believe_gpu():
        again = LearnedResponse.fit(toy, seed=3, device=GPU)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # type: ignore[index]  # noqa: NPY002
    assert torch.get_num_threads() == threads
    fitted.save(tmp_path / "a")
    again.save(tmp_path / "b")
    for name in ("response.safetensors", "response.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_reloaded_model_reacts_identically(
    toy: Dataset, fitted: LearnedResponse, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    loaded = LearnedResponse.load(tmp_path, toy)
    assert loaded.quality() == json.loads(json.dumps(fitted.quality()))
    users = np.array([3, 3, 40], dtype=np.int32)
    one, two = fitted.population(users), loaded.population(users)
    for step in range(4):
        for x, y in zip(
            flat(*page(one, np.arange(3), step, 50)),
            flat(*page(two, np.arange(3), step, 50)),
            strict=True,
        ):
            np.testing.assert_array_equal(x, y)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["response.json", "response.safetensors"]


def test_loading_refuses_what_it_cannot_trust(
    toy: Dataset, fitted: LearnedResponse, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no usable response model"):
        LearnedResponse.load(tmp_path)
    fitted.save(tmp_path)
    facts = json.loads((tmp_path / "response.json").read_text())
    (tmp_path / "response.json").write_text(json.dumps({**facts, "content_hash": "f" * 32}))
    with pytest.raises(DataError, match="another dataset"):
        LearnedResponse.load(tmp_path, toy)
    (tmp_path / "response.json").write_text(json.dumps({**facts, "format_version": 99}))
    with pytest.raises(DataError, match="version 99"):
        LearnedResponse.load(tmp_path)
    (tmp_path / "response.json").write_text("[]")
    with pytest.raises(DataError, match="holds no table"):
        LearnedResponse.load(tmp_path)
    fitted.save(tmp_path)
    arrays = tmp_path / "response.safetensors"
    content = arrays.read_bytes()
    for damaged in (b"not tensors", content[:-1] + bytes([content[-1] ^ 1]), b""):
        arrays.write_bytes(damaged)
        with pytest.raises(DataError, match=r"not what was written.*rm -r"):
            LearnedResponse.load(tmp_path)


def test_people_outside_the_log_are_refused(fitted: LearnedResponse) -> None:
    with pytest.raises(DataError, match="knows 60 people"):
        fitted.population(np.array([0, 60], dtype=np.int32))


def test_small_logs_are_learned_without_fuss(
    write_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    one = pl.DataFrame(
        {
            "user_id": [1],
            "video_id": [1],
            "time_ms": [NOW],
            "is_click": pl.Series([1], dtype=pl.Int8),
            "play_time_ms": [9_000],
        }
    )
    response = LearnedResponse.fit(write_dataset(tmp_path / "one", one), seed=0)
    population = response.population(np.array([0], dtype=np.int32))
    watched, _, finished = page(population, np.array([0]), 0, 1)
    assert watched.flags["click"].all()
    assert not watched.opened.any()
    assert finished.reached[:, 0].all()
    json.dumps(response.quality(), allow_nan=False)
    with pytest.raises(DataError, match="no impressions"):
        LearnedResponse.fit(write_dataset(tmp_path / "none", one.head(0)), seed=0)


def comment_tables(impressions: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Five comments per video; the first, most liked one is dwelt on longest."""
    random = np.random.default_rng(0)
    ids = impressions["video_id"].unique().sort().to_numpy()
    video = np.repeat(ids, 5)
    likes = np.tile([400, 50, 20, 5, 1], len(ids))
    comments = pl.DataFrame(
        {"comment_id": np.arange(len(video)), "video_id": video, "like_count": likes}
    )
    visits = impressions.filter(pl.col("comment_stay_time") > 0)
    rows = []
    for user, shown, time in visits.select("user_id", "video_id", "time_ms").iter_rows():
        first = int(np.searchsorted(ids, shown)) * 5
        for place in range(int(random.integers(1, 6))):
            dwell = int(random.lognormal(8.5 if place == 0 else 7.0, 0.3))
            liked = int(random.random() < (0.3 if place == 0 else 0.02))
            rows.append((user, shown, first + place, time, place, 1, liked, 0, dwell))
    names = ["user_id", "video_id", "comment_id", "time_ms", "position", "is_shown", "is_like"]
    events = pl.DataFrame(rows, schema=[*names, "is_reply", "dwell_ms"], orient="row")
    types = {"position": pl.Int16, "is_shown": pl.Int8, "is_like": pl.Int8, "is_reply": pl.Int8}
    return comments, events.cast(types)  # type: ignore[arg-type]


@pytest.mark.parametrize("dwell_known", [True, False])
def test_listed_comments_are_read_as_the_log_shows(
    toy: Dataset, write_dataset: Callable[..., Dataset], tmp_path: Path, dwell_known: bool
) -> None:
    impressions = toy.scan("impressions").collect().head(2_000)
    comments, events = comment_tables(impressions)
    if not dwell_known:
        events = events.filter(pl.col("is_like") == 1).drop("dwell_ms")
    dataset = write_dataset(tmp_path / "log", impressions, comments=comments, comment_events=events)
    population = LearnedResponse.fit(dataset, seed=0).population(np.arange(10, dtype=np.int32))
    n = 3_000
    rows, slot = np.arange(n) % 10, np.zeros(n, dtype=np.int64)
    key = mix(KEY, np.arange(n))
    videos = (np.arange(10) % dataset.catalogue().n_videos).astype(np.int32)[:, None]
    population.watch(np.arange(10), np.full(10, NOW), key[:10], videos, videos)
    shown = np.repeat(videos[:, 0], 1)[rows]
    order = dataset.catalogue().comments_of(shown, 5)
    read = tables(population.read(rows, key, slot, shown, order), 5)
    assert (read.stay_ms > 0).all()
    assert (read.dwell_ms[~read.shown] == 0).all()
    assert not (read.like & ~read.shown).any()
    assert (np.diff(read.shown.astype(int), axis=1) <= 0).all(), "shown comments are a prefix"
    assert read.like.any()
    if dwell_known:
        assert read.shown.sum(axis=1).mean() == pytest.approx(3.0, abs=0.3)
        top = np.median(read.dwell_ms[:, 0])
        assert top > 2.0 * np.median(read.dwell_ms[:, 1][read.shown[:, 1]])
        assert read.like[:, 0].mean() == pytest.approx(0.3, abs=0.08)
        assert (read.stay_ms >= read.dwell_ms.sum(axis=1)).all()
        flipped = tables(population.read(rows, key, slot, shown, order[:, ::-1].copy()), 5)
        both = read.shown.all(axis=1) & flipped.shown.all(axis=1)
        np.testing.assert_array_equal(
            read.dwell_ms[both], flipped.dwell_ms[both][:, ::-1], "noise belongs to the comment"
        )
    empty = population.read(rows, key, slot, shown, np.full((n, 5), -1, np.int32))
    assert (empty.stay_ms > 0).all()
    assert len(empty.section) == 0


def test_code_version_is_stable() -> None:
    assert code_version() == code_version()
    assert len(code_version()) == 20


@pytest.mark.skipif(not SLICE.is_file(), reason="the KuaiRand slice is not beside the project")
def test_a_part_of_the_real_slice_is_learned(
    write_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    frame = pl.read_csv(SLICE)
    people = frame["user_id"].unique().sort()[:100].implode()
    labels = [
        "is_click",
        "is_like",
        "is_follow",
        "is_comment",
        "is_forward",
        "is_hate",
        "long_view",
    ]
    frame = frame.filter(pl.col("user_id").is_in(people)).select(
        "user_id",
        "video_id",
        "time_ms",
        *(pl.col(c).cast(pl.Int8) for c in labels),
        "play_time_ms",
        pl.when(pl.col("duration_ms") > 0).then("duration_ms").alias("duration_ms"),
        "comment_stay_time",
    )
    quality = LearnedResponse.fit(write_dataset(tmp_path / "slice", frame), seed=1).quality()
    assert quality["binary"]["click"]["auc"] > 0.65
    assert quality["binary"]["open"]["auc"] > 0.6
    assert quality["binary"]["open"]["calibration_error"] < 0.1
    median = quality["quantiles"]["play_time_ms"]["p50"]
    assert median["pinball"] < median["pinball_constant"]
    assert quality["quantiles"]["comment_stay_ms_of_opened"]["rows"] > 50
