"""LSVCR's scores depend on the request alone, and serving computes what training computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lsvcr.data.examples import histories, last_events, make_batch
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import TEMPERATURE, SRModel
from lsvcr.policy import LSVCR
from lsvcr.serving.deployed import DeployedTask
from lsvcr.serving.user_cache import UserCache
from lsvcr.stage2.representation import user_vectors
from lsvcr.task import Task
from lsvcr.text.tables import Texts, TextTables
from policies.base import Scores
from simulator.logs.dataset import Dataset
from simulator.logs.initial_history import initial_history
from tests.lsvcr.scoring import TASKS, VIDEOS, Ask, scores_of, sections


def test_same_request_same_scores_whatever_the_batch(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    together = scores_of(fitted, planted.dataset, asking)
    watched = (asked.users * 7 % 60).astype(np.int32)
    comments = sections(planted.dataset, watched)
    for row in (0, 5, 77):
        fitted.reset(len(asked.users))
        videos = fitted.score_videos(asked.videos(VIDEOS, [row]))
        own = fitted.score_comments(
            asked.comments(watched[[row]], comments[[row]], [row]),
        )
        assert together[1] is not None and own is not None
        np.testing.assert_allclose(videos[0], together[0][row], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(own[0], together[1][row], rtol=1e-4, atol=1e-4)


def test_candidates_do_not_influence_each_other_and_padding_may_stand_anywhere(
    planted: Any, fitted: LSVCR, asking: Ask
) -> None:
    asked = asking(planted.dataset)
    fitted.reset(len(asked.users))
    everything = fitted.score_videos(asked.videos(VIDEOS))
    some = np.array([31, -1, 4, 59, -1], dtype=np.int32)
    scores = fitted.score_videos(asked.videos(some))
    assert scores.dtype == np.float32 and scores.shape == (len(asked.users), 5)
    real = some >= 0
    np.testing.assert_allclose(scores[:, real], everything[:, some[real]], atol=1e-4)


def test_only_people_whose_histories_changed_are_encoded_anew(
    planted: Any, fitted: LSVCR, asking: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either history: the cache must watch both, in both tasks."""
    encoded: list[int] = []
    plain = DeployedTask.encode

    def counting(self: DeployedTask, videos: Any, *rest: Any) -> Any:
        encoded.append(len(videos))
        return plain(self, videos, *rest)

    monkeypatch.setattr(DeployedTask, "encode", counting)
    asked = asking(planted.dataset)
    n = len(asked.users)
    watched = (asked.users * 7 % 60).astype(np.int32)
    comments = sections(planted.dataset, watched)

    def both() -> tuple[Scores, Scores]:
        told = fitted.score_comments(asked.comments(watched, comments))
        assert told is not None
        return fitted.score_videos(asked.videos(VIDEOS)), told

    fitted.reset(n)
    before = both()
    both()
    assert encoded == [n, n]
    for step in ("liked", "discussed"):
        changed = np.array([3, 8])
        chosen = np.full((2, 3), -1, dtype=np.int32)
        chosen[:, 0] = 5
        asked.history.append(step, changed, np.array([40, 2], dtype=np.int32), chosen)
        encoded.clear()
        cached = both()
        assert encoded == [2, 2]
        fitted.reset(n)
        anew = both()
        same = np.setdiff1d(np.arange(n), changed)
        for told, fresh, old in zip(cached, anew, before, strict=True):
            np.testing.assert_array_equal(told[same], old[same])
            np.testing.assert_allclose(told, fresh, atol=1e-4)
        own = 0 if step == "liked" else 1
        assert (np.abs(cached[own] - before[own]).max(axis=1) > 1e-2)[changed].all()
        before = anew


def test_people_without_a_history_get_finite_scores(planted: Any, fitted: LSVCR) -> None:
    from simulator.requests import CommentRequests, HistoryState, VideoRequests

    fitted.reset(2)
    rows = np.arange(2)
    scores = fitted.score_videos(
        VideoRequests(
            row=rows.astype(np.int32),
            user=rows.astype(np.int32),
            time_ms=np.zeros(2, dtype=np.int64),
            key=rows.astype(np.uint64),
            candidates=np.tile(VIDEOS, (2, 1)),
            history=HistoryState(2).view(rows),
        )
    )
    assert np.isfinite(scores).all()
    assert np.ptp(scores[0]) > 0.0
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
    watched = np.array([3, 3], dtype=np.int32)
    listed = sections(planted.dataset, watched)
    told = fitted.score_comments(
        CommentRequests(
            row=rows.astype(np.int32),
            user=rows.astype(np.int32),
            time_ms=np.zeros(2, dtype=np.int64),
            key=rows.astype(np.uint64),
            video=watched,
            candidates=listed,
            history=HistoryState(2).view(rows),
        )
    )
    assert told is not None and np.isfinite(told).all() and np.ptp(told[0]) > 0.0
    np.testing.assert_allclose(told[0], told[1], atol=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_serving_computes_what_training_computed(planted: Any, task: Task) -> None:
    """Tables and caches against the model as it is trained, for the last event of everybody."""
    dataset = planted.dataset
    texts = Texts.of(dataset)
    random = np.random.default_rng(0)
    table = random.normal(size=(len(texts.distinct), 16)).astype(np.float16)
    catalogue = dataset.catalogue()
    inventory = Inventory(catalogue, TextTables(table, texts.title, texts.comment), 2**62)
    torch.manual_seed(0)
    model = SRModel(task, catalogue.n_videos, 16, dim=16, feed_forward=32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    both = histories(dataset, "liked")
    batch = make_batch(both, task, last_events(both.of(task)[0], np.arange(160)))
    with torch.no_grad():
        trained = F.normalize(user_vectors(model, inventory, batch, None), dim=-1).numpy()

    # The platform's view of the same people just before that event, from the log itself.
    deployed = DeployedTask.of(model, inventory)
    signal = "liked" if task == "video" else "discussed"
    served = np.zeros_like(trained)
    for user in range(160):
        own = both.of(task)[0]
        time = _last_time(dataset, signal, user)
        view = initial_history(dataset, np.array([user], dtype=np.int32), time).view(np.arange(1))
        encoded = UserCache(deployed, "liked", 1).encoded(np.zeros(1, dtype=np.int32), view)
        if task == "comment":
            video = own.video[[own.starts[user + 1] - 1]].astype(np.int32)
            encoded = deployed.at_video(encoded, view.lengths("discussed"), video)
        served[user] = encoded[0]
        if user == 11:
            break
    np.testing.assert_allclose(served[:12], trained[:12], atol=4e-3)
    candidates = np.arange(40, dtype=np.int32)[None]
    vectors = (
        model.videos(torch.arange(40), model.text(inventory.embeddings[inventory.title[:40]]))
        if task == "video"
        else model.text(inventory.embeddings[torch.from_numpy(inventory.comment[:40])])
    )
    expected = trained[:1] @ F.normalize(vectors, dim=-1).detach().numpy().T / TEMPERATURE
    np.testing.assert_allclose(deployed.score(served[:1], candidates), expected, atol=0.1)


def _last_time(dataset: Dataset, signal: Any, user: int) -> int:
    from simulator.logs.interactions import interactions

    events = interactions(dataset, signal)
    return int(events.time_ms[events.user == user].max())
