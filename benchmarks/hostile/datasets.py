"""List hostile datasets: what ``dataset.json`` claims, what columns hold, and what files are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.hostile.cases import Case, always, copied

_RUN = ("run", "-t", "popular", "-c", "random", "--data", "log", "--users", "20", "--out", "out",
        "--quiet")  # fmt: skip
_CHECK = ("data", "check", "log")

_WRONG_FIELDS: dict[str, tuple[Any, ...]] = {
    "format_version": (0, 99, "1", None, 1.5, True, [1]),
    "name": (1, None, ["x"]),
    "source": (1, {}),
    "licence": (None, 3),
    "language": (1, ["zh"]),
    "rows": (None, [], {"impressions": -1}, {"impressions": 1.5}, {"nothing": 1}, {"users": 10**20},
             {}),
    "time_span_ms": ([1], [2, 1], "now", [0.5, 1.5], [0, 10**30]),
    "content_hash": (1, "", "x y", "0" * 100, "00ff"),
    "columns": ([], {"impressions": "user_id"}, {"impressions": ["user_id", "user_id"]},
                {"impressions": ["no_such"]}, {"x": []}, {}),
    "world": (1, "small", [], {"preset": 1}, {"parameters": {"x": "nan"}}, {}),
    "notes": ("x", [1], None),
    "randomisation": (1, "all", [1]),
    "placeholders": ("x", [1], None),
    "hashed_by": (1, None),
    "unknown": (1,),
}  # fmt: skip

_WRONG_COLUMNS: tuple[tuple[str, str, Any], ...] = (
    ("impressions", "is_click", 7), ("impressions", "is_click", -1),
    ("impressions", "is_click", None),
    ("impressions", "is_like", 2), ("impressions", "long_view", 9),
    ("impressions", "play_time_ms", -5), ("impressions", "play_time_ms", None),
    ("impressions", "play_time_ms", 2**50), ("impressions", "duration_ms", -1),
    ("impressions", "comment_stay_time", -1), ("impressions", "comment_stay_time", 2**50),
    ("impressions", "time_ms", None), ("impressions", "time_ms", -1),
    ("impressions", "time_ms", 2**62),
    ("impressions", "user_id", 10**15), ("impressions", "user_id", None),
    ("impressions", "video_id", 10**15), ("impressions", "video_id", None),
    ("impressions", "propensity", -0.5), ("impressions", "propensity", 1.5),
    ("impressions", "propensity", float("nan")), ("impressions", "position", -3),
    ("videos", "video_id", None), ("videos", "duration_ms", -4),
    ("users", "user_id", None), ("users", "user_id", 1),
    ("comments", "video_id", 10**15), ("comments", "like_count", -5), ("comments", "comment_id", 1),
    ("comment_events", "dwell_ms", -1), ("comment_events", "dwell_ms", 2**50),
    ("comment_events", "is_like", 3), ("comment_events", "comment_id", 10**15),
    ("comment_events", "position", -1), ("comment_events", "propensity", 2.0),
)  # fmt: skip

_WRONG_BYTES = {
    "empty": b"",
    "text": b"user_id,video_id\n1,2\n",
    "zeros": b"\0" * 4096,
    "magic only": b"PAR1PAR1",
}


def dataset_cases(log: Path) -> Iterator[Case]:
    """Damages of the dataset ``log``, each of them tried by ``run`` and ``data check``."""
    for command, label in ((_RUN, "run"), (_CHECK, "check")):
        for name, values in _WRONG_FIELDS.items():
            for value in values:
                yield Case(
                    "dataset.json", f"{label}: {name} = {json.dumps(value)}"[:80], command,
                    _with_field(log, name, value),
                    harmless=label == "check" and name in ("world", "randomisation"),
                )  # fmt: skip
        for table, column, value in _WRONG_COLUMNS:
            yield Case(
                "columns", f"{label}: {table}.{column} = {value}", command,
                _with_value(log, table, column, value),
            )  # fmt: skip
        for table in ("impressions", "videos", "users", "comments", "comment_events"):
            for name, content in _WRONG_BYTES.items():
                yield Case(
                    "table files", f"{label}: {table} {name}", command,
                    _with_bytes(log, f"{table}/part-00000.parquet", always(content)),
                )  # fmt: skip
            yield Case(
                "table files", f"{label}: {table} cut", command,
                _with_bytes(log, f"{table}/part-00000.parquet", lambda old: old[: len(old) // 2]),
            )  # fmt: skip
            yield Case(
                "table files", f"{label}: {table} byte flipped", command,
                _with_bytes(log, f"{table}/part-00000.parquet", _flipped),
            )  # fmt: skip
        for name, content in {
            "empty": b"", "list": b"[]", "nan": b"NaN", "cut": b'{"format_version": 1',
            "deep": b"[" * 100_000, "utf-16": "{}".encode("utf-16"),
            "twice": b'{"format_version": 1, "format_version": 2}',
        }.items():  # fmt: skip
            yield Case(
                "dataset.json", f"{label}: {name}", command,
                _with_bytes(log, "dataset.json", always(content)),
            )  # fmt: skip


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 3
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]


def _with_field(log: Path, name: str, value: Any) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        file = copied(log, "log")(folder) / "dataset.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content[name] = value
        file.write_text(json.dumps(content), encoding="utf-8")

    return prepare


def _with_value(log: Path, table: str, column: str, value: Any) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        file = copied(log, "log")(folder) / table / "part-00000.parquet"
        frame = pl.read_parquet(file)
        row = pl.int_range(pl.len()) == frame.height // 2
        if (column == "user_id" and value == 1) or (column == "comment_id" and value == 1):
            # A key that is there twice.
            changed = frame[column].first()
        else:
            changed = value
        new = pl.when(row).then(pl.lit(changed)).otherwise(pl.col(column)).alias(column)
        frame.with_columns(new).cast({column: frame.schema[column]}, strict=False).write_parquet(
            file
        )

    return prepare


def _with_bytes(log: Path, name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        file = copied(log, "log")(folder) / name
        file.write_bytes(change(file.read_bytes()))

    return prepare
