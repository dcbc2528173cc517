"""Write a replay's run directory: results.json, report.html, plan.json."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from abtest.replay.ask import ReplayOptions
from abtest.version import __version__
from reports.render.html import write_html
from reports.results import ExperimentResult


def write_run(result: ExperimentResult, asked: ReplayOptions, path: Path) -> None:
    """The directory, complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir()
    plan = {"abtest_version": __version__, "replay": dataclasses.asdict(asked)}
    text = json.dumps(plan, indent=1, sort_keys=True) + "\n"
    (temporary / "plan.json").write_text(text, encoding="utf-8", newline="\n")
    (temporary / "results.json").write_text(result.to_json(), encoding="utf-8", newline="\n")
    write_html(result, temporary / "report.html")
    temporary.rename(path)
