"""Whose texts are embedded: what people engaged with, and what was seen most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsvcr.data.attended import attended_comments
from lsvcr.data.examples import histories
from lsvcr.policy import LSVCR
from lsvcr.settings import LSVCRSettings
from lsvcr.text.tables import Texts
from simulator.logs.dataset import Dataset
from tests.lsvcr.conftest import START_MS
from tests.lsvcr.data.section_log import write_section_log

USERS, VIDEOS, COMMENTS = 9, 4, 6
Make = Callable[[bool], Dataset]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """User u reads comments 5, 4, ... of video u mod 4; every third user likes the last one."""

    def make(dwell: bool) -> Dataset:
        rows = [
            (user, video, video * COMMENTS + comment, START_MS + user, 1, liked, 0, 900)
            for user in range(USERS)
            for video in [user % VIDEOS]
            for comment in range(COMMENTS - 1, user % COMMENTS, -1)
            for liked in [int(user % 3 == 0 and comment == user % COMMENTS + 1)]
        ]
        names = ("user_id", "video_id", "comment_id", "time_ms", "is_shown", "is_like", "is_reply",
                 "dwell_ms")  # fmt: skip
        events = dict(zip(names, zip(*rows, strict=True), strict=True))
        if not dwell:
            del events["dwell_ms"]
        watched = [(user, user % VIDEOS) for user in range(USERS)]
        likes = COMMENTS - np.arange(VIDEOS * COMMENTS) % COMMENTS
        return write_section_log(
            tmp_path / "log", events, likes, watched, users=USERS, videos=VIDEOS
        )

    return make


def engaged_of(log: Dataset) -> set[int]:
    rows = log.scan("comment_events").collect().to_dicts()
    return {int(row["comment_id"]) for row in rows if row["is_like"] or row["is_reply"]}


@pytest.mark.parametrize("most", [0, 3, 7, 24, 99])
def test_seen_most_often(make: Make, most: int) -> None:
    """Against a loop over the log's rows; ties go to the top of the section."""
    log = make(True)
    rows = log.scan("comment_events").collect().to_dicts()
    seen = Counter(int(row["comment_id"]) for row in rows)
    order = sorted(range(VIDEOS * COMMENTS), key=lambda c: (-seen[c], c % COMMENTS, c))
    found = attended_comments(log, histories(log, "liked").discussed, most)
    assert set(np.flatnonzero(found).tolist()) == set(order[:most]) | engaged_of(log)


def test_without_seen_comments_the_top_of_each_section(make: Make) -> None:
    log = make(False)
    found = attended_comments(log, histories(log, "liked").discussed, 2 * VIDEOS)
    top = {video * COMMENTS + place for video in range(VIDEOS) for place in (0, 1)}
    assert set(np.flatnonzero(found).tolist()) == top | engaged_of(log)


def test_the_others_have_no_text(planted: Any) -> None:
    texts = Texts.of(planted.dataset)
    chosen = np.arange(len(texts.comment)) % 5 == 0
    some = texts.among(chosen)
    assert len(some.distinct) == len(set(some.distinct)) < len(texts.distinct)
    told = [some.distinct[row] if row >= 0 else "" for row in some.comment]
    written = planted.dataset.comment_texts()
    assert told == [text if kept else "" for text, kept in zip(written, chosen, strict=True)]
    assert [some.distinct[row] for row in some.title] == planted.dataset.captions()


def test_how_many_by_default() -> None:
    assert LSVCRSettings().most_comments == 40_000
    assert LSVCRSettings(embedded_comments=5).most_comments == 5
    assert LSVCRSettings(variant="paper").most_comments is None
    assert LSVCRSettings(preset="base").most_comments is None


def test_a_policy_embeds_no_more(planted: Any) -> None:
    short = {"alignment": "none", "epochs": 1, "epoch_steps": 1, "dim": 16, "variant": "paper"}
    embedded = {}
    for most in (None, 0):
        policy = LSVCR(**short, embedded_comments=most)
        policy.fit(planted.dataset, seed=1)
        embedded[most] = policy.training_summary()["language model"]["texts"]
    texts = Texts.of(planted.dataset)
    captions = len(set(texts.title))
    assert captions < embedded[0] < embedded[None] == len(texts.distinct)
