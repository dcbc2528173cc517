"""Measure what stage 1 of LSVCR, the alignment with a language model, adds in the `small` world.

    python -m benchmarks.models.alignment
    python -m benchmarks.models.alignment --users 300 --seeds 1 --arms none aligned no-lm
    python -m benchmarks.models.alignment --set videos=2000 comments=2000 batch=64

Every arm and seed starts from the same embedded language model. "none" skips stage 1, "aligned"
runs it whole, "no-X" without one loss; NAME=VALUE changes a setting of
`lsvcr.stage1.settings.AlignmentSettings`, of one arm ("aligned:negatives=0") or of all (``--set``).
Two figures per task, both NDCG@5 of the events held out of training: before stage 2 has made a
step, and at stage 2's best epoch. Stage 2 trains as it does in the policy. The held-out event is
ranked among 100 videos, or among the comments of its video. One thread; seconds are CPU time of
stage 1.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from abtest.console import Console
from abtest.run.datasets import builtin_dataset
from benchmarks.lib.settings import settings_of
from lsvcr.data.examples import Histories, histories
from lsvcr.data.inventory import Inventory
from lsvcr.model.sr_model import SRModel
from lsvcr.policy import LSVCR
from lsvcr.stage1.settings import AlignmentSettings
from lsvcr.stage1.training import align
from lsvcr.stage2.settings import FinetuneSettings
from lsvcr.stage2.training import finetune, held_out
from lsvcr.task import Task
from lsvcr.text.language_model import LanguageModelSettings, SmallLanguageModel
from lsvcr.text.llm import CausalLLM, embedded_llm
from lsvcr.text.prompts import WORDINGS
from lsvcr.text.tables import Texts, TextTables
from policies.base import silent
from simulator.logs.dataset import Dataset

TASKS: tuple[Task, ...] = ("video", "comment")
LOSSES = ("lm", "rec", "align", "behaviour")
POLICY = LSVCR().settings()
ARMS = ("none", "aligned", *(f"no-{name}" for name in LOSSES))


@dataclass(frozen=True)
class Setting:
    """What all arms share."""

    dataset: Dataset
    texts: Texts
    both: Histories
    small: SmallLanguageModel
    epochs: int
    store: Path
    changes: dict[str, Any]

    def llm(self) -> CausalLLM:
        """A fresh copy."""
        return embedded_llm(copy.deepcopy(self.small))

    def inventory(self, embeddings: np.ndarray) -> Inventory:
        """As stages 1 and 2 read it."""
        tables = TextTables(embeddings.astype(np.float16), self.texts.title, self.texts.comment)
        return Inventory(self.dataset.catalogue(), tables, int(np.iinfo(np.int64).max))


def changes(arm: str) -> dict[str, Any]:
    """Alignment settings of an arm's name."""
    name, _, given = arm.partition(":")
    changed = settings_of(given.split(","))
    if name.startswith("no-"):
        changed[name.removeprefix("no-")] = 0.0
    return changed


def run(setting: Setting, arm: str, seed: int) -> dict[str, float]:
    """Figures of one arm and seed."""
    started = time.process_time()
    weights: dict[Task, dict[str, torch.Tensor]] = {}
    if arm == "none":
        raw = setting.llm().embed(setting.llm().tokens(setting.texts.distinct)).numpy()
        embeddings = ((raw - raw.mean(0)) / (raw.std(0) + 1e-6)).astype(np.float16)
    else:
        aligned = align(
            setting.llm(),
            setting.texts.distinct,
            setting.both,
            setting.inventory(np.zeros((1, 1))),
            {task: held_out(setting.both.of(task)[0], seed)[1] for task in TASKS},
            AlignmentSettings.of("small", setting.changes | changes(arm)),
            language=setting.dataset.info.language,
            sizes={"dropout": POLICY["dropout"]},
            about={},
            seed=seed,
            progress=silent,
            store=setting.store,
        )
        embeddings, weights = aligned.embeddings, aligned.weights
        print(f"  losses {aligned.summary['losses']}", flush=True)
    told = {"seconds": time.process_time() - started}
    inventory = setting.inventory(embeddings)
    for number, task in enumerate(TASKS):
        for when in ("start", "tuned"):
            torch.manual_seed(seed * 10 + number)
            model = SRModel(task, inventory.catalogue.n_videos, embeddings.shape[1])
            if weights:
                model.take_over(weights[task])
            told[f"{task} {when}"] = finetune(
                model,
                setting.both,
                inventory,
                FinetuneSettings(
                    epochs=0 if when == "start" else setting.epochs,
                    epoch_steps=POLICY["epoch_steps"],
                    patience=POLICY["patience"],
                    learning_rate=POLICY["learning_rate"],
                ),
                seed=seed,
                progress=silent,
                stage=task,
                aligned=bool(weights),
            ).best_metric
    return told


def language_model(texts: Texts, tokens: int) -> SmallLanguageModel:
    """The embedded model, and what it has learned by texts that it has not read."""
    order = np.random.default_rng(0).permutation(len(texts.distinct))
    cut = len(order) // 10
    held, read = ([texts.distinct[i] for i in part] for part in (order[:cut], order[cut:]))
    settings = LanguageModelSettings(training_tokens=tokens)
    started = time.process_time()
    small, _ = SmallLanguageModel.train(
        read, settings, seed=1, progress=silent, wording=WORDINGS["zh"].all()
    )
    spent = time.process_time() - started
    llm = embedded_llm(small)
    counts = np.ones(small.model.config.vocab_size)
    for ids in llm.tokens(read):
        np.add.at(counts, [*ids, llm.end], 1)
    unigram = -np.log(counts / counts.sum())
    told, entropy, n = 0.0, 0.0, 0
    with torch.no_grad():
        for ids in llm.tokens(held):
            whole = torch.tensor([[llm.end, *ids, llm.end]])
            length = whole.shape[1] - 1
            told += float(small.model(input_ids=whole, labels=whole).loss) * length
            entropy += float(unigram[whole[0, 1:].numpy()].sum())
            n += length
    vectors = llm.embed(llm.tokens(held)).numpy()
    spread = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)
    print(
        f"language model: {len(read):,} texts, {spent:.0f} s; held-out perplexity "
        f"{np.exp(told / n):.1f} per token (single-token frequencies: {np.exp(entropy / n):.0f}; "
        f"vocabulary {len(counts):,})"
    )
    print(
        f"mean cosine of two texts: {mean_cosine(vectors):.3f} as pooled, "
        f"{mean_cosine(spread):.3f} standardised",
        flush=True,
    )
    return small


def mean_cosine(vectors: np.ndarray) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    n = len(unit)
    return float((np.square(unit.sum(0)).sum() - n) / (n * (n - 1)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=1_500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=POLICY["epochs"])
    parser.add_argument("--lm-tokens", type=int, default=250_000)
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--set", nargs="+", default=[], help="settings of stage 1 in every arm")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = builtin_dataset("small", 1, options.users, 2, Console())
    texts = Texts.of(dataset)
    store = tempfile.TemporaryDirectory()
    setting = Setting(
        dataset,
        texts,
        histories(dataset, "liked"),
        language_model(texts, options.lm_tokens),
        options.epochs,
        Path(store.name),
        settings_of(options.set),
    )
    both = setting.both
    print(f"{len(both.liked.video):,} likes, {len(both.discussed.video):,} comment sections")
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in options.arms}
    for seed in range(1, options.seeds + 1):
        for arm in options.arms:
            told = run(setting, arm, seed)
            found[arm].append(told)
            figures = "  ".join(f"{key} {value:.4f}" for key, value in told.items())
            print(f"seed {seed} {arm}: {figures}", flush=True)
    if options.seeds < 2:
        return
    first = options.arms[0]
    print(f"\nmean over seeds; difference from {first} ± standard error over seeds")
    for arm, rows in found.items():
        cells = []
        for key in rows[0]:
            values = np.array([row[key] for row in rows])
            apart = values - np.array([row[key] for row in found[first]])
            error = apart.std(ddof=1) / np.sqrt(len(apart))
            cells.append(f"{key} {values.mean():.4f} ({apart.mean():+.4f} ± {error:.4f})")
        print(f"{arm}: " + "  ".join(cells))


if __name__ == "__main__":
    main()
