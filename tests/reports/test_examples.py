"""docs/examples show what the program writes today."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from reports.formats import arm_values
from reports.render.download import to_csv
from reports.render.html import render_html
from reports.render.markdown import render_markdown
from reports.render.terminal import render
from reports.results import ExperimentResult
from simulator.world.world import WORLD_VERSION

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
EXAMPLES = sorted(path for path in FOLDER.iterdir() if path.is_dir())


def stored(folder: Path) -> ExperimentResult:
    return ExperimentResult.from_json((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_what_its_results_give(folder: Path) -> None:
    """If this fails: python -m benchmarks.upkeep.examples --render, and look at the difference."""
    result = stored(folder)
    assert (folder / "report.md").read_text(encoding="utf-8") == render_markdown(result)
    assert render_html(result).startswith("<!doctype html>")


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_of_the_present_world(folder: Path) -> None:
    """If this fails: python -m benchmarks.upkeep.examples, and look at the difference."""
    environment = stored(folder).context.get("environment")
    if folder.name in ("split-broken", "replay"):
        assert environment is None, "a table or a log that was analysed"
        return
    assert environment["world"]["world_version"] == WORLD_VERSION


def test_there_is_an_example_of_every_way_to_come_out() -> None:
    results = {path.name: stored(path) for path in EXAMPLES}
    states = {name: result.comparisons[0].verdict for name, result in results.items()}
    assert states["better"].state == "better"
    assert states["not-clear"].state == "not clear"
    assert states["guardrail-broken"].broken
    assert states["split-broken"].finding == "check failed"
    assert states["a-a"].state in ("as expected", "false alarm")
    assert len(results["several-arms"].comparisons) == 3
    assert results["twin"].design == "twin"
    assert results["replay"].context["replay"]
    assert results["assumed"].assumptions is not None


def test_a_control_arm_shows_one_value_of_a_metric_everywhere() -> None:
    """Lifts may be adjusted, each comparison in its own way; what an arm did is one number."""
    result = stored(FOLDER / "several-arms")
    spaced = str.maketrans("\u00a0", " ")
    shown = {
        "page": re.sub(r"<[^>]+>", " ", render_html(result)).translate(spaced),
        "Markdown": render_markdown(result).translate(spaced),
        "terminal": render(result, width=80, encoding="utf-8", color=False),
    }
    rows = list(csv.DictReader(io.StringIO(to_csv(result))))
    for metric in result.comparisons[0].metrics:
        name, arm = metric.metric, metric.control
        same = [next(m for m in c.metrics if m.metric == name) for c in result.comparisons]
        assert {(m.control.value, m.control.users) for m in same} == {(arm.value, arm.users)}
        assert len({m.control.adjusted for m in same}) == 3, "adjusted for each comparison"
        assert {float(r["control_value"]) for r in rows if r["metric"] == name} == {arm.value}
        for m in same:
            value = arm_values((m.control, m.treatment), m.unit)[0]
            for where, text in shown.items():
                assert text.count(value) >= 1, (where, name, value)
