"""The whole of LSVCR: what is served is what the log says is better, and survives the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsvcr.policy import LSVCR
from lsvcr.serving.video_fusion import VideoFusion, _bonus, _Impressions
from lsvcr.whole import WholeRanker
from policies.comments.value.fit import HeldVisits
from policies.comments.value.fuse import scores_of
from policies.comments.value.visits import Visits
from policies.registry import create
from simulator.logs.initial_history import histories_before
from simulator.logs.reads import SeenComments
from simulator.requests import CommentRequests

QUICK: dict[str, Any] = {
    "alignment": "none",
    "epochs": 1,
    "epoch_steps": 1,
    "dim": 16,
    "feed_forward": 32,
}
Ask = Callable[[Any], Any]


@pytest.fixture(scope="module")
def whole(planted: Any) -> LSVCR:
    policy = LSVCR(**QUICK)
    policy.fit(planted.dataset, seed=1)
    return policy


def test_the_summary_tells_what_was_chosen_and_why(whole: LSVCR) -> None:
    told = whole.training_summary()["comment value"]
    # This log does not say which comments were seen.
    assert told["signal"].startswith("touches")
    assert told["served"] in ("taste", "no taste", "platform") and told["why"]
    assert set(told["texts"]["dwell_r"]) == {"LSA", "language model", "both"}
    assert "served" in whole.training_summary()["video fusion"]


def test_scores_survive_the_disk(whole: LSVCR, planted: Any, asking: Ask, tmp_path: Path) -> None:
    whole.save(tmp_path)
    again = LSVCR(**QUICK)
    again.load(tmp_path, planted.dataset)
    asked = asking(planted.dataset)
    watched = (asked.users * 7 % 60).astype(np.int32)
    videos = asked.videos(np.arange(60, dtype=np.int32))
    comments = asked.comments(watched, planted.dataset.catalogue().comments_of(watched, 16))
    for policy in (whole, again):
        policy.reset(len(asked.users))
    np.testing.assert_array_equal(whole.score_videos(videos), again.score_videos(videos))
    first, second = whole.score_comments(comments), again.score_comments(comments)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        np.testing.assert_array_equal(first, second)


def test_the_papers_variant_is_named_in_the_spec() -> None:
    paper = create("lsvcr:variant=paper")
    assert paper.settings() == {**create("lsvcr").settings(), "variant": "paper"}


def test_the_papers_comment_score_is_trained_without_those_who_judge_it(
    planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def watch(model: Any, both: Any, *_: Any, without: Any, **__: Any) -> Any:
        told[model.task] = without
        raise_after = len(told) == 2
        if raise_after:
            raise KeyboardInterrupt

        class Summary:
            def to_dict(self) -> dict[str, Any]:
                return {}

        return Summary()

    monkeypatch.setattr("lsvcr.policy.finetune", watch)
    with pytest.raises(KeyboardInterrupt):
        LSVCR(**QUICK).fit(planted.dataset, seed=1)
    assert told["video"] is None and 0.1 < told["comment"].mean() < 0.3


def test_own_scores_are_asked_for_the_comments_of_each_visit(planted: Any) -> None:
    dataset = planted.dataset
    visit = np.array([0, 0, 1, 1, 1, 2, 2])
    n = len(visit)
    seen = SeenComments(
        user=np.array([1, 1, 2, 2, 2, 3, 3], dtype=np.int32),
        video=np.array([0, 0, 1, 1, 1, 2, 2], dtype=np.int32),
        comment=np.array([5, 3, 8, 9, 7, 11, 10], dtype=np.int32),
        time_ms=np.full(n, 10**13),
        visit=visit,
        rank=np.array([0, 1, 0, 1, 2, 0, 1]),
        dwell_ms=np.full(n, 1_000),
        touched=np.zeros(n, dtype=bool),
        last=np.zeros(n, dtype=bool),
    )
    user = np.array([1, 2, 3], dtype=np.int32)
    history = histories_before(dataset, None, user, np.full(3, 10**13))
    held = HeldVisits(Visits(seen, user, np.array([True, False, True]), history))

    def score(requests: CommentRequests) -> Any:
        assert requests.user.tolist() == [1, 3] and requests.video.tolist() == [0, 2]
        return (requests.candidates * 10 + requests.user[:, None]).astype(np.float32)

    found = scores_of(held, score)
    assert found is not None and found.tolist() == [51, 31, 113, 103]
    assert scores_of(held, lambda _: None) is None


def test_a_bonus_is_the_shrunk_mean_of_what_others_did() -> None:
    rng = np.random.default_rng(1)
    video = rng.integers(0, 4, 400)
    stay = np.where(video == 2, 30_000, 1_000) + rng.integers(0, 500, 400)
    shown = _Impressions(
        user=np.arange(400),
        video=video,
        page=np.arange(400),
        time_ms=np.zeros(400, dtype=np.int64),
        stay_ms=stay,
        click=(rng.random(400) < 0.3) * 1.0,
    )
    bonus = _bonus(shown, 5)
    assert bonus.argmax() == 2 and bonus[4] == 0.0
    log_stay = np.log1p(stay / 1_000)
    expected = np.zeros(5)
    for value, weight in ((log_stay, 0.5), (shown.click, 0.5)):
        mean = np.array(
            [(value[video == v] - value.mean()).sum() / ((video == v).sum() + 20) for v in range(5)]
        )
        expected += weight * mean / mean[video].std()
    np.testing.assert_allclose(bonus, expected, atol=1e-9)
    added = VideoFusion(bonus.astype(np.float32)).add(
        np.ones((1, 2), dtype=np.float32), np.array([[2, 4]], dtype=np.int32)
    )
    np.testing.assert_allclose(added, 1.0 + bonus[[2, 4]][None], rtol=1e-5)


def test_nothing_is_added_where_nothing_is_fitted() -> None:
    ranker = WholeRanker()
    own = np.ones((1, 3), dtype=np.float32)
    requests: Any = None
    assert ranker.score_comments(requests, None) is None
    assert not ranker.needs_paper_comments
    assert WholeRanker.of_arrays(ranker.arrays(), None).value.model is None  # type: ignore[arg-type]

    class Asked:
        candidates = np.zeros((1, 3), dtype=np.int32)

    asked: Any = Asked()
    assert ranker.score_videos(asked, own) is own
