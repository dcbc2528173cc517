"""What was engaged, and what was seen and skipped, as negatives of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lsvcr.data.engaged import MOST, engaged_comments, skipped_comments
from lsvcr.data.examples import histories, last_events, make_batch
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.policy import LSVCR
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.stage2.tasks import CommentTask
from lsvcr.stage2.validation import CommentValidation
from lsvcr.text.tables import Texts, TextTables
from policies.errors import PolicyError
from simulator.logs.dataset import Dataset, DatasetWriter
from tests.lsvcr.conftest import START_MS, frame
from tests.lsvcr.data.section_log import write_section_log

USERS, VIDEOS, COMMENTS = 12, 6, 50
Make = Callable[..., Dataset]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """People like one comment of each section, see some others and not the rest."""

    def make(*, seen: int = 8, shown_column: bool = True) -> Dataset:
        random = np.random.default_rng(seen)
        rows: list[tuple[int, int, int, int, int, int, int]] = []
        for user in range(USERS):
            for step, video in enumerate(random.permutation(VIDEOS)):
                picked = video * COMMENTS + random.permutation(COMMENTS)
                for number, comment in enumerate(picked[: seen + 3]):
                    shown = int(number <= seen)  # The last two were loaded and never seen.
                    like, reply = int(number == 0 and step % 2 == 0), int(number == 0 and step % 2)
                    time = START_MS + 60_000 * step + user
                    rows.append((user, video, comment, time, shown, like, reply))
        names = ("user_id", "video_id", "comment_id", "time_ms", "is_shown", "is_like", "is_reply")
        if not shown_column:
            rows = [row for row in rows if row[4]]
        events = dict(zip(names, zip(*rows, strict=True), strict=True))
        if not shown_column:
            del events["is_shown"]
        watched = [(user, video) for user in range(USERS) for video in (0, 1)]
        likes = np.arange(VIDEOS * COMMENTS) % 7
        return write_section_log(
            tmp_path / "log", events, likes, watched, users=USERS, videos=VIDEOS
        )

    return make


@pytest.mark.parametrize(("seen", "shown_column"), [(1, True), (8, True), (8, False), (45, True)])
def test_seen_and_left_alone(make: Make, seen: int, shown_column: bool) -> None:
    """Against a loop over the log's rows."""
    log = make(seen=seen, shown_column=shown_column)
    events = log.scan("comment_events").collect().to_dicts()
    user, video = np.divmod(np.arange(USERS * VIDEOS), VIDEOS)
    found = skipped_comments(log, user, video)
    for u, v, told in zip(user, video, found, strict=True):
        expected = [
            row["comment_id"]
            for row in events
            if (row["user_id"], row["video_id"]) == (u, v)
            and not (row["is_like"] or row["is_reply"])
            and row.get("is_shown", 1)
        ]
        assert len(expected) == seen
        kept = log.catalogue().comment_index(np.array(expected[:MOST])).tolist()
        assert told.tolist() == kept + [-1] * (MOST - len(kept))


def test_negatives_and_validation_are_what_was_seen(make: Make) -> None:
    log = make()
    texts = Texts.of(log)
    random = np.random.default_rng(0)
    table = TextTables(
        random.normal(size=(len(texts.distinct), 8)).astype(np.float16), texts.title, texts.comment
    )
    inventory = Inventory(log.catalogue(), table, 2**62)
    model = SRModel("comment", VIDEOS, 8, dim=8, feed_forward=16).eval()
    both = histories(log, "liked", skipped=True)
    own = both.discussed
    batch = make_batch(both, "comment", last_events(own, np.arange(USERS)))
    task = CommentTask(model, inventory, FinetuneSettings(comment_negatives="seen"), [1, 2])
    rows = task.choices(batch).candidates
    assert batch.target_skipped is not None
    moments = zip(
        rows.numpy(),
        batch.target_comments[batch.real],
        batch.target_skipped[batch.real],
        strict=True,
    )
    for line, taken, passed in moments:
        assert line[0] == inventory.comment[taken[0]]
        expected = inventory.comment[passed[passed >= 0]].tolist()
        assert sorted(line[line >= 0][1:].tolist()) == sorted(expected)
    validation = task.validation(both, last_events(own, np.arange(USERS)))
    assert isinstance(validation, CommentValidation)
    (section,) = validation._sections
    assert ((section >= 0).sum(dim=1) == 9).all()  # one engaged, eight skipped


def test_a_policy_learns_from_what_was_seen(make: Make, tmp_path: Path) -> None:
    log = make()
    policy = LSVCR(
        variant="paper",
        comment_negatives="seen",
        alignment="none",
        epochs=1,
        epoch_steps=1,
        dim=16,
        feed_forward=32,
    )
    policy.fit(log, seed=1)
    assert policy.settings()["comment_negatives"] == "seen"
    assert "comment" in policy.training_summary()


def test_a_log_that_names_only_what_was_taken_up(planted: Any) -> None:
    with pytest.raises(PolicyError, match="does not say which comments were seen") as error:
        LSVCR(comment_negatives="seen").fit(planted.dataset, seed=1)
    assert 'comment_negatives = "section"' in str(error.value)
    assert (
        planted.dataset.scan("comment_events").filter(pl.col("is_like") != 1).collect().is_empty()
    )


def stamped(path: Path) -> Dataset:
    """Person 0 likes the video they watch and five comments, all stamped when they happen.

    Comment 7 is liked at a later visit and only seen at the first.
    """
    comment = np.arange(20)
    taps = [0, 1, 2, 3, 4, 7, 7]
    likes = [1, 1, 1, 1, 1, 0, 1]
    times = [10, 11, 12, 13, 14, 15, 5_000]
    with DatasetWriter(path, name="n", source="s", licence="l") as writer:
        writer.append("users", frame("users", {"user_id": [0]}))
        caption = {"video_id": [0, 1], "caption": ["a", "b"]}
        writer.append("videos", frame("videos", caption))
        about = {
            "comment_id": comment,
            "video_id": comment // 10,
            "like_count": 20 - comment,
            "text": [f"text {c}" for c in comment],
        }
        writer.append("comments", frame("comments", about))
        watched = {
            "user_id": [0, 0, 0],
            "video_id": [1, 0, 0],
            "time_ms": [START_MS - 9_000, START_MS, START_MS + 4_000],
            "is_click": [1, 1, 1],
            "is_like": [1, 1, 0],
            "play_time_ms": [9_000] * 3,
            "duration_ms": [9_000] * 3,
            "comment_stay_time": [0, 500, 500],
        }
        writer.append("impressions", frame("impressions", watched))
        events = {
            "user_id": [0] * 7,
            "video_id": [0] * 7,
            "comment_id": taps,
            "time_ms": [START_MS + t for t in times],
            "is_shown": [1] * 7,
            "is_like": likes,
            "is_reply": [0] * 7,
        }
        writer.append("comment_events", frame("comment_events", events))
    return Dataset.open(path)


def test_whatever_somebody_takes_part_in_is_no_negative(tmp_path: Path) -> None:
    log = stamped(tmp_path / "log")
    both = histories(log, "liked", skipped=False)
    assert both.discussed.comments[0].tolist() == [0, 1, 2]
    assert engaged_comments(log, np.zeros(1, int), np.zeros(1, int)).tolist() == [
        [0, 1, 2, 3, 4, 7]
    ]
    with pytest.raises(PolicyError, match="does not say which comments were seen"):
        skipped_comments(log, np.zeros(1, int), np.zeros(1, int))
    texts = Texts.of(log)
    table = np.random.default_rng(0).normal(size=(len(texts.distinct), 8)).astype(np.float16)
    inventory = Inventory(log.catalogue(), TextTables(table, texts.title, texts.comment), 2**62)
    model = SRModel("comment", 2, 8, dim=8, feed_forward=16).eval()
    held = last_events(both.discussed, np.zeros(1, dtype=int))
    batch = make_batch(both, "comment", held)
    task = CommentTask(model, inventory, FinetuneSettings(), [1, 2])
    rows = task.choices(batch).candidates
    others = inventory.comment[[5, 6, 8, 9]].tolist()
    assert sorted(rows[0, 1:5].tolist()) == others and (rows[0, 5:] == -1).all()
    validation = task.validation(both, held)
    assert isinstance(validation, CommentValidation)
    assert sorted(r for r in validation._sections[0][0, 1:].tolist() if r >= 0) == others


def test_the_like_of_the_video_is_unknown_when_its_comments_are_ranked(tmp_path: Path) -> None:
    """It has the time of the impression, the comments have later ones."""
    both = histories(stamped(tmp_path / "log"), "liked")
    assert both.liked.video.tolist() == [1, 0]
    assert both.discussed.time_ms.tolist() == [START_MS]
    assert both.discussed.other.tolist() == [1]
    batch = make_batch(both, "comment", last_events(both.discussed, np.zeros(1, dtype=int)))
    assert batch.videos[0, : batch.video_count[0, 0]].tolist() == [1]


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(
        PolicyError, match=r"comment_negatives is 'all', expected one of section, seen"
    ):
        LSVCR(comment_negatives="all")  # type: ignore[arg-type]
