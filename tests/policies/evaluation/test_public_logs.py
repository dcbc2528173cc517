"""The public logs are read whole, in one explicit order; the evaluator counts ties against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.lib.ratings import ratings_dataset, read_ratings
from benchmarks.models.policies import Task
from benchmarks.peers.exchange import Training, ndcg, ranks_of
from policies.evaluation.holdout import held_out, training_part

INTER = """user_id:token\titem_id:token\trating:float\ttimestamp:float
7\t30\t3\t100
5\t10\t4\t200
7\t20\t1\t100
7\t10\t5\t99
5\t30\t2\t200
"""


def test_events_of_one_second_keep_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ml-100k.inter"
    path.write_text(INTER)
    frame = read_ratings(path)
    assert frame["user_id"].to_list() == [5, 5, 7, 7, 7]
    assert frame["video_id"].to_list() == [10, 30, 10, 30, 20]
    assert frame["time_ms"].to_list() == [200_000, 200_001, 99_000, 100_000, 100_001]


def test_a_log_without_times_is_in_order(tmp_path: Path) -> None:
    path = tmp_path / "Video.txt"
    path.write_text("1 9\n1 4\n2 6\n2 9\n2 1\n")
    assert read_ratings(path)["video_id"].to_list() == [9, 4, 6, 9, 1]
    log = ratings_dataset(path, tmp_path / "log")
    test = held_out(log, "liked")
    task = Task(training_part(log, test, tmp_path / "training"), test)
    ids = [1, 4, 6, 9]
    assert [ids[i] for i in task.target] == [4, 1]
    assert [[ids[i] for i in row if i >= 0] for row in task.histories] == [[9], [6, 9]]
    assert [ids[i] for i in task.seen_item] == [9, 6, 9]
    given = task.for_libraries()
    assert [[ids[i] for i in items] for items in given.people()] == [[9], [6, 9]]
    assert [[ids[i] for i in items] for items in given.without_validation()] == [[9], [6]]
    given.save(tmp_path / "given.npz")
    assert np.array_equal(Training.load(tmp_path / "given.npz").items, given.items)


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"expected ml-100k\.inter"):
        read_ratings(tmp_path / "ratings.dat")


def test_ranks_agree_with_counting() -> None:
    rng = np.random.default_rng(2)
    people = rng.integers(0, 3, (600, 2)).astype(np.float32)
    table = rng.integers(0, 3, (40, 2)).astype(np.float32)
    target = rng.integers(0, 40, 600)
    row, item = np.nonzero(rng.random((600, 40)) < 0.2)
    found = ranks_of(people, table, row, item, target)
    scores = people @ table.T
    for user in range(600):
        others = set(range(40)) - set(item[row == user].tolist()) - {int(target[user])}
        assert found[user] == sum(scores[user, i] >= scores[user, target[user]] for i in others)


def test_ndcg_of_one_item() -> None:
    np.testing.assert_allclose(ndcg(np.array([0, 2, 9, 10])), [1, 0.5, 1 / np.log2(11), 0])
