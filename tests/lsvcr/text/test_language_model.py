from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lsvcr.text.language_model import LanguageModelSettings, SmallLanguageModel
from lsvcr.text.tables import Texts
from policies.base import silent

SMALL = LanguageModelSettings(width=32, vocabulary=400, training_tokens=20_000, max_tokens=24)


def corpus(n: int) -> list[str]:
    """Sentences whose second half follows from the first."""
    random = np.random.default_rng(0)
    pairs = [
        ("今天天气", "真好啊"),
        ("这个视频", "太搞笑了"),
        ("请问", "怎么做的"),
        ("加油", "支持你"),
    ]
    picks = random.integers(0, len(pairs), n)
    return [f"{pairs[p][0]}{pairs[p][1]} {i}" for i, p in enumerate(picks)]


@pytest.fixture(scope="module")
def trained() -> tuple[SmallLanguageModel, float]:
    return SmallLanguageModel.train(corpus(1_500), SMALL, seed=1, progress=silent)


def test_it_learns_its_texts(trained: tuple[SmallLanguageModel, float]) -> None:
    """Better than guessing among the vocabulary by a wide margin."""
    assert trained[1] < 0.6 * math.log(400)


def test_same_seed_same_embeddings_other_seed_others() -> None:
    texts = corpus(200)
    settings = LanguageModelSettings(width=16, heads=2, vocabulary=300, training_tokens=2_000)
    told = []
    for seed in (1, 1, 2):
        model, loss = SmallLanguageModel.train(texts, settings, seed=seed, progress=silent)
        told.append((model.embed(texts, silent), loss))
    np.testing.assert_array_equal(told[0][0], told[1][0])
    assert told[0][1] == told[1][1]
    assert np.abs(told[0][0].astype(float) - told[2][0].astype(float)).max() > 0.1


def test_embedding_is_the_mean_of_the_last_states_of_the_text_alone(
    trained: tuple[SmallLanguageModel, float],
) -> None:
    """Lengths, neighbours and padding do not matter, and the order is the caller's."""
    model = trained[0]
    texts = ["加油支持你", "a", "今天天气真好啊 12 请问怎么做的" * 9, "请问", "太搞笑了 5"]
    together = model.embed(texts, silent, batch_tokens=64)
    assert together.dtype == np.float16 and together.shape == (5, 32)
    for text, embedding in zip(texts, together, strict=True):
        tokens = torch.tensor(model._encode([text]))
        assert tokens.shape[1] <= SMALL.max_tokens + 2
        with torch.no_grad():
            states = model._model.model(input_ids=tokens).last_hidden_state[0]
        np.testing.assert_allclose(embedding, states.mean(0).numpy(), atol=5e-3)


def test_very_long_texts_are_cut_and_odd_ones_survive(
    trained: tuple[SmallLanguageModel, float],
) -> None:
    model = trained[0]
    long = "请问怎么做的" * 50
    odd = [long, long + "尾巴", "\x00", "🤣🤣", " ", "<pad><end>", "\n\t"]
    told = model.embed(odd, silent).astype(float)
    assert np.isfinite(told).all()
    np.testing.assert_allclose(told[0], told[1], atol=5e-3)


def test_padding_token_in_a_text_is_text(trained: tuple[SmallLanguageModel, float]) -> None:
    """What people write is data: it cannot reach the control tokens."""
    ids = trained[0]._encode(["<pad>加油<end>"])[0]
    assert ids[0] == ids[-1] == 1
    assert not {0, 1} & set(ids[1:-1])


def test_one_text_is_enough() -> None:
    model, loss = SmallLanguageModel.train(["好"], SMALL, seed=1, progress=silent)
    assert math.isfinite(loss)
    assert model.embed(["好"], silent).shape == (1, 32)


def test_every_distinct_text_once(planted: Any) -> None:
    texts = Texts.of(planted.dataset)
    assert len(texts.distinct) == len(set(texts.distinct))
    assert "" not in texts.distinct
    for index, original in (
        (texts.title, planted.dataset.captions()),
        (texts.comment, planted.dataset.comment_texts()),
    ):
        assert [texts.distinct[i] if i >= 0 else "" for i in index] == original


def test_logs_without_text_have_none(write_log: Any, tmp_path: Any) -> None:
    log = write_log(tmp_path / "log", users=10, text=False, comment_events=True)
    texts = Texts.of(log.dataset)
    assert texts.distinct == []
    assert (texts.title == -1).all() and (texts.comment == -1).all()
    assert len(texts.comment) == log.dataset.catalogue().n_comments > 0
