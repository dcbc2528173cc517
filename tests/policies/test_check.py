"""The contract check passes what keeps it and names what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from abtest.policy_tools.new import KINDS, Kind, class_name, policy_source, suite_source
from abtest.run.contract.answers import Broken
from abtest.run.contract.runner import Runner
from abtest.run.contract.suite import OF_ONE_TRAINING, RULES, TRAINS, UNSTEADY, check_policy
from abtest.testing import PolicySuite
from policies.registry import policy_class, ranked_by
from simulator.logs.dataset import Dataset
from tests.policies.conftest import write_log

HEAD = "import numpy as np\nfrom policies.base import Policy\n\n"
BAD = {
    "scores: finite, float32, right shape": (
        "return np.full(r.candidates.shape, np.nan, np.float32)"
    ),
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


def results(
    tmp_path: Path, body: str, dataset: Dataset, rules: tuple[str, ...] = tuple(RULES)
) -> dict[str, bool]:
    path = tmp_path / "mine.py"
    method = "\n".join(f"        {part.strip()}" for part in body.split(";"))
    path.write_text(f"{HEAD}class Mine(Policy):\n    def score_videos(self, r):\n{method}\n")
    return {r.name: r.passed for r in check_policy(f"{path}:Mine", dataset, rules)}


@pytest.mark.parametrize("broken", list(BAD))
def test_each_breach_fails_its_own_check(tmp_path: Path, chains: Dataset, broken: str) -> None:
    found = results(tmp_path, BAD[broken], chains, (TRAINS, broken))
    assert found == {TRAINS: True, broken: False}


def test_scores_that_change_by_themselves_are_not_called_a_look_into_the_future(
    tmp_path: Path, chains: Dataset
) -> None:
    results(tmp_path, BAD["same request, same scores"], chains, (TRAINS,))
    rules = (TRAINS, "same request, same scores", "no state across people or requests",
             "later events change nothing", "candidate order is irrelevant")  # fmt: skip
    found = {r.name: r for r in check_policy(f"{tmp_path / 'mine.py'}:Mine", chains, rules)}
    assert [name for name, one in found.items() if one.passed] == [TRAINS]
    assert "scores changed on repetition" in found["same request, same scores"].detail
    assert "the people served before" in found["no state across people or requests"].detail
    for name in rules[3:]:
        assert found[name].detail == UNSTEADY


FIT = """
    def fit(self, dataset, *, seed, progress=None):
        self.log = dataset
{fit}
    def save(self, directory):
        (directory / "path").write_text(str(self.log.path))
    def load(self, directory, dataset):
        self.log = dataset
{fit}
    def score_videos(self, r):
{score}
"""
CHEATS = {
    # Reads the log again when it scores: events that came after the request count.
    "later events change nothing": (
        "        pass",
        "likes = self.log.scan('impressions').group_by('video_id').len().collect();"
        "at = self.log.catalogue().video_index(likes['video_id'].to_numpy());"
        "n = np.bincount(at, likes['len'].to_numpy(), minlength=self.log.catalogue().n_videos);"
        "return n[r.candidates].astype(np.float32)",
    ),
    # Reads what world wrote the log from the disk, where the dataset it is given does not say it.
    "knows the log, not the simulated world": (
        "        import json\n"
        "        self.about = json.loads((dataset.path / 'dataset.json').read_text())",
        "return (r.candidates % (7 if self.about['name'] == 'log' else 5)).astype(np.float32)",
    ),
    # Remembers whom it has served.
    "no state across people or requests": (
        "        self.served = set()",
        "strange = len(self.served - set(range(64)));"
        "self.served |= set(r.user.tolist());"
        "return (r.candidates * (1 + strange)).astype(np.float32)",
    ),
    "scores: finite, float32, right shape": ("        pass", "return r.candidates / 1.0"),
}


@pytest.mark.parametrize("broken", list(CHEATS))
def test_a_cheat_fails_its_own_check(tmp_path: Path, chains: Dataset, broken: str) -> None:
    fit, score = CHEATS[broken]
    body = "\n".join(f"        {part.strip()}" for part in score.split(";"))
    path = tmp_path / "cheat.py"
    path.write_text(f"{HEAD}class Cheat(Policy):{FIT.format(fit=fit, score=body)}")
    others = [rule for rule in RULES if rule not in (broken, "same request, same scores")]
    quick = [rule for rule in others if "process" not in rule and "world" not in rule]
    rules = [*quick, broken]
    failed = [r.name for r in check_policy(f"{path}:Cheat", chains, rules) if not r.passed]
    assert failed == [broken]


def test_the_world_is_not_in_what_a_policy_is_given(tmp_path: Path, chains: Dataset) -> None:
    path = tmp_path / "cheat.py"
    path.write_text(
        f"{HEAD}class Cheat(Policy):"
        + FIT.format(
            fit="        from simulator.world import World\n"
            "        self.world = World.from_spec(dataset.info.world)",
            score="        return self.world.popularity()[r.candidates].astype(np.float32)",
        )
    )
    (failed,) = check_policy(f"{path}:Cheat", chains)
    assert failed.name == TRAINS and not failed.passed
    # The same without asking the log: the seed is guessed.
    path.write_text(path.read_text().replace("from_spec(dataset.info.world)", 'create("small", 1)'))
    other = tmp_path / "guess.py"
    other.write_text(path.read_text())
    rule = "knows the log, not the simulated world"
    trained, world = check_policy(f"{other}:Cheat", chains, (TRAINS, rule))
    assert trained.passed and not world.passed and "simulator.world" in world.detail


@pytest.mark.parametrize("wait", ["time.sleep(60)", "x = [i for i in range(10**12)]"])
def test_a_policy_that_hangs_is_ended(
    tmp_path: Path, chains: Dataset, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    monkeypatch.setattr("abtest.run.contract.runner.CALL_SECONDS", 0.3)
    path = tmp_path / "slow.py"
    path.write_text(
        f"import time\n{HEAD}class Slow(Policy):\n    def score_videos(self, r):\n        {wait}\n"
    )
    last = check_policy(f"{path}:Slow", chains)[-1]
    assert not last.passed and "took more than 0.3 s in score_videos" in last.detail


def test_a_check_allows_what_its_message_says_to_set(
    tmp_path: Path, chains: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abtest.run.contract.runner.CALL_SECONDS", 0.2)
    path = tmp_path / "slow.py"
    path.write_text(
        f"import time\n{HEAD}class Slow(Policy):\n    def score_videos(self, r):\n"
        "        time.sleep(0.5)\n        return r.candidates.astype(np.float32)\n"
    )
    rules = (TRAINS, "scores: finite, float32, right shape")
    first = check_policy(f"{path}:Slow", chains, rules)[-1]
    assert not first.passed and "Allow more: ABTEST_POLICY_SECONDS=3600" in first.detail
    monkeypatch.setenv("ABTEST_POLICY_SECONDS", "3600")
    assert check_policy(f"{path}:Slow", chains, rules)[-1].passed


def test_a_slow_policy_is_told_its_number(tmp_path: Path, chains: Dataset) -> None:
    path = tmp_path / "slow.py"
    path.write_text(
        f"import time\n{HEAD}class Slow(Policy):\n    def score_videos(self, r):\n"
        "        time.sleep(0.06 * len(r.row))\n"
        "        return 0 * r.candidates.astype(np.float32)\n"
    )
    runner = Runner(f"{path}:Slow", chains)
    with pytest.raises(Broken, match=r"6\d ms per request, limit 50: .* million requests a day"):
        runner.speed()
    runner.close()


def test_a_suite_of_pytest_has_a_test_for_every_rule(tmp_path: Path, chains: Dataset) -> None:
    good = tmp_path / "good.py"
    good.write_text(
        f"{HEAD}class Good(Policy):\n    def score_videos(self, r):\n"
        "        return -r.candidates.astype(np.float32)\n"
    )
    bad = tmp_path / "bad.py"
    bad.write_text(good.read_text().replace("Good", "Bad").replace("float32", "float64"))

    class Good(PolicySuite):
        policy = str(good)
        data = str(chains.path)

    class Bad(PolicySuite):
        policy = f"{bad}:Bad"
        data = str(chains.path)

    tests = [name for name in vars(PolicySuite) if name.startswith("test_")]
    assert len(tests) == len(RULES)
    failed = []
    for name in tests:
        getattr(Good(), name)()
        try:
            getattr(Bad(), name)()
        except AssertionError as error:
            failed.append(f"{name}: {error}")
    assert len(failed) == 1 and "test_scores_are_finite_float32" in failed[0]
    assert "score_videos gives float64, expected float32" in failed[0]


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


@pytest.mark.parametrize("kind", KINDS)
def test_generated_policy_passes(tmp_path: Path, chains: Dataset, kind: Kind) -> None:
    path = tmp_path / "my_policy.py"
    path.write_text(policy_source("my_policy", kind))
    assert class_name("my_policy") == "MyPolicy"
    # A network is trained once, not once per rule.
    quick = [rule for rule in RULES if kind == "video" or rule in OF_ONE_TRAINING]
    found = {r.name: r for r in check_policy(f"{path}:MyPolicy", chains, quick)}
    assert len(found) == len(quick)
    assert all(r.passed for r in found.values()), found
    ranks = "comments" if kind == "comment" else "videos"
    assert ranked_by(policy_class(f"{path}:MyPolicy")) == (ranks,)
    compile(suite_source("my_policy"), "test_my_policy.py", "exec")


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
    assert "(user 5000)" in found["scores: finite, float32, right shape"]
    assert "without a history" in found["new people and empty histories"]
