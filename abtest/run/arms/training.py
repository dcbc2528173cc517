"""Train a policy once per (data, settings, code, seed), and keep its weights on disk."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abtest.console import TRAINING, Console
from abtest.files import locked, new_directory
from abtest.paths import cache_directory
from abtest.run.arms.code import code_version
from abtest.run.arms.foreign import guarded, make, told
from abtest.run.arms.oracle import Oracle
from abtest.run.arms.weights import SUMMARY, check_weights, damaged, write_summary
from abtest.run.speeds import remember
from policies.base import Policy
from policies.distributed import of_the_first, rank
from policies.errors import CheckpointError, PolicyContractError, PolicyError, UnsuitedLog
from policies.mixed import Mixed
from policies.sequence.resume import kept_in
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import has_events

TRAINING_THREADS = 1
"""Policies train side by side instead (`abtest.run.arms.side_by_side`)."""


@dataclass(frozen=True)
class TrainedPolicy:
    """A fitted policy and where its weights are.

    Attributes:
        spec: Name or ``file.py:Class``, as the user wrote it.
        settings: Settings given to its constructor.
        directory: Weights, readable by `load_policy` in another process.
        summary: The policy's own facts about its training.
        weights_hash: Of the bytes of all files in the directory. Training's last bits depend on
            the processor, so equal inputs do not mean equal weights.
    """

    spec: str
    settings: dict[str, Any]
    directory: Path
    summary: dict[str, Any]
    weights_hash: str = ""

    def facts(self) -> dict[str, Any]:
        """Its name, its weights and its training, for the report."""
        return {"policy": self.spec, "weights": self.directory.name, **self.summary}


def weights_directory(policy: Policy, spec: str, dataset: Dataset, seed: int) -> Path:
    """Where the weights of a policy, fitted to this log with this seed, are or would be kept."""
    address = _json(
        [
            dataset.info.content_hash,
            spec,
            type(policy).__qualname__,
            told(spec, "settings", policy.settings),
            code_version(policy),
            seed,
        ],
        spec,
    )
    digest = hashlib.blake2b(address.encode(), digest_size=10).hexdigest()
    safe_name = re.sub(r"[^\w-]+", "_", spec)[-40:].strip("_")
    return cache_directory() / "policies" / f"{safe_name}-{digest}"


def train(
    spec: str,
    settings: Mapping[str, Any],
    dataset: Dataset,
    *,
    seed: int,
    console: Console,
    refresh: bool = False,
) -> TrainedPolicy:
    """The policy fitted to the dataset, from the cache if it was fitted before.

    Args:
        spec: Name or ``file.py:Class``.
        settings: Constructor settings.
        dataset: The log to train on.
        seed: Training seed.
        console: Progress.
        refresh: Train again even if weights exist.

    Raises:
        CheckpointError: kept weights are damaged.
        PolicyContractError: the policy's own code failed.
    """
    policy = make(spec, settings)
    directory = weights_directory(policy, spec, dataset, seed)
    unfinished = directory.with_name(f".{directory.name}.unfinished")

    def waiting() -> None:
        console.note(f"another process is training {spec}; waiting for it")

    with locked(directory, waiting):
        if refresh:
            shutil.rmtree(directory, ignore_errors=True)
            shutil.rmtree(unfinished, ignore_errors=True)
        if not directory.is_dir():
            with new_directory(directory) as temporary:
                if isinstance(policy, Mixed):
                    facts = _assemble(policy, temporary, dataset, seed, console, refresh)
                else:
                    # Neural policies go on from their last whole epoch after an interruption.
                    resumed, started = unfinished.is_dir(), time.perf_counter()
                    _fit(policy, spec, dataset, seed, unfinished, console)
                    if not resumed:
                        rows = dataset.info.rows.get("impressions", 0)
                        remember(f"train {spec}", rows, time.perf_counter() - started)
                    told(spec, "save", lambda: policy.save(temporary))
                    facts = told(spec, "training_summary", policy.training_summary)
                write_summary(temporary, spec, facts)
            shutil.rmtree(unfinished, ignore_errors=True)
    return _trained(spec, settings, directory)


def train_together(
    spec: str,
    settings: Mapping[str, Any],
    dataset: Dataset,
    *,
    seed: int,
    console: Console,
    refresh: bool = False,
) -> TrainedPolicy:
    """`train` in every process of ``torchrun``: they share the steps, the first keeps the weights.

    Raises:
        PolicyError: a name of two policies; each is trained by itself.
    """
    policy = make(spec, settings)
    if isinstance(policy, Mixed):
        one, *_ = (part for part, _ in policy.parts().values())
        raise PolicyError(
            f"{spec} is made of two policies; several processes train one.",
            f"Train each by itself: abtest train {one}",
        )
    directory = weights_directory(policy, spec, dataset, seed)
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    if of_the_first(float(refresh or not directory.is_dir())):
        if rank() == 0:
            train(spec, settings, dataset, seed=seed, console=console, refresh=refresh)
        else:
            _fit(policy, spec, dataset, seed, unfinished, console)
    # The others read what the first one has written.
    of_the_first(0.0)
    return _trained(spec, settings, directory)


def _fit(
    policy: Policy, spec: str, dataset: Dataset, seed: int, unfinished: Path, console: Console
) -> None:
    """Fit a policy, or go on with it."""
    fix_threads()
    seen = known_to(policy, dataset)
    _check_events(policy, spec, seen)
    with console.stage(TRAINING, f"training {spec}") as stage, kept_in(unfinished):
        told(spec, "fit", lambda: policy.fit(seen, seed=seed, progress=stage.update))


def _check_events(policy: Policy, spec: str, dataset: Dataset) -> None:
    """Refuse a log without any event of the kinds that a policy learns from.

    Raises:
        UnsuitedLog: there is none; from it every candidate would get the same score.
    """
    kinds = told(spec, "learns_from", policy.learns_from)
    if not kinds or any(has_events(dataset, kind) for kind in kinds):
        return
    hint = "Take a log with such events: abtest data check DATASET"
    if "signal" in policy.settings() and "clicked" not in kinds and has_events(dataset, "clicked"):
        hint = f'Learn from clicks: signal = "clicked" in abtest.toml, [policies.{spec}]'
    raise UnsuitedLog(
        f"{spec} learns from {' or '.join(kinds)} videos, and {dataset.path} has none.", hint
    )


def _trained(spec: str, settings: Mapping[str, Any], directory: Path) -> TrainedPolicy:
    """What is kept of a policy."""
    weights_hash = check_weights(directory, spec)
    facts = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
    return TrainedPolicy(spec, dict(settings), directory, facts, weights_hash)


def _assemble(
    policy: Mixed, directory: Path, dataset: Dataset, seed: int, console: Console, refresh: bool
) -> dict[str, Any]:
    """Put copies of the parts' weights, each trained or cached by itself, into the directory."""
    facts = {}
    for what, (spec, settings) in policy.parts().items():
        trained = train(spec, settings, dataset, seed=seed, console=console, refresh=refresh)
        shutil.copytree(trained.directory, directory / what)
        facts[what] = {"policy": spec, **trained.summary}
    return facts


def known_to(policy: Policy, dataset: Dataset) -> Dataset:
    """What a policy may know of a log; oracles of ours read the world as well."""
    return dataset if isinstance(policy, Oracle) else dataset.for_policies()


def fix_threads() -> None:
    """Train on a fixed number of threads: sums of floats, and so weights, depend on it."""
    import torch

    torch.set_num_threads(TRAINING_THREADS)


def load_policy(trained: TrainedPolicy, dataset: Dataset) -> Policy:
    """The fitted policy, ready to score, in this or another process.

    Raises:
        CheckpointError: its weights cannot be used, or are others than when it was trained.
        PolicyContractError: its own code failed.
    """
    found = check_weights(trained.directory, trained.spec) if trained.weights_hash else ""
    if found != trained.weights_hash:
        raise CheckpointError(
            f"{trained.directory} holds other weights of {trained.spec} ({found}) than this run "
            f"was started with ({trained.weights_hash}).",
            "Another process trained it anew: give the command again with another --out",
        )
    policy = guarded(trained.spec, make(trained.spec, trained.settings))
    try:
        policy.load(trained.directory, known_to(policy, dataset))
    except CheckpointError as error:
        raise damaged(trained.spec, trained.directory, error.problem) from error
    return policy


def _json(value: Any, spec: str) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise PolicyContractError(
            f"{spec}: settings() is no JSON: {error}.",
            "Return a dict of texts, numbers, lists and dicts",
        ) from None
