"""What is imported does not depend on the size of the blocks that files are read in."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from simulator.logs.dataset import Dataset
from simulator.logs.importers import import_logs, staging
from simulator.tables import streams

cells = st.fixed_dictionaries(
    {
        "user_id": st.integers(0, 3),
        "video_id": st.integers(0, 5),
        "time_ms": st.integers(1_649_000_000_000, 1_649_000_000_003),
        "is_click": st.integers(0, 1),
        "is_like": st.integers(0, 1),
        "play_time_ms": st.integers(0, 10**7),
        "duration_ms": st.integers(0, 10**7),
        "comment_stay_time": st.integers(0, 10**6),
    }
)


@pytest.fixture(params=[1, 3, 1_000_000])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """People, videos and rows in blocks of that size: the log is larger than what fits."""
    monkeypatch.setattr(staging, "ROWS_AT_ONCE", request.param)
    monkeypatch.setattr(staging, "_CHUNK_ROWS", request.param)
    monkeypatch.setattr(streams, "BLOCK", 64 * request.param)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(rows=st.lists(cells, min_size=1, max_size=20))
def test_nothing_is_lost_and_order_within_a_page_is_kept(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, int]], blocks: None
) -> None:
    folder = tmp_path_factory.mktemp("import")
    frame = pl.DataFrame(rows)
    frame.write_csv(folder / "log_standard_x.csv")
    import_logs(folder / "log_standard_x.csv", folder / "out")
    found = Dataset.open(folder / "out").scan("impressions").collect()
    expected = sorted(enumerate(rows), key=lambda r: (r[1]["user_id"], r[1]["time_ms"], r[0]))
    for name in ("user_id", "video_id", "time_ms", "is_click", "is_like", "play_time_ms",
                 "comment_stay_time"):  # fmt: skip
        assert found[name].to_list() == [row[name] for _, row in expected]
    videos = Dataset.open(folder / "out").scan("videos").collect()
    assert videos["video_id"].to_list() == sorted({row["video_id"] for row in rows})
    for number, (_, row) in enumerate(expected):
        same = [r for _, r in expected[:number] if r["user_id"] == row["user_id"]]
        page = [r for r in same if r["time_ms"] == row["time_ms"]]
        assert found["position"][number] == len(page)
        assert found["request_id"][number] == 1 + len(
            {r["time_ms"] for r in same} - {row["time_ms"]}
        )
    if "duration_ms" in found.columns:
        durations = found["duration_ms"].fill_null(0).to_list()
        assert durations == [row["duration_ms"] for _, row in expected]


def test_chunks_that_every_block_needs_are_split_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(staging, "_CHUNK_ROWS", 10)
    staged = staging.Staged("user_id", tmp_path, {"user_id": pl.Int64(), "row": pl.Int64()})
    rows = pl.DataFrame({"user_id": [i % 10 for i in range(100)], "row": range(100)})
    for part in rows.iter_slices(10):
        staged.add(part)
    edges = staged.edges()
    assert edges == [(user, user) for user in range(10)]
    blocks = list(staged.blocks(edges))
    assert [b["row"].to_list() for b in blocks] == [list(range(u, 100, 10)) for u in range(10)]
    assert all(sum(c.meets(*edge) for edge in edges) == 1 for c in staged.chunks)
