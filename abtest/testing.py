"""Test a policy of one's own with pytest: the checks of `abtest policy check`, one test each.

from abtest.testing import PolicySuite

class TestMyPolicy(PolicySuite):
policy = "my_policy.py:MyPolicy"
"""

from __future__ import annotations

import functools
from typing import ClassVar

from abtest.console import Console
from abtest.run.contract.suite import CheckResult, check_policy
from abtest.run.datasets import open_dataset, small_dataset

__all__ = ["PolicySuite", "contract_results"]


@functools.cache
def contract_results(policy: str, data: str | None = None) -> dict[str, CheckResult]:
    """Every rule of the contract and what became of it; computed once per process.

    Args:
        policy: A name, or ``file.py:Class``.
        data: A dataset directory; None for the log of a small built-in world, made once.
    """
    console = Console(quiet=True)
    dataset = small_dataset(console) if data is None else open_dataset(data, console)
    return {result.name: result for result in check_policy(policy, dataset)}


class PolicySuite:
    """Derive from it, name the class ``Test...`` and set ``policy``; pytest does the rest.

    Attributes:
        policy: A policy's name, or ``file.py:Class``.
        data: A dataset directory to train and score on; None for a small built-in world.
    """

    policy: ClassVar[str]
    data: ClassVar[str | None] = None

    def hold(self, rule: str) -> None:
        """Fail unless the policy keeps a rule.

        Raises:
            AssertionError: it breaks it; says how.
        """
        results = contract_results(self.policy, self.data)
        broken = [r for r in results.values() if not r.passed]
        assert rule in results, f"not tried: {broken[0].name}: {broken[0].detail}"
        assert results[rule].passed, results[rule].detail

    def test_trains(self) -> None:
        """It can be fitted."""
        self.hold("trains on a log")

    def test_saves_and_loads(self) -> None:
        """Weights on disk score the same."""
        self.hold("save and load")

    def test_scores_are_finite_float32(self) -> None:
        """One finite score per candidate."""
        self.hold("scores: finite, float32, right shape")

    def test_orders_comments_fully(self) -> None:
        """A full order of every section, or None."""
        self.hold("comments: a full order, or none")

    def test_repeats(self) -> None:
        """The same request, the same scores."""
        self.hold("same request, same scores")

    def test_batches_do_not_matter(self) -> None:
        """A batch of 1 equals its row in a batch of 64."""
        self.hold("a batch of 1 equals its row in a batch of 64")

    def test_candidate_order_does_not_matter(self) -> None:
        """Candidates may come in any order."""
        self.hold("candidate order is irrelevant")

    def test_has_no_state(self) -> None:
        """Who was served before does not matter."""
        self.hold("no state across people or requests")

    def test_serves_strangers(self) -> None:
        """New people and empty histories."""
        self.hold("new people and empty histories")

    def test_touches_nothing(self) -> None:
        """Inputs and global random states stay as they are."""
        self.hold("inputs and global random state untouched")

    def test_sees_no_future(self) -> None:
        """Later events change nothing."""
        self.hold("later events change nothing")

    def test_knows_no_world(self) -> None:
        """It knows the log, not the simulated world."""
        self.hold("knows the log, not the simulated world")

    def test_is_the_same_in_another_process(self) -> None:
        """The same seed gives the same scores there."""
        self.hold("same seed, same scores, in another process too")

    def test_is_quick(self) -> None:
        """Cold requests are answered in time."""
        self.hold("speed and memory")
