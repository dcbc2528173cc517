"""Write `abtest power --html` and `abtest aa --html`: their tables in the report's look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from abtest.power.tables import aa_cells, aa_facts, power_cells, power_facts
from reports.render.page import PageSection, PageTable, render_page

if TYPE_CHECKING:
    from abtest.power.planning import Answer, Asked
    from reports.analysis.calibration import CalibrationReport


def power_page(rows: Sequence[Answer], asked: Asked, name: str, command: str) -> str:
    """The page as text."""
    header, body = power_cells(rows, asked)
    problems = [f"{row.metric}: {row.problem}" for row in rows if row.problem]
    table = PageTable("One row per metric", header, body, right=range(1, len(header)))
    return render_page(
        "Plan of an experiment",
        [
            PageSection("Answer", (power_facts(asked, name),), (table,) if body else ()),
            *([PageSection("Not answered", problems)] if problems else []),
        ],
        kicker="Power analysis",
        facts="Users are those of all arms together; sd/user is after what covariates removed.",
        command=command,
    )


def aa_page(report: CalibrationReport, name: str, command: str) -> str:
    """The page as text."""
    header, body = aa_cells(report)
    table = PageTable("False alarms per metric", header, body, right=(1, 2, 3, 4))
    return render_page(
        "A/A check",
        [PageSection("False alarms", (aa_facts(report, name),), (table,))],
        kicker="A/A check of the whole analysis",
        facts="Everybody was treated alike: every alarm is false.",
        command=command,
    )
