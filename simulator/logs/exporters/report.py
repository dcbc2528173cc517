"""Report what an export did: files and rows, and what the format has no place for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ExportReport:
    """Everything an export did.

    Attributes:
        format: "kuairand" or "kuaicomt".
        rows: File name to rows written.
        left_out: Table to its columns that the format cannot carry.
        remarks: Sentences about rows left out and values made coarser.
    """

    format: str
    rows: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def render(self) -> str:
        """Lines for people."""
        lines = [f"format: {self.format}"]
        lines += [f"{name}: {rows:,} rows" for name, rows in self.rows.items()]
        lines += [
            f"not carried: {table}: {', '.join(columns)}"
            for table, columns in self.left_out.items()
        ]
        lines += [f"note: {remark}" for remark in self.remarks]
        return "\n".join(lines)
