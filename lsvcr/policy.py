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
import torch
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.data.examples import Histories, histories
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.serving.deployed import DeployedTask
from lsvcr.serving.user_cache import UserCache
from lsvcr.settings import LSVCRSettings
from lsvcr.stage2.training import finetune
from lsvcr.starting_point import StartingPoint, log_end_ms, without_texts
from lsvcr.task import TASKS, Task
from lsvcr.text.tables import Texts
from lsvcr.whole import WholeRanker, fit_whole
from policies.base import Policy, Progress, Scores, share, silent
from policies.checkpoint import load_arrays, save_arrays
from policies.comments.value.visits import held_people
from policies.errors import PolicyError
from policies.memory import require_memory
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, VideoRequests

_ALIGNMENT_LOSSES = ("lm", "rec", "align", "behaviour")


class LSVCR(Policy):
    """Videos and comments from both histories: LSVCR's deployed model (arXiv 2403.13574).

    Unless told otherwise, the language model of stage 1 (the alignment) is a small one that is
    trained on the log's own texts.

    Settings: see `lsvcr.settings.LSVCRSettings`.
    """

    name = "lsvcr"
    slow_to_train = True
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

    def fit(self, dataset: Dataset, *, seed: int, progress: Progress = silent) -> None:
        """Language model, text embeddings, then one fine-tuned model per task."""
        s = self.options
        self._dataset_hash = dataset.info.content_hash
        videos = dataset.catalogue().n_videos
        require_memory(
            lambda: self._new_model("video", videos, 0),
            "lsvcr",
            f"dim = {s.dim}, {videos:,} videos",
        )
        both = self._histories(dataset)
        # Who decides whether the paper's comment score is served must not have trained it.
        without = held_people(len(dataset.user_ids()), seed) if s.variant == "whole" else None
        start = self._start(dataset, both, seed, share(progress, 0.0, 1 / 3), without)
        tables, aligned = start.tables, start.weights
        if not (s.ids or tables.width):
            raise PolicyError(
                f"lsvcr without ids ranks by text, and {dataset.path} has no captions or comments.",
                "Leave ids = true for this log.",
            )
        catalogue = dataset.catalogue()
        inventory = Inventory(catalogue, tables, log_end_ms(dataset))
        tasks: list[Task] = ["video"]
        if tables.has_comments and (both.discussed.comments >= 0).any():
            tasks.append("comment")
        self._tasks = {}
        for number, task in enumerate(tasks):
            torch.manual_seed(seed * 10 + number)
            model = self._new_model(task, catalogue.n_videos, tables.width)
            if aligned:
                model.take_over(aligned[task])
            if (both.of(task)[0].lengths > 0).any():
                self._summary[task] = finetune(
                    model,
                    both,
                    inventory,
                    s.stage_2(),
                    seed=seed,
                    progress=share(progress, (1 + 2 * number / len(tasks)) / 3, 2 / 3 / len(tasks)),
                    stage=f"{task} task",
                    aligned=bool(aligned),
                    without=without if task == "comment" else None,
                ).to_dict()
            _forget_unseen(model, both)
            self._tasks[task] = DeployedTask.of(model, inventory)
        self.reset(0)
        self._whole = WholeRanker()
        if s.variant == "whole":
            self._whole, told = fit_whole(
                dataset,
                tables,
                lambda requests: self._afresh(requests)._paper_comments(requests),
                lambda requests: self._afresh(requests)._paper_videos(requests),
                seed=seed,
            )
            self._summary |= told
            if not self._whole.needs_paper_comments:
                self._tasks.pop("comment", None)
        self.reset(0)

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
                model = self._new_model(task, 1, 0)
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

    def _afresh(self, requests: VideoRequests | CommentRequests) -> LSVCR:
        """This policy, with nothing cached of the rows of these requests."""
        self.reset(len(requests.row))
        return self

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

    def _new_model(self, task: Task, n_videos: int, text_dim: int) -> SRModel:
        s = self.options
        return SRModel(task, n_videos, text_dim, **s.sizes(), use_ids=s.ids)

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


def _forget_unseen(model: SRModel, both: Histories) -> None:
    """Videos without an event have learned no ID vector: only their text speaks."""
    seen: Tensor = torch.zeros(model.ids.num_embeddings, dtype=torch.bool)
    for history in (both.liked, both.discussed):
        seen[torch.from_numpy(history.video)] = True
    with torch.no_grad():
        model.ids.weight[~seen] = 0.0
