"""Markdown for a pull request: the numbers of the record, and names that are only names."""

from __future__ import annotations

import re

import pytest

from reports import formats
from reports.render.markdown import render_markdown, text
from reports.results import ExperimentResult
from reports.verdict import words
from tests.reports.conftest import make_result

ATTACK = "<img src=x> | @everyone [a](http://evil.example) `code` **b** # h\n- x"


def rows(markdown: str) -> list[list[str]]:
    """Cells of all table rows."""
    found = [line for line in markdown.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found]


def test_the_verdict_is_the_heading_and_every_metric_is_a_row(result: ExperimentResult) -> None:
    markdown = render_markdown(result)
    first = result.comparisons[0]
    lines = markdown.splitlines()
    assert lines[0].startswith("## ") and text(words.sentence(result, first)) in lines[0]
    assert lines[2].startswith(f"**{text(words.decision(result, first))}**")
    found = {re.sub(r"\*|\s*\(.*", "", row[0]): row for row in rows(markdown) if len(row) != 7}
    table = {re.sub(r"\*|\s*\(.*", "", row[0]): row for row in rows(markdown) if len(row) == 7}
    for metric in first.metrics:
        row = table[metric.label]
        assert row[3] == formats.typographic(formats.lift(metric.relative))
        assert row[5] == text(formats.p_value(metric.p_adjusted))
        assert row[6].endswith(metric.outcome)
    assert first.factors is not None
    assert found["Together"][-1] == formats.typographic(words.factor_parts(first.factors)[-1])
    assert re.search(r"<details><summary>Checks: \d passed", markdown)
    assert "abtest run --treatment lsvcr" in markdown and "no real traffic" in markdown


def test_all_rows_of_a_table_have_as_many_cells(result: ExperimentResult) -> None:
    hostile = make_result(arms={ATTACK: 1.0, "x|y": 1.2, "z": 0.8}, users=150)
    for each in (result, hostile):
        for block in re.split(r"\n\n", render_markdown(each)):
            if block.startswith("| "):
                assert len({len(row) for row in rows(block)}) == 1


def test_names_are_text() -> None:
    markdown = render_markdown(make_result(arms={ATTACK: 1.0, f"b{ATTACK}": 1.2}, users=150))
    outside = re.sub(r"```.*?```", "", markdown, flags=re.S)
    assert "<img" not in outside and "@everyone" not in outside and "http://" not in outside
    assert not re.search(r"(?<!\\)\[a", outside)
    assert set(re.findall(r"<[^>]*>", outside)) == {
        "<details>", "</details>", "<summary>", "</summary>"
    }  # fmt: skip


@pytest.mark.parametrize("command", ["abtest run", "``` break out", "a ```` b"])
def test_a_command_cannot_leave_its_fence(command: str) -> None:
    markdown = render_markdown(make_result(users=100, context={"command": command}))
    fence = next(line for line in markdown.splitlines() if line.startswith("```"))
    assert fence not in command and markdown.count(fence) == 2 + command.count(fence)


def test_several_treatments_begin_with_an_overview() -> None:
    result = make_result(arms={"a": 1.0, "b": 1.3, "c": 0.7}, users=200)
    markdown = render_markdown(result)
    overview = rows(markdown)[2:4]
    assert [row[0] for row in overview] == ["b", "c"]
    assert markdown.count("### ") == 2


def test_equal_results_give_equal_bytes(result: ExperimentResult) -> None:
    again = ExperimentResult.from_json(result.to_json())
    assert render_markdown(again) == render_markdown(result)
