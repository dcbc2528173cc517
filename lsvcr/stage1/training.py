"""Train stage 1: align the sequential model's users with those of a language model.

Zheng et al. (arXiv 2403.13574), section 4.3: one epoch over examples of both tasks, then every text
is embedded once with the tuned language model, which is not needed any more. Differences: the
histories' texts pass through the current language model without gradients; rows with the same
target are no negatives of each other in the recommendation loss; the learning rate falls linearly
to 0 after its warm-up (the paper says nothing).

Each step draws from its own number and the seed alone, so that training goes on from a checkpoint
with the same result as without a break.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lsvcr.data.examples import Histories
from lsvcr.data.inventory import Inventory
from lsvcr.model.warm_start import start_from_agreement
from lsvcr.stage1.augmentation import Augmentation
from lsvcr.stage1.batch import BatchMaker, PromptWriter
from lsvcr.stage1.examples import Examples, make_examples
from lsvcr.stage1.model import AlignmentModel, Losses
from lsvcr.stage1.settings import AlignmentSettings
from lsvcr.task import Task
from lsvcr.text.llm import CausalLLM, Ids
from lsvcr.text.prompts import language_of
from lsvcr.text.store import TextStore
from policies.base import Progress, share
from policies.checkpoint import ARRAYS, load_arrays, save_arrays
from policies.distributed import mean_gradients, rank, start_alike, summed, world_size
from policies.errors import CheckpointError, PolicyError

Float16 = NDArray[np.float16]
Int64 = NDArray[np.int64]

STAGE = "alignment"
_CLIP = 1.0
# Shares of the time that embedding takes: some texts before, all texts after.
_BEFORE, _AFTER = 0.05, 0.45
# Texts by whose embeddings all are standardised.
_SAMPLE = 8_192
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Aligned:
    """What stage 1 leaves behind.

    Attributes:
        embeddings: float16[D, width], standardised, one row per distinct text.
        weights: What stage 2 of each task starts from.
        summary: For people.
    """

    embeddings: Float16
    weights: dict[Task, dict[str, Tensor]]
    summary: dict[str, Any]


def align(
    llm: CausalLLM,
    texts: list[str],
    both: Histories,
    inventory: Inventory,
    stops: dict[Task, Int64],
    settings: AlignmentSettings,
    *,
    language: str | None,
    sizes: dict[str, Any],
    about: dict[str, Any],
    seed: int,
    progress: Progress,
    store: Path | None = None,
) -> Aligned:
    """Align, then embed every text.

    Args:
        llm: Fresh; tuned in place.
        texts: The log's distinct texts.
        both: Histories.
        inventory: Which text belongs to which video and comment; its embeddings are not read.
        stops: int64[U] per task, events from here on are held out.
        settings: How.
        language: The dataset's.
        sizes: Of the sequential model.
        about: What a checkpoint belongs to: dataset, language model.
        seed: Of everything drawn.
        progress: Told the losses.
        store: Folder of the dataset's text embeddings; None keeps none.
    """
    torch.manual_seed(seed)
    llm.adapt(
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        checkpointing=settings.gradient_checkpointing,
    )
    writer = PromptWriter(
        llm,
        texts,
        language_of(language, texts),
        text_tokens=settings.text_tokens,
        prompt_tokens=settings.prompt_tokens,
    )
    examples = make_examples(
        both,
        inventory,
        stops,
        {"video": settings.videos, "comment": settings.comments},
        seed=seed,
    )
    maker = BatchMaker(
        both,
        inventory,
        writer,
        settings.history,
        Augmentation() if settings.augment else Augmentation(history=0.0),
        seed,
        settings.negatives,
    )
    before = _embed_before(llm, writer.texts, inventory, store, share(progress, 0.0, _BEFORE))
    if settings.dropout >= 0.0:
        sizes = {**sizes, "dropout": settings.dropout}
    model = AlignmentModel(llm, before.mean, before.spread, sizes)
    _start_videos(model, before.vectors, both, inventory, stops)
    training = _Training(model, maker, examples, settings, about, seed)
    summary = training.run(share(progress, _BEFORE, 1.0 - _BEFORE - _AFTER))
    model.eval()
    tuned = TextStore(store, llm)
    with llm.merged():
        after = tuned.embed(writer.texts, share(progress, 1.0 - _AFTER, _AFTER))
    summary["texts"] = {"before": before.fresh, "after": after.fresh}
    embedded = model.standardised(after.vectors.to(llm.device))
    return Aligned(
        embedded.cpu().numpy().astype(np.float16),
        {"video": model.weights("video"), "comment": model.weights("comment")},
        summary,
    )


@dataclass(frozen=True)
class _Before:
    """Text embeddings of the language model as it was.

    Attributes:
        mean, spread: float32[width], by which embeddings are standardised.
        vectors: float32[D, width]; rows of titles, the others may be 0.
        fresh: Texts that passed through the language model.
    """

    mean: Tensor
    spread: Tensor
    vectors: Tensor
    fresh: int


def _embed_before(
    llm: CausalLLM, texts: list[Ids], inventory: Inventory, store: Path | None, progress: Progress
) -> _Before:
    """Embed what the start needs: all titles, and a sample of all texts for mean and spread."""
    sample = np.unique(np.linspace(0, max(len(texts) - 1, 0), _SAMPLE).astype(np.int64))
    sample = sample[: len(texts)]
    titles = inventory.title.numpy()
    rows = np.union1d(sample, titles[titles >= 0])
    found = TextStore(store, llm).embed([texts[row] for row in rows], progress)
    vectors = torch.zeros(len(texts), llm.width)
    vectors[torch.from_numpy(rows)] = found.vectors
    sampled = vectors[torch.from_numpy(sample)]
    spread = sampled.std(0, unbiased=False) + 1e-6
    return _Before(sampled.mean(0), spread, vectors, found.fresh)


def _start_videos(
    model: AlignmentModel,
    embeddings: Tensor,
    both: Histories,
    inventory: Inventory,
    stops: dict[Task, Int64],
) -> None:
    """The video task starts where stage 2 without an alignment would start."""
    known = copy.copy(inventory)
    # As rounded as stage 2 reads them.
    known.embeddings = model.standardised(embeddings.to(model.llm.device)).half().float().cpu()
    known.has_text = len(embeddings) > 0
    start_from_agreement(model.of("video"), both.liked.until(stops["video"]), known)


class _Training:
    """One epoch, resumable."""

    def __init__(
        self,
        model: AlignmentModel,
        maker: BatchMaker,
        examples: Examples,
        settings: AlignmentSettings,
        about: dict[str, Any],
        seed: int,
    ) -> None:
        self.model, self.maker, self.examples = model, maker, examples
        self.settings, self.seed = settings, seed
        self.named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.optimiser = torch.optim.AdamW(
            list(self.named.values()), lr=settings.learning_rate, weight_decay=1e-5
        )
        if settings.batch * world_size() < 2:
            raise PolicyError(
                "alignment setting batch = 1 leaves no negatives on one device.",
                "Take at least 2.",
            )
        self.size = min(settings.batch, len(examples) // world_size())
        per_pass = max(1, self.size * world_size())
        self.passes = max(1, min(settings.accumulation, len(examples) // per_pass))
        # A person alone in a batch has no negatives.
        self.steps = len(examples) // (per_pass * self.passes) if per_pass >= 2 else 0
        hidden = {"checkpoint", "checkpoint_steps"}
        self.about = {
            **about,
            "stage": STAGE,
            "seed": seed,
            "settings": {k: v for k, v in dataclasses.asdict(settings).items() if k not in hidden},
        }
        self.read = self.size * self.passes * world_size()
        self.done = 0
        self.told: list[list[float]] = []

    def run(self, progress: Progress) -> dict[str, Any]:
        self._resume()
        start_alike(list(self.named.values()))
        for step in range(self.done, self.steps):
            self.told.append(self._step(step))
            self.done = step + 1
            names = ("total", "lm", "rec", "align", "behaviour")
            recent = np.mean(self.told[-20:], axis=0)
            detail = ", ".join(f"{n} {v:.3f}" for n, v in zip(names, recent, strict=True))
            progress(STAGE, (step + 1) / self.steps, f"step {step + 1}, {detail}")
            if self.done % self.settings.checkpoint_steps == 0 or self.done == self.steps:
                self._save()
        tail = self.told[-max(1, self.steps // 10) :]
        means = np.mean(tail, axis=0) if tail else np.zeros(5)
        return {
            "examples": self.steps * self.read,
            "steps": self.steps,
            "loss": round(float(means[0]), 6),
            "losses": {
                name: round(float(value), 6)
                for name, value in zip(("lm", "rec", "align", "behaviour"), means[1:], strict=True)
            },
        }

    def _step(self, step: int) -> list[float]:
        settings = self.settings
        # Dropout of a step does not depend on the steps before it in this process.
        torch.manual_seed(((self.seed * 1_000_003 + step) * 1_009 + rank()) % 2**63)
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * self._rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        told = np.zeros(5)
        for number in range(self.passes):
            at = ((step * self.passes + number) * world_size() + rank()) * self.size
            batch = self.maker.make(self.examples.rows(slice(at, at + self.size)))
            losses = self.model.losses(batch, self.maker.writer.texts, settings.weights)
            total = losses.total(settings.weights)
            if total.requires_grad:
                (total / self.passes).backward()  # type: ignore[no-untyped-call]
            told += np.array(_values(total, losses)) / self.passes
        parameters = list(self.named.values())
        mean_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, _CLIP)
        self.optimiser.step()
        everywhere = summed(torch.from_numpy(told).to(self.model.llm.device))
        return [float(value) / world_size() for value in everywhere]

    def _rate(self, step: int) -> float:
        """Share of the peak learning rate: up over the warm-up, then down to 0."""
        warm = max(1.0, self.settings.warmup * self.steps)
        return min((step + 1) / warm, (self.steps - step) / max(1.0, self.steps - warm), 1.0)

    def _save(self) -> None:
        if not self.settings.checkpoint or rank() != 0:
            return
        directory = Path(self.settings.checkpoint)
        directory.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {
            "done": np.array([self.done, self.steps, self.read]),
            "told": np.array(self.told, dtype=np.float64).reshape(-1, 5),
            "mean": self.model.mean.cpu().numpy(),
            "spread": self.model.spread.cpu().numpy(),
        }
        for name, parameter in self.named.items():
            arrays[f"weight.{name}"] = parameter.detach().cpu().numpy()
            for moment, value in self.optimiser.state.get(parameter, {}).items():
                arrays[f"{moment}.{name}"] = value.cpu().numpy().reshape(value.shape)
        save_arrays(directory, arrays, self.about)

    def _resume(self) -> None:
        directory = Path(self.settings.checkpoint)
        if not self.settings.checkpoint or not (directory / ARRAYS).is_file():
            return
        arrays = {k: torch.from_numpy(v) for k, v in load_arrays(directory, self.about).items()}
        self.done, steps, read = (int(number) for number in arrays["done"])
        if self.done < steps and read != self.read:
            raise CheckpointError(
                f"the alignment in {directory} was begun with {read} examples per step, "
                f"these processes make {self.read}.",
                "Go on with as many processes as before, or remove it",
            )
        # What is finished may be used by any number of processes.
        self.steps, self.read = steps, read
        self.told = arrays["told"].tolist()
        device = self.model.llm.device
        with torch.no_grad():
            self.model.mean.copy_(arrays["mean"])
            self.model.spread.copy_(arrays["spread"])
            for name, parameter in self.named.items():
                parameter.copy_(arrays[f"weight.{name}"])
                found = {m: arrays.get(f"{m}.{name}") for m in _MOMENTS}
                if found["step"] is not None:
                    self.optimiser.state[parameter] = {
                        moment: value if moment == "step" else value.to(device)
                        for moment, value in found.items()
                        if value is not None
                    }


def _values(total: Tensor, losses: Losses) -> list[float]:
    parts = (total, losses.lm, losses.rec, losses.align, losses.behaviour)
    return [float(part.detach()) for part in parts]
