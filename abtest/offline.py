"""`abtest evaluate`: train on all but the last events, rank what was held out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from abtest.console import Console
from abtest.paths import cache_directory
from abtest.training import load_policy, train
from policies.evaluate import Evaluation, ranks, summarise
from policies.holdout import held_out, training_part
from policies.registry import create
from simulator.logs.dataset import Dataset
from simulator.requests import Signal


def evaluate_policies(
    specs: Sequence[str], dataset: Dataset, *, seeds: int, console: Console
) -> list[Evaluation]:
    """Leave-last-out metrics of policies, full ranking, in the order given.

    Args:
        specs: Names or ``file.py:Class``.
        dataset: The log.
        seeds: Training seeds 1 .. seeds.
        console: Progress.

    Raises:
        PolicyError: nobody has two liked videos.
    """
    for spec in specs:
        create(spec)
    signal: Signal = "liked"
    test = held_out(dataset, signal)
    digest = hashlib.blake2b(
        f"{dataset.info.content_hash} {signal}".encode(), digest_size=10
    ).hexdigest()
    training = training_part(dataset, test, cache_directory() / "heldout" / digest)
    results = []
    for spec in dict.fromkeys(specs):
        per_seed = []
        for seed in range(1, seeds + 1):
            trained = train(spec, {}, training, seed=seed, console=console)
            policy = load_policy(trained, training)
            with console.stage("evaluate", f"ranking with {spec}, seed {seed}"):
                per_seed.append(ranks(policy, training, test, signal))
        results.append(summarise(spec, dataset.catalogue().n_videos, per_seed))
    return results
