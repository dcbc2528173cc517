"""Write a replay's run directory: results.json, report.html, plan.json."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from abtest.files import new_directory, write_text
from abtest.replay.ask import ReplayOptions
from abtest.version import __version__
from reports.render.html import write_html
from reports.results import ExperimentResult


def write_run(result: ExperimentResult, asked: ReplayOptions, path: Path) -> None:
    """The directory, complete or absent."""
    plan = {"abtest_version": __version__, "replay": dataclasses.asdict(asked)}
    with new_directory(path) as temporary:
        write_text(temporary / "plan.json", json.dumps(plan, indent=1, sort_keys=True) + "\n")
        write_text(temporary / "results.json", result.to_json())
        write_html(result, temporary / "report.html")
