"""Stage 1 trains, repeats with its seed, resumes, and hands its weights to stage 2."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.model.warm_start import start_from_agreement
from lsvcr.policy import LSVCR
from lsvcr.stage1.losses import LossWeights
from lsvcr.stage1.settings import AlignmentSettings
from lsvcr.stage1.training import Aligned, align
from lsvcr.text.tables import Texts, TextTables
from policies.errors import CheckpointError, PolicyError
from policies.sequence.trainer import TrainingSummary
from tests.lsvcr.stage1.planted_log import QUICK, SIZES, TASKS, Log


@pytest.fixture(scope="module")
def aligned(log: Log) -> Aligned:
    return log.align()


def same(a: Aligned, b: Aligned) -> bool:
    return np.array_equal(a.embeddings, b.embeddings) and all(
        torch.equal(value, b.weights[task][name])
        for task in TASKS
        for name, value in a.weights[task].items()
    )


def test_losses_fall(log: Log) -> None:
    told: list[str] = []
    log.align(
        videos=400,
        comments=400,
        learning_rate=1e-3,
        progress=lambda stage, share, detail: told.append(detail),
    )
    steps = [d for d in told if d.startswith("step")]
    assert len(steps) == 100
    # Running means of twenty steps: the first twenty and the last.
    first, last = (
        {k: float(v) for k, v in (part.split() for part in d.split(", ")[1:])}
        for d in (steps[19], steps[-1])
    )
    for name in ("lm", "align", "behaviour"):
        assert last[name] < first[name], name
    assert last["total"] < 0.9 * first["total"]
    assert first["rec"] < math.log(8) and last["rec"] < math.log(8)


def test_an_example_without_any_negative_is_refused(log: Log) -> None:
    with pytest.raises(PolicyError, match="batch = 1 leaves no negatives"):
        log.align(batch=1)


def test_stage_1_without_a_step_is_where_stage_2_would_start_without_it(log: Log) -> None:
    """So that the alignment can move texts and their path by its gradients alone."""
    told = log.align(videos=0, comments=1)
    assert told.summary["steps"] == 0
    texts = Texts.of(log.dataset)
    llm = log.llm()
    raw = llm.embed(llm.tokens(log.texts, 12)).numpy()
    table = ((raw - raw.mean(0)) / (raw.std(0) + 1e-6)).astype(np.float16)
    tables = TextTables(table, texts.title, texts.comment)
    inventory = Inventory(log.dataset.catalogue(), tables, 2**62)
    np.testing.assert_allclose(told.embeddings, table, atol=1e-2)
    vectors = torch.from_numpy(table.astype(np.float32))
    fresh, aligned = (SRModel("video", 1, llm.width, **SIZES) for _ in range(2))
    assert start_from_agreement(fresh, log.both.liked.until(log.stops["video"]), inventory)
    aligned.load_state_dict(told.weights["video"], strict=False)
    half, last = fresh.text_hidden // 2, [m.text_layers()[1].weight for m in (fresh, aligned)]
    n = int(sum(last[0][i, i] == 1.0 and last[0][i, half + i] == -1.0 for i in range(half)))
    assert n > 0
    # Directions may flip, products of texts along them may not.
    along = [model.text(vectors[:200])[:, :n] for model in (fresh, aligned)]
    products = [v @ v.T for v in along]
    assert (products[0] - products[1]).norm() < 0.02 * products[0].norm()


def test_stage_2_starts_where_stage_1_ended(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, dict[str, torch.Tensor]] = {}
    left: list[Aligned] = []

    def watch(model: SRModel, *_: Any, aligned: bool, **__: Any) -> Any:
        assert aligned
        seen[model.task] = {k: v.clone() for k, v in model.state_dict().items()}
        return TrainingSummary(0, 0, 0, 0.0, 0.0)

    def keep(*args: Any, **kwargs: Any) -> Aligned:
        left.append(align(*args, **kwargs))
        return left[0]

    monkeypatch.setattr("lsvcr.learner.finetune", watch)
    monkeypatch.setattr("lsvcr.language.align", keep)
    LSVCR(**QUICK).fit(log.dataset, seed=1)
    for task in TASKS:
        kept = left[0].weights[task]
        assert seen[task].keys() - kept.keys() == {"ids.weight", "gate"}
        assert all(torch.equal(seen[task][name], value) for name, value in kept.items())


def test_same_seed_same_bytes_other_seed_others(log: Log, aligned: Aligned) -> None:
    torch.manual_seed(99)  # the state left by others must not matter
    assert same(log.align(), aligned)
    assert not same(log.align(seed=2), aligned)
    assert aligned.summary["steps"] == 12 and aligned.summary["examples"] == 96
    assert len(aligned.embeddings) == len(log.texts) and np.isfinite(aligned.embeddings).all()


@pytest.mark.parametrize("broken_at", [6, 12])
def test_training_goes_on_where_it_was_broken_off(
    log: Log, aligned: Aligned, tmp_path: Path, broken_at: int
) -> None:
    class Broken(Exception):
        pass

    def break_off(stage: str, share: float, detail: str) -> None:
        if detail.startswith(f"step {broken_at},"):
            raise Broken

    with pytest.raises(Broken):
        log.align(progress=break_off, checkpoint=str(tmp_path), checkpoint_steps=3)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}
    steps: list[str] = []
    again = log.align(
        progress=lambda stage, share, detail: steps.append(detail),
        checkpoint=str(tmp_path),
        checkpoint_steps=3,
    )
    steps = [detail for detail in steps if detail.startswith("step")]
    assert steps[0].startswith(f"step {broken_at - 2},")
    assert same(again, aligned)
    assert again.summary == aligned.summary


def test_a_checkpoint_of_other_settings_is_refused(log: Log, tmp_path: Path) -> None:
    log.align(checkpoint=str(tmp_path), videos=16, comments=16)
    with pytest.raises(CheckpointError, match="settings"):
        log.align(checkpoint=str(tmp_path), videos=16, comments=17)
    with pytest.raises(CheckpointError, match="seed"):
        log.align(checkpoint=str(tmp_path), videos=16, comments=16, seed=2)


def test_passes_of_a_step_add_up(log: Log) -> None:
    told = log.align(batch=4, accumulation=3)
    assert told.summary["steps"] == 8 and told.summary["examples"] == 96


@pytest.mark.parametrize("most", [(0, 0), (1, 0), (3, 0), (0, 5)])
def test_few_examples_or_none(log: Log, most: tuple[int, int]) -> None:
    told = log.align(videos=most[0], comments=most[1])
    assert told.summary["steps"] == (1 if sum(most) >= 2 else 0)
    assert np.isfinite(told.embeddings).all()


def test_settings_are_checked() -> None:
    paper = AlignmentSettings.of("paper", {})
    assert (paper.lora_rank, paper.lora_alpha, paper.lora_dropout) == (8, 32.0, 0.1)
    assert (paper.learning_rate, paper.warmup, paper.history) == (3e-4, 0.03, 20)
    assert paper.weights == LossWeights(1.0, 1.0, 0.5, 0.5)
    assert AlignmentSettings.of("small", {"align": 0}).align == 0
    for changes, problem in (
        ({"videoz": 3}, "no setting 'videoz' in alignment_settings. Did you mean 'videos'"),
        ({"rivals": 3}, "It is called 'negatives' now"),
        ({"batch": "8"}, "alignment_settings.batch is '8', expected a whole number"),
        ({"augment": 1}, "augment is 1, expected true or false"),
        ({"videos": True}, "videos is True, expected a whole number"),
        ({"history": 51}, "at most 50"),
        ({"batch": 0}, "expected 1 or more"),
    ):
        with pytest.raises(PolicyError, match=problem):
            AlignmentSettings.of("small", changes)
