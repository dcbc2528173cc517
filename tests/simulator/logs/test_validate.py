"""Every kind of damage is found, with table, column, row and remedy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from simulator.logs import scanning
from simulator.logs.checks.validate import check
from simulator.logs.dataset import Dataset
from simulator.logs.schema import TABLES
from tests.simulator.logs.conftest import impressions

Make = Callable[..., Dataset]


def test_clean_log_has_no_errors(make_dataset: Make) -> None:
    findings = check(make_dataset(impressions(is_click=[0, 1])))
    assert [f for f in findings if f.severity == "error"] == []


@pytest.mark.parametrize(
    ("column", "values", "row", "expected"),
    [
        ("is_click", [0, 2, 3], 1, "is_click is 2, expected 0 or 1. 2 rows."),
        ("is_like", [None, 0, -1], 2, "is_like is -1, expected 0 or 1. 1 row."),
        ("time_ms", [1, -7, 3], 1, "time_ms is -7, expected at least 0"),
        ("play_time_ms", [1, 2, -3], 2, "play_time_ms is -3"),
        ("is_click", [0, None, 1], 1, "is_click is empty, expected a value"),
        ("duration_ms", [5, 0, 5], 1, "duration_ms is 0, expected at least 1"),
    ],
)
def test_bad_values(
    make_dataset: Make, column: str, values: list[int | None], row: int, expected: str
) -> None:
    findings = [
        f
        for f in check(make_dataset(impressions(**{column: values})))
        if f.severity == "error" and f.column == column
    ]
    assert len(findings) == 1
    assert (findings[0].table, findings[0].row) == ("impressions", row)
    assert expected in findings[0].message
    assert findings[0].hint


def test_duplicates(make_dataset: Make) -> None:
    twice = pl.DataFrame({"user_id": [1, 1]})
    dataset = make_dataset(impressions(video_id=[5, 5], time_ms=[9, 9]), users=twice)
    found = {f.table: f for f in check(dataset) if "twice" in f.message or "unique" in f.message}
    assert found["users"].severity == "error"
    assert (found["users"].column, found["users"].row) == ("user_id", 1)
    assert found["impressions"].severity == "warning"
    assert found["impressions"].hint == "50.0 % of rows; they are kept. Was a file given twice?"
    few = make_dataset(impressions(video_id=[5, 5, *range(100, 198)], time_ms=[9] * 100), "few")
    (usual,) = (f for f in check(few) if "twice" in f.message)
    assert usual.hint.startswith("Usual in KuaiRand")


@pytest.mark.parametrize("at_a_time", [1, 5, 1_000])
def test_repeated_impressions_are_counted_whatever_is_kept_in_memory(
    make_dataset: Make, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(scanning, "BATCH_ROWS", at_a_time)
    random = np.random.default_rng(at_a_time)
    for number in range(8):
        keys = random.integers(0, 4, (random.integers(1, 40), 3))
        if number % 2:  # sorted by person and time, as imports and runs write them
            keys = keys[np.lexsort((keys[:, 2], keys[:, 0]))]
        user, video, time = keys.T.tolist()
        rows = impressions(user_id=user, video_id=video, time_ms=time)
        found = [f for f in check(make_dataset(rows, f"log{number}")) if "twice" in f.message]
        told = [tuple(key) for key in keys.tolist()]
        repeats = [n for n, key in enumerate(told) if key in told[:n]]
        assert [f.row for f in found] == repeats[:1]
        if repeats:
            assert f" {len(repeats)} row" in found[0].message


def test_dangling_references(make_dataset: Make) -> None:
    comments = pl.DataFrame({"comment_id": [1, 2], "video_id": [0, 77]})
    dataset = make_dataset(
        impressions(video_id=[0, 1, 9]),
        videos=pl.DataFrame({"video_id": [0, 1]}),
        comments=comments,
    )
    found = {(f.table, f.column): f for f in check(dataset) if "not in table" in f.message}
    assert found["impressions", "video_id"].row == 2
    assert found["comments", "video_id"].row == 1


def test_empty_log(make_dataset: Make) -> None:
    findings = check(make_dataset(impressions(is_click=[0]).clear()))
    assert any(f.severity == "error" and "empty" in f.message for f in findings)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"propensities": [[0.5, 0.5], [0.5]]}, "row 1: candidates and propensities differ"),
        ({"propensities": [[0.5, 0.4], [0.5, 0.5]]}, "row 0: propensities do not sum to 1"),
        ({"propensities": [[0.5, 0.5], [1.5, -0.5]]}, "row 1: a propensity is not between"),
        ({"propensities": [[0.5, 0.5], [1.0, float("nan")]]}, "row 1: a propensity is not between"),
        ({"video_id": [0, 9]}, "row 1: the video_id shown is not among the candidates"),
    ],
)
def test_decisions(
    make_dataset: Make, changes: dict[str, list[object]], expected: str | None
) -> None:
    values: dict[str, list[object]] = {
        "user_id": [1, 1],
        "request_id": [0, 0],
        "position": [0, 1],
        "time_ms": [1_000, 1_000],
        "video_id": [0, 1],
        "candidates": [[0, 1], [0, 1]],
        "propensities": [[0.25, 0.75], [1.0, 0.0]],
    }
    types = TABLES["video_decisions"].dtypes()
    made = pl.DataFrame({**values, **changes}, schema_overrides=types)
    log = make_dataset(impressions(video_id=[0, 1, 9]), video_decisions=made)
    found = [f.message for f in check(log) if f.table == "video_decisions"]
    assert bool(found) is (expected is not None)
    if expected:
        assert any(expected in message for message in found)
