"""Embed a log's texts with a language model, as it is or aligned by stage 1.

A deployed policy has no language model: `lsvcr.policy` imports this module when it trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsvcr.data.examples import Histories
from lsvcr.data.inventory import Inventory
from lsvcr.settings import LSVCRSettings
from lsvcr.stage1.training import align
from lsvcr.stage2.training import held_out
from lsvcr.starting_point import StartingPoint, log_end_ms
from lsvcr.task import TASKS
from lsvcr.text import EMBEDDED
from lsvcr.text.language_model import LanguageModelSettings, SmallLanguageModel
from lsvcr.text.llm import embedded_llm, load_llm
from lsvcr.text.prompts import WORDINGS, language_of
from lsvcr.text.store import TextStore, beside
from lsvcr.text.tables import Texts, TextTables
from policies.base import Progress, share
from simulator.logs.dataset import Dataset

# Sizes of the embedded language model, and the tokens it is trained on.
LANGUAGE_MODELS: dict[str, dict[str, int]] = {
    "small": {"width": 128, "layers": 2, "training_tokens": 125_000},
    "base": {"width": 256, "layers": 4, "training_tokens": 4_000_000},
    "paper": {"width": 512, "layers": 8, "training_tokens": 40_000_000},
}


def embed_texts(
    dataset: Dataset,
    texts: Texts,
    both: Histories,
    settings: LSVCRSettings,
    *,
    seed: int,
    progress: Progress,
    without: NDArray[np.bool_] | None = None,
) -> StartingPoint:
    """Embed the texts with the language model as it is, or aligned.

    Args:
        dataset: The log.
        texts: Its texts.
        both: Its histories.
        settings: The policy's.
        seed: Of everything drawn.
        progress: Told what is done.
        without: bool[U], people whose comment events are left out of stage 1.
    """
    if settings.alignment == "llm":
        return _aligned(dataset, texts, both, settings, seed, progress, without)
    if settings.llm != EMBEDDED:
        return _foreign(dataset, texts, settings, progress)
    model, told = _language_model(dataset, texts, settings, seed, share(progress, 0.0, 0.5))
    embeddings = _standardised(model.embed(texts.distinct, share(progress, 0.5, 0.5)))
    return StartingPoint(TextTables(embeddings, texts.title, texts.comment), summary=told)


def _foreign(
    dataset: Dataset, texts: Texts, settings: LSVCRSettings, progress: Progress
) -> StartingPoint:
    """Another language model as it is."""
    llm = load_llm(settings.llm, settings.on)
    encoded = llm.tokens(texts.distinct, settings.stage_1().text_tokens)
    told = TextStore(beside(dataset.path), llm).embed(encoded, progress)
    return StartingPoint(
        TextTables(_standardised(told.vectors.numpy()), texts.title, texts.comment),
        summary={"text embeddings": {"texts": len(encoded), "new": told.fresh}},
    )


def _language_model(
    dataset: Dataset,
    texts: Texts,
    settings: LSVCRSettings,
    seed: int,
    progress: Progress,
    wording: Sequence[str] = (),
) -> tuple[SmallLanguageModel, dict[str, Any]]:
    """The small one, trained on what the log says, and its part of the summary."""
    read = texts.published(dataset.catalogue(), log_end_ms(dataset))
    model, loss = SmallLanguageModel.train(
        read,
        LanguageModelSettings(**LANGUAGE_MODELS[settings.preset]),
        seed=seed,
        progress=progress,
        wording=wording,
        device=settings.on,
    )
    return model, {"language model": {"texts": len(read), "loss": round(loss, 6)}}


def _aligned(
    dataset: Dataset,
    texts: Texts,
    both: Histories,
    settings: LSVCRSettings,
    seed: int,
    progress: Progress,
    without: NDArray[np.bool_] | None,
) -> StartingPoint:
    """Stage 1 with the small language model or another one."""
    name: str = settings.llm
    summary: dict[str, Any] = {}
    if name == EMBEDDED:
        wording = WORDINGS[language_of(dataset.info.language, texts.distinct)].all()
        part = share(progress, 0.0, 0.25)
        small, summary = _language_model(dataset, texts, settings, seed, part, wording)
        llm = embedded_llm(small)
    else:
        llm = load_llm(name, settings.on)
    unread = TextTables(np.zeros((1, 1), np.float16), texts.title, texts.comment)
    aligned = align(
        llm,
        texts.distinct,
        both,
        Inventory(dataset.catalogue(), unread, log_end_ms(dataset)),
        {
            task: held_out(both.of(task)[0], seed, without if task == "comment" else None)[1]
            for task in TASKS
        },
        settings.stage_1(),
        language=dataset.info.language,
        sizes=settings.sizes(),
        about={
            "dataset": dataset.info.content_hash,
            "llm": name,
            "preset": settings.preset,
            "sizes": settings.sizes(),
            "histories": {
                "signal": settings.signal,
                "comment_history": settings.comment_history,
            },
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
