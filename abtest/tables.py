"""Plain-text tables that stay readable at 80 columns, in ASCII and in pipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policies.check import CheckResult
    from policies.registry import PolicyRecord
    from simulator.logs.describe import Comparison, Statistic


def table(
    rows: Sequence[Sequence[str]], *, header: Sequence[str], right: Sequence[int] = ()
) -> str:
    """Align columns; ``right`` lists the column numbers to align right."""
    everything = [list(header), *[list(row) for row in rows]]
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
    """`abtest data describe --against kuaishou`."""
    return table(
        [
            (c.label[:40], number(c.simulated), number(c.published), number(c.ratio), c.verdict)
            for c in comparisons
        ],
        header=("statistic", "here", "published", "ratio", "verdict"),
        right=(1, 2, 3),
    )


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
