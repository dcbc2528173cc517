"""Attach the weights of comment orders to the impressions whose sections were opened."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simulator.replay.decisions import impression_of
from simulator.replay.logged import LoggedRows
from simulator.replay.target.pages import cumulative_products
from simulator.replay.target.targets import Target
from simulator.replay.valuation import CommentStage

COLUMNS = ("comment_stay_time", "comment_likes", "comment_replies")


def comment_stages(
    videos: LoggedRows, comments: LoggedRows, chances: Mapping[str, Target]
) -> dict[str, CommentStage]:
    """One per policy.

    People read a section from the top and stop somewhere; what stands below was not seen. The
    weight of a section is therefore the product over the comments that were seen.

    Args:
        videos: The impressions.
        comments: The comments seen.
        chances: Per policy, their probabilities.
    """
    owner = impression_of(videos, comments)[comments.page].astype(np.int64)
    linked = owner >= 0
    impression, n = owner[linked], len(videos)
    last = np.append(comments.page[1:] != comments.page[:-1], True)[linked]
    values = {
        name: comments.outcomes.get(name, np.zeros(len(comments)))[linked] for name in COLUMNS
    }
    out = {}
    for name, target in chances.items():
        ratio = target.probability / comments.propensity
        cumulative = cumulative_products(ratio, comments.page)[linked]
        moment = cumulative_products(target.second_moment, comments.page)[linked]
        whole, square = np.ones(n), np.ones(n)
        whole[impression[last]] = cumulative[last]
        square[impression[last]] = moment[last]
        out[name] = CommentStage(impression, cumulative, values, whole, square, moment)
    return out
