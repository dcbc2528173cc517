from __future__ import annotations

import base64
import csv
import dataclasses
import io
import itertools
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports.interference_parts import Interference
from reports.render.charts import ROW_WIDTH, row_bar
from reports.render.html import render_html, write_html
from reports.render.svg import Domain, lift_domain
from reports.render.templating import figures, options, unbroken
from reports.results import Estimate, ExperimentResult
from reports.verdict.words import sentence
from tests.reports.conftest import make_result

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
VOID = {"meta", "link", "br", "img", "input", "hr", "col"}
ATTACK = "<script>alert(1)</script>\"'>{{ 7*7 }}"


class Page(HTMLParser):
    """Parses strictly: every element is closed in order; collects what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.parents: list[str] = []
        self.text_of: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.stack, f"never closed: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parents.append(self.stack[-1] if self.stack else "")
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parents.append(self.stack[-1])
        self.elements.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack[-1] == tag, f"</{tag}> closes {self.stack[-3:]}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        for tag in set(self.stack):
            self.text_of.setdefault(tag, []).append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str = "body") -> str:
        return " ".join(" ".join(self.text_of.get(tag, [])).split())


@pytest.fixture(scope="module")
def html(result: ExperimentResult) -> str:
    return render_html(result)


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def attacked() -> ExperimentResult:
    context: dict[str, Any] = {
        "command": ATTACK,
        "configuration": ATTACK,
        ATTACK: ATTACK,
        "policies": {ATTACK: {ATTACK: ATTACK}},
        "environment": {"kind": ATTACK, "fidelity": [{"label": ATTACK, "verdict": ATTACK}]},
    }
    found = make_result(arms={ATTACK: 1.0, f"b{ATTACK}": 1.2}, users=200, context=context)
    return dataclasses.replace(found, title=ATTACK, warnings=(ATTACK,))


def test_the_report_is_one_self_contained_file(html: str, page: Page) -> None:
    assert html.startswith("<!doctype html>")
    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "http" not in re.sub(r"http-equiv", "", re.sub(r"base64,[\w+/=]+", "", html))
    assert "url(" not in html and "@import" not in html
    assert len(html.encode()) < 400_000


def test_parts_are_in_order(page: Page, result: ExperimentResult) -> None:
    text = page.text("main")
    first = sentence(result, result.comparisons[0]).split("(")[0].strip()
    parts = [
        " ".join(first.replace(" %", "\u00a0%").split()),
        "factor by factor",
        "Checks",
        "Primary metric",
        "Guardrails",
        "must not rise by more than 10",
        "Secondary metrics",
        "Day by day",
        "Segments",
        "Distribution over users",
        "For the statistician",
        "Reproduce",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_references_and_identities_hold(page: Page) -> None:
    identities = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identities) == len(set(identities))
    for _, attributes in page.elements:
        for name in attributes.get("aria-labelledby", "").split():
            assert name in identities
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in identities


def test_tables_and_charts_are_readable_without_eyes(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption") > 3
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    charts = page.all("svg")
    assert len(charts) > 10
    assert all(chart["role"] == "img" and chart["aria-labelledby"] for chart in charts)
    titles = [p for p, (tag, _) in zip(page.parents, page.elements, strict=True) if tag == "title"]
    assert titles.count("svg") == len(charts)
    assert {"header", "main", "footer"} <= set(tags)
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_text_from_plugins_is_text(attacked: ExperimentResult) -> None:
    html = render_html(attacked)
    assert "<script" not in html.lower()
    page = Page(html)
    assert not page.all("script")
    for place in ("h1", "pre", "dt", "td", "li", "desc", "caption"):
        assert "<script>alert(1)</script>" in page.text(place), place
    assert "{{ 7*7 }}" in page.text("h1")


def test_every_row_shows_the_correction_of_its_record(
    page: Page, html: str, result: ExperimentResult
) -> None:
    table = html.index('id="c1-secondary-caption"')
    for metric in result.comparisons[0].metrics:
        if metric.role != "secondary":
            continue
        start = html.index(f'<th scope="row">{metric.label}<small>', table)
        row = html[start : html.index("</tr>", start)].replace("\u00a0", " ").replace("−", "-")
        assert metric.relative is not None and metric.relative.low is not None
        assert f"{100 * metric.relative.low:+.1f} to" in row
        level = re.search(r"\(([\d.]+) % CI\)", row)
        assert level is not None
        assert float(level[1]) == pytest.approx(
            100 * metric.confidence, abs=5.0 * (1.0 - metric.confidence) + 1e-9
        )
        assert metric.outcome in re.sub(r"<svg.*?</svg>", "", row, flags=re.S)
    assert "Holm, 9 metrics" in page.text("caption")


def test_equal_results_give_equal_bytes(result: ExperimentResult, tmp_path: Path) -> None:
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    write_html(result, first)
    write_html(ExperimentResult.from_json(result.to_json()), second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_failed_write_leaves_the_old_report_whole(
    result: ExperimentResult, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = dataclasses.replace(result, design="astrology")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="astrology"):
        write_html(broken, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_data_can_be_taken_out_again(page: Page, result: ExperimentResult) -> None:
    links = {a["download"]: a["href"] for a in page.all("a") if "download" in a}
    documents = {
        name: base64.b64decode(address.partition("base64,")[2]).decode()
        for name, address in links.items()
    }
    assert ExperimentResult.from_json(documents["results.json"]) == result
    rows = list(csv.DictReader(io.StringIO(documents["metrics.csv"])))
    metrics = result.comparisons[0].metrics
    assert [row["metric"] for row in rows] == [m.metric for m in metrics]
    for row, metric in zip(rows, metrics, strict=True):
        assert float(row["p_adjusted"]) == metric.p_adjusted
        assert float(row["control_value"]) == metric.control.value
        assert row["simulated"] == "yes"


def test_csv_text_is_no_formula() -> None:
    page = Page(render_html(make_result(arms={"=1+1": 1.0, "@x": 1.0}, users=100)))
    address = next(a["href"] for a in page.all("a") if a.get("download") == "metrics.csv")
    rows = csv.DictReader(io.StringIO(base64.b64decode(address.partition("base64,")[2]).decode()))
    assert {(row["treatment"], row["control"]) for row in rows} == {("'@x", "'=1+1")}


def test_every_treatment_has_its_sections() -> None:
    page = Page(render_html(make_result(arms={"a": 1.0, "b": 1.1, "c": 0.8}, users=200)))
    assert page.text("h3").count("Primary metric") == 2
    assert {"Verdicts"} & {page.text("h2").split()[0]}
    assert page.text("main").index("Other metrics") < page.text("main").index("Checks")


def test_simulated_is_said_only_of_simulated_people(page: Page) -> None:
    assert "(simulated)" in page.text("title") and "Simulated experiment" in page.text("header")
    real = Page(render_html(make_result(simulated=False, users=200)))
    assert "imulated" not in real.text("body")


def test_missing_numbers_are_never_nan(result: ExperimentResult) -> None:
    first = result.comparisons[0]
    nothing = Estimate(math.nan, math.nan, math.inf)
    unbounded = Estimate(0.1, None, None)
    metrics = tuple(
        dataclasses.replace(
            metric,
            relative=(nothing, unbounded, None)[number % 3],
            absolute=nothing,
            p_adjusted=math.nan,
            detectable_effect=math.inf,
            variance_reduction=None,
        )
        for number, metric in enumerate(first.metrics)
    )
    comparison = dataclasses.replace(
        first,
        metrics=metrics,
        daily=tuple(dataclasses.replace(d, lift=nothing, cumulative=None) for d in first.daily),
        segments=tuple(dataclasses.replace(s, relative=nothing) for s in first.segments),
        distributions=tuple(
            dataclasses.replace(d, zero_share=math.nan) for d in first.distributions
        ),
    )
    html = render_html(
        dataclasses.replace(result, comparisons=(comparison,), context={"loss": math.nan})
    )
    page = Page(html)
    assert "n/a" in page.text("td")
    without_data = re.sub(r"base64,[\w+/=]+", "", html)
    assert not re.search(r"\b(nan|inf|infinity|none)\b", page.text("body"), re.I)
    assert not re.search(r'="[^"]*\b(nan|inf)\b', without_data)


def test_a_learned_environment_shows_its_held_out_quality(quality: dict[str, Any]) -> None:
    context = {"environment": {"kind": "learned from the log", "quality": quality}}
    page = Page(render_html(make_result(context=context, users=200)))
    cells = page.text("td")
    assert "0.7312" in cells and "constant" in cells and "8,800" in cells
    assert "Calibration error" in page.text("th") and "Held-out AUC" in page.text("th")
    assert "held-out AUC 0.73" in page.text("li")


def test_the_built_in_worlds_fidelity_and_training_are_shown(page: Page) -> None:
    assert "published statistics: 1 of 1 fitted" in page.text("li")
    assert "beside published statistics" in page.text("caption")
    assert "0.1234" in page.text("td") and "stages[0].loss" in page.text("th")
    assert "a1f3c0ffee" in page.text("td") and "abtest run --treatment lsvcr" in page.text("pre")


@pytest.mark.parametrize("facts", [None, 5, [], "x", {"quality": 3, "fidelity": {"a": 1}}, {}])
def test_any_context_can_be_shown(result: ExperimentResult, facts: Any) -> None:
    context = {"environment": facts, "policies": facts, "data": facts, "versions": facts}
    Page(render_html(dataclasses.replace(result, context=context)))


def test_an_experiment_without_extras_can_be_shown(result: ExperimentResult) -> None:
    bare = dataclasses.replace(
        result.comparisons[0], metrics=(), daily=(), segments=(), distributions=()
    )
    for comparisons in ((), (bare,)):
        Page(render_html(dataclasses.replace(result, comparisons=comparisons, health=())))


def test_long_experiments_stay_small() -> None:
    result = make_result(users=60)
    first = result.comparisons[0]
    days = tuple(dataclasses.replace(first.daily[0], day=day) for day in range(365))
    segments = (
        tuple(dataclasses.replace(first.segments[0], level=str(n)) for n in range(60))
        if (first.segments)
        else ()
    )
    long = dataclasses.replace(first, daily=days, segments=segments)
    context = {
        "policies": {"x": {"curve": list(range(5000)), "n": {str(k): k for k in range(900)}}}
    }
    html = render_html(dataclasses.replace(result, comparisons=(long,), context=context))
    assert len(html.encode()) < 500_000


def test_bars_share_one_scale() -> None:
    domain = Domain(-0.1, 0.1)
    left = row_bar(Estimate(-0.05, None, None), "not clear", domain, "a", "A")
    right = row_bar(Estimate(0.05, None, None), "not clear", domain, "b", "B")
    positions = [float(re.findall(r'cx="([\d.]+)"', image)[0]) for image in (left, right)]
    assert sum(positions) == pytest.approx(ROW_WIDTH)
    assert positions[1] - positions[0] == pytest.approx((ROW_WIDTH - 20) / 2, abs=0.2)


def test_outcomes_differ_in_shape_and_word() -> None:
    images = [
        re.sub(r'class="[^"]*"', "", row_bar(Estimate(0.0, -0.01, 0.01), w, Domain(-1, 1), "i", ""))
        for w in ("better", "worse", "not clear", "within margin")
    ]
    shapes = [re.findall(r"<(?:path|circle)[^>]*>", image)[0] for image in images]
    assert len(set(shapes)) == 4
    assert "worse" in images[1] and "not clear" in images[2]


def test_only_columns_of_numbers_are_set_to_the_right() -> None:
    rows = [("ease", "325,805", "yes", "+0.3 %", "n/a", "10 % of the places"),
            ("itemknn", "1.02", "no", "n/a", "–", "2 to 3 days")]  # fmt: skip
    assert figures(rows) == {1, 3}
    text = (EXAMPLES / "replay" / "results.json").read_text(encoding="utf-8")
    page = Page(render_html(ExperimentResult.from_json(text)))
    styles = {a["data-label"]: a.get("class") for t, a in page.elements if "data-label" in a}
    assert styles["Why"] is None and styles["Mean weight"] == "n"


def test_no_line_ends_between_a_number_and_its_unit(html: str) -> None:
    assert unbroken("at 80 % power, 5 s per day, 3 signs") == (
        "at 80\u00a0% power, 5\u00a0s per day, 3 signs"
    )
    assert "80 % power" not in html and "80\u00a0% power" in html
    assert options("a <b>: --assume-retrain trains") == (
        'a &lt;b&gt;: <span class="option">--assume-retrain</span> trains'
    )


def test_what_has_no_interval_shows_no_level() -> None:
    text = (EXAMPLES / "replay" / "results.json").read_text(encoding="utf-8")
    page = render_html(ExperimentResult.from_json(text))
    assert "no data" in page
    assert not re.search(r"n/a \(|CI n/a", page)
    page = re.sub(r"<(title|desc) .*?</\1>", "", page)
    assert not re.search(r"(?<![\w.])-\d[\d.]* (to|%|\u00a0%)", page), "ASCII minus signs"


def test_one_wild_interval_does_not_flatten_the_others() -> None:
    tame = [Estimate(0.01, 0.0, 0.02)] * 4
    domain = lift_domain([*tame, Estimate(5.0, -20.0, 30.0)])
    assert domain.high < 0.1 and domain.low > -0.1
    image = row_bar(Estimate(5.0, -20.0, 30.0), "not clear", domain, "i", "wild")
    assert image.count("<path") == 2  # arrow heads on both sides


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((-0.013, 0.041), (-1.0, 1.0), (0.0, 0.0003)):
        ticks = Domain(low, high).ticks()
        assert 2 <= len(ticks) <= 8 and all(low <= t <= high for t in ticks)
        steps = {round(b - a, 9) for a, b in itertools.pairwise(ticks)}
        assert len(steps) == 1


def test_methods_do_not_contradict_what_the_report_shows(result: ExperimentResult) -> None:
    independent = "Users do not influence each other"
    assert independent in render_html(result)
    shared = dataclasses.replace(
        result, interference=Interference({"supply": 0.3}, 100, 1, 16.0, 0.95, ())
    )
    page = render_html(shared)
    assert independent not in page and "users influence each other" in page
    one = render_html(make_result(users=100))
    several = render_html(make_result(arms={"a": 1.0, "b": 1.3, "c": 0.7}, users=100))
    assert "Primary metric: uncorrected." in one
    assert "Primary metric: Holm, 2 treatments." in several


def test_a_run_of_one_day_explains_no_days() -> None:
    several = make_result(users=100)
    (comparison,) = several.comparisons
    one = dataclasses.replace(comparison, daily=comparison.daily[:1], novelty=None)
    page = render_html(dataclasses.replace(several, comparisons=(one,)))
    assert "confidence sequence" in render_html(several)
    assert "confidence sequence" not in page and "at one look" not in page
