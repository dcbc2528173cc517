from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lsvcr.data.examples import Histories, histories, last_events, make_batch
from lsvcr.data.inventory import Inventory
from lsvcr.data.negatives import without
from lsvcr.model.sr_model import TEMPERATURE, SRModel
from lsvcr.model.text_vectors import TextVectors
from lsvcr.stage2.representation import people
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.stage2.tasks import Choices, CommentTask, FinetuneTask, VideoTask
from lsvcr.stage2.training import finetune
from lsvcr.stage2.validation import CommentValidation, Validation, VideoValidation
from lsvcr.task import Task
from lsvcr.text.tables import Texts, TextTables
from simulator.logs.catalogue import UNKNOWN_TIME, Catalogue

TEXT, DIM = 12, 16


def catalogue_of(counts: list[int], **arrays: Any) -> Catalogue:
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Catalogue.build(np.arange(len(counts)), comment_offsets=offsets, **arrays)


def inventory_of(catalogue: Catalogue, *, textless: tuple[int, ...] = ()) -> Inventory:
    """Every title and comment its own random embedding; some comments without text."""
    random = np.random.default_rng(3)
    v, m = catalogue.n_videos, catalogue.n_comments
    comment = np.arange(v, v + m)
    comment[list(textless)] = -1
    table = random.normal(size=(v + m, TEXT)).astype(np.float16)
    return Inventory(catalogue, TextTables(table, np.arange(v), comment), 1_000)


def model_of(task: Task, n_videos: int) -> SRModel:
    torch.manual_seed(0)
    model = SRModel(task, n_videos, TEXT, dim=DIM, feed_forward=32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


# --- Text vectors ---


def test_each_text_is_adapted_once_and_gathered_in_place() -> None:
    inventory = inventory_of(catalogue_of([2, 3]))
    model = model_of("video", 2)
    rows = torch.tensor([[3, -1, 3], [0, 6, -1]])
    read: list[int] = []
    plain = model.text

    def counted(embeddings: Tensor) -> Tensor:
        read.append(len(embeddings))
        return plain(embeddings)

    model.text = counted  # type: ignore[method-assign]
    vectors = TextVectors(model, inventory, rows, rows[:, :1]).of(rows)
    assert read == [3]
    for place in np.ndindex(2, 3):
        row = int(rows[place])
        expected = model.text(inventory.embeddings[row]) if row >= 0 else torch.zeros(DIM)
        torch.testing.assert_close(vectors[place], expected)


def test_mean_is_over_the_comments_that_have_text() -> None:
    inventory = inventory_of(catalogue_of([3, 2]), textless=(1,))
    model = model_of("video", 2)
    rows = inventory.rows_of_comments(np.array([[0, 1, 4], [1, -1, -1], [-1, -1, -1]]))
    found = TextVectors(model, inventory, rows).mean(rows)
    table = inventory.embeddings
    expected = (model.text(table[2]) + model.text(table[6])) / 2
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1:], torch.zeros(2, DIM))


def test_popular_comment_is_the_most_liked_or_one_of_three() -> None:
    inventory = inventory_of(catalogue_of([5, 0, 2]))
    videos = np.array([[0, 1, 2, -1]])
    assert inventory.popular_comments(videos, None).tolist() == [[0, -1, 5, -1]]
    random = np.random.default_rng(0)
    drawn = np.concatenate([inventory.popular_comments(videos, random) for _ in range(200)])
    assert set(drawn[:, 0]) == {0, 1, 2}
    assert set(drawn[:, 1]) == {-1} == set(drawn[:, 3])
    assert set(drawn[:, 2]) == {5, 6}
    shares = np.bincount(drawn[:, 0]) / len(drawn)
    assert np.abs(shares - 1 / 3).max() < 0.12


def test_what_is_of_the_future_is_neither_candidate_nor_popular() -> None:
    """The log ends at 1,000; comments are in the order of their likes."""
    written = [2_000, 5, 1_000, 1_001, 7, 9, 2_000, UNKNOWN_TIME]
    catalogue = catalogue_of([6, 0, 2], upload_ms=[10, 2_000, 1_000], comment_time_ms=written)
    inventory = inventory_of(catalogue)
    assert inventory.available.tolist() == [0, 2]
    assert inventory.popular.tolist() == [[1, 2, 4], [-1, -1, -1], [7, -1, -1]]
    texts = Texts(
        [f"text {n}" for n in range(9)], np.array([8, 0, -1]), np.array([1, 2, 2, 3, -1, 4, 5, 6])
    )
    assert texts.published(catalogue, 1_000) == [f"text {n}" for n in (2, 4, 6, 8)]


# --- The ID-text contrast ---


def contrast(
    model: SRModel, inventory: Inventory, videos: list[int], negatives: int = 99
) -> Tensor:
    task = CommentTask(model, inventory, FinetuneSettings(id_text_negatives=negatives), [1, 2])
    batch = _history_of(videos)
    texts = TextVectors(model, inventory, inventory.rows_of_titles(batch.videos))
    return task.id_text(batch, texts)


def _history_of(videos: list[int]) -> Any:
    from lsvcr.data.examples import Batch

    empty = np.full((1, 1), -1)
    return Batch(
        videos=np.array([videos]),
        sections=empty,
        section_comments=empty[..., None],
        window=np.zeros(1, dtype=np.int64),
        video_count=empty,
        comment_count=empty,
        real=np.zeros((1, 1), dtype=bool),
        target=empty,
        target_ms=empty,
        target_comments=empty[..., None],
        target_engaged=empty[..., None],
    )


def test_contrast_of_two_videos_has_a_closed_form() -> None:
    """Every one of the 99 negatives can only be the other video, however often it occurs."""
    inventory = inventory_of(catalogue_of([0, 0]))
    model = model_of("video", 2)
    ids = F.normalize(model.ids.weight, dim=-1)
    titles = F.normalize(model.text(inventory.embeddings[:2]), dim=-1)
    c = ids @ titles.T / TEMPERATURE
    expected = torch.zeros(())
    for i, j in ((0, 1), (1, 0)):
        expected += torch.log1p(99 * torch.exp(c[i, j] - c[i, i])) / 4  # ID to text
        expected += torch.log1p(99 * torch.exp(c[j, i] - c[i, i])) / 4  # text to ID
    skewed = [0] * 40 + [1]
    torch.testing.assert_close(contrast(model, inventory, skewed), expected)


def test_contrast_draws_every_other_video_and_never_the_anchor() -> None:
    """All IDs and titles orthogonal but own pairs equal: the loss reveals the negatives."""
    n = 8
    inventory = inventory_of(catalogue_of([0] * n))
    model = model_of("video", n)
    own = torch.eye(n, DIM)
    with torch.no_grad():
        model.ids.weight.copy_(own)
    model.text = lambda embeddings: own[: len(embeddings)]  # type: ignore[method-assign]
    loss = contrast(model, inventory, list(range(n)))
    # An anchor among its own negatives would add exp(1 / 0.07) to the denominator.
    expected = torch.log1p(99 * torch.exp(torch.tensor(-1.0 / TEMPERATURE)))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)


def test_contrast_is_silent_where_there_is_nothing_to_contrast() -> None:
    inventory = inventory_of(catalogue_of([0, 0]))
    assert float(contrast(model_of("video", 2), inventory, [1, 1, 1, -1])) == 0.0


def test_contrast_costs_the_same_per_video() -> None:
    """Linear: at most 512 anchors with 99 negatives, whatever the batch holds."""
    n = 3_000
    inventory = inventory_of(catalogue_of([0] * n))
    model = model_of("video", n)
    seen: list[int] = []
    model.ids.register_forward_hook(lambda layer, given, out: seen.append(len(out)))
    assert torch.isfinite(contrast(model, inventory, list(range(n))))
    assert seen == [512]


# --- The comment task ---


def task_loss(task: FinetuneTask, batch: Any, persons: Tensor) -> Tensor:
    """The loss of given people, with the texts that a step would read."""
    choices = task.choices(batch)
    texts = TextVectors(task.model, task.inventory, choices.texts)
    return task.task_loss(choices, persons, texts)


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
    persons = people(model, inventory, batch, None)
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


# --- The video task ---


def _set_up(planted: Any, task: Task) -> tuple[Histories, Inventory, SRModel]:
    dataset = planted.dataset
    texts = Texts.of(dataset)
    table = np.random.default_rng(0).normal(size=(len(texts.distinct), TEXT)).astype(np.float16)
    both = histories(dataset, "liked")
    catalogue = dataset.catalogue()
    # Half of what somebody could compare at an average moment is still to be written.
    written = np.random.default_rng(1).choice(both.discussed.time_ms, catalogue.n_comments)
    catalogue = dataclasses.replace(catalogue, comment_time_ms=written)
    inventory = Inventory(catalogue, TextTables(table, texts.title, texts.comment), 2**62)
    return both, inventory, model_of(task, catalogue.n_videos)


def test_video_loss_is_cross_entropy_over_the_whole_catalogue(planted: Any) -> None:
    both, inventory, model = _set_up(planted, "video")
    batch = make_batch(both, "video", last_events(both.liked, np.arange(20)))
    persons = people(model, inventory, batch, None)
    task = VideoTask(model, inventory, FinetuneSettings(), [1, 2], both.liked)
    vectors = model.videos(
        torch.arange(60), model.text(inventory.embeddings[inventory.title[torch.arange(60)]])
    )
    logits = F.cosine_similarity(persons[:, None], vectors[None], dim=-1) / 0.07
    target = torch.from_numpy(batch.target[:, 0])
    torch.testing.assert_close(
        task_loss(task, batch, persons), F.cross_entropy(logits, target), rtol=1e-4, atol=1e-4
    )


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
        return validation(model, lambda b: people(model, inventory, b, None))

    with torch.no_grad():
        found = validate()
        assert validate() == found
        persons = F.normalize(people(model, inventory, batch, None), dim=-1).numpy()
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
        assert validation(model, lambda b: people(model, inventory, b, None)) == 0.0


def test_large_catalogues_are_sampled_and_always_hold_the_targets(
    planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsvcr.stage2.tasks.FULL_SOFTMAX_UP_TO", 10)
    both, inventory, model = _set_up(planted, "video")
    task = VideoTask(model, inventory, FinetuneSettings(video_negatives=8), [1, 2], both.liked)
    batch = make_batch(both, "video", last_events(both.liked, np.arange(4)))
    candidates, _, label, _ = task.choices(batch)
    assert len(candidates) <= 8 + 4 and len(candidates) == len(candidates.unique())
    assert candidates[label].tolist() == batch.target[batch.real].tolist()


def test_the_sampled_denominator_is_right_on_average(
    planted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 draws; five standard errors of their mean, for each of six people."""
    both, inventory, model = _set_up(planted, "video")
    settings = FinetuneSettings(video_negatives=16)
    batch = make_batch(both, "video", last_events(both.liked, np.arange(6)))
    target = torch.from_numpy(batch.target[:, 0])
    titles = model.text(inventory.embeddings[inventory.title])
    with torch.no_grad():
        persons = people(model, inventory, batch, None)
        vectors = F.normalize(model.videos(torch.arange(60), titles), dim=-1)
        terms = torch.exp(F.normalize(persons, dim=-1) @ vectors.T / TEMPERATURE)
        monkeypatch.setattr("lsvcr.stage2.tasks.FULL_SOFTMAX_UP_TO", 10)
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
