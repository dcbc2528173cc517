"""Held-out quality is told per activity level, and the levels add up to everybody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from abtest.results.learned_people import learned_people
from reports.render.facts import _quality
from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.response.learned import LearnedResponse, optimisation, quality
from simulator.response.learned.two_sample import boosting


def test_levels_add_up_to_everybody(
    toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boosting, "_TREES", 2)
    monkeypatch.setattr(quality, "_DRAWS", 3)
    monkeypatch.setattr(quality, "_SEGMENT_ROWS", 20)
    monkeypatch.setattr(optimisation, "_MAX_STEPS", 10)
    ids = toy.user_ids()
    level = [None if i % 3 == 0 else ("full", "high")[i % 3 - 1] for i in range(len(ids))]
    users = pl.DataFrame({"user_id": ids, "user_active_degree": level})
    with DatasetWriter(tmp_path / "log", name="log", source="test", licence="none") as writer:
        writer.append("users", users)
        for table in ("impressions", "videos"):
            writer.append(table, toy.scan(table).collect())
    found = LearnedResponse.fit(Dataset.open(tmp_path / "log"), seed=3).quality()
    segments = found["segments"]
    assert set(segments) == {"unknown", "full", "high"}
    rows = np.array([row["rows"] for row in segments.values()])
    assert rows.sum() == found["rows"]["test"] and rows.min() >= 20
    for side, whole in (("observed", "observed_rate"), ("predicted", "predicted_rate")):
        rates = [row["click"][side] for row in segments.values()]
        assert np.average(rates, weights=rows) == pytest.approx(
            found["binary"]["click"][whole], abs=2e-5
        )
    for name, whole in found["quantiles"].items():
        assert sum(row[name]["rows"] for row in segments.values()) == whole["rows"]
    medians = {row["play_time_ms"]["p50"]["observed"] for row in segments.values()}
    assert len(medians) > 1
    printed = learned_people(found)
    assert "activity" in printed and f"{segments['high']['play_time_ms']['p50']['observed']:,}" in (
        printed
    )
    tables = {table.caption: table for table in _quality(found)}
    told = {row[0] for row in tables["By how active people are: held out"].rows}
    assert "high: play_time_ms, p90" in told and "unknown: click" in told


def test_a_log_with_one_level_has_no_segments(toy: Dataset, fitted: LearnedResponse) -> None:
    assert fitted.quality()["segments"] == {}
