"""Whatever the encoding and width of the terminal, every command that prints a table reads well."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.cells import cell_len

from abtest.tables import facts
from abtest.tables import table as text_table
from abtest.terminal import flowing, put_json
from reports.formats import encodable
from reports.render.layout import table

Run = Callable[..., "Result"]  # type: ignore[name-defined]  # noqa: F821


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A table with Chinese names, and names of Latin letters that ASCII lacks."""
    rng = np.random.default_rng(1)
    pl.DataFrame(
        {
            "用户": range(400),
            "组": ["对照", "Grün – neu"] * 200,
            "评论时长": rng.normal(20.0, 4.0, 400),
            "café": rng.poisson(3.0, 400),
        }
    ).write_csv(tmp_path / "表.csv")
    return tmp_path / "表.csv"


ASKED = ("--user", "用户", "--arm", "组", "--control", "对照")
METRICS = ("-m", "评论时长", "-m", "café")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk"])
def test_every_table_in_every_encoding(
    terminal: Callable[[str], Any], people: Path, small_log: Path, encoding: str
) -> None:
    for name in ("结果", "other"):
        shown = terminal(encoding)
        assert shown.run("analyze", people, *ASKED, *METRICS, "--out", name) == 0, shown.error()
    assert ("Café" in shown.output()) == (encoding != "ascii")
    commands: list[tuple[object, ...]] = [
        ("report", "结果"),
        ("report", "结果", "--format", "md"),
        ("report", "结果", "--format", "csv"),
        ("compare", "结果", "other"),
        ("power", people, *ASKED, *METRICS, "--mde", "5%"),
        ("aa", people, *ASKED, *METRICS, "--replicates", 50),
        ("data", "check", small_log),
        ("data", "map", people),
        ("policy", "list"),
        ("policy", "show", "popular"),
        ("analyze", "没有.csv", "-m", "x"),
        ("analyze", "--help"),
    ]
    for command in commands:
        shown = terminal(encoding)
        assert shown.run(*command) in (0, 2, 3), shown.error()
        assert shown.output() + shown.error()
        assert "UnicodeEncodeError" not in shown.error()
    for command in (("report", "结果", "--json"), ("compare", "结果", "other", "--json"),
                    ("analyze", people, *ASKED, *METRICS, "--json")):  # fmt: skip
        shown = terminal(encoding)
        assert shown.run(*command) == 0
        assert "评论时长" in json.dumps(json.loads(shown.output()), ensure_ascii=False)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(
    abtest: Run, people: Path, small_log: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    assert abtest("analyze", people, *ASKED, *METRICS, "--out", "run").code == 0
    assert abtest("analyze", people, *ASKED, *METRICS, "--out", "again").code == 0
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("reports.render.layout.sys.stdout.isatty", lambda: True)
    for command in (
        ("report", "run"),
        ("compare", "run", "again"),
        ("power", people, *ASKED, *METRICS, "--mde", "5%"),
        ("aa", people, *ASKED, *METRICS, "--replicates", 50),
        ("policy", "list"),
        ("policy", "show", "popular"),
        ("policy", "show", "lsvcr"),
        ("data", "check", small_log),
    ):
        result = abtest(*command)
        assert result.code == 0, result.err
        # Names of files stay whole.
        lines = [x for x in result.out.splitlines() if "report.html" not in x and "code: " not in x]
        assert max(map(_seen, lines)) <= columns, command


def _seen(line: str) -> int:
    """Cells of a line, without its colours."""
    return cell_len(re.sub(r"\x1b\[[0-9;]*m", "", line))


def test_cells_wrap_and_rows_become_paragraphs() -> None:
    rows = [("popular", "1,234", "likes of other people, counted by the hour and the day")]
    header = ("policy", "people", "what it does")
    wide, narrow, least = (
        text_table(rows, header=header, right=(1,), width=w).splitlines() for w in (110, 60, 40)
    )
    assert len(wide) == 3 and wide[2].startswith("popular  ")
    assert len(narrow) > 3 and max(map(len, narrow)) <= 60
    many = [tuple(f"value {i} of many" for i in range(6))]
    paragraphs = text_table(many, header=[f"name {i}" for i in range(6)], width=40).splitlines()
    assert paragraphs[:2] == ["value 0 of many", "  name 1: value 1 of many"]
    assert max(map(len, least)) <= 40


def test_facts_have_no_marks_of_a_programming_language() -> None:
    said = facts("task", {"loss": 2.20123, "held": {"r": [0.5, None]}, "served": True, "n": 7})
    assert said == "  task: loss 2.201, held (r [0.5, n/a]), served yes, n 7"
    assert max(map(len, facts("x", {f"value {i}": i for i in range(99)}).splitlines())) <= 80


def test_signs_have_a_plain_form_and_letters_are_escaped() -> None:
    assert encodable("±3 − 评", "ascii") == "+/-3 - \\u8bc4"
    assert encodable("±3 − 评", "gbk") == "±3 - 评"
    assert encodable("±3 − 评", "utf-8") == "±3 − 评"


def test_json_stays_json(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="cp1252", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    put_json({"name": "评 − é \U0001f600"})
    monkeypatch.undo()
    assert json.loads(raw.getvalue().decode("cp1252")) == {"name": "评 − é \U0001f600"}


@pytest.mark.parametrize("command", ["power", "train", "evaluate", "world experiments"])
def test_help_is_wrapped_by_the_terminal_not_where_its_source_is(
    abtest: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A paragraph has one short line, its last."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = abtest(*command.split(), "--help").out.split("Options ─")[0]
    prose = [x.strip() for x in re.split(r"\n\s*\n", shown) if ". " in x or x.count("\n")]
    prose = [x for x in prose if not x.startswith(("abtest ", "Usage"))]
    assert prose
    for paragraph in prose:
        lines = [line.strip() for line in paragraph.splitlines()]
        for line, after in itertools.pairwise(lines):
            room = 78 - len(line) - 1
            assert len(after.split()[0]) > room, paragraph


def test_a_docstring_flows() -> None:
    text = (
        "What it is,\nin two lines.\n\nAttributes:\n    name: One\n        entry.\n    other: Next."
        "\n    last: End.\n\n  an example\n"
    )
    assert flowing(text).splitlines() == [
        "What it is, in two lines.",
        "",
        "Attributes:",
        "    name: One entry.",
        "    other: Next.",
        "    last: End.",
        "",
        "  an example",
    ]


def test_a_wrapped_name_of_a_row_stays_inside_its_table() -> None:
    lines = table(["  Factor", "control"], [["  Play time per video", "8.69 s"]], 24)
    assert lines is not None
    assert [line.rstrip() for line in lines] == [
        "  Factor         control", "  Play time per   8.69 s", "    video",
    ]  # fmt: skip
