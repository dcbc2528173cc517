"""Benchmarks are listed with what they measure, and what they print becomes a page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from abtest.tables import table
from benchmarks.__main__ import known
from benchmarks.lib.pages import sections_of

ROOT = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


def test_every_benchmark_of_the_docs_is_known() -> None:
    named = set()
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        named |= set(re.findall(r"python -m benchmarks\.([\w.]+\w)", page.read_text("utf-8")))
    assert named and not named - set(known())


def test_a_printed_table_is_read_as_it_was_made() -> None:
    rows = [["sasrec", "+1.5 %", "a - b"], ["two words", "12", ""]]
    header = ["policy", "lift", "note"]
    text = "Some words.\n\nworld 1\n" + table(rows, header=header, right=(1,), width=80) + "\n"
    words, shown = sections_of(text)
    assert list(words.paragraphs) == ["Some words."] and not words.tables
    assert list(shown.paragraphs) == ["world 1"]
    (found,) = shown.tables
    assert [list(row) for row in found.rows] == rows and list(found.columns) == header
    assert list(found.right) == [1]


@pytest.mark.parametrize("words", [("nothing",), ("order", "--html")])
def test_what_is_not_there_is_said(words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert "python -m benchmarks" in ended.stderr or "--html page.html" in ended.stderr


def test_a_benchmark_leaves_a_page_and_its_own_exit_code(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ended = run("seeds", "--help", "--html", str(page))
    text = page.read_text(encoding="utf-8")
    assert ended.returncode == 0, ended.stderr
    assert "<h1>Measure how a lift varies" in text
    assert "python -m benchmarks.seeds --help</code>" in text and "--training-seeds" in text
    wrong = run("seeds", "--world-of-wonders", "--html", str(tmp_path / "none.html"))
    assert wrong.returncode == 2 and not (tmp_path / "none.html").exists()
