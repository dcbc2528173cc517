"""The comment value: what it estimates, what it chooses, and what it falls back to."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from policies.comments.value.fit import HeldVisits, fit_value
from policies.comments.value.fuse import own_weight
from policies.comments.value.taste import updated, visits_of
from policies.comments.value.texts import DenseTexts, lsa_space, text_space
from policies.comments.value.visits import sample_visits
from policies.comments.value_policy import ValueSettings, fit_on_log
from policies.errors import UnknownPolicy
from policies.registry import create
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.initial_history import initial_history
from simulator.logs.reads import seen_comments
from simulator.requests import CommentRequests, HistoryState

START_MS = 1_650_000_000_000
PEOPLE, VIDEOS, PER_VIDEO, VISITS = 120, 30, 8, 24
WORDS = ("aaaa bbbb cccc", "dddd eeee ffff", "gggg hhhh iiii", "jjjj kkkk llll")


def log_of_reading(
    path: Path, *, taste: float, likes: float, dwell: bool = True, seed: int = 1
) -> Dataset:
    """Everybody reads all comments of some sections, most liked first.

    Log dwell is ``likes`` times standardised log likes, plus ``taste`` where a comment has the
    style of its reader (person u's is u modulo 4), plus noise.
    """
    rng = np.random.default_rng(seed)
    style = rng.integers(0, 4, VIDEOS * PER_VIDEO)
    count = rng.integers(0, 200, VIDEOS * PER_VIDEO)
    text = [f"{WORDS[s]} {rng.integers(10)}" for s in style]
    rows: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for user in range(PEOPLE):
        for number, video in enumerate(rng.integers(0, VIDEOS, VISITS)):
            time = START_MS + number * 60_000
            shown.append({"user_id": user, "video_id": int(video), "time_ms": time})
            own = video * PER_VIDEO + np.arange(PER_VIDEO)
            engaged = rng.normal()
            for position, comment in enumerate(own[np.argsort(-count[own], kind="stable")]):
                value = likes * (np.log1p(count[comment]) - 4.0)
                value += taste * (style[comment] == user % 4) + engaged + rng.normal()
                rows.append(
                    {
                        "user_id": user,
                        "video_id": int(video),
                        "comment_id": int(comment),
                        "time_ms": time,
                        "position": position,
                        "is_shown": 1,
                        "is_like": int(value > engaged + 2.0),
                        "is_reply": 0,
                        "dwell_ms": int(1_000 * np.exp(value)),
                    }
                )
    small = {"position": pl.Int16, "is_shown": pl.Int8, "is_like": pl.Int8, "is_reply": pl.Int8}
    events = pl.DataFrame(rows).cast(small)  # type: ignore[arg-type]
    if not dwell:
        events = events.filter(pl.col("is_like") == 1).drop("dwell_ms", "is_shown", "position")
    label = {"is_click": 1, "is_like": 1, "play_time_ms": 9_000}
    impressions = pl.DataFrame([{**row, **label} for row in shown])
    impressions = impressions.cast({"is_click": pl.Int8, "is_like": pl.Int8})
    with DatasetWriter(path, name="reading", source="test", licence="none") as writer:
        writer.append("impressions", impressions)
        writer.append("comment_events", events)
        writer.append("users", pl.DataFrame({"user_id": np.arange(PEOPLE)}))
        writer.append("videos", pl.DataFrame({"video_id": np.arange(VIDEOS)}))
        writer.append(
            "comments",
            pl.DataFrame(
                {
                    "comment_id": np.arange(VIDEOS * PER_VIDEO),
                    "video_id": np.repeat(np.arange(VIDEOS), PER_VIDEO),
                    "text": text,
                    "like_count": count,
                    "reply_count": np.zeros(VIDEOS * PER_VIDEO, dtype=np.int64),
                    "time_ms": np.full(VIDEOS * PER_VIDEO, START_MS - 86_400_000),
                }
            ),
        )
    return Dataset.open(path)


@pytest.fixture(scope="module")
def tasteful(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return log_of_reading(tmp_path_factory.mktemp("value") / "log", taste=1.0, likes=0.3)


def requests_at_the_end(dataset: Dataset, people: np.ndarray) -> CommentRequests:
    rows = np.arange(len(people), dtype=np.int32)
    history = initial_history(dataset, people.astype(np.int32))
    video = (people % VIDEOS).astype(np.int32)
    return CommentRequests(
        row=rows,
        user=people.astype(np.int32),
        time_ms=np.full(len(people), START_MS + 86_400_000),
        key=rows.astype(np.uint64),
        video=video,
        candidates=dataset.catalogue().comments_of(video, PER_VIDEO),
        history=history.view(rows),
    )


def test_taste_is_found_served_and_beats_what_is_the_same_for_all(tasteful: Dataset) -> None:
    policy = create("comment-value", width=8)
    policy.fit(tasteful, seed=1)
    told = policy.training_summary()
    json.dumps(told)
    assert told["served"] == "taste" and told["signal"] == "dwell of seen comments"
    likes, plain, personal = (told["dwell_r"][k][0] for k in ("likes", "no taste", "taste"))
    # Oracle: style explains .75 * .25 of a variance of about 1.3 within visits.
    assert personal > plain + 0.15 and plain >= likes - 0.02
    people = np.arange(PEOPLE)
    requests = requests_at_the_end(tasteful, people)
    policy.reset(PEOPLE)
    scores = policy.score_comments(requests)
    assert scores is not None and scores.dtype == np.float32
    texts = tasteful.comment_texts()
    style = np.array(
        [[WORDS.index(texts[c].rsplit(" ", 1)[0]) for c in row] for row in requests.candidates]
    )
    own = style == (people % 4)[:, None]
    has_both = own.any(axis=1) & ~own.all(axis=1)
    mean = [np.where(m, scores, 0).sum(1)[has_both] / m.sum(1)[has_both] for m in (own, ~own)]
    assert (mean[0] - mean[1]).mean() == pytest.approx(1.0, abs=0.4)


def test_directions_can_be_left_out_of_the_text_space(tasteful: Dataset) -> None:
    spaces = []
    for directions in (True, False):
        settings = ValueSettings(width=8, directions=directions)
        found = fit_on_log(tasteful, settings, taste=True, seed=1, progress=lambda *_: None)
        assert found.model is not None
        spaces.append(found.model.space.comment)
    plain = lsa_space(tasteful, 8).comment
    assert spaces[0].shape[1] == 8 and not np.allclose(spaces[0][:, :4], plain[:, :4], atol=0.01)
    np.testing.assert_allclose(spaces[1], plain, atol=1e-5)


def test_without_taste_everybody_gets_the_same_order(tasteful: Dataset) -> None:
    policy = create("no-taste", width=8)
    policy.fit(tasteful, seed=1)
    assert policy.training_summary()["served"] in ("no taste", "platform")
    same = requests_at_the_end(tasteful, np.zeros(3, dtype=np.int64))
    policy.reset(3)
    scores = policy.score_comments(same)
    if scores is not None:
        assert (scores == scores[0]).all()


def test_noise_alone_leaves_the_platforms_order(tmp_path: Path) -> None:
    log = log_of_reading(tmp_path / "log", taste=0.0, likes=0.0)
    policy = create("comment-value", width=8)
    policy.fit(log, seed=1)
    assert policy.training_summary()["served"] == "platform"
    policy.reset(2)
    assert policy.score_comments(requests_at_the_end(log, np.arange(2))) is None
    policy.save(tmp_path)
    again = create("comment-value", width=8)
    again.load(tmp_path, log)
    again.reset(2)
    assert again.score_comments(requests_at_the_end(log, np.arange(2))) is None


def test_a_log_of_touches_is_learnt_from_and_the_summary_says_so(tmp_path: Path) -> None:
    log = log_of_reading(tmp_path / "log", taste=2.0, likes=0.0, dwell=False)
    policy = create("comment-value", width=8)
    policy.fit(log, seed=1)
    told = policy.training_summary()
    assert told["signal"].startswith("touches: the log does not say which comments were seen")
    assert told["dwell_r"]["taste"][0] > told["dwell_r"]["likes"][0] + 0.1


def test_scores_survive_the_disk_and_do_not_depend_on_the_batch(
    tasteful: Dataset, tmp_path: Path
) -> None:
    policy, again = (create("comment-value", width=8) for _ in range(2))
    policy.fit(tasteful, seed=1)
    policy.save(tmp_path)
    again.load(tmp_path, tasteful)
    whole = requests_at_the_end(tasteful, np.arange(40))
    alone = requests_at_the_end(tasteful, np.array([7]))
    for each in (policy, again):
        each.reset(40)
    first, second = policy.score_comments(whole), again.score_comments(whole)
    assert first is not None and second is not None
    assert (first == second).all()
    again.reset(1)
    single = again.score_comments(alone)
    assert single is not None
    np.testing.assert_allclose(single[0], first[7], rtol=1e-4, atol=1e-5)


def test_an_update_is_ridge_regression_within_visits() -> None:
    rng = np.random.default_rng(1)
    b, n, d = 4, 9, 3
    precisions = (0.5, 2.5)
    texts = rng.normal(size=(b, n, d)).astype(np.float32)
    residual = rng.normal(size=(b, n)).astype(np.float32)
    prior = rng.normal(size=(b, d)).astype(np.float32)
    visit = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2]) * np.ones((b, 1), dtype=int)
    visit[1, 4:] = -1
    visit[2] = -1
    by_precision = updated(prior, texts, residual, visit, precisions)
    for precision, row in itertools.product(precisions, range(b)):
        found = by_precision[precisions.index(precision)]
        xs, rs = [], []
        for number in range(3):
            at = visit[row] == number
            if at.any():
                xs.append(texts[row, at] - texts[row, at].mean(axis=0))
                rs.append(residual[row, at] - residual[row, at].mean())
        if not xs:
            np.testing.assert_allclose(found[row], prior[row], atol=1e-6)
            continue
        x, r = np.concatenate(xs), np.concatenate(rs)
        step = np.linalg.solve(x.T @ x + precision * np.eye(d), x.T @ (r - x @ prior[row]))
        np.testing.assert_allclose(found[row], prior[row] + step, rtol=1e-3, atol=1e-4)


def test_visits_are_read_from_their_ends() -> None:
    last = np.array([[0, 1, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0, 0]], dtype=bool)
    real = np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0]], dtype=bool)
    visit, place = visits_of(last, real)
    assert visit.tolist() == [[0, 0, 1, 2, 2, 2, 3], [0, 0, 0, 0, -1, -1, -1]]
    assert place[0].tolist() == [0, 1, 0, 0, 1, 2, 0] and place[1, :4].tolist() == [0, 1, 2, 3]


def test_texts_have_unit_variance_and_absent_ones_are_zero() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(50, 6)) @ np.diag([100, 10, 3, 1, 1, 0.0])
    vectors[7] = 0.0
    rows = rng.integers(-1, 50, 400)
    space = text_space(DenseTexts(vectors), rows, np.array([3, -1, 7]), 4)
    there = (rows >= 0) & (rows != 7)
    known = space.comment[there]
    np.testing.assert_allclose(known.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(np.cov(known.T, bias=True), np.eye(4), atol=1e-4)
    assert (space.comment[~there] == 0).all() and (space.caption[1:] == 0).all()
    assert space.caption[0].any()


def test_nothing_of_a_visit_is_known_before_it(tasteful: Dataset) -> None:
    seen = seen_comments(tasteful)
    visits = sample_visits(tasteful, seen, 2_000, seed=1)
    reads = visits.history.view(np.arange(len(visits))).reads()
    first = np.flatnonzero(np.append(True, visits.seen.visit[1:] != visits.seen.visit[:-1]))
    for number in range(0, len(visits), 17):
        time = visits.seen.time_ms[first[number]]
        before = (seen.user == visits.user[number]) & (seen.time_ms < time)
        told = reads.comment[number][reads.comment[number] >= 0]
        assert told.tolist() == seen.comment[before][-100:].tolist()
    held = HeldVisits(visits)
    assert 0 < len(held) < len(visits.seen)
    assert not set(held.seen.user) & set(visits.user[~visits.held])


def test_a_history_keeps_the_hundred_comments_read_last() -> None:
    rng = np.random.default_rng(2)
    state, told = HistoryState(3), [[], [], []]
    for _ in range(12):
        rows = np.sort(rng.integers(0, 3, 25))
        comment, dwell = rng.integers(0, 999, 25), rng.integers(1, 9_999, 25)
        last = rng.random(25) < 0.3
        state.extend_reads(rows, comment.astype(np.int32), dwell, last)
        for row, *event in zip(rows, comment, dwell, last, strict=True):
            told[row].append(event)
    view = state.copy().view(np.array([2, 0]))
    other = HistoryState(2)
    other.put(np.array([0, 1]), state, np.array([2, 0]))
    for reads in (view.reads(), other.view(np.arange(2)).reads()):
        for line, row in enumerate((2, 0)):
            kept = told[row][-100:]
            assert reads.comment[line, : len(kept)].tolist() == [e[0] for e in kept]
            assert reads.dwell_ms[line, : len(kept)].tolist() == [e[1] for e in kept]
            assert reads.last[line, : len(kept)].tolist() == [e[2] for e in kept]
            assert (reads.comment[line, len(kept) :] == -1).all()
    assert view.reads_version().tolist() == [len(told[2]), len(told[0])]
    assert HistoryState(2).view(np.arange(2)).reads().comment.shape == (2, 0)


@pytest.mark.parametrize("comments", ["text-similarity", "comment-sasrec:epochs=1,dim=8"])
def test_another_policys_score_is_weighed_by_what_it_adds(
    tasteful: Dataset, tmp_path: Path, comments: str
) -> None:
    policy, again = (create("fused", comments=comments, width=8) for _ in range(2))
    policy.fit(tasteful, seed=1)
    told = policy.training_summary()
    assert {"dwell_r alone", "adds"} <= set(told["fused"]) or told["served"] == "platform"
    policy.save(tmp_path)
    again.load(tmp_path, tasteful)
    requests = requests_at_the_end(tasteful, np.arange(30))
    for each in (policy, again):
        each.reset(30)
    first, second = policy.score_comments(requests), again.score_comments(requests)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        np.testing.assert_array_equal(first, second)


def test_what_cannot_be_fused_is_refused() -> None:
    for spec in ("fused:comments=sasrec", "fused:comments=fused"):
        with pytest.raises(UnknownPolicy, match="expected a policy that ranks comments only"):
            create(spec)


def test_an_informative_score_is_given_weight_and_noise_none(tasteful: Dataset) -> None:
    seen = seen_comments(tasteful)
    visits = sample_visits(tasteful, seen, 20_000, seed=1)
    spaces = {"LSA": lsa_space(tasteful, 8)}
    fitted = fit_value(tasteful, visits, spaces, taste=False, reads=False, progress=lambda *_: None)
    texts = tasteful.comment_texts()
    style = np.array([WORDS.index(text.rsplit(" ", 1)[0]) for text in texts])

    def truth(requests: CommentRequests) -> Any:
        own = style[np.maximum(requests.candidates, 0)] == (requests.user % 4)[:, None]
        return own.astype(np.float32)

    weight, told = own_weight(fitted, truth)
    if fitted.model is not None:
        assert told["adds"][0] > 0.1 and weight > 0.0
        noise = np.random.default_rng(1)
        weight, told = own_weight(
            fitted, lambda r: noise.normal(size=r.candidates.shape).astype(np.float32)
        )
        assert weight == 0.0 and abs(told["adds"][0]) < 0.005
