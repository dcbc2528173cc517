"""Shares are tested with at most 4.5 standard errors: a false alarm in about 150,000 runs each."""

from __future__ import annotations

import numpy as np
import pytest

from lsvcr.data.inventory import Inventory
from lsvcr.stage1.augmentation import Augmentation, positions, two_views
from lsvcr.text.tables import TextTables
from simulator.logs.catalogue import Catalogue

COUNTS = [12, 0, 1, 2, 5]
PEOPLE, LENGTH = 3_000, 10
ALWAYS = Augmentation(history=1.0, interaction=1.0)


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    offsets = np.concatenate([[0], np.cumsum(COUNTS)])
    catalogue = Catalogue.build(np.arange(len(COUNTS)), comment_offsets=offsets)
    m = int(offsets[-1])
    tables = TextTables(np.zeros((m, 1), np.float16), np.full(len(COUNTS), -1), np.arange(m))
    return Inventory(catalogue, tables, 2**62)


def histories(videos: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Everybody has the same videos; two comments of each section, where there are any."""
    rows = np.tile(np.array(videos), (PEOPLE, 1))
    first = np.concatenate([[0], np.cumsum(COUNTS)])[rows]
    count = np.array(COUNTS)[rows]
    comments = np.full((*rows.shape, 3), -1)
    comments[..., 0] = np.where(count > 0, first, -1)
    comments[..., 1] = np.where(count > 1, first + 1, -1)
    return rows, comments


def test_switched_off_both_models_read_the_same(inventory: Inventory) -> None:
    videos, comments = histories([0, 1, 2, 3, 4, -1])
    read, seen = two_views(
        inventory,
        videos,
        videos,
        comments,
        np.arange(PEOPLE),
        seed=1,
        settings=Augmentation(history=0.0),
    )
    np.testing.assert_array_equal(read.popular, seen.popular)
    np.testing.assert_array_equal(read.comments, seen.comments)
    np.testing.assert_array_equal(read.comments, comments)
    # One of the three most liked, each as often.
    shares = np.bincount(read.popular[:, 0], minlength=3) / PEOPLE
    assert np.abs(shares - 1 / 3).max() < 4.5 * np.sqrt(2 / 9 / PEOPLE)
    assert (read.popular[:, [1, 5]] == -1).all() and (read.popular[:, 2] == 12).all()


def test_augmented_videos_show_two_different_popular_comments(inventory: Inventory) -> None:
    videos, comments = histories([0, 1, 2, 3, 4])
    read, seen = two_views(
        inventory, videos, videos, comments, np.arange(PEOPLE), seed=1, settings=ALWAYS
    )
    assert (read.popular[:, [0, 3, 4]] != seen.popular[:, [0, 3, 4]]).all()
    assert (read.popular[:, [1, 2]] == seen.popular[:, [1, 2]]).all()
    for view in (read, seen):
        assert set(view.popular[:, 0]) == {0, 1, 2}
        assert set(view.popular[:, 3]) == {13, 14}


def test_augmented_sections_are_dealt_out(inventory: Inventory) -> None:
    """True comments and as many others of the video, each on one side only."""
    videos, comments = histories([0, 1, 2, 3, 4])
    read, seen = two_views(
        inventory, videos, videos, comments, np.arange(PEOPLE), seed=1, settings=ALWAYS
    )
    for person in range(0, PEOPLE, 7):
        for slot, (first, others) in {0: (0, 2), 4: (15, 2), 3: (13, 0)}.items():
            sides = [v.comments[person, slot] for v in (read, seen)]
            sides = [side[side >= 0].tolist() for side in sides]
            together = sides[0] + sides[1]
            assert len(set(together)) == len(together) == 2 + others
            assert len(sides[0]) == len(sides[1]) == 1 + others // 2
            assert {first, first + 1} <= set(together)
            assert set(together) <= set(range(first, first + COUNTS[slot]))
        # A lone comment is read by both, an empty section by none.
        assert (
            read.comments[person, 2].tolist() == seen.comments[person, 2].tolist() == [12, -1, -1]
        )
        assert read.comments[person, 1].tolist() == [-1, -1, -1]
    true_read = (read.comments[:, 0] == 0).any(axis=1).mean()
    assert abs(true_read - 0.5) < 4.5 * np.sqrt(0.25 / PEOPLE)
    others = np.concatenate([read.comments[:, 0], seen.comments[:, 0]]).ravel()
    shares = np.bincount(others[others >= 2], minlength=12)[2:] / PEOPLE
    assert np.abs(shares - 0.2).max() < 4.5 * np.sqrt(0.16 / PEOPLE)


def test_half_of_the_histories_and_three_tenths_of_their_interactions(
    inventory: Inventory,
) -> None:
    videos, comments = histories([0] * LENGTH)
    read, seen = two_views(
        inventory, videos, videos, comments, np.arange(PEOPLE), seed=1, settings=Augmentation()
    )
    for differ in (
        read.popular != seen.popular,
        (read.comments != seen.comments).any(axis=2),
    ):
        touched = differ.any(axis=1)
        chance = 0.5 * (1 - 0.7**LENGTH)
        error = np.sqrt(chance * (1 - chance) / PEOPLE)
        assert abs(touched.mean() - chance) < 4.5 * error
        inside = differ[touched].mean()
        assert abs(inside - 0.3 / (1 - 0.7**LENGTH)) < 4.5 * np.sqrt(
            0.21 / (touched.sum() * LENGTH)
        )


def test_views_depend_on_the_example_not_on_its_batch(inventory: Inventory) -> None:
    videos, comments = histories([0, 3, 4])
    address = np.arange(PEOPLE) * 2
    whole = two_views(inventory, videos, videos, comments, address, seed=1, settings=Augmentation())
    some = np.array([5, 1_000, 17])
    part = two_views(
        inventory,
        videos[some],
        videos[some],
        comments[some],
        address[some],
        seed=1,
        settings=Augmentation(),
    )
    other = two_views(inventory, videos, videos, comments, address, seed=2, settings=Augmentation())
    for side in (0, 1):
        np.testing.assert_array_equal(part[side].popular, whole[side].popular[some])
        np.testing.assert_array_equal(part[side].comments, whole[side].comments[some])
        assert (other[side].popular != whole[side].popular).any()


def test_positions_are_sorted_distinct_and_anybodys() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(0, 51, PEOPLE)
    address = np.arange(PEOPLE)
    told = positions(lengths, address, seed=1, purpose="videos")
    assert told.shape == (PEOPLE, lengths.max()) and told.min() >= 0 and told.max() <= 49
    for row, n in zip(told, lengths, strict=True):
        assert (np.diff(row[:n]) > 0).all()
    np.testing.assert_array_equal(
        positions(lengths[7:9], address[7:9], seed=1, purpose="videos"),
        told[7:9, : lengths[7:9].max()],
    )
    assert (positions(lengths, address, seed=1, purpose="sections") != told).any()
    places = positions(np.full(PEOPLE, 5), address, seed=1, purpose="videos")
    shares = np.bincount(places.ravel(), minlength=50) / PEOPLE
    assert np.abs(shares - 0.1).max() < 4.5 * np.sqrt(0.09 / PEOPLE)
    assert positions(np.zeros(3, np.int64), np.arange(3), seed=1, purpose="videos").shape == (3, 0)
