"""The model of stage 1: representation of people, losses, negatives."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lsvcr.data.examples import make_batch, windows
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.stage1.augmentation import Augmentation
from lsvcr.stage1.batch import BatchMaker, PromptWriter
from lsvcr.stage1.examples import Examples
from lsvcr.stage1.losses import LossWeights
from lsvcr.stage1.model import AlignmentModel
from lsvcr.stage2.representation import user_vectors
from lsvcr.text.llm import CausalLLM
from lsvcr.text.tables import Texts, TextTables
from tests.lsvcr.stage1.planted_log import SIZES, TASKS, Log, maker


def test_a_person_is_the_sequential_models_own_without_ids(log: Log) -> None:
    """With positions from 0 on and no augmentation: what stage 2 computes from the same weights."""
    llm = log.llm()
    width = llm.width
    torch.manual_seed(0)
    model = AlignmentModel(llm, torch.full((width,), 0.1), torch.full((width,), 0.7), SIZES).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and not any(parameter is p for p in llm.parameters()):
                parameter.add_(0.1 * torch.randn_like(parameter))
    writer = PromptWriter(llm, log.texts, "zh", text_tokens=12, prompt_tokens=2_000)
    embeddings = model.standardised(llm.embed(writer.texts)).numpy()
    texts = Texts.of(log.dataset)
    tables = TextTables(embeddings.astype(np.float16), texts.title, texts.comment)
    inventory = Inventory(log.dataset.catalogue(), tables, 2**62)
    # A popular comment each, so that both draw the same.
    inventory.popular[:, 1:] = log.inventory.popular[:, 1:] = -1
    make = BatchMaker(log.both, log.inventory, writer, 50, Augmentation(history=0.0), 1)
    for task in TASKS:
        own = log.both.of(task)[0]
        users = np.flatnonzero(own.lengths >= 3)[:12]
        event = own.starts[users] + 2
        n = len(users)
        examples = Examples(np.full(n, task == "comment"), users, event, np.zeros(n, np.int64))
        batch = make.make(examples)
        batch.video_places[:] = np.arange(batch.video_places.shape[1])
        batch.section_places[:] = np.arange(batch.section_places.shape[1])
        with torch.no_grad():
            found, _, _ = model._people(batch, writer.texts)
            stage_2 = SRModel(task, inventory.catalogue.n_videos, width, **SIZES).eval()
            stage_2.ids.weight.zero_()
            kept = {k: v for k, v in stage_2.state_dict().items() if k.startswith(("ids", "gate"))}
            stage_2.load_state_dict({**kept, **model.weights(task)}, strict=True)
            chosen = windows(own, np.where(own.lengths >= 3, 3, 0), 1, np.random.default_rng(0))
            picked = [
                np.flatnonzero((chosen.user == user) & (chosen.start == 2))[0] for user in users
            ]
            whole = type(chosen)(
                chosen.user[picked], chosen.base[picked], chosen.start[picked], chosen.stop[picked]
            )
            expected = user_vectors(stage_2, inventory, make_batch(log.both, task, whole), None)
        torch.testing.assert_close(found, expected, rtol=0.0, atol=5e-3)


@pytest.mark.parametrize("left_out", ["lm", "rec", "align", "behaviour"])
def test_each_loss_can_be_left_out(log: Log, left_out: str) -> None:
    llm = log.llm()
    model = AlignmentModel(llm, torch.zeros(32), torch.ones(32), SIZES)
    made = maker(log, llm)
    batch = made.make(log.examples().rows(slice(0, 8)))
    told = model.losses(batch, made.writer.texts, LossWeights(**{left_out: 0.0}))
    for name in ("lm", "rec", "align", "behaviour"):
        assert (float(getattr(told, name).detach()) == 0.0) == (name == left_out)


def test_negatives_are_other_comments_of_the_same_video(log: Log) -> None:
    llm = log.llm()
    writer = PromptWriter(llm, log.texts, "zh", text_tokens=12, prompt_tokens=2_000)
    examples = log.examples().rows(slice(0, 60))

    make = BatchMaker(log.both, log.inventory, writer, 4, Augmentation(), 1, negatives=9)
    batch = make.make(examples)
    assert batch.negatives.shape == (60, 9)
    owner = log.inventory.catalogue.comment_offsets
    for row in range(60):
        told = batch.negatives[row][batch.negatives[row] >= 0]
        if not examples.comment_task[row]:
            assert len(told) == 0
            continue
        video = log.both.discussed.video[examples.event[row]]
        section = log.inventory.comment[owner[video] : owner[video + 1]]
        own = log.both.discussed.comments[examples.event[row]]
        mine = set(log.inventory.comment[own[own >= 0]].tolist())
        assert len(told) == 9 == len(set(told.tolist()))
        assert set(told.tolist()) <= set(section.tolist()) - mine
    # What is still to be written is nothing to beat.
    future = copy.copy(log.inventory)
    written = np.full(future.catalogue.n_comments, log.both.discussed.time_ms.max() + 1)
    future.catalogue = replace(future.catalogue, comment_time_ms=written)
    later = BatchMaker(log.both, future, writer, 4, Augmentation(), 1, negatives=9)
    assert (later.make(examples).negatives == -1).all()
    # The loss rises by what there is to beat.
    model = AlignmentModel(llm, torch.zeros(32), torch.ones(32), SIZES).eval()
    alone = replace(batch, negatives=np.full((60, 0), -1, dtype=np.int64))
    rec = LossWeights(lm=0.0, align=0.0, behaviour=0.0)
    with torch.no_grad():
        losses = [model.losses(one, writer.texts, rec).rec for one in (alone, batch)]
    assert losses[1] > losses[0]


def test_targets_of_the_other_task_are_no_negatives(log: Log) -> None:
    """The loss of a mixed batch is the mean of its two halves' losses."""
    llm = log.llm()
    model = AlignmentModel(llm, torch.zeros(32), torch.ones(32), SIZES).eval()
    made = maker(log, llm)
    batch = made.make(log.examples().rows(slice(0, 24)))
    rec = LossWeights(lm=0.0, align=0.0, behaviour=0.0)
    with torch.no_grad():
        mixed = model.losses(batch, made.writer.texts, rec).rec
        halves = []
        for flag in (False, True):
            rows = np.flatnonzero(batch.comment_task == flag)
            part = model.losses(batch.rows(rows), made.writer.texts, rec).rec
            halves.append(part * len(rows) / 24)
    torch.testing.assert_close(mixed, halves[0] + halves[1])


def test_recommendation_alone_reads_no_prompt(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(CausalLLM, "answer", refuse)
    told = log.align(lm=0.0, align=0.0, behaviour=0.0)
    assert told.summary["losses"]["rec"] > 0.0
