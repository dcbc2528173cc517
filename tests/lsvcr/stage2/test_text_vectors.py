"""Text vectors of videos and the contrast of IDs with texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import TEMPERATURE, SRModel
from lsvcr.model.text_vectors import TextVectors
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.stage2.tasks import CommentTask
from lsvcr.text.tables import Texts
from simulator.logs.catalogue import UNKNOWN_TIME
from tests.lsvcr.stage2.small_models import DIM, catalogue_of, inventory_of, model_of

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
