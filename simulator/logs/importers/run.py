"""Import files of a known format, or with a map, as a dataset directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import polars as pl

from simulator.errors import DataError
from simulator.logs.dataset import DatasetWriter
from simulator.logs.importers.assemble import NAMES, Seen, write_events, write_keyed
from simulator.logs.importers.fields import Field
from simulator.logs.importers.formats import Format, Role
from simulator.logs.importers.kuaishou import KUAICOMT, KUAIRAND
from simulator.logs.importers.mapping import header_of, read_map, work_of
from simulator.logs.importers.public.kuairec import KUAIREC
from simulator.logs.importers.public.kuaisar import KUAISAR
from simulator.logs.importers.public.microlens import MICROLENS
from simulator.logs.importers.public.ratings import AMAZON, MOVIELENS, RECBOLE
from simulator.logs.importers.public.tenrec import TENREC
from simulator.logs.importers.public.vk_lsvd import VK_LSVD
from simulator.logs.importers.query import query_result
from simulator.logs.importers.report import ImportReport, TableReport
from simulator.logs.importers.staging import Staged, stage
from simulator.logs.schema import TABLES
from simulator.progress import Meter, Report, split
from simulator.tables import BadRows, Table, is_table_name, nearby, open_table, parse_mark

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        KUAIRAND, KUAICOMT, KUAIREC, KUAISAR, MICROLENS, VK_LSVD, TENREC, MOVIELENS, AMAZON, RECBOLE
    )
}  # fmt: skip
_KEYS = {"impressions": "user_id", "comment_events": "user_id", "users": "user_id",
         "videos": "video_id", "captions": "video_id", "categories": "video_id", "tags": "video_id",
         "comments": "comment_id"}  # fmt: skip
_READING = 0.7
"""Share of an import's time that reading takes, about; writing sorted tables is the rest."""
_QUERYING = 0.5
"""Share that a query takes before, about: it depends on the query."""
_NOTES = ("readme", "source", "license", "licence")
_EXTRAS = {"captions": "caption", "categories": "category", "tags": "tags"}


@dataclass(frozen=True)
class Work:
    """What an import reads.

    Attributes:
        format: Its name and licence.
        files: Role to the tables that play it.
        ignored: Names of files that play none.
    """

    format: Format
    files: dict[Role, list[Table]]
    ignored: list[str]


def import_logs(
    source: Path | Sequence[Path],
    target: Path,
    *,
    format: str = "auto",
    bad_rows: BadRows = "fail",
    encoding: str | None = None,
    decimal: str | None = None,
    overwrite: bool = False,
    further: Mapping[str, Format] | None = None,
    report: Report | None = None,
) -> ImportReport:
    """Import a log file, or a directory of them with features of users, videos and comments.

    Files stream through typed chunks beside the target, people and identifiers in blocks. Memory
    grows with the numbers of people and of videos (16 bytes each), not with the log.

    Args:
        source: A file or a directory, or several.
        target: Dataset directory to create.
        format: A name of `FORMATS`; "auto" recognises it by file names and columns.
        bad_rows: "fail" on files with rows that cannot be read, or "skip" and count them.
        encoding: Of text files that are neither UTF-8 nor UTF-16.
        decimal: The decimal mark of text files, a comma or a point; None finds out.
        overwrite: Replace an existing dataset.
        further: Formats besides `FORMATS`, by name: those of installed packages.
        report: Told the share that is done: bytes of the files read, then rows written.

    Raises:
        DataError: nothing to import, or bad input; nothing is written then.
    """
    sources = [Path(source)] if isinstance(source, str | Path) else [Path(s) for s in source]
    mark = None if decimal is None else parse_mark(decimal)
    work = plan(sources, format, encoding, further or {})
    for table in (table for tables in work.files.values() for table in tables):
        table.decimal = mark
    return run(
        work,
        target,
        name=sources[0].name,
        bad_rows=bad_rows,
        overwrite=overwrite,
        report=report,
    )


def import_mapped(
    sources: Sequence[Path],
    target: Path,
    map_file: Path,
    *,
    sql: str | None = None,
    bad_rows: BadRows = "fail",
    encoding: str | None = None,
    decimal: str | None = None,
    overwrite: bool = False,
    report: Report | None = None,
) -> ImportReport:
    """Import any tables with a map of their columns, see `simulator.logs.importers.mapping`.

    Args:
        sources: Files and directories; each is one table.
        target: Dataset directory to create.
        map_file: The map.
        sql: A query whose result is one more table; its file name is ``query.parquet``.
        bad_rows: As of `import_logs`.
        encoding: As of `import_logs`.
        decimal: As of `import_logs`.
        overwrite: As of `import_logs`.
        report: As of `import_logs`.

    Raises:
        DataError: a fault of the map (file, line, entry) or of a file (file, line, column).
        MissingPackage: ``sql`` without duckdb.
    """
    found = read_map(Path(map_file))
    asking, importing = (report, report) if sql is None else split(report, _QUERYING)
    with query_result(sql, Path(target), asking) as queried:
        tables = [
            open_table(s, encoding=encoding, names=header_of(found, s), decimal=decimal)
            for s in [*map(Path, sources), *queried]
        ]
        if not tables:
            raise DataError("no file is named.", "Name files, or a query: --sql")
        layout, files = work_of(found, tables)
        first = tables[0].files[0].name if not sources else Path(sources[0]).name
        name = str(found.settings.get("name", first))
        work = Work(layout, files, [])
        return run(
            work, target, name=name, bad_rows=bad_rows, overwrite=overwrite, report=importing
        )


def run(
    work: Work,
    target: Path,
    *,
    name: str,
    bad_rows: BadRows = "fail",
    overwrite: bool = False,
    report: Report | None = None,
) -> ImportReport:
    """Import what is planned.

    Raises:
        DataError: bad input; nothing is written then.
    """
    files = [file for tables in work.files.values() for table in tables for file in table.files]
    reading = Meter(report, sum(file.stat().st_size for file in files), last=_READING)
    reports = {table: TableReport(bad_rows, table=table, told=reading.add) for table in TABLES}
    writer = DatasetWriter(
        target,
        name=name,
        source=f"{work.format.title} files from {name}",
        licence=work.format.licence,
        language=work.format.language,
        overwrite=overwrite,
    )
    with writer, _scratch(Path(target)) as scratch:
        staged = {
            role: _stage(work, role, scratch, reports)
            for role in dict.fromkeys(r.name for r in work.files)
        }
        writing = Meter(report, sum(s.rows for s in staged.values()), first=_READING)
        _assemble(writer, staged, reports, writing)
        if reports["impressions"].kept == 0:
            examples = reports["impressions"].examples
            first = f" First: {examples[0]}." if examples else ""
            raise DataError(
                f"{name} holds no impressions: every row was rejected or none given.{first}"
            )
        used = [r for r in reports.values() if r.kept or r.files]
        done = ImportReport(work.format.name, used, work.ignored)
        writer.notes.extend(done.render().splitlines())
        writer.placeholders += [f"{t.table}.{name}" for t in used for name in t.placeholders]
    writing.end()
    return done


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A directory on the target's disk, gone at the end; the writer clears what a kill leaves."""
    folder = target.with_name(f".{target.name}.chunks.{os.getpid()}.tmp")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stage(work: Work, name: str, scratch: Path, reports: dict[str, TableReport]) -> Staged:
    """All files of the roles of that name, as one."""
    whole: Staged | None = None
    for number, (role, tables) in enumerate(work.files.items()):
        if role.name != name:
            continue
        folder = scratch / f"{name}-{number}"
        folder.mkdir()
        report = reports[role.table]
        part = stage(tables, role, _KEYS[name], folder, report)
        whole = part if whole is None else whole.joined(part)
    assert whole is not None
    return whole


def _assemble(
    writer: DatasetWriter,
    staged: dict[str, Staged],
    reports: dict[str, TableReport],
    meter: Meter,
) -> None:
    users = Seen("user_id", {NAMES["user_id"]: pl.String()})
    videos = Seen("video_id", {"duration_ms": pl.Int64(), NAMES["video_id"]: pl.String()})
    comments = Seen("comment_id", {"video_id": pl.Int64(), NAMES["comment_id"]: pl.String()})
    for table in ("impressions", "comment_events"):
        if table in staged:
            mentions = [users, videos, *([comments] if table == "comment_events" else [])]
            write_events(writer, table, staged[table], reports[table], mentions, meter)
    if "comments" in staged or "comment_events" in staged:
        features = staged.get("comments")
        write_keyed(writer, "comments", _named(comments), features, {}, reports["comments"], meter)
        if features is not None and "video_id" in features.columns:
            for block in features.blocks(features.edges()):
                videos.add(block.select("video_id"))
    write_keyed(writer, "users", _named(users), staged.get("users"), {}, reports["users"], meter)
    extras = {column: staged[role] for role, column in _EXTRAS.items() if role in staged}
    write_keyed(
        writer, "videos", _named(videos), staged.get("videos"), extras, reports["videos"], meter
    )


def _named(seen: Seen) -> pl.DataFrame:
    """The names that identifiers were made of are kept as ``source_id``."""
    return seen.frame().rename({NAMES[seen.key]: "source_id"}, strict=False)


def plan(
    sources: list[Path],
    format: str,
    encoding: str | None = None,
    further: Mapping[str, Format] = MappingProxyType({}),
) -> Work:
    """Which files play which role.

    Raises:
        DataError: no such file or format, or no log among them.
    """
    known = {**FORMATS, **further}
    if format != "auto" and format not in known:
        raise DataError(f"no format '{format}'.", f"Known: auto, {', '.join(known)}")
    formats = list(known.values()) if format == "auto" else [known[format]]
    for source in sources:
        if not source.exists():
            raise DataError(f"no file at {source}.{nearby(source)}", "Without data: abtest demo")
    if len(sources) == 1 and sources[0].is_file():
        return _one_file(sources[0], formats, encoding)
    present = [p for s in sources for p in _files(s, list(known.values()))]
    found = [(f, *f.assign(present)) for f in formats]
    logs = [one for one in found if _is_log(*one[:2], encoding)]
    if not logs:
        names = ", ".join(p.name for p in present[:5]) or "no tables"
        raise DataError(
            f"{', '.join(map(str, sources))} holds no log of a known format: found {names}.",
            "Formats: docs/import.md. Any other table: abtest data map FILE",
        )
    best, assigned, left = max(logs, key=lambda one: sum(map(len, one[1].values())))
    files = {role: [_open(role, p, encoding) for p in paths] for role, paths in assigned.items()}
    # A note beside the tables is no table that was forgotten.
    ignored = [_short(p, sources) for p in left if p.stem.lower() not in _NOTES]
    return Work(best, files, ignored)


def _is_log(layout: Format, assigned: dict[Role, list[Path]], encoding: str | None) -> bool:
    """Whether there is a log among the files; where its name says little, its columns tell."""
    for role, paths in assigned.items():
        if role.name != "impressions":
            continue
        if not role.by_columns:
            return True
        header = set(_open(role, paths[0], encoding).columns)
        if set(layout.recognise) <= header:
            return True
    return False


def _short(path: Path, sources: list[Path]) -> str:
    root = next((s for s in sources if path.is_relative_to(s) and path != s), None)
    return str(path if root is None else path.relative_to(root))


def _files(source: Path, formats: Sequence[Format]) -> list[Path]:
    if source.is_file():
        return [source]
    return sorted(p for p in source.rglob("*") if p.is_file() and _may_be_table(p.name, formats))


def _may_be_table(name: str, formats: Sequence[Format]) -> bool:
    return is_table_name(name) or any(r.matches(name) for f in formats for r in f.roles)


def _one_file(source: Path, formats: Sequence[Format], encoding: str | None) -> Work:
    """A log file alone: by its name, or by its columns."""
    for one in formats:
        logs = [r for r in one.roles if r.name == "impressions" and r.matches(source.name)]
        for role in logs:
            table = _open(role, source, encoding)
            if not role.by_columns or set(one.recognise) <= set(table.columns):
                roles = one.assign([source])[0]
                return Work(one, {r: [_open(r, source, encoding)] for r in roles}, [])
    header = set(open_table(source, encoding=encoding).columns)
    by_columns = [f for f in formats if set(f.recognise) <= header]
    # The one that asks for more columns knows the file better.
    chosen = max(by_columns, key=lambda f: len(f.recognise), default=formats[0])
    role = next(r for r in chosen.roles if r.name == "impressions")
    return Work(chosen, {role: [_open(role, source, encoding)]}, [])


def _open(role: Role, path: Path, encoding: str | None) -> Table:
    def opened(names: Sequence[str] | None) -> Table:
        return open_table(
            path, encoding=encoding or role.encoding, delimiter=role.delimiter, names=names
        )

    table = opened(None)
    if role.names is None:
        return table
    known = {name for c in role.columns if isinstance(c, Field) for name in c.sources}
    return table if known & set(table.columns) else opened(role.names)
