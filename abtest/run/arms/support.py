"""Measure how much of what policies show the log has hardly ever shown: there, people are guessed.

A response model learned from a log knows a video by what people did when it was shown. Of others it
knows author, category and duration, as far as the log has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from abtest.run.arms.training import TrainedPolicy, load_policy
from abtest.run.environments import EnvironmentSpec, exposure_counts
from policies.ranking import rank_videos
from simulator.calendar import DAY_MS
from simulator.logs.dataset import Dataset
from simulator.response.learned.tensors import MINIMUM_EXAMPLES

_PEOPLE = 500


def unsupported_shares(
    arms: Mapping[str, TrainedPolicy], dataset: Dataset, spec: EnvironmentSpec
) -> dict[str, Any]:
    """For the report: the share of hardly known videos on first pages, per arm.

    Args:
        arms: Arm -> its policy.
        dataset: The log that people were learned from.
        spec: Of the environment.

    Returns:
        ``people`` asked, ``times``: a video is hardly known if the log shows it less often, and
        ``shares`` by arm.
    """
    environment = spec.build(dataset)
    users = environment.people(None)
    users = users[:: -(-len(users) // _PEOPLE)]
    feed, _ = environment.warm_feed(users)
    feed.extend(environment.start_ms + spec.days * DAY_MS)
    requests = feed.video_requests()
    counts = exposure_counts(dataset)
    shares: dict[str, float] = {}
    if requests is not None:
        for arm, trained in arms.items():
            policy = load_policy(trained, dataset)
            policy.reset(len(users))
            videos = rank_videos(policy, requests, feed.settings.page_size, 0.0).videos
            shown = videos[videos >= 0]
            rare = counts[shown] < MINIMUM_EXAMPLES
            shares[arm] = round(float(rare.mean()), 4) if len(shown) else 0.0
    people = 0 if requests is None else len(np.unique(requests.row))
    return {"people": people, "times": MINIMUM_EXAMPLES, "shares": shares}
