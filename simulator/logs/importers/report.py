"""Report what an import did: rows read, kept, repaired and rejected, per table."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.tables import Tally


@dataclass
class TableReport(Tally):
    """Counts of one table, beside those of its `Tally`.

    Attributes:
        table: Name in the dataset.
        files: Names of the files it came from, and how they are written.
        kept: Rows.
        repeated: Rows that repeat an identifier; they are among the rejected.
        added: Rows of people, videos or comments that the log mentions and the files do not.
        unused: Columns of the files that the dataset has no place for.
        placeholders: Columns whose values stand for "unknown".
        remarks: Sentences about the table.
    """

    table: str = ""
    files: list[str] = field(default_factory=list)
    kept: int = 0
    added: int = 0
    unused: list[str] = field(default_factory=list)
    repeated: int = 0
    placeholders: dict[str, object] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass
class ImportReport:
    """Everything an import did.

    Attributes:
        format: "kuairand", "map", ...
        tables: In the order of the dataset.
        ignored: Files that were found but not used, with the reason.
    """

    format: str
    tables: list[TableReport]
    ignored: list[str] = field(default_factory=list)

    def render(self) -> str:
        """Lines for people."""
        lines = [f"format: {self.format}"]
        for t in self.tables:
            source = ", ".join(t.files) if t.files else "made from the log"
            lines.append(f"{t.table}: {source}")
            counts = f"  read {t.read:,}, kept {t.kept:,}, rejected {t.rejected:,}"
            lines.append(counts)
            lines += [
                f"  repaired: {reason}: {n:,} value{'' if n == 1 else 's'}"
                for reason, n in t.repaired.items()
            ]
            if t.added:
                rows = f"{t.added:,} row{'' if t.added == 1 else 's'}"
                lines.append(f"  added: {rows} for what only the log mentions")
            lines += [f"  rejected: {reason}" for reason in t.examples]
            lines += [
                f"  unknown: the source has no {name}; {value} stands in every row"
                for name, value in t.placeholders.items()
            ]
            lines += [f"  {remark}" for remark in t.remarks]
            if t.unused:
                lines.append(f"  columns not used: {', '.join(t.unused)}")
        lines += [f"not used: {name}" for name in self.ignored]
        return "\n".join(lines)
