"""Train LSVCR: stage 2 on frozen text embeddings; rank from tables alone.

After training every video and comment of the catalogue is a row of a table: its vector as a
candidate and its part of a history token. Ranking needs neither the language model nor its text
embeddings, and this file imports no transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.attended import attended_comments
from lsvcr.data.examples import Histories, histories
from lsvcr.learner import Stage2, id_count, new_model, shared_rows
from lsvcr.serving.deployed import BYTES_PER_VIDEO_AND_DIM, DeployedTask
from lsvcr.serving.user_cache import UserCache
from lsvcr.serving.video_fusion import fit_fusion
from lsvcr.settings import LSVCRSettings
from lsvcr.starting_point import StartingPoint, without_texts
from lsvcr.task import TASKS, Task
from lsvcr.text.tables import Texts
from lsvcr.whole import WholeRanker, fit_comment_value, promising
from policies.background import Background
from policies.base import Policy, Progress, Scores, share, silent
from policies.checkpoint import load_arrays, save_arrays
from policies.comments.value.fuse import own_weight
from policies.comments.value.visits import held_people
from policies.distributed import of_the_first
from policies.errors import UnsuitedLog
from policies.memory import require_memory
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, Signal, VideoRequests

_ALIGNMENT_LOSSES = ("lm", "rec", "align", "behaviour")


class LSVCR(Policy):
    """Videos and comments from both histories: LSVCR's deployed model (arXiv 2403.13574).

    Unless told otherwise, the language model of stage 1 (the alignment) is a small one that is
    trained on the log's own texts.

    Settings: see `lsvcr.settings.LSVCRSettings`.
    """

    name = "lsvcr"
    slow_to_train = True
    training_effort = 2.0
    settings_class = LSVCRSettings
    options: LSVCRSettings

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._tasks: dict[Task, DeployedTask] = {}
        self._users: dict[Task, UserCache] = {}
        self._whole = WholeRanker()
        self._summary: dict[str, Any] = {}
        self._dataset_hash = ""

    def ablations(self) -> dict[str, dict[str, Any]]:
        """Each contribution, and the settings that remove it; without alignment, what adds it."""
        parts: dict[str, dict[str, Any]] = {
            "the paper's scores": {"variant": "paper"},
            "no comment history": {"comment_history": False},
            "no mixing": {"mixing": False},
            "no ID-text loss": {"id_text_weight": 0.0},
            "no text": {"text": False},
            "no IDs": {"ids": False},
        }
        if self.options.alignment == "none":
            return {**parts, "with alignment": {"alignment": "llm"}}
        # Another alignment cannot go on from a checkpoint of this one.
        own = {**self.options.alignment_settings, "checkpoint": ""}
        parts["no mixing"]["alignment_settings"] = own
        parts["no alignment"] = {"alignment": "none"}
        for loss in _ALIGNMENT_LOSSES:
            parts[f"no L_{loss}"] = {"alignment_settings": {**own, loss: 0.0}}
        return parts

    def training_summary(self) -> dict[str, Any]:
        """Language model loss, and epochs and validation NDCG@5 per task, of the last fit."""
        return dict(self._summary)

    def learns_from(self) -> tuple[Signal, ...]:
        """See `policies.base.Policy.learns_from`."""
        return (self.options.signal, "discussed")

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Language model, text embeddings, then one fine-tuned model per task."""
        s = self.options
        self._dataset_hash = dataset.info.content_hash
        both = self._histories(dataset)
        catalogue = dataset.catalogue()
        ids = id_count(shared_rows(s, both, catalogue), catalogue)
        require_memory(
            lambda: new_model(s, "video", ids, 0),
            "lsvcr",
            f"dim = {s.dim}, {ids:,} ID vectors for {catalogue.n_videos:,} videos",
            tables=BYTES_PER_VIDEO_AND_DIM * s.dim * catalogue.n_videos,
        )
        # Who decides whether the paper's comment score is served must not have trained it.
        without = held_people(len(dataset.user_ids()), seed) if s.variant == "whole" else None
        start = self._start(dataset, both, seed, share(progress, 0.0, 1 / 3), without)
        tables, aligned = start.tables, start.weights
        if not (s.ids or tables.width):
            raise UnsuitedLog(
                f"lsvcr without ids ranks by text, and {dataset.path} has no captions or comments.",
                "Leave ids = true for this log.",
            )
        learner = Stage2(dataset, both, tables, aligned, s, seed)
        discusses = tables.has_comments and bool((both.discussed.comments >= 0).any())
        self._tasks, self._whole = {}, WholeRanker()
        if s.variant == "whole":
            self._fit_whole(dataset, learner, share(progress, 1 / 3, 2 / 3), without, discusses)
        else:
            tasks: tuple[Task, ...] = ("video", "comment") if discusses else ("video",)
            for number, task in enumerate(tasks):
                width = 2 / 3 / len(tasks)
                part = share(progress, 1 / 3 + number * width, width)
                self._train(task, learner, part)
        self.reset(0)

    def _fit_whole(
        self,
        dataset: Dataset,
        learner: Stage2,
        progress: Progress,
        without: NDArray[np.bool_] | None,
        discusses: bool,
    ) -> None:
        """The video task beside the comment value; the comment task as far as it is worth it."""
        seed = learner.seed
        value = Background(lambda: fit_comment_value(dataset, learner.tables, seed=seed))
        self._train("video", learner, share(progress, 0.0, 0.8))
        fitted = value.result()
        weight, told = 0.0, dict[str, Any]()
        if discusses and fitted.model is not None:
            for brief in (True, False):
                part = share(progress, 0.8, 0.2)
                self._train("comment", learner, part, without=without, brief=brief)
                weight, told = own_weight(fitted, self._afresh_comments)
                told["trained"] = "briefly" if brief else "in full"
                # The processes of torchrun go the same way.
                if not of_the_first(float(promising(told))):
                    weight = 0.0
                    break
            if weight == 0.0:
                del self._tasks["comment"]
        fusion, told_videos = fit_fusion(dataset, self._afresh_videos, seed=seed)
        self._whole = WholeRanker(fitted.model, weight, fusion)
        own = {"paper's score": told} if told else {}
        self._summary["comment value"] = {**fitted.summary, **own}
        self._summary["video fusion"] = told_videos

    def _train(self, task: Task, learner: Stage2, progress: Progress, **how: Any) -> None:
        """Stage 2 of a task; see `Stage2.fit`."""
        self._tasks[task], told = learner.fit(task, progress, **how)
        if told:
            self._summary[task] = told

    def align(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> dict[str, Any]:
        """Stage 1 alone, for what it leaves on disk: its checkpoint and the text embeddings.

        Returns:
            What happened, for people.
        """
        self._dataset_hash = dataset.info.content_hash
        self._start(dataset, self._histories(dataset), seed, progress)
        return self.training_summary()

    def save(self, directory: Path) -> None:
        """Write the deployed tables and weights."""
        arrays: dict[str, NDArray[Any]] = {}
        for task, deployed in self._tasks.items():
            arrays.update({f"{task}.{k}": v for k, v in deployed.arrays().items()})
        if self.options.variant == "whole":
            arrays.update({f"whole.{k}": v for k, v in self._whole.arrays().items()})
        save_arrays(directory, arrays, self._about())

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore what `save` wrote; needs no language model."""
        self._dataset_hash = dataset.info.content_hash
        arrays = load_arrays(directory, self._about())
        self._tasks = {}
        for task in TASKS:
            own = _within(arrays, task)
            if own:
                model = new_model(self.options, task, 1, 0).to(self.options.on)
                self._tasks[task] = DeployedTask.from_arrays(model, own)
        self._whole = WholeRanker()
        if self.options.variant == "whole":
            self._whole = WholeRanker.of_arrays(_within(arrays, "whole"), dataset.catalogue())
        self.reset(0)

    def reset(self, n_rows: int) -> None:
        """Forget the encodings of the previous group."""
        s = self.options
        self._users = {
            task: UserCache(deployed, s.signal, n_rows, comment_history=s.comment_history)
            for task, deployed in self._tasks.items()
        }
        self._whole.reset(n_rows)

    def score_videos(self, requests: VideoRequests) -> Scores:
        """The paper's score, with the expected comment stay and click where that is better."""
        return self._whole.score_videos(requests, self._paper_videos(requests))

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """Predicted log dwell, with the paper's score where that is better; None: likes order."""
        if self.options.variant == "paper":
            return self._paper_comments(requests)
        own = self._paper_comments(requests) if self._whole.needs_paper_comments else None
        return self._whole.score_comments(requests, own)

    def _afresh_videos(self, requests: VideoRequests) -> Scores:
        """The paper's scores of a group of its own: nothing is cached of its rows."""
        self.reset(len(requests.row))
        return self._paper_videos(requests)

    def _afresh_comments(self, requests: CommentRequests) -> Scores | None:
        """The same of comments."""
        self.reset(len(requests.row))
        return self._paper_comments(requests)

    def _paper_videos(self, requests: VideoRequests) -> Scores:
        """Cosine of the person and each candidate, over the temperature."""
        people = self._users["video"].encoded(requests.row, requests.history)
        return self._tasks["video"].score(people, requests.candidates)

    def _paper_comments(self, requests: CommentRequests) -> Scores | None:
        """Cosine of the person at this video and each comment; None without comment texts."""
        if "comment" not in self._tasks:
            return None
        encoded = self._users["comment"].encoded(requests.row, requests.history)
        deployed = self._tasks["comment"]
        count = self._users["comment"].sections_seen(requests.history)
        people = deployed.at_video(encoded, count, requests.video)
        return deployed.score(people, requests.candidates)

    def _start(
        self,
        dataset: Dataset,
        both: Histories,
        seed: int,
        progress: Progress,
        without: NDArray[np.bool_] | None = None,
    ) -> StartingPoint:
        """What stage 2 starts from: text embeddings, and what stage 1 has learned."""
        texts = Texts.of(dataset)
        most = self.options.most_comments
        if most is not None and most < len(texts.comment):
            texts = texts.among(attended_comments(dataset, both.discussed, most))
        self._summary = {}
        if not self.options.text or not texts.distinct:
            return without_texts(texts)
        # Imported here: a policy that only ranks needs no language model.
        from lsvcr.language import embed_texts

        start = embed_texts(
            dataset, texts, both, self.options, seed=seed, progress=progress, without=without
        )
        self._summary = dict(start.summary)
        return start

    def _histories(self, dataset: Dataset) -> Histories:
        s = self.options
        both = histories(dataset, s.signal, skipped=s.comment_negatives == "seen")
        return both if s.comment_history else both.without_comment_history()

    def _about(self) -> dict[str, Any]:
        return {"policy": "lsvcr", "dataset": self._dataset_hash, "settings": self.settings()}


def _within(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays whose names begin with a prefix and a point, without them."""
    return {
        name.removeprefix(f"{prefix}."): value
        for name, value in arrays.items()
        if name.startswith(f"{prefix}.")
    }
