from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lsvcr.stage1.losses import language_model_loss
from lsvcr.text.language_model import LanguageModelSettings, SmallLanguageModel
from lsvcr.text.llm import CausalLLM, embedded_llm, load_llm
from policies.base import silent
from policies.errors import PolicyError

CPU = torch.device("cpu")
TEXTS = [f"今天天气真好啊 {i}" for i in range(40)] + [f"what a video {i}" for i in range(40)]
PROMPTS = [[5, 6, 7, 8, 9], [9], [11, 3, 12]]
ANSWERS = [[4], [8, 9, 10], []]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, save_tiny_llm: Callable[..., Path]) -> Path:
    """A local model directory as Hugging Face keeps them."""
    return save_tiny_llm(tmp_path_factory.mktemp("hub") / "tiny", TEXTS)


@pytest.fixture
def hub(folder: Path) -> CausalLLM:
    return load_llm(str(folder), CPU).eval()


@pytest.fixture(scope="module")
def small() -> SmallLanguageModel:
    settings = LanguageModelSettings(
        width=16, heads=2, vocabulary=300, training_tokens=1_000, max_tokens=24
    )
    return SmallLanguageModel.train(TEXTS, settings, seed=1, progress=silent)[0]


def test_answers_are_read_as_if_each_stood_alone(hub: CausalLLM) -> None:
    """Neither padding nor neighbours matter; the state is the one that predicts the answer."""
    with torch.no_grad():
        states, logits, labels = hub.answer(PROMPTS, ANSWERS)
        assert labels.tolist() == [
            [4, hub.end, -100, -100],
            [8, 9, 10, hub.end],
            [hub.end] + [-100] * 3,
        ]
        losses = []
        for row, (asked, told) in enumerate(zip(PROMPTS, ANSWERS, strict=True)):
            alone = hub.model(input_ids=torch.tensor([asked + told]), output_hidden_states=True)
            at = len(asked) - 1
            torch.testing.assert_close(
                states[row], alone.hidden_states[-1][0, at], rtol=1e-4, atol=1e-5
            )
            for place, label in enumerate([*told, hub.end]):
                torch.testing.assert_close(
                    logits[row, place], alone.logits[0, at + place], rtol=1e-4, atol=1e-5
                )
                losses.append(-alone.logits[0, at + place].log_softmax(0)[label])
    torch.testing.assert_close(language_model_loss(logits, labels), torch.stack(losses).mean())


def test_texts_are_means_of_their_own_states(hub: CausalLLM) -> None:
    encoded = [[5, 6, 7], [8], [], [9, 10, 11, 12, 13, 14, 15]]
    with torch.no_grad():
        pooled = hub.pooled(encoded)
        for row, ids in enumerate(encoded):
            whole = torch.tensor([[*hub.before, *ids]])
            alone = hub.model.model(input_ids=whole).last_hidden_state[0].mean(0)
            torch.testing.assert_close(pooled[row], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(hub.embed(encoded, batch_tokens=8), pooled, rtol=1e-4, atol=1e-5)


def test_embedding_leaves_dropout_out_and_training_on(hub: CausalLLM) -> None:
    hub.adapt(rank=4, alpha=8.0, dropout=0.9, checkpointing=False)
    for name, parameter in hub.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    hub.train()
    told = [hub.embed([[5, 6], [7]]) for _ in range(2)]
    assert torch.equal(told[0], told[1]) and hub.training and hub.model.training
    assert not torch.equal(hub.pooled([[5, 6]]), hub.pooled([[5, 6]]))


def test_embedding_two_batches_at_a_time_gives_the_same_bytes(
    small: SmallLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = embedded_llm(small)
    encoded = llm.tokens(TEXTS, 24)
    together = [llm.embed(encoded, batch_tokens=64) for _ in range(2)]
    monkeypatch.setattr("lsvcr.text.llm._EMBEDDING_THREADS", 1)
    alone = llm.embed(encoded, batch_tokens=64)
    assert torch.equal(together[0], alone) and torch.equal(together[1], alone)


def test_what_people_wrote_cannot_reach_control_tokens(hub: CausalLLM) -> None:
    ids = hub.tokens(["<begin>好<end>", "a\nb"])
    assert not {0, 1} & set(ids[0]) and len(ids[0]) > 10
    assert ids[1] == hub.tokens(["a b"])[0]
    assert hub.tokens(["<begin>好<end>"], 3)[0] == ids[0][:3]
    assert hub.wording(["a\nb"])[0] != ids[1]


@pytest.mark.parametrize("kind", ["hub", "embedded"])
def test_only_adapters_of_attention_and_mlp_are_trained(
    kind: str, folder: Path, small: SmallLanguageModel
) -> None:
    llm = embedded_llm(copy.deepcopy(small)) if kind == "embedded" else load_llm(str(folder), CPU)
    llm.eval()
    with torch.no_grad():
        before = llm.pooled([[5, 6, 7]])
    llm.adapt(rank=8, alpha=32.0, dropout=0.1, checkpointing=False)
    trained = {n for n, p in llm.named_parameters() if p.requires_grad}
    projections = {n.split(".lora_")[0].rsplit(".", 1)[-1] for n in trained}
    assert projections == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }
    assert len(trained) == 2 * 2 * 7  # two matrices, two layers
    # Fresh adapters change nothing.
    with torch.no_grad():
        torch.testing.assert_close(llm.pooled([[5, 6, 7]]), before)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_any_causal_model_is_read_and_adapted(
    family: str, tmp_path: Path, save_tiny_llm: Callable[..., Path]
) -> None:
    llm = load_llm(str(save_tiny_llm(tmp_path, TEXTS, family)), CPU)
    assert llm.longest == 128 and llm.width == 16
    llm.adapt(rank=4, alpha=8.0, dropout=0.0, checkpointing=True)
    llm.train()
    states, logits, labels = llm.answer(PROMPTS, ANSWERS)
    (language_model_loss(logits, labels) + llm.pooled([[5, 6], [7]]).square().sum()).backward()
    moved = [n for n, p in llm.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert moved and all("lora_" in name for name in moved)
    # Left padding and neighbours do not matter.
    alone = llm.answer(PROMPTS[1:2], ANSWERS[1:2])
    torch.testing.assert_close(states[1:2], alone[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits[1:2, : alone[1].shape[1]], alone[1], rtol=1e-4, atol=1e-5)


def test_half_precision_is_read_and_adapters_stay_whole(hub: CausalLLM) -> None:
    """As on a device with bfloat16."""
    with torch.no_grad():
        exact = hub.pooled([[5, 6, 7], [8]])
    half = copy.deepcopy(hub)
    half.model.to(torch.bfloat16)
    half.reduced = True
    half.adapt(rank=4, alpha=8.0, dropout=0.0, checkpointing=True)
    half.train()
    pooled = half.pooled([[5, 6, 7], [8]])
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled.detach(), exact, rtol=0.05, atol=0.05)
    states, logits, labels = half.answer(PROMPTS, ANSWERS)
    (language_model_loss(logits, labels) + states.square().mean()).backward()
    for name, parameter in half.named_parameters():
        assert parameter.dtype == (torch.float32 if "lora_" in name else torch.bfloat16)
        assert ("lora_" in name) == (parameter.grad is not None)
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def test_rank_zero_trains_everything(hub: CausalLLM) -> None:
    hub.adapt(rank=0, alpha=1.0, dropout=0.0, checkpointing=False)
    assert all(parameter.requires_grad for parameter in hub.parameters())


def test_recomputed_activations_give_the_same_gradients(folder: Path) -> None:
    told = []
    for checkpointing in (False, True):
        llm = load_llm(str(folder), CPU)
        torch.manual_seed(1)
        llm.adapt(rank=4, alpha=8.0, dropout=0.0, checkpointing=checkpointing)
        llm.train()
        states, logits, labels = llm.answer(PROMPTS, ANSWERS)
        (language_model_loss(logits, labels) + states.square().sum()).backward()
        told.append({n: p.grad for n, p in llm.named_parameters() if p.grad is not None})
    assert told[0].keys() == told[1].keys() and len(told[0]) == 28
    for name, gradient in told[0].items():
        torch.testing.assert_close(told[1][name], gradient)
    assert any(float(g.abs().sum()) > 0.0 for g in told[0].values())  # type: ignore[union-attr]


def test_no_model_there_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match='llm = "embedded"'):
        load_llm(str(tmp_path), CPU)


def test_the_embedded_model_knows_the_wording(small: SmallLanguageModel) -> None:
    settings = LanguageModelSettings(width=16, heads=2, vocabulary=320, training_tokens=500)
    phrase = "喜欢的视频：\n"
    told = SmallLanguageModel.train(TEXTS, settings, seed=1, progress=silent, wording=[phrase])[0]
    assert len(told.tokens([phrase])[0]) < len(small.tokens([phrase])[0]) / 2


def test_the_embedded_model_embeds_as_it_always_has(small: SmallLanguageModel) -> None:
    llm = embedded_llm(small)
    mine = llm.embed(llm.tokens(TEXTS, 24)).numpy()
    np.testing.assert_allclose(mine, small.embed(TEXTS, silent), atol=5e-3)
