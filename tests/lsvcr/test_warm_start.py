from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lsvcr.examples import Histories, History
from lsvcr.inventory import Inventory
from lsvcr.sr_model import SRModel, Task
from lsvcr.text_tables import TextTables
from lsvcr.warm_start import start_from_agreement
from simulator.logs.catalogue import Catalogue

PEOPLE, EVENTS, SECTION, WIDTH = 200, 6, 10, 32


def world(*, taste: bool) -> tuple[History, Inventory, np.ndarray]:
    """One direction of the comments' embeddings is what people differ in; the rest is noise.

    With ``taste``, people like the comment of the section that is furthest to their side of that
    direction; without, any. Noise has five times the scale of the direction.
    """
    random = np.random.default_rng(0)
    videos = PEOPLE
    comments = videos * SECTION
    direction = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0][:, 0]
    side = random.normal(size=comments)
    noise = 5.0 * random.normal(size=(comments, WIDTH))
    noise -= np.outer(noise @ direction, direction)
    table = noise + np.outer(side, direction)
    catalogue = Catalogue.build(np.arange(videos), comment_offsets=np.arange(videos + 1) * SECTION)
    tables = TextTables(
        table.astype(np.float16), np.full(videos, -1, dtype=np.int64), np.arange(comments)
    )
    inventory = Inventory(catalogue, tables, 2**62)
    leaning = random.choice([-1.0, 1.0], PEOPLE)
    video = random.integers(0, videos, PEOPLE * EVENTS)
    section = video[:, None] * SECTION + np.arange(SECTION)
    score = side[section] * np.repeat(leaning, EVENTS)[:, None]
    if not taste:
        score = random.random(score.shape)
    liked = np.full((len(video), 3), -1, dtype=np.int64)
    liked[:, 0] = section[np.arange(len(video)), score.argmax(axis=1)]
    number = np.tile(np.arange(EVENTS), PEOPLE)
    starts = np.arange(PEOPLE + 1) * EVENTS
    history = History(starts, video, liked, number, np.zeros_like(number), number, liked)
    return history, inventory, direction


def model_of(task: Task = "comment") -> SRModel:
    torch.manual_seed(0)
    return SRModel(task, PEOPLE, WIDTH, dim=16, feed_forward=32).eval()


def sensitivity(model: SRModel, inventory: Inventory, step: np.ndarray) -> float:
    """How far a text's unit vector moves when its embedding does."""
    base = inventory.embeddings[:300]
    moved = base + torch.from_numpy(step.astype(np.float32))
    with torch.no_grad():
        before, after = (F.normalize(model.text(e), dim=-1) for e in (base, moved))
    return float((after - before).norm(dim=-1).mean())


def test_texts_are_told_apart_by_what_people_agree_on() -> None:
    history, inventory, direction = world(taste=True)
    model = model_of()
    assert start_from_agreement(model, history, inventory)
    random = np.random.default_rng(1)
    other = random.normal(size=WIDTH)
    other -= (other @ direction) * direction
    other /= np.linalg.norm(other)
    fresh = model_of()
    assert sensitivity(fresh, inventory, direction) < 3 * sensitivity(fresh, inventory, other)
    assert sensitivity(model, inventory, direction) > 10 * sensitivity(model, inventory, other)


def test_a_started_model_ranks_the_preferred_comment_before_any_training() -> None:
    history, inventory, _ = world(taste=True)
    model = model_of()
    last = history.starts[1:] - 1
    start_from_agreement(model, history.until(np.full(PEOPLE, EVENTS - 1)), inventory)
    with torch.no_grad():
        texts = F.normalize(model.text(inventory.embeddings), dim=-1).numpy()
    before = np.array([texts[history.comments[e - 5 : e, 0]].mean(axis=0) for e in last])
    section = history.video[last][:, None] * SECTION + np.arange(SECTION)
    scores = np.einsum("nd,nsd->ns", before, texts[section])
    place = (section == history.comments[last, :1]).argmax(axis=1)
    rank = (scores > scores[np.arange(PEOPLE), place][:, None]).sum(axis=1)
    assert rank.mean() < 1.5  # 4.5 by chance


def test_people_who_agree_on_nothing_give_no_strong_direction() -> None:
    """The noise floor: only a few directions may pass by chance."""
    history, inventory, direction = world(taste=False)
    model = model_of()
    start_from_agreement(model, history, inventory)
    along = sensitivity(model, inventory, direction)
    others = [sensitivity(model, inventory, axis) for axis in np.eye(WIDTH)]
    assert along < 5 * float(np.mean(others))


def test_too_few_events_leave_the_model_as_it_was() -> None:
    history, inventory, _ = world(taste=True)
    few = history.until(np.where(np.arange(PEOPLE) < 50, EVENTS, 0))
    assert len(few.video) == 300
    model, fresh = model_of(), model_of()
    assert not start_from_agreement(model, few, inventory)
    for name, value in fresh.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("task", ["video", "comment"])
@pytest.mark.parametrize("known", [0, 1, 5])
def test_a_log_with_captions_or_comments_alone_has_no_start(task: Task, known: int) -> None:
    """No text at all of what the task compares, the same one everywhere, or hardly any."""
    history, inventory, _ = world(taste=True)
    place = np.arange(len(inventory.comment))
    texts = np.where((place % 7 == 0) & (known > 0), place % max(known, 1), -1)
    inventory.comment = texts
    inventory.title = torch.from_numpy(texts[: len(inventory.title)])
    model, fresh = model_of(task), model_of(task)
    assert not start_from_agreement(model, history, inventory)
    for name, value in fresh.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


def test_what_is_hidden_does_not_reach_the_start() -> None:
    history, inventory, _ = world(taste=True)
    hidden = Histories(history, history).without_comment_history()
    assert not start_from_agreement(model_of(), hidden.discussed, inventory)
    assert start_from_agreement(model_of(), history, inventory)


def test_events_held_out_do_not_reach_the_start() -> None:
    history, inventory, _ = world(taste=True)
    stop = np.full(PEOPLE, EVENTS - 1)
    held = history.starts[1:] - 1
    changed = history.comments.copy()
    changed[held, 0] = history.video[held] * SECTION
    started = []
    for version in (history, replace(history, comments=changed)):
        model = model_of()
        assert start_from_agreement(model, version.until(stop), inventory)
        started.append(model.state_dict())
    for name, value in started[0].items():
        torch.testing.assert_close(started[1][name], value, rtol=0, atol=0)


def test_histories_can_be_cut() -> None:
    history, _, _ = world(taste=True)
    stop = np.random.default_rng(2).integers(0, EVENTS + 1, PEOPLE)
    cut = history.until(stop)
    assert cut.lengths.tolist() == stop.tolist()
    for person in (0, 57, PEOPLE - 1):
        mine = slice(cut.starts[person], cut.starts[person + 1])
        theirs = slice(history.starts[person], history.starts[person] + stop[person])
        assert cut.video[mine].tolist() == history.video[theirs].tolist()
        assert cut.earlier[mine].tolist() == history.earlier[theirs].tolist()
