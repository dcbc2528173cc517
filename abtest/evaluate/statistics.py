"""Compute means, intervals and paired differences from a table of users by training seeds.

One policy gives a value per person and training seed. People and seeds are crossed random effects
without replication, ``y_su = mu + seed_s + person_u + e_su``, and the grand mean's variance is

    V = (MS_person + MS_seed - MS_e) / (S U)

with the mean squares of the two-way analysis of variance (Searle, Casella & McCulloch, Variance
Components, 1992, section 4.4) and, where MS_seed < MS_e, the seeds' part set to zero:
V = MS_person / (S U). Its degrees of freedom are Satterthwaite's (Biometrics Bulletin 2, 1946),
``(sum a_i MS_i)^2 / sum (a_i MS_i)^2 / df_i``.

An interval of a mean is the percentile interval of a bootstrap over people (their means over the
seeds; Poisson weights, `reports.statistics.distributions.poisson_weights`), which keeps the
skewness of ranking metrics, stretched about the mean by

    t_df(.975) sqrt(V) / (z(.975) sqrt(MS_person / (S U)))

so that it holds for other people *and* other training seeds. With one seed the factor is 1 or
hardly more, and the interval is about people only.

A paired difference subtracts the reference's value of the same person and seed, and the same V
gives its t test (with one seed: the paired t test). P values are Holm's over the policies compared
with the reference, for each metric by itself, and an interval has the level at which it excludes
zero exactly if its adjusted p value is below .05.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reports.statistics.distributions.poisson_weights import resample
from reports.statistics.multiplicity import adjusted_confidence, holm

Float64 = NDArray[np.float64]

CONFIDENCE = 0.95
# (B + 1) * 0.025 is a whole number: the bounds are order statistics.
RESAMPLES = 1_999


@dataclass(frozen=True)
class Spread:
    """Uncertainty of a grand mean over people and training seeds.

    Attributes:
        people: Standard error over people, of their means over seeds.
        seeds: Standard error over seeds, of their means over people; None for one seed.
        total: sqrt(V), see the module.
        df: Its degrees of freedom.
    """

    people: float
    seeds: float | None
    total: float
    df: float


@dataclass(frozen=True)
class Mean:
    """A metric of one policy.

    Attributes:
        value: Mean over people and seeds.
        low, high: 95 % interval over people and seeds; None where all people have the same value.
        people_error, seeds_error, total_error: See `Spread`.
    """

    value: float
    low: float | None
    high: float | None
    people_error: float | None
    seeds_error: float | None
    total_error: float | None


@dataclass(frozen=True)
class Difference:
    """A metric's paired difference to the reference policy.

    Attributes:
        value: Policy minus reference.
        low, high: Interval that agrees with ``p_adjusted``; None with fewer than two people.
        total_error: Standard error over people and seeds.
        p_value: Two-sided, of no difference.
        p_adjusted: Holm's, over the policies compared.
    """

    value: float
    low: float | None
    high: float | None
    total_error: float | None
    p_value: float | None
    p_adjusted: float | None


def spread(values: Float64) -> Spread:
    """Standard errors of the mean of float64[S, U], two or more people."""
    seeds, people = values.shape
    grand = values.mean()
    of_person, of_seed = values.mean(axis=0), values.mean(axis=1)
    ms_person = seeds * float(np.square(of_person - grand).sum()) / (people - 1)
    cells = seeds * people
    if seeds == 1:
        error = float(np.sqrt(ms_person / cells))
        return Spread(error, None, error, people - 1.0)
    ms_seed = people * float(np.square(of_seed - grand).sum()) / (seeds - 1)
    rest = values - of_person - of_seed[:, None] + grand
    rest_df = (people - 1) * (seeds - 1)
    ms_rest = float(np.square(rest).sum()) / rest_df
    total, df = ms_person, people - 1.0
    if ms_seed > ms_rest:
        total = ms_person + ms_seed - ms_rest
        df = total**2 / (
            ms_person**2 / (people - 1) + ms_seed**2 / (seeds - 1) + ms_rest**2 / rest_df
        )
    return Spread(
        float(np.sqrt(ms_person / cells)),
        float(np.sqrt(ms_seed / cells)),
        float(np.sqrt(total / cells)),
        df,
    )


def means(values: Float64, *, seed: int = 1) -> list[Mean]:
    """Means and intervals of several metrics.

    Args:
        values: float64[k, S, U].
        seed: Of the bootstrap; the same weights are used for every policy.

    Returns:
        k means.
    """
    grand = values.mean(axis=(1, 2))
    if values.shape[2] < 2:
        return [Mean(float(m), None, None, None, None, None) for m in grand]
    people = values.mean(axis=1).T
    drawn = np.sort(resample([people], seed=seed, resamples=RESAMPLES).mean, axis=0)
    rank = round((RESAMPLES + 1) * (1.0 - CONFIDENCE) / 2.0)
    found = []
    for number, mean in enumerate(grand.tolist()):
        s = spread(values[number])
        if not s.people > 0.0:
            # All people alike (as when nobody was served a hit): resampling them says nothing.
            found.append(Mean(mean, None, None, s.people, s.seeds, s.total))
            continue
        stretch = 1.0
        if s.seeds is not None:
            reach = stats.t.isf((1.0 - CONFIDENCE) / 2.0, s.df) / stats.norm.isf(
                (1.0 - CONFIDENCE) / 2.0
            )
            stretch = float(reach) * s.total / s.people
        low = mean + stretch * (float(drawn[rank - 1, number]) - mean)
        high = mean + stretch * (float(drawn[RESAMPLES - rank, number]) - mean)
        # All metrics are shares: what lies beyond 0 or 1 is no value of theirs.
        low, high = min(max(low, 0.0), mean), max(min(high, 1.0), mean)
        found.append(Mean(mean, low, high, s.people, s.seeds, s.total))
    return found


def differences(reference: Float64, others: Sequence[Float64]) -> list[Difference]:
    """Paired differences of one metric to the reference, p values adjusted over ``others``.

    Args:
        reference: float64[S, U].
        others: The same people and seeds.
    """
    if reference.shape[1] < 2:
        return [
            Difference(float((o - reference).mean()), None, None, None, None, None) for o in others
        ]
    found: list[tuple[float, Spread, float]] = []
    for other in others:
        paired = other - reference
        value, s = float(paired.mean()), spread(paired)
        found.append((value, s, _p_value(value, s)))
    adjusted = holm([p for _, _, p in found])
    results = []
    for (value, s, p), p_adjusted in zip(found, adjusted, strict=True):
        level = adjusted_confidence(p, p_adjusted, len(found), CONFIDENCE)
        reach = float(stats.t.isf((1.0 - level) / 2.0, s.df)) * s.total if s.total > 0.0 else 0.0
        results.append(Difference(value, value - reach, value + reach, s.total, p, p_adjusted))
    return results


def _p_value(value: float, s: Spread) -> float:
    if s.total > 0.0:
        return float(2.0 * stats.t.sf(abs(value) / s.total, s.df))
    # Everybody has the same difference: either there is none, or no doubt about it.
    return 1.0 if value == 0.0 else 0.0
