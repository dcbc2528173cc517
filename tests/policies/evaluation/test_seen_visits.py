"""Which visits a policy is judged by, and that each is scored as it was opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from policies.base import Scores
from policies.comments.orders import Likes
from policies.evaluation import seen_visits as module
from policies.evaluation.dwell import dwell_r
from policies.evaluation.holdout import CASES_PER_PERSON
from policies.evaluation.seen_visits import SeenVisits, first_of_visits, score_seen, seen_visits
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests
from tests.policies.comment_log import MINUTE, PER_VIDEO, START_MS, random_log, write

CUT = START_MS + 100 * MINUTE
Visit = tuple[int, int, int, list[tuple[int, int]]]
"""Person, video, time, and what was seen: comments with their time."""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Some comments were listed, but not seen; one person opens more sections than are judged."""
    tables = random_log(4)
    events = tables["comment_events"]
    random = np.random.default_rng(0)
    visits = 2 * CASES_PER_PERSON
    busy = pl.DataFrame(
        {
            "user_id": np.full(3 * visits, 100),
            "video_id": np.repeat(7 * (np.arange(visits) % 2), 3),
            "comment_id": np.repeat(1000 + 9 * (np.arange(visits) % 2), 3)
            + np.tile(np.arange(3), visits),
            "time_ms": START_MS + 500 * MINUTE + np.repeat(np.arange(visits), 3) * MINUTE,
        },
    ).with_columns(is_like=pl.lit(0, pl.Int8), is_reply=pl.lit(0, pl.Int8))
    events = pl.concat([events, busy])
    events = events.with_columns(
        is_shown=pl.Series((random.random(len(events)) < 0.8).astype(np.int8)),
        dwell_ms=pl.Series(random.integers(200, 9_000, len(events))),
    )
    tables["comment_events"] = events
    return write(tmp_path_factory.mktemp("seen") / "log", tables)


def by_hand(log: Dataset) -> list[Visit]:
    """At least two comments seen, opened at the cut or later, the first 20 of each person."""
    rows = log.scan("comment_events").with_row_index("row").collect()
    rows = rows.filter(pl.col("is_shown") == 1).sort("user_id", "time_ms", "row")
    visits: list[Visit] = []
    before = None
    for row in rows.iter_rows(named=True):
        here = row["user_id"], row["video_id"]
        if here != before:
            visits.append((*here, row["time_ms"], []))
        visits[-1][3].append((row["comment_id"], row["dwell_ms"]))
        before = here
    kept: list[Visit] = []
    for visit in visits:
        of_person = sum(visit[0] == other[0] for other in kept)
        if len(visit[3]) > 1 and visit[2] >= CUT and of_person < CASES_PER_PERSON:
            kept.append(visit)
    return kept


def _video(comment: int) -> int:
    return (comment - 1000) // PER_VIDEO


def cut_of(log: Dataset) -> np.ndarray:
    return np.full(len(log.user_ids()), CUT)


def test_visits_to_judge_by(log: Dataset) -> None:
    expected = by_hand(log)
    found = SeenVisits(log, cut_of(log))
    catalogue = log.catalogue()
    seen = found.seen
    rows = [(i, *visit[:3], *comment) for i, visit in enumerate(expected) for comment in visit[3]]
    columns = [
        seen.visit,
        log.user_ids()[seen.user],
        catalogue.video_ids[seen.video],
        seen.time_ms,
        catalogue.comment_ids[seen.comment],
        seen.dwell_ms,
    ]
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == rows
    assert len(found) == len(rows)
    assert sum(visit[0] == 100 for visit in expected) == CASES_PER_PERSON
    assert log.user_ids()[found.people].tolist() == sorted({visit[0] for visit in expected})
    np.testing.assert_array_equal(found.people[found.person], seen.user)
    assert first_of_visits(seen.visit).tolist() == [
        sum(len(other[3]) for other in expected[:i]) for i in range(len(expected))
    ]


@pytest.mark.parametrize("block", [1, 3, 2_000])
def test_every_visit_is_scored_with_its_own_person_time_and_comments(
    log: Dataset, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    found = SeenVisits(log, cut_of(log))
    expected = by_hand(log)
    catalogue = log.catalogue()
    asked: list[tuple[int, int, int, list[int]]] = []
    sizes: list[int] = []

    def score(requests: CommentRequests) -> Scores:
        sizes.append(len(requests.row))
        assert requests.row.tolist() == list(range(len(requests.row)))
        for at in range(len(requests.row)):
            real = requests.candidates[at][requests.candidates[at] >= 0]
            asked.append(
                (
                    int(log.user_ids()[requests.user[at]]),
                    int(catalogue.video_ids[requests.video[at]]),
                    int(requests.time_ms[at]),
                    catalogue.comment_ids[real].tolist(),
                )
            )
        assert requests.candidates.shape[1] == max(len(a[3]) for a in asked[-len(requests.row) :])
        return (requests.candidates + 1_000.0 * requests.key[:, None]).astype(np.float32)

    scores = score_seen(found.seen, found.history, score)
    assert asked == [(*visit[:3], [c for c, _ in visit[3]]) for visit in expected]
    assert sum(sizes) == len(expected) and set(sizes[:-1]) <= {block}
    np.testing.assert_array_equal(scores, found.seen.comment + 1_000.0 * found.seen.visit)
    assert score_seen(found.seen, found.history, lambda _: None) is None


def test_a_policy_is_judged_by_its_correlation_with_dwell(log: Dataset) -> None:
    found = SeenVisits(log, cut_of(log))
    policy = Likes()
    policy.fit(log, seed=1)
    judged = found.judge(policy)
    assert judged is not None
    likes = dict(log.scan("comments").select("comment_id", "like_count").collect().iter_rows())
    visits = by_hand(log)
    # The policy's score is the rank of the likes among those of the comment's section.
    section = {c: {n for other, n in likes.items() if _video(other) == _video(c)} for c in likes}
    rank = {c: float(sum(n < likes[c] for n in section[c])) for c in likes}
    score = np.array([rank[c] for visit in visits for c, _ in visit[3]])
    dwell = np.array([d for visit in visits for _, d in visit[3]])
    visit = np.repeat(np.arange(len(visits)), [len(v[3]) for v in visits])
    people = sorted({v[0] for v in visits})
    person = np.array([people.index(visits[v][0]) for v in visit])
    assert judged.r == pytest.approx(dwell_r(score, dwell, visit, person).r, abs=1e-6)


def test_logs_without_seen_comments_or_with_one_person_judge_nothing(
    log: Dataset, tmp_path: Path
) -> None:
    assert seen_visits(log, cut_of(log)) is not None
    assert seen_visits(write(tmp_path / "unseen", random_log(4)), cut_of(log)) is None
    # Only the busy person's visits are after this cut.
    late = np.full(len(log.user_ids()), START_MS + 500 * MINUTE)
    assert seen_visits(log, late) is None
