"""A dataset is data from elsewhere: fields, values, files and features are checked before use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from simulator.errors import DataError
from simulator.logs import scanning
from simulator.logs.checks import references
from simulator.logs.checks.needs import needs, selection
from simulator.logs.checks.sound import ensure_sound
from simulator.logs.checks.validate import check
from simulator.logs.content import HASHED_BY
from simulator.logs.dataset import INFO_FILE, Dataset, DatasetWriter

Make = Callable[..., Dataset]
START = 1_650_000_000_000


def log(rows: int = 4, **changes: list[Any]) -> pl.DataFrame:
    values: dict[str, list[Any]] = {
        "user_id": [1] * rows,
        "video_id": list(range(rows)),
        "time_ms": [START + i for i in range(rows)],
        "is_click": [i % 2 for i in range(rows)],
        "play_time_ms": [100] * rows,
        **changes,
    }
    return pl.DataFrame(values, schema_overrides={"is_click": pl.Int8})


# -- dataset.json ---------------------------------------------------------------------------------

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)

small = st.integers(0, 2)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_field_may_hold_anything_and_is_refused_or_read(
    make_dataset: Make, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "made"
    if not folder.is_dir():
        make_dataset(log())
    file = folder / INFO_FILE
    original = file.read_text()
    raw = json.loads(original)
    name = data.draw(st.sampled_from([*raw, "another"]))
    raw[name] = data.draw(anything)
    try:
        file.write_text(json.dumps(raw))
        try:
            Dataset.open(folder)
        except DataError as error:
            assert str(folder) in str(error)
    finally:
        file.write_text(original)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rows", {"impressions": -1}, "'rows' is not a number of rows"),
        ("rows", {"impressions": "4"}, "'rows' is not"),
        ("rows", {"impressions": True}, "'rows' is not"),
        ("time_span_ms", [5, 4], "'time_span_ms' is not two times"),
        ("time_span_ms", [1.5, 4], "'time_span_ms' is not"),
        ("columns", {"impressions": ["user_id", "user_id"]}, "'columns' is not a list"),
        ("columns", {"../../etc": ["x"]}, "'columns' is not"),
        ("content_hash", "zz", "'content_hash' is not a hash"),
        ("world", 7, "'world' is not an object"),
        ("notes", "text", "'notes' is not a list of texts"),
        ("name", 7, "'name' is not a text"),
        ("another", 1, "unknown field 'another'"),
    ],
)
def test_fields_that_cannot_be(make_dataset: Make, field: str, value: Any, said: str) -> None:
    folder = make_dataset(log()).path
    raw = json.loads((folder / INFO_FILE).read_text())
    (folder / INFO_FILE).write_text(json.dumps({**raw, field: value}))
    with pytest.raises(DataError, match=said):
        Dataset.open(folder)


def test_deep_and_huge_json(make_dataset: Make) -> None:
    folder = make_dataset(log()).path
    for text in ("[" * 100_000, '{"format_version": 1, "name": ' + "[" * 50_000, "9" * 10_000):
        (folder / INFO_FILE).write_text(text)
        with pytest.raises(DataError, match="is damaged"):
            Dataset.open(folder)


def test_columns_and_rows_that_lie(make_dataset: Make) -> None:
    dataset = make_dataset(log())
    file = dataset.path / INFO_FILE
    raw = json.loads(file.read_text())
    lying = {
        **raw,
        "columns": {**raw["columns"], "impressions": [*raw["columns"]["impressions"], "is_like"]},
    }
    file.write_text(json.dumps(lying))
    with pytest.raises(DataError, match="has no column 'is_like', although"):
        Dataset.open(dataset.path)
    file.write_text(json.dumps({**raw, "rows": {**raw["rows"], "impressions": 3}}))
    with pytest.raises(DataError, match=r"has 4 rows, dataset\.json says 3"):
        Dataset.open(dataset.path)


def test_names_with_glob_signs_are_literal(tmp_path: Path) -> None:
    for name, rows in (("run1", 2), ("run[1]", 3)):
        with DatasetWriter(tmp_path / name, name="x", source="x", licence="x") as writer:
            writer.append("impressions", log(rows))
            writer.append("users", pl.DataFrame({"user_id": [1]}))
            writer.append("videos", pl.DataFrame({"video_id": list(range(rows))}))
    assert Dataset.open(tmp_path / "run[1]").scan("impressions").collect().height == 3


# -- values and files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"is_click": [0, 7, 1, 1]}, "impressions row 1: is_click is 7, expected 0 or 1"),
        ({"is_click": [None] * 4}, "row 0: is_click is empty, expected a value"),
        ({"play_time_ms": [1, 2, -5, 3]}, "row 2: play_time_ms is -5, expected at least 0"),
        ({"user_id": [1, None, 1, 1]}, "row 1: user_id is empty"),
        ({"duration_ms": [0, 1, 1, 1]}, "row 0: duration_ms is 0, expected at least 1"),
    ],
)
def test_impossible_values_are_refused_before_anything_learns(
    make_dataset: Make, changes: dict[str, list[Any]], said: str
) -> None:
    dataset = make_dataset(
        log(**changes),
        users=pl.DataFrame({"user_id": [1]}),
        videos=pl.DataFrame({"video_id": [0, 1, 2, 3]}),
    )
    with pytest.raises(DataError) as error:
        ensure_sound(dataset)
    assert said in str(error.value)
    assert "abtest data check" in str(error.value)
    assert any(said in f.message for f in check(dataset) if f.severity == "error")


def test_nan_propensities_are_impossible(make_dataset: Make) -> None:
    rows = log().with_columns(
        pl.Series("propensity", [0.5, float("nan"), 1.0, 0.0], dtype=pl.Float32)
    )
    with pytest.raises(DataError, match="row 1: propensity is nan"):
        ensure_sound(make_dataset(rows))


def test_implausible_times_and_plays_are_warnings(make_dataset: Make) -> None:
    rows = log(time_ms=[1, START, START, START], play_time_ms=[1, 2, 3, 10**9])
    dataset = make_dataset(rows)
    ensure_sound(dataset)
    said = {f.column: f.message for f in check(dataset) if f.severity == "warning"}
    assert "expected a time between 1990 and 2100" in said["time_ms"]
    assert "expected at most a day" in said["play_time_ms"]


def test_changed_files_are_noticed_and_sound_ones_remembered(
    make_dataset: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset(log())
    memory = tmp_path / "memory"
    ensure_sound(dataset, memory)

    def fails(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr("simulator.logs.checks.sound.batches", fails)
        ensure_sound(dataset, memory)
    part = dataset.path / "impressions" / "part-00000.parquet"
    changed = pl.read_parquet(part).with_columns(play_time_ms=pl.lit(101, pl.Int64))
    changed.write_parquet(part)
    with pytest.raises(DataError, match="content hash is another"):
        ensure_sound(Dataset.open(dataset.path), memory)
    assert any("content hash" in f.message for f in check(Dataset.open(dataset.path)))
    raw = json.loads((dataset.path / INFO_FILE).read_text())
    assert raw["hashed_by"] == HASHED_BY
    # What another version hashed cannot be compared.
    (dataset.path / INFO_FILE).write_text(json.dumps({**raw, "hashed_by": "polars 1.0"}))
    ensure_sound(Dataset.open(dataset.path))


# -- duplicates and references, in batches --------------------------------------------------------


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(st.tuples(small, small, small), min_size=1, max_size=14),
    ordered=st.booleans(),
    batch=st.integers(1, 5),
)  # fmt: skip
def test_duplicates_and_unknowns_are_counted_as_by_hand(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[tuple[int, int, int]],
    ordered: bool,
    batch: int,
) -> None:
    monkeypatch.setattr(scanning, "BATCH_ROWS", batch)
    if ordered:
        rows = sorted(rows, key=lambda r: (r[0], r[2]))
    frame = log(
        len(rows),
        user_id=[r[0] for r in rows],
        video_id=[r[1] for r in rows],
        time_ms=[START + r[2] for r in rows],
    )
    folder = tmp_path_factory.mktemp("log") / "made"
    with DatasetWriter(folder, name="x", source="x", licence="x") as writer:
        writer.append("impressions", frame)
        writer.append("users", pl.DataFrame({"user_id": [0, 2]}))
        writer.append("videos", pl.DataFrame({"video_id": [0, 1, 2]}))
    dataset = Dataset.open(folder)
    again = [i for i, r in enumerate(rows) if r in rows[:i]]
    found = references.repeated_impressions(dataset)
    assert (found.count, found.first) == (len(again), again[0] if again else 0)
    strangers = [i for i, r in enumerate(rows) if r[0] == 1]
    unknown = references.unknown_identifiers(dataset, "impressions", {"user_id": "users"})[
        "user_id"
    ]
    assert (unknown.count, unknown.first) == (len(strangers), strangers[0] if strangers else 0)


# -- what a log is good for -----------------------------------------------------------------------


def possible(dataset: Dataset) -> dict[str, str]:
    return {n.command: n.why_not for n in needs(dataset)}


def test_a_log_without_a_feature_says_so(make_dataset: Make) -> None:
    found = possible(make_dataset(log()))
    assert found["abtest run --data: videos"] == ""
    assert found["abtest run --data: comment watch time"] == "impressions has no comment_stay_time"
    assert "the log has no comment_events" in found["abtest run --data -t lsvcr"]
    opened = log().with_columns(pl.Series("comment_stay_time", [0, 9, 0, 9], dtype=pl.Int64))
    lsvcr = next(n for n in needs(make_dataset(opened, name="opened")) if "lsvcr" in n.command)
    assert (lsvcr.possible, lsvcr.remark[:9]) == (True, "IDs only:")
    assert "no is_rand" in found["abtest replay: videos"]
    assert found["abtest evaluate: videos"] == ""


def test_a_log_of_reactions_only_says_what_it_lacks(make_dataset: Make) -> None:
    flags = {"is_like": [1, 0, 1, 0], "is_hate": [0, 1, 1, 1]}
    marked = log().with_columns(pl.Series(n, v, dtype=pl.Int8) for n, v in flags.items())
    lacks = selection(make_dataset(marked))
    assert lacks.startswith("every impression is liked, hated")
    found = {n.command: n for n in needs(make_dataset(marked, name="again"))}
    run = found["abtest run --data: videos"]
    assert run.possible and lacks in run.remark
    # One row that nobody reacted to, and there is nothing to say.
    passed = marked.with_columns(is_hate=pl.Series([0, 0, 1, 1], dtype=pl.Int8))
    assert selection(make_dataset(passed, name="passed")) == ""
    clicked = selection(make_dataset(log(is_click=[1, 1, 1, 1]), name="clicked"))
    assert clicked == "every impression is a click: what is not clicked is missing"


def test_a_log_without_negatives_teaches_nothing(make_dataset: Make) -> None:
    found = possible(make_dataset(log(is_click=[1, 1, 1, 1])))
    assert "every impression is a click" in found["abtest run --data: videos"]
    assert found["abtest evaluate: videos"] == ""


def test_random_rows_allow_replay(make_dataset: Make) -> None:
    rows = log().with_columns(pl.Series("is_rand", [0, 0, 1, 0], dtype=pl.Int8))
    assert possible(make_dataset(rows))["abtest replay: videos"] == ""
    none = log().with_columns(pl.Series("is_rand", [0] * 4, dtype=pl.Int8))
    said = possible(make_dataset(none, name="none"))["abtest replay: videos"]
    assert "no impression has is_rand = 1" in said


def test_placeholders_are_not_data(make_dataset: Make) -> None:
    dataset = make_dataset(log())
    file = dataset.path / INFO_FILE
    raw = json.loads(file.read_text())
    file.write_text(json.dumps({**raw, "placeholders": ["impressions.play_time_ms"]}))
    found = possible(Dataset.open(dataset.path))
    assert "play_time_ms is a placeholder" in found["abtest run --data: videos"]
