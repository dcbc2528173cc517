"""Make the splits of an A/A test on several machines: the p values are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from abtest.console import Console
from abtest.run.engines import Job, Told
from abtest.run.machines import Machines
from reports.analysis.calibration import splits_of
from reports.plan import Metric
from reports.statistics.checks.aa import BLOCK


@dataclass(frozen=True)
class Split:
    """What every part of the splits shares.

    Attributes:
        columns: float64[users, k] by metric name.
        metrics: What is analysed.
        seed: Of the splits.
        share: Of users in the second arm.
        by_score: Names of metrics that are compared by the score method.
    """

    columns: Mapping[str, NDArray[np.float64]]
    metrics: Sequence[Metric]
    seed: int
    share: float
    by_score: Sequence[str]


def spread_splits(
    split: Split, replicates: int, machines: Machines, console: Console
) -> NDArray[np.float64]:
    """float64[replicates, metrics]: the p values of `reports.analysis.calibration.calibrate`.

    Args:
        split: What is split.
        replicates: How often.
        machines: Where; every 128 splits are a task.
        console: Progress.
    """
    parts = [range(first, min(first + BLOCK, replicates)) for first in range(0, replicates, BLOCK)]
    with console.stage("aa", f"{replicates:,} splits") as stage:

        def report(done: float, finished: int) -> None:
            stage.update("", done / len(parts))

        job: Job[range, NDArray[np.float64]] = Job(partial(_itself, split), _p_values)
        return np.concatenate(list(machines.each(job, parts, report)))


def _itself(split: Split) -> Split:
    return split


def _p_values(split: Split, numbers: range, told: Told) -> NDArray[np.float64]:
    return splits_of(
        split.columns,
        split.metrics,
        numbers,
        seed=split.seed,
        share=split.share,
        by_score=split.by_score,
    )
