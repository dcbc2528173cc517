"""Cells of a log keep their values, or are refused with file and line."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
import zstandard

from simulator.errors import DataError
from simulator.logs.dataset import Dataset
from simulator.logs.importers import import_logs
from tests.simulator.logs.importers.kuairand_files import HEADER, ROW, write


def test_bad_cells_name_file_line_and_remedy(tmp_path: Path) -> None:
    source = write(
        tmp_path / "logs.csv",
        HEADER,
        ROW,
        ROW.replace("43454", "abc"),
        ROW.replace("1649349856990", "-5"),
        ROW.replace("1649349856990,1,1", "1649349856990,2,1"),
    )
    with pytest.raises(DataError, match=re.escape("logs.csv line 3: play_time_ms is 'abc'")) as e:
        import_logs(source, tmp_path / "out")
    assert "3 bad rows" in str(e.value)
    assert "--bad-rows skip" in str(e.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["logs.csv"]
    report = import_logs(source, tmp_path / "out", bad_rows="skip")
    assert Dataset.open(tmp_path / "out").info.rows["impressions"] == 1
    text = report.render()
    assert "rejected 3" in text
    assert "line 4: time_ms is '-5'" in text
    assert "line 5: is_click is '2', expected 0 or 1" in text


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), "is empty"),
        (("user_id,video_id,time_ms,play_time_ms",), "no column 'is_click'"),
        (("user_id,user_id,video_id",), "appears twice"),
        ((HEADER,), "no impressions"),
        ((HEADER, ROW + ",1,2,3"), "line 2: 22 cells, expected 19"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, lines: tuple[str, ...], expected: str) -> None:
    source = tmp_path / "log_standard_x.csv"
    source.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=expected):
        import_logs(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def edited(name: str, old: str, new: str, tmp_path: Path) -> Path:
    return write(tmp_path / name, HEADER, ROW, ROW.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("7,3", "1.58E+18,3", "user_id is '1.58E+18' (exponent form: digits may be lost)"),
        ("7,3", "7.5,3", "user_id is '7.5' (has a fraction)"),
        (",1,1,0,1", ",0.5,1,0,1", "is_click is '0.5' (has a fraction), expected 0 or 1"),
        (",27683,0,0,1", ",27683,0,0,70000", "tab is '70000' (larger than 32767)"),
        (",20220408,0,", ",20220408,99999,", "hourmin is '99999' (larger than 2359)"),
        ("1649349856990", "1649349856", "in the year 1970; is it in seconds?"),
        ("1649349856990", "1649349856990123", "is it in microseconds?"),
        ("43454", "99999999999999999999", "play_time_ms is '99999999999999999999' (too large)"),
        (",27683,0,0,1", ",276", "16 cells, expected 19"),
    ],
)
def test_what_would_be_rounded_or_lost_is_refused(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    source = edited("log_standard_x.csv", old, new, tmp_path)
    with pytest.raises(DataError) as error:
        import_logs(source, tmp_path / "out")
    assert "log_standard_x.csv line 3: " in str(error.value)
    assert said in str(error.value)
    report = import_logs(source, tmp_path / "out", bad_rows="skip")
    assert "read 2, kept 1, rejected 1" in report.render()


def test_identifiers_written_as_floats_keep_every_digit(tmp_path: Path) -> None:
    rows = [ROW.replace("7,3", f"158221819562593894{i}.0,3", 1) for i in (4, 5, 6)]
    source = write(tmp_path / "log_standard_x.csv", HEADER, *rows)
    import_logs(source, tmp_path / "out")
    assert Dataset.open(tmp_path / "out").scan("users").collect()["user_id"].to_list() == [
        1_582_218_195_625_938_944, 1_582_218_195_625_938_945, 1_582_218_195_625_938_946,
    ]  # fmt: skip


def test_fractions_of_milliseconds_are_rounded_and_counted(tmp_path: Path) -> None:
    source = edited("log_standard_x.csv", "43454,14233", "43454.5,14233.25", tmp_path)
    report = import_logs(source, tmp_path / "out")
    rows = Dataset.open(tmp_path / "out").scan("impressions").collect()
    assert rows["play_time_ms"].to_list() == [43_454, 43_455]
    assert rows["duration_ms"].to_list() == [14_233, 14_233]
    assert "play_time_ms: fraction rounded: 1" in report.render()


@pytest.mark.parametrize("pack", ["", ".gz", ".zst"])
def test_blanks_tabs_packed_files_and_encodings(tmp_path: Path, pack: str) -> None:
    content = "\n".join(line.replace(",", " ;\t ") for line in (HEADER, ROW)).replace(";\t", "\t")
    packed = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[pack]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"log_standard_x.csv{pack}").write_bytes(packed(content.encode("utf-16")))
    import_logs(tmp_path / "data", tmp_path / "out")
    row = Dataset.open(tmp_path / "out").scan("impressions").collect().row(0, named=True)
    assert (row["user_id"], row["play_time_ms"], row["is_rand"]) == (7, 43_454, 0)
