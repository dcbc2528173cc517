"""Losses of the video and comment task, their negatives, and training with both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lsvcr.data.examples import last_events, make_batch
from lsvcr.data.negatives import without
from lsvcr.model.sr_model import TEMPERATURE, SRModel
from lsvcr.model.text_vectors import TextVectors
from lsvcr.stage2.representation import user_vectors
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.stage2.tasks import Choices, CommentTask, VideoTask
from lsvcr.stage2.training import finetune
from lsvcr.task import Task
from simulator.logs.catalogue import UNKNOWN_TIME
from tests.lsvcr.stage2.small_models import (
    DIM,
    TEXT,
    _set_up,
    catalogue_of,
    inventory_of,
    model_of,
    task_loss,
)


def test_a_section_is_what_was_written_by_then() -> None:
    """30, 2, 0 and 3 comments; comment c was written at c, the last one nobody knows when."""
    written = [*range(34), UNKNOWN_TIME]
    inventory = inventory_of(catalogue_of([30, 2, 0, 3], comment_time_ms=written))
    videos, now = np.array([0, 0, 1, 2, 3]), np.array([7, 1_000, 30, 1_000, 5])
    found = inventory.section(videos, now, 20)
    assert found.shape == (5, 20)
    assert found[0].tolist() == [*range(8)] + [-1] * 12
    assert found[1].tolist() == [*range(20)]
    assert [sorted(line[line >= 0]) for line in found[2:]] == [[30], [], [34]]
    assert (inventory_of(catalogue_of([0, 0])).section(videos[:2], now[:2], 5) == -1).all()


def test_choices_are_one_comment_taken_part_in_and_others_of_the_video() -> None:
    catalogue = catalogue_of([30, 2, 1, 0, 4])
    inventory = inventory_of(catalogue)
    task = CommentTask(model_of("comment", 5), inventory, FinetuneSettings(), [1, 2])
    section = inventory.section(np.arange(5), np.zeros(5, dtype=np.int64), 64)
    comments = np.array([[3, 7, -1], [31, -1, -1], [32, -1, -1], [-1, -1, -1], [33, 34, 36]])
    for _ in range(20):
        told = task.drawn(comments, without(section, comments))
        assert told.shape == (5, 20)
        assert told[0, 0] in (3, 7)
        others = told[0, 1:]
        assert len(set(others)) == 19 and set(others) <= set(range(30)) - {3, 7}
        assert told[1].tolist() == [31, 30] + [-1] * 18
        assert told[2].tolist() == [32] + [-1] * 19
        assert told[3].tolist() == [-1] * 20
        assert told[4, 0] in (33, 34, 36)
        assert sorted(told[4, 1:])[-2:] == [-1, 35]


def test_all_negatives_are_equally_likely() -> None:
    inventory = inventory_of(catalogue_of([40]))
    task = CommentTask(model_of("comment", 1), inventory, FinetuneSettings(), [1, 2])
    section, comments = np.tile(np.arange(40), (400, 1)), np.tile([[5, -1, -1]], (400, 1))
    drawn = task.drawn(comments, without(section, comments))[:, 1:]
    shares = np.bincount(drawn.ravel(), minlength=40) / 400
    assert shares[5] == 0.0
    expected = 19 / 39
    error = np.sqrt(expected * (1 - expected) / 400)
    assert np.abs(np.delete(shares, 5) - expected).max() < 4.5 * error


def test_comment_loss_is_cross_entropy_over_the_masked_choices(planted: Any) -> None:
    both, inventory, model = _set_up(planted, "comment")
    batch = make_batch(both, "comment", last_events(both.discussed, np.arange(30)))
    task = CommentTask(model, inventory, FinetuneSettings(), [1, 2])
    same = CommentTask(model, inventory, FinetuneSettings(), [1, 2])
    persons = user_vectors(model, inventory, batch, None)
    rows = same.choices(batch).candidates
    of_row = {int(row): comment for comment, row in enumerate(inventory.comment)}
    written = inventory.catalogue.comment_time_ms
    for line, now in zip(rows.tolist(), batch.target_ms[batch.real], strict=True):
        assert all(written[of_row[row]] <= now for row in line[1:] if row >= 0)
    losses = []
    for person, line in zip(persons, rows, strict=True):
        if line[0] < 0:
            continue
        vectors = [model.text(inventory.embeddings[row]) for row in line if row >= 0]
        logits = torch.stack([F.cosine_similarity(person, v, dim=0) / 0.07 for v in vectors])
        losses.append(torch.logsumexp(logits, 0) - logits[0])
    expected = torch.stack(losses).mean()
    found = task_loss(task, batch, persons)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_section_without_other_comments_teaches_nothing(planted: Any) -> None:
    _, inventory, model = _set_up(planted, "comment")
    task = CommentTask(model, inventory, FinetuneSettings(), [1, 2])
    rows = torch.tensor([[4] + [-1] * 19])
    persons = torch.randn(1, DIM, requires_grad=True)
    choices = Choices(rows, rows, torch.zeros(1, dtype=torch.long))
    loss = task.task_loss(choices, persons, TextVectors(model, inventory, rows))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert persons.grad is not None and float(persons.grad.abs().max()) == 0.0


def test_video_loss_is_cross_entropy_over_the_whole_catalogue(planted: Any) -> None:
    both, inventory, model = _set_up(planted, "video")
    batch = make_batch(both, "video", last_events(both.liked, np.arange(20)))
    persons = user_vectors(model, inventory, batch, None)
    task = VideoTask(model, inventory, FinetuneSettings(), [1, 2], both.liked)
    vectors = model.videos(
        torch.arange(60), model.text(inventory.embeddings[inventory.title[torch.arange(60)]])
    )
    logits = F.cosine_similarity(persons[:, None], vectors[None], dim=-1) / 0.07
    target = torch.from_numpy(batch.target[:, 0])
    torch.testing.assert_close(
        task_loss(task, batch, persons), F.cross_entropy(logits, target), rtol=1e-4, atol=1e-4
    )


def test_large_catalogues_are_sampled_and_always_hold_the_targets(planted: Any) -> None:
    both, inventory, model = _set_up(planted, "video")
    settings = FinetuneSettings(full_softmax_up_to=10, video_negatives=8)
    task = VideoTask(model, inventory, settings, [1, 2], both.liked)
    batch = make_batch(both, "video", last_events(both.liked, np.arange(4)))
    candidates, _, label, _ = task.choices(batch)
    assert len(candidates) <= 8 + 4 and len(candidates) == len(candidates.unique())
    assert candidates[label].tolist() == batch.target[batch.real].tolist()


def test_the_sampled_denominator_is_right_on_average(planted: Any) -> None:
    """3,000 draws; five standard errors of their mean, for each of six people."""
    both, inventory, model = _set_up(planted, "video")
    settings = FinetuneSettings(full_softmax_up_to=10, video_negatives=16)
    batch = make_batch(both, "video", last_events(both.liked, np.arange(6)))
    target = torch.from_numpy(batch.target[:, 0])
    titles = model.text(inventory.embeddings[inventory.title])
    with torch.no_grad():
        persons = user_vectors(model, inventory, batch, None)
        vectors = F.normalize(model.videos(torch.arange(60), titles), dim=-1)
        terms = torch.exp(F.normalize(persons, dim=-1) @ vectors.T / TEMPERATURE)
        task = VideoTask(model, inventory, settings, [1, 2], both.liked)
        sums = []
        for _ in range(3_000):
            candidates, _, label, correction = task.choices(batch)
            assert correction is not None
            weight = torch.exp(-correction).expand(6, -1).clone()
            weight[torch.arange(6), label] = 1.0
            sums.append((terms[:, candidates] * weight).sum(dim=1))
    drawn = torch.stack(sums).double()
    error = drawn.std(dim=0) / len(drawn) ** 0.5
    assert ((drawn.mean(dim=0) - terms.double().sum(dim=1)).abs() < 5 * error).all()
    assert (drawn.std(dim=0) > 0).all() and (terms[torch.arange(6), target] > 0).all()


# --- Together ---


@pytest.mark.parametrize("task", ["video", "comment"])
def test_training_learns_and_repeats_with_its_seed(planted: Any, task: Task) -> None:
    told = []
    for _ in range(2):
        both, inventory, _ = _set_up(planted, task)
        torch.manual_seed(4)
        model = SRModel(task, 60, TEXT, dim=DIM, feed_forward=32)
        summary = finetune(
            model,
            both,
            inventory,
            FinetuneSettings(epochs=2, epoch_steps=1, learning_rate=3e-3),
            seed=1,
            progress=lambda *_: None,
            stage=task,
        )
        told.append((summary, model.state_dict()))
    assert told[0][0] == told[1][0]
    for name, value in told[0][1].items():
        torch.testing.assert_close(value, told[1][1][name], rtol=0, atol=0)
