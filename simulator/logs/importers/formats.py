"""Describe a format: which files play which role, and what their columns are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from simulator.logs.importers.fields import Column
from simulator.tables import Batch

Adjust = Callable[[Batch], pl.DataFrame]
PACKED = r"(\.gz|\.zst|\.bz2|\.xz)?"


@dataclass(frozen=True, eq=False)
class Role:
    """Files that hold the same thing.

    Attributes:
        name: A table of the dataset, or ``captions``, ``categories`` or ``tags``, which add a
            column to its videos.
        pattern: Of whole file names, without ``.gz`` and the like.
        columns: What their columns become.
        delimiter: Between cells; None finds out.
        names: Column names of files without a header; a file with one is recognised by it.
        adjust: The rows of a batch of typed columns, where a map cannot say what they are.
        made: Columns that ``adjust`` makes, and their types.
        remark: What a user should know about them.
        by_columns: Whether a file's name says too little, so that its columns must tell.
        encoding: If the format has a usual one that is not UTF-8.
    """

    name: str
    pattern: str
    columns: Sequence[Column]
    delimiter: str | None = None
    names: Sequence[str] | None = None
    adjust: Adjust = lambda batch: batch.frame
    encoding: str | None = None
    made: Mapping[str, pl.DataType] = field(default_factory=dict)
    remark: str = ""
    by_columns: bool = False

    def matches(self, name: str) -> bool:
        """Whether a file of that name plays this role."""
        return re.fullmatch(self.pattern + PACKED, name) is not None

    @property
    def table(self) -> str:
        """The table of the dataset that it adds to."""
        return "videos" if self.name in ("captions", "categories", "tags") else self.name


@dataclass(frozen=True)
class Format:
    """A published layout.

    Attributes:
        name: As given to ``--format``.
        title: For people.
        licence: Under which terms its publisher gives the data away.
        roles: A file may play several of different names, as where an interaction is a comment;
            of one name the first match counts.
        recognise: Columns of a single log file that tell this format.
        language: Of its texts.
        seen: What of it this project has seen as real files.
    """

    name: str
    title: str
    licence: str
    roles: Sequence[Role]
    recognise: Sequence[str] = ()
    language: str | None = None
    seen: str = ""

    def assign(self, paths: Sequence[Path]) -> tuple[dict[Role, list[Path]], list[Path]]:
        """Files by role, and those that have none."""
        assigned: dict[Role, list[Path]] = {}
        left = []
        for path in paths:
            roles: dict[str, Role] = {}
            for role in self.roles:
                if role.matches(path.name):
                    roles.setdefault(role.name, role)
            for role in roles.values():
                assigned.setdefault(role, []).append(path)
            if not roles:
                left.append(path)
        return assigned, left
