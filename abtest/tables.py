"""Format plain-text tables that stay readable at 80 columns, in ASCII and in pipes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abtest.run.contract.suite import CheckResult
    from policies.registry import PolicyRecord
    from simulator.logs.describe import Comparison, Statistic


_WIDTH = 80


def table(
    rows: Sequence[Sequence[str]],
    *,
    header: Sequence[str],
    right: Sequence[int] = (),
    wrapped: bool = False,
) -> str:
    """Align columns.

    Args:
        rows: Cells.
        header: Titles of the columns.
        right: Column numbers to align right.
        wrapped: Break the last column so that no line is longer than 80 characters.
    """
    everything = [list(header), *[list(row) for row in rows]]
    if wrapped:
        before = sum(2 + max(len(row[i]) for row in everything) for i in range(len(header) - 1))
        everything = _broken(everything, max(_WIDTH - before, 16))
    widths = [max(len(row[i]) for row in everything) for i in range(len(header))]
    lines = []
    for number, row in enumerate(everything):
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _broken(rows: list[list[str]], width: int) -> list[list[str]]:
    """Rows whose last cell has at most ``width`` characters; the rest goes into further rows."""
    found = []
    for row in rows:
        parts = textwrap.wrap(row[-1], width) or [""]
        found.append([*row[:-1], parts[0]])
        found += [[*[""] * (len(row) - 1), part] for part in parts[1:]]
    return found


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


def comparison_table(comparisons: Sequence[Comparison]) -> str:
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
        lines += textwrap.wrap(text, 80, subsequent_indent="  ")
    lines += ["", *fidelity_lines(comparisons)]
    return "\n".join(lines)


def _shortened(label: str, width: int) -> str:
    """At most ``width`` characters; what follows the last colon is kept."""
    if len(label) <= width:
        return label
    head, colon, tail = label.partition(": ")
    return head[: max(width - len(tail) - len(colon) - 2, 0)] + ".." + colon + tail


def fidelity_lines(comparisons: Sequence[Comparison]) -> list[str]:
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
        wrapped=True,
    )


def check_table(results: Sequence[CheckResult]) -> str:
    """`abtest policy check`."""
    return table(
        [("ok" if r.passed else "FAILED", r.name, r.detail) for r in results],
        header=("", "check", "detail"),
        wrapped=True,
    )
