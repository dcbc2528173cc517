"""The contract check asks of comments what it asks of videos, and notices tricks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from abtest.run.contract.suite import OF_WEIGHTS, RULES, SAVES, STATELESS, TRAINS, check_policy
from simulator.logs.dataset import Dataset
from tests.policies.comment_log import random_log, write

HEAD = "import numpy as np\nfrom policies.base import Policy\n\n\nclass Mine(Policy):\n"
PROCESS = "same seed, same scores, in another process too"
REPEATS = "same request, same scores"
BATCHES = "a batch of 1 equals its row in a batch of 64"
UNTOUCHED = "inputs and global random state untouched"
FUTURE = "later events change nothing"
WORLD = "knows the log, not the simulated world"


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A log with comments."""
    return write(tmp_path_factory.mktemp("talk") / "log", random_log(1))


def broken(path: Path, body: str, dataset: Dataset, *rules: str) -> dict[str, str]:
    """The rules that a class with this body breaks, and how."""
    file = path / "mine.py"
    file.write_text(HEAD + "\n".join(f"    {line}" for line in body.strip().splitlines()) + "\n")
    results = check_policy(f"{file}:Mine", dataset, (TRAINS, *rules))
    return {r.name: r.detail for r in results if not r.passed}


def scores(code: str) -> str:
    return f"def score_comments(self, r):\n    {code}"


@pytest.mark.parametrize(
    ("rule", "body", "told"),
    [
        (REPEATS, scores("return np.random.default_rng().random(r.candidates.shape, np.float32)"),
         "changed on repetition"),
        (BATCHES, scores("return (r.candidates - r.candidates.mean()).astype(np.float32)"),
         "scores otherwise alone"),
        (BATCHES, scores("return None if len(r.row) < 9 else r.candidates.astype(np.float32)"),
         "None for comments in one of two cases"),
        (UNTOUCHED, scores("np.random.random(); return r.candidates.astype(np.float32)"),
         "draws from numpy's"),
        (STATELESS, "served = 0\n" + scores("self.served += (r.user >= 30).any(); "
         "return (r.candidates * (1 + self.served)).astype(np.float32)"), "served before"),
        ("new people and empty histories", scores("assert (r.user < 900).all()"), "AssertionError"),
        ("speed and memory", "import time\n" + scores("time.sleep(.06 * len(r.row))"), "6"),
        (SAVES, "def fit(self, dataset, *, seed, progress=None): self.w = 2.0\n"
         "def save(self, directory): pass\n"
         "def load(self, directory, dataset): self.w = 1.0\n"
         + scores("return (self.w * r.candidates).astype(np.float32)"), "saving and loading"),
        (PROCESS, scores("return (r.candidates * (hash('a') % 997)).astype(np.float32)"),
         "in another process"),
        (FUTURE, "def fit(self, dataset, *, seed, progress=None): self.log = dataset\n"
         "def save(self, directory): pass\ndef load(self, directory, dataset): self.log = dataset\n"
         + scores("n = self.log.scan('comment_events').collect().height; "
                  "return (r.candidates % (n % 97 + 2)).astype(np.float32)"), "sees the future"),
    ],
)  # fmt: skip
def test_a_ranker_of_comments_that_breaks_a_rule_is_told(
    tmp_path: Path, talk: Dataset, rule: str, body: str, told: str
) -> None:
    found = broken(tmp_path, body, talk, *((SAVES,) if rule == STATELESS else ()), rule)
    assert list(found) == [rule]
    assert told in found[rule]


VIDEOS = "def score_videos(self, r):\n    "


@pytest.mark.parametrize(
    ("rule", "code", "told"),
    [
        # Probabilities over many videos: every difference is below any fixed bound.
        (REPEATS, "return 1e-6 * np.random.default_rng().random(r.candidates.shape, np.float32)",
         "changed on repetition"),
        # One array for all answers: the first has become the second when they are compared.
        (REPEATS, "b = self.__dict__.setdefault('b', np.zeros(r.candidates.shape, np.float32)); "
         "b += 1 + r.candidates; return b", "changed on repetition"),
        (UNTOUCHED, "import torch; torch.manual_seed(5); "
            "return r.candidates * torch.rand(1).numpy()",
         "draws from torch's"),
        (UNTOUCHED, "import random; random.seed(5); return r.candidates * np.float32(2)",
         "draws from Python's"),
        (UNTOUCHED, "r.candidates.flags.writeable = True; r.candidates.sort(axis=1); "
         "return r.candidates.astype(np.float32)", "changed its inputs"),
        (STATELESS, "return (r.candidates * (1 + r.row[:, None] % 5)).astype(np.float32)",
         "requests.user says who it is"),
        ("scores: finite, float32, right shape",
         "return np.ma.masked_array(r.candidates.astype(np.float32), r.candidates % 2 == 0)",
         "of type MaskedArray"),
    ],
)  # fmt: skip
def test_tricks_are_noticed(
    tmp_path: Path, chains: Dataset, rule: str, code: str, told: str
) -> None:
    before = (np.random.get_state()[2], torch.get_rng_state())  # noqa: NPY002
    # The rules before it see the inputs first, and may find them changed already.
    rules = [name for name in OF_WEIGHTS if name != UNTOUCHED] if rule == UNTOUCHED else [SAVES]
    found = broken(tmp_path, VIDEOS + code, chains, *rules, rule)
    assert told in found[rule]
    if "manual_seed" not in code and "seed(5)" not in code:
        assert np.random.get_state()[2] == before[0]  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[1])


def test_an_array_may_be_used_again(tmp_path: Path, chains: Dataset) -> None:
    code = "b = self.__dict__.setdefault('b', np.zeros((64, 60), np.float32))"
    code += "[:r.candidates.shape[0], :r.candidates.shape[1]]; b[:] = r.candidates; return b"
    assert broken(tmp_path, VIDEOS + code, chains, SAVES, *OF_WEIGHTS) == {}


def test_training_that_draws_anew_is_not_called_knowledge_of_the_world(
    tmp_path: Path, chains: Dataset
) -> None:
    body = """
def fit(self, dataset, *, seed, progress=None):
    self.w = np.random.default_rng().random(60, np.float32)
def save(self, directory): np.save(directory / 'w', self.w)
def load(self, directory, dataset): self.w = np.load(directory / 'w.npy')
def score_videos(self, r): return self.w[r.candidates]
"""
    found = broken(tmp_path, body, chains, WORLD, PROCESS)
    assert "training twice with the same seed" in found[WORLD]
    assert "in another process" in found[PROCESS]


def test_a_ranker_of_both_passes(tmp_path: Path, talk: Dataset) -> None:
    body = (
        VIDEOS
        + "return -r.candidates.astype(np.float32)\n"
        + scores(
            "return (1e6 + r.likes if r.likes is not None else r.candidates).astype(np.float32)"
        )
    )
    assert broken(tmp_path, body, talk, *(rule for rule in RULES if rule != TRAINS)) == {}
