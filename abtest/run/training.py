"""Trained policies: fitted once per (data, settings, code, seed), then kept on disk."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abtest.console import TRAINING, Console
from abtest.paths import cache_directory, write_text
from policies.base import Policy, Progress
from policies.errors import CheckpointError, PolicyContractError, PolicyError
from policies.mixed import Mixed
from policies.registry import create, is_built_in
from policies.sequence.resume import kept_in
from simulator.errors import SimulatorError
from simulator.logs.dataset import Dataset

TRAINING_THREADS = 2


@dataclass(frozen=True)
class TrainedPolicy:
    """A fitted policy and where its weights are.

    Attributes:
        spec: Name or ``file.py:Class``, as the user wrote it.
        settings: Settings given to its constructor.
        directory: Weights, readable by `load_policy` in another process.
        summary: The policy's own facts about its training.
    """

    spec: str
    settings: dict[str, Any]
    directory: Path
    summary: dict[str, Any]


def code_version(policy: Policy) -> str:
    """A hash of the source files that can change what the policy learns.

    For a policy of ours: every module of the packages `policies`, `lsvcr` and `simulator.logs`;
    for a user's file: that file as well.
    """
    root = Path(inspect.getfile(Policy)).parents[1]
    files = [
        file
        for package in ("policies", "lsvcr", "simulator/logs")
        for file in sorted((root / package).rglob("*.py"))
    ]
    source = inspect.getsourcefile(type(policy))
    if source is not None and Path(source) not in files:
        files.append(Path(source))
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


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
    """
    policy = create(spec, **settings)
    address = json.dumps(
        [
            dataset.info.content_hash,
            spec,
            type(policy).__qualname__,
            policy.settings(),
            code_version(policy),
            seed,
        ],
        sort_keys=True,
    )
    digest = hashlib.blake2b(address.encode(), digest_size=10).hexdigest()
    safe_name = re.sub(r"[^\w-]+", "_", spec)[-40:].strip("_")
    directory = cache_directory() / "policies" / f"{safe_name}-{digest}"
    unfinished = directory.with_name(f".{directory.name}.unfinished")
    if refresh:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(unfinished, ignore_errors=True)
    if not (directory / "summary.json").is_file():
        temporary = directory.with_name(f".{directory.name}.tmp")
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
        if isinstance(policy, Mixed):
            facts = _assemble(policy, temporary, dataset, seed, console, refresh)
        else:
            fix_threads()
            # Neural policies go on from their last whole epoch if an earlier attempt was cut off.
            with console.stage(TRAINING, f"training {spec}") as stage, kept_in(unfinished):
                _fit(policy, spec, dataset, seed, stage.update)
            policy.save(temporary)
            facts = policy.training_summary()
        summary = json.dumps(facts, sort_keys=True, allow_nan=False)
        write_text(temporary / "summary.json", summary)
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
        shutil.rmtree(unfinished, ignore_errors=True)
    try:
        facts = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    except ValueError:
        raise CheckpointError(
            f"the weights in {directory} are damaged.", _retrain(directory)
        ) from None
    return TrainedPolicy(spec, dict(settings), directory, facts)


def _fit(policy: Policy, spec: str, dataset: Dataset, seed: int, progress: Progress) -> None:
    """Train; what goes wrong in code that is not ours is told in one line."""
    try:
        policy.fit(dataset, seed=seed, progress=progress)
    except (PolicyError, SimulatorError, OSError, MemoryError):
        raise
    except Exception as error:
        if is_built_in(spec):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise PolicyContractError(
            f"{spec} raised {type(error).__name__} in fit ({last.filename} line {last.lineno}): "
            f"{error}.",
            f"Try it on a small log: abtest policy check {spec}",
        ) from error


def _retrain(directory: Path) -> str:
    return f"Remove that folder and give the command again, which trains anew: rm -r {directory}"


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


def fix_threads() -> None:
    """Train on a fixed number of threads: sums of floats, and so weights, depend on it."""
    import torch

    torch.set_num_threads(TRAINING_THREADS)


def load_policy(trained: TrainedPolicy, dataset: Dataset) -> Policy:
    """The fitted policy, ready to score, in this or another process."""
    policy = create(trained.spec, **trained.settings)
    try:
        policy.load(trained.directory, dataset)
    except CheckpointError as error:
        raise CheckpointError(error.problem, _retrain(trained.directory)) from error
    return policy
