"""Reading a comment section: a cascade whose draws belong to comments, not to ranks."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from simulator.randomness import mix, purpose_key
from simulator.response.base import Read
from simulator.response.reading import expected_stay, read_section
from simulator.world.config import WorldConfig
from simulator.world.world import World

N = 40
CONFIG = dataclasses.replace(WorldConfig.preset("small"), n_videos=200, comment_like_base=-1.0)
WORLD = World.create(CONFIG, 5)
FREE = World.create(dataclasses.replace(CONFIG, comment_order_effect=0.0), 5)
PEOPLE = WORLD.people(np.arange(N, dtype=np.int32))
KEYS = mix(purpose_key(0, "reading"), np.arange(N))


def read(comments: np.ndarray, world: World = WORLD, rows: np.ndarray | None = None) -> Read:
    """One section per person (or per given person), all in slot 2."""
    rows = np.arange(len(comments)) if rows is None else rows
    slot = np.full(len(rows), 2)
    return read_section(world, PEOPLE, rows, KEYS[rows], slot, comments)


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
    # Opening a section takes time of its own, whatever stands in it.
    opening_ms = found.stay_ms - found.dwell_ms.sum(axis=1)
    empty = read(np.full_like(comments, -1), world)
    assert (opening_ms > 0).all()
    assert (opening_ms == empty.stay_ms).all()
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
    comments = sections(12)
    there, back = read(comments), read(comments[:, ::-1])
    both = there.shown & back.shown[:, ::-1]
    assert both.sum() > 20
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


@pytest.mark.parametrize("length", [1, 5, 20])
def test_expected_stay_is_the_mean_of_many_readings(length: int) -> None:
    """Six people reading the same list 20,000 times: within five standard errors each."""
    people, times = 6, 20_000
    comments = sections(20)[:people]
    comments[:, length:] = -1
    rows = np.repeat(np.arange(people), times)
    keys = mix(purpose_key(8, "reading"), np.arange(people * times))
    found = read_section(WORLD, PEOPLE, rows, keys, np.zeros(len(rows), np.int64), comments[rows])
    stays = found.stay_ms.reshape(people, times) / 1_000.0
    expected = expected_stay(WORLD, PEOPLE, np.arange(people), comments)
    # Dwell times are cut to whole milliseconds.
    error = 5 * stays.std(axis=1) / np.sqrt(times) + 0.001 * length
    assert (np.abs(stays.mean(axis=1) - expected) < error).all()
