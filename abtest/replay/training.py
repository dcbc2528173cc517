"""Train policies on the part of a log before the replayed one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from abtest.console import Console
from abtest.paths import cache_directory
from abtest.run.arms.training import TrainedPolicy, load_policy, train
from policies.base import Policy, Scores
from policies.errors import UnsuitedLog
from policies.ranking import checked_comment_scores, checked_video_scores
from policies.registry import policy_class, ranked_by, settings_of
from policies.videos.random import RandomPolicy
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.logs.scanning import batches
from simulator.logs.schema import EVENT_TABLES
from simulator.replay import CommentScorer, Scorer
from simulator.replay.decisions import first_decision
from simulator.replay.target.targets import NOT_PROPOSED
from simulator.requests import CommentRequests, VideoRequests

TRAINING_SHARE = 0.6
LEAST_TRAINING = 0.2
"""Share of the impressions before the first decision that is enough to train on."""
PROPOSED = 24
"""Videos that a candidate stage proposes, as many as in `abtest run --candidates`."""


@dataclass(frozen=True)
class Scorers:
    """Trained policies as replay wants them, with what they were trained on.

    Attributes:
        videos: Scorers of video requests, by policy.
        comments: Scorers of comment sections, of the policies that rank comments.
        summaries: Facts about each training.
    """

    videos: dict[str, Scorer]
    comments: dict[str, CommentScorer]
    summaries: dict[str, dict[str, Any]]


def train_scorers(
    specs: Sequence[str],
    settings: Mapping[str, Mapping[str, Any]],
    dataset: Dataset,
    cut_ms: int,
    *,
    seed: int,
    console: Console,
    candidates: str | None = None,
) -> Scorers:
    """Train policies on the part of the log before a time.

    Nothing that is replayed was trained on: the log is cut in time, so that also what the same
    people did later stays unseen.

    Args:
        specs: Policy names or ``file.py:Class``.
        settings: Per policy name, as in abtest.toml.
        dataset: The whole log.
        cut_ms: Training sees what happened before.
        seed: Of training.
        console: Progress.
        candidates: Policy whose proposals all the others rank; None for all that could be shown.

    Raises:
        UnsuitedLog: a policy can learn nothing from that part.
    """
    training = earlier_part(dataset, cut_ms)

    def fitted(spec: str) -> TrainedPolicy:
        try:
            own = settings_of(spec, settings)
            return train(spec, own, training, seed=seed, console=console)
        except UnsuitedLog as error:
            known = f"the part of {dataset.path} before what is replayed"
            raise error.naming(known, str(training.path)) from None

    found = Scorers({}, {}, {})
    stage = None
    if candidates is not None:
        trained = fitted(candidates)
        stage = load_policy(trained, training)
        stage.reset(len(dataset.user_ids()))
        found.summaries[f"{candidates} (candidates)"] = {
            "settings": trained.settings, "proposed": PROPOSED, **trained.summary
        }  # fmt: skip
    for spec in dict.fromkeys(specs):
        trained = fitted(spec)
        policy = load_policy(trained, training)
        policy.reset(len(dataset.user_ids()))
        found.videos[spec] = scorer(policy) if stage is None else behind(stage, scorer(policy))
        if "comments" in ranked_by(policy_class(spec)):
            found.comments[spec] = comment_scorer(policy)
        found.summaries[spec] = {"settings": trained.settings, **trained.summary}
    return found


def scorer(policy: Policy) -> Scorer:
    """The policy as replay wants it: a function of requests, its output checked.

    A uniformly random order is one in which all candidates are equally good: replay shares the
    probability among them, where the policy's own draw would be one of many.
    """
    if type(policy) is RandomPolicy:
        return lambda requests: np.zeros(requests.candidates.shape, dtype=np.float32)

    def score(requests: VideoRequests) -> Scores:
        return checked_video_scores(policy, requests)

    return score


def behind(stage: Policy, score: Scorer) -> Scorer:
    """A ranker behind a candidate stage: both together are the policy that is valued.

    Args:
        stage: Proposes `PROPOSED` of the videos that could be shown.
        score: Ranks what is proposed; requests of one batch have the same candidates.
    """

    def scored(requests: VideoRequests) -> Scores:
        among = requests.candidates[0]
        proposed = stage.propose_videos(requests.history, among, min(PROPOSED, len(among)))
        assert proposed is not None
        inside = np.zeros(requests.candidates.shape, dtype=bool)
        order = np.argsort(among)
        place = order[np.searchsorted(among[order], proposed)]
        np.put_along_axis(inside, place, values=True, axis=1)
        return np.where(inside, score(requests), NOT_PROPOSED)

    return scored


def comment_scorer(policy: Policy) -> CommentScorer:
    """The same for comment sections."""

    def score(requests: CommentRequests) -> Scores | None:
        return checked_comment_scores(policy, requests)

    return score


def cut_time(dataset: Dataset) -> int:
    """Unix ms at which training ends and replay begins.

    Just before the first decision, or the first randomly exposed impression, if that leaves most
    of the log for training (an experiment follows the log that its policies were trained on,
    KuaiRand's random log follows its standard log); else after 60 % of the impressions.
    """
    decided = first_decision(dataset)
    if decided is not None:
        share = dataset.scan("impressions").select((pl.col("time_ms") < decided).mean())
        if share.collect().item() >= LEAST_TRAINING:
            return decided
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
            if about.rows[table] == 0:
                writer.append(table, dataset.scan(table).collect())
            for _, frame in batches(dataset, table):
                early = pl.col("time_ms") < cut_ms if table in EVENT_TABLES else pl.lit(True)
                writer.append(table, frame.filter(early))
    return Dataset.open(path)
