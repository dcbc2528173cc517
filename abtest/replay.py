"""Replay by policy name: train before the replayed part of the log, then hand scorers down."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl

from abtest.console import Console
from abtest.errors import RunDataError, UsageError
from abtest.paths import cache_directory
from abtest.run.datasets import open_dataset
from abtest.run.training import load_policy, train
from policies.base import Policy, Scores
from policies.ranking import checked_video_scores
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.schema import EVENT_TABLES
from simulator.replay import ReplayResult, Scorer, replay
from simulator.replay.eligible import Rows
from simulator.requests import VideoRequests

TRAINING_SHARE = 0.6


def replay_policies(
    treatment: str,
    control: str,
    data: str,
    *,
    top_share: float | None,
    propensity_column: str,
    rows: Rows,
    seed: int,
    console: Console,
) -> ReplayResult:
    """Train both policies on the earlier part of the log and replay its later part.

    Nothing that is replayed was trained on: the log is cut in time, so that also what the same
    people did later stays unseen.

    Args:
        treatment: Policy name or ``file.py:Class``.
        control: Another, or the same.
        data: Dataset directory, or ``demo``.
        top_share: See `simulator.replay.replay`.
        propensity_column: Impressions column with logging probabilities.
        rows: Which impressions are replayed.
        seed: Of training and of the order of ties.
        console: Progress.

    Raises:
        DataError: the log cannot be replayed.
        UsageError: an option is out of range.
    """
    if top_share is not None and not 0.0 < top_share <= 1.0:
        raise UsageError(f"--top-share is {top_share}, expected a share above 0 and up to 1.")
    dataset = open_dataset(data, console)
    if dataset.info.rows.get("impressions", 0) == 0:
        raise RunDataError(
            f"{dataset.path} has no impressions: nothing to replay.",
            f"Check it: abtest data check {dataset.path}",
        )
    cut_ms = cut_time(dataset)
    training = earlier_part(dataset, cut_ms)
    scorers: dict[str, Scorer] = {}
    for spec in dict.fromkeys((treatment, control)):
        trained = train(spec, {}, training, seed=seed, console=console)
        policy = load_policy(trained, training)
        policy.reset(len(dataset.user_ids()))
        scorers[spec] = scorer(policy)
    with console.stage("replay", f"replaying {treatment} and {control}"):
        return replay(
            dataset,
            scorers,
            treatment=treatment,
            control=control,
            top_share=top_share,
            propensity_column=propensity_column,
            rows=rows,
            since_ms=cut_ms,
            seed=seed,
        )


def scorer(policy: Policy) -> Scorer:
    """The policy as replay wants it: a function of requests, its output checked."""

    def score(requests: VideoRequests) -> Scores:
        return checked_video_scores(policy, requests)

    return score


def cut_time(dataset: Dataset) -> int:
    """Unix ms at which training ends and replay begins.

    Just before the first randomly exposed impression if that leaves most of the log for training
    (KuaiRand's random log follows its standard log); else after 60 % of the impressions.
    """
    columns = [pl.col("time_ms").quantile(TRAINING_SHARE, "lower").alias("later")]
    if dataset.has_column("impressions", "is_rand"):
        random = pl.col("time_ms").filter(pl.col("is_rand") == 1).min()
        columns += [random.alias("random"), (pl.col("time_ms") < random).mean().alias("share")]
    found = dataset.scan("impressions").select(columns).collect().row(0, named=True)
    if found.get("random") is not None and found["share"] >= TRAINING_SHARE:
        return int(found["random"])
    return int(found["later"]) + 1


def earlier_part(dataset: Dataset, cut_ms: int) -> Dataset:
    """The dataset without anything that happened at or after a time; made once and kept."""
    address = f"{dataset.info.content_hash} before {cut_ms}"
    digest = hashlib.blake2b(address.encode(), digest_size=10).hexdigest()
    path: Path = cache_directory() / "earlier" / digest
    if path.is_dir():
        return Dataset.open(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = dataset.info
    with DatasetWriter(
        path,
        name=f"{about.name}, earlier part",
        source=about.source,
        licence=about.licence,
        language=about.language,
        notes=[f"impressions before {np.datetime64(cut_ms, 'ms')} UTC"],
    ) as writer:
        for table in about.rows:
            frame = dataset.scan(table)
            if table in EVENT_TABLES:
                frame = frame.filter(pl.col("time_ms") < cut_ms)
            writer.append(table, frame.collect())
    return Dataset.open(path)
