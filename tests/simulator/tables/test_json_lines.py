"""JSON lines: digits, missing keys, nested values, and the line of what is no object."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from simulator.errors import DataError
from simulator.tables import Number, Tally, Text, Time, Whole, label, open_table
from simulator.tables.streams import BLOCK

ROWS = [
    {"id": 1582218195625938945, "t": 1700000000.5, "like": True, "who": "a;é"},
    {"like": False, "id": "7", "t": 1700000001, "page": {"slot": 3}, "tags": ["x", "y", 2]},
    {"id": -7, "t": 1700000002, "like": None, "who": ""},
]
KINDS = {
    "id": Whole(), "t": Time(unit="s"), "like": label(), "who": Text(), "page.slot": Whole(),
    "tags": Text(),
}  # fmt: skip
READ = [
    (1582218195625938945, 1_700_000_000_500, 1, "a;é", None, None),
    (7, 1_700_000_001_000, 0, None, 3, "x,y,2"),
    (-7, 1_700_000_002_000, None, None, None, None),
]


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read(path: Path, tally: Tally | None = None) -> list[tuple[object, ...]]:
    return [r for b in open_table(path).read(KINDS, tally) for r in b.frame.rows()]


@pytest.mark.parametrize(
    ("name", "encoding"), [("l.jsonl", "utf-8"), ("l.txt", "utf-16"), ("l.json.gz", "utf-8-sig")]
)
def test_objects_are_rows_and_keys_are_columns(tmp_path: Path, name: str, encoding: str) -> None:
    data = ("\n" + lines(ROWS) + "\n").encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    table = open_table(path)
    assert table.columns == ["id", "t", "like", "who", "page.slot", "tags"]
    assert table.dialect.startswith("JSON lines")
    assert read(path) == READ
    (batch,) = table.read(KINDS)
    assert batch.place(1) == f"{path} line 3"


@pytest.mark.parametrize(
    "wrong", ["[1]", '{"id": 1', "null", '{"who": "\\ud800"}', "x", '{"id": 1}{"id": 2}']
)
def test_a_line_that_is_no_object_is_named_or_skipped_and_counted(
    tmp_path: Path, wrong: str
) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(lines(ROWS[:1]) + "\n" + wrong + "\n" + lines(ROWS[1:]), encoding="utf-8")
    with pytest.raises(DataError, match=r"l\.jsonl line 3: no JSON object in .*1 bad row"):
        read(path)
    tally = Tally("skip")
    assert read(path, tally) == READ
    assert (tally.read, tally.rejected) == (4, 1)


def test_cells_are_checked_as_those_of_any_table(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(lines([{"x": 1.5, "n": 2}, {"x": "oops", "n": 3}]))
    with pytest.raises(DataError, match="line 2: x is 'oops', expected a number"):
        list(open_table(path).read({"x": Number()}))
    with pytest.raises(DataError, match=r"line 1: x is '1\.5' \(has a fraction\)"):
        list(open_table(path).read({"x": Whole()}))
    with pytest.raises(DataError, match=r"no column 'm'.*JSON lines"):
        open_table(path).column("m")


def test_lines_across_blocks_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    long = {"id": 1, "who": "w" * (BLOCK // 3)}
    path.write_bytes(lines([long] * 7).encode() + b'{"id": 2, "who": "\xe9"}\n{"id": 3}')
    tally = Tally("skip")
    found = [r for b in open_table(path).read({"id": Whole()}, tally) for r in b.frame.rows()]
    assert found == [(1,)] * 7 + [(3,)]
    assert "line 8" in tally.examples[0]


def test_a_folder_of_days_whose_objects_have_different_keys(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text(lines([{"id": 1}]))
    (tmp_path / "2.ndjson").write_text(lines([{"id": 2, "x": 5}]))
    kinds = {"id": Whole(), "x": Whole()}
    assert [r for b in open_table(tmp_path).read(kinds) for r in b.frame.rows()] == [
        (1, None), (2, 5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(ROWS)),
        ("b.txt", json.dumps(ROWS, indent=1)),
        ("c.json", json.dumps(ROWS[0], indent=1)),
        ("d.jsonl", '{"id": 1, oops}\n{"id": 2}\n'),
    ],
)
def test_one_document_says_how_to_make_lines_of_it(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"{name} is JSON, but not one object on each line: .*jq"):
        open_table(tmp_path / name)


def test_a_table_whose_first_name_has_a_brace_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("{a},b\n1,2\n")
    assert open_table(tmp_path / "t.csv").columns == ["{a}", "b"]
