"""Decide from the log's design, not from the draw, how far an estimate can be trusted.

The effective sample size of the weights that happened to be drawn selects lucky logs: rows with
large weights and many events raise estimate and effective size together. What the design promises
does not depend on the draw: ``rows / mean over rows of E[w^2]``, with the expectation over the
log's own policy. A metric with many zeros or a long tail has less information than rows: its
*events* are ``effective rows * (mean y)^2 / mean y^2`` over the whole log, the number of equally
large events that would leave the same relative error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulator.replay.estimators import Estimate, Linear, effective_sample_size, ratio
from simulator.replay.result import CAUTION, UNUSABLE, USABLE, Overlap

Float64 = NDArray[np.float64]

LEAST_EFFECTIVE, GOOD_EFFECTIVE = 100.0, 400.0
LEAST_EVENTS, GOOD_EVENTS = 10.0, 60.0
LEAST_USERS, GOOD_USERS = 20, 100
CAUTION_COVERAGE = 0.89
"""Share of 95 % intervals of comment watch time that held the truth under caution, by ``sndr``: the
table of docs/replay.md, which names the command."""
WEIGHT_EDGES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Lower ends of the bins of weights; a weight of 0 has a bin of its own before them."""
_WARN_TOP_USER = 0.2
_WARN_UNSUPPORTED, _MOST_UNSUPPORTED = 0.05, 0.25


def promised(second_moment: Float64) -> float | None:
    """Effective rows by design; None where an expected squared weight is unknown."""
    if len(second_moment) == 0 or np.isnan(second_moment).any():
        return None
    mean = float(second_moment.mean())
    return len(second_moment) / mean if mean > 0 else 0.0


def overlap(
    policy: str,
    weight: Float64,
    second_moment: Float64,
    unsupported: Float64,
    user: NDArray[np.integer],
    n_users: int,
    comment_effective: float | None = None,
) -> Overlap:
    """Measure how much of the log speaks about a policy, and judge it.

    Args:
        policy: Its name.
        weight: float64[N], importance weights of the video stage.
        second_moment: float64[N], see `simulator.replay.target.targets.Target`.
        unsupported: float64[N].
        user: int[N], 0 .. n_users - 1.
        n_users: Number of users.
        comment_effective: Of the comment stage.
    """
    per_user = np.bincount(user, weights=weight, minlength=n_users)
    matched = weight > 0
    drawn = effective_sample_size(weight)
    expected = promised(second_moment)
    normaliser = ratio(weight, np.ones_like(weight), user, n_users)
    error = None if normaliser is None else normaliser.standard_error
    mean = float(weight.mean())
    top = float(per_user.max() / per_user.sum()) if matched.any() else None
    missing = None if np.isnan(unsupported).any() else float(unsupported.mean())
    matched_users = int((per_user > 0).sum())
    refuse: list[str] = []
    warn: list[str] = []
    if not matched.any():
        refuse.append("not one logged impression shows what this policy would choose")
    else:
        size = drawn if expected is None else expected
        told = (
            ""
            if expected is not None
            else (", as drawn: the log does not tell all candidates' probabilities")
        )
        _judge_size(size, told, refuse, warn)
        if expected is None and not refuse:
            warn.append("the effective sample size is known only as drawn, which flatters it")
        if matched_users < LEAST_USERS:
            refuse.append(f"matching rows come from {matched_users} users, needs {LEAST_USERS}")
        elif matched_users < GOOD_USERS:
            warn.append(f"matching rows come from only {matched_users} users")
    if missing is not None and missing > _WARN_UNSUPPORTED:
        text = f"{100 * missing:.0f} % of its choices could not have been shown by the log"
        (refuse if missing > _MOST_UNSUPPORTED else warn).append(text)
    if not refuse:
        if top is not None and top > _WARN_TOP_USER:
            warn.append(f"one user holds {100 * top:.0f} % of all weight")
        if error is not None and abs(mean - 1.0) > max(4.0 * error, 0.02):
            warn.append(
                f"weights average {mean:.2f} instead of 1: the propensities are not those of the "
                "eligible videos, or the policy chooses what the log could not show"
            )
    return Overlap(
        policy=policy,
        rows=len(weight),
        users=n_users,
        matched_rows=int(matched.sum()),
        matched_users=matched_users,
        expected_effective=expected,
        effective_sample_size=drawn,
        mean_weight=mean,
        mean_weight_error=error,
        max_weight=float(weight.max(initial=0.0)),
        top_user_share=top,
        unsupported_share=missing,
        comment_effective=comment_effective,
        verdict=UNUSABLE if refuse else CAUTION if warn else USABLE,
        reasons=refuse + warn,
        rows_by_weight=_histogram(weight, None),
        weight_by_weight=_histogram(weight, weight),
    )


def _histogram(weight: Float64, amount: Float64 | None) -> list[float]:
    """Shares of rows, or of an amount, with weight 0 and per bin of `WEIGHT_EDGES`."""
    place = np.where(weight > 0, np.searchsorted(WEIGHT_EDGES, weight, side="right"), 0)
    sums = np.bincount(place, weights=amount, minlength=len(WEIGHT_EDGES) + 1)
    total = float(sums.sum())
    return [float(s) / total if total > 0 else 0.0 for s in sums]


def _judge_size(size: float, told: str, refuse: list[str], warn: list[str]) -> None:
    text = f"worth {size:,.0f} independent rows{told}"
    if size < LEAST_EFFECTIVE:
        refuse.append(f"{text}; at least {LEAST_EFFECTIVE:.0f} are needed")
    elif size < GOOD_EFFECTIVE:
        warn.append(f"{text}; {GOOD_EFFECTIVE:.0f} are enough")


def events(effective: float, outcome: Float64) -> float:
    """How many equally large events an effective number of rows is worth for an outcome."""
    square = float((outcome**2).mean()) if len(outcome) else 0.0
    return effective * float(outcome.mean()) ** 2 / square if square > 0 else 0.0


def judge(
    overlaps: list[Overlap],
    effective: float,
    count: float,
    found: Sequence[Linear | Estimate | None],
    biased: str = "",
    amount: bool = False,
    counted: str = "events of this metric",
) -> tuple[str, list[str]]:
    """Verdict of one metric by one estimator, with its reasons.

    Args:
        overlaps: Of the two policies.
        effective: Rows' worth behind the estimator, of the worse policy.
        count: Of `events` behind it.
        found: The two estimates.
        biased: What the estimator's interval leaves out; it is then never better than caution.
        amount: Whether the outcome is an amount, whose tail few rows do not show.
        counted: What is counted.
    """
    refuse = [
        f"{o.policy}: {reason}" for o in overlaps if o.verdict == UNUSABLE for reason in o.reasons
    ]
    warn = [
        f"{o.policy}: {reason}" for o in overlaps if o.verdict == CAUTION for reason in o.reasons
    ]
    if any(one is None for one in found):
        refuse.append("no estimate")
    if not refuse:
        _judge_size(effective, " by this estimator", refuse, warn)
    if not refuse:
        text = f"worth {count:.1f} {counted}"
        if count < LEAST_EVENTS:
            refuse.append(f"{text}; at least {LEAST_EVENTS:.0f} are needed")
        elif count < GOOD_EVENTS:
            warn.append(f"{text}; {GOOD_EVENTS:.0f} are enough")
    if biased:
        warn.append(biased)
    if amount and warn and not refuse and not biased:
        warn.append(
            "on simulated logs with this verdict, 95 % intervals of comment watch time held the "
            f"truth {100 * CAUTION_COVERAGE:.0f} % of the time"
        )
    unique = list(dict.fromkeys(refuse + warn))
    return (UNUSABLE if refuse else CAUTION if warn else USABLE), unique


def shortfalls(
    overlaps: list[Overlap],
    kind: str,
    temperature: float | None = None,
    top_share: float | None = None,
) -> list[str]:
    """What would make the policies usable: effective rows grow in proportion to the log.

    Args:
        overlaps: Of all policies.
        kind: See `simulator.replay.logged.LoggedRows`.
        temperature: That the target policy has already, see `TargetPolicy`.
        top_share: Likewise.
    """
    out, more_helps = [], False
    for found in overlaps:
        missing = (found.unsupported_share or 0.0) > _MOST_UNSUPPORTED
        few = found.verdict != USABLE and 0.0 < found.effective < GOOD_EFFECTIVE
        if missing and kind != "random pool":
            out.append(
                f"{found.policy}: more rows of this log do not help, since it cannot show what the "
                "policy chooses. A log with exploration over these videos does."
            )
        elif few:
            times = GOOD_EFFECTIVE / found.effective
            least = "at least" if missing else "about"
            out.append(
                f"{found.policy}: {found.rows:,} replayed rows are worth {found.effective:,.0f}; "
                f"{least} {times:,.1f} times as many would be worth {GOOD_EFFECTIVE:.0f}."
            )
            more_helps = True
        if missing and kind == "random pool":
            out.append(
                f"{found.policy}: much of random exposure would be on videos that this log happens "
                "not to show. A longer one shows more of them."
            )
    if not more_helps:
        return out
    softer = "--top-share 0.1 or --temperature T"
    if top_share is not None:
        softer = f"--top-share above {top_share:g}"
    elif temperature is not None:
        softer = f"--temperature above {temperature:g}"
    if top_share == 1.0:
        return out
    out.append(
        f"Targets nearer to the log need fewer rows: {softer} (they value another policy than run "
        "deploys)."
        if kind in ("random pool", "all videos")
        else "Targets nearer to the log need fewer rows, and so does a log with more left to "
        "chance: --explore-share."
    )
    return out
