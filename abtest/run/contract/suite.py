"""Run the policy contract: all of it, or what can be asked of weights that exist.

An exception inside the policy fails the check that met it and is reported in its own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from abtest.run.arms.foreign import make, ours
from abtest.run.arms.places import named, user_id
from abtest.run.arms.training import TrainedPolicy, load_policy
from abtest.run.contract.answers import Broken, Differs
from abtest.run.contract.runner import Runner
from policies.errors import PolicyContractError, PolicyTooSlow
from simulator.logs.dataset import Dataset

TRAINS = "trains on a log"
REPEATS = "same request, same scores"
STATELESS = "no state across people or requests"
SAVES = "save and load"

RULES: dict[str, Callable[[Runner], str]] = {
    TRAINS: Runner.trains,
    "scores: finite, float32, right shape": Runner.scores,
    "comments: a full order, or none": Runner.comments,
    REPEATS: Runner.repeatable,
    "a batch of 1 equals its row in a batch of 64": Runner.batches,
    "candidate order is irrelevant": Runner.order,
    SAVES: Runner.saved,
    STATELESS: Runner.stateless,
    "new people and empty histories": Runner.strangers,
    "inputs and global random state untouched": Runner.untouched,
    "later events change nothing": Runner.future,
    "knows the log, not the simulated world": Runner.world,
    "same seed, same scores, in another process too": Runner.another_process,
    "speed and memory": Runner.speed,
}
"""Every rule and the experiment that shows it."""

OF_WEIGHTS = (
    "scores: finite, float32, right shape",
    "comments: a full order, or none",
    REPEATS,
    "a batch of 1 equals its row in a batch of 64",
    "candidate order is irrelevant",
    STATELESS,
    "new people and empty histories",
    "inputs and global random state untouched",
)
"""Rules that can be shown without training again, and whose outcome no clock decides."""


UNSTEADY = "cannot be told, as the same request does not keep its scores"
"""Of a rule that compares scores which change by themselves: not a fault of its own."""

OF_ONE_TRAINING = (TRAINS, SAVES, *OF_WEIGHTS)
"""Rules for which a policy trains once, for one whose training takes long."""


@dataclass(frozen=True)
class CheckResult:
    """One check: its name, whether it passed, and what was seen."""

    name: str
    passed: bool
    detail: str


def check_policy(
    spec: str, dataset: Dataset, rules: Iterable[str] = tuple(RULES)
) -> list[CheckResult]:
    """Run the contract.

    Args:
        spec: A policy's name, or ``file.py:Class``.
        dataset: A log to train and score on; a small one keeps this short.
        rules: Which; training and saving come first where others need them.

    Raises:
        UnknownPolicy: there is no such policy.
    """
    make(spec, {})
    return _run(Runner(spec, dataset), rules)


def check_trained(trained: TrainedPolicy, dataset: Dataset) -> list[CheckResult]:
    """Run what can be asked of weights that exist (`OF_WEIGHTS`)."""
    return _run(Runner(trained.spec, dataset, lambda: load_policy(trained, dataset)), OF_WEIGHTS)


def contract_facts(trained: Iterable[TrainedPolicy], dataset: Dataset) -> dict[str, Any]:
    """For the report: rules tried on each policy from outside the house, and those it breaks.

    Returns:
        Policy -> ``rules``, their number, and ``broken``, a sentence for each.
    """
    facts = {}
    for policy in trained:
        if not ours(policy.spec):
            results = check_trained(policy, dataset)
            broken = [f"{r.name}: {r.detail}" for r in results if not r.passed]
            facts[policy.spec] = {"rules": len(results), "broken": broken}
    return facts


def reasons(broken: Iterable[str]) -> list[str]:
    """What `contract_facts` says is broken, with one sentence for rules that broke alike."""
    rules: dict[str, list[str]] = {}
    for sentence in broken:
        rule = next(name for name in RULES if sentence.startswith(f"{name}: "))
        rules.setdefault(sentence.removeprefix(f"{rule}: ").rstrip("."), []).append(rule)
    return [
        f"{names[0]}: {reason}" + (f" ({len(names) - 1} more rules by the same)" * (len(names) > 1))
        for reason, names in rules.items()
    ]


def _run(runner: Runner, names: Iterable[str]) -> list[CheckResult]:
    results: list[CheckResult] = []
    steady = True
    try:
        for name in names:
            try:
                results.append(CheckResult(name, True, RULES[name](runner)))
            except Differs as broken:
                blurred = not steady and name != STATELESS
                results.append(CheckResult(name, False, UNSTEADY if blurred else str(broken)))
                steady = steady and name != REPEATS
            except Broken as broken:
                results.append(CheckResult(name, False, str(broken)))
            except PolicyTooSlow as error:
                # Every further check would wait as long.
                results.append(CheckResult(name, False, str(error)))
                break
            except PolicyContractError as error:
                told = named(error, runner.dataset.catalogue(), partial(user_id, runner.dataset))
                detail = told.problem.removesuffix(".") if error.place else told.problem
                results.append(CheckResult(name, False, detail))
            except (
                Exception,
                SystemExit,
            ) as error:  # what somebody's policy raises is a result
                results.append(CheckResult(name, False, f"{type(error).__name__}: {error}"))
            if name == TRAINS and not results[-1].passed:
                break
    finally:
        runner.close()
    return results
