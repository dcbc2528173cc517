"""What an import did: read, kept, repaired, rejected, per table."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TableReport:
    """Counts of one table.

    Attributes:
        table: Name in the dataset.
        files: Names of the files it came from.
        read, kept, rejected: Rows.
        repaired: Reason to number of values changed, such as "duration 0 to unknown".
        unused: Columns of the files that the dataset has no place for.
        rejections: The first few reasons, with file and line.
    """

    table: str
    files: list[str] = field(default_factory=list)
    read: int = 0
    kept: int = 0
    rejected: int = 0
    repaired: dict[str, int] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)

    def repair(self, reason: str, count: int) -> None:
        """Count values that were changed."""
        if count:
            self.repaired[reason] = self.repaired.get(reason, 0) + count


@dataclass
class ImportReport:
    """Everything an import did.

    Attributes:
        format: "kuairand" or "kuaicomt".
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
            lines += [f"  repaired: {reason}: {n:,}" for reason, n in t.repaired.items()]
            lines += [f"  rejected: {reason}" for reason in t.rejections]
            if t.unused:
                lines.append(f"  columns not used: {', '.join(t.unused)}")
        lines += [f"not used: {name}" for name in self.ignored]
        return "\n".join(lines)
