"""What a replay adds to the report, also where results.json is not what it should be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from reports.render.html import render_html
from reports.render.replay import replay_view
from reports.results import ExperimentResult
from tests.reports.render.test_html import ATTACK, Page


def _estimate(value: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": value, "standard_error": 0.1, "low": low, "high": high}


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
    return dataclasses.replace(result, context={**result.context, "replay": _replay()})


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


def test_other_results_have_no_such_section(result: ExperimentResult) -> None:
    assert replay_view(result) is None
    assert "What this log can tell" not in render_html(result)


@pytest.mark.parametrize(
    "change",
    [
        {"overlap": 7, "metrics": "x", "identification": None},
        {"overlap": [{"policy": ATTACK, "rows": ATTACK, "reasons": ATTACK}]},
        {"metrics": [{"role": "primary", "recommended": ATTACK, "estimates": {ATTACK: {}}}]},
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
