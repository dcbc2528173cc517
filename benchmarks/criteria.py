"""Compare the order of policies by offline criteria with the order in a twin experiment.

    python -m benchmarks.criteria --world small --log-users 1500 --users 2048 --worlds 3
    python -m benchmarks.criteria --task videos --world small --log-users 1500 --users 2048
    python -m benchmarks.criteria ... --figure docs/criteria-comments.png

For every world, all policies are evaluated offline on its log (``abtest evaluate --split time``)
and live through one twin experiment, as the treatment's comments (``sasrec+NAME``) or videos
(``NAME+sasrec``) against ``sasrec``. Prints each policy's criteria beside its lift in comment watch
time, and per criterion Spearman's rank correlation with the lift and the pairs that both order
alike. Intervals are percentiles of a bootstrap over policies, within each world: they answer for
other policies of the kind that are listed, not for other worlds.

The lifts are read after everything else is fixed. Runs are kept in ``--folder`` and not repeated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot
from numpy.typing import NDArray
from scipy import stats

from abtest.config import RunConfig
from abtest.console import Console
from abtest.evaluate.asked import Protocol
from abtest.evaluate.protocol import contestants, evaluate_policies
from abtest.run.datasets import builtin_dataset
from abtest.run.machines import Machines
from abtest.tables import table
from benchmarks.seeds import kept, of_arms

COMMENTS = (
    "likes",
    "newest",
    "text-similarity",
    "text-similarity:video_share=1",
    "text-similarity:video_share=0",
    "comment-sasrec",
    "comment-sasrec:epochs=2",
    "fused:comments=text-similarity",
    "fused:comments=comment-sasrec",
    "no-taste",
    "comment-value",
    "comment-value:reads=false",
    "comment-value:width=8",
    "lsvcr:variant=paper",
)
VIDEOS = (
    "random",
    "popular",
    "itemknn",
    "ease",
    "gru4rec",
    "hstu",
    "fmlprec",
    "bert4rec",
    "unisrec",
    "two-tower",
    "lsvcr",
    "lsvcr:variant=paper",
)
CONTROL = "sasrec"
RESAMPLES = 2_000

Floats = NDArray[np.float64]


def offline(
    policies: list[str], task: str, config: RunConfig, console: Console
) -> dict[str, Floats]:
    """Criterion to float64[policies]; NaN where a policy has no figure."""
    dataset = builtin_dataset(
        config.world, config.world_seed, config.log_users, config.burn_in_days, console
    )
    protocol = Protocol(
        tasks=("comments",) if task == "comments" else ("videos",),
        seeds=(config.training_seed,),
        split="time",
        test_share=0.2,
    )
    rows = contestants(policies, {}, ablations=False)
    (result,) = evaluate_policies(rows, dataset, protocol, console)
    found: dict[str, Floats] = {}
    for number, policy in enumerate(policies):
        for scores in result.policies:
            if scores.label == policy:
                for name, mean in scores.metrics.items():
                    found.setdefault(name, np.full(len(policies), np.nan))[number] = mean.value
    return found


def truth(policies: list[str], task: str, config: RunConfig, folder: Path) -> Floats:
    """float64[policies]: log lifts in comment watch time."""
    lifts = []
    for policy in policies:
        arm = f"{CONTROL}+{policy}" if task == "comments" else f"{policy}+{CONTROL}"
        run = RunConfig(**{**vars(config), "treatment": (arm,)})
        metric = of_arms([kept(run, folder, Machines())], arm)[0]
        lifts.append(0.0 if metric.relative is None else float(np.log1p(metric.relative.value)))
    return np.array(lifts)


def agreement(criterion: Floats, lift: Floats) -> tuple[float, float]:
    """Spearman's correlation, and the share of pairs in the same order (ties count half)."""
    known = np.isfinite(criterion)
    x, y = criterion[known], lift[known]
    if len(x) < 3 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return np.nan, np.nan
    first, second = np.triu_indices(len(x), 1)
    product = np.sign(x[first] - x[second]) * np.sign(y[first] - y[second])
    return float(stats.spearmanr(x, y).statistic), float((product.mean() + 1.0) / 2.0)


def pooled(criteria: list[Floats], lifts: list[Floats], seed: int = 1) -> tuple[Floats, Floats]:
    """Mean agreement over worlds, float64[2], and its 95 % interval, float64[2, 2]."""
    rng = np.random.default_rng(seed)
    value = np.mean([agreement(c, y) for c, y in zip(criteria, lifts, strict=True)], axis=0)
    drawn = []
    for _ in range(RESAMPLES):
        # The same policies in every world: they are what is sampled.
        chosen = rng.integers(0, len(lifts[0]), len(lifts[0]))
        each = [agreement(c[chosen], y[chosen]) for c, y in zip(criteria, lifts, strict=True)]
        drawn.append(np.mean(each, axis=0))
    return value, np.nanpercentile(np.array(drawn), [2.5, 97.5], axis=0)


def draw(criteria: dict[str, Floats], lifts: Floats, path: Path) -> None:
    """One panel per criterion: every policy's criterion and its lift in percent."""
    columns = min(len(criteria), 4)
    rows = -(-len(criteria) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(3 * columns, 2.8 * rows), sharey=True, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    panels = grid.ravel()
    for panel, (name, values) in zip(panels, criteria.items(), strict=False):
        rho, _ = agreement(values, lifts)
        panel.axhline(0.0, color="0.8", linewidth=1)
        panel.scatter(values, 100 * np.expm1(lifts), s=22, color="#1f5fa8")
        panel.set_title(f"Spearman {rho:.2f}", fontsize=9)
        panel.set_xlabel(name, fontsize=9)
    for panel in panels[len(criteria) :]:
        panel.set_visible(False)
    for first in grid[:, 0]:
        first.set_ylabel("lift in comment watch time, %", fontsize=9)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=("comments", "videos"), default="comments")
    parser.add_argument("--policies", nargs="*", help="other policies than the list in this file")
    parser.add_argument("--world", default="default", help="a preset")
    parser.add_argument("--worlds", type=int, default=1)
    parser.add_argument("--users", type=int, default=8_192)
    parser.add_argument("--log-users", type=int, default=4_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/criteria"))
    parser.add_argument("--figure", type=Path, help="write a PNG of means over worlds there")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    policies = options.policies or list(COMMENTS if options.task == "comments" else VIDEOS)
    console = Console(quiet=True)
    criteria: dict[str, list[Floats]] = {}
    lifts = []
    for world in range(1, options.worlds + 1):
        config = RunConfig(
            treatment=(policies[0],),
            control=CONTROL,
            world=options.world,
            design="twin",
            users=options.users,
            log_users=options.log_users,
            seed=100 * world + 1,
            training_seed=1,
            world_seed=world,
        )
        for name, values in offline(policies, options.task, config, console).items():
            criteria.setdefault(name, []).append(values)
        lifts.append(truth(policies, options.task, config, options.folder))
    names = list(criteria)
    order = np.argsort(-np.mean(lifts, axis=0))
    rows = [
        (
            policies[i],
            *[f"{np.mean([values[i] for values in criteria[name]]):.3f}" for name in names],
            f"{100 * np.expm1(np.mean([lift[i] for lift in lifts])):+.1f} %",
        )
        for i in order
    ]
    print(table(rows, header=("policy", *names, "lift"), right=range(1, len(names) + 2)))
    print()
    lines = []
    for name in names:
        value, interval = pooled(criteria[name], lifts)
        spans = [f"{value[k]:.2f} ({interval[0, k]:.2f} to {interval[1, k]:.2f})" for k in (0, 1)]
        lines.append((name, *spans))
    print(table(lines, header=("criterion", "Spearman (95 %)", "pairs ordered alike (95 %)")))
    if options.figure is not None:
        means = {name: np.mean(values, axis=0) for name, values in criteria.items()}
        draw(means, np.mean(lifts, axis=0), options.figure)


if __name__ == "__main__":
    main()
