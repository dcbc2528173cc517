"""List estimators by name, with what each assumes in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.errors import DataError

USUAL = {
    "ips": "the propensities are right",
    "snips": "the propensities are right, in a large log",
    "matching": "exposure was uniform",
    "dr": "the propensities or the reward model are right",
    "sndr": "the propensities or the reward model are right, in a large log",
    "switch_dr": "the reward model is right where weights are large",
    "dr_os": "the reward model is right where weights are large",
    "dm": "the reward model is right",
    "blend": "snips, dr and sndr are right",
    "page": "people read pages from the top",
    "cascade": "people read comments from the top, in a large log",
    "nested": "the propensities of both stages are right, in a large log",
    "winsorised": "what the largest amounts exceed their cap by does not matter",
}
"""Estimators that are shown wherever the log and the metric allow."""

MORE = {
    "clipped_ips": "what large weights add does not matter",
    "implicit_ips": "what rarely shown choices add does not matter",
    "sub_gaussian_ips": "what large weights add does not matter",
    "sub_gaussian_dr": "the reward model is right where weights are large",
    "marginalised_ips": "videos of one category are worth the same in a place",
    "mixed_ips": "the propensities of every logging policy are right",
    "mrdr": "the propensities or the reward model are right",
    "standard": "the propensities of a whole order are right",
    "independent": "a comment's worth and chance do not depend on those above",
    "interaction": "a comment's worth depends on those above alone",
    "cascade_dr": "a comment's worth depends on those above alone",
    "pseudo_inverse": "worth adds up over places; how far people read is not moved",
    "position_based": "worth is a comment's own times how often its place is seen",
}
"""Estimators that are shown where they are asked for."""

ASSUMES = {**USUAL, **MORE}
SLATES = ("standard", "independent", "interaction", "cascade_dr", "pseudo_inverse",
          "position_based")  # fmt: skip
"""Those of `MORE` that value an order of comments."""
ALL = "all"


def asked_for(names: Sequence[str]) -> tuple[str, ...]:
    """The estimators of `MORE` that are wanted; the usual ones are shown anyway.

    Args:
        names: Names of estimators, or ``"all"`` alone.

    Raises:
        DataError: an unknown name.
    """
    if tuple(names) == (ALL,):
        return tuple(MORE)
    for name in names:
        if name not in ASSUMES:
            raise DataError(
                f"unknown estimator '{name}'.", f"Known: {ALL}, {', '.join(sorted(ASSUMES))}."
            )
    return tuple(name for name in MORE if name in names)
