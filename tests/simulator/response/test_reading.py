"""Reading a comment section: a cascade whose draws belong to comments, not to ranks."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from simulator.randomness import mix, purpose_key
from simulator.response.reading import (
    comment_index,
    expected_reading,
    expected_stay,
    read_section,
    section_expectations,
)
from simulator.world.config import WorldConfig
from simulator.world.world import World
from tests.simulator.conftest import ReadTables, tables

N = 40
CONFIG = dataclasses.replace(WorldConfig.preset("small"), n_videos=200, comment_like_base=-1.0)
WORLD = World.create(CONFIG, 5)
FREE = World.create(dataclasses.replace(CONFIG, comment_order_effect=0.0), 5)
PEOPLE = WORLD.people(np.arange(N, dtype=np.int32))
KEYS = mix(purpose_key(0, "reading"), np.arange(N))


def read(comments: np.ndarray, world: World = WORLD, rows: np.ndarray | None = None) -> ReadTables:
    """One section per person (or per given person), all in slot 2."""
    rows = np.arange(len(comments)) if rows is None else rows
    slot = np.full(len(rows), 2)
    found = read_section(world, PEOPLE, rows, KEYS[rows], slot, comments)
    return tables(found, comments.shape[1])


def sections(width: int, seed: int = 0) -> np.ndarray:
    """int32[N, width]: random distinct comments."""
    random = np.random.default_rng(seed)
    total = len(WORLD.comments.appeal)
    return np.array([random.choice(total, width, replace=False) for _ in range(N)], dtype=np.int32)


def shorter(comments: np.ndarray, lengths: list[int]) -> np.ndarray:
    cut = np.arange(comments.shape[1]) >= np.array(lengths)[:, None]
    return np.where(cut, -1, comments).astype(np.int32)


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(1, 40),
    seed=st.integers(0, 1_000),
    lengths=st.lists(st.integers(1, 40), min_size=N, max_size=N),
    world=st.sampled_from([WORLD, FREE]),
)
def test_a_section_adds_up(width: int, seed: int, lengths: list[int], world: World) -> None:
    comments = shorter(sections(width, seed), lengths)
    found = read(comments, world)
    assert (found.shown <= (comments >= 0)).all()
    assert ((found.dwell_ms > 0) == found.shown).all()
    assert ((found.like | found.reply) <= found.shown).all()
    assert not (found.like & found.reply).any()
    # Opening takes a time of its own, the same for everything that is read afterwards.
    opening = found.stay_ms - found.dwell_ms.sum(axis=1)
    assert (opening >= 1).all()
    nothing = read(np.full((N, 1), -1, dtype=np.int32), world)
    assert np.array_equal(opening, nothing.stay_ms)
    # Whoever opens a section with comments sees at least one.
    assert found.shown.any(axis=1).all()
    if world is WORLD:
        # What is read is a run from the top.
        assert (np.diff(found.shown.astype(int), axis=1) <= 0).all()


def test_people_do_read_beyond_a_screenful_and_do_stop() -> None:
    depth = read(sections(40)).shown.sum(axis=1)
    assert depth.max() > 10
    assert depth.min() < 5


@settings(max_examples=15, deadline=None)
@given(kept=st.integers(1, 39), seed=st.integers(0, 1_000))
def test_what_stands_further_down_does_not_change_what_is_above(kept: int, seed: int) -> None:
    comments = sections(40, seed)
    whole, top = read(comments), read(comments[:, :kept])
    for name in ("shown", "like", "reply", "dwell_ms"):
        assert np.array_equal(getattr(top, name), getattr(whole, name)[:, :kept])


def test_a_comment_is_taken_alike_wherever_it_is_read() -> None:
    # So few that many people read them all.
    comments = sections(4)
    there, back = read(comments), read(comments[:, ::-1])
    both = there.shown & back.shown[:, ::-1]
    assert both.sum() > 10
    for name in ("like", "reply", "dwell_ms"):
        assert np.array_equal(getattr(there, name)[both], getattr(back, name)[:, ::-1][both])


def test_where_order_has_no_effect_every_order_is_the_same() -> None:
    comments = sections(12)
    order = np.argsort(np.random.default_rng(1).random(comments.shape), axis=1)
    plain, moved = read(comments, FREE), read(np.take_along_axis(comments, order, axis=1), FREE)
    assert np.array_equal(plain.stay_ms, moved.stay_ms)
    for name in ("shown", "like", "reply", "dwell_ms"):
        expected = np.take_along_axis(getattr(plain, name), order, axis=1)
        assert np.array_equal(getattr(moved, name), expected)
    # In the ordinary world the same change of order does change something.
    before, after = read(comments), read(np.take_along_axis(comments, order, axis=1))
    assert (before.stay_ms != after.stay_ms).mean() > 0.2


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(N)), st.integers(1, N))
def test_batches_do_not_matter(order: list[int], size: int) -> None:
    comments, rows = sections(20), np.array(order[:size])
    whole, part = read(comments), read(comments[rows], rows=rows)
    for name in ("shown", "like", "reply", "dwell_ms", "stay_ms"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[rows])


def test_two_sections_of_one_page_have_luck_of_their_own() -> None:
    comments = sections(20)
    rows = np.arange(N)
    first, second = (
        read_section(WORLD, PEOPLE, rows, KEYS, np.full(N, slot), comments) for slot in (0, 1)
    )
    assert (first.stay_ms != second.stay_ms).mean() > 0.9


@settings(max_examples=15, deadline=None)
@given(width=st.integers(1, 20), seed=st.integers(0, 1_000))
def test_the_platforms_order_is_read_alike_whatever_the_effect_of_order(
    width: int, seed: int
) -> None:
    comments = np.sort(sections(width, seed), axis=1)
    ordinary, free = read(comments), read(comments, FREE)
    assert np.array_equal(ordinary.stay_ms, free.stay_ms)
    assert np.array_equal(ordinary.shown, free.shown)


HALF = World.create(dataclasses.replace(CONFIG, comment_order_effect=0.5), 5)
# Two-sided z tests. 3 worlds x 4 lengths x 6 people x up to 61 numbers are 3,000 tests in the file;
# at 5.5 standard errors all of them together fail by chance once in 8,000 seeds.
Z = 5.5


@pytest.mark.parametrize("length", [0, 1, 5, 20])
@pytest.mark.parametrize("world", [WORLD, FREE, HALF], ids=["order", "no order", "half"])
def test_expectations_are_the_means_of_many_readings(world: World, length: int) -> None:
    """Six people reading the same list 20,000 times each."""
    people, times = 6, 20_000
    comments = sections(20)[:people]
    comments[:, length:] = -1
    rows = np.repeat(np.arange(people), times)
    keys = mix(purpose_key(8, "reading"), np.arange(people * times))
    slot = np.zeros(len(rows), np.int64)
    found = tables(read_section(world, PEOPLE, rows, keys, slot, comments[rows]), 20)
    expected = section_expectations(world, PEOPLE, np.arange(people), comments)
    pairs = {
        "stay_seconds": found.stay_ms / 1_000.0,
        "dwell_seconds": found.dwell_ms / 1_000.0,
        "reach": found.shown,
        "like": found.like,
        "reply": found.reply,
    }
    for name, drawn in pairs.items():
        lives = drawn.reshape(people, times, -1).astype(np.float64)
        wanted = getattr(expected, name).reshape(people, -1)
        # Rare events: never less than the error that the stated probability implies.
        spread = np.sqrt(np.maximum(lives.var(axis=1), wanted * (1.0 - np.minimum(wanted, 1.0))))
        # Dwell times are cut to whole milliseconds.
        cut = 0.001 * (1 + length) if name == "stay_seconds" else 0.001
        error = Z * spread / np.sqrt(times) + (cut if "seconds" in name else Z / times)
        assert (np.abs(lives.mean(axis=1) - wanted) <= error).all(), name
    assert np.array_equal(
        expected.stay_seconds, expected_stay(world, PEOPLE, np.arange(people), comments)
    )


def test_what_the_index_is_made_of_is_what_reading_down_the_list_expects() -> None:
    """The first comment is reached for certain, each next one if the one before leads on."""
    deep = dataclasses.replace(CONFIG, read_depth=0.3, comment_order_effect=1.0)
    world = World.create(deep, 5)
    comments = shorter(sections(6), [3, 6] * (N // 2))
    rows = np.arange(N)
    mean, on = expected_reading(world, PEOPLE, rows, comments)
    whole = section_expectations(world, PEOPLE, rows, comments)
    reach = np.cumprod(np.concatenate([np.ones((N, 1)), on[:, :-1]], axis=1), axis=1)
    np.testing.assert_allclose(whole.reach, reach * (comments >= 0), rtol=1e-5)
    np.testing.assert_allclose(whole.dwell_seconds, reach * mean, rtol=1e-5)
    assert (mean[comments < 0] == 0).all() and (on[comments < 0] == 0).all()


@pytest.mark.parametrize(("depth", "loss"), [(0.0, 1e-6), (0.02, 4e-3)])
def test_the_index_orders_sections_as_well_as_the_best_permutation(
    depth: float, loss: float
) -> None:
    """All 720 orders of six comments, for 40 people; exact where depth does not matter."""
    world = World.create(dataclasses.replace(CONFIG, read_base=1.0, read_depth=depth), 5)
    comments = sections(6)
    rows = np.arange(N)
    stays = np.stack(
        [expected_stay(world, PEOPLE, rows, comments[:, list(p)]) for p in permutations(range(6))]
    )
    best_first = np.argsort(-comment_index(world, PEOPLE, rows, comments), axis=1)
    ours = expected_stay(world, PEOPLE, rows, np.take_along_axis(comments, best_first, axis=1))
    assert (ours >= stays.max(axis=0) * (1.0 - loss)).all()
    # It matters: the worst order loses a tenth and more.
    assert np.median(stays.min(axis=0) / stays.max(axis=0)) < 0.9
