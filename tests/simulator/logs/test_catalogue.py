"""The catalogue against plain Python."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from simulator.logs.catalogue import UNKNOWN_TIME, Catalogue

identifiers = st.integers(0, 30)
maybe = st.none() | st.integers(0, 3)
video_rows = st.lists(
    st.fixed_dictionaries(
        {
            "video_id": identifiers,
            "author_id": maybe,
            "category": st.none() | st.sampled_from(["b", "a", "猫"]),
            "duration_ms": st.none() | st.integers(1, 10**6),
            "upload_time_ms": st.none() | st.integers(-5, 10**13),
        }
    ),
    max_size=15,
)
comment_rows = st.lists(
    st.fixed_dictionaries(
        {
            "comment_id": identifiers,
            "video_id": identifiers,
            "like_count": maybe,
            "reply_count": maybe,
            "time_ms": st.none() | st.integers(0, 10**13),
        }
    ),
    max_size=30,
)
VIDEOS = {
    "video_id": pl.Int64,
    "author_id": pl.Int64,
    "category": pl.String,
    "duration_ms": pl.Int64,
    "upload_time_ms": pl.Int64,
}
COMMENTS = dict.fromkeys(
    ("comment_id", "video_id", "like_count", "reply_count", "time_ms"), pl.Int64
)


def first_of_each(rows: list[dict], key: str) -> list[dict]:
    kept: dict[int, dict] = {}
    for row in rows:
        kept.setdefault(row[key], row)
    return list(kept.values())


@settings(max_examples=150, deadline=None)
@given(video_rows, comment_rows)
def test_dense_order_and_values(videos: list[dict], comments: list[dict]) -> None:
    found = Catalogue.from_frames(
        pl.DataFrame(videos, schema=VIDEOS), pl.DataFrame(comments, schema=COMMENTS)
    )
    videos = sorted(first_of_each(videos, "video_id"), key=lambda v: v["video_id"])
    ids = [v["video_id"] for v in videos]
    comments = [c for c in first_of_each(comments, "comment_id") if c["video_id"] in ids]
    comments.sort(key=lambda c: (c["video_id"], -(c["like_count"] or 0), c["comment_id"]))
    authors = sorted({v["author_id"] for v in videos} - {None})
    names = sorted({v["category"] for v in videos} - {None})

    assert found.video_ids.tolist() == ids
    assert (found.n_videos, found.n_comments) == (len(ids), len(comments))
    assert found.n_authors == len(authors)
    assert found.category_names == names
    assert found.author.tolist() == [
        -1 if v["author_id"] is None else authors.index(v["author_id"]) for v in videos
    ]
    assert found.category.tolist() == [
        -1 if v["category"] is None else names.index(v["category"]) for v in videos
    ]
    assert found.duration_ms.tolist() == [v["duration_ms"] or 0 for v in videos]
    assert found.upload_ms.tolist() == [
        UNKNOWN_TIME if v["upload_time_ms"] is None else v["upload_time_ms"] for v in videos
    ]
    assert found.comment_ids.tolist() == [c["comment_id"] for c in comments]
    assert found.comment_likes.tolist() == [c["like_count"] or 0 for c in comments]
    assert found.comment_replies.tolist() == [c["reply_count"] or 0 for c in comments]
    assert found.comment_time_ms.tolist() == [
        UNKNOWN_TIME if c["time_ms"] is None else c["time_ms"] for c in comments
    ]
    assert found.comment_video.tolist() == [ids.index(c["video_id"]) for c in comments]
    assert np.diff(found.comment_offsets).tolist() == [
        sum(c["video_id"] == i for c in comments) for i in ids
    ]


@settings(max_examples=80, deadline=None)
@given(video_rows, comment_rows, st.lists(st.integers(-3, 40)), st.integers(1, 5))
def test_look_ups(videos: list[dict], comments: list[dict], wanted: list[int], limit: int) -> None:
    catalogue = Catalogue.from_frames(
        pl.DataFrame(videos, schema=VIDEOS), pl.DataFrame(comments, schema=COMMENTS)
    )
    asked = np.array(wanted, dtype=np.int64)
    for ids, found in (
        (catalogue.video_ids.tolist(), catalogue.video_index(asked)),
        (catalogue.comment_ids.tolist(), catalogue.comment_index(asked)),
    ):
        assert found.dtype == np.int32
        assert found.tolist() == [ids.index(i) if i in ids else -1 for i in wanted]
    everything = np.arange(catalogue.n_videos, dtype=np.int32)
    listed = catalogue.comments_of(everything, limit)
    assert listed.shape == (catalogue.n_videos, limit)
    for video, row in enumerate(listed.tolist()):
        own = [c for c in range(catalogue.n_comments) if catalogue.comment_video[c] == video]
        assert row == (own + [-1] * limit)[:limit]


def test_columns_that_are_not_there_are_unknown() -> None:
    comments = pl.DataFrame({"comment_id": [8, 6], "video_id": [1, 1]})
    catalogue = Catalogue.from_frames(pl.DataFrame({"video_id": [2, 1]}), comments)
    assert catalogue.author.tolist() == catalogue.category.tolist() == [-1, -1]
    assert (catalogue.n_authors, catalogue.category_names) == (0, [])
    assert catalogue.duration_ms.tolist() == [0, 0]
    assert (catalogue.upload_ms == UNKNOWN_TIME).all()
    # Without likes to go by, comments keep the order of their identifiers.
    assert catalogue.comment_ids.tolist() == [6, 8]
    assert (catalogue.comment_time_ms == UNKNOWN_TIME).all()


def test_built_from_arrays_everything_else_is_absent() -> None:
    bare = Catalogue.build([3, 5])
    assert (bare.n_videos, bare.n_comments, bare.n_authors) == (2, 0, 0)
    assert bare.comments_of(np.array([1], dtype=np.int32), 2).tolist() == [[-1, -1]]
    full = Catalogue.build([3, 5], comment_offsets=[0, 1, 3], author=[1, 0])
    assert full.comment_ids.tolist() == [0, 1, 2]
    assert full.n_authors == 2
    assert full.comments_of(np.array([1, 0], dtype=np.int32), 2).tolist() == [[1, 2], [0, -1]]


@pytest.mark.parametrize(
    "arrays",
    [{"author": [1]}, {"upload_ms": [1, 2, 3]}, {"comment_offsets": [0, 1, 3], "comment_ids": [1]}],
)
def test_arrays_of_the_wrong_length_are_refused(arrays: dict) -> None:
    with pytest.raises(ValueError, match="has shape"):
        Catalogue.build([3, 5], **arrays)
