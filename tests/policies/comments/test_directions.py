"""The directions of texts in which readers differ, on visits with planted tastes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.comments.value.directions import differing
from policies.comments.value.texts import DenseTexts, text_space
from policies.comments.value.visits import Visits
from simulator.logs.reads import SeenComments
from simulator.requests import HistoryState


def planted_visits(rng: np.random.Generator, strength: float) -> tuple[Visits, NDArray[Any]]:
    """600 people with a taste along two of twelve directions, each with six visits of five texts.

    The other ten directions vary more between texts. All comments of a visit share an error, and
    each has one of its own.
    """
    people, each, read = 600, 6, 5
    vectors = rng.normal(size=(2_000, 12)) * np.array([1.0, 1.0, *[3.0] * 10])
    n = people * each * read
    user = np.repeat(np.arange(people), each * read).astype(np.int32)
    visit = np.repeat(np.arange(people * each), read)
    comment = rng.integers(0, len(vectors), n).astype(np.int32)
    taste = rng.normal(size=(people, 2)) * strength
    log_dwell = (vectors[comment, :2] * taste[user]).sum(axis=1)
    log_dwell += rng.normal(size=people * each)[visit] + rng.normal(size=n)
    seen = SeenComments(
        user=user, video=comment, comment=comment, time_ms=visit, visit=visit,
        rank=np.tile(np.arange(read), people * each),
        dwell_ms=np.round(1_000 * np.exp(log_dwell)).astype(np.int64),
        touched=np.zeros(n, dtype=bool), last=np.zeros(n, dtype=bool),
    )  # fmt: skip
    of_visit = np.repeat(np.arange(people), each).astype(np.int32)
    held = (np.arange(people) % 5 == 0)[of_visit]
    return Visits(seen, of_visit, held, HistoryState(1)), vectors


def test_directions_are_those_in_which_readers_differ() -> None:
    visits, vectors = planted_visits(np.random.default_rng(4), strength=0.5)
    texts = DenseTexts(vectors)
    found = differing(visits, np.arange(len(vectors)), texts.rows, np.cov(vectors.T), 2)
    # Latent semantic analysis would take the ten others: their variance is nine times as large.
    share = (found[:2] ** 2).sum(axis=0) / (found**2 * np.array([1, 1, *[9.0] * 10])[:, None]).sum(
        axis=0
    )
    assert (share > 0.9).all()
    # Both planted directions are found, not one twice.
    assert np.linalg.matrix_rank(found[:2], tol=0.3) == 2
    space = text_space(texts, np.arange(len(vectors)), np.zeros(0, dtype=int), 4, visits)
    known = np.linalg.lstsq(space.comment[:, :2], vectors[:, :2], rcond=None)[1]
    assert (known < 0.15 * len(vectors)).all()


def test_people_held_out_and_texts_that_are_missing_have_no_say() -> None:
    visits, vectors = planted_visits(np.random.default_rng(5), strength=0.5)
    row_of = np.where(np.arange(len(vectors)) % 9 == 0, -1, np.arange(len(vectors)))
    covariance = np.cov(vectors.T)
    first = differing(visits, row_of, DenseTexts(vectors).rows, covariance, 2)
    seen = visits.seen
    without = visits.held[seen.visit] | (row_of[seen.comment] < 0)
    spoiled = np.where(visits.held[seen.visit], 1 + seen.dwell_ms % 7, seen.dwell_ms)
    other = replace(visits, seen=replace(seen, dwell_ms=spoiled))
    second = differing(other, row_of, DenseTexts(vectors).rows, covariance, 2)
    np.testing.assert_allclose(first, second)
    assert without.any()
    # A person's own slope in a single visit is noise: without a second visit nothing is found.
    alone = replace(visits, user=np.arange(len(visits), dtype=np.int32))
    alone = replace(alone, seen=replace(seen, user=alone.user[seen.visit]))
    none = differing(alone, row_of, DenseTexts(vectors).rows, covariance, 2)
    share = (none[:2] ** 2).sum() / max((none**2).sum(), 1e-12)
    assert none.shape[1] == 0 or share < 0.9
