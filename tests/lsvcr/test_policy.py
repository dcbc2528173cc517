"""LSVCR learns what is planted in a log, also where the log lacks something."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsvcr.policy import LSVCR
from policies.errors import PolicyError
from policies.registry import create
from tests.lsvcr.scoring import FRESH, LEARNING, QUICK, TASKS, VIDEOS, Ask, scores_of, sections

# --- What is learned ---


def test_the_next_video_of_the_chain_beats_popularity(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    liked = asked.history.view(asked.users).videos("liked")[:, :10]
    following = np.where(liked[:, 9] % 15 == 13, liked[:, 9] - 13, liked[:, 9] + 1)
    rows = np.arange(len(liked))
    counts = np.bincount(liked.ravel(), minlength=60).astype(np.float32)

    def mean_rank(scores: Any) -> float:
        scores = scores.copy()
        scores[rows[:, None], liked] = -np.inf
        return float((scores >= scores[rows, following][:, None]).sum(axis=1).mean())

    fitted.reset(len(rows))
    learned = mean_rank(fitted.score_videos(asked.videos(VIDEOS)))
    popular = mean_rank(np.tile(counts, (len(rows), 1)))
    # 50 videos are left to each: 25.5 by chance; 5 of its own chain.
    assert learned < 4.0 < popular


def test_comments_of_the_preferred_style_come_first(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    watched = (asked.users * 7 % 60).astype(np.int32)
    comments = sections(planted.dataset, watched)
    ids = planted.dataset.catalogue().comment_ids[comments]
    mine = planted.style[ids] == planted.taste[:, None]
    fitted.reset(len(asked.users))
    scores = fitted.score_comments(asked.comments(watched, comments))
    assert scores is not None
    wins = [
        float((line[good][:, None] > line[~good][None]).mean())
        for line, good in zip(scores, mine, strict=True)
        if good.any() and not good.all()
    ]
    assert np.mean(wins) > 0.95


def test_a_video_nobody_has_seen_is_ranked_by_its_text(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    home = asked.history.view(asked.users).videos("liked")[:, 0] // 15
    fitted.reset(len(asked.users))
    scores = fitted.score_videos(asked.videos(FRESH.astype(np.int32)))
    assert (scores.argmax(axis=1) == home).mean() > 0.9


@pytest.mark.parametrize(
    ("text", "comment_events", "ranks_comments"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_poorer_logs_still_rank(
    write_log: Any,
    asking: Ask,
    tmp_path: Path,
    text: bool,
    comment_events: bool,
    ranks_comments: bool,
) -> None:
    log = write_log(
        tmp_path / "log", users=24, comments_each=5, text=text, comment_events=comment_events
    )
    policy = LSVCR(**QUICK)
    policy.fit(log.dataset, seed=1)
    videos, comments = scores_of(policy, log.dataset, asking)
    assert np.isfinite(videos).all() and np.ptp(videos, axis=1).min() > 0.0
    assert (comments is not None) == ranks_comments
    assert comments is None or np.isfinite(comments).all()


def test_ids_alone_learn_the_chain(write_log: Any, asking: Ask, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", text=False, comment_events=False)
    policy = LSVCR(**LEARNING)
    policy.fit(log.dataset, seed=1)
    asked = asking(log.dataset)
    policy.reset(len(asked.users))
    scores = policy.score_videos(asked.videos(VIDEOS))
    home = asked.history.view(asked.users).videos("liked")[:, 0] // 15
    seen_by_somebody = np.setdiff1d(VIDEOS, FRESH)
    best = seen_by_somebody[scores[:, seen_by_somebody].argmax(axis=1)]
    assert (best // 15 == home).mean() > 0.9
    # Nothing is known of a new video: it scores as the average one.
    average = scores[:, seen_by_somebody].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(scores[:, FRESH], np.tile(average, (1, len(FRESH))), atol=0.02)


@pytest.mark.parametrize("comment_events", [True, False])
def test_a_log_in_which_nobody_likes_anything_still_ranks(
    write_log: Any, asking: Ask, tmp_path: Path, comment_events: bool
) -> None:
    log = write_log(
        tmp_path / "log", users=24, comments_each=5, likes=False, comment_events=comment_events
    )
    policy = LSVCR(**QUICK)
    policy.fit(log.dataset, seed=1)
    assert "video" not in policy.training_summary()
    videos, comments = scores_of(policy, log.dataset, asking)
    assert np.isfinite(videos).all() and np.ptp(videos, axis=1).min() > 0.0
    assert (comments is not None) == comment_events
    assert comments is None or np.isfinite(comments).all()


def test_text_can_be_left_out(planted: Any, asking: Ask) -> None:
    policy = LSVCR(text=False, **QUICK)
    policy.fit(planted.dataset, seed=1)
    assert "language model" not in policy.training_summary()
    assert scores_of(policy, planted.dataset, asking)[1] is None


def test_summary_tells_epochs_and_validation_of_both_tasks(fitted: LSVCR) -> None:
    summary = fitted.training_summary()
    assert set(summary) == {"language model", "video", "comment"}
    for task in TASKS:
        assert 1 <= summary[task]["best_epoch"] <= summary[task]["epochs"] <= 12
        assert 0.0 < summary[task]["validation"] <= 1.0
    assert 0.0 < summary["language model"]["loss"] < 10.0


def test_settings_are_complete_and_wrong_ones_are_refused() -> None:
    policy = create("lsvcr")
    assert isinstance(policy, LSVCR)
    again = LSVCR(**policy.settings())
    assert again.settings() == policy.settings()
    json.dumps(policy.settings())
    with pytest.raises(PolicyError, match="preset is 'huge', expected one of base, paper, small"):
        LSVCR(preset="huge")


def test_progress_never_runs_backwards(write_log: Any, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", users=24, comments_each=5)
    told: list[tuple[str, float]] = []
    LSVCR(**QUICK).fit(
        log.dataset, seed=1, progress=lambda stage, share, detail: told.append((stage, share))
    )
    assert list(dict.fromkeys(stage for stage, _ in told)) == [
        "language model",
        "text embeddings",
        "video task",
        "comment task",
    ]
    shares = [share for _, share in told]
    assert all(b >= a for a, b in pairwise(shares))
    assert shares[-1] == 1.0
