"""What stage 2 starts from: embeddings of the log's texts, and what stage 1 has learned.

Language models are imported where they are used: a deployed policy has neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lsvcr.examples import Histories
from lsvcr.inventory import Inventory
from lsvcr.sr_model import Task
from lsvcr.stage1.settings import EMBEDDED, AlignmentSettings
from lsvcr.stage2.training import held_out
from lsvcr.text.tables import Texts, TextTables
from policies.base import Progress, share
from simulator.logs.dataset import Dataset

if TYPE_CHECKING:
    from lsvcr.text.language_model import SmallLanguageModel

# Sizes of the embedded language model, and the tokens it is trained on.
LANGUAGE_MODELS: dict[str, dict[str, int]] = {
    "small": {"width": 128, "layers": 2, "training_tokens": 250_000},
    "base": {"width": 256, "layers": 4, "training_tokens": 4_000_000},
    "paper": {"width": 512, "layers": 8, "training_tokens": 40_000_000},
}
_TASKS: tuple[Task, ...] = ("video", "comment")


@dataclass(frozen=True)
class StartingPoint:
    """See the module.

    Attributes:
        tables: Text embeddings; without width in a log without texts.
        weights: Of the sequential model by task; nothing without stage 1.
        summary: What happened, for people.
    """

    tables: TextTables
    weights: dict[Task, dict[str, Tensor]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)


def log_end_ms(dataset: Dataset) -> int:
    """The log's last moment: what was published later is unknown in training."""
    span = dataset.info.time_span_ms
    return span[1] if span else int(np.iinfo(np.int64).max)


def starting_point(
    dataset: Dataset,
    both: Histories,
    settings: Mapping[str, Any],
    *,
    sizes: dict[str, Any],
    seed: int,
    progress: Progress,
) -> StartingPoint:
    """Embed the texts with the language model as it is, or aligned.

    Args:
        dataset: The log.
        both: Its histories.
        settings: The policy's.
        sizes: Of the sequential model.
        seed: Of everything drawn.
        progress: Told what is done.
    """
    texts = Texts.of(dataset)
    if not settings["text"] or not texts.distinct:
        nothing = np.zeros((0, 0), np.float16)
        return StartingPoint(TextTables(nothing, texts.title * 0 - 1, texts.comment * 0 - 1))
    if settings["alignment"] == "llm":
        return _aligned(dataset, texts, both, settings, sizes, seed, progress)
    if settings["llm"] != EMBEDDED:
        return _foreign(dataset, texts, settings, progress)
    model, told = _language_model(dataset, texts, settings, seed, share(progress, 0.0, 0.5))
    embeddings = _standardised(model.embed(texts.distinct, share(progress, 0.5, 0.5)))
    return StartingPoint(TextTables(embeddings, texts.title, texts.comment), summary=told)


def _alignment(settings: Mapping[str, Any]) -> AlignmentSettings:
    return AlignmentSettings.of(settings["preset"], settings["alignment_settings"])


def _foreign(
    dataset: Dataset, texts: Texts, settings: Mapping[str, Any], progress: Progress
) -> StartingPoint:
    """Another language model as it is."""
    from lsvcr.text.llm import best_device, load_llm
    from lsvcr.text.store import TextStore, beside

    llm = load_llm(settings["llm"], best_device())
    encoded = llm.tokens(texts.distinct, _alignment(settings).text_tokens)
    told = TextStore(beside(dataset.path), llm).embed(encoded, progress)
    return StartingPoint(
        TextTables(_standardised(told.vectors.numpy()), texts.title, texts.comment),
        summary={"text embeddings": {"texts": len(encoded), "new": told.fresh}},
    )


def _language_model(
    dataset: Dataset,
    texts: Texts,
    settings: Mapping[str, Any],
    seed: int,
    progress: Progress,
    wording: Sequence[str] = (),
) -> tuple[SmallLanguageModel, dict[str, Any]]:
    """The small one, trained on what the log says, and its part of the summary."""
    from lsvcr.text.language_model import LanguageModelSettings, SmallLanguageModel

    read = texts.published(dataset.catalogue(), log_end_ms(dataset))
    model, loss = SmallLanguageModel.train(
        read,
        LanguageModelSettings(**LANGUAGE_MODELS[settings["preset"]]),
        seed=seed,
        progress=progress,
        wording=wording,
    )
    return model, {"language model": {"texts": len(read), "loss": round(loss, 6)}}


def _aligned(
    dataset: Dataset,
    texts: Texts,
    both: Histories,
    settings: Mapping[str, Any],
    sizes: dict[str, Any],
    seed: int,
    progress: Progress,
) -> StartingPoint:
    """Stage 1 with the small language model or another one."""
    from lsvcr.stage1.training import align
    from lsvcr.text.llm import best_device, embedded_llm, load_llm
    from lsvcr.text.prompts import WORDINGS, language_of
    from lsvcr.text.store import beside

    name: str = settings["llm"]
    summary: dict[str, Any] = {}
    if name == EMBEDDED:
        wording = WORDINGS[language_of(dataset.info.language, texts.distinct)].all()
        part = share(progress, 0.0, 0.25)
        small, summary = _language_model(dataset, texts, settings, seed, part, wording)
        llm = embedded_llm(small)
    else:
        llm = load_llm(name, best_device())
    unread = TextTables(np.zeros((1, 1), np.float16), texts.title, texts.comment)
    aligned = align(
        llm,
        texts.distinct,
        both,
        Inventory(dataset.catalogue(), unread, log_end_ms(dataset)),
        {task: held_out(both.of(task)[0], seed)[1] for task in _TASKS},
        _alignment(settings),
        language=dataset.info.language,
        sizes=sizes,
        about={
            "dataset": dataset.info.content_hash,
            "llm": name,
            "preset": settings["preset"],
            "sizes": sizes,
            "histories": {key: settings[key] for key in ("signal", "comment_history")},
        },
        seed=seed,
        progress=share(progress, 0.25, 0.75),
        # The embedded model belongs to one log and seed: nothing else could use its embeddings.
        store=None if name == EMBEDDED else beside(dataset.path),
    )
    return StartingPoint(
        TextTables(aligned.embeddings, texts.title, texts.comment),
        aligned.weights,
        {**summary, "alignment": aligned.summary},
    )


def _standardised(embeddings: NDArray[np.floating]) -> NDArray[np.float16]:
    """Zero mean and unit variance per dimension.

    Pooled states of a language model share a large common direction that would drown the
    differences between texts.
    """
    values = embeddings.astype(np.float32)
    scaled = (values - values.mean(0)) / (values.std(0) + 1e-6)
    return np.asarray(scaled, dtype=np.float16)
