"""Which encoding a message proposes for a file that is not UTF-8."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.errors import DataError
from simulator.tables import open_table
from simulator.tables.streams import guess


@pytest.mark.parametrize(
    ("text", "encoding", "seen"),
    [
        ("7;1,5;Österreich\n8;1,2;Ärger\n", "cp1252", "latin-1"),
        ("1,Málaga\n2,Córdoba\n3,Cádiz\n", "cp1252", "latin-1"),
        ("1,crème brûlée\n", "latin-1", "latin-1"),
        ("1,12 €\n2,“señor”\n", "cp1252", "cp1252"),
        ("1,搞笑\n2,美食,好\n", "gbk", "gbk"),
        ("1,café\n2,搞笑\n3,美食\n", "utf-8", None),
    ],
)
def test_the_encoding_that_is_proposed(text: str, encoding: str, seen: str | None) -> None:
    assert guess(text.encode(encoding)) == seen


def test_an_encoding_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="no encoding 'klingon'"):
        open_table(tmp_path / "t.csv", encoding="klingon")
