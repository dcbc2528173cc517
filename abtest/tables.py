"""Format plain-text tables that stay readable in any width, in ASCII and in pipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from reports.render.layout import text_width, wrap

if TYPE_CHECKING:
    from abtest.run.contract.suite import CheckResult
    from policies.registry import PolicyRecord
    from simulator.logs.checks.needs import Need
    from simulator.logs.describe import FigureComparison, Statistic

_GAP = "  "
_NARROWEST = 16
"""Cells of a column that wraps."""


def table(
    rows: Sequence[Sequence[str]],
    *,
    header: Sequence[str],
    right: Sequence[int] = (),
    width: int | None = None,
) -> str:
    """Align columns; cells wrap where the lines would be too long.

    Where even that does not fit, each row becomes a paragraph of "name: value" lines.

    Args:
        rows: Cells.
        header: Names of the columns.
        right: Numbers of the columns to align right; their cells do not wrap.
        width: In terminal cells; None takes the terminal's, or 80 when piped.
    """
    columns = text_width(width)
    everything = [list(header), *[list(row) for row in rows]]
    widths = [max(cell_len(row[i]) for row in everything) for i in range(len(header))]
    gaps = len(_GAP) * (len(widths) - 1)
    while sum(widths) + gaps > columns:
        widest = max((i for i in range(len(widths)) if i not in right), key=widths.__getitem__,
                     default=None)  # fmt: skip
        if widest is None or widths[widest] <= _NARROWEST:
            return _paragraphs(rows, header, columns)
        widths[widest] = max(widths[widest] - (sum(widths) + gaps - columns), _NARROWEST)
    lines = []
    for number, row in enumerate(everything):
        cells = [wrap(cell, room) for cell, room in zip(row, widths, strict=True)]
        for k in range(max(map(len, cells))):
            parts = [
                _padded(cell[k] if k < len(cell) else "", room, left=i not in right)
                for i, (cell, room) in enumerate(zip(cells, widths, strict=True))
            ]
            lines.append(_GAP.join(parts).rstrip())
        if number == 0:
            lines.append(_GAP.join("-" * room for room in widths))
    return "\n".join(lines)


def wrapped(text: str) -> list[str]:
    """Lines that fit the terminal, or 80 columns when piped."""
    return wrap(text, text_width(None), "", "  ")


def fitted(text: str) -> str:
    """A text whose lines fit the terminal; the rest of an indented line is further in."""
    width, lines = text_width(None), []
    for line in text.splitlines():
        body = line.lstrip()
        indent = line[: len(line) - len(body)]
        inside = indent + "    " if indent else ""
        lines += [line] if cell_len(line) <= width else wrap(body, width, indent, inside)
    return "\n".join(lines)


def facts(name: str, value: object) -> str:
    """A line or a few with what is known of something, without the marks of a programming language.

    Args:
        name: Of it.
        value: Numbers and texts, and dictionaries and lists of such.
    """
    return "\n".join(wrap(f"{name}: {_said(value)}", text_width(None), "  ", "    "))


def _said(value: object) -> str:
    match value:
        case dict():
            parts = ((k, _said(v), isinstance(v, dict)) for k, v in value.items())
            return ", ".join(f"{k} ({v})" if inner else f"{k} {v}" for k, v, inner in parts)
        case list() | tuple():
            return "[" + ", ".join(map(_said, value)) + "]"
        case bool() | None:
            return {True: "yes", False: "no", None: "n/a"}[value]
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def _padded(text: str, room: int, *, left: bool) -> str:
    space = " " * max(room - cell_len(text), 0)
    return text + space if left else space + text


def _paragraphs(rows: Sequence[Sequence[str]], header: Sequence[str], columns: int) -> str:
    lines: list[str] = []
    for row in rows:
        first, *others = zip(header, row, strict=True)
        lines += wrap(first[1] or "-", columns)
        for name, value in others:
            lines += wrap(f"{name}: {value}", columns, "  ", "    ") if value else []
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Four significant digits, thousands separated; a dash for None."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def statistics_table(statistics: Sequence[Statistic]) -> str:
    """`abtest data describe`."""
    return table(
        [(s.label, number(s.value), s.unit) for s in statistics],
        header=("statistic", "value", "unit"),
        right=(1,),
    )


def comparison_rows(comparisons: Sequence[FigureComparison]) -> list[dict[str, object]]:
    """`abtest data describe --against kuaishou --json`: every figure, as plain values."""
    return [
        {
            "name": c.published.name,
            "label": c.published.label,
            "simulated": c.simulated,
            "published": c.published.value,
            "ratio": c.ratio,
            "verdict": c.verdict,
            "tolerance": c.published.tolerance,
            "at_least": c.published.at_least,
            "role": c.published.role,
            "entry": c.published.entry,
            "unit": c.published.unit,
            "definition": c.published.definition,
            "source": c.published.source,
            "note": c.published.note,
        }
        for c in comparisons
    ]


def comparison_table(comparisons: Sequence[FigureComparison]) -> str:
    """`abtest data describe --against kuaishou`: every figure, why some are off, the counts."""
    from simulator.logs.describe import reasons

    lines = [
        table(
            [
                (
                    _shortened(c.published.label, 31),
                    number(c.simulated),
                    number(c.published.value),
                    number(c.ratio),
                    c.published.role,
                    "-" if c.verdict == "not measured" else c.verdict,
                )
                for c in comparisons
            ],
            header=("statistic", "here", "published", "ratio", "role", "verdict"),
            right=(1, 2, 3),
        ),
        "",
    ]
    for label, why in reasons(comparisons).items():
        text = f"{label} is off: {why}."
        lines += wrapped(text)
    lines += ["", *fidelity_lines(comparisons)]
    return "\n".join(lines)


def _shortened(label: str, width: int) -> str:
    """At most ``width`` characters; what follows the last colon is kept."""
    if len(label) <= width:
        return label
    head, colon, tail = label.partition(": ")
    return head[: max(width - len(tail) - len(colon) - 2, 0)] + ".." + colon + tail


def fidelity_lines(comparisons: Sequence[FigureComparison]) -> list[str]:
    """One line per role: how many figures are close."""
    from simulator.logs.describe import summary

    meaning = {
        "fitted": "rates within 5 %, other figures within 10 %",
        "input": "drawn from directly; the same bounds",
        "held out": "kept out of the fit; within 20 %",
    }
    lines = []
    for role, counts in summary(comparisons).items():
        measured = counts["close"] + counts["off"]
        missing = counts["not measured"]
        lines.append(
            f"{role:<9} {counts['close']} of {measured} close ({meaning[role]})"
            + (f"; {missing} not measured" if missing else "")
        )
    return lines


def policy_table(records: Sequence[PolicyRecord]) -> str:
    """`abtest policy list`."""
    return table(
        [(r.name, " + ".join(r.ranks), r.summary) for r in records],
        header=("policy", "ranks", "summary"),
    )


def check_table(results: Sequence[CheckResult]) -> str:
    """`abtest policy check`."""
    return table(
        [("ok" if r.passed else "FAILED", r.name, r.detail) for r in results],
        header=("", "check", "detail"),
    )


def needs_table(found: Sequence[Need]) -> str:
    """What a dataset is good for: `abtest data check` and `abtest data import`."""
    return table(
        [
            (n.command, "yes" if n.possible else "no", n.why_not or (n.remark and f"({n.remark})"))
            for n in found
        ],
        header=("command", "possible", "why not"),
    )
