from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from lsvcr.data.examples import Histories, History
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.model.warm_start import start_from_agreement
from lsvcr.text.tables import TextTables
from simulator.logs.catalogue import Catalogue

PEOPLE, EVENTS, SHOWN, WIDTH = 200, 6, 10, 32
VIDEOS = 2_000


def world(*, taste: bool) -> tuple[History, Inventory, np.ndarray, np.ndarray]:
    """One direction of the titles' embeddings is what people differ in; the rest is noise.

    With ``taste``, people like, of what they are shown, the video that is furthest to their side of
    that direction; without, any. Noise has five times the scale of the direction. Last: what each
    event's choice was from, int64[n, SHOWN].
    """
    random = np.random.default_rng(0)
    direction = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0][:, 0]
    side = random.normal(size=VIDEOS)
    noise = 5.0 * random.normal(size=(VIDEOS, WIDTH))
    noise -= np.outer(noise @ direction, direction)
    table = noise + np.outer(side, direction)
    catalogue = Catalogue.build(np.arange(VIDEOS), comment_offsets=np.zeros(VIDEOS + 1, np.int64))
    tables = TextTables(table.astype(np.float16), np.arange(VIDEOS), np.empty(0, dtype=np.int64))
    inventory = Inventory(catalogue, tables, 2**62)
    leaning = random.choice([-1.0, 1.0], PEOPLE)
    shown = random.integers(0, VIDEOS, (PEOPLE * EVENTS, SHOWN))
    score = side[shown] * np.repeat(leaning, EVENTS)[:, None]
    if not taste:
        score = random.random(score.shape)
    video = shown[np.arange(len(shown)), score.argmax(axis=1)]
    number = np.tile(np.arange(EVENTS), PEOPLE)
    starts = np.arange(PEOPLE + 1) * EVENTS
    none = np.full((len(video), 3), -1, dtype=np.int64)
    history = History(starts, video, none, number, np.zeros_like(number), number, none)
    return history, inventory, direction, shown


def model_of() -> SRModel:
    torch.manual_seed(0)
    return SRModel("video", VIDEOS, WIDTH, dim=16, feed_forward=32).eval()


def sensitivity(model: SRModel, inventory: Inventory, step: np.ndarray) -> float:
    """How far a text's unit vector moves when its embedding does."""
    base = inventory.embeddings[:300]
    moved = base + torch.from_numpy(step.astype(np.float32))
    with torch.no_grad():
        before, after = (F.normalize(model.text(e), dim=-1) for e in (base, moved))
    return float((after - before).norm(dim=-1).mean())


def test_titles_are_told_apart_by_what_people_agree_on() -> None:
    history, inventory, direction, _ = world(taste=True)
    model = model_of()
    assert start_from_agreement(model, history, inventory)
    random = np.random.default_rng(1)
    other = random.normal(size=WIDTH)
    other -= (other @ direction) * direction
    other /= np.linalg.norm(other)
    fresh = model_of()
    assert sensitivity(fresh, inventory, direction) < 3 * sensitivity(fresh, inventory, other)
    assert sensitivity(model, inventory, direction) > 10 * sensitivity(model, inventory, other)


def test_a_started_model_ranks_the_preferred_video_before_any_training() -> None:
    history, inventory, _, shown = world(taste=True)
    model = model_of()
    last = history.starts[1:] - 1
    start_from_agreement(model, history.until(np.full(PEOPLE, EVENTS - 1)), inventory)
    with torch.no_grad():
        texts = F.normalize(model.text(inventory.embeddings), dim=-1).numpy()
    before = np.array([texts[history.video[e - 5 : e]].mean(axis=0) for e in last])
    scores = np.einsum("nd,nsd->ns", before, texts[shown[last]])
    place = (shown[last] == history.video[last, None]).argmax(axis=1)
    rank = (scores > scores[np.arange(PEOPLE), place][:, None]).sum(axis=1)
    assert rank.mean() < 1.5  # 4.5 by chance


def test_people_who_agree_on_nothing_give_no_strong_direction() -> None:
    """The noise floor: only a few directions may pass by chance."""
    history, inventory, direction, _ = world(taste=False)
    model = model_of()
    start_from_agreement(model, history, inventory)
    along = sensitivity(model, inventory, direction)
    others = [sensitivity(model, inventory, axis) for axis in np.eye(WIDTH)]
    assert along < 5 * float(np.mean(others))


def _same(one: SRModel, other: SRModel) -> bool:
    after = other.state_dict()
    return all(torch.equal(value, after[name]) for name, value in one.state_dict().items())


def test_too_few_events_leave_the_model_as_it_was() -> None:
    history, inventory, _, _ = world(taste=True)
    few = history.until(np.where(np.arange(PEOPLE) < 50, EVENTS, 0))
    assert len(few.video) == 300
    model = model_of()
    assert not start_from_agreement(model, few, inventory)
    assert _same(model, model_of())


@pytest.mark.parametrize("known", [0, 1, 5])
def test_without_twenty_different_titles_there_is_no_start(known: int) -> None:
    history, inventory, _, _ = world(taste=True)
    place = np.arange(VIDEOS)
    titles = np.where((place % 7 == 0) & (known > 0), place % max(known, 1), -1)
    inventory.title = torch.from_numpy(titles)
    model = model_of()
    assert not start_from_agreement(model, history, inventory)
    assert _same(model, model_of())


def test_videos_without_a_title_say_nothing() -> None:
    history, inventory, direction, _ = world(taste=True)
    inventory.title = torch.from_numpy(np.where(np.arange(VIDEOS) % 3 == 0, -1, np.arange(VIDEOS)))
    model = model_of()
    assert start_from_agreement(model, history, inventory)
    others = [sensitivity(model, inventory, axis) for axis in np.eye(WIDTH)]
    assert sensitivity(model, inventory, direction) > 2 * float(np.mean(others))


def test_events_held_out_do_not_reach_the_start() -> None:
    history, inventory, _, _ = world(taste=True)
    stop = np.full(PEOPLE, EVENTS - 1)
    held = history.starts[1:] - 1
    changed = history.video.copy()
    changed[held] = (changed[held] + 1) % VIDEOS
    started = []
    for version in (history, replace(history, video=changed)):
        model = model_of()
        assert start_from_agreement(model, version.until(stop), inventory)
        started.append(model)
    assert _same(*started)


def test_the_comment_history_does_not_reach_the_start() -> None:
    history, inventory, _, _ = world(taste=True)
    hidden = Histories(history, history).without_comment_history()
    one, other = model_of(), model_of()
    assert start_from_agreement(one, history, inventory)
    assert start_from_agreement(other, hidden.liked, inventory)
    assert _same(one, other)
