"""`abtest data import`, `map`, `check`, and runs on a log, as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from simulator.logs.dataset import Dataset, DatasetWriter
from simulator.world import World

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821

LOG = "uid,item,ts,watched,length\n" + "".join(
    f"{i // 4},{i % 5},{1_649_390_400 + 60 * i},{i % 9},8\n" for i in range(40)
)


def test_from_any_table_to_a_checked_dataset(abtest: Run, tmp_path: Path) -> None:
    log, mapped, out = tmp_path / "log.csv", tmp_path / "map.toml", tmp_path / "out"
    log.write_text(LOG)
    shown = abtest("data", "map", str(log), "--out", str(mapped))
    assert shown.code == 0
    assert f"abtest data import {log} DATASET --map {mapped}" in shown.out
    again = abtest("data", "map", str(log), "--out", str(mapped))
    assert again.code == 2
    done = abtest("data", "import", str(log), str(out), "--map", str(mapped))
    assert done.code == 0, done.err
    assert "read 40, kept 40, rejected 0" in done.out
    assert "comment watch time" in done.out
    assert "impressions has no comment_stay_time" in " ".join(done.out.split())
    checked = abtest("data", "check", str(out), "--json")
    assert checked.code == 0
    commands = {c["command"]: c for c in json.loads(checked.out)["commands"]}
    assert commands["abtest run --data: videos"]["possible"] is True
    assert commands["abtest replay: comments"]["why_not"] == "the log has no comment_decisions"


def test_a_world_in_english_says_so_and_how_to_make_it_again(abtest: Run, tmp_path: Path) -> None:
    target = tmp_path / "english"
    made = ("data", "synth", str(target), "--world", "small", "--users", "10", "--days", "1")
    refused = abtest(*made, "--language", "fr")
    assert refused.code == 3
    assert "world parameter 'language' is 'fr', expected \"zh\" or \"en\"" in refused.err
    assert abtest(*made, "--language", "en").code == 0
    dataset = Dataset.open(target)
    assert dataset.info.language == "en"
    assert dataset.info.source == "abtest data synth --world small --seed 1 --language en"
    assert all(caption.isascii() for caption in dataset.captions())
    assert dataset.info.world is not None
    assert World.from_spec(dataset.info.world).config.language == "en"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "abtest data import log.csv DATASET"),
        (("out", "--sql", "select 1"), 2, "--sql needs a map"),
        (("out", "--map", "none.toml"), 3, "none.toml cannot be read"),
        (("out", "--format", "netflix"), 3, "no format 'netflix'"),
        (("out", "--bad-rows", "maybe"), 2, "expected fail or skip"),
        (("out", "--encoding", "klingon"), 3, "no encoding 'klingon'"),
        (("out",), 3, "abtest data map log.csv"),
    ],
)
def test_import_says_what_is_wrong(
    abtest: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.csv").write_text(LOG)
    result = abtest("data", "import", "log.csv", *options)
    assert (result.code, said in result.err) == (code, True), result.err
    assert [p.name for p in tmp_path.iterdir() if "cache" not in p.name] == ["log.csv"]


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    rows = pl.DataFrame(
        {
            "user_id": [i // 10 for i in range(100)],
            "video_id": [i % 7 for i in range(100)],
            "time_ms": [1_650_000_000_000 + i for i in range(100)],
            "is_click": pl.Series([i % 2 for i in range(100)], dtype=pl.Int8),
            "play_time_ms": [1_000] * 100,
        }
    )
    with DatasetWriter(tmp_path / "log", name="x", source="x", licence="x") as writer:
        writer.append("impressions", rows)
        writer.append("users", rows.select("user_id").unique().sort("user_id"))
        writer.append("videos", rows.select("video_id").unique().sort("video_id"))
    return tmp_path / "log"


def test_a_run_refuses_a_log_with_impossible_values(abtest: Run, logged: Path) -> None:
    part = logged / "impressions" / "part-00000.parquet"
    bad = pl.read_parquet(part).with_columns(pl.lit(7, pl.Int8).alias("is_click"))
    bad.write_parquet(part)
    for command in ("run", "evaluate", "replay"):
        policies = ("popular",) if command == "evaluate" else ("-t", "popular", "-c", "random")
        result = abtest(command, *policies, "--data", str(logged))
        assert result.code == 3
        assert "is_click is 7, expected 0 or 1" in result.err
    assert abtest("data", "check", str(logged)).code == 3


def test_a_run_takes_a_sample_of_the_people(abtest: Run, logged: Path, tmp_path: Path) -> None:
    arguments = ("run", "-t", "popular", "-c", "random", "--data", str(logged))
    result = abtest(*arguments, "--sample-users", "11")
    assert result.code == 3
    assert "a sample of 11 people was asked for" in result.err
    result = abtest(
        *arguments,
        "--sample-users",
        "4",
        "--design",
        "twin",
        "--out",
        str(tmp_path / "run"),
        "--quiet",
        "--primary",
        "play_time",
    )
    assert result.code in (0, 4), result.err
    outcomes = pl.read_parquet(tmp_path / "run" / "outcomes.parquet")
    assert outcomes["user_id"].n_unique() == 4
    assert Dataset.open(logged).info.rows["users"] == 10
