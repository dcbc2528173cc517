"""Damage every file of run directories and weights, for every command that reads it."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.hostile.cases import Case, always, copied

_WRONG_BYTES = {
    "empty": b"",
    "zeros": b"\0" * 512,
    "text": b"hello\n",
    "list": b"[]",
    "null": b"null",
    "nan": b'{"schema": NaN}',
    "deep": b"[" * 100_000,
    "latin-1": b'{"caf\xe9": 1}',
}
_READERS = {
    "plan.json": ("resume",),
    "config.toml": ("resume", "report"),
    "results.json": ("report", "report-md", "compare", "power"),
    "outcomes.parquet": ("power",),
    "pieces/group-00000.parquet": ("resume-incomplete",),
}
_UNREAD = ("power", "results.json")
"""A plan of the next experiment looks at the outcomes alone."""
_COMMANDS = {
    "resume": ("run", "--resume", "r", "--quiet"),
    "resume-incomplete": ("run", "--resume", "r", "--quiet"),
    "report": ("report", "r"),
    "report-md": ("report", "r", "--format", "md"),
    "compare": ("compare", "r", "r"),
    "power": ("power", "r"),
}


def run_cases(run: Path) -> Iterator[Case]:
    """Damages of the run directory ``run``."""
    for name, readers in _READERS.items():
        for reader in readers:
            for damage, content in _WRONG_BYTES.items():
                yield Case(
                    "run directory", f"{reader}: {name} {damage}", _COMMANDS[reader],
                    _damaged(run, name, always(content), reader),
                    harmless=(reader, name) == _UNREAD,
                )  # fmt: skip
            yield Case(
                "run directory", f"{reader}: {name} cut", _COMMANDS[reader],
                _damaged(run, name, lambda old: old[: len(old) // 2], reader),
                harmless=(reader, name) == _UNREAD,
            )  # fmt: skip
    for path, values in {
        ("schema",): (None, 99, "x", [], -1),
        ("comparisons",): (None, {}, 1, [1], [{}]),
        ("arms",): (None, "x", [1], 3),
        ("design",): (1, "x", None),
    }.items():
        for value in values:
            for reader in ("report", "compare"):
                yield Case(
                    "results.json", f"{reader}: {'.'.join(path)} = {json.dumps(value)}",
                    _COMMANDS[reader], _with_value(run, path, value),
                )  # fmt: skip


def weight_cases(cache: Path, policy: str) -> Iterator[Case]:
    """Damages of the trained weights of a policy in the cache, found before they are used."""
    command = ("run", "-t", policy, "-c", "random", "--world", "small", "--log-users", "60",
               "--users", "64", "--out", "out", "--quiet")  # fmt: skip
    damages: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda _: b"",
        "cut": lambda old: old[: len(old) // 2],
        "header only": lambda old: old[:8],
        "byte flipped": lambda old: old[:-5] + bytes([old[-5] ^ 1]) + old[-4:],
        "pickle": lambda _: pickle.dumps({"weights": [1, 2, 3]}),
        "huge header": lambda old: struct.pack("<Q", 2**60) + old[8:],
        "zeros": lambda old: bytes(len(old)),
        "longer": lambda old: old + b"\0" * 64,
        "text": lambda _: b"not weights",
    }
    for damage, change in damages.items():
        for file in ("weights.safetensors", "weights.json", "manifest.json"):
            yield Case(
                "weights", f"{policy}: {file} {damage}", command,
                _damaged_weights(cache, policy, file, change),
            )  # fmt: skip


def _damaged(
    run: Path, name: str, change: Callable[[bytes], bytes], reader: str
) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        target = copied(run, "r")(folder)
        file = target / name
        file.write_bytes(change(file.read_bytes()))
        if reader == "resume-incomplete":
            for made in ("outcomes.parquet", "results.json", "report.html"):
                (target / made).unlink()

    return prepare


def _with_value(run: Path, path: tuple[str, ...], value: Any) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        file = copied(run, "r")(folder) / "results.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        file.write_text(json.dumps(content), encoding="utf-8")

    return prepare


def _damaged_weights(
    cache: Path, policy: str, name: str, change: Callable[[bytes], bytes]
) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        target = copied(cache, "cache")(folder)
        for file in (target / "policies").glob(f"{policy}-*/{name}"):
            file.write_bytes(change(file.read_bytes()))

    return prepare
