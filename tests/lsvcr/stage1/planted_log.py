"""See a planted log as stage 1 sees it, with sizes that align in seconds."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from lsvcr.data.examples import Histories, histories
from lsvcr.data.inventory import Inventory
from lsvcr.stage1.augmentation import Augmentation
from lsvcr.stage1.batch import BatchMaker, PromptWriter
from lsvcr.stage1.examples import Examples, make_examples
from lsvcr.stage1.settings import AlignmentSettings
from lsvcr.stage1.training import Aligned, align
from lsvcr.stage2.training import held_out
from lsvcr.task import Task
from lsvcr.text.language_model import LanguageModelSettings, SmallLanguageModel
from lsvcr.text.llm import CausalLLM, embedded_llm
from lsvcr.text.tables import Texts, TextTables
from policies.base import Progress, silent

TASKS: tuple[Task, ...] = ("video", "comment")


SIZES: dict[str, Any] = {"dim": 16, "feed_forward": 32, "dropout": 0.1}


TINY: dict[str, Any] = {
    "videos": 48,
    "comments": 48,
    "history": 4,
    "batch": 8,
    "text_tokens": 12,
    "prompt_tokens": 160,
}


class Log:
    """A planted log as stage 1 sees it."""

    def __init__(self, planted: Any) -> None:
        self.dataset = planted.dataset
        texts = Texts.of(self.dataset)
        self.texts = texts.distinct
        self.both: Histories = histories(self.dataset, "liked")
        tables = TextTables(np.zeros((1, 1), np.float16), texts.title, texts.comment)
        self.inventory = Inventory(self.dataset.catalogue(), tables, 2**62)
        self.stops: dict[Task, Any] = {t: held_out(self.both.of(t)[0], 1)[1] for t in TASKS}
        settings = LanguageModelSettings(
            width=32, heads=2, vocabulary=400, training_tokens=4_000, max_tokens=12
        )
        self._small = SmallLanguageModel.train(self.texts, settings, seed=1, progress=silent)[0]

    def llm(self) -> CausalLLM:
        return embedded_llm(copy.deepcopy(self._small))

    def align(self, *, seed: int = 1, progress: Progress = silent, **changes: Any) -> Aligned:
        return align(
            self.llm(),
            self.texts,
            self.both,
            self.inventory,
            self.stops,
            AlignmentSettings.of("small", {**TINY, **changes}),
            language="zh",
            sizes=SIZES,
            about={"dataset": "planted"},
            seed=seed,
            progress=progress,
        )

    def examples(self, most: int = 10**6) -> Examples:
        return make_examples(
            self.both, self.inventory, self.stops, {"video": most, "comment": most}, seed=1
        )


def maker(log: Log, llm: CausalLLM, **changes: Any) -> BatchMaker:
    given = {"text_tokens": 12, "prompt_tokens": 2_000, **changes}
    writer = PromptWriter(llm, log.texts, "zh", **given)
    return BatchMaker(log.both, log.inventory, writer, 4, Augmentation(), 1)


QUICK: dict[str, Any] = {
    "variant": "paper",
    "epochs": 1,
    "epoch_steps": 1,
    "alignment": "llm",
    "alignment_settings": TINY,
    **SIZES,
}
