"""What a replay adds to the report, also where results.json is not what it should be."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from reports import formats
from reports.render import growth
from reports.render.growth import growth_words
from reports.render.html import render_html
from reports.render.replay import replay_view
from reports.results import ExperimentResult
from tests.reports.render.test_html import ATTACK, Page


def _estimate(value: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "standard_error": 0.1, "low": low, "high": high}


def _part(users: int, worth: float) -> dict[str, Any]:
    return {
        "users": users, "rows": 5 * users, "matched_rows": users, "expected_effective": worth,
        "effective_sample_size": worth + 1, "unsupported_share": 0.015, "tail_share": 0.3,
    }  # fmt: skip


def _replay() -> dict[str, Any]:
    def one(verdict: str, high: float | None = 0.2) -> dict[str, Any]:
        return {
            "control": _estimate(0.2, 0.1, 0.3),
            "treatment": _estimate(0.22, 0.1, 0.3),
            "relative": _estimate(0.1, 0.05, high),
            "effective": 812.0,
            "verdict": verdict,
            "reasons": [] if verdict == "usable" else ["worth 12 independent rows"],
        }

    return {
        "definition": "Mean outcome of a logged impression.",
        "identification": [
            {"subject": "videos", "identified": True, "why": "decisions", "way_out": ""},
            {"subject": "comments", "identified": False, "why": "none", "way_out": "keep them"},
        ],
        "overlap": {
            "a": {
                "policy": "a", "rows": 1000, "matched_rows": 400, "expected_effective": None,
                "effective_sample_size": 300.0, "mean_weight": 1.01, "unsupported_share": 0.0,
                "max_weight": 20.0, "verdict": "caution", "reasons": ["only as drawn"],
                "rows_by_weight": [0.6, 0, 0, 0.2, 0.1, 0.1, 0, 0, 0, 0, 0],
                "weight_by_weight": [0, 0, 0, 0.3, 0.3, 0.4, 0, 0, 0, 0, 0],
            }
        },
        "quantiles": [
            {
                "metric": "comment_stay_ms", "label": "Comment time per impression",
                "treatment": "lsvcr", "share": 0.9, "control": _estimate(11_000.0, 9e3, 13e3),
                "treated": _estimate(12_500.0, 1e4, None), "rows_beyond": 50.0,
                "difference": _estimate(1_500.0, -250.0, None), "verdict": "caution",
                "reasons": ["worth 50.0 rows beyond this quantile; 60 are enough"],
            },
            {"metric": "play", "share": 0.99, "treatment": "lsvcr", "verdict": "unusable",
             "control": None, "treated": None, "difference": None, "reasons": ["too few"]},
        ],
        "growth": {
            "metric": "click_rate",
            "overlap": {"lsvcr": [_part(n, 0.1 * n) for n in (100, 200, 400)]},
            "precision": {
                "lsvcr": [
                    {"users": n // 2, "rows": 5 * n, "lift": 0.1, "half_width": w, "detectable": d}
                    for n, w, d in ((100, None, 0.2), (200, 0.11, 0.15), (400, 0.07, 0.1))
                ]
            },
        },
        "metrics": [
            {
                "name": "click_rate", "label": "Click rate", "unit": "share", "role": "primary",
                "treatment": "a", "recommended": "sndr",
                "estimates": {"ips": one("caution", None), "sndr": one("usable")},
            },
            {"name": "play", "role": "secondary", "estimates": {}},
        ],
    }  # fmt: skip


@pytest.fixture
def replayed(result: ExperimentResult) -> ExperimentResult:
    options = {"min_effect": 0.05}
    context = {**result.context, "replay": _replay(), "options": options}
    return dataclasses.replace(result, context=context)


def test_the_recommended_estimator_stands_first_and_is_named(replayed: ExperimentResult) -> None:
    view = replay_view(replayed)
    assert view is not None
    (forest,) = view.forests
    assert [(r.name, r.recommended, r.verdict) for r in forest.rows] == [
        ("sndr", True, "usable"),
        ("ips", False, "caution"),
    ]
    assert (forest.rows[0].control, forest.rows[0].worth) == ("20.0 %", "812")
    assert 'class="mark usable"' in forest.rows[0].bar
    page = Page(render_html(replayed))
    for words in ("What this log can tell", "sndr (read first)", "keep them", "only as drawn"):
        assert words in page.text(), words
    assert page.text().count("Weights of a") >= 1


def test_quantiles_of_times_have_a_table(replayed: ExperimentResult) -> None:
    view = replay_view(replayed)
    assert view is not None
    none = formats.MISSING
    assert view.quantiles.rows == (
        ("Comment time, p90", "lsvcr", "11.00", "12.50", "+1.50", "-0.25 to any",
         "caution: worth 50.0 rows beyond this quantile; 60 are enough"),
        ("play, p99", "lsvcr", none, none, none, none, "unusable: too few"),
    )  # fmt: skip
    assert "Quantiles of times" in Page(render_html(replayed)).text()
    bare = {**_replay(), "quantiles": []}
    without = dataclasses.replace(replayed, context={"replay": bare})
    assert "Quantiles of times" not in Page(render_html(without)).text()


def test_growth_says_how_much_more_of_the_log_would_detect_the_minimum(
    replayed: ExperimentResult,
) -> None:
    """10 % with all users: 5 % needs (10 / 5)^2 = 4 times as many."""
    assert replayed.comparisons[0].treatment == "lsvcr"
    words = growth_words(replayed, "lsvcr")
    assert words.startswith("This log finds a lift of 10.0 % (80 % power); half of its users, 15.0")
    assert "About 4.0 times this log would detect 5 %, if more users are like these" in words
    text = render_html(replayed)
    for part in ("How this grows with the log", "5 % at about 4.0 times the log.", "7.0 %"):
        assert part in Page(text).text(), part
    view = replay_view(replayed)
    assert view is not None
    (grown,) = view.growth
    # 100 of 400 users find 20 %; the dashed line ends at 4 times the log and at 5 %.
    assert "20.0 % with 0.25 of the users, 10.0 % with all." in grown.chart
    solid, dashed = (_points(grown.chart, style) for style in ("treatment", "control"))
    assert len(solid) == 3
    assert dashed[0] == solid[-1]
    margin = re.search(r'class="margin"[^>]* y1="([\d.]+)"', grown.chart)
    assert margin is not None
    assert dashed[1][1] == pytest.approx(float(margin[1]), abs=0.15)
    # Four times the log lies as far to the right as all of it from a quarter, half as steep: the
    # effect halves there as it did here, by the square root.
    assert dashed[1][0] - dashed[0][0] == pytest.approx(solid[2][0] - solid[0][0], abs=0.2)
    assert dashed[1][1] - dashed[0][1] == pytest.approx(solid[2][1] - solid[0][1], abs=0.2)
    assert [row[0] for row in grown.table.rows] == ["100", "200", "400"]
    assert grown.table.rows[2] == (
        "400", "2,000", "400", "40", "41", "1.5 %", "30.0 %", "7.0 %", "10.0 %"
    )  # fmt: skip
    assert grown.table.rows[0][-2] == formats.MISSING


def _points(chart: str, style: str) -> list[tuple[float, float]]:
    found = re.search(rf'class="series {style}" d="([^"]+)"', chart)
    assert found is not None
    numbers = [float(x) for x in re.findall(r"[\d.]+", found[1])]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_a_log_that_is_large_enough_needs_no_more(replayed: ExperimentResult) -> None:
    context = {**replayed.context, "options": {"min_effect": 0.12}}
    enough = dataclasses.replace(replayed, context=context)
    assert "enough for the minimum effect of 12 %" in growth_words(enough, "lsvcr")
    view = replay_view(enough)
    assert view is not None
    assert "series control" not in view.growth[0].chart


def test_without_a_figure_the_precision_is_left_out(replayed: ExperimentResult) -> None:
    comparison = replayed.comparisons[0]
    bare = [dataclasses.replace(m, relative=None) for m in comparison.metrics]
    unusable = dataclasses.replace(
        replayed, comparisons=(dataclasses.replace(comparison, metrics=tuple(bare)),)
    )
    assert growth_words(unusable, "lsvcr") == ""
    view = replay_view(unusable)
    assert view is not None
    assert view.growth[0].chart == ""
    assert {row[-1] for row in view.growth[0].table.rows} == {formats.MISSING}
    assert view.growth[0].table.rows[0][3] == "10"


def test_other_results_have_no_such_section(result: ExperimentResult) -> None:
    assert replay_view(result) is None
    assert "What this log can tell" not in render_html(result)


@pytest.mark.parametrize(
    "change",
    [
        {"overlap": 7, "metrics": "x", "identification": None},
        {"overlap": [{"policy": ATTACK, "rows": ATTACK, "reasons": ATTACK}]},
        {"metrics": [{"role": "primary", "recommended": ATTACK, "estimates": {ATTACK: {}}}]},
        {"growth": {"overlap": {"lsvcr": [{"users": ATTACK}]}, "precision": {"lsvcr": [1]}}},
        {
            "growth": {
                "overlap": {"lsvcr": [{"users": 1}]},
                "precision": {
                    "lsvcr": [{"users": 5, "detectable": ATTACK}, {"users": 0, "detectable": 0.1}]
                },
            }
        },
        {"quantiles": [{"label": ATTACK, "share": ATTACK, "control": 3, "reasons": 4}, 7]},
        {"definition": ATTACK, "identification": [{"subject": ATTACK, "why": ["<b>"]}]},
    ],
)
def test_foreign_content_is_escaped_or_left_out(
    replayed: ExperimentResult, change: dict[str, Any]
) -> None:
    odd = dataclasses.replace(replayed, context={"replay": {**_replay(), **change}})
    text = render_html(odd)
    Page(text)
    assert "<script>" not in text
    assert "<b>" not in text


def test_how_much_more_log_is_said_no_more_exactly_than_it_is_known() -> None:
    assert [growth._times(last, 0.005) for last in (0.112, 0.03, 0.012)] == ["500", "36", "5.8"]


def test_the_head_of_a_replay_says_that_a_log_was_weighed(replayed: ExperimentResult) -> None:
    observed = dataclasses.replace(replayed, design="observed")
    head = Page(render_html(observed)).text("header")
    assert "Replay of a simulated log" in head and "weighted" in head
    assert "All people in the log are simulated" in head and "analysed as they are" not in head
    real = dataclasses.replace(observed, simulated=False)
    assert "simulated" not in Page(render_html(real)).text("header")
