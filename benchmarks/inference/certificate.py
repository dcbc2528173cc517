"""Do 95 % intervals cover 95 %, and tests err in 5 %? Every estimator, by simulation.

    python -m benchmarks.inference.certificate
    python -m benchmarks.inference.certificate --only cuped --replicates 8000

Coverage, of the difference and of the lift, with the 95 % Clopper-Pearson interval of the worse of
the two; how often the module warned of heavy tails; and a judgement:

    ok        covers 94 to 96 %, as far as this many experiments can tell
    cautious  covers more
    warned    covers less than 94 %, and the module warned in most experiments
    CHECK     covers less without a warning, or warned although it covers

A lift that the module declares too noisy for an interval is not counted. Exit code 1 if any line
says CHECK.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_name] = "1"

import argparse
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from scipy import stats

from abtest.processes import end_with
from benchmarks.lib import certificate_trials as trials
from benchmarks.lib.certificate_errors import ERROR_RATES, warned_share
from benchmarks.lib.certificate_trials import Trial

BLOCK = 250
LOW, HIGH = 0.94, 0.96


class Scenario(NamedTuple):
    """An estimator on a law.

    Attributes:
        name: Of estimator and law.
        trial: One experiment.
        control: Users.
        treatment: Users.
        lift: True.
    """

    name: str
    trial: Trial
    control: int
    treatment: int
    lift: float

    @property
    def title(self) -> str:
        """Of the line."""
        lift = f", {self.lift:+.0%}" if self.lift else ""
        return f"{self.name}, {self.control:,}:{self.treatment:,}{lift}"


class Tally(NamedTuple):
    """Counts over experiments.

    Attributes:
        runs: Number of experiments.
        absolute: Covered.
        relative_runs: Those with an interval of the lift.
        relative: Covered.
        judged: Those to which the heavy-tail rule applies.
        warned: Of these.
        silent_covered: Not warned, difference covered.
    """

    runs: int = 0
    absolute: int = 0
    relative_runs: int = 0
    relative: int = 0
    judged: int = 0
    warned: int = 0
    silent_covered: int = 0


class Line(NamedTuple):
    """What is printed of a scenario."""

    coverage: float
    low: float
    high: float
    warned: float
    judgement: str


def scenarios() -> Iterator[Scenario]:
    """All of them; ``control:treatment`` users and the lift vary where they matter."""
    three = (500, 5_000, 50_000)
    shapes = [(1, 1, 0.0), (1, 1, 0.5), (9, 1, 0.0)]

    def each(name: str, trial: Trial, sizes: tuple[int, ...]) -> Iterator[Scenario]:
        for size in sizes:
            for control, treatment, lift in shapes:
                # At 50,000 in the smaller arm 9:1 says nothing that 1:1 does not.
                if size < 50_000 or control == 1:
                    yield Scenario(name, trial, control * size, treatment * size, lift)

    yield from each("mean, normal", trials.mean_trial(trials.NORMAL), (500, 5_000))
    yield from each("proportion, 1 %", trials.proportion_trial, three)
    yield from each("proportion, 0.1 %", trials.rare_rate_trial, (5_000, 50_000))
    yield from each("ratio, click rate", trials.click_rate_trial, (500, 5_000))
    yield from each("ratio, stay per open", trials.stay_trial, (500, 5_000))
    yield from each("mean, watch time", trials.mean_trial(trials.WATCH_TIME), three)
    yield from each("cuped, watch time", trials.cuped_trial, three)
    yield from each("cuped, stay per open", trials.cuped_ratio_trial, (500, 5_000))
    yield from each("capped 99 %, watch time", trials.capped_trial, three)
    yield from each("median, watch time", trials.quantile_trial(0.5), (500, 5_000))
    yield from each("p90, watch time", trials.quantile_trial(0.9), three)
    yield from each("p90, events of users", trials.event_quantile_trial(0.9), (500, 5_000))
    yield from each("log lift, watch time", trials.log_lift_trial, (5_000,))
    yield from each("time per reader", trials.two_part_trial, (500, 5_000))
    yield from each("slope of the lift", trials.novelty_trial, (500,))
    yield Scenario("twin, watch time", trials.paired_trial, 500, 500, 0.0)
    yield Scenario("twin, watch time", trials.paired_trial, 5_000, 5_000, 0.5)
    yield Scenario("bootstrap t, watch time", trials.bootstrap_trial, 500, 500, 0.5)
    yield Scenario("bootstrap t, watch time", trials.bootstrap_trial, 4_500, 500, 0.0)
    for runs in (3, 5, 10):
        yield Scenario("several runs", trials.summary_trial, runs, runs, 0.04)


def run_block(scenario: Scenario, runs: int, seed: int, block: int) -> Tally:
    """Some experiments of a scenario."""
    rng = generator(scenario.title, seed, block)
    counts = [0] * len(Tally._fields)
    for _ in range(runs):
        absolute, relative, warned = scenario.trial(
            rng, scenario.control, scenario.treatment, scenario.lift
        )
        counts[0] += 1
        counts[1] += absolute
        counts[2] += relative is not None
        counts[3] += relative is True
        counts[4] += warned is not None
        counts[5] += warned is True
        counts[6] += warned is False and absolute
    return Tally(*counts)


def generator(title: str, seed: int, block: int) -> np.random.Generator:
    """Of a block: the same for any number of processes."""
    return np.random.default_rng([seed, zlib.crc32(title.encode()), block])


def merged(tallies: list[Tally]) -> Tally:
    """Sum."""
    return Tally(*(sum(values) for values in zip(*tallies, strict=True)))


def judge(tally: Tally) -> Line:
    """The worse of difference and lift, and what to think of it."""
    pairs = [(tally.absolute, tally.runs)]
    if tally.relative_runs:
        pairs.append((tally.relative, tally.relative_runs))
    hits, runs = min(pairs, key=lambda pair: pair[0] / pair[1])
    bounds = stats.binomtest(hits, runs).proportion_ci(0.95)
    warned = tally.warned / tally.judged if tally.judged else 0.0
    if bounds.high < LOW:
        judgement = "warned" if warned > 0.5 else "CHECK"
    elif warned > 0.5:
        # A shortfall near the tolerated one may be warned of.
        judgement = "warned" if hits / runs < 0.945 else "CHECK"
    else:
        judgement = "cautious" if bounds.low > HIGH else "ok"
    return Line(hits / runs, bounds.low, bounds.high, warned, judgement)


def run_errors(index: int, runs: int, seed: int, block: int) -> int:
    """Some experiments of an error rate."""
    rate = ERROR_RATES[index]
    return int(rate.count(generator(rate.name, seed, block), runs))


def print_coverage(pool: ProcessPoolExecutor, wanted: str, blocks: int, seed: int) -> int:
    """A line per scenario; returns how many need a look."""
    chosen = [s for s in scenarios() if wanted in s.title]
    futures = [
        [pool.submit(_numbered_block, index, BLOCK, seed, b) for b in range(blocks)]
        for index, s in enumerate(scenarios())
        if wanted in s.title
    ]
    bad = 0
    if chosen:
        print(
            f"{'95 % intervals':<46} {'differ.':>8} {'lift':>7}  "
            f"{'worse of both':<15} {'warned':>7}"
        )
    for scenario, parts in zip(chosen, futures, strict=True):
        tally = merged([part.result() for part in parts])
        line = judge(tally)
        lift = f"{tally.relative / tally.relative_runs:.2%}" if tally.relative_runs else "-"
        warned = f"{line.warned:.0%}" if tally.judged else "-"
        print(
            f"{scenario.title:<46} {tally.absolute / tally.runs:>8.2%} {lift:>7}  "
            f"{line.low:.2%}-{line.high:.2%} {warned:>7}  {line.judgement}",
            flush=True,
        )
        bad += line.judgement == "CHECK"
    return bad


def _numbered_block(index: int, runs: int, seed: int, block: int) -> Tally:
    """Trials are closures, which do not travel: they are looked up by number."""
    return run_block(list(scenarios())[index], runs, seed, block)


def print_errors(pool: ProcessPoolExecutor, wanted: str, blocks: int, seed: int) -> int:
    """A line per error rate; returns how many need a look."""
    chosen = [i for i, rate in enumerate(ERROR_RATES) if wanted in rate.name]
    futures = [[pool.submit(run_errors, i, BLOCK, seed, b) for b in range(blocks)] for i in chosen]
    bad = 0
    if chosen:
        print(f"\n{'errors of 5 % tests':<62} {'rate':>8}  {'95 % interval':<15}")
    for index, parts in zip(chosen, futures, strict=True):
        rate = ERROR_RATES[index]
        wrong, runs = sum(part.result() for part in parts), blocks * BLOCK
        bounds = stats.binomtest(wrong, runs).proportion_ci(0.95)
        fine = bounds.low <= rate.nominal and (not rate.exact or bounds.high >= 0.9 * rate.nominal)
        judgement = ("ok" if fine else "CHECK") if rate.promise else "no promise"
        if rate.first is not None:
            warned = warned_share(generator(rate.name, seed, blocks), rate.first)
            if not fine and warned > 0.5:
                judgement = f"warned ({warned:.0%} of first looks)"
        print(
            f"{rate.name:<62} {wrong / runs:>8.2%}  {bounds.low:.2%}-{bounds.high:.2%}  "
            f"{judgement}",
            flush=True,
        )
        bad += judgement == "CHECK"
    return bad


def main() -> int:
    """Print the certificate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicates", type=int, default=4_000, help="experiments per line")
    parser.add_argument("--only", default="", help="lines that contain this text")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    blocks = -(-options.replicates // BLOCK)
    started = time.perf_counter()
    with ProcessPoolExecutor(
        options.workers, initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        bad = print_coverage(pool, options.only, blocks, options.seed)
        bad += print_errors(pool, options.only, blocks, options.seed)
    seconds = time.perf_counter() - started
    print(f"\n{blocks * BLOCK:,} experiments per line, {seconds:.0f} s; {bad} to check")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
