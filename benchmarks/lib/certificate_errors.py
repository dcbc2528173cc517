"""Measure error rates of sequential methods under 200 looks, and of the check of the split.

Every function runs a block of experiments without an effect (or with a known one that must stay
inside) and returns how many it wrongly accuses.
"""

from __future__ import annotations

import functools
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from benchmarks.lib.certificate_trials import Random, watch_time
from reports.statistics.checks.srm import sample_ratio_p_value, sequential_sample_ratio
from reports.statistics.checks.tails import tail_risk
from reports.statistics.estimates import ArmEstimate
from reports.statistics.sequential.confidence_sequences import confidence_sequence
from reports.statistics.sequential.group_inference import group_looks
from reports.statistics.sequential.group_sequential import GroupSequential
from reports.statistics.sequential.mixtures import EffectMixture, always_valid_p_value
from reports.statistics.sequential.skewness import hall
from reports.statistics.sequential.spending import Spending, obrien_fleming, pocock

Float = NDArray[np.float64]
LOOKS = 200


class Looks(NamedTuple):
    """One experiment at all looks: users, mean, and variance and third cumulant of it, per arm."""

    users: tuple[Float, Float]
    means: tuple[Float, Float]
    variances: tuple[Float, Float]
    cumulants: tuple[Float, Float]

    def z(self, effect: float, factor: float = 1.0) -> Float:
        """Of ``b - factor a`` against an effect."""
        (a, b), (va, vb) = self.means, self.variances
        return np.asarray((b - factor * a - effect) / np.sqrt(vb + factor**2 * va))

    def arms(self, look: int) -> tuple[ArmEstimate, ArmEstimate]:
        """Control and treatment at one look."""
        control, treatment = (
            ArmEstimate(int(n[look]), m[look], m[look], v[look], v[look])
            for n, m, v in zip(self.users, self.means, self.variances, strict=True)
        )
        return control, treatment

    def skewness(self) -> Float:
        """Of ``b - a``."""
        (ka, kb), (va, vb) = self.cumulants, self.variances
        return np.asarray((kb - ka) / (va + vb) ** 1.5)

    def pooled_error(self) -> Float:
        """The clock of ``confidence_sequence``."""
        n, m = self.users
        pooled = (n**2 * self.variances[0] + m**2 * self.variances[1]) / (n + m)
        return np.asarray(np.sqrt(pooled * (1.0 / n + 1.0 / m)))


def draw_looks(
    rng: Random, first: tuple[int, int], per_look: tuple[int, int], lift: float
) -> Looks:
    """Watch times of users who join evenly between the looks."""
    users, means, spreads, cubes = [], [], [], []
    for start, step, factor in zip(first, per_look, (1.0, 1.0 + lift), strict=True):
        n = start + step * np.arange(LOOKS)
        x = factor * watch_time(rng, int(n[-1]))
        edges = np.concatenate([[0], n[:-1]])
        centre = x.mean()
        x -= centre
        powers = []
        power = x.copy()
        for _ in range(3):
            powers.append(np.add.reduceat(power, edges).cumsum() / n)
            power *= x
        shift, square, cube = powers
        users.append(n.astype(np.float64))
        means.append(shift + centre)
        spreads.append(square - shift**2)
        cubes.append(cube - 3.0 * shift * square + 2.0 * shift**3)
    variances = [s / (n - 1.0) for s, n in zip(spreads, users, strict=True)]
    # As ``tails.third_cumulants``: the skewness is that of both arms.
    weighted = [n * c / s**1.5 for n, c, s in zip(users, cubes, spreads, strict=True)]
    skewness = (weighted[0] + weighted[1]) / (users[0] + users[1])
    cumulants = [skewness * s**1.5 / n**2 for s, n in zip(spreads, users, strict=True)]
    return Looks(*((found[0], found[1]) for found in (users, means, variances, cumulants)))


def peeking_always_valid(
    rng: Random, runs: int, *, first: tuple[int, int], per_look: tuple[int, int], lift: float
) -> int:
    """How often the confidence sequence of the difference ever excludes the truth.

    The p values of all looks are computed at once; in the first experiment they are compared with
    those of ``confidence_sequence`` itself.
    """
    truth = lift * 0.6 * float(np.exp(3.72))
    wrong = 0
    mixture: EffectMixture | None = None
    for run in range(runs):
        looks = draw_looks(rng, first, per_look, lift)
        errors = looks.pooled_error()
        if mixture is None:
            # Tuned to the planned error, not to this experiment's: drawn from another one.
            mixture = EffectMixture.tuned(float(errors[-1]))
            looks = draw_looks(rng, first, per_look, lift)
            errors = looks.pooled_error()
        total = looks.users[0] + looks.users[1]
        p_values = always_valid_p_value(looks.z(truth), mixture.time(total, errors))
        wrong += bool((p_values <= 0.05).any())
        if run == 0:
            _same_as_module(looks, mixture)
    return wrong


def _same_as_module(looks: Looks, mixture: EffectMixture) -> None:
    pairs = [looks.arms(look) for look in range(LOOKS)]
    found = [look.p_value for look in confidence_sequence(pairs, mixture)]
    total = looks.users[0] + looks.users[1]
    expected = always_valid_p_value(looks.z(0.0), mixture.time(total, looks.pooled_error()))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def peeking_ordinary(rng: Random, runs: int) -> int:
    """For contrast: how often an ordinary p value is below 5 % at any of the looks."""
    wrong = 0
    for _ in range(runs):
        looks = draw_looks(rng, (200, 200), (50, 50), 0.0)
        wrong += bool((np.abs(looks.z(0.0)) > 1.96).any())
    return wrong


@functools.cache
def _boundaries(spending: Spending, looks: int, first: int, step: int, read: int) -> Float:
    fractions = (first + step * _times(looks)) / (first + step * (LOOKS - 1))
    return GroupSequential(spending).boundaries(fractions.tolist(), last=True, first=read)


def _times(looks: int) -> NDArray[np.int64]:
    return np.linspace(0, LOOKS - 1, looks).round().astype(np.int64)


def peeking_group_sequential(
    rng: Random,
    runs: int,
    *,
    spending: Spending,
    looks: int,
    first: tuple[int, int],
    per_look: tuple[int, int],
) -> int:
    """How often the group sequential test rejects at any look; information by users.

    Until the first look is read the skewness is judged at every 20th look only: boundaries take a
    second. In the first experiment a few looks are compared with ``group_looks``.
    """
    at = _times(looks)
    every = max(1, looks // 10)
    design = GroupSequential(spending)
    wrong = 0
    for run in range(runs):
        drawn = draw_looks(rng, first, per_look, 0.0)
        skewness = drawn.skewness()[at]
        z = hall(drawn.z(0.0)[at], skewness)
        judged = [*skewness[:-1:every].tolist(), float(skewness[-1])]
        read = min(every * design.first_read(judged, last=True), looks - 1)
        boundary = _boundaries(spending, looks, first[0], per_look[0], read)
        wrong += bool((np.abs(z) > boundary).any())
        if run == 0:
            _same_as_group_looks(design, drawn)
    return wrong


def _same_as_group_looks(design: GroupSequential, drawn: Looks) -> None:
    planned = float(np.sqrt(drawn.variances[0][-1] + drawn.variances[1][-1]))
    expected = hall(drawn.z(0.0), drawn.skewness())
    for look in _times(5):
        cumulants = (float(drawn.cumulants[0][look]), float(drawn.cumulants[1][look]))
        found = group_looks(design, [drawn.arms(look)], planned, cumulants=[cumulants])
        np.testing.assert_allclose(found[0].z, expected[look], rtol=1e-9)


def split_at_the_end(rng: Random, runs: int, *, shares: tuple[float, ...], users: int) -> int:
    """False alarms at 5 % of the check of the split."""
    counts = rng.multinomial(users, shares, runs)
    return sum(sample_ratio_p_value(c.tolist(), shares) < 0.05 for c in counts)


def split_while_it_runs(rng: Random, runs: int, *, shares: tuple[float, ...], users: int) -> int:
    """False alarms at 5 % of the sequential check, looked at 200 times."""
    wrong = 0
    for _ in range(runs):
        counts = rng.multinomial(users // LOOKS, shares, LOOKS).cumsum(axis=0)
        wrong += bool(sequential_sample_ratio(counts, shares)[-1] <= 0.05)
    return wrong


class ErrorRate(NamedTuple):
    """An error rate to certify.

    Attributes:
        name: Of the line.
        count: Takes a generator and a number of experiments.
        nominal: The rate promised.
        exact: Whether it should be met, not only not be exceeded.
        promise: Whether anything is promised.
        first: Users per arm at the first look of a test that the heavy-tail rule can warn of.
    """

    name: str
    count: functools.partial[int]
    nominal: float
    exact: bool = False
    promise: bool = True
    first: tuple[int, int] | None = None


def warned_share(rng: Random, first: tuple[int, int], runs: int = 200) -> float:
    """How often the heavy-tail rule warns of the first look."""
    pairs = ((watch_time(rng, first[0]), watch_time(rng, first[1])) for _ in range(runs))
    return sum(tail_risk(*pair).warns for pair in pairs) / runs


class _Split(TypedDict):
    """People in both arms, at the first look and added at each later one."""

    first: tuple[int, int]
    per_look: tuple[int, int]


_EVEN: _Split = {"first": (200, 200), "per_look": (50, 50)}
_UNEVEN: _Split = {"first": (1_800, 200), "per_look": (90, 10)}
_LATE: _Split = {"first": (45_000, 5_000), "per_look": (900, 100)}

ERROR_RATES = [
    ErrorRate(
        "peeking, ordinary p value, 1:1", functools.partial(peeking_ordinary), 0.05, promise=False
    ),
    *(
        ErrorRate(
            f"peeking, always valid, {name}",
            functools.partial(peeking_always_valid, lift=lift, **split),
            0.05,
        )
        for name, split, lift in (
            ("1:1", _EVEN, 0.0),
            ("9:1", _UNEVEN, 0.0),
            ("1:1, +50 % lift", _EVEN, 0.5),
        )
    ),
    *(
        ErrorRate(
            f"peeking, {name}, {looks} looks, {split_name}",
            functools.partial(peeking_group_sequential, spending=spending, looks=looks, **split),
            0.05,
            first=split["first"],
        )
        for name, spending in (("O'Brien-Fleming", obrien_fleming), ("Pocock", pocock))
        for looks in (5, LOOKS)
        for split_name, split in (
            ("1:1", _EVEN),
            ("9:1 from 1,800:200", _UNEVEN),
            ("9:1 from 45,000:5,000", _LATE),
        )
    ),
    *(
        ErrorRate(
            f"split at the end, {name}, {users:,} users",
            functools.partial(split_at_the_end, shares=shares, users=users),
            0.05,
            exact=users > 1_000,
        )
        for name, shares in (("1:1", (0.5, 0.5)), ("9:1", (0.9, 0.1)), ("8:1:1", (0.8, 0.1, 0.1)))
        for users in (60, 20_000)
    ),
    *(
        ErrorRate(
            f"split under 200 looks, {name}",
            functools.partial(split_while_it_runs, shares=shares, users=40_000),
            0.05,
        )
        for name, shares in (("1:1", (0.5, 0.5)), ("8:1:1", (0.8, 0.1, 0.1)))
    ),
]
