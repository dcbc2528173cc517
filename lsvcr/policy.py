"""LSVCR as a policy: stage 2 on frozen text embeddings, then ranking from tables alone.

After training every video and comment of the catalogue is a row of a table: its vector as a
candidate and its part of a history token. Ranking needs neither the language model nor its text
embeddings, and this file imports no transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.alignment_settings import EMBEDDED, AlignmentSettings
from lsvcr.deployed import DeployedTask
from lsvcr.examples import Histories, histories
from lsvcr.finetune import finetune, held_out
from lsvcr.finetune_settings import FinetuneSettings, Rivals
from lsvcr.inventory import Inventory
from lsvcr.people import People
from lsvcr.sr_model import SRModel, Task
from lsvcr.text_tables import Texts, TextTables
from policies.base import Policy, Progress, Scores, silent
from policies.checkpoint import load_arrays, save_arrays
from policies.errors import PolicyError
from simulator.logs.dataset import Dataset
from simulator.requests import CommentRequests, Signal, VideoRequests

if TYPE_CHECKING:
    from lsvcr.language_model import SmallLanguageModel

PRESETS: dict[str, dict[str, Any]] = {
    "small": {"epochs": 60, "lm_width": 128, "lm_layers": 2, "lm_tokens": 250_000},
    "base": {"epochs": 50, "lm_width": 256, "lm_layers": 4, "lm_tokens": 4_000_000},
    "paper": {"epochs": 50, "lm_width": 512, "lm_layers": 8, "lm_tokens": 40_000_000},
}
ALIGNMENTS = ("none", "llm")
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
            `lsvcr.finetune_settings`; ``epochs`` 0 takes the preset's.
        alignment: "llm": stage 1 with a language model; "none" leaves it out: the language model
            embeds the texts as it is.
        llm: What embeds texts: "embedded" (the small one), or a causal language model of Hugging
            Face by name or local directory, as it is or aligned.
        alignment_settings: What differs from the preset, by name; see
            `lsvcr.alignment_settings.AlignmentSettings`.
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
        self._alignment = AlignmentSettings.of(preset, alignment_settings or {})
        self._settings: dict[str, Any] = {
            "preset": preset,
            "signal": signal,
            "dim": dim,
            "layers": layers,
            "heads": heads,
            "feed_forward": feed_forward,
            "dropout": dropout,
            "text": text,
            "epochs": epochs or PRESETS[preset]["epochs"],
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
        self._summary = {}
        both = self._histories(dataset)
        tables, aligned = self._text_tables(dataset, both, seed, progress)
        if not (s["ids"] or tables.width):
            raise PolicyError(
                f"lsvcr without ids ranks by text, and {dataset.path} has no captions or comments.",
                "Leave ids = true for this log.",
            )
        catalogue = dataset.catalogue()
        inventory = _inventory(dataset, tables)
        tasks: list[Task] = ["video"]
        if tables.has_comments and (both.discussed.comments >= 0).any():
            tasks.append("comment")
        self._tasks = {}
        for number, task in enumerate(tasks):
            torch.manual_seed(seed * 10 + number)
            model = self._new_model(task, catalogue.n_videos, tables.width)
            if aligned:
                own = {k: v for k, v in model.state_dict().items() if k not in aligned[task]}
                model.load_state_dict({**own, **aligned[task]}, strict=True)
            if (both.of(task)[0].lengths > 0).any():
                self._summary[task] = finetune(
                    model,
                    both,
                    inventory,
                    FinetuneSettings(
                        epochs=s["epochs"],
                        epoch_steps=s["epoch_steps"],
                        patience=s["patience"],
                        learning_rate=s["learning_rate"],
                        batch=s["batch"],
                        targets=s["targets"],
                        id_text_weight=s["id_text_weight"],
                        comment_rivals=s["comment_rivals"],
                    ),
                    seed=seed,
                    progress=_scaled(progress, 2 + number * 4 // len(tasks), 6, 4 // len(tasks)),
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
        self._summary = {}
        self._text_tables(dataset, self._histories(dataset), seed, progress)
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

    def _sizes(self) -> dict[str, Any]:
        names = ("dim", "layers", "heads", "feed_forward", "dropout", "mixing")
        return {name: self._settings[name] for name in names}

    def _histories(self, dataset: Dataset) -> Histories:
        s = self._settings
        both = histories(dataset, s["signal"], passed=s["comment_rivals"] == "seen")
        return both if s["comment_history"] else both.without_comment_history()

    def _about(self) -> dict[str, Any]:
        return {"policy": "lsvcr", "dataset": self._dataset_hash, "settings": self._settings}

    def _text_tables(
        self, dataset: Dataset, both: Histories, seed: int, progress: Progress
    ) -> tuple[TextTables, dict[Task, dict[str, Tensor]]]:
        """Text embeddings, and what stage 1 has learned (nothing without it)."""
        texts = Texts.of(dataset)
        empty = TextTables(np.zeros((0, 0), np.float16), texts.title * 0 - 1, texts.comment * 0 - 1)
        if not self._settings["text"] or not texts.distinct:
            return empty, {}
        if self._settings["alignment"] == "llm":
            return self._aligned(dataset, texts, both, seed, progress)
        if self._settings["llm"] != EMBEDDED:
            told = self._foreign_embeddings(dataset, texts, _scaled(progress, 0, 6, 2))
            return TextTables(_standardised(told), texts.title, texts.comment), {}
        model = self._language_model(dataset, texts, seed, _scaled(progress, 0, 6))
        embeddings = model.embed(texts.distinct, _scaled(progress, 1, 6))
        return TextTables(_standardised(embeddings), texts.title, texts.comment), {}

    def _foreign_embeddings(
        self, dataset: Dataset, texts: Texts, progress: Progress
    ) -> NDArray[np.float32]:
        """float32[D, h] of a language model as it is, without alignment."""
        from lsvcr.llm import best_device, load_llm
        from lsvcr.text_store import TextStore, beside

        llm = load_llm(self._settings["llm"], best_device())
        encoded = llm.tokens(texts.distinct, self._alignment.text_tokens)
        told = TextStore(beside(dataset.path), llm).embed(encoded, progress)
        self._summary["text embeddings"] = {"texts": len(encoded), "new": told.fresh}
        return np.asarray(told.vectors.numpy(), dtype=np.float32)

    def _language_model(
        self,
        dataset: Dataset,
        texts: Texts,
        seed: int,
        progress: Progress,
        wording: Sequence[str] = (),
    ) -> SmallLanguageModel:
        # Imported here: a deployed policy loads and ranks without transformers.
        from lsvcr.language_model import LanguageModelSettings, SmallLanguageModel

        preset = PRESETS[self._settings["preset"]]
        settings = LanguageModelSettings(
            width=preset["lm_width"],
            layers=preset["lm_layers"],
            training_tokens=preset["lm_tokens"],
        )
        read = texts.published(dataset.catalogue(), _end_ms(dataset))
        model, loss = SmallLanguageModel.train(
            read, settings, seed=seed, progress=progress, wording=wording
        )
        self._summary["language model"] = {"texts": len(read), "loss": round(loss, 6)}
        return model

    def _aligned(
        self, dataset: Dataset, texts: Texts, both: Histories, seed: int, progress: Progress
    ) -> tuple[TextTables, dict[Task, dict[str, Tensor]]]:
        from lsvcr.alignment import align
        from lsvcr.llm import best_device, embedded_llm, load_llm
        from lsvcr.prompts import WORDINGS, language_of
        from lsvcr.text_store import beside

        s = self._settings
        language = language_of(dataset.info.language, texts.distinct[:1_000])
        if s["llm"] == EMBEDDED:
            wording = WORDINGS[language].all()
            small = self._language_model(dataset, texts, seed, _scaled(progress, 0, 12), wording)
            llm = embedded_llm(small)
        else:
            llm = load_llm(s["llm"], best_device())
        unread = TextTables(np.zeros((1, 1), np.float16), texts.title, texts.comment)
        tasks: tuple[Task, ...] = ("video", "comment")
        aligned = align(
            llm,
            texts.distinct,
            both,
            _inventory(dataset, unread),
            {task: held_out(both.of(task)[0], seed)[1] for task in tasks},
            self._alignment,
            language=language,
            sizes=self._sizes(),
            about={
                "dataset": self._dataset_hash,
                "llm": s["llm"],
                "preset": s["preset"],
                "sizes": self._sizes(),
                "histories": {name: s[name] for name in ("signal", "comment_history")},
            },
            seed=seed,
            progress=_scaled(progress, 1, 12, 3),
            # The embedded model belongs to one log and seed: nothing else could use its embeddings.
            store=None if s["llm"] == EMBEDDED else beside(dataset.path),
        )
        self._summary["alignment"] = aligned.summary
        return TextTables(aligned.embeddings, texts.title, texts.comment), aligned.weights


def _inventory(dataset: Dataset, tables: TextTables) -> Inventory:
    return Inventory(dataset.catalogue(), tables, _end_ms(dataset))


def _end_ms(dataset: Dataset) -> int:
    """The log's last moment: what was published later is unknown in training."""
    span = dataset.info.time_span_ms
    return span[1] if span else int(np.iinfo(np.int64).max)


def _standardised(embeddings: NDArray[np.floating]) -> NDArray[np.float16]:
    """Zero mean and unit variance per dimension.

    Pooled states of a language model share a large common direction that would drown the
    differences between texts.
    """
    values = embeddings.astype(np.float32)
    scaled = (values - values.mean(0)) / (values.std(0) + 1e-6)
    return np.asarray(scaled, dtype=np.float16)


def _forget_unseen(model: SRModel, both: Histories) -> None:
    """Videos without an event have learned no ID vector: only their text speaks."""
    seen: Tensor = torch.zeros(model.ids.num_embeddings, dtype=torch.bool)
    for history in (both.liked, both.discussed):
        seen[torch.from_numpy(history.video)] = True
    with torch.no_grad():
        model.ids.weight[~seen] = 0.0


def _scaled(progress: Progress, part: int, parts: int, width: int = 1) -> Progress:
    """A progress callback for the parts ``part .. part + width - 1`` of several."""

    def scaled(stage: str, fraction: float, detail: str) -> None:
        progress(stage, (part + width * fraction) / parts, detail)

    return scaled
