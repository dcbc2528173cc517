"""Write `abtest evaluate --html`: the tables of the terminal as a page in the report's look."""

from __future__ import annotations

from collections.abc import Sequence

from abtest.evaluate.results import TaskResult
from abtest.evaluate.tables import (
    COMPARED,
    DWELL_R,
    difference_cells,
    interval_cells,
    metric_cells,
)
from reports.render.page import PageSection, PageTable, render_page


def evaluation_page(results: Sequence[TaskResult], command: str) -> str:
    """The page as text."""
    return render_page(
        "Offline evaluation",
        [_section(result) for result in results],
        kicker="Offline ranking metrics",
        facts="Policies rank what people chose next. Nobody is simulated.",
        command=command,
        footer="An offline metric says how a policy ranks a log, not how people would react to it.",
    )


def _section(result: TaskResult) -> PageSection:
    title = result.task.capitalize()
    if result.problem:
        return PageSection(title, (f"No table: {result.problem}",))
    sentences = [result.protocol_sentence()]
    if result.candidates_note:
        sentences.append(f"Sampled candidates, {result.candidates_note}.")
    sentences += [f"Left out: {sentence}." for sentence in result.left_out]
    names = {p.label: p.label for p in result.policies}
    tables = [
        _table("Metrics (R: Recall, N: NDCG, cov: coverage)", *metric_cells(result, names)),
        _table("95 % intervals and standard errors", *interval_cells(result, names)),
    ]
    for name in (COMPARED, DWELL_R):
        header, rows = difference_cells(name, result, names)
        if rows:
            tables.append(_table(f"Compared with {result.reference}: {name}", header, rows))
    return PageSection(title, sentences, tables)


def _table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> PageTable:
    return PageTable(caption, header, rows, right=range(1, len(header)))
