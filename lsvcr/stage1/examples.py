"""Make examples of stage 1: a user before an event, and what they liked or engaged with next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.examples import Histories, History
from lsvcr.data.inventory import Inventory
from lsvcr.task import Task
from simulator.randomness import purpose_key, uniform
from simulator.requests import COMMENTS_PER_EVENT

Bool = NDArray[np.bool_]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Events to be predicted, in the order of training.

    Attributes:
        comment_task: bool[n], which task.
        user: int64[n].
        event: int64[n], number of the event in the task's own history.
        target: int64[n], row of the text to be predicted.
    """

    comment_task: Bool
    user: Int64
    event: Int64
    target: Int64

    def __len__(self) -> int:
        return len(self.event)

    @property
    def address(self) -> Int64:
        """int64[n], a number of each example that no other has."""
        return self.event * 2 + self.comment_task

    def rows(self, chosen: Int64 | slice) -> Examples:
        """Some of them."""
        return Examples(
            self.comment_task[chosen], self.user[chosen], self.event[chosen], self.target[chosen]
        )


def make_examples(
    both: Histories,
    inventory: Inventory,
    stops: dict[Task, Int64],
    most: dict[Task, int],
    *,
    seed: int,
) -> Examples:
    """Examples of both tasks, mixed.

    Args:
        both: Histories.
        inventory: Texts; events whose target has none are left out.
        stops: int64[U] per task, events from here on are held out.
        most: Largest number of examples per task, drawn at random from all events.
        seed: Of the draws and the order.
    """
    parts = []
    for comment_task, history in ((False, both.liked), (True, both.discussed)):
        task: Task = "comment" if comment_task else "video"
        user = np.repeat(np.arange(len(history.lengths)), history.lengths)
        number = np.arange(len(user)) - history.starts[user]
        target = _targets(history, inventory, comment_task, seed)
        event = np.flatnonzero((number < stops[task][user]) & (target >= 0))
        draws = uniform(purpose_key(seed, f"lsvcr.examples.{task}"), event)
        event = event[np.argsort(draws, kind="stable")][: most[task]]
        parts.append(Examples(np.full(len(event), comment_task), user[event], event, target[event]))
    names = ("comment_task", "user", "event", "target")
    mixed = Examples(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))
    draws = uniform(purpose_key(seed, "lsvcr.examples.order"), mixed.address)
    return mixed.rows(np.argsort(draws, kind="stable"))


def _targets(history: History, inventory: Inventory, comment_task: bool, seed: int) -> Int64:
    """int64[n], text to be predicted at each event; -1 for none."""
    if not comment_task:
        return inventory.title.numpy()[history.video]
    real = (history.comments >= 0).sum(axis=1)
    draws = uniform(purpose_key(seed, "lsvcr.examples.target"), np.arange(len(real)))
    pick = (draws * real).astype(np.int64)
    comments = np.where(real > 0, history.comments[np.arange(len(real)), pick], -1)
    return inventory.rows_of_comments(comments).numpy()


@dataclass(frozen=True)
class Past:
    """What had happened before each example.

    Attributes:
        videos: int64[B, L], liked videos, oldest first, -1 padded at the end.
        sections: int64[B, M], videos of the comment history.
        comments: int64[B, M, 3].
        current: int64[B], the video being watched (comment task), -1 otherwise.
    """

    videos: Int64
    sections: Int64
    comments: Int64
    current: Int64


def past_of(both: Histories, chosen: Examples, longest: int) -> Past:
    """The last ``longest`` events of both histories strictly before each example."""
    videos = np.full((len(chosen), longest), -1, dtype=np.int64)
    sections = videos.copy()
    comments = np.full((*videos.shape, COMMENTS_PER_EVENT), -1, dtype=np.int64)
    current = np.full(len(chosen), -1, dtype=np.int64)
    for comment_task in (False, True):
        rows = np.flatnonzero(chosen.comment_task == comment_task)
        user, event = chosen.user[rows], chosen.event[rows]
        own = both.discussed if comment_task else both.liked
        seen = (own.other[event], own.earlier[event])
        liked, discussed = seen if comment_task else seen[::-1]
        index, real = _last(both.liked, user, liked, longest)
        videos[rows] = np.where(real, _take(both.liked.video, index), -1)
        index, real = _last(both.discussed, user, discussed, longest)
        sections[rows] = np.where(real, _take(both.discussed.video, index), -1)
        comments[rows] = np.where(real[..., None], _take(both.discussed.comments, index), -1)
        if comment_task:
            current[rows] = own.video[event]
    return Past(_cut(videos), _cut(sections), comments[:, : _cut(sections).shape[1]], current)


def _last(history: History, user: Int64, count: Int64, longest: int) -> tuple[Int64, Bool]:
    first = np.maximum(count - longest, 0)
    number = first[:, None] + np.arange(longest)
    real = number < count[:, None]
    return np.where(real, history.starts[user][:, None] + number, 0), real


def _take(values: Int64, index: Int64) -> Int64:
    if len(values) == 0:
        return np.full((*index.shape, *values.shape[1:]), -1, dtype=np.int64)
    return values[index]


def _cut(values: Int64) -> Int64:
    """Without columns that are padding in every row."""
    return values[:, : int((values >= 0).sum(axis=1).max(initial=0))]
