"""Check a configuration against policies and data before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from abtest.config import DEMO_DATA, RunConfig
from abtest.console import Console
from abtest.errors import RunDataError, UsageError
from abtest.run.arms.candidates import check_candidates
from abtest.run.arms.foreign import make
from abtest.run.arms.oracle import check_control, check_dataset
from abtest.run.datasets import sound_dataset, world_log
from policies.registry import parts_of, settings_of, split_settings
from simulator.logs.checks.needs import LEARNED, refuse_placeholders
from simulator.logs.dataset import Dataset


def arm_names(config: RunConfig, console: Console) -> tuple[str, ...]:
    """Names of the arms, control first; a policy that meets itself is told apart."""
    names = [config.control, *config.treatment]
    if config.control in config.treatment:
        console.note(f"both arms are '{config.control}': this is an A/A test")
        names = [
            config.control,
            *[f"{t} (A/A)" if t == config.control else t for t in config.treatment],
        ]
    return tuple(names)


def check_policies(config: RunConfig) -> None:
    """Refuse policies or settings that cannot be.

    Raises:
        UsageError, UnknownPolicy, PolicyError: names the policy.
    """
    for spec in (config.control, *config.treatment):
        make(spec, settings_of(spec, config.policies))
    check_control(config.control)
    if config.candidates is not None:
        check_candidates(config.candidates, dict(config.policies.get(config.candidates, {})))
    refuse_unused(config.policies, policy_names(config))


def refuse_unused(settings: Mapping[str, object], specs: Sequence[str]) -> None:
    """Refuse settings of a policy that takes no part: its name may be misspelt.

    Args:
        settings: By policy.
        specs: The policies that take part.

    Raises:
        UsageError: names the policy.
    """
    parts = {part for spec in specs for part in (spec, *(parts_of(spec) or ()))}
    unused = set(settings) - parts - {split_settings(part)[0] for part in parts}
    if unused:
        raise UsageError(
            f"settings for '{sorted(unused)[0]}', which is not part of this experiment.",
            "Nothing was run",
        )


def policy_names(config: RunConfig) -> list[str]:
    """All policies to train, each once: control, treatments, candidate stage."""
    stage = () if config.candidates is None else (config.candidates,)
    return list(dict.fromkeys((config.control, *config.treatment, *stage)))


def open_data(config: RunConfig, console: Console) -> Dataset:
    """The log that policies are trained on; the built-in world's is made if need be."""
    if config.data == DEMO_DATA and not Path(config.data).exists():
        return world_log(config, console)
    return sound_dataset(Path(config.data), config.sample_users)


def check_data(config: RunConfig, dataset: Dataset) -> None:
    """Refuse a log that nothing can be learned from.

    Raises:
        RunDataError, UsageError: what is missing.
        DataError: it does not say what people clicked on, or how long they watched.
    """
    check_dataset((config.control, *config.treatment), dataset)
    impressions = dataset.info.rows.get("impressions", 0)
    if impressions == 0:
        raise RunDataError(
            f"{dataset.path} has no impressions: nothing to learn from.",
            f"Check it: abtest data check {dataset.path}",
        )
    refuse_placeholders(dataset, *LEARNED)
    videos, users = dataset.catalogue().n_videos, len(dataset.user_ids())
    if videos < 2:
        raise RunDataError(f"{dataset.path} has {videos} video; ranking needs at least 2.")
    if users < 2 and dataset.info.world is None:
        raise RunDataError(f"{dataset.path} has {users} person; an experiment needs at least 2.")
    if dataset.info.world is None and config.users is not None and config.users > users:
        raise UsageError(
            f"--users is {config.users:,}, but {dataset.path} has {users:,} people.",
            "Leave --users out to take everyone",
        )


_OF_COMMENTS = ("comment_watch_time", "comment_open_rate", "stay_per_open")
"""Metrics of how long comments stay open."""


def check_primary(config: RunConfig, dataset: Dataset) -> None:
    """Refuse a metric that people learned from this log would leave at zero.

    Raises:
        RunDataError: the log does not say when comments were open.
    """
    known = dataset.has_column("impressions", "comment_stay_time")
    known = known and "impressions.comment_stay_time" not in dataset.info.placeholders
    if config.primary in _OF_COMMENTS and dataset.info.world is None and not known:
        raise RunDataError(
            f"{config.data} has no comment_stay_time: {config.primary} cannot be learned from it.",
            "Decide by another metric: --primary play_time",
        )
