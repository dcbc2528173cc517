from __future__ import annotations

import dataclasses
import math
import re

import pytest
from rich.cells import cell_len

from reports.render.terminal import render
from reports.results import Estimate, ExperimentResult
from reports.verdict.words import sentence
from tests.reports.conftest import make_result


def shown(result: ExperimentResult, width: int = 80) -> str:
    return render(result, width=width, encoding="ascii", color=False)


@pytest.fixture(scope="module")
def strange() -> ExperimentResult:
    return make_result(arms={"sasrec": 1.0, "评论\x1b[2J\nx" + "y" * 90: 0.7, "aa": 1.0}, users=300)


def test_the_verdict_comes_first(result: ExperimentResult) -> None:
    text = " ".join(shown(result).split())
    assert text.startswith(sentence(result, result.comparisons[0]))


def test_parts_are_in_order(result: ExperimentResult) -> None:
    text = shown(result)
    places = [
        text.index(part)
        for part in ("Simulated people", "Checks: ", "Primary metric", "Guardrails", "Secondary")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("width", [40, 60, 80, 110])
def test_no_line_is_wider_than_asked(
    result: ExperimentResult, strange: ExperimentResult, width: int
) -> None:
    for each in (result, strange):
        for encoding in ("ascii", "gbk", "utf-8"):
            text = render(each, width=width, encoding=encoding, color=False)
            assert max(cell_len(line) for line in text.splitlines()) <= width


def test_ascii_only_is_ascii_and_names_cannot_steer_the_terminal(
    strange: ExperimentResult,
) -> None:
    assert shown(strange).isascii()
    for encoding in ("ascii", "gbk", "utf-8"):
        text = render(strange, width=80, encoding=encoding, color=False)
        assert "\x1b" not in text and "\r" not in text


def test_colour_adds_nothing_but_colour(result: ExperimentResult) -> None:
    plain = render(result, width=80, encoding="ascii", color=False)
    colored = render(result, width=80, encoding="ascii", color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == plain


def test_every_metric_shows_the_interval_and_p_of_its_record(result: ExperimentResult) -> None:
    lines = shown(result).partition("Secondary metrics")[2].splitlines()
    for metric in result.comparisons[0].metrics:
        if metric.role != "secondary" or metric.relative is None:
            continue
        assert metric.relative.low is not None and metric.p_adjusted is not None
        line = next(line for line in lines if f" {metric.label} " in line and "%" in line)
        assert f"{100 * metric.relative.low:+.1f} to" in line
        mark = {"better": "+", "worse": "-", "not clear": "."}[metric.outcome]
        assert line.strip().startswith(f"{mark} {metric.label}")
        if 0.001 < metric.p_adjusted < 0.099:
            assert line.endswith(f"{metric.p_adjusted:.3f}")


def test_the_guardrail_margin_is_in_words(result: ExperimentResult) -> None:
    assert "must not rise by more than 10 %" in " ".join(shown(result).split())


def test_simulated_is_said_only_of_simulated_people() -> None:
    real = shown(make_result(simulated=False, users=200))
    assert "imulated" not in real


def test_every_treatment_has_its_section(strange: ExperimentResult) -> None:
    assert shown(strange).count("Primary metric") == 2


def test_missing_numbers_are_never_nan(result: ExperimentResult) -> None:
    first = result.comparisons[0]
    nothing = Estimate(math.nan, math.nan, math.inf)
    metrics = tuple(
        dataclasses.replace(
            metric, relative=nothing, absolute=nothing, p_adjusted=math.nan, detectable_effect=None
        )
        for metric in first.metrics
    )
    comparison = dataclasses.replace(first, metrics=metrics)
    text = shown(dataclasses.replace(result, comparisons=(comparison,)))
    assert not re.search(r"\b(nan|inf)\b", text)
    assert "n/a" in text


def test_a_metric_without_data_and_its_warning_are_shown() -> None:
    result = make_result(users=200)
    first = result.comparisons[0]
    metrics = tuple(
        dataclasses.replace(
            metric, absolute=None, relative=None, p_value=None, p_adjusted=None,
            outcome="no data", warnings=("'likes' does not vary.",),
        )
        if metric.metric == "likes"
        else metric
        for metric in first.metrics
    )  # fmt: skip
    comparison = dataclasses.replace(first, metrics=metrics)
    text = shown(dataclasses.replace(result, comparisons=(comparison,)))
    assert re.search(r"\? Likes +n/a +n/a +n/a +n/a +n/a", text)
    assert "warning: 'likes' does not vary. (Likes)" in text


def test_the_twin_designs_effect_is_shown() -> None:
    text = " ".join(shown(make_result(design="twin", users=200)).split())
    assert "the same people lived through both arms, so this is the effect on them" in text


def test_no_comparison_is_not_an_error(result: ExperimentResult) -> None:
    assert "nothing was compared" in shown(dataclasses.replace(result, comparisons=()))
