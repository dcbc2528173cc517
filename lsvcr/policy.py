"""LSVCR as a policy: stage 2 on frozen text embeddings, then ranking from tables alone.

After training every video and comment of the catalogue is a row of a table: its vector as a
candidate and its part of a history token. Ranking needs neither the language model nor its text
embeddings, and this file imports no transformers.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.examples import Histories, histories
from lsvcr.inventory import Inventory
from lsvcr.serving.deployed import DeployedTask
from lsvcr.serving.user_cache import People
from lsvcr.sr_model import SRModel, Task
from lsvcr.stage1.settings import PRESETS, AlignmentSettings
from lsvcr.stage2.settings import FinetuneSettings, Rivals
from lsvcr.stage2.training import finetune
from lsvcr.starting_point import StartingPoint, log_end_ms, starting_point
from policies.base import Policy, Progress, Scores, share, silent
from policies.checkpoint import load_arrays, save_arrays
from policies.errors import PolicyError
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, Signal, VideoRequests

ALIGNMENTS = ("none", "llm")
_EPOCHS = {"small": 60, "base": 50, "paper": 50}
_ALIGNMENT_LOSSES = ("lm", "rec", "align", "behaviour")


class LSVCR(Policy):
    """Videos and comments from both histories: LSVCR's deployed model (arXiv 2403.13574).

    Unless told otherwise, the language model of stage 1 (the alignment) is a small one that is
    trained on the log's own texts.

    Args:
        preset: "small" (default), "base" or "paper": sizes of the embedded language model and
            length of training.
        signal: Which events make the video history: "liked" or "clicked".
        dim, layers, heads, feed_forward, dropout: Sizes of the sequential model.
        text: False leaves all texts out, IDs alone.
        epochs, epoch_steps, patience, learning_rate, batch, targets: Training of stage 2, see
            `lsvcr.stage2.settings`; ``epochs`` 0 takes the preset's.
        alignment: "llm": stage 1 with a language model; "none" leaves it out: the language model
            embeds the texts as it is.
        llm: What embeds texts: "embedded" (the small one), or a causal language model of Hugging
            Face by name or local directory, as it is or aligned.
        alignment_settings: What differs from the preset, by name; see
            `lsvcr.stage1.settings.AlignmentSettings`.
        comment_history: False hides in which comment sections people took part: in training and
            in ranking everybody's comment history is empty.
        mixing: False leaves out the cross-attention between the two histories.
        ids: False leaves out the videos' ID vectors: a video is its text.
        id_text_weight: Of the ID-text loss.
        comment_rivals: What a comment taken part in is to beat in training: others of its section
            ("section", as in the paper), or those that the person saw and passed over ("seen").
    """

    def __init__(
        self,
        preset: str = "small",
        signal: Signal = "liked",
        dim: int = 64,
        layers: int = 2,
        heads: int = 2,
        feed_forward: int = 256,
        dropout: float = 0.3,
        text: bool = True,
        epochs: int = 0,
        epoch_steps: int = 100,
        patience: int = 5,
        learning_rate: float = 1e-3,
        batch: int = 64,
        targets: int = 10,
        alignment: str = "llm",
        llm: str = "embedded",
        alignment_settings: dict[str, Any] | None = None,
        comment_history: bool = True,
        mixing: bool = True,
        ids: bool = True,
        id_text_weight: float = 0.1,
        comment_rivals: Rivals = "section",
    ) -> None:
        super().__init__()
        if preset not in PRESETS:
            raise PolicyError(
                f"lsvcr has no preset '{preset}'.", f"Known: {', '.join(sorted(PRESETS))}"
            )
        if alignment not in ALIGNMENTS:
            raise PolicyError(
                f"lsvcr has no alignment '{alignment}'.", f"Known: {', '.join(ALIGNMENTS)}"
            )
        if comment_rivals not in get_args(Rivals):
            raise PolicyError(
                f"lsvcr has no comment_rivals '{comment_rivals}'.",
                f"Known: {', '.join(get_args(Rivals))}",
            )
        if not (ids or text):
            raise PolicyError(
                "lsvcr with neither ids nor text knows nothing of a video.",
                "Leave one of them true.",
            )
        # Wrong ones are refused before anything is trained.
        AlignmentSettings.of(preset, alignment_settings or {})
        self._settings: dict[str, Any] = {
            "preset": preset,
            "signal": signal,
            "dim": dim,
            "layers": layers,
            "heads": heads,
            "feed_forward": feed_forward,
            "dropout": dropout,
            "text": text,
            "epochs": epochs or _EPOCHS[preset],
            "epoch_steps": epoch_steps,
            "patience": patience,
            "learning_rate": learning_rate,
            "batch": batch,
            "targets": targets,
            "alignment": alignment,
            "llm": llm,
            "alignment_settings": dict(alignment_settings or {}),
            "comment_history": comment_history,
            "mixing": mixing,
            "ids": ids,
            "id_text_weight": id_text_weight,
            "comment_rivals": comment_rivals,
        }
        self._tasks: dict[Task, DeployedTask] = {}
        self._people: dict[Task, People] = {}
        self._summary: dict[str, Any] = {}
        self._dataset_hash = ""

    def settings(self) -> dict[str, Any]:
        """Constructor settings."""
        return dict(self._settings)

    def ablations(self) -> dict[str, dict[str, Any]]:
        """Each contribution, and the settings that remove it; without alignment, what adds it."""
        parts: dict[str, dict[str, Any]] = {
            "no comment history": {"comment_history": False},
            "no mixing": {"mixing": False},
            "no ID-text loss": {"id_text_weight": 0.0},
            "no text": {"text": False},
            "no IDs": {"ids": False},
        }
        if self._settings["alignment"] == "none":
            return {**parts, "with alignment": {"alignment": "llm"}}
        # Another alignment cannot go on from a checkpoint of this one.
        own = {**self._settings["alignment_settings"], "checkpoint": ""}
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
        s = self._settings
        self._dataset_hash = dataset.info.content_hash
        both = self._histories(dataset)
        start = self._start(dataset, both, seed, share(progress, 0.0, 1 / 3))
        tables, aligned = start.tables, start.weights
        if not (s["ids"] or tables.width):
            raise PolicyError(
                f"lsvcr without ids ranks by text, and {dataset.path} has no captions or comments.",
                "Leave ids = true for this log.",
            )
        catalogue = dataset.catalogue()
        inventory = Inventory(catalogue, tables, log_end_ms(dataset))
        names = [f.name for f in dataclasses.fields(FinetuneSettings) if f.name in s]
        settings = FinetuneSettings(**{name: s[name] for name in names})
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
                    settings,
                    seed=seed,
                    progress=share(progress, (1 + 2 * number / len(tasks)) / 3, 2 / 3 / len(tasks)),
                    stage=f"{task} task",
                    aligned=bool(aligned),
                ).to_dict()
            _forget_unseen(model, both)
            self._tasks[task] = DeployedTask.of(model, inventory)
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
        save_arrays(directory, arrays, self._about())

    def load(self, directory: Path, dataset: Dataset) -> None:
        """Restore what `save` wrote; needs no language model."""
        self._dataset_hash = dataset.info.content_hash
        arrays = load_arrays(directory, self._about())
        self._tasks = {}
        tasks: tuple[Task, ...] = ("video", "comment")
        for task in tasks:
            own = {
                name.removeprefix(f"{task}."): value
                for name, value in arrays.items()
                if name.startswith(f"{task}.")
            }
            if own:
                model = self._new_model(task, 1, 0)
                self._tasks[task] = DeployedTask.from_arrays(model, own)
        self.reset(0)

    def reset(self, n_rows: int) -> None:
        """Forget the encodings of the previous group."""
        s = self._settings
        self._people = {
            task: People(deployed, s["signal"], n_rows, comment_history=s["comment_history"])
            for task, deployed in self._tasks.items()
        }

    def score_videos(self, requests: VideoRequests) -> Scores:
        """Cosine of the person and each candidate, over the temperature."""
        people = self._people["video"].encoded(requests.row, requests.history)
        return self._tasks["video"].score(people, requests.candidates)

    def score_comments(self, requests: CommentRequests) -> Scores | None:
        """Cosine of the person at this video and each comment; None without comment texts."""
        if "comment" not in self._tasks:
            return None
        encoded = self._people["comment"].encoded(requests.row, requests.history)
        deployed = self._tasks["comment"]
        count = self._people["comment"].sections_seen(requests.history)
        people = deployed.at_video(encoded, count, requests.video)
        return deployed.score(people, requests.candidates)

    def _new_model(self, task: Task, n_videos: int, text_dim: int) -> SRModel:
        s = self._settings
        return SRModel(task, n_videos, text_dim, **self._sizes(), use_ids=s["ids"])

    def _start(
        self, dataset: Dataset, both: Histories, seed: int, progress: Progress
    ) -> StartingPoint:
        """What stage 2 starts from: text embeddings, and what stage 1 has learned."""
        start = starting_point(
            dataset,
            both,
            self._settings,
            sizes=self._sizes(),
            seed=seed,
            progress=progress,
        )
        self._summary = dict(start.summary)
        return start

    def _sizes(self) -> dict[str, Any]:
        names = ("dim", "layers", "heads", "feed_forward", "dropout", "mixing")
        return {name: self._settings[name] for name in names}

    def _histories(self, dataset: Dataset) -> Histories:
        s = self._settings
        both = histories(dataset, s["signal"], passed=s["comment_rivals"] == "seen")
        return both if s["comment_history"] else both.without_comment_history()

    def _about(self) -> dict[str, Any]:
        return {"policy": "lsvcr", "dataset": self._dataset_hash, "settings": self._settings}


def _forget_unseen(model: SRModel, both: Histories) -> None:
    """Videos without an event have learned no ID vector: only their text speaks."""
    seen: Tensor = torch.zeros(model.ids.num_embeddings, dtype=torch.bool)
    for history in (both.liked, both.discussed):
        seen[torch.from_numpy(history.video)] = True
    with torch.no_grad():
        model.ids.weight[~seen] = 0.0
