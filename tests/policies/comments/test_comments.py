"""Comment rankers against their definitions and on a log with planted comment tastes."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from abtest.run.contract.suite import OF_ONE_TRAINING, RULES, check_policy
from policies.comments.base import TIE_BREAK
from policies.comments.orders import rank_in_section
from policies.comments.sasrec import CommentSASRec, past_comments
from policies.comments.text_similarity import TextSimilarity
from policies.errors import PolicyError, UnknownPolicy
from policies.registry import create, describe_all
from policies.text.char_ngrams import SIZES, pair_products, tfidf
from simulator.logs.catalogue import UNKNOWN_TIME
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.requests import CommentRequests
from tests.lsvcr.conftest import Planted, ask, write_planted

NAMES = ("likes", "newest", "text-similarity", "comment-sasrec")
QUICK = {"comment-sasrec": {"dim": 16, "layers": 1, "epochs": 1, "epoch_steps": 1}}
TEXTS = ["你好，世界", "Hello  World", "hello world", "", "ａｂｃ", "世界你好", "a", "好" * 40]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return write_planted(tmp_path_factory.mktemp("planted") / "log", users=60)


def sections(dataset: Dataset, videos: NDArray[np.int32]) -> CommentRequests:
    asked = ask(dataset)
    candidates = dataset.catalogue().comments_of(videos, 20)
    return asked.comments(videos, candidates, np.arange(len(videos)))


def words(text: str) -> list[str]:
    """All n-grams, one by one."""
    clean = " ".join(text.replace("ａｂｃ", "abc").replace("，", ",").lower().split())
    return [clean[i : i + n] for n in SIZES for i in range(len(clean) - n + 1)]


def dense_tfidf(texts: list[str]) -> NDArray[np.float64]:
    """Unit vectors over the n-grams themselves, not hashed."""
    counts = [Counter(words(text)) for text in texts]
    vocabulary = sorted(set().union(*counts))
    n = sum(bool(c) for c in counts)
    frequency = Counter(gram for c in counts for gram in c)
    rows = np.zeros((len(texts), len(vocabulary)))
    for row, count in enumerate(counts):
        for column, gram in enumerate(vocabulary):
            if count[gram]:
                inverse = 1 + math.log((1 + n) / (1 + frequency[gram]))
                rows[row, column] = (1 + math.log(count[gram])) * inverse
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norm, out=rows, where=norm > 0)


def test_tfidf_is_its_definition() -> None:
    # So many buckets that no two n-grams of these texts share one.
    found = tfidf(TEXTS, 1 << 22)
    expected = dense_tfidf(TEXTS)
    np.testing.assert_allclose((found @ found.T).toarray(), expected @ expected.T, atol=1e-6)


def test_width_case_and_blanks_make_no_difference() -> None:
    found = tfidf(["Hello  World", "ｈｅｌｌｏ world\n"]).toarray()
    assert np.array_equal(found[0], found[1])


@given(st.lists(st.text(max_size=12), max_size=6))
def test_rows_are_unit_vectors_or_empty(texts: list[str]) -> None:
    found = tfidf(texts, 512)
    norms = np.linalg.norm(found.toarray(), axis=1) if texts else np.zeros(0)
    assert ((np.abs(norms - 1) < 1e-5) | (norms == 0)).all()
    assert found.shape == (len(texts), 512)


def test_no_ngram_crosses_two_texts() -> None:
    apart, together = tfidf(["ab", "cd"], 1 << 22), tfidf(["abcd"], 1 << 22)
    assert apart.getnnz() == 6
    assert together.getnnz() == 9


def test_pair_products_equal_dense_ones() -> None:
    vectors = tfidf(TEXTS, 256)
    rows = np.array([[0, 1, -1], [5, 3, 2]])
    other = vectors[[5, 1]]
    dense = vectors.toarray()
    expected = np.einsum("bmd,bd->bm", dense[rows] * (rows >= 0)[..., None], other.toarray())
    np.testing.assert_allclose(pair_products(vectors, rows, other), expected, atol=1e-6)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-5, 5)), max_size=30))
def test_rank_in_section_counts_the_smaller(pairs: list[tuple[int, int]]) -> None:
    pairs.sort(key=lambda pair: pair[0])
    section = np.array([s for s, _ in pairs], dtype=np.int64)
    value = np.array([v for _, v in pairs], dtype=np.int64)
    expected = [len({w for t, w in pairs if t == s and w < v}) for s, v in pairs]
    assert rank_in_section(value, section).tolist() == expected


def comment_log(path: Path, times: list[int | None], likes: list[int]) -> Dataset:
    with DatasetWriter(path, name="one section", source="test", licence="none") as writer:
        writer.append("users", pl.DataFrame({"user_id": [0]}))
        writer.append("videos", pl.DataFrame({"video_id": [0]}))
        rows = {"comment_id": range(len(times)), "video_id": [0] * len(times)}
        table = pl.DataFrame(rows).with_columns(
            pl.Series("time_ms", times, dtype=pl.Int64),
            pl.Series("like_count", likes, dtype=pl.Int64),
        )
        writer.append("comments", table)
    return Dataset.open(path)


def test_newest_and_likes_order_a_section(tmp_path: Path) -> None:
    now = 1_700_000_000_000
    log = comment_log(tmp_path / "log", [now, now + 1, None, now + 2], [3, 3, 7, 0])
    requests = sections(log, np.zeros(1, dtype=np.int32))
    catalogue = log.catalogue()
    for name, key in (("newest", catalogue.comment_time_ms), ("likes", catalogue.comment_likes)):
        policy = create(name)
        policy.fit(log, seed=1)
        scores = policy.score_comments(requests)
        assert scores is not None
        by_score = np.argsort(-scores[0, :4], kind="stable")
        of = key[requests.candidates[0, :4][by_score]]
        assert of.tolist() == sorted(key.tolist(), reverse=True)
    assert catalogue.comment_time_ms.min() == UNKNOWN_TIME


def test_text_similarity_is_the_sum_of_both_cosines(planted: Planted) -> None:
    log = planted.dataset
    policy = TextSimilarity(video_share=0.25)
    policy.fit(log, seed=1)
    requests = sections(log, np.arange(12, dtype=np.int32))
    scores = policy.score_comments(requests)
    assert scores is not None
    catalogue = log.catalogue()
    titles, texts = sorted(set(log.captions())), sorted(set(log.comment_texts()))
    assert len(texts) < catalogue.n_comments
    vectors = tfidf([*titles, *texts]).toarray()
    captions = vectors[[titles.index(t) for t in log.captions()]]
    comments = vectors[[len(titles) + texts.index(t) for t in log.comment_texts()]]
    likes = np.log1p(catalogue.comment_likes) / np.log1p(catalogue.comment_likes.max())
    history = requests.history.comments()
    for row in range(12):
        past = history[row][history[row] >= 0]
        profile = comments[past].sum(axis=0)
        profile /= max(float(np.linalg.norm(profile)), 1e-12)
        for column, comment in enumerate(requests.candidates[row]):
            if comment >= 0:
                vector = comments[comment]
                expected = 0.25 * (vector @ captions[catalogue.comment_video[comment]])
                expected += 0.75 * (vector @ profile) + TIE_BREAK * likes[comment]
                assert scores[row, column] == pytest.approx(expected, abs=1e-5)


def test_text_similarity_finds_the_planted_taste(planted: Planted) -> None:
    """Everybody likes one of four styles: chance puts it first in a quarter of the sections."""
    policy = TextSimilarity(video_share=0.0)
    policy.fit(planted.dataset, seed=1)
    # The last video of a chain is fresh: nobody has liked a comment there.
    requests = sections(planted.dataset, np.full(60, 14, dtype=np.int32))
    scores = policy.score_comments(requests)
    assert scores is not None
    top = requests.candidates[
        np.arange(60), np.where(requests.candidates >= 0, scores, -1).argmax(1)
    ]
    style = planted.style[planted.dataset.catalogue().comment_ids[top]]
    assert (style == planted.taste).mean() > 0.9


def test_past_comments_are_left_aligned_in_order(planted: Planted) -> None:
    history = ask(planted.dataset).history.view(np.arange(60))
    found = past_comments(history)
    for row, comments in zip(found, history.comments(), strict=True):
        known = comments[comments >= 0]
        assert row[: len(known)].tolist() == known.tolist()
        assert (row[len(known) :] == -1).all()


def tastes_log(path: Path, users: int) -> Dataset:
    """Eight videos in a circle; comment c of each has style c % 4, user u likes style u % 4."""
    start, steps = 1_700_000_000_000, 6
    visits = [(u, (u + step) % 8, step) for u in range(users) for step in range(steps)]
    events = [(u, v, 8 * v + c, start + step) for u, v, step in visits for c in (u % 4, u % 4 + 4)]
    user, video, comment, time = (list(column) for column in zip(*events, strict=True))
    with DatasetWriter(path, name="tastes", source="test", licence="none") as writer:
        writer.append("users", pl.DataFrame({"user_id": range(users)}))
        writer.append("videos", pl.DataFrame({"video_id": range(8)}))
        every = {"comment_id": range(64), "video_id": [c // 8 for c in range(64)]}
        writer.append("comments", pl.DataFrame(every))
        flags = {
            "is_like": pl.Series([1] * len(user), dtype=pl.Int8),
            "is_reply": pl.Series([0] * len(user), dtype=pl.Int8),
        }
        ids = {"user_id": user, "video_id": video, "comment_id": comment, "time_ms": time}
        writer.append("comment_events", pl.DataFrame({**ids, **flags}))
    return Dataset.open(path)


def test_comment_sasrec_learns_a_taste_from_likes_alone(tmp_path: Path) -> None:
    """The comments have no text; a quarter would be chance."""
    log = tastes_log(tmp_path / "log", 120)
    policy = CommentSASRec(
        dim=32, layers=1, epochs=10, epoch_steps=1, learning_rate=1e-2, tokens=256
    )
    policy.fit(log, seed=1)
    users = np.arange(120)
    requests = sections(log, ((users + 6) % 8).astype(np.int32))
    scores = policy.score_comments(requests)
    assert scores is not None
    place = np.where(requests.candidates >= 0, scores, -np.inf).argmax(axis=1)
    assert (requests.candidates[users, place] % 4 == users % 4).mean() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_contract(tmp_path: Path, name: str) -> None:
    trained = name == "comment-sasrec"
    rules, short = (OF_ONE_TRAINING, ":epochs=1,epoch_steps=20") if trained else (RULES, "")
    results = check_policy(name + short, write_planted(tmp_path / "log", users=16).dataset, rules)
    assert all(r.passed for r in results), [r for r in results if not r.passed]
    assert next(r.detail for r in results if r.name.startswith("comments")) == "its own order"


@pytest.mark.parametrize("name", NAMES)
def test_comments_score_the_same_alone_and_after_the_disk(
    planted: Planted, tmp_path: Path, name: str
) -> None:
    policy = create(name, **QUICK.get(name, {}))
    policy.fit(planted.dataset, seed=1)
    policy.save(tmp_path)
    other = create(name, **QUICK.get(name, {}))
    other.load(tmp_path, planted.dataset)
    requests = sections(planted.dataset, np.arange(30, dtype=np.int32))
    whole = policy.score_comments(requests)
    assert whole is not None
    again = other.score_comments(requests)
    assert again is not None
    assert np.array_equal(whole, again)
    video = np.full(30, 7, dtype=np.int32)
    one = ask(planted.dataset).comments(
        video[:1], planted.dataset.catalogue().comments_of(video[:1], 20), [7]
    )
    alone = policy.score_comments(one)
    assert alone is not None
    assert alone[0] == pytest.approx(whole[7], abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_logs_without_comments_or_text(chains: Dataset, tmp_path: Path, name: str) -> None:
    policy = create(name, **QUICK.get(name, {}))
    policy.fit(chains, seed=1)
    assert policy.score_comments(sections(chains, np.zeros(1, dtype=np.int32))) is None
    mute = write_planted(tmp_path / "mute", users=20, text=False).dataset
    policy = create(name, **QUICK.get(name, {}))
    policy.fit(mute, seed=1)
    scores = policy.score_comments(sections(mute, np.zeros(1, dtype=np.int32)))
    assert (scores is None) == (name == "text-similarity")


@pytest.mark.parametrize("videos", ["likes", "oracle", "mine.py:Mine"])
def test_the_video_ranker_must_rank_videos(videos: str) -> None:
    with pytest.raises(UnknownPolicy, match="ranks videos"):
        create("newest", videos=videos)


def test_videos_are_ranked_by_the_named_policy(planted: Planted) -> None:
    log = planted.dataset
    policy, alone = create("newest", videos="itemknn"), create("itemknn")
    for one in (policy, alone):
        one.fit(log, seed=1)
    requests = ask(log).videos(np.arange(60, dtype=np.int32))
    assert np.array_equal(policy.score_videos(requests), alone.score_videos(requests))
    assert policy.settings()["videos"] == "itemknn"


def test_weight_out_of_range() -> None:
    with pytest.raises(PolicyError, match="video_share is 2"):
        create("text-similarity", video_share=2)


def test_they_say_that_they_rank_comments() -> None:
    records = {r.name: r for r in describe_all()}
    assert all(records[name].ranks == ("comments",) for name in NAMES)
