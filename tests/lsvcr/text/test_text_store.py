from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lsvcr.text.store
from lsvcr.policy import LSVCR
from lsvcr.text.llm import CausalLLM, Ids, load_llm
from lsvcr.text.store import TextStore, beside, identity
from policies.errors import CheckpointError

CPU = torch.device("cpu")
TEXTS = [f"今天天气真好啊 {i}" for i in range(20)] + [f"what a video {i}" for i in range(20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, save_tiny_llm: Callable[..., Path]) -> Path:
    return save_tiny_llm(tmp_path_factory.mktemp("hub"), TEXTS)


@pytest.fixture
def llm(folder: Path) -> CausalLLM:
    return load_llm(str(folder), CPU).eval()


@pytest.fixture
def read(llm: CausalLLM, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each call of the language model embedded."""
    counts: list[int] = []
    pooled = llm.pooled

    def counted(encoded: list[Ids]) -> torch.Tensor:
        counts.append(len(encoded))
        return pooled(encoded)

    monkeypatch.setattr(llm, "pooled", counted)
    return counts


def test_each_text_is_embedded_once_and_only_new_ones_later(
    llm: CausalLLM, read: list[int], tmp_path: Path
) -> None:
    encoded = llm.tokens([*TEXTS, TEXTS[0]])
    first = TextStore(tmp_path, llm).embed(encoded)
    assert first.fresh == sum(read) == len(TEXTS)
    torch.testing.assert_close(first.vectors, llm.embed(encoded), rtol=1e-4, atol=1e-6)
    assert torch.equal(first.vectors[-1], first.vectors[0])
    read.clear()
    again = TextStore(tmp_path, llm).embed(encoded)
    assert again.fresh == sum(read) == 0
    assert torch.equal(again.vectors, first.vectors)
    more = llm.tokens(["新的", *TEXTS[::-1], "更新的", "最新的"])
    grown = TextStore(tmp_path, llm).embed(more)
    assert grown.fresh == sum(read) == 3
    assert torch.equal(grown.vectors[1:-2], first.vectors[:-1].flip(0))
    torch.testing.assert_close(grown.vectors[[0, -2, -1]], llm.embed([more[0], *more[-2:]]))
    read.clear()
    assert TextStore(tmp_path, llm).embed(more).fresh == sum(read) == 0


def test_without_a_folder_everything_is_embedded_again(llm: CausalLLM, read: list[int]) -> None:
    for _ in range(2):
        assert TextStore(None, llm).embed(llm.tokens(TEXTS)).fresh == len(TEXTS)
    assert sum(read) == 2 * len(TEXTS)


def test_another_model_adapter_or_cut_is_another_embedding(llm: CausalLLM, tmp_path: Path) -> None:
    same, moved, adapted = (copy.deepcopy(llm) for _ in range(3))
    with torch.no_grad():
        next(moved.parameters())[0, 0] += 1e-3
    adapted.adapt(rank=2, alpha=4.0, dropout=0.0, checkpointing=False)
    names = [identity(one) for one in (llm, same, moved, adapted)]
    assert names[0] == names[1] and len(set(names)) == 3
    adapted.adapter["alpha"] = 8.0
    assert identity(adapted) != names[3]
    TextStore(tmp_path, llm).embed(llm.tokens(TEXTS))
    assert TextStore(tmp_path, llm).embed(llm.tokens(TEXTS, 3)).fresh > 0
    assert TextStore(tmp_path, moved).embed(llm.tokens(TEXTS)).fresh == len(TEXTS)


def test_an_interruption_leaves_no_half_file_and_costs_one_part(
    llm: CausalLLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lsvcr.text.store, "_PART", 10)
    save, calls = lsvcr.text.store.save_file, 0

    def break_off(arrays: object, path: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        save(arrays, path)  # type: ignore[arg-type]

    monkeypatch.setattr(lsvcr.text.store, "save_file", break_off)
    with pytest.raises(KeyboardInterrupt):
        TextStore(tmp_path, llm).embed(llm.tokens(TEXTS))
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 2 and {file.suffix for file in files} == {".safetensors"}
    monkeypatch.setattr(lsvcr.text.store, "save_file", save)
    assert TextStore(tmp_path, llm).embed(llm.tokens(TEXTS)).fresh == len(TEXTS) - 20


def test_a_damaged_file_is_named(llm: CausalLLM, tmp_path: Path) -> None:
    TextStore(tmp_path, llm).embed(llm.tokens(TEXTS))
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=file.name) as caught:
        TextStore(tmp_path, llm).embed(llm.tokens(TEXTS))
    assert "rm " in str(caught.value.hint)


def test_a_folder_that_cannot_be_made_costs_nothing_but_time(
    llm: CausalLLM, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert TextStore(taken, llm).embed(llm.tokens(TEXTS)).fresh == len(TEXTS)


def test_the_policy_embeds_a_datasets_texts_once(
    folder: Path, write_log: Callable[..., Any], tmp_path: Path
) -> None:
    """Whatever the training seed; and a longer log costs its new texts alone."""
    sizes = {
        "alignment": "none",
        "dim": 16,
        "feed_forward": 32,
        "epochs": 1,
        "epoch_steps": 1,
        "llm": str(folder),
    }
    told = []
    for seed, comments in ((1, 5), (2, 5), (1, 6)):
        shutil.rmtree(tmp_path / "log", ignore_errors=True)
        log = write_log(tmp_path / "log", users=24, comments_each=comments).dataset
        policy = LSVCR(**sizes)
        policy.fit(log, seed=seed)
        told.append(policy.training_summary()["text embeddings"])
    assert told[0]["new"] > 100 and told[1]["new"] == 0
    assert 0 < told[2]["new"] < told[2]["texts"]
    assert beside(tmp_path / "log") == tmp_path / "log.embeddings"
    assert (tmp_path / "log.embeddings").is_dir()


def test_no_texts(llm: CausalLLM, tmp_path: Path) -> None:
    told = TextStore(tmp_path, llm).embed([])
    assert told.fresh == 0 and told.vectors.shape == (0, 16)
