"""`--html` writes the tables of the terminal as a page in the look of the report."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from abtest.results.world_evidence import reactions_page
from simulator.calibration.experiments import Reaction
from tests.abtest.conftest import Result

Run = Callable[..., Result]
ROWS = [
    Reaction("likes per play time", "0.80 [0.6, 1.1]", 0.91, "fitted", "as published"),
    Reaction("returns per play time", "0.02 [0.01, 0.03]", -0.2, "held out", "against"),
]


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+\.\d+", text))


@pytest.mark.parametrize(
    ("words", "title"),
    [
        (("power", "t.csv", "--users", 5_000), "Plan of an experiment"),
        (("aa", "t.csv", "--replicates", 50), "A/A check"),
    ],
)
def test_the_page_holds_the_numbers_of_the_terminal(
    abtest: Run, tmp_path: Path, words: tuple[object, ...], title: str
) -> None:
    rows = "".join(f"{i},{i % 7},{i % 3}\n" for i in range(300))
    (tmp_path / "t.csv").write_text("user_id,<b>money,visits\n" + rows, encoding="utf-8")
    plain = abtest(*words)
    result = abtest(*words, "--html", "page.html")
    assert result.code == 0 and result.out == plain.out
    assert "page: page.html" in result.err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<h1>{title}</h1>" in page and "<script" not in page and "<b>money" not in page
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    table = plain.out.split("\n\n")[1]
    assert len(_numbers(table)) > 3 and _numbers(table) <= _numbers(body)
    refused = abtest(*words, "--html", "nowhere/page.html")
    assert refused.code == 2 and "cannot write nowhere/page.html" in refused.err


def test_evaluation_as_a_page(abtest: Run, small_log: Path, tmp_path: Path) -> None:
    result = abtest("evaluate", "popular", "random", "--data", small_log, "--task", "videos",
                    "--html", "page.html")  # fmt: skip
    assert result.code == 0, result.err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    shown = set(re.findall(r"0\.\d{4}", result.out))
    assert len(shown) > 5 and shown <= set(re.findall(r"0\.\d{4}", page))
    assert "Offline evaluation" in page and "not how people would react" in page


def test_published_experiments_as_a_page() -> None:
    page = reactions_page(ROWS, "abtest world experiments")
    for row in ROWS:
        assert row.label in page and row.published in page and row.verdict in page
    assert "abtest world experiments" in page
