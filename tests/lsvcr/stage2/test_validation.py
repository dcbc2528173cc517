"""Validation is NDCG@5 with ties against the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lsvcr.data.examples import last_events, make_batch
from lsvcr.stage2.representation import user_vectors
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.stage2.tasks import CommentTask, FinetuneTask, VideoTask
from lsvcr.stage2.validation import CommentValidation, Validation, VideoValidation
from lsvcr.task import Task
from tests.lsvcr.stage2.small_models import _set_up


@pytest.mark.parametrize("task", ["video", "comment"])
def test_validation_is_ndcg_at_5_with_ties_against_the_model(planted: Any, task: Task) -> None:
    both, inventory, model = _set_up(planted, task)
    users = np.arange(25)
    held = last_events(both.of(task)[0], users)
    batch = make_batch(both, task, held)
    trained: FinetuneTask = CommentTask(model, inventory, FinetuneSettings(), [1, 2])
    if task == "video":
        trained = VideoTask(model, inventory, FinetuneSettings(), [1, 2], both.liked)
    validation = trained.validation(both, held)

    def validate() -> float:
        return validation(model, lambda b: user_vectors(model, inventory, b, None))

    with torch.no_grad():
        found = validate()
        assert validate() == found
        persons = F.normalize(user_vectors(model, inventory, batch, None), dim=-1).numpy()
        titles = model.text(inventory.embeddings[inventory.title])
        videos = F.normalize(model.videos(torch.arange(60), titles), dim=-1).numpy()
        rows = inventory.rows_of_comments(np.arange(len(inventory.comment)))
        comments = F.normalize(model.text(inventory.embeddings[rows]), dim=-1).numpy()
    assert len(validation.parts) == 1
    gains = []
    for user in users:
        if task == "video":
            target = int(batch.target[user, 0])
            seen = set(batch.videos[user, : batch.video_count[user, 0]]) - {target}
            assert isinstance(validation, VideoValidation)
            line = int(np.flatnonzero(validation.parts[0] == user)[0])
            negatives = validation.negatives[0][line]
            others = [v for v in negatives if v >= 0]
            assert len(negatives) == 99 and not seen & set(others) and target not in others
            assert len(set(others)) > 30
            table = videos
        else:
            section = inventory.catalogue.comments_of(batch.target[user].astype(np.int32), 64)[0]
            mine = set(batch.target_comments[user, 0])
            target = int(batch.target_comments[user, 0, 0])
            there = inventory.catalogue.comment_time_ms <= batch.target_ms[user, 0]
            others = [c for c in section if c >= 0 and c not in mine and there[c]]
            table = comments
            if target < 0 or not others:
                continue
        scores = table @ persons[user]
        rank = sum(scores[o] >= scores[target] for o in others)
        gains.append(1 / np.log2(rank + 2) if rank < 5 else 0.0)
    assert found == pytest.approx(np.mean(gains), abs=1e-6)
    assert 0.0 < found < 1.0


@pytest.mark.parametrize("task", ["video", "comment"])
def test_validation_gives_a_model_that_scores_all_alike_nothing(planted: Any, task: Task) -> None:
    both, inventory, model = _set_up(planted, task)
    with torch.no_grad():
        model.ids.weight.fill_(0.0)
        model.text_layers()[1].weight.fill_(0.0)
        model.text_layers()[1].bias.fill_(1.0)
    validation: Validation = VideoValidation(
        both, inventory, last_events(both.liked, np.arange(25)), [1]
    )
    if task == "comment":
        validation = CommentValidation(both, inventory, last_events(both.discussed, np.arange(25)))
        sections = torch.cat([(rows >= 0).sum(dim=1) for rows in validation._sections])
        assert (sections > 5).all()  # More others than NDCG@5 has places.
    with torch.no_grad():
        assert validation(model, lambda b: user_vectors(model, inventory, b, None)) == 0.0
