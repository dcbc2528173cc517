"""List the outcomes that a learned response predicts, in the order in which they are drawn.

The joint distribution of one impression's outcomes is factorised as a chain: each outcome may
depend on those before it. Sampling walks the chain once, so a like without a click is exactly as
rare as in the log.
"""

from __future__ import annotations

from typing import Final

from simulator.behaviours import BY_NAME, COUNTED_FLAGS

_FIRST: Final = (
    "click", "long_view", "open", "like", "hate", "follow", "comment", "forward", "profile",
)  # fmt: skip

OUTCOMES: Final = (*_FIRST, *(name for name in COUNTED_FLAGS if name not in _FIRST), "end")
"""Binary outcomes. ``open``: the comment section was opened; ``profile``: the author's profile was
visited; ``end``: the session ended after this impression. Other flags of the table of behaviours
are drawn after these."""

COLUMNS: Final[dict[str, str]] = {
    name: BY_NAME[name].column for name in OUTCOMES if name in COUNTED_FLAGS
}
"""Outcomes read directly from a 0/1 column of the impressions table."""

CLICK, LONG_VIEW, OPEN, LIKE, HATE, FOLLOW, COMMENT, FORWARD, PROFILE = range(len(_FIRST))
END: Final = len(OUTCOMES) - 1

GAUSSIANS: Final = ("play", "stay")
"""Times, modelled as Gaussian on the normal-score scale of `quantiles.QuantileTable`."""

N_OUTCOMES: Final = len(OUTCOMES)
N_OUTPUTS: Final = N_OUTCOMES + 2 * len(GAUSSIANS)
"""Network outputs: a logit per outcome, then mean and log-scale of play and of stay."""
