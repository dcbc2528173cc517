"""Batch examples of stage 1 for its two models: prompts in tokens, and rows of texts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.examples import Histories
from lsvcr.data.inventory import Inventory
from lsvcr.data.negatives import SECTION_SIZE, without
from lsvcr.stage1.augmentation import Augmentation, View, positions, two_views
from lsvcr.stage1.examples import Examples, Past, past_of
from lsvcr.task import Task
from lsvcr.text.llm import CausalLLM, Ids
from lsvcr.text.prompts import LikedVideo, Piece, Section, prompt
from simulator.randomness import purpose_key, uniform

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class AlignmentBatch:
    """What both models read. Texts are numbers of the log's distinct texts, -1 for none.

    Attributes:
        prompts: Token numbers per example.
        comment_task: bool[B].
        user: int64[B].
        target: int64[B], the text to be predicted.
        titles, popular: int64[B, L], of the liked videos.
        section_titles: int64[B, M].
        section_comments: int64[B, M, 3].
        current: int64[B], title of the video being watched.
        negatives: int64[B, K], other comments of that video.
        video_count, section_count: int64[B], events in each history.
        video_places: int64[B, L], positions given to the events.
        section_places: int64[B, M].
    """

    prompts: list[Ids]
    comment_task: NDArray[np.bool_]
    user: Int64
    target: Int64
    titles: Int64
    popular: Int64
    section_titles: Int64
    section_comments: Int64
    current: Int64
    negatives: Int64
    video_count: Int64
    section_count: Int64
    video_places: Int64
    section_places: Int64

    def rows(self, chosen: Int64) -> AlignmentBatch:
        """Some of the examples."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        prompts = values.pop("prompts")
        kept = [prompts[row] for row in chosen] if prompts else []
        return AlignmentBatch(prompts=kept, **{k: v[chosen] for k, v in values.items()})


class PromptWriter:
    """Prompts in tokens; each text and each phrase is tokenised once.

    Args:
        llm: Whose tokens.
        texts: The log's distinct texts.
        language: Of the wording.
        text_tokens: Most tokens of one text in a prompt or an answer.
        prompt_tokens: Most tokens of a prompt; the oldest events are left out until it fits.
    """

    def __init__(
        self,
        llm: CausalLLM,
        texts: list[str],
        language: str,
        *,
        text_tokens: int,
        prompt_tokens: int,
    ) -> None:
        self._llm, self._language = llm, language
        self.texts = llm.tokens(texts, text_tokens)
        self._phrases: dict[str, Ids] = {}
        self._most = prompt_tokens
        if llm.longest is not None:
            self._most = min(self._most, llm.longest - text_tokens - 1)

    def write(
        self,
        task: Task,
        videos: list[LikedVideo],
        sections: list[Section],
        *,
        videos_first: bool,
        current: int,
    ) -> Ids:
        """Token numbers of a prompt."""
        while True:
            pieces = prompt(
                self._language,
                task,
                videos,
                sections,
                videos_first=videos_first,
                current=current,
            )
            ids = self._ids(pieces)
            if len(ids) <= self._most or not (videos or sections):
                return ids[-self._most :]
            if len(videos) >= len(sections):
                videos = videos[1:]
            else:
                sections = sections[1:]

    def _ids(self, pieces: list[Piece]) -> Ids:
        ids = list(self._llm.before)
        for piece in pieces:
            ids += self.texts[piece] if isinstance(piece, int) else self._phrase(piece)
        return ids

    def _phrase(self, words: str) -> Ids:
        if words not in self._phrases:
            self._phrases[words] = self._llm.wording([words])[0]
        return self._phrases[words]


@dataclass(frozen=True)
class BatchMaker:
    """Makes batches out of examples; each is a function of the seed and its examples alone.

    Attributes:
        both: Histories.
        inventory: Texts by video and comment.
        writer: Of prompts.
        history: Most events of either history.
        augmentation: How the two models' views differ.
        seed: Of the training.
        negatives: Most other comments of the video being watched.
    """

    both: Histories
    inventory: Inventory
    writer: PromptWriter
    history: int
    augmentation: Augmentation
    seed: int
    negatives: int = 0

    def make(self, chosen: Examples) -> AlignmentBatch:
        """One batch."""
        past = past_of(self.both, chosen, self.history)
        address = chosen.address
        read, seen = two_views(
            self.inventory,
            past.videos,
            past.sections,
            past.comments,
            address,
            seed=self.seed,
            settings=self.augmentation,
        )
        batch = self._rows(chosen, past, seen)
        prompts = self._prompts(chosen, self._rows(chosen, past, read))
        return replace(batch, prompts=prompts)

    def _rows(self, chosen: Examples, past: Past, view: View) -> AlignmentBatch:
        count = [(v >= 0).sum(axis=1) for v in (past.videos, past.sections)]
        places = [
            positions(n, chosen.address, seed=self.seed, purpose=purpose)
            for n, purpose in zip(count, ("videos", "sections"), strict=True)
        ]
        return AlignmentBatch(
            prompts=[],
            comment_task=chosen.comment_task,
            user=chosen.user,
            target=chosen.target,
            titles=self._titles(past.videos),
            popular=self.inventory.rows_of_comments(view.popular).numpy(),
            section_titles=self._titles(past.sections),
            section_comments=self.inventory.rows_of_comments(view.comments).numpy(),
            current=self._titles(past.current),
            negatives=self._negatives(chosen, past.current),
            video_count=count[0],
            section_count=count[1],
            video_places=places[0],
            section_places=places[1],
        )

    def _titles(self, videos: Int64) -> Int64:
        titles = self.inventory.title.numpy()
        return np.where(videos >= 0, titles[np.maximum(videos, 0)], -1)

    def _negatives(self, chosen: Examples, current: Int64) -> Int64:
        """Texts of other comments under the current video that the person left alone."""
        if self.negatives == 0:
            return np.full((len(chosen), 0), -1, dtype=np.int64)
        discussed = self.both.discussed
        own = np.full((len(chosen), discussed.engaged.shape[1]), -1, dtype=np.int64)
        now = np.zeros(len(chosen), dtype=np.int64)
        task = chosen.comment_task
        own[task] = discussed.engaged[chosen.event[task]]
        now[task] = discussed.time_ms[chosen.event[task]]
        others = self.inventory.section(np.maximum(current, 0), now, SECTION_SIZE)
        others = np.where(task[:, None], without(others, own), -1)
        rows = self.inventory.rows_of_comments(others).numpy()
        rows = np.where(rows == chosen.target[:, None], -1, rows)
        key = purpose_key(self.seed, "lsvcr.rivals")
        draws = uniform(key, chosen.address[:, None], np.arange(rows.shape[1]))
        order = np.argsort(np.where(rows >= 0, draws, 2.0), axis=1, kind="stable")
        return np.take_along_axis(rows, order[:, : self.negatives], axis=1)

    def _prompts(self, chosen: Examples, rows: AlignmentBatch) -> list[Ids]:
        first = uniform(purpose_key(self.seed, "lsvcr.order"), chosen.address) < 0.5
        prompts = []
        for row in range(len(chosen)):
            n, m = rows.video_count[row], rows.section_count[row]
            videos = zip(rows.titles[row, :n], rows.popular[row, :n], strict=True)
            sections = zip(
                rows.section_titles[row, :m], rows.section_comments[row, :m], strict=True
            )
            prompts.append(
                self.writer.write(
                    "comment" if rows.comment_task[row] else "video",
                    [LikedVideo(int(title), int(shown)) for title, shown in videos],
                    [Section(int(title), tuple(said.tolist())) for title, said in sections],
                    videos_first=bool(first[row]),
                    current=int(rows.current[row]),
                )
            )
        return prompts
