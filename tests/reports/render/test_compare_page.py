"""Several runs as a page and as JSON: every metric of every run, on one axis per metric."""

from __future__ import annotations

import json
import re

from reports import formats
from reports.render.comparison_page import comparison_json, render_comparison_html
from reports.render.page import PageSection, PageTable, render_page
from tests.reports.conftest import make_result
from tests.reports.render.test_compare import as_replay
from tests.reports.render.test_html import ATTACK, Page

A = make_result(1, context={"seed": 1}, users=200)
B = make_result(2, {"sasrec": 1.0, "lsvcr": 1.1, "popular": 0.8}, context={"seed": 2}, users=200)
RUNS = [("runs/a", A), ("runs/b", B)]


def test_the_page_has_a_forest_per_metric_with_every_run_in_it() -> None:
    html = render_comparison_html(RUNS, command="abtest compare runs/a runs/b")
    page = Page(html)
    metrics = A.comparisons[0].metrics
    assert page.text("caption").count("(") >= len(metrics)
    tables = re.findall(r"<table.*?</table>", html, flags=re.S)
    assert len(tables) == len(metrics)
    for metric, table in zip(metrics, sorted(tables, key=_order(metrics)), strict=True):
        assert table.count("runs/b") >= 2 and table.count('class="zero"') == 3
        assert formats.typographic(formats.lift(metric.relative)) in table
    assert "The runs differ in: seed (1, 2)." in page.text("p")
    assert not page.all("script")


def _order(metrics: object) -> object:
    labels = [m.label for m in metrics]  # type: ignore[attr-defined]

    def place(table: str) -> int:
        caption = re.search(r"<caption>(.*?) \(", table)
        assert caption is not None
        return labels.index(caption[1])

    return place


def test_json_holds_all_metrics_and_no_nan() -> None:
    document = json.loads(comparison_json(RUNS))
    assert [run["run"] for run in document["runs"]] == ["runs/a", "runs/b"]
    first = document["runs"][0]["comparisons"][0]
    assert [m["metric"] for m in first["metrics"]] == [m.metric for m in A.comparisons[0].metrics]
    assert first["verdict"]["finding"] and document["over_seeds"] == []


def test_names_are_text_on_every_page() -> None:
    hostile = make_result(3, {ATTACK: 1.0, f"b{ATTACK}": 1.2}, users=150)
    table = PageTable(ATTACK, [ATTACK, "b"], [[ATTACK, ATTACK]])
    pages = (
        render_comparison_html([(ATTACK, hostile), ("b", B)], command=ATTACK),
        render_page(ATTACK, [PageSection(ATTACK, [ATTACK], [table])], command=ATTACK),
    )
    for html in pages:
        page = Page(html)
        assert not page.all("script") and "<script>alert(1)</script>" in page.text("pre")


def test_a_replay_and_a_simulation_share_a_forest_per_metric() -> None:
    runs = [("runs/r", as_replay(B)), ("runs/s", A)]
    html = render_comparison_html(runs)
    page = Page(html)
    assert "1 replay, 1 simulation" in html
    assert "A replay values one impression" in page.text("p")
    tables = re.findall(r"<table.*?</table>", html, flags=re.S)
    first = tables[0]
    assert "(replay: s per impression; simulation: s per user-day)" in first
    assert "runs/r<small>replay</small>" in first
    assert "runs/s<small>simulation</small>" in first
    assert len(tables) == len(A.comparisons[0].metrics)
    document = json.loads(comparison_json(runs))
    assert [run["method"] for run in document["runs"]] == ["replay", "simulation"]
    assert any("A replay values" in note for note in document["notes"])


def test_a_guardrail_says_what_its_outcome_is_about() -> None:
    """Beside p = 0.016, "not clear" is a riddle unless the margin is named."""
    html = render_comparison_html(RUNS)
    captions = re.findall(r"<caption>(.*?)</caption>", html)
    guarded = [c for c in captions if "guardrail: must not rise by more than" in c]
    named = [m.label for m in A.comparisons[0].metrics if m.role == "guardrail"]
    assert [c.split(" (")[0] for c in guarded] == named and named
    assert all("p is for no change" in c for c in guarded)


def test_numbers_of_people_are_written_as_everywhere() -> None:
    runs = [("a", make_result(1, context={"users": 1500}, users=100))]
    runs.append(("b", make_result(2, context={"users": 300}, users=100)))
    assert "people (1,500, 300)" in render_comparison_html(runs)
