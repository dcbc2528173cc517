"""Random tables in random dialects are read back equal, or refused with the right line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings

from simulator.errors import DataError
from simulator.tables import Tally, Text, Whole, open_table
from simulator.tables import streams as streams_module

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.compress(data),
}
CHINESE = st.text(alphabet="abc ,;\t|\"'\n视频评论", max_size=12)
WESTERN = st.text(alphabet="abc ,;\t|\"'\né", max_size=12)


@dataclass(frozen=True)
class Dialect:
    """How a table is written."""

    delimiter: str
    encoding: str
    quoting: int
    end: str
    tail: str
    packed: str


dialects = st.builds(
    Dialect,
    delimiter=st.sampled_from([",", "\t", ";", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "gbk"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    tail=st.sampled_from(["", "\n", "\n\n", " \n"]),
    packed=st.sampled_from(list(PACK)),
)
rows = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), CHINESE, CHINESE), max_size=8)


def written(
    folder: Path, dialect: Dialect, table: list[tuple[object, ...]]
) -> tuple[Path, list[int]]:
    """A file, and the line that each row begins on, as Python's csv module writes it."""
    out = io.StringIO(newline="")
    writer = csv.writer(
        out, delimiter=dialect.delimiter, quoting=dialect.quoting, lineterminator=dialect.end
    )  # type: ignore[call-overload]
    writer.writerow(["id", "first", "second"])
    lines = []
    for row in table:
        lines.append(1 + out.getvalue().count("\n"))
        writer.writerow(row)
    text = out.getvalue().removesuffix(dialect.end) + dialect.tail
    path = folder / f"table.csv{dialect.packed}"
    path.write_bytes(PACK[dialect.packed](text.encode(dialect.encoding)))
    return path, lines


def clean(text: str) -> str | None:
    return text.strip() or None


@pytest.fixture(autouse=True, params=[40, 1 << 23], ids=["small blocks", "one block"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 40 bytes cut in the middle of rows, quotes and characters."""
    monkeypatch.setattr(streams_module, "BLOCK", request.param)


loosely = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@loosely
@given(dialect=dialects, table=rows)
def test_what_is_written_is_read(dialect: Dialect, table: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, lines = written(Path(folder), dialect, table)
        encoding = "gbk" if dialect.encoding == "gbk" else None
        opened = open_table(path, encoding=encoding, delimiter=dialect.delimiter)
        assert opened.columns == ["id", "first", "second"]
        kinds = {"id": Whole(), "first": Text(), "second": Text()}
        batches = list(opened.read(kinds, Tally()))
        read = [row for batch in batches for row in batch.frame.rows()]
        assert read == [(n, clean(a), clean(b)) for n, a, b in table]  # type: ignore[arg-type]
        assert [int(line) for batch in batches for line in batch.lines] == lines
        raw = [row for batch in opened.batches() for row in batch.frame.rows()]
        assert raw == [(str(n), clean(a), clean(b)) for n, a, b in table]  # type: ignore[arg-type]


@loosely
@given(dialect=dialects, table=rows.filter(len), data=st.data())
def test_a_damaged_row_is_named_and_only_it_is_skipped(
    dialect: Dialect, table: list[tuple[object, ...]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(table) - 1))
    number, first, second = table[at]
    damaged: tuple[object, ...] = data.draw(
        st.sampled_from(
            [
                (number, first, second, 7),
                (number, first),
                ("x7", first, second),
                ("7.5", first, second),
                ("1.5e3", first, second),
                ("9223372036854775808", first, second),
            ]
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        broken = [*table[:at], damaged, *table[at + 1 :]]
        path, lines = written(Path(folder), dialect, broken)
        encoding = "gbk" if dialect.encoding == "gbk" else None
        opened = open_table(path, encoding=encoding, delimiter=dialect.delimiter)
        kinds = {"id": Whole(required=True), "first": Text(), "second": Text()}
        with pytest.raises(DataError) as error:
            list(opened.read(kinds, Tally()))
        place = re.search(r"line (\d+)", str(error.value))
        assert place is not None
        assert int(place[1]) == lines[at]
        assert "1 bad row." in str(error.value)
        tally = Tally("skip")
        read = [row for batch in opened.read(kinds, tally) for row in batch.frame.rows()]
        expected = [(n, clean(a), clean(b)) for n, a, b in [*table[:at], *table[at + 1 :]]]  # type: ignore[arg-type]
        assert read == expected
        assert (tally.read, tally.rejected) == (len(table), 1)


@loosely
@given(table=st.lists(st.tuples(st.integers(0, 9), WESTERN), min_size=1))
def test_quotes_inside_unquoted_cells_are_read_as_the_csv_module_does(
    table: list[tuple[int, str]],
) -> None:
    lines = (f"{n},a" + re.sub("[,\n]", "", t) for n, t in table)
    text = "id,words\n" + "\n".join(lines) + "\n"
    expected = list(csv.reader(io.StringIO(text), skipinitialspace=True))[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(text, encoding="utf-8")
        kinds = {"id": Whole(), "words": Text()}
        batches = list(open_table(path).read(kinds, Tally()))
        read = [row for batch in batches for row in batch.frame.rows()]
        assert read == [(int(n), clean(words)) for n, words in expected]
        assert [int(n) for b in batches for n in b.lines] == list(range(2, len(table) + 2))


@loosely
@given(
    numbers=st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), min_size=1),
    dtype=st.sampled_from(
        [pl.Int32(), pl.Int64(), pl.Float64(), pl.String(), pl.Decimal(20, 2), pl.Categorical()]
    ),
)
def test_parquet_types_mean_the_same_numbers(numbers: list[int | None], dtype: pl.DataType) -> None:
    column = pl.Series("id", numbers, dtype=pl.Int64)
    if dtype == pl.Categorical:
        column = column.cast(pl.String)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        column.cast(dtype).to_frame().write_parquet(path)
        read = [v for b in open_table(path).read({"id": Whole()}) for v in b.frame["id"]]
        assert read == numbers
