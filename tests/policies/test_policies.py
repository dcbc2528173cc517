"""Policies learn what is there to learn, deterministically, and survive the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from policies.checkpoint import ARRAYS, HEADER, load_arrays, save_arrays
from policies.errors import CheckpointError, PolicyError, UnknownPolicy
from policies.evaluation.evaluate import gains, ranks, summarise
from policies.evaluation.holdout import held_out, training_part
from policies.evaluation.metrics import positive_ranks
from policies.registry import create, describe_all
from policies.videos.popular import PopularPolicy
from policies.videos.sasrec import SASRec
from simulator.logs.dataset import Dataset
from simulator.logs.interactions import interactions
from simulator.requests import VideoRequests
from tests.policies.conftest import CHAIN, VIDEOS, history_of, write_log

Make = Callable[..., VideoRequests]

SMALL = {
    "dim": 32,
    "layers": 1,
    "epochs": 25,
    "epoch_steps": 1,
    "learning_rate": 5e-3,
    "tokens": 512,
}


@pytest.fixture(scope="module")
def sasrec(chains: Dataset) -> SASRec:
    policy = SASRec(**SMALL)  # type: ignore[arg-type]
    policy.fit(chains, seed=1)
    return policy


def test_sasrec_learns_the_next_video_of_a_chain(sasrec: SASRec, make_requests: Make) -> None:
    histories = [[c * CHAIN + i for i in range(3)] for c in range(VIDEOS // CHAIN)]
    sasrec.reset(len(histories))
    scores = sasrec.score_videos(make_requests(histories))
    seen = np.array(histories)
    scores[np.arange(len(scores))[:, None], seen] = -np.inf
    assert scores.argmax(axis=1).tolist() == [c * CHAIN + 3 for c in range(VIDEOS // CHAIN)]


def test_sasrec_beats_popular_offline(chains: Dataset, tmp_path: Path) -> None:
    test = held_out(chains, "liked")
    training = training_part(chains, test, tmp_path / "training")
    found = {}
    for policy in (SASRec(**SMALL), PopularPolicy(signal="liked")):  # type: ignore[arg-type]
        policy.fit(training, seed=1)
        found[type(policy).__name__] = gains(ranks(policy, training, test, "liked"))["HR@5"].mean()
    assert found["SASRec"] > 0.8
    assert found["PopularPolicy"] < 0.4


def test_sasrec_is_deterministic_and_depends_on_the_seed(
    chains: Dataset, sasrec: SASRec, make_requests: Make
) -> None:
    requests = make_requests([[0, 1], [], [13, 14, 15]])
    sasrec.reset(3)
    scores = sasrec.score_videos(requests)
    for seed, same in ((1, True), (2, False)):
        again = SASRec(**SMALL)  # type: ignore[arg-type]
        again.fit(chains, seed=seed)
        assert np.array_equal(again.score_videos(requests), scores) == same


def test_sasrec_scores_do_not_depend_on_the_batch(sasrec: SASRec, make_requests: Make) -> None:
    rng = np.random.default_rng(3)
    histories = [rng.integers(0, VIDEOS, rng.integers(0, 60)).tolist() for _ in range(40)]
    sasrec.reset(0)
    whole = sasrec.score_videos(make_requests(histories))
    for row in (0, 7, 39):
        sasrec.reset(0)
        alone = sasrec.score_videos(make_requests([histories[row]]))
        assert alone[0] == pytest.approx(whole[row], abs=1e-4)


def test_sasrec_cache_equals_no_cache(sasrec: SASRec, make_requests: Make) -> None:
    first, second = make_requests([[1], [2]]), make_requests([[1], [2, 3]])
    sasrec.reset(2)
    sasrec.score_videos(first)
    cached = sasrec.score_videos(second)
    sasrec.reset(2)
    assert cached == pytest.approx(sasrec.score_videos(second), abs=1e-5)


@pytest.mark.parametrize("name", ["sasrec", "popular"])
def test_saved_weights_score_the_same(
    chains: Dataset, sasrec: SASRec, make_requests: Make, tmp_path: Path, name: str
) -> None:
    policy = sasrec if name == "sasrec" else PopularPolicy()
    if name == "popular":
        policy.fit(chains, seed=1)
    policy.save(tmp_path)
    policy.reset(2)
    other = SASRec(**SMALL) if name == "sasrec" else PopularPolicy()  # type: ignore[arg-type]
    other.load(tmp_path, chains)
    requests = make_requests([[0, 1], []])
    assert np.array_equal(policy.score_videos(requests), other.score_videos(requests))


def test_weights_of_another_dataset_are_refused(
    sasrec: SASRec, tmp_path: Path, chains: Dataset
) -> None:
    sasrec.save(tmp_path)
    other = write_log(tmp_path / "log", [(0, 1, 0), (0, 2, 1), (1, 3, 0)])
    with pytest.raises(CheckpointError, match="another dataset"):
        SASRec(**SMALL).load(tmp_path, other)  # type: ignore[arg-type]


def test_popular_counts_with_decay(tmp_path: Path, make_requests: Make) -> None:
    week = 7 * 24 * 60
    rows = [(0, 3, 0), (0, 5, week), (1, 3, week), (1, 4, 0)]
    policy = PopularPolicy(half_life_days=7.0)
    policy.fit(write_log(tmp_path / "log", rows), seed=1)
    scores = policy.score_videos(make_requests([[]]))[0]
    assert scores[[3, 4, 5]] == pytest.approx(np.log1p([1.5, 0.5, 1.0]))


def test_popular_knows_never_shown_from_left_alone(tmp_path: Path, make_requests: Make) -> None:
    rows = [(0, 3, 0), (1, 3, 0), (1, 4, 0), (0, 7, 1), (1, 7, 2)]
    policy = PopularPolicy()
    policy.fit(write_log(tmp_path / "log", rows, ignored=[7]), seed=1)
    scores = policy.score_videos(make_requests([[]]))[0]
    assert scores[7] == 0.0
    assert scores[[0, 59]] == pytest.approx([scores[[3, 4, 7]].mean()] * 2)


def test_training_part_holds_nothing_from_the_last_event_on(
    chains: Dataset, tmp_path: Path
) -> None:
    test = held_out(chains, "liked")
    events = interactions(training_part(chains, test, tmp_path / "part"), "liked")
    last = dict(zip(test.user.tolist(), test.time_ms.tolist(), strict=True))
    assert all(
        t < last[u] for u, t in zip(events.user.tolist(), events.time_ms.tolist(), strict=True)
    )
    assert len(events.user) == len(interactions(chains, "liked").user) - len(test)


def test_ties_count_against_the_policy() -> None:
    others = np.array([[1.0, 2.0, 2.0, -np.inf], [1.0, 1.0, 1.0, 1.0]], dtype=np.float32)
    scores = np.column_stack([np.array([2.0, 1.0], dtype=np.float32), others])
    positive = np.zeros(scores.shape, dtype=bool)
    positive[:, 0] = True
    assert positive_ranks(scores, positive, np.isfinite(scores)).tolist() == [[2], [4]]


def test_gains_are_the_textbook_ones() -> None:
    values = gains(np.array([0, 4, 5, 99]))
    assert values["HR@5"].tolist() == [1, 1, 0, 0]
    assert values["NDCG@10"] == pytest.approx([1.0, 1 / np.log2(6), 1 / np.log2(7), 0.0])
    assert values["MRR"] == pytest.approx([1.0, 0.2, 1 / 6, 0.01])
    summary = summarise("p", 100, [np.array([0, 9]), np.array([1, 9])])
    assert summary.metrics["MRR"] == pytest.approx((1 + 0.1 + 0.5 + 0.1) / 4)
    assert summary.spread is not None


def test_histories_end_where_training_ends(chains: Dataset) -> None:
    lengths = history_of(chains).view(np.arange(300)).lengths("liked")
    assert lengths.sum() == len(interactions(chains, "liked").user)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("sasrce", "Did you mean 'sasrec'"),
        ("nowhere.py:Mine", "no file at nowhere.py"),
        ("two.py", "which class?"),
        ("policy.py:Mne", "Did you mean 'Mine'"),
    ],
)
def test_unknown_policies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.py").write_text(
        "from policies.base import Policy\nclass Mine(Policy):\n    pass\n"
    )
    (tmp_path / "two.py").write_text(
        "from policies.base import Policy\nclass A(Policy):\n    pass\nclass B(Policy):\n    pass\n"
    )
    with pytest.raises(UnknownPolicy, match=expected):
        create(spec)
    assert create("policy.py:Mine").name == "policy.py:Mine"


def test_file_that_does_not_import_or_is_no_policy(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import nonexistent_module\n")
    with pytest.raises(PolicyError, match="cannot be imported"):
        create(f"{tmp_path / 'bad.py'}:Mine")
    (tmp_path / "other.py").write_text("class Mine:\n    pass\n")
    with pytest.raises(PolicyError, match="not a subclass"):
        create(f"{tmp_path / 'other.py'}:Mine")


def test_built_in_policies_describe_themselves() -> None:
    records = {r.name: r for r in describe_all()}
    assert {"random", "popular", "sasrec", "lsvcr"} <= set(records)
    assert records["lsvcr"].ranks == ("videos", "comments")
    assert records["sasrec"].ranks == ("videos",)


def test_damaged_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights"):
        load_arrays(tmp_path, {})
    save_arrays(tmp_path, {"a": np.arange(3)}, {"dataset": "x", "dim": 4})
    assert load_arrays(tmp_path, {"dataset": "x", "dim": 4})["a"].tolist() == [0, 1, 2]
    with pytest.raises(CheckpointError, match="dim = 4, not 5"):
        load_arrays(tmp_path, {"dataset": "x", "dim": 5})
    header = json.loads((tmp_path / HEADER).read_text())
    (tmp_path / HEADER).write_text(json.dumps({**header, "format_version": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_arrays(tmp_path, {"dataset": "x", "dim": 4})
    (tmp_path / HEADER).write_text(json.dumps(header))
    (tmp_path / ARRAYS).write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="damaged"):
        load_arrays(tmp_path, {"dataset": "x", "dim": 4})
