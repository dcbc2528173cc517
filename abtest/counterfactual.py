"""Replay by policy name: train on the log before the replayed rows, then hand scorers down."""

from __future__ import annotations

from policies.base import Policy
from policies.ranking import checked_video_scores
from simulator.replay import Scorer
from simulator.requests import VideoRequests


def _scorer(policy: Policy) -> Scorer:
    def score(requests: VideoRequests):  # type: ignore[no-untyped-def]
        return checked_video_scores(policy, requests)

    return score
