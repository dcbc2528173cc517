"""The whole of LSVCR: what is served is what the log says is better, and survives the disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from lsvcr.policy import LSVCR
from lsvcr.serving.video_fusion import VideoFusion, _bonus, _Impressions
from lsvcr.settings import QUICK, LSVCRSettings
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.starting_point import StartingPoint
from lsvcr.text.tables import Texts, TextTables
from lsvcr.whole import WholeRanker
from policies.comments.value.fit import Fitted, HeldVisits
from policies.comments.value.fuse import scores_of
from policies.comments.value.model import ValueModel
from policies.comments.value.texts import TextSpace
from policies.comments.value.visits import Visits
from policies.registry import create
from policies.sequence.trainer import TrainingSummary
from simulator.logs.initial_history import histories_before
from simulator.logs.reads import SeenComments
from simulator.requests import CommentRequests

TINY: dict[str, Any] = {
    "alignment": "none",
    "epochs": 1,
    "epoch_steps": 1,
    "dim": 16,
    "feed_forward": 32,
}
Ask = Callable[[Any], Any]


@pytest.fixture(scope="module")
def whole(planted: Any) -> LSVCR:
    policy = LSVCR(**TINY)
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
    again = LSVCR(**TINY)
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


class Trainings(NamedTuple):
    """Epochs and least steps of each training, and the people left out, in order."""

    task: list[str]
    length: list[tuple[int, int]]
    without: list[Any]


@pytest.fixture
def trainings(planted: Any, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """What `finetune` is asked for, without training; the log has a comment value."""
    told = Trainings([], [], [])

    def watch(
        model: Any, both: Any, inventory: Any, settings: Any, *, without: Any, **_: Any
    ) -> Any:
        told.task.append(model.task)
        told.length.append((settings.epochs, settings.epoch_steps))
        told.without.append(without)
        return TrainingSummary(1, 1, 1, 0.5, 1.0)

    catalogue = planted.dataset.catalogue()
    n, v = catalogue.n_comments, catalogue.n_videos
    texts = TextSpace(*(np.zeros((size, 2), dtype=np.float32) for size in (n, v)))
    facts = [np.zeros(size, dtype=np.float32) for size in (n, 2, 1)]
    prior = np.zeros((4, 2), dtype=np.float32)
    model = ValueModel(
        texts, facts[0], facts[1], catalogue.comment_time_ms, 0, facts[2], prior, 0.0, False
    )
    found = Texts.of(planted.dataset)
    embeddings = np.random.default_rng(1).normal(size=(len(found.distinct), 8)).astype(np.float16)
    start = StartingPoint(TextTables(embeddings, found.title, found.comment))
    monkeypatch.setattr(LSVCR, "_start", lambda *_: start)
    monkeypatch.setattr("lsvcr.learner.finetune", watch)
    monkeypatch.setattr("lsvcr.policy.fit_comment_value", lambda *_, **__: Fitted(model, {}))
    return told


def fitted(planted: Any, monkeypatch: pytest.MonkeyPatch, adds: list[float]) -> LSVCR:
    """A policy whose comment score adds so much to dwell_r, training by training."""
    left = iter(adds)

    def weigh(*_: Any) -> Any:
        gain = next(left)
        return (0.5 if gain >= 0.005 else 0.0), {"adds": [gain, gain - 0.001, gain + 0.001]}

    monkeypatch.setattr("lsvcr.policy.own_weight", weigh)
    policy = LSVCR(**{**TINY, "epochs": 7, "epoch_steps": 100})
    policy.fit(planted.dataset, seed=1)
    assert next(left, None) is None
    return policy


def test_a_comment_score_that_adds_too_little_is_trained_briefly_and_not_served(
    planted: Any, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = fitted(planted, monkeypatch, [0.0004])
    assert trainings.task == ["video", "comment"]
    assert trainings.length == [(7, 100), (1, 150)]
    assert not policy._whole.needs_paper_comments and set(policy._tasks) == {"video"}
    assert policy.training_summary()["comment value"]["paper's score"]["trained"] == "briefly"
    # Who judges the score has not trained it; the video task has no such judges.
    assert trainings.without[0] is None and 0.1 < trainings.without[1].mean() < 0.3


def test_a_promising_comment_score_is_trained_in_full_and_judged_again(
    planted: Any, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = fitted(planted, monkeypatch, [0.0005, 0.006])
    assert trainings.length == [(7, 100), (1, 150), (7, 100)]
    assert (trainings.without[1] == trainings.without[2]).all()
    assert served._whole.own_weight == 0.5 and set(served._tasks) == {"video", "comment"}
    assert served.training_summary()["comment value"]["paper's score"]["trained"] == "in full"
    dropped = fitted(planted, monkeypatch, [0.02, 0.0049])
    assert not dropped._whole.needs_paper_comments and set(dropped._tasks) == {"video"}


def test_the_papers_variant_is_trained_in_full(
    planted: Any, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    LSVCR(**{**TINY, "epochs": 7, "variant": "paper"}).fit(planted.dataset, seed=1)
    assert trainings.task == ["video", "comment"]
    assert trainings.length == [(7, 1), (7, 1)] and trainings.without == [None, None]


def test_only_the_video_task_of_the_small_whole_trains_quickly() -> None:
    quick = LSVCRSettings().stage_2("video")
    assert quick.decay and quick.epochs == QUICK["epochs"]
    plain = FinetuneSettings(epochs=60)
    assert LSVCRSettings().stage_2("comment") == plain
    assert LSVCRSettings(variant="paper").stage_2("video") == plain
    base = LSVCRSettings(preset="base").stage_2("video")
    assert base == FinetuneSettings(epochs=50)
    own = LSVCRSettings(epochs=9, learning_rate=2e-3).stage_2("video")
    assert own == dataclasses.replace(quick, epochs=9, learning_rate=2e-3)


def test_without_a_comment_value_there_is_no_comment_task(
    planted: Any, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsvcr.policy.fit_comment_value", lambda *_, **__: Fitted(None, {}))
    fitted(planted, monkeypatch, [])
    assert trainings.task == ["video"]


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
