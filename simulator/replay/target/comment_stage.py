"""Attach the weights of comment orders to the impressions whose sections were opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from simulator.logs.dataset import Dataset
from simulator.replay.decisions import impression_of
from simulator.replay.further.orders import Orders
from simulator.replay.logged import LoggedRows
from simulator.replay.models.crossfit import CrossFit, row_weights
from simulator.replay.models.regression import Float64, Regressor
from simulator.replay.target.pages import cumulative_products
from simulator.replay.target.targets import Target
from simulator.replay.valuation import CommentStage

Make = Callable[[Float64], Regressor]
COLUMNS = ("comment_stay_time", "comment_likes", "comment_replies")


def comment_stages(
    videos: LoggedRows,
    comments: LoggedRows,
    chances: Mapping[str, Target],
    models: Mapping[str, CrossFit] | None = None,
    orders: bool = False,
) -> dict[str, CommentStage]:
    """One per policy.

    People read a section from the top and stop somewhere; what stands below was not seen. The
    weight of a section is therefore the product over the comments that were seen.

    Args:
        videos: The impressions.
        comments: The comments seen.
        chances: Per policy, their probabilities.
        models: Reward models of what is earned from a place on, by outcome column.
        orders: Whether the sections are wanted as slates too.
    """
    owner = impression_of(videos, comments)[comments.page].astype(np.int64)
    linked = owner >= 0
    impression, n = owner[linked], len(videos)
    last = np.append(comments.page[1:] != comments.page[:-1], True)[linked]
    values = {
        name: comments.outcomes.get(name, np.zeros(len(comments)))[linked] for name in COLUMNS
    }
    sections = np.unique(comments.page[linked], return_index=True, return_inverse=True)
    items = comments.sizes()[linked]
    shown = {column: fit.of_shown(comments.shown)[linked] for column, fit in (models or {}).items()}
    out = {}
    for name, target in chances.items():
        ratio = target.probability / comments.propensity
        cumulative = cumulative_products(ratio, comments.page)[linked]
        moment = cumulative_products(target.second_moment, comments.page)[linked]
        whole, square = np.ones(n), np.ones(n)
        whole[impression[last]] = cumulative[last]
        square[impression[last]] = moment[last]
        slates = None
        if orders:
            slates = Orders(
                section=sections[2],
                impression=impression[sections[1]],
                position=comments.position[linked],
                ratio=ratio[linked],
                items=items,
                uniform=comments.uniform,
                places=None if target.places is None else target.places[linked],
                models={c: (shown[c], target.expected[c][linked]) for c in shown},
            )
        out[name] = CommentStage(impression, cumulative, values, whole, square, moment, slates)
    return out


def comment_models(
    dataset: Dataset, comments: LoggedRows, columns: Iterable[str], make: Make
) -> dict[str, CrossFit]:
    """Reward models of what is earned from a place of a section on, by outcome column."""
    catalogue = dataset.catalogue()
    video = np.repeat(np.arange(catalogue.n_videos), np.diff(catalogue.comment_offsets))
    found = {}
    for column in columns:
        if column not in comments.outcomes:
            continue
        earned = np.nan_to_num(comments.outcomes[column])
        total = np.bincount(comments.page, weights=earned)
        before = np.cumsum(earned) - earned
        first = np.flatnonzero(np.diff(comments.page, prepend=-1))
        from_here = total[comments.page] - (before - before[first][comments.page])
        found[column] = CrossFit(
            comments.user,
            comments.shown,
            catalogue.n_comments,
            from_here,
            weight=row_weights(comments.propensity),
            context=comments.position.astype(np.float64)[:, None],
            group=video,
            make=make,
        )
    return found
