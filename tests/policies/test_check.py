"""The contract check passes what keeps it and names what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from abtest.policy_tools.check import check_policy
from abtest.policy_tools.new import class_name, policy_source
from simulator.logs.dataset import Dataset
from tests.policies.conftest import write_log

HEAD = "import numpy as np\nfrom policies.base import Policy\n\n"
BAD = {
    "scores: finite, right shape": "return np.full(r.candidates.shape, np.nan, np.float32)",
    "candidate order is irrelevant": (
        "return np.tile(np.arange(r.candidates.shape[1], dtype=np.float32), (len(r.row), 1))"
    ),
    "a batch of 1 equals its row in a batch of 64": (
        "return (r.candidates - r.candidates.mean()).astype(np.float32)"
    ),
    "inputs and global random state untouched": (
        "np.random.random(); return r.candidates.astype(np.float32)"
    ),
    "same request, same scores": (
        "self.n = getattr(self, 'n', 0) + 1; return (r.candidates * self.n).astype(np.float32)"
    ),
    "new people and empty histories": (
        "h = r.history.videos('liked').max(axis=1); assert (h >= 0).any(); "
        "return r.candidates.astype(np.float32)"
    ),
}


def results(tmp_path: Path, body: str, dataset: Dataset) -> dict[str, bool]:
    path = tmp_path / "mine.py"
    method = "\n".join(f"        {part.strip()}" for part in body.split(";"))
    path.write_text(f"{HEAD}class Mine(Policy):\n    def score_videos(self, r):\n{method}\n")
    return {r.name: r.passed for r in check_policy(f"{path}:Mine", dataset)}


@pytest.mark.parametrize("broken", list(BAD))
def test_each_breach_fails_its_own_check(tmp_path: Path, chains: Dataset, broken: str) -> None:
    found = results(tmp_path, BAD[broken], chains)
    assert not found[broken]


def test_a_good_policy_passes(tmp_path: Path, chains: Dataset) -> None:
    found = results(tmp_path, "return -r.candidates.astype(np.float32)", chains)
    assert all(found.values()), found


def test_a_policy_that_ranks_comments_only_passes(tmp_path: Path, chains: Dataset) -> None:
    path = tmp_path / "comments.py"
    path.write_text(
        f"{HEAD}class Mine(Policy):\n    def score_comments(self, r):\n"
        "        return -r.candidates.astype(np.float32)\n"
    )
    found = {r.name: r for r in check_policy(f"{path}:Mine", chains)}
    assert all(r.passed for r in found.values()), found


def test_generated_policy_passes(tmp_path: Path, chains: Dataset) -> None:
    path = tmp_path / "my_policy.py"
    path.write_text(policy_source("my_policy"))
    assert class_name("my_policy") == "MyPolicy"
    found = {r.name: r for r in check_policy(f"{path}:MyPolicy", chains)}
    assert all(r.passed for r in found.values()), found


def test_a_score_that_is_none_is_told_by_the_ids_of_the_log(tmp_path: Path) -> None:
    log = write_log(
        tmp_path / "log", [(5_000 + u, 40 + u % 5, k) for u in range(80) for k in (0, 9)]
    )
    path = tmp_path / "mine.py"
    path.write_text(
        f"{HEAD}class Mine(Policy):\n    def score_videos(self, r):\n"
        "        return np.full(r.candidates.shape, np.nan, np.float32)\n"
    )
    found = {r.name: r.detail for r in check_policy(f"{path}:Mine", log)}
    assert "(user 5000)" in found["scores: finite, right shape"]
    assert "without a history" in found["new people and empty histories"]
