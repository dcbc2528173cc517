"""Compare every estimator with OBP's on a campaign of the Open Bandit data, and show where not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulator.replay.estimators import Candidates, Estimate, Linear, Rows, dense_rows, single
from simulator.replay.estimators.blend import blend
from simulator.replay.estimators.linear import effective_sample_size
from simulator.replay.estimators.tuning import slope
from simulator.replay.estimators.weights import clipped, mixed, more_robust

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
TOLERANCE = 1e-9
LIMIT, STRENGTH, SMOOTHING = 1.5, 10.0, 0.1
"""Of clipping and switching, optimistic shrinkage, sub-Gaussian weights."""
CLIPS = [4.0, 2.0, 1.0, 0.3, 0.05]
STRENGTHS, SMOOTHINGS = [1000.0, 10.0, 0.1], [0.001, 0.05, 0.4]
"""What SLOPE chooses among, from least bias to least variance."""


@dataclass(frozen=True)
class Line:
    """One estimator on both sides.

    Attributes:
        name: Ours.
        theirs: OBP's class; empty where OBP has none.
        ours: Gives our estimate.
        obp: Gives OBP's value.
        note: In place of "equal".
    """

    name: str
    theirs: str
    ours: Callable[[], Linear | None]
    obp: Callable[[], float] | None = None
    note: str = ""

    def show(self, installed: bool) -> None:
        """Print ours beside OBP's."""
        linear = self.ours()
        estimate = None if linear is None else Estimate.of(linear)
        value = "none" if linear is None else f"{linear.value:.8f}"
        text = "-"
        if estimate is not None:
            text = f"{estimate.low:.5f} to {estimate.high:.5f}"
        other, verdict = "-", self.note
        if self.obp is not None and installed:
            found = self.obp()
            other = f"{found:.8f}"
            same = linear is not None and abs(found - linear.value) < TOLERANCE
            verdict = ("equal" if same else "DIFFERENT") + (f"; {self.note}" if self.note else "")
        print(f"{self.name:<23} {value:>11} {other:>11}  {text:<20} {self.theirs:<48} {verdict}")


@dataclass(frozen=True)
class Campaign:
    """A file of Open Bandit, with a target that prefers some items by their number.

    Attributes:
        file: Where it is.
        action, position: int64[N]; positions from 0.
        reward, logging: float64[N].
        table: float64[positions, items], mean logged propensity of each item.
        group: int64[items], a category of each item.
    """

    file: Path
    action: Int64
    position: Int64
    reward: Float64
    logging: Float64
    table: Float64
    group: Int64

    @classmethod
    def read(cls, folder: Path) -> Campaign:
        """Of a folder with ``CAMPAIGN.csv`` and ``item_context.csv``."""
        file = next(p for p in sorted(folder.glob("*.csv")) if p.name != "item_context.csv")
        frame = pl.read_csv(file)
        items = pl.read_csv(folder / "item_context.csv").sort("item_id")
        action = frame["item_id"].to_numpy().astype(np.int64)
        position = frame["position"].rank("dense").to_numpy().astype(np.int64) - 1
        logging = frame["propensity_score"].to_numpy().astype(np.float64)
        shape = (int(position.max()) + 1, items.height)
        cell = position * shape[1] + action
        total = np.bincount(cell, weights=logging, minlength=shape[0] * shape[1])
        mean = total / np.maximum(np.bincount(cell, minlength=shape[0] * shape[1]), 1)
        table = mean.reshape(shape)
        group = items["item_feature_2"].rank("dense").to_numpy().astype(np.int64) - 1
        reward = frame["click"].to_numpy().astype(np.float64)
        return cls(file, action, position, reward, logging,
                   table / table.sum(axis=1, keepdims=True), group)  # fmt: skip

    @property
    def items(self) -> int:
        """How many."""
        return int(self.table.shape[1])

    @property
    def places(self) -> int:
        """How many positions."""
        return int(self.table.shape[0])

    @property
    def target(self) -> Float64:
        """float64[items]: the target's probabilities, everywhere the same."""
        score = np.exp(1.5 * np.cos(np.arange(self.items)))
        return np.asarray(score / score.sum())

    @property
    def model(self) -> Float64:
        """float64[items]: a fixed model stands for any; both sides get the same one."""
        return 0.005 + 0.002 * np.sin(np.arange(self.items))

    def rows(self, model: Float64 | None = None, target: Float64 | None = None) -> Rows:
        """For our estimators; every row is a user of its own.

        Args:
            model: float64[places, items] in place of `model`.
            target: float64[items] in place of `target`.
        """
        n = len(self.action)
        table = np.tile(self.model, (self.places, 1)) if model is None else model
        chosen = self.target if target is None else target
        return dense_rows(np.arange(n), n, self.reward, self.action, np.tile(chosen, (n, 1)),
                          self.logging, table[self.position])  # fmt: skip

    def obp(self, model: Float64 | None = None, target: Float64 | None = None) -> dict[str, Any]:
        """Arguments of OBP's estimators, which want a table per position."""
        n = len(self.action)
        table = np.tile(self.model, (self.places, 1)) if model is None else model
        chosen = self.target if target is None else target
        return {
            "reward": self.reward, "action": self.action, "pscore": self.logging,
            "position": self.position, "action_dist":
            np.tile(chosen[None, :, None], (n, 1, self.places)),
            "estimated_rewards_by_reg_model": np.tile(table.T[None], (n, 1, 1)),
        }  # fmt: skip


def agreement(folder: Path) -> None:
    """Print ours beside OBP's, then cases in which OBP's answer misleads.

    Args:
        folder: Holds ``CAMPAIGN.csv`` with item_id, position, click, propensity_score.
    """
    from benchmarks.lib.open_bandit_slates import slate_lines
    from benchmarks.lib.open_bandit_truth import misleading

    data = Campaign.read(folder)
    installed = importlib.util.find_spec("obp") is not None
    rows = data.rows()
    print(f"{data.file}: {len(rows):,} rows, {data.items} items, clicks {data.reward.mean():.4f}")
    print(f"target: softmax; effective sample size {effective_sample_size(rows.weight):,.0f}")
    if not installed:
        print("OBP cannot be imported and is left out.")
    lines = [*single_lines(data), *tuned_lines(data), *logger_lines(data), *slate_lines(data)]
    print(f"{'estimator':<23} {'ours':>11} {'OBP':>11}  {'our 95 % interval':<20} "
          f"{'class of OBP':<48} result")  # fmt: skip
    for line in lines:
        line.show(installed)
    if installed:
        misleading(data)


def _same(linear: Linear | None) -> Linear | None:
    return linear


def _of(kind: str, arguments: dict[str, Any], **settings: object) -> Callable[[], float]:
    def value() -> float:
        from obp import ope  # type: ignore[import-not-found]

        return float(getattr(ope, kind)(**settings).estimate_policy_value(**arguments))

    return value


def single_lines(data: Campaign) -> list[Line]:
    """Estimators of one choice per row."""
    rows, known = data.rows(), data.obp()
    best = (np.arange(data.items) == data.target.argmax()).astype(np.float64)
    sure = data.rows(target=best)
    given = np.clip(rows.weight * (1 + 0.2 * np.cos(np.arange(len(rows)))), 0.0, 3.0)
    model = _mrdr_model(data, best)
    marginal = _candidates(data).marginal_weights(np.tile(data.group, len(rows)))
    embedded = {
        **known, "context": np.ones((len(rows), 1)),
        "action_embed": data.group[data.action][:, None],
        "pi_b": np.tile(data.table.T[None], (len(rows), 1, 1)),
        "p_e_a": np.eye(int(data.group.max()) + 1)[data.group][:, :, None],
    }  # fmt: skip
    plain = {n: single.UNTUNED[n] for n in ("ips", "snips", "dm", "dr", "sndr")}
    names = ("InverseProbabilityWeighting", "SelfNormalizedInverseProbabilityWeighting",
             "DirectMethod", "DoublyRobust", "SelfNormalizedDoublyRobust")  # fmt: skip
    lines = [
        Line(n, theirs, partial(call, rows), _of(theirs, known))
        for (n, call), theirs in zip(plain.items(), names, strict=True)
    ]
    balanced = {**known, "estimated_importance_weights": given}
    return [
        Line("matching", "ReplayMethod", lambda: single.matching(sure),
             _of("ReplayMethod", data.obp(target=best)), "deterministic target"),
        *lines,
        Line("clipped_ips", "InverseProbabilityWeighting(lambda_)",
             lambda: single.clipped_ips(rows, LIMIT),
             _of("InverseProbabilityWeighting", known, lambda_=LIMIT)),
        Line("clipped dr", "DoublyRobust(lambda_)",
             lambda: single.doubly_robust(rows.with_weight(clipped(rows.weight, LIMIT))),
             _of("DoublyRobust", known, lambda_=LIMIT)),
        Line("switch_dr", "SwitchDoublyRobust", lambda: single.switch_dr(rows, LIMIT),
             _of("SwitchDoublyRobust", known, lambda_=LIMIT)),
        Line("dr_os", "DoublyRobustWithShrinkage", lambda: single.shrinkage_dr(rows, STRENGTH),
             _of("DoublyRobustWithShrinkage", known, lambda_=STRENGTH)),
        Line("sub_gaussian_ips", "SubGaussianInverseProbabilityWeighting",
             lambda: single.sub_gaussian_ips(rows, SMOOTHING),
             _of("SubGaussianInverseProbabilityWeighting", known, lambda_=SMOOTHING)),
        Line("sub_gaussian_dr", "SubGaussianDoublyRobust",
             lambda: single.sub_gaussian_dr(rows, SMOOTHING),
             _of("SubGaussianDoublyRobust", known, lambda_=SMOOTHING)),
        Line("mrdr", "RegressionModel('mrdr'), DoublyRobust",
             lambda: single.doubly_robust(data.rows(model, best)),
             lambda: _obp_mrdr(data, best), "deterministic target"),
        Line("snips, own weights", "BalancedInverseProbabilityWeighting",
             lambda: single.self_normalised(rows.with_weight(given)),
             _of("BalancedInverseProbabilityWeighting", balanced), "the same estimated weights"),
        Line("mips", "MarginalizedInverseProbabilityWeighting",
             lambda: single.marginalised_ips(rows, marginal),
             _of("MarginalizedInverseProbabilityWeighting", embedded, n_actions=data.items)),
        Line("snips of mips", "SelfNormalizedMarginalizedInverse...Weighting",
             lambda: single.self_normalised(rows.with_weight(marginal)),
             _of("SelfNormalizedMarginalizedInverseProbabilityWeighting", embedded,
                 n_actions=data.items)),
    ]  # fmt: skip


def tuned_lines(data: Campaign) -> list[Line]:
    """Estimators whose parameter is chosen by SLOPE."""
    rows, known = data.rows(), data.obp()

    def clipped_dr(rows: Rows, limit: float) -> Linear | None:
        return single.doubly_robust(rows.with_weight(clipped(rows.weight, limit)))

    lines = []
    for name, call, theirs, among in (
        ("clipped_ips", single.clipped_ips, "InverseProbabilityWeightingTuning", CLIPS),
        ("clipped dr", clipped_dr, "DoublyRobustTuning", CLIPS),
        ("switch_dr", single.switch_dr, "SwitchDoublyRobustTuning", CLIPS),
        ("dr_os", single.shrinkage_dr, "DoublyRobustWithShrinkageTuning", STRENGTHS),
        ("sub_gaussian_ips", single.sub_gaussian_ips,
         "SubGaussianInverseProbabilityWeightingTuning", SMOOTHINGS),
        ("sub_gaussian_dr", single.sub_gaussian_dr, "SubGaussianDoublyRobustTuning", SMOOTHINGS),
    ):  # fmt: skip
        found = slope(partial(call, rows), among)
        chosen = None if found is None else found.linear
        note = "" if found is None else f"ours takes {found.parameter:g}"
        obp = _of(theirs, known, lambdas=among, tuning_method="slope")
        lines.append(Line(f"{name}, SLOPE", theirs, partial(_same, chosen), obp, note))
    return lines


def logger_lines(data: Campaign) -> list[Line]:
    """Estimators of rows by several logging policies: this campaign's and its sibling's."""
    parent, name = data.file.parent.parent, data.file.parent.name
    folders = [parent.parent / policy / name for policy in ("random", "bts")]
    if not all(f.is_dir() for f in folders):
        return []
    both = [Campaign.read(f) for f in folders]
    joined = {k: np.concatenate([getattr(d, k) for d in both])
              for k in ("action", "position", "reward", "logging")}  # fmt: skip
    pooled = Campaign(data.file, joined["action"], joined["position"], joined["reward"],
                      joined["logging"], data.table, data.group)  # fmt: skip
    n = len(pooled.action)
    share = np.array([len(d.action) / n for d in both])
    # OBP takes the mean of the loggers' probabilities as given; both sides get the same table.
    each = np.stack([d.table[pooled.position, pooled.action] for d in both], axis=1)
    rows = pooled.rows()
    average = rows.with_weight(mixed(rows.target, each, share))
    stratum = np.repeat(np.arange(2), [len(d.action) for d in both])
    known = {**pooled.obp(), "pscore_avg": each @ share, "stratum_idx": stratum}

    def weighted(call: Callable[[Rows], Linear | None]) -> Linear | None:
        parts = []
        for k in range(2):
            at = np.flatnonzero(stratum == k)
            assert rows.model is not None
            assert rows.expected is not None
            part = Rows(at, n, rows.outcome[at], rows.target[at], rows.logging[at],
                        rows.model[at], rows.expected[at])  # fmt: skip
            found = call(part)
            assert found is not None
            parts.append(found)
        return blend(parts, ridge=0.0)

    lines = []
    for short, call, long in (("ips", single.inverse_propensity, "InverseProbabilityWeighting"),
                              ("dr", single.doubly_robust, "DoublyRobust")):  # fmt: skip
        for kind, ours in (("Naive", partial(call, rows)), ("Balanced", partial(call, average)),
                           ("Weighted", partial(weighted, call))):  # fmt: skip
            theirs = f"MultiLoggers{kind}{long}"
            lines.append(Line(f"{short}, {kind.lower()}", theirs, ours, _of(theirs, known)))
    return lines


def _candidates(data: Campaign) -> Candidates:
    n, m = len(data.action), data.items
    logging = data.table[data.position].ravel()
    return Candidates(
        np.arange(n + 1) * m, np.tile(data.target, n), logging, np.arange(n) * m + data.action
    )


def _mrdr_model(data: Campaign, target: Float64) -> Float64:
    """float64[places, items]: weighted mean rewards, the fit of a model of items alone."""
    weight = more_robust(target[data.action], data.logging)
    cell = data.position * data.items + data.action
    size = data.places * data.items
    top = np.bincount(cell, weights=weight * data.reward, minlength=size)
    bottom = np.bincount(cell, weights=weight, minlength=size)
    mean = np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.0)
    return mean.reshape(data.places, data.items)


def _obp_mrdr(data: Campaign, target: Float64) -> float:
    from obp import ope
    from sklearn.tree import DecisionTreeRegressor

    known = data.obp(target=target)
    model = ope.RegressionModel(n_actions=data.items, len_list=data.places, fitting_method="mrdr",
                                base_model=DecisionTreeRegressor(random_state=0))  # fmt: skip
    learned = model.fit_predict(
        context=np.ones((len(data.action), 1)), action=data.action, reward=data.reward,
        pscore=data.logging, position=data.position, action_dist=known["action_dist"], n_folds=1,
    )  # fmt: skip
    return _of("DoublyRobust", {**known, "estimated_rewards_by_reg_model": learned})()
