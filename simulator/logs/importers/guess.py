"""Propose an import map for a file, from names and values; say what was guessed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from simulator.errors import DataError
from simulator.logs.importers.mapping import MADE
from simulator.logs.schema import TABLES, Column
from simulator.tables import Kind, Number, Table, Tally, Time, TypedCells, Whole, label, open_table
from simulator.tables.times import EARLIEST_MS, LATEST_MS, Unit

_ROWS = 20_000
_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": ("uid", "user", "userid", "member", "viewer", "reviewer", "reviewerid", "person"),
    "video_id": ("item", "itemid", "video", "vid", "photo", "movie", "asin", "article", "iid"),
    "comment_id": ("comment", "commentid", "cid", "reply"),
    "author_id": ("author", "creator", "creatorid", "uploader"),
    "time_ms": ("time", "timestamp", "ts", "datetime", "date", "unixreviewtime", "eventtime"),
    "is_click": ("click", "clicked", "isclicked", "valid_play", "watched"),
    "is_like": ("like", "liked", "islike", "thumbsup"),
    "is_follow": ("follow", "followed"),
    "is_comment": ("commented",),
    "is_forward": ("forward", "share", "shared"),
    "is_collect": ("collect", "favorite", "favourite", "bookmark", "saved"),
    "is_hate": ("dislike", "hate", "disliked"),
    "long_view": ("longview", "finish", "finished", "completed"),
    "play_time_ms": (
        "playtime", "playduration", "playingtime", "watchtime", "watchms", "timespent", "dwell",
        "viewtime", "playtimes", "watch", "watched", "play", "timespentms",
    ),
    "duration_ms": ("duration", "videoduration", "length", "durationms", "videolength"),
    "comment_stay_time": ("commentstay", "commentduration", "commenttime"),
    "is_rand": ("random", "israndom", "rand"),
    "tab": ("scene", "scenario", "tabid", "channel"),
    "text": ("comment", "content", "commentcontent", "body", "message"),
    "caption": ("title", "caption", "name", "description"),
    "category": ("category", "genre", "tag", "topic"),
    "tags": ("tags", "genres", "categories"),
    "upload_time_ms": ("uploadtime", "uploaddt", "published", "publishtime"),
    "like_count": ("likes", "likecount", "commentlikecnt"),
    "comment_count": ("comments", "commentcount"),
}  # fmt: skip
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%Y%m%d", "%d %b %Y", "%d/%b/%Y")
_TIMES = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
_FORMS = (
    *(f"{date} {time}" for date in _DATES for time in _TIMES),
    *(f"%Y-%m-%d {time}" for time in _TIMES[2:]),
    "%a, %d %b %Y %H:%M:%S",
)
"""How times are written where not as year, month, day."""
_FEW_BAD = 0.01
"""Share of the cells of a column that may be bad."""
_WORDS = (("yes", "no"), ("y", "n"), ("t", "f"), ("on", "off"))
_SINCE_MS = 946_684_800_000
"""2000: a column of other numbers hardly lies above it."""
_PER_MS = {"s": 1e-3, "ms": 1.0, "us": 1e3, "ns": 1e6}


@dataclass(frozen=True)
class _Sample:
    """The first rows of a file."""

    table: Table
    rows: pl.DataFrame

    def whole(self, name: str) -> pl.Series | None:
        """Its values, if all are whole numbers."""
        read = self._as(name, Whole(unknown=("nan", "NaN")))
        return None if read.bad is not None and read.bad.any() else read.values.drop_nulls()

    def number(self, name: str) -> pl.Series | None:
        """Its values, if they are numbers, but for a few bad cells."""
        read = self._as(name, Number())
        values = read.values.drop_nulls()
        return None if _too_bad(read) or values.is_empty() else values

    def are_times(self, name: str, form: str | None = None) -> bool:
        """Whether its values are texts of times, but for a few bad cells."""
        read = Time(unit="text", form=form).read(self.rows[name])
        return not _too_bad(read) and bool(read.values.count())

    def are_labels(self, name: str) -> bool:
        """Whether its values are 0 and 1, or true and false, but for a few bad cells."""
        return not _too_bad(self._as(name, label()))

    def _as(self, name: str, kind: Kind) -> TypedCells:
        return self.table.as_written({name: kind})[name].read(self.rows[name])


def _too_bad(read: TypedCells) -> bool:
    """Whether so many cells are bad that the column is of another kind.

    A few are rather bad rows, which the import names.
    """
    return read.bad is not None and int(read.bad.sum()) > _FEW_BAD * len(read.bad)


def propose(
    paths: Sequence[Path], *, encoding: str | None = None, decimal: str | None = None
) -> str:
    """The text of a map for files; what is uncertain is said in comments.

    Args:
        paths: One table each.
        encoding: As of `simulator.tables.open_table`.
        decimal: As of `simulator.tables.open_table`.

    Raises:
        DataError: a file cannot be read, or has no rows.
    """
    lines = [
        "# Proposed by `abtest data map`. Check every line marked 'guessed' before you import:",
        f"#   abtest data import {' '.join(map(str, paths))} DATASET --map THIS_FILE",
        "",
        'zone = "UTC"  # of times that name none: as Asia/Shanghai',
        'licence = "not stated"',
    ]
    for path in paths:
        table = open_table(path, encoding=encoding, decimal=decimal)
        sample = _sample(table)
        lines += ["", *_section(sample, len(paths) > 1)]
    return "\n".join(lines) + "\n"


def _sample(table: Table) -> _Sample:
    tally = Tally("skip")
    frames: list[pl.DataFrame] = []
    rows = 0
    for batch in itertools.islice(table.batches(tally=tally), 8):
        if frames and batch.frame.schema != frames[0].schema:
            # Files of one table may hold a column in different types; the first one is enough.
            continue
        frames.append(batch.frame)
        rows += batch.frame.height
        if rows >= _ROWS:
            break
    if not rows:
        raise DataError(f"{table.files[0]} has no rows that can be read.", *tally.examples[:1])
    return _Sample(table, pl.concat(frames).head(_ROWS))


def _section(sample: _Sample, several: bool) -> list[str]:
    name, why = _kind_of_table(sample)
    lines = [f"# {sample.table.files[0]} ({sample.table.dialect}): {why}", f"[{name}]"]
    if several:
        lines.append(f"files = [{json.dumps(sample.table.files[0].name)}]")
    nested = [c for c in sample.table.columns if sample.rows[c].dtype.is_nested()]
    free = [c for c in sample.table.columns if c not in nested]
    for column in TABLES[name].columns:
        if column.name in MADE.get(name, ()) or isinstance(column.dtype, pl.List):
            continue
        named = _named_like(column, free)
        tried = list(named)
        if column.name == "time_ms":
            tried += [c for c in free if c not in named and _only_times(c, sample)]
        entries = ((found, _entry(column, found, sample)) for found in tried)
        found, line = next(((f, e) for f, e in entries if e is not None), (None, None))
        if line is not None and found is not None:
            free.remove(found)
            sure = found in named or "guessed" in line
            lines.append(line if sure else f"{line}  # guessed from the values")
        elif column.required:
            lines.append(_missing(column, sample))
    if free:
        lines.append(f"# not used: {', '.join(free)}")
    if nested:
        lines.append(f"# not used, lists or structures: {', '.join(nested)}")
    return lines


def _kind_of_table(sample: _Sample) -> tuple[str, str]:
    columns = sample.table.columns

    def has(name: str) -> bool:
        column = TABLES["impressions"].column(name) or TABLES["comments"].column(name)
        return column is not None and bool(_named_like(column, columns))

    user, video, comment = has("user_id"), has("video_id"), has("comment_id")
    if user and video and comment:
        return "comment_events", "guessed: it names people, videos and comments"
    if user and video:
        return "impressions", "guessed: it names people and videos"
    if comment:
        return "comments", "guessed: it names comments and nobody who reads them"
    if user:
        return "users", "guessed: it names people only"
    if video:
        return "videos", "guessed: it names videos only"
    return "impressions", "no column looks like people or videos"


def _plain(name: str) -> str:
    """A name without case, marks, RecBole's types, and ``is_``."""
    return re.sub(r"[^a-z0-9]", "", name.split(":")[0].lower())


def _named_like(column: Column, columns: Sequence[str]) -> list[str]:
    """Columns of the file that are named like one of ours, likeliest first."""
    wanted = [_plain(column.name), *map(_plain, _NAMES.get(column.name, ()))]
    wanted += [w.removesuffix("ms") for w in wanted[:1] if w.endswith("ms")]
    wanted += [w.removeprefix("is") for w in wanted[:1] if w.startswith("is")]
    plain = {_plain(c): c for c in reversed(columns)}
    label = column.unit == "0/1"
    forms = ("{}", "is{}") if label else ("{}", "{}id") if column.name.endswith("_id") else (
        "{}", "{}ms", "{}s"
    )  # fmt: skip
    found = (plain.get(form.format(name)) for name in wanted for form in forms)
    return list(dict.fromkeys(f for f in found if f is not None))


def _entry(column: Column, name: str, sample: _Sample) -> str | None:
    """A line that maps a column of the file to ours; None if its values cannot be that."""
    key, quoted = column.name, json.dumps(name, ensure_ascii=False)
    by_name = "" if _plain(name) == _plain(key) else "  # guessed from the name"
    if key in ("time_ms", "upload_time_ms"):
        return _time(key, name, quoted, sample)
    if key.endswith("_id"):
        if sample.whole(name) is None:
            return f"{key} = {{ column = {quoted}, names = true }}  # texts, numbered by a hash"
        return f"{key} = {quoted}{by_name}"
    if column.unit == "0/1":
        return f"{key} = {quoted}{by_name}" if sample.are_labels(name) else _yes(key, name, sample)
    if column.unit == "ms":
        return _span(key, name, quoted, sample)
    if column.dtype == pl.String:
        return f"{key} = {quoted}{by_name}"
    return f"{key} = {quoted}{by_name}" if sample.number(name) is not None else None


def _yes(key: str, name: str, sample: _Sample) -> str | None:
    """A line for labels that are words, as yes and no."""
    if sample.rows[name].dtype != pl.String:
        return None
    words = set(sample.rows[name].drop_nulls().str.strip_chars().str.to_lowercase().unique())
    yes = next((yes for yes, no in _WORDS if yes in words and words <= {yes, no}), None)
    if yes is None:
        return None
    expression = json.dumps(f"lower(col({name!r})) == {yes!r}", ensure_ascii=False)
    return f"{key} = {expression}  # guessed from the values"


def _only_times(name: str, sample: _Sample) -> bool:
    """Whether every value of a column can be a time of this century, whatever it is called."""
    if sample.rows[name].dtype.is_temporal():
        return True
    values = sample.number(name)
    if values is None:
        return sample.are_times(name)
    first, last = values.min(), values.max()
    return (
        isinstance(first, float)
        and isinstance(last, float)
        and any(
            first / per_ms >= _SINCE_MS and last / per_ms <= LATEST_MS
            for per_ms in _PER_MS.values()
        )
    )


def _time(key: str, name: str, quoted: str, sample: _Sample) -> str | None:
    if sample.rows[name].dtype.is_temporal():
        return f"{key} = {quoted}  # times; those without a zone are in the zone above"
    values = sample.number(name)
    if values is None:
        if not sample.are_times(name):
            return _time_in_a_form(key, name, quoted, sample)
        return (
            f'{key} = {{ column = {quoted}, unit = "text" }}  # in the zone above, if none is named'
        )
    middle = values.median()
    assert isinstance(middle, float)
    units: list[Unit] = ["s", "ms", "us", "ns"]
    fit = [u for u in units if EARLIEST_MS <= middle / _PER_MS[u] <= LATEST_MS]
    if not fit:
        return _time_in_a_form(key, name, quoted, sample)
    if fit[0] == "ms":
        return f"{key} = {quoted}"
    return f'{key} = {{ column = {quoted}, unit = "{fit[0]}" }}  # guessed from the values'


def _time_in_a_form(key: str, name: str, quoted: str, sample: _Sample) -> str | None:
    """A line for times that are not written year, month, day."""
    dates = [d for d in _DATES if sample.are_times(name, d)]
    fit = dates or [f for f in _FORMS if sample.are_times(name, f)]
    if not fit:
        return None
    other = f"; {fit[1]} fits as well" if len(fit) > 1 else ""
    entry = f'column = {quoted}, unit = "text", form = "{fit[0]}"'
    return f"{key} = {{ {entry} }}  # guessed from the values{other}"


def _span(key: str, name: str, quoted: str, sample: _Sample) -> str | None:
    values = sample.number(name)
    if values is None:
        return None
    middle = values.filter(values > 0).median()
    plain = _plain(name)
    if plain.endswith(("ms", "millis")):
        return f"{key} = {quoted}"
    if not isinstance(middle, float):
        return f"{key} = {quoted}  # guessed: milliseconds"
    if middle >= 1_000:
        return f"{key} = {quoted}  # guessed: milliseconds (half of them above {middle:,.0f})"
    return (
        f'{key} = {{ column = {quoted}, unit = "s" }}'
        f"  # guessed: seconds (half of them below {middle:,.0f})"
    )


def _missing(column: Column, sample: _Sample) -> str:
    """A line for a required column that the file does not seem to have."""
    names = sample.table.columns
    play = _named_like(TABLES["impressions"].column("play_time_ms") or column, names)
    length = _named_like(TABLES["impressions"].column("duration_ms") or column, names)
    if column.name == "is_click" and play and length:
        both = (play[0], length[0])
        used = " / ".join(n if n.isidentifier() else f"col({n!r})" for n in both)
        return f'is_click = "{used} > .8"  # guessed: no column of clicks; your own rule goes here'
    if column.name in ("play_time_ms", "is_click", "is_like", "is_reply"):
        value = 1 if column.name == "is_click" else 0
        return (
            f"{column.name} = {{ placeholder = {value} }}  # no such column; commands that need it "
            "will refuse"
            + (". If every row is one: is_click = 1" if column.name == "is_click" else "")
        )
    return f'# {column.name} = "COLUMN"  # required: {column.doc}; no column looks like it'
