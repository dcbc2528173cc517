"""Long stages tell their share: it rises, in steps, and ends at 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from abtest.console import Stage
from simulator.progress import Meter, split
from simulator.tables import Tally, open_table

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """First word of a stage's title to the shares that it was told."""
    told: dict[str, list[float]] = {}
    update = Stage.update

    def noted(self: Stage, stage: str, fraction: float, detail: str = "") -> None:
        told.setdefault(self._title.split(" of ")[0].split(" /")[0], []).append(fraction)
        update(self, stage, fraction, detail)

    monkeypatch.setattr(Stage, "update", noted)
    return told


def rises(found: Sequence[float], least: int) -> None:
    """At least so many different shares, none below the one before, the last one 1."""
    assert len(set(found)) >= least, found
    assert (np.diff(found) >= 0.0).all(), found
    assert 0.0 <= found[0] < 1.0 and found[-1] == 1.0, found


def test_a_meter_stays_within_its_part_and_skips_what_no_bar_shows() -> None:
    told: list[float] = []
    meter = Meter(told.append, 4.0, first=0.5)
    for _ in range(6):
        meter.add(1.0)
    assert told == [0.625, 0.75, 0.875, 1.0]
    told.clear()
    small = Meter(told.append, 1e6)
    for _ in range(10_000):
        small.add(100.0)
    assert 900 <= len(told) <= 1_001 and told[-1] == 1.0
    Meter(None, 0.0).add(1.0)
    told.clear()
    empty = Meter(told.append, 0.0, last=0.5)
    empty.add(1.0)
    empty.end()
    assert told == [0.0, 0.5]


def test_two_steps_in_a_row_share_one_bar() -> None:
    told: list[float] = []
    first, second = split(told.append, 0.25)
    assert first is not None and second is not None
    for step in (first, second):
        for share in (0.0, 0.5, 1.0):
            step(share)
    assert told == [0.0, 0.125, 0.25, 0.25, 0.625, 1.0]
    assert split(None, 0.5) == (None, None)


def test_commands_on_logs_tell_their_share(
    abtest: Run, small_log: Path, tmp_path: Path, shares: dict[str, list[float]]
) -> None:
    for command in (
        ("export", small_log, "files", "--format", "kuaicomt"),
        ("import", "files", "back"),
        ("check", "back"),
        ("describe", "back"),
        ("describe", "back", "--against", "kuaishou", "--json"),
    ):
        made = abtest("data", *command)
        assert made.code == 0, made.err
    rises(shares["exporting"], 3)
    rises(shares["importing files"], 5)
    rises(shares["checking back"], 5)
    described = shares["describing back"]
    assert described[: len(described) // 2] == described[len(described) // 2 :]
    rises(described[: len(described) // 2], 10)


@pytest.mark.parametrize("form", ["csv", "gz", "parquet"])
def test_reading_is_measured_in_bytes_of_the_files(
    abtest: Run, tmp_path: Path, shares: dict[str, list[float]], form: str
) -> None:
    rng = np.random.default_rng(1)
    rows = 400_000
    frame = pl.DataFrame(
        {
            "item": rng.integers(0, 5, rows),
            "click": rng.integers(0, 2, rows),
            "p": np.full(rows, 0.2),
            "note": rng.integers(0, 1 << 60, rows),
        }
    )
    path = tmp_path / f"log.{form}"
    if form == "parquet":
        frame.write_parquet(path, row_group_size=50_000)
    else:
        frame.write_csv(path, compression="gzip" if form == "gz" else "uncompressed")
    made = abtest("data", "import", path.name, "mine", "--propensities",
                  "action=item,reward=click,propensity=p")  # fmt: skip
    assert made.code == 0, made.err
    rises(shares[f"importing {path.name}"], 2)
    told: list[float] = []
    for _ in open_table(path).batches(tally=Tally(told=told.append)):
        pass
    assert sum(told) == pytest.approx(path.stat().st_size)


def test_run_with_its_log_and_replay_tell_their_share(
    abtest: Run, small_log: Path, tmp_path: Path, shares: dict[str, list[float]]
) -> None:
    made = abtest("run", "-t", "popular", "-c", "random", "--users", 300, "--data", small_log,
                  "--keep-log", "--explore-share", 0.2, "--out", "run", "--workers", 1)  # fmt: skip
    assert made.code in (0, 4), made.err
    rises(shares["analysing"], 12)
    rises(shares["writing the log"], 4)
    made = abtest("replay", "-t", "popular", "-c", "random", "--data", "run/log")
    assert made.code in (0, 4), made.err
    rises(shares["replaying popular, random"], 12)


def test_analyze_tells_its_share(
    abtest: Run, tmp_path: Path, shares: dict[str, list[float]]
) -> None:
    rng = np.random.default_rng(1)
    pl.DataFrame(
        {"user_id": range(400), "arm": ["a", "b"] * 200, "revenue": rng.gamma(2.0, 1.0, 400)}
    ).write_csv(tmp_path / "users.csv")
    made = abtest("analyze", "users.csv", "--metric", "revenue", "--control", "a")
    assert made.code in (0, 4), made.err
    rises(shares["analysing"], 8)


def test_replay_of_given_probabilities_tells_its_share(
    abtest: Run, tmp_path: Path, shares: dict[str, list[float]]
) -> None:
    rng = np.random.default_rng(1)
    rows = 3_000
    pl.DataFrame(
        {"item": rng.integers(0, 4, rows), "got": rng.integers(0, 2, rows), "p": [0.25] * rows,
         "new": [0.3] * rows, "old": [0.2] * rows}
    ).write_csv(tmp_path / "choices.csv")  # fmt: skip
    names = "action=item,reward=got,propensity=p,target.new=new,target.old=old"
    made = abtest("data", "import", "choices.csv", "log", "--propensities", names)
    assert made.code == 0, made.err
    made = abtest("replay", "--data", "log", "--target-probability", "target_new",
                  "--target-probability", "target_old")  # fmt: skip
    assert made.code in (0, 4), made.err
    found = shares["replaying target_new, target_old"]
    rises(found, 12)
    # Rows, three policies (the log's own is one), and their metrics.
    assert len([share for share in found if 0.3 <= share <= 0.5]) >= 4


def test_an_import_of_a_query_tells_how_far_the_query_is(
    abtest: Run, tmp_path: Path, shares: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("duckdb")
    monkeypatch.setattr("simulator.logs.importers.query._ASKED_SECONDS", 0.01)
    (tmp_path / "map.toml").write_text(
        '[impressions]\nuser_id = "u"\nvideo_id = "v"\ntime_ms = "t"\nis_click = "c"\n'
        'play_time_ms = "p"\n'
    )
    query = (
        "select 1 + i % 50 u, 1 + i % 90 v, 1649400000000 + i t, i % 2 c, i % 9 p "
        "from range(600000) r(i) order by hash(i)"
    )
    made = abtest("data", "import", "log", "--map", "map.toml", "--sql", query)
    assert made.code == 0, made.err
    found = shares["importing the query"]
    rises(found, 8)
    # The query is the first half: at its end, and inside it, and then the import of its result.
    assert 0.5 in found
    assert len({share for share in found if 0.0 < share < 0.5}) >= 2
    assert len({share for share in found if 0.5 < share < 1.0}) >= 2
