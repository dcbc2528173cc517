"""Random columns of numbers, in the spellings of other programs, are read back or refused."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
import pytest
import zstandard
from hypothesis import given, settings

from simulator.errors import DataError
from simulator.tables import Number, Replace, Tally, Text, Whole, label, open_table
from simulator.tables import streams as streams_module

PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
Row = tuple[float | None, int | None, bool | None, str]


@dataclass(frozen=True)
class Spelling:
    """How a program writes numbers, and the table round them."""

    delimiter: str
    encoding: str
    end: str
    quoting: int
    packed: str
    decimal: str
    null: str
    true: str
    false: str
    whole: str

    def cells(self, row: Row) -> list[str]:
        """A row as texts."""
        number, whole, flag, text = row
        return [
            self.null if number is None else repr(number).replace(".", self.decimal),
            self.null if whole is None else f"{whole}{self.whole.replace('.', self.decimal)}",
            self.null if flag is None else self.true if flag else self.false,
            text,
        ]


spellings = st.builds(
    Spelling,
    delimiter=st.sampled_from([",", "\t", ";", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    packed=st.sampled_from(list(PACK)),
    decimal=st.sampled_from([",", "."]),
    null=st.sampled_from(["", "NA", "NaN", "null", "None", "N/A", "<NA>"]),
    true=st.sampled_from(["True", "TRUE", "true", "1"]),
    false=st.sampled_from(["False", "FALSE", "false", "0"]),
    whole=st.sampled_from(["", ".0"]),
)
NUMBERS = st.tuples(st.floats(-1e6, 1e6), st.sampled_from([2, 3])).map(
    lambda drawn: round(*drawn) + 0.0
)
rows: st.SearchStrategy[list[Row]] = st.lists(
    st.tuples(
        st.none() | NUMBERS,
        st.none() | st.integers(-(2**62), 2**62),
        st.none() | st.booleans(),
        st.text(alphabet="xyz é,;\t|", min_size=1, max_size=6).map(lambda t: f"x{t}x"),
    ),
    min_size=1,
    max_size=8,
)
KINDS = {"number": Number(), "whole": Whole(), "flag": label(), "text": Text()}
loosely = settings(max_examples=25, deadline=None)


@pytest.fixture(params=[40, 1 << 23], ids=["small blocks", "one block"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 40 bytes cut in the middle of rows, quotes and characters."""
    monkeypatch.setattr(streams_module, "BLOCK", request.param)


def written(folder: str, spelling: Spelling, cells: Sequence[Sequence[str]]) -> Path:
    """A file, as Python's csv module writes it."""
    out = io.StringIO(newline="")
    writer = csv.writer(
        out, delimiter=spelling.delimiter, quoting=spelling.quoting, lineterminator=spelling.end
    )  # type: ignore[call-overload]
    writer.writerow(list(KINDS))
    writer.writerows(cells)
    path = Path(folder) / f"t.csv{spelling.packed}"
    path.write_bytes(PACK[spelling.packed](out.getvalue().encode(spelling.encoding)))
    return path


def encoding_of(spelling: Spelling) -> str | None:
    return "cp1252" if spelling.encoding == "cp1252" else None


@loosely
@given(spelling=spellings, table=rows)
def test_numbers_are_read_in_every_spelling(spelling: Spelling, table: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, spelling, [spelling.cells(row) for row in table])
        opened = open_table(
            path,
            encoding=encoding_of(spelling),
            delimiter=spelling.delimiter,
            decimal=spelling.decimal,
        )
        tally = Tally()
        batches = list(opened.read(KINDS, tally))
        assert [row for b in batches for row in b.frame.rows()] == [
            (n, w, None if f is None else int(f), t.strip()) for n, w, f, t in table
        ]
        assert [int(line) for b in batches for line in b.lines] == [
            2 + i for i in range(len(table))
        ]
        commas = {n: tally.repaired.get(f"{n}: decimal comma, 1,5 read as 1.5", 0) for n in KINDS}
        so = spelling.decimal == ","
        assert commas == {
            "number": so * sum(row[0] is not None for row in table),
            "whole": so * bool(spelling.whole) * sum(row[1] is not None for row in table),
            "flag": 0,
            "text": 0,
        }


@loosely
@given(spelling=spellings, table=rows)
def test_the_decimal_mark_is_found_or_asked_for_but_never_guessed(
    spelling: Spelling, table: list[Row]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cells = [spelling.cells(row) for row in table]
        path = written(folder, spelling, cells)
        opened = open_table(path, encoding=encoding_of(spelling), delimiter=spelling.delimiter)
        try:
            read = [row[0] for b in opened.read({"number": Number()}) for row in b.frame.rows()]
        except DataError as error:
            # Refused only where every comma might be one of thousands.
            commas = [row[0] for row in cells if "," in row[0]]
            assert commas
            assert all(re.fullmatch(r"-?[1-9]\d{0,2},\d{3}", cell) for cell in commas)
            assert "--decimal ," in str(error)
        else:
            assert read == [row[0] for row in table]


@loosely
@given(
    spelling=spellings,
    table=st.lists(NUMBERS, min_size=2, max_size=8),
    data=st.data(),
    odd=st.sampled_from(["1.5", "12..5", "1,5,5", "5,5 s", "1.234,5", "1,234.5"]),
)
def test_a_number_of_another_spelling_is_refused_with_its_line(
    spelling: Spelling, table: list[float], data: st.DataObject, odd: str
) -> None:
    at = data.draw(st.integers(0, len(table) - 1))
    with tempfile.TemporaryDirectory() as folder:
        cells = [[repr(n).replace(".", ","), "1", "1", "x"] for n in table]
        cells[at][0] = odd
        path = written(folder, spelling, cells)
        opened = open_table(
            path, encoding=encoding_of(spelling), delimiter=spelling.delimiter, decimal=","
        )
        with pytest.raises(DataError, match=rf"line {2 + at}: number is '{re.escape(odd)}'"):
            list(opened.read(KINDS))
        tally = Tally("skip")
        kept = [n for b in opened.read({"number": Number()}, tally) for n in b.frame["number"]]
        assert kept == [n for i, n in enumerate(table) if i != at]
        assert tally.rejected == 1


@pytest.mark.parametrize(
    ("text", "read", "commas"),
    [
        ("n;m\n1,5;2\n3;4\n", [1.5, 3.0], 1),
        ('n,m\n"1,5",2\n3,4\n', [1.5, 3.0], 1),
        ("n\tm\n1,25E+02\t2\n,5\t4\n", [125.0, 0.5], 2),
        ("n;m\n0,125;2\n1,250;2\n", [0.125, 1.25], 2),
    ],
)
def test_a_comma_that_can_only_be_decimal_is_one(
    tmp_path: Path, block: None, text: str, read: list[float], commas: int
) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    tally = Tally()
    batches = open_table(tmp_path / "t.csv").read({"n": Number(), "m": Whole()}, tally)
    assert [n for b in batches for n in b.frame["n"]] == read
    assert tally.repaired == {"n: decimal comma, 1,5 read as 1.5": commas}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "n;m\n1,250;2\n",
            "line 2: n is '1,250' (has a comma; if it is the decimal mark: --decimal ,)",
        ),
        (
            "n;m\n1,5;2.5\n",
            "line 2: n is '1,5' (has a comma; if it is the decimal mark: --decimal ,)",
        ),
    ],
)
def test_a_comma_that_may_be_something_else_is_asked_about(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        list(open_table(tmp_path / "t.csv").read({"n": Number(), "m": Number()}))
    assert said in str(error.value)


def test_points_after_the_beginning_of_a_file_with_commas_are_refused(tmp_path: Path) -> None:
    rows = ["1,5;7"] * 20_000 + ["2,5;7.5"]
    (tmp_path / "t.csv").write_text("n;m\n" + "\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 20,002: m is '7\.5' \(has a point among decimal"):
        list(open_table(tmp_path / "t.csv").read({"n": Number(), "m": Number()}))


def test_texts_with_commas_decide_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("tags;n\n12,5;1.5\n7,1;2\n", encoding="utf-8")
    batches = open_table(tmp_path / "t.csv").read({"tags": Text(), "n": Number()})
    assert [row for b in batches for row in b.frame.rows()] == [("12,5", 1.5), ("7,1", 2.0)]


def test_an_unknown_decimal_mark_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n\n1\n", encoding="utf-8")
    with pytest.raises(DataError, match="the decimal mark is ';', expected"):
        open_table(tmp_path / "t.csv", decimal=";")


def test_a_value_that_fills_two_columns_is_repaired_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("play\n14.5\n-3\n7\n2.5\n", encoding="utf-8")
    sources = {"watched": "play", "length": "play"}
    rounded = Whole(rounds=True)
    negative = Whole(rounds=True, replace=(Replace(-10, -1, 0, "negative to 0"),))
    tally = Tally()
    kinds = {"watched": rounded, "length": negative}
    read = list(open_table(path).read(kinds, tally, sources=sources))
    assert [b.frame["watched"].to_list() for b in read] == [[15, -3, 7, 3]]
    assert tally.repaired == {"play: fraction rounded": 2, "play: negative to 0": 1}
