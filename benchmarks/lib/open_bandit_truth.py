"""Show where OBP's answer misleads, in small worlds whose truth is enumerated."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.lib.open_bandit import SMOOTHINGS, Campaign
from benchmarks.lib.open_bandit_slates import cascade_arguments
from simulator.replay.diagnostics import overlap
from simulator.replay.estimators import Estimate, Rows, single
from simulator.replay.estimators.intervals import share_interval
from simulator.replay.estimators.slates import LoggedSlates, cascade_dr
from simulator.replay.estimators.tuning import slope

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
LOGS, ROWS = 300, 2_000
CASCADES, SLATES = 100, 1_000
RESAMPLES = 200


def misleading(data: Campaign) -> None:
    """Print one block per case: the truth, OBP's answer, ours."""
    print("\nWhere OBP's answer misleads; truths by enumeration")
    rate = _click_rates(data)
    _snips_intervals(data, rate)
    _missing_support(data, rate)
    _stochastic_matching(data, rate)
    _unsorted_cascade()
    _remembered_parameter(data)


def _click_rates(data: Campaign) -> Float64:
    """float64[items]: the sample's click rates, half a click and 100 rows nearer to their mean."""
    clicks = np.bincount(data.action, weights=data.reward, minlength=data.items)
    shown = np.bincount(data.action, minlength=data.items)
    return np.asarray((clicks + 100 * data.reward.mean()) / (shown + 100))


class World:
    """Rows drawn with the campaign's mean propensities and known click rates."""

    def __init__(self, logging: Float64, rate: Float64) -> None:
        self.logging, self.rate = logging / logging.sum(), rate

    def draw(self, seed: int, kept: bool = False) -> tuple[Int64, Float64]:
        """(actions, outcomes) of `ROWS` rows; outcomes count what was not clicked if ``kept``."""
        random = np.random.default_rng(seed)
        action = random.choice(len(self.rate), ROWS, p=self.logging)
        click = (random.random(ROWS) < self.rate[action]).astype(np.float64)
        return action, 1.0 - click if kept else click

    def rows(self, action: Int64, outcome: Float64, target: Float64) -> Rows:
        """For ours."""
        at = np.arange(len(action))
        return Rows(at, len(action), outcome, target[action], self.logging[action])

    def arguments(self, action: Int64, outcome: Float64, target: Float64) -> dict[str, Any]:
        """For OBP."""
        return {
            "reward": outcome, "action": action, "pscore": self.logging[action],
            "position": np.zeros(len(action), dtype=int),
            "action_dist": np.tile(target[None, :, None], (len(action), 1, 1)),
        }  # fmt: skip


def _snips_intervals(data: Campaign, rate: Float64) -> None:
    """OBP resamples rows over the *drawn* mean weight: the normaliser's noise is not cancelled."""
    from obp import ope  # type: ignore[import-not-found]

    world = World(data.table[0], rate)
    print(f"1. SNIPS intervals, {LOGS} logs of {ROWS:,} rows (OBP takes the normaliser as fixed)")
    for kept, name in ((False, "share clicked"), (True, "share not clicked")):
        truth = float(data.target @ (1.0 - rate if kept else rate))
        hits, widths = np.zeros(2), np.zeros(2)
        for seed in range(LOGS):
            action, outcome = world.draw(seed, kept)
            found = ope.SelfNormalizedInverseProbabilityWeighting().estimate_interval(
                **world.arguments(action, outcome, data.target),
                n_bootstrap_samples=RESAMPLES, random_state=seed,
            )  # fmt: skip
            low, high = (found[k] for k in found if k.startswith("95.0%"))
            ours = _snips(world.rows(action, outcome, data.target))
            hits += (low <= truth <= high, ours.covers(truth))
            widths += (high - low, ours.width())
        cover, width = hits / LOGS, widths / LOGS
        print(f"   {name:<18} truth {truth:.5f}  OBP: covers {cover[0]:.3f}, width {width[0]:.5f}"
              f"   ours: covers {cover[1]:.3f}, width {width[1]:.5f}")  # fmt: skip


def _snips(rows: Rows) -> Estimate:
    """As `abtest replay` values a share."""
    linear = single.self_normalised(rows)
    assert linear is not None
    found = share_interval(linear, rows.weight * rows.outcome, rows.weight, rows.weight.sum())
    assert found is not None
    return found


def _missing_support(data: Campaign, rate: Float64) -> None:
    """A log that can never show the item which half of the target's choices are."""
    from obp import ope

    best = int(rate.argmax())
    logging = data.table[0].copy()
    logging[best] = 0.0
    world = World(logging, rate)
    target = np.zeros(data.items)
    target[[best, int(rate.argmin())]] = 0.5
    truth = float(target @ rate)
    found = np.zeros(2)
    for seed in range(LOGS):
        known = world.arguments(*world.draw(seed), target)
        for k, kind in enumerate(("InverseProbabilityWeighting",
                                  "SelfNormalizedInverseProbabilityWeighting")):  # fmt: skip
            found[k] += getattr(ope, kind)().estimate_policy_value(**known) / LOGS
    action, outcome = world.draw(0)
    rows = world.rows(action, outcome, target)
    moment = float((target**2)[logging > 0] @ (1.0 / world.logging[logging > 0]))
    n = len(rows)
    own = overlap("target", rows.weight, np.full(n, moment), np.full(n, target[best]),
                  rows.user, n)  # fmt: skip
    print("2. Half the target's choices are an item that the log could not show")
    print(f"   truth {truth:.5f}  OBP's IPS {found[0]:.5f}, SNIPS {found[1]:.5f} in the mean of "
          f"{LOGS} logs   ours: {own.verdict}, {'; '.join(own.reasons)}")  # fmt: skip


def _stochastic_matching(data: Campaign, rate: Float64) -> None:
    """Replay of a target that draws: OBP counts only rows whose probability is 1."""
    from obp import ope

    world = World(np.full(data.items, 1.0), rate)
    truth = float(data.target @ rate)
    theirs, ours = 0.0, 0.0
    for seed in range(LOGS):
        action, outcome = world.draw(seed)
        known = world.arguments(action, outcome, data.target)
        theirs += float(np.sum(ope.ReplayMethod().estimate_policy_value(**known))) / LOGS
        found = single.matching(world.rows(action, outcome, data.target))
        assert found is not None
        ours += found.value / LOGS
    print(f"3. Matching of a target that draws, mean of {LOGS} logs of uniform choices")
    print(f"   truth {truth:.5f}  OBP's ReplayMethod {theirs:.5f}   ours {ours:.5f}")


_ITEMS, _SLOTS = 3, 3
_ATTRACTION = np.array([0.15, 0.35, 0.6])
_LOGGING = np.array([0.5, 0.3, 0.2])
_TARGET = np.array([0.2, 0.3, 0.5])


def _rates(items: Int64) -> Float64:
    """float64[B, slots, items]: click rate of every item below the slots above, int64[B, slots].

    A cascade: every better item above takes a third of it.
    """
    better = _ATTRACTION[items][:, :, None] > _ATTRACTION[None, None, :]
    above: Int64 = np.cumsum(better, axis=1) - better
    return np.asarray(_ATTRACTION * (2 / 3) ** above)


def _cascade_truth() -> float:
    """The value per slate, summed over all slates with their probabilities."""
    every = np.array(list(itertools.product(range(_ITEMS), repeat=_SLOTS)))
    rate = np.take_along_axis(_rates(every), every[:, :, None], axis=2)[:, :, 0]
    return float(_TARGET[every].prod(axis=1) @ rate.sum(axis=1))


def _cascade_log(seed: int) -> dict[str, NDArray[Any]]:
    """Columns of `SLATES` slates, sorted; the model knows the slots above and what is left."""
    random = np.random.default_rng(seed)
    items = random.choice(_ITEMS, (SLATES, _SLOTS), p=_LOGGING)
    every = _rates(items)
    rate = np.take_along_axis(every, items[:, :, None], axis=2)[:, :, 0]
    left = (_SLOTS - 1 - np.arange(_SLOTS))[None, :, None] * every.mean()
    return {
        "slate": np.repeat(np.arange(SLATES), _SLOTS),
        "position": np.tile(np.arange(_SLOTS), SLATES), "action": items.ravel(),
        "reward": (random.random(rate.shape) < rate).astype(float).ravel(),
        "logging": _LOGGING[items].ravel(), "target": _TARGET[items].ravel(),
        "modelled": (every + left).reshape(-1, _ITEMS),
        "choice": np.tile(_TARGET, (SLATES * _SLOTS, 1)),
    }  # fmt: skip


def _unsorted_cascade() -> None:
    """OBP takes the row before as the slot above and reads slates in blocks of rows."""
    from obp import ope

    print(f"4. Cascade-DR, mean of {CASCADES} logs of {SLATES:,} slates")
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(CASCADES):
        columns = _cascade_log(seed)
        mixed = np.random.default_rng(1_000 + seed).permutation(SLATES * _SLOTS)
        for name, order in (("sorted", np.arange(len(mixed))), ("unsorted", mixed)):
            own = {k: v[order] for k, v in columns.items()}
            theirs = ope.SlateCascadeDoublyRobust(len_list=_SLOTS, n_unique_action=_ITEMS)
            value = theirs.estimate_policy_value(**cascade_arguments(**own))
            found.setdefault((name, "OBP"), []).append(float(value))
            at = np.arange(len(order))
            slates = LoggedSlates(own["slate"], SLATES, own["position"], own["reward"],
                                  own["target"] / own["logging"],
                                  own["modelled"][at, own["action"]],
                                  (own["modelled"] * own["choice"]).sum(axis=1))  # fmt: skip
            found.setdefault((name, "ours"), []).append(float(cascade_dr(slates).mean()))
    print(f"   truth {_cascade_truth():.5f}")
    for name in ("sorted", "unsorted"):
        texts = []
        for side in ("OBP", "ours"):
            values = np.array(found[name, side])
            error = values.std(ddof=1) / np.sqrt(len(values))
            texts.append(f"{side} {values.mean():.5f} (+- {error:.5f})")
        print(f"   rows {name:<9} {'   '.join(texts)}")


def _remembered_parameter(data: Campaign) -> None:
    """OBP's tuned estimators keep the parameter of the first log they saw."""
    from obp import ope

    few = np.arange(len(data.action)) < 200
    first, second = (
        Campaign(data.file, data.action[keep], data.position[keep], data.reward[keep],
                 data.logging[keep], data.table, data.group) for keep in (few, ~few)
    )  # fmt: skip
    settings = {"lambdas": SMOOTHINGS, "tuning_method": "slope"}
    one = ope.SubGaussianDoublyRobustTuning(**settings)
    one.estimate_policy_value(**first.obp())
    again = float(one.estimate_policy_value(**second.obp()))
    fresh = ope.SubGaussianDoublyRobustTuning(**settings)
    alone = float(fresh.estimate_policy_value(**second.obp()))
    for part in (first, second):
        ours = slope(partial(single.sub_gaussian_dr, part.rows()), SMOOTHINGS)
    assert ours is not None
    print("5. Sub-Gaussian DR tuned by SLOPE on 200 rows, then the same object on the others")
    print(f"   OBP {again:.6f} (parameter {one.best_hyperparam:g}), a new object {alone:.6f} "
          f"({fresh.best_hyperparam:g})   ours {ours.linear.value:.6f} "
          f"({ours.parameter:g})")  # fmt: skip
